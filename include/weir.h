/* weir: asynchronous buffered streams on io_uring, for Linux.
 *
 * Ask for what a protocol needs ("read until \r\n\r\n", "read 512 bytes", "write this") and get one
 * callback when it is done. The same code runs on io_uring, on epoll and in a simulator.
 *
 * The bargain, kept by every call below:
 *   A call that returns < 0 never calls back. One that returns 0 calls back exactly once: never from
 *   inside the call, always on the loop's thread, and never after the stream's on_close.
 *   Any call is legal inside any callback.
 *
 * Errors:  0 or a negative code. Codes down to -4095 are -errno; the library's own are below that
 *          (enum weir_error). weir_strerror() names both.
 * Memory:  handles belong to the library. You close; it frees, after on_close. Option structs begin
 *          with `size`; zero in a field means its default.
 * Threads: everything belongs to the thread that runs the loop, except what says "Thread: any".
 *          A call from another thread returns WEIR_ETHREAD, in a forked child WEIR_EFORK.
 * Time:    nanoseconds in uint64_t, on CLOCK_MONOTONIC.
 * The library prints nothing, never exits, raises no SIGPIPE, and reads no environment variable. */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_API __attribute__((visibility("default")))

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

/* The version of the library in use, as "0.1.0". Result: a static string. Errors: none.
 * Memory: static. Thread: any. Since: 0.1 */
WEIR_API const char *weir_version(void);

/* ---- Errors ------------------------------------------------------------------------------- */

enum weir_error {
    WEIR_EOF = -5001,           /* the peer ended its side in good order */
    WEIR_ECLOSED = -5002,       /* the stream was closed before the call */
    WEIR_EUNSATISFIABLE = -5003,/* what was asked for does not end within `max` bytes */
    WEIR_EBUFFULL = -5004,      /* the read needs more than max_buffer_size */
    WEIR_ETHREAD = -5005,       /* called from a thread that does not run the loop */
    WEIR_EFORK = -5006,         /* called in a forked child on its parent's loop */
    WEIR_EWORLD = -5007,        /* io_uring was required and is refused; weir_loop_refusal says why */
    WEIR_EREGEX = -5008,        /* the pattern asks for more work or memory than one match may take */
    WEIR_ETRUNCATED = -5009,    /* it ended before what was announced: a file that has become shorter, a peer that was
                                 * cut off */
    WEIR_ETLS = -5010,          /* TLS failed; weir_tls_error says why */
    WEIR_ECERT = -5011          /* the peer's certificate is refused; weir_tls_error says why */
};

/* What a code means, in words. Result: a static string, also for unknown codes. Errors: none.
 * Memory: static, never allocates. Thread: any. Since: 0.1 */
WEIR_API const char *weir_strerror(int code);

/* A code's symbol, such as "WEIR_EOF" or "ECONNRESET". Result: a static string, "?" if unknown.
 * Errors: none. Memory: static. Thread: any. Since: 0.1 */
WEIR_API const char *weir_error_name(int code);

/* ---- Loop --------------------------------------------------------------------------------- */

struct weir_loop;
struct weir_stream;
struct weir_listener;
struct weir_timer;
struct weir_watch;
struct weir_signal;

enum weir_backend {
    WEIR_BACKEND_AUTO = 0,      /* io_uring, or epoll if io_uring is refused for any reason */
    WEIR_BACKEND_URING = 1,     /* io_uring, or fail with WEIR_EWORLD */
    WEIR_BACKEND_EPOLL = 2
};

struct weir_loop_options {
    size_t size;                /* sizeof(struct weir_loop_options) */
    int backend;                /* enum weir_backend */
    const char *mask;           /* kernel features not to use, by name, comma between; see describe */
    uint32_t recv_buffer_size;  /* bytes of one shared receive buffer; 32768; a power of two */
    uint32_t recv_buffers;      /* how many of them the loop owns; 256; a power of two */
    uint32_t ring_entries;      /* submission queue entries; 1024; a power of two */
    uint32_t completions_per_turn; /* completions served in one turn; 1024 */
    size_t max_memory;          /* bytes that streams may keep, received or to be sent, besides the receive buffers; a
                                 * quarter of the machine's. Beyond it streams that would have to keep what they
                                 * receive wait, all but one at a time, and a write makes its stream full */
};

struct weir_loop_stats {
    uint64_t turns;             /* times round the loop */
    uint64_t enters;            /* system calls that submit or wait: io_uring_enter or epoll_wait */
    uint64_t submitted;         /* operations handed to the world */
    uint64_t completed;         /* completions served */
    uint64_t bytes_in, bytes_out;
    uint64_t accepted, connected, closed;   /* streams */
    uint64_t starved;           /* receives that found no buffer and waited for one */
    uint64_t accept_errors;     /* accepts that failed, such as for EMFILE */
    uint64_t copied_in;         /* received bytes that were copied to be kept or made contiguous */
    uint64_t copied_out;        /* written bytes that were copied */
    uint64_t thirsted;          /* receives that waited for memory (max_memory) */
    uint64_t memory;            /* bytes that streams keep now */
    uint32_t streams;           /* open now */
    uint32_t buffers_free;      /* shared receive buffers not in a stream's hands */
};

