/* One byte's way in: recv_done -> buffer -> match -> user. Twin of stream_write.c.
 *
 * How far ahead is read: as much as the pending read needs, plus what the kernel has put into buffers before a
 * pause takes hold. A multishot receive is used once the stream has shown that it reads what comes at once; when
 * bytes come that nobody wants, it is cancelled, and the next receive is a single shot. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "stream.h"

enum {
    SERVE_CALLS = 64,           /* callbacks served from the buffer at a time; a turn has a few times for a stream */
    SERVE_BYTES = 256 * 1024,   /* bytes, likewise */
    INTO_MIN = 32 * 1024,       /* bytes into the user's memory for which it pays to end a receive into a buffer */
    STRAIGHT_MIN = 4,           /* shared buffers that a receive into the stream's own memory spares, at least */
    STRAIGHT_MAX = 1 << 28,     /* bytes, beyond which all goes the long way */
    GROWTH = 8
};

/* ---- From the buffer to the user ---- */

void wr_stream_read_over(struct weir_stream *s)
{
    wr_match_done(&s->match);
    s->ended = 0;
    s->hungry = false;
    if (wr_unlikely(s->bounds != NULL)) {
        wr_deadline_unset(&s->bounds->due, WR_BY_READ);
        wr_deadline_unset(&s->bounds->due, WR_BY_RATE_IN);
    }
    wr_loop_exempt_over(s->loop, &s->in);
    if (!s->in.in_flight)
        wr_loop_cancel(s->loop, &s->in); /* it waits for what nobody asks for any more */
}

static wr_apart void call_inside(struct weir_stream *s, struct weir_context *context, weir_read_fn *fn, int status,
                                 struct weir_view view, void *arg)
{
    struct wr_scope in;
    wr_enter(&in, s->loop, context);
    fn(s, status, view, arg);
    wr_leave(&in);
}

/* Hand n buffered bytes over, or what weir_read_into has gathered. They stay where they are until fn returns, although
 * the buffer has let go of them. Returns how many were handed over. */
static inline size_t deliver(struct weir_stream *s, int status, size_t n)
{
    weir_read_fn *fn = s->read_fn;
    void *arg = s->read_arg;
    struct weir_view view = {n > 0 ? wr_buf_data(&s->buf) : NULL, n};
    struct wr_segment *seg = n > 0 ? wr_buf_lend(&s->buf, n) : NULL;
    if (s->match.into)
        view = (struct weir_view){s->match.memory.next - s->match.memory.got, s->match.memory.got};
    struct weir_context *context = s->read_context;
    if (s->match.kind != WR_MATCH_CHUNKS || status != 0)
        wr_stream_read_over(s);
    else
        wr_context_share(context);
    s->loop->lent = seg;
    if (wr_likely(!context))
        fn(s, status, view, arg);
    else
        call_inside(s, context, fn, status, view, arg);
    s->loop->lent = NULL;
    if (seg)
        wr_segment_drop(seg);
    return view.len;
}

/* The read is over without what it asks for, or cannot be had, such as for its limit; CLOSE still gets what it may
 * have. The stream ends, unless it is to go on, or ending already. */
static wr_apart size_t deliver_failure(struct weir_stream *s, size_t n)
{
    if (s->ended != 0)
        return deliver(s, s->ended, 0);
    int code = s->match.code;
    if (!s->opt->limit_keeps)
        wr_stream_end(s, WR_LIFE_CLOSING, code);
    return deliver(s, code, s->opt->limit_keeps ? 0 : n);
}

void wr_stream_fail_read(struct weir_stream *s, int status)
{
    if (s->match.kind == WR_MATCH_NONE)
        return;
    bool close = s->match.kind == WR_MATCH_CLOSE;
    size_t n = close ? wr_min(wr_buf_len(&s->buf), s->match.n) : 0;
    deliver(s, close && status == WEIR_EOF ? 0 : status, n);
}

void wr_stream_end_read(struct weir_stream *s, int status)
{
    if (s->match.kind == WR_MATCH_NONE || s->ended != 0)
        return;
    s->ended = (int16_t)status;
    s->look = true;
    if (wr_stream_lends_memory(s))
        wr_loop_cancel(s->loop, &s->in);
    wr_stream_task(s);
}

/* For weir_read_into, what is buffered is copied; the rest comes straight from the kernel. */
static wr_apart void fill_into(struct weir_stream *s)
{
    size_t n = wr_min(wr_buf_len(&s->buf), s->match.n);
    if (n == 0)
        return;
    memcpy(s->match.memory.next, wr_buf_data(&s->buf), n);
    s->loop->stats.copied_in += n;
    wr_match_put(&s->match, n);
    wr_segment_drop(wr_buf_lend(&s->buf, n));
}

