/* Suite regex: opening in words, what a search decides and when, its bounds, sharing, memory. Each search is made with
 * the JIT compiler and without. */
#include "regex.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "weir.h"

Test(regex, closing_nothing_is_legal)
{
    weir_regex_close(NULL);
}

#ifdef WR_NO_PCRE2

Test(regex, a_build_without_pcre2_says_so)
{
    struct weir_regex *regex = NULL;
    cr_assert_eq(weir_regex_open("a", 1, &regex), -ENOTSUP);
    cr_assert_null(regex);
    cr_assert_str_eq(weir_regex_refusal(), "this libweir was built without PCRE2");
}

#else

static struct weir_regex *open_text(const char *pattern)
{
    struct weir_regex *regex = NULL;
    int rc = weir_regex_open(pattern, strlen(pattern), &regex);
    cr_assert_eq(rc, 0, "/%s/: %s", pattern, weir_regex_refusal());
    cr_assert_str_eq(weir_regex_refusal(), "");
    return regex;
}

/* -- Opening. */

Test(regex, a_bad_pattern_is_refused_in_words_with_its_place)
{
    static const struct {
        const char *pattern, *words;
    } bad[] = {
        {"abc(", "byte 4: missing closing parenthesis"},
        {"a)", "byte 1: unmatched closing parenthesis"},
        {"*a", "byte 0: quantifier does not follow a repeatable item"},
        {"a[b", "byte 3: missing terminating ]"},
        {"\\", "byte 1: \\ at end of pattern"},
        {"(*UTF)a", "using UTF is disabled"},
        {"(*UCP)a", "using UCP is disabled"},
        {"a\\C", "using \\C is disabled"},
        {"(*CRLF)a", "a line break is \\n here"},
        {"(*ANY)a", "a line break is \\n here"},
    };
    struct weir_regex *regex = NULL;
    uint64_t live = wr_mem_live();

    for (size_t i = 0; i < WR_COUNT(bad); i++) {
        cr_assert_eq(weir_regex_open(bad[i].pattern, strlen(bad[i].pattern), &regex), -EINVAL, "%s", bad[i].pattern);
        cr_assert(strstr(weir_regex_refusal(), bad[i].words), "%s: %s", bad[i].pattern, weir_regex_refusal());
        cr_assert_eq(strncmp(weir_regex_refusal(), "byte ", 5), 0);
        cr_assert_null(regex);
    }
    cr_assert_eq(weir_regex_open(NULL, 0, &regex), -EINVAL);
    cr_assert_eq(weir_regex_open("a", 1, NULL), -EINVAL);
    cr_assert_gt(strlen(weir_regex_refusal()), 5);
    cr_assert_null(regex);
    cr_assert_eq(wr_mem_live(), live);
    weir_regex_close(open_text("a"));
}

static void *see_refusal(void *arg)
{
    cr_assert_str_eq(weir_regex_refusal(), "");
    return arg;
}