/* Open a loop on the best world the options allow. opt may be NULL.
 * Result: 0 and *ret_loop. Errors: -EINVAL (options, names in the mask too), -E2BIG (options from a newer version),
 * -ENOMEM, WEIR_EWORLD, -EMFILE and what else the kernel refuses with.
 * Memory: the loop is the library's; end it with weir_loop_close. On failure *ret_loop is untouched.
 * Thread: the caller's becomes the loop's. Since: 0.1 */
WEIR_API int weir_loop_open(const struct weir_loop_options *opt, struct weir_loop **ret_loop);

/* The calling thread's own loop, opened with defaults at first use. A NULL loop argument anywhere
 * means this one. Result: the loop, or NULL if it could not be opened. Errors: none besides NULL.
 * Memory: closed by weir_loop_close or, failing that, when the thread ends. Thread: any, each its own.
 * Since: 0.1 */
WEIR_API struct weir_loop *weir_loop_default(void);

/* Why the last weir_loop_open of this thread was refused, in words: the kernel's answer, and what to
 * change. Result: text, "" if nothing was refused. Errors: none. Memory: the thread's, until the next
 * weir_loop_open. Thread: any. Since: 0.1 */
WEIR_API const char *weir_loop_refusal(void);

/* Serve until weir_loop_stop. Result: 0 once stopped. Errors: -EBUSY if it is running already,
 * WEIR_ETHREAD, WEIR_EFORK, or the kernel's final refusal of the ring. Memory: none. Thread: loop.
 * Since: 0.1 */
WEIR_API int weir_loop_run(struct weir_loop *loop);

/* One turn: wait at most timeout_ns (UINT64_MAX: until something happens), serve what is ready.
 * Result: 0, or 1 if more is ready at once. Errors: as weir_loop_run. Memory: none. Thread: loop.
 * Since: 0.1 */
WEIR_API int weir_loop_run_once(struct weir_loop *loop, uint64_t timeout_ns);

/* Make weir_loop_run return after the current turn; a stop before run makes the next run return at
 * once. Result: 0. Errors: -EINVAL for NULL. Memory: none. Thread: any; safe in a signal handler.
 * Since: 0.1 */
WEIR_API int weir_loop_stop(struct weir_loop *loop);

/* Close every stream, listener, timer, watch and signal of the loop now, serve their last callbacks, free the loop.
 * Result: 0; NULL is a no-op. Errors: -EBUSY from inside a callback, and at the end while views are held
 * (weir_view_hold: drop them, and close again), WEIR_ETHREAD, WEIR_EFORK (a forked
 * child has nothing to close), -EIO (the kernel does not let go of memory: the loop is lost).
 * Memory: every handle of the loop is invalid afterwards.
 * Thread: loop. Since: 0.1 */
WEIR_API int weir_loop_close(struct weir_loop *loop);

/* A descriptor that polls readable when the loop has something to serve: to sit inside another loop,
 * poll it for weir_loop_next_deadline - weir_now at most, then call weir_loop_run_once(loop, 0) until
 * it returns 0. On io_uring an eventfd that weir_watch_open watches does not make it readable, since kernels lose what
 * one eventfd has to tell another; a loop opened with the mask "defer_taskrun" is told.
 * Result: the fd, the library's. Errors: -ENOTSUP in the simulator, -EMFILE, WEIR_ETHREAD, ...
 * Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_loop_fd(struct weir_loop *loop);

/* When the next timer is due; UINT64_MAX if none is, 0 if the loop has work at once.
 * Result: a time as weir_now's. Errors: none. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API uint64_t weir_loop_next_deadline(struct weir_loop *loop);

/* The loop's clock, read once per turn. Result: nanoseconds. Errors: none. Memory: none.
 * Thread: loop. Since: 0.1 */
WEIR_API uint64_t weir_now(struct weir_loop *loop);

/* Which world, why, and every kernel feature: used, masked, broken (the kernel has it, but it failed its test),
 * absent, or unused (for a better one). One line each, in text of at most `size` bytes with its NUL.
 * Result: the length the whole text has. Errors: WEIR_ETHREAD.
 * Memory: the caller's text. Thread: loop. Since: 0.1 */
WEIR_API int weir_loop_describe(struct weir_loop *loop, char *text, size_t size);

/* The world's name: "io_uring", "epoll" or "sim". Result: a static string. Errors: none. Memory: static.
 * Thread: any. Since: 0.1 */
WEIR_API const char *weir_loop_world(struct weir_loop *loop);

/* The loop's counters. stats->size need not be set. Result: 0. Errors: -EINVAL, WEIR_ETHREAD.
 * Memory: the caller's struct; at most `size` bytes of it are written. Thread: loop. Since: 0.1 */
WEIR_API int weir_loop_stats(struct weir_loop *loop, struct weir_loop_stats *stats, size_t size);

typedef void weir_call_fn(void *arg);

/* Call fn(arg) on the loop's thread, in order of posting. Result: 0. Errors: -EINVAL, -ENOMEM,
 * WEIR_ECLOSED if the loop is closing. Memory: arg is the caller's. Thread: any. Since: 0.1 */
