/* To compare with: an echo server written by hand on epoll. It receives into one buffer, sends at once, and asks for
 * EPOLLOUT only after the kernel was full. With --http it answers requests, those of one receive by one send. It does
 * not use weir. */
#include "common_peer.h"
#include "common_peer_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, CHUNK = PEER_HTTP_RECEIVED, FDS = 65536 };

/* What a full kernel left of a connection's bytes. */
struct rest {
    char *data;
    size_t len, off;
};

static struct rest rests[FDS];
static unsigned char matched[FDS];      /* of the end of a request */
static char chunk[CHUNK];
static int epfd, http;

static void want(int fd, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    epoll_ctl(epfd, op, fd, &ev);
}

static void hang_up(int fd)
{
    free(rests[fd].data);
    memset(&rests[fd], 0, sizeof rests[fd]);
    matched[fd] = 0;
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

static void send_or_keep(int fd, const char *data, size_t len)
{
    ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
    if (sent == (ssize_t)len)
        return;
    if (sent < 0 && errno != EAGAIN)
        hang_up(fd);
    else
        keep_rest(fd, data + (sent > 0 ? sent : 0), len - (size_t)(sent > 0 ? sent : 0));
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
    const char *data = chunk;
    size_t len = http ? peer_http(&matched[fd], chunk, (size_t)n, &data) : (size_t)n;
    if (len > 0)
        send_or_keep(fd, data, len);
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
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= FDS) {
            close(fd);
            continue;
        }
        want(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void serve(int listener)
{
    static struct epoll_event events[EVENTS];
    while (!peer_stopped) {
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
    epfd = epoll_create1(EPOLL_CLOEXEC);
    http = peer_flag(&argc, argv, "--http");
    int listener = peer_start(argc, argv, "[--http]", "by hand, epoll", SOCK_NONBLOCK);
    want(listener, EPOLL_CTL_ADD, EPOLLIN);
    serve(listener);
    return 0;
}
