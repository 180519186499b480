/* Suite buffer: the read buffer, case by case, and at random beside a plain array. */
#include "buffer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "helpers_case.h"

/* A piece of shared memory, as the receive pool has them. */
struct shared {
    struct wr_segment seg;
    unsigned char bytes[4096];
    int drops;
};

static void give_shared(struct wr_segment *seg)
{
    wr_home(seg, struct shared, seg)->drops++;
}

static const struct wr_segment_kind shared_kind = {.name = "shared", .shared = true, .last = give_shared};

static struct wr_cache cache;
static struct wr_buf buf;
static struct shared shared, other;
static uint64_t copied;

static struct wr_segment *fill(struct shared *s, const char *text)
{
    s->seg = (struct wr_segment){.kind = &shared_kind, .base = s->bytes, .size = sizeof s->bytes, .holds = 1};
    memcpy(s->bytes, text, strlen(text));
    return &s->seg;
}

static void set_up(void)
{
    wr_cache_init(&cache, 1 << 20);
    wr_buf_init(&buf);
    fill(&shared, "0123456789");
}

static void tear_down(void)
{
    wr_buf_done(&buf);
    wr_cache_done(&cache);
    cr_assert_eq(wr_mem_live(), 0);
}

TestSuite(buffer, .init = set_up);

/* The test keeps a hold of its own. */
static int take_from(struct wr_segment *seg, size_t off, size_t len)
{
    wr_segment_hold(seg);
    return wr_buf_take(&buf, &cache, seg, off, len, &copied);
}

static int take(size_t off, size_t len)
{
    return take_from(&shared.seg, off, len);
}

static void consume(size_t n)
{
    if (n > 0)
        wr_segment_drop(wr_buf_lend(&buf, n));
}

static void expect_text(const char *text)
{
    wr_buf_check(&buf);
    cr_assert_eq(wr_buf_len(&buf), strlen(text));
    cr_assert_eq(memcmp(wr_buf_data(&buf), text, strlen(text)), 0);
}

