/* Accepting. A limit on descriptors is met by shedding one waiting connection, then a pause; a closing stream ends
 * the pause early. Level 6. */
#include <errno.h>
#include <string.h>

#include "context.h"
#include "options.h"
#include "stream.h"

enum { BACKLOG = 4096 };

static const uint64_t PAUSE_MIN = 10000000u, PAUSE_MAX = 1000000000u; /* ns; doubles while errors go on */

struct weir_listener {
    struct wr_op op;
    struct wr_task task;    /* accept again */
    struct wr_timer timer;  /* the pause */
    struct wr_resident resident;
    struct weir_loop *loop;
    struct weir_context *context;
    weir_accept_fn *fn;
    void *arg;
    uint64_t pause;
    bool closing;
    uint8_t traits;         /* of what it accepts */
    struct weir_stream_options stream;
};

static void closed(struct wr_op *op, const struct wr_result *r)
{
    struct weir_listener *l = wr_home(op, struct weir_listener, op);
    (void)r;
    wr_list_remove(&l->task.link);
    wr_timers_unset(&l->loop->timers, &l->timer);
    l->op.fd = -1;
    wr_loop_fd_freed(l->loop);
    wr_loop_bury(l->loop, &l->resident);
}

static void bury(struct wr_resident *resident)
{
    struct weir_listener *l = wr_home(resident, struct weir_listener, resident);
    wr_timers_leave(&l->loop->timers, &l->timer);
    wr_context_drop(l->context);
    wr_free(l);
}

static void close_fd(struct weir_listener *l)
{
    l->op.kind = WR_OP_CLOSE;
    l->op.flags = 0;
    l->op.done = closed;
    wr_start(l->loop->world, &l->op);
}

static void admit(struct weir_listener *l, int fd)
{
    struct wr_adopted fresh = {
        .socket = true, .connected = true, .reads = true, .writes = true, .traits = l->traits | WR_FD_SOLE};
    struct weir_stream *s = NULL;
    struct wr_scope in;
    wr_enter(&in, l->loop, wr_context_share(l->context));
    int rc = wr_stream_new(l->loop, fd, &fresh, &l->stream, &s);
    if (rc < 0) {
        l->loop->world->ops->discard(l->loop->world, fd);
    } else {
        l->pause = PAUSE_MIN;
        l->loop->stats.accepted++;
    }
    l->fn(l, rc, s, l->arg);
    wr_leave(&in);
}

/* What only this connection met; the next one may fare better at once. */
static bool passes(const struct wr_op *op, int res)
{
    return wr_stream_again(op, res) || res == -ECONNABORTED || res == -EPROTO;
}

static void pause_accepting(struct weir_listener *l, int res)
{
    l->loop->stats.accept_errors++;
    if (res == -EMFILE || res == -ENFILE)
        (void)l->loop->world->ops->shed(l->loop->world, l->op.fd);
    wr_timers_set(&l->loop->timers, &l->timer, wr_add_sat(l->loop->now, l->pause));
    l->pause = l->pause * 2 < PAUSE_MAX ? l->pause * 2 : PAUSE_MAX;
    wr_loop_park(l->loop, &l->task);
    struct wr_scope in;
    wr_enter(&in, l->loop, wr_context_share(l->context));
    l->fn(l, res, NULL, l->arg);
    wr_leave(&in);
}

static void accepted(struct wr_op *op, const struct wr_result *r)
{
    struct weir_listener *l = wr_home(op, struct weir_listener, op);
    if (l->closing && r->res >= 0)
        l->loop->world->ops->discard(l->loop->world, r->res);
    else if (r->res >= 0)
        admit(l, r->res);
    else if (!l->closing && !passes(op, r->res))
        pause_accepting(l, r->res);
    if (!op->in_flight && (l->closing || !wr_timer_is_set(&l->timer)))
        wr_loop_task(l->loop, &l->task);
}

static void accept_again(struct wr_task *task)
{
    struct weir_listener *l = wr_home(task, struct weir_listener, task);
    wr_timers_unset(&l->loop->timers, &l->timer);
    if (l->op.in_flight)
        return;
    if (l->closing)
        close_fd(l);
    else
        wr_start(l->loop->world, &l->op);
}

