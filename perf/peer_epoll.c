/* To compare with: an echo server written by hand on epoll. It receives into one buffer, sends at once, and asks for
 * EPOLLOUT only after the kernel was full. It does not use weir. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, CHUNK = 65536, FDS = 65536 };

/* What a full kernel left of a connection's bytes. */
struct rest {
    char *data;
    size_t len, off;
};

static struct rest rests[FDS];
static char chunk[CHUNK];
static int epfd;
static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static void want(int fd, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    epoll_ctl(epfd, op, fd, &ev);
}

static void hang_up(int fd)
{
    free(rests[fd].data);
    memset(&rests[fd], 0, sizeof rests[fd]);
    close(fd);
}

static void keep_rest(int fd, const char *data, size_t len)
{
    rests[fd].data = malloc(len);
    if (!rests[fd].data) {
        hang_up(fd);
        return;
    }
    memcpy(rests[fd].data, data, len);
    rests[fd].len = len;
    rests[fd].off = 0;
    want(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_readable(int fd)
{
    ssize_t n = recv(fd, chunk, CHUNK, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(fd);
        return;
    }
    ssize_t sent = send(fd, chunk, (size_t)n, MSG_NOSIGNAL);
    if (sent == n)
        return;
    if (sent < 0 && errno != EAGAIN)
        hang_up(fd);
    else
        keep_rest(fd, chunk + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
}

static void on_writable(int fd)
{
    struct rest *r = &rests[fd];
    ssize_t n = send(fd, r->data + r->off, r->len - r->off, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        hang_up(fd);
        return;
    }
    r->off += n > 0 ? (size_t)n : 0;
    if (r->off < r->len)
        return;
    free(r->data);
    memset(r, 0, sizeof *r);
    want(fd, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_connection(int listener)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        want(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_on(const char *where)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    char host[64];
    int port, one = 1;
    if (sscanf(where, "%63[^:]:%d", host, &port) != 2 || inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return -1;
    in.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 4096) < 0)
        return -1;
    socklen_t len = sizeof in;
    getsockname(fd, (struct sockaddr *)&in, &len);
    printf("listening on %s:%d (hand-written epoll)\n", host, ntohs(in.sin_port));
    fflush(stdout);
    return fd;
}

static void serve(int listener)
{
    static struct epoll_event events[EVENTS];
    while (!stopped) {
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                on_connection(fd);
            else if (rests[fd].data)
                on_writable(fd);
            else
                on_readable(fd);
        }
    }
}

int main(int argc, char **argv)
{
    const char *where = "127.0.0.1:8080";
    struct sigaction act = {.sa_handler = on_signal};
    if (argc == 3 && strcmp(argv[1], "--listen") == 0) {
        where = argv[2];
    } else if (argc != 1) {
        fprintf(stderr, "usage: %s [--listen HOST:PORT]\n", argv[0]);
        return strcmp(argv[1], "--help") != 0 ? 2 : 0;
    }
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(where);
    if (listener < 0) {
        perror(where);
        return 1;
    }
    want(listener, EPOLL_CTL_ADD, EPOLLIN);
    serve(listener);
    return 0;
}
