/* The least that may be called HTTP/1.1, for servers written by hand: requests without bodies, one answer for all. */
#ifndef COMMON_PEER_HTTP_H
#define COMMON_PEER_HTTP_H

#include <stddef.h>

enum { PEER_HTTP_RECEIVED = 65536 };    /* bytes that may come at a time */

/* The answers to the requests that end in what a connection has received, in one piece. *matched, 0 at first, is kept
 * with the connection: how much of a request's end came last. Result: bytes of *answers, which is nobody's to free. */
size_t peer_http(unsigned char *matched, const char *data, size_t len, const char **answers);

#endif
