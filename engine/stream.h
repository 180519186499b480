/* A stream: a socket, what was received and not read, what was written and not sent, and its life. Level 5.
 *
 * stream.c       life: open, connect, the task, the close protocol
 * stream_read.c  kernel -> buffer -> pending read -> user
 * stream_ask.c   what users ask for: the reads
 * stream_write.c user -> queue -> kernel, and the marks back
 * stream_layer.c both ways through a layer: what is written waits before it, what came waits behind it
 * stream_time.c  what takes too long
 *
 * User callbacks run from a completion or from the task, never from inside a call. The stream's memory goes in one
 * place only: stream.c's `finish`, when both ops are idle. */
#ifndef WR_STREAM_H
#define WR_STREAM_H

#include <errno.h>

#include "buffer.h"
#include "context.h"
#include "deadline.h"
#include "loop.h"
#include "match.h"
#include "sendq.h"
#include "terms.h"
#include "weir_layer.h"
#include "wire.h"

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

/* How fast bytes go one way, from when they began. */
struct wr_pace {
    uint64_t began, bytes;      /* when, and bytes_in or bytes_out then */
};

/* What bounds a stream in time. Streams have it while they begin or end, and else if they were given time limits. */
struct wr_bounds {
    struct wr_deadlines due;
    struct wr_pace pace_in, pace_out;
    struct weir_stream *s;
    struct wr_connecting *connecting;   /* not NULL exactly while a connect is to be reported */
};

/* Who is to be told of a connection, and where to. */
struct wr_connecting {
    weir_connect_fn *fn;
    void *arg;
    struct weir_context *context;
    size_t block_size;          /* it stands in a block of the cache */
    struct sockaddr_storage addr;
};

/* Who is to be told that a full stream has drained. */
struct wr_drain {
    weir_drain_fn *fn;
    void *arg;
    struct weir_context *context;
    size_t block_size;          /* it stands in a block of the cache */
};

/* A layer, and what is on its way through it. What it has put on the wire stands in the stream's sendq. */
struct wr_layer {
    struct weir_layer_verbs verbs;
    const struct weir_layer_verbs *given;
    void *own;
    struct weir_wire wire;
    struct wr_sendq plain;      /* written, and not emitted; of it is frozen */
    const void *head;           /* what emit was called with last, */
    size_t head_len;            /* and must be called with again; 0: nothing */
    struct wr_segment *read;    /* where the head stands if it was read from a file, else NULL */
    weir_layer_fn *wait_fn;
    void *wait_arg;
    struct weir_context *wait_context;
    int end;                    /* what stands behind the bytes on the wire: as the stream's `end`, which follows */
    int broken;                 /* a verb has failed, with this code: none but release is called any more; or 0 */
    struct weir_stream *stream;
    struct wr_beginner turn;
    bool its_turn;
    bool begun;                 /* start is done */
    bool shut;                  /* shut is done */
    bool wants_input;           /* start, emit or shut does */
    bool ingest_wants_room;
    bool dry;                   /* ingest wants input, and none has come since */
    uint64_t said;              /* where in the stream's outgoing bytes its last word begins */
    uint8_t partings;           /* sends that were started for its last word */
};

/* In the order in which a message meets them; what stands behind the queue it does not touch. */
struct weir_stream {
    struct wr_op in;    /* receive, or the watch of an idle stream */
    struct wr_op out;   /* connect, send, shutdown, close: never two at once */
    struct wr_task task;
    struct weir_loop *loop;
    struct wr_layer *layer;     /* NULL: what is written goes to sendq, and what comes to buf, as it is */
    struct wr_bounds *bounds;   /* NULL: it may take any time */

