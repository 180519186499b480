/* Random programs in the simulator against an oracle that knows what must come out.
 *
 * Each seed makes a network with faults, a few connections, and a program that reads, writes, shuts down and closes at
 * random, from inside callbacks and from outside. The oracle holds, for every accepted call, that it calls back exactly
 * once, never from inside a call, never after on_close; that the bytes are the right ones, in order, none lost or
 * doubled; that a stream ends for a reason only; that once the faults stop everything completes; and that no memory,
 * buffer or socket is left.
 *
 *   plain_sim [FIRST [COUNT]]     a failure prints the command that replays it */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "weir.h"
#include "weir_sim.h"

enum { SIDES_MAX = 16, WRITES_MAX = 4096, ALPHABET = 8, BIG = 300000, READ_MAX = 40000 };

struct write_rec {
    uint64_t end;           /* the stream offset behind it */
    bool released, borrowed, reported;
    unsigned char *copy;    /* borrowed bytes */
};

struct side {
    struct weir_stream *s;
    struct side *peer;
    int raw;                /* the fd of a raw peer, or -1 */
    uint64_t key;           /* of the bytes that this side sends */
    uint64_t sent;          /* bytes accepted by weir_write or the raw socket */
    uint64_t got;           /* bytes that were read and found right */
    struct write_rec writes[WRITES_MAX];
    unsigned written, next_report;
    int read_kind;          /* 0: none pending; else 'b', 's', 'u', 'c', 'k' (chunks) */
    size_t read_n;
    char delim[4];
    size_t delim_len;
    bool connecting, shut, closing, closed, flushed, failed;
    bool echo;              /* sends what its peer sends: the bytes may be a view of what it has read */
    bool ended;             /* a read told of the end, or the raw socket did */
    uint64_t goal;          /* a raw peer sends so many bytes before it ends */
    size_t kept;            /* bytes buffered as it was closed by FLUSH: no more are kept */
    int reason;
};

static struct sim_state {
    uint64_t seed;
    struct weir_sim *sim;
    struct weir_loop *loop;
    struct weir_listener *listener;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct side side[SIDES_MAX];
    int sides, open;
    bool in_call;           /* inside a weir call: no callback may come */
    bool quiet;             /* the program is over: callbacks ask for nothing new */
    uint32_t faults;
} t;

static uint64_t callbacks, total_bytes;
static unsigned char scratch[BIG];

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("seed %llu: ", (unsigned long long)t.seed);
    vprintf(format, args);
    printf("\nreplay: make sim SEED=%llu\n0 passed, 1 failed\n", (unsigned long long)t.seed);
    va_end(args);
    fflush(stdout);
    _exit(1);
}

#define must(cond) ((cond) ? (void)0 : fail("%s:%d: %s", __FILE__, __LINE__, #cond))

extern const char *wr_assert_text;

static void aborted(int sig)
{
    (void)sig;
    fail("the library aborted: %s", wr_assert_text ? wr_assert_text : "(no assert)");
}

static uint64_t draw(uint64_t n)
{
    return n ? weir_sim_random(t.sim) % n : 0;
}

static bool chance(unsigned percent)
{
    return draw(100) < percent;
}

