#include "helpers_foreign.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* ---- Sockets ---- */

static void real_pair(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(l, (struct sockaddr *)&in, sizeof in), 0);
    cr_assert_eq(listen(l, 1), 0);
    cr_assert_eq(getsockname(l, (struct sockaddr *)&in, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fds[0], (struct sockaddr *)&in, sizeof in), 0);
    fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fds[1], 0);
    close(l);
}

void foreign_pair(struct env *e, int fds[2])
{
    if (e->sim)
        cr_assert_eq(weir_sim_pair(e->sim, fds), 0);
    else
        real_pair(fds);
}

static int64_t send_some(struct env *e, int fd, const void *data, size_t len)
{
    if (e->sim)
        return weir_sim_peer_send(e->sim, fd, data, len);
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

void foreign_send(struct env *e, int fd, const char *text)
{
    cr_assert_eq(send_some(e, fd, text, strlen(text)), (int64_t)strlen(text));
}

void foreign_fill(struct env *e, int fd)
{
    static const char nothing[65536];
    int64_t n;
    while ((n = send_some(e, fd, nothing, sizeof nothing)) > 0)
        ;
    cr_assert_eq(n, -EAGAIN);
}

static int64_t recv_some(struct env *e, int fd, void *data, size_t len)
{
    if (e->sim)
        return weir_sim_peer_recv(e->sim, fd, data, len);
    ssize_t n = recv(fd, data, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

long foreign_drain(struct env *e, int fd)
{
    static char data[65536];
    long all = 0;
    int64_t n;
    while ((n = recv_some(e, fd, data, sizeof data)) > 0)
        all += n;
    return all == 0 && n != -EAGAIN ? -1 : all;
}

void foreign_shutdown(struct env *e, int fd)
{
    cr_assert_eq(e->sim ? weir_sim_peer_shutdown(e->sim, fd) : shutdown(fd, SHUT_WR), 0);
}

void foreign_close(struct env *e, int fd, int reset)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (e->sim) {
        cr_assert_eq(weir_sim_peer_close(e->sim, fd, reset), 0);
        return;
    }
    if (reset)
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    cr_assert_eq(close(fd), 0);
}

void foreign_wait(struct env *e, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (!e->sim)
        cr_assert_eq(poll(&p, 1, 10000), 1, "on %s: nothing to read came", e->world);
}

void forget_log(struct env *e)
{
    e->log_len = 0;
    e->log[0] = '\0';
}

/* ---- Watches ---- */

static void on_event(struct weir_watch *watch, int status, unsigned events, void *arg)
{
    struct lookout *l = arg;
    cr_assert_eq(watch, l->watch, "on %s: %s was closed", l->e->world, l->name);
    cr_assert(status == 0 ? events != 0 : events == 0);
    l->calls++;
    l->events = events;
    l->status = status;
    if (l->name && status < 0)
        note(l->e, "%s %s\n", l->name, weir_error_name(status));
    else if (l->name)
        note(l->e, "%s %s%s%s%s\n", l->name, events & WEIR_READABLE ? "r" : "", events & WEIR_WRITABLE ? "w" : "",
             events & WEIR_HANGUP ? "h" : "", events & WEIR_ERROR ? "e" : "");
    if (l->then)
        l->then(l);
}

void lookout_open(struct lookout *l, struct env *e, const char *name, int fd, unsigned events)
{
    *l = (struct lookout){.e = e, .name = name, .fd = fd};
    int rc = weir_watch_open(e->loop, fd, events, on_event, l, &l->watch);
    cr_assert_eq(rc, 0, "on %s: %s", e->world, weir_strerror(rc));
}

void lookout_close(struct lookout *l)
{
    cr_assert_eq(weir_watch_close(l->watch), 0);
    l->watch = NULL;
}

void lookout_drain(struct lookout *l)
{
    (void)foreign_drain(l->e, l->fd);
}
