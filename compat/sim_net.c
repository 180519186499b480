/* Sockets in memory, as the kernel's are when asked without waiting. They behave as TCP over loopback does: a byte, a
 * FIN or an RST that was sent is at the other end at once. */
#include "sim.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { RING_FIRST = 1024 };

/* ---- Bytes on their way ---- */

/* Room for n more bytes, as far as limit and memory go: how many. Without memory the limit is where the ring ends. */
static size_t ring_reserve(struct wr_sim_ring *r, size_t n)
{
    n = wr_min(n, r->limit - r->len);
    size_t size = r->size ? r->size : RING_FIRST;
    while (size < r->len + n)
        size *= 2;
    if (size == r->size)
        return n;
    unsigned char *base = wr_alloc(size);
    if (!base) {
        r->limit = r->size ? r->size : r->limit;
        return wr_min(n, r->size - r->len);
    }
    size_t head = wr_min(r->len, r->size - r->head);
    if (r->len > 0) {
        memcpy(base, r->base + r->head, head);
        memcpy(base + head, r->base, r->len - head);
    }
    wr_free(r->base);
    r->base = base;
    r->size = size;
    r->head = 0;
    return n;
}

static size_t ring_put(struct wr_sim_ring *r, const unsigned char *data, size_t n)
{
    n = ring_reserve(r, n);
    size_t at = (r->head + r->len) & (r->size - 1), one = wr_min(n, r->size - at);
    memcpy(r->base + at, data, one);
    memcpy(r->base, data + one, n - one);
    r->len += n;
    return n;
}

static size_t ring_get(struct wr_sim_ring *r, unsigned char *data, size_t n)
{
    n = wr_min(n, r->len);
    size_t one = wr_min(n, r->size - r->head);
    memcpy(data, r->base + r->head, one);
    memcpy(data + one, r->base, n - one);
    r->head = (r->head + n) & (r->size - 1);
    r->len -= n;
    return n;
}

/* ---- Numbers ---- */

struct wr_sim_sock *wr_sim_sock(struct weir_sim *sim, int fd)
{
    return fd >= 0 && fd < WR_SIM_FDS ? sim->fds[fd] : NULL;
}

/* The lowest free number, as the kernel does it: so that a number that was kept too long means another socket soon. */
static int take_fd(struct wr_sim_sock *s)
{
    struct weir_sim *sim = s->sim;
    wr_assert(s->fd < 0);
    for (size_t i = 0; i < WR_COUNT(sim->fds_used); i++) {
        if (sim->fds_used[i] == UINT64_MAX)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(~sim->fds_used[i]);
        sim->fds_used[i] |= (uint64_t)1 << bit;
        s->fd = (int)(i * 64 + bit);
        wr_assert(!sim->fds[s->fd]);
        sim->fds[s->fd] = s;
        return s->fd;
    }
    return -EMFILE;
}

static void give_fd(struct wr_sim_sock *s)
{
    if (s->fd < 0)
        return;
    wr_assert(s->sim->fds[s->fd] == s);
    s->sim->fds[s->fd] = NULL;
    s->sim->fds_used[s->fd / 64] &= ~((uint64_t)1 << (s->fd % 64));
    s->fd = -1;
}

/* ---- Facts ---- */

/* Something has changed: those who wait look again. They start nothing and end nothing by that. */
static void stir(struct wr_sim_sock *s)
{
    for (struct wr_list *node = s->waits.next; node != &s->waits; node = node->next) {
        struct wr_sim_wait *wait = wr_home(node, struct wr_sim_wait, link);
        wait->look(wait);
    }
}

bool wr_sim_is_connected(const struct wr_sim_sock *s)
{
    return s->state == WR_SIM_CONNECTED && !s->reset && !(s->fin && s->shut_out);
}

size_t wr_sim_room(const struct wr_sim_sock *s)
{
    return s->peer ? s->peer->in.limit - s->peer->in.len : s->in.limit;
}

static unsigned poll_pipe(const struct wr_sim_sock *s)
{
    if (s->state == WR_SIM_READER)
        return (s->in.len > 0 ? POLLIN | POLLRDNORM : 0) | (s->fin ? POLLHUP : 0);
    return (wr_sim_room(s) > 0 ? POLLOUT | POLLWRNORM : 0) | (s->fin ? POLLERR : 0);
}

