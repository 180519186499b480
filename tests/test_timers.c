/* Suite timers: the heap, case by case, and at random beside a plain table. */
#include "timers.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "helpers_case.h"

static void fire(struct wr_timer *t)
{
    (void)t;
}

static struct wr_timer *due(struct wr_timers *ts, uint64_t now)
{
    return wr_timers_due(ts, now, ts->order);
}

/* Each timer stands where it says, and no later than those below it. */
static void check(const struct wr_timers *ts)
{
    cr_assert_leq(ts->count, ts->members);
    cr_assert(ts->members == 0 || ts->members < ts->room);
    for (uint32_t i = 1; i <= ts->count; i++) {
        const struct wr_timer *t = ts->heap[i], *above = ts->heap[i > 1 ? i / 2 : 1];
        cr_assert_eq(t->slot, i);
        cr_assert(above->at < t->at || (above->at == t->at && above->order <= t->order));
    }
}

enum { SEVERAL = 40 };

static struct wr_timers ts;
static struct wr_timer timer[SEVERAL];

static void set_up(void)
{
    wr_timers_init(&ts);
    for (int i = 0; i < SEVERAL; i++)
        cr_assert_eq(wr_timers_join(&ts, &timer[i], fire), 0);
}

static void tear_down(void)
{
    for (int i = 0; i < SEVERAL; i++)
        wr_timers_leave(&ts, &timer[i]);
    check(&ts);
    wr_timers_done(&ts);
    cr_assert_eq(wr_mem_live(), 0);
}

Test(timers, a_new_timer_is_not_set)
{
    set_up();
    cr_assert_eq(timer[0].fire, fire);
    cr_assert_not(wr_timer_is_set(&timer[0]));
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
    cr_assert_null(due(&ts, UINT64_MAX));
    wr_timers_unset(&ts, &timer[0]);
    check(&ts);
    tear_down();
}

Test(timers, the_earliest_comes_first_and_only_when_due)
{
    set_up();
    wr_timers_set(&ts, &timer[0], 30);
    wr_timers_set(&ts, &timer[1], 10);
    wr_timers_set(&ts, &timer[2], 20);
    check(&ts);
    cr_assert_eq(wr_timers_next(&ts), 10);
    cr_assert_null(due(&ts, 9));
    cr_assert_eq(due(&ts, 10), &timer[1]);
    cr_assert_not(wr_timer_is_set(&timer[1]));
    cr_assert(wr_timer_is_set(&timer[2]));
    cr_assert_null(due(&ts, 19));
    cr_assert_eq(due(&ts, 100), &timer[2]);
    cr_assert_eq(due(&ts, 100), &timer[0]);
    cr_assert_null(due(&ts, 100));
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
    tear_down();
}

Test(timers, of_one_time_the_first_set_comes_first)
{
    set_up();
    for (int i = 0; i < SEVERAL; i++)
        wr_timers_set(&ts, &timer[i * 7 % SEVERAL], 5);
    wr_timers_set(&ts, &timer[7], 5);
    for (int i = 0; i < SEVERAL; i++)
        if (i != 1)
            cr_assert_eq(due(&ts, 5), &timer[i * 7 % SEVERAL]);
    cr_assert_eq(due(&ts, 5), &timer[7], "set anew, it is the last");
    tear_down();
}

Test(timers, a_timer_can_be_set_anew_both_ways)
{
    set_up();
    for (int i = 0; i < 10; i++)
        wr_timers_set(&ts, &timer[i], 100 + (uint64_t)i);
    wr_timers_set(&ts, &timer[9], 1);
    check(&ts);
    cr_assert_eq(wr_timers_next(&ts), 1);
    wr_timers_set(&ts, &timer[9], 1000);
    check(&ts);
    cr_assert_eq(wr_timers_next(&ts), 100);
    wr_timers_unset(&ts, &timer[0]);
    wr_timers_unset(&ts, &timer[0]);
    check(&ts);
    cr_assert_eq(wr_timers_next(&ts), 101);
    cr_assert_eq(ts.count, 9);
    tear_down();
}

