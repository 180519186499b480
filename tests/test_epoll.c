/* The epoll world: what it leaves behind, what it does to descriptors, and wake-ups that bring nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend.h"
#include "helpers_refuse.h"
#include "helpers_stream.h"
#include "mem.h"

enum { SOME = 40000, MANY = 256 << 10 };

TestSuite(epoll, .timeout = 60);

/* ---- The loop on it ---- */

static void on_timer(struct weir_timer *timer, void *arg)
{
    (void)timer;
    *(int *)arg = 1;
}

/* A wait in milliseconds is rounded up: no timer comes early, and none makes the loop spin. */
static void timers_hold(struct weir_loop *loop)
{
    static const uint64_t delays[] = {1, 300000, 1000001, 2500000};
    struct weir_loop_stats before, after;
    for (unsigned i = 0; i < sizeof delays / sizeof *delays; i++) {
        int fired = 0;
        uint64_t start = weir_now(loop);
        weir_loop_stats(loop, &before, sizeof before);
        cr_assert_eq(weir_timer_start(loop, delays[i], 0, on_timer, &fired, NULL), 0);
        while (!fired)
            cr_assert_geq(weir_loop_run_once(loop, UINT64_MAX), 0);
        weir_loop_stats(loop, &after, sizeof after);
        cr_assert_geq(weir_now(loop), start + delays[i]);
        cr_assert_leq(after.enters - before.enters, 4);
    }
}

static void works(const char *mask)
{
    struct echo e;
    int fds_before = open_fds();
    uint64_t live_before = wr_mem_live();
    struct weir_loop *loop = must_open(WEIR_BACKEND_EPOLL, mask);
    cr_assert_str_eq(weir_loop_world(loop), "epoll");
    cr_assert_str_eq(described(loop, "because"), "");
    echo_works(loop, SOME);
    echo_start_tcp(&e, loop, MANY);
    echo_finish(&e, 1);
    timers_hold(loop);
    cr_assert_eq(weir_loop_close(loop), 0);
    cr_assert_eq(open_fds(), fds_before, "descriptors left: %d", open_fds() - fds_before);
    cr_assert_eq(wr_mem_live(), live_before);
}

Test(epoll, leaves_nothing_behind)
{
    works(NULL);
}

Test(epoll, streams_open_at_the_end_leave_nothing)
{
    struct weir_stream *s;
    int fds[2], fds_before = open_fds();
    uint64_t live_before = wr_mem_live();
    struct weir_loop *loop = must_open(WEIR_BACKEND_EPOLL, NULL);
    for (int i = 0; i < 100; i++) { /* more than it first has seats for */
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        cr_assert_eq(weir_stream_open(loop, fds[0], NULL, &s), 0);
        cr_assert_eq(weir_stream_open(loop, fds[1], NULL, &s), 0);
        cr_assert_eq(weir_write(s, "late", 4, NULL, NULL), 0);
    }
    cr_assert_eq(weir_loop_close(loop), 0);
    cr_assert_eq(open_fds(), fds_before, "descriptors left: %d", open_fds() - fds_before);
    cr_assert_eq(wr_mem_live(), live_before);
}

Test(epoll, works_without_pwait2)
{
    works("epoll_pwait2");
    struct weir_loop *loop = must_open(WEIR_BACKEND_EPOLL, "epoll_pwait2");
    cr_assert_str_eq(described(loop, "epoll_pwait2"), "masked");
    cr_assert_eq(weir_loop_close(loop), 0);
}

Test(epoll, pwait2_refused_ENOSYS)
{
    refuse_call(SYS_epoll_pwait2, ENOSYS);
    works(NULL);
}

Test(epoll, pwait2_refused_EPERM)
{
    refuse_call(SYS_epoll_pwait2, EPERM);
    works(NULL);
}

