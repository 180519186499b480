/* Both ways through a layer.
 *
 *     user -> plain -> emit -> wire (the stream's sendq) -> send         recv -> wire -> ingest -> buffer -> user
 *
 * What stands beyond the layer is as for any stream: the send, its marks, the buffer, the pending read. A mark goes
 * with its bytes: once they are emitted it stands in the sendq, behind what the layer made of them. What emit was
 * called with is the frozen head of `plain`, and stays so until it is taken. */
#include <errno.h>

#include "options.h"
#include "stream.h"

enum {
    WIRE_MAX = 128 << 10,       /* bytes on the wire that the kernel has not taken */
    HEAD_MAX = 16384,           /* bytes that are emitted at once */
    INGEST_SIZE = 32768 - 64,   /* with its head, a segment fills a block of the cache */
    DROPS = 16,                 /* segments of input that are dropped in one go */
    PARTINGS = 8                /* sends that a last word may take */
};

/* ---- The end ---- */

/* A verb has failed. What is on the wire still goes out: it may be the layer's last words. */
static void fail(struct weir_stream *s, int code)
{
    s->layer->broken = code;
    s->layer->wants_input = false;
    wr_stream_end(s, WR_LIFE_FLUSHING, code);
}

/* Nothing comes any more, and the layer was not done. */
static int cut_off(const struct wr_layer *l)
{
    return l->end == WEIR_EOF ? WEIR_ETRUNCATED : l->end;
}

/* What a verb's answer comes to. Who takes nothing of what fills the wire, and wants more, will never have enough,
 * unless there is another verb to take it. */
static int64_t weigh(const struct wr_layer *l, int64_t answer, bool alone)
{
    if (l->wire.error < 0)
        return l->wire.error;
    return answer == WEIR_WANTS_INPUT && alone && wr_wire_is_full(&l->wire) ? WEIR_EBUFFULL : answer;
}

/* Did start, emit or shut do it? Else it waits, or has failed. */
static bool is_done(struct weir_stream *s, int64_t rc)
{
    struct wr_layer *l = s->layer;
    rc = weigh(l, rc, !l->begun);
    if (rc >= 0 || rc == WEIR_WANTS_ROOM)
        return rc >= 0;
    if (rc != WEIR_WANTS_INPUT)
        fail(s, (int)rc);
    else if (l->end != 0)
        wr_stream_end(s, WR_LIFE_CLOSING, cut_off(l));
    else
        l->wants_input = true;
    return false;
}

/* ---- Beginning ---- */

void wr_layer_report(struct weir_stream *s, int status)
{
    struct wr_layer *l = s->layer;
    if (!l || !l->wait_fn)
        return;
    weir_layer_fn *fn = l->wait_fn;
    struct wr_scope in;
    l->wait_fn = NULL;
    wr_enter(&in, s->loop, l->wait_context);
    fn(s, status, l->wait_arg);
    wr_leave(&in);
}

/* What a server answers leaves before the next answer is made, so that its client gets on meanwhile: made together,
 * they would have clients and server wait for each other. What clients say is gathered: it wakes servers less often. */
void wr_layer_open(struct weir_stream *s)
{
    s->layer->turn.price = s->dialed ? 1 : WR_BEGIN_BUDGET;
    wr_stream_set_limit(s, WR_BY_STATE, s->opt->handshake_timeout_ns);
    wr_stream_task(s);
}

static void may_begin(struct wr_task *task)
{
    struct wr_layer *l = wr_home(task, struct wr_layer, turn.task);
    l->its_turn = true;
    wr_stream_task(l->stream);
}

/* A step of start, if it is its turn. */
static bool start(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    size_t came = wr_wire_came(&l->wire);
    uint64_t queued = s->sendq.queued;
    if (!l->its_turn && !wr_loop_may_begin(s->loop, &l->turn))
        return false;
    l->its_turn = false;
    bool done = is_done(s, l->verbs.start(l->own, &l->wire));
    if (wr_wire_came(&l->wire) == came && s->sendq.queued == queued)
        wr_loop_began_nothing(s->loop, &l->turn);
    return done;
}

