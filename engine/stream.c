/* A stream's life: open, connect, serve, end.
 *
 * The end is a protocol: mark (CLOSING), cancel what is in flight, join it, serve what the buffer can still satisfy,
 * fail the rest in order (read, writes, connect), close the fd, on_close, free. Nothing is started after the mark but
 * the close itself, since `pump` and `arm` ask for the life first. */
#include "stream.h"

#include <errno.h>
#include <string.h>

static const uint64_t LINGER_TIMEOUT = 2000000000u;

void wr_stream_live(struct weir_stream *s, enum wr_life life)
{
    static const uint8_t successors[] = {
#define X(name, next) next,
        WR_LIFE(X)
#undef X
    };
    wr_assert(successors[s->life] & (1u << life));
    s->life = (uint8_t)life;
}

void wr_stream_task(struct weir_stream *s)
{
    wr_loop_task(s->loop, &s->task);
}

void wr_stream_check(const struct weir_stream *s)
{
    wr_assert(s->sendq.done <= s->sendq.queued && s->sendq.frozen <= s->sendq.queued - s->sendq.done);
    wr_assert(s->out.in_flight || !wr_sendq_is_frozen(&s->sendq));
    wr_assert(!s->hungry || s->match.kind != WR_MATCH_NONE);
    wr_assert(s->life != WR_LIFE_CLOSED || !wr_op_busy(&s->in));
#ifdef WR_CHECK
    wr_sendq_check(&s->sendq);
    wr_buf_check(&s->buf);
#endif
}

/* ---- What it was opened with ---- */

static int take_options(struct weir_stream *s, const struct weir_stream_options *opt)
{
    size_t size;
    s->on_close = opt->on_close;
    s->on_close_arg = opt->on_close_arg;
    if (!(s->opt = wr_terms_share(&s->loop->terms, opt)))
        return -ENOMEM;
    if (!opt->on_drain)
        return 0;
    if (!(s->drain = wr_cache_take(&s->loop->cache, sizeof *s->drain, &size)))
        return -ENOMEM;
    *s->drain = (struct wr_drain){opt->on_drain, opt->on_drain_arg, wr_context_capture(s->loop), size};
    return 0;
}

static void drop_options(struct weir_stream *s)
{
    if (s->opt)
        wr_terms_drop(s->opt);
    if (!s->drain)
        return;
    wr_context_drop(s->drain->context);
    wr_cache_give(&s->loop->cache, s->drain, s->drain->block_size);
}

/* ---- The end ---- */

static void finish(struct wr_op *op, const struct wr_result *r)
{
    struct weir_stream *s = wr_home(op, struct weir_stream, out);
    struct weir_loop *loop = s->loop;
    (void)r; /* the fd is gone in any case */
    wr_assert(s->life == WR_LIFE_CLOSED && !wr_op_busy(&s->in) && !wr_op_busy(&s->out));
    loop->stats.closed++;
    loop->stats.streams--;
    wr_loop_fd_freed(loop);
    struct wr_scope in;
    wr_enter(&in, loop, wr_context_share(s->close_context)); /* on_close may be replaced in itself */
    if (s->on_close)
        s->on_close(s, s->reason, s->on_close_arg);
    wr_leave(&in);
    wr_context_drop(s->close_context);
    wr_list_remove(&s->task.link);
    wr_list_remove(&s->resident.link);
    wr_loop_exempt_over(loop, &s->in);
    wr_stream_unbound(s);
    wr_layer_close(s);
    wr_buf_done(&s->buf);
    wr_sendq_done(&s->sendq);
    drop_options(s);
    wr_free(s);
}

void wr_stream_report_connect(struct weir_stream *s, int status)
{
    struct wr_connecting *c = s->bounds ? s->bounds->connecting : NULL;
    if (!c)
        return;
    struct wr_connecting told = *c;
    struct wr_scope in;
    s->bounds->connecting = NULL;
    wr_cache_give(&s->loop->cache, c, c->block_size);
    wr_stream_spare_bounds(s);
    wr_enter(&in, s->loop, told.context);
    told.fn(s, status, told.arg);
    wr_leave(&in);
}

/* Whoever else holds the socket, for whom a close is not its end, is a child, or has had it from its user. */
static bool is_sole(const struct weir_stream *s)
{
    return (s->out.traits & WR_FD_SOLE) && !wr_loop_has_forked(s->loop);
}

/* A child may hold it, too. What was left to the close, since it would be the end, is said now. Is there any? */
static bool give_up_sole(struct weir_stream *s)
{
    bool left = (s->out.traits & WR_FD_SOLE) && s->fin_wanted && !s->fin_sent;
    s->out.traits &= (uint8_t)~WR_FD_SOLE;
    if (left)
        wr_stream_fin(s);
    return left;
}

