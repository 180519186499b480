/* Suite match: the search against a plain one, over all ways to cut the bytes; limits; the price in looks. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helpers_match.h"
#include "weir.h"

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

/* -- The oracle: the rule, with nothing remembered. */

static struct answer plain_until(const unsigned char *delim, size_t delim_len, size_t max,
                                 const unsigned char *data, size_t len)
{
    static const struct answer passed = {WR_MATCH_NEVER, 0, WEIR_EUNSATISFIABLE};
    for (size_t end = delim_len; end <= len; end++) {
        if (memcmp(data + end - delim_len, delim, delim_len) == 0)
            return end <= max ? (struct answer){WR_MATCH_FOUND, end, 0} : passed;
    }
    return len > max ? passed : (struct answer){.verdict = WR_MATCH_MORE};
}

/* Feed data in random pieces of at most max_piece bytes, and ask the oracle at each step. */
static void feed(const unsigned char *delim, size_t delim_len, size_t max, const unsigned char *data,
                 size_t len, size_t max_piece)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    uint64_t looked = wr_match_looked;
    size_t fed = 0;
    struct answer got, want;

    cr_assert_eq(wr_match_until(&m, delim, delim_len, max), 0);
    do {
        size_t piece = wr_min(len - fed, below(max_piece + 1));
        uint64_t before = wr_match_looked;
        fed += piece;
        got = scan_elsewhere(&m, data, fed);
        want = plain_until(delim, delim_len, max, data, fed);
        cr_assert(same_answer(got, want), "%zu of %zu bytes: %d of %zu, not %d of %zu", fed, len, (int)got.verdict,
                  got.n, (int)want.verdict, want.n);
        cr_assert_leq(wr_match_looked - before, 3 * piece);
    } while (got.verdict == WR_MATCH_MORE && fed < len);
    looked = wr_match_looked - looked;
    if (got.verdict == WR_MATCH_FOUND && delim_len > 1)
        cr_assert_geq(looked, got.n - delim_len, "%lu looks at %zu bytes", (unsigned long)looked, got.n);
    wr_match_done(&m);
}

Test(match, until_gives_the_same_answer_however_the_bytes_are_cut)
{
    static unsigned char data[600], delim[64];
    uint64_t live = wr_mem_live();

    for (int round = 0; round < 20000; round++) {
        size_t alphabet = 1 + below(3), len = below(sizeof data);
        size_t delim_len = 1 + below(below(2) ? 6 : sizeof delim);
        fill_random(data, len, alphabet);
        fill_random(delim, delim_len, alphabet);
        if (len >= delim_len && below(2))
            memcpy(data + below(len - delim_len + 1), delim, delim_len);
        size_t max = below(2) ? SIZE_MAX : delim_len + below(sizeof data);
        feed(delim, delim_len, max, data, len, 1 + below(below(2) ? 4 : 200));
    }
    cr_assert_eq(wr_mem_live(), live);
}

/* Where the automaton has to fall back, and where a delimiter hangs over several pieces. */
Test(match, until_finds_periodic_delimiters_over_borders)
{
    static unsigned char data[2 * WR_DELIM_MAX + 5], delim[WR_DELIM_MAX];
    static const size_t lens[] = {2, 3, 4, 15, 16, 17, 18, 31, 255, 256, 257, 1023, WR_DELIM_MAX};
    uint64_t live = wr_mem_live();

    for (size_t i = 0; i < WR_COUNT(lens) * 3; i++) {
        size_t len = lens[i % WR_COUNT(lens)], period = 1 + below(len / 2);
        for (size_t k = 0; k < len; k++)
            delim[k] = (unsigned char)('a' + k % period % 26);
        delim[len - 1] = below(2) ? 'B' : delim[len - 1];
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (unsigned char)('a' + k % period % 26);
        memcpy(data + sizeof data - len, delim, len);
        for (size_t piece = 5; piece <= sizeof data; piece *= 10)
            feed(delim, len, SIZE_MAX, data, sizeof data, piece);
    }
    cr_assert_eq(wr_mem_live(), live);
}

/* -- The price. */

