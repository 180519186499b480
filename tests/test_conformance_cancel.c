/* Facts about the end of an op: exactly once, and with what it has, whenever it is cancelled. */
#include "helpers_world.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { IN = 11, OUT = 22 };

/* ---- Nothing had happened ---- */

FACT(cancelled_recv_took_nothing, ON_ALL)
{
    each_sort (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++)
            for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
                int own, raw;
                struct reader r;
                struct peer p = { .key_out = IN, .total = 3000, .fin = true };
                trial_pair(t, sort, &own, &raw);
                reader_init(&r, t, own, IN, (enum reader_manner)manner, 1000);
                act_start(&r.act);
                trial_pass(t, moment);
                act_cancel(&r.act);
                act_end(&r.act);
                expect(t, act_is_empty(&r.act));
                act_revive(&r.act);
                peer_join(t, &p, raw);
                act_start(&r.act);
                expect_eq(t, act_end(&r.act), 0);
                expect_eq(t, r.got, p.total);
                peer_leave(&p);
                reader_done(&r);
                trial_close(t, own);
                raw_close(t, raw, false);
            }
}

/* Memory that was lent to a receive is its owner's again once that has ended. */
FACT(cancelled_recv_lets_go_of_its_memory, ON_ALL)
{
    for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
        int own, raw;
        struct reader r;
        unsigned char bytes[64] = { 0 };
        trial_pair(t, TCP, &own, &raw);
        reader_init(&r, t, own, IN, INTO_MEMORY, sizeof(bytes));
        act_start(&r.act);
        trial_pass(t, moment);
        act_cancel(&r.act);
        act_end(&r.act);
        expect_eq(t, raw_send(t, raw, bytes, 1), 1);
        trial_settle(t);
        expect(t, r.memory[0] != 0);
        reader_done(&r);
    }
}

FACT(cancelled_accept_took_nothing, ON_ALL)
{
    for (int multi = 0; multi <= 1; multi++)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            struct sockaddr_storage addr;
            socklen_t len;
            struct taker k;
            int listener = trial_listen(t, 16, &addr, &len);
            taker_init(&k, t, listener, multi, 1);
            act_start(&k.act);
            trial_pass(t, moment);
            act_cancel(&k.act);
            act_end(&k.act);
            expect(t, act_is_empty(&k.act));
            raw_connect(t, (struct sockaddr *)&addr, len);
            act_revive(&k.act);
            act_start(&k.act);
            act_end(&k.act);
            expect_eq(t, k.count, 1);
            taker_done(&k);
            trial_close(t, listener);
        }
}

FACT(cancelled_poll_ends, ON_ALL)
{
    each_sort (t, sort)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw;
            struct act a;
            trial_pair(t, sort, &own, &raw);
            act_init(&a, t, WR_OP_POLL, own);
            a.plan.u.events = POLLIN;
            act_start(&a);
            trial_pass(t, moment);
            act_cancel(&a);
            act_end(&a);
            expect(t, act_is_empty(&a));
            trial_close(t, own);
        }
}

/* A listener whose queue is full answers nobody: a connect to it waits. */
static int full_listener(struct sockaddr_in *in, int fds[4])
{
    socklen_t len = sizeof(*in);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    if (bind(listener, (struct sockaddr *)in, len) || listen(listener, 0) ||
        getsockname(listener, (struct sockaddr *)in, &len))
        return -errno;
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)in, len);
    }
    return listener;
}

FACT(cancelled_connect_ends, ON_REAL)
{
    struct sockaddr_in in;
    int fds[4], listener = full_listener(&in, fds);
    expect(t, listener >= 0);
    for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
        struct act a;
        int own = trial_socket(t, AF_INET);
        act_init(&a, t, WR_OP_CONNECT, own);
        act_connect_to(&a, &in, sizeof(in));
        act_start(&a);
        trial_pass(t, moment);
        expect(t, !a.over);
        act_cancel(&a);
        expect_eq(t, act_end(&a), -ECANCELED);
        trial_close(t, own);
    }
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(listener);
}

FACT(cancelled_connect_is_connected_or_not, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = trial_listen(t, 64, &addr, &len);
    for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
        struct act a;
        struct sockaddr_storage peer;
        socklen_t peer_len;
        int own = trial_socket(t, AF_INET);
        act_init(&a, t, WR_OP_CONNECT, own);
        act_connect_to(&a, &addr, len);
        act_start(&a);
        trial_pass(t, moment);
        act_cancel(&a);
        int res = act_end(&a);
        expect(t, res == 0 || res == -ECANCELED);
        if (res == 0)
            expect_eq(t, t->w->ops->address(t->w, own, true, &peer, &peer_len), 0);
        trial_close(t, own);
    }
    trial_close(t, listener);
}

