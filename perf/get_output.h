/* Where get's bytes go: stdout, or a file that appears under its name once it is complete. A thread does the writing,
 * so that a pipe that nobody reads, or a slow disk, stops neither the clock nor the connection. There is one output. */
#ifndef GET_OUTPUT_H
#define GET_OUTPUT_H

#include "weir.h"

/* A thread's write is done, or failed for good: called on the loop's thread. */
typedef void output_fn(int status);

/* file == NULL: stdout. The file is made by the first write. */
void output_open(struct weir_loop *loop, const char *file, output_fn *on_written);

/* Takes at most OUTPUT_PIECE bytes. Result: 0; 1: taken, and no more may be written before on_written; or what writing
 * has failed with. */
enum { OUTPUT_PIECE = 256 * 1024 };
int output_write(const void *data, size_t len);

/* Nothing is left to be written, or it never will be. */
int output_idle(void);

/* The end, when idle: the file gets its name if `keep`, or goes. If not idle, it goes. Result: 0, or what failed. */
int output_close(int keep);

#endif
