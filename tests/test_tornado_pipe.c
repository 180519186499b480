/* Tornado's tests of pipes (its class TestPipeIOStream), on all three worlds. "w" writes and "r" reads. */
#include <string.h>

#include "helpers_tornado.h"

ON_ALL_WORLDS(tornado, test_pipe_iostream)
{
    struct party r, w;
    open_pipe(e, &r, &w);
    send_text(&w, "one t");
    send_text(&w, "wo three");
    cr_assert_eq(weir_read_until(r.s, " ", 1, 0, on_read, &r), 0);
    run_idle(e);
    expect_log(e, "r read 0 4 one \n");
    cr_assert_eq(weir_read_bytes(r.s, 3, on_read, &r), 0);
    run_idle(e);
    expect_log(e, "r read 0 3 two\n");
    cr_assert_eq(weir_stream_close(w.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &w.closed, 1);
    expect_log(e, "w closed 0\n");
    cr_assert_eq(weir_read_until_close(r.s, on_read, &r), 0);
    run_until(e, &r.closed, 1);
    expect_log(e, "r read 0 6  three\nr closed WEIR_EOF\n");
    close_pair(e, &r, &w);
}

static void got_big(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    expect_bytes(view.data, 0, view.len);
    on_read(s, status, view, arg);
}

ON_ALL_WORLDS(tornado, test_pipe_iostream_big_write)
{
    enum { BIG = 1 << 20 };
    static unsigned char bytes[BIG];
    struct party r, w;
    open_pipe(e, &r, &w);
    fill_bytes(bytes, 0, BIG);
    cr_assert_eq(weir_write(w.s, bytes, BIG, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(r.s, BIG, got_big, &r), 0);
    run_until_log(e, "r read 0 1048576 \n");
    close_pair(e, &r, &w);
}