/* 1 MiB of 'a' and then the delimiter's end, in pieces of `step` bytes. Returns the looks. */
static uint64_t price(const unsigned char *delim, size_t delim_len, size_t step)
{
    size_t total = 1u << 20, n = 0;
    unsigned char *data = malloc(total);
    struct wr_match m = {.kind = WR_MATCH_NONE};
    uint64_t looked = wr_match_looked;

    cr_assert_not_null(data);
    memset(data, 'a', total);
    data[total - 1] = delim[delim_len - 1];
    cr_assert_eq(wr_match_until(&m, delim, delim_len, SIZE_MAX), 0);
    for (size_t len = step; len < total; len += step)
        cr_assert_eq(wr_match_scan(&m, data, len, &n), WR_MATCH_MORE);
    cr_assert_eq(wr_match_scan(&m, data, total, &n), WR_MATCH_FOUND);
    cr_assert_eq(n, total);
    wr_match_done(&m);
    free(data);
    return wr_match_looked - looked;
}

Test(match, until_looks_at_each_byte_at_most_three_times)
{
    static const size_t lens[] = {1, 2, 4, 16, 17, 100, WR_DELIM_MAX};
    static const size_t steps[] = {1, 2, 3, 15, 16, 17, 1000, 65536, 1u << 20};
    unsigned char delim[WR_DELIM_MAX];
    uint64_t live = wr_mem_live();

    for (size_t i = 0; i < WR_COUNT(lens); i++) {
        memset(delim, 'a', sizeof delim);
        delim[lens[i] - 1] = 'b';
        for (size_t k = 0; k < WR_COUNT(steps); k++) {
            uint64_t looked = price(delim, lens[i], steps[k]);
            cr_assert_leq(looked, 3u << 20, "delimiter of %zu, pieces of %zu: %lu looks", lens[i], steps[k],
                          (unsigned long)looked);
            cr_assert_geq(looked, 1u << 20, "delimiter of %zu, pieces of %zu: %lu looks", lens[i], steps[k],
                          (unsigned long)looked);
        }
    }
    cr_assert_eq(wr_mem_live(), live);
}

/* The count is believed only because this holds too: what was scanned before may be unreadable. */
Test(match, until_never_goes_back_to_scanned_bytes)
{
    static const unsigned char delims[3][32] = {"\r\n", "\r\n\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"};
    static const size_t lens[3] = {2, 4, 32};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), total = 64 * page, n = 0;

    for (int i = 0; i < 3; i++) {
        struct wr_match m = {.kind = WR_MATCH_NONE};
        unsigned char *data =
            mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(data, MAP_FAILED);
        memset(data, delims[i][0], total);
        memcpy(data + total - lens[i], delims[i], lens[i]);
        cr_assert_eq(wr_match_until(&m, delims[i], lens[i], SIZE_MAX), 0);
        for (size_t len = page; len < total; len += page) {
            cr_assert_eq(wr_match_scan(&m, data, len, &n), WR_MATCH_MORE);
            cr_assert_eq(mprotect(data, len, PROT_NONE), 0);
        }
        cr_assert_eq(wr_match_scan(&m, data, total, &n), WR_MATCH_FOUND);
        cr_assert_eq(n, total);
        wr_match_done(&m);
        munmap(data, total);
    }
}

Test(match, until_looks_no_further_than_the_delimiter_and_the_limit)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    unsigned char data[4096];
    size_t n = 0;

    memset(data, 'x', sizeof data);
    for (size_t i = 0; i < 90; i += 10)
        memcpy(data + i, "an: line\r\n", 10);
    memcpy(data + 96, "\r\n\r\n", 4);
    cr_assert_eq(wr_match_until(&m, "\r\n\r\n", 4, SIZE_MAX), 0);
    uint64_t looked = wr_match_looked;
    cr_assert_eq(wr_match_scan(&m, data, sizeof data, &n), WR_MATCH_FOUND);
    cr_assert_eq(n, 100);
    cr_assert_eq(wr_match_looked - looked, 100, "one pass, whatever lines stand before");
    wr_match_done(&m);

    cr_assert_eq(wr_match_until(&m, "\r\n\r\r", 4, SIZE_MAX), 0);
    looked = wr_match_looked;
    cr_assert_eq(wr_match_scan(&m, data, sizeof data, &n), WR_MATCH_MORE);
    cr_assert_leq(wr_match_looked - looked, sizeof data + 2 * 3 + 3, "more than one pass, and the border");
    wr_match_done(&m);

    cr_assert_eq(wr_match_until(&m, "zz", 2, 50), 0);
    looked = wr_match_looked;
    for (size_t len = 1; len <= sizeof data; len++)
        cr_assert_eq(wr_match_scan(&m, data, len, &n), len <= 50 ? WR_MATCH_MORE : WR_MATCH_NEVER);
    cr_assert_leq(wr_match_looked - looked, 150);
    wr_match_done(&m);
}

