/* Answers of HTTP/1.1 as they come, cut anywhere: where each ends, and what its head says. */
#ifndef LOAD_REPLY_H
#define LOAD_REPLY_H

#include "common_http.h"

enum { REPLY_HEAD_MAX = 16384 };

/* The head of the answer before. Servers send the same again and again: one comparison finds its end and parses it. */
struct reply_memo {
    size_t len;
    char text[1024];
    struct http_head head;
};

enum reply_part {
    REPLY_HEAD,
    REPLY_BODY,
    REPLY_TO_THE_END,
    REPLY_SIZE_LINE,
    REPLY_CHUNK,
    REPLY_CHUNK_END,
    REPLY_TRAILER
};

/* Zero, but for the memo, before the first answer. */
struct reply {
    struct reply_memo *memo;    /* may be shared */
    enum reply_part part;       /* what comes next */
    int status;                 /* of the answer that is being read, or was the last */
    int persists;               /* the connection outlives it */
    uint64_t left;              /* bytes of the body or the chunk still to come */
    char *held;                 /* the beginning of a head or a line: REPLY_HEAD_MAX bytes, or NULL */
    size_t held_len;
};

/* Takes bytes up to the end of an answer; interim ones (1xx) are passed over. Result: 1: here it ends; 0: more is to
 * come, and all was taken; -1: this is not HTTP, or the head is too long. */
int reply_take(struct reply *r, const char *data, size_t len, size_t *ret_used);

/* The peer's end is this answer's end, too. */
int reply_ends(const struct reply *r);

/* It has begun, and has not ended. */
int reply_begun(const struct reply *r);

/* Forget what has come, as for a new connection. */
void reply_drop(struct reply *r);

#endif
