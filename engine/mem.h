/* Memory: one door to the allocator, and a per-loop cache of blocks by size. Level 0. */
#ifndef WR_MEM_H
#define WR_MEM_H

#include "base.h"

/* NULL when out of memory. */
void *wr_alloc(size_t size);
void *wr_alloc_zeroed(size_t size);
void *wr_realloc(void *block, size_t size);
void wr_free(void *block);

/* For tests: called before each allocation; returning false makes it fail. NULL: never asked. */
extern bool (*wr_mem_gate)(size_t size);
/* Allocations so far, by any thread: a steady state adds none. */
uint64_t wr_mem_allocations(void);
/* Blocks allocated and not yet freed, by any thread. */
uint64_t wr_mem_live(void);

/* Blocks of 2^6 to 2^22 bytes, kept for reuse up to a limit, so that a steady state allocates nothing. */
enum { WR_CACHE_MIN_LOG2 = 6, WR_CACHE_MAX_LOG2 = 22, WR_CACHE_CLASSES = 17 };

struct wr_cache {
    void *free[WR_CACHE_CLASSES];       /* a free block holds the pointer to the next */
    uint32_t count[WR_CACHE_CLASSES];   /* blocks in each */
    uint32_t low[WR_CACHE_CLASSES];     /* the fewest there were since the last trim: nobody needed those */
    size_t kept;                        /* bytes held in free */
    size_t keep_max;
    size_t used;                        /* bytes taken, and not given back */
};

void wr_cache_init(struct wr_cache *c, size_t keep_max);
void wr_cache_done(struct wr_cache *c);
/* A block of at least `size` bytes; *ret_size is what it really has. Sizes above 2^22 come from the
 * allocator, rounded up to a power of two. NULL when out of memory. */
void *wr_cache_take(struct wr_cache *c, size_t size, size_t *ret_size);
/* `size` as wr_cache_take returned it. NULL is a no-op. */
void wr_cache_give(struct wr_cache *c, void *block, size_t size);
/* Free the blocks that nobody needed since the last trim. */
void wr_cache_trim(struct wr_cache *c);

#endif