WEIR_API int weir_post(struct weir_loop *loop, weir_call_fn *fn, void *arg);

/* Call fn(arg) on the next turn. Result: 0. Errors: -EINVAL, -ENOMEM, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: arg is the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_defer(struct weir_loop *loop, weir_call_fn *fn, void *arg);

/* ---- Contexts ----------------------------------------------------------------------------- */

/* A context is what every continuation of a piece of work has in common: a request's identity, its account, its error
 * handler. The one that is current when a callback is handed to the library is current again, entered, when it is
 * called; so it follows the work through reads, writes, connects, timers and deferred calls without being passed along.
 * A context opened inside another stands in it: both are entered, the outer one first. What is current is the loop's.
 * A release of weir_write_ref runs outside of all contexts, and so does what weir_post brings. */

struct weir_context;

struct weir_context_options {
    size_t size;                    /* sizeof(struct weir_context_options) */
    void (*enter)(void *arg);       /* before each call inside */
    void (*leave)(void *arg);       /* after it, in the opposite order */
    int (*on_error)(int code, void *arg);   /* for weir_context_fail: 1: handled, 0: ask the one outside */
    void (*release)(void *arg);     /* no callback of it is left, and it was closed: called by the loop, soon */
    void *arg;
};

/* Open a context inside the current one. Result: 0 and *ret_context. Errors: -EINVAL, -E2BIG, -ENOMEM, -ELOOP (64 stand
 * in each other already), WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is yours until weir_context_close, which comes
 * before weir_loop_close. Thread: loop. Since: 0.1 */
WEIR_API int weir_context_open(struct weir_loop *loop, const struct weir_context_options *opt,
                               struct weir_context **ret_context);

/* Call fn(arg) at once with the context current; NULL: with none, as for work that is shared by many.
 * Result: 0. Errors: -EINVAL (also a context of another loop), WEIR_ETHREAD, WEIR_EFORK; then fn is not called.
 * Memory: arg is the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_context_run(struct weir_loop *loop, struct weir_context *context, weir_call_fn *fn, void *arg);

/* From now on it is not entered any more; a call that runs inside it ends as it began. Result: 0. Errors: -EINVAL,
 * WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_context_deactivate(struct weir_context *context);

/* Give the handle up; callbacks that were handed over in it still run in it. Result: 0; NULL is a no-op. Errors:
 * WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is invalid afterwards. Thread: loop. Since: 0.1 */
WEIR_API int weir_context_close(struct weir_context *context);

/* Tell the contexts around the running call of an error: the innermost on_error that handles it. Result: 0 if one did.
 * Errors: -ENOENT if none did, -EINVAL (code is not < 0), WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop.
 * Since: 0.1 */
WEIR_API int weir_context_fail(struct weir_loop *loop, int code);

/* The current context. Result: the context, NULL if there is none. Errors: none. Memory: the library's. Thread: loop.
 * Since: 0.1 */
WEIR_API struct weir_context *weir_context_current(struct weir_loop *loop);

/* ---- Timers ------------------------------------------------------------------------------- */

typedef void weir_timer_fn(struct weir_timer *timer, void *arg);

/* Call fn after delay_ns, and then every period_ns if that is not 0, counted from the first; what passed before fn
 * returned is skipped, not made up. Result: 0; *ret_timer if ret_timer is not NULL. Errors: -EINVAL, -ENOMEM,
 * WEIR_ECLOSED if the loop is closing, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: with ret_timer the handle is yours until weir_timer_stop or the end of weir_loop_close, also
 * after it fired; without, a one-shot timer is freed once it fired. Thread: loop. Since: 0.1 */
WEIR_API int weir_timer_start(struct weir_loop *loop, uint64_t delay_ns, uint64_t period_ns,
                              weir_timer_fn *fn, void *arg, struct weir_timer **ret_timer);

/* Set it anew, fired or not: the next call comes delay_ns from now. Result: 0. Errors: -EINVAL,
 * WEIR_ECLOSED if the loop is closing, WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_timer_again(struct weir_timer *timer, uint64_t delay_ns);

/* End it; fn is not called any more. Result: 0; NULL is a no-op. Errors: WEIR_ETHREAD, WEIR_EFORK.
 * Memory: the handle is invalid afterwards. Legal in its own callback. Thread: loop. Since: 0.1 */
WEIR_API int weir_timer_stop(struct weir_timer *timer);

/* ---- Patterns ----------------------------------------------------------------------------- */

/* A regular expression of PCRE2, on bytes (no UTF). What a read of a pattern gives does not depend on how the bytes
 * came: it gives up to and with the first match that the search of all of them would find. So it completes once no
 * further byte can change the match; at the peer's end, that end decides. \A and ^ are where the read begins, \z the
 * peer's end; (?m)^ also matches behind a last newline, and a newline is \n.
 * Patterns are code: those of strangers can cost much time, within bounds that end in WEIR_EREGEX. The bounds are for
 * each place where a match may begin. Repeats that can share the same bytes, as in (a+)+ or a*a*, are what costs. */
struct weir_regex;

