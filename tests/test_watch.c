/* Watches: readiness of descriptors that are not the library's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "helpers_foreign.h"
#include "mem.h"

static void turn(struct env *e)
{
    cr_assert_geq(weir_loop_run_once(e->loop, 1000000), 0);
}

/* Turns until the watch was called n times. */
static void until_called(struct lookout *l, int n)
{
    run_until(l->e, &l->calls, n);
}

ON_ALL_WORLDS(watch, tells_what_can_be_read_as_long_as_it_can)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], WEIR_READABLE);
    run_idle(e);
    expect_log(e, "");
    foreign_send(e, fds[0], "abc");
    until_called(&l, 3);
    expect_log(e, "l r\nl r\nl r\n");
    cr_assert_eq(foreign_drain(e, fds[1]), 3);
    l.calls = 0;
    run_idle(e);
    cr_assert_leq(l.calls, 1, "nothing is there any more, but for what was under way");
    forget_log(e);
    foreign_send(e, fds[0], "d");
    l.then = lookout_drain;
    until_called(&l, l.calls + 1);
    run_idle(e);
    expect_log(e, "l r\n");
    lookout_close(&l);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

static void call_never_twice(struct lookout *l)
{
    int *turns = l->with;
    cr_assert_eq(l->calls, *turns, "twice in one turn");
}

ON_ALL_WORLDS(watch, calls_once_a_turn)
{
    struct lookout l;
    int fds[2], turns = 0;
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], WEIR_WRITABLE);
    l.then = call_never_twice;
    l.with = &turns;
    while (l.calls < 20) {
        turns = l.calls + 1;
        turn(e);
    }
    lookout_close(&l);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(watch, tells_what_was_asked_and_no_more)
{
    struct lookout r, w, b;
    int fds[2];
    foreign_pair(e, fds);
    foreign_send(e, fds[0], "abc");
    foreign_wait(e, fds[1]);
    lookout_open(&r, e, "r", fds[1], WEIR_READABLE);
    lookout_open(&w, e, "w", fds[1], WEIR_WRITABLE);
    lookout_open(&b, e, "b", fds[1], WEIR_READABLE | WEIR_WRITABLE);
    until_called(&r, 1);
    until_called(&w, 1);
    until_called(&b, 1);
    cr_assert_eq(r.events, WEIR_READABLE);
    cr_assert_eq(w.events, WEIR_WRITABLE);
    cr_assert_eq(b.events, WEIR_READABLE | WEIR_WRITABLE);
    lookout_close(&b);
    lookout_close(&w);
    cr_assert_eq(foreign_drain(e, fds[1]), 3);
    run_idle(e);
    forget_log(e);
    foreign_send(e, fds[0], "d");
    until_called(&r, r.calls + 1);
    lookout_close(&r);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(watch, waits_for_room_though_the_peer_has_ended)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    do { /* TCP's buffers give way for a while */
        foreign_fill(e, fds[1]);
        run_idle(e);
    } while (weir_loop_run_once(e->loop, 0) > 0);
    foreign_shutdown(e, fds[0]);
    lookout_open(&l, e, "l", fds[1], WEIR_WRITABLE);
    run_idle(e);
    foreign_fill(e, fds[1]);
    l.calls = 0;
    while (l.calls == 0) {
        (void)foreign_drain(e, fds[0]);
        turn(e);
    }
    cr_assert_eq(l.events, WEIR_WRITABLE);
    lookout_close(&l);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(watch, updates_change_what_is_told)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], WEIR_READABLE);
    run_idle(e);
    cr_assert_eq(weir_watch_update(l.watch, WEIR_WRITABLE), 0);
    until_called(&l, 1);
    cr_assert_eq(l.events, WEIR_WRITABLE);
    cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE), 0);
    forget_log(e);
    run_idle(e);
    expect_log(e, "");
    foreign_send(e, fds[0], "abc");
    until_called(&l, l.calls + 1);
    cr_assert_eq(l.events, WEIR_READABLE);
    for (int i = 0; i < 5; i++) { /* back and forth before a turn */
        cr_assert_eq(weir_watch_update(l.watch, 0), 0);
        cr_assert_eq(weir_watch_update(l.watch, WEIR_WRITABLE), 0);
        cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE), 0);
        until_called(&l, l.calls + 1);
        cr_assert_eq(l.events, WEIR_READABLE);
    }
    lookout_close(&l);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(watch, rests_while_nothing_is_asked)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], 0);
    foreign_send(e, fds[0], "abc");
    run_idle(e);
    cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE), 0);
    cr_assert_eq(weir_watch_update(l.watch, 0), 0);
    run_idle(e);
    cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE), 0);
    until_called(&l, 2);
    cr_assert_eq(weir_watch_update(l.watch, 0), 0);
    l.calls = 0;
    foreign_close(e, fds[0], 1);
    foreign_wait(e, fds[1]);
    run_idle(e);
    cr_assert_eq(l.calls, 0, "it hears not even of the end");
    cr_assert_eq(weir_watch_update(l.watch, WEIR_WRITABLE), 0);
    until_called(&l, 1);
    cr_assert_eq(l.events & (WEIR_HANGUP | WEIR_ERROR), WEIR_HANGUP | WEIR_ERROR);
    lookout_close(&l);
    foreign_close(e, fds[1], 0);
}

