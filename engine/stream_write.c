/* One byte's way out: user -> queue -> pump -> send_done -> marks -> user. Twin of stream_read.c.
 *
 * At most one send is in flight. Its bytes are the queue's frozen head; what is written meanwhile goes behind. All
 * writes of one turn leave in one send, because the task that pumps runs once, at the end of the turn. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "stream.h"

enum {
    SEND_MAX = 1 << 20,     /* bytes of one send: progress and completions stay visible */
    SEND_PIECES = 60,       /* their vector fills a block of the cache, */
    VECTOR_BLOCK = 1024,    /* which has these bytes */
    HOLD_MIN = 4096,        /* bytes of a view that are worth a piece more of a send, and so a vector */
    READ_MAX = 16384        /* bytes of a file that are cheaper read, and sent with what stands around them */
};

/* ---- From the queue to the kernel ---- */

/* Of a send of several pieces. Without memory for it, the send takes one piece. */
struct vector {
    struct msghdr head;
    struct iovec pieces[SEND_PIECES];
};

static wr_apart struct vector *take_vector(struct weir_stream *s)
{
    size_t size = VECTOR_BLOCK;
    struct vector *v = wr_cache_take(&s->loop->cache, sizeof *v, &size);
    wr_assert(size == VECTOR_BLOCK);
    return v;
}

static wr_apart void give_vector(struct weir_stream *s)
{
    struct vector *v = wr_home(s->out.u.pieces, struct vector, head);
    wr_cache_give(&s->loop->cache, v, VECTOR_BLOCK);
}

/* Somebody waits for the end of the send in flight, or of one that is to be started. */
static bool is_awaited(const struct weir_stream *s)
{
    return s->sendq.frozen < wr_sendq_len(&s->sendq) || s->sendq.marks.count > 0 || s->sendq.empty > 0 || s->full ||
           s->fin_wanted || s->life != WR_LIFE_OPEN || wr_layer_wants_room(s);
}

/* More goes at once behind what is frozen, if only the FIN: one packet may take both. */
static bool has_more(const struct weir_stream *s)
{
    return s->sendq.frozen < wr_sendq_len(&s->sendq) || (s->fin_wanted && wr_layer_is_silent(s));
}

static void start_send(struct weir_stream *s)
{
    struct vector *v = s->sendq.pieces.count > 1 ? take_vector(s) : NULL;
    unsigned count = wr_sendq_freeze(&s->sendq, v ? v->pieces : &s->out.u.send, v ? SEND_PIECES : 1, SEND_MAX);
    wr_assert(count > 0);
    s->out.kind = WR_OP_SEND;
    s->out.flags = has_more(s) ? WR_OP_MORE : 0;
    if (v) {
        v->head = (struct msghdr){.msg_iov = v->pieces, .msg_iovlen = count};
        s->out.flags |= WR_OP_PIECES;
        s->out.u.pieces = &v->head;
    } else if (wr_sendq_is_own(&s->sendq) && !is_awaited(s)) {
        s->out.flags |= WR_OP_QUIET;
    }
    wr_start(s->loop->world, &s->out);
}

static wr_apart bool start_file(struct weir_stream *s)
{
    size_t n;
    const struct wr_piece *piece = wr_sendq_freeze_file(&s->sendq, SEND_MAX, &n);
    if (!piece)
        return false;
    s->out.kind = WR_OP_SENDFILE;
    s->out.flags = 0;
    s->out.u.file.fd = wr_segment_fd(piece->seg);
    s->out.u.file.len = (uint32_t)n;
    s->out.u.file.at = piece->off;
    wr_start(s->loop->world, &s->out);
    return true;
}

void wr_stream_send(struct weir_stream *s)
{
    wr_stream_begin_pace(s, WR_BY_RATE_OUT);
    wr_stream_stir(s);
    if (wr_unlikely(s->bounds != NULL) && !wr_deadline_is_set(&s->bounds->due, WR_BY_STALL))
        wr_stream_set_limit(s, WR_BY_STALL, s->opt->write_stall_timeout_ns);
    if (s->sendq.in_files == 0 || !start_file(s))
        start_send(s);
}

void wr_stream_fin(struct weir_stream *s)
{
    s->fin_sent = true;
    if (s->layer)
        s->layer->wire.closed = true;
    s->out.kind = WR_OP_SHUTDOWN;
    s->out.flags = 0;
    s->out.u.how = SHUT_WR;
    wr_start(s->loop->world, &s->out);
}

