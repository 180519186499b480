/* See context.h. A context stands in the one it was opened in; they are entered from the outermost inwards, and left
 * the other way round. */
#include "context.h"

#include <errno.h>

#include "options.h"

struct weir_context *wr_context_hold(struct weir_context *c)
{
    wr_assert(c->holds > 0);
    c->holds++;
    return c;
}

void wr_context_let_go(struct weir_context *c)
{
    wr_assert(c->holds > 0);
    if (--c->holds == 0)
        wr_loop_task(c->loop, &c->task);
}

/* The last hold is gone; the one on the parent may be its last as well, and so on outwards. */
static void release(struct wr_task *task)
{
    struct weir_context c = *wr_home(task, struct weir_context, task);
    wr_free(wr_home(task, struct weir_context, task));
    if (c.opt.release)
        c.opt.release(c.opt.arg);
    wr_context_drop(c.parent);
}

static uint64_t bit(const struct weir_context *c)
{
    return UINT64_C(1) << c->depth;
}

static void enter(struct wr_scope *in, struct weir_context *c)
{
    if (c->parent)
        enter(in, c->parent);
    if (c->inactive)
        return;
    in->entered |= bit(c);
    if (c->opt.enter)
        c->opt.enter(c->opt.arg);
}

void wr_scope_begin(struct wr_scope *in)
{
    in->outer = in->loop->scope;
    in->entered = 0;
    in->loop->scope = in;
    if (in->context)
        enter(in, in->context);
}

void wr_scope_end(struct wr_scope *in)
{
    wr_assert(in->loop->scope == in);
    for (struct weir_context *c = in->context; c; c = c->parent)
        if ((in->entered & bit(c)) && c->opt.leave)
            c->opt.leave(c->opt.arg);
    in->loop->scope = in->outer;
}

/* ---- What the user asks for ---- */

int weir_context_open(struct weir_loop *loop, const struct weir_context_options *given,
                      struct weir_context **ret_context)
{
    struct weir_context_options opt = {0};
    if (!(loop = wr_loop_or_default(loop)) || !ret_context)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc == 0)
        rc = wr_options_copy(&opt, sizeof opt, given);
    if (rc < 0)
        return rc;
    struct weir_context *parent = loop->scope ? loop->scope->context : NULL;
    if (parent && parent->depth + 1 == WR_CONTEXT_DEPTH)
        return -ELOOP;
    struct weir_context *c = wr_alloc_zeroed(sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct weir_context){.loop = loop, .parent = wr_context_share(parent), .opt = opt, .holds = 1};
    c->depth = parent ? parent->depth + 1 : 0;
    c->task.run = release;
    wr_list_init(&c->task.link);
    *ret_context = c;
    return 0;
}

int weir_context_close(struct weir_context *c)
{
    if (!c)
        return 0;
    int rc = wr_loop_check(c->loop);
    if (rc == 0)
        wr_context_let_go(c);
    return rc;
}

int weir_context_deactivate(struct weir_context *c)
{
    if (!c)
        return -EINVAL;
    int rc = wr_loop_check(c->loop);
    if (rc == 0)
        c->inactive = true;
    return rc;
}

int weir_context_run(struct weir_loop *loop, struct weir_context *c, weir_call_fn *fn, void *arg)
{
    if (!(loop = wr_loop_or_default(loop)) || !fn || (c && c->loop != loop))
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    struct wr_scope in = {.loop = loop, .context = wr_context_share(c)};
    wr_scope_begin(&in);
    fn(arg);
    wr_scope_end(&in);
    wr_context_drop(c);
    return 0;
}

/* A handler runs in what stands around its own context, so that what it raises goes outwards. */
static int handle(struct weir_loop *loop, struct weir_context *c, int code)
{
    struct wr_scope around = {
        .loop = loop, .context = c->parent, .outer = loop->scope, .entered = loop->scope->entered};
    loop->scope = &around;
    int handled = c->opt.on_error(code, c->opt.arg);
    loop->scope = around.outer;
    return handled;
}

int weir_context_fail(struct weir_loop *loop, int code)
{
    if (!(loop = wr_loop_or_default(loop)) || code >= 0)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0 || !loop->scope)
        return rc < 0 ? rc : -ENOENT;
    uint64_t entered = loop->scope->entered;
    for (struct weir_context *c = loop->scope->context; c; c = c->parent)
        if ((entered & bit(c)) && c->opt.on_error && handle(loop, c, code))
            return 0;
    return -ENOENT;
}

struct weir_context *weir_context_current(struct weir_loop *loop)
{
    loop = wr_loop_or_default(loop);
    return loop && loop->scope ? loop->scope->context : NULL;
}
