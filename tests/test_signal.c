/* Signals: a call on the loop's thread, one at least after the last, and everything as it was once nobody watches. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "helpers_stream.h"
#include "mem.h"

/* A signal with a name: its callback logs "NAME signo", USR1 and USR2 by name. */
struct ear {
    struct env *e;
    const char *name;
    struct weir_signal *s;
    int calls;
    void (*then)(struct ear *ear);  /* called from the callback; may be NULL */
    struct ear *other;              /* for `then` */
};

static const char *signal_name(int signo)
{
    return signo == SIGUSR1 ? "USR1" : signo == SIGUSR2 ? "USR2" : "?";
}

static void heard(struct weir_signal *s, int signo, void *arg)
{
    struct ear *ear = arg;
    cr_assert_eq(s, ear->s, "on %s: %s was closed", ear->e->world, ear->name);
    ear->calls++;
    note(ear->e, "%s %s\n", ear->name, signal_name(signo));
    if (ear->then)
        ear->then(ear);
}

static void ear_open(struct ear *ear, struct env *e, const char *name, int signo)
{
    *ear = (struct ear){.e = e, .name = name};
    int rc = weir_signal_open(e->loop, signo, heard, ear, &ear->s);
    cr_assert_eq(rc, 0, "on %s: %s", e->world, weir_strerror(rc));
}

static void ear_close(struct ear *ear)
{
    cr_assert_eq(weir_signal_close(ear->s), 0);
    ear->s = NULL;
}

static void (*disposition(int signo))(int)
{
    struct sigaction now;
    cr_assert_eq(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

/* ---- Calls ---- */

ON_ALL_WORLDS(signal, calls_on_the_loop)
{
    struct ear ear;
    ear_open(&ear, e, "a", SIGUSR1);
    run_idle(e);
    expect_log(e, "");
    raise(SIGUSR1);
    expect_log(e, "");
    run_until(e, &ear.calls, 1);
    run_idle(e);
    expect_log(e, "a USR1\n");
    for (int i = 0; i < 5; i++)
        raise(SIGUSR1);
    run_until(e, &ear.calls, 2);
    run_idle(e);
    expect_log(e, "a USR1\n");
    ear_close(&ear);
}

static void raise_again(struct ear *ear)
{
    if (ear->calls < 4)
        raise(SIGUSR1);
}

static void raise_from_timer(struct weir_timer *timer, void *arg)
{
    (void)timer, (void)arg;
    raise(SIGUSR1);
}

/* One that comes after the loop has looked, and before it waits, ends the wait. */
ON_ALL_WORLDS(signal, ends_a_wait_that_has_yet_to_begin)
{
    struct ear ear;
    ear_open(&ear, e, "a", SIGUSR1);
    ear.then = raise_again;
    cr_assert_eq(weir_timer_start(e->loop, 1000, 0, raise_from_timer, NULL, NULL), 0);
    while (ear.calls < 4)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    run_idle(e);
    expect_log(e, "a USR1\na USR1\na USR1\na USR1\n");
    ear_close(&ear);
}

ON_ALL_WORLDS(signal, calls_each_of_several)
{
    struct ear a, b, c;
    ear_open(&a, e, "a", SIGUSR1);
    ear_open(&b, e, "b", SIGUSR1);
    ear_open(&c, e, "c", SIGUSR2);
    raise(SIGUSR1);
    run_until(e, &b.calls, 1);
    run_idle(e);
    expect_log(e, "a USR1\nb USR1\n");
    raise(SIGUSR2);
    raise(SIGUSR1);
    run_until(e, &c.calls, 1);
    run_idle(e);
    expect_log(e, "a USR1\nb USR1\nc USR2\n");
    ear_close(&a);
    raise(SIGUSR1);
    run_until(e, &b.calls, 3);
    expect_log(e, "b USR1\n");
    ear_close(&c);
    ear_close(&b);
}

ON_ALL_WORLDS(signal, calls_every_loop)
{
    struct env other = {.world = e->world};
    struct ear a, b;
    struct weir_loop_options opt = {.size = sizeof opt, .backend = WEIR_BACKEND_EPOLL};
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &other.loop), 0);
    else
        cr_assert_eq(weir_loop_open(&opt, &other.loop), 0);
    ear_open(&a, e, "a", SIGUSR1);
    ear_open(&b, &other, "b", SIGUSR1);
    raise(SIGUSR1);
    run_until(e, &a.calls, 1);
    cr_assert_eq(b.calls, 0);
    run_until(&other, &b.calls, 1);
    ear_close(&a);
    raise(SIGUSR1);
    run_until(&other, &b.calls, 2);
    cr_assert_eq(weir_loop_close(other.loop), 0);
    cr_assert_eq(disposition(SIGUSR1), SIG_DFL);
}

