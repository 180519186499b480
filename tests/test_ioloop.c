/* What Tornado's tests of its IOLoop ask for, by their names, where it is a matter of watches, timers, calls, signals
 * and stopping. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "helpers_foreign.h"
#include "mem.h"

static const uint64_t HOUR = 3600000000000u;

/* A callback of any kind that counts itself and stops the loop. */
struct stop {
    struct env *e;
    int calls;
};

static void call_and_stop(void *arg)
{
    struct stop *s = arg;
    s->calls++;
    weir_loop_stop(s->e->loop);
}

static void fire_and_stop(struct weir_timer *timer, void *arg)
{
    (void)timer;
    call_and_stop(arg);
}

static void start(struct env *e, uint64_t delay, weir_timer_fn *fn, void *arg)
{
    cr_assert_eq(weir_timer_start(e->loop, delay, 0, fn, arg, NULL), 0);
}

/* ---- Calls ---- */

/* The loop does not spin while there is nothing to do but to wait. */
ON_ALL_WORLDS(ioloop, add_callback_return_sequence)
{
    struct stop s = {.e = e}, call = {.e = e};
    struct weir_loop_stats before, after;
    cr_assert_eq(weir_defer(e->loop, call_and_stop, &call), 0);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    start(e, 20000000, fire_and_stop, &s);
    weir_loop_stats(e->loop, &before, sizeof before);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    weir_loop_stats(e->loop, &after, sizeof after);
    cr_assert_eq(s.calls, 1);
    cr_assert_leq(after.turns - before.turns, 5);
}

static void defer_from_timer(struct weir_timer *timer, void *arg)
{
    struct stop *s = arg;
    (void)timer;
    cr_assert_eq(weir_defer(s->e->loop, call_and_stop, s), 0);
    cr_assert_eq(s->calls, 0);
}

/* A call that is deferred while callbacks run does not wait for the next timer. */
ON_ALL_WORLDS(ioloop, add_callback_wakeup)
{
    struct stop s = {.e = e}, late = {.e = e};
    start(e, 1000, defer_from_timer, &s);
    start(e, HOUR, fire_and_stop, &late);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    cr_assert_eq(s.calls, 1);
    cr_assert_eq(late.calls, 0);
}

static void *post_from_here(void *arg)
{
    struct stop *s = arg;
    if (weir_post(s->e->loop, call_and_stop, s) != 0)
        abort();
    return NULL;
}

/* The simulator's loops do not wait for threads: there the call is there before. */
ON_ALL_WORLDS(ioloop, add_callback_wakeup_other_thread)
{
    struct stop s = {.e = e}, late = {.e = e};
    start(e, HOUR, fire_and_stop, &late);
    for (int i = 1; i <= 50; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, post_from_here, &s);
        if (e->sim)
            pthread_join(thread, NULL);
        cr_assert_eq(weir_loop_run(e->loop), 0);
        cr_assert_eq(s.calls, i);
        if (!e->sim)
            pthread_join(thread, NULL);
    }
    cr_assert_eq(late.calls, 0);
}

static void defer_from_signal(struct weir_signal *sig, int signo, void *arg)
{
    struct stop *s = arg;
    (void)sig, (void)signo;
    cr_assert_eq(weir_defer(s->e->loop, call_and_stop, s), 0);
}

static void raise_here(struct weir_timer *timer, void *arg)
{
    (void)timer, (void)arg;
    raise(SIGUSR1);
}

ON_ALL_WORLDS(ioloop, add_callback_from_signal)
{
    struct stop s = {.e = e};
    struct weir_signal *sig;
    cr_assert_eq(weir_signal_open(e->loop, SIGUSR1, defer_from_signal, &s, &sig), 0);
    start(e, 0, raise_here, NULL);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    cr_assert_eq(s.calls, 1);
    cr_assert_eq(weir_signal_close(sig), 0);
}

static void *raise_in_thread(void *arg)
{
    (void)arg;
    raise(SIGUSR1); /* raise sends it to the thread that calls */
    return NULL;
}

