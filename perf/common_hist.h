/* A histogram of nanoseconds, log-linear: 1024 steps in each power of two, so three digits hold, up to 274 s. */
#ifndef COMMON_HIST_H
#define COMMON_HIST_H

#include <stdint.h>

enum { HIST_STEPS_LOG2 = 10, HIST_OCTAVES = 28, HIST_SLOTS = (HIST_OCTAVES + 1) << HIST_STEPS_LOG2 };

struct hist {
    uint64_t count, max;
    uint64_t slot[HIST_SLOTS];
};

static inline unsigned hist_slot(uint64_t ns)
{
    unsigned octave = 63 - HIST_STEPS_LOG2 - (unsigned)__builtin_clzll(ns | 1u << HIST_STEPS_LOG2);
    unsigned slot = (octave << HIST_STEPS_LOG2) + (unsigned)(ns >> octave);
    return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static inline void hist_add(struct hist *h, uint64_t ns)
{
    h->slot[hist_slot(ns)]++;
    h->count++;
    if (ns > h->max)
        h->max = ns;
}

void hist_merge(struct hist *into, const struct hist *from);

/* The value that `percent` of all are not above, to the end of its step; 0 if there are none. */
uint64_t hist_percentile(const struct hist *h, double percent);

/* To three digits, too; 0 if there are none. */
double hist_mean(const struct hist *h);

#endif
