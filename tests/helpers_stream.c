#include "helpers_stream.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "helpers_layer.h"
#include "loop.h"
#include "mem.h"

enum { NARROW_BYTES = 16384 };

static const uint64_t PATIENCE = 20000000000u;

int open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void open_loop(struct env *e, struct weir_loop_options opt)
{
    opt.size = sizeof opt;
    opt.backend = strcmp(e->world, "epoll") == 0 ? WEIR_BACKEND_EPOLL : WEIR_BACKEND_URING;
    int rc = e->sim ? weir_sim_loop_open(e->sim, &opt, &e->loop) : weir_loop_open(&opt, &e->loop);
    cr_assert_eq(rc, 0, "%s: %s", weir_strerror(rc), weir_loop_refusal());
    cr_assert_str_eq(weir_loop_world(e->loop), e->world);
}

static void env_open(struct env *e, const char *world)
{
    *e = (struct env){.world = world, .live_before = wr_mem_live(), .fds_before = open_fds()};
    if (strcmp(world, "sim") == 0)
        cr_assert_eq(weir_sim_open(1, NULL, &e->sim), 0);
    open_loop(e, (struct weir_loop_options){.size = 0});
}

void reopen_with_buffers(struct env *e, uint32_t count, uint32_t size)
{
    cr_assert_eq(weir_loop_close(e->loop), 0);
    open_loop(e, (struct weir_loop_options){.recv_buffers = count, .recv_buffer_size = size});
}

void env_run_layered(const char *world, void (*layer)(struct weir_stream *a, struct weir_stream *b),
                     void (*body)(struct env *e))
{
    static struct env e;
    env_open(&e, world);
    e.layer = layer;
    body(&e);
    cr_assert_eq(weir_loop_close(e.loop), 0);
    if (e.sim)
        cr_assert_eq(weir_sim_close(e.sim), 0, "sockets left open in the simulator");
    cr_assert_eq(wr_mem_live(), e.live_before, "memory left: %d blocks",
                 (int)(wr_mem_live() - e.live_before));
    cr_assert_eq(open_fds(), e.fds_before, "descriptors left: %d", open_fds() - e.fds_before);
}

void env_run(const char *world, void (*body)(struct env *e))
{
    env_run_layered(world, NULL, body);
}

void note(struct env *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->log + e->log_len, sizeof e->log - e->log_len, format, args);
    va_end(args);
    cr_assert(e->log_len + (size_t)n < sizeof e->log, "the log is full");
    e->log_len += (size_t)n;
}

void expect_log_at(struct env *e, const char *text, const char *file, int line)
{
    cr_assert_str_eq(e->log, text, "%s:%d: on %s\n--- got:\n%s--- wanted:\n%s", file, line, e->world, e->log, text);
    e->log_len = 0;
    e->log[0] = '\0';
}

void expect_lines_at(const struct party *p, const char *text, const char *file, int line)
{
    static char lines[sizeof p->env->log];
    size_t name = strlen(p->name), len = 0;
    for (const char *at = p->env->log, *end; (end = strchr(at, '\n')); at = end + 1)
        if (strncmp(at, p->name, name) == 0 && at[name] == ' ') {
            memcpy(lines + len, at, (size_t)(end + 1 - at));
            len += (size_t)(end + 1 - at);
        }
    lines[len] = '\0';
    cr_assert_str_eq(lines, text, "%s:%d: on %s\n--- got:\n%s--- wanted:\n%s", file, line, p->env->world, lines, text);
}

/* Within `limit` on the loop's clock. */
static void turn_before(struct env *e, uint64_t limit)
{
    int rc = weir_loop_run_once(e->loop, 100000000);
    cr_assert_geq(rc, 0, "on %s: %s; log:\n%s", e->world, weir_strerror(rc), e->log);
    cr_assert_lt(weir_now(e->loop), limit, "on %s: nothing came; log:\n%s", e->world, e->log);
}

void run_until(struct env *e, const int *flag, int n)
{
    for (uint64_t limit = weir_now(e->loop) + PATIENCE; *flag < n;)
        turn_before(e, limit);
}

void run_until_log(struct env *e, const char *text)
{
    for (uint64_t limit = weir_now(e->loop) + PATIENCE; !strstr(e->log, text);)
        turn_before(e, limit);
}

void run_idle(struct env *e)
{
    for (int quiet = 0; quiet < 5;) {
        struct weir_loop_stats before, after;
        weir_loop_stats(e->loop, &before, sizeof before);
        int rc = weir_loop_run_once(e->loop, 1000000);
        cr_assert_geq(rc, 0, "on %s: %s", e->world, weir_strerror(rc));
        weir_loop_stats(e->loop, &after, sizeof after);
        quiet = rc == 0 && before.completed == after.completed ? quiet + 1 : 0;
    }
}

/* ---- Streams ---- */

/* With `size` bytes for the kernel each way, or what it likes (0). */
static int tcp_socket(int size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    if (size > 0) {
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    }
    return fd;
}

