/* Stream tests: one body, run on io_uring, on epoll and in the simulator, with one log of its callbacks. */
#ifndef HELPERS_STREAM_H
#define HELPERS_STREAM_H

#include <criterion/criterion.h>

#include "weir.h"
#include "weir_sim.h"

struct env {
    const char *world;
    struct weir_loop *loop;
    struct weir_sim *sim;       /* NULL outside the simulator */
    uint64_t live_before;       /* blocks allocated before the test */
    int fds_before;
    char log[65536];            /* a line per callback, see note */
    size_t log_len;
    int closes;                 /* on_close calls seen by on_close */
    /* What open_pair and web_connect put on their streams, or NULL. Either may be NULL. */
    void (*layer)(struct weir_stream *a, struct weir_stream *b);
};

/* A named stream: what its callbacks are logged as. */
struct party {
    struct env *env;
    const char *name;
    struct weir_stream *s;
    int closed;                 /* on_close was called */
    int reason;
};

/* Test(suite, name_uring), Test(suite, name_epoll), Test(suite, name_sim), all with this body. */
#define ON_ALL_WORLDS(suite, name)                                 \
    static void suite##_##name(struct env *e);                     \
    Test(suite, name##_uring) { env_run("io_uring", suite##_##name); } \
    Test(suite, name##_epoll) { env_run("epoll", suite##_##name); }    \
    Test(suite, name##_sim) { env_run("sim", suite##_##name); }        \
    static void suite##_##name(struct env *e)

#define ON_LAYER(suite, name, how)                                                                  \
    Test(suite, name##_##how##_uring) { env_run_layered("io_uring", how, suite##_##name); }       \
    Test(suite, name##_##how##_epoll) { env_run_layered("epoll", how, suite##_##name); }          \
    Test(suite, name##_##how##_sim) { env_run_layered("sim", how, suite##_##name); }

#ifdef WR_NO_TLS
#define OVER_TLS(suite, name)
#else
#define OVER_TLS(suite, name) ON_LAYER(suite, name, over_tls)
#endif

/* The same, and again on streams that open_pair has put a layer on, one that is hard to live with, and TLS: neither
 * shows anywhere. */
#define ON_ALL_LAYERS(suite, name)             \
    static void suite##_##name(struct env *e); \
    ON_LAYER(suite, name, on_a_layer)          \
    OVER_TLS(suite, name)                      \
    ON_ALL_WORLDS(suite, name)

/* The same without the first layer, for what takes long. */
#define OVER_TLS_TOO(suite, name)              \
    static void suite##_##name(struct env *e); \
    OVER_TLS(suite, name)                      \
    ON_ALL_WORLDS(suite, name)

/* Opens the world, runs the body, closes, and asserts that no memory, buffer or descriptor is left. */
void env_run(const char *world, void (*body)(struct env *e));
void env_run_layered(const char *world, void (*layer)(struct weir_stream *a, struct weir_stream *b),
                     void (*body)(struct env *e));
void on_a_layer(struct weir_stream *a, struct weir_stream *b);
void over_tls(struct weir_stream *a, struct weir_stream *b);

/* The loop anew, with so many receive buffers (0: as many as usual) of `size` bytes. */
void reopen_with_buffers(struct env *e, uint32_t count, uint32_t size);

void note(struct env *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The log so far is exactly this; it is empty afterwards. */
#define expect_log(e, text) expect_log_at(e, text, __FILE__, __LINE__)
void expect_log_at(struct env *e, const char *text, const char *file, int line);

/* The lines of one party so far are exactly these; the log stays. Who of two is called first is nobody's promise. */
#define expect_lines(p, text) expect_lines_at(p, text, __FILE__, __LINE__)
void expect_lines_at(const struct party *p, const char *text, const char *file, int line);

/* Turn until *flag is at least n. Fails the test if the world ends or 20 s pass. */
void run_until(struct env *e, const int *flag, int n);
/* Turn until the log has this text. */
void run_until_log(struct env *e, const char *text);
/* Turn until nothing happens any more. */
void run_idle(struct env *e);

/* A stream of fd. on_close is logged as "NAME closed REASON". opt may be NULL. */
void open_party(struct env *e, struct party *p, const char *name, int fd, const struct weir_stream_options *opt);
/* Two connected streams, "a" and "b". */
void open_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b);
/* a has these options, b none. */
void open_uneven_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b);
/* The same with few bytes in the kernel's hands at a time. */
void open_narrow_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b);
/* A pipe: what "w" writes, "r" reads. */
void open_pipe(struct env *e, struct party *r, struct party *w);
void close_pair(struct env *e, struct party *a, struct party *b);
/* A listening socket that nobody accepts from: it takes in `backlog` connections, and one, and leaves the next waiting.
 * Result: its descriptor, for the world's discard, and where it listens. */
int deaf_listener(struct env *e, int backlog, struct sockaddr_storage *ret_addr, socklen_t *ret_len);

/* Write text, with no callback. */
void send_text(struct party *p, const char *text);
struct weir_stream_facts facts_of(const struct party *p);

/* Byte number `at` of a stream of bytes that all tests share: a byte out of its place is not equal to it. */
unsigned char byte_at(size_t at);
void fill_bytes(void *data, size_t at, size_t len);
void expect_bytes(const void *data, size_t at, size_t len);

/* Callbacks for any call; arg is a party. Logged as "NAME read STATUS LEN TEXT", "NAME wrote STATUS", ... */
void on_read(struct weir_stream *s, int status, struct weir_view view, void *party);
void on_wrote(struct weir_stream *s, int status, void *party);
void on_connect(struct weir_stream *s, int status, void *party);
void on_close(struct weir_stream *s, int reason, void *party);

int open_fds(void);

#endif