static void expect_nothing(void)
{
    wr_buf_check(&buf);
    cr_assert_eq(wr_buf_len(&buf), 0);
    cr_assert_null(wr_buf_data(&buf));
    cr_assert_null(buf.seg);
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

CASE(buffer, a_new_buffer_has_nothing)
{
    expect_nothing();
    cr_assert_eq(wr_buf_settle(&buf, &cache, &copied), 0);
    expect_nothing();
}

CASE(buffer, the_first_bytes_are_held_and_not_copied)
{
    cr_assert_eq(take(2, 5), 0);
    expect_text("23456");
    cr_assert_eq(wr_buf_data(&buf), shared.bytes + 2);
    cr_assert_eq(shared.seg.holds, 2);
    consume(4);
    expect_text("6");
    cr_assert_eq(shared.seg.holds, 2);
    consume(1);
    expect_nothing();
    cr_assert_eq(shared.seg.holds, 1);
    cr_assert_eq(copied, 0);
}

CASE(buffer, more_bytes_are_joined_by_copying)
{
    cr_assert_eq(take(0, 4), 0);
    cr_assert_eq(take(4, 3), 0);
    expect_text("0123456");
    cr_assert_eq(copied, 7);
    cr_assert_eq(shared.seg.holds, 1, "nothing shared is kept");
    wr_segment_drop(&shared.seg);
    cr_assert_eq(shared.drops, 1);
    memset(shared.bytes, 'x', 10);
    expect_text("0123456");
}

CASE(buffer, what_is_lent_stays_where_it_is)
{
    cr_assert_eq(take(0, 7), 0);
    wr_segment_drop(&shared.seg);
    struct wr_segment *part = wr_buf_lend(&buf, 3), *rest;
    cr_assert_eq(part, &shared.seg);
    cr_assert_eq(shared.seg.holds, 2, "the borrower's and the buffer's");
    expect_text("3456");
    rest = wr_buf_lend(&buf, 4);
    cr_assert_eq(rest, &shared.seg);
    expect_nothing();
    wr_segment_drop(part);
    cr_assert_eq(shared.drops, 0);
    wr_segment_drop(rest);
    cr_assert_eq(shared.drops, 1);
}

CASE(buffer, a_segment_that_others_look_at_is_not_written_to)
{
    struct wr_segment *own = wr_segment_new(&cache, 100);
    memset(own->base, 'o', own->size);
    cr_assert_eq(take_from(own, 0, 2), 0);
    cr_assert_eq(take(0, 2), 0);
    expect_text("oo01");
    cr_assert_eq(own->base[2], 'o');
    cr_assert_eq(own->holds, 1);
    wr_segment_drop(own);
}

CASE(buffer, neither_shared_nor_borrowed_memory_is_written_to)
{
    static char text[] = "text, and what stands behind it";
    struct wr_segment *loan = wr_segment_borrow(&cache, text, sizeof text, NULL, NULL);
    cr_assert_eq(wr_buf_take(&buf, &cache, loan, 0, 4, &copied), 0);
    cr_assert_eq(take(0, 2), 0);
    expect_text("text01");
    cr_assert_str_eq(text, "text, and what stands behind it");
    wr_buf_done(&buf);
    cr_assert_eq(take(0, 2), 0);
    wr_segment_drop(&shared.seg);
    cr_assert_eq(take_from(fill(&other, "ab"), 0, 2), 0);
    expect_text("01ab");
    cr_assert_eq(memcmp(shared.bytes, "0123456789", 10), 0);
    cr_assert_eq(shared.drops, 1);
}

CASE(buffer, settling_leaves_shared_memory)
{
    cr_assert_eq(take(0, 10), 0);
    consume(7);
    cr_assert_eq(wr_buf_settle(&buf, &cache, &copied), 0);
    cr_assert_eq(copied, 3);
    cr_assert_eq(shared.seg.holds, 1);
    memset(shared.bytes, 'x', 10);
    expect_text("789");
    cr_assert_not(buf.seg->kind->shared);
    cr_assert_eq(wr_buf_settle(&buf, &cache, &copied), 0);
    cr_assert_eq(copied, 3, "there is no second time");
}

CASE(buffer, settling_leaves_other_memory_alone)
{
    struct wr_segment *loan = wr_segment_borrow(&cache, "text", 4, NULL, NULL);
    cr_assert_eq(wr_buf_take(&buf, &cache, loan, 0, 4, &copied), 0);
    cr_assert_eq(wr_buf_settle(&buf, &cache, &copied), 0);
    cr_assert_eq(buf.seg, loan);
    cr_assert_eq(copied, 0);
    expect_text("text");
}

CASE(buffer, moving_leaves_memory_that_is_too_large)
{
    struct wr_segment *large = wr_segment_new(&cache, 100000);
    cr_assert_not(wr_buf_is_loose(&buf), "there is none");
    memcpy(large->base + 90000, "rest", 4);
    cr_assert_eq(wr_buf_take(&buf, &cache, large, 0, 90004, &copied), 0);
    cr_assert_not(wr_buf_is_loose(&buf));
    consume(90000);
    cr_assert(wr_buf_is_loose(&buf));
    cr_assert_eq(wr_buf_move(&buf, &cache, &copied), 0);
    cr_assert_eq(copied, 4);
    cr_assert_lt(cache.used, 1000);
    cr_assert_not(wr_buf_is_loose(&buf));
    expect_text("rest");
}

CASE(buffer, done_drops_everything_and_may_be_said_twice)
{
    cr_assert_eq(take(0, 10), 0);
    wr_buf_done(&buf);
    expect_nothing();
    cr_assert_eq(shared.seg.holds, 1);
    wr_buf_done(&buf);
    expect_nothing();
}

CASE(buffer, without_memory_nothing_changes)
{
    cr_assert_eq(take(0, 4), 0);
    wr_mem_gate = refuse_all;
    cr_assert_eq(take(4, 3), -ENOMEM);
    cr_assert_eq(wr_buf_settle(&buf, &cache, &copied), -ENOMEM);
    wr_mem_gate = NULL;
    expect_text("0123");
    cr_assert_eq(wr_buf_data(&buf), shared.bytes);
    cr_assert_eq(shared.seg.holds, 2);
    cr_assert_eq(copied, 0);
    cr_assert_eq(take(4, 3), 0);
    expect_text("0123456");
}

/* Bytes copied when n come one at a time, and `read` of each ten are read. */
static uint64_t copies_for(size_t n, size_t read)
{
    copied = 0;
    wr_buf_done(&buf);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(take(0, 1), 0);
        if (i % 10 == 9)
            consume(read);
    }
    return copied;
}

CASE(buffer, a_byte_is_moved_a_constant_number_of_times)
{
    for (size_t n = 10; n <= 1000000; n *= 10)
        for (size_t read = 0; read <= 10; read++)
            cr_assert_leq(copies_for(n, read), 4 * n, "%zu bytes, %zu of 10 read", n, read);
}

