/* Facts about bytes: what is received and sent, over every world. */
#include "helpers_world.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN = 11, OUT = 22 };     /* streams: towards the world, and from it */

/* ---- Receiving ---- */

static void read_to_end(struct trial *t, int sort, enum reader_manner manner, size_t memory, uint64_t total)
{
    int own, raw;
    struct reader r;
    struct peer p = { .key_out = IN, .total = total, .fin = true };
    trial_pair(t, sort, &own, &raw);
    reader_init(&r, t, own, IN, manner, memory);
    act_start(&r.act);
    peer_join(t, &p, raw);
    expect_eq(t, act_end(&r.act), 0);
    expect_eq(t, r.got, total);
    for (int again = 0; again < 3; again++) {
        act_revive(&r.act);
        act_start(&r.act);
        expect_eq(t, act_end(&r.act), 0);
    }
    expect_eq(t, r.got, total);
    peer_leave(&p);
    reader_done(&r);
    trial_close(t, own);
}

FACT(recv_multi_keeps_order_and_end, ON_ALL)
{
    each_sort (t, sort)
        read_to_end(t, sort, INTO_POOL_MULTI, 0, t->kind->volume);
}

FACT(recv_from_pool_keeps_order_and_end, ON_ALL)
{
    each_sort (t, sort)
        read_to_end(t, sort, INTO_POOL, 0, t->kind->volume);
}

FACT(recv_into_memory_keeps_order_and_end, ON_ALL)
{
    static const size_t sizes[] = { 1, 7, 4096, 100000 };
    for (size_t i = 0; i < WR_COUNT(sizes); i++)
        each_sort (t, sort)
            read_to_end(t, sort, INTO_MEMORY, sizes[i], wr_min(t->kind->volume, sizes[i] * 1000));
}

FACT(recv_sees_an_end_that_was_there_before, ON_ALL)
{
    each_sort (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
            int own, raw;
            struct reader r;
            trial_pair(t, sort, &own, &raw);
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 100);
            raw_shutdown(t, raw);
            act_start(&r.act);
            expect_eq(t, act_end(&r.act), 0);
            expect_eq(t, r.got, 0);
            reader_done(&r);
        }
}

/* Readers that hold on to their last buffer for a while: the pool runs dry again and again. */
static void read_with_few_buffers(struct trial *t, enum reader_manner manner, unsigned streams)
{
    struct reader r[4];
    struct peer p[4];
    unsigned ended = 0;
    int own, raw;
    expect(t, streams <= 4);
    for (unsigned i = 0; i < streams; i++) {
        p[i] = (struct peer){ .key_out = IN + i, .total = t->kind->volume / 8, .fin = true };
        trial_pair(t, TCP, &own, &raw);
        reader_init(&r[i], t, own, IN + i, manner, 0);
        r[i].hold = true;
        act_start(&r[i].act);
        peer_join(t, &p[i], raw);
    }
    until (t, ended == streams) {
        ended = 0;
        for (unsigned i = 0; i < streams; i++) {
            if (trial_draw(t, 3) == 0)
                reader_release(&r[i]);
            ended += r[i].act.over;
        }
    }
    for (unsigned i = 0; i < streams; i++) {
        expect_eq(t, r[i].act.res, 0);
        expect_eq(t, r[i].got, p[i].total);
        reader_done(&r[i]);
        peer_leave(&p[i]);
    }
}

FACT(recv_lives_with_one_buffer, ON_ALL, .recv_buffers = 1)
{
    read_with_few_buffers(t, INTO_POOL_MULTI, 1);
    read_with_few_buffers(t, INTO_POOL, 1);
}

FACT(recv_lives_with_two_buffers, ON_ALL, .recv_buffers = 2)
{
    read_with_few_buffers(t, INTO_POOL_MULTI, 1);
    read_with_few_buffers(t, INTO_POOL, 1);
}

FACT(recv_shares_few_buffers, ON_ALL, .recv_buffers = 2)
{
    read_with_few_buffers(t, INTO_POOL_MULTI, 4);
    read_with_few_buffers(t, INTO_POOL, 4);
}

