/* Addresses of the simulator's sockets, and the ports that are chosen for them. */
#include "sim.h"

#include <errno.h>
#include <string.h>

enum { PORT_FIRST = 32768, PORT_LAST = 60999 };

/* ---- Addresses ---- */

static int read_in(struct wr_sim_addr *a, const void *addr, socklen_t len)
{
    if (len < sizeof a->in)
        return -EINVAL;
    memcpy(&a->in, addr, sizeof a->in);
    memset(a->in.sin_zero, 0, sizeof a->in.sin_zero);
    a->len = sizeof a->in;
    return 0;
}

static int read_in6(struct wr_sim_addr *a, const void *addr, socklen_t len)
{
    if (len < sizeof a->in6)
        return -EINVAL;
    memcpy(&a->in6, addr, sizeof a->in6);
    a->in6.sin6_flowinfo = 0;
    a->len = sizeof a->in6;
    return 0;
}

/* An abstract name is all of its bytes, a path ends with its NUL. */
static int read_un(struct wr_sim_addr *a, const void *addr, socklen_t len)
{
    const socklen_t path = offsetof(struct sockaddr_un, sun_path);
    if (len <= path || len > sizeof a->un)
        return -EINVAL;
    memcpy(&a->un, addr, len);
    if (a->un.sun_path[0] != '\0') {
        len = path + (socklen_t)strnlen(a->un.sun_path, len - path);
        memset((char *)&a->ss + len, 0, sizeof a->ss - len);
        len++;
    }
    a->len = len;
    return 0;
}

int wr_sim_addr_read(struct wr_sim_addr *a, const struct sockaddr *addr, socklen_t len)
{
    *a = (struct wr_sim_addr){.ss = {0}};
    if (len < sizeof addr->sa_family)
        return -EINVAL;
    switch (addr->sa_family) {
    case AF_INET:
        return read_in(a, addr, len);
    case AF_INET6:
        return read_in6(a, addr, len);
    case AF_UNIX:
        return read_un(a, addr, len);
    default:
        return -EAFNOSUPPORT;
    }
}

struct wr_sim_addr wr_sim_addr_none(int family)
{
    struct wr_sim_addr a = {.ss = {.ss_family = (sa_family_t)family}};
    a.len = family == AF_INET ? sizeof a.in : family == AF_INET6 ? sizeof a.in6 : sizeof a.ss.ss_family;
    return a;
}

static bool is_any(const struct wr_sim_addr *a)
{
    if (a->ss.ss_family == AF_INET)
        return a->in.sin_addr.s_addr == INADDR_ANY;
    return a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool wr_sim_addr_is_same(const struct wr_sim_addr *a, const struct wr_sim_addr *b)
{
    return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}

bool wr_sim_addr_hears(const struct wr_sim_addr *bound, const struct wr_sim_addr *a)
{
    if (wr_sim_addr_is_same(bound, a))
        return true;
    return is_any(bound) && bound->ss.ss_family == a->ss.ss_family && bound->in.sin_port == a->in.sin_port;
}

void wr_sim_addr_settle(struct wr_sim_addr *a)
{
    if (!is_any(a))
        return;
    if (a->ss.ss_family == AF_INET)
        a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        a->in6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
}

in_port_t *wr_sim_addr_port(struct wr_sim_addr *a)
{
    if (a->ss.ss_family == AF_UNIX)
        return NULL;
    return a->ss.ss_family == AF_INET ? &a->in.sin_port : &a->in6.sin6_port;
}

/* ---- Ports ---- */

static bool is_listened_on(struct weir_sim *sim, uint32_t port)
{
    for (struct wr_list *node = sim->names.next; node != &sim->names; node = node->next) {
        in_port_t *taken = wr_sim_addr_port(&wr_home(node, struct wr_sim_sock, name)->local);
        if (taken && *taken == htons((uint16_t)port))
            return true;
    }
    return false;
}

static uint64_t bit_of(uint32_t port)
{
    return (uint64_t)1 << (port % 64);
}

/* Ends: there are far more ports than sockets. They are not used again at once. */
void wr_sim_port_choose(struct wr_sim_sock *s)
{
    struct weir_sim *sim = s->sim;
    in_port_t *place = wr_sim_addr_port(&s->local);
    if (!place || *place != 0)
        return;
    do
        sim->port = sim->port >= PORT_FIRST && sim->port < PORT_LAST ? sim->port + 1 : PORT_FIRST;
    while ((sim->ports[sim->port / 64] & bit_of(sim->port)) || is_listened_on(sim, sim->port));
    sim->ports[sim->port / 64] |= bit_of(sim->port);
    *place = htons((uint16_t)sim->port);
    s->owns_port = true;
}

void wr_sim_port_give(struct wr_sim_sock *s)
{
    if (!s->owns_port)
        return;
    uint32_t port = ntohs(*wr_sim_addr_port(&s->local));
    wr_assert(s->sim->ports[port / 64] & bit_of(port));
    s->sim->ports[port / 64] &= ~bit_of(port);
    s->owns_port = false;
}
