#include "options.h"

#include <errno.h>
#include <string.h>

int wr_options_copy(void *dst, size_t size, const void *src)
{
    if (!src)
        return 0;
    size_t given;
    memcpy(&given, src, sizeof given);
    if (given < sizeof given || given > 65536)
        return -EINVAL;
    const unsigned char *bytes = src;
    for (size_t i = size; i < given; i++)
        if (bytes[i] != 0)
            return -E2BIG;
    memcpy(dst, src, wr_min(given, size));
    return 0;
}
