/* The time limits of one stream: several deadlines, one timer. Level 1.
 *
 * A deadline that moves later costs a store: the timer is only set for one that comes before it, and whoever is told
 * that it fired asks which deadline has really passed. */
#ifndef WR_DEADLINE_H
#define WR_DEADLINE_H

#include "timers.h"

enum wr_deadline {
    WR_BY_STATE,        /* connecting, a layer that begins, or flushing */
    WR_BY_READ,         /* the pending read */
    WR_BY_RATE_IN,      /* the pending read's bytes, at the least rate */
    WR_BY_RATE_OUT,     /* the queued bytes, at the least rate */
    WR_BY_STALL,        /* some of the queued bytes */
    WR_BY_IDLE,         /* any byte */
    WR_DEADLINES
};

struct wr_deadlines {
    struct wr_timer timer;
    uint64_t by[WR_DEADLINES];  /* UINT64_MAX: off */
};

/* All off. 0 or -ENOMEM. */
int wr_deadlines_open(struct wr_deadlines *d, struct wr_timers *ts, void (*fire)(struct wr_timer *t));
void wr_deadlines_close(struct wr_deadlines *d, struct wr_timers *ts);
/* All off, and the timer is not set. */
void wr_deadlines_clear(struct wr_deadlines *d, struct wr_timers *ts);
bool wr_deadlines_are_off(const struct wr_deadlines *d);
/* Set the timer to the earliest deadline, or unset it. */
void wr_deadlines_settle(struct wr_deadlines *d, struct wr_timers *ts);
/* The timer has fired: a deadline that has passed, which is now off, earliest first; or -1, and the timer is set to the
 * next. */
int wr_deadlines_passed(struct wr_deadlines *d, struct wr_timers *ts, uint64_t now);

static inline void wr_deadline_set(struct wr_deadlines *d, struct wr_timers *ts, enum wr_deadline which,
                                   uint64_t at)
{
    d->by[which] = at;
    if (!wr_timer_is_set(&d->timer) || at < d->timer.at)
        wr_deadlines_settle(d, ts);
}

static inline void wr_deadline_unset(struct wr_deadlines *d, enum wr_deadline which)
{
    d->by[which] = UINT64_MAX;
}

static inline bool wr_deadline_is_set(const struct wr_deadlines *d, enum wr_deadline which)
{
    return d->by[which] != UINT64_MAX;
}

#endif
