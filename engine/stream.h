/* A stream: a socket, what was received and not read, what was written and not sent, and its life. Level 5.
 *
 * stream.c       life: open, connect, the task, the close protocol
 * stream_read.c  kernel -> buffer -> pending read -> user
 * stream_write.c user -> queue -> kernel, and the marks back
 *
 * User callbacks run from a completion or from the task, never from inside a call. The stream's memory goes in one
 * place only: stream.c's `finish`, when both ops are idle. */
#ifndef WR_STREAM_H
#define WR_STREAM_H

#include <errno.h>

#include "buffer.h"
#include "loop.h"
#include "match.h"
#include "sendq.h"

/* name, legal successors */
#define WR_LIFE(X)                                                                                       \
    X(NEW, WR_BIT(CONNECTING) | WR_BIT(OPEN) | WR_BIT(CLOSING))                                          \
    X(CONNECTING, WR_BIT(OPEN) | WR_BIT(CLOSING))                                                        \
    X(OPEN, WR_BIT(FLUSHING) | WR_BIT(CLOSING)) /* reads and writes */                                   \
    X(FLUSHING, WR_BIT(LINGERING) | WR_BIT(CLOSING)) /* sends what is queued, then FIN; drops input */    \
    X(LINGERING, WR_BIT(CLOSING)) /* FIN sent: drops input until the peer's FIN */                        \
    X(CLOSING, WR_BIT(CLOSED)) /* no op is started any more; waits for those in flight, fails the rest */ \
    X(CLOSED, 0) /* the fd is being closed; on_close comes next, and last */

enum wr_life {
#define X(name, next) WR_LIFE_##name,
    WR_LIFE(X)
#undef X
};

#define WR_BIT(name) (1u << WR_LIFE_##name)

struct weir_stream {
    struct wr_op in;    /* receive, or the watch of an idle stream */
    struct wr_op out;   /* connect, send, shutdown, close: never two at once */
    struct wr_task task;
    struct wr_resident resident;
    struct weir_loop *loop;
    struct wr_timer timer;      /* connect, flush */

    struct wr_buf buf;
    struct wr_match match;      /* the pending read; kind NONE exactly when there is none */
    weir_read_fn *read_fn;
    void *read_arg;

    struct wr_sendq sendq;
    struct iovec *vec;          /* the vector of a send in flight that has several pieces, else NULL */
    size_t vec_size;

    weir_connect_fn *connect_fn;    /* not NULL exactly while a connect is to be reported */
    void *connect_arg;
    weir_close_fn *close_fn;
    void *close_arg;

    uint64_t bytes_in, bytes_out;
    uint64_t connect_timeout, flush_timeout;
    size_t read_max, write_max, ext_size;

    int fd;
    int end;            /* what stands behind the buffered bytes: 0 nothing yet, WEIR_EOF, or an error */
    int reason;         /* what on_close will tell */
    uint8_t life;       /* enum wr_life; set by wr_stream_live only */
    bool half_open;
    bool nodelay;
    bool hungry;        /* true exactly when a read is pending that the buffered bytes do not satisfy */
    bool look;          /* a read is pending that may be satisfied: the task has to look */
    bool serving;       /* inside the loop that serves reads: a new read is seen by it */
    bool eager;         /* the last received bytes were all read at once: a multishot receive pays */
    bool hup;           /* the watch saw the peer go: receive to learn how */
    bool flush_wanted;  /* closed by FLUSH while connecting: flush once connected */
    bool drops;         /* it was FLUSHING once: input is not kept, and would not join what was kept before */
    bool fin_wanted;    /* weir_shutdown, or closing by FLUSH */
    bool fin_sent;      /* the shutdown op was started */
    unsigned char ext[] __attribute__((aligned(16)));
};

/* stream.c */
int wr_stream_new(struct weir_loop *loop, int fd, bool connected, const struct weir_stream_options *opt,
                  struct weir_stream **ret_stream);
int wr_stream_read_options(const struct weir_stream_options *given, struct weir_stream_options *opt);
void wr_stream_live(struct weir_stream *s, enum wr_life life);
/* Begin to end, for `reason`. `life` is FLUSHING or CLOSING. */
void wr_stream_end(struct weir_stream *s, enum wr_life life, int reason);
void wr_stream_task(struct weir_stream *s);
/* Asserts what holds between any two steps: at the end of every task and, in checking builds, of every completion. */
void wr_stream_check(const struct weir_stream *s);
#ifdef WR_CHECK
#define wr_stream_checked(s) wr_stream_check(s)
#else
#define wr_stream_checked(s) ((void)0)
#endif

/* stream_read.c */
void wr_stream_recv_done(struct wr_op *op, const struct wr_result *r);
void wr_stream_serve(struct weir_stream *s);        /* give the pending read what it can have */
void wr_stream_arm(struct weir_stream *s);          /* receive, watch, pause: as the state wants it */
void wr_stream_reach_end(struct weir_stream *s);    /* the peer's end, once the bytes before it are read */
void wr_stream_fail_read(struct weir_stream *s, int status);

/* stream_write.c */
void wr_stream_pump(struct weir_stream *s);         /* start a send or the FIN, if one is due */
void wr_stream_send_done(struct wr_op *op, const struct wr_result *r);
void wr_stream_call_marks(struct weir_stream *s);   /* those whose bytes are gone */
void wr_stream_fail_writes(struct weir_stream *s, int status);

/* Nothing happened: the op may simply be started again. */
static inline bool wr_stream_again(const struct wr_op *op, int res)
{
    return res == -EINTR || res == -EAGAIN || (res == -ECANCELED && !op->cancelled);
}

#endif
