/* The user's timers: weir_timer_*. The heap they stand in is timers.c. */
#include <errno.h>

#include "context.h"

struct weir_timer {
    struct wr_timer timer;
    struct wr_resident resident;
    struct weir_loop *loop;
    struct weir_context *context;
    uint64_t period;        /* ns, 0: once */
    weir_timer_fn *fn;
    void *arg;
    bool owned;             /* the user holds a handle */
    bool firing;            /* its callback runs: freeing waits */
    bool stopped;
};

static void forget(struct weir_timer *t)
{
    if (t->firing) {
        t->stopped = true;
        wr_timers_unset(&t->loop->timers, &t->timer);
        return;
    }
    wr_timers_unset(&t->loop->timers, &t->timer);
    wr_loop_bury(t->loop, &t->resident);
}

static void bury(struct wr_resident *resident)
{
    struct weir_timer *t = wr_home(resident, struct weir_timer, resident);
    wr_timers_leave(&t->loop->timers, &t->timer);
    wr_context_drop(t->context);
    wr_free(t);
}

static void evict(struct wr_resident *resident)
{
    forget(wr_home(resident, struct weir_timer, resident));
}

static const struct wr_resident_kind residence = {.evict = evict, .bury = bury};

/* The next beat is chosen when the call is over, by the time it is then: what passed meanwhile was missed. */
static void fire(struct wr_timer *timer)
{
    struct weir_timer *t = wr_home(timer, struct weir_timer, timer);
    struct wr_world *world = t->loop->world;
    uint64_t at = timer->at;
    struct wr_scope in;
    t->firing = true;
    wr_enter(&in, t->loop, wr_context_share(t->context));
    t->fn(t, t->arg);
    wr_leave(&in);
    t->firing = false;
    if (!t->stopped && t->period && !wr_timer_is_set(timer))
        wr_timers_set(&t->loop->timers, timer, wr_timers_beat(at, t->period, world->ops->now(world)));
    if (t->stopped || (!t->owned && !wr_timer_is_set(timer)))
        forget(t);
}

int weir_timer_start(struct weir_loop *loop, uint64_t delay_ns, uint64_t period_ns, weir_timer_fn *fn, void *arg,
                     struct weir_timer **ret_timer)
{
    if (!(loop = wr_loop_or_default(loop)) || !fn)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc == 0 && loop->closing)
        rc = WEIR_ECLOSED;
    if (rc < 0)
        return rc;
    struct weir_timer *t = wr_alloc_zeroed(sizeof *t);
    if (!t)
        return -ENOMEM;
    if ((rc = wr_timers_join(&loop->timers, &t->timer, fire)) < 0) {
        wr_free(t);
        return rc;
    }
    t->loop = loop;
    t->context = wr_context_capture(loop);
    t->period = period_ns;
    t->fn = fn;
    t->arg = arg;
    t->owned = ret_timer != NULL;
    t->resident.kind = &residence;
    wr_list_init(&t->resident.link);
    wr_list_push(&loop->residents, &t->resident.link);
    wr_timers_set(&loop->timers, &t->timer, wr_add_sat(wr_loop_now(loop), delay_ns));
    if (ret_timer)
        *ret_timer = t;
    return 0;
}

int weir_timer_again(struct weir_timer *t, uint64_t delay_ns)
{
    if (!t || t->stopped)
        return -EINVAL;
    int rc = wr_loop_check(t->loop);
    if (rc == 0 && t->loop->closing)
        rc = WEIR_ECLOSED;
    if (rc < 0)
        return rc;
    wr_timers_set(&t->loop->timers, &t->timer, wr_add_sat(wr_loop_now(t->loop), delay_ns));
    return 0;
}

int weir_timer_stop(struct weir_timer *t)
{
    if (!t)
        return 0;
    int rc = wr_loop_check(t->loop);
    if (rc < 0)
        return rc;
    forget(t);
    return 0;
}