void wr_stream_pump(struct weir_stream *s)
{
    if (s->out.in_flight && (s->out.flags & WR_OP_QUIET) && is_awaited(s))
        s->loop->world->hasty = true;
    if (s->out.in_flight || (s->corked && !s->layer) || (s->life != WR_LIFE_OPEN && s->life != WR_LIFE_FLUSHING))
        return;
    if (wr_sendq_len(&s->sendq) > 0)
        wr_stream_send(s);
    else if (s->fin_wanted && !s->fin_sent && wr_layer_is_silent(s))
        wr_stream_fin(s);
}

/* ---- And back ---- */

/* Nothing is under way, or will be soon: the next send begins these anew. */
static void blame_nobody(struct weir_stream *s)
{
    if (wr_likely(!s->bounds))
        return;
    wr_deadline_unset(&s->bounds->due, WR_BY_STALL);
    wr_deadline_unset(&s->bounds->due, WR_BY_RATE_OUT);
}

/* The kernel took n bytes; `late`: when they were handed over. */
static void gone(struct weir_stream *s, size_t n, bool late)
{
    wr_sendq_advance(&s->sendq, n);
    s->loop->stats.bytes_out += n;
    if (wr_stream_is_held_back(s))
        blame_nobody(s);
    else if (n > 0)
        wr_stream_set_limit(s, WR_BY_STALL, s->opt->write_stall_timeout_ns);
    if (n > 0 && !late)
        wr_stream_stir(s);
}

static wr_apart void drained(struct weir_stream *s)
{
    struct wr_scope in;
    s->full = false;
    if (!s->drain)
        return;
    wr_enter(&in, s->loop, wr_context_share(s->drain->context));
    s->drain->fn(s, s->drain->arg);
    wr_leave(&in);
}

/* After the marks, so that what they write counts. */
void wr_stream_tell_drained(struct weir_stream *s)
{
    if (wr_unlikely(s->full) && s->life == WR_LIFE_OPEN && wr_stream_queued(s) <= s->opt->write_low_water)
        drained(s);
}

void wr_stream_call_mark(struct weir_stream *s, const struct wr_mark *mark, int status)
{
    struct wr_scope in;
    wr_enter(&in, s->loop, mark->context);
    mark->fn(s, status, mark->arg);
    wr_leave(&in);
}

/* A callback may add marks that are due at once (a write of nothing): those wait for the task. */
static wr_apart void call_marks(struct weir_stream *s, uint32_t n)
{
    struct wr_mark mark;
    for (; n > 0 && wr_sendq_next_mark(&s->sendq, false, &mark); n--)
        wr_stream_call_mark(s, &mark, 0);
}

void wr_stream_call_marks(struct weir_stream *s)
{
    uint32_t n = s->sendq.marks.count + s->sendq.empty;
    if (n > 0)
        call_marks(s, n);
}

void wr_stream_fail_writes(struct weir_stream *s, int status)
{
    struct wr_mark mark;
    while (wr_sendq_next_mark(&s->sendq, false, &mark))
        wr_stream_call_mark(s, &mark, 0);
    wr_sendq_discard(&s->sendq);
    while (wr_sendq_next_mark(&s->sendq, true, &mark))
        wr_stream_call_mark(s, &mark, status);
    if (s->layer)
        wr_layer_fail_writes(s, status);
}

static wr_apart void send_failed(struct weir_stream *s, int res)
{
    int status = res == 0 ? WEIR_ETRUNCATED : res; /* a file has become shorter */
    if (!s->out.cancelled && !wr_stream_again(&s->out, status))
        wr_stream_end(s, WR_LIFE_CLOSING, status);
}

void wr_stream_send_done(struct wr_op *op, const struct wr_result *r)
{
    struct weir_stream *s = wr_home(op, struct weir_stream, out);
    if (op->kind == WR_OP_SEND || op->kind == WR_OP_SENDFILE) {
        if (op->flags & WR_OP_PIECES)
            give_vector(s);
        gone(s, r->res > 0 ? (size_t)r->res : 0, r->late);
        if (wr_unlikely(s->asked != 0))
            wr_stream_answer(s);
        wr_stream_call_marks(s);
        wr_stream_tell_drained(s);
        if (wr_unlikely(r->res <= 0))
            send_failed(s, r->res);
    }
    if (wr_sendq_len(&s->sendq) > 0 || wr_layer_wants_room(s) || s->fin_wanted || s->life != WR_LIFE_OPEN)
        wr_stream_task(s);
    wr_stream_checked(s);
}

/* ---- What the user asks for ---- */

