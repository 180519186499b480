/* The simulator's own: what its files share. Level 3.
 *
 * sim_seed.c  what the seed decides: draws, faults, sizes, and which event comes next
 * sim_addr.c  addresses and ports
 * sim_net.c   sockets as a kernel has them, asked without waiting
 * sim_op.c    ops in flight over those sockets, and their completions
 * sim.c       the world: its turns, and the loop's way to the sockets
 * sim_peer.c  what a program sees: the simulator itself, and raw peers
 *
 * A run is a function of the seed and of the calls: no address of memory, real time or uninitialised byte takes part
 * in a decision. */
#ifndef WR_SIM_H
#define WR_SIM_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "list.h"
#include "mem.h"
#include "weir_sim.h"

struct wr_sim_sock;

enum { WR_SIM_FDS = 16384, WR_SIM_FD_FIRST = 3, WR_SIM_PORTS = 65536, WR_SIM_FAULTS = 8 };

/* ---- What the seed decides ---------------------------------------------------------------- */

struct wr_sim_rng {
    uint64_t s[4];
};

/* Something that happens at its time. In the heap exactly while `set`. */
struct wr_sim_event {
    void (*fire)(struct wr_sim_event *e);
    uint64_t at, order;
    struct wr_sim_event *child, *next, *prev;  /* prev: the left sibling, or the parent of a first child */
    bool set;
};

void wr_sim_rng_seed(struct wr_sim_rng *r, uint64_t seed);
uint64_t wr_sim_rng_next(struct wr_sim_rng *r);

/* Faults, their odds and all sizes that the options leave open. */
void wr_sim_sow(struct weir_sim *sim, uint64_t seed, const struct weir_sim_options *opt);
/* A number below n; n is at least 1 and at most 2^32. */
uint64_t wr_sim_draw(struct weir_sim *sim, uint64_t n);
/* Does this fault happen now? Draws nothing if it cannot. */
bool wr_sim_strikes(struct weir_sim *sim, enum weir_sim_fault fault);
/* How long something takes that takes time: mostly little. */
uint64_t wr_sim_lag(struct weir_sim *sim);
/* n, or some of it: at least 1. */
size_t wr_sim_part(struct weir_sim *sim, size_t n);

/* Let e happen at that time; if it is set for an earlier one, that stays. */
void wr_sim_event_set(struct weir_sim *sim, struct wr_sim_event *e, uint64_t at);
void wr_sim_event_unset(struct weir_sim *sim, struct wr_sim_event *e);

/* ---- Addresses ---------------------------------------------------------------------------- */

