/* A file's bytes, on their way to a socket without a detour through our memory. Level 2.
 *
 * sendfile(2) has no flags: it waits if its socket does, and raises SIGPIPE. So a socket that waits (under the ring) is
 * told not to for as long as the call takes, and the signal is held. What cannot be sent that way, such as the bytes of
 * some file systems, or to a pipe, is copied. */
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "backend.h"

enum { COPY_MAX = 16384 };

static int64_t call(const struct wr_op *op)
{
    off_t at = (off_t)op->u.file.at;
    ssize_t n;
    do
        n = sendfile(op->fd, op->u.file.fd, &at, op->u.file.len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int64_t call_without_waiting(const struct wr_net *n, const struct wr_op *op)
{
    int mode = n->nonblock ? 0 : fcntl(op->fd, F_GETFL);
    if (mode < 0 || (!n->nonblock && fcntl(op->fd, F_SETFL, mode | O_NONBLOCK) < 0))
        return -errno;
    struct wr_guard g;
    wr_guard_begin(&g);
    int64_t res = call(op);
    wr_guard_end(&g, res < (int64_t)op->u.file.len); /* also if some bytes went before the peer did */
    if (!n->nonblock)
        (void)fcntl(op->fd, F_SETFL, mode);
    return res;
}

static int64_t send_copy(const struct wr_net *n, const struct wr_op *op, void *data, size_t len)
{
    ssize_t sent;
    if (op->traits & WR_FD_PLAIN) {
        struct wr_op send = {.kind = WR_OP_SEND, .fd = op->fd, .traits = op->traits, .u.send = {data, len}};
        return wr_plain_try(n, &send, NULL, 0);
    }
    do
        sent = send(op->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int64_t wr_file_read(int fd, void *data, size_t len, uint64_t at)
{
    ssize_t n;
    do
        n = pread(fd, data, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int64_t copy(const struct wr_net *n, const struct wr_op *op)
{
    unsigned char data[COPY_MAX];
    int64_t len = wr_file_read(op->u.file.fd, data, wr_min(op->u.file.len, sizeof data), op->u.file.at);
    return len > 0 ? send_copy(n, op, data, (size_t)len) : len;
}

int64_t wr_file_try(const struct wr_net *n, const struct wr_op *op)
{
    int64_t res = op->traits & WR_FD_PLAIN ? -EINVAL : call_without_waiting(n, op);
    return res == -EINVAL || res == -ENOSYS || res == -EOVERFLOW ? copy(n, op) : res;
}
