/* Timers: a heap ordered by time, then by order of setting. The time is passed in. Level 1. */
#ifndef WR_TIMERS_H
#define WR_TIMERS_H

#include "mem.h"

struct wr_timer {
    void (*fire)(struct wr_timer *t);
    uint64_t at;
    uint64_t order;
    uint32_t slot;      /* place in the heap, from 1; 0 exactly when it is not set */
};

struct wr_timers {
    struct wr_timer **heap; /* heap[1 .. count] */
    uint32_t count, room, members;
    uint64_t order;
};

void wr_timers_init(struct wr_timers *ts);
void wr_timers_done(struct wr_timers *ts);
/* Make t known: after this, setting it cannot fail. 0 or -ENOMEM. */
int wr_timers_join(struct wr_timers *ts, struct wr_timer *t, void (*fire)(struct wr_timer *t));
/* Unset it and forget it. */
void wr_timers_leave(struct wr_timers *ts, struct wr_timer *t);
/* Set, or set anew. */
void wr_timers_set(struct wr_timers *ts, struct wr_timer *t, uint64_t at);
void wr_timers_unset(struct wr_timers *ts, struct wr_timer *t);
/* UINT64_MAX if none is set. */
uint64_t wr_timers_next(const struct wr_timers *ts);
/* Remove and return one timer that is due at `now` and was set before `order` (ts->order at the start of the
 * turn: a timer that sets itself again waits for the next turn). NULL if there is none. What is set during a turn is
 * set for `now` or later. */
struct wr_timer *wr_timers_due(struct wr_timers *ts, uint64_t now, uint64_t order);

/* When what was due at `at` is due next: a whole number of periods later, and after now. */
uint64_t wr_timers_beat(uint64_t at, uint64_t period, uint64_t now);

static inline bool wr_timer_is_set(const struct wr_timer *t)
{
    return t->slot != 0;
}

#endif