struct wr_sim_addr {
    union {                     /* zero where nothing counts, so that equal addresses are equal bytes */
        struct sockaddr_storage ss;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len;
};

/* 0, -EINVAL or -EAFNOSUPPORT. */
int wr_sim_addr_read(struct wr_sim_addr *a, const struct sockaddr *addr, socklen_t len);
/* Where a socket of this family is before it is anywhere. */
struct wr_sim_addr wr_sim_addr_none(int family);
bool wr_sim_addr_is_same(const struct wr_sim_addr *a, const struct wr_sim_addr *b);
/* Would a listener at `bound` hear who dials a? */
bool wr_sim_addr_hears(const struct wr_sim_addr *bound, const struct wr_sim_addr *a);
/* Whoever dials "any" means this host. */
void wr_sim_addr_settle(struct wr_sim_addr *a);
/* NULL for unix sockets, which have none. */
in_port_t *wr_sim_addr_port(struct wr_sim_addr *a);

/* Give s a port of its own, if it wants one and has none; and back. */
void wr_sim_port_choose(struct wr_sim_sock *s);
void wr_sim_port_give(struct wr_sim_sock *s);

/* ---- Sockets ------------------------------------------------------------------------------ */

/* Bytes on their way, a ring that grows up to its limit. */
struct wr_sim_ring {
    unsigned char *base;
    size_t size, head, len;     /* size is a power of two */
    size_t limit;
};

/* Who wants to know when something about a socket has changed. */
struct wr_sim_wait {
    struct wr_list link;        /* wr_sim_sock.waits */
    void (*look)(struct wr_sim_wait *wait);
};

enum wr_sim_state { WR_SIM_NEW, WR_SIM_LISTENING, WR_SIM_CONNECTED, WR_SIM_READER, WR_SIM_WRITER };

struct wr_sim_sock {
    struct weir_sim *sim;
    int fd;                     /* -1 exactly while it waits to be accepted */
    uint8_t state;              /* enum wr_sim_state; a reader and a writer are the ends of a pipe */
    bool shut_in, shut_out;     /* by its owner */
    bool fin;                   /* the peer's FIN stands behind the bytes of `in`; the other end of a pipe is gone */
    bool reset;                 /* an RST came: nothing moves any more, but what is in `in` can be read */
    bool linger_reset;
    bool reuse_port;
    bool owns_port;             /* the port was chosen for it */
    int error;                  /* told once, by whatever asks first */
    struct wr_sim_addr local, remote;
    struct wr_sim_sock *peer;      /* NULL if there is none, or none any more */
    struct wr_sim_ring in;
    struct wr_list waits;       /* wr_sim_wait.link */
    struct wr_list place;       /* in a listener's backlog, or among those that wait for room there */
    struct wr_list name;        /* weir_sim.names, exactly while it listens */
    struct wr_list backlog, suitors;    /* wr_sim_sock.place */
    uint32_t queued, backlog_max;
    struct wr_sim_event doom;      /* an RST out of the blue */
};

/* The socket with that number, or NULL. */
struct wr_sim_sock *wr_sim_sock(struct weir_sim *sim, int fd);
/* Each returns a number, or -errno. */
int wr_sim_socket(struct weir_sim *sim, int family);
int wr_sim_listen(struct weir_sim *sim, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port);

static inline bool wr_sim_is_pipe(const struct wr_sim_sock *s)
{
    return s->state >= WR_SIM_READER;
}

/* The end to read from and the end to write to. 0 or -errno. */
int wr_sim_pipe(struct weir_sim *sim, int ret_fds[2]);
/* Two sockets become a connection. 0 or -ENOMEM, and then nothing has changed. */
int wr_sim_marry(struct wr_sim_sock *a, struct wr_sim_sock *b);

/* As the kernel's calls on a non-blocking socket: -EAGAIN if they would have to wait. */
int wr_sim_accept(struct wr_sim_sock *s);
int wr_sim_connect(struct wr_sim_sock *s, const struct sockaddr *addr, socklen_t len);
int64_t wr_sim_recv(struct wr_sim_sock *s, void *data, size_t len);
int64_t wr_sim_send(struct wr_sim_sock *s, const void *data, size_t len);
int wr_sim_shutdown(struct wr_sim_sock *s, int how);
int wr_sim_address(const struct wr_sim_sock *s, bool peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len);
/* What poll(2) would tell. */
unsigned wr_sim_poll(const struct wr_sim_sock *s);
/* Bytes that a send could move now. */
size_t wr_sim_room(const struct wr_sim_sock *s);
/* True while the two ends can still talk in one direction at least. */
bool wr_sim_is_connected(const struct wr_sim_sock *s);
/* A connect that waits for room in a backlog waits no more. */
void wr_sim_give_up(struct wr_sim_sock *s);
/* Nobody may wait for it any more. hard: with RST in any case. */
void wr_sim_close(struct wr_sim_sock *s, bool hard);
/* Give the first of the backlog its end. How many: 0 or 1. */
int wr_sim_shed(struct wr_sim_sock *s);

/* ---- The whole ---------------------------------------------------------------------------- */

struct weir_sim {
    uint64_t now, order, digest;
    struct wr_sim_event *first;    /* the root of the heap */
    struct wr_sim_rng chance, user;
    uint32_t faults;            /* what may happen; none once healed */
    uint32_t odds[WR_SIM_FAULTS];  /* of 65536, by the fault's bit */
    unsigned lag_log2;
    uint32_t socket_buffer, recv_buffers, recv_buffer_size;
    struct wr_list worlds;      /* wr_sim_world.link */
    uint32_t world_count;       /* ever */
    struct wr_list names;       /* wr_sim_sock.name */
    uint32_t dialled;           /* connects so far: listeners that share a port take turns */
    uint32_t port;              /* the last one that was chosen */
    uint64_t ports[WR_SIM_PORTS / 64];
    uint64_t fds_used[WR_SIM_FDS / 64];
    struct wr_sim_sock *fds[WR_SIM_FDS];
};

#endif
