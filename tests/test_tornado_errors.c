/* Tornado's tests of errors (its class TestIOStreamMixin), on all three worlds. "a" writes and "b" reads.
 *
 * There a read that meets an error at once raises it from the call, one that waits tells the log, and read_until_close
 * takes what came before an error for all there was. Ours is one rule: the call returns 0, the callback gets the error
 * once, on_close gets the same, nothing is printed, and bytes that came are never passed off as a success. There the
 * tests put broken pieces into the stream; here its peer resets the connection. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

static void on_close_with_facts(struct weir_stream *s, int reason, void *arg)
{
    cr_assert_eq(facts_of(arg).error, reason, "the error is kept");
    on_close(s, reason, arg);
}

static void connect_in_vain(struct env *e, struct party *a, const char *where)
{
    struct sockaddr_storage addr;
    socklen_t len;
    *a = (struct party){.env = e, .name = "a"};
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close_with_facts, .on_close_arg = a};
    cr_assert_eq(weir_addr_parse(where, &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, a, &a->s), 0);
    expect_log(e, "");
    run_until(e, &a->closed, 1);
}

ON_ALL_WORLDS(tornado, test_connection_refused)
{
    struct party a;
    connect_in_vain(e, &a, "127.0.0.1:1");
    expect_log(e, "a connected ECONNREFUSED\na closed ECONNREFUSED\n");
}

/* Names that nobody has: a host's is no address, a path is one. */
ON_ALL_WORLDS(tornado, test_gaierror)
{
    struct party a;
    struct sockaddr_storage addr;
    socklen_t len;
    cr_assert_eq(weir_addr_parse("an invalid domain:54321", &addr, &len), -EINVAL);
    connect_in_vain(e, &a, "unix:/no/such/path");
    expect_log(e, "a connected ENOENT\na closed ENOENT\n");
}

ON_ALL_LAYERS(tornado, test_read_until_close_with_error)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    send_text(&a, "part");
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read ECONNRESET 4 part\nb closed ECONNRESET\n"), "%s", e->log);
}

/* The error is there before the read is asked for, and the loop has not seen it yet. */
ON_ALL_LAYERS(tornado, test_inline_read_error)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(b.s, on_close_with_facts, &b);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    expect_log(e, "");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read ECONNRESET\nb closed ECONNRESET\n"), "%s", e->log);
}

/* The read waits when the error comes. It is told once, and not in words. */
ON_ALL_LAYERS(tornado, test_async_read_error_logging)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(b.s, on_close_with_facts, &b);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    const char *told = strstr(e->log, "b read ");
    cr_assert(told && strncmp(told, "b read ECONNRESET\nb closed ECONNRESET\n", 38) == 0, "%s", e->log);
    cr_assert_null(strstr(told + 1, "b read "));
    cr_assert_eq(e->closes, 2);
}