Test(timers, what_is_set_in_a_turn_waits_for_the_next)
{
    set_up();
    wr_timers_set(&ts, &timer[0], 10);
    wr_timers_set(&ts, &timer[1], 10);
    uint64_t order = ts.order;
    cr_assert_eq(wr_timers_due(&ts, 10, order), &timer[0]);
    wr_timers_set(&ts, &timer[0], 10);
    wr_timers_set(&ts, &timer[2], 10);
    cr_assert_eq(wr_timers_due(&ts, 10, order), &timer[1]);
    cr_assert_null(wr_timers_due(&ts, 10, order));
    order = ts.order;
    cr_assert_eq(wr_timers_due(&ts, 10, order), &timer[0]);
    cr_assert_eq(wr_timers_due(&ts, 10, order), &timer[2]);
    cr_assert_null(wr_timers_due(&ts, 10, order));
    tear_down();
}

Test(timers, times_may_be_as_early_and_as_late_as_can_be)
{
    set_up();
    wr_timers_set(&ts, &timer[0], UINT64_MAX);
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
    wr_timers_set(&ts, &timer[1], 0);
    cr_assert_eq(due(&ts, 0), &timer[1]);
    cr_assert_null(due(&ts, UINT64_MAX - 1));
    cr_assert_eq(due(&ts, UINT64_MAX), &timer[0]);
    tear_down();
}

/* ---- Out of memory ---- */

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

Test(timers, joining_may_fail_and_setting_may_not)
{
    static struct wr_timer many[1000];
    struct wr_timers own;
    uint32_t joined = 0;
    wr_timers_init(&own);
    for (uint32_t i = 0; i < WR_COUNT(many); i++) {
        wr_mem_gate = refuse_all;
        int rc = wr_timers_join(&own, &many[i], fire);
        for (uint32_t k = 0; k < joined; k++)
            wr_timers_set(&own, &many[k], k * 7919 % 1000);
        wr_mem_gate = NULL;
        check(&own);
        cr_assert(rc == 0 || rc == -ENOMEM);
        cr_assert_eq(own.members, joined + (rc == 0), "a failed join changes nothing");
        joined += rc == 0 || wr_timers_join(&own, &many[i], fire) == 0;
    }
    cr_assert_eq(joined, WR_COUNT(many));
    for (uint32_t i = 0; i < WR_COUNT(many); i++)
        wr_timers_leave(&own, &many[i]);
    wr_timers_done(&own);
    cr_assert_eq(wr_mem_live(), 0);
}

Test(timers, coming_and_going_allocates_nothing)
{
    set_up();
    uint64_t allocations = wr_mem_allocations();
    for (int i = 0; i < 1000; i++) {
        wr_timers_set(&ts, &timer[i % SEVERAL], 1);
        wr_timers_leave(&ts, &timer[i % SEVERAL]);
        cr_assert_eq(wr_timers_join(&ts, &timer[i % SEVERAL], fire), 0);
    }
    cr_assert_eq(wr_mem_allocations(), allocations);
    tear_down();
}

/* ---- What may not be ---- */

Test(timers, a_heap_with_members_cannot_end, .signal = SIGABRT)
{
    set_up();
    wr_timers_done(&ts);
}

Test(timers, who_did_not_join_cannot_be_set, .signal = SIGABRT)
{
    struct wr_timer stranger = {0};
    wr_timers_init(&ts);
    wr_timers_set(&ts, &stranger, 1);
}

Test(timers, a_timer_of_another_heap_cannot_be_unset, .signal = SIGABRT)
{
    struct wr_timer stranger = {.slot = 1};
    set_up();
    wr_timers_set(&ts, &timer[0], 1);
    wr_timers_unset(&ts, &stranger);
}

/* ---- Beats, as Tornado's PeriodicCallback has them ---- */

/* Calls that take so long, of a period of 10, the first due at 1010: when each is made. A time below 0 is a clock that
 * was set back. */
static void simulate_calls(const int *durations, const unsigned *expected, size_t count)
{
    uint64_t at = 1000, time = 1000;
    for (size_t i = 0; i < count; i++) {
        at = wr_timers_beat(at, 10, time);
        cr_assert_eq(at, expected[i], "call %zu at %" PRIu64, i, at);
        time = at + (uint64_t)(int64_t)durations[i];
    }
}

#define SIMULATE(durations, expected) simulate_calls(durations, expected, sizeof(durations) / sizeof *(durations))

