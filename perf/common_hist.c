#include "common_hist.h"

/* The first value of a slot, and the last. */
static uint64_t start_of(unsigned slot)
{
    unsigned octave = slot >> HIST_STEPS_LOG2;
    uint64_t step = slot & ((1u << HIST_STEPS_LOG2) - 1);
    return octave == 0 ? step : (step + (1u << HIST_STEPS_LOG2)) << (octave - 1);
}

static uint64_t end_of(unsigned slot)
{
    return start_of(slot + 1) - 1;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    for (unsigned i = 0; i < HIST_SLOTS; i++)
        into->slot[i] += from->slot[i];
    into->count += from->count;
    into->max = from->max > into->max ? from->max : into->max;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    double wanted = (double)h->count * percent / 100.0;
    uint64_t rank = (uint64_t)wanted, seen = 0;
    if (rank == 0 || (double)rank + 1e-6 < wanted)
        rank++;
    for (unsigned i = 0; i < HIST_SLOTS - 1; i++) {
        seen += h->slot[i];
        if (seen >= rank)
            return end_of(i) < h->max ? end_of(i) : h->max;
    }
    return h->max;
}

double hist_mean(const struct hist *h)
{
    double sum = 0;
    for (unsigned i = 0; i < HIST_SLOTS; i++)
        if (h->slot[i] > 0)
            sum += (double)h->slot[i] * ((double)start_of(i) + (double)end_of(i)) / 2;
    return h->count > 0 ? sum / (double)h->count : 0;
}