/* Compile a pattern of len bytes. It never changes: any number of reads, loops and threads may use it at a time.
 * Result: 0 and *ret_regex. Errors: -EINVAL (weir_regex_refusal says what is wrong, and where), -ENOMEM,
 * -ENOTSUP (libweir was built without PCRE2, or the pattern needs its JIT compiler and that is not to be had).
 * Memory: the pattern is copied; the regex is the library's, end it with weir_regex_close. Thread: any. Since: 0.1 */
WEIR_API int weir_regex_open(const char *pattern, size_t len, struct weir_regex **ret_regex);

/* Why the last weir_regex_open of this thread failed, in words, with the byte of the pattern: "byte 3: missing closing
 * parenthesis". Result: text, "" if it did not fail. Errors: none. Memory: the thread's, until the next
 * weir_regex_open. Thread: any. Since: 0.1 */
WEIR_API const char *weir_regex_refusal(void);

/* Give the regex back; reads that are pending on it go on. Result: none; NULL is a no-op. Errors: none.
 * Memory: the handle is invalid afterwards. Thread: any. Since: 0.1 */
WEIR_API void weir_regex_close(struct weir_regex *regex);
/* ---- Watches ------------------------------------------------------------------------------ */

enum weir_watch_event {
    WEIR_READABLE = 1 << 0,
    WEIR_WRITABLE = 1 << 1,
    WEIR_HANGUP = 1 << 2,       /* told without being asked for: the other end is gone, or both ways have ended */
    WEIR_ERROR = 1 << 3         /* told without being asked for */
};

/* Status 0: what poll(2) tells of the descriptor, in every turn as long as it is so. Or once status < 0 with no
 * events: it cannot be polled (-EBADF: it was closed first), and the watch rests. */
typedef void weir_watch_fn(struct weir_watch *watch, int status, unsigned events, void *arg);

/* Watch a descriptor that is and stays yours: fn is called in each turn, once, in which it is ready for one of
 * `events`; 0: the watch rests. What never waits, such as a regular file, is always ready. One descriptor may have
 * any number of watches, but none while it is a stream's or a listener's. In the simulator it is a simulated socket.
 * Result: 0 and *ret_watch. Errors: -EINVAL, -EBADF, -ENOMEM, what else epoll_ctl(2) says, WEIR_ECLOSED if the loop
 * is closing, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: the handle is yours until weir_watch_close or the end of weir_loop_close; the descriptor may be closed no
 * sooner. Thread: loop. Since: 0.1 */
WEIR_API int weir_watch_open(struct weir_loop *loop, int fd, unsigned events, weir_watch_fn *fn, void *arg,
                             struct weir_watch **ret_watch);

/* Watch for these events from now on; at once no others are told. 0: rest, and hear not even of hangup and error.
 * Result: 0. Errors: -EINVAL, WEIR_ECLOSED if the loop is closing, WEIR_ETHREAD, WEIR_EFORK. Memory: none.
 * Thread: loop. Since: 0.1 */
WEIR_API int weir_watch_update(struct weir_watch *watch, unsigned events);

/* End it; fn is not called any more, and nothing of the library holds the descriptor: you may close it at once.
 * Result: 0; NULL is a no-op. Errors: WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is invalid afterwards. Legal in
 * its own callback. Thread: loop. Since: 0.1 */
WEIR_API int weir_watch_close(struct weir_watch *watch);

/* ---- Signals ------------------------------------------------------------------------------ */

typedef void weir_signal_fn(struct weir_signal *s, int signo, void *arg);

/* Call fn on the loop's thread when the process has got the signal. Several that come before the call may share it;
 * none comes without a call after it. Any number may be opened for one signal, on any loops: each is called. What
 * was done on it before is done again once the last is closed, and in a forked child, which has none. No mask is
 * changed: a signal that all threads block does not come.
 * Result: 0 and *ret_signal. Errors: -EINVAL, also for what no loop can serve (SIGKILL, SIGSTOP; SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL), -ENOMEM, WEIR_ECLOSED if the loop is closing, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: the handle is yours until weir_signal_close or the end of weir_loop_close. Thread: loop. Since: 0.1 */
WEIR_API int weir_signal_open(struct weir_loop *loop, int signo, weir_signal_fn *fn, void *arg,
                              struct weir_signal **ret_signal);

/* End it; fn is not called any more, not even for a signal that came before. Result: 0; NULL is a no-op. Errors:
 * WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is invalid afterwards. Legal in its own callback. Thread: loop.
 * Since: 0.1 */
WEIR_API int weir_signal_close(struct weir_signal *s);

/* ---- Streams ------------------------------------------------------------------------------ */

/* Bytes that belong to the stream until the callback they were given to returns. */
struct weir_view {
    const void *data;
    size_t len;
};

typedef void weir_read_fn(struct weir_stream *s, int status, struct weir_view view, void *arg);
typedef void weir_write_fn(struct weir_stream *s, int status, void *arg);
typedef void weir_connect_fn(struct weir_stream *s, int status, void *arg);
typedef void weir_release_fn(const void *data, size_t len, void *arg);
typedef void weir_file_fn(int fd, void *arg);
typedef void weir_close_fn(struct weir_stream *s, int reason, void *arg);
typedef void weir_drain_fn(struct weir_stream *s, void *arg);

