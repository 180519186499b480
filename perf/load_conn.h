/* A connection, and the way of a message: sent, on its way, answered. */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include <time.h>

#include "load_worker.h"

void conn_open(struct conn *c);

/* Until it is open, messages wait; the first opens it. */
void conn_rest(struct conn *c);

/* The server will say nothing more on it: go on with another. */
void conn_renew(struct conn *c);

/* The connection is of no more use: what is in flight counts as failed, or if nothing is, the connection does. */
void conn_fail(struct conn *c, enum fault fault, const char *why);

/* It could not be written to. */
void conn_refused(struct conn *c, int code);

/* The one exchange of a connection that is churned is over. */
void conn_finish(struct conn *c);

static inline uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One of those in flight; 0: the one whose answer is due. */
static inline struct message *conn_message(struct conn *c, unsigned number)
{
    unsigned at = c->head + number;
    return &c->ring[at < c->depth ? at : at - c->depth];
}

/* The message takes this place in the ring, and goes off. */
static inline void conn_put(struct conn *c, struct message *m, uint64_t start)
{
    m->start = start;
    m->size = sizes_next(&c->w->sizes);
    int rc = c->write(c, m->size);
    if (__builtin_expect(rc < 0, 0))
        conn_refused(c, rc);
}

/* A message that counts from `start`. */
static inline void conn_send(struct conn *c, uint64_t now, uint64_t start)
{
    struct message *m = conn_message(c, c->in_flight);
    c->w->busy++;
    if (c->in_flight++ == 0)
        c->waiting_since = now;
    conn_put(c, m, start);
}

/* The answer that was due is whole. */
static inline void conn_done(struct conn *c, uint64_t now)
{
    struct worker *w = c->w;
    struct message *m = conn_message(c, 0);
    hist_add(w->hist, now - m->start);
    c->head = c->head + 1 < c->depth ? c->head + 1 : 0;
    c->received = 0;
    c->waiting_since = now;
    if (w->again) {
        conn_put(c, m, now); /* all places are taken but this */
        return;
    }
    c->in_flight--;
    w->busy--;
    if (w->churn && !c->idle)
        conn_finish(c);
    else
        w->free(c, now);
}

#endif
