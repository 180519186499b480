/* One fact, every world: a trial runs a fact about engine/backend.h and engine/op.h on a world of a given
 * kind, with an owner that obeys op.h, and with raw peers that know nothing of worlds. */
#ifndef HELPERS_WORLD_H
#define HELPERS_WORLD_H

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>

#include "backend.h"
#include "weir_sim.h"

/* ---- Worlds ------------------------------------------------------------------------------- */

struct world_kind {
    const char *name;
    int (*open)(const struct wr_world_options *opt, struct wr_report *report, struct wr_world **ret_world);
    const char *mask;
    uint32_t faults;    /* the simulator's */
    unsigned seeds;     /* how often a fact is run, each time with another seed */
    size_t volume;      /* bytes that count as many here */
};

extern const struct world_kind world_uring, world_uring_coop, world_uring_plain, world_uring_single_recv,
    world_uring_single_accept, world_uring_no_ring, world_uring_bare, world_uring_old_pipes, world_epoll,
    world_epoll_ms, world_epoll_old_pipes, world_sim, world_sim_faulty;

/* What a fact wants of its world; 0: the default. */
struct setting {
    uint32_t recv_buffer_size, recv_buffers, ring_entries;
    unsigned reap_max;
};

#define ON(fact, kind)                                           \
    Test(conformance, fact##_on_##kind, .timeout = 60)          \
    {                                                            \
        trial_run(&world_##kind, &fact##_setting, fact);         \
    }

#define ON_URING(fact)                                           \
    ON(fact, uring)                                              \
    ON(fact, uring_coop)                                         \
    ON(fact, uring_plain)                                        \
    ON(fact, uring_single_recv)                                  \
    ON(fact, uring_single_accept)                                \
    ON(fact, uring_no_ring)                                      \
    ON(fact, uring_bare)

#define ON_REAL(fact) ON_URING(fact) ON(fact, epoll) ON(fact, epoll_ms)
#define ON_CALM(fact) ON_REAL(fact) ON(fact, sim)
#define ON_ALL(fact) ON_CALM(fact) ON(fact, sim_faulty)
/* For what is no socket: also where the kernel cannot do for it what newer ones can. */
#define ON_REAL_PIPES(fact) ON_REAL(fact) ON(fact, uring_old_pipes) ON(fact, epoll_old_pipes)
#define ON_PIPES(fact) ON_REAL_PIPES(fact) ON(fact, sim) ON(fact, sim_faulty)

/* FACT(name, where, settings...) { body with t } : one test per world, so that a failure names both. */
#define FACT(fact, where, ...)                                   \
    static void fact(struct trial *t);                           \
    static const struct setting fact##_setting = { __VA_ARGS__ }; \
    where(fact)                                                  \
    static void fact(struct trial *t)

/* ---- Trials ------------------------------------------------------------------------------- */

struct peer;

enum { TRIAL_PEERS = 64, TRIAL_FDS = 4096, TRIAL_REAP = 256, TRIAL_PATIENCE = 20000 };

struct trial_fd {
    int fd;
    bool raw;           /* a peer's; else the world's */
    uint8_t traits;     /* of the world's: goes into every op on it */
};

struct trial {
    const struct world_kind *kind;
    struct setting set;
    uint64_t seed, random;
    struct weir_sim *sim;       /* NULL on real worlds */
    struct wr_world *w;
    struct wr_report report;
    unsigned flying;            /* ops in flight */
    uint64_t served;            /* completions */
    bool serving;               /* true exactly while `done` may be called */
    struct wr_list starved;     /* acts that wait for a buffer */
    struct peer *peers[TRIAL_PEERS];
    unsigned peer_count;
    struct trial_fd fds[TRIAL_FDS];
    unsigned fd_count;
};

void trial_run(const struct world_kind *kind, const struct setting *set, void (*fact)(struct trial *t));
void trial_fail(const struct trial *t, const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

/* As cr_assert, and names the world and the seed. */
#define expect(t, cond)                                                     \
    do {                                                                    \
        if (!(cond))                                                        \
            trial_fail((t), __FILE__, __LINE__, "%s", #cond);               \
    } while (0)

#define expect_eq(t, a, b)                                                                           \
    do {                                                                                             \
        long long a_ = (long long)(a), b_ = (long long)(b);                                          \
        if (a_ != b_)                                                                                \
            trial_fail((t), __FILE__, __LINE__, "%s == %s: %lld, not %lld", #a, #b, a_, b_);         \
    } while (0)

/* Open another world of the trial's kind: 0 or an error. */
int trial_world(struct trial *t, struct wr_world **ret_world);
/* A number drawn from the seed, below n. */
uint64_t trial_draw(struct trial *t, uint64_t n);
/* One turn, without reaping. */
void trial_turn(struct trial *t, uint64_t wait_ns);
/* Reap, and serve what came. How many completions. */
unsigned trial_reap(struct trial *t);
/* Serve one completion that the fact has reaped itself. */
void trial_serve(struct trial *t, const struct wr_result *r);
/* Those who wait for a buffer start again, if there is one. */
void trial_feed(struct trial *t);
/* A step of every peer, a turn, its completions. Fails when nothing at all happens for too long. */
void trial_round(struct trial *t, unsigned *idle_rounds, const char *what, const char *file, int line);

/* until (t, cond) { what to do before each round } */
#define until(t, cond)                                                      \
    for (unsigned idle_rounds_ = 0; !(cond);                                \
         trial_round((t), &idle_rounds_, #cond, __FILE__, __LINE__))

/* Rounds until nothing has happened for a while. */
void trial_settle(struct trial *t);

/* How far an op may get before something is done to it. */
enum moment { AT_ONCE, AFTER_FLUSH, AFTER_TURN, AFTER_ROUND, AT_REST, MOMENTS };

void trial_pass(struct trial *t, enum moment moment);
enum moment trial_draw_moment(struct trial *t);     /* any but AT_REST */
static inline bool trial_is_real(const struct trial *t)
{
    return t->sim == NULL;
}

/* ---- Sockets of a trial: closed at its end at the latest ------------------------------------ */

enum { TCP = 0, UNIX = 1, NARROW = 2 };     /* narrow: the kernel holds few bytes between the two */

/* Two connected sockets: the world's (adopted) and the raw one's. The simulator knows one sort. */
void trial_pair(struct trial *t, int sort, int *ret_own, int *ret_raw);
#define each_sort(t, sort) for (int sort = TCP; sort <= (trial_is_real(t) ? UNIX : TCP); sort++)

/* Likewise, but no sockets. What the raw side of a terminal takes may be lost when it closes. */
enum pipe_sort {
    PIPE,
    REOPENED,           /* a pipe, and the world's end opened by its name, which makes it another sort */
    FIFO,
    TERMINAL,           /* and a raw master */
    MASTER              /* and a raw terminal */
};

void trial_pipe(struct trial *t, enum pipe_sort sort, bool own_reads, int *ret_own, int *ret_raw);
/* The same before the world has its end, fds[0], and that; fds[1] is the raw one, -1 if it is gone already. */
void trial_make_pipe(struct trial *t, enum pipe_sort sort, bool own_reads, int fds[2]);
void trial_adopt_pipe(struct trial *t, int fds[2]);
#define each_pipe(t, sort) \
    for (enum pipe_sort sort = PIPE; sort <= (trial_is_real(t) ? MASTER : PIPE); sort++)

/* A listener of the world's on a free port of 127.0.0.1, and where that is. */
int trial_listen(struct trial *t, int backlog, struct sockaddr_storage *ret_addr, socklen_t *ret_len);
int trial_socket(struct trial *t, int family);
/* Remember fd as the world's or a raw one; forget it, since something else has closed it. */
void trial_own(struct trial *t, int fd, bool raw);
void trial_forget(struct trial *t, int fd);
uint8_t trial_traits(const struct trial *t, int fd);
/* Close fd of the world's with an op, and wait for that. */
void trial_close(struct trial *t, int fd);
int count_fds(void);

/* Raw sockets: the kernel's own calls, or the simulator's raw peers. None waits. */
int raw_connect(struct trial *t, const struct sockaddr *addr, socklen_t len);
int64_t raw_send(struct trial *t, int fd, const void *data, size_t len);
int64_t raw_recv(struct trial *t, int fd, void *data, size_t len);
void raw_shutdown(struct trial *t, int fd);     /* of what is no socket, it is the close */
void raw_close(struct trial *t, int fd, bool reset);
/* Rounds until the raw side has read the end or an error: 0 or -errno. *ret_got: bytes before it. */
int raw_drain(struct trial *t, int fd, uint64_t key, uint64_t *ret_got);

/* A thread that sends back what it receives on the socket *arg until the end: blocking calls, no signals. */
void *raw_echo(void *arg);

/* The byte at any place of the stream `key`: all data is made of these, so that a byte knows its place. */
void pattern_fill(uint64_t key, uint64_t at, void *data, size_t len);
/* How many bytes are right. */
size_t pattern_match(uint64_t key, uint64_t at, const void *data, size_t len);

/* A raw peer that sends `total` bytes of one stream in random pieces, and reads another as it comes. */
struct peer {
    struct trial *t;
    int fd;
    uint64_t key_out, sent, total;
    bool fin;               /* a FIN after the last byte */
    uint64_t key_in, got;
    uint64_t got_max;       /* how far to read for now */
    size_t piece;           /* at most so many bytes at once */
    bool shut, ended;       /* FIN sent, FIN received */
    int error;
};

/* Let p take its steps in the trial's rounds. */
void peer_join(struct trial *t, struct peer *p, int fd);
void peer_leave(struct peer *p);

/* ---- Owners -------------------------------------------------------------------------------- */

/* An op and its owner, who starts it again whenever op.h says that any world may end it for nothing. A socket
 * has at most one op each way: accept, recv or poll in; connect, send, shutdown or close out. */
struct act {
    struct wr_op op;
    struct wr_op plan;          /* what op is filled with at each start */
    struct trial *t;
    struct wr_list wait;        /* in t->starved exactly while it waits for a buffer */
    void (*heard)(struct act *a, const struct wr_result *r);    /* what is not for nothing; may be NULL */
    bool flying;                /* between start and terminal completion */
    bool asked;                 /* to end: it was cancelled */
    bool keep;                  /* start it again also when it ended well, as a MULTI op may, */
    bool enough;                /* until its owner has enough */
    bool over;                  /* ended for good */
    int res;                    /* of the last completion that was heard */
    unsigned starts, shots, terminals;
    uint64_t iov_sum;
};

void act_init(struct act *a, struct trial *t, enum wr_op_kind kind, int fd);
void act_start(struct act *a);
void act_cancel(struct act *a);
/* Over, but to be started again. */
void act_revive(struct act *a);
/* Rounds until it is over; its last result. */
int act_end(struct act *a);
/* It was cancelled and ended with nothing done. */
bool act_is_empty(const struct act *a);
/* Init, start and end: for ops that need no more than that. */
int act_once(struct trial *t, enum wr_op_kind kind, int fd, uint32_t how);
void act_connect_to(struct act *a, const void *addr, socklen_t len);

/* Reads the stream `key` until its end, an error, or cancel. */
struct reader {
    struct act act;
    uint64_t key, got;
    unsigned char *memory;      /* NULL: into the pool */
    size_t memory_size;
    uint64_t stop;              /* has enough with so many bytes; 0: never */
    struct wr_segment *held;    /* keeps the last segment while hold is set */
    bool hold;
};

enum reader_manner { INTO_POOL_MULTI, INTO_POOL, INTO_MEMORY };

void reader_init(struct reader *r, struct trial *t, int fd, uint64_t key, enum reader_manner manner,
                 size_t memory_size);
void reader_done(struct reader *r);
void reader_release(struct reader *r);

/* Sends `total` bytes of the stream `key`, at most `offer` of them and in `pieces` pieces per op, quietly or not. */
struct writer {
    struct act act;
    uint64_t key, sent, total;
    size_t offer;
    unsigned pieces;
    bool loud;              /* somebody waits for each of its sends */
    unsigned char *memory;
    uint64_t filled_at;     /* memory holds `filled` bytes of the stream from here */
    size_t filled, spent;
    struct iovec *iov;
    struct msghdr vector;
};

void writer_init(struct writer *s, struct trial *t, int fd, uint64_t key, uint64_t total, size_t offer,
                 unsigned pieces);
void writer_start(struct writer *s);
void writer_done(struct writer *s);

/* Accepts until it has `want`, from then on is being cancelled; the fds are the trial's. */
struct taker {
    struct act act;
    unsigned want, count;
    int *fds;
};

void taker_init(struct taker *k, struct trial *t, int fd, bool multi, unsigned want);
void taker_done(struct taker *k);

#endif