ON_ALL_WORLDS(ioloop, add_callback_from_signal_other_thread)
{
    struct stop s = {.e = e};
    struct weir_signal *sig;
    pthread_t thread;
    cr_assert_eq(weir_signal_open(e->loop, SIGUSR1, defer_from_signal, &s, &sig), 0);
    pthread_create(&thread, NULL, raise_in_thread, NULL);
    if (e->sim)
        pthread_join(thread, NULL);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    cr_assert_eq(s.calls, 1);
    if (!e->sim)
        pthread_join(thread, NULL);
    cr_assert_eq(weir_signal_close(sig), 0);
}

static void post_while_closing(struct weir_stream *stream, int reason, void *arg)
{
    struct party *p = arg;
    struct stop s = {.e = p->env};
    on_close(stream, reason, p);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(weir_post(p->env->loop, call_and_stop, &s), WEIR_ECLOSED);
    cr_assert_eq(weir_defer(p->env->loop, call_and_stop, &s), WEIR_ECLOSED);
}

static void reopen(struct env *e)
{
    cr_assert_eq(weir_loop_close(e->loop), 0);
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &e->loop), 0);
    else
        cr_assert_eq(weir_loop_open(NULL, &e->loop), 0);
}

ON_ALL_WORLDS(ioloop, add_callback_while_closing)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(a.s, post_while_closing, &a);
    reopen(e);
    cr_assert(a.closed && b.closed);
}

/* ---- Handlers ---- */

/* Tornado refuses it; here each watch is for itself. */
ON_ALL_WORLDS(ioloop, multiple_add)
{
    struct lookout l[3];
    int fds[2];
    foreign_pair(e, fds);
    foreign_send(e, fds[0], "abc");
    for (int i = 0; i < 3; i++)
        lookout_open(&l[i], e, "l", fds[1], WEIR_READABLE);
    for (int i = 0; i < 3; i++)
        run_until(e, &l[i].calls, 1);
    for (int i = 0; i < 3; i++)
        lookout_close(&l[i]);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(ioloop, remove_without_add)
{
    cr_assert_eq(weir_watch_close(NULL), 0);
    cr_assert_eq(weir_loop_run_once(e->loop, 0), 0);
}

ON_ALL_WORLDS(ioloop, read_while_writeable)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    foreign_send(e, fds[0], "abc");
    lookout_open(&l, e, "server", fds[1], WEIR_READABLE);
    run_until(e, &l.calls, 1);
    expect_log(e, "server r\n");
    lookout_close(&l);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

/* Both are ready in the same turn; who is called first removes both, and the other one is not called. */
static void remove_both(struct lookout *l)
{
    lookout_close(l->with);
    lookout_close(l);
}

ON_ALL_WORLDS(ioloop, remove_handler_from_handler)
{
    struct lookout l[2];
    int fds[2][2];
    for (int i = 0; i < 2; i++) {
        foreign_pair(e, fds[i]);
        foreign_send(e, fds[i][0], "abc");
        foreign_wait(e, fds[i][1]);
        lookout_open(&l[i], e, "l", fds[i][1], WEIR_READABLE);
        l[i].with = &l[!i];
        l[i].then = remove_both;
    }
    run_idle(e);
    cr_assert_eq(l[0].calls + l[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        foreign_close(e, fds[i][0], 0);
        foreign_close(e, fds[i][1], 0);
    }
}

/* A loop that is closed does not close what it watched: that is its user's. */
ON_ALL_WORLDS(ioloop, close_file_object)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], WEIR_READABLE);
    run_idle(e);
    reopen(e);
    foreign_send(e, fds[0], "abc");
    foreign_wait(e, fds[1]);
    cr_assert_eq(foreign_drain(e, fds[1]), 3);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

/* ---- Timeouts ---- */

static void fire(struct weir_timer *timer, void *arg)
{
    (void)timer;
    ++*(int *)arg;
}

ON_ALL_WORLDS(ioloop, timeout_with_arguments)
{
    int calls[3] = {0};
    for (int i = 0; i < 3; i++)
        start(e, (uint64_t)i * 1000, fire, &calls[i]);
    run_until(e, &calls[2], 1);
    cr_assert(calls[0] == 1 && calls[1] == 1 && calls[2] == 1);
}

ON_ALL_WORLDS(ioloop, add_timeout_return)
{
    struct weir_timer *timer = NULL;
    int calls = 0;
    cr_assert_eq(weir_timer_start(e->loop, HOUR, 0, fire, &calls, &timer), 0);
    cr_assert_not_null(timer);
    cr_assert_eq(weir_timer_stop(timer), 0);
}

