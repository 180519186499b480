/* Facts about turns: when they wait and when not, what wakes them, and that no limit loses anything. */
#include "helpers_world.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

enum { IN = 11, OUT = 22 };

/* ---- Waiting ---- */

FACT(turn_waits_as_long_as_it_was_told, ON_ALL)
{
    static const uint64_t waits[] = { 1, 1000, 100000, 999999, 1000000, 1500001, 20000000 };
    int own, raw;
    struct reader r;
    trial_pair(t, TCP, &own, &raw);
    reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
    act_start(&r.act);
    trial_settle(t);
    for (size_t i = 0; i < WR_COUNT(waits); i++) {
        uint64_t before = t->w->ops->now(t->w), shots = r.act.starts;
        trial_turn(t, waits[i]);
        uint64_t after = t->w->ops->now(t->w);
        trial_settle(t);
        if (t->kind->faults == 0 || shots == r.act.starts)
            expect(t, after - before >= waits[i]);
    }
    act_cancel(&r.act);
    act_end(&r.act);
    reader_done(&r);
}

FACT(turn_waits_though_nothing_is_in_flight, ON_ALL)
{
    uint64_t before = t->w->ops->now(t->w);
    trial_turn(t, 3000000);
    expect(t, t->w->ops->now(t->w) - before >= 3000000);
}

FACT(time_never_goes_back, ON_ALL)
{
    uint64_t last = t->w->ops->now(t->w);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = t->w->ops->now(t->w);
        expect(t, now >= last);
        last = now;
        if (i % 100 == 0)
            trial_turn(t, 1000);
    }
}

/* Each of these turns would last for ever if it waited. */
FACT(turn_does_not_wait_while_there_is_something_to_reap, ON_ALL)
{
    enum { OPS = 5 };
    struct act a[OPS];
    struct wr_result one;
    for (int i = 0; i < OPS; i++) {
        int own, raw;
        trial_pair(t, TCP, &own, &raw);
        act_init(&a[i], t, WR_OP_POLL, own);
        a[i].plan.u.events = POLLOUT;
        act_start(&a[i]);
    }
    for (int i = 0; i < OPS; i++) {
        trial_turn(t, UINT64_MAX);
        trial_turn(t, UINT64_MAX);
        expect_eq(t, t->w->ops->reap(t->w, &one, 1), 1);
        trial_serve(t, &one);
    }
    for (int i = 0; i < OPS; i++)
        act_end(&a[i]);
}

FACT(turn_ends_when_something_completes, ON_ALL)
{
    int own, raw;
    struct reader r;
    trial_pair(t, TCP, &own, &raw);
    reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
    act_start(&r.act);
    for (uint64_t i = 1; i <= 50; i++) {
        unsigned char byte;
        pattern_fill(IN, r.got, &byte, 1);
        expect_eq(t, raw_send(t, raw, &byte, 1), 1);
        while (r.got < i) {
            trial_turn(t, UINT64_MAX);
            trial_reap(t);
            trial_feed(t);
        }
    }
    raw_shutdown(t, raw);
    expect_eq(t, act_end(&r.act), 0);
    reader_done(&r);
}

/* ---- Waking ---- */

FACT(wake_ends_the_next_turn, ON_ALL)
{
    for (int i = 0; i < 50; i++) {
        for (int k = 0; k <= i % 3; k++)
            t->w->ops->wake(t->w);
        trial_turn(t, UINT64_MAX);
        trial_reap(t);
    }
}

/* A wake is used up: turns wait again, or the loop would spin. */
FACT(wake_does_not_ring_for_ever, ON_ALL)
{
    for (int i = 0; i < 10; i++) {
        t->w->ops->wake(t->w);
        t->w->ops->wake(t->w);
        for (int k = 0; k < 3; k++) {
            trial_turn(t, 0);
            trial_reap(t);
        }
        uint64_t before = t->w->ops->now(t->w);
        trial_turn(t, 1000000);
        expect(t, t->w->ops->now(t->w) - before >= 1000000);
        trial_reap(t);
    }
}

FACT(wakes_without_number_do_no_harm, ON_REAL)
{
    for (int i = 0; i < 100000; i++)
        t->w->ops->wake(t->w);
    trial_turn(t, UINT64_MAX);
    trial_reap(t);
    t->w->ops->wake(t->w);
    trial_turn(t, UINT64_MAX);
}

struct waker {
    struct wr_world *w;
    unsigned rounds, seen;
};

/* The next wake comes only when the turn before has returned: a lost one is a hang. */
static void *wake_in_turn(void *arg)
{
    struct waker *wk = arg;
    for (unsigned i = 0; i < wk->rounds; i++) {
        while (__atomic_load_n(&wk->seen, __ATOMIC_ACQUIRE) < i)
            sched_yield();
        wk->w->ops->wake(wk->w);
    }
    return NULL;
}