unsigned wr_sim_poll(const struct wr_sim_sock *s)
{
    if (wr_sim_is_pipe(s))
        return poll_pipe(s);
    if (s->state == WR_SIM_LISTENING)
        return wr_list_empty(&s->backlog) ? 0 : POLLIN | POLLRDNORM;
    if (s->state == WR_SIM_NEW)
        return POLLOUT | POLLWRNORM | POLLHUP;
    unsigned mask = s->error ? POLLERR : 0;
    bool deaf = s->fin || s->shut_in || s->reset, dumb = s->shut_out || s->reset;
    if (deaf && dumb)
        mask |= POLLHUP;
    if (deaf)
        mask |= POLLRDHUP;
    if (deaf || s->in.len > 0)
        mask |= POLLIN | POLLRDNORM;
    if (dumb || wr_sim_room(s) > 0)
        mask |= POLLOUT | POLLWRNORM;
    return mask;
}

int wr_sim_address(const struct wr_sim_sock *s, bool peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    if (wr_sim_is_pipe(s))
        return -ENOTSOCK;
    if (peer && !wr_sim_is_connected(s))
        return -ENOTCONN;
    *ret_addr = peer ? s->remote.ss : s->local.ss;
    *ret_len = peer ? s->remote.len : s->local.len;
    return 0;
}

/* ---- The end of a connection ---- */

static void part(struct wr_sim_sock *s)
{
    if (s->peer)
        s->peer->peer = NULL;
    s->peer = NULL;
}

/* An RST comes: what had come before can still be read, the error is told once. */
static void hear_reset(struct wr_sim_sock *s)
{
    if (!wr_sim_is_connected(s))
        return;
    s->error = s->fin ? EPIPE : ECONNRESET;
    s->reset = true;
    part(s);
    stir(s);
}

static void hear_fin(struct wr_sim_sock *s)
{
    s->fin = true;
    stir(s);
}

static int take_error(struct wr_sim_sock *s)
{
    int error = s->error;
    s->error = 0;
    return -error;
}

/* Some of what was still on its way is lost; what stands before a FIN has arrived. */
static void lose_some(struct wr_sim_sock *s)
{
    if (!s->fin && s->in.len > 0)
        s->in.len = (size_t)wr_sim_draw(s->sim, s->in.len + 1);
}

static void doomed(struct wr_sim_event *e)
{
    struct wr_sim_sock *s = wr_home(e, struct wr_sim_sock, doom), *peer = s->peer;
    if (!(s->sim->faults & WEIR_SIM_RESET) || !wr_sim_is_connected(s))
        return;
    lose_some(s);
    hear_reset(s);
    if (!peer)
        return;
    lose_some(peer);
    hear_reset(peer);
}

/* ---- Sockets come and go ---- */

static struct wr_sim_sock *new_sock(struct weir_sim *sim, int family)
{
    struct wr_sim_sock *s = wr_alloc_zeroed(sizeof *s);
    if (!s)
        return NULL;
    s->sim = sim;
    s->fd = -1;
    s->local = wr_sim_addr_none(family);
    s->in.limit = sim->socket_buffer;
    s->doom.fire = doomed;
    wr_list_init(&s->waits);
    wr_list_init(&s->place);
    wr_list_init(&s->name);
    wr_list_init(&s->backlog);
    wr_list_init(&s->suitors);
    return s;
}

static void free_sock(struct wr_sim_sock *s)
{
    wr_assert(wr_list_empty(&s->waits) && wr_list_empty(&s->backlog) && wr_list_empty(&s->suitors));
    wr_list_remove(&s->place);
    wr_list_remove(&s->name);
    wr_sim_event_unset(s->sim, &s->doom);
    wr_sim_port_give(s);
    give_fd(s);
    wr_free(s->in.base);
    wr_free(s);
}

static void close_listener(struct wr_sim_sock *s)
{
    struct wr_list *node;
    wr_list_remove(&s->name);
    while ((node = wr_list_pop(&s->backlog)))
        wr_sim_close(wr_home(node, struct wr_sim_sock, place), true);
    while ((node = wr_list_pop(&s->suitors)))
        stir(wr_home(node, struct wr_sim_sock, place));
}

void wr_sim_close(struct wr_sim_sock *s, bool hard)
{
    struct wr_sim_sock *peer = s->peer;
    if (s->state == WR_SIM_LISTENING)
        close_listener(s);
    part(s);
    if (peer && !wr_sim_is_pipe(s) && (hard || s->linger_reset || s->in.len > 0))
        hear_reset(peer);
    else if (peer)
        hear_fin(peer);
    free_sock(s);
}

int wr_sim_socket(struct weir_sim *sim, int family)
{
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    struct wr_sim_sock *s = new_sock(sim, family);
    if (!s)
        return -ENOMEM;
    int fd = take_fd(s);
    if (fd < 0)
        free_sock(s);
    return fd;
}