/* The byte at an offset of a side's outgoing stream. */
static unsigned char byte_at(const struct side *from, uint64_t off)
{
    uint64_t x = (from->key ^ (off * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
    return (unsigned char)('a' + (x >> 40) % ALPHABET);
}

static void fill(const struct side *from, unsigned char *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = byte_at(from, from->sent + i);
}

static void act(struct side *x);
static void echo(struct side *x, struct weir_view v);

/* ---- Reads and what they must give ---- */

static void check_bytes(struct side *x, struct weir_view v)
{
    const unsigned char *p = v.data;
    must(x->got + v.len <= x->peer->sent);
    for (size_t i = 0; i < v.len; i++)
        if (p[i] != byte_at(x->peer, x->got + i))
            fail("side %d: wrong byte at offset %llu", (int)(x - t.side), (unsigned long long)(x->got + i));
    x->got += v.len;
    total_bytes += v.len;
}

static bool ends_with_first_delim(const struct side *x, struct weir_view v)
{
    const unsigned char *p = memmem(v.data, v.len, x->delim, x->delim_len);
    return p && p + x->delim_len == (const unsigned char *)v.data + v.len;
}

/* What may end a stream. What only means "start again" is nobody's business but the library's. */
static bool is_reason(const struct side *x, int code)
{
    switch (code) {
    case 0:
    case -ECANCELED:
        return x->closing;
    case WEIR_EOF:
    case WEIR_EUNSATISFIABLE:
    case WEIR_EBUFFULL:
    case -ETIMEDOUT:
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EPIPE:
        return true;
    default:
        return false;
    }
}

static void check_good(struct side *x, int kind, struct weir_view v)
{
    switch (kind) {
    case 'b':
        must(v.len == x->read_n);
        break;
    case 's':
        must(v.len >= 1 && (x->read_n == 0 || v.len <= x->read_n));
        break;
    case 'k':
        must(v.len >= 1);
        break;
    case 'u':
        must(v.len <= x->read_n && ends_with_first_delim(x, v));
        break;
    default:
        must(kind == 'c');
    }
}

/* The peer ended in good order: what it was allowed to send must all have come. */
static void check_whole(struct side *x)
{
    struct weir_stream_facts f;
    must(weir_stream_facts(x->s, &f, sizeof f) == 0);
    if (x->peer->flushed && !(t.faults & WEIR_SIM_RESET) && !x->peer->failed)
        must(x->got + f.buffered == x->peer->sent);
}

static void on_read(struct weir_stream *s, int status, struct weir_view v, void *arg)
{
    struct side *x = arg;
    int kind = x->read_kind;
    must(!t.in_call && !x->closed && s == x->s && kind != 0);
    callbacks++;
    if (kind != 'k' || status != 0)
        x->read_kind = 0;
    if (status == 0)
        check_good(x, kind, v);
    else
        must((kind == 'c' || v.len == 0) && is_reason(x, status));
    x->ended |= status != 0 || kind == 'c';
    if (status == WEIR_EUNSATISFIABLE)
        must(kind == 'u');
    check_bytes(x, v);
    if (status == WEIR_EOF || (status == 0 && kind == 'c'))
        check_whole(x);
    if (x->echo && status == 0)
        echo(x, v);
    if (chance(60))
        act(x);
}

static void ask_read(struct side *x)
{
    static const char kinds[] = "bsucck";
    int kind = kinds[draw(sizeof kinds - 1)], rc;
    size_t n = (size_t)(chance(80) ? draw(200) : draw(READ_MAX));
    bool busy = x->read_kind != 0;
    if (x->echo && chance(30)) {
        kind = 'b'; /* large enough to be held as it is written back */
        n = 4096 + (size_t)draw(8000);
    }
    t.in_call = true;
    switch (kind) {
    case 'b':
        rc = weir_read_bytes(x->s, n, on_read, x);
        break;
    case 's':
        rc = weir_read_some(x->s, n, on_read, x);
        break;
    case 'u': {
        char delim[4];
        size_t len = 1 + (size_t)draw(3);
        for (size_t i = 0; i < len; i++)
            delim[i] = (char)('a' + draw(ALPHABET));
        n += len;
        rc = weir_read_until(x->s, delim, len, n, on_read, x);
        if (rc == 0) {
            memcpy(x->delim, delim, sizeof delim);
            x->delim_len = len;
        }
        break;
    }
    case 'c':
        rc = weir_read_until_close(x->s, on_read, x);
        break;
    default:
        rc = weir_read_start(x->s, on_read, x);
    }
    t.in_call = false;
    must(rc == 0 || rc == -EBUSY || rc == WEIR_ECLOSED || rc == -ENOTCONN);
    must(!busy || rc == -EBUSY || rc == WEIR_ECLOSED);
    if (rc == 0) {
        x->read_kind = kind;
        x->read_n = n;
    }
}

/* ---- Writes ---- */

static void on_wrote(struct weir_stream *s, int status, void *arg)
{
    struct write_rec *w = arg;
    struct side *x = weir_stream_ext(s) ? *(struct side **)weir_stream_ext(s) : NULL;
    must(x && !t.in_call && !x->closed);
    callbacks++;
    while (x->next_report < x->written && &x->writes[x->next_report] != w)
        must(x->writes[x->next_report++].reported);
    must(&x->writes[x->next_report] == w && !w->reported);
    must(!w->borrowed || w->released);
    w->reported = true;
    if (status != 0)
        x->failed = true;
    if (chance(40))
        act(x);
}

static void on_release(const void *data, size_t len, void *arg)
{
    struct write_rec *w = arg;
    must(!t.in_call && w->borrowed && !w->released && (data == w->copy || len == 0));
    w->released = true;
    free(w->copy);
    w->copy = NULL;
}

static void accepted(struct side *x, struct write_rec *w, size_t n)
{
    x->sent += n;
    w->end = x->sent;
    x->written++;
}

/* Write back what of the view was not sent yet, if that is where the sent bytes end. */
static void echo(struct side *x, struct weir_view v)
{
    struct write_rec *w = &x->writes[x->written];
    uint64_t begin = x->got - v.len;
    if (x->written == WRITES_MAX || x->sent < begin || x->sent >= x->got)
        return;
    size_t off = (size_t)(x->sent - begin);
    *w = (struct write_rec){.end = 0};
    t.in_call = true;
    int rc = weir_write(x->s, (const char *)v.data + off, v.len - off, on_wrote, w);
    t.in_call = false;
    must(rc == 0 || rc == -ENOBUFS || rc == WEIR_ECLOSED || rc == -EPIPE);
    if (rc == 0)
        accepted(x, w, v.len - off);
}

static size_t draw_length(const struct side *x)
{
    size_t n = (size_t)(chance(70) ? draw(300) : chance(80) ? draw(5000) : draw(BIG));
    if (!x->echo)
        return n;
    return x->sent < x->got && chance(50) ? (size_t)(x->got - x->sent) : (size_t)draw(50); /* catch up */
}

static int ask_write_of(struct side *x, size_t n)
{
    if (x->written == WRITES_MAX)
        return -ENOBUFS;
    n = n < BIG ? n : BIG;
    struct write_rec *w = &x->writes[x->written];
    *w = (struct write_rec){.borrowed = chance(40)};
    int rc;
    fill(x, scratch, n);
    if (w->borrowed) {
        w->copy = malloc(n ? n : 1);
        memcpy(w->copy, scratch, n);
    }
    t.in_call = true;
    if (w->borrowed) {
        rc = weir_write_ref(x->s, w->copy, n, on_release, on_wrote, w);
    } else if (chance(50)) {
        rc = weir_write(x->s, scratch, n, on_wrote, w);
    } else {
        size_t cut = (size_t)draw(n + 1);
        struct iovec iov[2] = {{scratch, cut}, {scratch + cut, n - cut}};
        rc = weir_writev(x->s, iov, 2, on_wrote, w);
    }
    t.in_call = false;
    memset(scratch, '#', n); /* copies must not need it any more */
    must(rc == 0 || rc == -ENOBUFS || rc == WEIR_ECLOSED || rc == -EPIPE || rc == -ENOTCONN);
    must(rc != -EPIPE || x->shut);
    if (rc == 0)
        accepted(x, w, n);
    else
        free(w->copy);
    return rc;
}

static void ask_write(struct side *x)
{
    ask_write_of(x, draw_length(x));
}

/* ---- Life ---- */

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct side *x = arg;
    must(!t.in_call && s == x->s && !x->closed);
    must(x->read_kind == 0 && !x->connecting && is_reason(x, reason));
    struct weir_stream_facts f;
    must(weir_stream_facts(s, &f, sizeof f) == 0 && f.closed);
    must(reason != WEIR_EOF || f.buffered == 0 || x->ended);
    for (unsigned i = 0; i < x->written; i++)
        must(x->writes[i].reported && (!x->writes[i].borrowed || x->writes[i].released));
    callbacks++;
    x->closed = true;
    x->reason = reason;
    t.open--;
}

static void on_connect(struct weir_stream *s, int status, void *arg)
{
    struct side *x = arg;
    must(!t.in_call && s == x->s && x->connecting && !x->closed);
    for (unsigned i = 0; i < x->written && status == 0; i++)
        must(!x->writes[i].reported);
    x->connecting = false;
    callbacks++;
    if (chance(50))
        act(x);
}

static void ask_close(struct side *x, int manner)
{
    struct weir_stream_facts f;
    t.in_call = true;
    must(weir_stream_facts(x->s, &f, sizeof f) == 0);
    if (!x->closing)
        x->kept = manner == WEIR_CLOSE_FLUSH && !f.closed ? f.buffered : SIZE_MAX;
    must(weir_stream_close(x->s, manner) == 0);
    t.in_call = false;
    if (manner == WEIR_CLOSE_FLUSH && !x->closing)
        x->flushed = true;
    else if (manner != WEIR_CLOSE_FLUSH)
        x->failed = true;
    x->closing = true;
}

static void ask_shutdown(struct side *x)
{
    t.in_call = true;
    int rc = weir_shutdown(x->s);
    t.in_call = false;
    must(rc == 0 || rc == -EPIPE || rc == WEIR_ECLOSED || rc == -ENOTCONN);
    if (rc == 0)
        x->shut = x->flushed = true;
}

/* A raw peer: plain sockets on the other side. */
static void act_raw(struct side *x)
{
    unsigned char got[4096];
    size_t n = (size_t)draw(sizeof got);
    if (chance(45) && !x->shut) {
        fill(x, scratch, n);
        int64_t k = weir_sim_peer_send(t.sim, x->raw, scratch, n);
        x->sent += k > 0 ? (uint64_t)k : 0;
    } else if (chance(85)) {
        int64_t k = weir_sim_peer_recv(t.sim, x->raw, got, n);
        if (k > 0)
            check_bytes(x, (struct weir_view){got, (size_t)k});
    } else if (chance(30) && !x->shut) {
        weir_sim_peer_shutdown(t.sim, x->raw);
        x->shut = x->flushed = true;
    } else if (chance(10) || t.quiet) {
        int reset = chance(30);
        x->failed |= reset != 0;
        weir_sim_peer_close(t.sim, x->raw, reset);
        x->flushed = true;
        x->closed = true;
        t.open--;
    }
}

/* Something a program might do with its stream. */
static void act(struct side *x)
{
    if (x->closed || (t.quiet && x->raw < 0))
        return;
    if (x->raw >= 0) {
        act_raw(x);
        return;
    }
    struct weir_stream_facts f;
    must(weir_stream_facts(x->s, &f, sizeof f) == 0);
    must(!x->closing || f.buffered <= x->kept);
    switch (draw(100)) {
    case 0:
        ask_close(x, (int)draw(3));
        break;
    case 1:
        ask_shutdown(x);
        break;
    case 2:
    case 3:
        t.in_call = true;
        if (weir_read_stop(x->s) == 0 && x->read_kind == 'k')
            x->read_kind = 0;
        t.in_call = false;
        break;
    default:
        if (chance(50))
            ask_read(x);
        else
            ask_write(x);
    }
}

/* ---- A seed ---- */

static struct side *new_side(void)
{
    struct side *x = &t.side[t.sides++];
    memset(x, 0, sizeof *x);
    x->raw = -1;
    x->key = t.seed * 1000003u + (uint64_t)t.sides;
    t.open++;
    return x;
}

static struct weir_stream_options stream_options(struct side *x)
{
    return (struct weir_stream_options){.size = sizeof(struct weir_stream_options),
                                        .max_buffer_size = READ_MAX + 4,
                                        .max_write_buffer_size = chance(50) ? 0 : 1 + (size_t)draw(BIG),
                                        .half_open = chance(50),
                                        .ext_size = sizeof(struct side *),
                                        .on_close = on_close,
                                        .on_close_arg = x};
}

static void own(struct side *x)
{
    *(struct side **)weir_stream_ext(x->s) = x;
}

static void open_side(struct side *x, int fd)
{
    struct weir_stream_options opt = stream_options(x);
    must(weir_stream_open(t.loop, fd, &opt, &x->s) == 0);
    own(x);
}

static void marry(struct side *x, struct side *y)
{
    x->peer = y;
    y->peer = x;
}

/* Connections that nobody was found for yet: the connecting side's peer is told by the order of accepting. */
static struct side *awaiting[SIDES_MAX];
static int awaited;

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l;
    (void)arg;
    must(!t.in_call);
    if (status != 0)
        return;
    struct sockaddr_storage peer, local;
    socklen_t peer_len, local_len;
    if (weir_stream_address(s, 1, &peer, &peer_len) != 0)
        peer_len = 0;
    for (int i = 0; i < awaited; i++) {
        struct side *c = awaiting[i];
        if (!c || c->closed || weir_stream_address(c->s, 0, &local, &local_len) != 0 || peer_len != local_len ||
            memcmp(&peer, &local, peer_len) != 0)
            continue;
        struct side *x = c->peer;
        awaiting[i] = NULL;
        x->s = s;
        *(struct side **)weir_stream_ext(s) = x;
        must(weir_stream_on_close(s, on_close, x) == 0);
        x->closed = false;
        t.open++;
        act(x);
        return;
    }
    must(weir_stream_close(s, WEIR_CLOSE_NOW) == 0); /* its client is gone */
}