Test(epoll, pwait2_refused_is_described)
{
    refuse_call(SYS_epoll_pwait2, ENOSYS);
    struct weir_loop *loop = must_open(WEIR_BACKEND_EPOLL, NULL);
    echo_works(loop, SOME);
    cr_assert_str_neq(described(loop, "epoll_pwait2"), "used");
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* Any other refusal ends the loop with the kernel's word. */
Test(epoll, waiting_refused)
{
    struct weir_loop *loop = must_open(WEIR_BACKEND_EPOLL, NULL);
    refuse_call(SYS_epoll_pwait2, EACCES);
    cr_assert_eq(weir_loop_run(loop), -EACCES);
    cr_assert_eq(weir_loop_close(loop), 0);
}

Test(epoll, signals_lose_nothing)
{
    rounds_under_signals(WEIR_BACKEND_EPOLL);
}

Test(epoll, many_streams_at_once)
{
    many_at_once(WEIR_BACKEND_EPOLL, 8);
}

/* ---- Who is heard when ---- */

enum { TALKERS = 128, SPEECH = 65536 };

static struct listening {
    struct weir_stream *s;
    int theirs;
    size_t heard;
} crowd[2 * TALKERS];

static void hear(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    if (status == 0)
        ((struct listening *)arg)->heard += view.len;
}

static void listen_to(struct weir_loop *loop, struct listening *l)
{
    int fds[2];
    l->heard = 0;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    l->theirs = fds[1];
    cr_assert_eq(weir_stream_open(loop, fds[0], NULL, &l->s), 0);
    cr_assert_eq(weir_read_start(l->s, hear, l), 0);
}

static int turns_until_heard(struct weir_loop *loop, int from, int to)
{
    int turns = 0;
    for (int i = from; i < to; i++)
        for (; crowd[i].heard == 0; turns++)
            cr_assert_geq(weir_loop_run_once(loop, 1000000000), 0);
    return turns;
}

/* Half of them have so much to say that each is given the word in every turn. The others do not wait for that. */
Test(epoll, new_words_are_heard_beside_long_speeches)
{
    static const char speech[SPEECH];
    struct weir_loop_options opt = {
        .size = sizeof opt, .backend = WEIR_BACKEND_EPOLL, .recv_buffer_size = 64, .recv_buffers = 1024};
    struct weir_loop *loop;
    cr_assert_eq(weir_loop_open(&opt, &loop), 0);
    for (int i = 0; i < 2 * TALKERS; i++)
        listen_to(loop, &crowd[i]);
    cr_assert_geq(weir_loop_run_once(loop, 0), 0);
    for (int i = 0; i < TALKERS; i++)
        cr_assert_eq(write(crowd[i].theirs, speech, SPEECH), SPEECH);
    turns_until_heard(loop, 0, TALKERS);
    for (int i = TALKERS; i < 2 * TALKERS; i++)
        cr_assert_eq(write(crowd[i].theirs, "word", 4), 4);
    cr_assert_leq(turns_until_heard(loop, TALKERS, 2 * TALKERS), 3);
    for (int i = 0; i < TALKERS; i++)
        cr_assert_lt(crowd[i].heard, SPEECH, "they speak on");
    cr_assert_eq(weir_loop_close(loop), 0);
    for (int i = 0; i < 2 * TALKERS; i++)
        close(crowd[i].theirs);
}

/* ---- What it does to a descriptor that it is given ---- */

static void adopts(int backend, bool blocking_wanted)
{
    struct weir_loop *loop = must_open(backend, NULL);
    for (int given = 0; given <= SOCK_NONBLOCK; given += SOCK_NONBLOCK) {
        struct weir_stream *s;
        int fds[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | given, 0, fds), 0);
        cr_assert_eq(weir_stream_open(loop, fds[0], NULL, &s), 0);
        cr_assert_eq(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK), blocking_wanted);
        cr_assert_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
        cr_assert_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, given ? O_NONBLOCK : 0, "the peer is not ours");
        close(fds[1]);
    }
    cr_assert_eq(weir_loop_close(loop), 0);
}

Test(epoll, adopted_sockets_do_not_block)
{
    adopts(WEIR_BACKEND_EPOLL, false);
}

Test(epoll, adopted_sockets_block_on_io_uring)
{
    adopts(WEIR_BACKEND_URING, true);
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

static int open_on(struct weir_loop *loop, int fd)
{
    struct weir_stream *s;
    return weir_stream_open(loop, fd, NULL, &s);
}

static void never_called(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l, (void)status, (void)s, (void)arg;
}

static int listen_on(struct weir_loop *loop, int fd)
{
    struct weir_listen_options opt = {.size = sizeof opt, .fd = fd};
    struct weir_listener *l;
    return weir_listen(loop, &opt, never_called, NULL, &l);
}

static void refuses(struct weir_loop *loop, int (*take)(struct weir_loop *loop, int fd), int fd, int error)
{
    for (int given = 0; given <= O_NONBLOCK; given += O_NONBLOCK) {
        cr_assert_eq(fcntl(fd, F_SETFL, given), 0);
        int flags = fcntl(fd, F_GETFL);
        cr_assert_eq(take(loop, fd), error);
        cr_assert_eq(fcntl(fd, F_GETFL), flags);
        cr_assert_eq(fcntl(fd, F_GETFD), 0);
    }
}

static void leaves_what_it_refuses(int backend)
{
    struct weir_loop *loop = must_open(backend, NULL);
    int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0), listening = socket(AF_INET, SOCK_STREAM, 0), fds[2];
    cr_assert_eq(listen(listening, 1), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    refuses(loop, open_on, datagrams, -ENOTSUP);
    refuses(loop, open_on, listening, -EINVAL);
    refuses(loop, listen_on, fds[0], -EINVAL);
    wr_mem_gate = refuse_all;
    refuses(loop, open_on, fds[0], -ENOMEM);
    refuses(loop, listen_on, listening, -ENOMEM);
    wr_mem_gate = NULL;
    cr_assert(close(datagrams) == 0 && close(listening) == 0 && close(fds[0]) == 0 && close(fds[1]) == 0);
    cr_assert_eq(weir_loop_close(loop), 0);
}

Test(epoll, a_refused_descriptor_stays_as_it_was)
{
    leaves_what_it_refuses(WEIR_BACKEND_EPOLL);
}

Test(epoll, a_refused_descriptor_stays_as_it_was_on_io_uring)
{
    leaves_what_it_refuses(WEIR_BACKEND_URING);
}

/* Whoever else has a stream's socket open finds it as it was once the stream is closed. */
static void gives_back(int backend)
{
    struct weir_loop *loop = must_open(backend, NULL);
    int fds[2], kept[2];
    for (int given = 0; given <= 1; given++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | (given ? SOCK_NONBLOCK : 0), 0, fds), 0);
        kept[given] = dup(fds[0]);
        cr_assert_eq(open_on(loop, fds[0]), 0);
        close(fds[1]);
    }
    cr_assert_eq(weir_loop_close(loop), 0);
    for (int given = 0; given <= 1; given++) {
        cr_assert_eq(!!(fcntl(kept[given], F_GETFL) & O_NONBLOCK), given);
        close(kept[given]);
    }
}