ON_ALL_WORLDS(watch, may_wait_for_the_end_alone)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&l, e, "l", fds[1], WEIR_HANGUP);
    foreign_send(e, fds[0], "abc");
    run_idle(e);
    foreign_shutdown(e, fds[0]);
    run_idle(e);
    expect_log(e, "");
    foreign_close(e, fds[0], 1);
    until_called(&l, 1);
    expect_log(e, "l he\n");
    lookout_close(&l);
    foreign_close(e, fds[1], 0);
}

static void rest(struct lookout *l)
{
    cr_assert_eq(weir_watch_update(l->watch, 0), 0);
}

static void close_itself(struct lookout *l)
{
    int fd = l->fd;
    lookout_close(l);
    foreign_close(l->e, fd, 0);
}

ON_ALL_WORLDS(watch, may_rest_or_close_in_its_own_callback)
{
    struct lookout l;
    int fds[2];
    foreign_pair(e, fds);
    foreign_send(e, fds[0], "abc");
    lookout_open(&l, e, "l", fds[1], WEIR_READABLE);
    l.then = rest;
    until_called(&l, 1);
    run_idle(e);
    expect_log(e, "l r\n");
    l.then = close_itself;
    cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE), 0);
    until_called(&l, 2);
    run_idle(e);
    expect_log(e, "l r\n");
    foreign_close(e, fds[0], 0);
}

/* Both are ready in one turn: the first one that is called silences the other. */
static void silence_other(struct lookout *l)
{
    struct lookout *other = l->with;
    cr_assert_eq(weir_watch_update(other->watch, 0), 0);
    cr_assert_eq(weir_watch_update(l->watch, 0), 0);
}

static void ask_other_for_less(struct lookout *l)
{
    struct lookout *other = l->with;
    cr_assert_eq(weir_watch_update(other->watch, WEIR_WRITABLE), 0);
    cr_assert_eq(weir_watch_update(l->watch, 0), 0);
    other->then = rest;
}

ON_ALL_WORLDS(watch, updates_hold_for_what_has_come_already)
{
    struct lookout l[2];
    int fds[2][2];
    for (int i = 0; i < 2; i++) {
        foreign_pair(e, fds[i]);
        foreign_send(e, fds[i][0], "abc");
        foreign_wait(e, fds[i][1]);
        lookout_open(&l[i], e, i ? "b" : "a", fds[i][1], WEIR_READABLE);
        l[i].with = &l[!i];
        l[i].then = silence_other;
    }
    turn(e);
    run_idle(e);
    cr_assert_eq(l[0].calls + l[1].calls, 1, "on %s: %s", e->world, e->log);
    for (int i = 0; i < 2; i++) {
        l[i].calls = 0;
        l[i].then = ask_other_for_less;
        cr_assert_eq(weir_watch_update(l[i].watch, WEIR_READABLE), 0);
    }
    forget_log(e);
    run_idle(e);
    cr_assert(strcmp(e->log, "a r\nb w\n") == 0 || strcmp(e->log, "b r\na w\n") == 0, "on %s: %s", e->world, e->log);
    for (int i = 0; i < 2; i++) {
        lookout_close(&l[i]);
        foreign_close(e, fds[i][0], 0);
        foreign_close(e, fds[i][1], 0);
    }
}

