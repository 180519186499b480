/* Suite layer_end: layers that break, peers that flood, and files that go away: what the user is told, each test on all
 * three worlds. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helpers_layer.h"
#include "helpers_stream.h"
#include "loop.h"

TestSuite(layer_end, .timeout = 60);

enum { MUCH = 400000 };

static struct shy shy[2];
static unsigned char bulk[MUCH];

static void put_layer(struct party *p, int i)
{
    shy_init(&shy[i], (uint64_t)i + 1, 0);
    shy[i].keep = true;
    cr_assert_eq(weir_layer_attach(p->s, &shy_verbs, &shy[i]), 0);
}

/* "a" has a layer and has begun; "b" says by hand what a layer would, and reads nothing. */
static void begin_with_a_raw_peer(struct env *e, const struct weir_stream_options *opt, struct party *a,
                                  struct party *b)
{
    open_narrow_pair(e, opt, a, b);
    put_layer(a, 0);
    cr_assert_eq(weir_write(b->s, "H\0\0", 3, NULL, NULL), 0);
    run_idle(e);
    cr_assert(shy[0].heard_hello);
}

static void ignore(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)status, (void)view, (void)arg;
}

/* ---- A verb fails while the stream is on its way to the end ---- */

ON_ALL_WORLDS(layer_end, what_breaks_a_flush_fails_the_writes)
{
    struct party a, b;
    begin_with_a_raw_peer(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, bulk, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_idle(e);
    shy[0].fail[LAYER_INGEST] = -EBADMSG;
    send_text(&b, "nonsense");
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote EBADMSG\na closed EBADMSG\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(layer_end, what_breaks_after_the_peers_end_is_no_end)
{
    struct party a, b;
    begin_with_a_raw_peer(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, bulk, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_write(b.s, "B\0\0", 3, NULL, NULL), 0);
    run_idle(e);
    cr_assert(facts_of(&a).closed);
    shy[0].fail[LAYER_EMIT] = -EBADMSG;
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote EBADMSG\na closed EBADMSG\n");
    close_pair(e, &a, &b);
}

/* The bytes before what is wrong are not read, and the stream is still open, when it is closed. */
ON_ALL_WORLDS(layer_end, what_was_broken_before_a_flush_fails_the_writes)
{
    struct party a, b;
    begin_with_a_raw_peer(e, NULL, &a, &b);
    shy[0].fail[LAYER_INGEST] = -EBADMSG;
    shy[0].after[LAYER_INGEST] = shy[0].calls[LAYER_INGEST] + 1;
    cr_assert_eq(weir_write(b.s, "D\0\2\xc4\xc4", 5, NULL, NULL), 0); /* "aa" */
    run_idle(e);
    cr_assert_eq(facts_of(&a).buffered, 2);
    cr_assert_eq(weir_write(a.s, bulk, MUCH, on_wrote, &a), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote EBADMSG\na closed EBADMSG\n");
    close_pair(e, &a, &b);
}

/* What is left of the input does not keep others from receiving. */
ON_ALL_WORLDS(layer_end, a_flush_holds_no_shared_buffer)
{
    struct party a, b, c, d;
    reopen_with_buffers(e, 1, 1024);
    begin_with_a_raw_peer(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, bulk, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_idle(e);
    send_text(&b, "D\5"); /* a part of a frame */
    run_idle(e);
    open_pair(e, NULL, &c, &d);
    cr_assert_eq(weir_read_bytes(d.s, 5, on_read, &d), 0);
    send_text(&c, "hello");
    run_idle(e);
    expect_log(e, "b read 0 5 hello\n");
    close_pair(e, &a, &b);
    close_pair(e, &c, &d);
}

/* It may take any time, which is no reason to forget that it is bounded. */
ON_ALL_WORLDS(layer_end, a_flush_without_a_limit_begins_and_ends)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .flush_timeout_ns = UINT64_MAX};
    open_pair(e, &opt, &a, &b);
    put_layer(&a, 0);
    cr_assert_eq(weir_write(a.s, "last", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_write(b.s, "H\0\0", 3, NULL, NULL), 0);
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    run_until_log(e, "a wrote 0\n");
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote 0\na closed 0\n");
}

/* ---- Files ---- */

ON_ALL_WORLDS(layer_end, a_file_that_cannot_be_read_tells_why)
{
    struct party a, b;
    int file = memfd_create("bytes", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(file, MUCH), 0);
    begin_with_a_raw_peer(e, NULL, &a, &b);
    cr_assert_eq(weir_write_file(a.s, file, 0, MUCH, NULL, on_wrote, &a), 0);
    close(file);
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote EBADF\na closed EBADF\n");
    close_pair(e, &a, &b);
}

/* ---- Floods ---- */

enum { FLOOD = 6000 * 1003, FLOOD_MAX = 3 << 20 };

static unsigned char flood[FLOOD];

/* Frames of 1000 bytes. */
static void send_flood(struct party *p)
{
    for (size_t at = 0; at < FLOOD; at += 1003)
        memcpy(flood + at, "D\x03\xe8", 3);
    cr_assert_eq(weir_write_ref(p->s, flood, FLOOD, NULL, NULL, NULL), 0);
}

static const struct weir_stream_options wide = {.size = sizeof wide, .max_write_buffer_size = 2 * FLOOD};

/* Its emit waits for an answer that stands behind bytes nobody reads. */
ON_ALL_WORLDS(layer_end, who_waits_for_an_answer_does_not_take_all_that_comes)
{
    struct party a, b;
    begin_with_a_raw_peer(e, &wide, &a, &b);
    shy[0].waits = true;
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    send_flood(&b);
    run_idle(e);
    cr_assert_lt(facts_of(&a).bytes_in, FLOOD_MAX);
    expect_log(e, "");
    cr_assert_eq(weir_write(b.s, "!\0\0", 3, NULL, NULL), 0);
    cr_assert_eq(weir_read_start(a.s, ignore, NULL), 0);
    run_until_log(e, "a wrote 0\n");
    close_pair(e, &a, &b);
}

/* Its peer talks without end before it has said hello, and the layer has taken what it could. */
static void talk_before_hello(struct env *e, bool flush)
{
    struct party a, b;
    open_narrow_pair(e, &wide, &a, &b);
    put_layer(&a, 0);
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
    if (flush)
        cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    send_flood(&b);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote WEIR_EBUFFULL\na closed WEIR_EBUFFULL\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(layer_end, a_beginning_does_not_take_all_that_comes)
{
    talk_before_hello(e, false);
}

ON_ALL_WORLDS(layer_end, nor_does_one_that_is_flushed)
{
    talk_before_hello(e, true);
}

ON_ALL_WORLDS(layer_end, that_never_takes_what_comes_is_broken)
{
    struct party a, b;
    begin_with_a_raw_peer(e, &wide, &a, &b);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    shy[0].deaf = true;
    send_flood(&b);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a read WEIR_EBUFFULL\na closed WEIR_EBUFFULL\n");
    close_pair(e, &a, &b);
}

/* ---- Layers that send nothing ---- */

static int drains;

static void count_drain(struct weir_stream *s, void *arg)
{
    (void)s, (void)arg;
    drains++;
}

ON_ALL_WORLDS(layer_end, that_sends_nothing_drains_its_stream)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .write_high_water = 100, .on_drain = count_drain};
    drains = 0;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_layer_attach(a.s, &silent_verbs, NULL), 0);
    cr_assert_eq(weir_write(a.s, bulk, 1000, on_wrote, &a), 0);
    cr_assert(facts_of(&a).full);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_eq(drains, 1);
    close_pair(e, &a, &b);
}

/* ---- Writes of nothing ---- */

struct chain {
    struct weir_stream *s;
    int releases, told;
};

static void count_told(struct weir_stream *s, int status, void *arg)
{
    struct chain *c = arg;
    (void)s, (void)status;
    c->told++;
}

static void write_nothing_again(const void *data, size_t len, void *arg)
{
    struct chain *c = arg;
    if (++c->releases < 1000)
        cr_assert_eq(weir_write_ref(c->s, data, len, write_nothing_again, count_told, c), 0);
}

/* Each that is released writes the next: the turn comes to its end all the same. */
ON_ALL_WORLDS(layer_end, writes_of_nothing_take_turns)
{
    struct party a, b;
    begin_with_a_raw_peer(e, NULL, &a, &b);
    struct chain c = {.s = a.s};
    write_nothing_again("", 0, &c);
    cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
    cr_assert_lt(c.releases, 20);
    while (c.told < 999)
        cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
    close_pair(e, &a, &b);
}

/* ---- Who only listens ---- */

ON_ALL_WORLDS(layer_end, who_has_nothing_to_say_hears_all_the_same)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    put_layer(&a, 0);
    put_layer(&b, 1);
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    send_text(&b, "word");
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a read 0 4 word\na closed WEIR_EOF\n");
    expect_lines(&b, "b closed 0\n");
}

