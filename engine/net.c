/* What the io_uring and the epoll worlds share: the clock, and sockets, at once and without waiting. They differ in one
 * thing: under the ring sockets are blocking, under epoll they are not. Level 2. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"

void wr_net_open(struct wr_net *n, bool nonblock)
{
    *n = (struct wr_net){.nonblock = nonblock, .spare_fd = eventfd(0, EFD_CLOEXEC)};
}

void wr_net_close(struct wr_net *n)
{
    if (n->spare_fd >= 0)
        close(n->spare_fd);
    n->spare_fd = -1;
}

uint64_t wr_net_now(struct wr_world *w)
{
    struct timespec ts;
    (void)w;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int wr_net_socket(struct wr_world *w, int family)
{
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | (w->net->nonblock ? SOCK_NONBLOCK : 0), 0);
    return fd < 0 ? -errno : fd;
}

/* ---- Listening ---- */

static bool has_path(const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *un = (const void *)addr;
    return addr->sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path) && un->sun_path[0] != '\0';
}

/* A socket file that nobody listens on is what a dead server left: it may go. Anything else stays. */
static void unlink_stale(const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *un = (const void *)addr;
    char path[sizeof un->sun_path + 1] = {0}; /* in the address it need not end with a NUL */
    struct stat st;
    memcpy(path, un->sun_path, wr_min(len - offsetof(struct sockaddr_un, sun_path), sizeof un->sun_path));
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, addr, len) < 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static int set_flag(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int bind_and_listen(int fd, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port)
{
    int rc = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && reuse_port)
        rc = set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && addr->sa_family == AF_INET6)
        rc = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc < 0)
        return rc;
    if (has_path(addr, len)) {
        unlink_stale(addr, len);
        if (fchmod(fd, 0600) < 0) /* the file gets the mode of the socket */
            return -errno;
    }
    return bind(fd, addr, len) < 0 || listen(fd, backlog) < 0 ? -errno : 0;
}

int wr_net_listen(struct wr_world *w, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port)
{
    if (len < sizeof(sa_family_t))
        return -EINVAL;
    int fd = wr_net_socket(w, addr->sa_family);
    if (fd < 0)
        return fd;
    int rc = bind_and_listen(fd, addr, len, backlog, reuse_port);
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

/* ---- Facts and settings ---- */

static int get_flag(int fd, int name, int *ret_value)
{
    socklen_t len = sizeof *ret_value;
    return getsockopt(fd, SOL_SOCKET, name, ret_value, &len) < 0 ? -errno : 0;
}

uint8_t wr_net_traits(int fd)
{
    int domain;
    return get_flag(fd, SO_DOMAIN, &domain) == 0 ? wr_family_traits(domain) : 0;
}

/* 1: it was otherwise before. */
static int set_nonblock(int fd, bool nonblock)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    int wanted = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (flags == wanted)
        return 0;
    return fcntl(fd, F_SETFL, wanted) < 0 ? -errno : 1;
}

static bool is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* 0 if it is a stream socket, and listens exactly if that is wanted. */
static int check_socket(int fd, enum wr_want want)
{
    int type, listening, rc = get_flag(fd, SO_TYPE, &type);
    if (rc == 0 && type != SOCK_STREAM)
        return want == WR_WANT_LISTENER ? -ENOTSOCK : -ENOTSUP;
    if (rc == 0)
        rc = get_flag(fd, SO_ACCEPTCONN, &listening);
    if (rc == 0 && (listening != 0) != (want == WR_WANT_LISTENER))
        rc = -EINVAL;
    return rc;
}

/* A listener is not restored: others that accept from it too would be surprised to find it so. */
int wr_net_adopt(struct wr_world *w, int fd, enum wr_want want, struct wr_adopted *ret_facts)
{
    int rc = check_socket(fd, want);
    if (rc == -ENOTSOCK && want == WR_WANT_STREAM)
        return wr_plain_adopt(w->net, fd, ret_facts);
    if (rc < 0)
        return rc;
    if ((rc = set_nonblock(fd, w->net->nonblock)) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    bool stream = want == WR_WANT_STREAM, restore = rc == 1 && stream;
    *ret_facts = (struct wr_adopted){.socket = true, .connected = stream && is_connected(fd), .reads = stream,
                                     .writes = stream,
                                     .traits = (restore ? WR_FD_RESTORE : 0) | wr_net_traits(fd)};
    return 0;
}

void wr_net_restore(const struct wr_net *n, int fd, uint8_t traits)
{
    if (traits & WR_FD_RESTORE)
        (void)set_nonblock(fd, !n->nonblock);
}

int wr_net_check(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -errno : 0;
}

int wr_net_address(struct wr_world *w, int fd, bool peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    (void)w;
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int rc = peer ? getpeername(fd, (struct sockaddr *)&addr, &len) : getsockname(fd, (struct sockaddr *)&addr, &len);
    if (rc < 0)
        return -errno;
    *ret_addr = addr;
    *ret_len = len;
    return 0;
}

int wr_net_option(struct wr_world *w, int fd, enum wr_socket_option option, int value)
{
    (void)w;
    if (option == WR_SO_NODELAY)
        return wr_net_traits(fd) ? set_flag(fd, IPPROTO_TCP, TCP_NODELAY, value) : 0;
    struct linger reset = {.l_onoff = value, .l_linger = 0};
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) < 0 ? -errno : 0;
}

void wr_net_discard(struct wr_world *w, int fd)
{
    (void)w;
    close(fd);
}

/* ---- Eventfds ---- */

void wr_net_raise(int event_fd)
{
    uint64_t one = 1;
    int saved = errno;
    while (event_fd >= 0 && write(event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
}

void wr_net_lower(int event_fd)
{
    uint64_t n;
    while (event_fd >= 0 && read(event_fd, &n, sizeof n) < 0 && errno == EINTR)
        ;
}

/* ---- The limit on descriptors ---- */

int wr_net_shed(struct wr_world *w, int listen_fd)
{
    struct wr_net *n = w->net;
    int shed = 0;
    if (n->spare_fd < 0) /* somebody else was quicker to take it the last time */
        n->spare_fd = eventfd(0, EFD_CLOEXEC);
    if (n->spare_fd < 0)
        return 0;
    close(n->spare_fd);
    if (set_nonblock(listen_fd, true) >= 0) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            shed = 1;
        }
        (void)set_nonblock(listen_fd, n->nonblock);
    }
    n->spare_fd = eventfd(0, EFD_CLOEXEC);
    return shed;
}
