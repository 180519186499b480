/* What a world is: where operations happen. Level 2.
 *
 * Three exist: io_uring (engine/uring.c), epoll (compat/epoll.c) and the simulator (compat/sim.c). A world
 * knows ops and buffers, never loops or streams. It calls nobody: finished ops are fetched with `reap`. */
#ifndef WR_BACKEND_H
#define WR_BACKEND_H

#include <signal.h>

#include "bufpool.h"
#include "op.h"

enum wr_feature_state {
    WR_FEATURE_USED,
    WR_FEATURE_MASKED,
    WR_FEATURE_BROKEN,  /* the kernel has it, and it failed its test */
    WR_FEATURE_ABSENT,
    WR_FEATURE_UNUSED   /* a better one is used, or one is masked that it stands on */
};

struct wr_feature {
    const char *name;
    uint8_t state;      /* enum wr_feature_state */
    int error;          /* what the kernel or the self-test said, 0 if nothing */
};

/* What was tried at start, and how it went. */
struct wr_report {
    char why[256];                  /* why the wanted world was refused, in words; "" if it was not */
    struct wr_feature feature[24];
    unsigned features;
};

/* `world` is refused: `step` gave the error rc, which `why` explains. Returns rc. */
int wr_report_refusal(struct wr_report *r, const char *world, const char *step, int rc, const char *why);
void wr_report_feature(struct wr_report *r, const char *name, enum wr_feature_state state, int error);

struct wr_world_options {
    uint32_t recv_buffer_size, recv_buffers, ring_entries, completions_per_turn;
    const char *mask;       /* names, comma between; NULL: none */
};

/* 0, or -EINVAL if the mask has a name that is no feature's. */
int wr_check_mask(const char *mask);
/* Is `name` one of the mask's names? */
bool wr_masked(const char *mask, const char *name);

enum wr_socket_option { WR_SO_NODELAY, WR_SO_LINGER_RESET };

enum wr_want { WR_WANT_STREAM, WR_WANT_LISTENER };

/* A descriptor that was adopted. */
struct wr_adopted {
    bool socket;            /* or else something that is read and written */
    bool connected;
    bool reads, writes;     /* it was opened for that */
    uint8_t traits;         /* enum wr_fd_trait: for the ops on it */
};

struct wr_world;

struct wr_world_ops {
    const char *name;

    /* Take the op on. Never fails: what goes wrong is a completion. Nothing is called back. Called by wr_start. */
    void (*start)(struct wr_world *w, struct wr_op *op);
    /* Ask for the end of an op in flight. It still completes, once, with what it has: bytes, or -ECANCELED. */
    void (*cancel)(struct wr_world *w, struct wr_op *op);
    /* Hand over what was started, in one system call where the kernel allows it, and wait up to wait_ns
     * (UINT64_MAX: for ever) until something completes or `wake` is called. Does not wait if there is something to
     * reap already. 0, or the error that ended this world for good. EINTR is not an error: it returns 0. */
    int (*turn)(struct wr_world *w, uint64_t wait_ns);
    /* Up to max completions, in order. How many; 0: none are left. */
    unsigned (*reap)(struct wr_world *w, struct wr_result *out, unsigned max);
    /* Hand over what was started, without waiting: before somebody else's loop sleeps. 1 if there is something to
     * reap already, 0 if `fd` will tell, or an error. */
    int (*flush)(struct wr_world *w);
    /* Make the present or the next `turn` return. Any thread, signal handlers too. */
    void (*wake)(struct wr_world *w);
    uint64_t (*now)(struct wr_world *w);
    /* Polls readable when `turn` would not wait; -ENOTSUP if there is none. */
    int (*fd)(struct wr_world *w);
    /* Nothing may be in flight. */
    void (*close)(struct wr_world *w);

    /* Sockets, at once and without waiting. All return -errno. */
    int (*socket)(struct wr_world *w, int family);                      /* an unconnected stream socket */
    int (*listen)(struct wr_world *w, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port);
    /* Make a foreign descriptor fit. -EBADF; -EINVAL: a socket, but listening where a stream is wanted, or not
     * listening where a listener is; -ENOTSUP: it can be no stream; -ENOTSOCK: no listener. What is refused stays as
     * it was. */
    int (*adopt)(struct wr_world *w, int fd, enum wr_want want, struct wr_adopted *ret_facts);
    int (*address)(struct wr_world *w, int fd, bool peer, struct sockaddr_storage *ret_addr,
                   socklen_t *ret_len);
    int (*option)(struct wr_world *w, int fd, enum wr_socket_option option, int value);
    void (*discard)(struct wr_world *w, int fd);    /* close a socket that no op was ever started on */
    /* The fd limit is reached: give one waiting connection its end with a spare fd. How many were shed. */
    int (*shed)(struct wr_world *w, int listen_fd);

    /* A descriptor that is its user's, who wants it polled; no other op is started on it. 0, -EBADF, -ENOMEM, ...
     * Several may watch one. */
    int (*watch)(struct wr_world *w, int fd);
    /* One of them leaves: its polls have ended or were cancelled. When the last has left, nothing of the world holds
     * what fd stands for, though a poll has still to complete: it may be closed, and the number be another's. */
    void (*unwatch)(struct wr_world *w, int fd);
};