static bool into_is_done(const struct weir_stream *s)
{
    return s->match.n == 0 || (s->match.kind == WR_MATCH_SOME && s->match.memory.got > 0);
}

static enum wr_match_verdict look_at_buffer(struct weir_stream *s, size_t *ret_n)
{
    if (!s->match.into)
        return wr_stream_scan(s, ret_n);
    fill_into(s);
    *ret_n = 0;
    return into_is_done(s) ? WR_MATCH_FOUND : WR_MATCH_MORE;
}

/* Chunks are not pressed on a user who has closed. */
static bool wants_no_more(const struct weir_stream *s)
{
    return wr_unlikely(s->life != WR_LIFE_OPEN) && s->match.kind == WR_MATCH_CHUNKS && s->reason == 0 && s->ended == 0;
}

static void stay_hungry(struct weir_stream *s)
{
    s->hungry = true;
    if (wr_buf_len(&s->buf) > 0 || (s->match.into && s->match.memory.got > 0))
        wr_stream_begin_pace(s, WR_BY_RATE_IN);
}

/* Flat: a read that a callback asks for is served by the next round here, not by a call inside a call. While the user's
 * memory is in the kernel's hands nothing is told of it. */
void wr_stream_serve(struct weir_stream *s)
{
    size_t calls = SERVE_CALLS, bytes = SERVE_BYTES, n = 0;
    wr_assert(!s->serving);
    s->look = s->hungry = false;
    if (wr_stream_lends_memory(s)) {
        s->hungry = true;
        return;
    }
    s->serving = true;
    for (; s->match.kind != WR_MATCH_NONE && !wants_no_more(s); calls--) {
        if (calls == 0 || bytes == 0) {
            s->look = true;
            wr_stream_task(s);
            break;
        }
        enum wr_match_verdict verdict = s->ended != 0 ? WR_MATCH_NEVER : look_at_buffer(s, &n);
        if (verdict == WR_MATCH_MORE) {
            if (s->layer && wr_layer_ingest(s))
                continue;
            stay_hungry(s);
            break;
        }
        n = verdict == WR_MATCH_FOUND ? deliver(s, 0, n) : deliver_failure(s, n);
        bytes -= wr_min(bytes, n);
    }
    s->serving = false;
}

/* ---- The end of the input ---- */

/* Nobody reads, and nothing is there to read. Only the layer can tell whether that is the end. */
static bool is_idle(struct weir_stream *s)
{
    bool idle = s->match.kind == WR_MATCH_NONE && wr_buf_len(&s->buf) == 0;
    if (idle && s->layer && s->end == 0)
        (void)wr_layer_ingest(s);
    return idle && wr_buf_len(&s->buf) == 0;
}

/* The peer's end, or an error, stands behind the buffered bytes: it counts once the pending read cannot be had
 * without more, or once nothing is left to read. */
static wr_apart void reach_end(struct weir_stream *s)
{
    if (s->life != WR_LIFE_OPEN || !(s->hungry || is_idle(s)) || s->end == 0)
        return;
    if (s->end != WEIR_EOF) {
        bool last_words = s->layer && s->layer->broken; /* the peer is to hear why */
        wr_stream_end(s, last_words ? WR_LIFE_FLUSHING : WR_LIFE_CLOSING, s->end);
        return;
    }
    wr_stream_fail_read(s, WEIR_EOF); /* the user may still write a last answer */
    if (!s->opt->half_open)
        wr_stream_end(s, WR_LIFE_FLUSHING, WEIR_EOF);
}

void wr_stream_reach_end(struct weir_stream *s)
{
    if (s->end != 0 || s->layer)
        reach_end(s);
}

/* ---- Straight to where it stays ---- */

static size_t if_worth_it(const struct weir_stream *s, size_t n)
{
    return n >= (size_t)STRAIGHT_MIN * s->loop->world->pool.size ? n : 0;
}

/* What a long read of known length lacks is received behind what has come of it, in memory of the stream's own: up to 8
 * times as much, since who only announces much is to be given little. */
static size_t may_go_straight(const struct weir_stream *s)
{
    size_t len = wr_buf_len(&s->buf), goal = wr_match_goal(&s->match);
    if (!s->hungry || s->match.into || s->layer || s->drops || goal <= len || s->buf.tail > STRAIGHT_MAX)
        return 0;
    return if_worth_it(s, wr_min(len * GROWTH, goal) - len);
}

/* For how many bytes there is room. */
static size_t goes_straight(const struct weir_stream *s)
{
    return if_worth_it(s, wr_min(may_go_straight(s), wr_buf_room(&s->buf)));
}

