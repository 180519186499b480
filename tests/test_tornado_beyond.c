/* What users of Tornado asked for and did not get, or only as a rule for all, on all three worlds. "a" writes and "b"
 * reads. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

/* There a read that nobody waits for any more takes the next bytes with it. */
ON_ALL_LAYERS(beyond_tornado, a_cancelled_read_leaves_its_bytes)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 10, on_read, &b), 0);
    send_text(&a, "left");
    run_idle(e);
    cr_assert_eq(weir_read_cancel(b.s), 0);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "b read ECANCELED\n");
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 left\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(beyond_tornado, a_read_that_is_late_leaves_bytes_and_stream)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 10, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, weir_now(e->loop) + 1000000), 0);
    send_text(&a, "left");
    while (facts_of(&b).reading)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    expect_log(e, "b read ETIMEDOUT\n");
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 left\n");
    close_pair(e, &a, &b);
}

/* There a limit that is passed always closes. */
ON_ALL_LAYERS(beyond_tornado, a_limit_may_fail_the_read_alone)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .limit_keeps = 1};
    open_pair(e, &opt, &a, &b);
    send_text(&a, "abcdef");
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read WEIR_EUNSATISFIABLE\n");
    cr_assert_eq(weir_read_bytes(b.s, 6, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 6 abcdef\n");
    close_pair(e, &a, &b);
}

/* As in 2.x: one callback for all that is written, and the last write's takes the place of the others. */
ON_ALL_LAYERS(beyond_tornado, the_last_write_may_take_the_callback)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .last_write_callback = 1};
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, "one", 3, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "two", 3, on_wrote, &a), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_eq(weir_write(a.s, "three", 5, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "four", 4, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_read_bytes(b.s, 15, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 15 onetwothreefour\n");
    close_pair(e, &a, &b);
}
