/* Facts about sockets: how they go, and what is told about them, over every world. */
#include "helpers_world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

enum { IN = 11, OUT = 22 };

/* ---- Going ---- */

FACT(close_gives_the_peer_its_end, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        uint64_t got;
        struct writer s;
        trial_pair(t, sort, &own, &raw);
        writer_init(&s, t, own, OUT, 3000, 3000, 1);
        struct peer p = { .key_in = OUT };
        peer_join(t, &p, raw);
        writer_start(&s);
        until (t, s.act.over)
            p.got_max++;
        peer_leave(&p);
        trial_close(t, own);
        p.got_max = UINT64_MAX;
        peer_join(t, &p, raw);
        until (t, p.ended || p.error)
            ;
        got = p.got;
        expect_eq(t, p.error, 0);
        expect_eq(t, got, 3000);
        peer_leave(&p);
        writer_done(&s);
    }
}

FACT(close_with_reset_resets, ON_ALL)
{
    for (int armed = 0; armed <= 1; armed++) {
        int own, raw;
        struct reader r;
        trial_pair(t, TCP, &own, &raw);
        reader_init(&r, t, own, IN, INTO_POOL_MULTI, 0);
        if (armed) {
            act_start(&r.act);
            trial_settle(t);
            act_cancel(&r.act);
            act_end(&r.act);
        }
        expect_eq(t, t->w->ops->option(t->w, own, WR_SO_LINGER_RESET, 1), 0);
        trial_close(t, own);
        expect_eq(t, raw_drain(t, raw, OUT, NULL), -ECONNRESET);
        if (armed)
            reader_done(&r);
    }
}

/* The number of a closed socket is the next one's: which must hear its own bytes only, and all of them. */
static void reuse_number(struct trial *t, bool reap_before, unsigned *same)
{
    int own, raw, next, next_raw;
    struct reader old, new;
    struct act c;
    struct peer p = { .key_out = IN + 1, .total = 500, .fin = true };
    trial_pair(t, UNIX, &own, &raw);
    reader_init(&old, t, own, IN, INTO_POOL_MULTI, 0);
    act_start(&old.act);
    trial_turn(t, 0);
    act_cancel(&old.act);
    act_end(&old.act);
    expect_eq(t, raw_send(t, raw, "stale", 5), 5);
    act_init(&c, t, WR_OP_CLOSE, own);
    act_start(&c);
    trial_forget(t, own);
    trial_turn(t, 0);
    if (reap_before)
        act_end(&c);
    trial_pair(t, UNIX, &next, &next_raw);
    *same += next == own;
    reader_init(&new, t, next, IN + 1, INTO_POOL_MULTI, 0);
    act_start(&new.act);
    peer_join(t, &p, next_raw);
    expect_eq(t, act_end(&new.act), 0);
    expect_eq(t, new.got, 500);
    act_end(&c);
    peer_leave(&p);
    reader_done(&old);
    reader_done(&new);
    trial_close(t, next);
    raw_close(t, raw, false);
    raw_close(t, next_raw, false);
}

FACT(a_reused_number_is_a_new_socket, ON_ALL)
{
    unsigned same = 0;
    for (int i = 0; i < 100; i++)
        reuse_number(t, i % 2, &same);
    if (trial_is_real(t))
        expect(t, same > 0);
}

FACT(port_is_free_after_close, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = trial_listen(t, 16, &addr, &len);
    for (int i = 0; i < 20; i++) {
        struct taker k;
        int raw = raw_connect(t, (struct sockaddr *)&addr, len);
        taker_init(&k, t, listener, true, 5);
        act_start(&k.act);
        until (t, k.count == 1)
            ;
        trial_close(t, k.fds[0]);
        expect_eq(t, raw_drain(t, raw, OUT, NULL), 0);
        act_cancel(&k.act);
        act_end(&k.act);
        trial_close(t, listener);
        listener = t->w->ops->listen(t->w, (struct sockaddr *)&addr, len, 16, false);
        expect(t, listener >= 0);
        trial_own(t, listener, false);
        taker_done(&k);
    }
}

/* ---- Polling ---- */

static bool ends_with(struct trial *t, int fd, unsigned ask, unsigned want)
{
    int res = act_once(t, WR_OP_POLL, fd, ask);
    return res > 0 && ((unsigned)res & want) == want;
}

