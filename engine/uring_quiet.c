/* Sends whose good end nobody waits for. The kernel does them while it takes them on, or fails them: they do not wait
 * for room. It is told to be silent about those that go well, so that a turn that only had to send can wait for what
 * comes next in the same system call.
 *
 * What it was silent about is known a moment later: all that it had taken on after a call has gone well, but for those
 * that the completions in the queue name. It is told before them, since they may be answers to it. */
#include "uring.h"

#include <errno.h>

enum { UNTOLD_MAX = 16 };   /* as many may keep their memory while the loop waits */

void wr_uring_prep_quiet(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    sqe->msg_flags |= MSG_DONTWAIT | MSG_WAITALL; /* less than all is a failure, and told */
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    op->world[0] = u->ring.sq.sqe_tail - 1;
    op->world[1] = WR_URING_QUIET;
    wr_list_push(&u->quiet, &op->link);
    u->quiet_count++;
}

/* Their place in the submission queue; it wraps. */
static bool first_is_before(const struct wr_uring *u, unsigned place)
{
    const struct wr_op *first = wr_home(u->quiet.next, struct wr_op, link);
    return !wr_list_empty(&u->quiet) && (int)((unsigned)first->world[0] - place) < 0;
}

/* Unless a failure may not be visible yet. */
void wr_uring_note_quiet(struct wr_uring *u)
{
    if (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW)
        return;
    u->quiet_taken = __atomic_load_n(u->ring.sq.khead, __ATOMIC_ACQUIRE);
}

/* Those that failed leave the list. Each completion is looked at once, however many turns it waits to be reaped. */
static wr_apart void sift(struct wr_uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned head = *cq->khead, tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    if ((int)(u->quiet_sifted - head) < 0)
        u->quiet_sifted = head;
    for (; u->quiet_sifted != tail; u->quiet_sifted++) {
        const struct io_uring_cqe *cqe = &cq->cqes[u->quiet_sifted & cq->ring_mask];
        if ((cqe->user_data & WR_URING_IS_QUIET) && wr_uring_op_of(cqe))
            wr_list_remove(&wr_uring_op_of(cqe)->link);
    }
}

unsigned wr_uring_reap_quiet(struct wr_uring *u, struct wr_result *out, unsigned max)
{
    unsigned n = 0;
    if (first_is_before(u, u->quiet_taken))
        sift(u);
    for (; n < max && first_is_before(u, u->quiet_taken); n++) {
        struct wr_op *op = wr_home(wr_list_pop(&u->quiet), struct wr_op, link);
        out[n] = (struct wr_result){.op = op, .res = (int)wr_op_bytes(op), .late = true};
        op->world[0] = WR_URING_REAPED;
    }
    if (wr_list_empty(&u->quiet)) {
        u->quiet_count = 0;
        u->w.hasty = false;
    }
    return n;
}

bool wr_uring_is_urgent(const struct wr_uring *u)
{
    return !wr_list_empty(&u->quiet) && (u->w.hasty || u->quiet_count > UNTOLD_MAX);
}

bool wr_uring_quiet_failed(struct wr_uring *u, struct wr_op *op, int res)
{
    op->world[1] = WR_URING_LOUD;
    if (res != -EAGAIN || op->cancelled)
        return false;
    wr_uring_submit(u, op);
    return true;
}
