#include "helpers_refuse.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>

static const uint64_t PATIENCE = 20000000000u, MILLISECOND = 1000000;

void refuse_call(long number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

int open_world(int backend, const char *mask, struct weir_loop **ret_loop)
{
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend, .mask = mask};
    return weir_loop_open(&opt, ret_loop);
}

struct weir_loop *must_open(int backend, const char *mask)
{
    struct weir_loop *loop = NULL;
    int rc = open_world(backend, mask, &loop);
    cr_assert_eq(rc, 0, "mask %s: %s: %s", mask ? mask : "", weir_strerror(rc), weir_loop_refusal());
    return loop;
}

const char *described(struct weir_loop *loop, const char *name)
{
    static char text[4096], *line;
    size_t len = strlen(name);
    cr_assert_lt(weir_loop_describe(loop, text, sizeof text), (int)sizeof text);
    for (char *rest = text; (line = strsep(&rest, "\n"));)
        if (strncmp(line, name, len) == 0 && strncmp(line + len, ": ", 2) == 0)
            return line + len + 2;
    return "";
}

/* ---- The echo ---- */

static unsigned char byte_at(const struct echo *e, size_t i)
{
    return (unsigned char)(i * 7 + (i >> 8) + e->seed);
}

static void echo_closed(struct weir_stream *s, int reason, void *arg)
{
    struct echo *e = arg;
    (void)s;
    cr_assert(reason == 0 || reason == WEIR_EOF, "%s", weir_strerror(reason));
    e->closed++;
}

static void server_got(struct weir_stream *s, int status, struct weir_view chunk, void *arg)
{
    (void)arg;
    if (status == 0)
        cr_assert_eq(weir_write(s, chunk.data, chunk.len, NULL, NULL), 0);
    else
        cr_assert(status == WEIR_EOF || status == -ECANCELED, "%s", weir_strerror(status));
}

static void client_got(struct weir_stream *s, int status, struct weir_view all, void *arg)
{
    struct echo *e = arg;
    const unsigned char *bytes = all.data;
    size_t i = 0;
    cr_assert_eq(status, 0, "%s", weir_strerror(status));
    while (i < all.len && bytes[i] == byte_at(e, i))
        i++;
    e->exact = i == e->size && all.len == e->size;
    cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_FLUSH), 0);
}

static void serve(struct echo *e, struct weir_stream *s)
{
    e->server = s;
    weir_stream_on_close(s, echo_closed, e);
    cr_assert_eq(weir_read_start(s, server_got, e), 0);
}

static void ask(struct echo *e)
{
    static unsigned char bytes[1 << 20];
    cr_assert_leq(e->size, sizeof bytes);
    for (size_t i = 0; i < e->size; i++)
        bytes[i] = byte_at(e, i);
    weir_stream_on_close(e->client, echo_closed, e);
    cr_assert_eq(weir_write(e->client, bytes, e->size, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(e->client, e->size, client_got, e), 0);
}

void echo_start(struct echo *e, struct weir_loop *loop, const int fds[2], size_t size)
{
    static unsigned char seed;
    struct weir_stream *server;
    *e = (struct echo){.loop = loop, .size = size, .seed = seed++};
    cr_assert_eq(weir_stream_open(loop, fds[0], NULL, &e->client), 0);
    cr_assert_eq(weir_stream_open(loop, fds[1], NULL, &server), 0);
    serve(e, server);
    ask(e);
}

static void echo_accepted(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct echo *e = arg;
    cr_assert_eq(status, 0, "%s", weir_strerror(status));
    cr_assert_eq(weir_listener_close(l), 0);
    serve(e, s);
}

static void echo_connected(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert_eq(status, 0, "%s", weir_strerror(status));
}

void echo_start_tcp(struct echo *e, struct weir_loop *loop, size_t size)
{
    struct sockaddr_storage addr;
    struct sockaddr *at = (struct sockaddr *)&addr;
    socklen_t len;
    *e = (struct echo){.loop = loop, .size = size, .seed = 1};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &len), 0);
    struct weir_listen_options opt = {.size = sizeof opt, .addr = at, .addr_len = len};
    cr_assert_eq(weir_listen(loop, &opt, echo_accepted, e, &e->listener), 0);
    cr_assert_eq(weir_listener_address(e->listener, &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(loop, at, len, NULL, echo_connected, e, &e->client), 0);
    ask(e);
}