static void pause_over(struct wr_timer *timer)
{
    struct weir_listener *l = wr_home(timer, struct weir_listener, timer);
    wr_list_remove(&l->task.link); /* from the parked */
    wr_loop_task(l->loop, &l->task);
}

static void begin_close(struct weir_listener *l)
{
    if (l->closing)
        return;
    l->closing = true;
    wr_loop_cancel(l->loop, &l->op);
    wr_list_remove(&l->task.link);
    wr_loop_task(l->loop, &l->task);
}

static void evict(struct wr_resident *resident)
{
    begin_close(wr_home(resident, struct weir_listener, resident));
}

static const struct wr_resident_kind residence = {.evict = evict, .bury = bury};

/* *ret_traits: of what it accepts. */
static int open_socket(struct weir_loop *loop, const struct weir_listen_options *opt, bool delay,
                       uint8_t *ret_traits)
{
    struct wr_world *w = loop->world;
    struct wr_adopted facts;
    int rc = opt->addr ? w->ops->listen(w, opt->addr, opt->addr_len, opt->backlog ? opt->backlog : BACKLOG,
                                        opt->reuse_port != 0)
                       : w->ops->adopt(w, opt->fd, WR_WANT_LISTENER, &facts);
    if (rc < 0)
        return rc;
    int fd = opt->addr ? rc : opt->fd;
    if (!delay) /* accepted sockets inherit it, and may do without */
        (void)w->ops->option(w, fd, WR_SO_NODELAY, 1);
    *ret_traits = opt->addr ? wr_family_traits(opt->addr->sa_family) : facts.traits & WR_FD_TCP;
    return fd;
}

/* The socket comes last: what is refused stays as it was. */
static int make(struct weir_loop *loop, const struct weir_listen_options *opt,
                const struct weir_stream_options *stream, weir_accept_fn *fn, void *arg,
                struct weir_listener **ret_listener)
{
    struct weir_listener *l = wr_alloc_zeroed(sizeof *l);
    if (!l)
        return -ENOMEM;
    int fd = wr_timers_join(&loop->timers, &l->timer, pause_over);
    if (fd == 0 && (fd = open_socket(loop, opt, stream->keep_delay != 0, &l->traits)) < 0)
        wr_timers_leave(&loop->timers, &l->timer);
    if (fd < 0) {
        wr_free(l);
        return fd;
    }
    l->loop = loop;
    l->context = wr_context_capture(loop);
    l->fn = fn;
    l->arg = arg;
    l->pause = PAUSE_MIN;
    l->stream = *stream;
    l->op = (struct wr_op){.done = accepted, .fd = fd, .kind = WR_OP_ACCEPT, .flags = WR_OP_MULTI};
    l->task.run = accept_again;
    l->resident.kind = &residence;
    wr_list_init(&l->op.link);
    wr_list_init(&l->task.link);
    wr_list_init(&l->resident.link);
    wr_list_push(&loop->residents, &l->resident.link);
    wr_loop_task(loop, &l->task);
    *ret_listener = l;
    return 0;
}

int weir_listen(struct weir_loop *loop, const struct weir_listen_options *given, weir_accept_fn *fn, void *arg,
                struct weir_listener **ret_listener)
{
    struct weir_listen_options opt = {0};
    struct weir_stream_options stream;
    if (!(loop = wr_loop_or_default(loop)) || !given || !fn || !ret_listener)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc == 0 && loop->closing)
        rc = WEIR_ECLOSED;
    if (rc == 0)
        rc = wr_options_copy(&opt, sizeof opt, given);
    if (rc == 0 && opt.backlog < 0)
        rc = -EINVAL;
    if (rc == 0)
        rc = wr_terms_read(opt.stream, &stream);
    return rc < 0 ? rc : make(loop, &opt, &stream, fn, arg, ret_listener);
}

int weir_listener_address(struct weir_listener *l, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    if (!l || !ret_addr || !ret_len)
        return -EINVAL;
    int rc = wr_loop_check(l->loop);
    return rc < 0 ? rc : l->loop->world->ops->address(l->loop->world, l->op.fd, false, ret_addr, ret_len);
}

int weir_listener_close(struct weir_listener *l)
{
    if (!l)
        return 0;
    int rc = wr_loop_check(l->loop);
    if (rc < 0)
        return rc;
    begin_close(l);
    return 0;
}