Test(epoll, a_closed_socket_is_left_as_it_came)
{
    gives_back(WEIR_BACKEND_EPOLL);
}

Test(epoll, a_closed_socket_is_left_as_it_came_on_io_uring)
{
    gives_back(WEIR_BACKEND_URING);
}

/* ---- Wake-ups that bring nothing: a duplicate of the descriptor was faster ---- */

struct duel {
    struct wr_world *w;
    int ours, thief, peer;  /* thief: a duplicate of ours */
    struct wr_op op;
    unsigned results;
    long total;             /* sum of the results */
    int res;                /* the last */
};

static void duel_done(struct wr_op *op, const struct wr_result *r)
{
    struct duel *d = wr_home(op, struct duel, op);
    d->results++;
    d->res = r->res;
    d->total += r->res;
    if (r->seg)
        wr_segment_drop(r->seg);
}

static void reap(struct duel *d)
{
    struct wr_result r;
    while (d->w->ops->reap(d->w, &r, 1) > 0) {
        r.op->in_flight = r.more;
        r.op->done(r.op, &r);
    }
}

static void turn(struct duel *d)
{
    cr_assert_eq(d->w->ops->turn(d->w, 0), 0);
}

/* Events are fetched, what they tell of is gone, the op is tried. */
static void turn_too_late(struct duel *d, void (*steal)(struct duel *d))
{
    turn(d);
    steal(d);
    reap(d);
}

static void begin(struct duel *d, enum wr_op_kind kind)
{
    d->op.done = duel_done;
    d->op.kind = (uint8_t)kind;
    d->op.fd = d->ours;
    wr_start(d->w, &d->op);
    turn(d);
    reap(d);
}

static void duel_open(struct duel *d)
{
    struct wr_report report = {0};
    struct wr_world_options opt = {
        .recv_buffer_size = 4096, .recv_buffers = 4, .ring_entries = 64, .completions_per_turn = 64};
    *d = (struct duel){.ours = -1, .thief = -1, .peer = -1};
    cr_assert_eq(wr_epoll_open(&opt, &report, &d->w), 0);
}

static void duel_pair(struct duel *d)
{
    int fds[2];
    duel_open(d);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    d->ours = fds[0];
    d->peer = fds[1];
    d->thief = dup(d->ours);
}

static void duel_close(struct duel *d)
{
    wr_cancel(d->w, &d->op);
    reap(d);
    cr_assert(!d->op.in_flight);
    close(d->thief);
    close(d->peer);
    begin(d, WR_OP_CLOSE);
    d->w->ops->close(d->w);
}

/* Whether something is registered beside the world's own wake-up. */
static bool is_registered(const struct duel *d)
{
    char path[64], line[256];
    int count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", d->w->ops->fd(d->w));
    FILE *file = fopen(path, "r");
    cr_assert(file);
    while (fgets(line, sizeof line, file))
        count += strncmp(line, "tfd:", 4) == 0;
    fclose(file);
    return count > 1;
}

/* What nobody else has leaves with its close, and need not be told to: which shows where that is not so. */
Test(epoll, a_duplicate_does_not_keep_a_closed_socket_registered)
{
    for (int sole = 0; sole <= 1; sole++) {
        struct duel d;
        duel_pair(&d);
        begin(&d, WR_OP_RECV);
        wr_cancel(d.w, &d.op);
        reap(&d);
        cr_assert(is_registered(&d));
        d.op.traits = sole ? WR_FD_SOLE : 0;
        begin(&d, WR_OP_CLOSE);
        cr_assert_eq(is_registered(&d), sole);
        close(d.thief);
        close(d.peer);
        cr_assert(!is_registered(&d));
        d.w->ops->close(d.w);
    }
}

