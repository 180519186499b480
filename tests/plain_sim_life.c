/* Connections: made, accepted, ended; and raw peers, plain sockets on the other side. */
#include "plain_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned char scratch[READ_MAX];

/* ---- Bytes ---- */

unsigned char byte_at(uint64_t key, uint64_t off)
{
    uint64_t x = (key ^ (off * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
    return (unsigned char)('a' + (x >> 40) % ALPHABET);
}

void fill(const struct side *from, unsigned char *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = byte_at(from->key, from->sent + i);
}

/* ---- Reasons ---- */

/* Whose end, or whose reset, the other side may hear of. */
static bool is_ending(const struct side *x)
{
    if (x->shut || x->closing || x->closed || x->failed || x->ended_at != 0 || (!x->s && x->raw < 0))
        return true;
    return x->s && facts_of(x).closed;
}

/* What may end a stream. What only means "start again" is nobody's business but the library's. */
bool is_reason(const struct side *x, int code)
{
    switch (code) {
    case 0:
    case -ECANCELED:
        return x->closing || t.evicting;
    case WEIR_EUNSATISFIABLE:
    case WEIR_EBUFFULL:
    case -EBADMSG:
        return x->broke == code;
    case WEIR_ETRUNCATED:
        return x->truncated;
    case -ETIMEDOUT:
        return facts_of(x).error == code;
    case -ECONNREFUSED:
        return x->dialled && !x->connected && (t.deaf || (t.faults & WEIR_SIM_RESET));
    case WEIR_EOF:
        return x->reads && is_ending(x->peer);
    case -ECONNRESET:
    case -EPIPE:
        return (t.faults & WEIR_SIM_RESET) || t.deaf || is_ending(x->peer);
    default:
        return false;
    }
}

/* ---- The end of a stream ---- */

static void closed(struct weir_stream *s, int reason, struct side *x, bool regular)
{
    must(s == x->s && !x->closed && regular == x->regular);
    callback_begin(x->close_context);
    must(x->read.kind == 0 && !x->connecting && is_reason(x, reason));
    struct weir_stream_facts f = facts_of(x);
    must(f.closed && f.error == reason);
    must(reason != WEIR_EOF || f.buffered == 0 || x->ended);
    all_writes_are_told(x);
    check_memory(x);
    free(x->memory);
    x->memory = NULL;
    if (chance(5))
        replace_on_close(x); /* too late to matter */
    x->failed |= reason != 0 && reason != WEIR_EOF;
    x->closed = true;
    t.open--;
    callback_end();
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    closed(s, reason, arg, true);
}

static void on_other_close(struct weir_stream *s, int reason, void *arg)
{
    closed(s, reason, arg, false);
}

void replace_on_close(struct side *x)
{
    x->regular = !x->regular;
    x->close_context = t.current;
    must(ask(weir_stream_on_close(x->s, x->regular ? on_close : on_other_close, x)) == 0);
}

void ask_close(struct side *x, int manner)
{
    struct weir_stream_facts f = facts_of(x);
    if (!x->closing)
        x->kept = manner == WEIR_CLOSE_FLUSH && !f.closed ? f.buffered : SIZE_MAX;
    must(ask(weir_stream_close(x->s, manner)) == 0);
    if (manner == WEIR_CLOSE_FLUSH && !x->closing)
        x->flushed = true;
    else if (manner != WEIR_CLOSE_FLUSH)
        x->failed = true;
    x->closing = true;
    if (x->ended_at == 0)
        x->ended_at = weir_now(t.loop);
}

void ask_shutdown(struct side *x)
{
    int rc = ask(weir_shutdown(x->s));
    must(rc == WEIR_ECLOSED || (x->pipe ? rc == (x->writes ? -ENOTSOCK : -EBADF) : rc == (x->shut ? -EPIPE : 0)));
    if (rc == 0) {
        x->shut = x->flushed = true;
        x->corked = false;
    }
}

/* ---- Its beginning ---- */

struct side *owner(struct weir_stream *s)
{
    return *(struct side **)weir_stream_ext(s);
}

static struct side *new_side(void)
{
    struct side *x = &sides[t.sides++];
    memset(x, 0, offsetof(struct side, write));
    x->raw = -1;
    x->reads = x->writes = x->regular = true;
    x->key = t.seed * 1000003u + (uint64_t)t.sides;
    t.open++;
    return x;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint64_t limit(unsigned percent)
{
    return chance(percent) ? draw_time() : 0;
}

static struct weir_stream_options draw_options(void)
{
    struct weir_stream_options o = {.size = sizeof o, .ext_size = sizeof(struct side *), .on_drain = on_drain};
    o.max_buffer_size = chance(70) ? READ_MAX : 1 + (size_t)draw(READ_MAX);
    o.max_write_buffer_size = chance(50) ? 4 << 20 : 1 + (size_t)draw(BIG);
    o.write_high_water = least(chance(50) ? 1 << 20 : 1 + (size_t)draw(20000), o.max_write_buffer_size);
    o.write_low_water = least(chance(50) ? 256 << 10 : 1 + (size_t)draw(20000), o.write_high_water);
    o.connect_timeout_ns = chance(20) ? draw_time() : 10000000000u;
    o.flush_timeout_ns = chance(20) ? draw_time() : 5000000000u;
    o.read_timeout_ns = limit(15);
    o.write_stall_timeout_ns = limit(8);
    o.idle_timeout_ns = limit(8);
    o.min_rate = chance(10) ? 1 + draw(1 << 20) : 0;
    o.limit_keeps = chance(50);
    o.last_write_callback = chance(25);
    o.half_open = chance(50);
    return o;
}

static void begin(struct side *x)
{
    x->began = x->came_at = x->out_at = x->moved_at = weir_now(t.loop);
    *(struct side **)weir_stream_ext(x->s) = x;
}

static void draw_side(struct side *x)
{
    x->opt = draw_options();
    x->opt.on_close = on_close;
    x->opt.on_close_arg = x;
    x->close_context = x->drain_context = t.current;
}

static void open_side(struct side *x, int fd)
{
    draw_side(x);
    must(ask(weir_stream_open(t.loop, fd, &x->opt, &x->s)) == 0);
    x->connected = true;
    begin(x);
}

static void marry(struct side *x, struct side *y)
{
    x->peer = y;
    y->peer = x;
}

/* ---- Connect and accept ---- */

/* Connections that nobody was found for yet: who accepts knows its peer by its address. Those of unix sockets have
 * none, so there is at most one of them. */
static struct side *awaiting[SIDES_MAX];
static int awaited;

static bool is_dialled_by(struct weir_stream *s, const struct side *c)
{
    struct sockaddr_storage peer, local;
    socklen_t peer_len, local_len;
    if (!c || c->closed)
        return false;
    if (t.addr.ss_family == AF_UNIX)
        return true;
    return ask(weir_stream_address(s, 1, &peer, &peer_len)) == 0 &&
           ask(weir_stream_address(c->s, 0, &local, &local_len)) == 0 && peer_len == local_len &&
           memcmp(&peer, &local, peer_len) == 0;
}

static void welcome(struct side *x, struct weir_stream *s)
{
    x->s = s;
    x->opt = t.accept_opt;
    x->close_context = x->drain_context = t.current;
    must(ask(weir_stream_on_close(s, on_close, x)) == 0);
    x->connected = true;
    x->closed = false;
    begin(x);
    t.open++;
    act(x);
}

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)arg;
    must(l == t.listener && !t.deaf);
    callback_begin(t.listen_context);
    int i = 0;
    if (status == 0) {
        while (i < awaited && !is_dialled_by(s, awaiting[i]))
            i++;
        if (i == awaited) {
            must(ask(weir_stream_close(s, WEIR_CLOSE_NOW)) == 0); /* its client is gone */
        } else {
            struct side *x = awaiting[i]->peer;
            awaiting[i] = NULL;
            welcome(x, s);
        }
    } else {
        must((t.faults & WEIR_SIM_ACCEPT) && status == -EMFILE && !s);
    }
    callback_end();
}

void listen_for_sides(bool local)
{
    awaited = 0;
    must(weir_addr_parse(local ? "unix:@sides" : "127.0.0.1:0", &t.addr, &t.addr_len) == 0);
    t.accept_opt = draw_options();
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&t.addr,
                                      .addr_len = t.addr_len, .stream = &t.accept_opt};
    t.listen_context = t.current;
    must(ask(weir_listen(t.loop, &opt, on_accept, NULL, &t.listener)) == 0);
    must(ask(weir_listener_address(t.listener, &t.addr, &t.addr_len)) == 0);
}

