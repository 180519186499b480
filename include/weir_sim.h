/* weir_sim: run weir, and your protocol code on it, in a world made from a seed.
 *
 * The simulator has a virtual clock and in-memory sockets with finite buffers. Faults are drawn from the seed:
 * short reads and sends, EAGAIN, EINTR, ENOBUFS, resets, late and reordered completions, cancels that win or
 * lose, multishots that end at any point. A run is a pure function of its seed and of what the program does.
 * No thread, no file descriptor and no real time is involved.
 *
 * Errors, memory and threads as in weir.h; everything here belongs to one thread. */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_sim;

enum weir_sim_fault {
    WEIR_SIM_SHORT = 1 << 0,        /* recv and send move fewer bytes than they could */
    WEIR_SIM_AGAIN = 1 << 1,        /* -EAGAIN, -EINTR and unasked -ECANCELED: nothing happened */
    WEIR_SIM_NOBUFS = 1 << 2,       /* -ENOBUFS although a buffer is free */
    WEIR_SIM_RESET = 1 << 3,        /* connections are reset, and connects refused */
    WEIR_SIM_REORDER = 1 << 4,      /* completions come late, and not in order of their causes */
    WEIR_SIM_CANCEL = 1 << 5,       /* a cancel may lose against the operation */
    WEIR_SIM_END_MULTI = 1 << 6,    /* a multishot ends at any completion */
    WEIR_SIM_ACCEPT = 1 << 7,       /* accept fails: EMFILE, ECONNABORTED */
    WEIR_SIM_ALL = (1 << 8) - 1
};

struct weir_sim_options {
    size_t size;                /* sizeof(struct weir_sim_options) */
    uint32_t faults;            /* enum weir_sim_fault: what may happen; each is then drawn with its own chance */
    uint32_t socket_buffer;     /* bytes one direction of a connection holds; 0: drawn, 1 to 256 KiB */
    uint32_t recv_buffers;      /* pool buffers of a loop; 0: drawn from 1 to 64, unless the loop's options say */
    uint32_t recv_buffer_size;  /* bytes of each; 0: drawn from 64 to 32768, unless the loop's options say */
};

/* Open a simulator. opt may be NULL: no faults. Result: 0 and *ret_sim. Errors: -EINVAL, -E2BIG, -ENOMEM.
 * Memory: the library's, until weir_sim_close. Thread: the caller's owns it. Since: 0.1 */
WEIR_API int weir_sim_open(uint64_t seed, const struct weir_sim_options *opt, struct weir_sim **ret_sim);

/* Close it. Its loops must be closed before. Result: 0, or how many sockets were never closed. Errors: -EBUSY if a
 * loop is open. Memory: all of it is freed. Thread: its own. Since: 0.1 */
WEIR_API int weir_sim_close(struct weir_sim *sim);

/* A loop in this simulator, used like any other. weir_loop_run fails with -EDEADLK when nothing can ever happen any
 * more. Result: 0 and *ret_loop. Errors: as weir_loop_open. Memory: close it before the simulator. Thread: its own.
 * Since: 0.1 */
WEIR_API int weir_sim_loop_open(struct weir_sim *sim, const struct weir_loop_options *opt,
                                struct weir_loop **ret_loop);

/* From now on no fault happens. Result: 0. Errors: -EINVAL. Memory: none. Thread: its own. Since: 0.1 */
WEIR_API int weir_sim_heal(struct weir_sim *sim);

/* A number drawn for the program's own use; does not disturb the simulator's draws. Result: the number.
 * Errors: none. Memory: none. Thread: its own. Since: 0.1 */
WEIR_API uint64_t weir_sim_random(struct weir_sim *sim);

/* Two sockets connected to each other. Give either to weir_stream_open, or play a peer with the calls below, also one
 * that waits with weir_watch_open.
 * Result: 0 and both. Errors: -ENOMEM, -EMFILE. Memory: each is closed by its stream or weir_sim_peer_close.
 * Thread: its own. Since: 0.1 */
WEIR_API int weir_sim_pair(struct weir_sim *sim, int ret_fds[2]);

/* A pipe: what is written to ret_fds[1] is read from ret_fds[0]. Give either to weir_stream_open, or play a peer with
 * the calls below. Result, Errors, Memory, Thread: as weir_sim_pair. Since: 0.1 */
WEIR_API int weir_sim_pipe(struct weir_sim *sim, int ret_fds[2]);

/* A raw peer: what a program in another process would do, at once and without faults.
 * Connect to a listener: Result: a socket, or -ECONNREFUSED. Errors, Memory, Thread: as weir_sim_pair. Since: 0.1 */
WEIR_API int weir_sim_peer_connect(struct weir_sim *sim, const struct sockaddr *addr, socklen_t addr_len);
/* Result: bytes taken. Errors: -EAGAIN (full), -EPIPE, -ECONNRESET, -EBADF (also: a pipe's end to read from).
 * Memory: the caller's. Thread: its own. Since: 0.1 */
WEIR_API int64_t weir_sim_peer_send(struct weir_sim *sim, int fd, const void *data, size_t len);
/* Result: bytes, 0 at the end. Errors: -EAGAIN (none), -ECONNRESET, -EBADF (also: a pipe's end to write to; -EPIPE
 * once its reader is gone). Memory: the caller's.
 * Thread: its own. Since: 0.1 */
WEIR_API int64_t weir_sim_peer_recv(struct weir_sim *sim, int fd, void *data, size_t len);
/* FIN. Result: 0. Errors: -EBADF, -ENOTSOCK (the FIN of a pipe is its close). Memory: none. Thread: its own.
 * Since: 0.1 */
WEIR_API int weir_sim_peer_shutdown(struct weir_sim *sim, int fd);
/* Close; reset = 1: with RST. Its watches are closed before. Result: 0. Errors: -EBADF. Memory: none. Thread: its
 * own. Since: 0.1 */
WEIR_API int weir_sim_peer_close(struct weir_sim *sim, int fd, int reset);

/* What has happened, as a number over every completion so far: equal for equal runs. Result: the number.
 * Errors: none. Memory: none. Thread: its own. Since: 0.1 */
WEIR_API uint64_t weir_sim_digest(struct weir_sim *sim);

#ifdef __cplusplus
}
#endif
#endif
