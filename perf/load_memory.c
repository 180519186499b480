#include "load_memory.h"

#include <stdio.h>
#include <stdlib.h>

void *load_memory(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory && count > 0 && size > 0) {
        fputs("load: there is not enough memory\n", stderr);
        exit(1);
    }
    return memory;
}
