/* Trials: a world, its sockets and its raw peers, for the length of one fact. */
#include "helpers_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum {
    NARROW_BYTES = 8192,
    ROUND_NS = 1000000,
    SETTLED_ROUNDS = 20,
    CALM_SOCKET_BUFFER = 16384,
    FAULTS = WEIR_SIM_SHORT | WEIR_SIM_AGAIN | WEIR_SIM_NOBUFS | WEIR_SIM_REORDER | WEIR_SIM_CANCEL |
             WEIR_SIM_END_MULTI     /* those that a patient owner does not notice */
};

enum { MANY = 8 << 20, SOME = 1 << 20, FEW = 32 << 10 };

#define URING(kind, volume, masked) \
    const struct world_kind world_##kind = { #kind, wr_uring_open, masked, 0, 1, volume }

#define OLD_PIPES "rwf_nowait,rwf_nosignal"
#define PLAIN "defer_taskrun,coop_taskrun,single_issuer,submit_all,registered_ring"

URING(uring, MANY, "");
URING(uring_coop, SOME, "defer_taskrun");
URING(uring_plain, SOME, PLAIN);
URING(uring_single_recv, SOME, "multishot_recv");
URING(uring_single_accept, SOME, "multishot_accept");
URING(uring_no_ring, SOME, "buffer_ring");
URING(uring_bare, SOME, PLAIN ",multishot_recv,multishot_accept,buffer_ring,quiet_send");

URING(uring_old_pipes, SOME, OLD_PIPES);

const struct world_kind world_epoll = { "epoll", wr_epoll_open, "", 0, 1, MANY };
const struct world_kind world_epoll_ms = { "epoll_ms", wr_epoll_open, "epoll_pwait2", 0, 1, SOME };
const struct world_kind world_epoll_old_pipes = { "epoll_old_pipes", wr_epoll_open, OLD_PIPES, 0, 1, SOME };
const struct world_kind world_sim = { "sim", NULL, "", 0, 1, SOME };
const struct world_kind world_sim_faulty = { "sim_faulty", NULL, "", FAULTS, 200, FEW };

/* ---- Numbers and bytes ---- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t trial_draw(struct trial *t, uint64_t n)
{
    return mix(t->random++) % n;
}

static unsigned char pattern_byte(uint64_t key, uint64_t at)
{
    return (unsigned char)(mix(key * 0x100000001b3u + at / 8) >> at % 8 * 8);
}

void pattern_fill(uint64_t key, uint64_t at, void *data, size_t len)
{
    unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern_byte(key, at + i);
}

size_t pattern_match(uint64_t key, uint64_t at, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    size_t i = 0;
    while (i < len && bytes[i] == pattern_byte(key, at + i))
        i++;
    return i;
}

/* ---- Raw sockets ---- */

int raw_connect(struct trial *t, const struct sockaddr *addr, socklen_t len)
{
    int fd;
    if (t->sim)
        fd = weir_sim_peer_connect(t->sim, addr, len);
    else {
        fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        expect(t, fd >= 0);
        expect_eq(t, connect(fd, addr, len), 0);
    }
    expect(t, fd >= 0);
    trial_own(t, fd, true);
    return fd;
}

int64_t raw_send(struct trial *t, int fd, const void *data, size_t len)
{
    if (t->sim)
        return weir_sim_peer_send(t->sim, fd, data, len);
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK)
        n = write(fd, data, len);
    return n < 0 ? -errno : n;
}

int64_t raw_recv(struct trial *t, int fd, void *data, size_t len)
{
    if (t->sim)
        return weir_sim_peer_recv(t->sim, fd, data, len);
    ssize_t n = recv(fd, data, len, MSG_DONTWAIT);
    if (n < 0 && errno == ENOTSOCK)
        n = read(fd, data, len);
    if (n < 0 && errno == EIO) /* a terminal's other side is gone */
        n = 0;
    return n < 0 ? -errno : n;
}

