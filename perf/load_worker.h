/* A thread with a loop, and its share of the connections to each target. Orders come one at a time. */
#ifndef LOAD_WORKER_H
#define LOAD_WORKER_H

#include "common_hist.h"
#include "load_args.h"
#include "load_fault.h"
#include "load_reply.h"
#include "load_schedule.h"
#include "weir_tls.h"

struct worker;
struct conn;

/* What is said on a connection. */
struct protocol {
    int (*listen)(struct conn *c);              /* it is open: read from now on. Result: 0, or a code */
    int (*write)(struct conn *c, size_t size);  /* a message. Result: 0, or a code */
};

/* A target, as all workers see it. */
struct goal {
    const struct load_target *where;
    char *request;                  /* of http */
    size_t request_len;
};

/* What all workers share, and none changes. */
struct load {
    const struct load_args *args;
    struct weir_tls_config *tls;    /* NULL: plain */
    const struct protocol *protocol;
    unsigned char *payload;         /* as much as the largest message */
    uint64_t timeout_ns;
    struct goal goals[TARGETS_MAX];
};

struct message {
    uint64_t start;                 /* when it was sent, or was to be sent */
    size_t size;
};

struct conn {
    struct weir_stream *s;          /* NULL: there is none */
    struct worker *w;
    const struct goal *goal;
    int (*write)(struct conn *c, size_t size);      /* the protocol's, once it is open */
    struct message *ring;           /* of `depth`; those in flight begin with head */
    unsigned depth, head, in_flight;
    unsigned char changing;         /* it is being opened, or is to end soon */
    unsigned char broken;           /* it has failed, and rests */
    unsigned char idle;             /* one of those that are silent */
    unsigned char known;            /* to the server, from a TLS session before */
    size_t received;                /* of the answer that is due */
    uint64_t waiting_since;         /* for that answer, or for a change */
    struct reply reply;
    char host[40];                  /* whose session is resumed */
};

/* A connection that is free for a message, from a time on. */
struct ready {
    struct conn *conn;
    uint64_t at;
};

/* What a worker has to do with one target. */
struct share {
    struct conn *conns;
    int count, live;                /* live: not broken */
    struct conn *idle;
    int idle_count, idle_used;
    struct hist hist;
    struct faults faults;
};

struct worker {
    struct load *load;
    unsigned index;
    struct weir_loop *loop;
    struct weir_timer *sweep;
    struct share *share;            /* of the target that is being driven */
    struct hist *hist;
    const unsigned char *payload;
    int again;                      /* an answer brings on the next message at once: all places are taken; else: */
    void (*free)(struct conn *c, uint64_t now);     /* what a connection does that is free for a message */
    uint64_t busy;                  /* messages in flight, and connections that change */
    struct sizes sizes;
    struct schedule schedule;
    struct ready *ready;            /* a ring: who waits for a message to be due, or has been thinking */
    size_t ready_head, ready_count, ready_size;
    int churn;
    struct reply_memo memo;
    struct share shares[TARGETS_MAX];
};

/* Result: 0, or a code. */
int worker_open(struct worker *w, struct load *load, unsigned index);
void worker_close(struct worker *w);

/* Open the connections to a target. */
void worker_connect(struct worker *w, int target);

/* Silent connections that are opened before those that are measured. */
int worker_idle_warmup(const struct load_args *args);

/* So many connections more, which do one exchange each, and are silent then. */
void worker_idle(struct worker *w, int target, int count);

/* Load on a target for so long, and then no more of it, until all answers are there. `round` numbers what is measured;
 * -1: a warm-up, of which nothing is kept. */
void worker_drive(struct worker *w, int target, double seconds, int round);

#endif
