/* Option structs that begin with their size. Level 0. */
#ifndef WR_OPTIONS_H
#define WR_OPTIONS_H

#include "base.h"

/* Copy the user's options `src` (NULL: all defaults) to `dst`, a zeroed struct of `size` bytes. A longer src
 * comes from a newer version: its tail must be zero. 0, -EINVAL or -E2BIG. */
int wr_options_copy(void *dst, size_t size, const void *src);

#endif
