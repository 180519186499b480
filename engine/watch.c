/* Readiness of descriptors that are the user's: weir_watch_*. Level 4.
 *
 * A watch has at most one poll in flight. It is started by the task and nowhere else, so that fn is called once a turn
 * at most; one that was started for other events than are wanted by now is cancelled. The watch is freed by the task,
 * too, once its last poll has ended. */
#include <errno.h>
#include <poll.h>

#include "context.h"

enum { TOLD_ANYWAY = WEIR_HANGUP | WEIR_ERROR, ALL = WEIR_READABLE | WEIR_WRITABLE | TOLD_ANYWAY };

struct weir_watch {
    struct wr_op op;
    struct wr_task task;
    struct wr_resident resident;
    struct weir_loop *loop;
    struct weir_context *context;
    weir_watch_fn *fn;
    void *arg;
    unsigned events;        /* wanted; 0: it rests */
    bool closed;
};

static uint32_t to_poll(unsigned events)
{
    return (events & WEIR_READABLE ? POLLIN : 0) | (events & WEIR_WRITABLE ? POLLOUT : 0);
}

static unsigned from_poll(int revents)
{
    return (revents & POLLIN ? WEIR_READABLE : 0) | (revents & POLLOUT ? WEIR_WRITABLE : 0) |
           (revents & POLLHUP ? WEIR_HANGUP : 0) | (revents & POLLERR ? WEIR_ERROR : 0);
}

/* Nothing happened; a poll is cancelled by nobody else than `rest`. */
static bool passes(int res)
{
    return res == -EINTR || res == -EAGAIN || res == -ECANCELED;
}

static void report(struct weir_watch *w, int res)
{
    unsigned events = res > 0 ? from_poll(res) & (w->events | TOLD_ANYWAY) : 0;
    if (w->events == 0 || passes(res) || (res >= 0 && events == 0))
        return;
    if (res < 0)
        w->events = 0;
    struct wr_scope in;
    wr_enter(&in, w->loop, wr_context_share(w->context));
    w->fn(w, res < 0 ? res : 0, events, w->arg);
    wr_leave(&in);
}

static void polled(struct wr_op *op, const struct wr_result *r)
{
    struct weir_watch *w = wr_home(op, struct weir_watch, op);
    report(w, r->res);
    wr_loop_task(w->loop, &w->task);
}

static void go_on(struct wr_task *task)
{
    struct weir_watch *w = wr_home(task, struct weir_watch, task);
    if (w->op.in_flight)
        return;
    if (w->closed) {
        wr_loop_bury(w->loop, &w->resident);
    } else if (w->events) {
        w->op.u.events = to_poll(w->events);
        wr_start(w->loop->world, &w->op);
    }
}

static void want(struct weir_watch *w, unsigned events)
{
    w->events = events;
    if (w->op.in_flight && (events == 0 || w->op.u.events != to_poll(events)))
        wr_cancel(w->loop->world, &w->op);
    wr_loop_task(w->loop, &w->task);
}

static void end(struct weir_watch *w)
{
    if (w->closed)
        return;
    w->closed = true;
    want(w, 0);
    w->loop->world->ops->unwatch(w->loop->world, w->op.fd);
}

static void evict(struct wr_resident *resident)
{
    end(wr_home(resident, struct weir_watch, resident));
}

static void bury(struct wr_resident *resident)
{
    struct weir_watch *w = wr_home(resident, struct weir_watch, resident);
    wr_context_drop(w->context);
    wr_free(w);
}

static const struct wr_resident_kind residence = {.evict = evict, .bury = bury};

int weir_watch_open(struct weir_loop *loop, int fd, unsigned events, weir_watch_fn *fn, void *arg,
                    struct weir_watch **ret_watch)
{
    if (!(loop = wr_loop_or_default(loop)) || !fn || !ret_watch || events & ~(unsigned)ALL)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc == 0 && loop->closing)
        rc = WEIR_ECLOSED;
    if (rc < 0)
        return rc;
    struct weir_watch *w = wr_alloc_zeroed(sizeof *w);
    if (!w)
        return -ENOMEM;
    if ((rc = loop->world->ops->watch(loop->world, fd)) < 0) {
        wr_free(w);
        return rc;
    }
    w->loop = loop;
    w->context = wr_context_capture(loop);
    w->fn = fn;
    w->arg = arg;
    w->op = (struct wr_op){.done = polled, .fd = fd, .kind = WR_OP_POLL};
    w->task.run = go_on;
    w->resident.kind = &residence;
    wr_list_init(&w->op.link);
    wr_list_init(&w->task.link);
    wr_list_init(&w->resident.link);
    wr_list_push(&loop->residents, &w->resident.link);
    want(w, events);
    *ret_watch = w;
    return 0;
}

int weir_watch_update(struct weir_watch *w, unsigned events)
{
    if (!w || events & ~(unsigned)ALL)
        return -EINVAL;
    int rc = wr_loop_check(w->loop);
    if (rc == 0 && w->closed)
        rc = WEIR_ECLOSED;
    if (rc < 0)
        return rc;
    want(w, events);
    return 0;
}

int weir_watch_close(struct weir_watch *w)
{
    if (!w)
        return 0;
    int rc = wr_loop_check(w->loop);
    if (rc < 0)
        return rc;
    end(w);
    return 0;
}