/* The part that all worlds have, first in each of theirs. */
struct wr_world {
    const struct wr_world_ops *ops;
    struct wr_bufpool pool;
    struct wr_report report;
    uint64_t enters;        /* system calls that submit or wait */
    uint64_t started;       /* ops taken on */
    struct wr_net *net;     /* of a world on real sockets */
    bool hasty;             /* somebody waits for a quiet send after all: the next turn tells of all that it can */
};

static inline void wr_start(struct wr_world *w, struct wr_op *op)
{
    wr_assert(!op->in_flight && op->done && op->kind != WR_OP_NONE && op->fd >= 0);
    op->in_flight = true;
    op->cancelled = false;
    op->world[0] = op->world[1] = 0;
    wr_list_init(&op->link);
    w->started++;
    w->ops->start(w, op);
}

static inline void wr_cancel(struct wr_world *w, struct wr_op *op)
{
    if (!op->in_flight || op->cancelled)
        return;
    op->cancelled = true;
    w->hasty |= (op->flags & WR_OP_QUIET) != 0;
    w->ops->cancel(w, op);
}

/* Each opens its world, pool included. 0 and *ret_world; or an error, with the reason in report->why. */
int wr_uring_open(const struct wr_world_options *opt, struct wr_report *report, struct wr_world **ret_world);
int wr_epoll_open(const struct wr_world_options *opt, struct wr_report *report, struct wr_world **ret_world);

/* A world of the simulator; see weir_sim.h. The simulator must outlive it. */
struct weir_sim;
int wr_sim_attach(struct weir_sim *sim, const struct wr_world_options *opt, struct wr_report *report,
                  struct wr_world **ret_world);

/* The world that `backend` (enum weir_backend) asks for. AUTO tries io_uring first and keeps the reason. */
int wr_backend_open(int backend, const struct wr_world_options *opt, struct wr_report *report,
                    struct wr_world **ret_world);

/* What io_uring and epoll share: the clock, `socket` to `shed` on real sockets, and bytes of what is no socket. */
struct wr_net {
    bool nonblock;      /* how the world wants its sockets */
    bool rwf_nowait, rwf_nosignal;  /* the kernel knows them on pipes */
    int spare_fd;       /* kept open for `shed`; -1 if none */
};

void wr_net_open(struct wr_net *n, bool nonblock);
void wr_net_close(struct wr_net *n);
uint64_t wr_net_now(struct wr_world *w);
int wr_net_socket(struct wr_world *w, int family);
int wr_net_listen(struct wr_world *w, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port);
int wr_net_adopt(struct wr_world *w, int fd, enum wr_want want, struct wr_adopted *ret_facts);
int wr_net_address(struct wr_world *w, int fd, bool peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len);
int wr_net_option(struct wr_world *w, int fd, enum wr_socket_option option, int value);
void wr_net_discard(struct wr_world *w, int fd);
int wr_net_shed(struct wr_world *w, int listen_fd);
/* Before an adopted descriptor is closed: whoever shares it finds it as it was. */
void wr_net_restore(const struct wr_net *n, int fd, uint8_t traits);
/* WR_FD_TCP, or 0. */
uint8_t wr_net_traits(int fd);
/* 0, or -EBADF if it is no descriptor. */
int wr_net_check(int fd);

/* An eventfd, by which one thread wakes another: readable from the one on, and no more from the other on. -1 is none.
 * Raising is safe in signal handlers. */
void wr_net_raise(int event_fd);
void wr_net_lower(int event_fd);

/* file.c: do what a sendfile asks for, as far as it goes without waiting for the receiver: bytes, 0 if the file ends
 * before them, or an error; -EAGAIN if it would have to wait. No signal is raised. */
int64_t wr_file_try(const struct wr_net *n, const struct wr_op *op);
/* Read from a file: bytes, 0 where it ends, or an error. */
int64_t wr_file_read(int fd, void *data, size_t len, uint64_t at);

/* plain.c: pipes, FIFOs and terminals. */
void wr_plain_open(struct wr_net *n, const char *mask, struct wr_report *report);
int wr_plain_adopt(const struct wr_net *n, int fd, struct wr_adopted *ret_facts);
/* The error with which an op ends at once, since its descriptor is not open for that; or 0. */
int wr_plain_refusal(const struct wr_op *op);
/* Do what a recv (into base) or send asks for, as far as it goes without waiting: bytes, 0 at the end, or an error;
 * -EAGAIN if it would have to wait. No signal is raised. */
int64_t wr_plain_try(const struct wr_net *n, const struct wr_op *op, void *base, size_t len);

/* SIGPIPE, for a call that has no flag against it: blocked in this thread, and what the call raised is taken back. */
struct wr_guard {
    sigset_t before;
    bool pending;   /* it was, already: it stays so */
};
void wr_guard_begin(struct wr_guard *g);
void wr_guard_end(const struct wr_guard *g, bool raised);  /* raised: the call may have raised it */

#endif
