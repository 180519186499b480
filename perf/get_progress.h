/* A line on a terminal that tells how far it is. */
#ifndef GET_PROGRESS_H
#define GET_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

/* " 42% [=====>      ] 12.3 MiB  4.5 MiB/s  0:03 left"; without percent, bar and time if total is -1. Not more than
 * `columns` characters. Result: its length. */
int progress_format(char *text, size_t size, int columns, uint64_t done, int64_t total, uint64_t elapsed_ns);

/* Draws on stderr, over what was drawn before. */
void progress_draw(uint64_t done, int64_t total, uint64_t elapsed_ns);

#endif
