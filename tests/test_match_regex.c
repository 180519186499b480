/* Suite match_regex: the search for patterns against a plain one, over all ways to cut the bytes; limits; the price. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "helpers_match.h"
#include "helpers_pattern.h"
#include "weir.h"

/* The end of the input changes nothing for the other kinds. */
Test(match_regex, last_is_a_scan_for_all_other_kinds)
{
    for (int kind = 0; kind < 6; kind++) {
        struct weir_frame f = {.width = 1, .max = 6};
        for (size_t len = 0; len <= 8; len++) {
            struct wr_match m = {.kind = WR_MATCH_NONE};
            if (kind == 0)
                wr_match_bytes(&m, 6);
            else if (kind == 1)
                wr_match_some(&m, 6);
            else if (kind == 2)
                cr_assert_eq(wr_match_until(&m, "\r\n", 2, 6), 0);
            else if (kind == 3)
                wr_match_close(&m, 6);
            else if (kind == 4)
                wr_match_chunks(&m);
            else
                cr_assert_eq(wr_match_frame(&m, &f), 0);
            const unsigned char *data = (const unsigned char *)"\005..\r..\r\n";
            struct answer scan = scan_twice(&m, data, len);
            cr_assert(same_answer(scan, last_twice(&m, data, len)), "kind %d, %zu bytes", kind, len);
            wr_match_done(&m);
        }
    }
}

#ifndef WR_NO_PCRE2

static struct weir_regex *open_text(const char *pattern)
{
    struct weir_regex *regex = NULL;
    int rc = weir_regex_open(pattern, strlen(pattern), &regex);
    cr_assert_eq(rc, 0, "/%s/: %s", pattern, weir_regex_refusal());
    return regex;
}

static const char *show(const unsigned char *data, size_t len)
{
    static char text[256];
    size_t used = 0;
    for (size_t i = 0; i < len && used + 5 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, data[i] < ' ' ? "\\%03o" : "%c", data[i]);
    return text;
}

static void fill_subject(unsigned char *data, size_t len)
{
    static const char bytes[] = "aaabbc\n\n\r ";
    for (size_t i = 0; i < len; i++)
        data[i] = (unsigned char)bytes[below(sizeof bytes - 1)];
}

/* -- Against the oracle, at each step of each way. */

/* What a search that forgets all must say of these bytes. */
static struct answer plain_regex(const struct pattern *p, size_t max, const unsigned char *data, size_t len, bool last)
{
    size_t shown = len > max ? max + 1 : len, at = 0;
    int rc = len == 0 ? 0 : pattern_search(p, data, shown, !last || len > max, &at);
    if (rc > 0 && at <= max)
        return (struct answer){WR_MATCH_FOUND, at, 0};
    return len > max ? (struct answer){WR_MATCH_NEVER, 0, WEIR_EUNSATISFIABLE}
                     : (struct answer){.verdict = WR_MATCH_MORE};
}

static int bounded;     /* answers that a bound on work kept from being right: some of these patterns are exponential */

static void expect(const struct pattern *p, size_t max, const unsigned char *data, size_t len, bool last,
                   struct answer got)
{
    if (got.code == WEIR_EREGEX) {
        bounded++;
        return;
    }
    struct answer want = plain_regex(p, max, data, len, last);
    cr_assert(same_answer(got, want), "/%s/ max %zu%s, %s: %d of %zu, code %d, not %d of %zu", p->text, max,
              last ? ", last" : "", show(data, len), (int)got.verdict, got.n, got.code, (int)want.verdict, want.n);
}

static void feed(const struct pattern *p, struct weir_regex *regex, size_t max, const unsigned char *data, size_t len,
                 size_t max_piece)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct answer got = {.verdict = WR_MATCH_MORE};
    size_t fed = 0;

    wr_match_regex(&m, regex, max);
    while (got.verdict == WR_MATCH_MORE && fed < len) {
        fed += wr_min(len - fed, 1 + below(max_piece));
        got = scan_twice(&m, data, fed);
        expect(p, max, data, fed, false, got);
    }
    if (got.verdict == WR_MATCH_MORE)
        expect(p, max, data, fed, true, last_twice(&m, data, fed));
    wr_match_done(&m);
}

