/* The epoll world: readiness made into completions.
 *
 * Each descriptor is registered once, edge-triggered, and for room to send once a send found none. What the kernel said
 * last is remembered, so that an op either moves bytes at once or waits for the next edge. An op in flight is in one of
 * three places: waiting (in no list), `ready` (to be tried by reap) or `finished` (its result stands in world[]). */
#include "epoll.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { WAKE_FD = 0 };   /* generation 0 belongs to the wake-up alone */

static struct wr_epoll *of(struct wr_world *w)
{
    return wr_home(w, struct wr_epoll, w);
}

/* ---- Seats ---- */

static struct wr_seat *find_seat(struct wr_epoll *ep, int fd)
{
    size_t want = (size_t)fd + 1;
    if (want > ep->seat_count) {
        size_t count = wr_max(want, ep->seat_count ? ep->seat_count / 2 * 3 : 64);
        struct wr_seat *seats = wr_realloc(ep->seats, count * sizeof *seats);
        if (!seats)
            return NULL;
        memset(seats + ep->seat_count, 0, (count - ep->seat_count) * sizeof *seats);
        ep->seats = seats;
        ep->seat_count = count;
    }
    return &ep->seats[fd];
}

static int tell_kernel(struct wr_epoll *ep, struct wr_seat *seat, int fd, int how, bool room)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (room ? EPOLLOUT : 0),
                             .data.u64 = (uint64_t)seat->generation << 32 | (uint32_t)fd};
    if (epoll_ctl(ep->epfd, how, fd, &ev) < 0)
        return -errno;
    seat->registered = true;
    seat->room = room;
    return 0;
}

/* `room`: for room to send, too, which few ever wait for, and which each would be told of when it begins. */
static int register_fd(struct wr_epoll *ep, struct wr_seat *seat, int fd, uint8_t traits, bool room)
{
    if (seat->registered)
        return room && !seat->room ? tell_kernel(ep, seat, fd, EPOLL_CTL_MOD, true) : 0;
    ep->generation = ep->generation == UINT32_MAX ? 1 : ep->generation + 1;
    seat->generation = ep->generation;
    seat->readable = false;
    seat->short_is_empty = traits & WR_FD_TCP; /* on a unix socket it also ends where descriptors were sent along */
    return tell_kernel(ep, seat, fd, EPOLL_CTL_ADD, room);
}

/* The close of the last descriptor of a file does it, too. A duplicate elsewhere would keep it registered. */
static void clear(struct wr_epoll *ep, struct wr_seat *seat, int fd, bool sole)
{
    if (seat->registered && !sole)
        epoll_ctl(ep->epfd, EPOLL_CTL_DEL, fd, NULL);
    *seat = (struct wr_seat){0};
}

static bool is_in(const struct wr_op *op)
{
    return op->kind == WR_OP_ACCEPT || op->kind == WR_OP_RECV;
}

static struct wr_op *next_op(const struct wr_op *op)
{
    return (struct wr_op *)(uintptr_t)op->world[1];
}

static void sit_down(struct wr_seat *seat, struct wr_op *op)
{
    for (const struct wr_op *other = op->kind == WR_OP_POLL ? NULL : seat->ops; other; other = next_op(other))
        wr_assert(other->kind == WR_OP_POLL || is_in(op) != is_in(other));
    op->world[1] = (uintptr_t)seat->ops;
    seat->ops = op;
}

/* Returns whether it sat there: an op that has its result does not. */
static bool stand_up(struct wr_seat *seat, const struct wr_op *op)
{
    struct wr_op *before = NULL, *at = seat->ops;
    for (; at && at != op; at = next_op(at))
        before = at;
    if (at && before)
        before->world[1] = op->world[1];
    else if (at)
        seat->ops = next_op(op);
    return at;
}

/* ---- Results ---- */

static void finish(struct wr_epoll *ep, struct wr_op *op, int res)
{
    if (op->fd >= 0 && (size_t)op->fd < ep->seat_count)
        stand_up(&ep->seats[op->fd], op);
    op->world[0] = (uint64_t)(int64_t)res;
    wr_list_remove(&op->link);
    wr_list_push(&ep->finished, &op->link);
}