/* Files take no memory, and what a layer has put on the wire has a bound of its own. */
static bool has_room(const struct weir_stream *s, const struct wr_sendq *q, size_t len)
{
    size_t queued = wr_sendq_in_memory(q), max = s->opt->max_write_buffer_size;
    return len <= max - wr_min(queued, max);
}

/* on_drain will tell when to try again. */
static wr_apart int refuse(struct weir_stream *s)
{
    s->full |= wr_stream_queued(s) > 0;
    wr_stream_task(s);
    return -ENOBUFS;
}

static wr_apart int why_not(struct weir_stream *s)
{
    if (s->life > WR_LIFE_OPEN || s->flush_wanted)
        return WEIR_ECLOSED;
    if (s->life == WR_LIFE_NEW)
        return -ENOTCONN;
    if (!s->writes)
        return -EBADF;
    return s->fin_wanted ? -EPIPE : 0;
}

static inline int may_write(struct weir_stream *s, const struct wr_sendq *q, size_t len)
{
    int rc = wr_loop_check(s->loop);
    if (rc == 0 && (s->life != WR_LIFE_OPEN || s->flush_wanted || !s->writes || s->fin_wanted))
        rc = why_not(s);
    if (rc < 0)
        return rc;
    return wr_likely(has_room(s, q, len)) ? 0 : refuse(s);
}

/* A later callback takes the place of those before. */
static wr_apart void forget_marks(struct weir_stream *s)
{
    struct wr_mark mark;
    while (wr_sendq_take_mark(&s->sendq, &mark) || wr_sendq_take_mark(wr_stream_plain(s), &mark))
        wr_context_drop(mark.context);
}

/* There is too much, here or in all; with nothing queued, nothing would tell that it has drained. */
static bool is_too_much(const struct weir_stream *s)
{
    size_t n = wr_stream_queued(s);
    return n > s->opt->write_high_water || (n > 0 && wr_loop_is_full(s->loop));
}

/* There is room for it. */
static wr_apart void add_mark(struct weir_stream *s, weir_write_fn *fn, void *arg)
{
    struct wr_mark mark = {.fn = fn, .arg = arg, .context = wr_context_capture(s->loop)};
    int rc = wr_sendq_mark(wr_stream_plain(s), &mark);
    wr_assert(rc == 0);
}

/* The bytes are queued: complete them at their own position. */
static inline void queued(struct weir_stream *s, weir_write_fn *fn, void *arg)
{
    if (wr_unlikely(s->opt->last_write_callback))
        forget_marks(s);
    if (wr_unlikely(is_too_much(s)))
        s->full = true;
    if (fn)
        add_mark(s, fn, arg);
    wr_stream_task(s);
}

/* 0: the write is legal, and its mark will find room. */
static inline int begin_write(struct weir_stream *s, struct wr_sendq *q, size_t len, weir_write_fn *fn)
{
    int rc = may_write(s, q, len);
    return rc == 0 && wr_unlikely(fn != NULL) ? wr_sendq_reserve_mark(q) : rc;
}

/* The bytes stand in `seg`: are they better held there than copied? */
static bool is_worth_holding(struct weir_stream *s, const struct wr_segment *seg, size_t len)
{
    return (len >= HOLD_MIN || wr_stream_plain(s)->pieces.count == 0) && wr_stream_may_hold(s->loop, seg, len);
}

static wr_apart int put_held(struct weir_stream *s, struct wr_segment *seg, size_t off, size_t len)
{
    wr_segment_hold(seg);
    int rc = wr_sendq_refer(wr_stream_plain(s), seg, off, len);
    if (rc < 0)
        wr_segment_drop(seg);
    return rc;
}

static inline int put(struct weir_stream *s, struct wr_sendq *q, const unsigned char *data, size_t len)
{
    struct wr_segment *seg = wr_stream_lent(s->loop, data, len);
    if (seg && wr_sendq_join(q, seg, (size_t)(data - seg->base), len))
        return 0;
    if (seg && is_worth_holding(s, seg, len))
        return put_held(s, seg, (size_t)(data - seg->base), len);
    return wr_sendq_copy(q, data, len, &s->loop->stats.copied_out);
}

int weir_write(struct weir_stream *s, const void *data, size_t len, weir_write_fn *fn, void *arg)
{
    if (!s || (!data && len > 0))
        return -EINVAL;
    struct wr_sendq *q = wr_stream_plain(s);
    int rc = begin_write(s, q, len, fn);
    if (rc < 0)
        return rc;
    if (len > 0 && (rc = put(s, q, data, len)) < 0)
        return rc;
    queued(s, fn, arg);
    return 0;
}

