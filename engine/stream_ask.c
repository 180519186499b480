/* What a user asks a stream to read, and how that is taken back. Serving it is stream_read.c's. */
#include <errno.h>
#include <string.h>

#include "options.h"
#include "stream.h"

enum { UNTIL_MAX = 64 * 1024 };

static int may_read(struct weir_stream *s, weir_read_fn *fn)
{
    if (!s || !fn)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life == WR_LIFE_CLOSED)
        return WEIR_ECLOSED;
    if (!s->reads)
        return -EBADF;
    if (s->match.kind != WR_MATCH_NONE)
        return -EBUSY;
    return s->life == WR_LIFE_NEW ? -ENOTCONN : 0;
}

/* On a stream that ends, only a read that the buffer satisfies is taken on. */
static wr_apart bool comes_too_late(struct weir_stream *s)
{
    size_t n;
    return s->match.kind == WR_MATCH_CHUNKS || s->match.kind == WR_MATCH_CLOSE ||
           wr_stream_scan(s, &n) != WR_MATCH_FOUND;
}

/* s->match has been set. */
static int take_on(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    if (wr_unlikely(s->life > WR_LIFE_OPEN) && comes_too_late(s)) {
        wr_match_done(&s->match);
        return WEIR_ECLOSED;
    }
    s->read_fn = fn;
    s->read_arg = arg;
    s->read_context = wr_context_capture(s->loop);
    if (s->match.kind != WR_MATCH_CHUNKS)
        wr_stream_set_limit(s, WR_BY_READ, s->opt->read_timeout_ns);
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
    if (n > s->opt->max_buffer_size)
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

/* The default, or what was given, if it may be gathered. */
static int fit_max(const struct weir_stream *s, size_t *max)
{
    if (*max == 0)
        *max = wr_min(UNTIL_MAX, s->opt->max_buffer_size);
    return *max > s->opt->max_buffer_size ? WEIR_EBUFFULL : 0;
}

int weir_read_until_regex(struct weir_stream *s, struct weir_regex *regex, size_t max, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    if (!regex)
        return -EINVAL;
    if ((rc = fit_max(s, &max)) < 0)
        return rc;
    wr_match_regex(&s->match, regex, max);
    return take_on(s, fn, arg);
}

int weir_read_frame(struct weir_stream *s, const struct weir_frame *given, weir_read_fn *fn, void *arg)
{
    struct weir_frame frame = {0};
    int rc = given ? may_read(s, fn) : -EINVAL;
    if (rc == 0)
        rc = wr_options_copy(&frame, sizeof frame, given);
    if (rc == 0)
        rc = fit_max(s, &frame.max);
    if (rc == 0)
        rc = wr_match_frame(&s->match, &frame);
    return rc < 0 ? rc : take_on(s, fn, arg);
}

int weir_read_until(struct weir_stream *s, const void *delim, size_t delim_len, size_t max, weir_read_fn *fn,
                    void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    if ((rc = fit_max(s, &max)) < 0)
        return rc;
    if (!delim || delim_len == 0 || delim_len > wr_min(max, WR_DELIM_MAX))
        return -EINVAL;
    if ((rc = wr_match_until(&s->match, delim, delim_len, max)) < 0)
        return rc;
    return take_on(s, fn, arg);
}

int weir_read_into(struct weir_stream *s, void *memory, size_t len, int partial, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    if (!memory && len > 0)
        return -EINVAL;
    if (partial && len > 0)
        wr_match_some(&s->match, len);
    else
        wr_match_bytes(&s->match, len);
    if (memory)
        wr_match_into(&s->match, memory);
    return take_on(s, fn, arg);
}

int weir_read_until_close(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    wr_match_close(&s->match, s->opt->max_buffer_size);
    return take_on(s, fn, arg);
}

int weir_read_start(struct weir_stream *s, weir_read_fn *fn, void *arg)
{
    int rc = may_read(s, fn);
    if (rc < 0)
        return rc;
    wr_match_chunks(&s->match);
    s->eager |= s->bytes_in == 0; /* who asks for all that comes is believed, until shown otherwise */
    return take_on(s, fn, arg);
}

/* ---- And takes back ---- */

static int check(const struct weir_stream *s)
{
    return s ? wr_loop_check(s->loop) : -EINVAL;
}

int weir_read_stop(struct weir_stream *s)
{
    int rc = check(s);
    if (rc < 0)
        return rc;
    if (s->match.kind != WR_MATCH_CHUNKS)
        return s->match.kind == WR_MATCH_NONE ? 0 : -EINVAL;
    if (s->ended == 0) { /* else it is over, and will be told */
        wr_stream_read_over(s);
        wr_context_drop(s->read_context);
        s->look = !s->serving;
        wr_stream_task(s);
    }
    return 0;
}

int weir_read_cancel(struct weir_stream *s)
{
    int rc = check(s);
    if (rc < 0)
        return rc;
    if (s->match.kind == WR_MATCH_NONE)
        return -EINVAL;
    wr_stream_end_read(s, -ECANCELED);
    return 0;
}

int weir_read_deadline(struct weir_stream *s, uint64_t at_ns)
{
    int rc = check(s);
    if (rc < 0)
        return rc;
    if (s->match.kind == WR_MATCH_NONE)
        return -EINVAL;
    if ((rc = wr_stream_bound(s)) == 0)
        wr_deadline_set(&s->bounds->due, &s->loop->timers, WR_BY_READ, at_ns);
    return rc;
}

/* ---- Views ---- */

int weir_peek(struct weir_stream *s, struct weir_view *ret_view)
{
    int rc = ret_view ? check(s) : -EINVAL;
    if (rc == 0)
        *ret_view = (struct weir_view){wr_buf_data(&s->buf), wr_buf_len(&s->buf)};
    return rc;
}

struct wr_segment *wr_stream_lent(const struct weir_loop *loop, const unsigned char *data, size_t len)
{
    struct wr_segment *seg = loop->lent;
    if (!seg || data < seg->base || data >= seg->base + seg->size)
        return NULL;
    return len <= (size_t)(seg->base + seg->size - data) ? seg : NULL;
}

bool wr_stream_may_hold(const struct weir_loop *loop, const struct wr_segment *seg, size_t len)
{
    const struct wr_bufpool *pool = &loop->world->pool;
    bool full = len >= seg->size / 4;
    return seg->kind->shared ? (full || seg->size <= pool->size) && wr_bufpool_available(pool) > pool->count / 2 : full;
}

struct weir_hold {
    struct weir_loop *loop;
    struct wr_segment *seg;
    size_t block_size;
};

/* A hold on the bytes where they stand, or on a copy. */
static struct wr_segment *hold_bytes(struct weir_loop *loop, struct wr_segment *seg, struct weir_view *view)
{
    if (wr_stream_may_hold(loop, seg, view->len)) {
        wr_segment_hold(seg);
        return seg;
    }
    struct wr_segment *own = wr_segment_new(&loop->cache, view->len);
    if (own) {
        memcpy(own->base, view->data, view->len);
        loop->stats.copied_in += view->len;
        view->data = own->base;
    }
    return own;
}

int weir_view_hold(struct weir_stream *s, struct weir_view *view, struct weir_hold **ret_hold)
{
    int rc = view && ret_hold ? check(s) : -EINVAL;
    if (rc < 0)
        return rc;
    struct wr_segment *seg = wr_stream_lent(s->loop, view->data, view->len);
    if (!seg || view->len == 0)
        return -EINVAL;
    size_t block_size;
    struct weir_hold *hold = wr_cache_take(&s->loop->cache, sizeof *hold, &block_size);
    if (!hold)
        return -ENOMEM;
    if (!(seg = hold_bytes(s->loop, seg, view))) {
        wr_cache_give(&s->loop->cache, hold, block_size);
        return -ENOMEM;
    }
    *hold = (struct weir_hold){.loop = s->loop, .seg = seg, .block_size = block_size};
    s->loop->holds++;
    *ret_hold = hold;
    return 0;
}

int weir_view_drop(struct weir_hold *hold)
{
    if (!hold)
        return 0;
    int rc = wr_loop_check(hold->loop);
    if (rc < 0)
        return rc;
    struct weir_loop *loop = hold->loop;
    wr_segment_drop(hold->seg);
    wr_cache_give(&loop->cache, hold, hold->block_size);
    loop->holds--;
    return 0;
}