    int end;            /* what stands behind the buffered bytes: 0 nothing yet, WEIR_EOF, or an error */
    int reason;         /* what on_close will tell */
    int16_t ended;      /* the pending read is over, before its bytes came, for this reason; else 0 */
    uint8_t life;       /* enum wr_life; set by wr_stream_live only */
    uint8_t asked;      /* bits of enum wr_deadline: they seem to have passed; the send in flight is to tell */
    bool hungry;        /* true exactly when a read is pending that the buffered bytes do not satisfy */
    bool eager;         /* the last received bytes were all read at once, or the first will be: a multishot receive
                         * pays */
    bool look : 1;      /* what is to be read, or received, has changed: the task has to look */
    bool serving : 1;   /* inside the loop that serves reads: a new read is seen by it */
    bool corked : 1;    /* what is queued waits for weir_uncork, or for the end */
    bool full : 1;      /* too much was queued, or asked to be, and it is not yet as little as the low water */
    bool dialed : 1;    /* it was connected from here */
    bool hup : 1;       /* the watch saw the peer go: receive to learn how */
    bool drops : 1;     /* it was FLUSHING once: input is not kept, and would not join what was kept before */
    bool gap : 1;       /* input was dropped behind what is buffered */
    bool fin_wanted : 1;    /* weir_shutdown, or closing by FLUSH */
    bool fin_sent : 1;  /* the shutdown op was started */
    bool flush_wanted : 1;  /* closed by FLUSH while connecting: flush once connected */
    bool socket : 1;    /* or else a pipe or the like, */
    bool reads : 1, writes : 1; /* which may go one way only */
    bool nodelay : 1;
    bool fed : 1;       /* the receive that goes on has brought something */

    struct wr_buf buf;
    struct wr_match match;      /* the pending read; kind NONE exactly when there is none */
    weir_read_fn *read_fn;
    void *read_arg;
    struct weir_context *read_context;

    const struct weir_stream_options *opt;  /* see terms.h */
    uint64_t bytes_in;          /* bytes_out is sendq.done */
    struct wr_sendq sendq;

    struct wr_drain *drain;     /* NULL: nobody is told */
    weir_close_fn *on_close;
    void *on_close_arg;
    struct weir_context *close_context;
    struct wr_resident resident;
};

/* The user's bytes stand behind the stream, in the same allocation, if there are any. */
#define WR_STREAM_EXT ((sizeof(struct weir_stream) + 15) / 16 * 16)

/* stream.c */
/* A stream of fd, which the world adopts if its facts are not known (NULL). 0, or an error and nothing has changed. */
int wr_stream_new(struct weir_loop *loop, int fd, const struct wr_adopted *facts,
                  const struct weir_stream_options *opt, struct weir_stream **ret_stream);
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

void wr_stream_report_connect(struct weir_stream *s, int status);

/* stream_read.c */
void wr_stream_recv_done(struct wr_op *op, const struct wr_result *r);
void wr_stream_serve(struct weir_stream *s);        /* give the pending read what it can have */
void wr_stream_arm(struct weir_stream *s);          /* receive, watch, pause: as the state wants it */
void wr_stream_reach_end(struct weir_stream *s);    /* the peer's end, once the bytes before it are read */
void wr_stream_fail_read(struct weir_stream *s, int status);
void wr_stream_read_over(struct weir_stream *s);    /* the pending read is; what it was given is told by the caller */
/* The pending read is over without its bytes, for `status`: the task tells, once no memory of the user is in flight. */
void wr_stream_end_read(struct weir_stream *s, int status);
/* What the buffered bytes are to the pending read; the peer's end, if it has come, stands behind them or a gap. */
static inline enum wr_match_verdict wr_stream_scan(struct weir_stream *s, size_t *ret_n)
{
    const unsigned char *data = wr_buf_data(&s->buf);
    size_t len = wr_buf_len(&s->buf);
    if (len == 0 && s->match.kind != WR_MATCH_BYTES)
        return WR_MATCH_MORE; /* none but a read of no bytes can do without any */
    return wr_likely(s->end != WEIR_EOF || s->gap) ? wr_match_scan(&s->match, data, len, ret_n)
                                                   : wr_match_last(&s->match, data, len, ret_n);
}
/* A receive is in flight that writes to where the bytes stay: to the user's memory, or to the buffer's, which stays as
 * it is so long. */
static inline bool wr_stream_lends_memory(const struct weir_stream *s)
{
    return s->in.in_flight && s->in.kind == WR_OP_RECV && s->in.u.recv.base;
}

/* stream_ask.c: the segment of the running callback's view that has these bytes, or NULL; and whether it may be held
 * for a while: of the shared buffers half stay free for receiving, however slow the peers are, and memory must not be
 * much more than the bytes, one buffer apart. */
struct wr_segment *wr_stream_lent(const struct weir_loop *loop, const unsigned char *data, size_t len);
bool wr_stream_may_hold(const struct weir_loop *loop, const struct wr_segment *seg, size_t len);