ON_ALL_WORLDS(ioloop, remove_timeout_after_fire)
{
    struct stop s = {.e = e};
    struct weir_timer *timer;
    cr_assert_eq(weir_timer_start(e->loop, 0, 0, fire_and_stop, &s, &timer), 0);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    cr_assert_eq(weir_timer_stop(timer), 0);
}

/* They leave nothing: no memory, no deadline, and none is called. */
ON_ALL_WORLDS(ioloop, remove_timeout_cleanup)
{
    static struct weir_timer *timers[2000];
    int calls = 0, last = 0;
    uint64_t live = wr_mem_live();
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(weir_timer_start(e->loop, HOUR + (uint64_t)i % 7, (uint64_t)i % 3, fire, &calls, &timers[i]), 0);
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(weir_timer_stop(timers[(i * 7) % 2000]), 0);
    cr_assert_leq(wr_mem_live(), live + 1, "no more than the heap is kept");
    cr_assert_eq(weir_loop_next_deadline(e->loop), UINT64_MAX);
    start(e, 0, fire, &last);
    run_until(e, &last, 1);
    cr_assert_eq(calls, 0);
}

struct couple {
    struct weir_timer *timer[2];
    int calls[2];
};

static void remove_second(struct weir_timer *timer, void *arg)
{
    struct couple *c = arg;
    cr_assert_eq(timer, c->timer[0]);
    c->calls[0]++;
    cr_assert_eq(weir_timer_stop(c->timer[1]), 0);
}

static void never_removed(struct weir_timer *timer, void *arg)
{
    struct couple *c = arg;
    (void)timer;
    c->calls[1]++;
}

/* Both are due in the same turn, be it at one time or one after the other. */
ON_ALL_WORLDS(ioloop, remove_timeout_from_timeout)
{
    for (uint64_t apart = 0; apart < 2; apart++) {
        struct couple c = {.calls = {0}};
        cr_assert_eq(weir_timer_start(e->loop, 0, 0, remove_second, &c, &c.timer[0]), 0);
        cr_assert_eq(weir_timer_start(e->loop, apart, 0, never_removed, &c, &c.timer[1]), 0);
        run_until(e, &c.calls[0], 1);
        run_idle(e);
        cr_assert_eq(c.calls[1], 0);
        cr_assert_eq(weir_timer_stop(c.timer[0]), 0);
    }
}

/* One that sets itself anew, due at once, does not keep the loop from all else. */
static void fire_again(struct weir_timer *timer, void *arg)
{
    fire(timer, arg);
    cr_assert_eq(weir_timer_again(timer, 0), 0);
}

ON_ALL_WORLDS(ioloop, timeout_that_adds_itself)
{
    struct weir_timer *timer;
    int calls = 0, others = 0;
    cr_assert_eq(weir_timer_start(e->loop, 0, 0, fire_again, &calls, &timer), 0);
    for (int i = 1; i <= 20; i++) {
        start(e, 0, fire, &others);
        int before = calls;
        cr_assert_eq(weir_loop_run_once(e->loop, UINT64_MAX), 1);
        cr_assert_eq(calls, before + 1);
    }
    run_until(e, &others, 20);
    cr_assert_eq(weir_timer_stop(timer), 0);
}

/* ---- Periodic callbacks; the arithmetic alone is in test_timers.c ---- */

enum { BEATS = 11 };

struct drummer {
    struct env *e;
    struct weir_loop *idle;     /* time passes in its turns */
    uint64_t began, period;
    uint64_t over;              /* when the last callback had ended */
    int calls;
};

/* How long each call takes, in tenths of a period; and when the next one is due, in periods. */
static const unsigned takes[BEATS] = {9, 9, 10, 11, 20, 20, 35, 35, 0, 0, 0};
static const unsigned next_due[BEATS] = {2, 3, 5, 7, 10, 13, 17, 21, 22, 23, 24};