static void on_connect(struct weir_stream *s, int status, void *arg)
{
    struct side *x = arg;
    must(s == x->s && x->connecting && !x->closed);
    callback_begin(x->connect_context);
    for (unsigned i = 0; i < x->written; i++)
        must(status != 0 || !x->write[i].reported || facts_of(x).queued > 0 || x->write[i].end == 0 ||
             facts_of(x).bytes_out == 0);
    must(status == 0 || is_reason(x, status));
    x->connecting = false;
    if (status == 0) {
        x->connected = true;
        x->came_at = x->out_at = x->moved_at = x->queued_at = x->went_at = weir_now(t.loop);
    }
    if (chance(50))
        act(x);
    callback_end();
}

void connect_sides(void)
{
    if (t.addr.ss_family == AF_UNIX && awaited > 0)
        return;
    struct side *c = new_side(), *x = new_side();
    marry(c, x);
    x->closed = true; /* until it is accepted */
    t.open--;
    draw_side(c);
    c->connect_context = t.current;
    must(ask(weir_connect_addr(t.loop, (struct sockaddr *)&t.addr, t.addr_len, &c->opt, on_connect, c, &c->s)) == 0);
    begin(c);
    c->connecting = c->dialled = true;
    awaiting[awaited++] = c;
    for (uint64_t n = draw(6); n > 0; n--)
        act_on_stream(c);
    if (chance(10))
        ask_close(c, (int)draw(3));
}

