/* Tornado's tests of reading into the caller's memory (its class TestReadWriteMixin, of 5.0), on all three worlds. "a"
 * writes and "b" reads. The last two are where ours goes beyond. */
#include <errno.h>
#include <string.h>

#include "helpers_case.h"
#include "helpers_tornado.h"
#include "mem.h"

struct into {
    struct party a, b;
    char memory[32];
};

static void got_into(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct into *t = arg;
    cr_assert_eq(view.data, (const void *)t->memory, "the view is the caller's own memory");
    on_read(s, status, view, &t->b);
}

static void read_into(struct into *t, size_t len, int partial)
{
    memset(t->memory, '.', sizeof t->memory);
    cr_assert_eq(weir_read_into(t->b.s, t->memory, len, partial, got_into, t), 0);
}

ON_ALL_LAYERS(tornado, test_read_into)
{
    struct into t;
    open_pair(e, NULL, &t.a, &t.b);
    read_into(&t, 10, 0);
    send_text(&t.a, "first");
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(facts_of(&t.b).reading, 1);
    send_text(&t.a, "_then??");
    run_idle(e);
    expect_log(e, "b read 0 10 first_then\n");
    /* What was left over comes first, */
    read_into(&t, 10, 0);
    run_idle(e);
    expect_log(e, "");
    send_text(&t.a, "0123456789");
    run_idle(e);
    expect_log(e, "b read 0 10 ??01234567\n");
    /* and may do alone. */
    read_into(&t, 2, 0);
    run_idle(e);
    expect_log(e, "b read 0 2 89\n");
    cr_assert_eq(memcmp(t.memory, "89....", 6), 0);
    send_text(&t.a, "abcdefg");
    read_into(&t, 4, 0);
    run_idle(e);
    cr_assert_eq(weir_read_bytes(t.b.s, 3, on_read, &t.b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 abcd\nb read 0 3 efg\n");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(tornado, test_read_into_partial)
{
    struct into t;
    open_pair(e, NULL, &t.a, &t.b);
    read_into(&t, 10, 1);
    send_text(&t.a, "first");
    run_idle(e);
    expect_log(e, "b read 0 5 first\n");
    cr_assert_eq(memcmp(t.memory, "first.....", 10), 0, "the rest is untouched");
    send_text(&t.a, "more than ten.56");
    run_idle(e);
    read_into(&t, 10, 1);
    run_idle(e);
    expect_log(e, "b read 0 10 more than \n");
    cr_assert_eq(t.memory[10], '.');
    read_into(&t, 10, 1);
    run_idle(e);
    expect_log(e, "b read 0 6 ten.56\n");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(tornado, test_read_into_zero_bytes)
{
    struct into t;
    open_pair(e, NULL, &t.a, &t.b);
    read_into(&t, 0, 0);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "b read 0 0 \n");
    cr_assert_eq(t.memory[0], '.');
    close_pair(e, &t.a, &t.b);
}

/* ---- test_many_mixed_reads ---- */

enum { MIXED = 1 << 20, MIXED_PIECE = 10000 };

struct mixed {
    struct party a, b;
    size_t got;
    unsigned char memory[MIXED_PIECE];
};

static void read_mixed(struct mixed *t);

static void got_mixed(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct mixed *t = arg;
    cr_assert_eq(s, t->b.s);
    cr_assert_eq(status, 0);
    expect_bytes(view.data, t->got, view.len);
    t->got += view.len;
    if (t->got == MIXED)
        t->b.closed = 1;
    else
        read_mixed(t);
}

static void read_mixed(struct mixed *t)
{
    size_t len = wr_min(1 + draw(MIXED_PIECE), MIXED - t->got);
    if (draw(2))
        cr_assert_eq(weir_read_bytes(t->b.s, len, got_mixed, t), 0);
    else
        cr_assert_eq(weir_read_into(t->b.s, t->memory, len, 0, got_mixed, t), 0);
}

ON_ALL_LAYERS(tornado, test_many_mixed_reads)
{
    static unsigned char bytes[MIXED];
    static struct mixed t;
    t = (struct mixed){.got = 0};
    draw_from(42);
    open_pair(e, NULL, &t.a, &t.b);
    fill_bytes(bytes, 0, MIXED);
    for (size_t at = 0, len; at < MIXED; at += len) {
        len = wr_min(1 + draw(MIXED_PIECE), MIXED - at);
        cr_assert_eq(weir_write(t.a.s, bytes + at, len, NULL, NULL), 0);
    }
    read_mixed(&t);
    run_until(e, &t.b.closed, 1);
    t.b.closed = 0;
    close_pair(e, &t.a, &t.b);
}

/* ---- Beyond Tornado ---- */

/* There it counts for nothing what was placed before the failure, and the memory stays with the stream. */
ON_ALL_LAYERS(beyond_tornado, a_failed_read_into_tells_what_it_placed)
{
    struct into t;
    open_pair(e, NULL, &t.a, &t.b);
    read_into(&t, 10, 0);
    send_text(&t.a, "some");
    cr_assert_eq(weir_stream_close(t.a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &t.a.closed, 1);
    run_until(e, &t.b.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EOF 4 some\nb closed WEIR_EOF\n"), "%s", e->log);
    cr_assert_eq(memcmp(t.memory, "some......", 10), 0);
}

/* There the limit counts the caller's own memory too. */
ON_ALL_LAYERS(beyond_tornado, read_into_may_be_larger_than_the_buffer)
{
    struct into t;
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 8};
    open_pair(e, &opt, &t.a, &t.b);
    send_text(&t.a, "more than eight bytes");
    read_into(&t, 21, 0);
    run_idle(e);
    expect_log(e, "b read 0 21 more than eight bytes\n");
    close_pair(e, &t.a, &t.b);
}
