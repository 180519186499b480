/* Calls handed to a loop: weir_post, weir_defer. The mailbox they wait in is post.c. */
#include <errno.h>

#include "context.h"

int weir_post(struct weir_loop *loop, weir_call_fn *fn, void *arg)
{
    bool first = false;
    if (!(loop = wr_loop_or_default(loop)) || !fn)
        return -EINVAL;
    atomic_fetch_add(&loop->posting, 1);
    int rc = wr_mailbox_put(&loop->mail, fn, arg, &first);
    if (rc == 0 && first)
        loop->world->ops->wake(loop->world);
    atomic_fetch_sub(&loop->posting, 1);
    return rc;
}

/* A deferred call that was asked for inside a context. */
struct deferred {
    struct weir_loop *loop;
    struct weir_context *context;
    weir_call_fn *fn;
    void *arg;
};

static void run_inside(void *arg)
{
    struct deferred d = *(struct deferred *)arg;
    struct wr_scope in;
    wr_free(arg);
    wr_enter(&in, d.loop, d.context);
    d.fn(d.arg);
    wr_leave(&in);
}

static int defer_inside(struct weir_loop *loop, weir_call_fn *fn, void *arg)
{
    bool first;
    struct deferred *d = wr_alloc(sizeof *d);
    if (!d)
        return -ENOMEM;
    *d = (struct deferred){.loop = loop, .context = wr_context_capture(loop), .fn = fn, .arg = arg};
    int rc = wr_mailbox_put(&loop->mail, run_inside, d, &first);
    if (rc < 0) {
        wr_context_drop(d->context);
        wr_free(d);
    }
    return rc;
}

int weir_defer(struct weir_loop *loop, weir_call_fn *fn, void *arg)
{
    bool first;
    if (!(loop = wr_loop_or_default(loop)) || !fn)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    return loop->scope ? defer_inside(loop, fn, arg) : wr_mailbox_put(&loop->mail, fn, arg, &first);
}