CASE(buffer, bytes_that_pass_through_allocate_nothing)
{
    uint64_t allocations = 0;
    for (int i = 0; i < 1000; i++) {
        if (i == 10)
            allocations = wr_mem_allocations();
        cr_assert_eq(take(0, 7), 0);
        cr_assert_eq(take(0, 9), 0);
        consume(12);
        cr_assert_eq(take(0, 3), 0);
        consume(7);
    }
    cr_assert_eq(wr_mem_allocations(), allocations);
}

/* ---- What may not be ---- */

Test(buffer, no_more_is_read_than_came, .signal = SIGABRT)
{
    cr_assert_eq(take(0, 4), 0);
    consume(5);
}

Test(buffer, no_byte_is_taken_behind_its_segment, .signal = SIGABRT)
{
    (void)take(1, sizeof shared.bytes);
}

Test(buffer, no_byte_is_taken_far_behind_its_segment, .signal = SIGABRT)
{
    (void)take(sizeof shared.bytes + 1, SIZE_MAX);
}

Test(buffer, an_empty_buffer_holds_no_segment, .signal = SIGABRT)
{
    wr_buf_check(&(struct wr_buf){.seg = &shared.seg, .head = 3, .tail = 3});
}

Test(buffer, no_byte_stands_behind_its_segment, .signal = SIGABRT)
{
    wr_buf_check(&(struct wr_buf){.seg = &shared.seg, .tail = sizeof shared.bytes + 1});
}

/* ---- At random ---- */

enum { POOL = 6, MODEL_MAX = 200000, STEPS = 10000, SEEDS = 20, REFUSE_PERCENT = 5 };

static struct {
    unsigned char bytes[MODEL_MAX];
    size_t len;
    uint64_t taken, written;
} model;

static struct shared pool[POOL];
static bool refuse_some(size_t size)
{
    (void)size;
    return draw(100) >= REFUSE_PERCENT;
}

/* A new segment of a drawn kind with fresh bytes; shared ones are taken from those that nobody holds. */
static struct wr_segment *receive(void)
{
    struct wr_segment *seg = NULL;
    for (size_t i = 0, at = draw(POOL); i < POOL && draw(3); i++, at = (at + 1) % POOL)
        if (pool[at].seg.holds == 0) {
            seg = fill(&pool[at], "");
            break;
        }
    wr_mem_gate = NULL;
    if (!seg)
        seg = wr_segment_new(&cache, 1 + draw(draw(4) ? 100 : 6000));
    wr_mem_gate = refuse_some;
    for (size_t i = 0; i < seg->size; i++)
        seg->base[i] = (unsigned char)(model.written++ * 0x9e3779b97f4a7c15u >> 56);
    return seg;
}

/* The bytes of one segment come in one or several pieces. */
static void arrive(void)
{
    struct wr_segment *seg = receive();
    size_t off = draw(seg->size);
    for (size_t rounds = 1 + draw(3); rounds > 0; rounds--) {
        size_t len = draw(seg->size - off + 1);
        if (len == 0 || model.len + len > MODEL_MAX)
            break;
        int rc = take_from(seg, off, len);
        cr_assert(rc == 0 || rc == -ENOMEM);
        if (rc < 0)
            break;
        memcpy(model.bytes + model.len, seg->base + off, len);
        model.len += len;
        model.taken += len;
        off += len;
    }
    wr_segment_drop(seg);
}

static void read_some(void)
{
    size_t n = draw(3) ? draw(wr_min(model.len, 500) + 1) : draw(model.len + 1);
    if (draw(20) == 0)
        n = model.len;
    consume(n);
    memmove(model.bytes, model.bytes + n, model.len - n);
    model.len -= n;
}

static void step(void)
{
    uint64_t kind = draw(20);
    if (kind < 9)
        arrive();
    else if (kind < 18)
        read_some();
    else if (wr_buf_settle(&buf, &cache, &copied) == 0)
        cr_assert(!buf.seg || !buf.seg->kind->shared, "%s", drawn());
    wr_buf_check(&buf);
    cr_assert_eq(wr_buf_len(&buf), model.len, "%s", drawn());
    cr_assert(model.len == 0 || memcmp(wr_buf_data(&buf), model.bytes, model.len) == 0, "%s", drawn());
    cr_assert_leq(copied, 4 * model.taken, "%s", drawn());
}

CASE(buffer, a_random_program_sees_what_an_array_says)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        draw_from(seed);
        wr_mem_gate = refuse_some;
        for (int i = 0; i < STEPS; i++)
            step();
        wr_mem_gate = NULL;
        wr_buf_done(&buf);
        for (int i = 0; i < POOL; i++)
            cr_assert_eq(pool[i].seg.holds, 0, "%s", drawn());
        model.len = model.taken = copied = 0;
    }
}
