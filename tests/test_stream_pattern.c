/* Suite stream_pattern: reads up to a pattern, and of frames, from streams. What they match is test_match_*.c's. */
#include "helpers_stream.h"

#include <errno.h>
#include <string.h>

static struct party a, b;

static struct weir_regex *regex_of(const char *pattern)
{
    struct weir_regex *regex = NULL;
    cr_assert_eq(weir_regex_open(pattern, strlen(pattern), &regex), 0, "%s", weir_regex_refusal());
    return regex;
}

static void read_pattern(const char *pattern, size_t max)
{
    struct weir_regex *regex = regex_of(pattern);
    cr_assert_eq(weir_read_until_regex(a.s, regex, max, on_read, &a), 0);
    weir_regex_close(regex); /* the read holds it */
}

static void say(const char *text)
{
    cr_assert_eq(weir_write(b.s, text, strlen(text), NULL, NULL), 0);
}

ON_ALL_LAYERS(stream_pattern, a_pattern_may_come_in_pieces)
{
    open_pair(e, NULL, &a, &b);
    read_pattern("\r?\n\r?\n", 0);
    say("GET / HTTP/1.0\r\nA: b\r\n");
    run_idle(e);
    expect_log(e, "");
    say("\r");
    run_idle(e);
    expect_log(e, "");
    say("\nrest");
    run_idle(e);
    expect_log(e, "a read 0 24 GET / HTTP/1.0\r\nA: b\r\n\r\n\n");
    cr_assert_eq(weir_read_bytes(a.s, 4, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 4 rest\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

ON_ALL_LAYERS(stream_pattern, more_digits_might_follow)
{
    open_pair(e, NULL, &a, &b);
    read_pattern("[0-9]+", 0);
    say("x12");
    run_idle(e);
    expect_log(e, "");
    say("34.");
    run_idle(e);
    expect_log(e, "a read 0 5 x1234\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

ON_ALL_LAYERS(stream_pattern, the_end_of_the_input_decides)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    open_pair(e, &opt, &a, &b);
    read_pattern("[0-9]+$", 0);
    say("x1234");
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_shutdown(b.s), 0);
    run_idle(e);
    expect_log(e, "a read 0 5 x1234\n");
    read_pattern("x", 0);
    run_idle(e);
    expect_log(e, "a read WEIR_EOF\n");
    close_pair(e, &a, &b);
    expect_lines(&a, "a closed 0\n");
    expect_lines(&b, "b closed 0\n");
}

ON_ALL_LAYERS(stream_pattern, a_pattern_that_passes_its_limit_closes_the_stream)
{
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(b.s, NULL, NULL);
    read_pattern("z", 4);
    say("abcde");
    run_until(e, &a.closed, 1);
    expect_log(e, "a read WEIR_EUNSATISFIABLE\na closed WEIR_EUNSATISFIABLE\n");
    weir_stream_close(b.s, WEIR_CLOSE_NOW);
    run_idle(e);
}

ON_ALL_LAYERS(stream_pattern, or_leaves_the_bytes_if_limits_keep)
{
    struct weir_stream_options opt = {.size = sizeof opt, .limit_keeps = 1};
    open_pair(e, &opt, &a, &b);
    read_pattern("z", 4);
    say("abcde");
    run_idle(e);
    expect_log(e, "a read WEIR_EUNSATISFIABLE\n");
    cr_assert_eq(weir_read_bytes(a.s, 5, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 5 abcde\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

ON_ALL_LAYERS(stream_pattern, frames_come_whole)
{
    struct weir_frame frame = {.size = sizeof frame, .offset = 1, .width = 2};
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_frame(a.s, &frame, on_read, &a), 0);
    cr_assert_eq(weir_write(b.s, "t\0", 2, NULL, NULL), 0);
    run_idle(e);
    cr_assert_eq(weir_write(b.s, "\5hel", 4, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "");
    say("lo+");
    run_idle(e);
    cr_assert(strstr(e->log, "a read 0 8 t"));
    e->log_len = 0;
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 1 +\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

ON_ALL_LAYERS(stream_pattern, a_frame_that_is_too_long_is_told_by_its_header)
{
    struct weir_stream_options opt = {.size = sizeof opt, .limit_keeps = 1};
    struct weir_frame frame = {.size = sizeof frame, .width = 4, .max = 100}, nonsense = {.size = sizeof frame};
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_frame(a.s, &nonsense, on_read, &a), -EINVAL);
    cr_assert_eq(weir_read_frame(a.s, NULL, on_read, &a), -EINVAL);
    cr_assert_eq(weir_read_frame(a.s, &frame, on_read, &a), 0);
    cr_assert_eq(weir_write(b.s, "\0\0\0\x61", 4, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "a read WEIR_EUNSATISFIABLE\n");
    frame.adjust = -0x62;
    cr_assert_eq(weir_read_frame(a.s, &frame, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read EBADMSG\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}
