/* Facts about what is no socket: pipes, FIFOs and terminals are received from and sent to as sockets are, over every
 * world, and who shares them notices nothing. */
#include "helpers_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN = 11, OUT = 22 };

static size_t volume(const struct trial *t, enum pipe_sort sort)
{
    return sort < TERMINAL ? t->kind->volume / 4 : wr_min(t->kind->volume, 100000);
}

static volatile sig_atomic_t signals;

static void count_signal(int signo)
{
    (void)signo;
    signals++;
}

/* ---- Receiving ---- */

static void read_to_end(struct trial *t, enum pipe_sort sort, enum reader_manner manner, size_t memory)
{
    int own, raw;
    struct reader r;
    struct peer p = { .key_out = IN, .total = volume(t, sort) };
    trial_pipe(t, sort, true, &own, &raw);
    reader_init(&r, t, own, IN, manner, memory);
    act_start(&r.act);
    peer_join(t, &p, raw);
    until (t, r.got == p.total)
        ;
    peer_leave(&p);
    raw_close(t, raw, false);
    for (int again = 0; again < 3; again++) {
        expect_eq(t, act_end(&r.act), 0);
        act_revive(&r.act);
        act_start(&r.act);
    }
    expect_eq(t, act_end(&r.act), 0);
    reader_done(&r);
    trial_close(t, own);
}

FACT(pipe_is_read_in_order_to_its_end, ON_PIPES)
{
    each_pipe (t, sort) {
        read_to_end(t, sort, INTO_POOL_MULTI, 0);
        read_to_end(t, sort, INTO_POOL, 0);
        read_to_end(t, sort, INTO_MEMORY, 5000);
    }
}

FACT(end_of_a_pipe_stands_behind_its_bytes, ON_PIPES)
{
    for (int late = 0; late <= 1; late++)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
            int own, raw;
            struct reader r;
            unsigned char bytes[300];
            pattern_fill(IN, 0, bytes, sizeof(bytes));
            trial_pipe(t, PIPE, true, &own, &raw);
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 1000);
            if (late)
                act_start(&r.act);
            expect_eq(t, raw_send(t, raw, bytes, sizeof(bytes)), sizeof(bytes));
            raw_close(t, raw, false);
            if (!late)
                act_start(&r.act);
            expect_eq(t, act_end(&r.act), 0);
            expect_eq(t, r.got, sizeof(bytes));
            reader_done(&r);
        }
}

FACT(pipe_that_waits_needs_no_buffer, ON_PIPES, .recv_buffers = 2)
{
    enum { STREAMS = 16 };
    struct reader r[STREAMS];
    int own[STREAMS], raw[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        trial_pipe(t, PIPE, true, &own[i], &raw[i]);
        reader_init(&r[i], t, own[i], IN, INTO_POOL_MULTI, 0);
        r[i].hold = true;
        act_start(&r[i].act);
    }
    trial_settle(t);
    expect_eq(t, wr_bufpool_available(&t->w->pool), t->w->pool.count);
    for (int i = 0; i < STREAMS; i++) {
        struct peer p = { .key_out = IN, .total = 3000 };
        peer_join(t, &p, raw[i]);
        until (t, r[i].got == p.total)
            reader_release(&r[i]);
        reader_release(&r[i]);
        peer_leave(&p);
        raw_close(t, raw[i], false);
        expect_eq(t, act_end(&r[i].act), 0);
        reader_done(&r[i]);
    }
}

/* ---- Sending ---- */

static void send_all(struct trial *t, enum pipe_sort sort, size_t offer, unsigned pieces, uint64_t step)
{
    int own, raw;
    struct writer s;
    struct peer p = { .key_in = OUT, .got_max = step };
    uint64_t total = volume(t, sort);
    trial_pipe(t, sort, false, &own, &raw);
    writer_init(&s, t, own, OUT, total, offer, pieces);
    peer_join(t, &p, raw);
    writer_start(&s);
    until (t, s.act.over && p.got == total) {
        if (p.got == p.got_max && trial_draw(t, 3) == 0)
            p.got_max += 1 + trial_draw(t, step);
    }
    expect_eq(t, s.sent, total);
    peer_leave(&p);
    writer_done(&s);
    trial_close(t, own);
    expect_eq(t, raw_drain(t, raw, OUT, NULL), 0);
    raw_close(t, raw, false);
}

FACT(pipe_is_written_exactly, ON_PIPES)
{
    each_pipe (t, sort) {
        send_all(t, sort, 30000, 1, 1000000);
        send_all(t, sort, 100000, 64, 1000000);
        send_all(t, sort, 1000000, 1024, 50000);
    }
}