/* ---- Closing ---- */

static void close_itself(struct ear *ear)
{
    ear_close(ear);
}

static void close_other(struct ear *ear)
{
    ear_close(ear->other);
}

ON_ALL_WORLDS(signal, closed_is_never_called)
{
    struct ear a, b;
    ear_open(&a, e, "a", SIGUSR1);
    ear_open(&b, e, "b", SIGUSR1);
    a.then = close_other;
    a.other = &b;
    raise(SIGUSR1);
    run_until(e, &a.calls, 1);
    run_idle(e);
    expect_log(e, "a USR1\n");
    a.then = close_itself;
    raise(SIGUSR1);
    run_until(e, &a.calls, 2);
    expect_log(e, "a USR1\n");
    ear_open(&a, e, "a", SIGUSR1);
    raise(SIGUSR1);
    ear_close(&a);
    run_idle(e);
    expect_log(e, "");
}

ON_ALL_WORLDS(signal, opens_and_closes_again_and_again)
{
    struct ear ears[8];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 8; i++)
            ear_open(&ears[i], e, "a", i % 2 ? SIGUSR1 : SIGUSR2);
        raise(SIGUSR1);
        raise(SIGUSR2);
        run_until(e, &ears[7].calls, 1);
        for (int i = 0; i < 8; i++)
            cr_assert_eq(ears[i].calls, 1);
        for (int i = 0; i < 8; i++) /* each time another one is the first */
            ear_close(&ears[(i * 5 + round) % 8]);
        cr_assert_eq(disposition(SIGUSR1), SIG_DFL);
        cr_assert_eq(disposition(SIGUSR2), SIG_DFL);
    }
}

static volatile sig_atomic_t old_calls;

static void old_handler(int signo)
{
    (void)signo;
    old_calls++;
}

ON_ALL_WORLDS(signal, what_was_done_before_is_done_again)
{
    struct sigaction old = {.sa_handler = old_handler}, now;
    struct ear a, b;
    old_calls = 0;
    sigemptyset(&old.sa_mask);
    sigaddset(&old.sa_mask, SIGUSR2);
    cr_assert_eq(sigaction(SIGUSR1, &old, NULL), 0);
    ear_open(&a, e, "a", SIGUSR1);
    ear_open(&b, e, "b", SIGUSR1);
    ear_close(&a);
    raise(SIGUSR1);
    run_until(e, &b.calls, 1);
    cr_assert_eq(old_calls, 0);
    ear_close(&b);
    raise(SIGUSR1);
    cr_assert_eq(old_calls, 1);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &now), 0);
    cr_assert(sigismember(&now.sa_mask, SIGUSR2) && !sigismember(&now.sa_mask, SIGTERM));
    cr_assert_eq(now.sa_flags & SA_RESTART, 0);
}

/* Somebody took the signal from us: it is not ours to give back. */
ON_ALL_WORLDS(signal, a_later_handler_is_left_alone)
{
    struct sigaction later = {.sa_handler = old_handler};
    struct ear a;
    ear_open(&a, e, "a", SIGUSR1);
    cr_assert_eq(sigaction(SIGUSR1, &later, NULL), 0);
    ear_close(&a);
    cr_assert_eq(disposition(SIGUSR1), old_handler);
}

static struct ear kept;