/* ---- The descriptor is its user's ---- */

ON_ALL_WORLDS(watch, closed_leaves_the_descriptor_to_its_user_at_once)
{
    struct lookout l;
    int fds[2], next[2];
    for (int turns = 0; turns < 4; turns++) {
        foreign_pair(e, fds);
        lookout_open(&l, e, "old", fds[1], WEIR_READABLE);
        for (int i = 0; i < turns; i++)
            turn(e);
        lookout_close(&l);
        foreign_close(e, fds[1], 0);
        foreign_wait(e, fds[0]);
        cr_assert_eq(foreign_drain(e, fds[0]), -1, "the end is there without a turn");
        foreign_close(e, fds[0], 0);
        foreign_pair(e, next);
        lookout_open(&l, e, "new", next[1], WEIR_READABLE);
        run_idle(e);
        expect_log(e, "");
        foreign_send(e, next[0], "abc");
        until_called(&l, 1);
        expect_log(e, "new r\n");
        lookout_close(&l);
        foreign_close(e, next[0], 0);
        foreign_close(e, next[1], 0);
    }
}

/* The number of a watched descriptor becomes a stream's, and the other way round. */
ON_ALL_LAYERS(watch, numbers_pass_between_watches_and_streams)
{
    for (int i = 0; i < 5; i++) {
        struct lookout l;
        struct party a, b;
        int fds[2];
        foreign_pair(e, fds);
        lookout_open(&l, e, "l", fds[1], WEIR_READABLE);
        run_idle(e);
        lookout_close(&l);
        foreign_close(e, fds[0], 0);
        foreign_close(e, fds[1], 0);
        open_pair(e, NULL, &a, &b);
        cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
        cr_assert_eq(weir_write(a.s, "hello", 5, NULL, NULL), 0);
        run_idle(e);
        expect_log(e, "b read 0 5 hello\n");
        close_pair(e, &a, &b);
        run_idle(e);
        forget_log(e);
    }
}

ON_ALL_WORLDS(watch, watches_of_one_descriptor_do_not_mind_each_other)
{
    struct lookout a, b;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&a, e, "a", fds[1], WEIR_READABLE);
    lookout_open(&b, e, "b", fds[1], WEIR_READABLE);
    run_idle(e);
    lookout_close(&a);
    run_idle(e);
    foreign_send(e, fds[0], "abc");
    until_called(&b, 1);
    expect_log(e, "b r\n");
    lookout_close(&b);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

/* ---- Ends and errors ---- */

static void never(struct weir_watch *watch, int status, unsigned events, void *arg)
{
    (void)watch, (void)status, (void)events, (void)arg;
    cr_assert_fail("called");
}

static struct lookout kept;

static void use_old_handle(struct weir_stream *s, int reason, void *arg)
{
    struct party *p = arg;
    struct weir_watch *w;
    on_close(s, reason, p);
    cr_assert_eq(weir_watch_update(kept.watch, WEIR_READABLE), WEIR_ECLOSED);
    cr_assert_eq(weir_watch_open(p->env->loop, kept.fd, 0, never, NULL, &w), WEIR_ECLOSED);
    cr_assert_eq(weir_watch_close(kept.watch), 0);
    cr_assert_eq(weir_watch_close(kept.watch), 0);
}

