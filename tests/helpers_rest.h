/* When a world has come to rest: nothing that was asked for is under way any more. */
#ifndef HELPERS_REST_H
#define HELPERS_REST_H

#include "helpers_stream.h"

/* One of two streams that are connected to each other, and where its bytes are. */
struct end {
    struct party *party;
    uint64_t sent;      /* bytes that it has handed to the kernel, also after it was closed */
};

/* Turn until both ends, and the *pending calls that are still to come, are at rest. What is written must fit into the
 * kernel's buffers: a send that waits for its peer never rests. */
void run_to_rest(struct env *e, struct end ends[2], const int *pending);

#endif
