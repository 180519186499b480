/* Suite deadline: several deadlines on one timer. */
#include "deadline.h"

#include "helpers_case.h"

static struct wr_timers ts;
static struct wr_deadlines d;

static void fire(struct wr_timer *t)
{
    (void)t;
}

static void set_up(void)
{
    wr_timers_init(&ts);
    cr_assert_eq(wr_deadlines_open(&d, &ts, fire), 0);
}

static void tear_down(void)
{
    wr_deadlines_close(&d, &ts);
    wr_timers_done(&ts);
    cr_assert_eq(wr_mem_live(), 0);
}

TestSuite(deadline, .init = set_up);

/* The timer fires at `now`: which deadlines have passed, in order, as a text of digits. */
static const char *passed(uint64_t now)
{
    static char text[WR_DEADLINES + 1];
    int n = 0;
    cr_assert_eq(wr_timers_due(&ts, now, ts.order), &d.timer);
    for (int which; (which = wr_deadlines_passed(&d, &ts, now)) >= 0;)
        text[n++] = (char)('0' + which);
    text[n] = '\0';
    return text;
}

CASE(deadline, at_first_all_are_off)
{
    for (int i = 0; i < WR_DEADLINES; i++)
        cr_assert_not(wr_deadline_is_set(&d, (enum wr_deadline)i));
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
}

CASE(deadline, the_timer_is_set_to_the_earliest)
{
    wr_deadline_set(&d, &ts, WR_BY_READ, 50);
    cr_assert_eq(wr_timers_next(&ts), 50);
    wr_deadline_set(&d, &ts, WR_BY_IDLE, 70);
    cr_assert_eq(wr_timers_next(&ts), 50);
    wr_deadline_set(&d, &ts, WR_BY_STALL, 30);
    cr_assert_eq(wr_timers_next(&ts), 30);
    cr_assert_str_eq(passed(30), "4");
    cr_assert_eq(wr_timers_next(&ts), 50);
    cr_assert_not(wr_deadline_is_set(&d, WR_BY_STALL));
    cr_assert_str_eq(passed(70), "15");
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
}

CASE(deadline, moving_one_later_does_not_touch_the_timer)
{
    wr_deadline_set(&d, &ts, WR_BY_IDLE, 100);
    uint64_t order = ts.order;
    for (uint64_t at = 101; at < 1000; at++)
        wr_deadline_set(&d, &ts, WR_BY_IDLE, at);
    cr_assert_eq(ts.order, order);
    cr_assert_str_eq(passed(100), "");
    cr_assert_eq(wr_timers_next(&ts), 999);
}

CASE(deadline, one_that_was_unset_is_not_told)
{
    wr_deadline_set(&d, &ts, WR_BY_READ, 10);
    wr_deadline_set(&d, &ts, WR_BY_IDLE, 20);
    wr_deadline_unset(&d, WR_BY_READ);
    cr_assert_str_eq(passed(15), "");
    cr_assert_eq(wr_timers_next(&ts), 20);
    wr_deadline_unset(&d, WR_BY_IDLE);
    cr_assert_str_eq(passed(20), "");
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
}

CASE(deadline, settling_forgets_what_was_unset)
{
    wr_deadline_set(&d, &ts, WR_BY_STATE, 10);
    cr_assert(!wr_deadlines_are_off(&d));
    wr_deadline_unset(&d, WR_BY_STATE);
    cr_assert(wr_deadlines_are_off(&d));
    wr_deadlines_settle(&d, &ts);
    cr_assert_eq(wr_timers_next(&ts), UINT64_MAX);
    wr_deadline_set(&d, &ts, WR_BY_IDLE, 20);
    cr_assert_eq(wr_timers_next(&ts), 20);
}

CASE(deadline, of_two_at_once_both_are_told)
{
    wr_deadline_set(&d, &ts, WR_BY_IDLE, 10);
    wr_deadline_set(&d, &ts, WR_BY_READ, 10);
    cr_assert_str_eq(passed(10), "15");
}
