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
    uint32_t at[4] = {0};
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

/* ---- Runs ---- */

enum { WIDE = 64 };

static struct wr_bufpool wide;

static void open_wide(void)
{
    wr_bufpool_close(&pool);
    cr_assert_eq(wr_bufpool_open(&wide, SIZE, WIDE), 0);
}

static void close_wide(void)
{
    wr_bufpool_close(&wide);
    cr_assert_eq(wr_mem_live(), 0);
}

/* Fill what was taken, all of it. */
static struct wr_segment *filled(int id, unsigned run)
{
    struct wr_segment *seg = wr_bufpool_fill(&wide, id);
    cr_assert_eq(seg->base, wr_bufpool_base(&wide, id));
    cr_assert_eq(seg->size, run * SIZE);
    memset(seg->base, id, seg->size);
    return seg;
}

Test(bufpool, a_run_is_one_segment_of_neighbours)
{
    open_wide();
    int first = wr_bufpool_take_run(&wide, 2), second = wr_bufpool_take_run(&wide, 1);
    cr_assert_eq(wr_bufpool_room(&wide, first), 4 * SIZE);
    cr_assert_eq(wr_bufpool_room(&wide, second), 2 * SIZE);
    cr_assert(second + 2 <= first || first + 4 <= second);
    cr_assert_eq(wide.world_count, 6);
    struct wr_segment *a = filled(first, 4), *b = filled(second, 2);
    cr_assert_eq(a->base[0], first, "nobody else's bytes");
    cr_assert_eq(wr_bufpool_available(&wide), WIDE - 6);
    cr_assert_eq(wide.world_count, 0);
    wr_segment_drop(a);
    cr_assert_eq(wr_bufpool_available(&wide), WIDE - 2);
    wr_segment_drop(b);
    cr_assert_eq(wr_bufpool_available(&wide), WIDE);
    close_wide();
}

Test(bufpool, a_run_that_was_not_filled_comes_home_as_single_buffers)
{
    uint64_t seen = 0;
    open_wide();
    wr_bufpool_return(&wide, wr_bufpool_take_run(&wide, WR_RUN_DEPTH));
    cr_assert_eq(wide.world_count, 0);
    for (int i = 0; i < WIDE; i++) {
        int id = wr_bufpool_take(&wide);
        cr_assert_eq(wr_bufpool_room(&wide, id), SIZE);
        seen |= UINT64_C(1) << id;
    }
    cr_assert_eq(seen, UINT64_MAX);
    close_wide();
}

Test(bufpool, the_warmest_run_is_used_first)
{
    open_wide();
    int a = wr_bufpool_take_run(&wide, 3), b = wr_bufpool_take_run(&wide, 3);
    wr_segment_drop(filled(b, 8));
    wr_segment_drop(filled(a, 8));
    cr_assert_eq(wr_bufpool_take_run(&wide, 3), a);
    wr_bufpool_return(&wide, a);
    cr_assert_eq(wr_bufpool_take(&wide), a);
    wr_bufpool_return(&wide, a);
    close_wide();
}

Test(bufpool, half_of_the_pool_is_not_for_runs)
{
    struct wr_segment *seg[WIDE];
    unsigned count = 0, most = 0;
    open_wide();
    for (int id; (id = wr_bufpool_take_run(&wide, 3)) >= 0; count++) {
        size_t run = wr_bufpool_room(&wide, id) / SIZE;
        seg[count] = filled(id, (unsigned)run);
        most += run > 1 ? (unsigned)run : 0;
    }
    cr_assert_eq(most, WIDE / 2);
    cr_assert_eq(count, WIDE / 2 / 8 + WIDE / 2);
    while (count > 0)
        wr_segment_drop(seg[--count]);
    close_wide();
}