static void connect_sides(void)
{
    struct side *c = new_side(), *x = new_side();
    struct weir_stream_options opt = stream_options(c);
    marry(c, x);
    x->closed = true; /* until it is accepted */
    t.open--;
    must(weir_connect_addr(t.loop, (struct sockaddr *)&t.addr, t.addr_len, &opt, on_connect, c, &c->s) == 0);
    own(c);
    c->connecting = true;
    awaiting[awaited++] = c;
}

static void pair_sides(bool raw)
{
    int fds[2];
    struct side *x = new_side(), *y = new_side();
    marry(x, y);
    must(weir_sim_pair(t.sim, fds) == 0);
    open_side(x, fds[0]);
    if (raw)
        y->raw = fds[1];
    else
        open_side(y, fds[1]);
    x->echo = chance(30);
    x->key = x->echo ? y->key : x->key;
}

static void open_world(void)
{
    struct weir_sim_options opt = {.size = sizeof opt};
    static struct weir_stream_options sopt;
    uint64_t h = (t.seed + 1) * 0x9e3779b97f4a7c15u;
    t.faults = opt.faults = (h >> 60) == 0 ? 0 : (uint32_t)(h >> 20) & WEIR_SIM_ALL;
    must(weir_sim_open(t.seed, &opt, &t.sim) == 0);
    must(weir_sim_loop_open(t.sim, NULL, &t.loop) == 0);
    must(weir_addr_parse("127.0.0.1:0", &t.addr, &t.addr_len) == 0);
    sopt = (struct weir_stream_options){.size = sizeof sopt, .max_buffer_size = READ_MAX + 4,
                                        .half_open = chance(50), .ext_size = sizeof(struct side *)};
    struct weir_listen_options lopt = {.size = sizeof lopt, .addr = (struct sockaddr *)&t.addr,
                                       .addr_len = t.addr_len, .stream = &sopt};
    must(weir_listen(t.loop, &lopt, on_accept, NULL, &t.listener) == 0);
    must(weir_listener_address(t.listener, &t.addr, &t.addr_len) == 0);
}