/* ---- Something had happened ---- */

FACT(shutdown_and_close_end_though_cancelled, ON_ALL)
{
    each_sort (t, sort)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw;
            struct act a;
            trial_pair(t, sort, &own, &raw);
            act_init(&a, t, WR_OP_SHUTDOWN, own);
            a.plan.u.how = SHUT_WR;
            act_start(&a);
            trial_pass(t, moment);
            act_cancel(&a);
            int res = act_end(&a);
            expect(t, res == 0 || res == -ECANCELED);
            act_init(&a, t, WR_OP_CLOSE, own);
            act_start(&a);
            trial_pass(t, moment);
            act_cancel(&a);
            act_end(&a);
            trial_forget(t, own);
            expect_eq(t, raw_drain(t, raw, OUT, NULL), 0);
        }
}

FACT(cancelled_send_says_how_much_has_gone, ON_ALL)
{
    each_sort (t, sort)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw;
            uint64_t got;
            struct writer s;
            trial_pair(t, sort | NARROW, &own, &raw);
            writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 16);
            writer_start(&s);
            trial_pass(t, moment);
            expect(t, !s.act.over);
            act_cancel(&s.act);
            act_end(&s.act);
            expect(t, s.act.res > 0 || act_is_empty(&s.act));
            expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
            expect_eq(t, raw_drain(t, raw, OUT, &got), 0);
            expect_eq(t, got, s.sent);
            writer_done(&s);
            trial_close(t, own);
        }
}

/* What was taken before the cancel came is delivered, not dropped. */
FACT(cancel_after_bytes_came_keeps_the_bytes, ON_ALL)
{
    for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++)
        for (int turns = 0; turns < 3; turns++) {
            int own, raw;
            struct reader r;
            unsigned char bytes[100];
            pattern_fill(IN, 0, bytes, sizeof(bytes));
            trial_pair(t, TCP, &own, &raw);
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 1000);
            act_start(&r.act);
            trial_settle(t);
            expect_eq(t, raw_send(t, raw, bytes, sizeof(bytes)), sizeof(bytes));
            for (int i = 0; i < turns; i++)
                trial_turn(t, UINT64_MAX);
            act_cancel(&r.act);
            act_end(&r.act);
            raw_shutdown(t, raw);
            act_revive(&r.act);
            act_start(&r.act);
            expect_eq(t, act_end(&r.act), 0);
            expect_eq(t, r.got, sizeof(bytes));
            reader_done(&r);
        }
}

/* Two ops end in one turn; who is served first cancels the other, whose completion is on its way already. */
struct killer {
    struct act act;
    struct killer *victim;
};

static void kill_other(struct act *a, const struct wr_result *r)
{
    struct killer *k = wr_home(a, struct killer, act);
    (void)r;
    if (!k->victim->act.over)
        act_cancel(&k->victim->act);
}

FACT(cancel_of_what_is_being_served_is_harmless, ON_ALL)
{
    for (int order = 0; order < 2; order++) {
        struct killer k[2];
        int own[2], raw[2];
        for (int i = 0; i < 2; i++) {
            trial_pair(t, TCP, &own[i], &raw[i]);
            act_init(&k[i].act, t, WR_OP_POLL, own[i]);
            k[i].act.plan.u.events = POLLIN;
            k[i].act.heard = kill_other;
            k[i].victim = &k[!i];
        }
        act_start(&k[order].act);
        act_start(&k[!order].act);
        trial_turn(t, 0);
        expect_eq(t, raw_send(t, raw[0], "a", 1), 1);
        expect_eq(t, raw_send(t, raw[1], "b", 1), 1);
        trial_turn(t, 0);
        until (t, k[0].act.over && k[1].act.over)
            ;
        trial_settle(t);
        for (int i = 0; i < 2; i++) {
            expect_eq(t, k[i].act.terminals, k[i].act.starts);
            trial_close(t, own[i]);
        }
    }
}