FACT(both_ways_of_a_terminal_at_once, ON_REAL_PIPES)
{
    for (enum pipe_sort sort = TERMINAL; sort <= MASTER; sort++) {
        int own, raw;
        struct reader r;
        struct writer s;
        uint64_t total = volume(t, sort);
        struct peer p = { .key_out = IN, .total = total, .key_in = OUT, .got_max = UINT64_MAX };
        trial_pipe(t, sort, true, &own, &raw);
        reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
        writer_init(&s, t, own, OUT, total, 50000, 5);
        peer_join(t, &p, raw);
        act_start(&r.act);
        writer_start(&s);
        until (t, r.got == total && s.act.over && p.got == total)
            ;
        act_cancel(&r.act);
        act_end(&r.act);
        peer_leave(&p);
        reader_done(&r);
        writer_done(&s);
    }
}

/* ---- The other side is gone ---- */

FACT(write_to_a_pipe_that_nobody_reads_fails_without_a_signal, ON_PIPES)
{
    signal(SIGPIPE, count_signal);
    for (enum pipe_sort sort = PIPE; sort <= (trial_is_real(t) ? FIFO : PIPE); sort++) {
        int own, raw;
        struct writer s;
        trial_pipe(t, sort, false, &own, &raw);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 4);
        raw_close(t, raw, false);
        for (int again = 0; again < 2; again++) {
            writer_start(&s);
            expect_eq(t, act_end(&s.act), -EPIPE);
            act_revive(&s.act);
        }
        s.act.over = true;
        expect_eq(t, signals, 0);
        writer_done(&s);
    }
}

/* A SIGPIPE that its process has yet to hear of is not the library's to take; nor is one left behind. */
FACT(a_pending_signal_stays_pending, ON_REAL_PIPES)
{
    sigset_t set, pending, before;
    signal(SIGPIPE, count_signal);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    for (int raised = 0; raised <= 1; raised++) {
        int own, raw;
        struct writer s;
        pthread_sigmask(SIG_BLOCK, &set, &before);
        trial_pipe(t, PIPE, false, &own, &raw);
        raw_close(t, raw, false);
        if (raised)
            raise(SIGPIPE);
        writer_init(&s, t, own, OUT, 10, 10, 1);
        writer_start(&s);
        expect_eq(t, act_end(&s.act), -EPIPE);
        writer_done(&s);
        sigpending(&pending);
        expect_eq(t, sigismember(&pending, SIGPIPE), raised);
        expect_eq(t, signals, 0);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        expect_eq(t, signals, raised);
    }
}

FACT(blocked_write_ends_when_the_reader_goes, ON_PIPES)
{
    signal(SIGPIPE, count_signal);
    each_pipe (t, sort) {
        int own, raw;
        struct writer s;
        if (sort >= TERMINAL)
            break;
        trial_pipe(t, sort, false, &own, &raw);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 1);
        writer_start(&s);
        trial_settle(t);
        expect(t, !s.act.over);
        raw_close(t, raw, false);
        expect_eq(t, act_end(&s.act), -EPIPE);
        expect_eq(t, signals, 0);
        writer_done(&s);
    }
}

FACT(idle_pipe_hears_of_its_end, ON_PIPES)
{
    each_pipe (t, sort)
        for (int reads = 0; reads <= 1; reads++) {
            int own, raw;
            struct act watch;
            trial_pipe(t, sort, reads, &own, &raw);
            act_init(&watch, t, WR_OP_POLL, own);
            watch.plan.u.events = POLLRDHUP;
            act_start(&watch);
            trial_settle(t);
            expect(t, !watch.over);
            raw_close(t, raw, false);
            int res = act_end(&watch);
            expect(t, res & (reads || sort >= TERMINAL ? POLLHUP : POLLERR));
            trial_close(t, own);
        }
}

/* Before it is the world's, too: what is known of it then must not be lost. */
FACT(end_of_a_pipe_may_have_come_before, ON_PIPES)
{
    each_pipe (t, sort)
        for (int reads = 0; reads <= 1; reads++) {
            int fds[2];
            trial_make_pipe(t, sort, reads, fds);
            trial_own(t, fds[1], true);
            raw_close(t, fds[1], false);
            fds[1] = -1;
            trial_adopt_pipe(t, fds);
            bool hangs_up = reads || sort >= TERMINAL;
            int res = act_once(t, WR_OP_POLL, fds[0], POLLRDHUP);
            expect(t, res > 0 && (res & (hangs_up ? POLLHUP : POLLERR)));
            expect_eq(t, act_once(t, WR_OP_RECV, fds[0], 0), hangs_up ? 0 : -EPIPE);
        }
}