static void compare_with_oracle(int patterns)
{
    uint64_t live = wr_mem_live();
    int found = 0;

    for (int i = 0; i < patterns; i++) {
        struct pattern p;
        unsigned char data[16];
        pattern_random(&p);
        struct weir_regex *regex = open_text(p.text);
        for (int k = 0; k < 4; k++) {
            size_t len = 1 + below(sizeof data), at;
            fill_subject(data, len);
            found += pattern_search(&p, data, len, false, &at) > 0;
            feed(&p, regex, SIZE_MAX, data, len, 1);
            feed(&p, regex, SIZE_MAX, data, len, len);
            feed(&p, regex, 1 + below(len), data, len, 1);
            feed(&p, regex, 1 + below(len), data, len, 1 + below(len));
        }
        weir_regex_close(regex);
    }
    cr_assert(found > patterns && found < 3 * patterns, "%d found: a poor mixture", found);
    cr_assert_lt(bounded, patterns / 500, "%d", bounded);
    cr_assert_eq(wr_mem_live(), live);
}

Test(match_regex, gives_the_same_answer_however_the_bytes_are_cut)
{
    compare_with_oracle(10000);
}

Test(match_regex, gives_the_same_answer_interpreted_too)
{
    wr_regex_jit = false;
    compare_with_oracle(10000);
}

/* -- All that PCRE2 knows, against itself: one answer for all ways to cut. */

static struct answer answer_in_pieces(struct weir_regex *regex, size_t max, const unsigned char *data, size_t len,
                                      size_t max_piece)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct answer a = {.verdict = WR_MATCH_MORE};
    size_t fed = 0;

    wr_match_regex(&m, regex, max);
    while (a.verdict == WR_MATCH_MORE && fed < len) {
        fed += wr_min(len - fed, 1 + below(max_piece));
        a = scan_elsewhere(&m, data, fed);
    }
    if (a.verdict == WR_MATCH_MORE)
        a = last_twice(&m, data, fed);
    wr_match_done(&m);
    return a;
}

static void compare_cuts(const char *text, struct weir_regex *regex)
{
    unsigned char data[16];
    for (int k = 0; k < 3; k++) {
        size_t len = 1 + below(sizeof data), max = below(2) ? SIZE_MAX : 1 + below(len);
        fill_subject(data, len);
        struct answer whole = answer_in_pieces(regex, max, data, len, SIZE_MAX);
        for (size_t piece = 1; piece <= 7; piece += 3) {
            struct answer cut = answer_in_pieces(regex, max, data, len, piece);
            cr_assert(same_answer(whole, cut), "/%s/ max %zu, %s: %d of %zu, code %d; in pieces of up to %zu: "
                      "%d of %zu, code %d", text, max, show(data, len), (int)whole.verdict, whole.n, whole.code, piece,
                      (int)cut.verdict, cut.n, cut.code);
        }
    }
}

static void compare_all_cuts(int patterns)
{
    char text[PATTERN_TEXT];
    int opened = 0;

    for (int i = 0; i < patterns; i++) {
        struct weir_regex *regex = NULL;
        size_t len = pattern_random_text(text);
        if (weir_regex_open(text, len, &regex) < 0)
            continue; /* such as a reference to no group */
        opened++;
        compare_cuts(text, regex);
        weir_regex_close(regex);
    }
    cr_assert_gt(opened, patterns / 2);
}

Test(match_regex, no_pattern_at_all_depends_on_the_cuts)
{
    compare_all_cuts(20000);
}

Test(match_regex, no_pattern_at_all_depends_on_the_cuts_interpreted)
{
    wr_regex_jit = false;
    compare_all_cuts(20000);
}

/* -- Limits: one line per verdict at one length. */

