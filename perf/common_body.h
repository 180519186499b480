/* Reads the body of an HTTP/1.1 message off its stream, however its end is marked, and hands it on in pieces. Nothing
 * is gathered: it takes the same memory for a body of any length. */
#ifndef COMMON_BODY_H
#define COMMON_BODY_H

#include <stdint.h>

#include "common_http.h"
#include "weir.h"

struct http_body;

/* The next bytes of the body. Result: 0 to go on; 1 to wait for http_body_resume, or to stop here. */
typedef int http_piece_fn(struct http_body *body, struct weir_view piece);

/* The end, once: 0; WEIR_EOF: the peer ended before the body did; -EBADMSG: malformed; -EFBIG: more than `limit`;
 * -ETIMEDOUT: too slow; or what else ended the stream. */
typedef void http_body_fn(struct http_body *body, int status);

struct http_body {
    struct weir_stream *s;
    http_piece_fn *on_piece;    /* NULL: the body is dropped */
    http_body_fn *on_end;       /* may be called from inside http_body_read and http_body_resume */
    uint64_t limit;             /* bytes that may come, what lies between chunks included; 0: any number */
    /* The body has so long to come, and for each byte of it a second / min_rate more; 0: as long as it likes. */
    uint64_t grace_ns, min_rate;
    /* The rest is set by http_body_read. */
    const char *part;           /* what is being read, in words */
    uint64_t began;             /* when, on weir_now's clock */
    uint64_t seen;              /* bytes that came, as `limit` counts them */
    uint64_t left;              /* bytes still to come of the body, or of the chunk */
    enum { HTTP_BODY_COUNTED, HTTP_BODY_CHUNKED, HTTP_BODY_TO_THE_END } kind;
    int trailers;
};

/* Read the body that belongs to this head, which may be gone afterwards. One without length and coding goes on until
 * the peer's end: for a request, whose body is empty then, this is not to be called. */
void http_body_read(struct http_body *body, const struct http_head *head);

/* After a piece that said 1. */
void http_body_resume(struct http_body *body);

#endif
