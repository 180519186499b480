/* Facts about connections that come: accepted and connected, over every world. */
#include "helpers_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { IN = 11, OUT = 22 };

/* ---- Accepting ---- */

static in_port_t port_of(struct trial *t, int fd, bool peer)
{
    struct sockaddr_storage addr;
    socklen_t len;
    expect_eq(t, t->w->ops->address(t->w, fd, peer, &addr, &len), 0);
    expect_eq(t, addr.ss_family, AF_INET);
    expect_eq(t, len, sizeof(struct sockaddr_in));
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr;
    expect_eq(t, in->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    return in->sin_port;
}

/* Each raw end says who it is; the accepted end with that peer address must hear just that. */
static void check_accepted(struct trial *t, struct taker *k, const int *raw, int listener)
{
    for (unsigned i = 0; i < k->count; i++) {
        unsigned at = 0;
        in_port_t port = port_of(t, k->fds[i], true);
        struct reader r;
        while (at < k->count && port_of(t, raw[at], false) != port)
            at++;
        expect(t, at < k->count);
        expect_eq(t, port_of(t, k->fds[i], false), port_of(t, listener, false));
        unsigned char bytes[10];
        pattern_fill(at, 0, bytes, sizeof(bytes));
        expect_eq(t, raw_send(t, raw[at], bytes, sizeof(bytes)), sizeof(bytes));
        raw_shutdown(t, raw[at]);
        reader_init(&r, t, k->fds[i], at, INTO_POOL, 0);
        act_start(&r.act);
        expect_eq(t, act_end(&r.act), 0);
        expect_eq(t, r.got, sizeof(bytes));
        reader_done(&r);
    }
}

static void accept_many(struct trial *t, bool multi, unsigned clients)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int raw[256];
    unsigned connected = 0;
    struct taker k;
    int listener = trial_listen(t, 256, &addr, &len);
    taker_init(&k, t, listener, multi, clients);
    act_start(&k.act);
    until (t, k.act.over) {
        for (uint64_t i = trial_draw(t, 40); i > 0 && connected < clients; i--)
            raw[connected++] = raw_connect(t, (struct sockaddr *)&addr, len);
    }
    expect_eq(t, k.count, clients);
    check_accepted(t, &k, raw, listener);
    trial_close(t, listener);
    taker_done(&k);
}

static unsigned crowd(const struct trial *t)
{
    return t->kind->faults ? 20 : 200;
}

FACT(accept_multi_takes_everybody, ON_ALL)
{
    accept_many(t, true, crowd(t));
}

FACT(accept_single_takes_everybody, ON_ALL)
{
    accept_many(t, false, crowd(t));
}

FACT(accept_takes_those_who_came_before, ON_ALL)
{
    for (int multi = 0; multi <= 1; multi++) {
        struct sockaddr_storage addr;
        socklen_t len;
        struct taker k;
        int listener = trial_listen(t, 16, &addr, &len);
        for (int i = 0; i < 10; i++)
            raw_connect(t, (struct sockaddr *)&addr, len);
        taker_init(&k, t, listener, multi, 10);
        act_start(&k.act);
        act_end(&k.act);
        expect_eq(t, k.count, 10);
        trial_close(t, listener);
        taker_done(&k);
    }
}

/* No more descriptors: the accept says so, loses nobody, and one who waits can be shown the door. */
FACT(accept_without_descriptors_loses_nobody, ON_REAL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct taker k;
    struct rlimit old, tight;
    int listener = trial_listen(t, 16, &addr, &len), raw[2];
    expect_eq(t, t->w->ops->shed(t->w, listener), 0);
    for (int i = 0; i < 2; i++)
        raw[i] = raw_connect(t, (struct sockaddr *)&addr, len);
    int lowest = dup(0);
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)lowest;
    expect_eq(t, setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int multi = 0; multi <= 1; multi++) {
        taker_init(&k, t, listener, multi, 1);
        act_start(&k.act);
        expect_eq(t, act_end(&k.act), -EMFILE);
        taker_done(&k);
    }
    expect_eq(t, t->w->ops->shed(t->w, listener), 1);
    int end = raw_drain(t, raw[0], IN, NULL);
    expect(t, end == 0 || end == -ECONNRESET);
    expect_eq(t, setrlimit(RLIMIT_NOFILE, &old), 0);
    taker_init(&k, t, listener, true, 1);
    act_start(&k.act);
    act_end(&k.act);
    expect_eq(t, k.count, 1);
    expect_eq(t, port_of(t, k.fds[0], true), port_of(t, raw[1], false));
    taker_done(&k);
}

