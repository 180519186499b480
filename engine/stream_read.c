/* One byte's way in: recv_done -> buffer -> match -> user. Twin of stream_write.c.
 *
 * How far ahead is read: as much as the pending read needs, plus what the kernel has put into buffers before a
 * pause takes hold. A multishot receive is used once the stream has shown that it reads what comes at once; when
 * bytes come that nobody wants, it is cancelled, and the next receive is a single shot. */
#include <errno.h>
#include <poll.h>

#include "stream.h"

enum {
    SERVE_CALLS = 64,           /* callbacks served from the buffer per stream and turn */
    SERVE_BYTES = 256 * 1024,   /* bytes, likewise */
    UNTIL_MAX = 64 * 1024
};

/* ---- From the buffer to the user ---- */

/* Hand n bytes over. They stay where they are until fn returns, although the buffer has let go of them. */
static void deliver(struct weir_stream *s, int status, size_t n)
{
    weir_read_fn *fn = s->read_fn;
    void *arg = s->read_arg;
    struct weir_view view = {n > 0 ? wr_buf_data(&s->buf) : NULL, n};
    struct wr_segment *seg = n > 0 ? wr_buf_lend(&s->buf, n) : NULL;
    if (s->match.kind != WR_MATCH_CHUNKS || status != 0)
        wr_match_done(&s->match);
    s->loop->lent = seg;
    fn(s, status, view, arg);
    s->loop->lent = NULL;
    if (seg)
        wr_segment_drop(seg);
}

/* The limit is passed: CLOSE still gets what it may have. The stream ends, unless it is ending already. */
static void never(struct weir_stream *s, size_t n)
{
    bool close = s->match.kind == WR_MATCH_CLOSE;
    int code = close ? WEIR_EBUFFULL : WEIR_EUNSATISFIABLE;
    wr_stream_end(s, WR_LIFE_CLOSING, code);
    deliver(s, code, close ? n : 0);
}

void wr_stream_fail_read(struct weir_stream *s, int status)
{
    if (s->match.kind == WR_MATCH_NONE)
        return;
    bool close = s->match.kind == WR_MATCH_CLOSE;
    size_t n = close ? wr_min(wr_buf_len(&s->buf), s->match.n) : 0;
    s->hungry = false;
    deliver(s, close && status == WEIR_EOF ? 0 : status, n);
}

/* Chunks are not pressed on a user who has closed. */
static bool wants_no_more(const struct weir_stream *s)
{
    return s->match.kind == WR_MATCH_CHUNKS && s->life != WR_LIFE_OPEN && s->reason == 0;
}

/* Flat: a read that a callback asks for is served by the next round here, not by a call inside a call. */
void wr_stream_serve(struct weir_stream *s)
{
    size_t calls = SERVE_CALLS, bytes = SERVE_BYTES, n;
    wr_assert(!s->serving);
    s->serving = true;
    s->look = s->hungry = false;
    while (s->match.kind != WR_MATCH_NONE && !wants_no_more(s)) {
        if (calls == 0 || bytes == 0) {
            s->look = true;
            wr_stream_task(s);
            break;
        }
        enum wr_match_verdict verdict =
            wr_match_scan(&s->match, wr_buf_data(&s->buf), wr_buf_len(&s->buf), &n);
        if (verdict == WR_MATCH_MORE) {
            s->hungry = true;
            break;
        }
        if (verdict == WR_MATCH_FOUND)
            deliver(s, 0, n);
        else
            never(s, n);
        calls--;
        bytes -= wr_min(bytes, n);
    }
    s->serving = false;
}

/* ---- The end of the input ---- */

/* The peer's end, or an error, stands behind the buffered bytes: it counts once the pending read cannot be had
 * without more, or once nothing is left to read. */
void wr_stream_reach_end(struct weir_stream *s)
{
    bool reached = s->hungry || (s->match.kind == WR_MATCH_NONE && wr_buf_len(&s->buf) == 0);
    if (s->life != WR_LIFE_OPEN || s->end == 0 || !reached)
        return;
    if (s->end != WEIR_EOF) {
        wr_stream_end(s, WR_LIFE_CLOSING, s->end);
        return;
    }
    wr_stream_fail_read(s, WEIR_EOF); /* the user may still write a last answer */
    if (!s->half_open)
        wr_stream_end(s, WR_LIFE_FLUSHING, WEIR_EOF);
}

/* ---- Receiving ---- */

static void start_recv(struct weir_stream *s)
{
    s->in.kind = WR_OP_RECV;
    s->in.flags = s->eager ? WR_OP_MULTI : 0;
    s->in.u.recv.base = NULL;
    s->in.u.recv.len = 0;
    wr_start(s->loop->world, &s->in);
}

static void start_watch(struct weir_stream *s)
{
    s->in.kind = WR_OP_POLL;
    s->in.flags = 0;
    s->in.u.events = POLLRDHUP;
    wr_start(s->loop->world, &s->in);
}

static bool wants_bytes(const struct weir_stream *s)
{
    switch (s->life) {
    case WR_LIFE_OPEN:
        return s->end == 0 && (s->hungry || (s->hup && wr_buf_len(&s->buf) == 0));
    case WR_LIFE_FLUSHING:
    case WR_LIFE_LINGERING:
        return s->end == 0;
    default:
        return false;
    }
}

