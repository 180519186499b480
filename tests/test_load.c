/* Suite load: the parts of load that are pure: histograms, sizes, schedules, statistics, the command line. */
#include "load_args.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common_hist.h"
#include "load_schedule.h"
#include "load_stats.h"
#include "weir.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct hist hist, other;

static void expect_near(uint64_t got, uint64_t wanted, const char *what)
{
    cr_assert(got >= wanted && got <= wanted + wanted / 1000 + 1, "%s is %llu, not %llu", what,
              (unsigned long long)got, (unsigned long long)wanted);
}

/* ---- Histograms ---- */

Test(load, a_histogram_holds_three_digits)
{
    for (uint64_t ns = 1; ns <= 60000000000u; ns += 1 + ns / 3) {
        memset(&hist, 0, sizeof hist);
        hist_add(&hist, ns);
        hist_add(&hist, 100000000000u);
        expect_near(hist_percentile(&hist, 50), ns, "a value");
    }
}

Test(load, percentiles)
{
    for (uint64_t i = 1; i <= 1000; i++)
        hist_add(&hist, i * 1000000);
    expect_near(hist_percentile(&hist, 0), 1000000, "0%");
    expect_near(hist_percentile(&hist, 50), 500000000, "50%");
    expect_near(hist_percentile(&hist, 50.01), 501000000, "50.01%");
    expect_near(hist_percentile(&hist, 99.9), 999000000, "99.9%");
    expect_near(hist_percentile(&hist, 99.99), 1000000000, "99.99%");
    cr_assert_eq(hist_percentile(&hist, 100), 1000000000, "no more than the largest");
    cr_assert_eq(hist.max, 1000000000);
    cr_assert_float_eq(hist_mean(&hist), 500500000, 500500);
}

Test(load, a_histogram_of_nothing)
{
    cr_assert_eq(hist_percentile(&hist, 50), 0);
    cr_assert_eq(hist_mean(&hist), 0);
}

Test(load, what_is_beyond_a_histogram_is_its_largest)
{
    hist_add(&hist, 1000000000000u);
    cr_assert_eq(hist_percentile(&hist, 50), 1000000000000u);
}

Test(load, merged_histograms)
{
    hist_add(&hist, 10);
    hist_add(&other, 30);
    hist_add(&other, 20);
    hist_merge(&hist, &other);
    cr_assert_eq(hist.count, 3);
    cr_assert_eq(hist.max, 30);
    cr_assert_eq(hist_mean(&hist), 20);
    cr_assert_eq(hist_percentile(&hist, 50), 20);
}

/* ---- Sizes ---- */

Test(load, sizes_that_are_fixed)
{
    struct sizes s;
    cr_assert_eq(sizes_parse("64", &s), 0);
    cr_assert_eq(s.fixed, 64);
    cr_assert_eq(sizes_parse("7-7:3,7", &s), 0);
    cr_assert_eq(s.fixed, 7);
    cr_assert_eq(sizes_next(&s), 7);
}

Test(load, sizes_of_a_range)
{
    struct sizes s;
    int seen[10] = {0};
    cr_assert_eq(sizes_parse("3-9", &s), 0);
    cr_assert(s.low == 3 && s.high == 9);
    sizes_seed(&s, 1);
    for (int i = 0; i < 70000; i++)
        seen[sizes_next(&s)]++;
    for (int i = 0; i < 10; i++)
        cr_assert(i < 3 ? seen[i] == 0 : abs(seen[i] - 10000) < 500, "%d came %d times", i, seen[i]);
}

Test(load, sizes_with_weights)
{
    struct sizes s;
    int small = 0, large = 0;
    cr_assert_eq(sizes_parse("64:90,1000-2000:10", &s), 0);
    cr_assert(s.low == 64 && s.high == 2000);
    sizes_seed(&s, 2);
    for (int i = 0; i < 100000; i++) {
        size_t n = sizes_next(&s);
        small += n == 64;
        large += n >= 1000 && n <= 2000;
    }
    cr_assert_eq(small + large, 100000);
    cr_assert(abs(small - 90000) < 500, "%d small ones", small);
}