/* ---- Connecting ---- */

/* The world connects to itself, and both ends carry bytes. */
static void connect_and_talk(struct trial *t, const struct sockaddr *addr, socklen_t len, int listener)
{
    struct taker k;
    struct act c;
    struct reader r;
    struct writer s;
    int own = trial_socket(t, addr->sa_family);
    taker_init(&k, t, listener, false, 1);
    act_init(&c, t, WR_OP_CONNECT, own);
    act_connect_to(&c, addr, len);
    act_start(&c);
    act_start(&k.act);
    expect_eq(t, act_end(&c), 0);
    act_end(&k.act);
    expect_eq(t, k.count, 1);
    reader_init(&r, t, k.fds[0], OUT, INTO_POOL_MULTI, 0);
    writer_init(&s, t, own, OUT, 10000, 10000, 3);
    act_start(&r.act);
    writer_start(&s);
    act_end(&s.act);
    expect_eq(t, act_once(t, WR_OP_SHUTDOWN, own, SHUT_WR), 0);
    expect_eq(t, act_end(&r.act), 0);
    expect_eq(t, r.got, 10000);
    reader_done(&r);
    writer_done(&s);
    taker_done(&k);
}

FACT(connect_succeeds, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = trial_listen(t, 16, &addr, &len);
    for (int i = 0; i < 5; i++)
        connect_and_talk(t, (struct sockaddr *)&addr, len, listener);
}

FACT(connect_to_unix_path_and_abstract, ON_ALL)
{
    for (int abstract = 0; abstract <= 1; abstract++) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        snprintf(un.sun_path + abstract, sizeof(un.sun_path) - 1, "/tmp/weir-conformance-%d-%s", getpid(),
                 t->kind->name);
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)abstract +
                                    strlen(un.sun_path + abstract) + !abstract);
        unlink(un.sun_path);
        int listener = t->w->ops->listen(t->w, (struct sockaddr *)&un, len, 16, false);
        expect(t, listener >= 0);
        trial_own(t, listener, false);
        connect_and_talk(t, (struct sockaddr *)&un, len, listener);
        trial_close(t, listener);
        unlink(un.sun_path);
    }
}

FACT(connect_is_refused, ON_ALL)
{
    struct sockaddr_storage addr;
    socklen_t len;
    trial_close(t, trial_listen(t, 16, &addr, &len));
    for (int i = 0; i < 3; i++) {
        struct act c;
        act_init(&c, t, WR_OP_CONNECT, trial_socket(t, AF_INET));
        act_connect_to(&c, &addr, len);
        act_start(&c);
        expect_eq(t, act_end(&c), -ECONNREFUSED);
    }
}

FACT(connect_to_no_unix_socket_fails, ON_REAL)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/tmp/weir-conformance-nobody" };
    struct act c;
    act_init(&c, t, WR_OP_CONNECT, trial_socket(t, AF_UNIX));
    act_connect_to(&c, &un, sizeof(un));
    act_start(&c);
    expect_eq(t, act_end(&c), -ENOENT);
}

/* A unix listener's full queue says EAGAIN where a TCP one's says EINPROGRESS: neither is a result. A world
 * waits for room or gives up, and whoever was told 0 is accepted. */
FACT(connect_to_a_full_unix_queue_ends, ON_REAL)
{
    enum { CLIENTS = 6 };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct act c[CLIENTS];
    struct taker k;
    unsigned over = 0, connected = 0;
    snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "weir-conformance-full-%d", getpid());
    int listener = t->w->ops->listen(t->w, (struct sockaddr *)&un, sizeof(un), 1, false);
    expect(t, listener >= 0);
    trial_own(t, listener, false);
    for (int i = 0; i < CLIENTS; i++) {
        act_init(&c[i], t, WR_OP_CONNECT, trial_socket(t, AF_UNIX));
        act_connect_to(&c[i], &un, sizeof(un));
        act_start(&c[i]);
    }
    trial_settle(t);
    act_cancel(&c[CLIENTS - 1]);
    taker_init(&k, t, listener, true, CLIENTS + 1);
    act_start(&k.act);
    until (t, over == CLIENTS && k.count >= connected) {
        over = connected = 0;
        for (int i = 0; i < CLIENTS; i++) {
            over += c[i].over;
            connected += c[i].over && c[i].res == 0;
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        expect(t, c[i].res == 0 || c[i].res == -ECONNREFUSED || (c[i].asked && c[i].res == -ECANCELED));
    act_cancel(&k.act);
    act_end(&k.act);
    expect_eq(t, k.count, connected);
    taker_done(&k);
}