static void turn(uint64_t timeout)
{
    int rc = weir_loop_run_once(t.loop, timeout);
    if (rc < 0)
        fail("the loop ended: %s", weir_strerror(rc));
}

static void play(void)
{
    unsigned steps = 20 + (unsigned)draw(400);
    for (unsigned i = 0; i < steps; i++) {
        for (uint64_t n = draw(4); n > 0; n--)
            act(&t.side[draw((uint64_t)t.sides)]);
        turn(draw(3) ? draw(200000) : 0);
    }
}

static bool writes_are_done(const struct side *x)
{
    struct weir_stream_facts f;
    return weir_stream_facts(x->s, &f, sizeof f) == 0 && f.queued == 0;
}

/* Enough bytes for whatever read is pending, and the end behind them. */
static void finish_sending(struct side *x)
{
    unsigned char got[4096];
    if (x->raw < 0) {
        bool full = !x->shut && !x->closing && ask_write_of(x, READ_MAX + 8) == -ENOBUFS;
        if (!full || writes_are_done(x)) /* its limit may be less than this */
            ask_shutdown(x);
        if (x->read_kind == 0 && !x->ended && weir_read_start(x->s, on_read, x) == 0)
            x->read_kind = 'k';
        return;
    }
    fill(x, scratch, READ_MAX);
    int64_t k = x->shut ? 0 : weir_sim_peer_send(t.sim, x->raw, scratch, READ_MAX);
    if (k > 0)
        x->sent += (uint64_t)k;
    else if (!x->shut && k != -EAGAIN)
        x->shut = true;
    if (!x->shut && x->sent >= x->goal) {
        weir_sim_peer_shutdown(t.sim, x->raw);
        x->shut = x->flushed = true;
    }
    while ((k = weir_sim_peer_recv(t.sim, x->raw, got, sizeof got)) > 0)
        check_bytes(x, (struct weir_view){got, (size_t)k});
    x->ended |= k != -EAGAIN;
}

