/* Suite mem: the one door to the allocator, and the cache behind it. */
#include "mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

static size_t asked_size;
static unsigned asked;

static bool refuse(size_t size)
{
    asked_size = size;
    asked++;
    return false;
}

static void *take(struct wr_cache *c, size_t size)
{
    size_t got = 0;
    void *block = wr_cache_take(c, size, &got);
    cr_assert(!block || (wr_is_pow2(got) && got >= size && got >= 64));
    return block;
}

Test(mem, allocations_and_live_blocks_are_counted)
{
    uint64_t live = wr_mem_live(), allocations = wr_mem_allocations();
    unsigned char *a = wr_alloc(100), *b = wr_alloc_zeroed(1000), *c = wr_realloc(NULL, 10);
    cr_assert_eq(wr_mem_live(), live + 3);
    cr_assert_eq(wr_mem_allocations(), allocations + 3);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(b[i], 0);
    memset(c, 7, 10);
    c = wr_realloc(c, 100000);
    cr_assert(c[0] == 7 && c[9] == 7);
    cr_assert_eq(wr_mem_live(), live + 3);
    cr_assert_eq(wr_mem_allocations(), allocations + 4);
    wr_free(a);
    wr_free(b);
    wr_free(c);
    wr_free(NULL);
    cr_assert_eq(wr_mem_live(), live);
    cr_assert_eq(wr_mem_allocations(), allocations + 4, "freeing does not count");
}

Test(mem, the_gate_is_asked_each_time_and_refuses)
{
    unsigned char *a = wr_alloc(10);
    uint64_t live = wr_mem_live(), allocations = wr_mem_allocations();
    memset(a, 7, 10);
    wr_mem_gate = refuse;
    cr_assert_null(wr_alloc(11));
    cr_assert_eq(asked_size, 11);
    cr_assert_null(wr_alloc_zeroed(12));
    cr_assert_eq(asked_size, 12);
    cr_assert_null(wr_realloc(NULL, 13));
    cr_assert_eq(asked_size, 13);
    cr_assert_null(wr_realloc(a, 14));
    cr_assert_eq(asked_size, 14);
    cr_assert_eq(asked, 4);
    wr_mem_gate = NULL;
    cr_assert(a[0] == 7 && a[9] == 7, "a refused block is as it was");
    cr_assert_eq(wr_mem_live(), live);
    cr_assert_eq(wr_mem_allocations(), allocations);
    wr_free(a);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *churn(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        wr_free(wr_alloc(32));
    return arg;
}

Test(mem, all_threads_are_counted)
{
    pthread_t thread[THREADS];
    uint64_t live = wr_mem_live(), allocations = wr_mem_allocations();
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, churn, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    cr_assert_eq(wr_mem_live(), live);
    cr_assert_eq(wr_mem_allocations(), allocations + (uint64_t)THREADS * ROUNDS);
}

/* ---- The cache ---- */

Test(mem, a_block_is_the_next_power_of_two)
{
    struct wr_cache c;
    size_t got;
    wr_cache_init(&c, SIZE_MAX);
    for (unsigned log2 = 0; log2 <= 20; log2++) {
        size_t n = (size_t)1 << log2;
        for (size_t size = n - 1; size <= n + 1; size++) {
            size_t expected = 64;
            while (expected < size)
                expected *= 2;
            void *block = wr_cache_take(&c, size, &got);
            cr_assert_eq(got, expected, "%zu for %zu", got, size);
            memset(block, 0x55, got);
            wr_cache_give(&c, block, got);
        }
    }
    wr_cache_done(&c);
}

Test(mem, the_warmest_block_comes_first_and_nothing_is_allocated)
{
    struct wr_cache c;
    uint64_t live = wr_mem_live();
    wr_cache_init(&c, 1 << 20);
    void *a = take(&c, 1000), *b = take(&c, 1000);
    wr_cache_give(&c, a, 1024);
    wr_cache_give(&c, b, 1024);
    uint64_t allocations = wr_mem_allocations();
    wr_mem_gate = refuse;
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(take(&c, 513), b);
        cr_assert_eq(take(&c, 1024), a);
        wr_cache_give(&c, a, 1024);
        wr_cache_give(&c, b, 1024);
    }
    cr_assert_null(take(&c, 512), "another size");
    wr_mem_gate = NULL;
    cr_assert_eq(wr_mem_allocations(), allocations);
    cr_assert_eq(asked, 1);
    wr_cache_done(&c);
    cr_assert_eq(wr_mem_live(), live);
}