ON_ALL_LAYERS(watch, ends_with_its_loop_but_the_descriptor_does_not)
{
    struct lookout ready, resting;
    struct party a, b;
    int fds[2];
    foreign_pair(e, fds);
    lookout_open(&kept, e, "kept", fds[1], WEIR_READABLE);
    lookout_open(&ready, e, "ready", fds[1], WEIR_WRITABLE);
    lookout_open(&resting, e, "resting", fds[0], 0);
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(a.s, use_old_handle, &a);
    until_called(&ready, 3);
    foreign_send(e, fds[0], "abc");
    ready.calls = 0;
    cr_assert_eq(weir_loop_close(e->loop), 0);
    cr_assert(a.closed && b.closed);
    cr_assert_eq(ready.calls + kept.calls, 0, "closing ends it first");
    cr_assert_eq(foreign_drain(e, fds[1]), 3);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &e->loop), 0);
    else
        cr_assert_eq(weir_loop_open(NULL, &e->loop), 0);
}

ON_ALL_WORLDS(watch, refuses_what_is_wrong)
{
    struct weir_watch *w = NULL;
    int fds[2];
    foreign_pair(e, fds);
    cr_assert_eq(weir_watch_open(e->loop, -1, WEIR_READABLE, never, NULL, &w), -EBADF);
    cr_assert_eq(weir_watch_open(e->loop, 10000, WEIR_READABLE, never, NULL, &w), -EBADF);
    cr_assert_eq(weir_watch_open(e->loop, fds[0], 16, never, NULL, &w), -EINVAL);
    cr_assert_eq(weir_watch_open(e->loop, fds[0], WEIR_READABLE, NULL, NULL, &w), -EINVAL);
    cr_assert_eq(weir_watch_open(e->loop, fds[0], WEIR_READABLE, never, NULL, NULL), -EINVAL);
    cr_assert_null(w);
    cr_assert_eq(weir_watch_open(e->loop, fds[0], WEIR_READABLE, never, NULL, &w), 0);
    cr_assert_eq(weir_watch_update(w, 16), -EINVAL);
    cr_assert_eq(weir_watch_update(NULL, 0), -EINVAL);
    cr_assert_eq(weir_watch_close(NULL), 0);
    cr_assert_eq(weir_watch_close(w), 0);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
    run_idle(e);
}

static unsigned long gate_at, gate_count;

static bool gate_one(size_t size)
{
    (void)size;
    return ++gate_count != gate_at;
}

ON_ALL_WORLDS(watch, opening_without_memory_fails_cleanly)
{
    int fds[2], rc = -ENOMEM;
    struct weir_watch *w;
    foreign_pair(e, fds);
    for (gate_at = 1; rc == -ENOMEM; gate_at++) {
        gate_count = 0;
        wr_mem_gate = gate_one;
        rc = weir_watch_open(e->loop, fds[1], WEIR_READABLE, never, NULL, &w);
        wr_mem_gate = NULL;
        cr_assert(gate_at < 10);
    }
    cr_assert_eq(rc, 0);
    cr_assert_gt(gate_at, 2, "nothing was allocated");
    cr_assert_eq(weir_watch_close(w), 0);
    foreign_close(e, fds[0], 0);
    foreign_close(e, fds[1], 0);
}

/* ---- What is no socket ---- */

static void files(int backend)
{
    struct env e = {.world = "files"};
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct lookout l;
    cr_assert_eq(weir_loop_open(&opt, &e.loop), 0);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    lookout_open(&l, &e, "l", fd, WEIR_READABLE);
    until_called(&l, 3);
    expect_log(&e, "l r\nl r\nl r\n");
    cr_assert_eq(weir_watch_update(l.watch, WEIR_HANGUP), 0);
    until_called(&l, 4);
    run_idle(&e);
    expect_log(&e, "l EINVAL\n");
    cr_assert_eq(weir_watch_update(l.watch, WEIR_READABLE | WEIR_WRITABLE), 0);
    until_called(&l, 5);
    expect_log(&e, "l rw\n");
    lookout_close(&l);
    close(fd);
    cr_assert_eq(weir_loop_close(e.loop), 0);
}

Test(watch, files_are_always_ready_uring)
{
    files(WEIR_BACKEND_URING);
}

