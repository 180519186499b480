/* The io_uring world, shared by its own files. Level 3.
 *
 * uring.c        start, cancel, submit, wait, reap
 * uring_quiet.c  sends that the kernel is silent about
 * uring_steps.c  ops that take several steps
 * uring_bufs.c   the ring of provided buffers
 * uring_probe.c  set-up from best to least, the self-test, refusals in words */
#ifndef WR_URING_H
#define WR_URING_H

#include <liburing.h>
#include <stdatomic.h>

#include "backend.h"

/* user_data of what is not an op. Ops are pointers, and so larger; that of a quiet send has its lowest bit set. */
enum { WR_URING_CANCEL = 1, WR_URING_WAKE = 3, WR_URING_IS_QUIET = 1 };

/* op.world[0] between reap and `done` of the terminal completion. Not an int: no result is like it. */
#define WR_URING_REAPED (UINT64_C(1) << 32)

/* op.world[1], its lowest bits: how an op is done, or where one of several steps is. What it holds stands above. */
enum wr_uring_step {
    WR_URING_ONE,       /* the op is one entry of the queue: the common case */
    WR_URING_QUIET,     /* so it is, and in the list of those that the kernel is silent about */
    WR_URING_LOUD,      /* it was, and failed */
    WR_URING_CHANGES,   /* a poll that hears of changes only; see polls_on */
    WR_URING_WAIT,      /* for readiness */
    WR_URING_TAKEN      /* it has a buffer of the pool, whose id it is */
};

struct wr_uring {
    struct wr_world w;
    struct io_uring ring;
    struct wr_net net;
    struct wr_cache cache;      /* memory for ops of several steps */
    struct io_uring_buf_ring *bufs; /* NULL exactly when there is no ring of provided buffers */
    struct wr_list finished;    /* ops whose result stands in world[0]; the kernel never saw them, or never will */
    struct wr_list unsubmitted; /* ops that found the submission queue full */
    struct wr_list uncancelled; /* ops in the kernel that have yet to be cancelled */
    struct wr_list cancelling;  /* ops in the kernel that a cancel was sent for */
    struct wr_list quiet;       /* sends that complete unless the kernel says otherwise, in order; op.world[0] is where
                                 * in the submission queue they stand, or stood */
    unsigned quiet_count;       /* how many have joined since it was empty */
    unsigned quiet_taken;       /* those that stand before it have gone, or failed */
    unsigned quiet_sifted;      /* those that failed by completions before it are not in the list any more */
    uint32_t fill;              /* bytes that a provided buffer gets, on average of late */
    int wake_fd;
    atomic_int told_fd;         /* an eventfd, readable once something comes, for another loop; -1: nobody asked */
    atomic_bool waking;
    bool wake_armed;
    bool ext_ring_fd;           /* the ring's descriptor is registered */
    bool multishot_recv, multishot_accept, quiet_send;
};

static inline struct wr_uring *wr_uring_of(struct wr_world *w)
{
    return wr_home(w, struct wr_uring, w);
}

/* NULL if it is no op's. */
static inline struct wr_op *wr_uring_op_of(const struct io_uring_cqe *cqe)
{
    uint64_t data = cqe->user_data;
    return data > WR_URING_WAKE ? (void *)(uintptr_t)(data & ~(uint64_t)WR_URING_IS_QUIET) : NULL;
}

static inline bool wr_uring_takes_steps(const struct wr_op *op)
{
    return op->world[1] >= WR_URING_WAIT;
}

/* uring.c */
extern const struct wr_world_ops wr_uring_ops;
/* Submit, and wait for wait_nr completions. 0, or what ended the ring. */
int wr_uring_enter(struct wr_uring *u, unsigned wait_nr, uint64_t wait_ns);
/* Hand an op to the ring, as its step wants it. */
void wr_uring_submit(struct wr_uring *u, struct wr_op *op);
/* Complete an op that the kernel does not have. */
void wr_uring_finish(struct wr_uring *u, struct wr_op *op, int res);

/* uring_quiet.c */
void wr_uring_prep_quiet(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op);
/* After every system call: what has been done by now. */
void wr_uring_note_quiet(struct wr_uring *u);
unsigned wr_uring_reap_quiet(struct wr_uring *u, struct wr_result *out, unsigned max);
/* The next turn may not wait, for their sake. */
bool wr_uring_is_urgent(const struct wr_uring *u);
/* It did not go well, and is in no list. Does it go on, as one that is heard of? */
bool wr_uring_quiet_failed(struct wr_uring *u, struct wr_op *op, int res);

/* uring_steps.c */
/* Recv or send of what is no socket, and sendfile. */
void wr_uring_start_steps(struct wr_uring *u, struct wr_op *op);
/* The op is on a step, or is a receive that needs one. */
void wr_uring_prep_step(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op);
/* A step has ended with res. True: so has the op, with *r. */
bool wr_uring_take_step(struct wr_uring *u, struct wr_op *op, int res, struct wr_result *r);
/* The op ends with res: what it held is given back, or is its result. */
struct wr_segment *wr_uring_settle_steps(struct wr_uring *u, struct wr_op *op, int res);

/* uring_bufs.c */
int wr_uring_bufs_open(struct wr_uring *u);
void wr_uring_bufs_close(struct wr_uring *u);
/* Offer free buffers to the kernel, as many as it is to have. */
void wr_uring_bufs_offer(struct wr_uring *u);
/* It has put len bytes into one. */
void wr_uring_bufs_filled(struct wr_uring *u, uint32_t len);

#endif
