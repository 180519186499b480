/* What is no socket: pipes, FIFOs, terminals and other character devices. Level 2.
 *
 * They are read and written without waiting, but whether a description waits (O_NONBLOCK) is shared with everybody who
 * has it open: a shell and its terminal, the other users of a pipe. So that mode is left alone, in one of three ways:
 *
 *   RWF_NOWAIT     one call is told not to wait. For what pipe(2) made.
 *   anew           the same thing is opened once more, with a mode of its own, under the same number. For FIFOs and
 *                  terminals, where /proc is there and permissions allow it.
 *   for a moment   the mode is changed, and changed back behind the call. For what is left.
 *
 * A write to a pipe that nobody reads raises SIGPIPE, unless RWF_NOSIGNAL forbids it. Where the kernel does not know
 * that, the signal is blocked in this thread for as long as the call takes, and taken back. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "kernel.h"

/* ---- What the kernel can do ---- */

static bool nowait_works(const int pipe[2])
{
    char byte;
    struct iovec one = {&byte, 1};
    return preadv2(pipe[0], &one, 1, -1, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

/* The pipe has no reader any more. */
static bool nosignal_works(const int pipe[2])
{
    char byte = 0;
    struct iovec one = {&byte, 1};
    return pwritev2(pipe[1], &one, 1, -1, RWF_NOSIGNAL) < 0 && errno == EPIPE;
}

static bool judge(const char *name, const char *mask, struct wr_report *report, const int pipe[2],
                  bool (*works)(const int pipe[2]))
{
    if (wr_masked(mask, name)) {
        wr_report_feature(report, name, WR_FEATURE_MASKED, 0);
        return false;
    }
    bool ok = works(pipe);
    wr_report_feature(report, name, ok ? WR_FEATURE_USED : WR_FEATURE_ABSENT, ok ? 0 : -errno);
    return ok;
}

void wr_plain_open(struct wr_net *n, const char *mask, struct wr_report *report)
{
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC) < 0)
        pipe[0] = pipe[1] = -1; /* neither works then */
    n->rwf_nowait = judge("rwf_nowait", mask, report, pipe, nowait_works);
    if (pipe[0] >= 0)
        close(pipe[0]);
    n->rwf_nosignal = judge("rwf_nosignal", mask, report, pipe, nosignal_works);
    if (pipe[1] >= 0)
        close(pipe[1]);
}

/* ---- Adopting ---- */

/* Not all devices tell when they can be read: those that cannot wait are always ready. */
static int check_polls(int fd)
{
    struct epoll_event event = {.events = 0};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0)
        return -errno;
    int rc = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
    close(ep);
    return rc == -EPERM ? -ENOTSUP : rc;
}

static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* The master of a terminal is no terminal: opened once more it would be another one's. */
static bool is_terminal(int fd, unsigned *ret_device)
{
    unsigned number;
    return ioctl(fd, TIOCGDEV, ret_device) == 0 && ioctl(fd, TIOCGPTN, &number) < 0;
}