void raw_shutdown(struct trial *t, int fd)
{
    int rc = t->sim ? weir_sim_peer_shutdown(t->sim, fd) : shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
    if (rc == -ENOTSOCK)
        raw_close(t, fd, false);
    else
        expect_eq(t, rc, 0);
}

void raw_close(struct trial *t, int fd, bool reset)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    trial_forget(t, fd);
    if (t->sim) {
        expect_eq(t, weir_sim_peer_close(t->sim, fd, reset), 0);
        return;
    }
    if (reset)
        expect_eq(t, setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    expect_eq(t, close(fd), 0);
}

int raw_drain(struct trial *t, int fd, uint64_t key, uint64_t *ret_got)
{
    struct peer p = { .key_in = key, .got_max = UINT64_MAX, .piece = 65536 };
    peer_join(t, &p, fd);
    until (t, p.ended || p.error)
        ;
    peer_leave(&p);
    if (ret_got)
        *ret_got = p.got;
    return p.error;
}

void *raw_echo(void *arg)
{
    int fd = *(int *)arg;
    char data[10000];
    ssize_t n, sent;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while ((n = recv(fd, data, sizeof(data), 0)) > 0)
        for (ssize_t at = 0; at < n; at += sent)
            if ((sent = send(fd, data + at, (size_t)(n - at), MSG_NOSIGNAL)) < 0)
                return NULL;
    shutdown(fd, SHUT_WR);
    return NULL;
}

/* ---- Sockets ---- */

void trial_own(struct trial *t, int fd, bool raw)
{
    expect(t, t->fd_count < TRIAL_FDS);
    t->fds[t->fd_count++] = (struct trial_fd){ fd, raw, raw || t->sim ? 0 : wr_net_traits(fd) };
}

uint8_t trial_traits(const struct trial *t, int fd)
{
    for (unsigned i = 0; i < t->fd_count; i++)
        if (t->fds[i].fd == fd)
            return t->fds[i].traits;
    return 0;
}

void trial_forget(struct trial *t, int fd)
{
    for (unsigned i = t->fd_count; i-- > 0;)
        if (t->fds[i].fd == fd) {
            t->fds[i] = t->fds[--t->fd_count];
            return;
        }
    trial_fail(t, __FILE__, __LINE__, "socket %d is not the trial's", fd);
}

void trial_close(struct trial *t, int fd)
{
    int res = act_once(t, WR_OP_CLOSE, fd, 0);
    expect_eq(t, res, 0);
    trial_forget(t, fd);
}