FACT(wake_by_a_thread_ends_the_turn, ON_REAL)
{
    struct waker wk = { t->w, 3000, 0 };
    pthread_t thread;
    expect_eq(t, pthread_create(&thread, NULL, wake_in_turn, &wk), 0);
    for (unsigned i = 0; i < wk.rounds; i++) {
        trial_turn(t, UINT64_MAX);
        trial_reap(t);
        __atomic_store_n(&wk.seen, i + 1, __ATOMIC_RELEASE);
    }
    pthread_join(thread, NULL);
}

/* Wakes that come while a turn is ending are the ones that get lost. */
static void *post_and_wake(void *arg)
{
    struct waker *wk = arg;
    for (unsigned i = 0; i < wk->rounds; i++) {
        __atomic_store_n(&wk->seen, i + 1, __ATOMIC_SEQ_CST);
        wk->w->ops->wake(wk->w);
    }
    return NULL;
}

FACT(wakes_in_a_race_are_not_lost, ON_REAL)
{
    for (int i = 0; i < 5; i++) {
        struct waker wk = { t->w, 20000, 0 };
        pthread_t thread;
        expect_eq(t, pthread_create(&thread, NULL, post_and_wake, &wk), 0);
        while (__atomic_load_n(&wk.seen, __ATOMIC_SEQ_CST) < wk.rounds) {
            trial_turn(t, UINT64_MAX);
            trial_reap(t);
        }
        pthread_join(thread, NULL);
    }
}

static struct wr_world *signalled;
static volatile sig_atomic_t signals;

static void wake_by_signal(int signo)
{
    (void)signo;
    signals++;
    if (signalled)
        signalled->ops->wake(signalled);
}

