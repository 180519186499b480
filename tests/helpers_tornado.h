/* What the tests named after Tornado's share: pairs with little room between them, and a web server to talk to. */
#ifndef HELPERS_TORNADO_H
#define HELPERS_TORNADO_H

#include "helpers_stream.h"

/* As open_pair, with few bytes in the kernel's hands at a time. */
void open_narrow_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b);
/* The loop anew, with receive buffers of `size` bytes: what Tornado calls read_chunk_size. */
void reopen_with_buffers(struct env *e, uint32_t size);
/* Write text, with no callback. */
void send_text(struct party *p, const char *text);
struct weir_stream_facts facts_of(const struct party *p);

/* Byte number `at` of a stream of bytes that all tests share: a byte out of its place is not equal to it. */
unsigned char byte_at(size_t at);
void fill_bytes(void *data, size_t at, size_t len);
void expect_bytes(const void *data, size_t at, size_t len);

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
