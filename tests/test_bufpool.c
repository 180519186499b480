/* Suite bufpool: the homes of the receive buffers. */
#include "bufpool.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SIZE = 64, COUNT = 8 };

static struct wr_bufpool pool;

static void set_up(void)
{
    cr_assert_eq(wr_bufpool_open(&pool, SIZE, COUNT), 0);
}

TestSuite(bufpool, .init = set_up);

static void tear_down(void)
{
    wr_bufpool_close(&pool);
    cr_assert_eq(wr_mem_live(), 0);
}

static void expect_homes(uint32_t unused, uint32_t world)
{
    uint32_t at[3] = {0};
    for (uint32_t id = 0; id < pool.count; id++)
        at[pool.bufs[id].home]++;
    cr_assert_eq(pool.free_count, unused);
    cr_assert_eq(pool.world_count, world);
    cr_assert_eq(at[WR_BUF_FREE], unused);
    cr_assert_eq(at[WR_BUF_WORLD], world);
    cr_assert_eq(wr_bufpool_available(&pool), unused + world);
}

Test(bufpool, memory_is_page_aligned_and_whole)
{
    cr_assert_eq((uintptr_t)pool.memory % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
    for (int id = 0; id < COUNT; id++) {
        cr_assert_eq(wr_bufpool_base(&pool, id), pool.memory + SIZE * id);
        memset(wr_bufpool_base(&pool, id), id, SIZE);
    }
    expect_homes(COUNT, 0);
    tear_down();
}

Test(bufpool, each_buffer_is_given_once)
{
    uint32_t seen = 0;
    for (uint32_t n = 0; n < COUNT; n++) {
        int id = wr_bufpool_take(&pool);
        cr_assert(id >= 0 && id < COUNT && !(seen & (1u << id)));
        seen |= 1u << id;
        expect_homes(COUNT - 1 - n, n + 1);
    }
    cr_assert_eq(wr_bufpool_take(&pool), -1);
    cr_assert_eq(wr_bufpool_take(&pool), -1);
    expect_homes(0, COUNT);
    wr_bufpool_return(&pool, 5);
    expect_homes(1, COUNT - 1);
    cr_assert_eq(wr_bufpool_take(&pool), 5);
    tear_down();
}

Test(bufpool, the_warmest_is_used_first)
{
    int a = wr_bufpool_take(&pool), b = wr_bufpool_take(&pool);
    wr_bufpool_return(&pool, a);
    cr_assert_eq(wr_bufpool_take(&pool), a);
    wr_segment_drop(wr_bufpool_fill(&pool, b));
    cr_assert_eq(wr_bufpool_take(&pool), b);
    wr_bufpool_return(&pool, a);
    wr_bufpool_return(&pool, b);
    cr_assert_eq(wr_bufpool_take(&pool), b);
    tear_down();
}

Test(bufpool, a_filled_buffer_is_a_shared_segment)
{
    int id = wr_bufpool_take(&pool);
    struct wr_segment *seg = wr_bufpool_fill(&pool, id);
    cr_assert_eq(seg->base, wr_bufpool_base(&pool, id));
    cr_assert_eq(seg->size, SIZE);
    cr_assert_eq(seg->holds, 1);
    cr_assert(seg->kind->shared && !seg->kind->grows);
    expect_homes(COUNT - 1, 0);
    wr_segment_hold(seg);
    wr_segment_drop(seg);
    expect_homes(COUNT - 1, 0);
    wr_segment_drop(seg);
    expect_homes(COUNT, 0);
    tear_down();
}

Test(bufpool, a_pool_may_have_one_byte)
{
    struct wr_bufpool small;
    cr_assert_eq(wr_bufpool_open(&small, 1, 1), 0);
    cr_assert_eq(wr_bufpool_take(&small), 0);
    cr_assert_eq(wr_bufpool_take(&small), -1);
    wr_bufpool_return(&small, 0);
    wr_bufpool_close(&small);
    tear_down();
}

Test(bufpool, a_pool_may_have_32768_buffers)
{
    static bool seen[32768];
    struct wr_bufpool large;
    int id;
    uint32_t count = 0;
    cr_assert_eq(wr_bufpool_open(&large, 16, 32768), 0);
    for (; (id = wr_bufpool_take(&large)) >= 0; count++) {
        cr_assert(!seen[id]);
        seen[id] = true;
        large.memory[(size_t)id * 16 + 15] = 1;
    }
    cr_assert_eq(count, 32768);
    wr_bufpool_close(&large);
    tear_down();
}

/* ---- Out of memory ---- */

static unsigned allocations, refused;

static bool refuse_one(size_t size)
{
    (void)size;
    return allocations++ != refused;
}

static void expect_zero(const struct wr_bufpool *p)
{
    static const struct wr_bufpool none;
    cr_assert_eq(memcmp(p, &none, sizeof none), 0);
}

Test(bufpool, without_memory_there_is_no_pool)
{
    struct wr_bufpool p;
    uint64_t live = wr_mem_live();
    int rc;
    wr_mem_gate = refuse_one;
    for (refused = 0; (rc = wr_bufpool_open(&p, SIZE, COUNT)) < 0; refused++) {
        cr_assert_eq(rc, -ENOMEM);
        expect_zero(&p);
        cr_assert_eq(wr_mem_live(), live);
        allocations = 0;
    }
    wr_mem_gate = NULL;
    cr_assert_eq(refused, 2, "the segments and the stack");
    wr_bufpool_close(&p);
    tear_down();
}

/* Bytes of data that this process has mapped. */
static rlim_t data_size(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (kib == 0 && fgets(line, sizeof line, status))
        sscanf(line, "VmData: %" SCNu64, &kib);
    fclose(status);
    return kib * 1024;
}

Test(bufpool, without_a_mapping_there_is_no_pool)
{
    struct wr_bufpool p;
    uint64_t live = wr_mem_live();
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_DATA, &limit), 0);
    limit.rlim_cur = data_size() + ((rlim_t)1 << 30);
    cr_assert_eq(setrlimit(RLIMIT_DATA, &limit), 0);
    cr_assert_eq(wr_bufpool_open(&p, 1u << 31, 2), -ENOMEM);
    expect_zero(&p);
    cr_assert_eq(wr_mem_live(), live);
    tear_down();
}

