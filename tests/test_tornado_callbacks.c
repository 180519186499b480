/* Tornado's tests of the days of callbacks (2.1 to 5.1), where the modern ones have lost them, on all three worlds. "a"
 * writes and "b" reads.
 *
 * Ours differs: there are no streaming callbacks, which call for every chunk and then once more with nothing. Who wants
 * a known number of bytes chunk by chunk asks weir_read_some for what is left, who wants all of them weir_read_start,
 * whose last call gives the reason. And on_close is the last of all callbacks: there it could come while bytes were
 * unread, and the stream stayed readable. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

/* ---- A known number of bytes, chunk by chunk ---- */

struct streaming {
    struct party *p;
    size_t left;
    weir_read_fn *final;    /* called with nothing behind the last chunk, if not NULL */
};

static void on_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct streaming *t = arg;
    on_read(s, status, view, t->p);
    cr_assert_leq(view.len, t->left);
    t->left -= view.len;
    if (t->left > 0)
        cr_assert_eq(weir_read_some(s, t->left, on_chunk, t), 0);
    else if (t->final)
        cr_assert_eq(weir_read_bytes(s, 0, t->final, t->p), 0);
}

static void stream_six_bytes(struct env *e, weir_read_fn *final)
{
    struct party a, b;
    struct streaming t = {.p = &b, .left = 6, .final = final};
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_some(b.s, t.left, on_chunk, &t), 0);
    send_text(&a, "1234");
    run_idle(e);
    expect_log(e, "b read 0 4 1234\n");
    send_text(&a, "5678");
    run_idle(e);
    expect_log(e, final ? "b read 0 2 56\nb read 0 0 \n" : "b read 0 2 56\n");
    cr_assert_eq(weir_read_bytes(b.s, 2, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 2 78\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_streaming_callback)
{
    stream_six_bytes(e, NULL);
}

ON_ALL_LAYERS(tornado, test_streaming_callback_with_final_callback)
{
    stream_six_bytes(e, on_read);
}

/* ---- All chunks until the end ---- */

ON_ALL_LAYERS(tornado, test_streaming_callback_with_data_in_buffer)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "abcd\r\nefgh");
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 6 abcd\r\n\n");
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "b read 0 4 efgh\n");     /* with nothing new from a */
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_streaming_until_close)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    send_text(&a, "1234");
    run_idle(e);
    expect_log(e, "b read 0 4 1234\n");
    send_text(&a, "5678");
    run_idle(e);
    expect_log(e, "b read 0 4 5678\n");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b read WEIR_EOF\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

static void next_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    if (status == 0)
        cr_assert_eq(weir_read_some(s, 0, next_chunk, arg), 0);
}

/* With a Future for the end: the status of the last of many reads. */
ON_ALL_LAYERS(tornado, test_streaming_until_close_future)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_some(b.s, 0, next_chunk, &b), 0);
    send_text(&a, "1234");
    run_idle(e);
    send_text(&a, "5678");
    run_idle(e);
    expect_log(e, "b read 0 4 1234\nb read 0 4 5678\n");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b read WEIR_EOF\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* ---- The end ---- */

/* There the close callback has run before the stream is read to its end; here the peer's close has been felt. */
static void close_peer(struct env *e, struct party *a)
{
    cr_assert_eq(weir_stream_close(a->s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a->closed, 1);
    run_idle(e);
    expect_log(e, "a closed 0\n");
}

ON_ALL_LAYERS(tornado, test_streaming_read_until_close_after_close)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "1234");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 1 1\n");
    close_peer(e, &a);
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 3 234\nb read WEIR_EOF\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* Nothing was ever read of it, and it is whole. */
ON_ALL_LAYERS(tornado, test_read_until_close_after_close)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "1234");
    run_idle(e);
    close_peer(e, &a);
    cr_assert_eq(b.closed, 0);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 4 1234\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_close_buffered_data)
{
    enum { CHUNK = 256 };
    char bytes[2 * CHUNK];
    struct party a, b;
    reopen_with_buffers(e, 0, CHUNK);
    open_pair(e, NULL, &a, &b);
    memset(bytes, 'A', sizeof bytes);
    cr_assert_eq(weir_write(a.s, bytes, sizeof bytes, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(b.s, CHUNK, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 256 \n");
    close_peer(e, &a);
    cr_assert_eq(b.closed, 0);
    cr_assert_eq(weir_read_bytes(b.s, CHUNK, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 256 \nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

struct delayed {
    struct party a, b;
};

static void second_byte(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct delayed *t = arg;
    on_read(s, status, view, &t->b);
}

static void first_byte(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct delayed *t = arg;
    on_read(s, status, view, &t->b);
    cr_assert_eq(weir_read_bytes(s, 1, second_byte, t), 0);
    cr_assert_eq(weir_stream_close(t->a.s, WEIR_CLOSE_NOW), 0);
}

ON_ALL_LAYERS(tornado, test_delayed_close_callback)
{
    struct delayed t;
    open_pair(e, NULL, &t.a, &t.b);
    send_text(&t.a, "12");
    run_idle(e);
    cr_assert_eq(weir_read_bytes(t.b.s, 1, first_byte, &t), 0);
    run_until(e, &t.b.closed, 1);
    run_until(e, &t.a.closed, 1);
    const char *second = strstr(e->log, "b read 0 1 2\n");
    cr_assert_eq(strncmp(e->log, "b read 0 1 1\n", 13), 0, "%s", e->log);
    cr_assert(second && strstr(second, "b closed WEIR_EOF\n"), "%s", e->log);
    close_pair(e, &t.a, &t.b);
}

/* ---- Errors ---- */

static void fails(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_NOW), 0);
}

/* There an exception in a callback is logged, and closes the stream with itself for a reason. C has none: a callback
 * that cannot go on closes the stream itself, and on_close tells that it was closed here. */
ON_ALL_LAYERS(tornado, test_read_callback_error)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 2, fails, &b), 0);
    cr_assert_eq(weir_write(b.s, "late", 4, NULL, NULL), 0);
    send_text(&a, "12and more");
    run_until(e, &b.closed, 1);
    cr_assert_eq(b.reason, 0);
    expect_log(e, "b read 0 2 12\nb closed 0\n");
    close_pair(e, &a, &b);
}

/* There the read's callback never came, only the close callback. Here both come, with the same reason. */
ON_ALL_LAYERS(tornado, test_read_until_max_bytes_inline_legacy)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "123456");
    run_idle(e);
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    expect_log(e, "");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* There the connect callback never came. Here all that waits is told, in this order: read, writes, connect, close. */
ON_ALL_WORLDS(tornado, test_connection_refused_legacy)
{
    struct party a = {.env = e, .name = "a"};
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &a};
    cr_assert_eq(weir_addr_parse("127.0.0.1:1", &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    cr_assert_eq(weir_write(a.s, "early", 5, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ECONNREFUSED\na wrote ECONNREFUSED\na connected ECONNREFUSED\na closed ECONNREFUSED\n");
}
