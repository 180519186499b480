/* The turn: who is served, in which order, how often. Level 4. */
#ifndef WR_LOOP_H
#define WR_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend.h"
#include "post.h"
#include "timers.h"
#include "weir.h"

/* Something to do later in this turn, before what was started is submitted. Embedded in its owner; queued at
 * most once. */
struct wr_task {
    struct wr_list link;
    void (*run)(struct wr_task *task);
};

/* Something that can be asked for from anywhere: its task is queued in the turn that follows. In loop->alarms while it
 * can be. */
struct wr_alarm {
    struct wr_list link;
    struct wr_task task;
    atomic_bool rung;
};

/* Who would take a step of beginning, and what a turn has for such steps. */
enum { WR_BEGIN_BUDGET = 8 };

struct wr_beginner {
    struct wr_task task;    /* runs when it may, if it might not at once */
    uint8_t price;          /* of a step: the whole budget lets nobody begin after it in the same turn */
};

/* What lives on a loop and must be gone before the loop closes. */
struct wr_resident {
    struct wr_list link;
    const struct wr_resident_kind *kind;
};

struct wr_resident_kind {
    void (*evict)(struct wr_resident *resident);    /* begin to end; called by weir_loop_close */
    void (*bury)(struct wr_resident *resident);     /* free what has ended; for wr_loop_bury */
};

struct wr_scope;

struct weir_loop {
    struct wr_world *world;
    struct wr_cache cache;
    struct wr_timers timers;
    struct wr_mailbox mail;
    struct wr_list tasks;       /* wr_task.link */
    struct wr_list starved;     /* wr_op.link: receives that wait for a buffer, first come first served */
    struct wr_list spent;       /* wr_op.link: receives that have used up what was offered; empty between turns */
    struct wr_list thirsty;     /* wr_op.link: receives that wait for memory, likewise */
    struct wr_op *exempt;       /* the one that need not wait for memory, so that something goes on; or NULL */
    bool exempt_moves;          /* it has just been made so, or asked for more since the last look */
    struct wr_timer look;       /* at the exempt one, while others wait */
    struct wr_timer shrink;     /* when to free what the cache was not asked for */
    size_t max_memory;
    struct wr_list beginners;   /* wr_task.link: layers that wait to begin, likewise */
    struct wr_list parked;      /* wr_task.link: tasks that wait for a descriptor to be closed */
    struct wr_list alarms;      /* wr_alarm.link */
    struct wr_list residents;   /* wr_resident.link */
    struct wr_list terms;       /* what its streams were opened with, terms.h */
    struct wr_list ended;       /* wr_resident.link: handles that are valid until weir_loop_close returns */
    struct wr_segment *lent;    /* where the view of the callback that runs now stands; NULL if there is none */
    struct wr_scope *scope;     /* the context that the present call runs in, context.h; NULL: none */
    uint32_t holds;             /* views that users keep */
    uint64_t now;
    uint32_t turn_budget;
    int begin_budget;           /* for beginnings, left of this turn; below 0 if the last took more than was left */
    const void *owner;          /* its thread's, which nobody else has */
    uint32_t fork_mark, forks;  /* of the process, when it was opened */
    bool in_turn;               /* true exactly while callbacks may run */
    bool running;               /* inside weir_loop_run */
    bool closing;
    bool embedded;              /* weir_loop_fd was asked for: submit before returning */
    uint64_t handed_over;       /* the world's ops, as of the last submission for it */
    atomic_int posting;         /* threads inside weir_post */
    atomic_bool stop;
    atomic_bool alarmed;        /* one of the alarms was rung */
    struct weir_loop_stats stats;
};

/* loop_turn.c, for loop.c: the timers of the loop's own; a turn; what keeps the next from waiting; the tasks alone. */
int wr_loop_join_timers(struct weir_loop *loop);
int wr_loop_turn(struct weir_loop *loop, uint64_t timeout_ns);
bool wr_loop_has_work(struct weir_loop *loop);
void wr_loop_serve_tasks(struct weir_loop *loop);

/* 0 if the caller may use the loop; WEIR_ETHREAD, WEIR_EFORK. */
int wr_loop_check(const struct weir_loop *loop);
/* Since it was opened: a child may hold its descriptors. */
bool wr_loop_has_forked(const struct weir_loop *loop);
/* NULL means the thread's own; NULL if that could not be opened. */
struct weir_loop *wr_loop_or_default(struct weir_loop *loop);

void wr_loop_task(struct weir_loop *loop, struct wr_task *task);
/* Queue the task when the next descriptor is closed. */
void wr_loop_park(struct weir_loop *loop, struct wr_task *task);
void wr_loop_fd_freed(struct weir_loop *loop);

/* To begin takes long, as in a handshake: a turn takes a few steps of that, and others wait in order. May this one take
 * one? If not, its task runs once it may: it need not ask again. */
bool wr_loop_may_begin(struct weir_loop *loop, struct wr_beginner *b);
/* The step that was allowed came to nothing. */
void wr_loop_began_nothing(struct weir_loop *loop, const struct wr_beginner *b);

/* Any thread, signal handlers too. Rung several times before its task runs, it runs once. */
void wr_loop_ring(struct weir_loop *loop, struct wr_alarm *alarm);

/* The resident has ended: free it, at once or, while the loop closes, at the end of that. */
void wr_loop_bury(struct weir_loop *loop, struct wr_resident *resident);

/* The time to count a delay from: the turn's, or now if none is running. */
uint64_t wr_loop_now(struct weir_loop *loop);

/* Start a receive that met -ENOBUFS again, once a buffer is free. It counts as idle until then. */
void wr_loop_starve(struct weir_loop *loop, struct wr_op *op);
/* Likewise one that had found some before: it goes on as it was in the next turn, behind those whose turn it is. */
void wr_loop_spend(struct weir_loop *loop, struct wr_op *op);

/* More is kept than may be. */
static inline bool wr_loop_is_full(const struct weir_loop *loop)
{
    return loop->cache.used >= loop->max_memory;
}

/* The loop is full: may this receive go on nevertheless? One may, until its stream has got what it asks for, or others
 * wait and nothing comes for it. */
bool wr_loop_exempts(struct weir_loop *loop, struct wr_op *op);
void wr_loop_exempt_over(struct weir_loop *loop, struct wr_op *op);
/* Start the receive once memory is free, or it is its turn to go on without. It counts as idle until then. */
void wr_loop_thirst(struct weir_loop *loop, struct wr_op *op);

/* True from start to terminal completion, and while it waits for a buffer. */
static inline bool wr_op_busy(const struct wr_op *op)
{
    return op->in_flight || !wr_list_empty(&op->link);
}

/* Ask for the end of an op, wherever it is: in the world, or waiting for a buffer (then it is idle at once). */
void wr_loop_cancel(struct weir_loop *loop, struct wr_op *op);

#endif