FACT(poll_tells_what_was_asked, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct act in, hup;
        trial_pair(t, sort, &own, &raw);
        expect_eq(t, act_once(t, WR_OP_POLL, own, POLLOUT), POLLOUT);
        expect_eq(t, act_once(t, WR_OP_POLL, own, POLLOUT | POLLIN), POLLOUT);
        act_init(&in, t, WR_OP_POLL, own);
        in.plan.u.events = POLLIN;
        act_start(&in);
        trial_settle(t);
        expect(t, !in.over);
        expect_eq(t, raw_send(t, raw, "x", 1), 1);
        expect_eq(t, act_end(&in), POLLIN);
        act_init(&hup, t, WR_OP_POLL, own);
        hup.plan.u.events = POLLRDHUP;
        act_start(&hup);
        trial_settle(t);
        expect(t, !hup.over);
        raw_shutdown(t, raw);
        expect_eq(t, act_end(&hup), POLLRDHUP);
        expect(t, ends_with(t, own, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP));
        expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
        raw_close(t, raw, false);
        expect(t, ends_with(t, own, POLLRDHUP, POLLHUP));
    }
}

/* A unix socket that is full stays full; TCP's buffers give way for a while. */
FACT(poll_out_waits_for_room, ON_ALL)
{
    int own, raw;
    struct act out;
    struct writer s;
    struct peer p = { .key_in = OUT, .got_max = UINT64_MAX };
    trial_pair(t, UNIX | NARROW, &own, &raw);
    writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 1);
    writer_start(&s);
    trial_settle(t);
    act_cancel(&s.act);
    act_end(&s.act);
    act_init(&out, t, WR_OP_POLL, own);
    out.plan.u.events = POLLOUT;
    act_start(&out);
    trial_settle(t);
    expect(t, !out.over);
    peer_join(t, &p, raw);
    expect_eq(t, act_end(&out), POLLOUT);
    peer_leave(&p);
    writer_done(&s);
}

FACT(poll_goes_beside_send, ON_ALL)
{
    each_sort (t, sort) {
        int own, raw;
        struct act hup;
        struct writer s;
        struct peer p = { .key_out = IN, .total = 100, .key_in = OUT };
        trial_pair(t, sort | NARROW, &own, &raw);
        act_init(&hup, t, WR_OP_POLL, own);
        hup.plan.u.events = POLLRDHUP;
        writer_init(&s, t, own, OUT, 1 << 20, 1 << 20, 2);
        act_start(&hup);
        writer_start(&s);
        peer_join(t, &p, raw);
        trial_settle(t);
        expect(t, !s.act.over && !hup.over);
        p.got_max = UINT64_MAX;
        act_end(&s.act);
        expect_eq(t, s.sent, 1 << 20);
        expect(t, !hup.over);
        p.fin = true;
        expect_eq(t, act_end(&hup), POLLRDHUP);
        peer_leave(&p);
        writer_done(&s);
    }
}

/* ---- Facts about sockets ---- */

FACT(adopt_knows_what_it_is_given, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct wr_adopted facts;
    int own, raw, listener = trial_listen(t, 1, &addr, &len);
    expect_eq(t, t->w->ops->adopt(t->w, 100000, WR_WANT_STREAM, &facts), -EBADF);
    expect_eq(t, t->w->ops->adopt(t->w, trial_socket(t, AF_INET), WR_WANT_STREAM, &facts), 0);
    expect(t, facts.socket && !facts.connected && facts.reads && facts.writes);
    expect_eq(t, t->w->ops->adopt(t->w, listener, WR_WANT_STREAM, &facts), -EINVAL);
    expect_eq(t, t->w->ops->adopt(t->w, listener, WR_WANT_LISTENER, &facts), 0);
    trial_pair(t, TCP, &own, &raw);
    expect_eq(t, t->w->ops->adopt(t->w, own, WR_WANT_LISTENER, &facts), -EINVAL);
    expect_eq(t, t->w->ops->adopt(t->w, own, WR_WANT_STREAM, &facts), 0);
    expect(t, facts.socket && facts.connected && facts.reads && facts.writes && !(facts.traits & WR_FD_RESTORE));
}

FACT(listening_twice_needs_permission, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    trial_listen(t, 1, &addr, &len);
    expect_eq(t, t->w->ops->listen(t->w, (struct sockaddr *)&addr, len, 1, false), -EADDRINUSE);
    int one = t->w->ops->listen(t->w, (struct sockaddr *)&any, sizeof(any), 1, true);
    expect(t, one >= 0);
    trial_own(t, one, false);
    expect_eq(t, t->w->ops->address(t->w, one, false, &addr, &len), 0);
    int two = t->w->ops->listen(t->w, (struct sockaddr *)&addr, len, 1, true);
    expect(t, two >= 0);
    trial_own(t, two, false);
}