/* The unread bytes leave the shared buffers, with room for more if that is little of what is free of the half of all
 * memory: the other half is for bytes that have come, however many announce more. Without memory, they simply stay. */
static wr_apart void settle(struct weir_stream *s)
{
    size_t n = may_go_straight(s), half = s->loop->max_memory / 2, used = wr_min(s->loop->cache.used, half);
    if (n > 0 && n <= (half - used) / 8)
        (void)wr_buf_reserve(&s->buf, &s->loop->cache, n, &s->loop->stats.copied_in);
    (void)wr_buf_settle(&s->buf, &s->loop->cache, &s->loop->stats.copied_in);
}

/* ---- Receiving ---- */

static void prepare_recv(struct weir_stream *s)
{
    bool into = s->match.into && s->hungry && !s->layer;
    s->fed = false;
    s->in.kind = WR_OP_RECV;
    s->in.flags = s->eager && !into ? WR_OP_MULTI : 0;
    s->in.u.recv.base = into ? s->match.memory.next : NULL;
    s->in.u.recv.len = into ? s->match.n : 0;
}

static wr_apart void prepare_straight(struct weir_stream *s, size_t n)
{
    s->in.flags = 0;
    s->in.u.recv.base = s->buf.seg->base + s->buf.tail;
    s->in.u.recv.len = n;
}

/* Nobody takes a buffer before those that wait for one. */
static void start_recv(struct weir_stream *s)
{
    size_t straight = wr_unlikely(wr_buf_len(&s->buf) > 0) ? goes_straight(s) : 0;
    prepare_recv(s);
    if (straight > 0)
        prepare_straight(s, straight);
    if (wr_unlikely(!wr_list_empty(&s->loop->starved)) && !s->in.u.recv.base)
        wr_loop_starve(s->loop, &s->in);
    else
        wr_start(s->loop->world, &s->in);
}

/* What waits keeps no more than it has. */
static void wait_for_memory(struct weir_stream *s)
{
    s->eager = false;
    if (wr_buf_is_loose(&s->buf))
        (void)wr_buf_move(&s->buf, &s->loop->cache, &s->loop->stats.copied_in);
    prepare_recv(s);
    wr_loop_thirst(s->loop, &s->in);
}

static void start_watch(struct weir_stream *s)
{
    s->in.kind = WR_OP_POLL;
    s->in.flags = 0;
    s->in.u.events = POLLRDHUP;
    wr_start(s->loop->world, &s->in);
}

static bool may_come(const struct wr_layer *l)
{
    return !l->ingest_wants_room && !wr_wire_is_full(&l->wire);
}

/* A layer is read ahead for, by a buffer, also when nobody reads: what comes may be the end, or its own. */
static wr_apart bool layer_wants_bytes(const struct weir_stream *s)
{
    const struct wr_layer *l = s->layer;
    bool empty = wr_buf_len(&s->buf) == 0;
    return l->end == 0 && !l->broken && may_come(l) &&
           (l->wants_input || (s->end == 0 && (s->hungry || empty)) || (s->hup && empty));
}

static bool wants_bytes(const struct weir_stream *s)
{
    switch (s->life) {
    case WR_LIFE_OPEN:
        if (s->layer)
            return layer_wants_bytes(s);
        return s->end == 0 && (s->hungry || (s->hup && wr_buf_len(&s->buf) == 0));
    case WR_LIFE_FLUSHING:
    case WR_LIFE_LINGERING:
        return wr_stream_input_end(s) == 0 && (!s->layer || may_come(s->layer));
    default:
        return false;
    }
}

/* What comes next will have to be kept, as far as one can tell, and there is no memory for that. */
static wr_apart bool must_wait_if_full(struct weir_stream *s)
{
    if (s->life != WR_LIFE_OPEN || s->match.kind == WR_MATCH_NONE)
        return false;
    if (s->match.into)
        return false; /* it has memory of its own */
    if (s->layer && (!s->layer->begun || s->layer->wants_input))
        return false; /* what comes is its own */
    bool large = s->match.kind == WR_MATCH_CLOSE ||
                 (s->match.kind == WR_MATCH_BYTES && s->match.n > s->loop->world->pool.size);
    return (large || wr_buf_len(&s->buf) > 0) && !wr_loop_exempts(s->loop, &s->in);
}

static inline bool must_wait(struct weir_stream *s)
{
    return wr_unlikely(wr_loop_is_full(s->loop)) && must_wait_if_full(s);
}

