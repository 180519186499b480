/* The world of the simulator: its turns in virtual time, and the loop's way to the sockets. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>

#include "sim_op.h"

enum { TURN_NS = 1000 };    /* what a turn takes that does not wait */

static struct wr_sim_world *home(struct wr_world *base)
{
    return wr_home(base, struct wr_sim_world, base);
}

static void start(struct wr_world *base, struct wr_op *op)
{
    wr_sim_take_off(home(base), op);
}

static void cancel(struct wr_world *base, struct wr_op *op)
{
    wr_sim_call_back(home(base), op);
}

/* As with a ring, several shots of one op may come in one call. */
static unsigned reap(struct wr_world *base, struct wr_result *out, unsigned max)
{
    struct wr_sim_world *w = home(base);
    struct wr_list *node;
    unsigned n = 0;
    while (n < max && (node = wr_list_pop(&w->refused)))
        wr_sim_hand_over_refused(w, wr_home(node, struct wr_op, link), &out[n++]);
    while (n < max && (node = wr_list_pop(&w->ready)))
        wr_sim_hand_over(wr_home(node, struct wr_sim_flight, link), &out[n++]);
    if (wr_list_empty(&w->ready))
        base->hasty = false;
    return n;
}

/* ---- Time ---- */

static void run_due(struct weir_sim *sim)
{
    while (sim->first && sim->first->at <= sim->now) {
        struct wr_sim_event *e = sim->first;
        wr_sim_event_unset(sim, e);
        e->fire(e);
    }
}

static bool has_something(const struct wr_sim_world *w)
{
    return w->ready_count > 0 || (w->base.hasty && !wr_list_empty(&w->ready)) || !wr_list_empty(&w->refused);
}

/* Another world has to be served first. Once for what it has: nobody has to serve it. */
static bool must_make_way(struct wr_sim_world *w)
{
    struct wr_list *worlds = &w->sim->worlds;
    for (struct wr_list *node = worlds->next; node != worlds; node = node->next) {
        struct wr_sim_world *other = wr_home(node, struct wr_sim_world, link);
        if (other != w && other->fresh && has_something(other)) {
            other->fresh = false;
            return true;
        }
    }
    return false;
}

/* As long as this turn may wait: not beyond the time for which another world's last turn would have waited. */
static uint64_t patience(const struct wr_sim_world *w)
{
    const struct wr_list *worlds = &w->sim->worlds;
    uint64_t until = w->until;
    for (const struct wr_list *node = worlds->next; node != worlds; node = node->next) {
        const struct wr_sim_world *other = wr_home(node, struct wr_sim_world, link);
        if (other->until > w->sim->now && other->until < until)
            until = other->until;
    }
    return until;
}

static bool is_dead(const struct weir_sim *sim)
{
    for (const struct wr_list *node = sim->worlds.next; node != &sim->worlds; node = node->next) {
        const struct wr_sim_world *w = wr_home(node, struct wr_sim_world, link);
        if (atomic_load(&w->awake) || has_something(w))
            return false;
    }
    return true;
}

static int wait(struct wr_sim_world *w)
{
    struct weir_sim *sim = w->sim;
    for (uint64_t until = patience(w);;) {
        run_due(sim);
        bool awake = atomic_exchange(&w->awake, false);
        if (awake || has_something(w) || sim->now >= until || must_make_way(w))
            return 0;
        uint64_t next = sim->first && sim->first->at < until ? sim->first->at : until;
        if (next == UINT64_MAX)
            return is_dead(sim) ? -EDEADLK : 0;
        sim->now = next;
    }
}

static int turn(struct wr_world *base, uint64_t wait_ns)
{
    struct wr_sim_world *w = home(base);
    struct weir_sim *sim = w->sim;
    uint64_t before = sim->now;
    base->enters++;
    w->until = wr_add_sat(sim->now, wait_ns);
    int rc = wait(w);
    if (sim->now == before && rc == 0)
        sim->now += TURN_NS;
    return rc;
}

static int flush(struct wr_world *base)
{
    return has_something(home(base)); /* what was started is in the kernel's hands already */
}

static void wake(struct wr_world *base)
{
    atomic_store(&home(base)->awake, true);
}

static uint64_t now(struct wr_world *base)
{
    return home(base)->sim->now;
}

static int no_fd(struct wr_world *base)
{
    (void)base;
    return -ENOTSUP;
}

/* ---- Sockets ---- */

static int open_socket(struct wr_world *base, int family)
{
    return wr_sim_socket(home(base)->sim, family);
}