Test(match, until_found_is_found_again)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    const unsigned char *data = (const unsigned char *)"abcabcabd-abcabd";
    size_t n = 0;

    cr_assert_eq(wr_match_until(&m, "abcabd", 6, 16), 0);
    cr_assert_eq(wr_match_scan(&m, data, 7, &n), WR_MATCH_MORE);
    for (size_t len = 9; len <= 16; len++) {
        cr_assert_eq(wr_match_scan(&m, data, len, &n), WR_MATCH_FOUND);
        cr_assert_eq(n, 9);
    }
    wr_match_done(&m);
}

/* -- Limits: one line per verdict at one length. */

struct line {
    enum wr_match_kind kind;
    size_t n;
    const char *data;
    enum wr_match_verdict verdict;
    size_t ret_n;
};

static const struct line limits[] = {
    {WR_MATCH_BYTES, 0, "", WR_MATCH_FOUND, 0},
    {WR_MATCH_BYTES, 0, "abc", WR_MATCH_FOUND, 0},
    {WR_MATCH_BYTES, 3, "", WR_MATCH_MORE, 0},
    {WR_MATCH_BYTES, 3, "ab", WR_MATCH_MORE, 0},
    {WR_MATCH_BYTES, 3, "abc", WR_MATCH_FOUND, 3},
    {WR_MATCH_BYTES, 3, "abcd", WR_MATCH_FOUND, 3},
    {WR_MATCH_SOME, 3, "", WR_MATCH_MORE, 0},
    {WR_MATCH_SOME, 3, "a", WR_MATCH_FOUND, 1},
    {WR_MATCH_SOME, 3, "abc", WR_MATCH_FOUND, 3},
    {WR_MATCH_SOME, 3, "abcd", WR_MATCH_FOUND, 3},
    {WR_MATCH_SOME, SIZE_MAX, "abcd", WR_MATCH_FOUND, 4},
    {WR_MATCH_CHUNKS, 0, "", WR_MATCH_MORE, 0},
    {WR_MATCH_CHUNKS, 0, "abcd", WR_MATCH_FOUND, 4},
    {WR_MATCH_CLOSE, 3, "", WR_MATCH_MORE, 0},
    {WR_MATCH_CLOSE, 3, "abc", WR_MATCH_MORE, 0},
    {WR_MATCH_CLOSE, 3, "abcd", WR_MATCH_NEVER, 3},
    {WR_MATCH_CLOSE, 0, "", WR_MATCH_MORE, 0},
    {WR_MATCH_CLOSE, 0, "a", WR_MATCH_NEVER, 0},
    {WR_MATCH_CLOSE, SIZE_MAX, "abcd", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "1234", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "1234\r", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "1234\r\n", WR_MATCH_FOUND, 6},
    {WR_MATCH_UNTIL, 6, "1234\r\n9", WR_MATCH_FOUND, 6},
    {WR_MATCH_UNTIL, 6, "12\r\n\r\n\r\n", WR_MATCH_FOUND, 4},
    {WR_MATCH_UNTIL, 6, "123456", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "12345\r", WR_MATCH_MORE, 0},
    {WR_MATCH_UNTIL, 6, "1234567", WR_MATCH_NEVER, 0},
    {WR_MATCH_UNTIL, 6, "12345\r\n", WR_MATCH_NEVER, 0},
    {WR_MATCH_UNTIL, 6, "123456\r\n", WR_MATCH_NEVER, 0},
    {WR_MATCH_UNTIL, 2, "\r\n", WR_MATCH_FOUND, 2},
    {WR_MATCH_UNTIL, 2, "a\r\n", WR_MATCH_NEVER, 0},
};

static void start(struct wr_match *m, enum wr_match_kind kind, size_t n)
{
    if (kind == WR_MATCH_BYTES)
        wr_match_bytes(m, n);
    else if (kind == WR_MATCH_SOME)
        wr_match_some(m, n);
    else if (kind == WR_MATCH_CLOSE)
        wr_match_close(m, n);
    else if (kind == WR_MATCH_CHUNKS)
        wr_match_chunks(m);
    else
        cr_assert_eq(wr_match_until(m, "\r\n", 2, n), 0);
}

