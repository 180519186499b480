/* Suite segment: counted memory, its own and the user's. */
#include "segment.h"

#include <signal.h>
#include <string.h>

#include "helpers_case.h"

static struct wr_cache cache;
static uint64_t live;

static void set_up(void)
{
    live = wr_mem_live();
    wr_cache_init(&cache, 1 << 20);
}

static void tear_down(void)
{
    wr_cache_done(&cache);
    cr_assert_eq(wr_mem_live(), live);
}

TestSuite(segment, .init = set_up);

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

struct released {
    int times;
    const void *data;
    size_t len;
    struct wr_segment *made;    /* by the release itself */
};

static void release(const void *data, size_t len, void *arg)
{
    struct released *r = arg;
    r->times++;
    r->data = data;
    r->len = len;
}

CASE(segment, a_heap_segment_has_the_bytes_it_was_asked_for)
{
    static const size_t sizes[] = {0, 1, 15, 16, 63, 64, 65, 4096, 65535, 65536, 65537, 1 << 20};
    for (size_t i = 0; i < WR_COUNT(sizes); i++) {
        struct wr_segment *seg = wr_segment_new(&cache, sizes[i]);
        cr_assert_geq(seg->size, sizes[i]);
        cr_assert_eq(seg->holds, 1);
        cr_assert_eq(seg->kind, &wr_segment_heap);
        cr_assert(seg->kind->grows && !seg->kind->shared);
        memset(seg->base, 0x55, seg->size);
        wr_segment_drop(seg);
    }
}

CASE(segment, only_the_last_drop_gives_it_back)
{
    struct wr_segment *seg = wr_segment_new(&cache, 100);
    wr_segment_hold(seg);
    wr_segment_hold(seg);
    cr_assert_eq(seg->holds, 3);
    wr_segment_drop(seg);
    wr_segment_drop(seg);
    cr_assert_eq(seg->holds, 1);
    cr_assert_eq(cache.kept, 0);
    wr_segment_drop(seg);
    cr_assert_gt(cache.kept, 0);
    cr_assert_eq(wr_segment_new(&cache, 100), seg, "the cache had it");
    wr_segment_drop(seg);
}

CASE(segment, no_memory_is_no_segment)
{
    struct released r = {0};
    wr_mem_gate = refuse;
    cr_assert_null(wr_segment_new(&cache, 100));
    cr_assert_null(wr_segment_borrow(&cache, "text", 4, release, &r));
    wr_mem_gate = NULL;
    cr_assert_eq(r.times, 0, "what was not borrowed is not released");
    cr_assert_null(wr_segment_new(&cache, SIZE_MAX));
    cr_assert_null(wr_segment_new(&cache, SIZE_MAX - 16));
}

CASE(segment, borrowed_bytes_are_neither_copied_nor_changed)
{
    static const char text[] = "borrowed";
    struct released r = {0};
    struct wr_segment *seg = wr_segment_borrow(&cache, text, 8, release, &r);
    cr_assert_eq((const char *)seg->base, text);
    cr_assert_eq(seg->size, 8);
    cr_assert_eq(seg->holds, 1);
    cr_assert_eq(seg->kind, &wr_segment_borrowed);
    cr_assert(!seg->kind->grows && !seg->kind->shared);
    wr_segment_hold(seg);
    wr_segment_drop(seg);
    cr_assert_eq(r.times, 0);
    wr_segment_drop(seg);
    cr_assert_eq(r.times, 1);
    cr_assert_eq(r.data, text);
    cr_assert_eq(r.len, 8);
}

CASE(segment, nobody_has_to_wait_for_a_release)
{
    struct wr_segment *seg = wr_segment_borrow(&cache, NULL, 0, NULL, NULL);
    cr_assert_eq(seg->size, 0);
    wr_segment_drop(seg);
    cr_assert_gt(cache.kept, 0);
}

CASE(segment, nothing_and_nowhere_can_be_borrowed)
{
    struct released r = {.data = "x"};
    wr_segment_drop(wr_segment_borrow(&cache, NULL, 0, release, &r));
    cr_assert_eq(r.times, 1);
    cr_assert_null(r.data);
    cr_assert_eq(r.len, 0);
}