void wr_stream_arm(struct weir_stream *s)
{
    bool wanted = wants_bytes(s);
    if (!wr_op_busy(&s->in)) {
        if (wanted)
            start_recv(s);
        else if (s->life == WR_LIFE_OPEN && s->end == 0 && !s->hup && !s->look)
            start_watch(s);
    } else if (s->in.kind == WR_OP_POLL ? wanted : !wanted && wr_buf_len(&s->buf) > 0) {
        s->eager = false;
        wr_loop_cancel(s->loop, &s->in);
    }
}

/* Bytes that came; those that come while the stream only drops input are not kept. */
static void keep(struct weir_stream *s, const struct wr_result *r)
{
    size_t n = (size_t)r->res;
    s->bytes_in += n;
    s->loop->stats.bytes_in += n;
    if (s->drops || s->end != 0) /* behind a gap, nothing may be kept */
        wr_segment_drop(r->seg);
    else if (wr_buf_take(&s->buf, &s->loop->cache, r->seg, r->off, n, &s->loop->stats.copied_in) < 0)
        s->end = -ENOMEM;
}

static void watch_done(struct weir_stream *s, int res)
{
    if (res > 0)
        s->hup = true;
    else if (res < 0 && res != -ECANCELED && !wr_stream_again(&s->in, res))
        s->end = res;
}

static void take_result(struct weir_stream *s, const struct wr_result *r)
{
    if (s->in.kind == WR_OP_POLL)
        watch_done(s, r->res);
    else if (r->res > 0)
        keep(s, r);
    else if (r->res == 0)
        s->end = WEIR_EOF;
    else if (r->res == -ENOBUFS && wants_bytes(s))
        wr_loop_starve(s->loop, &s->in);
    else if (r->res != -ENOBUFS && r->res != -ECANCELED && !wr_stream_again(&s->in, r->res))
        s->end = r->res;
}

void wr_stream_recv_done(struct wr_op *op, const struct wr_result *r)
{
    struct weir_stream *s = wr_home(op, struct weir_stream, in);
    take_result(s, r);
    if (s->life == WR_LIFE_OPEN) {
        wr_stream_serve(s);
        s->eager = wr_buf_len(&s->buf) == 0 && s->life == WR_LIFE_OPEN;
        wr_stream_reach_end(s);
        /* If there is no memory to move them to, the bytes simply stay in the shared buffer. */
        (void)wr_buf_settle(&s->buf, &s->loop->cache, &s->loop->stats.copied_in);
        wr_stream_arm(s);
    } else {
        wr_stream_task(s);
    }
    wr_stream_checked(s);
}

/* ---- What the user asks for ---- */

static int may_read(struct weir_stream *s, weir_read_fn *fn)
{
    if (!s || !fn)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life == WR_LIFE_CLOSED)
        return WEIR_ECLOSED;
    if (s->match.kind != WR_MATCH_NONE)
        return -EBUSY;
    return s->life == WR_LIFE_NEW ? -ENOTCONN : 0;
}

/* s->match has been set. On a stream that ends, only a read that the buffer satisfies is taken on. */
static int take_on(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    if (s->life > WR_LIFE_OPEN) {
        size_t n;
        if (s->match.kind == WR_MATCH_CHUNKS || s->match.kind == WR_MATCH_CLOSE ||
            wr_match_scan(&s->match, wr_buf_data(&s->buf), wr_buf_len(&s->buf), &n) != WR_MATCH_FOUND) {
            wr_match_done(&s->match);
            return WEIR_ECLOSED;
        }
    }
    s->read_fn = fn;
    s->read_arg = arg;
    if (!s->serving) {
        s->look = true;
        wr_stream_task(s);
    }
    return 0;
}

int weir_read_bytes(struct weir_stream *s, size_t n, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    if (n > s->read_max)
        return WEIR_EBUFFULL;
    wr_match_bytes(&s->match, n);
    return take_on(s, fn, arg);
}

int weir_read_some(struct weir_stream *s, size_t max, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    wr_match_some(&s->match, max ? max : SIZE_MAX);
    return take_on(s, fn, arg);
}

int weir_read_until(struct weir_stream *s, const void *delim, size_t delim_len, size_t max, weir_read_fn *fn,
                    void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    if (max == 0)
        max = wr_min(UNTIL_MAX, s->read_max);
    if (max > s->read_max)
        return WEIR_EBUFFULL;
    if (!delim || delim_len == 0 || delim_len > wr_min(max, WR_DELIM_MAX))
        return -EINVAL;
    if ((rc = wr_match_until(&s->match, delim, delim_len, max)) < 0)
        return rc;
    return take_on(s, fn, arg);
}

int weir_read_until_close(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    wr_match_close(&s->match, s->read_max);
    return take_on(s, fn, arg);
}

int weir_read_start(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    wr_match_chunks(&s->match);
    return take_on(s, fn, arg);
}

int weir_read_stop(struct weir_stream *s)
{
    if (!s)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->match.kind == WR_MATCH_CHUNKS) {
        wr_match_done(&s->match);
        s->hungry = s->look = false;
        wr_stream_task(s);
    }
    return s->match.kind == WR_MATCH_NONE ? 0 : -EINVAL;
}
