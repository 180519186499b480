/* The one door to the allocator, and the cache of blocks behind it.
 *
 * A free block of the cache holds the pointer to the next one; the rest of it is poisoned under AddressSanitizer. */
#include "mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0 /* clang's way to ask; gcc defines __SANITIZE_ADDRESS__ */
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define poison(block, size) ASAN_POISON_MEMORY_REGION(block, size)
#define unpoison(block, size) ASAN_UNPOISON_MEMORY_REGION(block, size)
#else
#define poison(block, size) ((void)0)
#define unpoison(block, size) ((void)0)
#endif

bool (*wr_mem_gate)(size_t size);

static atomic_uint_fast64_t allocations, live;

static bool admitted(size_t size)
{
    return !wr_mem_gate || wr_mem_gate(size);
}

static void *counted(void *block)
{
    if (block) {
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    }
    return block;
}

void *wr_alloc(size_t size)
{
    return admitted(size) ? counted(malloc(size)) : NULL;
}

void *wr_alloc_zeroed(size_t size)
{
    return admitted(size) ? counted(calloc(1, size)) : NULL;
}

void *wr_realloc(void *block, size_t size)
{
    if (!block)
        return wr_alloc(size);
    if (!admitted(size))
        return NULL;
    void *moved = realloc(block, size);
    if (moved)
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return moved;
}

void wr_free(void *block)
{
    if (block)
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(block);
}

uint64_t wr_mem_allocations(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

uint64_t wr_mem_live(void)
{
    return atomic_load_explicit(&live, memory_order_relaxed);
}

/* ---- The cache ---- */

struct free_block {
    struct free_block *next;
};

/* The smallest power of two that holds `size`; 0 if there is none. */
static unsigned log2_above(size_t size)
{
    if (size <= (size_t)1 << WR_CACHE_MIN_LOG2)
        return WR_CACHE_MIN_LOG2;
    if (size > SIZE_MAX / 2 + 1)
        return 0;
    return 64 - (unsigned)__builtin_clzll((unsigned long long)size - 1);
}

void wr_cache_init(struct wr_cache *c, size_t keep_max)
{
    *c = (struct wr_cache){.keep_max = keep_max};
}

static void *pop(struct wr_cache *c, unsigned log2)
{
    unsigned class = log2 - WR_CACHE_MIN_LOG2;
    struct free_block *b = c->free[class];
    size_t size = (size_t)1 << log2;
    if (!b)
        return NULL;
    unpoison(b, size);
    wr_assert(c->kept >= size && c->count[class] > 0);
    c->free[class] = b->next;
    if (--c->count[class] < c->low[class])
        c->low[class] = c->count[class];
    c->kept -= size;
    return b;
}

void wr_cache_done(struct wr_cache *c)
{
    for (unsigned log2 = WR_CACHE_MIN_LOG2; log2 <= WR_CACHE_MAX_LOG2; log2++)
        for (void *b; (b = pop(c, log2));)
            wr_free(b);
    wr_assert(c->kept == 0);
}

void wr_cache_trim(struct wr_cache *c)
{
    for (unsigned class = 0; class < WR_CACHE_CLASSES; class++) {
        for (uint32_t n = c->low[class]; n > 0; n--)
            wr_free(pop(c, class + WR_CACHE_MIN_LOG2));
        c->low[class] = c->count[class];
    }
}

void *wr_cache_take(struct wr_cache *c, size_t size, size_t *ret_size)
{
    unsigned log2 = log2_above(size);
    void *b = NULL;
    if (log2 == 0)
        return NULL;
    *ret_size = (size_t)1 << log2;
    if (log2 <= WR_CACHE_MAX_LOG2)
        b = pop(c, log2);
    if (wr_unlikely(!b))
        b = wr_alloc(*ret_size);
    c->used += b ? *ret_size : 0;
    return b;
}

void wr_cache_give(struct wr_cache *c, void *block, size_t size)
{
    if (!block)
        return;
    wr_assert(wr_is_pow2(size) && size >= (size_t)1 << WR_CACHE_MIN_LOG2);
#ifdef WR_CHECK
    memset(block, 0xdd, size);
#endif
    wr_assert(c->used >= size);
    c->used -= size;
    unsigned log2 = log2_above(size);
    if (log2 > WR_CACHE_MAX_LOG2 || c->kept + size > c->keep_max) {
        wr_free(block);
        return;
    }
    struct free_block *b = block;
    b->next = c->free[log2 - WR_CACHE_MIN_LOG2];
    c->free[log2 - WR_CACHE_MIN_LOG2] = b;
    c->count[log2 - WR_CACHE_MIN_LOG2]++;
    c->kept += size;
    poison(b, size);
}