static void real_pair(int fds[2], int size)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int l = tcp_socket(size); /* the accepted socket inherits it */
    cr_assert_eq(bind(l, (struct sockaddr *)&in, len), 0);
    cr_assert_eq(listen(l, 1), 0);
    cr_assert_eq(getsockname(l, (struct sockaddr *)&in, &len), 0);
    fds[0] = tcp_socket(size);
    cr_assert_eq(connect(fds[0], (struct sockaddr *)&in, len), 0);
    fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fds[1], 0);
    close(l);
}

void open_party(struct env *e, struct party *p, const char *name, int fd, const struct weir_stream_options *opt)
{
    *p = (struct party){.env = e, .name = name};
    int rc = weir_stream_open(e->loop, fd, opt, &p->s);
    cr_assert_eq(rc, 0, "%s", weir_strerror(rc));
    weir_stream_on_close(p->s, on_close, p);
}

static void open_sized_pair(struct env *e, int size, const struct weir_stream_options *opt_a,
                            const struct weir_stream_options *opt_b, struct party *a, struct party *b)
{
    int fds[2];
    if (e->sim)
        cr_assert_eq(weir_sim_pair(e->sim, fds), 0);
    else
        real_pair(fds, size);
    open_party(e, a, "a", fds[0], opt_a);
    open_party(e, b, "b", fds[1], opt_b);
    if (e->layer)
        e->layer(a->s, b->s);
}

void on_a_layer(struct weir_stream *a, struct weir_stream *b)
{
    if (a)
        shy_attach(a, 1, 4);
    if (b)
        shy_attach(b, 2, 4);
}

void open_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_sized_pair(e, 0, opt, opt, a, b);
}

void open_uneven_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_sized_pair(e, 0, opt, NULL, a, b);
}

void open_narrow_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_sized_pair(e, NARROW_BYTES, opt, opt, a, b);
}

void open_pipe(struct env *e, struct party *r, struct party *w)
{
    int fds[2];
    cr_assert_eq(e->sim ? weir_sim_pipe(e->sim, fds) : pipe2(fds, O_CLOEXEC), 0);
    open_party(e, r, "r", fds[0], NULL);
    open_party(e, w, "w", fds[1], NULL);
}

void close_pair(struct env *e, struct party *a, struct party *b)
{
    if (!a->closed)
        weir_stream_close(a->s, WEIR_CLOSE_NOW);
    if (!b->closed)
        weir_stream_close(b->s, WEIR_CLOSE_NOW);
    run_until(e, &a->closed, 1);
    run_until(e, &b->closed, 1);
}

int deaf_listener(struct env *e, int backlog, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    const struct wr_world_ops *ops = e->loop->world->ops;
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", ret_addr, ret_len), 0);
    int fd = ops->listen(e->loop->world, (struct sockaddr *)ret_addr, *ret_len, backlog, false);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ops->address(e->loop->world, fd, false, ret_addr, ret_len), 0);
    return fd;
}

void send_text(struct party *p, const char *text)
{
    cr_assert_eq(weir_write(p->s, text, strlen(text), NULL, NULL), 0);
}

struct weir_stream_facts facts_of(const struct party *p)
{
    struct weir_stream_facts facts;
    cr_assert_eq(weir_stream_facts(p->s, &facts, sizeof facts), 0);
    return facts;
}

unsigned char byte_at(size_t at)
{
    return (unsigned char)((at * 2654435761u) >> 13);
}

void fill_bytes(void *data, size_t at, size_t len)
{
    unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(at + i);
}

void expect_bytes(const void *data, size_t at, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != byte_at(at + i))
            cr_assert_fail("byte %zu of the stream is wrong", at + i);
}

/* ---- Callbacks ---- */

void on_read(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct party *p = arg;
    cr_assert_eq(s, p->s);
    cr_assert(!p->closed);
    if (status == 0 || view.len > 0)
        note(p->env, "%s read %s %zu %.*s\n", p->name, weir_error_name(status), view.len,
             view.len > 40 ? 0 : (int)view.len, view.len ? (const char *)view.data : "");
    else
        note(p->env, "%s read %s\n", p->name, weir_error_name(status));
}

void on_wrote(struct weir_stream *s, int status, void *arg)
{
    struct party *p = arg;
    cr_assert_eq(s, p->s);
    cr_assert(!p->closed);
    note(p->env, "%s wrote %s\n", p->name, weir_error_name(status));
}

void on_connect(struct weir_stream *s, int status, void *arg)
{
    struct party *p = arg;
    (void)s;
    note(p->env, "%s connected %s\n", p->name, weir_error_name(status));
}

void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct party *p = arg;
    cr_assert_eq(s, p->s);
    cr_assert(!p->closed);
    p->closed = 1;
    p->reason = reason;
    p->env->closes++;
    note(p->env, "%s closed %s\n", p->name, weir_error_name(reason));
}
