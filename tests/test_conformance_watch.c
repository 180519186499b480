/* Facts about polling, and about descriptors that are not the world's: they are polled, and closed behind its back. */
#include "helpers_world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

static void watch(struct trial *t, int fd)
{
    expect_eq(t, t->w->ops->watch(t->w, fd), 0);
}

static void unwatch(struct trial *t, int fd)
{
    t->w->ops->unwatch(t->w, fd);
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
        watch(t, fd);
        for (int again = 0; again < 3; again++) {
            expect_eq(t, act_once(t, WR_OP_POLL, fd, POLLIN), POLLIN);
            expect_eq(t, act_once(t, WR_OP_POLL, fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
            expect_eq(t, act_once(t, WR_OP_POLL, fd, 0), -EINVAL);
        }
        unwatch(t, fd);
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

/* ---- Descriptors of others ---- */

FACT(watch_refuses_what_is_no_descriptor, ON_ALL)
{
    expect_eq(t, t->w->ops->watch(t->w, 100000), -EBADF);
    expect_eq(t, t->w->ops->watch(t->w, INT_MAX), -EBADF);
}

/* No turn is needed for that. */
static void peer_hears_the_end(struct trial *t, int raw)
{
    char byte;
    struct pollfd p = { .fd = raw, .events = POLLIN };
    if (trial_is_real(t))
        expect_eq(t, poll(&p, 1, 10000), 1);
    expect_eq(t, raw_recv(t, raw, &byte, 1), 0);
}

FACT(unwatched_fd_may_be_closed_at_once, ON_ALL)
{
    each_sort (t, sort)
        for (enum moment moment = AT_ONCE; moment < MOMENTS; moment++) {
            int own, raw, next, next_raw;
            struct act old, new;
            trial_pair(t, sort, &own, &raw);
            watch(t, own);
            poll_start(&old, t, own, POLLIN);
            trial_pass(t, moment);
            act_cancel(&old);
            unwatch(t, own);
            raw_close(t, own, false);
            peer_hears_the_end(t, raw);
            raw_close(t, raw, false);
            trial_pair(t, sort, &next, &next_raw);
            watch(t, next);
            poll_start(&new, t, next, POLLIN);
            act_end(&old);
            expect(t, act_is_empty(&old));
            trial_settle(t);
            expect(t, !new.over);
            expect_eq(t, raw_send(t, next_raw, "x", 1), 1);
            expect_eq(t, act_end(&new), POLLIN);
            unwatch(t, next);
        }
}

/* As after a callback that closes: no op was in flight to be cancelled. */
FACT(unwatched_number_is_anew_after_its_poll_has_ended, ON_ALL)
{
    for (int i = 0; i < 3; i++) {
        int own, raw;
        struct act a;
        trial_pair(t, TCP, &own, &raw);
        watch(t, own);
        poll_start(&a, t, own, POLLIN);
        trial_settle(t);
        expect_eq(t, raw_send(t, raw, "x", 1), 1);
        expect_eq(t, act_end(&a), POLLIN);
        unwatch(t, own);
        raw_close(t, own, false);
        raw_close(t, raw, false);
    }
}

/* The file lives on in a duplicate, its number is another's: only that one is heard. */
FACT(unwatched_duplicate_speaks_to_nobody, ON_REAL)
{
    int own, raw, next, next_raw;
    struct act a;
    trial_pair(t, UNIX, &own, &raw);
    watch(t, own);
    poll_start(&a, t, own, POLLIN);
    trial_settle(t);
    act_cancel(&a);
    unwatch(t, own);
    act_end(&a);
    int copy = fcntl(own, F_DUPFD_CLOEXEC, 1000);
    raw_close(t, own, false);
    trial_pair(t, UNIX, &next, &next_raw);
    expect_eq(t, next, own);
    watch(t, next);
    poll_start(&a, t, next, POLLIN);
    trial_settle(t);
    expect_eq(t, raw_send(t, raw, "to the duplicate", 16), 16);
    uint64_t before = t->w->ops->now(t->w);
    trial_turn(t, 2000000);
    expect(t, t->w->ops->now(t->w) - before >= 2000000);
    trial_reap(t);
    expect(t, !a.over);
    expect_eq(t, raw_send(t, next_raw, "x", 1), 1);
    expect_eq(t, act_end(&a), POLLIN);
    unwatch(t, next);
    close(copy);
}

/* Two that watch one descriptor: it stays watched until both have left. */
FACT(fd_is_watched_until_the_last_leaves, ON_ALL)
{
    int own, raw;
    char byte;
    struct act a, b;
    trial_pair(t, TCP, &own, &raw);
    watch(t, own);
    watch(t, own);
    poll_start(&a, t, own, POLLIN);
    poll_start(&b, t, own, POLLIN);
    trial_settle(t);
    act_cancel(&a);
    unwatch(t, own);
    act_end(&a);
    trial_settle(t);
    expect_eq(t, raw_send(t, raw, "x", 1), 1);
    expect_eq(t, act_end(&b), POLLIN);
    unwatch(t, own);
    expect_eq(t, raw_recv(t, own, &byte, 1), 1);    /* unread, it would make the end a reset */
    raw_close(t, own, false);
    peer_hears_the_end(t, raw);
}

/* Watched, closed, and its number used again, over and over, by watchers and by the world's own sockets. */
FACT(numbers_change_hands_at_random, ON_ALL, .ring_entries = 8)
{
    for (int i = 0; i < (trial_is_real(t) ? 500 : 20); i++) {
        int own, raw;
        struct act a;
        unsigned char byte = 1;
        bool foreign = trial_draw(t, 2), told = trial_draw(t, 2);
        trial_pair(t, trial_draw(t, 2) ? UNIX : TCP, &own, &raw);
        if (foreign)
            watch(t, own);
        poll_start(&a, t, own, POLLIN);
        trial_pass(t, trial_draw_moment(t));
        if (told)
            expect_eq(t, raw_send(t, raw, &byte, 1), 1);
        if (told && trial_draw(t, 2))
            expect_eq(t, act_end(&a), POLLIN);
        else
            act_cancel(&a);
        if (foreign) {
            unwatch(t, own);
            raw_close(t, own, false);
            act_end(&a);
        } else {
            act_end(&a);
            trial_close(t, own);
        }
        expect(t, act_is_empty(&a) || (told && a.res == POLLIN));
        raw_close(t, raw, false);
    }
}