static bool begin(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    if (!start(s))
        return false;
    l->begun = true;
    if (s->life == WR_LIFE_OPEN)
        wr_deadline_unset(&s->bounds->due, WR_BY_STATE);
    wr_stream_spare_bounds(s);
    s->look = s->match.kind != WR_MATCH_NONE;
    wr_stream_report_connect(s, 0);
    wr_layer_report(s, 0);
    return true;
}

/* ---- Out ---- */

static void let_go_of_head(struct wr_layer *l, size_t taken)
{
    l->head_len = 0;
    if (l->read)
        wr_segment_drop(l->read);
    l->read = NULL;
    wr_sendq_advance(&l->plain, taken);
}

/* Bytes of a file are read, to be emitted. */
static bool read_head(struct weir_stream *s, const struct wr_piece *piece, size_t n)
{
    struct wr_layer *l = s->layer;
    int fd = wr_segment_fd(piece->seg);
    l->read = wr_segment_new(&s->loop->cache, HEAD_MAX);
    int64_t got = l->read ? wr_file_read(fd, l->read->base, n, piece->off) : -ENOMEM;
    if (got <= 0) {
        let_go_of_head(l, 0);
        fail(s, got == 0 ? WEIR_ETRUNCATED : (int)got);
        return false;
    }
    l->head = l->read->base;
    l->head_len = (size_t)got;
    return true;
}

/* Freeze what is to be emitted next, if anything is. */
static bool take_head(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    struct iovec one;
    size_t n;
    if (l->head_len > 0)
        return true;
    if (s->corked || wr_sendq_len(&l->plain) == 0)
        return false;
    const struct wr_piece *piece = l->plain.in_files > 0 ? wr_sendq_freeze_file(&l->plain, HEAD_MAX, &n) : NULL;
    if (piece)
        return read_head(s, piece, n);
    bool any = wr_sendq_freeze(&l->plain, &one, 1, HEAD_MAX) > 0;
    l->head_len = l->plain.frozen;
    l->head = any ? one.iov_base : NULL;
    return true;
}

/* The marks of what was emitted go behind it. A release may add some that are due at once: those wait. */
static void pass_marks(struct weir_stream *s)
{
    struct wr_mark mark;
    struct wr_layer *l = s->layer;
    for (uint32_t n = l->plain.marks.count + l->plain.empty; n > 0; n--) {
        if (wr_sendq_reserve_mark(&s->sendq) < 0) {
            fail(s, -ENOMEM);
            return;
        }
        if (!wr_sendq_next_mark(&l->plain, false, &mark))
            return;
        int rc = wr_sendq_mark(&s->sendq, &mark);
        wr_assert(rc == 0);
    }
}

static bool may_go_on(const struct weir_stream *s)
{
    return (s->life == WR_LIFE_OPEN || s->life == WR_LIFE_FLUSHING) && !s->layer->broken;
}

/* What is taken may be released, and what a release does may end the stream. */
static void emit(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    while (may_go_on(s) && weir_wire_room(&l->wire) > 0 && take_head(s)) {
        int64_t n = l->verbs.emit(l->own, &l->wire, l->head, l->head_len);
        if (!is_done(s, n == 0 ? -EPROTO : n))
            return;
        wr_assert((size_t)n <= l->head_len);
        let_go_of_head(l, (size_t)n);
        pass_marks(s); /* before more is emitted */
    }
}

static void shut(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    l->said = s->sendq.queued;
    int rc = l->verbs.shut(l->own, &l->wire);
    bool in_vain = rc == WEIR_WANTS_INPUT && l->end != 0; /* none will come, and none is missed */
    l->shut = is_done(s, in_vain ? 0 : rc);
}

void wr_layer_step(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    l->wants_input = false;
    bool in_vain = s->life == WR_LIFE_FLUSHING && wr_sendq_len(&l->plain) == 0; /* nothing to say, nobody listens */
    if (may_go_on(s) && !l->shut && (l->begun || in_vain || begin(s))) {
        emit(s);
        pass_marks(s);
        if (may_go_on(s) && s->fin_wanted && wr_sendq_len(&l->plain) == 0)
            shut(s);
    }
    if (l->ingest_wants_room && weir_wire_room(&l->wire) > 0) {
        l->ingest_wants_room = false;
        s->look = s->match.kind != WR_MATCH_NONE;
    }
    if (l->begun)
        wr_layer_report(s, 0);
}

