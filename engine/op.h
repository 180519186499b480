/* One operation, embedded in the object that wants it. Level 2.
 *
 * The life of an op: its owner fills it and calls wr_start; the world works on it; the loop calls `done`, for
 * MULTI ops once per shot with more = true, and for every op exactly once with more = false: the terminal
 * completion. From wr_start to the terminal completion the op, its memory and its fd must stay as they are,
 * whatever happens: cancelling only asks. (The fd of a poll is its user's: see `unwatch` in backend.h.) */
#ifndef WR_OP_H
#define WR_OP_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "list.h"
#include "segment.h"

enum wr_op_kind {
    WR_OP_NONE = 0,
    WR_OP_ACCEPT,   /* res: the new fd, fit for the world, CLOEXEC. MULTI */
    WR_OP_CONNECT,  /* res: 0. Never -EINTR, -EAGAIN or -EINPROGRESS */
    WR_OP_RECV,     /* res: bytes, 0 at the peer's FIN or its like. MULTI with pool buffers only: it may fill several
                     * at a time, which are neighbours and one segment */
    WR_OP_SEND,     /* res: bytes, at least 1 unless it fails; all of them, or fewer */
    WR_OP_SENDFILE, /* res: bytes, at least 1 unless it fails, often fewer than asked; 0: the file ends before them */
    WR_OP_SHUTDOWN, /* res: 0; -ENOTSOCK: the FIN of what is no socket is its close */
    WR_OP_CLOSE,    /* res: 0 or an error; the fd is gone in any case */
    WR_OP_POLL      /* res: revents, as poll(2): of what was asked, POLLERR and POLLHUP. Any number goes on one fd,
                     * beside its other ops. -EINVAL: what is asked is not so, and the file is none that can wait */
};

enum wr_op_flag {
    WR_OP_MULTI = 1 << 0,   /* keep going: completions with more = true until something ends it */
    WR_OP_MORE = 1 << 1,    /* send: more is to follow at once */
    WR_OP_PIECES = 1 << 2,  /* send: of any number of pieces; else of one */
    WR_OP_QUIET = 1 << 3    /* a send whose good end nobody waits for: if it goes at once, that may be told together
                             * with whatever else completes next, or after `hasty` was set */
};

/* What is to be known of a descriptor, as `adopt` tells it. Without any of it, nothing is presumed. */
enum wr_fd_trait {
    WR_FD_RESTORE = 1 << 0, /* it came in another mode (O_NONBLOCK) than the world wants, and is closed in that */
    WR_FD_PLAIN = 1 << 1,   /* no socket: a pipe, a FIFO, or */
    WR_FD_DEVICE = 1 << 2,  /* a terminal or the like */
    WR_FD_OWN = 1 << 3,     /* plain, and open for nobody else: it does not wait */
    WR_FD_NO_READ = 1 << 4, /* plain, and not open for it: recv is -EBADF at once; -EPIPE if the reader has gone */
    WR_FD_NO_WRITE = 1 << 5, /* plain, and not open for it: send and sendfile are -EBADF at once */
    WR_FD_TCP = 1 << 6,     /* a socket with the manners of TCP; those of unix sockets differ */
    WR_FD_SOLE = 1 << 7     /* nobody else has a descriptor of it: a close is its end */
};

/* Of the sockets of an address family (AF_INET, ...). */
static inline uint8_t wr_family_traits(int family)
{
    return family == AF_INET || family == AF_INET6 ? WR_FD_TCP : 0;
}

struct wr_op;

/* A completion. Errors are -errno and always terminal. Errors that any world may return at any time:
 *   -EINTR, -EAGAIN    accept, recv, send, sendfile, poll: nothing happened, start it again
 *   -ECANCELED         it was cancelled; if the owner did not ask for that, start it again
 *   -ENOBUFS           recv: the pool was empty; start it again when a buffer is free
 * A MULTI op may end at any completion, also a good one. */
struct wr_result {
    struct wr_op *op;
    int res;
    bool more;                  /* true: not terminal */
    bool late;                  /* a quiet send: it went when it was started, which may be long ago */
    uint32_t off;               /* where in seg the bytes begin */
    struct wr_segment *seg;     /* recv without memory of its own, res > 0: one hold, which passes to `done`. Of the
                                 * pool, or own memory for what is no socket */
};

typedef void wr_done_fn(struct wr_op *op, const struct wr_result *r);

struct wr_op {
    wr_done_fn *done;
    int fd;
    uint8_t kind;           /* enum wr_op_kind */
    uint8_t flags;          /* enum wr_op_flag */
    bool in_flight : 1;     /* true exactly from wr_start until `done` is about to be called with more = false */
    bool cancelled : 1;     /* wr_cancel was called since wr_start */
    uint8_t traits;         /* enum wr_fd_trait, of fd */
    union {
        struct {
            const struct sockaddr *addr;    /* stays until the terminal completion */
            socklen_t len;
        } connect;
        struct {
            void *base;             /* NULL: into a pool buffer, or what serves for one */
            size_t len;
        } recv;
        struct iovec send;
        const struct msghdr *pieces;    /* msg_iov, msg_iovlen; it and the vector stay until the terminal completion */
        struct {
            uint64_t at;            /* in the file */
            uint32_t len;
            int fd;                 /* of a regular file; stays open until the terminal completion */
        } file;
        int how;                    /* shutdown */
        uint32_t events;            /* poll */
    } u;
    struct wr_list link;    /* the world's while in flight, the owner's otherwise */
    uint64_t world[2];      /* the world's own, zero at wr_start */
};

/* What a send sends: how many pieces there are, and where they stand. */
static inline size_t wr_op_pieces(const struct wr_op *op, const struct iovec **ret_iov)
{
    bool several = op->flags & WR_OP_PIECES;
    *ret_iov = several ? op->u.pieces->msg_iov : &op->u.send;
    return several ? op->u.pieces->msg_iovlen : 1;
}

static wr_apart size_t wr_bytes_of_pieces(const struct msghdr *pieces)
{
    size_t total = 0;
    for (size_t i = 0; i < pieces->msg_iovlen; i++)
        total += pieces->msg_iov[i].iov_len;
    return total;
}

static inline size_t wr_op_bytes(const struct wr_op *op)
{
    return wr_likely(!(op->flags & WR_OP_PIECES)) ? op->u.send.iov_len : wr_bytes_of_pieces(op->u.pieces);
}

#endif