FACT(recv_sees_reset, ON_ALL)
{
    for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
        int own, raw;
        struct reader r;
        struct peer p = { .key_out = IN, .total = 1000 };
        trial_pair(t, TCP, &own, &raw);
        reader_init(&r, t, own, IN, (enum reader_manner)manner, 100);
        act_start(&r.act);
        peer_join(t, &p, raw);
        until (t, r.got == 1000)
            ;
        peer_leave(&p);
        raw_close(t, raw, true);
        expect_eq(t, act_end(&r.act), -ECONNRESET);
        reader_done(&r);
    }
}

/* An armed receive takes no buffer before there is a byte: there are far more of them than buffers. */
FACT(recv_that_waits_needs_no_buffer, ON_ALL, .recv_buffers = 2)
{
    enum { STREAMS = 32 };
    struct reader r[STREAMS];
    int own[STREAMS], raw[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        trial_pair(t, TCP, &own[i], &raw[i]);
        reader_init(&r[i], t, own[i], IN, INTO_POOL_MULTI, 0);
        act_start(&r[i].act);
    }
    trial_settle(t);
    expect_eq(t, wr_bufpool_available(&t->w->pool), t->w->pool.count);
    for (int i = 0; i < STREAMS; i++) {
        struct peer p = { .key_out = IN, .total = 100, .fin = true };
        peer_join(t, &p, raw[i]);
        expect_eq(t, act_end(&r[i].act), 0);
        expect_eq(t, r[i].got, 100);
        peer_leave(&p);
        reader_done(&r[i]);
    }
}

/* ---- Sending ---- */

static void send_all(struct trial *t, int sort, uint64_t total, size_t offer, unsigned pieces, uint64_t step)
{
    int own, raw;
    struct writer s;
    struct peer p = { .key_in = OUT, .got_max = step };
    trial_pair(t, sort, &own, &raw);
    writer_init(&s, t, own, OUT, total, offer, pieces);
    peer_join(t, &p, raw);
    writer_start(&s);
    until (t, s.act.over && p.got == total) {
        if (p.got == p.got_max && trial_draw(t, 3) == 0)
            p.got_max += 1 + trial_draw(t, step);
    }
    expect(t, s.act.res > 0);
    expect_eq(t, s.sent, total);
    peer_leave(&p);
    writer_done(&s);
    trial_close(t, own);
}

FACT(send_one_piece_is_exact, ON_ALL)
{
    each_sort (t, sort) {
        send_all(t, sort, 1, 1, 1, 1000000);
        send_all(t, sort, t->kind->volume, 30000, 1, 1000000);
    }
}

FACT(send_of_many_pieces_is_exact, ON_ALL)
{
    each_sort (t, sort) {
        send_all(t, sort, t->kind->volume / 8, 3, 3, 1000000);
        send_all(t, sort, t->kind->volume, 100000, 64, 1000000);
        send_all(t, sort, t->kind->volume, 500000, 1024, 1000000);
    }
}

FACT(send_outgrows_the_socket, ON_ALL)
{
    each_sort (t, sort) {
        size_t total = t->kind->volume / 8;
        send_all(t, sort | NARROW, total, total, 1, total / 64);
        send_all(t, sort | NARROW, total, total, 100, total / 64);
    }
}

static volatile sig_atomic_t pipes;

static void count_pipe(int signo)
{
    (void)signo;
    pipes++;
}

FACT(send_to_the_gone_fails_without_a_signal, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct writer s;
        signal(SIGPIPE, count_pipe);
        trial_pair(t, sort | NARROW, &own, &raw);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 4);
        raw_close(t, raw, false);
        writer_start(&s);
        int res = act_end(&s.act);
        expect(t, res == -EPIPE || res == -ECONNRESET);
        act_revive(&s.act);
        writer_start(&s);
        expect_eq(t, act_end(&s.act), -EPIPE);
        expect_eq(t, pipes, 0);
        writer_done(&s);
    }
}

