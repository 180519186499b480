/* The io_uring world: ops become submission queue entries, completions become results.
 *
 * Everything that was started since the last turn is submitted by the one io_uring_enter that also waits. An op that
 * the full queue cannot take stands in a list and is tried again; the owner never hears of it. */
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BULK_MIN = 65536,   /* bytes of a send for which one completion at its end is worth a system call more */
    SEND_FLAGS = MSG_NOSIGNAL
};

/* ---- The system call ---- */

/* Publish what was prepared. Counting from the kernel's own head, entries that an interrupted call left behind are
 * handed over again by the next one. */
static unsigned publish(struct wr_uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

int wr_uring_enter(struct wr_uring *u, unsigned wait_nr, uint64_t wait_ns)
{
    struct __kernel_timespec ts = {.tv_sec = (long long)(wait_ns / 1000000000u),
                                   .tv_nsec = (long long)(wait_ns % 1000000000u)};
    struct io_uring_getevents_arg arg = {.ts = wait_ns == UINT64_MAX ? 0 : (uint64_t)(uintptr_t)&ts};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (u->ext_ring_fd)
        flags |= IORING_ENTER_REGISTERED_RING;
    u->w.enters++;
    int rc = io_uring_enter2((unsigned)u->ring.enter_ring_fd, publish(u), wait_nr, flags, (void *)&arg, sizeof arg);
    wr_uring_note_quiet(u);
    switch (rc) {
    case -ETIME:
    case -EINTR:    /* the next turn goes on */
    case -EAGAIN:
    case -EBUSY:    /* completions must be reaped first */
        return 0;
    default:
        return rc < 0 ? rc : 0;
    }
}

static wr_apart struct io_uring_sqe *make_room(struct wr_uring *u)
{
    (void)wr_uring_enter(u, 0, 0);
    return io_uring_get_sqe(&u->ring);
}

/* An entry to fill, after handing over what is queued if need be; NULL if the kernel takes no more for now. */
static struct io_uring_sqe *get_sqe(struct wr_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    return wr_likely(sqe != NULL) ? sqe : make_room(u);
}

/* ---- Starting ---- */

void wr_uring_finish(struct wr_uring *u, struct wr_op *op, int res)
{
    op->world[0] = (uint64_t)(int64_t)res;
    wr_list_remove(&op->link);
    wr_list_push(&u->finished, &op->link);
}

/* Unix sockets get the simplest kinds of receive and send. On some kernels a multishot receive misses the end of a peer
 * that sends and shuts down at once; and a send for all its bytes, once it waits in a worker of the kernel, takes no
 * notice of a cancel. */
static void prep_recv(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    if (op->u.recv.base) {
        io_uring_prep_recv(sqe, op->fd, op->u.recv.base, wr_min(op->u.recv.len, 1 << 30), 0);
    } else if (u->bufs) {
        io_uring_prep_recv(sqe, op->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = 0;
        if ((op->flags & WR_OP_MULTI) && u->multishot_recv && (op->traits & WR_FD_TCP))
            sqe->ioprio |= IORING_RECV_MULTISHOT;
    } else {
        wr_uring_prep_step(u, sqe, op);
    }
}

static bool is_bulk(const struct wr_op *op)
{
    return wr_op_bytes(op) >= BULK_MIN && (op->traits & WR_FD_TCP);
}

static void prep_send(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    bool bulk = is_bulk(op);
    int flags = SEND_FLAGS | (op->flags & WR_OP_MORE ? MSG_MORE : 0) | (bulk ? MSG_WAITALL : 0);
    if (op->flags & WR_OP_PIECES)
        io_uring_prep_sendmsg(sqe, op->fd, op->u.pieces, (unsigned)flags);
    else
        io_uring_prep_send(sqe, op->fd, op->u.send.iov_base, op->u.send.iov_len, flags);
    if ((op->flags & WR_OP_QUIET) && op->world[1] == WR_URING_ONE && u->quiet_send && !bulk)
        wr_uring_prep_quiet(u, sqe, op);
}

static wr_apart void prep_other(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    switch (op->kind) {
    case WR_OP_ACCEPT:
        if ((op->flags & WR_OP_MULTI) && u->multishot_accept)
            io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
        else
            io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
        break;
    case WR_OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, op->u.connect.addr, op->u.connect.len);
        break;
    case WR_OP_RECV:
        prep_recv(u, sqe, op);
        break;
    default:
        wr_assert(op->kind == WR_OP_POLL);
        if (op->world[1] == WR_URING_CHANGES)
            io_uring_prep_poll_multishot(sqe, op->fd, op->u.events);
        else
            io_uring_prep_poll_add(sqe, op->fd, op->u.events);
    }
}

static void prep(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    if (wr_unlikely(wr_uring_takes_steps(op)))
        wr_uring_prep_step(u, sqe, op);
    else if (wr_likely(op->kind == WR_OP_SEND))
        prep_send(u, sqe, op);
    else
        prep_other(u, sqe, op);
    sqe->user_data = (uintptr_t)op | (op->world[1] == WR_URING_QUIET ? WR_URING_IS_QUIET : 0);
}

void wr_uring_submit(struct wr_uring *u, struct wr_op *op)
{
    struct io_uring_sqe *sqe = wr_likely(wr_list_empty(&u->unsubmitted)) ? get_sqe(u) : NULL;
    if (wr_likely(sqe != NULL))
        prep(u, sqe, op);
    else
        wr_list_push(&u->unsubmitted, &op->link);
}

static int close_fd(struct wr_uring *u, const struct wr_op *op)
{
    wr_net_restore(&u->net, op->fd, op->traits);
    return close(op->fd) < 0 ? -errno : 0;
}

static bool is_move(const struct wr_op *op)
{
    return op->kind == WR_OP_RECV || op->kind == WR_OP_SEND;
}

/* Of all that can be started, the rest. The ring would have a worker thread shut down, which takes longer than the
 * call itself; and a close by the ring is no cheaper than the call. */
static wr_apart void start_other(struct wr_uring *u, struct wr_op *op)
{
    if (is_move(op) || op->kind == WR_OP_SENDFILE)
        wr_uring_start_steps(u, op);
    else if (op->kind == WR_OP_SHUTDOWN)
        wr_uring_finish(u, op, shutdown(op->fd, op->u.how) < 0 ? -errno : 0);
    else if (op->kind == WR_OP_CLOSE)
        wr_uring_finish(u, op, close_fd(u, op));
    else
        wr_uring_submit(u, op);
}

static void start(struct wr_world *w, struct wr_op *op)
{
    if (wr_likely(is_move(op) && !(op->traits & WR_FD_PLAIN)))
        wr_uring_submit(wr_uring_of(w), op);
    else
        start_other(wr_uring_of(w), op);
}

static bool prep_cancel(struct wr_uring *u, struct wr_op *op)
{
    struct io_uring_sqe *sqe = get_sqe(u);
    if (!sqe)
        return false;
    io_uring_prep_cancel(sqe, op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = WR_URING_CANCEL;
    return true;
}

static void cancel_in_kernel(struct wr_uring *u, struct wr_op *op)
{
    wr_list_push(prep_cancel(u, op) ? &u->cancelling : &u->uncancelled, &op->link);
}

/* An op in a list is either finished, or as good as that, and stays so; or it was not submitted yet. One whose terminal
 * completion was reaped may not be named to the kernel any more: by then its memory can be another op's. */
static void cancel(struct wr_world *w, struct wr_op *op)
{
    struct wr_uring *u = wr_uring_of(w);
    if (op->world[0] == WR_URING_REAPED)
        return;
    if (wr_list_empty(&op->link)) {
        cancel_in_kernel(u, op);
        return;
    }
    for (struct wr_list *l = u->unsubmitted.next; l != &u->unsubmitted; l = l->next)
        if (l == &op->link) {
            wr_uring_finish(u, op, -ECANCELED);
            return;
        }
}

/* ---- The turn ---- */

static void arm_wake(struct wr_uring *u)
{
    struct io_uring_sqe *sqe = u->wake_armed ? NULL : get_sqe(u);
    if (!sqe)
        return;
    io_uring_prep_poll_multishot(sqe, u->wake_fd, POLLIN);
    sqe->user_data = WR_URING_WAKE;
    u->wake_armed = true;
}

/* What found the queue full, oldest first. */
static void retry(struct wr_uring *u)
{
    while (!wr_list_empty(&u->uncancelled)) {
        struct wr_op *op = wr_home(u->uncancelled.next, struct wr_op, link);
        if (!prep_cancel(u, op))
            return;
        wr_list_remove(&op->link);
        wr_list_push(&u->cancelling, &op->link);
    }
    while (!wr_list_empty(&u->unsubmitted)) {
        struct wr_op *op = wr_home(u->unsubmitted.next, struct wr_op, link);
        struct io_uring_sqe *sqe = get_sqe(u);
        if (!sqe)
            return;
        wr_list_remove(&op->link);
        prep(u, sqe, op);
    }
}

static int hand_over(struct wr_uring *u, unsigned wait_nr, uint64_t wait_ns)
{
    wr_net_lower(u->told_fd); /* what was told so far is seen by this call */
    wr_uring_bufs_offer(u);
    arm_wake(u);
    retry(u);
    return wr_uring_enter(u, wait_nr, wait_ns);
}

static bool is_ready(const struct wr_uring *u)
{
    return io_uring_cq_ready(&u->ring) > 0 || !wr_list_empty(&u->finished) || !wr_list_empty(&u->unsubmitted) ||
           wr_uring_is_urgent(u);
}

static int turn(struct wr_world *w, uint64_t wait_ns)
{
    struct wr_uring *u = wr_uring_of(w);
    return hand_over(u, is_ready(u) || wait_ns == 0 ? 0 : 1, wait_ns);
}

static int flush(struct wr_world *w)
{
    struct wr_uring *u = wr_uring_of(w);
    int rc = hand_over(u, 0, 0);
    return rc < 0 ? rc : is_ready(u);
}

/* ---- Reaping ---- */

static wr_apart void woken(struct wr_uring *u, const struct io_uring_cqe *cqe)
{
    wr_net_lower(u->wake_fd);
    atomic_exchange(&u->waking, false); /* not before: the read would swallow a wake that counts on being told */
    if (!(cqe->flags & IORING_CQE_F_MORE))
        u->wake_armed = false;
}

/* The buffer that the kernel chose is filled or goes home. */
static void settle_buffer(struct wr_uring *u, const struct io_uring_cqe *cqe, struct wr_result *r)
{
    int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    if (r->res > 0) {
        wr_uring_bufs_filled(u, (uint32_t)r->res);
        r->seg = wr_bufpool_fill(&u->w.pool, id);
    } else {
        wr_bufpool_return(&u->w.pool, id);
    }
}

/* A connect cannot simply be started again: what would ask for that is its failure. EAGAIN: a unix socket's backlog is
 * full; EINTR: a worker of the kernel was interrupted, most often by the cancel. */
static int connect_result(const struct wr_op *op, int res)
{
    if (res == -EINTR)
        return op->cancelled ? -ECANCELED : -ECONNABORTED;
    return res == -EAGAIN ? -ECONNREFUSED : res;
}

static int poll_mask(const struct wr_op *op)
{
    return (int)(op->u.events | POLLERR | POLLHUP);
}

/* A cancel that does not find its op came too late, or while the kernel moved it from one queue to another: those that
 * are still in flight are cancelled once more. */
static void cancel_failed(struct wr_uring *u, int res)
{
    struct wr_list *node;
    while (res == -ENOENT && (node = wr_list_pop(&u->cancelling)))
        wr_list_push(&u->uncancelled, node);
}

/* The kernel tells of the peer's end unasked, every time it is asked for something else. Then the poll goes on as a
 * multishot, which tells of changes only; the first change that was asked for ends it, and a plain poll tells how
 * things stand. Returns whether the op goes on. */
static wr_apart bool polls_on(struct wr_uring *u, const struct io_uring_cqe *cqe, struct wr_op *op)
{
    bool told = cqe->res < 0 || (cqe->res & poll_mask(op));
    if (cqe->flags & IORING_CQE_F_MORE) {
        if (told && wr_list_empty(&op->link))
            cancel_in_kernel(u, op);
        return true;
    }
    if (told && (op->world[1] != WR_URING_CHANGES || op->cancelled))
        return false;
    wr_list_remove(&op->link);
    op->world[1] = told ? WR_URING_ONE : WR_URING_CHANGES;
    if (op->cancelled)
        wr_uring_finish(u, op, -ECANCELED);
    else
        wr_uring_submit(u, op);
    return true;
}

static bool take(struct wr_uring *u, const struct io_uring_cqe *cqe, struct wr_result *r)
{
    if (cqe->user_data == WR_URING_CANCEL) {
        cancel_failed(u, cqe->res);
        return false;
    }
    if (cqe->user_data == WR_URING_WAKE) {
        woken(u, cqe);
        return false;
    }
    struct wr_op *op = wr_uring_op_of(cqe);
    wr_assert(op->in_flight);
    if (op->kind == WR_OP_POLL && polls_on(u, cqe, op))
        return false;
    *r = (struct wr_result){.op = op, .res = cqe->res, .more = (cqe->flags & IORING_CQE_F_MORE) != 0};
    if (cqe->flags & IORING_CQE_F_BUFFER)
        settle_buffer(u, cqe, r);
    if (r->more)
        return true;
    if (wr_unlikely(!wr_list_empty(&op->link)))
        wr_list_remove(&op->link); /* from the list of those that are cancelled, or were to go well */
    if (op->kind == WR_OP_POLL)
        r->res = r->res > 0 ? r->res & poll_mask(op) : r->res;
    else if (op->world[1] == WR_URING_QUIET && wr_uring_quiet_failed(u, op, cqe->res))
        return false;
    else if (wr_unlikely(wr_uring_takes_steps(op)) && !wr_uring_take_step(u, op, cqe->res, r))
        return false;
    if (op->kind == WR_OP_CONNECT)
        r->res = connect_result(op, r->res);
    op->world[0] = WR_URING_REAPED;
    return true;
}

static wr_apart unsigned reap_finished(struct wr_uring *u, struct wr_result *out, unsigned max)
{
    struct wr_list *node;
    unsigned n = 0;
    while (n < max && (node = wr_list_pop(&u->finished))) {
        struct wr_op *op = wr_home(node, struct wr_op, link);
        int res = (int)(int64_t)op->world[0];
        out[n++] = (struct wr_result){.op = op, .res = res, .seg = wr_uring_settle_steps(u, op, res)};
        op->world[0] = WR_URING_REAPED;
    }
    return n;
}

static unsigned reap(struct wr_world *w, struct wr_result *out, unsigned max)
{
    struct wr_uring *u = wr_uring_of(w);
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0, n = 0;
    if (!wr_list_empty(&u->finished))
        n = reap_finished(u, out, max);
    n += wr_uring_reap_quiet(u, out + n, max - n);
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        if (n == max)
            break;
        n += take(u, cqe, &out[n]);
        seen++;
    }
    io_uring_cq_advance(&u->ring, seen);
    return n;
}

/* ---- The rest ---- */

/* Both: the ring is late to tell one eventfd of another. */
static void wake(struct wr_world *w)
{
    struct wr_uring *u = wr_uring_of(w);
    if (!atomic_exchange(&u->waking, true)) {
        wr_net_raise(u->wake_fd);
        wr_net_raise(atomic_load(&u->told_fd));
    }
}

/* Who sleeps on the ring's own descriptor is not woken where the kernel puts work off until it is entered; an eventfd
 * is. What came before it may not have been told: it is readable at first. */
static int get_fd(struct wr_world *w)
{
    struct wr_uring *u = wr_uring_of(w);
    int fd = u->told_fd;
    if (fd >= 0)
        return fd;
    fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = fd < 0 ? -errno : io_uring_register_eventfd(&u->ring, fd);
    if (rc < 0 && fd >= 0)
        close(fd);
    if (rc == 0)
        u->told_fd = fd;
    return rc < 0 ? rc : fd;
}

static void close_world(struct wr_world *w)
{
    struct wr_uring *u = wr_uring_of(w);
    wr_assert(wr_list_empty(&u->finished) && wr_list_empty(&u->unsubmitted));
    wr_assert(wr_list_empty(&u->uncancelled) && wr_list_empty(&u->cancelling) && wr_list_empty(&u->quiet));
    wr_uring_bufs_close(u);
    io_uring_queue_exit(&u->ring);
    close(u->wake_fd);
    if (u->told_fd >= 0)
        close(u->told_fd);
    wr_net_close(&u->net);
    wr_bufpool_close(&u->w.pool);
    wr_cache_done(&u->cache);
    wr_free(u);
}

static int watch(struct wr_world *w, int fd)
{
    (void)w;
    return wr_net_check(fd);
}

/* A poll in the kernel holds its file, and that the peer's end: the cancel does not wait for the next turn. */
static void unwatch(struct wr_world *w, int fd)
{
    struct wr_uring *u = wr_uring_of(w);
    (void)fd;
    if (!wr_list_empty(&u->cancelling) || !wr_list_empty(&u->uncancelled))
        (void)hand_over(u, 0, 0); /* what it met, the next turn meets, too */
}

const struct wr_world_ops wr_uring_ops = {
    .name = "io_uring",
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