struct weir_stream_options {
    size_t size;                    /* sizeof(struct weir_stream_options) */
    size_t max_buffer_size;         /* bytes a read may gather; 1 MiB */
    size_t max_write_buffer_size;   /* bytes queued for writing before -ENOBUFS, besides what a layer has
                                     * made of some of them (128 KiB at most); 4 MiB */
    size_t write_high_water;        /* more queued bytes than this make the stream full; 1 MiB */
    size_t write_low_water;         /* as few make it drained again: on_drain; 256 KiB */
    size_t ext_size;                /* user bytes in the same allocation, zeroed; see weir_stream_ext */
    uint64_t connect_timeout_ns;    /* 10 s */
    uint64_t handshake_timeout_ns;  /* how long a layer may take to begin (weir_layer.h); 10 s */
    uint64_t flush_timeout_ns;      /* how long WEIR_CLOSE_FLUSH may take, lingering included; 5 s */
    /* What passes these limits ends with -ETIMEDOUT: for the first the read, for the others the stream. 0: none. */
    uint64_t read_timeout_ns;       /* for one read to complete, however many bytes trickle in; not weir_read_start */
    uint64_t write_stall_timeout_ns;/* without the kernel taking any of the queued bytes; noticed within twice that */
    uint64_t idle_timeout_ns;       /* without a byte either way */
    uint64_t min_rate;              /* bytes a second, 5 s of grace: for a read that has its first byte to get the
                                     * rest, and for queued bytes to go */
    int limit_keeps;                /* 1: a read that passes its limit fails, and stream and bytes stay; 0: the stream
                                     * closes */
    int last_write_callback;        /* 1: a write's callback, none too, takes the place of those not yet called, and
                                     * is called when all that is queued has gone */
    int half_open;                  /* 1: the peer's FIN ends reading only; 0: it closes the stream, as
                                     * WEIR_CLOSE_FLUSH does, once the bytes before it have been read */
    int keep_delay;                 /* 1: leave Nagle's delay on; 0: TCP_NODELAY */
    weir_close_fn *on_close;
    void *on_close_arg;
    weir_drain_fn *on_drain;        /* a full stream, or one that refused a write while bytes were queued, has drained,
                                     * and is not closing: write on */
    void *on_drain_arg;
};

/* Make a stream of a connected or not yet connected socket, of either end of a pipe or FIFO, or of a terminal or other
 * character device that can be polled. Whether a description waits (O_NONBLOCK) may be anything, and those that share
 * it find it as it was. The end of a pipe, and a terminal's hang-up, is what a FIN is elsewhere. opt may be NULL.
 * Result: 0 and *ret_stream; the fd is the stream's. Errors: -EBADF, -ENOTSUP (a file, a directory, a socket that is
 * no stream), -EINVAL (also for a socket that listens), -E2BIG, -ENOMEM, WEIR_ETHREAD, WEIR_EFORK; then the fd is still
 * the caller's, and as it was.
 * Memory: the stream is the library's. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_open(struct weir_loop *loop, int fd, const struct weir_stream_options *opt,
                              struct weir_stream **ret_stream);

/* A new socket for the address' family, connecting to it: weir_stream_open and weir_stream_connect in
 * one. Result: 0, *ret_stream, and fn once. Errors: as both, and what socket(2) says. Memory: addr is
 * copied. Thread: loop. Since: 0.1 */
WEIR_API int weir_connect_addr(struct weir_loop *loop, const struct sockaddr *addr, socklen_t addr_len,
                               const struct weir_stream_options *opt, weir_connect_fn *fn, void *arg,
                               struct weir_stream **ret_stream);

/* Connect an unconnected stream. Writes queue meanwhile.
 * Result: fn(s, 0), before their callbacks; or, after theirs with the same code, fn(s, code) and then on_close:
 * -ECONNREFUSED, -ETIMEDOUT, ...; -ECANCELED if it was closed here, which on_close tells as 0.
 * Errors: -EINVAL, -EISCONN, -EALREADY, -ENOMEM, WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: addr is copied. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_connect(struct weir_stream *s, const struct sockaddr *addr, socklen_t addr_len,
                                 weir_connect_fn *fn, void *arg);

/* What is called last, once, with the reason: 0 closed here in good order, WEIR_EOF by the peer, or the
 * error that ended it. After it returns the stream is gone. Replaces the options' on_close.
 * Result: 0. Errors: WEIR_ETHREAD, WEIR_EFORK. Memory: arg is the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_on_close(struct weir_stream *s, weir_close_fn *fn, void *arg);

/* -- Reading. One read at a time: a second returns -EBUSY. A read that the buffer can satisfy
 * succeeds, also while the stream is closing. Common to all:
 * Result: fn(s, 0, view) with the bytes, in one piece; or fn(s, code, view) with code WEIR_EOF, -ECANCELED
 * (closed here, or weir_read_cancel), -ETIMEDOUT (its deadline), or what broke the stream. The view is then empty,
 * except for weir_read_until_close and weir_read_into.
 * Errors: -EINVAL, -EBUSY, -ENOTCONN (not connected and not connecting), -EBADF (the end of a pipe that only writes),
 * WEIR_ECLOSED, WEIR_EBUFFULL (more than max_buffer_size would have to be gathered), -ENOMEM, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: the view is the stream's until fn returns. Thread: loop. */