static int open_listener(struct wr_world *base, const struct sockaddr *addr, socklen_t len, int backlog,
                         bool reuse_port)
{
    return wr_sim_listen(home(base)->sim, addr, len, backlog, reuse_port);
}

static int adopt_pipe(const struct wr_sim_sock *s, struct wr_adopted *ret_facts)
{
    bool reads = s->state == WR_SIM_READER;
    *ret_facts = (struct wr_adopted){.connected = true, .reads = reads, .writes = !reads,
                                     .traits = WR_FD_PLAIN | (reads ? WR_FD_NO_WRITE : WR_FD_NO_READ)};
    return 0;
}

static int adopt(struct wr_world *base, int fd, enum wr_want want, struct wr_adopted *ret_facts)
{
    const struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, fd);
    if (!s)
        return -EBADF;
    if (wr_sim_is_pipe(s))
        return want == WR_WANT_LISTENER ? -ENOTSOCK : adopt_pipe(s, ret_facts);
    if ((s->state == WR_SIM_LISTENING) != (want == WR_WANT_LISTENER))
        return -EINVAL;
    bool stream = want == WR_WANT_STREAM;
    *ret_facts = (struct wr_adopted){.socket = true, .connected = wr_sim_is_connected(s), .reads = stream,
                                     .writes = stream};
    return 0;
}

static int address(struct wr_world *base, int fd, bool peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    const struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, fd);
    return s ? wr_sim_address(s, peer, ret_addr, ret_len) : -EBADF;
}

static int option(struct wr_world *base, int fd, enum wr_socket_option what, int value)
{
    struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, fd);
    if (!s)
        return -EBADF;
    if (what == WR_SO_LINGER_RESET && wr_sim_is_pipe(s))
        return -ENOTSOCK;
    if (what == WR_SO_LINGER_RESET)
        s->linger_reset = value != 0;
    return 0;
}

static void discard(struct wr_world *base, int fd)
{
    struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, fd);
    wr_assert(s);
    wr_sim_close(s, false);
}

static int shed(struct wr_world *base, int listen_fd)
{
    struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, listen_fd);
    return s ? wr_sim_shed(s) : -EBADF;
}

/* ---- Sockets of others: simulated, too ---- */

static int watch(struct wr_world *base, int fd)
{
    return wr_sim_sock(home(base)->sim, fd) ? 0 : -EBADF;
}

static void unwatch(struct wr_world *base, int fd)
{
    struct wr_sim_sock *s = wr_sim_sock(home(base)->sim, fd);
    if (s)
        wr_sim_let_go(home(base), s);
}

/* ---- Life ---- */

static void close_world(struct wr_world *base)
{
    struct wr_sim_world *w = home(base);
    wr_assert(w->flying == 0);
    wr_sim_free_idle(w);
    wr_list_remove(&w->link);
    wr_bufpool_close(&base->pool);
    wr_free(w);
}

static const struct wr_world_ops sim_ops = {
    .name = "sim",
    .start = start,
    .cancel = cancel,
    .turn = turn,
    .reap = reap,
    .flush = flush,
    .wake = wake,
    .now = now,
    .fd = no_fd,
    .close = close_world,
    .socket = open_socket,
    .listen = open_listener,
    .adopt = adopt,
    .address = address,
    .option = option,
    .discard = discard,
    .shed = shed,
    .watch = watch,
    .unwatch = unwatch,
};

int wr_sim_attach(struct weir_sim *sim, const struct wr_world_options *opt, struct wr_report *report,
                  struct wr_world **ret_world)
{
    uint32_t size = opt->recv_buffer_size ? opt->recv_buffer_size : sim->recv_buffer_size;
    uint32_t count = opt->recv_buffers ? opt->recv_buffers : sim->recv_buffers;
    struct wr_sim_world *w = wr_alloc_zeroed(sizeof *w);
    if (!w || wr_bufpool_open(&w->base.pool, size, count) < 0) {
        wr_free(w);
        snprintf(report->why, sizeof report->why, "no memory for %u receive buffers of %u bytes", count, size);
        return -ENOMEM;
    }
    w->base.ops = &sim_ops;
    w->sim = sim;
    w->number = ++sim->world_count;
    wr_list_init(&w->link);
    wr_list_init(&w->ready);
    wr_list_init(&w->idle);
    wr_list_init(&w->refused);
    wr_list_push(&sim->worlds, &w->link);
    *ret_world = &w->base;
    return 0;
}