Test(mem, the_cache_keeps_up_to_its_limit)
{
    struct wr_cache c;
    void *block[4];
    uint64_t live = wr_mem_live();
    wr_cache_init(&c, 3 * 4096 + 64);
    for (int i = 0; i < 4; i++)
        block[i] = take(&c, 4096);
    void *little = take(&c, 1), *more = take(&c, 1);
    for (int i = 0; i < 4; i++)
        wr_cache_give(&c, block[i], 4096);
    cr_assert_eq(c.kept, 3 * 4096);
    cr_assert_eq(wr_mem_live(), live + 3 + 2);
    wr_cache_give(&c, little, 64);
    cr_assert_eq(c.kept, c.keep_max, "the limit itself is allowed");
    wr_cache_give(&c, more, 64);
    cr_assert_eq(wr_mem_live(), live + 4);
    wr_cache_done(&c);
    cr_assert_eq(c.kept, 0);
    cr_assert_eq(wr_mem_live(), live);
}

Test(mem, a_cache_without_limit_to_keep_keeps_nothing)
{
    struct wr_cache c;
    uint64_t live = wr_mem_live();
    wr_cache_init(&c, 0);
    wr_cache_give(&c, take(&c, 1), 64);
    cr_assert_eq(wr_mem_live(), live);
    wr_cache_done(&c);
}

Test(mem, large_blocks_are_not_kept)
{
    struct wr_cache c;
    uint64_t live = wr_mem_live();
    wr_cache_init(&c, SIZE_MAX);
    size_t largest = (size_t)1 << WR_CACHE_MAX_LOG2;
    wr_cache_give(&c, take(&c, largest), largest);
    cr_assert_eq(c.kept, largest);
    wr_cache_give(&c, take(&c, largest + 1), 2 * largest);
    cr_assert_eq(c.kept, largest);
    cr_assert_eq(wr_mem_live(), live + 1);
    wr_cache_done(&c);
}

Test(mem, sizes_without_a_power_of_two_are_out_of_memory)
{
    struct wr_cache c;
    size_t got;
    wr_cache_init(&c, 1 << 20);
    wr_mem_gate = refuse;
    cr_assert_null(wr_cache_take(&c, SIZE_MAX, &got));
    cr_assert_null(wr_cache_take(&c, SIZE_MAX / 2 + 2, &got));
    cr_assert_eq(asked, 0);
    cr_assert_null(wr_cache_take(&c, SIZE_MAX / 2 + 1, &got));
    cr_assert_eq(asked_size, SIZE_MAX / 2 + 1);
    cr_assert_null(wr_cache_take(&c, 65537, &got));
    cr_assert_eq(asked_size, 131072);
    wr_mem_gate = NULL;
    wr_cache_done(&c);
}

Test(mem, giving_nothing_does_nothing)
{
    struct wr_cache c;
    wr_cache_init(&c, 1 << 20);
    wr_cache_give(&c, NULL, 64);
    wr_cache_give(&c, NULL, 1);
    cr_assert_eq(c.kept, 0);
    wr_cache_done(&c);
}

Test(mem, a_size_that_was_never_taken_cannot_be_given, .signal = SIGABRT)
{
    struct wr_cache c;
    wr_cache_init(&c, 1 << 20);
    wr_cache_give(&c, take(&c, 100), 100);
}

Test(mem, a_size_too_small_cannot_be_given, .signal = SIGABRT)
{
    struct wr_cache c;
    wr_cache_init(&c, 1 << 20);
    wr_cache_give(&c, take(&c, 1), 32);
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

Test(mem, no_block_is_given_out_twice)
{
    enum { HELD = 200, STEPS = 50000 };
    static struct {
        unsigned char *block;
        size_t size;
    } held[HELD];
    struct wr_cache c;
    uint64_t random = 88172645463325252u, live = wr_mem_live();
    wr_cache_init(&c, 200000);
    for (int step = 0; step < STEPS; step++) {
        size_t i = next_random(&random) % HELD;
        if (held[i].block) {
            cr_assert(held[i].block[0] == i && held[i].block[held[i].size - 1] == i, "step %d", step);
            wr_cache_give(&c, held[i].block, held[i].size);
            held[i].block = NULL;
        } else {
            size_t size = next_random(&random) >> (44 + i % 20);
            held[i].block = wr_cache_take(&c, size, &held[i].size);
            held[i].block[0] = held[i].block[held[i].size - 1] = (unsigned char)i;
        }
        cr_assert_leq(c.kept, c.keep_max);
    }
    for (int i = 0; i < HELD; i++)
        wr_cache_give(&c, held[i].block, held[i].size);
    wr_cache_done(&c);
    cr_assert_eq(wr_mem_live(), live);
}
