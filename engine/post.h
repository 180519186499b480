/* The mailbox: calls handed to a loop, also from other threads. The only lock that a turn may take. Level 4. */
#ifndef WR_POST_H
#define WR_POST_H

#include <pthread.h>
#include <stdatomic.h>

#include "mem.h"

struct wr_call {
    void (*fn)(void *arg);
    void *arg;
};

struct wr_calls {
    struct wr_call *call;
    size_t count, room;
};

struct wr_mailbox {
    pthread_mutex_t lock;
    struct wr_calls in;     /* under the lock */
    struct wr_calls out;    /* the loop's, while it serves them: the two change places, so neither is allocated anew */
    bool shut;              /* under the lock */
    atomic_bool waiting;    /* true exactly when `in` has calls that the loop has not yet taken */
};

void wr_mailbox_open(struct wr_mailbox *m);
void wr_mailbox_close(struct wr_mailbox *m);
/* 0, -ENOMEM, WEIR_ECLOSED. *ret_first: nobody has told the loop yet. */
int wr_mailbox_put(struct wr_mailbox *m, void (*fn)(void *arg), void *arg, bool *ret_first);
/* Call what was there when it began, in order. */
void wr_mailbox_serve(struct wr_mailbox *m);
/* No more letters. */
void wr_mailbox_shut(struct wr_mailbox *m);

static inline bool wr_mailbox_waiting(struct wr_mailbox *m)
{
    return atomic_load_explicit(&m->waiting, memory_order_acquire);
}

#endif