/* A cancel on its way may end for nothing the op that its owner starts next, in the same memory; no more. */
FACT(cancel_does_not_outlive_its_op, ON_ALL)
{
    int own, raw;
    struct reader r;
    trial_pair(t, TCP, &own, &raw);
    reader_init(&r, t, own, IN, INTO_MEMORY, 10);
    for (uint64_t i = 0; i < 50; i++) {
        unsigned char byte;
        pattern_fill(IN, r.got, &byte, 1);
        act_start(&r.act);
        trial_turn(t, 0);
        expect_eq(t, raw_send(t, raw, &byte, 1), 1);
        if (i % 2)
            trial_turn(t, 0);
        act_cancel(&r.act);
        act_end(&r.act);
        act_revive(&r.act);
        r.stop = i + 1;
        if (r.got == i) {
            act_start(&r.act);
            act_end(&r.act);
            act_revive(&r.act);
        }
        expect_eq(t, r.got, i + 1);
    }
    r.act.over = true;
    reader_done(&r);
}

/* ---- Cancelled again and again: not a byte and not a connection is lost ---- */

static void read_interrupted(struct trial *t, struct reader *r, uint64_t total)
{
    while (r->got < total || r->act.res != 0) {
        act_start(&r->act);
        for (uint64_t i = trial_draw(t, 4); i > 0; i--)
            trial_pass(t, trial_draw_moment(t));
        act_cancel(&r->act);
        act_end(&r->act);
        act_revive(&r->act);
    }
    r->act.over = true;
    expect_eq(t, r->got, total);
}

FACT(recv_cancelled_at_random_loses_nothing, ON_ALL)
{
    each_sort (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
            int own, raw;
            struct reader r;
            struct peer p = { .key_out = IN, .total = wr_min(t->kind->volume, 1 << 20), .fin = true };
            trial_pair(t, sort, &own, &raw);
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 3000);
            r.act.res = 1;
            peer_join(t, &p, raw);
            read_interrupted(t, &r, p.total);
            peer_leave(&p);
            reader_done(&r);
            trial_close(t, own);
        }
}

struct feed {
    int fd;
    uint64_t total;
};

static void *feed_plainly(void *arg)
{
    struct feed *f = arg;
    unsigned char data[3000];
    ssize_t n;
    for (uint64_t at = 0; at < f->total; at += (uint64_t)n) {
        size_t len = wr_min(1 + at % sizeof(data), (size_t)(f->total - at));
        pattern_fill(IN, at, data, len);
        n = send(f->fd, data, len, MSG_NOSIGNAL);
        if (n < 0)
            break;
    }
    shutdown(f->fd, SHUT_WR);
    return NULL;
}

FACT(recv_cancelled_in_a_race_loses_nothing, ON_REAL)
{
    each_sort (t, sort)
        for (int manner = INTO_POOL_MULTI; manner <= INTO_MEMORY; manner++) {
            int own, raw;
            struct reader r;
            pthread_t thread;
            trial_pair(t, sort, &own, &raw);
            struct feed f = { raw, 2 << 20 };
            reader_init(&r, t, own, IN, (enum reader_manner)manner, 3000);
            r.act.res = 1;
            expect_eq(t, pthread_create(&thread, NULL, feed_plainly, &f), 0);
            read_interrupted(t, &r, f.total);
            pthread_join(thread, NULL);
            reader_done(&r);
        }
}

FACT(send_cancelled_at_random_loses_nothing, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct writer s;
        uint64_t total = wr_min(t->kind->volume, 1 << 20);
        struct peer p = { .key_in = OUT, .got_max = UINT64_MAX, .piece = 9000 };
        trial_pair(t, sort | NARROW, &own, &raw);
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
        expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
        until (t, p.ended || p.error)
            ;
        expect_eq(t, p.got, total);
        peer_leave(&p);
        s.act.over = true;
        writer_done(&s);
    }
}

FACT(accept_cancelled_at_random_loses_nobody, ON_ALL)
{
    enum { CLIENTS = 60 };
    for (int multi = 0; multi <= 1; multi++) {
        struct sockaddr_storage addr;
        socklen_t len;
        struct taker k;
        int listener = trial_listen(t, 128, &addr, &len);
        taker_init(&k, t, listener, multi, CLIENTS + 1);
        for (int connected = 0; k.count < CLIENTS;) {
            act_start(&k.act);
            for (uint64_t i = trial_draw(t, 5); i > 0; i--) {
                if (connected < CLIENTS && trial_draw(t, 2))
                    raw_connect(t, (struct sockaddr *)&addr, len), connected++;
                trial_pass(t, trial_draw_moment(t));
            }
            act_cancel(&k.act);
            act_end(&k.act);
            act_revive(&k.act);
        }
        trial_settle(t);
        expect_eq(t, k.count, CLIENTS);
        k.act.over = true;
        taker_done(&k);
        trial_close(t, listener);
    }
}