/* Exactly n bytes; n == 0 completes with nothing. Result, Errors, Memory, Thread: as above. Since: 0.1 */
WEIR_API int weir_read_bytes(struct weir_stream *s, size_t n, weir_read_fn *fn, void *arg);

/* At least one byte and at most max (0: whatever has come). Result, Errors, Memory, Thread: as above.
 * Since: 0.1 */
WEIR_API int weir_read_some(struct weir_stream *s, size_t max, weir_read_fn *fn, void *arg);

/* Up to and with the first delim, of at most max bytes in all (0: 65536, or max_buffer_size if that is
 * less). Result: as above; WEIR_EUNSATISFIABLE if its end lies beyond max, and the stream closes (see limit_keeps).
 * Errors: as above; -EINVAL for an empty delim or one longer than max. Memory: as above; delim is copied.
 * Thread: loop. Since: 0.1 */
WEIR_API int weir_read_until(struct weir_stream *s, const void *delim, size_t delim_len, size_t max,
                             weir_read_fn *fn, void *arg);

/* Up to and with the first match of the pattern, of at most max bytes in all (0: as weir_read_until); what stands
 * before the match comes with it. Result: as above; WEIR_EUNSATISFIABLE if it does not end within max, WEIR_EREGEX if
 * the pattern asks for too much, and the stream closes (see limit_keeps). Errors, Thread: as above. Memory: as above;
 * the regex may be closed meanwhile. Since: 0.1 */
WEIR_API int weir_read_until_regex(struct weir_stream *s, struct weir_regex *regex, size_t max, weir_read_fn *fn,
                                   void *arg);

/* len bytes, or with partial = 1 from one to len, into your memory: the kernel puts them there itself once the buffer
 * is empty. Result: as above; the view is memory and how many bytes were put there, whatever the status. Not bound by
 * max_buffer_size. Errors, Thread: as above. Memory: `memory` must stay until fn is called. Since: 0.1 */
WEIR_API int weir_read_into(struct weir_stream *s, void *memory, size_t len, int partial, weir_read_fn *fn,
                            void *arg);

/* Frames: messages whose header tells how long they are. Such a message has offset + width + adjust bytes, and as many
 * more as its length field says: the view begins with the header. Where the field counts the header too, adjust is
 * -(offset + width). */
struct weir_frame {
    size_t size;                /* sizeof(struct weir_frame) */
    uint32_t offset;            /* bytes before the length field */
    uint32_t width;             /* bytes of the length field: 1 to 8, there is no default */
    int little_endian;          /* 1: its least byte comes first; 0: last, as networks do */
    int64_t adjust;             /* bytes of the frame that the field does not count, or (negative) counts as well */
    size_t max;                 /* bytes of the longest frame that is read; 65536, or max_buffer_size if that is less */
};

/* The next frame, whole. Result: as above; WEIR_EUNSATISFIABLE, as soon as the header tells, if it is longer than max,
 * -EBADMSG if its length is less than its header's, and the stream closes (see limit_keeps). Errors: as above; -EINVAL
 * also for a width that cannot be. Memory: as above; `frame` is copied. Thread: loop. Since: 0.1 */
WEIR_API int weir_read_frame(struct weir_stream *s, const struct weir_frame *frame, weir_read_fn *fn, void *arg);

/* Everything up to the peer's end. Result: fn(s, 0, all) at the peer's FIN; on any error fn(s, code, view)
 * with what came before it; WEIR_EBUFFULL beyond max_buffer_size, and the stream closes (see limit_keeps).
 * Errors, Memory, Thread: as above. Since: 0.1 */
WEIR_API int weir_read_until_close(struct weir_stream *s, weir_read_fn *fn, void *arg);

/* Every chunk as it comes, until weir_read_stop. Result: fn(s, 0, chunk) any number of times, then once
 * fn(s, code, empty) unless stopped before. Errors, Memory, Thread: as above. Since: 0.1 */
WEIR_API int weir_read_start(struct weir_stream *s, weir_read_fn *fn, void *arg);

/* End weir_read_start; what has come stays in the buffer, and no more is read than one receive ahead, so
 * that the peer feels it. Result: 0, also if not reading. Errors: -EINVAL if another read is pending,
 * WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_read_stop(struct weir_stream *s);

/* The pending read ends with -ECANCELED, soon; what has come stays in the buffer for the next, except what
 * weir_read_into has put into your memory. Result: 0. Errors: -EINVAL if none is pending, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_read_cancel(struct weir_stream *s);

/* The pending read ends with -ETIMEDOUT unless it completes before `at_ns` on weir_now's clock; bytes and stream stay.
 * Takes the place of read_timeout_ns; UINT64_MAX: no deadline. Result: 0. Errors: -EINVAL if none is pending,
 * -ENOMEM, WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_read_deadline(struct weir_stream *s, uint64_t at_ns);

/* Look at what has come and was not read. Result: 0, *ret_view, perhaps empty. Errors: -EINVAL, WEIR_ETHREAD,
 * WEIR_EFORK. Memory: the view is the stream's until the calling callback returns, or until it is read. Thread: loop.
 * Since: 0.1 */
