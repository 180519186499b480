/* What the parts of plain_sim share: a seed's state, and the model of each stream in it.
 *
 * plain_sim.c        a seed from its beginning to its end
 * plain_sim_life.c   connections: made, accepted, closed; raw peers
 * plain_sim_read.c   reads, views, and what they must give
 * plain_sim_expect.c what stands in the bytes that a read ends with: delimiters, patterns, frames
 * plain_sim_write.c  writes, their callbacks and releases, water marks
 * plain_sim_loop.c   contexts, deferred calls, timers, watches
 * plain_sim_time.c   limits: told if the time has passed, and not before */
#ifndef PLAIN_SIM_H
#define PLAIN_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir.h"
#include "weir_sim.h"

enum {
    SIDES_MAX = 16,
    WRITES_MAX = 4096,
    ALPHABET = 8,
    BIG = 300000,
    READ_MAX = 40000,
    CONTEXTS = 4,
    SCOPES_MAX = 64,
    BEATS = 6,
    CALLS_MAX = 64,
    HOLDS_MAX = 16,
    ATOMS_MAX = 4,
    REGEXES = 2
};

struct write_rec {
    uint64_t end;           /* the stream offset behind it */
    bool released, borrowed, reported;
    unsigned char *copy;    /* borrowed bytes */
    int context;
    int file;               /* that the bytes come from, at file_off, or -1 */
    uint64_t begin, file_off;
    bool shrunk, untouched; /* the file has got shorter: before any of it was sent */
    uint64_t cut;           /* the offset where it ends then */
};

/* A pattern that a child could match: letters out of a set, each so many times. */
struct atom {
    bool in[ALPHABET];
    char times;             /* '1', '?', '*' or '+' */
};

struct pattern {
    struct weir_regex *regex;   /* NULL until it is used */
    struct atom atom[ATOMS_MAX];
    int atoms;
};

/* The pending read; kind 0 if there is none. */
struct read_rec {
    int kind;               /* bytes, some, until, close, k: chunks, regex, frame, into, partly into */
    size_t n;               /* how many, or at most */
    char delim[24];
    size_t delim_len;
    struct pattern pattern;
    struct weir_frame frame;
    int context;
    bool cancelled;
    bool overdue;           /* a deadline had passed when another took its place */
    uint64_t due;           /* UINT64_MAX: none */
    uint64_t began;
    unsigned late;          /* turns since then, from late_at on */
    uint64_t late_at;
};

struct side {
    struct weir_stream *s;
    struct side *peer;
    struct weir_stream_options opt;
    int raw;                /* the fd of a raw peer, or -1 */
    bool pipe, writes, reads;   /* a pipe goes one way */
    uint64_t key;           /* of the bytes that this side sends */
    uint64_t sent;          /* bytes accepted by weir_write or the raw socket */
    uint64_t got;           /* bytes that were read and found right */
    unsigned written, next_report;
    struct read_rec read;
    unsigned char *memory;  /* of the last read into it, until the next */
    size_t memory_len, memory_got;
    bool dialled, connecting, connected, shut, closing, closed, flushed, failed;
    bool greedy;            /* asks for a little in each callback */
    bool echo;              /* sends what its peer sends: the bytes may be a view of what it has read */
    bool ended;             /* a read told of the end, or the raw socket did */
    bool full;              /* on_drain is owed */
    bool corked;
    bool regular;           /* on_close has not been replaced by the other */
    bool truncated;         /* a file has got shorter */
    int broke;              /* a read's limit was passed, and that ends the stream; or 0 */
    int close_context, drain_context, connect_context;
    uint64_t full_mark;     /* what had gone when it became full */
    uint64_t cork_mark;     /* nothing behind it may be sent */
    uint64_t goal;          /* a raw peer sends so many bytes before it ends */
    size_t kept;            /* bytes buffered as it was closed by FLUSH: no more are kept */
    struct weir_watch *watch;   /* of a raw peer, or NULL */
    unsigned watched;       /* its events */
    uint64_t watch_turn;
    int watch_context;
    /* Times, for plain_sim_time.c */
    uint64_t queue_mark;    /* where in the bytes the queue began that there is now */
    uint64_t out_at;        /* bytes went then, or later */
    uint64_t began, ended_at, came_at, moved_at, went_at, queued_at, read_at;
    uint64_t seen_in, seen_out, seen_sent;
    uint64_t seen_sent_at;  /* the turn in which so much had been written */
    bool timed_out;
    unsigned owes_drain, idles; /* turns for which on_drain, or the end for idling, has been due */
    struct write_rec write[WRITES_MAX];
};

struct context {
    struct weir_context *handle;    /* NULL: closed by its owner */
    int parent;             /* or -1 */
    bool opened, inactive, handles, released;
};

