/* To compare with: an echo server on libevent's bufferevents. What has come is moved from the input to the output, not
 * copied, as its examples do. */
#include "common_peer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <sys/socket.h>

static void on_read(struct bufferevent *b, void *arg)
{
    (void)arg;
    evbuffer_add_buffer(bufferevent_get_output(b), bufferevent_get_input(b));
}

static void on_event(struct bufferevent *b, short events, void *arg)
{
    (void)arg;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(b);
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg)
{
    (void)addr, (void)len, (void)arg;
    struct bufferevent *b = bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!b) {
        evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(b, on_read, NULL, on_event, NULL);
    bufferevent_enable(b, EV_READ | EV_WRITE);
}

static void on_signal(evutil_socket_t number, short events, void *arg)
{
    (void)number, (void)events;
    event_base_loopbreak(arg);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    int fd = peer_start(argc, argv, "", "libevent, bufferevent", SOCK_NONBLOCK);
    struct event *term = base ? evsignal_new(base, SIGTERM, on_signal, base) : NULL;
    if (!term || evsignal_add(term, NULL) < 0 ||
        !evconnlistener_new(base, on_connection, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd)) {
        fprintf(stderr, "libevent: no base, signal or listener\n");
        return 1;
    }
    return event_base_dispatch(base) < 0;
}
