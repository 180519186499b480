/* What a program sees of the simulator: it is opened, healed and closed, and raw peers play the other side. */
#include "sim.h"

#include <errno.h>

#include "options.h"

/* ---- A simulator ---- */

static bool is_size(uint32_t n, uint32_t min, uint32_t max)
{
    return n == 0 || (wr_is_pow2(n) && n >= min && n <= max);
}

int weir_sim_open(uint64_t seed, const struct weir_sim_options *given, struct weir_sim **ret_sim)
{
    struct weir_sim_options opt = {0};
    int rc = wr_options_copy(&opt, sizeof opt, given);
    if (rc < 0)
        return rc;
    if (!ret_sim || (opt.faults & ~(uint32_t)WEIR_SIM_ALL) || !is_size(opt.recv_buffers, 1, 32768) ||
        !is_size(opt.recv_buffer_size, 64, 1 << 24))
        return -EINVAL;
    struct weir_sim *sim = wr_alloc_zeroed(sizeof *sim);
    if (!sim)
        return -ENOMEM;
    sim->now = 1000000000;
    sim->fds_used[0] = (1u << WR_SIM_FD_FIRST) - 1;
    wr_list_init(&sim->worlds);
    wr_list_init(&sim->names);
    wr_sim_sow(sim, seed, &opt);
    *ret_sim = sim;
    return 0;
}

int weir_sim_close(struct weir_sim *sim)
{
    int left = 0;
    if (!sim)
        return 0;
    if (!wr_list_empty(&sim->worlds))
        return -EBUSY;
    for (int fd = 0; fd < WR_SIM_FDS; fd++) {
        if (!sim->fds[fd])
            continue;
        wr_sim_close(sim->fds[fd], false);
        left++;
    }
    wr_assert(!sim->first);
    wr_free(sim);
    return left;
}

int weir_sim_heal(struct weir_sim *sim)
{
    if (!sim)
        return -EINVAL;
    sim->faults = 0;
    return 0;
}

uint64_t weir_sim_random(struct weir_sim *sim)
{
    return wr_sim_rng_next(&sim->user);
}

uint64_t weir_sim_digest(struct weir_sim *sim)
{
    return sim->digest;
}

/* ---- Raw peers ---- */

static int open_end(struct weir_sim *sim)
{
    int fd = wr_sim_socket(sim, AF_INET);
    if (fd < 0)
        return fd;
    struct wr_sim_sock *s = wr_sim_sock(sim, fd);
    wr_sim_addr_settle(&s->local);
    wr_sim_port_choose(s);
    return fd;
}

int weir_sim_pair(struct weir_sim *sim, int ret_fds[2])
{
    if (!sim || !ret_fds)
        return -EINVAL;
    int a = open_end(sim);
    if (a < 0)
        return a;
    int b = open_end(sim), rc = b;
    if (b >= 0 && (rc = wr_sim_marry(wr_sim_sock(sim, a), wr_sim_sock(sim, b))) < 0)
        wr_sim_close(wr_sim_sock(sim, b), false);
    if (rc < 0) {
        wr_sim_close(wr_sim_sock(sim, a), false);
        return rc;
    }
    ret_fds[0] = a;
    ret_fds[1] = b;
    return 0;
}

int weir_sim_pipe(struct weir_sim *sim, int ret_fds[2])
{
    return sim && ret_fds ? wr_sim_pipe(sim, ret_fds) : -EINVAL;
}

int weir_sim_peer_connect(struct weir_sim *sim, const struct sockaddr *addr, socklen_t addr_len)
{
    if (!sim || !addr || addr_len < sizeof addr->sa_family)
        return -EINVAL;
    int fd = wr_sim_socket(sim, addr->sa_family);
    if (fd < 0)
        return fd;
    int rc = wr_sim_connect(wr_sim_sock(sim, fd), addr, addr_len);
    if (rc < 0)
        wr_sim_close(wr_sim_sock(sim, fd), false);
    return rc == -EAGAIN ? -ECONNREFUSED : rc < 0 ? rc : fd;
}

int64_t weir_sim_peer_send(struct weir_sim *sim, int fd, const void *data, size_t len)
{
    struct wr_sim_sock *s = sim ? wr_sim_sock(sim, fd) : NULL;
    return s ? wr_sim_send(s, data, len) : -EBADF;
}

int64_t weir_sim_peer_recv(struct weir_sim *sim, int fd, void *data, size_t len)
{
    struct wr_sim_sock *s = sim ? wr_sim_sock(sim, fd) : NULL;
    return s ? wr_sim_recv(s, data, len) : -EBADF;
}

int weir_sim_peer_shutdown(struct weir_sim *sim, int fd)
{
    struct wr_sim_sock *s = sim ? wr_sim_sock(sim, fd) : NULL;
    if (!s)
        return -EBADF;
    int rc = wr_sim_shutdown(s, SHUT_WR);
    return rc == -ENOTSOCK ? rc : 0; /* a connection that is gone needs no FIN */
}

int weir_sim_peer_close(struct weir_sim *sim, int fd, int reset)
{
    struct wr_sim_sock *s = sim ? wr_sim_sock(sim, fd) : NULL;
    if (s)
        wr_sim_close(s, reset != 0);
    return s ? 0 : -EBADF;
}
