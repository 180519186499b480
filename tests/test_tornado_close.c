/* Tornado's tests of how reading and closing meet (its class TestReadWriteMixin, the part about the end), on all three
 * worlds. "a" writes and "b" reads.
 *
 * Ours differs in one thing throughout: there the close callback may come while bytes are unread, and the stream stays
 * readable after it. Here on_close is the last of all callbacks: the peer's end is not told before the bytes that came
 * ahead of it are read, and after on_close the stream is gone. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

ON_ALL_LAYERS(tornado, test_future_delayed_close_callback)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "12");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_idle(e);
    expect_log(e, "b read 0 1 1\na closed 0\n");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 1 2\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* How much is received at once is the loop's matter here, not the stream's. */
ON_ALL_LAYERS(tornado, test_close_buffered_data)
{
    enum { CHUNK = 256 };
    char bytes[2 * CHUNK];
    struct party a, b;
    reopen_with_buffers(e, 0, CHUNK);
    open_pair(e, NULL, &a, &b);
    memset(bytes, 'A', sizeof bytes);
    cr_assert_eq(weir_write(a.s, bytes, sizeof bytes, on_wrote, &a), 0);
    run_idle(e);
    cr_assert_eq(weir_read_bytes(b.s, CHUNK, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\nb read 0 256 \n");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_idle(e);
    expect_log(e, "a closed 0\n");
    cr_assert_eq(weir_read_bytes(b.s, CHUNK, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 256 \nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_read_until_close_after_close)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "1234");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_idle(e);
    expect_log(e, "b read 0 1 1\na closed 0\n");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read 0 3 234\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

static void send_then_close(struct env *e, struct party *a, const char *first, const char *second)
{
    send_text(a, first);
    run_idle(e);
    send_text(a, second);
    cr_assert_eq(weir_stream_close(a->s, WEIR_CLOSE_FLUSH), 0);
}

/* A long first packet, so that a search that waits for the buffer to double would miss the delimiter. */
static void fill_packet(char packet[2049])
{
    memset(packet, 'x', 2048);
    packet[2048] = '\0';
}

ON_ALL_LAYERS(tornado, test_read_until_with_close_after_second_packet)
{
    char packet[2049];
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    fill_packet(packet);
    cr_assert_eq(weir_read_until(b.s, "done", 4, 0, on_read, &b), 0);
    send_then_close(e, &a, packet, "done");
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    cr_assert(strstr(e->log, "b read 0 2052 \nb closed WEIR_EOF\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* What failed is the stream, not the read's limit. */
ON_ALL_LAYERS(tornado, test_read_until_unsatisfied_after_close)
{
    char packet[2049];
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    fill_packet(packet);
    cr_assert_eq(weir_read_until(b.s, "done", 4, 2052, on_read, &b), 0);
    send_then_close(e, &a, packet, "DONE");
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b read WEIR_EOF\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* The read is answered first: in 2.x it never was, and on_close was all that came. */
ON_ALL_LAYERS(tornado, test_close_callback_with_pending_read)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "OK\r\n");
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 OK\r\n\n");
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b read WEIR_EOF\nb closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(tornado, test_future_close_callback)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "a");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 1 a\n");
    cr_assert_eq(facts_of(&b).reading, 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    cr_assert_eq(e->closes, 2);
    cr_assert_eq(b.reason, WEIR_EOF);
    close_pair(e, &a, &b);
}
