/* Tornado's tests of reads up to a pattern. "a" writes and "b" reads. */
#include <string.h>

#include "helpers_tornado.h"

static struct weir_regex *regex(const char *pattern)
{
    struct weir_regex *r;
    int rc = weir_regex_open(pattern, strlen(pattern), &r);
    cr_assert_eq(rc, 0, "%s", weir_strerror(rc));
    return r;
}

ON_ALL_LAYERS(tornado, test_read_until_regex_max_bytes)
{
    struct party a, b;
    struct weir_regex *r = regex("d.f");
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_until_regex(b.s, r, 50, on_read, &b), 0);
    send_text(&a, "abcdef");
    run_idle(e);
    expect_log(e, "b read 0 6 abcdef\n");
    cr_assert_eq(weir_read_until_regex(b.s, r, 6, on_read, &b), 0);
    send_text(&a, "abcdef");
    run_idle(e);
    expect_log(e, "b read 0 6 abcdef\n");
    cr_assert_eq(weir_read_until_regex(b.s, r, 5, on_read, &b), 0);
    send_text(&a, "123456");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    weir_regex_close(r);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_read_until_regex_max_bytes_inline)
{
    struct party a, b;
    struct weir_regex *r = regex("d.f");
    open_pair(e, NULL, &a, &b);
    send_text(&a, "_123456");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 1 _\n");
    cr_assert_eq(weir_read_until_regex(b.s, r, 5, on_read, &b), 0);
    expect_log(e, "");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    weir_regex_close(r);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_read_until_regex_max_bytes_ignores_extra)
{
    struct party a, b;
    struct weir_regex *r = regex("d.f");
    open_pair(e, NULL, &a, &b);
    send_text(&a, "abcdef");
    cr_assert_eq(weir_read_until_regex(b.s, r, 5, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    weir_regex_close(r);
    close_pair(e, &a, &b);
}