/* As much is written as is emitted at once: it goes while it is in the processor's cache. Less may yet be joined. */
void wr_layer_emit_full(struct weir_stream *s)
{
    if (s->layer->begun && !s->layer->shut && wr_sendq_len(&s->layer->plain) >= HEAD_MAX)
        emit(s);
}

void wr_layer_fail_writes(struct weir_stream *s, int status)
{
    struct wr_mark mark;
    struct wr_layer *l = s->layer;
    let_go_of_head(l, 0);
    wr_sendq_discard(&l->plain);
    while (wr_sendq_next_mark(&l->plain, true, &mark))
        wr_stream_call_mark(s, &mark, status);
}

/* ---- In ---- */

void wr_layer_feed(struct weir_stream *s, const struct wr_result *r)
{
    struct wr_layer *l = s->layer;
    if (l->broken || (l->shut && s->life != WR_LIFE_OPEN) || s->life > WR_LIFE_FLUSHING) {
        s->gap = true;
        wr_segment_drop(r->seg);
        return;
    }
    l->dry = false;
    wr_wire_feed(&l->wire, r->seg, r->off, (size_t)r->res);
}

/* What a verb said when it did not ingest a byte. */
static void stop_ingesting(struct weir_stream *s, int64_t rc)
{
    struct wr_layer *l = s->layer;
    l->ingest_wants_room = rc == WEIR_WANTS_ROOM;
    rc = weigh(l, rc, true);
    l->dry = rc == WEIR_WANTS_INPUT;
    if (l->dry)
        s->end = l->end != 0 ? cut_off(l) : 0;
    else if (rc != WEIR_WANTS_ROOM)
        s->end = rc == 0 ? -EPROTO : (int)rc;
    if (s->end != WEIR_EOF && s->end != cut_off(l))
        l->broken = s->end;
}

/* As many bytes as there are, up to len, until they are enough. 0: none, and the reason is noted. */
static size_t ingest(struct weir_stream *s, void *memory, size_t len, size_t enough)
{
    struct wr_layer *l = s->layer;
    uint64_t queued = s->sendq.queued;
    size_t got = 0;
    while (got < enough && s->end == 0) {
        int64_t n = l->verbs.ingest(l->own, &l->wire, (char *)memory + got, len - got);
        if (n <= 0) {
            stop_ingesting(s, n);
            break;
        }
        wr_assert((size_t)n <= len - got);
        got += (size_t)n;
    }
    if (s->sendq.queued != queued)
        wr_stream_task(s); /* it had to answer */
    return got;
}

/* What comes in pieces of half a segment stays in whole pieces. */
static bool ingest_into_buffer(struct weir_stream *s)
{
    struct wr_segment *seg = wr_segment_new(&s->loop->cache, INGEST_SIZE);
    if (!seg) {
        s->end = -ENOMEM;
        return true;
    }
    size_t n = ingest(s, seg->base, INGEST_SIZE, INGEST_SIZE / 2);
    if (n == 0)
        wr_segment_drop(seg);
    else if (wr_buf_take(&s->buf, &s->loop->cache, seg, 0, n, &s->loop->stats.copied_in) < 0)
        s->end = -ENOMEM;
    return n > 0;
}

bool wr_layer_ingest(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    if (!l->begun || l->broken || l->dry || s->end != 0 || s->life != WR_LIFE_OPEN)
        return false;
    if (!s->match.into)
        return ingest_into_buffer(s) || s->end != 0;
    size_t n = ingest(s, s->match.memory.next, s->match.n, s->match.n);
    if (n > 0)
        wr_match_put(&s->match, n);
    return n > 0 || s->end != 0;
}

/* Unread bytes leave shared memory, and memory that is much larger than they are. */
void wr_layer_settle(struct weir_stream *s)
{
    struct weir_loop *loop = s->loop;
    struct wr_buf *came = &s->layer->wire.in;
    (void)wr_buf_settle(came, &loop->cache, &loop->stats.copied_in);
    if (wr_buf_is_loose(&s->buf))
        (void)wr_buf_move(&s->buf, &loop->cache, &loop->stats.copied_in);
}

