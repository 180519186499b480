#include "helpers_sim.h"

#include <criterion/criterion.h>
#include <string.h>

struct weir_sim *the_sim;
struct wr_world *sim_world;
static uint64_t sim_live;

static void sim_done(struct wr_op *op, const struct wr_result *r)
{
    struct sim_act *a = wr_home(op, struct sim_act, op);
    cr_assert(!a->over && a->shots < WR_COUNT(a->res));
    a->res[a->shots++] = r->res;
    a->over = !r->more;
    if (!r->seg)
        return;
    cr_assert(r->res > 0 && a->got_len + (size_t)r->res <= GOT_MAX);
    memcpy(a->got + a->got_len, r->seg->base + r->off, (size_t)r->res);
    a->got_len += (size_t)r->res;
    wr_segment_drop(r->seg);
}

void sim_serve(const struct wr_result *r)
{
    if (!r->more)
        r->op->in_flight = false;
    r->op->done(r->op, r);
}

unsigned sim_reap(struct wr_world *w)
{
    struct wr_result out[16];
    unsigned n, total = 0;
    while ((n = w->ops->reap(w, out, WR_COUNT(out))) > 0) {
        for (unsigned i = 0; i < n; i++)
            sim_serve(&out[i]);
        total += n;
    }
    return total;
}

void sim_rounds(unsigned n)
{
    while (n-- > 0) {
        cr_assert_eq(sim_world->ops->turn(sim_world, 0), 0);
        sim_reap(sim_world);
    }
}

void sim_setup(void)
{
    struct weir_sim_options opt = {.size = sizeof opt, .socket_buffer = CAPACITY, .recv_buffers = POOL_COUNT,
                                   .recv_buffer_size = POOL_SIZE};
    struct wr_world_options wopt = {0};
    struct wr_report report = {0};
    sim_live = wr_mem_live();
    cr_assert_eq(weir_sim_open(1, &opt, &the_sim), 0);
    cr_assert_eq(wr_sim_attach(the_sim, &wopt, &report, &sim_world), 0);
}

/* Every socket was closed, every op has ended, all memory is back. */
void sim_teardown(void)
{
    sim_world->ops->close(sim_world);
    cr_assert_eq(weir_sim_close(the_sim), 0);
    cr_assert_eq(wr_mem_live(), sim_live);
}

/* ---- Ops ---- */

void sim_begin(struct sim_act *a, enum wr_op_kind kind, int fd)
{
    memset(&a->op, 0, sizeof a->op);
    a->op.done = sim_done;
    a->op.fd = fd;
    a->op.kind = (uint8_t)kind;
    a->got_len = a->shots = 0;
    a->over = false;
}

int sim_finish(struct sim_act *a)
{
    for (unsigned i = 0; i < ROUNDS && !a->over; i++)
        sim_rounds(1);
    cr_assert(a->over);
    return a->res[a->shots - 1];
}

void sim_start_recv(struct sim_act *a, int fd, bool multi)
{
    sim_begin(a, WR_OP_RECV, fd);
    a->op.flags = multi ? WR_OP_MULTI : 0;
    wr_start(sim_world, &a->op);
}

void sim_start_recv_into(struct sim_act *a, int fd, void *data, size_t len)
{
    sim_begin(a, WR_OP_RECV, fd);
    a->op.u.recv.base = data;
    a->op.u.recv.len = len;
    wr_start(sim_world, &a->op);
}

void sim_start_send(struct sim_act *a, int fd, const void *data, size_t len)
{
    sim_begin(a, WR_OP_SEND, fd);
    a->iov[0] = (struct iovec){(void *)(uintptr_t)data, len / 2};
    a->iov[1] = (struct iovec){NULL, 0};
    a->iov[2] = (struct iovec){(char *)(uintptr_t)data + len / 2, len - len / 2};
    a->vector = (struct msghdr){.msg_iov = a->iov, .msg_iovlen = 3};
    a->op.flags = WR_OP_PIECES;
    a->op.u.pieces = &a->vector;
    wr_start(sim_world, &a->op);
}

void sim_start_accept(struct sim_act *a, int fd, bool multi)
{
    sim_begin(a, WR_OP_ACCEPT, fd);
    a->op.flags = multi ? WR_OP_MULTI : 0;
    wr_start(sim_world, &a->op);
}

void sim_start_poll(struct sim_act *a, int fd, uint32_t events)
{
    sim_begin(a, WR_OP_POLL, fd);
    a->op.u.events = events;
    wr_start(sim_world, &a->op);
}

void sim_start_connect(struct sim_act *a, int fd, const struct sockaddr_storage *addr, socklen_t len)
{
    sim_begin(a, WR_OP_CONNECT, fd);
    a->op.u.connect.len = len;
    a->op.u.connect.addr = (const struct sockaddr *)addr;
    wr_start(sim_world, &a->op);
}

int sim_recv(int fd)
{
    static struct sim_act a;
    sim_start_recv(&a, fd, false);
    return sim_finish(&a);
}

int sim_send(int fd, size_t len)
{
    static struct sim_act a;
    static const unsigned char zeros[GOT_MAX];
    sim_start_send(&a, fd, zeros, len);
    return sim_finish(&a);
}

int sim_poll(int fd, uint32_t events)
{
    static struct sim_act a;
    sim_start_poll(&a, fd, events);
    return sim_finish(&a);
}

int sim_shutdown(int fd, int how)
{
    static struct sim_act a;
    sim_begin(&a, WR_OP_SHUTDOWN, fd);
    a.op.u.how = how;
    wr_start(sim_world, &a.op);
    return sim_finish(&a);
}

int sim_close(int fd)
{
    static struct sim_act a;
    sim_begin(&a, WR_OP_CLOSE, fd);
    wr_start(sim_world, &a.op);
    return sim_finish(&a);
}

int sim_accept(int fd)
{
    static struct sim_act a;
    sim_start_accept(&a, fd, false);
    return sim_finish(&a);
}

int sim_connect(int fd, const struct sockaddr_storage *addr, socklen_t len)
{
    static struct sim_act a;
    sim_start_connect(&a, fd, addr, len);
    return sim_finish(&a);
}

void sim_make_pair(int *own, int *raw)
{
    int fds[2];
    cr_assert_eq(weir_sim_pair(the_sim, fds), 0);
    *own = fds[0];
    *raw = fds[1];
}

void sim_close_raw(int fd, int reset)
{
    cr_assert_eq(weir_sim_peer_close(the_sim, fd, reset), 0);
}

int64_t sim_raw_send(int fd, const char *text)
{
    return weir_sim_peer_send(the_sim, fd, text, strlen(text));
}

int64_t sim_raw_recv(int fd)
{
    unsigned char bytes[GOT_MAX];
    return weir_sim_peer_recv(the_sim, fd, bytes, sizeof bytes);
}

int sim_listen_on(uint32_t ip, uint16_t port, int backlog, struct sockaddr_storage *addr, socklen_t *len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(ip)}, .sin_port = htons(port)};
    int fd = sim_world->ops->listen(sim_world, (struct sockaddr *)&in, sizeof in, backlog, false);
    if (fd >= 0)
        cr_assert_eq(sim_world->ops->address(sim_world, fd, false, addr, len), 0);
    return fd;
}
