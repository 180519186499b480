/* At rest is known, not guessed by waiting: the loop has nothing to do, no op is in flight that the kernel's sockets
 * would complete, and what one end has sent, the other end or its socket has. */
#include "helpers_rest.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "stream.h"

enum { GONE = POLLRDHUP | POLLHUP | POLLERR };

/* The simulator's time is its own: nothing is under way that does not come within it. */
enum { SIM_TURNS = 6, SIM_WAIT = 300000 };

static short look(const struct weir_stream *s, short events)
{
    struct pollfd p = {.fd = s->out.fd, .events = events};
    cr_assert_geq(poll(&p, 1, 0), 0);
    return p.revents;
}

static int ask(const struct weir_stream *s, unsigned long what)
{
    int n = 0;
    cr_assert_eq(ioctl(s->out.fd, what, &n), 0);
    return n;
}

/* Its receive, or its watch, will complete by itself. */
static bool is_called(const struct weir_stream *s)
{
    if (!s->in.in_flight)
        return !wr_list_empty(&s->in.link);
    short events = s->in.kind == WR_OP_POLL ? POLLRDHUP : POLLIN | POLLRDHUP;
    return s->in.cancelled || (look(s, events) & (events | POLLHUP | POLLERR)) != 0;
}

static bool is_moving(const struct end *x)
{
    const struct weir_stream *s = x->party->s;
    return !x->party->closed && (s->out.in_flight || is_called(s));
}

/* Bytes, an end or a reset are on their way to x. A reset is the answer to what is sent to a socket that is gone. */
static bool is_awaited(const struct end *x, const struct end *peer)
{
    const struct weir_stream *s = x->party->s, *other = peer->party->s;
    if (x->party->closed || s->end != 0 || (look(s, 0) & (POLLHUP | POLLERR)))
        return false;
    if (peer->party->closed)
        return !(look(s, POLLRDHUP) & GONE) || ask(s, SIOCOUTQ) > 0;
    if (s->bytes_in + (uint64_t)ask(s, SIOCINQ) != other->sendq.done)
        return true;
    return other->fin_sent && !(look(s, POLLRDHUP) & GONE);
}

static bool is_at_rest(struct end ends[2])
{
    return !is_moving(&ends[0]) && !is_moving(&ends[1]) && !is_awaited(&ends[0], &ends[1]) &&
           !is_awaited(&ends[1], &ends[0]);
}

static int turn(struct env *e, uint64_t wait)
{
    int rc = weir_loop_run_once(e->loop, wait);
    cr_assert_geq(rc, 0, "on %s: %s", e->world, weir_strerror(rc));
    return rc;
}

static void run_sim_to_rest(struct env *e, const int *pending)
{
    for (int quiet = 0; quiet < SIM_TURNS || *pending > 0;) {
        uint64_t before = e->loop->stats.completed;
        quiet = turn(e, SIM_WAIT) == 0 && before == e->loop->stats.completed ? quiet + 1 : 0;
    }
}

void run_to_rest(struct env *e, struct end ends[2], const int *pending)
{
    if (e->sim) {
        run_sim_to_rest(e, pending);
        return;
    }
    uint64_t limit = weir_now(e->loop) + 20000000000u;
    while (turn(e, 0) != 0 || *pending > 0 || !is_at_rest(ends))
        cr_assert_lt(weir_now(e->loop), limit, "on %s: no rest; log:\n%s", e->world, e->log);
}