static void use_old_handle(struct weir_stream *s, int reason, void *arg)
{
    struct party *p = arg;
    struct weir_signal *sig;
    on_close(s, reason, p);
    cr_assert_eq(disposition(SIGUSR1), SIG_DFL);
    cr_assert_eq(weir_signal_open(p->env->loop, SIGUSR1, heard, NULL, &sig), WEIR_ECLOSED);
    cr_assert_eq(weir_signal_close(kept.s), 0);
    cr_assert_eq(weir_signal_close(kept.s), 0);
}

ON_ALL_WORLDS(signal, ends_with_its_loop)
{
    struct party a, b;
    struct ear c;
    ear_open(&kept, e, "kept", SIGUSR1);
    ear_open(&c, e, "c", SIGUSR1);
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(a.s, use_old_handle, &a);
    raise(SIGUSR1);
    cr_assert_eq(weir_loop_close(e->loop), 0);
    cr_assert(a.closed && b.closed);
    cr_assert_eq(kept.calls + c.calls, 0);
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &e->loop), 0);
    else
        cr_assert_eq(weir_loop_open(NULL, &e->loop), 0);
}

/* ---- The handler's manners ---- */

ON_ALL_WORLDS(signal, interrupts_nothing_but_the_loop)
{
    struct sigaction now;
    struct ear a;
    ear_open(&a, e, "a", SIGUSR1);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &now), 0);
    cr_assert(now.sa_flags & SA_RESTART);
    for (int i = 0; i < 3; i++) {
        errno = 77;
        raise(SIGUSR1);
        cr_assert_eq(errno, 77);
    }
    ear_close(&a);
}

ON_ALL_WORLDS(signal, refuses_what_cannot_be_served)
{
    static const int wrong[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0, -1, 32, 33, 65, 1 << 20};
    struct weir_signal *s = NULL;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(weir_signal_open(e->loop, wrong[i], heard, NULL, &s), -EINVAL, "%d", wrong[i]);
    cr_assert_eq(weir_signal_open(e->loop, SIGUSR1, NULL, NULL, &s), -EINVAL);
    cr_assert_eq(weir_signal_open(e->loop, SIGUSR1, heard, NULL, NULL), -EINVAL);
    cr_assert_eq(disposition(SIGUSR1), SIG_DFL);
    cr_assert_null(s);
    cr_assert_eq(weir_signal_close(NULL), 0);
    cr_assert_eq(weir_signal_open(e->loop, SIGRTMAX, heard, NULL, &s), 0);
    cr_assert_eq(weir_signal_close(s), 0);
}

static bool no_memory(size_t size)
{
    (void)size;
    return false;
}

ON_ALL_WORLDS(signal, opening_without_memory_fails_cleanly)
{
    struct weir_signal *s;
    wr_mem_gate = no_memory;
    int rc = weir_signal_open(e->loop, SIGUSR1, heard, NULL, &s);
    wr_mem_gate = NULL;
    cr_assert_eq(rc, -ENOMEM);
    cr_assert_eq(disposition(SIGUSR1), SIG_DFL);
}

/* ---- Inside another loop ---- */

static void embed(int backend)
{
    struct env e = {.world = "embedded"};
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct ear a;
    cr_assert_eq(weir_loop_open(&opt, &e.loop), 0);
    struct pollfd p = {.fd = weir_loop_fd(e.loop), .events = POLLIN};
    ear_open(&a, &e, "a", SIGUSR1);
    for (int i = 1; i <= 20; i++) {
        while (weir_loop_run_once(e.loop, 0) > 0)
            ;
        cr_assert_eq(poll(&p, 1, 0), 0);
        raise(SIGUSR1);
        while (a.calls < i) {
            cr_assert_eq(poll(&p, 1, 5000), 1, "the descriptor stayed silent");
            cr_assert_geq(weir_loop_run_once(e.loop, 0), 0);
        }
    }
    cr_assert_eq(weir_loop_close(e.loop), 0);
}

Test(signal, inside_another_loop_uring)
{
    embed(WEIR_BACKEND_URING);
}

Test(signal, inside_another_loop_epoll)
{
    embed(WEIR_BACKEND_EPOLL);
}