Test(watch, files_are_always_ready_epoll)
{
    files(WEIR_BACKEND_EPOLL);
}

static void pipes(int backend)
{
    struct env e = {.world = "pipes"};
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct lookout in, out;
    int fds[2];
    cr_assert_eq(weir_loop_open(&opt, &e.loop), 0);
    cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    lookout_open(&in, &e, "in", fds[0], WEIR_READABLE);
    lookout_open(&out, &e, "out", fds[1], WEIR_WRITABLE);
    out.then = rest;
    until_called(&out, 1);
    run_idle(&e);
    expect_log(&e, "out w\n");
    in.then = rest;
    cr_assert_eq(write(fds[1], "abc", 3), 3);
    until_called(&in, 1);
    lookout_close(&out);
    close(fds[1]);
    cr_assert_eq(weir_watch_update(in.watch, WEIR_READABLE), 0);
    until_called(&in, 2);
    expect_log(&e, "in r\nin rh\n");
    lookout_close(&in);
    close(fds[0]);
    cr_assert_eq(weir_loop_close(e.loop), 0);
}

Test(watch, pipes_uring)
{
    pipes(WEIR_BACKEND_URING);
}

Test(watch, pipes_epoll)
{
    pipes(WEIR_BACKEND_EPOLL);
}

/* ---- Inside another loop ---- */

static void serve(struct env *e)
{
    while (weir_loop_run_once(e->loop, 0) > 0)
        ;
}

static void embed(int backend)
{
    struct env e = {.world = "embedded"};
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct lookout l;
    int fds[2];
    cr_assert_eq(weir_loop_open(&opt, &e.loop), 0);
    struct pollfd p = {.fd = weir_loop_fd(e.loop), .events = POLLIN};
    serve(&e);
    foreign_pair(&e, fds);
    lookout_open(&l, &e, "l", fds[1], WEIR_READABLE);
    l.then = lookout_drain;
    cr_assert_eq(weir_loop_next_deadline(e.loop), 0, "it has to be started");
    serve(&e);
    for (int i = 1; i <= 3; i++) {
        cr_assert_eq(poll(&p, 1, 0), 0);
        foreign_send(&e, fds[0], "abc");
        while (l.calls < i) {
            cr_assert_eq(poll(&p, 1, 5000), 1, "the descriptor stayed silent");
            serve(&e);
        }
        serve(&e);
    }
    lookout_close(&l);
    foreign_close(&e, fds[0], 0);
    foreign_close(&e, fds[1], 0);
    cr_assert_eq(weir_loop_close(e.loop), 0);
}

Test(watch, inside_another_loop_uring)
{
    embed(WEIR_BACKEND_URING);
}

Test(watch, inside_another_loop_epoll)
{
    embed(WEIR_BACKEND_EPOLL);
}

/* A loop that watches another one. */
static void nest(int backend)
{
    struct env out = {.world = "outer"}, in = {.world = "inner"};
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct lookout inner, outer;
    int fds[2];
    cr_assert_eq(weir_loop_open(&opt, &out.loop), 0);
    cr_assert_eq(weir_loop_open(&opt, &in.loop), 0);
    foreign_pair(&in, fds);
    lookout_open(&inner, &in, "inner", fds[1], WEIR_READABLE);
    inner.then = lookout_drain;
    int fd = weir_loop_fd(in.loop);
    serve(&in);
    lookout_open(&outer, &out, "outer", fd, WEIR_READABLE);
    foreign_send(&in, fds[0], "abc");
    while (inner.calls == 0) {
        until_called(&outer, outer.calls + 1);
        serve(&in);
    }
    lookout_close(&outer);
    lookout_close(&inner);
    foreign_close(&in, fds[0], 0);
    foreign_close(&in, fds[1], 0);
    cr_assert_eq(weir_loop_close(in.loop), 0);
    cr_assert_eq(weir_loop_close(out.loop), 0);
}

Test(watch, a_loop_in_a_loop_uring)
{
    nest(WEIR_BACKEND_URING);
}