Test(load, sizes_are_the_same_for_the_same_seed)
{
    struct sizes a, b, c;
    int differ = 0;
    sizes_parse("1-1000000", &a);
    b = c = a;
    sizes_seed(&a, 5);
    sizes_seed(&b, 5);
    sizes_seed(&c, 6);
    for (int i = 0; i < 1000; i++) {
        size_t n = sizes_next(&a);
        cr_assert_eq(n, sizes_next(&b));
        differ += n != sizes_next(&c);
    }
    cr_assert_gt(differ, 990);
}

Test(load, sizes_that_are_none)
{
    static const char *const texts[] = {"",    "0",     "-1",   "x",    "64x",  "64-",        "64-63", "64:",
                                        "64:0", "64,",  ",64",  "64,0", "1--2", "1073741825", " 64",   "64 ",
                                        "1-2-3", "1:2:3", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    struct sizes s;
    for (size_t i = 0; i < COUNT(texts); i++)
        cr_assert_eq(sizes_parse(texts[i], &s), -1, "'%s'", texts[i]);
}

/* ---- Schedules ---- */

Test(load, a_schedule_is_constant)
{
    struct schedule s;
    schedule_begin(&s, 1000, 1000, 2.5, 0, 1);
    cr_assert_eq(schedule_left(&s), 2500);
    for (uint64_t i = 0; i < 2500; i++, schedule_take(&s))
        cr_assert_eq(schedule_due(&s), 1000 + i * 1000000);
    cr_assert_eq(schedule_due(&s), UINT64_MAX);
    cr_assert_eq(schedule_left(&s), 0);
}

Test(load, a_schedule_does_not_drift)
{
    struct schedule s;
    schedule_begin(&s, 0, 3, 1000, 0, 1);
    for (int i = 0; i < 2999; i++)
        schedule_take(&s);
    cr_assert_eq(schedule_left(&s), 1);
    cr_assert_eq(schedule_due(&s), 999666666666u);
}

Test(load, loops_share_a_schedule)
{
    struct schedule s[3], all;
    uint64_t left = 0;
    schedule_begin(&all, 7, 100, 1.01, 0, 1);
    for (unsigned i = 0; i < 3; i++) {
        schedule_begin(&s[i], 7, 100, 1.01, i, 3);
        left += schedule_left(&s[i]);
    }
    cr_assert_eq(left, 101);
    for (int i = 0; schedule_left(&all) > 0; i++, schedule_take(&all)) {
        cr_assert_eq(schedule_due(&s[i % 3]), schedule_due(&all));
        schedule_take(&s[i % 3]);
    }
}

Test(load, a_schedule_of_less_than_one)
{
    struct schedule s;
    schedule_begin(&s, 0, 0.5, 1, 0, 2);
    cr_assert_eq(schedule_left(&s), 1);
    schedule_begin(&s, 0, 0.5, 1, 1, 2);
    cr_assert_eq(schedule_left(&s), 0);
    cr_assert_eq(schedule_due(&s), UINT64_MAX);
}

/* ---- Statistics ---- */

Test(load, medians)
{
    cr_assert_eq(stats_median((double[]){3, 1, 2}, 3), 2);
    cr_assert_eq(stats_median((double[]){4, 1, 3, 2}, 4), 2.5);
    cr_assert_eq(stats_median((double[]){7}, 1), 7);
    cr_assert_eq(stats_median(NULL, 0), 0);
}

/* Which order statistics hold the median, from the tables for the sign test. */
Test(load, the_interval_of_a_median)
{
    static const int table[][3] = {{6, 1, 6},   {7, 1, 7},   {8, 1, 8},    {9, 2, 8},      {10, 2, 9},
                                   {12, 3, 10}, {15, 4, 12}, {20, 6, 15},  {25, 8, 18},    {50, 18, 33},
                                   {100, 40, 61}, {1000, 469, 532}};
    double values[1000], low, high;
    for (size_t i = 0; i < COUNT(table); i++) {
        int n = table[i][0];
        for (int k = 0; k < n; k++)
            values[k] = n - k;
        cr_assert_eq(stats_interval(values, n, &low, &high), 0);
        cr_assert(low == table[i][1] && high == table[i][2], "%d: %g to %g", n, low, high);
    }
}

Test(load, too_few_for_an_interval)
{
    double values[5] = {1, 2, 3, 4, 5}, low = -1, high = -1;
    for (int n = 0; n <= 5; n++)
        cr_assert_eq(stats_interval(values, n, &low, &high), -1);
    cr_assert(low == -1 && high == -1);
}

/* Over 2 * n rounds: everyone once in a round, at each place as often, and behind each other one as often. */
Test(load, orders_are_balanced)
{
    for (int n = 1; n <= TARGETS_MAX; n++) {
        int order[TARGETS_MAX], place[TARGETS_MAX][TARGETS_MAX] = {{0}}, behind[TARGETS_MAX][TARGETS_MAX] = {{0}};
        for (int round = 0; round < 2 * n; round++) {
            stats_order(round, n, order);
            for (int i = 0; i < n; i++) {
                cr_assert(order[i] >= 0 && order[i] < n);
                place[order[i]][i]++;
                if (i > 0)
                    behind[order[i]][order[i - 1]]++;
            }
        }
        for (int a = 0; a < n; a++) {
            for (int b = 0; b < n; b++) {
                cr_assert_eq(place[a][b], 2, "%d of %d stands %d times at place %d", a, n, place[a][b], b);
                cr_assert(a == b || behind[a][b] == 2, "%d of %d: %d times behind %d", a, n, behind[a][b], b);
            }
        }
    }
}

/* ---- The command line ---- */

static struct load_args args;
static char why[256];

/* Words with blanks between. */
static int read_line(const char *line)
{
    static char text[512];
    char *argv[64] = {"load"};
    int argc = 1;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    why[0] = '\0';
    return load_read_args(argc, argv, &args, why, sizeof why);
}

Test(load, what_is_not_given)
{
    cr_assert_eq(read_line("--connect 127.0.0.1:80"), 0);
    cr_assert(args.target_count == 1 && !args.compare && args.protocol == LOAD_ECHO && args.churn == CHURN_NONE);
    cr_assert(args.connections == 50 && args.depth == 1 && args.loops == 1 && args.slices == 1 && args.idle == 0);
    cr_assert(args.sizes.fixed == 64 && args.rate == 0 && args.think_ns == 0 && args.targets[0].pids.count == 0);
    cr_assert(args.seconds == 2 && args.warmup == 0.2 && args.timeout == 10 && args.form == FORM_TEXT);
    cr_assert_str_eq(args.targets[0].name, "127.0.0.1:80");
}

Test(load, what_is_given)
{
    cr_assert_eq(read_line("--connect [::1]:80 --pid 12+13 --protocol http --path /a?b --tls --depth 16 --rate 2.5e3 "
                           "--connections 7 --loops 3 --idle 9 --seconds 1.5 --warmup 0 --timeout .5 --csv "
                           "--backend uring --plot x.svg --seed 18446744073709551615"), 0, "%s", why);
    cr_assert(args.targets[0].pids.count == 2 && args.targets[0].pids.pid[1] == 13);
    cr_assert(args.protocol == LOAD_HTTP && args.tls && args.depth == 16 && args.rate == 2500);
    cr_assert(args.connections == 7 && args.loops == 3 && args.idle == 9 && args.seed == UINT64_MAX);
    cr_assert(args.seconds == 1.5 && args.warmup == 0 && args.timeout == 0.5 && args.form == FORM_CSV);
    cr_assert_eq(args.backend, WEIR_BACKEND_URING);
    cr_assert_str_eq(args.path, "/a?b");
    cr_assert_str_eq(args.plot, "x.svg");
}

Test(load, targets_to_compare)
{
    cr_assert_eq(read_line("--compare localhost:1,5+6,mine,really --compare localhost:2,,other --compare localhost:3,4 "
                           "--slices 9 --slice-ms 250 --think 1.5"), 0, "%s", why);
    cr_assert(args.compare && args.target_count == 3 && args.slices == 9);
    cr_assert(args.seconds == 0.25 && args.think_ns == 1500000);
    cr_assert_str_eq(args.targets[0].where, "localhost:1");
    cr_assert_str_eq(args.targets[0].name, "mine,really");
    cr_assert_eq(args.targets[0].pids.count, 2);
    cr_assert_str_eq(args.targets[1].name, "other");
    cr_assert_eq(args.targets[1].pids.count, 0);
    cr_assert_str_eq(args.targets[2].name, "localhost:3");
    cr_assert_eq(args.targets[2].pids.pid[0], 4);
}

Test(load, handshakes_are_over_tls)
{
    cr_assert_eq(read_line("--connect localhost:1 --churn handshake --resume"), 0, "%s", why);
    cr_assert(args.tls && args.resume && args.churn == CHURN_HANDSHAKE);
}

Test(load, as_much_as_there_may_be)
{
    cr_assert_eq(read_line("--connect localhost:1 --depth 65536"), 0, "%s", why);
    cr_assert_eq(read_line("--connect localhost:1 --connections 61 --depth 65536"), 0, "%s", why);
    cr_assert_eq(read_line("--connect localhost:1 --connections 1000000 --depth 4 --idle 1000000 --loops 1024"), 0,
                 "%s", why);
}

Test(load, help_goes_before_mistakes)
{
    cr_assert_eq(read_line("--help"), 1);
    cr_assert_eq(read_line("--connect localhost:1 --help --what"), 1);
}

Test(load, mistakes)
{
    static const char *const lines[] = {
        "",
        "--connect",
        "--connect localhost",
        "--connect example.org:80",
        "--connect localhost:1,",
        "--connect localhost:1,x",
        "--connect localhost:1,1+",
        "--connect localhost:1,0",
        "--connect localhost:1 --connect localhost:2",
        "--connect localhost:1 --compare localhost:2 --compare localhost:3",
        "--compare localhost:1",
        "--compare localhost:1 --compare localhost:2 --pid 4",
        "--compare localhost:1 --compare localhost:2 --slices 1001",
        "--connect localhost:1 --slices 5",
        "--connect localhost:1 --nothing 5",
        "--connect localhost:1 stray",
        "--connect localhost:1 --depth 0",
        "--connect localhost:1 --depth -1",
        "--connect localhost:1 --depth 1.5",
        "--connect localhost:1 --depth 1x",
        "--connect localhost:1 --depth",
        "--connect localhost:1 --connections 999999999",
        "--connect localhost:1 --connections 1000001",
        "--connect localhost:1 --idle 1000001",
        "--connect localhost:1 --depth 65537",
        "--connect localhost:1 --depth 100000000",
        "--connect localhost:1 --connections 62 --depth 65536",
        "--connect localhost:1 --connections 1000000 --depth 5",
        "--connect localhost:1 --connections 2000 --loops 1025",
        "--connect localhost:1 --seconds 0",
        "--connect localhost:1 --seconds nan",
        "--connect localhost:1 --seconds 0x10",
        "--connect localhost:1 --rate 0",
        "--connect localhost:1 --rate 10 --think 1",
        "--connect localhost:1 --think -1",
        "--connect localhost:1 --timeout 0",
        "--connect localhost:1 --pid 1,2",
        "--connect localhost:1 --seed -1",
        "--connect localhost:1 --backend sim",
        "--connect localhost:1 --protocol ftp",
        "--connect localhost:1 --protocol http --size 64",
        "--connect localhost:1 --protocol http --path x",
        "--connect localhost:1 --path /",
        "--connect localhost:1 --churn full",
        "--connect localhost:1 --churn message --depth 2",
        "--connect localhost:1 --churn message --resume",
        "--connect localhost:1 --tls --resume",
        "--connect localhost:1 --churn handshake --protocol line",
        "--connect localhost:1 --connections 2 --loops 3",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        cr_assert_eq(read_line(lines[i]), -1, "'%s' was understood", lines[i]);
        cr_assert(why[0], "'%s': it is not told why", lines[i]);
    }
}
