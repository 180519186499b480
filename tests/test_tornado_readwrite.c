/* Tornado's tests of plain reading and writing (its class TestReadWriteMixin, the part about data), on all three
 * worlds. "a" writes and "b" reads. */
#include <errno.h>
#include <string.h>

#include "helpers_tornado.h"
#include "match.h"

ON_ALL_LAYERS(tornado, test_write_zero_bytes)
{
    struct party a, b;
    struct weir_loop_stats before, after;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, "", 0, on_wrote, &a), 0);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_eq(facts_of(&a).writing, 0);
    /* It waits for nothing now: turns hand nothing over and serve nothing. */
    weir_loop_stats(e->loop, &before, sizeof before);
    run_idle(e);
    weir_loop_stats(e->loop, &after, sizeof after);
    cr_assert_eq(after.submitted, before.submitted);
    cr_assert_eq(after.completed, before.completed);
    close_pair(e, &a, &b);
}

/* There a search begins at the front again for every packet, and a test with a clock guards its time. Ours counts the
 * bytes that were looked at: never more than three times each. And ours differs: a read_until without a limit of its
 * own has one of 65536 bytes, not max_buffer_size. */
ON_ALL_LAYERS(tornado, test_large_read_until)
{
    enum { PIECES = 4096, PIECE = 1024, ALL = PIECES * PIECE + 2 };
    static char piece[PIECE];
    struct party a, b;
    struct weir_loop_stats stats;
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 2 * ALL, .max_write_buffer_size = 2 * ALL};
    open_pair(e, &opt, &a, &b);
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < PIECES; i++)
        cr_assert_eq(weir_write(a.s, piece, sizeof piece, NULL, NULL), 0);
    send_text(&a, "\r\n");
    uint64_t looked = wr_match_looked;
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 2 * ALL, on_read, &b), 0);
    while (facts_of(&b).reading)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    expect_log(e, "b read 0 4194306 \n");
    cr_assert_leq(wr_match_looked - looked, 3 * (uint64_t)ALL);
    weir_loop_stats(e->loop, &stats, sizeof stats);
    cr_assert_leq(stats.copied_in, 4 * (uint64_t)ALL, "the buffer was moved %lu times",
                  (unsigned long)(stats.copied_in / ALL));
    close_pair(e, &a, &b);
}

/* ---- test_write_memoryview: memory that others share, lent and taken in parts ---- */

enum { LENT = 1 << 20, LENT_PIECE = 30011, TAKEN_PIECE = 7001 };

struct lender {
    struct party a, b;
    unsigned char memory[LENT];
    size_t lent, released, taken;
};

static void lent_back(const void *data, size_t len, void *arg)
{
    struct lender *t = arg;
    cr_assert_eq(data, (const void *)(t->memory + t->released), "released in order, each once");
    expect_bytes(data, t->released, len);
    memset(t->memory + t->released, 0xee, len); /* it is ours again */
    t->released += len;
}

static void took(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct lender *t = arg;
    cr_assert_eq(status, 0);
    expect_bytes(view.data, t->taken, view.len);
    t->taken += view.len;
    size_t left = LENT - t->taken;
    if (left > 0)
        cr_assert_eq(weir_read_bytes(s, left < TAKEN_PIECE ? left : TAKEN_PIECE, took, t), 0);
    else
        t->b.closed = 1;
}

ON_ALL_LAYERS(tornado, test_write_memoryview)
{
    static struct lender t;
    t = (struct lender){.lent = 0};
    open_narrow_pair(e, NULL, &t.a, &t.b);
    fill_bytes(t.memory, 0, LENT);
    for (size_t len; t.lent < LENT; t.lent += len) {
        len = LENT - t.lent < LENT_PIECE ? LENT - t.lent : LENT_PIECE;
        cr_assert_eq(weir_write_ref(t.a.s, t.memory + t.lent, len, lent_back, NULL, &t), 0);
    }
    cr_assert_eq(weir_read_bytes(t.b.s, TAKEN_PIECE, took, &t), 0);
    run_until(e, &t.b.closed, 1);
    cr_assert_eq(t.taken, LENT);
    run_idle(e);
    cr_assert_eq(t.released, LENT);
    t.b.closed = 0;
    close_pair(e, &t.a, &t.b);
}