int wr_sim_pipe(struct weir_sim *sim, int ret_fds[2])
{
    int in = wr_sim_socket(sim, AF_UNIX); /* a number, and a place for bytes */
    if (in < 0)
        return in;
    struct wr_sim_sock *reader = wr_sim_sock(sim, in), *writer;
    int out = ring_reserve(&reader->in, 1) > 0 ? wr_sim_socket(sim, AF_UNIX) : -ENOMEM;
    if (out < 0) {
        wr_sim_close(reader, false);
        return out;
    }
    writer = wr_sim_sock(sim, out);
    reader->state = WR_SIM_READER;
    writer->state = WR_SIM_WRITER;
    reader->peer = writer;
    writer->peer = reader;
    ret_fds[0] = in;
    ret_fds[1] = out;
    return 0;
}

int wr_sim_marry(struct wr_sim_sock *a, struct wr_sim_sock *b)
{
    if (ring_reserve(&a->in, 1) == 0 || ring_reserve(&b->in, 1) == 0)
        return -ENOMEM;
    a->peer = b;
    b->peer = a;
    a->remote = b->local;
    b->remote = a->local;
    a->state = b->state = WR_SIM_CONNECTED;
    if (wr_sim_strikes(a->sim, WEIR_SIM_RESET))
        wr_sim_event_set(a->sim, &a->doom, a->sim->now + wr_sim_lag(a->sim));
    return 0;
}

/* ---- Listening and accepting ---- */

static bool is_taken(struct weir_sim *sim, const struct wr_sim_addr *a, bool reuse_port)
{
    for (struct wr_list *node = sim->names.next; node != &sim->names; node = node->next) {
        const struct wr_sim_sock *l = wr_home(node, struct wr_sim_sock, name);
        if ((wr_sim_addr_hears(&l->local, a) || wr_sim_addr_hears(a, &l->local)) && !(reuse_port && l->reuse_port))
            return true;
    }
    return false;
}

int wr_sim_listen(struct weir_sim *sim, const struct sockaddr *addr, socklen_t len, int backlog, bool reuse_port)
{
    struct wr_sim_addr a;
    int rc = wr_sim_addr_read(&a, addr, len);
    if (rc < 0)
        return rc;
    if (is_taken(sim, &a, reuse_port && a.ss.ss_family != AF_UNIX))
        return -EADDRINUSE;
    int fd = wr_sim_socket(sim, a.ss.ss_family);
    if (fd < 0)
        return fd;
    struct wr_sim_sock *s = wr_sim_sock(sim, fd);
    s->local = a;
    s->reuse_port = reuse_port;
    s->backlog_max = backlog > 0 ? (uint32_t)backlog : 0;
    wr_sim_port_choose(s);
    s->state = WR_SIM_LISTENING;
    wr_list_push(&sim->names, &s->name);
    return fd;
}

static struct wr_sim_sock *first_waiting(struct wr_sim_sock *s)
{
    return wr_list_empty(&s->backlog) ? NULL : wr_home(s->backlog.next, struct wr_sim_sock, place);
}

static void leave_backlog(struct wr_sim_sock *listener, struct wr_sim_sock *child)
{
    wr_list_remove(&child->place);
    listener->queued--;
    struct wr_list *suitor = wr_list_pop(&listener->suitors);
    if (suitor)
        stir(wr_home(suitor, struct wr_sim_sock, place));
}

int wr_sim_accept(struct wr_sim_sock *s)
{
    if (s->state != WR_SIM_LISTENING)
        return wr_sim_is_pipe(s) ? -ENOTSOCK : -EINVAL;
    struct wr_sim_sock *child = first_waiting(s);
    if (!child)
        return -EAGAIN;
    int fd = take_fd(child);
    if (fd >= 0)
        leave_backlog(s, child);
    return fd;
}

int wr_sim_shed(struct wr_sim_sock *s)
{
    struct wr_sim_sock *child = first_waiting(s);
    if (!child)
        return 0;
    leave_backlog(s, child);
    wr_sim_close(child, false);
    return 1;
}

/* ---- Connecting ---- */

static bool answers(const struct wr_sim_sock *l, const struct wr_sim_addr *a, bool exactly)
{
    return exactly ? wr_sim_addr_is_same(&l->local, a) : wr_sim_addr_hears(&l->local, a);
}