WEIR_API int weir_peek(struct weir_stream *s, struct weir_view *ret_view);

struct weir_hold;

/* Keep the bytes of *view, a part of what the running callback was given, after it returns. They are not copied, unless
 * they stand in shared receive buffers that run short; *view says where they stand then.
 * Result: 0, *view, *ret_hold. Errors: -EINVAL (not of the running callback's view), -ENOMEM, WEIR_ETHREAD, WEIR_EFORK.
 * Memory: until weir_view_drop; the stream may be gone, the loop is not. Thread: loop. Since: 0.1 */
WEIR_API int weir_view_hold(struct weir_stream *s, struct weir_view *view, struct weir_hold **ret_hold);

/* Let go of them. Result: 0; NULL is a no-op. Errors: WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is invalid
 * afterwards. Thread: loop. Since: 0.1 */
WEIR_API int weir_view_drop(struct weir_hold *hold);

/* -- Writing. Any number of writes; bytes go out in order. Common to all:
 * Result: fn, if not NULL, is called with 0 when the kernel has taken the write's last byte, in order of
 * the writes; with a code if the stream ends before: -ECANCELED, -EPIPE, -ECONNRESET, ...
 * Errors: -EINVAL, -ENOTCONN, -EBADF (the end of a pipe that only reads), -EPIPE (after weir_shutdown), -ENOBUFS (would
 * exceed max_write_buffer_size; nothing was queued), -ENOMEM (nothing was queued), WEIR_ECLOSED, WEIR_ETHREAD,
 * WEIR_EFORK.
 * Thread: loop. */

/* Copies the bytes, unless they stand in the view that the calling callback was given, and better stay there until they
 * are sent. Result, Errors, Thread: as above. Memory: data is the caller's again at return. Since: 0.1 */
WEIR_API int weir_write(struct weir_stream *s, const void *data, size_t len, weir_write_fn *fn, void *arg);

/* Copies all pieces; they go out as one. Result, Errors, Thread: as above. Memory: the pieces are the
 * caller's again at return. Since: 0.1 */
WEIR_API int weir_writev(struct weir_stream *s, const struct iovec *iov, int count, weir_write_fn *fn,
                         void *arg);

/* Borrows the bytes: they must stay as they are until release(data, len, arg), which runs exactly once if
 * the call returned 0 (sent, failed or cancelled alike), before fn, and not at all if it failed.
 * Result, Errors, Thread: as above. Memory: data is borrowed. Since: 0.1 */
WEIR_API int weir_write_ref(struct weir_stream *s, const void *data, size_t len, weir_release_fn *release,
                            weir_write_fn *fn, void *arg);

/* len bytes of a regular file from offset on, which the kernel sends itself (sendfile); few are read in the call. They
 * must stay in the file until they are sent. If it becomes shorter, the stream sends what there is and ends with
 * WEIR_ETRUNCATED: nothing is made up. Where the file is not in memory, the loop waits for the disk.
 * They count as queued, but not for max_write_buffer_size; when as many are queued, no file is taken.
 * release(fd, arg), if not NULL, runs exactly once if the call returned 0, before fn: fd is not needed any more.
 * Result, Errors, Thread: as above; -EBADF (not open for reading), -EINVAL (no regular file), WEIR_ETRUNCATED (it has
 * not as many bytes). Memory: fd stays the caller's, open until release. Since: 0.1 */
WEIR_API int weir_write_file(struct weir_stream *s, int fd, uint64_t offset, uint64_t len, weir_file_fn *release,
                             weir_write_fn *fn, void *arg);

/* Send nothing until weir_uncork, weir_shutdown or WEIR_CLOSE_FLUSH, so that what is written meanwhile leaves as one.
 * (Writes of one turn do so anyway.) Corking twice is corking once. Result: 0. Errors: -EINVAL, WEIR_ECLOSED,
 * WEIR_ETHREAD, WEIR_EFORK. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_cork(struct weir_stream *s);

/* Result, Errors, Memory, Thread: as weir_cork. Since: 0.1 */
WEIR_API int weir_uncork(struct weir_stream *s);

/* -- Ending. */

enum weir_close_manner {
    WEIR_CLOSE_NOW = 0,     /* drop what is queued */
    WEIR_CLOSE_FLUSH = 1,   /* send what is queued, FIN, read and drop until the peer's FIN, then close */
    WEIR_CLOSE_RESET = 2    /* drop what is queued and send RST */
};

/* Send a FIN after what is queued; reading goes on. Result: 0. Errors: -EINVAL, -ENOTCONN, -EPIPE (done before),
 * -ENOTSOCK (the FIN of a pipe or terminal is its close), -EBADF, WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK. Memory: none.
 * Thread: loop. Since: 0.1 */
WEIR_API int weir_shutdown(struct weir_stream *s);