static void tcp_pair(struct trial *t, bool narrow, int fds[2])
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(in);
    int size = NARROW_BYTES, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (narrow) {   /* the accepted socket inherits it */
        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    expect_eq(t, bind(listener, (struct sockaddr *)&in, len), 0);
    expect_eq(t, listen(listener, 1), 0);
    expect_eq(t, getsockname(listener, (struct sockaddr *)&in, &len), 0);
    expect_eq(t, connect(fds[1], (struct sockaddr *)&in, len), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    expect(t, fds[0] >= 0);
    close(listener);
}

static void unix_pair(struct trial *t, bool narrow, int fds[2])
{
    int size = NARROW_BYTES;
    expect_eq(t, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2 && narrow; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void trial_pair(struct trial *t, int sort, int *ret_own, int *ret_raw)
{
    int fds[2];
    if (t->sim)
        expect_eq(t, weir_sim_pair(t->sim, fds), 0);
    else if (sort & UNIX)
        unix_pair(t, sort & NARROW, fds);
    else
        tcp_pair(t, sort & NARROW, fds);
    struct wr_adopted facts;
    expect_eq(t, t->w->ops->adopt(t->w, fds[0], WR_WANT_STREAM, &facts), 0);
    expect(t, facts.connected);
    trial_own(t, fds[0], false);
    trial_own(t, fds[1], true);
    *ret_own = fds[0];
    *ret_raw = fds[1];
}

/* ---- What is no socket ---- */

static void make_fifo(struct trial *t, int fds[2])
{
    char dir[] = P_tmpdir "/weir-fifo-XXXXXX", path[64];
    expect(t, mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/fifo", dir);
    expect_eq(t, mkfifo(path, 0600), 0);
    fds[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fds[1] = open(path, O_WRONLY | O_CLOEXEC);
    expect_eq(t, fcntl(fds[0], F_SETFL, 0), 0);
    unlink(path);
    rmdir(dir);
}

/* The terminal passes bytes on as they are. */
static void make_terminal(struct trial *t, int *ret_terminal, int *ret_master)
{
    struct termios mode;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect(t, master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect(t, terminal >= 0 && tcgetattr(terminal, &mode) == 0);
    cfmakeraw(&mode);
    expect_eq(t, tcsetattr(terminal, TCSANOW, &mode), 0);
    *ret_terminal = terminal;
    *ret_master = master;
}

static void reopen(struct trial *t, int *fd, int mode)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    int fresh = open(path, mode | O_CLOEXEC);
    expect(t, fresh >= 0);
    close(*fd);
    *fd = fresh;
}

void trial_make_pipe(struct trial *t, enum pipe_sort sort, bool own_reads, int fds[2])
{
    int ends[2];
    if (t->sim)
        expect_eq(t, weir_sim_pipe(t->sim, ends), 0);
    else if (sort == FIFO)
        make_fifo(t, ends);
    else if (sort >= TERMINAL)
        make_terminal(t, &fds[sort == MASTER], &fds[sort == TERMINAL]);
    else
        expect_eq(t, pipe2(ends, O_CLOEXEC), 0);
    if (sort < TERMINAL) {
        fds[0] = ends[!own_reads];
        fds[1] = ends[own_reads];
    }
    if (sort == REOPENED)
        reopen(t, &fds[0], own_reads ? O_RDONLY : O_WRONLY);
    if (!t->sim)
        expect_eq(t, fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
}

void trial_adopt_pipe(struct trial *t, int fds[2])
{
    struct wr_adopted facts;
    expect_eq(t, t->w->ops->adopt(t->w, fds[0], WR_WANT_STREAM, &facts), 0);
    expect(t, !facts.socket && facts.connected && (facts.reads || facts.writes));
    trial_own(t, fds[0], false);
    t->fds[t->fd_count - 1].traits = facts.traits;
    if (fds[1] >= 0)
        trial_own(t, fds[1], true);
}

void trial_pipe(struct trial *t, enum pipe_sort sort, bool own_reads, int *ret_own, int *ret_raw)
{
    int fds[2];
    trial_make_pipe(t, sort, own_reads, fds);
    trial_adopt_pipe(t, fds);
    *ret_own = fds[0];
    *ret_raw = fds[1];
}

int trial_listen(struct trial *t, int backlog, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = t->w->ops->listen(t->w, (struct sockaddr *)&in, sizeof(in), backlog, false);
    expect(t, fd >= 0);
    trial_own(t, fd, false);
    expect_eq(t, t->w->ops->address(t->w, fd, false, ret_addr, ret_len), 0);
    return fd;
}

int trial_socket(struct trial *t, int family)
{
    int fd = t->w->ops->socket(t->w, family);
    expect(t, fd >= 0);
    trial_own(t, fd, false);
    return fd;
}

int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* ---- Peers ---- */

void peer_join(struct trial *t, struct peer *p, int fd)
{
    expect(t, t->peer_count < TRIAL_PEERS);
    p->t = t;
    p->fd = fd;
    if (p->piece == 0)
        p->piece = 20000;
    t->peers[t->peer_count++] = p;
}

void peer_leave(struct peer *p)
{
    struct trial *t = p->t;
    for (unsigned i = 0; i < t->peer_count; i++)
        if (t->peers[i] == p)
            t->peers[i] = t->peers[--t->peer_count];
}

static bool peer_send_some(struct peer *p)
{
    unsigned char data[65536];
    size_t len = wr_min(1 + trial_draw(p->t, p->piece), (size_t)wr_min(p->total - p->sent, sizeof(data)));
    if (len == 0) {
        if (!p->fin || p->shut)
            return false;
        raw_shutdown(p->t, p->fd);
        return p->shut = true;
    }
    pattern_fill(p->key_out, p->sent, data, len);
    int64_t n = raw_send(p->t, p->fd, data, len);
    if (n > 0)
        p->sent += (uint64_t)n;
    else if (n != -EAGAIN)
        p->error = (int)n, p->total = p->sent;
    return n > 0;
}

static bool peer_recv_some(struct peer *p)
{
    unsigned char data[65536];
    size_t len = wr_min(1 + trial_draw(p->t, p->piece), (size_t)wr_min(p->got_max - p->got, sizeof(data)));
    if (len == 0 || p->ended || p->error)
        return false;
    int64_t n = raw_recv(p->t, p->fd, data, len);
    if (n == -EAGAIN)
        return false;
    if (n < 0)
        p->error = (int)n;
    if (n == 0)
        p->ended = true;
    if (n > 0) {
        expect_eq(p->t, pattern_match(p->key_in, p->got, data, (size_t)n), n);
        p->got += (uint64_t)n;
    }
    return true;
}

/* ---- Turns ---- */

void trial_turn(struct trial *t, uint64_t wait_ns)
{
    uint64_t served = t->served;
    expect_eq(t, t->w->ops->turn(t->w, wait_ns), 0);
    expect_eq(t, t->served, served);
}

void trial_serve(struct trial *t, const struct wr_result *r)
{
    wr_done_fn *done = r->op->done;
    if (!r->more)
        r->op->in_flight = false;
    t->served++;
    t->serving = true;
    done(r->op, r);
    t->serving = false;
}

/* Nothing of an op behind its terminal completion. */
static void check_batch(struct trial *t, const struct wr_result *batch, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        expect(t, batch[i].op && batch[i].op->in_flight);
        for (unsigned k = 0; k < i; k++)
            if (batch[k].op == batch[i].op)
                expect(t, batch[k].more);
    }
}

unsigned trial_reap(struct trial *t)
{
    struct wr_result batch[TRIAL_REAP];
    unsigned n, total = 0;
    while ((n = t->w->ops->reap(t->w, batch, t->set.reap_max)) > 0) {
        expect(t, n <= t->set.reap_max);
        check_batch(t, batch, n);
        for (unsigned i = 0; i < n; i++)
            trial_serve(t, &batch[i]);
        total += n;
    }
    return total;
}

/* Those that wait may start again: at once, but each only once a round. */
void trial_feed(struct trial *t)
{
    struct wr_list hungry, *node;
    wr_list_init(&hungry);
    if (wr_bufpool_available(&t->w->pool) == 0)
        return;
    wr_list_steal(&hungry, &t->starved);
    while ((node = wr_list_pop(&hungry)))
        act_start(wr_home(node, struct act, wait));
}

void trial_round(struct trial *t, unsigned *idle_rounds, const char *what, const char *file, int line)
{
    bool moved = false;
    uint64_t served = t->served;
    for (unsigned i = 0; i < t->peer_count; i++) {
        moved |= peer_send_some(t->peers[i]);
        moved |= peer_recv_some(t->peers[i]);
    }
    trial_feed(t);
    trial_turn(t, moved ? 0 : ROUND_NS);
    trial_reap(t);
    if (moved || t->served != served)
        *idle_rounds = 0;
    else if (++*idle_rounds > TRIAL_PATIENCE)
        trial_fail(t, file, line, "waited in vain for %s (%u ops in flight)", what, t->flying);
}

void trial_settle(struct trial *t)
{
    unsigned idle = 0;
    while (idle < SETTLED_ROUNDS)
        trial_round(t, &idle, "rest", __FILE__, __LINE__);
}

void trial_pass(struct trial *t, enum moment moment)
{
    unsigned idle = 0;
    if (moment == AFTER_FLUSH)
        expect(t, t->w->ops->flush(t->w) >= 0);
    if (moment == AFTER_TURN)
        trial_turn(t, 0);
    if (moment == AFTER_ROUND)
        trial_round(t, &idle, "a round", __FILE__, __LINE__);
    if (moment == AT_REST)
        trial_settle(t);
}

enum moment trial_draw_moment(struct trial *t)
{
    return (enum moment)trial_draw(t, AT_REST);
}

/* ---- A trial ---- */

void trial_fail(const struct trial *t, const char *file, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    const char *base = strrchr(file, '/');
    cr_assert_fail("%s:%d: %s, seed %llu: %s", base ? base + 1 : file, line, t->kind->name,
                   (unsigned long long)t->seed, text);
    abort();
}

int trial_world(struct trial *t, struct wr_world **ret_world)
{
    struct wr_world_options opt = { .recv_buffer_size = t->set.recv_buffer_size,
                                    .recv_buffers = t->set.recv_buffers,
                                    .ring_entries = t->set.ring_entries,
                                    .completions_per_turn = 256,
                                    .mask = t->kind->mask };
    memset(&t->report, 0, sizeof(t->report));
    if (t->sim)
        return wr_sim_attach(t->sim, &opt, &t->report, ret_world);
    return t->kind->open(&opt, &t->report, ret_world);
}

static void fill_setting(struct trial *t, const struct setting *set)
{
    bool drawn = t->kind->faults != 0;
    t->set = *set;
    if (set->recv_buffer_size == 0)
        t->set.recv_buffer_size = drawn ? 64u << trial_draw(t, 8) : 4096;
    if (set->recv_buffers == 0)
        t->set.recv_buffers = drawn ? 1u << trial_draw(t, 7) : 32;
    if (set->ring_entries == 0)
        t->set.ring_entries = 64;
    if (set->reap_max == 0)
        t->set.reap_max = drawn ? 1 + (unsigned)trial_draw(t, TRIAL_REAP) : TRIAL_REAP;
}

static struct trial *trial_open(const struct world_kind *kind, const struct setting *set, uint64_t seed)
{
    struct trial *t = calloc(1, sizeof(*t));
    t->kind = kind;
    t->seed = seed;
    t->random = seed << 32;
    wr_list_init(&t->starved);
    fill_setting(t, set);
    if (kind->open == NULL) {
        struct weir_sim_options opt = { .size = sizeof(opt), .faults = kind->faults };
        opt.socket_buffer = kind->faults ? 0 : CALM_SOCKET_BUFFER;
        expect_eq(t, weir_sim_open(seed, &opt, &t->sim), 0);
    }
    int res = trial_world(t, &t->w);
    if (res != 0)
        trial_fail(t, __FILE__, __LINE__, "open: %d, %s", res, t->report.why);
    return t;
}

/* Every op has ended, every buffer is home, every socket goes: what is left behind is the world's fault. */
static void trial_end(struct trial *t)
{
    expect_eq(t, t->peer_count, 0);
    expect_eq(t, t->flying, 0);
    while (t->fd_count > 0) {
        struct trial_fd last = t->fds[t->fd_count - 1];
        if (last.raw)
            raw_close(t, last.fd, false);
        else
            trial_close(t, last.fd);
    }
    expect_eq(t, wr_bufpool_available(&t->w->pool), t->w->pool.count);
    t->w->ops->close(t->w);
    if (t->sim)
        expect_eq(t, weir_sim_close(t->sim), 0);
}

void trial_run(const struct world_kind *kind, const struct setting *set, void (*fact)(struct trial *t))
{
    for (uint64_t seed = 1; seed <= kind->seeds; seed++) {
        uint64_t live = wr_mem_live();
        int fds = count_fds();
        struct trial *t = trial_open(kind, set, seed);
        fact(t);
        trial_end(t);
        expect_eq(t, wr_mem_live(), live);
        expect_eq(t, count_fds(), fds);
        free(t);
    }
}