void echo_finish(struct echo *echoes, unsigned count)
{
    struct weir_loop *loop = echoes->loop;
    uint64_t limit = weir_now(loop) + PATIENCE;
    for (unsigned i = 0; i < count; i++) {
        while (echoes[i].closed < 2) {
            int rc = weir_loop_run_once(loop, 100 * MILLISECOND);
            cr_assert_geq(rc, 0, "%s", weir_strerror(rc));
            cr_assert_lt(weir_now(loop), limit, "echo %u of %u does not end", i, count);
        }
        cr_assert(echoes[i].exact, "echo %u of %u came back changed", i, count);
    }
}

void echo_works(struct weir_loop *loop, size_t size)
{
    struct echo e;
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    echo_start(&e, loop, fds, size);
    echo_finish(&e, 1);
}

void many_at_once(int backend, uint32_t ring_entries)
{
    enum { PAIRS = 200, SIZE = 20000 };
    static struct echo echoes[PAIRS];
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend, .ring_entries = ring_entries};
    struct weir_loop *loop;
    int fds[2];
    cr_assert_eq(weir_loop_open(&opt, &loop), 0, "%s", weir_loop_refusal());
    for (int i = 0; i < PAIRS; i++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        echo_start(&echoes[i], loop, fds, SIZE);
    }
    echo_finish(echoes, PAIRS);
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* ---- Signals ---- */

enum { ROUNDS = 2000, PAUSE_EVERY = 100 };

static volatile sig_atomic_t alarms;

struct rounds {
    struct weir_loop *loop;
    struct weir_stream *client, *server;
    unsigned done;
};

static void next_round(struct rounds *r);

static void on_alarm(int number)
{
    (void)number;
    alarms = alarms + 1;
}

static void pause_over(struct weir_timer *timer, void *arg)
{
    (void)timer;
    next_round(arg);
}

static void round_over(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct rounds *r = arg;
    unsigned number;
    (void)s;
    cr_assert_eq(status, 0, "%s", weir_strerror(status));
    memcpy(&number, view.data, sizeof number);
    cr_assert_eq(number, r->done);
    if (++r->done == ROUNDS)
        weir_loop_stop(r->loop);
    else if (r->done % PAUSE_EVERY == 0) /* the loop sleeps, and is interrupted there */
        cr_assert_eq(weir_timer_start(r->loop, MILLISECOND, 0, pause_over, r, NULL), 0);
    else
        next_round(r);
}

static void next_round(struct rounds *r)
{
    cr_assert_eq(weir_write(r->client, &r->done, sizeof r->done, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(r->client, sizeof r->done, round_over, r), 0);
}

static void set_alarm(int microseconds)
{
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    struct sigaction act = {.sa_handler = on_alarm};
    cr_assert_eq(sigaction(SIGALRM, &act, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
}

void rounds_under_signals(int backend)
{
    struct rounds r = {.loop = must_open(backend, NULL)};
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(weir_stream_open(r.loop, fds[0], NULL, &r.client), 0);
    cr_assert_eq(weir_stream_open(r.loop, fds[1], NULL, &r.server), 0);
    cr_assert_eq(weir_read_start(r.server, server_got, &r), 0);
    next_round(&r);
    set_alarm(200);
    int rc = weir_loop_run(r.loop);
    set_alarm(0);
    cr_assert_eq(rc, 0, "%s", weir_strerror(rc));
    cr_assert_eq(r.done, ROUNDS);
    cr_assert_gt(alarms, 0);
    cr_assert_eq(weir_loop_close(r.loop), 0);
}
