/* Facts about the bytes of files: they go out as other bytes do, over every world. */
#include "helpers_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OUT = 22, SKIP = 77 };   /* a file begins with SKIP bytes that are not sent */

/* Sends `total` bytes of a file, as many of them as the world takes with each op. */
struct sender {
    struct act act;
    uint64_t sent, total;
    int file;
};

static void sender_offer(struct sender *s)
{
    s->act.plan.u.file.fd = s->file;
    s->act.plan.u.file.at = SKIP + s->sent;
    s->act.plan.u.file.len = (uint32_t)(s->total - s->sent);
}

static void sender_heard(struct act *a, const struct wr_result *r)
{
    struct sender *s = wr_home(a, struct sender, act);
    expect(a->t, r->res <= (int64_t)a->plan.u.file.len);
    if (r->res > 0)
        s->sent += (uint64_t)r->res;
    s->act.enough = s->sent == s->total || r->res == 0;
    if (!s->act.enough)
        sender_offer(s);
}

static int make_file(struct trial *t, uint64_t total)
{
    unsigned char bytes[4096];
    int fd = memfd_create("bytes", MFD_CLOEXEC);
    expect(t, fd >= 0);
    expect_eq(t, ftruncate(fd, SKIP), 0);
    for (uint64_t at = 0; at < total;) {
        size_t n = wr_min(sizeof bytes, total - at);
        pattern_fill(OUT, at, bytes, n);
        expect_eq(t, pwrite(fd, bytes, n, (off_t)(SKIP + at)), n);
        at += n;
    }
    return fd;
}

static void sender_init(struct sender *s, struct trial *t, int fd, uint64_t total)
{
    *s = (struct sender){.total = total, .file = make_file(t, total)};
    act_init(&s->act, t, WR_OP_SENDFILE, fd);
    s->act.heard = sender_heard;
    s->act.keep = true;
    sender_offer(s);
}

static void sender_done(struct sender *s)
{
    expect(s->act.t, s->act.over);
    close(s->file);
}

static void send_whole(struct trial *t, int own, int raw, uint64_t total, uint64_t step)
{
    struct sender s;
    struct peer p = {.key_in = OUT, .got_max = step};
    sender_init(&s, t, own, total);
    peer_join(t, &p, raw);
    act_start(&s.act);
    until (t, s.act.over && p.got == total) {
        if (p.got == p.got_max && trial_draw(t, 3) == 0)
            p.got_max += 1 + trial_draw(t, step);
    }
    expect_eq(t, s.sent, total);
    peer_leave(&p);
    sender_done(&s);
}

FACT(file_is_sent_whole, ON_ALL)
{
    int own, raw;
    each_sort (t, sort) {
        trial_pair(t, sort, &own, &raw);
        send_whole(t, own, raw, 1, 1000000);
        trial_close(t, own);
        trial_pair(t, sort, &own, &raw);
        send_whole(t, own, raw, t->kind->volume, 1000000);
        trial_close(t, own);
    }
}

FACT(file_outgrows_the_socket, ON_ALL)
{
    int own, raw;
    each_sort (t, sort) {
        uint64_t total = t->kind->volume / 8;
        trial_pair(t, sort | NARROW, &own, &raw);
        send_whole(t, own, raw, total, total / 64);
        trial_close(t, own);
    }
}

FACT(file_goes_into_pipes, ON_PIPES)
{
    each_pipe (t, sort) {
        int own, raw;
        uint64_t total = sort < TERMINAL ? t->kind->volume / 8 : wr_min(t->kind->volume, 50000);
        trial_pipe(t, sort, false, &own, &raw);
        send_whole(t, own, raw, total, total / 4);
        trial_close(t, own);
    }
}

FACT(file_that_has_become_shorter_ends, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct sender s;
        struct peer p = {.key_in = OUT, .got_max = UINT64_MAX};
        trial_pair(t, sort, &own, &raw);
        sender_init(&s, t, own, 30000);
        expect_eq(t, ftruncate(s.file, SKIP + 12345), 0);
        peer_join(t, &p, raw);
        act_start(&s.act);
        until (t, s.act.over && p.got == s.sent)
            ;
        expect_eq(t, s.act.res, 0);
        expect_eq(t, s.sent, 12345);
        peer_leave(&p);
        sender_done(&s);
        trial_close(t, own);
    }
}

static volatile sig_atomic_t signals;

static void count_signal(int signo)
{
    (void)signo;
    signals++;
}

FACT(file_to_the_gone_fails_without_a_signal, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct sender s;
        signal(SIGPIPE, count_signal);
        signals = 0;
        trial_pair(t, sort | NARROW, &own, &raw);
        sender_init(&s, t, own, 1 << 20);
        raw_close(t, raw, false);
        act_start(&s.act);
        int res = act_end(&s.act);
        expect(t, res == -EPIPE || res == -ECONNRESET);
        act_revive(&s.act);
        act_start(&s.act);
        expect_eq(t, act_end(&s.act), -EPIPE);
        expect_eq(t, signals, 0);
        sender_done(&s);
    }
}

FACT(file_that_is_blocked_ends_when_the_peer_goes, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct sender s;
        trial_pair(t, sort | NARROW, &own, &raw);
        sender_init(&s, t, own, 1 << 20);
        act_start(&s.act);
        trial_settle(t);
        expect(t, !s.act.over);
        raw_close(t, raw, true);
        int res = act_end(&s.act);
        expect(t, res == -EPIPE || res == -ECONNRESET);
        sender_done(&s);
    }
}

/* Whatever had gone by then has gone once, and what comes behind it is what follows. */
FACT(file_that_is_cancelled_tells_what_has_gone, ON_ALL)
{
    each_sort (t, sort)
        for (int moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw;
            struct sender s;
            uint64_t total = 1 << 20;
            struct peer p = {.key_in = OUT, .got_max = UINT64_MAX};
            trial_pair(t, sort | NARROW, &own, &raw);
            sender_init(&s, t, own, total);
            act_start(&s.act);
            trial_pass(t, (enum moment)moment);
            act_cancel(&s.act);
            int res = act_end(&s.act);
            expect(t, res > 0 || act_is_empty(&s.act));
            peer_join(t, &p, raw);
            until (t, p.got == s.sent)
                ;
            sender_offer(&s);
            act_revive(&s.act);
            act_start(&s.act);
            until (t, s.act.over && p.got == total)
                ;
            peer_leave(&p);
            sender_done(&s);
            trial_close(t, own);
        }
}

FACT(file_is_refused_where_it_cannot_go, ON_PIPES)
{
    int own, raw;
    struct sender s;
    trial_pipe(t, PIPE, true, &own, &raw);
    sender_init(&s, t, own, 5000);
    act_start(&s.act);
    expect_eq(t, act_end(&s.act), -EBADF);
    sender_done(&s);
    trial_close(t, own);
}

/* Others who share the socket find it as it was. */
FACT(file_leaves_the_mode_of_its_socket, ON_REAL)
{
    int own, raw;
    trial_pair(t, TCP, &own, &raw);
    int before = fcntl(own, F_GETFL);
    send_whole(t, own, raw, 100000, 1000000);
    expect_eq(t, fcntl(own, F_GETFL), before);
    trial_close(t, own);
}
