/* An op in flight in the simulator, and the world it flies in. Level 3. */
#ifndef WR_SIM_OP_H
#define WR_SIM_OP_H

#include <stdatomic.h>

#include "backend.h"
#include "sim.h"

enum { WR_SIM_SHOTS = 4 };      /* completions of one op that can wait to be reaped */

struct wr_sim_shot {
    struct wr_segment *seg;
    uint32_t off;
    int res;
    bool more;
};

struct wr_sim_world {
    struct wr_world base;
    struct weir_sim *sim;
    struct wr_list link;        /* weir_sim.worlds */
    struct wr_list ready;       /* wr_sim_flight.link */
    struct wr_list idle;        /* wr_sim_flight.link: memory for the next */
    struct wr_list refused;     /* wr_op.link: there was no memory for them; world[1] is the errno */
    uint32_t ready_count;       /* of those that a turn does not wait for */
    uint32_t flying, number;
    uint64_t until;             /* the last turn was ready to wait up to then */
    bool fresh;                 /* something completed, and no other world's turn has made way for it yet */
    atomic_bool awake;          /* wake was called; by any thread, in a signal handler too */
};

struct wr_sim_flight {
    struct wr_sim_wait wait;    /* on the socket, until it is over */
    struct wr_sim_event event;
    struct wr_list link;        /* in ready exactly while it has shots, in idle when it flies no more */
    struct wr_sim_world *w;
    struct wr_op *op;
    struct wr_op was;           /* what op was at its start: so it must be until its end */
    struct wr_sim_sock *sock;   /* NULL if there was none */
    struct wr_sim_shot shots[WR_SIM_SHOTS];
    unsigned first, count;
    uint8_t depth;              /* of the runs of buffers that its next receive is given */
    bool over;                  /* its last shot is terminal */
    bool tried;                 /* it had its first attempt */
    bool prompt;                /* which was made at once */
    bool silent;                /* a quiet send that went at once: ready, but no reason for a turn not to wait */
    int end_res;                /* what it ends with at end_at if it has nothing better: it was cancelled, */
    uint64_t end_at;            /* or a fault wants it so; UINT64_MAX: neither */
    uint64_t far_sum;           /* of what the op points to and must stay: a vector, an address */
    size_t moved, total;        /* of a send, whose next byte is that at `at` of `piece` */
    size_t piece, at;
    unsigned char *window;      /* what the bytes of a send were from window_at on; NULL until there was a send */
    size_t window_at, window_len;
};

/* Take the op on, at least as a refused one. */
void wr_sim_take_off(struct wr_sim_world *w, struct wr_op *op);
void wr_sim_call_back(struct wr_sim_world *w, struct wr_op *op);
/* The polls of it that were cancelled look at it no more. */
void wr_sim_let_go(struct wr_sim_world *w, struct wr_sim_sock *s);
/* The first of its shots; and the flight, if that was the end of it, is memory for the next. */
void wr_sim_hand_over(struct wr_sim_flight *f, struct wr_result *out);
void wr_sim_hand_over_refused(struct wr_sim_world *w, struct wr_op *op, struct wr_result *out);
void wr_sim_free_idle(struct wr_sim_world *w);

#endif