/* ---- What may not be ---- */

Test(bufpool, what_is_free_cannot_be_filled, .signal = SIGABRT)
{
    wr_bufpool_fill(&pool, 0);
}

Test(bufpool, what_is_free_cannot_be_returned, .signal = SIGABRT)
{
    int id = wr_bufpool_take(&pool);
    wr_bufpool_return(&pool, id);
    wr_bufpool_return(&pool, id);
}

Test(bufpool, what_a_stream_holds_cannot_be_returned, .signal = SIGABRT)
{
    int id = wr_bufpool_take(&pool);
    wr_bufpool_fill(&pool, id);
    wr_bufpool_return(&pool, id);
}

Test(bufpool, an_id_beyond_the_last_is_none, .signal = SIGABRT)
{
    wr_bufpool_return(&pool, COUNT);
}

Test(bufpool, an_id_below_the_first_is_none, .signal = SIGABRT)
{
    wr_bufpool_fill(&pool, -1);
}

Test(bufpool, a_pool_with_a_buffer_out_cannot_close, .signal = SIGABRT)
{
    wr_bufpool_fill(&pool, wr_bufpool_take(&pool));
    wr_bufpool_close(&pool);
}

Test(bufpool, a_pool_has_no_more_than_32768_buffers, .signal = SIGABRT)
{
    struct wr_bufpool p;
    (void)wr_bufpool_open(&p, SIZE, 65536);
}

Test(bufpool, sizes_are_powers_of_two, .signal = SIGABRT)
{
    struct wr_bufpool p;
    (void)wr_bufpool_open(&p, 100, COUNT);
}