/* ---- What cannot be ---- */

static int send_byte(struct trial *t, int fd)
{
    struct writer s;
    writer_init(&s, t, fd, OUT, 1, 1, 1);
    writer_start(&s);
    int res = act_end(&s.act);
    writer_done(&s);
    return res;
}

FACT(a_pipe_goes_one_way, ON_PIPES, .recv_buffers = 1)
{
    for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
        int own, raw;
        struct reader r;
        trial_pipe(t, PIPE, true, &own, &raw);
        expect_eq(t, send_byte(t, own), -EBADF);
        trial_pipe(t, PIPE, false, &own, &raw);
        reader_init(&r, t, own, IN, (enum reader_manner)manner, 10);
        act_start(&r.act);
        expect_eq(t, act_end(&r.act), -EBADF);
        raw_close(t, raw, false);
        act_revive(&r.act);
        act_start(&r.act);
        expect_eq(t, act_end(&r.act), -EPIPE);
        reader_done(&r);
    }
}

FACT(a_pipe_is_no_socket, ON_PIPES)
{
    struct sockaddr_storage addr;
    struct wr_adopted facts;
    socklen_t len;
    int own, raw;
    for (int reads = 0; reads <= 1; reads++) {
        trial_pipe(t, PIPE, reads, &own, &raw);
        expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), -ENOTSOCK);
        expect_eq(t, t->w->ops->address(t->w, own, false, &addr, &len), -ENOTSOCK);
        expect_eq(t, t->w->ops->option(t->w, own, WR_SO_NODELAY, 1), 0);
        expect_eq(t, t->w->ops->option(t->w, own, WR_SO_LINGER_RESET, 1), -ENOTSOCK);
        expect_eq(t, t->w->ops->adopt(t->w, own, WR_WANT_LISTENER, &facts), -ENOTSOCK);
        expect_eq(t, t->w->ops->adopt(t->w, own, WR_WANT_STREAM, &facts), 0);
        expect(t, facts.reads == reads && facts.writes == !reads);
    }
}

/* ---- Cancelled ---- */

FACT(cancelled_read_of_a_pipe_took_nothing, ON_PIPES)
{
    each_pipe (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++)
            for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
                int own, raw;
                struct reader r;
                struct peer p = { .key_out = IN, .total = 3000 };
                trial_pipe(t, sort, true, &own, &raw);
                reader_init(&r, t, own, IN, (enum reader_manner)manner, 1000);
                act_start(&r.act);
                trial_pass(t, moment);
                act_cancel(&r.act);
                act_end(&r.act);
                expect(t, act_is_empty(&r.act));
                act_revive(&r.act);
                peer_join(t, &p, raw);
                act_start(&r.act);
                until (t, r.got == p.total)
                    ;
                peer_leave(&p);
                act_cancel(&r.act);
                act_end(&r.act);
                reader_done(&r);
                trial_close(t, own);
                raw_close(t, raw, false);
            }
}

FACT(cancelled_write_to_a_pipe_says_how_much_has_gone, ON_PIPES)
{
    each_pipe (t, sort)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw;
            struct writer s;
            struct peer p = { .key_in = OUT, .got_max = UINT64_MAX };
            trial_pipe(t, sort, false, &own, &raw);
            writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 16);
            writer_start(&s);
            trial_pass(t, moment);
            expect(t, !s.act.over);
            act_cancel(&s.act);
            act_end(&s.act);
            expect(t, s.act.res > 0 || act_is_empty(&s.act));
            peer_join(t, &p, raw);
            until (t, p.got >= s.sent)
                ;
            trial_settle(t);
            expect_eq(t, p.got, s.sent);
            peer_leave(&p);
            writer_done(&s);
            trial_close(t, own);
            raw_close(t, raw, false);
        }
}

FACT(pipe_cancelled_at_random_loses_nothing, ON_PIPES)
{
    each_pipe (t, sort) {
        int own, raw;
        struct reader r;
        struct peer p = { .key_out = IN, .total = wr_min(volume(t, sort), 1 << 17) };
        trial_pipe(t, sort, true, &own, &raw);
        reader_init(&r, t, own, IN, trial_draw(t, 2) ? INTO_POOL : INTO_POOL_MULTI, 0);
        peer_join(t, &p, raw);
        while (r.got < p.total) {
            act_start(&r.act);
            for (uint64_t i = trial_draw(t, 4); i > 0; i--)
                trial_pass(t, trial_draw_moment(t));
            act_cancel(&r.act);
            act_end(&r.act);
            act_revive(&r.act);
        }
        expect_eq(t, r.got, p.total);
        r.act.over = true;
        peer_leave(&p);
        reader_done(&r);
    }
}

