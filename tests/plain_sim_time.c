/* Time limits: what passes one ends for it, and nothing ends before. The loop's time stands still for a turn, so what
 * is seen at a turn's end happened at that time. */
#include "plain_sim.h"

#include <errno.h>

static const uint64_t GRACE = 5000000000u;

/* For a cancel that is joined first, and callbacks that are served in portions. */
enum { LATE_TURNS = 50, LATE_TIME = 200000000 };

/* Nothing was queued before. What was has gone when it was written, or later: that may be told late. */
void began_queueing(struct side *x)
{
    x->out_at = x->queued_at;
    x->queue_mark = x->sent;
    x->went_at = x->queued_at = weir_now(t.loop);
}

/* At the least; how much time the bytes buy depends on when a cork held them back. */
static bool was_slow(const struct side *x, const struct weir_stream_facts *f, uint64_t now)
{
    if (x->opt.min_rate == 0)
        return false;
    return (x->read_at != 0 && now - x->read_at >= GRACE) ||
           (x->sent > f->bytes_out && now - x->queued_at >= GRACE);
}

/* At the least. */
static uint64_t idle_since(const struct side *x)
{
    return x->out_at > x->came_at ? x->out_at : x->came_at;
}

/* A send that ends with what was written by a turn's end may have gone in that turn, and be told of late. */
static void see_out(struct side *x, const struct weir_stream_facts *f, uint64_t now)
{
    x->went_at = now;
    if (f->bytes_out > x->queue_mark)
        x->out_at = f->bytes_out == x->sent ? x->queued_at : f->bytes_out == x->seen_sent ? x->seen_sent_at : now;
}

/* Has a limit been passed that ends the stream? */
static bool may_have_timed_out(const struct side *x, const struct weir_stream_facts *f, uint64_t now)
{
    const struct weir_stream_options *o = &x->opt;
    if (!x->connected)
        return now - x->began >= o->connect_timeout_ns;
    bool unsent = x->sent > f->bytes_out;
    return (x->ended_at != 0 && unsent && now - x->ended_at >= o->flush_timeout_ns) ||
           (o->idle_timeout_ns > 0 && now - idle_since(x) >= o->idle_timeout_ns) ||
           (o->write_stall_timeout_ns > 0 && unsent && now - x->went_at >= o->write_stall_timeout_ns) ||
           was_slow(x, f, now);
}

/* Whose time has come, and who is not busy with something else, is told soon. */
static void check_promptness(struct side *x, const struct weir_stream_facts *f, uint64_t now)
{
    bool late = x->read.kind != 0 && now >= x->read.due;
    if (late && x->read.late == 0)
        x->read.late_at = now;
    x->read.late = late ? x->read.late + 1 : 0;
    if (x->read.late > LATE_TURNS && now - x->read.late_at > LATE_TIME)
        fail("side %d: a read's deadline passed, and it was not told", (int)(x - sides));
    bool drained = x->full && !f->closed && f->queued <= x->opt.write_low_water &&
                   (f->queued == 0 || f->bytes_out > x->full_mark);
    x->owes_drain = drained ? x->owes_drain + 1 : 0;
    if (x->owes_drain > LATE_TURNS)
        fail("side %d: drained, and it was not told", (int)(x - sides));
    bool idle = x->connected && !f->closed && x->opt.idle_timeout_ns > 0 &&
                now - x->moved_at > x->opt.idle_timeout_ns + LATE_TIME;
    x->idles = idle ? x->idles + 1 : 0;
    if (x->idles > LATE_TURNS)
        fail("side %d: idle for longer than it may be", (int)(x - sides));
}

static void check_end(struct side *x, const struct weir_stream_facts *f, uint64_t now)
{
    if (f->closed && x->ended_at == 0)
        x->ended_at = now;
    x->failed |= f->error != 0 && f->error != WEIR_EOF;
    if (f->error != -ETIMEDOUT || x->timed_out)
        return;
    x->timed_out = true;
    if (!may_have_timed_out(x, f, now))
        fail("side %d timed out before its time: %llu of %llu sent, %llu ns since it began, %llu idle",
             (int)(x - sides), (unsigned long long)f->bytes_out, (unsigned long long)x->sent,
             (unsigned long long)(now - x->began), (unsigned long long)(now - idle_since(x)));
}

void observe(struct side *x)
{
    if (!x->s || x->closed)
        return;
    struct weir_stream_facts f = facts_of(x);
    uint64_t now = weir_now(t.loop);
    must(f.bytes_out <= x->sent && f.bytes_in <= x->peer->sent);
    must(!x->corked || f.closed || f.bytes_out <= x->cork_mark);
    must(f.closed || f.full == x->full);
    check_end(x, &f, now); /* by what was before: bytes may have come behind it in this turn */
    if (f.bytes_in != x->seen_in)
        x->came_at = now;
    if (f.bytes_in != x->seen_in || f.bytes_out != x->seen_out)
        x->moved_at = now;
    if (f.bytes_out != x->seen_out)
        see_out(x, &f, now);
    if (x->read.kind != 0)
        x->read_at = x->read.began;
    if (x->sent != x->seen_sent)
        x->seen_sent_at = now;
    x->seen_sent = x->sent;
    x->seen_in = f.bytes_in;
    x->seen_out = f.bytes_out;
    check_promptness(x, &f, now);
}
