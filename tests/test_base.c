/* Suite base: asserts that stay on, sums that do not wrap. */
#include "base.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

extern const char *wr_assert_text, *wr_assert_file;
extern int wr_assert_line;

static int asked;

static bool ask(bool answer)
{
    asked++;
    return answer;
}

Test(base, a_true_assert_asks_once_and_goes_on)
{
    wr_assert(ask(true));
    cr_assert_eq(asked, 1);
    cr_assert_null(wr_assert_text);
}

Test(base, a_false_assert_ends_the_process, .signal = SIGABRT)
{
    wr_assert(ask(false));
}

static int broken_line;

static void look(int sig)
{
    (void)sig;
    bool told = strcmp(wr_assert_text, "ask(false)") == 0 && strcmp(wr_assert_file, __FILE__) == 0 &&
                wr_assert_line == broken_line && asked == 1;
    _exit(told ? 33 : 34);
}

Test(base, a_false_assert_leaves_its_text_for_the_core_dump, .exit_code = 33)
{
    signal(SIGABRT, look);
    broken_line = __LINE__ + 1;
    wr_assert(ask(false));
}

Test(base, nobody_can_stay_after_a_false_assert, .signal = SIGABRT)
{
    signal(SIGABRT, SIG_IGN);
    wr_assert(ask(false));
}

Test(base, deadlines_never_wrap)
{
    const uint64_t max = UINT64_MAX;
    cr_assert_eq(wr_add_sat(0, 0), 0);
    cr_assert_eq(wr_add_sat(2, 3), 5);
    cr_assert_eq(wr_add_sat(max, 0), max);
    cr_assert_eq(wr_add_sat(max - 1, 1), max);
    cr_assert_eq(wr_add_sat(max - 1, 2), max);
    cr_assert_eq(wr_add_sat(1, max), max);
    cr_assert_eq(wr_add_sat(max, max), max);
    cr_assert_eq(wr_add_sat(max / 2, max / 2), max - 1);
    cr_assert_eq(wr_add_sat(max / 2 + 1, max / 2 + 1), max);
}

Test(base, powers_of_two_are_known)
{
    cr_assert_not(wr_is_pow2(0));
    for (unsigned log2 = 0; log2 < 64; log2++) {
        size_t n = (size_t)1 << log2;
        cr_assert(wr_is_pow2(n));
        cr_assert(log2 < 2 || !wr_is_pow2(n - 1));
        cr_assert(log2 == 0 || !wr_is_pow2(n + 1));
    }
    cr_assert_not(wr_is_pow2(SIZE_MAX));
}

Test(base, the_smaller_and_the_larger)
{
    cr_assert_eq(wr_min(1, 2), 1);
    cr_assert_eq(wr_min(2, 1), 1);
    cr_assert_eq(wr_min(SIZE_MAX, 0), 0);
    cr_assert_eq(wr_max(1, 2), 2);
    cr_assert_eq(wr_max(2, 1), 2);
    cr_assert_eq(wr_max(SIZE_MAX, 0), SIZE_MAX);
}

Test(base, home_from_a_member)
{
    struct house {
        char door;
        int room[3];
        long roof;
    } houses[2];
    cr_assert_eq(wr_home(&houses[1].door, struct house, door), &houses[1]);
    cr_assert_eq(wr_home(&houses[1].room[2], struct house, room[2]), &houses[1]);
    cr_assert_eq(wr_home(&houses[0].roof, struct house, roof), &houses[0]);
    cr_assert_eq(WR_COUNT(houses), 2);
    cr_assert_eq(WR_COUNT(houses[0].room), 3);
}
