/* Tornado's tests of a stream that talks to a web server (its class TestIOStreamWeb), on all three worlds. Here the
 * server is a weir listener on the same loop. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

ON_ALL_LAYERS(tornado, test_connection_closed)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    send_text(&a, WEB_GET_ONE);
    cr_assert_eq(weir_read_bytes(a.s, strlen(WEB_ANSWER), on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na read 0 38 " WEB_ANSWER "\na closed WEIR_EOF\n");
    web_close(&w, &a);
}

ON_ALL_LAYERS(tornado, test_read_until_close)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    send_text(&a, WEB_GET_ONE);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na read 0 38 " WEB_ANSWER "\na closed WEIR_EOF\n");
    web_close(&w, &a);
}

ON_ALL_LAYERS(tornado, test_read_zero_bytes)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    send_text(&a, WEB_GET);
    cr_assert_eq(weir_read_bytes(a.s, 9, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a connected 0\na read 0 9 HTTP/1.1 \n");
    cr_assert_eq(weir_read_bytes(a.s, 0, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 0 \n");
    cr_assert_eq(weir_read_bytes(a.s, 3, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 3 200\n");
    web_close(&w, &a);
}

ON_ALL_LAYERS(tornado, test_write_while_connecting)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    cr_assert_eq(weir_write(a.s, WEB_GET_ONE, strlen(WEB_GET_ONE), on_wrote, &a), 0);
    cr_assert_eq(facts_of(&a).queued, strlen(WEB_GET_ONE));
    expect_log(e, "");
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na wrote 0\na read 0 38 " WEB_ANSWER "\na closed WEIR_EOF\n");
    web_close(&w, &a);
}

/* ---- test_future_interface: each step is asked for in the callback of the one before ---- */

static void got_body(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_NOW), 0);
}

static void got_headers(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    cr_assert_eq(weir_read_bytes(s, strlen(WEB_BODY), got_body, arg), 0);
}

static void got_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    cr_assert_eq(weir_read_until(s, "\r\n\r\n", 4, 0, got_headers, arg), 0);
}

static void got_connected(struct weir_stream *s, int status, void *arg)
{
    struct party *p = arg;
    cr_assert_eq(s, p->s, "what connects is the stream itself");
    on_connect(s, status, arg);
    send_text(p, WEB_GET);
    cr_assert_eq(weir_read_until(s, "\r\n", 2, 0, got_line, arg), 0);
}

ON_ALL_LAYERS(tornado, test_future_interface)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, got_connected);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na read 0 17 " WEB_LINE "\na read 0 16 " WEB_HEADERS "\na read 0 5 " WEB_BODY
                  "\na closed 0\n");
    web_close(&w, &a);
}

/* The read fails with the reason; the bytes that came are not given, as they are fewer than were asked for. */
ON_ALL_LAYERS(tornado, test_future_close_while_reading)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    send_text(&a, WEB_GET_ONE);
    cr_assert_eq(weir_read_bytes(a.s, 1024 * 1024, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na read WEIR_EOF\na closed WEIR_EOF\n");
    web_close(&w, &a);
}

static void read_after_close(struct weir_stream *s, int reason, void *arg)
{
    cr_assert_eq(weir_read_bytes(s, 1, on_read, arg), WEIR_ECLOSED);
    on_close(s, reason, arg);
}

/* A read after the end fails in the call itself, as there; the handle is good until on_close returns. */
ON_ALL_LAYERS(tornado, test_future_read_until_close)
{
    struct web w;
    struct party a;
    web_open(&w, e);
    web_connect(&w, &a, on_connect);
    weir_stream_on_close(a.s, read_after_close, &a);
    send_text(&a, WEB_GET_ONE);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na read 0 38 " WEB_ANSWER "\na closed WEIR_EOF\n");
    web_close(&w, &a);
}