static bool is_settled(const struct side *x)
{
    struct weir_stream_facts f;
    if (x->closed || x->raw >= 0)
        return x->closed || x->ended;
    return weir_stream_facts(x->s, &f, sizeof f) == 0 && f.queued == 0 && (x->ended || f.closed) && x->read_kind == 0;
}

/* Without faults, and with peers that read and send, every read and every write comes to its end by itself. */
static void settle(void)
{
    for (int i = 0; i < t.sides; i++)
        t.side[i].goal = t.side[i].sent + READ_MAX + 8;
    for (unsigned round = 0, left = 1; left > 0; round++) {
        left = 0;
        must(round < 20000);
        for (int i = 0; i < t.sides; i++) {
            if (!t.side[i].closed && !t.side[i].connecting)
                finish_sending(&t.side[i]);
            left += !is_settled(&t.side[i]);
        }
        turn(1000000);
    }
}

/* No faults from here on; every stream is closed in some manner, and must come to its end in bounded time, also if its
 * peer is a raw one that has died. */
static void wind_up(void)
{
    bool dead = chance(20);
    t.quiet = true;
    must(weir_sim_heal(t.sim) == 0);
    if (!dead && chance(60))
        settle();
    for (int i = 0; i < t.sides; i++)
        if (!t.side[i].closed && t.side[i].raw < 0)
            ask_close(&t.side[i], (int)draw(3));
    must(weir_listener_close(t.listener) == 0);
    for (unsigned i = 0; t.open > 0; i++) {
        must(i < 200000);
        for (int k = 0; k < t.sides; k++)
            if (t.side[k].raw >= 0 && (!dead || t.side[k].peer->closed))
                act(&t.side[k]);
        turn(10000000);
    }
    for (int i = 0; i < 20; i++)
        turn(1000000);
}

