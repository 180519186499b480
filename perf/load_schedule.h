/* When messages are due: at a constant rate, whatever becomes of those before. Several loops take turns. */
#ifndef LOAD_SCHEDULE_H
#define LOAD_SCHEDULE_H

#include <stdint.h>

struct schedule {
    uint64_t start;
    double interval_ns;     /* between two messages of all loops together */
    uint64_t next, end;     /* numbers of messages, counted over all loops */
    unsigned step;          /* how many loops there are */
};

/* Those that are due in so many seconds from `start` on and are this loop's: every one of `loops`, from `loop` on. */
void schedule_begin(struct schedule *s, uint64_t start, double rate, double seconds, unsigned loop, unsigned loops);

/* How many are left. */
uint64_t schedule_left(const struct schedule *s);

/* When the next one is due, in nanoseconds; UINT64_MAX: none is left. */
static inline uint64_t schedule_due(const struct schedule *s)
{
    return s->next < s->end ? s->start + (uint64_t)((double)s->next * s->interval_ns) : UINT64_MAX;
}

static inline void schedule_take(struct schedule *s)
{
    s->next += s->step;
}

#endif
