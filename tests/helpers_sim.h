/* One simulator without faults, its one world, and ops to start in it: for suites about the simulator itself. */
#ifndef HELPERS_SIM_H
#define HELPERS_SIM_H

#include <netinet/in.h>

#include "backend.h"
#include "mem.h"
#include "weir_sim.h"

enum { CAPACITY = 4096, POOL_SIZE = 256, POOL_COUNT = 4, ROUNDS = 1000, GOT_MAX = 65536 };

extern struct weir_sim *the_sim;
extern struct wr_world *sim_world;

struct sim_act {
    struct wr_op op;
    struct iovec iov[3];
    struct msghdr vector;
    unsigned char got[GOT_MAX];     /* what was received into the pool */
    size_t got_len;
    int res[64];
    unsigned shots;
    bool over;
};

/* A test between sim_setup and sim_teardown. An assert that fails in a suite's .fini is not told by Criterion. */
#define SIM_TEST(suite, name, ...)                   \
    static void suite##_##name(void);                \
    Test(suite, name, .timeout = 60, ##__VA_ARGS__)  \
    {                                                \
        sim_setup();                                 \
        suite##_##name();                            \
        sim_teardown();                              \
    }                                                \
    static void suite##_##name(void)

void sim_serve(const struct wr_result *r);
unsigned sim_reap(struct wr_world *w);
void sim_rounds(unsigned n);
void sim_setup(void);
void sim_teardown(void);
void sim_begin(struct sim_act *a, enum wr_op_kind kind, int fd);
int sim_finish(struct sim_act *a);
void sim_start_recv(struct sim_act *a, int fd, bool multi);
void sim_start_recv_into(struct sim_act *a, int fd, void *data, size_t len);
void sim_start_send(struct sim_act *a, int fd, const void *data, size_t len);
void sim_start_accept(struct sim_act *a, int fd, bool multi);
void sim_start_poll(struct sim_act *a, int fd, uint32_t events);
void sim_start_connect(struct sim_act *a, int fd, const struct sockaddr_storage *addr, socklen_t len);
int sim_recv(int fd);
int sim_send(int fd, size_t len);
int sim_poll(int fd, uint32_t events);
int sim_shutdown(int fd, int how);
int sim_close(int fd);
int sim_accept(int fd);
int sim_connect(int fd, const struct sockaddr_storage *addr, socklen_t len);
void sim_make_pair(int *own, int *raw);
void sim_close_raw(int fd, int reset);
int64_t sim_raw_send(int fd, const char *text);
int64_t sim_raw_recv(int fd);
int sim_listen_on(uint32_t ip, uint16_t port, int backlog, struct sockaddr_storage *addr, socklen_t *len);

#endif