/* CLOSING: the ops are joined one by one; then everything that was asked for gets its answer. */
static void close_step(struct weir_stream *s)
{
    if (wr_op_busy(&s->in) || wr_op_busy(&s->out))
        return;
    int status = s->reason ? s->reason : -ECANCELED;
    wr_stream_serve(s);
    if (s->look)
        return; /* out of budget, and queued again */
    if (s->layer && wr_layer_parts(s))
        return; /* its last word is on the way */
    wr_stream_fail_read(s, status);
    wr_stream_fail_writes(s, status);
    wr_stream_report_connect(s, status);
    wr_layer_report(s, status);
    if (s->match.kind != WR_MATCH_NONE)
        return; /* a last callback asked for bytes that are there, and so queued the task */
    if (!is_sole(s) && give_up_sole(s))
        return;
    wr_stream_live(s, WR_LIFE_CLOSED);
    s->out.kind = WR_OP_CLOSE;
    s->out.flags = 0;
    s->out.done = finish;
    wr_start(s->loop->world, &s->out);
}

/* Nothing of a flush is left to do: what is queued is out, nothing comes any more, and our end has gone, or goes with
 * the close. (That would be a reset if the input had ended before the peer did.) */
static bool is_flushed(const struct weir_stream *s)
{
    int end = wr_stream_input_end(s);
    return end != 0 && !s->out.in_flight && wr_sendq_len(&s->sendq) == 0 && wr_layer_is_silent(s) &&
           (s->fin_sent || (end == WEIR_EOF && is_sole(s)));
}

/* FLUSHING and LINGERING: reads end, what is queued goes out, then FIN, then the peer's FIN is awaited. */
static void flush_step(struct weir_stream *s)
{
    wr_stream_serve(s);
    if (s->look || wr_stream_lends_memory(s))
        return;
    wr_stream_fail_read(s, s->reason ? s->reason : -ECANCELED);
    if (s->layer)
        wr_layer_flush(s);
    wr_stream_call_marks(s);
    if (is_flushed(s)) {
        wr_stream_end(s, WR_LIFE_CLOSING, s->reason);
        return;
    }
    wr_stream_pump(s);
    if (s->life == WR_LIFE_FLUSHING && s->fin_sent && !s->out.in_flight) {
        wr_stream_live(s, WR_LIFE_LINGERING);
        if (s->bounds->due.by[WR_BY_STATE] > wr_add_sat(s->loop->now, LINGER_TIMEOUT))
            wr_stream_set_limit(s, WR_BY_STATE, LINGER_TIMEOUT);
    }
    wr_stream_arm(s);
}

void wr_stream_end(struct weir_stream *s, enum wr_life life, int reason)
{
    if (s->life >= life)
        return;
    s->fin_wanted |= life == WR_LIFE_FLUSHING;
    if (life == WR_LIFE_FLUSHING && is_flushed(s))
        life = WR_LIFE_CLOSING;
    if (life == WR_LIFE_FLUSHING && wr_stream_bound(s) < 0) {
        life = WR_LIFE_CLOSING; /* for ever is too long */
        reason = reason ? reason : -ENOMEM;
    }
    if (s->life <= WR_LIFE_OPEN || (s->life == WR_LIFE_FLUSHING && reason != 0 && !wr_layer_has_said_all(s)))
        s->reason = reason; /* an error while flushing: what was queued did not all get out */
    wr_stream_live(s, life);
    if (life == WR_LIFE_FLUSHING) {
        s->drops = true;
        s->corked = false;
        wr_stream_set_limit(s, WR_BY_STATE, s->opt->flush_timeout_ns);
        if (wr_stream_lends_memory(s))
            wr_loop_cancel(s->loop, &s->in);
    } else {
        if (s->bounds)
            wr_deadlines_clear(&s->bounds->due, &s->loop->timers);
        wr_loop_cancel(s->loop, &s->in);
        wr_loop_cancel(s->loop, &s->out);
    }
    wr_stream_task(s);
}

static void evict(struct wr_resident *resident)
{
    wr_stream_end(wr_home(resident, struct weir_stream, resident), WR_LIFE_CLOSING, -ECANCELED);
}

static const struct wr_resident_kind residence = {.evict = evict};

/* ---- The task: what is left to do in this turn ---- */

static wr_apart void look_at_input(struct weir_stream *s)
{
    if (s->look)
        wr_stream_serve(s);
    wr_stream_reach_end(s);
    wr_stream_arm(s);
}

static void go_on(struct weir_stream *s)
{
    if (s->layer)
        wr_layer_step(s);
    wr_stream_call_marks(s);
    if (s->layer && wr_stream_queued(s) == 0)
        wr_stream_tell_drained(s); /* it may take bytes, and send none */
    if (s->look || s->layer)
        look_at_input(s);
    wr_stream_pump(s);
}

