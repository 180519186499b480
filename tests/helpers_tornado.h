/* What the tests named after Tornado's share: a web server to talk to. */
#ifndef HELPERS_TORNADO_H
#define HELPERS_TORNADO_H

#include "helpers_stream.h"

/* A web server on the test's own loop. It answers every request with WEB_ANSWER, and closes behind the answer to a
 * request of HTTP/1.0; its own callbacks are not in the log. */
#define WEB_LINE "HTTP/1.1 200 OK\r\n"
#define WEB_HEADERS "Server: weir\r\n\r\n"
#define WEB_BODY "Hello"
#define WEB_ANSWER WEB_LINE WEB_HEADERS WEB_BODY
#define WEB_GET_ONE "GET / HTTP/1.0\r\n\r\n"
#define WEB_GET "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct web {
    struct env *env;
    struct weir_listener *listener;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct party in;        /* the one connection that it serves */
};

void web_open(struct web *w, struct env *e);
/* A client "a" that has begun to connect; fn(party) when it has. */
void web_connect(struct web *w, struct party *a, weir_connect_fn *fn);
/* Close both sides, as far as they are still open, and the listener. */
void web_close(struct web *w, struct party *a);

#endif
