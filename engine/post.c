/* See post.h. The lock is held for a few instructions only; never while a call runs. */
#include "post.h"

#include <errno.h>

#include "weir.h"

void wr_mailbox_open(struct wr_mailbox *m)
{
    *m = (struct wr_mailbox){0};
    pthread_mutex_init(&m->lock, NULL);
}

void wr_mailbox_close(struct wr_mailbox *m)
{
    pthread_mutex_destroy(&m->lock);
    wr_free(m->in.call);
    wr_free(m->out.call);
}

static int append(struct wr_calls *calls, struct wr_call call)
{
    if (calls->count == calls->room) {
        size_t room = calls->room ? calls->room * 2 : 16;
        struct wr_call *grown = wr_realloc(calls->call, room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        calls->call = grown;
        calls->room = room;
    }
    calls->call[calls->count++] = call;
    return 0;
}

int wr_mailbox_put(struct wr_mailbox *m, void (*fn)(void *arg), void *arg, bool *ret_first)
{
    pthread_mutex_lock(&m->lock);
    int rc = m->shut ? WEIR_ECLOSED : append(&m->in, (struct wr_call){fn, arg});
    if (rc == 0)
        *ret_first = !atomic_exchange_explicit(&m->waiting, true, memory_order_acq_rel);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

void wr_mailbox_serve(struct wr_mailbox *m)
{
    if (!wr_mailbox_waiting(m))
        return;
    wr_assert(m->out.count == 0);
    pthread_mutex_lock(&m->lock);
    struct wr_calls full = m->in;
    m->in = m->out;
    m->out = full;
    atomic_store_explicit(&m->waiting, false, memory_order_release);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < m->out.count; i++)
        m->out.call[i].fn(m->out.call[i].arg);
    m->out.count = 0;
}

void wr_mailbox_shut(struct wr_mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->shut = true;
    pthread_mutex_unlock(&m->lock);
}