Test(regex, the_words_are_each_threads_own)
{
    struct weir_regex *regex;
    pthread_t thread;
    cr_assert_eq(weir_regex_open("(", 1, &regex), -EINVAL);
    cr_assert_eq(pthread_create(&thread, NULL, see_refusal, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_gt(strlen(weir_regex_refusal()), 5);
}

static int search(struct weir_regex *regex, const char *data, size_t len, bool more, size_t *ret_at)
{
    unsigned char *copy = malloc(len);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    int rc = wr_regex_search(regex, copy, len, 0, more, ret_at);
    free(copy);
    return rc;
}

Test(regex, a_pattern_is_bytes)
{
    struct weir_regex *regex;
    size_t at = 0;

    cr_assert_eq(weir_regex_open("a\0b", 3, &regex), 0);
    cr_assert_eq(search(regex, "aa\0bb", 5, true, &at), 1);
    cr_assert_eq(at, 4);
    weir_regex_close(regex);
    cr_assert_eq(weir_regex_open("\xc3\xa4|\xff", 4, &regex), 0);
    cr_assert_eq(search(regex, "\xc3\xff", 2, true, &at), 1);
    cr_assert_eq(at, 2);
    weir_regex_close(regex);
    cr_assert_eq(weir_regex_open("", 0, &regex), 0);
    cr_assert_eq(search(regex, "x", 1, true, &at), 1);
    cr_assert_eq(at, 0);
    weir_regex_close(regex);
}

/* -- What is decided by which bytes. */

struct line {
    const char *pattern, *data;
    int rc, last_rc;            /* with more to come; as the last of all bytes */
    size_t at, last_at;
};

static const struct line lines[] = {
    {"abc", "xabc", 1, 1, 4, 4},
    {"abc", "xab", 0, 0, 1, 3},
    {"abc", "xyz", 0, 0, 3, 3},
    {"ab+", "abb", 0, 1, 0, 3},
    {"ab+", "abbc", 1, 1, 3, 3},
    {"ab+?", "abb", 1, 1, 2, 2},
    {"ab++", "abb", 0, 1, 0, 3},
    {"a|ab", "ab", 1, 1, 1, 1},
    {"ab|a", "a", 0, 1, 0, 1},
    {"ab|a", "ac", 1, 1, 1, 1},
    {"\r?\n\r?\n", "h\r\n\r\nx", 1, 1, 5, 5},
    {"\r?\n\r?\n", "h\n\r", 0, 0, 1, 3},
    {"a(?=b)", "a", 0, 0, 0, 1},
    {"a(?=b)", "ab", 1, 1, 1, 1},
    {"a(?!b)", "a", 0, 1, 0, 1},
    {"a(?!b)", "ac", 1, 1, 1, 1},
    {"(?<=a)b", "ab", 1, 1, 2, 2},
    {"(?<=a)b", "xa", 0, 0, 2, 2},
    {"(?<=\n\n)", "a\n\n", 1, 1, 3, 3},
    {"a$", "a", 0, 1, 0, 1},
    {"a$", "a\n", 0, 1, 0, 1},
    {"a$", "a\n\n", 0, 0, 3, 3},
    {"a\\z", "a", 0, 1, 0, 1},
    {"\\z", "ab", 0, 1, 2, 2},
    {"(?m)a$", "a\n", 1, 1, 1, 1},
    {"a\\b", "a", 0, 1, 0, 1},
    {"a\\b", "a-", 1, 1, 1, 1},
    {"^b", "ab", 0, 0, 2, 2},
    {"(?m)^b", "a\nb", 1, 1, 3, 3},
    {"(?m)\n(?:^b|)", "a\nb", 1, 1, 3, 3},
    {"(?m)\n(?:^b|)", "a\n", 0, 1, 1, 2},
    {"(?m)\n^", "a\n", 1, 1, 2, 2},
    {"x*", "ab", 1, 1, 0, 0},
    {"x*", "xx", 0, 1, 0, 2},
    {"a\\K", "ba", 1, 1, 2, 2},
    {"a\\R", "a\r", 0, 1, 0, 2},
    {"a\\R", "a\r\n", 1, 1, 3, 3},
    {"(?:\\R)+b", "\r\r\nb", 1, 1, 4, 4},
    {"\\\\R+", "\\RR-", 1, 1, 3, 3},
    {"(?>a+)b", "xaa", 0, 0, 1, 3},
    {"(?s).{3}b", "xa", 0, 0, 0, 2},
    {"(?s)^.{3}b", "xa", 0, 0, 0, 2},
    {"(?s:.{3}b|a)", "aa", 0, 1, 0, 1},
    {"(*NO_AUTO_POSSESS)(?s:.{3}b|a)", "aa", 0, 1, 0, 1},
    {"(\n|)a*+\n", "\nc", 1, 1, 1, 1},
    {"(?=b)+\\s*b", "ab", 1, 1, 2, 2},
    /* What sees where a search began, or decides at the end, is never resumed. */
    {"\\Gb", "ab", 0, 0, 0, 0},
    {"a(*COMMIT)b|c", "acc", 0, 0, 0, 0},
    {"(a)\\1", "xa", 0, 0, 0, 0},
    {"(*LIMIT_MATCH=99)(*NOTEMPTY)x*", "ax-", 1, 1, 2, 2},
    {"(*LF)", "ab", 1, 1, 0, 0},
    {"(*atomic:a){2}b", "ab", 0, 0, 0, 0},
    {"(*ACCEPT)??bc(*F)|b", "ab", 1, 1, 0, 0},
    {"\\v?+(?<!^)(?:(*ACCEPT)b)", "a", 0, 1, 0, 1},
};

static void hold_lines(void)
{
    for (size_t i = 0; i < WR_COUNT(lines); i++) {
        const struct line *l = &lines[i];
        struct weir_regex *regex = open_text(l->pattern);
        size_t at = 99, last_at = 99;
        int rc = search(regex, l->data, strlen(l->data), true, &at);
        int last_rc = search(regex, l->data, strlen(l->data), false, &last_at);
        cr_assert(rc == l->rc && at == l->at, "line %zu /%s/: %d at %zu", i, l->pattern, rc, at);
        cr_assert(last_rc == l->last_rc && last_at == l->last_at, "line %zu /%s/, last: %d at %zu", i, l->pattern,
                  last_rc, last_at);
        weir_regex_close(regex);
    }
}

Test(regex, what_the_bytes_decide)
{
    hold_lines();
    wr_regex_jit = false;
    hold_lines();
}

/* The interpreter would take the \r for all of it, whatever comes next. */
Test(regex, a_repeated_line_break_needs_jit)
{
    static const char *const patterns[] = {"\\R+", "a\\R{2}", "\\R*?b", "\\\\\\R?"};
    struct weir_regex *regex = open_text("\\R{1,2}");
    size_t at = 99;
    cr_assert_eq(search(regex, "\r\r", 2, true, &at), 0);
    cr_assert_eq(at, 0);
    weir_regex_close(regex);
    wr_regex_jit = false;
    for (size_t i = 0; i < WR_COUNT(patterns); i++) {
        cr_assert_eq(weir_regex_open(patterns[i], strlen(patterns[i]), &regex), -ENOTSUP, "%s", patterns[i]);
        cr_assert(strstr(weir_regex_refusal(), "JIT"), "%s", weir_regex_refusal());
    }
    weir_regex_close(open_text("\\R\\Ra+"));
}

Test(regex, bytes_without_the_sign_are_not_worth_a_search)
{
    static const struct {
        const char *pattern, *data;
        bool worth;
    } line[] = {
        {"[^\n]*\n", "abc", false}, {"[^\n]*\n", "ab\nc", true}, {"(?i)a+:b", "xxB", true}, {"(?i)a+:b", "xxb", true},
        {"(?i)a+:b", "xx:", false}, {"a|b", "c", true},          {".*", "", true},          {"a+@", "`", false},
    };
    for (size_t i = 0; i < WR_COUNT(line); i++) {
        struct weir_regex *regex = open_text(line[i].pattern);
        bool worth = wr_regex_worth(regex, (const unsigned char *)line[i].data, strlen(line[i].data));
        cr_assert_eq(worth, line[i].worth, "line %zu", i);
        weir_regex_close(regex);
    }
}

/* -- Bounds. */

enum { LONG = 65536 };

static char *long_subject(char fill, char end)
{
    char *data = malloc(LONG);
    cr_assert_not_null(data);
    memset(data, fill, LONG);
    data[LONG - 1] = end;
    return data;
}

/* Patterns on which backtracking does not end in our lives, or takes memory without end. */
static void meet_bounds(void)
{
    static const char *const patterns[] = {"(a+)+$",         "(a|a)*b!",        "(a|aa)+[!]c",     "(a|b)*c[!]|a!c",
                                           "(?:a?){60}a{60}!!", "(a*)*[b!]b",      "([a-z]+)*[!]=",    "(?:(a)|a)+[!]z",
                                           "(.*)*x[!]|!y",   "^(([a-z])+.)+!z", "(a+){10,}[!]{2}", "(?:a|(?:a|a)+)+!b"};
    char *data = long_subject('a', '!'), *good = long_subject('b', 'c');
    size_t at = 0;

    for (size_t i = 0; i < WR_COUNT(patterns); i++) {
        struct weir_regex *regex = open_text(patterns[i]);
        for (int more = 0; more < 2; more++) {
            int rc = wr_regex_search(regex, (unsigned char *)data, LONG, 0, more, &at);
            cr_assert(rc == WEIR_EREGEX || rc == 0, "/%s/ more %d: %d", patterns[i], more, rc);
            if (i < 2 || (i < 4 && more)) /* without more, the others are seen to lack a byte */
                cr_assert_eq(rc, WEIR_EREGEX, "/%s/ more %d: %d", patterns[i], more, rc);
        }
        cr_assert_geq(wr_regex_search(regex, (unsigned char *)good, LONG, LONG - 2, true, &at), 0, "it still works");
        weir_regex_close(regex);
    }
    free(data);
    free(good);
}

Test(regex, hostile_bytes_meet_bounds_under_jit)
{
    meet_bounds();
}

Test(regex, hostile_bytes_meet_bounds_of_the_interpreter)
{
    wr_regex_jit = false;
    meet_bounds();
}

Test(regex, ordinary_patterns_keep_away_from_the_bounds)
{
    static const char *const patterns[] = {"(?:[^\r\n]+\r\n)*\r\n", "\r?\n\r?\n", "(?s).*?\r\n\r\n",
                                           "(?:[a-z]+: [^\r\n]*\r\n)+\r\n", "[^ ]+ [^\r]+\r\n(?s:.*)\r\n\r\n"};
    char data[16384];
    size_t len = 0, at = 0;

    while (len + 40 < sizeof data) {
        memcpy(data + len, "field: this is not short\r\n", 26);
        len += 26;
    }
    memcpy(data + len, "\r\nrest", 6);
    for (int jit = 0; jit < 2; jit++) {
        wr_regex_jit = jit;
        for (size_t i = 0; i < WR_COUNT(patterns); i++) {
            struct weir_regex *regex = open_text(patterns[i]);
            int rc = wr_regex_search(regex, (unsigned char *)data, len + 6, 0, false, &at);
            cr_assert_eq(rc, 1, "/%s/ jit %d: %d", patterns[i], jit, rc);
            cr_assert_eq(at, len + 2);
            weir_regex_close(regex);
        }
    }
}

/* -- Memory and threads. */

static size_t refuse_from;

static bool refuse_later(size_t size)
{
    (void)size;
    return refuse_from > 0 && refuse_from-- > 1;
}

Test(regex, out_of_memory_at_each_place_leaves_nothing)
{
    uint64_t live = wr_mem_live();
    int opened = 0;

    for (size_t n = 1; n < 40; n++) {
        struct weir_regex *regex = NULL;
        refuse_from = n;
        wr_mem_gate = refuse_later;
        int rc = weir_regex_open("(a|b)+\\R{2}", 11, &regex);
        wr_mem_gate = NULL;
        cr_assert(rc == 0 || rc == -ENOMEM || rc == -ENOTSUP, "%zu: %d", n, rc);
        cr_assert_eq(rc < 0, regex == NULL);
        cr_assert_eq(rc < 0, weir_regex_refusal()[0] != '\0');
        opened += rc == 0;
        weir_regex_close(regex);
        cr_assert_eq(wr_mem_live(), live, "%zu", n);
    }
    cr_assert(opened > 0 && opened < 39, "%d", opened);
}

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

Test(regex, searching_allocates_nothing)
{
    size_t at = 0;
    for (int jit = 0; jit < 2; jit++) {
        wr_regex_jit = jit;
        struct weir_regex *regex = open_text("(?:[a-z]+:\n)+\n");
        cr_assert_eq(search(regex, "abc:\nde:\n\nrest", 14, true, &at), 1);
        uint64_t allocations = wr_mem_allocations();
        wr_mem_gate = refuse;
        for (int i = 0; i < 1000; i++)
            cr_assert_eq(search(regex, "abc:\nde:\n\nrest", 14, i & 1, &at), 1);
        wr_mem_gate = NULL;
        cr_assert_eq(wr_mem_allocations(), allocations);
        weir_regex_close(regex);
    }
}

Test(regex, the_last_holder_frees)
{
    uint64_t live = wr_mem_live();
    struct weir_regex *regex = open_text("b+c");
    size_t at = 0;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(wr_regex_hold(regex), regex);
    for (int i = 0; i < 3; i++) {
        weir_regex_close(regex);
        cr_assert_eq(search(regex, "abbc", 4, true, &at), 1);
    }
    weir_regex_close(regex);
    cr_assert_eq(wr_mem_live(), live);
}

enum { THREADS = 4, ROUNDS = 3000 };

static void *search_on_thread(void *regex)
{
    size_t at = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char data[64] = "xx";
        size_t n = 1 + (size_t)i % 50;
        memset(data + 2, 'b', n);
        data[2 + n] = 'c';
        wr_regex_hold(regex);
        cr_assert_eq(wr_regex_search(regex, (unsigned char *)data, n + 3, 0, true, &at), 1);
        cr_assert_eq(at, n + 3);
        cr_assert_eq(wr_regex_search(regex, (unsigned char *)data, n + 2, 0, true, &at), 0);
        cr_assert_eq(at, 2);
        weir_regex_close(regex);
    }
    weir_regex_close(regex);
    return NULL;
}

/* The one who opened it goes first; the last thread frees. */
Test(regex, threads_share_a_regex)
{
    uint64_t live = wr_mem_live();
    for (int jit = 0; jit < 2; jit++) {
        pthread_t thread[THREADS];
        wr_regex_jit = jit;
        struct weir_regex *regex = open_text("(?:b|bb)+c");
        for (int i = 0; i < THREADS; i++)
            cr_assert_eq(pthread_create(&thread[i], NULL, search_on_thread, wr_regex_hold(regex)), 0);
        weir_regex_close(regex);
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        cr_assert_eq(wr_mem_live(), live);
    }
}

#endif
