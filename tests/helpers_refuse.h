/* A kernel that refuses calls or interrupts them, and an echo as the proof that a loop works all the same. */
#ifndef HELPERS_REFUSE_H
#define HELPERS_REFUSE_H

#include <criterion/criterion.h>

#include "weir.h"

/* From now on the system call of that number fails with the error, for this thread and for good. */
void refuse_call(long number, int error);

int open_world(int backend, const char *mask, struct weir_loop **ret_loop);
/* Open it, or fail the test. */
struct weir_loop *must_open(int backend, const char *mask);
/* What weir_loop_describe tells after "name: ", in one line; "" if it does not name it. */
const char *described(struct weir_loop *loop, const char *name);

/* One stream sends its bytes to another, which sends them back. */
struct echo {
    struct weir_loop *loop;
    struct weir_listener *listener;
    struct weir_stream *client, *server;
    size_t size;
    unsigned char seed;
    bool exact;         /* everything came back as it was */
    int closed;         /* streams */
};

/* Both ends on connected sockets, which become the streams'. */
void echo_start(struct echo *e, struct weir_loop *loop, const int fds[2], size_t size);
/* The same over a TCP connection that weir listens for and makes itself. */
void echo_start_tcp(struct echo *e, struct weir_loop *loop, size_t size);
/* Serve the loop until all are closed, and assert that each is exact. */
void echo_finish(struct echo *echoes, unsigned count);

/* All of it, over a socketpair. */
void echo_works(struct weir_loop *loop, size_t size);
/* 200 socketpairs at once, with few entries for what is handed over. */
void many_at_once(int backend, uint32_t ring_entries);
/* 2,000 round trips while a timer's signal interrupts the process every 200 us. */
void rounds_under_signals(int backend);

#endif