struct line {
    const char *pattern;
    size_t max;
    const char *data;
    enum wr_match_verdict verdict, last;
    size_t n;
};

#define MORE WR_MATCH_MORE
#define FOUND WR_MATCH_FOUND
#define NEVER WR_MATCH_NEVER

static const struct line limits[] = {
    {"\r?\n", 6, "", MORE, MORE, 0},
    {"\r?\n", 6, "1234", MORE, MORE, 0},
    {"\r?\n", 6, "1234\r\n", FOUND, FOUND, 6},      /* exactly */
    {"\r?\n", 6, "1234\r\n9", FOUND, FOUND, 6},
    {"\r?\n", 6, "12\n\n\r\n\r\n", FOUND, FOUND, 3},
    {"\r?\n", 6, "123456", MORE, MORE, 0},          /* lost already, not told before one more has come */
    {"\r?\n", 6, "12345\r", MORE, MORE, 0},
    {"\r?\n", 6, "1234567", NEVER, NEVER, 0},
    {"\r?\n", 6, "123456\n", NEVER, NEVER, 0},      /* over by one */
    {"\r?\n", 6, "12345\r\n", NEVER, NEVER, 0},
    {"\r?\n", 6, "123456\r\n", NEVER, NEVER, 0},    /* what is there already, but too late */
    {"\r?\n", 6, "123456789\n", NEVER, NEVER, 0},
    {"def", 5, "abcdef", NEVER, NEVER, 0},
    {"def", 6, "abcdef", FOUND, FOUND, 6},
    {"a+", 3, "aaa", MORE, FOUND, 3},               /* greedy up to the limit: the byte behind it decides */
    {"a+", 3, "aaab", FOUND, FOUND, 3},
    {"a+", 3, "aaaa", NEVER, NEVER, 0},
    {"a+?", 3, "aaaa", FOUND, FOUND, 1},
    {"a{3}", 3, "aaaa", FOUND, FOUND, 3},
    {"ab(?=c)", 2, "ab", MORE, MORE, 0},
    {"ab(?=c)", 2, "abc", FOUND, FOUND, 2},         /* looking one byte further is within the limit, two is not */
    {"ab(?=cd)", 2, "abcd", NEVER, NEVER, 0},
    {"abc$", 3, "abc", MORE, FOUND, 3},
    {"abc$", 3, "abcd", NEVER, NEVER, 0},
    {"x*", 3, "", MORE, MORE, 0},                   /* an empty match, but of something */
    {"x*", 3, "abcd", FOUND, FOUND, 0},
    {"\\z", 3, "abc", MORE, FOUND, 3},
    {"\\z", 3, "abcd", NEVER, NEVER, 0},
    {"\\z", 3, "", MORE, MORE, 0},
    {"a", 1, "a", FOUND, FOUND, 1},
    {"a", 1, "ba", NEVER, NEVER, 0},
    {"a", SIZE_MAX, "ba", FOUND, FOUND, 2},
    {"a", SIZE_MAX - 1, "bc", MORE, MORE, 0},
};

/* Each line holds when all comes at once, and at the end of a trickle that asks at each byte. */
Test(match_regex, limits)
{
    for (size_t i = 0; i < WR_COUNT(limits) * 2; i++) {
        const struct line *l = &limits[i / 2];
        struct weir_regex *regex = open_text(l->pattern);
        struct wr_match m = {.kind = WR_MATCH_NONE};
        const unsigned char *data = (const unsigned char *)l->data;
        struct answer scan = {.n = 0}, last;
        size_t len = strlen(l->data);

        wr_match_regex(&m, regex, l->max);
        for (size_t at = i % 2 ? 0 : len; at <= len; at++)
            scan = scan_twice(&m, data, at);
        last = last_twice(&m, data, len);
        cr_assert_eq(scan.verdict, l->verdict, "line %zu, trickle %zu: %d", i / 2, i % 2, (int)scan.verdict);
        cr_assert_eq(last.verdict, l->last, "line %zu, trickle %zu: %d", i / 2, i % 2, (int)last.verdict);
        cr_assert_eq(last.n, l->n, "line %zu, trickle %zu: %zu", i / 2, i % 2, last.n);
        cr_assert_eq(scan.n, scan.verdict == FOUND ? l->n : 0);
        cr_assert_eq(scan.code, scan.verdict == NEVER ? WEIR_EUNSATISFIABLE : 0);
        wr_match_done(&m);
        weir_regex_close(regex);
    }
}