/* What Tornado calls partial is a call of its own here. Ours differs: 0 asks it for whatever has come; who wants
 * nothing asks weir_read_bytes for that. */
ON_ALL_LAYERS(tornado, test_read_bytes_partial)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_some(b.s, 50, on_read, &b), 0);
    send_text(&a, "hello");
    run_idle(e);
    expect_log(e, "b read 0 5 hello\n");
    cr_assert_eq(weir_read_some(b.s, 3, on_read, &b), 0);
    send_text(&a, "world");
    run_idle(e);
    expect_log(e, "b read 0 3 wor\n");
    cr_assert_eq(weir_read_bytes(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 0 \n");
    cr_assert_eq(weir_read_some(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 2 ld\n");
    cr_assert_eq(weir_read_bytes(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 0 \n");     /* with nothing buffered, either */
    close_pair(e, &a, &b);
}

/* Of Tornado's class of TLS upgrades, but about plain writes: what is counted is bytes, whatever they are made of. */
ON_ALL_LAYERS(tornado, test_typed_memoryview)
{
    enum { WORDS = 1000 };
    static uint64_t words[WORDS];
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    for (size_t i = 0; i < WORDS; i++)
        words[i] = i * 0x0123456789abcdefu;
    cr_assert_eq(weir_write(a.s, words, sizeof words, on_wrote, &a), 0);
    cr_assert_eq(facts_of(&a).queued, 8 * WORDS);
    cr_assert_eq(weir_read_bytes(b.s, 8 * WORDS, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\nb read 0 8000 \n");
    cr_assert_eq(facts_of(&a).queued, 0);
    cr_assert_geq(facts_of(&a).bytes_out, 8 * WORDS);
    close_pair(e, &a, &b);
}

/* ---- test_future_write: ten producers on one stream, each with one write at a time ---- */

enum { PRODUCERS = 10, WRITES = 1000, WRITE = 5000 };

struct producer {
    struct party *a;
    int done;
    int *all_done;
};

static unsigned char product[WRITE];

static void produce(struct producer *p);

static void produced(struct weir_stream *s, int status, void *arg)
{
    struct producer *p = arg;
    cr_assert_eq(s, p->a->s);
    cr_assert_eq(status, 0);
    ++*p->all_done;
    if (++p->done < WRITES)
        produce(p);
}

static void produce(struct producer *p)
{
    cr_assert_eq(weir_write(p->a->s, product, sizeof product, produced, p), 0);
}

static void consume(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    size_t *got = arg;
    (void)s;
    if (status != 0)
        return;
    for (size_t at = 0, len; at < view.len; at += len) {
        size_t place = (*got + at) % WRITE;
        len = wr_min(view.len - at, WRITE - place);
        cr_assert_eq(memcmp((const char *)view.data + at, product + place, len), 0);
    }
    *got += view.len;
}

ON_ALL_LAYERS(tornado, test_future_write)
{
    struct party a, b;
    struct producer producers[PRODUCERS];
    int all_done = 0;
    size_t got = 0;
    open_pair(e, NULL, &a, &b);
    fill_bytes(product, 0, sizeof product);
    cr_assert_eq(weir_read_start(b.s, consume, &got), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.a = &a, .all_done = &all_done};
        produce(&producers[i]);
    }
    run_until(e, &all_done, PRODUCERS * WRITES);
    run_idle(e);
    cr_assert_eq(got, (size_t)PRODUCERS * WRITES * WRITE);
    for (int i = 0; i < PRODUCERS; i++)
        cr_assert_eq(producers[i].done, WRITES, "a write was never told of");
    close_pair(e, &a, &b);
}
