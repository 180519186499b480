/* Tornado's tests of limits (its class TestReadWriteMixin, the part about max_bytes and max_buffer_size), on all three
 * worlds. "a" writes and "b" reads.
 *
 * Ours differs in what is told: there the stream logs that a read cannot be satisfied and closes, and the read sees
 * only that. Here the read itself gets WEIR_EUNSATISFIABLE, and on_close the same. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"

ON_ALL_LAYERS(tornado, test_read_until_max_bytes)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_until(b.s, "def", 3, 50, on_read, &b), 0);
    send_text(&a, "abcdef");
    run_idle(e);
    expect_log(e, "b read 0 6 abcdef\n");
    cr_assert_eq(weir_read_until(b.s, "def", 3, 6, on_read, &b), 0);
    send_text(&a, "abcdef");
    run_idle(e);
    expect_log(e, "b read 0 6 abcdef\n");
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    send_text(&a, "12345");
    run_idle(e);
    expect_log(e, "");      /* as many as are allowed, and not told before one more has come */
    send_text(&a, "6");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* The bytes are there when the read is asked for: the call does not fail, the callback does. */
ON_ALL_LAYERS(tornado, test_read_until_max_bytes_inline)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "_123456");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 1 _\n");
    cr_assert_eq(facts_of(&b).buffered, 6);
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    expect_log(e, "");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* The delimiter came, in the same packet, but it ends behind the limit. */
ON_ALL_LAYERS(tornado, test_read_until_max_bytes_ignores_extra)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "abcdef");
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* ---- Small reads while far more than max_buffer_size is there ---- */

enum { SMALL_MAX = 10 * 1024, SMALL = 1024, SMALL_READS = 100 };

struct small {
    struct party a, b;
    int reads;
};

static void open_small(struct env *e, struct small *t)
{
    static char line[SMALL];
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = SMALL_MAX};
    *t = (struct small){.reads = 0};
    open_pair(e, &opt, &t->a, &t->b);
    memset(line, 'a', sizeof line);
    line[SMALL - 1] = '\n';
    for (int i = 0; i < SMALL_READS; i++)
        cr_assert_eq(weir_write(t->a.s, line, sizeof line, NULL, NULL), 0);
    run_idle(e);
}

static void small_bytes(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct small *t = arg;
    cr_assert_eq(status, 0, "after %d: %s", t->reads, weir_strerror(status));
    cr_assert_eq(view.len, SMALL);
    if (++t->reads < SMALL_READS)
        cr_assert_eq(weir_read_bytes(s, SMALL, small_bytes, t), 0);
}

ON_ALL_LAYERS(tornado, test_small_reads_from_large_buffer)
{
    struct small t;
    open_small(e, &t);
    cr_assert_eq(weir_read_bytes(t.b.s, SMALL, small_bytes, &t), 0);
    run_until(e, &t.reads, SMALL_READS);
    close_pair(e, &t.a, &t.b);
}

static void small_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct small *t = arg;
    cr_assert_eq(status, 0, "after %d: %s", t->reads, weir_strerror(status));
    cr_assert_eq(view.len, SMALL);
    if (++t->reads < SMALL_READS)
        cr_assert_eq(weir_read_until(s, "\n", 1, 4096, small_line, t), 0);
}

ON_ALL_LAYERS(tornado, test_small_read_untils_from_large_buffer)
{
    struct small t;
    open_small(e, &t);
    cr_assert_eq(weir_read_until(t.b.s, "\n", 1, 4096, small_line, &t), 0);
    run_until(e, &t.reads, SMALL_READS);
    close_pair(e, &t.a, &t.b);
}

/* ---- test_flow_control ---- */

enum { MIB = 1024 * 1024, FLOW = 10 };

static void flowed(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct small *t = arg;
    cr_assert_eq(status, 0);
    expect_bytes(view.data, (size_t)t->reads * MIB, view.len);
    if (++t->reads > 1 && t->reads < FLOW)
        cr_assert_eq(weir_read_bytes(s, MIB, flowed, t), 0);
}

/* There the reader sleeps for a moment in the middle; here until nothing moves any more, which is the fact itself:
 * who does not read stops who writes, and keeps no more than its limit. */
ON_ALL_LAYERS(tornado, test_flow_control)
{
    static unsigned char bytes[FLOW * MIB];
    struct small t = {.reads = 0};
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 5 * MIB,
                                      .max_write_buffer_size = FLOW * MIB};
    open_narrow_pair(e, &opt, &t.a, &t.b);
    fill_bytes(bytes, 0, sizeof bytes);
    cr_assert_eq(weir_write(t.a.s, bytes, sizeof bytes, on_wrote, &t.a), 0);
    cr_assert_eq(weir_read_bytes(t.b.s, MIB, flowed, &t), 0);
    run_until(e, &t.reads, 1);
    run_idle(e);
    cr_assert_eq(facts_of(&t.a).writing, 1);
    cr_assert_leq(facts_of(&t.b).buffered, MIB);
    expect_log(e, "");
    cr_assert_eq(weir_read_bytes(t.b.s, MIB, flowed, &t), 0);
    run_until(e, &t.reads, FLOW);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_geq(facts_of(&t.b).bytes_in, FLOW * MIB);
    close_pair(e, &t.a, &t.b);
}
