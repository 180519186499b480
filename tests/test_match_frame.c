/* Suite match_frame: lengths of all widths, both byte orders, all adjustments and cuts; hostile lengths. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "helpers_match.h"
#include "weir.h"

/* -- The oracle: the rule in numbers that cannot overflow. */

typedef __int128 wide;

static struct answer plain_frame(const struct weir_frame *f, uint64_t value, size_t len)
{
    wide header = (wide)f->offset + f->width, total = header + value + f->adjust;
    if (len < (size_t)header)
        return (struct answer){.verdict = WR_MATCH_MORE};
    if (total < header || total > (wide)UINT64_MAX)
        return (struct answer){WR_MATCH_NEVER, 0, -EBADMSG};
    if (total > (wide)f->max)
        return (struct answer){WR_MATCH_NEVER, 0, WEIR_EUNSATISFIABLE};
    if ((wide)len < total)
        return (struct answer){.verdict = WR_MATCH_MORE};
    return (struct answer){WR_MATCH_FOUND, (size_t)total, 0};
}

static uint64_t largest(uint32_t width)
{
    return width == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * width)) - 1;
}

static void put_length(unsigned char *data, const struct weir_frame *f, uint64_t value)
{
    for (uint32_t i = 0; i < f->width; i++) {
        uint32_t at = f->little_endian ? i : f->width - 1 - i;
        data[f->offset + at] = (unsigned char)(value >> (8 * i));
    }
}

/* Feed the frame in pieces of at most `piece` bytes, and ask the oracle at each step. */
static void feed(const struct weir_frame *f, uint64_t value, const unsigned char *data, size_t len, size_t piece)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct answer got, want;
    size_t fed = 0;

    cr_assert_eq(wr_match_frame(&m, f), 0);
    do {
        fed += wr_min(len - fed, piece > 1 ? below(piece + 1) : 1);
        got = scan_twice(&m, data, fed);
        want = plain_frame(f, value, fed);
        cr_assert(same_answer(got, want),
                  "offset %u, width %u, little %d, adjust %lld, max %zu, value %llu, "
                  "%zu bytes: %d %zu %d, not %d %zu %d",
                  f->offset, f->width, f->little_endian, (long long)f->adjust, f->max, (unsigned long long)value, fed,
                  (int)got.verdict, got.n, got.code, (int)want.verdict, want.n, want.code);
        cr_assert(same_answer(got, last_twice(&m, data, fed)));
    } while (got.verdict == WR_MATCH_MORE && fed < len);
    wr_match_done(&m);
}

/* -- Frames as protocols have them. */

Test(match_frame, every_width_order_and_adjustment_in_every_cut)
{
    static unsigned char data[400];
    uint64_t live = wr_mem_live(), allocations = wr_mem_allocations();

    fill_random(data, sizeof data, 26);
    for (uint32_t width = 1; width <= 8; width++) {
        for (uint32_t offset = 0; offset <= 5; offset++) {
            for (int turn = 0; turn < 400; turn++) {
                struct weir_frame f = {.size = sizeof f, .offset = offset, .width = width,
                                       .little_endian = turn & 1, .max = 20 + below(300)};
                f.adjust = (int64_t)below(61) - 30;
                uint64_t value = below(wr_min(largest(width), 330) + 1);
                put_length(data, &f, value);
                feed(&f, value, data, sizeof data, 1 + (size_t)turn % 3 * 60);
            }
        }
    }
    cr_assert_eq(wr_mem_live(), live);
    cr_assert_eq(wr_mem_allocations(), allocations);
}

/* What protocols do, by hand and byte for byte. */
Test(match_frame, the_view_has_the_header_and_ends_with_the_frame)
{
    static const struct {
        struct weir_frame f;
        const char *data;
        size_t total;
    } line[] = {
        {{.width = 2, .max = 99}, "\0\003abcXX", 5},
        {{.width = 2, .little_endian = 1, .max = 99}, "\003\0abcXX", 5},
        {{.width = 4, .adjust = -4, .max = 99}, "\0\0\0\007abcXX", 7},
        {{.offset = 1, .width = 2, .max = 99}, "Q\0\003abcXX", 6},
        {{.offset = 2, .width = 1, .adjust = 2, .max = 99}, "HH\001aabXX", 6},
        {{.offset = 1, .width = 3, .adjust = -4, .little_endian = 1, .max = 99}, "H\006\0\0abXX", 6},
        {{.width = 1, .max = 99}, "\0XX", 1},
    };
    for (size_t i = 0; i < WR_COUNT(line); i++) {
        struct wr_match m = {.kind = WR_MATCH_NONE};
        const unsigned char *data = (const unsigned char *)line[i].data;
        cr_assert_eq(wr_match_frame(&m, &line[i].f), 0);
        for (size_t len = 0; len < line[i].total; len++)
            cr_assert_eq(scan_twice(&m, data, len).verdict, WR_MATCH_MORE, "line %zu, %zu bytes", i, len);
        for (size_t len = line[i].total; len <= line[i].total + 2; len++)
            cr_assert_eq(scan_twice(&m, data, len).n, line[i].total, "line %zu", i);
        wr_match_done(&m);
    }
}