static wr_apart void begin_or_end(struct weir_stream *s)
{
    switch (s->life) {
    case WR_LIFE_FLUSHING:
    case WR_LIFE_LINGERING:
        flush_step(s);
        break;
    case WR_LIFE_CLOSING:
        close_step(s);
        break;
    case WR_LIFE_CONNECTING: /* reads and writes wait */
        if (s->ended != 0)
            wr_stream_fail_read(s, s->ended);
        break;
    default: /* closed: the close op tells */
        break;
    }
}

static void run(struct wr_task *task)
{
    struct weir_stream *s = wr_home(task, struct weir_stream, task);
    if (wr_likely(s->life == WR_LIFE_OPEN))
        go_on(s);
    else
        begin_or_end(s);
    wr_stream_check(s);
}

/* ---- Connecting ---- */

static void connect_done(struct wr_op *op, const struct wr_result *r)
{
    struct weir_stream *s = wr_home(op, struct weir_stream, out);
    op->done = wr_stream_send_done;
    if (s->life == WR_LIFE_CONNECTING && r->res == 0) {
        wr_deadline_unset(&s->bounds->due, WR_BY_STATE);
        wr_deadlines_settle(&s->bounds->due, &s->loop->timers);
        wr_stream_live(s, WR_LIFE_OPEN);
        wr_stream_stir(s);
        s->look = true;
        s->loop->stats.connected++;
        if (s->layer)
            wr_layer_open(s); /* which tells when it has begun */
        else
            wr_stream_report_connect(s, 0);
        if (s->flush_wanted)
            wr_stream_end(s, WR_LIFE_FLUSHING, 0);
    } else if (s->life == WR_LIFE_CONNECTING) {
        wr_stream_end(s, WR_LIFE_CLOSING, r->res);
    }
    wr_stream_task(s);
}

int weir_stream_connect(struct weir_stream *s, const struct sockaddr *addr, socklen_t addr_len, weir_connect_fn *fn,
                        void *arg)
{
    if (!s || !addr || !fn || addr_len < sizeof(sa_family_t) || addr_len > sizeof(struct sockaddr_storage))
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life != WR_LIFE_NEW)
        return s->life == WR_LIFE_CONNECTING ? -EALREADY : s->life == WR_LIFE_OPEN ? -EISCONN : WEIR_ECLOSED;
    size_t block_size;
    struct wr_connecting *c = wr_cache_take(&s->loop->cache, sizeof *c, &block_size);
    if (!c || wr_stream_bound(s) < 0) {
        wr_cache_give(&s->loop->cache, c, c ? block_size : 0);
        return -ENOMEM;
    }
    *c = (struct wr_connecting){
        .fn = fn, .arg = arg, .context = wr_context_capture(s->loop), .block_size = block_size};
    memcpy(&c->addr, addr, addr_len);
    s->bounds->connecting = c;
    s->dialed = true;
    wr_stream_live(s, WR_LIFE_CONNECTING);
    wr_stream_set_limit(s, WR_BY_STATE, s->opt->connect_timeout_ns);
    s->out.kind = WR_OP_CONNECT;
    s->out.flags = 0;
    s->out.u.connect.addr = (const struct sockaddr *)&c->addr;
    s->out.u.connect.len = addr_len;
    s->out.done = connect_done;
    wr_start(s->loop->world, &s->out);
    return 0;
}

/* ---- Opening ---- */

static int adopt(struct weir_loop *loop, int fd, const struct weir_stream_options *opt, struct wr_adopted *ret_facts)
{
    int rc = loop->world->ops->adopt(loop->world, fd, WR_WANT_STREAM, ret_facts);
    if (rc == 0 && ret_facts->socket && !opt->keep_delay) /* which it may do without */
        (void)loop->world->ops->option(loop->world, fd, WR_SO_NODELAY, 1);
    return rc;
}

static void set_facts(struct weir_stream *s, int fd, const struct wr_adopted *facts)
{
    s->in.fd = s->out.fd = fd;
    s->in.traits = s->out.traits = facts->traits;
    s->socket = facts->socket;
    s->reads = facts->reads;
    s->writes = facts->writes;
    s->life = facts->connected ? WR_LIFE_OPEN : WR_LIFE_NEW;
}

