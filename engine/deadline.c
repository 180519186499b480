/* See deadline.h. */
#include "deadline.h"

int wr_deadlines_open(struct wr_deadlines *d, struct wr_timers *ts, void (*fire)(struct wr_timer *t))
{
    *d = (struct wr_deadlines){0};
    int rc = wr_timers_join(ts, &d->timer, fire);
    if (rc == 0)
        wr_deadlines_clear(d, ts);
    return rc;
}

void wr_deadlines_close(struct wr_deadlines *d, struct wr_timers *ts)
{
    wr_timers_leave(ts, &d->timer);
}

void wr_deadlines_clear(struct wr_deadlines *d, struct wr_timers *ts)
{
    for (int i = 0; i < WR_DEADLINES; i++)
        d->by[i] = UINT64_MAX;
    wr_timers_unset(ts, &d->timer);
}

static int earliest(const struct wr_deadlines *d)
{
    int first = 0;
    for (int i = 1; i < WR_DEADLINES; i++)
        if (d->by[i] < d->by[first])
            first = i;
    return first;
}

bool wr_deadlines_are_off(const struct wr_deadlines *d)
{
    return d->by[earliest(d)] == UINT64_MAX;
}

wr_apart void wr_deadlines_settle(struct wr_deadlines *d, struct wr_timers *ts)
{
    uint64_t next = d->by[earliest(d)];
    if (next == UINT64_MAX)
        wr_timers_unset(ts, &d->timer);
    else
        wr_timers_set(ts, &d->timer, next);
}

int wr_deadlines_passed(struct wr_deadlines *d, struct wr_timers *ts, uint64_t now)
{
    int which = earliest(d);
    if (d->by[which] > now || d->by[which] == UINT64_MAX) {
        wr_deadlines_settle(d, ts);
        return -1;
    }
    d->by[which] = UINT64_MAX;
    return which;
}