/* Close. A pending read that the buffer satisfies is served; other pending callbacks come with -ECANCELED
 * (under FLUSH, writes come with 0 once sent); then on_close. A second close may hasten the first. Where memory is
 * lacking to bound a FLUSH in time, the stream ends at once, with -ENOMEM.
 * Result: 0; NULL is a no-op. Errors: -EINVAL, WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is valid until
 * on_close returns. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_close(struct weir_stream *s, int manner);

/* -- Facts. Thread: loop for all. */

struct weir_stream_facts {
    int reading;            /* a read is pending */
    int writing;            /* bytes are queued or in the kernel's hands */
    int closed;             /* closing or closed: no new writes */
    int full;               /* too much was queued (write_high_water), or refused (-ENOBUFS): on_drain is yet to come */
    int error;              /* what ended it, as on_close will tell; 0 so far */
    size_t buffered;        /* bytes received and not yet read */
    size_t queued;          /* bytes written and not yet taken by the kernel; of some a layer may have made more */
    uint64_t bytes_in, bytes_out;   /* the kernel gave and took; with a layer they are the layer's */
};

/* How the stream stands. Result: 0. Errors: -EINVAL, WEIR_ETHREAD. Memory: the caller's struct; at most
 * `size` bytes are written. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_facts(struct weir_stream *s, struct weir_stream_facts *facts, size_t size);

/* The user bytes asked for with ext_size, aligned as malloc's. Result: the bytes, NULL if there are none.
 * Errors: none. Memory: the stream's. Thread: loop. Since: 0.1 */
WEIR_API void *weir_stream_ext(struct weir_stream *s);

/* The stream's loop. Result: the loop. Errors: none. Memory: the library's. Thread: loop. Since: 0.1 */
WEIR_API struct weir_loop *weir_stream_loop(struct weir_stream *s);

/* Local (peer == 0) or peer address. Result: 0, *ret_addr, *ret_len. Errors: the kernel's, WEIR_ECLOSED,
 * WEIR_ETHREAD. Memory: the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_address(struct weir_stream *s, int peer, struct sockaddr_storage *ret_addr,
                                 socklen_t *ret_len);

/* TCP_NODELAY on or off; nothing on other sockets; no system call if unchanged. Result: 0. Errors: the
 * kernel's, WEIR_ECLOSED, WEIR_ETHREAD. Memory: none. Thread: loop. Since: 0.1 */
WEIR_API int weir_stream_set_nodelay(struct weir_stream *s, int on);

/* ---- Listening ---------------------------------------------------------------------------- */

/* A connection came (status 0: the stream is open and yours), or accepting met an error it will try to get
 * over (status < 0, s NULL), such as -EMFILE: it goes on by itself when streams close or after a pause. */
typedef void weir_accept_fn(struct weir_listener *l, int status, struct weir_stream *s, void *arg);

struct weir_listen_options {
    size_t size;                    /* sizeof(struct weir_listen_options) */
    const struct sockaddr *addr;    /* where; see weir_addr_parse */
    socklen_t addr_len;
    int fd;                         /* used if addr is NULL: a listening socket to take over */
    int backlog;                    /* 4096 */
    int reuse_port;                 /* SO_REUSEPORT */
    const struct weir_stream_options *stream;   /* for accepted streams; copied */
};

/* Listen, and call fn for each connection. Result: 0 and *ret_listener. Errors: -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES, -EBADF, -ENOTSOCK, -EINVAL, -E2BIG, -ENOMEM, -EMFILE, WEIR_ETHREAD, WEIR_EFORK, ...
 * Memory: the listener is the library's; a taken-over fd is its own on success. Thread: loop. Since: 0.1 */
WEIR_API int weir_listen(struct weir_loop *loop, const struct weir_listen_options *opt, weir_accept_fn *fn,
                         void *arg, struct weir_listener **ret_listener);

/* Where it listens, with the port the kernel chose. Result: 0. Errors: the kernel's, WEIR_ETHREAD.
 * Memory: the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_listener_address(struct weir_listener *l, struct sockaddr_storage *ret_addr,
                                   socklen_t *ret_len);

/* Stop accepting; streams accepted before live on; fn is not called any more. Result: 0; NULL is a no-op.
 * Errors: WEIR_ETHREAD, WEIR_EFORK. Memory: the handle is invalid afterwards. Thread: loop. Since: 0.1 */
WEIR_API int weir_listener_close(struct weir_listener *l);

/* ---- Addresses ---------------------------------------------------------------------------- */

/* "127.0.0.1:80", "[::1]:80", "*:80" (any), "localhost:80" (127.0.0.1), "unix:/path", "unix:@abstract".
 * No names are looked up. Result: 0, *ret_addr, *ret_len. Errors: -EINVAL, -ENAMETOOLONG. Memory: the
 * caller's. Thread: any. Since: 0.1 */
WEIR_API int weir_addr_parse(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len);

/* The reverse, in text of at most `size` bytes with its NUL. Result: the length the whole text has.
 * Errors: -EINVAL, -EAFNOSUPPORT. Memory: the caller's. Thread: any. Since: 0.1 */
WEIR_API int weir_addr_format(const struct sockaddr *addr, socklen_t addr_len, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