/* Each line holds when all comes at once, and at the end of a trickle that asks at each byte. */
Test(match, limits)
{
    for (size_t i = 0; i < WR_COUNT(limits); i++) {
        const struct line *l = &limits[i];
        for (int trickle = 0; trickle < 2; trickle++) {
            struct wr_match m = {.kind = WR_MATCH_NONE};
            size_t len = strlen(l->data);
            struct answer a = {.n = 0};
            int code = l->kind == WR_MATCH_CLOSE ? WEIR_EBUFFULL : WEIR_EUNSATISFIABLE;
            start(&m, l->kind, l->n);
            for (size_t at = trickle ? 0 : len; at <= len; at++)
                a = scan_elsewhere(&m, (const unsigned char *)l->data, at);
            cr_assert_eq(a.verdict, l->verdict, "line %zu, trickle %d: %d", i, trickle, (int)a.verdict);
            cr_assert_eq(a.n, l->ret_n, "line %zu, trickle %d: %zu", i, trickle, a.n);
            cr_assert_eq(a.code, a.verdict == WR_MATCH_NEVER ? code : 0, "line %zu: code %d", i, a.code);
            cr_assert(same_answer(a, last_twice(&m, (const unsigned char *)l->data, len)), "line %zu", i);
            wr_match_done(&m);
        }
    }
}

/* -- Memory. */

Test(match, until_copies_the_delimiter)
{
    unsigned char delim[40];
    struct answer a;

    for (size_t len = 2; len <= sizeof delim; len++) {
        struct wr_match m = {.kind = WR_MATCH_NONE};
        unsigned char data[41] = {'x'};
        memset(delim, 'd', sizeof delim);
        memset(data + 1, 'd', len);
        cr_assert_eq(wr_match_until(&m, delim, len, SIZE_MAX), 0);
        memset(delim, 'e', sizeof delim);
        a = scan_elsewhere(&m, data, len + 1);
        cr_assert(a.verdict == WR_MATCH_FOUND && a.n == len + 1);
        wr_match_done(&m);
    }
}

Test(match, only_long_delimiters_allocate_and_done_frees)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    unsigned char delim[WR_DELIM_MAX] = {0};
    uint64_t live = wr_mem_live(), allocations = wr_mem_allocations();

    cr_assert_eq(wr_match_until(&m, delim, WR_MATCH_INLINE, SIZE_MAX), 0);
    wr_match_done(&m);
    cr_assert_eq(wr_mem_allocations(), allocations);
    cr_assert_eq(wr_match_until(&m, delim, WR_DELIM_MAX, SIZE_MAX), 0);
    cr_assert_eq(wr_mem_live(), live + 1);
    wr_match_done(&m);
    cr_assert_eq(wr_mem_live(), live);
    cr_assert_eq(m.kind, WR_MATCH_NONE);
    wr_match_done(&m);
    cr_assert_eq(wr_mem_live(), live);
}

Test(match, out_of_memory_leaves_no_pending_read)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    unsigned char delim[WR_MATCH_INLINE + 1] = {0};
    uint64_t live = wr_mem_live();

    wr_mem_gate = refuse;
    cr_assert_eq(wr_match_until(&m, delim, sizeof delim, SIZE_MAX), -ENOMEM);
    wr_mem_gate = NULL;
    cr_assert_eq(m.kind, WR_MATCH_NONE);
    cr_assert_eq(wr_mem_live(), live);
    wr_match_bytes(&m, 1);
    wr_match_done(&m);
}

/* -- Misuse ends the process. */

Test(match, empty_delimiter_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_until(&m, "", 0, 10);
}

Test(match, delimiter_longer_than_the_limit_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_until(&m, "abc", 3, 2);
}

Test(match, too_long_a_delimiter_asserts, .signal = SIGABRT)
{
    static const unsigned char delim[WR_DELIM_MAX + 1];
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_until(&m, delim, sizeof delim, SIZE_MAX);
}

Test(match, some_of_nothing_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_some(&m, 0);
}

Test(match, second_pending_read_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_bytes(&m, 1);
    wr_match_bytes(&m, 1);
}

Test(match, scan_without_a_pending_read_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    size_t n;
    wr_match_scan(&m, NULL, 0, &n);
}

Test(match, bytes_that_vanish_assert, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    size_t n;
    wr_match_until(&m, "ab", 2, 10);
    wr_match_scan(&m, (const unsigned char *)"xxxx", 4, &n);
    wr_match_scan(&m, (const unsigned char *)"xx", 2, &n);
}