FACT(send_that_is_blocked_ends_when_the_peer_goes, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct writer s;
        trial_pair(t, sort | NARROW, &own, &raw);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 1);
        writer_start(&s);
        trial_settle(t);
        expect(t, !s.act.over);
        raw_close(t, raw, true);
        int res = act_end(&s.act);
        expect(t, res == -EPIPE || res == -ECONNRESET);
        writer_done(&s);
    }
}

/* ---- Both ---- */

FACT(both_directions_at_once, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct reader r;
        struct writer s;
        uint64_t total = t->kind->volume / 2;
        struct peer p = { .key_out = IN, .total = total, .fin = true, .key_in = OUT, .got_max = UINT64_MAX };
        trial_pair(t, sort, &own, &raw);
        reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
        writer_init(&s, t, own, OUT, total, 50000, 5);
        peer_join(t, &p, raw);
        act_start(&r.act);
        writer_start(&s);
        until (t, r.act.over && s.act.over && p.got == total)
            ;
        expect_eq(t, r.act.res, 0);
        expect_eq(t, r.got, total);
        expect(t, s.act.res > 0);
        peer_leave(&p);
        reader_done(&r);
        writer_done(&s);
    }
}

/* A receive waits while a send on the same socket is blocked: each gets its own events. */
FACT(blocked_send_does_not_hold_up_recv, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct reader r;
        struct writer s;
        uint64_t total = t->kind->volume / 8;
        struct peer p = { .key_out = IN, .total = total, .fin = true, .key_in = OUT };
        trial_pair(t, sort | NARROW, &own, &raw);
        reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 1);
        writer_start(&s);
        act_start(&r.act);
        peer_join(t, &p, raw);
        expect_eq(t, act_end(&r.act), 0);
        expect_eq(t, r.got, total);
        expect(t, !s.act.over);
        act_cancel(&s.act);
        act_end(&s.act);
        peer_leave(&p);
        reader_done(&r);
        writer_done(&s);
    }
}

FACT(shutdown_ends_one_direction_only, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct reader r;
        struct peer p = { .key_in = OUT, .got_max = UINT64_MAX, .key_out = IN, .total = 50000, .fin = true };
        trial_pair(t, sort, &own, &raw);
        reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
        act_start(&r.act);
        expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
        expect_eq(t, raw_drain(t, raw, OUT, NULL), 0);
        expect(t, !r.act.over);
        peer_join(t, &p, raw);
        expect_eq(t, act_end(&r.act), 0);
        expect_eq(t, r.got, p.total);
        peer_leave(&p);
        reader_done(&r);
    }
}

FACT(shutdown_goes_behind_what_was_sent, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        uint64_t got;
        struct writer s;
        trial_pair(t, sort, &own, &raw);
        writer_init(&s, t, own, OUT, 8000, 8000, 1);
        writer_start(&s);
        struct peer p = { .key_in = OUT };
        peer_join(t, &p, raw);
        until (t, s.act.over)
            p.got_max++;
        peer_leave(&p);
        expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
        p.got_max = UINT64_MAX;
        peer_join(t, &p, raw);
        until (t, p.ended || p.error)
            ;
        got = p.got;
        expect_eq(t, got, 8000);
        expect_eq(t, p.error, 0);
        peer_leave(&p);
        writer_done(&s);
    }
}

/* ---- Against the kernel's plain calls, elsewhere ---- */

/* The world sends, somebody with blocking calls sends it back, the world receives. */
static void meet_echo(struct trial *t, int own)
{
    struct reader r;
    struct writer s;
    bool shut = false;
    reader_init(&r, t, own, OUT, INTO_POOL_MULTI, 0);
    writer_init(&s, t, own, OUT, t->kind->volume, 70000, 3);
    act_start(&r.act);
    writer_start(&s);
    until (t, r.act.over) {
        if (s.act.over && !shut)
            shut = act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR) == 0;
    }
    expect_eq(t, r.act.res, 0);
    expect_eq(t, r.got, t->kind->volume);
    reader_done(&r);
    writer_done(&s);
}