/* -- Frames as attackers have them. */

static const uint64_t edges[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 255, 256, 65535, 65536, INT32_MAX,
                                 (uint64_t)INT32_MAX + 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX - 1,
                                 INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 16, UINT64_MAX - 8, UINT64_MAX - 1,
                                 UINT64_MAX};
static const int64_t adjusts[] = {0, 1, -1, -8, 8, -16, 16, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT64_MIN + 1,
                                  INT64_MAX - 8, -65536};
static const size_t maxima[] = {8, 9, 16, 17, 65536, UINT32_MAX, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};

Test(match_frame, no_length_overflows)
{
    unsigned char data[16] = {0};

    for (size_t i = 0; i < WR_COUNT(edges) * WR_COUNT(adjusts) * WR_COUNT(maxima); i++) {
        struct weir_frame f = {.width = 8, .adjust = adjusts[i / WR_COUNT(edges) % WR_COUNT(adjusts)],
                               .max = maxima[i / WR_COUNT(edges) / WR_COUNT(adjusts)]};
        uint64_t value = edges[i % WR_COUNT(edges)];
        put_length(data, &f, value);
        feed(&f, value, data, sizeof data, 1);
        if (f.max < 12)
            continue;
        f.offset = 4;
        f.little_endian = 1;
        put_length(data, &f, value);
        feed(&f, value, data, sizeof data, 1);
    }
}

Test(match_frame, the_largest_value_of_each_width_is_told_at_once)
{
    unsigned char data[8];

    memset(data, 0xff, sizeof data);
    for (uint32_t width = 1; width <= 8; width++) {
        struct weir_frame f = {.width = width, .max = 200};
        feed(&f, largest(width), data, width, 1);
        f.adjust = -56;
        feed(&f, largest(width), data, width, 1);
        f.adjust = INT64_MIN;
        feed(&f, largest(width), data, width, 1);
    }
}

Test(match_frame, a_frame_of_max_bytes_is_read_and_one_more_is_not)
{
    unsigned char data[12] = {0, 8};
    struct weir_frame f = {.width = 2, .max = 10};
    struct wr_match m = {.kind = WR_MATCH_NONE};

    cr_assert_eq(wr_match_frame(&m, &f), 0);
    cr_assert_eq(scan_twice(&m, data, 9).verdict, WR_MATCH_MORE);
    cr_assert_eq(scan_twice(&m, data, 10).n, 10);
    data[1] = 9;
    cr_assert(same_answer(scan_twice(&m, data, 2), (struct answer){WR_MATCH_NEVER, 0, WEIR_EUNSATISFIABLE}));
    cr_assert(same_answer(scan_twice(&m, data, 12), (struct answer){WR_MATCH_NEVER, 0, WEIR_EUNSATISFIABLE}));
    wr_match_done(&m);
}

Test(match_frame, descriptions_that_make_no_sense_are_refused)
{
    static const struct weir_frame bad[] = {
        {.width = 0, .max = 100},
        {.width = 9, .max = 100},
        {.width = UINT32_MAX, .max = SIZE_MAX},
        {.width = 1, .max = 0},
        {.width = 4, .max = 3},
        {.offset = 97, .width = 4, .max = 100},
        {.offset = UINT32_MAX, .width = 8, .max = UINT32_MAX},
    };
    for (size_t i = 0; i < WR_COUNT(bad); i++) {
        struct wr_match m = {.kind = WR_MATCH_NONE};
        cr_assert_eq(wr_match_frame(&m, &bad[i]), -EINVAL, "line %zu", i);
        cr_assert_eq(m.kind, WR_MATCH_NONE);
    }
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct weir_frame header_only = {.offset = 96, .width = 4, .max = 100};
    cr_assert_eq(wr_match_frame(&m, &header_only), 0);
    wr_match_done(&m);
}

Test(match_frame, second_pending_read_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct weir_frame f = {.width = 1, .max = 10};
    wr_match_bytes(&m, 1);
    wr_match_frame(&m, &f);
}

Test(match_frame, a_pending_read_is_small)
{
    cr_assert_leq(sizeof(struct wr_match), 64);
}