/* ---- Without memory ---- */

/* Another keeps all that there is, and waits for its peer. */
ON_ALL_WORLDS(layer_end, a_beginning_waits_for_no_memory)
{
    struct party a, b, c, d;
    e->loop->max_memory = 1;
    open_pair(e, NULL, &c, &d);
    send_text(&c, "some");
    cr_assert_eq(weir_read_until_close(d.s, ignore, NULL), 0);
    run_idle(e);
    open_pair(e, NULL, &a, &b);
    put_layer(&a, 0);
    put_layer(&b, 1);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_idle(e);
    cr_assert(shy[0].heard_hello && shy[1].heard_hello);
    close_pair(e, &a, &b);
    close_pair(e, &c, &d);
}

/* ---- Marks ---- */

/* The kernel has the first, and all that stands behind it is dropped. */
ON_ALL_WORLDS(layer_end, a_write_that_went_is_told_whatever_is_behind_it)
{
    struct party a, b;
    begin_with_a_raw_peer(e, NULL, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, "word", 4, NULL, on_wrote, &a), 0);
    cr_assert_eq(weir_write_ref(a.s, bulk, MUCH, NULL, on_wrote, &a), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote 0\na wrote ECANCELED\na closed 0\n");
    close_pair(e, &a, &b);
}