Test(timers, beat_basic)
{
    static const int durations[] = {0, 0, 0, 0, 0};
    static const unsigned expected[] = {1010, 1020, 1030, 1040, 1050};
    SIMULATE(durations, expected);
}

Test(timers, beat_overrun)
{
    static const int durations[] = {9, 9, 10, 11, 20, 20, 35, 35, 0, 0, 0};
    static const unsigned expected[] = {1010, 1020, 1030,   /* on the beat */
                                        1050, 1070,         /* one beat skipped, each */
                                        1100, 1130,         /* two */
                                        1170, 1210,         /* three */
                                        1220, 1230};        /* on the beat again */
    SIMULATE(durations, expected);
}

Test(timers, beat_clock_backwards)
{
    static const int little[] = {-2, -1, -3, -2, 0}, much[] = {-100, 0, 0};
    static const unsigned after_little[] = {1010, 1020, 1030, 1040, 1050}, after_much[] = {1010, 1020, 1030};
    SIMULATE(little, after_little);
    SIMULATE(much, after_much);
}

Test(timers, beat_at_the_end_of_time)
{
    cr_assert_eq(wr_timers_beat(UINT64_MAX - 5, 10, UINT64_MAX), UINT64_MAX);
    cr_assert_eq(wr_timers_beat(5, UINT64_MAX, 6), UINT64_MAX);
    cr_assert_eq(wr_timers_beat(0, 1, UINT64_MAX - 1), UINT64_MAX);
}

/* ---- At random ---- */

enum { MODELLED = 300, STEPS = 4000, SEEDS = 20 };

static struct entry {
    struct wr_timer timer;
    bool member, set;
    uint64_t at, order;
} entry[MODELLED];

static uint64_t now, orders;

static struct entry *first(void)
{
    struct entry *best = NULL;
    for (int i = 0; i < MODELLED; i++)
        if (entry[i].set && (!best || entry[i].at < best->at ||
                             (entry[i].at == best->at && entry[i].order < best->order)))
            best = &entry[i];
    return best;
}

static void set(struct entry *e)
{
    e->at = draw(50) == 0 ? UINT64_MAX : now + draw(draw(2) ? 8 : 1000);
    e->set = true;
    e->order = orders++;
    wr_timers_set(&ts, &e->timer, e->at);
}

static void change(struct entry *e)
{
    if (!e->member) {
        cr_assert_eq(wr_timers_join(&ts, &e->timer, fire), 0);
        e->member = true;
    } else if (draw(4)) {
        set(e);
    } else if (draw(2)) {
        wr_timers_unset(&ts, &e->timer);
        e->set = false;
    } else {
        wr_timers_leave(&ts, &e->timer);
        e->member = e->set = false;
    }
}

/* Time goes on; those that are due set others, as callbacks do. */
static void turn(void)
{
    uint64_t order = ts.order;
    now += draw(draw(8) ? 12 : 600);
    for (;;) {
        struct entry *e = first();
        bool is_due = e && e->at <= now && e->order < order;
        cr_assert_eq(wr_timers_due(&ts, now, order), is_due ? &e->timer : NULL, "%s", drawn());
        if (!is_due)
            return;
        e->set = false;
        change(&entry[draw(MODELLED)]);
        if (e->member && draw(2))
            set(e);
    }
}

static void step(void)
{
    if (draw(10) == 0)
        turn();
    else
        change(&entry[draw(MODELLED)]);
    check(&ts);
    struct entry *e = first(), *any = &entry[draw(MODELLED)];
    cr_assert_eq(wr_timers_next(&ts), e ? e->at : UINT64_MAX, "%s", drawn());
    cr_assert(!any->member || wr_timer_is_set(&any->timer) == any->set, "%s", drawn());
}

Test(timers, a_random_program_sees_what_a_table_says)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        draw_from(seed);
        now = orders = 0;
        wr_timers_init(&ts);
        for (int i = 0; i < STEPS; i++)
            step();
        for (int i = 0; i < MODELLED; i++)
            if (entry[i].member)
                wr_timers_leave(&ts, &entry[i].timer);
        memset(entry, 0, sizeof entry);
        wr_timers_done(&ts);
    }
}
