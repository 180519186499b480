#include "common_hist.h"

static unsigned slot_of(uint64_t ns)
{
    if (ns < 1u << HIST_STEPS_LOG2)
        return (unsigned)ns;
    unsigned octave = 63 - (unsigned)__builtin_clzll(ns) - HIST_STEPS_LOG2;
    unsigned slot = ((octave + 1) << HIST_STEPS_LOG2) + (unsigned)((ns >> octave) - (1u << HIST_STEPS_LOG2));
    return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static uint64_t value_of(unsigned slot)
{
    unsigned octave = slot >> HIST_STEPS_LOG2;
    uint64_t step = slot & ((1u << HIST_STEPS_LOG2) - 1);
    return octave == 0 ? step : (step + (1u << HIST_STEPS_LOG2)) << (octave - 1);
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->slot[slot_of(ns)]++;
    h->count++;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    uint64_t rank = (uint64_t)((double)h->count * percent / 100.0 + 0.5), seen = 0;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        seen += h->slot[i];
        if (h->slot[i] > 0 && seen >= rank)
            return value_of(i);
    }
    return 0;
}
