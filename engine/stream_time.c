/* What takes too long: connecting, flushing, a read, bytes that do not move. The deadlines are moved by whoever knows
 * that something began or went on; what it means that one has passed stands here. */
#include "stream.h"

static const uint64_t GRACE = 5000000000u;

void wr_stream_set_limit(struct weir_stream *s, enum wr_deadline which, uint64_t ns)
{
    if (ns > 0)
        wr_deadline_set(&s->bounds->due, &s->loop->timers, which, wr_add_sat(wr_loop_now(s->loop), ns));
}

/* ---- The least rate: each byte buys time ---- */

static uint64_t bytes_so_far(const struct weir_stream *s, enum wr_deadline which)
{
    return which == WR_BY_RATE_IN ? s->bytes_in : s->sendq.done;
}

void wr_stream_begin_pace(struct weir_stream *s, enum wr_deadline which)
{
    if (wr_likely(!s->bounds) || s->opt->min_rate == 0 || wr_deadline_is_set(&s->bounds->due, which))
        return;
    struct wr_pace *pace = which == WR_BY_RATE_IN ? &s->bounds->pace_in : &s->bounds->pace_out;
    *pace = (struct wr_pace){.began = wr_loop_now(s->loop), .bytes = bytes_so_far(s, which)};
    wr_stream_set_limit(s, which, GRACE);
}

/* Too slow since it began? If not, the next look is when the bytes so far will not do any more. */
static bool is_slow(struct weir_stream *s, enum wr_deadline which)
{
    const struct wr_pace *pace = which == WR_BY_RATE_IN ? &s->bounds->pace_in : &s->bounds->pace_out;
    double bought = (double)(bytes_so_far(s, which) - pace->bytes) * 1e9 / (double)s->opt->min_rate;
    uint64_t by = wr_add_sat(wr_add_sat(pace->began, GRACE), bought < 1e18 ? (uint64_t)bought : UINT64_MAX);
    if (by <= s->loop->now)
        return true;
    wr_deadline_set(&s->bounds->due, &s->loop->timers, which, by);
    return false;
}

/* ---- A deadline has passed ---- */

/* Time is up for connecting, for a layer to begin, or for flushing: what was flushed in time ended in good order. */
static void state_passed(struct weir_stream *s)
{
    bool unsent = s->life <= WR_LIFE_OPEN || wr_stream_queued(s) > 0;
    wr_stream_end(s, WR_LIFE_CLOSING, unsent ? -ETIMEDOUT : s->reason);
}

/* A send in flight may have moved bytes for long and does not tell before its end: end it, and see. */
static bool must_ask(struct weir_stream *s, enum wr_deadline which)
{
    if (which == WR_BY_RATE_IN || !wr_sendq_is_frozen(&s->sendq))
        return false;
    s->asked |= (uint8_t)(1u << which);
    wr_loop_cancel(s->loop, &s->out);
    return true;
}

static void passed(struct weir_stream *s, enum wr_deadline which)
{
    if (which == WR_BY_STATE)
        state_passed(s);
    else if (which == WR_BY_READ)
        wr_stream_end_read(s, -ETIMEDOUT);
    else if (s->life == WR_LIFE_OPEN && !must_ask(s, which) &&
             ((which != WR_BY_RATE_IN && which != WR_BY_RATE_OUT) || is_slow(s, which)))
        wr_stream_end(s, WR_LIFE_CLOSING, -ETIMEDOUT);
}

/* What has gone since has set the limits on stalls and idling anew. */
static bool is_late(struct weir_stream *s, enum wr_deadline which)
{
    if (which != WR_BY_IDLE && wr_stream_is_held_back(s))
        return false;
    return which == WR_BY_RATE_OUT ? is_slow(s, which) : !wr_deadline_is_set(&s->bounds->due, which);
}

void wr_stream_answer(struct weir_stream *s)
{
    for (unsigned which = 0, asked = s->asked; asked != 0; asked >>= 1, which++)
        if ((asked & 1) && s->life == WR_LIFE_OPEN && is_late(s, (enum wr_deadline)which))
            wr_stream_end(s, WR_LIFE_CLOSING, -ETIMEDOUT);
    s->asked = 0;
}

static void timed_out(struct wr_timer *timer)
{
    struct wr_bounds *b = wr_home(timer, struct wr_bounds, due.timer);
    struct weir_stream *s = b->s;
    for (int which; (which = wr_deadlines_passed(&b->due, &s->loop->timers, s->loop->now)) >= 0;)
        passed(s, (enum wr_deadline)which);
}

/* ---- The bounds ---- */

bool wr_stream_has_limits(const struct weir_stream *s)
{
    const struct weir_stream_options *opt = s->opt;
    return (opt->read_timeout_ns | opt->write_stall_timeout_ns | opt->idle_timeout_ns | opt->min_rate) != 0;
}

int wr_stream_bound(struct weir_stream *s)
{
    size_t size = 0;
    if (s->bounds)
        return 0;
    struct wr_bounds *b = wr_cache_take(&s->loop->cache, sizeof *b, &size);
    if (!b)
        return -ENOMEM;
    wr_assert(size == sizeof *b);
    *b = (struct wr_bounds){.s = s};
    int rc = wr_deadlines_open(&b->due, &s->loop->timers, timed_out);
    if (rc < 0)
        wr_cache_give(&s->loop->cache, b, sizeof *b);
    else
        s->bounds = b;
    return rc;
}

void wr_stream_unbound(struct weir_stream *s)
{
    if (!s->bounds)
        return;
    wr_assert(!s->bounds->connecting);
    wr_deadlines_close(&s->bounds->due, &s->loop->timers);
    wr_cache_give(&s->loop->cache, s->bounds, sizeof *s->bounds);
    s->bounds = NULL;
}

void wr_stream_spare_bounds(struct weir_stream *s)
{
    const struct wr_bounds *b = s->bounds;
    bool ends = s->life > WR_LIFE_OPEN; /* it is bounded even if by no limit */
    if (b && !ends && !b->connecting && wr_deadlines_are_off(&b->due) && !wr_stream_has_limits(s))
        wr_stream_unbound(s);
}