/* A match that was found once may be asked for with more bytes: until_found_is_found_again, for patterns. */
Test(match_regex, found_is_found_again)
{
    struct weir_regex *regex = open_text("b+c");
    struct wr_match m = {.kind = WR_MATCH_NONE};
    const unsigned char *data = (const unsigned char *)"abbcbbbcbc";

    wr_match_regex(&m, regex, 10);
    cr_assert_eq(scan_twice(&m, data, 3).verdict, WR_MATCH_MORE);
    for (size_t len = 4; len <= 10; len++)
        cr_assert_eq(scan_twice(&m, data, len).n, 4);
    wr_match_done(&m);
    weir_regex_close(regex);
}

/* -- Bounds: the same failure in all cuts, and in the first piece that has all it takes. */

static void meet_bounds(const char *pattern, size_t max_piece)
{
    static unsigned char data[4000];
    struct weir_regex *regex = open_text(pattern);
    struct wr_match m = {.kind = WR_MATCH_NONE};
    struct answer a = {.verdict = WR_MATCH_MORE};
    size_t fed = 0;

    memset(data, 'a', sizeof data);
    memcpy(data + 500, "!!", 2);
    wr_match_regex(&m, regex, SIZE_MAX);
    while (fed < 502 && a.verdict == WR_MATCH_MORE) {
        cr_assert_lt(fed, 502);
        fed += wr_min(sizeof data - fed, max_piece);
        a = scan_elsewhere(&m, data, fed);
    }
    cr_assert(same_answer(a, (struct answer){WR_MATCH_NEVER, 0, WEIR_EREGEX}), "/%s/, pieces of %zu: %d, code %d",
              pattern, max_piece, (int)a.verdict, a.code);
    cr_assert(same_answer(a, scan_elsewhere(&m, data, fed)));
    cr_assert(same_answer(a, last_twice(&m, data, fed)));
    wr_match_done(&m);
    weir_regex_close(regex);
}

Test(match_regex, a_passed_bound_ends_the_read_in_all_cuts)
{
    static const char *const patterns[] = {"(a+)+$", "(?:a|a)*=!|x!!", "(?:a|aa)+!=|[=]!!$"};
    for (size_t i = 0; i < WR_COUNT(patterns) * 2; i++) {
        wr_regex_jit = i % 2;
        for (size_t piece = 1; piece < 5000; piece = piece * 5 + 1)
            meet_bounds(patterns[i / 2], piece);
    }
}

/* At the end of the input, too: what was undecided is searched once more. */
Test(match_regex, a_bound_may_be_passed_at_the_end)
{
    for (int jit = 0; jit < 2; jit++) {
        wr_regex_jit = jit;
        struct weir_regex *regex = open_text("(?:a|a)*$(?<=b)");
        struct wr_match m = {.kind = WR_MATCH_NONE};
        unsigned char data[60];
        memset(data, 'a', sizeof data);
        wr_match_regex(&m, regex, SIZE_MAX);
        cr_assert_eq(scan_twice(&m, data, sizeof data).verdict, WR_MATCH_MORE);
        cr_assert(same_answer(last_twice(&m, data, sizeof data), (struct answer){WR_MATCH_NEVER, 0, WEIR_EREGEX}));
        wr_match_done(&m);
        weir_regex_close(regex);
    }
}

/* -- The price. */