FACT(refused_sockets_leave_nothing_behind, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct sockaddr_in far = { .sin_family = AF_INET, .sin_addr = { htonl(0x08080808) } };
    trial_listen(t, 1, &addr, &len);
    int fds = count_fds();
    for (int i = 0; i < 5; i++) {
        expect_eq(t, t->w->ops->listen(t->w, (struct sockaddr *)&addr, len, 1, false), -EADDRINUSE);
        if (trial_is_real(t))
            expect_eq(t, t->w->ops->listen(t->w, (struct sockaddr *)&far, sizeof(far), 1, false),
                      -EADDRNOTAVAIL);
        int fd = t->w->ops->socket(t->w, AF_INET);
        expect(t, fd >= 0);
        t->w->ops->discard(t->w, fd);
    }
    expect_eq(t, count_fds(), fds);
}

FACT(address_of_what_has_none_is_an_error, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    expect_eq(t, t->w->ops->address(t->w, trial_socket(t, AF_INET), true, &addr, &len), -ENOTCONN);
    expect_eq(t, t->w->ops->address(t->w, 100000, false, &addr, &len), -EBADF);
}

FACT(nodelay_is_set_and_unset, ON_REAL)
{
    int own, raw;
    trial_pair(t, TCP, &own, &raw);
    for (int on = 1; on >= 0; on--) {
        int value = -1;
        socklen_t len = sizeof(value);
        expect_eq(t, t->w->ops->option(t->w, own, WR_SO_NODELAY, on), 0);
        expect_eq(t, getsockopt(own, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        expect_eq(t, value != 0, on);
    }
}

enum { FDS = 256 };

static void list_fds(bool fds[FDS])
{
    for (int fd = 0; fd < FDS; fd++)
        fds[fd] = fcntl(fd, F_GETFD) >= 0;
}

FACT(no_descriptor_outlives_exec, ON_REAL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct taker k;
    struct wr_world *other;
    bool before[FDS];
    list_fds(before);
    expect_eq(t, trial_world(t, &other), 0);
    int listener = trial_listen(t, 4, &addr, &len);
    trial_socket(t, AF_INET);
    for (int multi = 0; multi <= 1; multi++) {
        raw_connect(t, (struct sockaddr *)&addr, len);
        taker_init(&k, t, listener, multi, 1);
        act_start(&k.act);
        act_end(&k.act);
        taker_done(&k);
    }
    for (int fd = 0; fd < FDS; fd++)
        if (!before[fd] && fcntl(fd, F_GETFD) >= 0)
            expect(t, fcntl(fd, F_GETFD) & FD_CLOEXEC);
    other->ops->close(other);
}

static void send_byte(struct trial *t, int fd, int want)
{
    struct writer s;
    writer_init(&s, t, fd, OUT, 1, 1, 1);
    writer_start(&s);
    expect_eq(t, act_end(&s.act), want);
    writer_done(&s);
}

FACT(what_goes_wrong_is_a_completion, ON_REAL)
{
    int own, raw, idle = trial_socket(t, AF_INET);
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct act a;
    trial_pair(t, TCP, &own, &raw);
    expect_eq(t, act_once(t, WR_OP_RECV, 10000, 0), -EBADF);
    expect_eq(t, act_once(t, WR_OP_ACCEPT, 10000, 0), -EBADF);
    expect_eq(t, act_once(t, WR_OP_SHUTDOWN, 10000, SHUT_WR), -EBADF);
    expect_eq(t, act_once(t, WR_OP_CLOSE, 10000, 0), -EBADF);
    send_byte(t, 10000, -EBADF);
    expect_eq(t, act_once(t, WR_OP_RECV, idle, 0), -ENOTCONN);
    expect_eq(t, act_once(t, WR_OP_SHUTDOWN, idle, SHUT_WR), -ENOTCONN);
    send_byte(t, idle, -EPIPE);
    act_init(&a, t, WR_OP_CONNECT, own);
    act_connect_to(&a, &in, sizeof(in));
    act_start(&a);
    expect_eq(t, act_end(&a), -EISCONN);
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

/* Without memory an op may fail, but it completes; and is there to be cancelled until then. */
FACT(start_without_memory_is_a_completion, ON_REAL)
{
    for (int number = 300; number < 20000; number *= 8)
        for (int cancelled = 0; cancelled <= 1; cancelled++) {
            int own, raw;
            struct act a;
            trial_pair(t, TCP, &own, &raw);
            int high = fcntl(own, F_DUPFD_CLOEXEC, number);
            expect(t, high >= number);
            act_init(&a, t, WR_OP_RECV, high);
            wr_mem_gate = refuse_all;
            act_start(&a);
            trial_turn(t, 0);
            if (cancelled)
                act_cancel(&a);
            wr_mem_gate = NULL;
            raw_shutdown(t, raw);
            int res = act_end(&a);
            expect(t, res == 0 || res == -ENOMEM || act_is_empty(&a));
            close(high);
        }
}