static void set_alarm(suseconds_t us, void (*fn)(int))
{
    struct itimerval every = { { 0, us }, { 0, us } };
    struct sigaction sa = { .sa_handler = fn };
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

FACT(wake_in_a_signal_handler_ends_the_turn, ON_REAL)
{
    signalled = t->w;
    set_alarm(2000, wake_by_signal);
    for (int i = 0; i < 50; i++) {
        trial_turn(t, UINT64_MAX);
        trial_reap(t);
    }
    set_alarm(0, wake_by_signal);
    signalled = NULL;
    expect(t, signals > 0);
}

/* ---- Signals ---- */

FACT(signals_disturb_nothing, ON_REAL)
{
    each_sort (t, sort) {
        int own, raw;
        struct reader r;
        struct writer s;
        pthread_t thread;
        trial_pair(t, sort, &own, &raw);
        expect_eq(t, pthread_create(&thread, NULL, raw_echo, &raw), 0);
        reader_init(&r, t, own, OUT, INTO_POOL_MULTI, 0);
        writer_init(&s, t, own, OUT, t->kind->volume, 70000, 3);
        r.stop = t->kind->volume;
        signals = 0;
        set_alarm(200, wake_by_signal);
        act_start(&r.act);
        writer_start(&s);
        until (t, s.act.over && r.act.over)
            ;
        set_alarm(0, wake_by_signal);
        expect(t, signals > 0);
        expect_eq(t, r.got, t->kind->volume);
        trial_close(t, own);
        pthread_join(thread, NULL);
        reader_done(&r);
        writer_done(&s);
    }
}

FACT(accept_and_connect_survive_signals, ON_REAL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = trial_listen(t, 64, &addr, &len);
    set_alarm(200, wake_by_signal);
    for (int i = 0; i < 200; i++) {
        struct taker k;
        struct act c;
        int own = trial_socket(t, AF_INET);
        taker_init(&k, t, listener, i % 2, 1);
        act_init(&c, t, WR_OP_CONNECT, own);
        act_connect_to(&c, &addr, len);
        act_start(&k.act);
        act_start(&c);
        expect_eq(t, act_end(&c), 0);
        act_end(&k.act);
        expect_eq(t, k.count, 1);
        trial_close(t, own);
        trial_close(t, k.fds[0]);
        taker_done(&k);
    }
    set_alarm(0, wake_by_signal);
}

/* ---- Limits ---- */

static void talk(struct trial *t)
{
    int own, raw;
    struct reader r;
    struct writer s;
    uint64_t total = t->kind->volume / 4;
    struct peer p = { .key_out = IN, .total = total, .fin = true, .key_in = OUT, .got_max = UINT64_MAX };
    trial_pair(t, TCP, &own, &raw);
    reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
    writer_init(&s, t, own, OUT, total, 20000, 2);
    act_start(&r.act);
    writer_start(&s);
    peer_join(t, &p, raw);
    expect_eq(t, act_end(&r.act), 0);
    until (t, s.act.over && p.got == total)
        ;
    expect_eq(t, r.got, total);
    peer_leave(&p);
    reader_done(&r);
    writer_done(&s);
}

FACT(reap_of_one_loses_nothing, ON_ALL, .reap_max = 1)
{
    talk(t);
}

FACT(reap_of_many_loses_nothing, ON_ALL, .reap_max = 256)
{
    talk(t);
}

/* Far more ops in one turn than the ring has entries. */
FACT(ops_beyond_the_ring_all_complete, ON_ALL, .ring_entries = 4)
{
    enum { PAIRS = 500 };
    static struct act in[PAIRS];
    static struct writer out[PAIRS];
    static unsigned char byte[PAIRS];
    unsigned over = 0, count = t->kind->faults ? 20 : PAIRS;
    for (unsigned i = 0; i < count; i++) {
        int own, raw;
        trial_pair(t, i % 2 ? UNIX : TCP, &own, &raw);
        act_init(&in[i], t, i % 3 ? WR_OP_RECV : WR_OP_POLL, own);
        if (in[i].plan.kind == WR_OP_POLL)
            in[i].plan.u.events = POLLIN;
        else {
            in[i].plan.u.recv.base = &byte[i];
            in[i].plan.u.recv.len = 1;
        }
        writer_init(&out[i], t, own, i, 1, 1, 1);
        expect_eq(t, raw_send(t, raw, "x", 1), 1);
    }
    for (unsigned i = 0; i < count; i++) {
        act_start(&in[i]);
        writer_start(&out[i]);
    }
    until (t, over == 2 * count) {
        over = 0;
        for (unsigned i = 0; i < count; i++)
            over += in[i].over + out[i].act.over;
    }
    for (unsigned i = 0; i < count; i++) {
        expect_eq(t, in[i].res, 1);     /* a byte, or POLLIN */
        expect_eq(t, out[i].sent, 1);
        writer_done(&out[i]);
    }
}

/* Far more completions than a small ring has room for, before the first is fetched. */
FACT(completions_beyond_the_ring_are_not_lost, ON_ALL, .ring_entries = 4, .recv_buffers = 64)
{
    enum { STREAMS = 200, PIECES = 3 };
    static struct reader r[STREAMS];
    static int raw[STREAMS];
    unsigned count = t->kind->faults ? 20 : STREAMS, over = 0;
    unsigned char bytes[10 * PIECES];
    for (unsigned i = 0; i < count; i++) {
        int own;
        trial_pair(t, i % 2 ? UNIX : TCP, &own, &raw[i]);
        reader_init(&r[i], t, own, i, i % 4 ? INTO_POOL_MULTI : INTO_MEMORY, 7);
        act_start(&r[i].act);
    }
    trial_turn(t, 0);
    for (unsigned piece = 0; piece < PIECES; piece++)
        for (unsigned i = 0; i < count; i++) {
            pattern_fill(i, 0, bytes, sizeof(bytes));
            for (size_t at = piece * 10, end = at + 10; at < end;) {
                int64_t n = raw_send(t, raw[i], bytes + at, end - at);
                if (n > 0)
                    at += (size_t)n;
                else
                    trial_settle(t);    /* the simulator's smallest sockets hold less than that */
            }
            if (i % 32 == 0)
                trial_turn(t, 0);
        }
    for (unsigned i = 0; i < count; i++)
        raw_shutdown(t, raw[i]);
    for (int i = 0; i < 10; i++)
        trial_turn(t, 0);
    until (t, over == count) {
        over = 0;
        for (unsigned i = 0; i < count; i++)
            over += r[i].act.over;
    }
    for (unsigned i = 0; i < count; i++) {
        expect_eq(t, r[i].act.res, 0);
        expect_eq(t, r[i].got, sizeof(bytes));
        reader_done(&r[i]);
    }
}

/* More shots than even a generous completion queue holds. */
FACT(shots_beyond_the_queue_are_not_lost, ON_CALM, .recv_buffer_size = 128, .recv_buffers = 32768)
{
    enum { STREAMS = 8, BYTES = 128 * 32768 / STREAMS };
    struct reader r[STREAMS];
    struct peer p[STREAMS];
    unsigned char data[8192];
    for (unsigned i = 0; i < STREAMS; i++) {
        int own, raw;
        trial_pair(t, TCP, &own, &raw);
        p[i] = (struct peer){ .fd = raw, .key_out = i, .total = BYTES, .fin = true };
        reader_init(&r[i], t, own, i, INTO_POOL_MULTI, 0);
        act_start(&r[i].act);
    }
    for (int round = 0; round < 100; round++) {
        for (unsigned i = 0; i < STREAMS; i++) {
            pattern_fill(i, p[i].sent, data, sizeof(data));
            size_t len = wr_min(sizeof(data), (size_t)(BYTES - p[i].sent));
            int64_t n = len ? raw_send(t, p[i].fd, data, len) : 0;
            p[i].sent += n > 0 ? (uint64_t)n : 0;
        }
        trial_turn(t, 0);
    }
    for (unsigned i = 0; i < STREAMS; i++)
        peer_join(t, &p[i], p[i].fd);
    for (unsigned i = 0; i < STREAMS; i++) {
        expect_eq(t, act_end(&r[i].act), 0);
        expect_eq(t, r[i].got, BYTES);
        peer_leave(&p[i]);
        reader_done(&r[i]);
    }
}

/* ---- Handing over ---- */

FACT(flush_hands_over_without_waiting, ON_REAL)
{
    int own, raw;
    struct writer s;
    unsigned char bytes[100];
    trial_pair(t, TCP, &own, &raw);
    writer_init(&s, t, own, OUT, sizeof(bytes), sizeof(bytes), 2);
    writer_start(&s);
    expect(t, t->w->ops->flush(t->w) >= 0);
    struct pollfd p = { .fd = raw, .events = POLLIN };
    expect_eq(t, poll(&p, 1, 10000), 1);
    expect_eq(t, raw_recv(t, raw, bytes, sizeof(bytes)), sizeof(bytes));
    expect_eq(t, pattern_match(OUT, 0, bytes, sizeof(bytes)), sizeof(bytes));
    act_end(&s.act);
    writer_done(&s);
}

FACT(one_turn_is_one_system_call, ON_URING)
{
    enum { OPS = 30 };
    struct act a[OPS];
    for (int i = 0; i < OPS; i++) {
        int own, raw;
        trial_pair(t, TCP, &own, &raw);
        act_init(&a[i], t, WR_OP_POLL, own);
        a[i].plan.u.events = POLLIN;
    }
    trial_settle(t);
    uint64_t enters = t->w->enters, started = t->w->started;
    for (int i = 0; i < OPS; i++)
        act_start(&a[i]);
    expect_eq(t, t->w->started - started, OPS);
    trial_turn(t, 0);
    expect_eq(t, t->w->enters - enters, 1);
    for (int i = 0; i < OPS; i++) {
        act_cancel(&a[i]);
        act_end(&a[i]);
    }
}

/* The descriptor that stands for the world in somebody else's loop. A wake alone may be told twice by
 * io_uring, which is late to tell one eventfd of another. With the next handing over it is silent. */
FACT(fd_is_readable_when_there_is_something, ON_CALM)
{
    int own, raw, fd = t->w->ops->fd(t->w);
    struct reader r;
    if (!trial_is_real(t)) {
        expect_eq(t, fd, -ENOTSUP);
        return;
    }
    struct pollfd p = { .fd = fd, .events = POLLIN };
    expect(t, fd >= 0);
    trial_pair(t, TCP, &own, &raw);
    reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
    act_start(&r.act);
    trial_settle(t);
    for (uint64_t i = 0; i < 100; i++) {
        unsigned char byte;
        pattern_fill(IN, i, &byte, 1);
        expect_eq(t, t->w->ops->flush(t->w), 0);
        expect_eq(t, poll(&p, 1, 0), 0);
        expect_eq(t, send(raw, &byte, 1, 0), 1);
        expect_eq(t, poll(&p, 1, 10000), 1);
        while (r.got <= i) {
            trial_turn(t, 0);
            trial_reap(t);
        }
        trial_settle(t);
    }
    t->w->ops->wake(t->w);
    expect_eq(t, poll(&p, 1, 10000), 1);
    trial_settle(t);
    while (poll(&p, 1, 0) != 0) {
        expect(t, strcmp(t->w->ops->name, "io_uring") == 0);
        expect_eq(t, t->w->ops->flush(t->w), 0);
    }
    act_cancel(&r.act);
    act_end(&r.act);
    reader_done(&r);
}

/* What was started completes as it is handed over, or later: flush tells, or its owner's poll hears of it. */
FACT(fd_is_readable_for_what_flush_has_done, ON_REAL)
{
    for (int i = 0; i < 20; i++) {
        int own, raw;
        struct writer s;
        struct pollfd p = { .fd = t->w->ops->fd(t->w), .events = POLLIN };
        trial_pair(t, TCP, &own, &raw);
        writer_init(&s, t, own, OUT, 200, 100, 1);
        s.act.keep = false;
        s.loud = true;
        writer_start(&s);
        act_end(&s.act);
        trial_settle(t);
        expect_eq(t, poll(&p, 1, 0), 0);
        act_revive(&s.act);
        writer_start(&s);
        if (i % 2)
            act_cancel(&s.act);
        expect(t, t->w->ops->flush(t->w) == 1 || poll(&p, 1, 10000) == 1);
        act_end(&s.act);
        writer_done(&s);
    }
}