/* What was opened anew is the same, and knows as much: a FIFO forgets for who comes new that its writers are gone. */
static bool is_same(int fd, int anew)
{
    struct stat a, b;
    unsigned device, other;
    if (fstat(fd, &a) < 0 || fstat(anew, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return false;
    if (S_ISFIFO(a.st_mode))
        return !has_hung_up(fd);
    return is_terminal(fd, &device) && is_terminal(anew, &other) && device == other;
}

/* Let fd be a description of its own, which does not wait. */
static bool open_anew(int fd, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int anew = open(path, (flags & (O_ACCMODE | O_APPEND | O_DIRECT)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (anew < 0)
        return false;
    int cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
    bool done = is_same(fd, anew) && dup3(anew, fd, cloexec) == fd;
    close(anew);
    return done;
}

static bool is_from_pipe(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
}

static bool needs_own(const struct wr_net *n, int fd, bool device)
{
    unsigned number;
    return device ? is_terminal(fd, &number) : !(n->rwf_nowait && is_from_pipe(fd));
}

int wr_plain_adopt(const struct wr_net *n, int fd, struct wr_adopted *ret_facts)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL), rc;
    if (flags < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (flags & O_PATH)
        return -EBADF;
    bool device = S_ISCHR(st.st_mode);
    if (!device && !S_ISFIFO(st.st_mode))
        return -ENOTSUP;
    if (device && (rc = check_polls(fd)) < 0)
        return rc;
    int mode = flags & O_ACCMODE, traits = WR_FD_PLAIN | (device ? WR_FD_DEVICE : 0);
    bool reads = mode == O_RDONLY || mode == O_RDWR, writes = mode == O_WRONLY || mode == O_RDWR;
    if (needs_own(n, fd, device) && open_anew(fd, flags))
        traits |= WR_FD_OWN;
    traits |= (reads ? 0 : WR_FD_NO_READ) | (writes ? 0 : WR_FD_NO_WRITE);
    *ret_facts = (struct wr_adopted){.connected = true, .reads = reads, .writes = writes, .traits = (uint8_t)traits};
    return 0;
}

/* ---- Moving bytes ---- */

static sigset_t just_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

void wr_guard_begin(struct wr_guard *g)
{
    sigset_t set = just_sigpipe(), pending;
    pthread_sigmask(SIG_BLOCK, &set, &g->before);
    g->pending = sigismember(&g->before, SIGPIPE) && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
}

void wr_guard_end(const struct wr_guard *g, bool raised)
{
    static const struct timespec at_once = {.tv_sec = 0};
    sigset_t set = just_sigpipe();
    if (raised && !g->pending)
        while (sigtimedwait(&set, NULL, &at_once) < 0 && errno == EINTR)
            ;
    if (!sigismember(&g->before, SIGPIPE))
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int64_t call(int fd, bool out, const struct iovec *iov, int count, int flags)
{
    ssize_t n;
    do
        if (flags)
            n = out ? pwritev2(fd, iov, count, -1, flags) : preadv2(fd, iov, count, -1, flags);
        else
            n = out ? writev(fd, iov, count) : readv(fd, iov, count);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The mode is as it was when this returns. */
static int64_t call_for_a_moment(int fd, bool out, const struct iovec *iov, int count, int flags)
{
    int mode = fcntl(fd, F_GETFL);
    bool change = mode >= 0 && !(mode & O_NONBLOCK);
    if (mode < 0 || (change && fcntl(fd, F_SETFL, mode | O_NONBLOCK) < 0))
        return -errno;
    int64_t res = call(fd, out, iov, count, flags);
    if (change)
        (void)fcntl(fd, F_SETFL, mode);
    return res;
}

static int64_t call_without_waiting(const struct wr_net *n, const struct wr_op *op, const struct iovec *iov,
                                    int count)
{
    bool out = op->kind != WR_OP_RECV, device = op->traits & WR_FD_DEVICE;
    int quiet = out && !device && n->rwf_nosignal ? RWF_NOSIGNAL : 0;
    if (op->traits & WR_FD_OWN)
        return call(op->fd, out, iov, count, quiet);
    int64_t res = n->rwf_nowait && !device ? call(op->fd, out, iov, count, quiet | RWF_NOWAIT) : -EOPNOTSUPP;
    return res == -EOPNOTSUPP ? call_for_a_moment(op->fd, out, iov, count, quiet) : res;
}

/* A terminal whose other side is gone says so by an error. */
static int64_t receive(const struct wr_net *n, const struct wr_op *op, void *base, size_t len)
{
    struct iovec one = {base, wr_min(len, 1 << 30)};
    int64_t res = call_without_waiting(n, op, &one, 1);
    return res == -EIO && has_hung_up(op->fd) ? 0 : res;
}

static int64_t send_vector(const struct wr_net *n, const struct wr_op *op)
{
    const struct iovec *iov;
    size_t count = wr_op_pieces(op, &iov);
    struct wr_guard g;
    bool guarded = !(op->traits & WR_FD_DEVICE) && !n->rwf_nosignal;
    if (guarded)
        wr_guard_begin(&g);
    int64_t res = call_without_waiting(n, op, iov, (int)wr_min(count, IOV_MAX));
    if (guarded)
        wr_guard_end(&g, res == -EPIPE);
    return res;
}

int64_t wr_plain_try(const struct wr_net *n, const struct wr_op *op, void *base, size_t len)
{
    return op->kind == WR_OP_RECV ? receive(n, op, base, len) : send_vector(n, op);
}

int wr_plain_refusal(const struct wr_op *op)
{
    struct pollfd p = {.fd = op->fd};
    if (op->kind == WR_OP_RECV && (op->traits & WR_FD_NO_READ))
        return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) ? -EPIPE : -EBADF;
    bool sends = op->kind == WR_OP_SEND || op->kind == WR_OP_SENDFILE;
    return sends && (op->traits & WR_FD_NO_WRITE) ? -EBADF : 0;
}