/* The op in flight is not the one that is wanted. */
static bool is_wrong(struct weir_stream *s, bool wanted)
{
    if (s->in.kind == WR_OP_POLL)
        return wanted;
    if (wanted && s->in.in_flight && (s->in.flags & WR_OP_MULTI) && must_wait(s))
        return true;
    if (wanted && wr_unlikely(wr_buf_len(&s->buf) > 0) && s->in.in_flight && !s->in.u.recv.base && goes_straight(s))
        return true;
    if (wanted)
        return s->match.into && s->hungry && !s->layer && s->match.n >= INTO_MIN && !wr_stream_lends_memory(s);
    return wr_buf_len(&s->buf) > 0 || wr_stream_lends_memory(s) || s->layer;
}

static wr_apart void arm_anew(struct weir_stream *s, bool wanted)
{
    if (wr_op_busy(&s->in)) {
        s->eager = false;
        wr_loop_cancel(s->loop, &s->in); /* what only waited is over at once */
    }
    if (wr_op_busy(&s->in))
        return;
    if (wanted && must_wait(s))
        wait_for_memory(s);
    else if (wanted)
        start_recv(s);
    else if (s->life == WR_LIFE_OPEN && wr_stream_input_end(s) == 0 && !s->hup && !s->look)
        start_watch(s);
}

void wr_stream_arm(struct weir_stream *s)
{
    bool wanted = wants_bytes(s);
    if (!wr_op_busy(&s->in) || is_wrong(s, wanted))
        arm_anew(s, wanted);
}

static void drop(struct weir_stream *s, struct wr_segment *seg)
{
    s->gap = true;
    if (seg)
        wr_segment_drop(seg);
}

/* Bytes that came; those that come while the stream only drops input are not kept. */
static void keep(struct weir_stream *s, const struct wr_result *r)
{
    size_t n = (size_t)r->res;
    s->fed = true;
    s->bytes_in += n;
    s->loop->stats.bytes_in += n;
    wr_stream_stir(s);
    if (s->layer)
        wr_layer_feed(s, r);
    else if (!r->seg && s->match.into)
        wr_match_put(&s->match, n);
    else if (s->drops || s->end != 0) /* behind a gap, nothing may be kept */
        drop(s, r->seg);
    else if (!r->seg)
        wr_buf_put(&s->buf, n);
    else if (wr_buf_take(&s->buf, &s->loop->cache, r->seg, r->off, n, &s->loop->stats.copied_in) < 0)
        s->end = -ENOMEM;
}

/* Behind the bytes that came. */
static void set_input_end(struct weir_stream *s, int end)
{
    if (wr_likely(!s->layer)) {
        s->end = end;
        return;
    }
    s->layer->end = end;
    s->layer->dry = false;
}

static void watch_done(struct weir_stream *s, int res)
{
    if (res > 0)
        s->hup = true;
    else if (res < 0 && res != -ECANCELED && !wr_stream_again(&s->in, res))
        set_input_end(s, res);
}

/* No buffer was left, for more or at all, to a receive that was not to end. */
static wr_apart void run_short(struct weir_stream *s)
{
    if (s->fed)
        wr_loop_spend(s->loop, &s->in);
    else
        wr_loop_starve(s->loop, &s->in);
    s->fed = false;
}

static void take_result(struct weir_stream *s, const struct wr_result *r)
{
    if (s->in.kind == WR_OP_POLL)
        watch_done(s, r->res);
    else if (r->res > 0)
        keep(s, r);
    else if (r->res == 0)
        set_input_end(s, WEIR_EOF);
    else if (r->res == -ENOBUFS && !s->in.cancelled && wants_bytes(s))
        run_short(s);
    else if (r->res != -ENOBUFS && r->res != -ECANCELED && !wr_stream_again(&s->in, r->res))
        set_input_end(s, r->res);
}

void wr_stream_recv_done(struct wr_op *op, const struct wr_result *r)
{
    struct weir_stream *s = wr_home(op, struct weir_stream, in);
    take_result(s, r);
    if (s->layer) {
        wr_layer_step(s);
        if (wr_sendq_len(&s->sendq) + s->sendq.marks.count > 0)
            wr_stream_task(s);
    }
    if (s->life == WR_LIFE_OPEN) {
        wr_stream_serve(s);
        if (s->layer)
            wr_layer_emit_full(s);
        s->eager = wr_buf_len(&s->buf) == 0 && s->life == WR_LIFE_OPEN;
        wr_stream_reach_end(s);
        if (wr_unlikely(wr_buf_len(&s->buf) > 0))
            settle(s);
        if (s->layer)
            wr_layer_settle(s);
        wr_stream_arm(s);
    } else {
        wr_stream_task(s);
    }
    wr_stream_checked(s);
}
