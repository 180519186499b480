/* A connection of the server: a request is judged (http.c), and answered (http_respond.c). */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include "common_args.h"
#include "common_body.h"
#include "http_cache.h"
#include "http_target.h"

struct conn {
    struct client client;
    struct http_body body;      /* of the request */
    struct http_file file;      /* what is asked for; fd -1: none, or it is in memory */
    struct http_page *page;     /* while the request is looked at: where in memory, or NULL */
    struct http_range range;    /* of the file: what is to be sent */
    size_t unasked;             /* bytes written since we asked how many are queued */
    time_t now;                 /* when the answer began to be made */
    int status;                 /* of the answer */
    int head_only, keep, minor;
    int begun;                  /* a head was there in part when time was up once */
};

static inline const struct http_file *http_asked_for(const struct conn *c)
{
    return c->page ? &c->page->file : &c->file;
}

/* What was asked for, or whatever `status` says. Then comes the next request, or the end. */
void http_respond(struct conn *c);

/* The answer is only its status. */
void http_deny(struct conn *c);

/* The last answer of the connection: what follows in it is not looked at. */
void http_refuse(struct conn *c, int status);

/* A directory's name lacks its slash. */
void http_redirect(struct conn *c, const struct http_target *target);

/* A read or a write failed. A stream that is closing may still send what it has: it is left to that. */
__attribute__((cold)) void http_give_up(struct conn *c);

void http_drop_file(struct conn *c);

/* In http.c: the answer is written, and the connection outlives it. */
void http_next_request(struct conn *c);

#endif
