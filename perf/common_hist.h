/* A histogram of nanoseconds, log-linear: 1024 steps in each power of two, so three digits hold. */
#ifndef COMMON_HIST_H
#define COMMON_HIST_H

#include <stdint.h>

enum { HIST_STEPS_LOG2 = 10, HIST_OCTAVES = 28, HIST_SLOTS = (HIST_OCTAVES + 1) << HIST_STEPS_LOG2 };

struct hist {
    uint64_t count;
    uint64_t slot[HIST_SLOTS];
};

void hist_add(struct hist *h, uint64_t ns);
/* The value that `percent` of all are not above; 0 if there are none. */
uint64_t hist_percentile(const struct hist *h, double percent);

#endif
