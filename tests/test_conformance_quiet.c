/* Facts about sends whose good end nobody waits for: it comes with whatever else does, and soon if it must. */
#include "helpers_world.h"

#include <pthread.h>
#include <string.h>

enum { IN = 11, OUT = 22, LEN = 100 };

/* Two sockets, and some bytes that are being sent quietly. */
struct quiet {
    struct act act;
    unsigned char bytes[LEN];
    int own, raw;
};

static void quiet_init(struct quiet *q, struct trial *t, int sort)
{
    trial_pair(t, sort, &q->own, &q->raw);
    act_init(&q->act, t, WR_OP_SEND, q->own);
    pattern_fill(OUT, 0, q->bytes, LEN);
    q->act.plan.flags = WR_OP_QUIET;
    q->act.plan.u.send = (struct iovec){ q->bytes, LEN };
}

static void arrives(struct quiet *q)
{
    struct trial *t = q->act.t;
    struct peer p = { .key_in = OUT, .got_max = LEN };
    peer_join(t, &p, q->raw);
    until (t, p.got == LEN) {}
    peer_leave(&p);
}

/* A turn that waited for ever if it did not tell. */
FACT(quiet_send_is_told_in_haste, ON_CALM)
{
    each_sort (t, sort)
        for (int i = 0; i < 20; i++) {
            struct quiet q;
            quiet_init(&q, t, sort);
            act_start(&q.act);
            if (i % 2 == 1)
                trial_turn(t, 0);   /* it has gone by now */
            t->w->hasty = true;
            while (!q.act.over) {
                trial_turn(t, UINT64_MAX);
                trial_reap(t);
            }
            expect_eq(t, q.act.res, LEN);
            arrives(&q);
        }
}

FACT(quiet_send_that_is_cancelled_is_told, ON_ALL)
{
    each_sort (t, sort)
        for (int i = 0; i < 20; i++) {
            struct quiet q;
            quiet_init(&q, t, sort);
            act_start(&q.act);
            if (i % 2 == 1)
                trial_turn(t, 0);
            act_cancel(&q.act);
            while (!q.act.over) {
                trial_turn(t, UINT64_MAX);
                trial_reap(t);
            }
            expect(t, q.act.res > 0 || act_is_empty(&q.act));
            if (q.act.res == LEN)
                arrives(&q);
        }
}

FACT(quiet_send_is_told_with_what_comes, ON_CALM)
{
    each_sort (t, sort) {
        struct quiet q;
        struct reader r;
        unsigned char byte;
        quiet_init(&q, t, sort);
        reader_init(&r, t, q.own, IN, INTO_POOL, 0);
        r.stop = 1;
        act_start(&r.act);
        act_start(&q.act);
        trial_turn(t, 0);
        pattern_fill(IN, 0, &byte, 1);
        expect_eq(t, raw_send(t, q.raw, &byte, 1), 1);
        until (t, r.act.over) {}
        until (t, q.act.over) {}
        expect_eq(t, q.act.res, LEN);
        reader_done(&r);
    }
}

/* Not late, and no haste is needed: it waits as any other. */
FACT(quiet_send_that_finds_no_room_is_told_when_it_has_gone, ON_CALM)
{
    each_sort (t, sort) {
        struct quiet q;
        struct writer s;
        quiet_init(&q, t, sort | NARROW);
        writer_init(&s, t, q.own, OUT, 1 << 20, 5000, 1);
        writer_start(&s);
        trial_settle(t);
        expect(t, !s.act.over && s.sent > 0);
        act_cancel(&s.act);
        act_end(&s.act);
        uint64_t before = s.sent;
        pattern_fill(OUT, before, q.bytes, LEN);
        act_start(&q.act);
        trial_settle(t);
        struct peer p = { .key_in = OUT, .got_max = before + LEN };
        peer_join(t, &p, q.raw);
        until (t, p.got == before + LEN) {}
        until (t, q.act.over) {}
        expect(t, q.act.res > 0 && q.act.starts < 3);
        peer_leave(&p);
        writer_done(&s);
    }
}

/* What they hold on to stands idle as long. More than the ring takes, so that some are handed over before the turn. */
FACT(many_quiet_sends_are_not_left_untold, ON_REAL, .ring_entries = 8)
{
    enum { MANY = 40 };
    static struct quiet q[MANY];
    for (int i = 0; i < MANY; i++) {
        quiet_init(&q[i], t, TCP);
        act_start(&q[i].act);
    }
    for (int i = 0; i < MANY;) {
        trial_turn(t, UINT64_MAX);
        trial_reap(t);
        while (i < MANY && q[i].act.over)
            i++;
    }
}

/* ---- What it is for ---- */

static bool is_used(const struct trial *t, const char *feature)
{
    for (unsigned i = 0; i < t->report.features; i++)
        if (strcmp(t->report.feature[i].name, feature) == 0)
            return t->report.feature[i].state == WR_FEATURE_USED;
    return false;
}

/* A question, and the wait for its answer: one system call, or two where the kernel tells of every send. It has gone
 * before its answer comes. */
#define WITH_BUFFERS(fact) ON(fact, uring) ON(fact, uring_coop) ON(fact, uring_plain)

FACT(quiet_send_saves_a_system_call, WITH_BUFFERS)
{
    enum { ROUNDS = 500 };
    struct reader r;
    struct quiet q;
    pthread_t thread;
    quiet_init(&q, t, TCP);
    q.act.plan.u.send.iov_len = 1;
    reader_init(&r, t, q.own, 0, INTO_POOL_MULTI, 0);
    act_start(&r.act);
    trial_turn(t, 0);
    expect_eq(t, pthread_create(&thread, NULL, raw_echo, &q.raw), 0);
    uint64_t before = t->w->enters;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        pattern_fill(0, i - 1, q.bytes, 1);
        act_start(&q.act);
        while (r.got < i) {
            struct wr_result one;
            trial_turn(t, UINT64_MAX);
            while (t->w->ops->reap(t->w, &one, 1) == 1) {
                trial_serve(t, &one);
                expect(t, q.act.over || r.got < i);
            }
        }
        act_revive(&q.act);
    }
    if (is_used(t, "quiet_send"))
        expect(t, t->w->enters - before < ROUNDS * 3 / 2);
    expect_eq(t, act_once(t, WR_OP_SHUTDOWN, q.own, SHUT_WR), 0);
    act_end(&r.act);
    pthread_join(thread, NULL);
    reader_done(&r);
}