int wr_stream_new(struct weir_loop *loop, int fd, const struct wr_adopted *facts,
                  const struct weir_stream_options *opt, struct weir_stream **ret_stream)
{
    struct wr_adopted asked;
    struct weir_stream *s = wr_alloc_zeroed(opt->ext_size > 0 ? WR_STREAM_EXT + opt->ext_size : sizeof *s);
    if (!s)
        return -ENOMEM;
    s->loop = loop;
    int rc = take_options(s, opt);
    if (rc == 0 && wr_stream_has_limits(s))
        rc = wr_stream_bound(s);
    if (rc == 0 && !facts)
        rc = adopt(loop, fd, opt, &asked);
    if (rc < 0) {
        wr_stream_unbound(s);
        drop_options(s);
        wr_free(s);
        return rc;
    }
    set_facts(s, fd, facts ? facts : &asked);
    s->in.done = wr_stream_recv_done;
    s->out.done = wr_stream_send_done;
    wr_list_init(&s->in.link);
    wr_list_init(&s->out.link);
    wr_list_init(&s->task.link);
    wr_list_init(&s->resident.link);
    s->task.run = run;
    s->resident.kind = &residence;
    wr_buf_init(&s->buf);
    wr_sendq_init(&s->sendq, &loop->cache);
    s->close_context = wr_context_capture(loop);
    s->nodelay = !opt->keep_delay;
    wr_list_push(&loop->residents, &s->resident.link);
    loop->stats.streams++;
    if (s->life == WR_LIFE_OPEN) {
        wr_stream_stir(s);
        s->look = true;
        wr_stream_task(s);
    }
    *ret_stream = s;
    return 0;
}

/* As wr_stream_new, of options as they were given. */
static int open_stream(struct weir_loop *loop, int fd, const struct wr_adopted *facts,
                       const struct weir_stream_options *given, struct weir_stream **ret_stream)
{
    struct weir_stream_options opt;
    int rc = wr_loop_check(loop);
    if (rc == 0 && loop->closing)
        rc = WEIR_ECLOSED;
    if (rc == 0)
        rc = wr_terms_read(given, &opt);
    return rc < 0 ? rc : wr_stream_new(loop, fd, facts, &opt, ret_stream);
}

int weir_stream_open(struct weir_loop *loop, int fd, const struct weir_stream_options *given,
                     struct weir_stream **ret_stream)
{
    if (!(loop = wr_loop_or_default(loop)) || !ret_stream)
        return -EINVAL;
    return fd < 0 ? -EBADF : open_stream(loop, fd, NULL, given, ret_stream);
}

/* A stream of a socket that nobody has seen yet. */
static int open_fresh(struct weir_loop *loop, int family, const struct weir_stream_options *given,
                      struct weir_stream **ret_stream)
{
    const struct wr_world_ops *ops = loop->world->ops;
    struct wr_adopted fresh = {
        .socket = true, .reads = true, .writes = true, .traits = wr_family_traits(family) | WR_FD_SOLE};
    int fd = ops->socket(loop->world, family);
    int rc = fd < 0 ? fd : open_stream(loop, fd, &fresh, given, ret_stream);
    if (rc < 0 && fd >= 0)
        ops->discard(loop->world, fd);
    if (rc == 0 && (*ret_stream)->nodelay) /* which it may do without */
        (void)ops->option(loop->world, fd, WR_SO_NODELAY, 1);
    return rc;
}

int weir_connect_addr(struct weir_loop *loop, const struct sockaddr *addr, socklen_t addr_len,
                      const struct weir_stream_options *opt, weir_connect_fn *fn, void *arg,
                      struct weir_stream **ret_stream)
{
    struct weir_stream *s;
    if (!(loop = wr_loop_or_default(loop)) || !addr || addr_len < sizeof(sa_family_t) || !fn || !ret_stream)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0 || (rc = open_fresh(loop, addr->sa_family, opt, &s)) < 0)
        return rc;
    if ((rc = weir_stream_connect(s, addr, addr_len, fn, arg)) < 0) {
        s->on_close = NULL; /* the caller never had it */
        wr_stream_end(s, WR_LIFE_CLOSING, rc);
        return rc;
    }
    *ret_stream = s;
    return 0;
}

int weir_stream_close(struct weir_stream *s, int manner)
{
    if (!s)
        return 0;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (manner < WEIR_CLOSE_NOW || manner > WEIR_CLOSE_RESET)
        return -EINVAL;
    if (manner == WEIR_CLOSE_RESET && s->life < WR_LIFE_CLOSED) {
        (void)s->loop->world->ops->option(s->loop->world, s->out.fd, WR_SO_LINGER_RESET, 1);
        s->fin_wanted = false;
        if (s->layer)
            s->layer->shut = true; /* it has nothing to add */
    }
    if (manner != WEIR_CLOSE_FLUSH || s->life == WR_LIFE_NEW)
        wr_stream_end(s, WR_LIFE_CLOSING, 0);
    else if (s->life == WR_LIFE_CONNECTING)
        s->flush_wanted = true;
    else
        wr_stream_end(s, WR_LIFE_FLUSHING, 0);
    return 0;
}