int weir_writev(struct weir_stream *s, const struct iovec *iov, int count, weir_write_fn *fn, void *arg)
{
    size_t total = 0;
    if (!s || count < 0 || (!iov && count > 0))
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if ((!iov[i].iov_base && iov[i].iov_len > 0) ||
            __builtin_add_overflow(total, iov[i].iov_len, &total))
            return -EINVAL;
    struct wr_sendq *q = wr_stream_plain(s);
    int rc = begin_write(s, q, total, fn);
    if (rc == 0 && total > 0)
        rc = wr_sendq_gather(q, iov, (size_t)count, total, &s->loop->stats.copied_out);
    if (rc == 0)
        queued(s, fn, arg);
    return rc;
}

int weir_write_ref(struct weir_stream *s, const void *data, size_t len, weir_release_fn *release,
                   weir_write_fn *fn, void *arg)
{
    if (!s || (!data && len > 0))
        return -EINVAL;
    struct wr_sendq *q = wr_stream_plain(s);
    int rc = begin_write(s, q, len, fn);
    if (rc < 0)
        return rc;
    struct wr_segment *seg = wr_segment_borrow(&s->loop->cache, data, len, release, arg);
    if (!seg)
        return -ENOMEM;
    if ((rc = wr_sendq_refer(q, seg, 0, len)) < 0)
        wr_segment_forget(seg);
    else
        queued(s, fn, arg);
    return rc;
}

/* 0, or why these bytes cannot be had. */
static int check_file(int fd, uint64_t offset, uint64_t len)
{
    struct stat st;
    uint64_t end;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (!S_ISREG(st.st_mode) || __builtin_add_overflow(offset, len, &end))
        return -EINVAL;
    return end > (uint64_t)st.st_size ? WEIR_ETRUNCATED : 0;
}

/* 0, WEIR_ETRUNCATED if it has become shorter, or an error. */
static int read_file(struct wr_segment *seg, int fd, uint64_t offset)
{
    for (size_t done = 0; done < seg->size;) {
        int64_t n = wr_file_read(fd, seg->base + done, seg->size - done, offset + done);
        if (n <= 0)
            return n == 0 ? WEIR_ETRUNCATED : (int)n;
        done += (size_t)n;
    }
    return 0;
}

int weir_write_file(struct weir_stream *s, int fd, uint64_t offset, uint64_t len, weir_file_fn *release,
                    weir_write_fn *fn, void *arg)
{
    if (!s)
        return -EINVAL;
    bool small = len <= READ_MAX;
    struct wr_sendq *q = wr_stream_plain(s);
    int rc = begin_write(s, q, small ? (size_t)len : 0, fn);
    if (rc == 0 && !small && wr_sendq_len(q) >= s->opt->max_write_buffer_size)
        rc = refuse(s);
    if (rc == 0)
        rc = check_file(fd, offset, len);
    if (rc < 0)
        return rc;
    struct wr_segment *seg = wr_segment_of_file(&s->loop->cache, fd, small ? (size_t)len : 0, release, arg);
    if (!seg)
        return -ENOMEM;
    rc = small ? read_file(seg, fd, offset) : 0;
    if (rc == 0)
        rc = wr_sendq_refer(q, seg, small ? 0 : (size_t)offset, (size_t)len);
    if (rc < 0)
        wr_segment_forget(seg);
    else
        queued(s, fn, arg);
    return rc;
}

int weir_shutdown(struct weir_stream *s)
{
    if (!s)
        return -EINVAL;
    int rc = may_write(s, wr_stream_plain(s), 0);
    if (rc < 0)
        return rc;
    if (!s->socket)
        return -ENOTSOCK; /* its FIN is its close */
    s->fin_wanted = true;
    s->corked = false;
    wr_stream_task(s);
    return 0;
}

static int set_corked(struct weir_stream *s, bool corked)
{
    if (!s)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life > WR_LIFE_OPEN || s->flush_wanted)
        return WEIR_ECLOSED;
    s->corked = corked && !s->fin_wanted;
    if (!corked)
        wr_stream_task(s);
    else if (s->corked && !wr_sendq_is_frozen(&s->sendq))
        blame_nobody(s);
    return 0;
}

int weir_cork(struct weir_stream *s)
{
    return set_corked(s, true);
}

int weir_uncork(struct weir_stream *s)
{
    return set_corked(s, false);
}