static uint64_t run_seed(uint64_t seed)
{
    uint64_t live = wr_mem_live();
    memset(&t, 0, offsetof(struct sim_state, side));
    t.sides = t.open = awaited = 0;
    t.in_call = t.quiet = false;
    t.seed = seed;
    open_world();
    for (uint64_t n = 1 + draw(3); n > 0; n--) {
        if (chance(40))
            connect_sides();
        else
            pair_sides(chance(40));
    }
    play();
    wind_up();
    struct weir_loop_stats st;
    must(weir_loop_stats(t.loop, &st, sizeof st) == 0 && st.streams == 0);
    must(weir_loop_close(t.loop) == 0);
    uint64_t digest = weir_sim_digest(t.sim);
    must(weir_sim_close(t.sim) == 0);
    if (wr_mem_live() != live)
        fail("%lld blocks of memory left", (long long)(wr_mem_live() - live));
    return digest;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 20000;
    signal(SIGABRT, aborted);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t digest = run_seed(seed);
        if (seed % 97 == 0 && run_seed(seed) != digest)
            fail("a second run went another way");
    }
    printf("%llu callbacks, %llu bytes checked\n%llu passed, 0 failed\n", (unsigned long long)callbacks,
           (unsigned long long)total_bytes, (unsigned long long)count);
    return 0;
}