static bool try(struct wr_epoll *ep, struct wr_op *op, struct wr_result *r)
{
    struct wr_seat *seat = &ep->seats[op->fd];
    if (!wr_epoll_try(ep, seat, op, r))
        return false;
    if (!r->more)
        stand_up(seat, op);
    return true;
}

/* ---- Starting ---- */

static void start_connect(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op)
{
    int rc = connect(op->fd, op->u.connect.addr, op->u.connect.len) < 0 ? -errno : 0;
    if (rc == -EAGAIN)
        rc = -ECONNREFUSED; /* a unix socket's backlog is full; nothing would tell when it is not */
    bool pending = rc == -EINPROGRESS || rc == -EINTR;
    int registered = register_fd(ep, seat, op->fd, op->traits, true);
    if (!pending || registered < 0)
        finish(ep, op, rc == 0 || pending ? registered : rc);
}

static void start_close(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op)
{
    wr_assert(seat->ops == op && !next_op(op));
    clear(ep, seat, op->fd, op->traits & WR_FD_SOLE);
    wr_net_restore(&ep->net, op->fd, op->traits);
    finish(ep, op, close(op->fd) < 0 ? -errno : 0);
}

/* There is room most often: it is tried at once. If room comes before it is asked for, that is told, too. */
static void start_send(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op)
{
    struct wr_result r;
    bool done = try(ep, op, &r);
    int rc = done ? r.res : register_fd(ep, seat, op->fd, op->traits, true);
    if (done || rc < 0)
        finish(ep, op, rc);
}

static void start_in(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op)
{
    int rc = register_fd(ep, seat, op->fd, op->traits, false);
    if (rc < 0)
        finish(ep, op, rc);
    else if (seat->readable)
        wr_list_push(&ep->ready, &op->link);
}

/* What epoll refuses to wait for, such as a regular file, is always ready: poll(2) will tell. */
static void start_poll(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op)
{
    int rc = register_fd(ep, seat, op->fd, op->traits, op->u.events & POLLOUT);
    if (rc < 0 && rc != -EPERM)
        finish(ep, op, rc);
    else
        wr_list_push(&ep->ready, &op->link);
}

static void start(struct wr_world *w, struct wr_op *op)
{
    struct wr_epoll *ep = of(w);
    struct wr_seat *seat = find_seat(ep, op->fd);
    if (!seat) {
        finish(ep, op, -ENOMEM);
        return;
    }
    sit_down(seat, op);
    int refusal = wr_unlikely(op->traits & WR_FD_PLAIN) ? wr_plain_refusal(op) : 0;
    if (refusal < 0)
        finish(ep, op, refusal);
    else if (is_in(op))
        start_in(ep, seat, op);
    else if (op->kind == WR_OP_POLL)
        start_poll(ep, seat, op);
    else if (op->kind == WR_OP_CONNECT)
        start_connect(ep, seat, op);
    else if (op->kind == WR_OP_SEND || op->kind == WR_OP_SENDFILE)
        start_send(ep, seat, op);
    else if (op->kind == WR_OP_CLOSE)
        start_close(ep, seat, op);
    else
        finish(ep, op, shutdown(op->fd, op->u.how) < 0 ? -errno : 0);
}

static void cancel(struct wr_world *w, struct wr_op *op)
{
    struct wr_epoll *ep = of(w);
    if ((size_t)op->fd >= ep->seat_count || !stand_up(&ep->seats[op->fd], op))
        return; /* finished, and not reaped yet */
    finish(ep, op, op->kind == WR_OP_SEND && op->world[0] > 0 ? (int)op->world[0] : -ECANCELED);
}

/* ---- The turn ---- */

static void make_ready(struct wr_epoll *ep, struct wr_op *op)
{
    if (wr_list_empty(&op->link))
        wr_list_push(&ep->ready, &op->link);
}