static void beat(struct weir_timer *timer, void *arg)
{
    struct drummer *d = arg;
    (void)timer;
    uint64_t until = weir_now(d->e->loop) + d->period * takes[d->calls % BEATS] / 10;
    cr_assert_eq(weir_loop_run_once(d->idle, 0), 0); /* its clock has stood still since its last turn */
    while (weir_now(d->idle) < until)
        cr_assert_eq(weir_loop_run_once(d->idle, until - weir_now(d->idle)), 0);
    d->over = weir_now(d->idle);
    d->calls++;
}

/* A call that takes too long skips beats, and the next one is on the beat again: to the very moment in the simulator,
 * where no time passes but this; anywhere else on some beat that had not passed when the call ended. */
ON_ALL_WORLDS(ioloop, overrun)
{
    struct drummer d = {.e = e, .period = 2000000};
    struct weir_timer *timer;
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &d.idle), 0);
    else
        cr_assert_eq(weir_loop_open(NULL, &d.idle), 0);
    cr_assert_eq(weir_timer_start(e->loop, d.period, d.period, beat, &d, &timer), 0);
    d.began = weir_loop_next_deadline(e->loop) - d.period;
    for (int i = 0; i < BEATS; i++) {
        run_until(e, &d.calls, i + 1);
        uint64_t due = weir_loop_next_deadline(e->loop);
        cr_assert_eq((due - d.began) % d.period, 0, "on %s: off the beat", e->world);
        cr_assert_gt(due, d.over, "on %s: made up for what was missed", e->world);
        if (e->sim)
            cr_assert_eq((due - d.began) / d.period, next_due[i], "call %d", i);
    }
    cr_assert_eq(weir_timer_stop(timer), 0);
    cr_assert_eq(weir_loop_close(d.idle), 0);
}

static void put_off(struct weir_timer *timer, void *arg)
{
    fire(timer, arg);
    if (*(int *)arg == 2)
        cr_assert_eq(weir_timer_again(timer, HOUR), 0);
}

/* What its own callback sets holds, and not the next beat. */
ON_ALL_WORLDS(ioloop, periodic_set_from_its_own_callback)
{
    struct weir_timer *timer;
    int calls = 0;
    cr_assert_eq(weir_timer_start(e->loop, 0, 1000, put_off, &calls, &timer), 0);
    run_until(e, &calls, 2);
    cr_assert_geq(weir_loop_next_deadline(e->loop), weir_now(e->loop) + HOUR);
    cr_assert_eq(weir_timer_again(timer, 0), 0);
    run_until(e, &calls, 5);
    cr_assert_eq(weir_timer_stop(timer), 0);
}

/* ---- Starting and stopping ---- */

static void start_again(struct weir_timer *timer, void *arg)
{
    struct env *e = arg;
    (void)timer;
    cr_assert_eq(weir_loop_run(e->loop), -EBUSY);
    cr_assert_eq(weir_loop_run_once(e->loop, 0), -EBUSY);
    weir_loop_stop(e->loop);
}

ON_ALL_WORLDS(ioloop, reentrant)
{
    start(e, 0, start_again, e);
    cr_assert_eq(weir_loop_run(e->loop), 0);
}

/* A stop that comes before ends the next run at once. */
ON_ALL_WORLDS(ioloop, stop_before_start)
{
    struct stop s = {.e = e};
    start(e, HOUR, fire_and_stop, &s);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(weir_loop_stop(e->loop), 0);
        cr_assert_eq(weir_loop_run(e->loop), 0);
    }
    cr_assert_eq(s.calls, 0);
}

static atomic_int wrong;

static void *init_and_close(void *world)
{
    struct weir_loop_options opt = {.size = sizeof opt};
    opt.backend = strcmp(world, "epoll") == 0 ? WEIR_BACKEND_EPOLL : WEIR_BACKEND_URING;
    for (int i = 0; i < 10; i++) {
        struct weir_sim *sim = NULL;
        struct weir_loop *loop = NULL;
        if (strcmp(world, "sim") == 0)
            wrong += weir_sim_open(1, NULL, &sim) != 0 || weir_sim_loop_open(sim, NULL, &loop) != 0;
        else
            wrong += weir_loop_open(&opt, &loop) != 0;
        wrong += weir_loop_close(loop) != 0 || weir_sim_close(sim) != 0;
    }
    return NULL;
}

ON_ALL_WORLDS(ioloop, init_close_race)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, init_and_close, (void *)(uintptr_t)e->world);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(wrong, 0);
}