static void say(struct duel *d, const char *text)
{
    cr_assert_eq(write(d->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static void steal_bytes(struct duel *d)
{
    char text[64];
    cr_assert_gt(read(d->thief, text, sizeof text), 0);
}

static void steal_nothing(struct duel *d)
{
    (void)d;
}

Test(epoll, bytes_that_are_gone_are_waited_for_again)
{
    struct duel d;
    duel_pair(&d);
    d.op.flags = WR_OP_MULTI;
    begin(&d, WR_OP_RECV);
    say(&d, "one");
    turn_too_late(&d, steal_nothing);
    cr_assert_eq(d.results, 1);
    cr_assert_eq(d.res, 3);
    for (unsigned i = 0; i < 3; i++) {
        say(&d, "stolen");
        turn_too_late(&d, steal_bytes);
        cr_assert_eq(d.results, 1 + i);
        cr_assert(d.op.in_flight);
        say(&d, "more");
        turn_too_late(&d, steal_nothing);
        cr_assert_eq(d.results, 2 + i);
        cr_assert_eq(d.res, 4);
    }
    duel_close(&d);
}

static void call(struct duel *d)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    cr_assert_eq(getsockname(d->ours, (struct sockaddr *)&addr, &len), 0);
    close(d->peer);
    d->peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(d->peer, (struct sockaddr *)&addr, len), 0);
}

static void steal_connection(struct duel *d)
{
    int fd = accept(d->thief, NULL, NULL);
    cr_assert_geq(fd, 0);
    close(fd);
}

Test(epoll, a_connection_that_is_gone_is_waited_for_again)
{
    struct duel d;
    struct sockaddr any = {.sa_family = AF_UNIX};
    duel_open(&d);
    d.ours = d.w->ops->listen(d.w, &any, sizeof(sa_family_t), 8, false);
    cr_assert_geq(d.ours, 0);
    d.thief = dup(d.ours);
    begin(&d, WR_OP_ACCEPT);
    call(&d);
    turn_too_late(&d, steal_connection);
    cr_assert_eq(d.results, 0);
    cr_assert(d.op.in_flight);
    call(&d);
    turn_too_late(&d, steal_nothing);
    cr_assert_eq(d.results, 1);
    cr_assert_geq(d.res, 0);
    close(d.res);
    duel_close(&d);
}

static void steal_room(struct duel *d)
{
    static const char text[4096];
    while (write(d->thief, text, sizeof text) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
}

static long drain(struct duel *d)
{
    static char text[65536];
    long all = 0;
    for (ssize_t n; (n = read(d->peer, text, sizeof text)) > 0;)
        all += n;
    return all;
}

Test(epoll, room_that_is_gone_is_waited_for_again)
{
    static char text[4 << 20];
    struct duel d;
    duel_pair(&d);
    d.op.u.send = (struct iovec){text, sizeof text};
    begin(&d, WR_OP_SEND);
    cr_assert(d.op.in_flight);
    cr_assert_gt(drain(&d), 0);
    turn_too_late(&d, steal_room);
    cr_assert(d.op.in_flight);
    for (int i = 0; i < 10000 && d.op.in_flight; i++) {
        drain(&d);
        turn_too_late(&d, steal_nothing);
    }
    cr_assert_eq(d.total, (long)sizeof text);
    duel_close(&d);
}

/* The number of a closed descriptor is used again while a duplicate keeps its socket open. */
Test(epoll, a_duplicate_speaks_to_nobody)
{
    struct duel d;
    int fds[2];
    duel_pair(&d);
    begin(&d, WR_OP_RECV);
    wr_cancel(d.w, &d.op);
    reap(&d);
    begin(&d, WR_OP_CLOSE);
    cr_assert_eq(d.res, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(fds[0], d.ours, "the lowest free number");
    d.results = 0;
    d.op.flags = WR_OP_MULTI;
    begin(&d, WR_OP_RECV);
    say(&d, "to the duplicate");
    uint64_t before = d.w->ops->now(d.w);
    cr_assert_eq(d.w->ops->turn(d.w, 1000000), 0);
    cr_assert_geq(d.w->ops->now(d.w) - before, 1000000, "woken for nobody");
    reap(&d);
    cr_assert_eq(d.results, 0);
    cr_assert_eq(write(fds[1], "ours", 4), 4);
    turn_too_late(&d, steal_nothing);
    cr_assert_eq(d.res, 4);
    close(fds[1]);
    duel_close(&d);
}