FACT(write_cancelled_at_random_loses_nothing, ON_PIPES)
{
    each_pipe (t, sort) {
        int own, raw;
        struct writer s;
        struct peer p = { .key_in = OUT, .got_max = UINT64_MAX, .piece = 9000 };
        uint64_t total = wr_min(volume(t, sort), 1 << 19);
        trial_pipe(t, sort, false, &own, &raw);
        writer_init(&s, t, own, OUT, total, 50000, 7);
        peer_join(t, &p, raw);
        while (s.sent < total) {
            writer_start(&s);
            for (uint64_t i = trial_draw(t, 4); i > 0; i--)
                trial_pass(t, trial_draw_moment(t));
            act_cancel(&s.act);
            act_end(&s.act);
            act_revive(&s.act);
        }
        until (t, p.got == total)
            ;
        trial_settle(t);
        expect_eq(t, p.got, total);
        peer_leave(&p);
        s.act.over = true;
        writer_done(&s);
    }
}

/* ---- Those who share it ---- */

/* What a description says of itself to whoever else has it open: the same, whatever the world does with it. */
static void leave_mode(struct trial *t, enum pipe_sort sort, int mode, int cloexec)
{
    struct reader r;
    unsigned char byte;
    int fds[2];
    trial_make_pipe(t, sort, true, fds);
    expect_eq(t, fcntl(fds[0], F_SETFL, mode), 0);
    expect_eq(t, fcntl(fds[0], F_SETFD, cloexec), 0);
    int shared = fcntl(fds[0], F_DUPFD_CLOEXEC, 0), flags = fcntl(shared, F_GETFL);
    trial_adopt_pipe(t, fds);
    expect_eq(t, fcntl(fds[0], F_GETFD), cloexec);
    expect_eq(t, fcntl(shared, F_GETFL), flags);
    reader_init(&r, t, fds[0], IN, INTO_POOL_MULTI, 0);
    act_start(&r.act);
    trial_settle(t);
    expect_eq(t, fcntl(shared, F_GETFL), flags);
    pattern_fill(IN, 0, &byte, 1);
    expect_eq(t, raw_send(t, fds[1], &byte, 1), 1);
    until (t, r.got == 1)
        ;
    act_cancel(&r.act);
    act_end(&r.act);
    if (sort >= TERMINAL)
        expect_eq(t, send_byte(t, fds[0]), 1);
    expect_eq(t, fcntl(shared, F_GETFL), flags);
    trial_close(t, fds[0]);
    expect_eq(t, fcntl(shared, F_GETFL), flags);
    close(shared);
    reader_done(&r);
}

FACT(a_shared_mode_stays_as_it_is, ON_REAL_PIPES)
{
    for (enum pipe_sort sort = PIPE; sort <= MASTER; sort++) {
        leave_mode(t, sort, 0, 0);
        leave_mode(t, sort, O_NONBLOCK, FD_CLOEXEC);
    }
}

/* Another process reads from the same description, in calls that wait: byte by byte, each gets some or none. */
static int read_beside(int fd)
{
    unsigned char byte;
    ssize_t n;
    int got = 0;
    while ((n = read(fd, &byte, 1)) > 0)
        got++;
    return n < 0 ? 255 : got;
}

static void share(struct trial *t, enum pipe_sort sort)
{
    enum { BYTES = 200 };
    int fds[2], status;
    struct act a;
    char memory[16];
    trial_make_pipe(t, sort, true, fds);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[1]);
        _exit(read_beside(fds[0]));
    }
    trial_adopt_pipe(t, fds);
    act_init(&a, t, WR_OP_RECV, fds[0]);
    a.plan.u.recv.base = memory;
    a.plan.u.recv.len = sizeof(memory);
    int ours = 0;
    for (int i = 0; i < BYTES; i++) {
        act_start(&a);
        expect_eq(t, raw_send(t, fds[1], "x", 1), 1);
        trial_turn(t, 0);
        trial_reap(t);
        act_cancel(&a);
        int res = act_end(&a);
        ours += res > 0 ? res : 0;
        act_revive(&a);
    }
    raw_close(t, fds[1], false);
    for (act_start(&a); act_end(&a) > 0; act_start(&a)) {
        ours += a.res;
        act_revive(&a);
    }
    expect_eq(t, a.res, 0);
    expect_eq(t, waitpid(pid, &status, 0), pid);
    expect(t, WIFEXITED(status));
    expect_eq(t, WEXITSTATUS(status), BYTES - ours);
}

FACT(who_reads_the_same_pipe_may_wait, ON_REAL_PIPES)
{
    share(t, PIPE);
    share(t, FIFO);
}