Test(watch, a_loop_in_a_loop_epoll)
{
    nest(WEIR_BACKEND_EPOLL);
}

/* ---- At random ---- */

enum { PAIRS = 12, STEPS = 3000 };

struct rover {
    struct lookout l;
    int fds[2];
    unsigned asked;
    bool open, readable;
};

static struct rover rovers[PAIRS];
static uint64_t seed;

static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static void step(struct env *e);

static void check_rover(struct lookout *l)
{
    struct rover *r = l->with;
    cr_assert(r->open && r->asked, "on %s: called while closed or resting", l->e->world);
    cr_assert_eq(l->status, 0);
    cr_assert_eq(l->events & ~(r->asked | WEIR_HANGUP | WEIR_ERROR), 0);
    if (l->events & WEIR_READABLE && draw(2)) {
        (void)foreign_drain(l->e, l->fd);
        r->readable = false;
    }
    if (draw(3) == 0)
        step(l->e);
}

static void rover_open(struct env *e, struct rover *r)
{
    static const unsigned some[] = {0, WEIR_READABLE, WEIR_WRITABLE, WEIR_READABLE | WEIR_WRITABLE, WEIR_HANGUP};
    foreign_pair(e, r->fds);
    r->asked = some[draw(5)];
    r->open = true;
    r->readable = false;
    lookout_open(&r->l, e, NULL, r->fds[1], r->asked);
    r->l.with = r;
    r->l.then = check_rover;
}

static void rover_close(struct env *e, struct rover *r)
{
    r->open = false;
    lookout_close(&r->l);
    foreign_close(e, r->fds[1], 0);
    foreign_close(e, r->fds[0], 0);
}

static void step(struct env *e)
{
    struct rover *r = &rovers[draw(PAIRS)];
    switch (r->open ? draw(4) : 4) {
    case 0:
        rover_close(e, r);
        break;
    case 1:
        r->asked = draw(4);
        cr_assert_eq(weir_watch_update(r->l.watch, r->asked), 0);
        break;
    case 2:
    case 3:
        foreign_send(e, r->fds[0], "abc");
        r->readable = true;
        break;
    default:
        rover_open(e, r);
    }
}

/* Whoever waits for what is there hears of it. */
static void all_hear(void)
{
    for (int i = 0; i < PAIRS; i++)
        rovers[i].l.then = NULL;
    for (int i = 0; i < PAIRS; i++) {
        struct rover *r = &rovers[i];
        bool hears = r->open && ((r->readable && r->asked & WEIR_READABLE) || r->asked & WEIR_WRITABLE);
        if (hears)
            until_called(&r->l, r->l.calls + 1);
        if (r->open && r->asked)
            cr_assert_eq(weir_watch_update(r->l.watch, 0), 0);
        r->asked = 0;
    }
}

static void roam(struct env *e)
{
    for (int i = 0; i < STEPS; i++) {
        step(e);
        if (draw(2))
            turn(e);
    }
    all_hear();
    for (int i = 0; i < PAIRS; i++)
        if (rovers[i].open)
            rover_close(e, &rovers[i]);
}

ON_ALL_WORLDS(watch, opens_and_closes_at_random)
{
    seed = 7;
    roam(e);
}

Test(watch, opens_and_closes_at_random_under_faults)
{
    for (uint64_t n = 1; n <= 50; n++) {
        struct weir_sim_options opt = {.size = sizeof opt,
                                       .faults = WEIR_SIM_ALL & ~(unsigned)(WEIR_SIM_RESET | WEIR_SIM_ACCEPT),
                                       .socket_buffer = 1 << 20};
        struct env e = {.world = "faulty sim"};
        cr_assert_eq(weir_sim_open(n, &opt, &e.sim), 0);
        cr_assert_eq(weir_sim_loop_open(e.sim, NULL, &e.loop), 0);
        seed = n;
        roam(&e);
        cr_assert_eq(weir_loop_close(e.loop), 0);
        cr_assert_eq(weir_sim_close(e.sim), 0);
    }
}