/* stream_layer.c: for streams that have a layer */
void wr_layer_open(struct weir_stream *s);          /* the stream is connected: start */
void wr_layer_feed(struct weir_stream *s, const struct wr_result *r);   /* bytes came */
void wr_layer_step(struct weir_stream *s);          /* start, emit and shut, as far as they go */
void wr_layer_emit_full(struct weir_stream *s);     /* emit now, if much is written */
/* Plain bytes for the pending read, or for the buffer if there is none. Did anything come of it, if only the end? */
bool wr_layer_ingest(struct weir_stream *s);
void wr_layer_flush(struct weir_stream *s);         /* likewise, on the way to the end: all input is its own */
void wr_layer_settle(struct weir_stream *s);        /* what is left of the input leaves the shared buffers */
/* A stream that was closed at once, with nothing queued, still says so, if that goes without waiting. Does it try? */
bool wr_layer_parts(struct weir_stream *s);
/* These also for others. */
void wr_layer_report(struct weir_stream *s, int status);
void wr_layer_fail_writes(struct weir_stream *s, int status);   /* those that were not emitted */
void wr_layer_close(struct weir_stream *s);

/* The peer's end, or an error, has come; bytes before it may wait. */
static inline int wr_stream_input_end(const struct weir_stream *s)
{
    return wr_likely(!s->layer) ? s->end : s->layer->end;
}

/* Where writes are queued, and how much waits there and behind. */
static inline struct wr_sendq *wr_stream_plain(struct weir_stream *s)
{
    return wr_likely(!s->layer) ? &s->sendq : &s->layer->plain;
}

static inline size_t wr_stream_queued(const struct weir_stream *s)
{
    return wr_sendq_len(&s->sendq) + (wr_likely(!s->layer) ? 0 : wr_sendq_len(&s->layer->plain));
}

/* No byte could go now: none is queued, or they wait for the user, or for the layer to begin. */
static inline bool wr_stream_is_held_back(const struct weir_stream *s)
{
    return wr_stream_queued(s) == 0 || s->corked || (s->layer && !s->layer->begun && wr_sendq_len(&s->sendq) == 0);
}

/* Nothing of it is to come before the FIN. */
static inline bool wr_layer_is_silent(const struct weir_stream *s)
{
    return wr_likely(!s->layer) || s->layer->shut || s->layer->broken;
}

/* Something of it waits for room on the wire. */
static inline bool wr_layer_wants_room(const struct weir_stream *s)
{
    const struct wr_layer *l = s->layer;
    return l && (!l->begun || l->ingest_wants_room || wr_sendq_len(&l->plain) > 0);
}

/* All that the user has written is with the kernel; only the layer's last word is missing, if anything. */
static inline bool wr_layer_has_said_all(const struct weir_stream *s)
{
    return s->layer && s->layer->shut && s->sendq.done >= s->layer->said;
}

/* stream_time.c */
/* The user gave it some. */
bool wr_stream_has_limits(const struct weir_stream *s);
/* It has bounds from here on. 0 or -ENOMEM. */
int wr_stream_bound(struct weir_stream *s);
void wr_stream_unbound(struct weir_stream *s);
/* They go if there is no use for them. */
void wr_stream_spare_bounds(struct weir_stream *s);
/* From now; 0: none. */
void wr_stream_set_limit(struct weir_stream *s, enum wr_deadline which, uint64_t ns);
void wr_stream_begin_pace(struct weir_stream *s, enum wr_deadline which);
void wr_stream_answer(struct weir_stream *s);   /* a send has ended: had the limits passed that asked for it? */

/* A byte went, or came. */
static inline void wr_stream_stir(struct weir_stream *s)
{
    if (wr_unlikely(s->bounds != NULL))
        wr_stream_set_limit(s, WR_BY_IDLE, s->opt->idle_timeout_ns);
}

/* stream_write.c */
void wr_stream_pump(struct weir_stream *s);         /* start a send or the FIN, if one is due */
void wr_stream_send(struct weir_stream *s);         /* start a send: something is queued, and none is in flight */
void wr_stream_fin(struct weir_stream *s);          /* start the FIN: nothing is in flight */
void wr_stream_send_done(struct wr_op *op, const struct wr_result *r);
void wr_stream_call_marks(struct weir_stream *s);   /* those whose bytes are gone */
void wr_stream_tell_drained(struct weir_stream *s); /* if it was full, and is not any more */
void wr_stream_call_mark(struct weir_stream *s, const struct wr_mark *mark, int status);
void wr_stream_fail_writes(struct weir_stream *s, int status);

/* Nothing happened: the op may simply be started again. */
static inline bool wr_stream_again(const struct wr_op *op, int res)
{
    return res == -EINTR || res == -EAGAIN || (res == -ECANCELED && !op->cancelled);
}

#endif
