/* Memory, or the end: a run with less than it was told to have would measure something else. */
#ifndef LOAD_MEMORY_H
#define LOAD_MEMORY_H

#include <stddef.h>

/* Zeroed, and freed by free. Exits with 1 if there is none, and tells so. Any thread may. */
void *load_memory(size_t count, size_t size);

#endif
