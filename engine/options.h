/* Option structs that begin with their size. Level 0. */
#ifndef WR_OPTIONS_H
#define WR_OPTIONS_H

#include <errno.h>
#include <string.h>

#include "base.h"

/* Copy the user's options `src` (NULL: all defaults) to `dst`, a zeroed struct of `size` bytes. A longer src
 * comes from a newer version: its tail must be zero. 0, -EINVAL or -E2BIG. Inline, since each library has its own. */
static inline int wr_options_copy(void *dst, size_t size, const void *src)
{
    if (!src)
        return 0;
    size_t given;
    memcpy(&given, src, sizeof given);
    if (given < sizeof given || given > 65536)
        return -EINVAL;
    const unsigned char *bytes = (const unsigned char *)src;
    for (size_t i = size; i < given; i++)
        if (bytes[i] != 0)
            return -E2BIG;
    memcpy(dst, src, wr_min(given, size));
    return 0;
}

#endif