FACT(echo_by_a_thread, ON_REAL)
{
    each_sort (t, sort) {
        int own, raw;
        pthread_t thread;
        trial_pair(t, sort, &own, &raw);
        expect_eq(t, pthread_create(&thread, NULL, raw_echo, &raw), 0);
        meet_echo(t, own);
        pthread_join(thread, NULL);
    }
}

FACT(echo_by_a_process, ON_REAL)
{
    int own, raw, status;
    trial_pair(t, TCP, &own, &raw);
    pid_t pid = fork();
    if (pid == 0) {
        close(own);
        raw_echo(&raw);
        _exit(0);
    }
    raw_close(t, raw, false);
    meet_echo(t, own);
    expect_eq(t, waitpid(pid, &status, 0), pid);
    expect_eq(t, status, 0);
}

/* What cuts a receive short although more has come: urgent data, and descriptors sent along. */
static void send_with_fd(struct trial *t, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    unsigned char byte;
    struct iovec iov = { &byte, 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof(control) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    pattern_fill(IN, 0, &byte, 1);
    *c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
    *(int *)(void *)CMSG_DATA(c) = fd;
    expect_eq(t, sendmsg(fd, &msg, 0), 1);
}

FACT(recv_passes_over_what_is_no_data, ON_REAL)
{
    int fds = count_fds();
    each_sort (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
            int own, raw;
            unsigned char bytes[100];
            struct reader r;
            trial_pair(t, sort, &own, &raw);
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 1000);
            r.stop = sizeof(bytes);
            pattern_fill(IN, 0, bytes, sizeof(bytes));
            if (sort == UNIX)
                send_with_fd(t, raw);
            else {
                expect_eq(t, raw_send(t, raw, bytes, 1), 1);
                expect_eq(t, send(raw, "!", 1, MSG_OOB), 1);
            }
            expect_eq(t, raw_send(t, raw, bytes + 1, sizeof(bytes) - 1), sizeof(bytes) - 1);
            act_start(&r.act);
            act_end(&r.act);
            expect_eq(t, r.got, sizeof(bytes));
            reader_done(&r);
            trial_close(t, own);
            raw_close(t, raw, false);
        }
    expect_eq(t, count_fds(), fds);
}

/* Bytes and FIN in one breath, from another thread, while the receive is being armed: the end that some
 * kernels forgot to tell a multishot on a unix socket. */
enum { RACES = 400 };

static void *send_and_end(void *arg)
{
    const int *fds = arg;
    unsigned char data[100];
    pattern_fill(IN, 0, data, sizeof(data));
    for (int i = 0; i < RACES; i++) {
        if (send(fds[i], data, sizeof(data), MSG_NOSIGNAL) != sizeof(data))
            break;
        shutdown(fds[i], SHUT_WR);
    }
    return NULL;
}

FACT(end_right_behind_bytes_is_not_missed, ON_REAL, .recv_buffers = 512)
{
    static struct reader r[RACES];
    static int own[RACES], raw[RACES];
    for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++)
        each_sort (t, sort) {
            pthread_t thread;
            for (int i = 0; i < RACES; i++)
                trial_pair(t, sort, &own[i], &raw[i]);
            expect_eq(t, pthread_create(&thread, NULL, send_and_end, raw), 0);
            for (int i = 0; i < RACES; i++) {
                reader_init(&r[i], t, own[i], IN, (enum reader_manner)manner, 64);
                act_start(&r[i].act);
                if (i % 8 == 0)
                    trial_turn(t, 0);
            }
            for (int i = 0; i < RACES; i++) {
                expect_eq(t, act_end(&r[i].act), 0);
                expect_eq(t, r[i].got, 100);
                reader_done(&r[i]);
            }
            pthread_join(thread, NULL);
            for (int i = 0; i < RACES; i++) {
                trial_close(t, own[i]);
                raw_close(t, raw[i], false);
            }
        }
}