static void drop_input(struct weir_stream *s)
{
    struct wr_segment *seg = wr_segment_new(&s->loop->cache, INGEST_SIZE);
    size_t n = seg ? 1 : 0;
    for (int i = 0; i < DROPS && n > 0 && s->end == 0; i++) {
        n = ingest(s, seg->base, INGEST_SIZE, INGEST_SIZE);
        s->gap |= n > 0;
    }
    if (n > 0 && s->end == 0)
        wr_stream_task(s);
    if (seg)
        wr_segment_drop(seg);
}

void wr_layer_flush(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    wr_layer_step(s);
    if (l->begun && !l->shut && may_go_on(s))
        drop_input(s);
    wr_layer_settle(s);
    if (l->broken == 0)
        return;
    s->reason = l->broken; /* whatever ended the stream: what was queued does not get out */
    if (s->sendq.marks.count > 0)
        return;
    wr_layer_fail_writes(s, l->broken);
    wr_stream_report_connect(s, l->broken);
    wr_layer_report(s, l->broken);
}

/* A send that is cancelled at once goes as far as it can without waiting. */
bool wr_layer_parts(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    if (!l->begun || l->shut || l->broken || s->reason != 0 || wr_sendq_len(&l->plain) > 0 || l->partings++ == PARTINGS)
        return false;
    shut(s);
    if (wr_sendq_len(&s->sendq) == 0)
        return false;
    wr_stream_send(s);
    wr_loop_cancel(s->loop, &s->out);
    return true;
}

/* ---- What the user asks for ---- */

static int may_attach(const struct weir_stream *s)
{
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life > WR_LIFE_OPEN || s->flush_wanted)
        return WEIR_ECLOSED;
    if (s->layer)
        return -EALREADY;
    if (!s->reads || !s->writes)
        return -ENOTSUP;
    if (s->fin_wanted)
        return -EPIPE;
    bool waits = wr_sendq_len(&s->sendq) > 0 || s->sendq.marks.count > 0 || wr_buf_len(&s->buf) > 0;
    return waits || s->match.kind != WR_MATCH_NONE || wr_stream_lends_memory(s) ? -EBUSY : 0;
}

int weir_layer_attach(struct weir_stream *s, const struct weir_layer_verbs *given, void *layer)
{
    struct weir_layer_verbs verbs = {0};
    int rc = s && given ? may_attach(s) : -EINVAL;
    if (rc == 0)
        rc = wr_options_copy(&verbs, sizeof verbs, given);
    if (rc == 0 && (!verbs.start || !verbs.ingest || !verbs.emit || !verbs.shut))
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    struct wr_layer *l = wr_alloc_zeroed(sizeof *l);
    if (!l || wr_stream_bound(s) < 0) {
        wr_free(l);
        return -ENOMEM;
    }
    l->verbs = verbs;
    l->given = given;
    l->own = layer;
    l->stream = s;
    l->turn.task.run = may_begin;
    wr_list_init(&l->turn.task.link);
    l->end = s->end;
    s->end = 0;
    wr_wire_init(&l->wire, &s->loop->cache, &s->sendq, WIRE_MAX);
    wr_sendq_init(&l->plain, &s->loop->cache);
    s->layer = l;
    if (s->life == WR_LIFE_OPEN)
        wr_layer_open(s);
    return 0;
}

int weir_layer_wait(struct weir_stream *s, weir_layer_fn *fn, void *arg)
{
    if (!s || !fn)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life > WR_LIFE_FLUSHING)
        return WEIR_ECLOSED;
    if (!s->layer)
        return -ENOENT;
    if (s->layer->wait_fn)
        return -EBUSY;
    s->layer->wait_fn = fn;
    s->layer->wait_arg = arg;
    s->layer->wait_context = wr_context_capture(s->loop);
    wr_stream_task(s);
    return 0;
}

void *weir_layer_of(struct weir_stream *s, const struct weir_layer_verbs *verbs)
{
    return s && s->layer && s->layer->given == verbs ? s->layer->own : NULL;
}

void wr_layer_close(struct weir_stream *s)
{
    struct wr_layer *l = s->layer;
    if (!l)
        return;
    wr_list_remove(&l->turn.task.link);
    wr_wire_done(&l->wire);
    wr_sendq_done(&l->plain);
    if (l->verbs.release)
        l->verbs.release(l->own);
    wr_free(l);
}