/* ---- Room ---- */

/* Nothing more comes from the peer that would have it asked again. */
ON_ALL_WORLDS(layer_end, that_wanted_room_goes_on_when_it_has_it)
{
    for (unsigned i = 0; i < 20; i++) {
        struct party a, b;
        begin_with_a_raw_peer(e, NULL, &a, &b);
        shy_init(&shy[1], i, 2);
        shy[0].random = shy[1].random;
        shy[0].odds = 2;
        shy[0].chatty = true;
        cr_assert_eq(weir_write(b.s, "D\0\1\xc4" "B\0\0", 7, NULL, NULL), 0);
        cr_assert_eq(weir_shutdown(b.s), 0);
        cr_assert_eq(weir_read_start(b.s, ignore, NULL), 0);
        cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
        run_until(e, &a.closed, 1);
        run_until(e, &b.closed, 1);
        expect_lines(&a, "a read 0 1 a\na closed WEIR_EOF\n");
        e->log[e->log_len = 0] = '\0';
    }
}

/* ---- Time ---- */

static void say_hello(struct weir_timer *timer, void *party)
{
    struct party *p = party;
    (void)timer;
    cr_assert_eq(weir_write(p->s, "H\0\0", 3, NULL, NULL), 0);
}

/* The kernel has taken all that there is to take: nobody is to blame but who has not said hello. */
ON_ALL_WORLDS(layer_end, a_slow_beginning_is_no_stall)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .write_stall_timeout_ns = 20000000};
    open_pair(e, &opt, &a, &b);
    put_layer(&a, 0);
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_timer_start(e->loop, 100000000, 0, say_hello, &b, NULL), 0);
    run_until_log(e, "a ");
    expect_log(e, "a wrote 0\n");
    close_pair(e, &a, &b);
}
