/* Ops that take several steps on the ring: a receive without a ring of provided buffers, what is no socket, and files.
 *
 * All wait for readiness and act then: so an idle stream holds no buffer in any configuration; and pipes and terminals
 * behave the same on every kernel, whoever shares them, and need neither worker threads nor care for signals. What
 * waiting costs, reading through the ring costs too, by measure. */
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static enum wr_uring_step step_of(const struct wr_op *op)
{
    return (enum wr_uring_step)(op->world[1] & 7);
}

static void set_step(struct wr_op *op, enum wr_uring_step step, uint64_t what)
{
    op->world[1] = what << 3 | step;
}

static int buffer_of(const struct wr_op *op)
{
    return (int)(op->world[1] >> 3);
}

struct wr_segment *wr_uring_settle_steps(struct wr_uring *u, struct wr_op *op, int res)
{
    if (step_of(op) != WR_URING_TAKEN)
        return NULL;
    if (res > 0)
        return wr_bufpool_fill(&u->w.pool, buffer_of(op));
    wr_bufpool_return(&u->w.pool, buffer_of(op));
    return NULL;
}

/* ---- What is no socket, and files ---- */

enum { READ_MAX = 65536 - 64 };     /* with its head, a segment fills a block of the cache */

/* A few bytes do not keep a large block. */
static struct wr_segment *fit(struct wr_uring *u, struct wr_segment *seg, size_t len)
{
    struct wr_segment *small = len < seg->size / 4 ? wr_segment_new(&u->cache, len) : NULL;
    if (!small)
        return seg;
    memcpy(small->base, seg->base, len);
    wr_segment_drop(seg);
    return small;
}

/* The shared buffers are the kernel's, to choose from: what is read here has memory of its own. */
static int read_plain(struct wr_uring *u, struct wr_op *op, struct wr_segment **ret_seg)
{
    if (op->u.recv.base)
        return (int)wr_plain_try(&u->net, op, op->u.recv.base, op->u.recv.len);
    size_t len = wr_min(u->w.pool.size, READ_MAX);
    struct wr_segment *seg = wr_segment_new(&u->cache, len);
    if (!seg)
        return -ENOMEM;
    int res = (int)wr_plain_try(&u->net, op, seg->base, len);
    if (res > 0)
        *ret_seg = fit(u, seg, (size_t)res);
    else
        wr_segment_drop(seg);
    return res;
}

static int write_plain(struct wr_uring *u, struct wr_op *op)
{
    return (int)(op->kind == WR_OP_SENDFILE ? wr_file_try(&u->net, op) : wr_plain_try(&u->net, op, NULL, 0));
}

/* There is room most often: a send is tried at once. */
void wr_uring_start_steps(struct wr_uring *u, struct wr_op *op)
{
    int res = wr_plain_refusal(op);
    if (res == 0)
        res = op->kind == WR_OP_RECV ? -EAGAIN : write_plain(u, op);
    if (res == -EAGAIN) {
        set_step(op, WR_URING_WAIT, 0);
        wr_uring_submit(u, op);
    } else {
        wr_uring_finish(u, op, res);
    }
}

/* ---- The steps ---- */

void wr_uring_prep_step(struct wr_uring *u, struct io_uring_sqe *sqe, struct wr_op *op)
{
    if (step_of(op) == WR_URING_TAKEN) {
        io_uring_prep_recv(sqe, op->fd, wr_bufpool_base(&u->w.pool, buffer_of(op)), u->w.pool.size, MSG_DONTWAIT);
    } else {
        set_step(op, WR_URING_WAIT, 0);
        io_uring_prep_poll_add(sqe, op->fd, op->kind == WR_OP_RECV ? POLLIN | POLLRDHUP : POLLOUT);
    }
}

/* It is ready. Does the op go on? If not, r has its result, which may be that somebody else was faster. */
static bool act(struct wr_uring *u, struct wr_op *op, struct wr_result *r)
{
    if ((op->traits & WR_FD_PLAIN) || op->kind == WR_OP_SENDFILE) {
        r->res = op->kind == WR_OP_RECV ? read_plain(u, op, &r->seg) : write_plain(u, op);
        return false;
    }
    int id = wr_bufpool_take(&u->w.pool);
    r->res = -ENOBUFS;
    if (id >= 0)
        set_step(op, WR_URING_TAKEN, (uint64_t)id);
    return id >= 0;
}

bool wr_uring_take_step(struct wr_uring *u, struct wr_op *op, int res, struct wr_result *r)
{
    *r = (struct wr_result){.op = op, .res = res};
    if (step_of(op) != WR_URING_WAIT) {
        r->seg = wr_uring_settle_steps(u, op, res);
    } else if (op->cancelled) {
        r->res = -ECANCELED;
    } else if (res >= 0 && act(u, op, r)) {
        wr_uring_submit(u, op);
        return false;
    }
    return true;
}