/* The looks at `len` bytes that come in pieces of `step`, and are never enough. */
static uint64_t price(const char *pattern, const unsigned char *data, size_t len, size_t step)
{
    struct weir_regex *regex = open_text(pattern);
    struct wr_match m = {.kind = WR_MATCH_NONE};
    uint64_t looked = wr_match_looked;
    size_t n;

    wr_match_regex(&m, regex, len);
    for (size_t fed = step; fed <= len; fed += step) {
        cr_assert_eq(wr_match_scan(&m, data, fed, &n), WR_MATCH_MORE);
        uint64_t before = wr_match_looked;
        cr_assert_eq(wr_match_scan(&m, data, fed, &n), WR_MATCH_MORE);
        cr_assert_eq(wr_match_looked, before, "asking again costs nothing");
    }
    wr_match_done(&m);
    weir_regex_close(regex);
    return wr_match_looked - looked;
}

Test(match_regex, a_trickle_costs_what_is_undecided)
{
    enum { LEN = 65536 };
    static unsigned char lines[LEN], same[LEN];

    for (size_t i = 0; i < LEN; i++)
        lines[i] = (unsigned char)"field: value\r\n"[i % 14];
    memset(same, 'a', LEN);
    for (size_t step = 1; step <= LEN; step *= 16) {
        cr_assert_leq(price("\r?\n\r?\n", lines, LEN, step), 6 * LEN, "a start is undecided for three bytes at most");
        cr_assert_leq(price("[^\n]*\n", same, LEN, step), LEN, "no match without a line break");
        cr_assert_leq(price("b+c?d?", same, LEN, step), 2 * LEN, "no start");
        uint64_t looked = price("(?s)a.*[bc]", same, LEN, step);
        cr_assert_leq(looked, (LEN / step) * (uint64_t)(LEN + step) / 2 + LEN, "the first start stays undecided");
        cr_assert_geq(looked, (LEN / step) * (uint64_t)LEN / 2);
    }
}

Test(match_regex, no_more_is_shown_than_the_limit_and_one)
{
    static unsigned char data[65536];
    struct weir_regex *regex = open_text("[bc]");
    struct wr_match m = {.kind = WR_MATCH_NONE};
    uint64_t looked = wr_match_looked;
    size_t n;

    wr_match_regex(&m, regex, 100);
    cr_assert_eq(wr_match_scan(&m, data, sizeof data, &n), WR_MATCH_NEVER);
    cr_assert_leq(wr_match_looked - looked, 2 * 101);
    wr_match_done(&m);
    weir_regex_close(regex);
}

/* -- Memory. */

Test(match_regex, a_pending_read_holds_the_regex)
{
    uint64_t live = wr_mem_live();
    struct weir_regex *regex = open_text("a+b");
    struct wr_match m = {.kind = WR_MATCH_NONE}, other = {.kind = WR_MATCH_NONE};
    uint64_t allocations = wr_mem_allocations();

    wr_match_regex(&m, regex, 10);
    wr_match_regex(&other, regex, 10);
    weir_regex_close(regex);
    cr_assert_eq(scan_twice(&m, (const unsigned char *)"xaab", 4).n, 4);
    wr_match_done(&m);
    wr_match_done(&m);
    cr_assert_eq(scan_twice(&other, (const unsigned char *)"xaaab", 5).n, 5);
    cr_assert_eq(wr_mem_allocations(), allocations);
    wr_match_done(&other);
    cr_assert_eq(wr_mem_live(), live);
}

/* -- Misuse ends the process. */

Test(match_regex, no_limit_asserts, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    wr_match_regex(&m, open_text("a"), 0);
}

Test(match_regex, bytes_that_vanish_assert, .signal = SIGABRT)
{
    struct wr_match m = {.kind = WR_MATCH_NONE};
    size_t n;
    wr_match_regex(&m, open_text("a"), 10);
    wr_match_scan(&m, (const unsigned char *)"xxxx", 4, &n);
    wr_match_scan(&m, (const unsigned char *)"xx", 2, &n);
}

#endif