CASE(segment, a_forgotten_loan_is_not_released)
{
    struct released r = {0};
    struct wr_segment *seg = wr_segment_borrow(&cache, "text", 4, release, &r);
    wr_segment_forget(seg);
    cr_assert_eq(r.times, 0);
    cr_assert_gt(cache.kept, 0);
}

static void borrow_again(const void *data, size_t len, void *arg)
{
    struct released *r = arg;
    release(data, len, r);
    r->made = wr_segment_borrow(&cache, "other text", 10, NULL, NULL);
}

CASE(segment, a_release_may_borrow_anew)
{
    static const char text[] = "borrowed";
    struct released r = {0};
    wr_segment_drop(wr_segment_borrow(&cache, text, 8, borrow_again, &r));
    cr_assert_eq(r.times, 1);
    cr_assert_eq(r.data, text);
    cr_assert_eq(r.len, 8);
    cr_assert_eq(r.made->size, 10);
    cr_assert_eq(cache.kept, 0, "it got the block of the old one");
    wr_segment_drop(r.made);
}

static void release_fd(int fd, void *arg)
{
    struct released *r = arg;
    r->times++;
    r->len = (size_t)fd;
}

CASE(segment, a_file_is_released_once)
{
    struct released r = {0};
    struct wr_segment *seg = wr_segment_of_file(&cache, 7, 0, release_fd, &r);
    cr_assert(seg->kind->file && !seg->kind->grows && !seg->kind->shared);
    cr_assert_null(seg->base);
    cr_assert_eq(wr_segment_fd(seg), 7);
    wr_segment_hold(seg);
    wr_segment_drop(seg);
    cr_assert_eq(r.times, 0);
    wr_segment_drop(seg);
    cr_assert_eq(r.times, 1);
    cr_assert_eq(r.len, 7);
    wr_segment_drop(wr_segment_of_file(&cache, 7, 0, NULL, NULL));
    wr_segment_forget(wr_segment_of_file(&cache, 7, 0, release_fd, &r));
    wr_segment_forget(wr_segment_of_file(&cache, 7, 10, release_fd, &r));
    cr_assert_eq(r.times, 1);
}

CASE(segment, a_file_may_have_memory_to_be_read_into)
{
    struct released r = {0};
    struct wr_segment *seg = wr_segment_of_file(&cache, 7, 5000, release_fd, &r);
    cr_assert(!seg->kind->file && !seg->kind->grows && !seg->kind->shared);
    cr_assert_eq(seg->size, 5000);
    memset(seg->base, 'x', seg->size);
    wr_segment_drop(seg);
    cr_assert_eq(r.times, 1);
    wr_mem_gate = refuse;
    cr_assert_null(wr_segment_of_file(&cache, 7, 100000, release_fd, &r));
    wr_mem_gate = NULL;
    cr_assert_eq(r.times, 1);
}

Test(segment, a_held_loan_cannot_be_forgotten, .signal = SIGABRT)
{
    struct wr_segment *seg = wr_segment_borrow(&cache, "text", 4, NULL, NULL);
    wr_segment_hold(seg);
    wr_segment_forget(seg);
}

Test(segment, what_was_not_borrowed_cannot_be_forgotten, .signal = SIGABRT)
{
    wr_segment_forget(wr_segment_new(&cache, 100));
}

static void keep(struct wr_segment *seg)
{
    (void)seg;
}

static const struct wr_segment_kind kept_kind = {.name = "kept", .last = keep};

Test(segment, what_nobody_holds_cannot_be_dropped, .signal = SIGABRT)
{
    struct wr_segment seg = {.kind = &kept_kind, .holds = 1};
    wr_segment_drop(&seg);
    wr_segment_drop(&seg);
}

Test(segment, what_nobody_holds_cannot_be_held, .signal = SIGABRT)
{
    struct wr_segment seg = {.kind = &kept_kind, .holds = 1};
    wr_segment_drop(&seg);
    wr_segment_hold(&seg);
}
