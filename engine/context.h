/* Contexts: what a callback was handed over in is entered around its call. Level 4.
 *
 * Whoever takes a callback from the user captures, and calls it between wr_enter and wr_leave. Where no context is used
 * each of the three is one test of a pointer. */
#ifndef WR_CONTEXT_H
#define WR_CONTEXT_H

#include "loop.h"

enum { WR_CONTEXT_DEPTH = 64 };

struct weir_context {
    struct weir_loop *loop;
    struct weir_context *parent;    /* held */
    struct weir_context_options opt;
    struct wr_task task;            /* to release it: no callback runs inside a call */
    uint32_t holds;
    uint32_t depth;                 /* 0: no parent */
    bool inactive;
};

/* A call that runs inside a context. */
struct wr_scope {
    struct weir_loop *loop;
    struct weir_context *context;   /* NULL: none, or the null scope */
    struct wr_scope *outer;
    uint64_t entered;               /* by depth: whose `enter` was called */
};

struct weir_context *wr_context_hold(struct weir_context *c);
void wr_context_let_go(struct weir_context *c);
void wr_scope_begin(struct wr_scope *in);
void wr_scope_end(struct wr_scope *in);

static inline struct weir_context *wr_context_share(struct weir_context *c)
{
    return wr_unlikely(c != NULL) ? wr_context_hold(c) : NULL;
}

static inline void wr_context_drop(struct weir_context *c)
{
    if (wr_unlikely(c != NULL))
        wr_context_let_go(c);
}

/* The present one, held; NULL if there is none. */
static inline struct weir_context *wr_context_capture(const struct weir_loop *loop)
{
    return wr_unlikely(loop->scope != NULL) ? wr_context_share(loop->scope->context) : NULL;
}

/* Takes over a hold on c. */
static inline void wr_enter(struct wr_scope *in, struct weir_loop *loop, struct weir_context *c)
{
    in->context = c;
    if (wr_likely(!c))
        return;
    in->loop = loop;
    wr_scope_begin(in);
}

static inline void wr_leave(struct wr_scope *in)
{
    if (wr_likely(!in->context))
        return;
    wr_scope_end(in);
    wr_context_let_go(in->context);
}

#endif