Test(bufpool, a_pool_in_pieces_gives_what_it_has)
{
    struct wr_segment *seg[WIDE];
    open_wide();
    for (int i = 0; i < WIDE; i++)
        seg[i] = filled(wr_bufpool_take(&wide), 1);
    for (int i = 0; i < WIDE; i++)
        if (seg[i]->base[0] % 4 != 0)
            wr_segment_drop(seg[i]);
    int id = wr_bufpool_take_run(&wide, 3);
    cr_assert_eq(wr_bufpool_room(&wide, id), 2 * SIZE, "of three neighbours two");
    wr_bufpool_return(&wide, id);
    for (int i = 0; i < WIDE; i++)
        if (seg[i]->base[0] % 4 == 0)
            wr_segment_drop(seg[i]);
    close_wide();
}

Test(bufpool, what_bytes_do_not_reach_is_free_at_once)
{
    open_wide();
    uint8_t depth = 3;
    int id = wr_bufpool_take_run(&wide, depth);
    wr_bufpool_judge(&wide, id, 2 * SIZE + 1, &depth);
    cr_assert_eq(wide.world_count, 3);
    cr_assert_eq(wide.free_count, WIDE - 3);
    wr_segment_drop(filled(id, 3));
    cr_assert_eq(wide.free_count, WIDE);
    close_wide();
}

Test(bufpool, in_any_order_no_buffer_is_given_twice)
{
    struct wr_segment *seg[WIDE];
    uint64_t taken = 0, draw = 1;
    unsigned count = 0;
    open_wide();
    for (int step = 0; step < 20000; step++) {
        draw = draw * UINT64_C(6364136223846793005) + 1442695040888963407;
        unsigned depth = (unsigned)(draw >> 40) % (WR_RUN_DEPTH + 1), at = (unsigned)(draw >> 50) % (count + 1);
        int id = draw >> 63 ? wr_bufpool_take_run(&wide, depth) : -1;
        struct wr_segment *one = id >= 0 ? wr_bufpool_fill(&wide, id) : at < count ? seg[at] : NULL;
        if (!one)
            continue;
        uint64_t bits = ((UINT64_C(1) << one->size / SIZE) - 1) << ((size_t)(one->base - wide.memory) / SIZE);
        cr_assert_eq(taken & bits, id >= 0 ? 0 : bits);
        taken ^= bits;
        if (id >= 0) {
            seg[count++] = one;
        } else {
            wr_segment_drop(one);
            seg[at] = seg[--count];
        }
        cr_assert_eq(wr_bufpool_available(&wide), (uint32_t)(WIDE - __builtin_popcountll(taken)));
    }
    while (count > 0)
        wr_segment_drop(seg[--count]);
    close_wide();
}

/* One receive of n bytes. */
static void receive(size_t n, uint8_t *depth)
{
    int id = wr_bufpool_take_run(&wide, *depth);
    wr_bufpool_judge(&wide, id, wr_min(n, wr_bufpool_room(&wide, id)), depth);
    wr_segment_drop(wr_bufpool_fill(&wide, id));
}

Test(bufpool, who_fills_buffers_is_given_more_and_who_does_not_fewer)
{
    uint8_t depth = 0;
    open_wide();
    for (unsigned i = 1; i <= WR_RUN_DEPTH + 2; i++) {
        receive(1 << 20, &depth);
        cr_assert_eq(depth, wr_min(i, WR_RUN_DEPTH));
    }
    receive(5 * SIZE, &depth);
    cr_assert_eq(depth, WR_RUN_DEPTH, "a message's end is no reason");
    for (unsigned i = 1; i <= WR_RUN_DEPTH + 2; i++) {
        receive(SIZE - 1, &depth);
        cr_assert_eq(depth, WR_RUN_DEPTH - wr_min(i, WR_RUN_DEPTH));
    }
    close_wide();
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

Test(bufpool, what_is_in_a_run_does_not_go_alone, .signal = SIGABRT)
{
    open_wide();
    wr_bufpool_return(&wide, wr_bufpool_take_run(&wide, 2) + 1);
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