static void take_event(struct wr_epoll *ep, const struct epoll_event *ev)
{
    uint32_t generation = (uint32_t)(ev->data.u64 >> 32);
    if (generation == WAKE_FD) {
        wr_net_lower(ep->wake_fd);
        atomic_exchange(&ep->waking, false); /* not before: the read would swallow a wake that counts on being told */
        return;
    }
    struct wr_seat *seat = &ep->seats[(uint32_t)ev->data.u64];
    if (seat->generation != generation)
        return;
    /* The peer's end stands behind the bytes, and a receive stops at an urgent one: read on until there is nothing. */
    if (ev->events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        seat->short_is_empty = false;
    if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        seat->readable = true;
    bool room = ev->events & (EPOLLOUT | EPOLLHUP | EPOLLERR);
    for (struct wr_op *op = seat->ops; op; op = next_op(op))
        if (op->kind == WR_OP_POLL || (is_in(op) ? seat->readable : room))
            make_ready(ep, op);
}

static int wait_for_events(struct wr_epoll *ep, uint64_t wait_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(wait_ns / 1000000000u), .tv_nsec = (long)(wait_ns % 1000000000u)};
    ep->w.enters++;
    if (!ep->no_pwait2) {
        int n = epoll_pwait2(ep->epfd, ep->events, WR_EPOLL_EVENTS, wait_ns == UINT64_MAX ? NULL : &ts, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n < 0 ? -errno : n;
        wr_report_feature(&ep->w.report, "epoll_pwait2", WR_FEATURE_ABSENT, -errno);
        ep->no_pwait2 = true;
    }
    uint64_t ms = wait_ns / 1000000 + (wait_ns % 1000000 != 0);
    int n = epoll_wait(ep->epfd, ep->events, WR_EPOLL_EVENTS, wait_ns == UINT64_MAX ? -1 : (int)wr_min(ms, 1 << 30));
    return n < 0 ? -errno : n;
}

/* A few: one brings a receive and a send, as a rule. Where more was served than that, since ops go on without being
 * told of anything, whoever waits in the kernel's queue must not wait for those again and again. */
static int take_events(struct wr_epoll *ep, uint64_t wait_ns)
{
    unsigned taken = 0, fair = ep->served / 2;
    int n;
    ep->served = 0;
    do {
        n = wait_for_events(ep, taken > 0 ? 0 : wait_ns);
        for (int i = 0; i < n; i++, taken++)
            take_event(ep, &ep->events[i]);
    } while (n == WR_EPOLL_EVENTS && taken < fair);
    return n < 0 && n != -EINTR ? n : 0;
}

static int turn(struct wr_world *w, uint64_t wait_ns)
{
    struct wr_epoll *ep = of(w);
    struct wr_list *node;
    while ((node = wr_list_pop(&ep->again))) {
        wr_home(node, struct wr_op, link)->world[0] = 0;
        wr_list_push(&ep->ready, node);
    }
    bool busy = !wr_list_empty(&ep->ready) || !wr_list_empty(&ep->finished);
    if (busy && !ep->rested) {
        ep->rested = true; /* there is work already; but never twice in a row without asking the kernel */
        return 0;
    }
    ep->rested = false;
    return take_events(ep, busy ? 0 : wait_ns);
}

static unsigned reap(struct wr_world *w, struct wr_result *out, unsigned max)
{
    struct wr_epoll *ep = of(w);
    struct wr_list *node;
    unsigned n = 0;
    while (n < max && (node = wr_list_pop(&ep->finished))) {
        struct wr_op *op = wr_home(node, struct wr_op, link);
        out[n++] = (struct wr_result){.op = op, .res = (int)(int64_t)op->world[0]};
    }
    while (n < max && (node = wr_list_pop(&ep->ready)))
        n += try(ep, wr_home(node, struct wr_op, link), &out[n]);
    ep->served += n;
    return n;
}

static int flush(struct wr_world *w)
{
    struct wr_epoll *ep = of(w); /* everything was handed over as it was started */
    return !wr_list_empty(&ep->ready) || !wr_list_empty(&ep->again) || !wr_list_empty(&ep->finished);
}

static void wake(struct wr_world *w)
{
    struct wr_epoll *ep = of(w);
    if (!atomic_exchange(&ep->waking, true))
        wr_net_raise(ep->wake_fd);
}

/* What stands in lists does not show on it: `flush` tells. */
static int get_fd(struct wr_world *w)
{
    return of(w)->epfd;
}

/* ---- Descriptors of others ---- */

static int watch(struct wr_world *w, int fd)
{
    int rc = wr_net_check(fd);
    if (rc < 0)
        return rc; /* or any number would get a seat */
    struct wr_seat *seat = find_seat(of(w), fd);
    rc = seat ? register_fd(of(w), seat, fd, 0, false) : -ENOMEM;
    if (rc < 0 && rc != -EPERM)
        return rc;
    if (seat->watchers == UINT16_MAX)
        return -EBUSY;
    seat->watchers++;
    return 0;
}

static void unwatch(struct wr_world *w, int fd)
{
    struct wr_seat *seat = &of(w)->seats[fd];
    if (seat->watchers > 0)
        seat->watchers--;
    if (seat->watchers == 0 && !seat->ops)
        clear(of(w), seat, fd, false);
}

/* ---- Opening and closing ---- */

static void free_world(struct wr_epoll *ep)
{
    if (ep->epfd >= 0)
        close(ep->epfd);
    if (ep->wake_fd >= 0)
        close(ep->wake_fd);
    wr_net_close(&ep->net);
    if (ep->w.pool.memory)
        wr_bufpool_close(&ep->w.pool);
    wr_free(ep->seats);
    wr_free(ep);
}

static void close_world(struct wr_world *w)
{
    struct wr_epoll *ep = of(w);
    wr_assert(wr_list_empty(&ep->ready) && wr_list_empty(&ep->again) && wr_list_empty(&ep->finished));
    free_world(ep);
}

static const struct wr_world_ops epoll_ops = {
    .name = "epoll",
    .start = start,
    .cancel = cancel,
    .turn = turn,
    .reap = reap,
    .flush = flush,
    .wake = wake,
    .now = wr_net_now,
    .fd = get_fd,
    .close = close_world,
    .socket = wr_net_socket,
    .listen = wr_net_listen,
    .adopt = wr_net_adopt,
    .address = wr_net_address,
    .option = wr_net_option,
    .discard = wr_net_discard,
    .shed = wr_net_shed,
    .watch = watch,
    .unwatch = unwatch,
};

static int open_fds(struct wr_epoll *ep)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)WAKE_FD << 32};
    ep->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (ep->epfd < 0)
        return -errno;
    ep->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ep->wake_fd < 0 || epoll_ctl(ep->epfd, EPOLL_CTL_ADD, ep->wake_fd, &ev) < 0)
        return -errno;
    return 0;
}

int wr_epoll_open(const struct wr_world_options *opt, struct wr_report *report, struct wr_world **ret_world)
{
    struct wr_epoll *ep = wr_alloc_zeroed(sizeof *ep);
    if (!ep)
        return wr_report_refusal(report, "epoll", "memory", -ENOMEM, "");
    ep->w.ops = &epoll_ops;
    ep->w.net = &ep->net;
    ep->epfd = ep->wake_fd = -1;
    wr_list_init(&ep->ready);
    wr_list_init(&ep->again);
    wr_list_init(&ep->finished);
    ep->no_pwait2 = wr_masked(opt->mask, "epoll_pwait2");
    wr_report_feature(report, "epoll_pwait2", ep->no_pwait2 ? WR_FEATURE_MASKED : WR_FEATURE_USED, 0);
    wr_net_open(&ep->net, true);
    wr_plain_open(&ep->net, opt->mask, report);
    int rc = open_fds(ep);
    if (rc == 0)
        rc = wr_bufpool_open(&ep->w.pool, opt->recv_buffer_size, opt->recv_buffers);
    if (rc < 0) {
        free_world(ep);
        return wr_report_refusal(report, "epoll", "opening it", rc, "");
    }
    *ret_world = &ep->w;
    return 0;
}