/* A timer. */
struct beat {
    struct weir_timer *timer;
    uint64_t due, period;
    bool used, owned, set;
    int context;
    unsigned late;
};

struct call_rec {
    bool pending, posted;
    int context;
    uint64_t turn, number;
};

/* Bytes that are kept beyond their callback. */
struct held {
    struct weir_hold *hold;
    struct weir_view view;
    uint64_t key, at;       /* of the side that sent them */
};

struct sim_state {
    uint64_t seed;
    struct weir_sim *sim;
    struct weir_loop *loop;
    struct weir_listener *listener;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int sides, open;
    bool in_call;           /* inside a weir call: no callback may come */
    bool in_callback;       /* nor inside another */
    bool quiet;             /* the program is over: callbacks ask for nothing new */
    bool settling;          /* raw peers do what their watches tell */
    bool deaf;              /* nobody listens any more */
    bool evicting;          /* the loop is closed over all that is open */
    uint32_t faults;
    uint32_t buffers;       /* of the loop */
    size_t max_memory;      /* or 0 */
    uint64_t turns;
    struct context context[CONTEXTS];
    int current, base;      /* contexts: the present one or -1; what is entered around the present scope */
    int scope[SCOPES_MAX], depth;   /* those that are entered */
    int listen_context;
    struct weir_stream_options accept_opt;
    struct beat beat[BEATS];
    struct call_rec calls[CALLS_MAX];
    uint64_t calls_made, posts_told;
    struct held held[HOLDS_MAX];
    struct pattern pattern[REGEXES];
    int files;              /* open ones */
};

extern struct sim_state t;
extern struct side sides[SIDES_MAX];
extern uint64_t callbacks, total_bytes;

/* ---- plain_sim.c ---- */

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
#define must(cond) ((cond) ? (void)0 : fail("%s:%d: %s", __FILE__, __LINE__, #cond))
/* A call of the library that calls nobody back. */
#define ask(call) ({ t.in_call = true; __auto_type rc_ = (call); t.in_call = false; rc_; })

uint64_t draw(uint64_t n);
bool chance(unsigned percent);
uint64_t draw_time(void);
struct weir_stream_facts facts_of(const struct side *x);
/* Something a program might do with its stream. */
void act(struct side *x);
void act_on_stream(struct side *x);

/* ---- plain_sim_life.c ---- */

/* The byte at an offset of a side's outgoing stream. */
unsigned char byte_at(uint64_t key, uint64_t off);
void fill(const struct side *from, unsigned char *to, size_t n);
struct side *owner(struct weir_stream *s);
bool is_reason(const struct side *x, int code);
void connect_sides(void);
void pair_sides(bool raw, bool pipe);
void listen_for_sides(bool local);
void replace_on_close(struct side *x);
void ask_close(struct side *x, int manner);
void ask_shutdown(struct side *x);
void act_raw(struct side *x);
void close_raw(struct side *x, bool reset);
void finish_raw(struct side *x);

/* ---- plain_sim_read.c ---- */

void ask_read(struct side *x);
void ask_chunks(struct side *x);
void ask_little(struct side *x);
void ask_less(struct side *x);      /* stop, cancel, deadline */
void look(struct side *x);
void check_bytes(struct side *x, struct weir_view v);
void check_memory(struct side *x);
void check_holds(void);
void drop_holds(unsigned percent);
void close_patterns(void);

/* ---- plain_sim_expect.c ---- */

/* Where the read must end in the peer's `len` bytes from `from` on; SIZE_MAX: not in them. *ret_code is 0, or what is
 * wrong with them. */
size_t expected_end(const struct read_rec *r, uint64_t key, uint64_t from, size_t len, int *ret_code);
struct pattern *draw_pattern(void);     /* NULL: there are none to be had */

/* ---- plain_sim_write.c ---- */

void ask_write(struct side *x);
int ask_write_of(struct side *x, size_t n);
void echo(struct side *x, struct weir_view v);
void shrink_file(struct side *x);
void cork_or_uncork(struct side *x, bool cork);
void on_drain(struct weir_stream *s, void *arg);
void all_writes_are_told(const struct side *x);

/* ---- plain_sim_loop.c ---- */

void callback_begin(int context);
void callback_end(void);
void open_contexts(void);
void close_contexts(void);
void contexts_are_gone(void);
void act_on_loop(void);
void stop_timers(void);
void calls_are_told(void);
void timers_are_told(void);
void open_watch(struct side *x);
void change_watch(struct side *x);
void close_watch(struct side *x);
/* Do something in a context, or in none. */
void run_in_some_context(void (*fn)(struct side *x), struct side *x);

/* ---- plain_sim_time.c ---- */

void observe(struct side *x);
void began_queueing(struct side *x);

#endif
