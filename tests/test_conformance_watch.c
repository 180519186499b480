/* Facts about polling, over every world. */
#include "helpers_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { OUT = 22 };

static void poll_start(struct act *a, struct trial *t, int fd, unsigned events)
{
    act_init(a, t, WR_OP_POLL, fd);
    a->plan.u.events = events;
    act_start(a);
}

static void poll_cancel(struct act *a)
{
    act_cancel(a);
    act_end(a);
}

/* ---- What it tells ---- */

/* Fill the way out: nothing more fits. */
static void fill(struct trial *t, int own)
{
    struct writer s;
    writer_init(&s, t, own, OUT, 64 << 20, 1 << 20, 1);
    writer_start(&s);
    trial_settle(t);
    act_cancel(&s.act);
    act_end(&s.act);
    writer_done(&s);
}

/* The peer's end is no answer to who asks for room, or for nothing but the two that need no asking. */
FACT(poll_tells_only_what_was_asked, ON_ALL)
{
    static const unsigned asked[] = { POLLOUT, 0 };
    for (int i = 0; i < 2; i++) {
        int own, raw;
        struct act a;
        struct peer p = { .key_in = OUT, .got_max = UINT64_MAX };
        trial_pair(t, UNIX | NARROW, &own, &raw);
        fill(t, own);
        raw_shutdown(t, raw);
        poll_start(&a, t, own, asked[i]);
        for (int turn = 0; turn < 20; turn++) {
            trial_turn(t, 1000000);
            trial_reap(t);
        }
        expect(t, !a.over);
        if (asked[i] == POLLOUT) {
            peer_join(t, &p, raw);
            expect_eq(t, act_end(&a), POLLOUT);
            peer_leave(&p);
        } else {
            raw_close(t, raw, false);
            int res = act_end(&a);
            expect(t, res > 0 && (res & POLLHUP) && !(res & ~(POLLHUP | POLLERR)));
        }
    }
}

/* It waits for what was asked, and does not ask again and again. */
FACT(poll_sleeps_while_it_has_nothing_to_tell, ON_CALM)
{
    int own, raw;
    struct act a;
    trial_pair(t, UNIX | NARROW, &own, &raw);
    fill(t, own);
    raw_shutdown(t, raw);
    poll_start(&a, t, own, POLLOUT);
    trial_settle(t);
    for (int i = 0; i < 10; i++) {
        uint64_t before = t->w->ops->now(t->w);
        trial_turn(t, 2000000);
        expect(t, t->w->ops->now(t->w) - before >= 2000000);
        trial_reap(t);
    }
    for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
        trial_pass(t, moment);
        poll_cancel(&a);
        expect(t, act_is_empty(&a));
        act_revive(&a);
        act_start(&a);
    }
    poll_cancel(&a);
}

FACT(what_cannot_wait_is_ready, ON_REAL)
{
    static const char *const paths[] = { "/dev/null", "/proc/self/status", "/" };
    for (unsigned i = 0; i < WR_COUNT(paths); i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        expect(t, fd >= 0);
        for (int again = 0; again < 3; again++) {
            expect_eq(t, act_once(t, WR_OP_POLL, fd, POLLIN), POLLIN);
            expect_eq(t, act_once(t, WR_OP_POLL, fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
            expect_eq(t, act_once(t, WR_OP_POLL, fd, 0), -EINVAL);
        }
        close(fd);
    }
}

/* ---- Several at once ---- */

FACT(polls_of_one_fd_do_not_mind_each_other, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct act in[3], out, hup;
        struct peer p = { .key_in = OUT, .got_max = UINT64_MAX };
        struct writer s;
        trial_pair(t, sort | NARROW, &own, &raw);
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 1);
        writer_start(&s);
        trial_settle(t);
        for (int i = 0; i < 3; i++)
            poll_start(&in[i], t, own, POLLIN);
        poll_start(&hup, t, own, POLLRDHUP);
        trial_settle(t);
        poll_cancel(&in[1]);
        expect(t, act_is_empty(&in[1]));
        expect(t, !in[0].over && !in[2].over && !hup.over);
        expect_eq(t, raw_send(t, raw, "x", 1), 1);
        expect_eq(t, act_end(&in[0]), POLLIN);
        expect_eq(t, act_end(&in[2]), POLLIN);
        expect(t, !hup.over);
        peer_join(t, &p, raw);
        act_end(&s.act);
        poll_start(&out, t, own, POLLOUT);
        expect_eq(t, act_end(&out), POLLOUT);
        p.fin = true;
        expect_eq(t, act_end(&hup), POLLRDHUP);
        expect_eq(t, s.sent, 1 << 20);
        peer_leave(&p);
        writer_done(&s);
    }
}

FACT(poll_goes_beside_recv, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct act a;
        struct reader r;
        struct peer p = { .key_out = OUT, .total = 10000, .fin = true };
        trial_pair(t, sort, &own, &raw);
        reader_init(&r, t, own, OUT, INTO_POOL_MULTI, 0);
        act_start(&r.act);
        poll_start(&a, t, own, POLLRDHUP);
        peer_join(t, &p, raw);
        expect_eq(t, act_end(&a), POLLRDHUP);
        expect_eq(t, act_end(&r.act), 0);
        expect_eq(t, r.got, 10000);
        peer_leave(&p);
        reader_done(&r);
    }
}