void pair_sides(bool raw, bool pipe)
{
    int fds[2];
    struct side *x = new_side(), *y = new_side();
    marry(x, y);
    must((pipe ? weir_sim_pipe(t.sim, fds) : weir_sim_pair(t.sim, fds)) == 0);
    bool swap = chance(50);
    x->pipe = y->pipe = pipe;
    x->reads = y->writes = !pipe || !swap;
    x->writes = y->reads = !pipe || swap;
    open_side(x, fds[swap]);
    if (!raw) {
        open_side(y, fds[!swap]);
    } else {
        y->raw = fds[!swap];
        if (chance(50))
            open_watch(y);
    }
    x->greedy = chance(5);
    x->echo = !pipe && chance(30);
    x->key = x->echo ? y->key : x->key;
}

/* ---- Raw peers ---- */

void close_raw(struct side *x, bool reset)
{
    close_watch(x);
    x->failed |= reset;
    weir_sim_peer_close(t.sim, x->raw, reset);
    x->flushed = x->shut = x->closed = true;
    t.open--;
}

static void end_raw(struct side *x)
{
    if (x->pipe) {
        close_raw(x, false);
    } else {
        must(weir_sim_peer_shutdown(t.sim, x->raw) == 0);
        x->shut = x->flushed = true;
    }
}

static int64_t send_raw(struct side *x, size_t n)
{
    fill(x, scratch, n);
    int64_t k = weir_sim_peer_send(t.sim, x->raw, scratch, n);
    x->sent += k > 0 ? (uint64_t)k : 0;
    return k;
}

static int64_t receive_raw(struct side *x, size_t n)
{
    unsigned char got[4096];
    int64_t k = weir_sim_peer_recv(t.sim, x->raw, got, n < sizeof got ? n : sizeof got);
    if (k > 0)
        check_bytes(x, (struct weir_view){got, (size_t)k});
    return k;
}

void act_raw(struct side *x)
{
    size_t n = (size_t)draw(4096);
    if (x->watch && chance(20))
        change_watch(x);
    if (chance(45) && !x->shut && x->writes)
        send_raw(x, n);
    else if (chance(85) && x->reads)
        receive_raw(x, n);
    else if (chance(30) && !x->shut && x->writes)
        end_raw(x);
    else if (chance(10) || t.quiet)
        close_raw(x, !x->pipe && chance(30));
}

void finish_raw(struct side *x)
{
    int64_t k = x->shut || !x->writes ? 0 : send_raw(x, READ_MAX);
    if (k < 0 && k != -EAGAIN)
        x->shut = true;
    while (x->reads && !x->ended && (k = receive_raw(x, 4096)) != -EAGAIN)
        x->ended = k <= 0;
    if (!x->shut && x->writes && x->sent >= x->goal)
        end_raw(x);
    x->ended |= !x->reads && x->shut;
}