/* Who listens there: those at this very address before those at any; of several, each in turn. */
static struct wr_sim_sock *find_listener(struct weir_sim *sim, const struct wr_sim_addr *a)
{
    for (int exactly = 1; exactly >= 0; exactly--) {
        uint32_t count = 0, at;
        for (struct wr_list *node = sim->names.next; node != &sim->names; node = node->next)
            count += answers(wr_home(node, struct wr_sim_sock, name), a, exactly);
        if (count == 0)
            continue;
        at = sim->dialled++ % count;
        for (struct wr_list *node = sim->names.next; node != &sim->names; node = node->next) {
            struct wr_sim_sock *l = wr_home(node, struct wr_sim_sock, name);
            if (answers(l, a, exactly) && at-- == 0)
                return l;
        }
    }
    return NULL;
}

static int join_backlog(struct wr_sim_sock *s, struct wr_sim_sock *l, const struct wr_sim_addr *a)
{
    struct wr_sim_sock *child = new_sock(s->sim, a->ss.ss_family);
    if (!child)
        return -ENOMEM;
    in_port_t port = wr_sim_addr_port(&s->local) ? *wr_sim_addr_port(&s->local) : 0;
    child->local = *a;
    if (wr_sim_addr_port(&s->local)) {
        s->local = *a;
        *wr_sim_addr_port(&s->local) = port;
        wr_sim_port_choose(s);
    }
    int rc = wr_sim_marry(s, child);
    if (rc < 0) {
        free_sock(child);
        return rc;
    }
    wr_list_push(&l->backlog, &child->place);
    l->queued++;
    stir(l);
    return 0;
}

void wr_sim_give_up(struct wr_sim_sock *s)
{
    wr_list_remove(&s->place);
}

int wr_sim_connect(struct wr_sim_sock *s, const struct sockaddr *addr, socklen_t len)
{
    struct wr_sim_addr a;
    if (s->state != WR_SIM_NEW)
        return wr_sim_is_pipe(s) ? -ENOTSOCK : -EISCONN;
    wr_sim_give_up(s);
    int rc = wr_sim_addr_read(&a, addr, len);
    if (rc < 0)
        return rc;
    if (a.ss.ss_family != s->local.ss.ss_family)
        return -EAFNOSUPPORT;
    wr_sim_addr_settle(&a);
    struct wr_sim_sock *l = find_listener(s->sim, &a);
    if (!l)
        return a.ss.ss_family == AF_UNIX && a.un.sun_path[0] ? -ENOENT : -ECONNREFUSED;
    if (l->queued <= l->backlog_max)
        return join_backlog(s, l, &a);
    wr_list_push(&l->suitors, &s->place);
    return -EAGAIN;
}

/* ---- Bytes ---- */

int64_t wr_sim_recv(struct wr_sim_sock *s, void *data, size_t len)
{
    if (s->state == WR_SIM_WRITER)
        return s->fin ? -EPIPE : -EBADF;
    if (s->state != WR_SIM_CONNECTED && s->state != WR_SIM_READER)
        return -ENOTCONN;
    if (s->in.len > 0) {
        size_t n = ring_get(&s->in, data, len);
        if (s->peer)
            stir(s->peer);
        return (int64_t)n;
    }
    if (s->fin)
        return 0;
    if (s->error)
        return take_error(s);
    return s->shut_in || s->reset ? 0 : -EAGAIN;
}

int64_t wr_sim_send(struct wr_sim_sock *s, const void *data, size_t len)
{
    if (s->error)
        return take_error(s);
    if (s->state == WR_SIM_READER)
        return -EBADF;
    bool piped = s->state == WR_SIM_WRITER && s->peer;
    if (!piped && (s->state != WR_SIM_CONNECTED || s->shut_out || s->reset))
        return -EPIPE;
    if (!s->peer) { /* closed: takes what a socket takes before the RST is back */
        hear_reset(s);
        return (int64_t)wr_min(len, s->in.limit);
    }
    size_t n = ring_put(&s->peer->in, data, len);
    if (n == 0 && len > 0)
        return -EAGAIN;
    stir(s->peer);
    return (int64_t)n;
}

int wr_sim_shutdown(struct wr_sim_sock *s, int how)
{
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (wr_sim_is_pipe(s))
        return -ENOTSOCK;
    if (s->state == WR_SIM_LISTENING)
        return 0;
    if (!wr_sim_is_connected(s))
        return -ENOTCONN;
    if (how != SHUT_WR)
        s->shut_in = true;
    if (how != SHUT_RD) {
        s->shut_out = true;
        if (s->peer)
            hear_fin(s->peer);
    }
    stir(s);
    return 0;
}
