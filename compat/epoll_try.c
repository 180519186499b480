/* What an op does when its descriptor may be ready: it moves bytes, accepts, or finds that it has to wait. Meanwhile
 * world[0] counts bytes sent so far, or connections accepted in this turn. */
#include "epoll.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
    ACCEPT_BURST = 64,      /* connections of one listener in one turn */
    VECTOR_MAX = 64
};

static bool end_with(struct wr_op *op, int res, struct wr_result *r)
{
    *r = (struct wr_result){.op = op, .res = res};
    return true;
}

static ssize_t recv_once(const struct wr_epoll *ep, const struct wr_op *op, void *base, size_t len)
{
    ssize_t n;
    if (wr_unlikely(op->traits & WR_FD_PLAIN))
        return wr_plain_try(&ep->net, op, base, len);
    do
        n = recv(op->fd, base, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static bool try_recv(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op, struct wr_result *r)
{
    struct wr_bufpool *pool = &ep->w.pool;
    bool pooled = !op->u.recv.base;
    int id = pooled ? wr_bufpool_take_run(pool, op->flags & WR_OP_MULTI ? seat->depth : 0) : -1;
    if (pooled && id < 0)
        return end_with(op, -ENOBUFS, r);
    size_t len = pooled ? wr_bufpool_room(pool, id) : wr_min(op->u.recv.len, 1 << 30);
    ssize_t n = recv_once(ep, op, pooled ? wr_bufpool_base(pool, id) : op->u.recv.base, len);
    if (pooled && n <= 0)
        wr_bufpool_return(pool, id);
    if (n == -EAGAIN) {
        seat->readable = false;
        return false;
    }
    if ((size_t)n < len && seat->short_is_empty)
        seat->readable = false;
    if (n <= 0 || !(op->flags & WR_OP_MULTI))
        end_with(op, (int)n, r);
    else
        *r = (struct wr_result){.op = op, .res = (int)n, .more = true};
    if (pooled && n > 0) {
        wr_bufpool_judge(pool, id, (size_t)n, &seat->depth);
        r->seg = wr_bufpool_fill(pool, id);
    }
    if (r->more && seat->readable)
        wr_list_push(&ep->again, &op->link);
    return true;
}

static bool try_accept(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op, struct wr_result *r)
{
    int fd;
    do
        fd = accept4(op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno == EAGAIN) {
        seat->readable = false;
        return false;
    }
    if (fd < 0 || !(op->flags & WR_OP_MULTI))
        return end_with(op, fd < 0 ? -errno : fd, r);
    *r = (struct wr_result){.op = op, .res = fd, .more = true};
    bool burst_over = ++op->world[0] >= ACCEPT_BURST;
    wr_list_push(burst_over ? &ep->again : &ep->ready, &op->link);
    return true;
}

static bool try_poll(struct wr_seat *seat, struct wr_op *op, struct wr_result *r)
{
    struct pollfd p = {.fd = op->fd, .events = (short)op->u.events};
    int n = poll(&p, 1, 0);
    if (n == 0 && seat->registered)
        return false;
    if (n <= 0)
        return end_with(op, n < 0 ? -errno : -EINVAL, r);
    return end_with(op, p.revents & POLLNVAL ? -EBADF : p.revents, r);
}

static bool try_connect(struct wr_op *op, struct wr_result *r)
{
    struct pollfd p = {.fd = op->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    if (poll(&p, 1, 0) <= 0)
        return false;
    if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    return end_with(op, -error, r);
}

static ssize_t send_one(const struct wr_op *op, int flags, size_t *ret_left)
{
    const struct iovec *one = &op->u.send;
    *ret_left = one->iov_len - op->world[0];
    return send(op->fd, (char *)one->iov_base + op->world[0], *ret_left, flags);
}

static ssize_t send_pieces(const struct wr_op *op, int flags, size_t *ret_left)
{
    struct iovec rest[VECTOR_MAX];
    size_t count = op->u.pieces->msg_iovlen, skip = op->world[0], used = 0;
    *ret_left = 0;
    for (size_t i = 0; i < count && used < VECTOR_MAX; i++) {
        struct iovec v = op->u.pieces->msg_iov[i];
        size_t gone = wr_min(skip, v.iov_len);
        skip -= gone;
        if (v.iov_len == gone)
            continue;
        rest[used++] = (struct iovec){(char *)v.iov_base + gone, v.iov_len - gone};
        *ret_left += v.iov_len - gone;
    }
    struct msghdr msg = {.msg_iov = rest, .msg_iovlen = used};
    return sendmsg(op->fd, &msg, flags);
}

/* What has not been sent yet: *ret_left bytes. */
static ssize_t send_once(const struct wr_op *op, size_t *ret_left)
{
    ssize_t n;
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (op->flags & WR_OP_MORE ? MSG_MORE : 0);
    do
        n = (op->flags & WR_OP_PIECES ? send_pieces : send_one)(op, flags, ret_left);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static bool try_plain_send(const struct wr_epoll *ep, struct wr_op *op, struct wr_result *r)
{
    int64_t n = wr_plain_try(&ep->net, op, NULL, 0);
    return n == -EAGAIN ? false : end_with(op, (int)n, r);
}

/* Sends until all has gone or the kernel is full. An error after some bytes shows them first. */
static bool try_send(const struct wr_epoll *ep, struct wr_op *op, struct wr_result *r)
{
    if (wr_unlikely(op->traits & WR_FD_PLAIN))
        return try_plain_send(ep, op, r);
    size_t left;
    for (;;) {
        ssize_t n = send_once(op, &left);
        if (n == -EAGAIN)
            return false;
        if (n < 0)
            return end_with(op, op->world[0] > 0 ? (int)op->world[0] : (int)n, r);
        op->world[0] += (uint64_t)n;
        if ((size_t)n == left)
            return end_with(op, (int)op->world[0], r);
    }
}

static bool try_file(const struct wr_epoll *ep, struct wr_op *op, struct wr_result *r)
{
    int64_t n = wr_file_try(&ep->net, op);
    return n == -EAGAIN ? false : end_with(op, (int)n, r);
}

bool wr_epoll_try(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op, struct wr_result *r)
{
    switch (op->kind) {
    case WR_OP_ACCEPT:
        return try_accept(ep, seat, op, r);
    case WR_OP_RECV:
        return try_recv(ep, seat, op, r);
    case WR_OP_POLL:
        return try_poll(seat, op, r);
    case WR_OP_CONNECT:
        return try_connect(op, r);
    case WR_OP_SENDFILE:
        return try_file(ep, op, r);
    default:
        wr_assert(op->kind == WR_OP_SEND);
        return try_send(ep, op, r);
    }
}
