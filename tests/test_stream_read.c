/* Suite stream_read: reads that are taken back, limits that keep, looks ahead and views that are kept, on all three
 * worlds. "a" writes and "b" reads. */
#include <errno.h>
#include <string.h>

#include "bufpool.h"
#include "helpers_case.h"
#include "helpers_stream.h"
#include "loop.h"

TestSuite(stream_read, .timeout = 60);

static void turn(struct env *e)
{
    cr_assert_geq(weir_loop_run_once(e->loop, 1000000), 0);
}

/* ---- Taken back ---- */

static char memory[1 << 18];

static int ask(struct weir_stream *s, int kind, struct weir_regex *regex, struct party *p)
{
    const struct weir_frame frame = {.size = sizeof frame, .width = 4};
    switch (kind) {
    case 0:
        return weir_read_bytes(s, 100, on_read, p);
    case 1:
        return weir_read_some(s, 0, on_read, p);
    case 2:
        return weir_read_until(s, "\n", 1, 0, on_read, p);
    case 3:
        return weir_read_until_regex(s, regex, 0, on_read, p);
    case 4:
        return weir_read_frame(s, &frame, on_read, p);
    case 5:
        return weir_read_into(s, memory, sizeof memory, 0, on_read, p);
    case 6:
        return weir_read_until_close(s, on_read, p);
    case 7:
        return weir_read_start(s, on_read, p);
    default:
        return -ENOENT;
    }
}

ON_ALL_LAYERS(stream_read, any_read_may_be_taken_back)
{
    struct party a, b;
    struct weir_regex *regex;
    int kind = 0, rc;
    cr_assert_eq(weir_regex_open("x+y", 3, &regex), 0);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_cancel(b.s), -EINVAL, "there is none");
    for (; (rc = ask(b.s, kind, regex, &b)) == 0; kind++) {
        run_idle(e);
        cr_assert_eq(weir_read_cancel(b.s), 0);
        cr_assert_eq(weir_read_cancel(b.s), 0, "twice is once");
        expect_log(e, "");
        cr_assert_eq(ask(b.s, 0, NULL, &b), -EBUSY, "it is still to be told");
        run_idle(e);
        expect_log(e, "b read ECANCELED\n");
        cr_assert_eq(weir_read_cancel(b.s), -EINVAL);
    }
    cr_assert_eq(rc, -ENOENT);
    cr_assert_eq(kind, 8);
    send_text(&a, "all there");
    cr_assert_eq(weir_read_bytes(b.s, 9, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 9 all there\n");
    weir_regex_close(regex);
    close_pair(e, &a, &b);
}

/* Although its bytes are there. */
ON_ALL_LAYERS(stream_read, a_read_that_was_taken_back_stays_so)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "twelve bytes");
    cr_assert_eq(weir_read_bytes(b.s, 7, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 7 twelve \n");
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    cr_assert_eq(weir_read_cancel(b.s), 0);
    run_idle(e);
    expect_log(e, "b read ECANCELED\n");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_read_cancel(b.s), 0);
    run_idle(e);
    expect_log(e, "b read ECANCELED\n");
    cr_assert_eq(facts_of(&b).buffered, 5, "nor was anything taken from the buffer");
    close_pair(e, &a, &b);
}

static void cancel_itself(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    if (status == 0)
        cr_assert_eq(weir_read_cancel(s), 0);
    else
        cr_assert_eq(weir_read_bytes(s, 4, on_read, arg), 0);
}

ON_ALL_LAYERS(stream_read, chunks_may_be_taken_back_by_themselves)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, cancel_itself, &b), 0);
    send_text(&a, "once");
    run_idle(e);
    send_text(&a, "then");
    run_idle(e);
    expect_log(e, "b read 0 4 once\nb read ECANCELED\nb read 0 4 then\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_read, stopping_is_for_chunks)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_stop(b.s), 0, "it does not read");
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    cr_assert_eq(weir_read_cancel(b.s), 0);
    cr_assert_eq(weir_read_stop(b.s), 0, "it ends already, and that will be told");
    run_idle(e);
    expect_log(e, "b read ECANCELED\n");
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    cr_assert_eq(weir_read_stop(b.s), 0);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0, "stopped is over at once");
    cr_assert_eq(weir_read_stop(b.s), -EINVAL);
    close_pair(e, &a, &b);
    cr_assert(strstr(e->log, "b read ECANCELED\n"), "%s", e->log);
}

/* ---- Into the user's memory ---- */

static struct {
    struct party a, b;
    size_t sent, came, told;
} t;

static void pour(void)
{
    static unsigned char chunk[20000];
    while (facts_of(&t.a).queued < 5 * sizeof chunk) {
        fill_bytes(chunk, t.sent, sizeof chunk);
        cr_assert_eq(weir_write(t.a.s, chunk, sizeof chunk, NULL, NULL), 0);
        t.sent += sizeof chunk;
    }
}

static void got_some(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert(status == 0 || status == -ECANCELED);
    expect_bytes(view.data, t.came, view.len);
    t.came += view.len;
    t.told = view.len + 1;
}

static void take_back(void *arg)
{
    (void)arg;
    if (facts_of(&t.b).reading)
        cr_assert_eq(weir_read_cancel(t.b.s), 0);
}

/* After the callback the memory is the user's, and no byte of the stream is lost or told twice. */
ON_ALL_LAYERS(stream_read, memory_is_given_back_with_the_callback)
{
    enum { READS = 60 };
    memset(&t, 0, sizeof t);
    open_narrow_pair(e, NULL, &t.a, &t.b);
    draw_from(7);
    for (int i = 0; i < READS; i++) {
        memset(memory, '.', sizeof memory);
        t.told = 0;
        cr_assert_eq(weir_read_into(t.b.s, memory, sizeof memory, 0, got_some, NULL), 0);
        for (uint64_t turns = draw(8); turns > 0; turns--) {
            pour();
            turn(e);
        }
        if (draw(2))
            take_back(NULL);
        else
            cr_assert_eq(weir_defer(e->loop, take_back, NULL), 0); /* in the middle of a turn */
        while (t.told == 0)
            turn(e);
        size_t len = t.told - 1;
        memset(memory, '.', len);
        for (int turns = 0; turns < 3; turns++) {
            pour();
            turn(e);
        }
        for (size_t at = 0; at < sizeof memory; at++)
            cr_assert_eq(memory[at], '.', "byte %zu of %zu, in read %d", at, len, i);
        if (draw(2))
            continue;
        t.told = 0;
        cr_assert_eq(weir_read_bytes(t.b.s, 1 + draw(30000), got_some, NULL), 0);
        while (t.told == 0) {
            pour();
            turn(e);
        }
    }
    cr_assert_gt(t.came, sizeof memory);
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_read, a_close_tells_what_stands_in_the_memory)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    memset(memory, '.', sizeof memory);
    cr_assert_eq(weir_read_into(b.s, memory, sizeof memory, 0, on_read, &b), 0);
    send_text(&a, "part");
    run_idle(e);
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read ECANCELED 4 part\nb closed 0\n");
    cr_assert_eq(memcmp(memory, "part....", 8), 0);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_read, a_reset_tells_what_stands_in_the_memory)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_into(b.s, memory, sizeof memory, 0, on_read, &b), 0);
    send_text(&a, "part");
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read ECONNRESET 4 part\nb closed ECONNRESET\n"), "%s", e->log);
}

ON_ALL_LAYERS(stream_read, into_no_memory_goes_nothing)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_into(b.s, NULL, 1, 0, on_read, &b), -EINVAL);
    cr_assert_eq(weir_read_into(b.s, NULL, 0, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 0 \n");
    close_pair(e, &a, &b);
}

/* ---- A look ahead ---- */

static void look(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct weir_view rest;
    on_read(s, status, view, arg);
    cr_assert_eq(weir_peek(s, &rest), 0);
    cr_assert(rest.len == 4 && memcmp(rest.data, "tail", 4) == 0);
    cr_assert_eq(memcmp(view.data, "head", 4), 0, "and both are good");
}

ON_ALL_LAYERS(stream_read, what_is_looked_at_is_still_there)
{
    struct party a, b;
    struct weir_view view = {"", 7};
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_peek(b.s, NULL), -EINVAL);
    cr_assert_eq(weir_peek(NULL, &view), -EINVAL);
    cr_assert_eq(weir_peek(b.s, &view), 0);
    cr_assert_eq(view.len, 0);
    send_text(&a, "headtail");
    cr_assert_eq(weir_read_bytes(b.s, 4, look, &b), 0);
    run_idle(e);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_peek(b.s, &view), 0);
        cr_assert(view.len == 4 && memcmp(view.data, "tail", 4) == 0);
    }
    cr_assert_eq(weir_read_some(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 head\nb read 0 4 tail\n");
    close_pair(e, &a, &b);
}

/* ---- Limits that keep ---- */

ON_ALL_LAYERS(stream_read, all_until_the_end_is_bound)
{
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 8};
    struct party a, b;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    send_text(&a, "12345678");
    run_idle(e);
    expect_log(e, "");
    send_text(&a, "9");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EBUFFULL 8 12345678\nb closed WEIR_EBUFFULL\n"), "%s", e->log);
}

ON_ALL_LAYERS(stream_read, or_keeps_stream_and_bytes)
{
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 8, .limit_keeps = 1};
    struct party a, b;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    send_text(&a, "123456789");
    run_idle(e);
    expect_log(e, "b read WEIR_EBUFFULL\n");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read WEIR_EBUFFULL\n"); /* as often as one likes */
    cr_assert_eq(weir_read_bytes(b.s, 8, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read 0 8 12345678\n"), "%s", e->log);
    cr_assert(strstr(e->log, "b read 0 1 9\nb closed WEIR_EOF\n"), "%s", e->log);
}

/* ---- Views that are kept ---- */

enum { HELD = 300, MESSAGE = 50 };

static struct weir_hold *hold[HELD];
static struct weir_view held[HELD];
static int holds;

static void keep(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    cr_assert_eq(status, 0);
    held[holds] = view;
    cr_assert_eq(weir_view_hold(s, &held[holds], &hold[holds]), 0);
    cr_assert_eq(held[holds].len, view.len);
    holds++;
}

static void keep_messages(struct env *e, struct party *a, struct party *b, int n)
{
    char text[MESSAGE + 1];
    holds = 0;
    for (int i = 0; i < n; i++) {
        fill_bytes(text, (size_t)i * MESSAGE, MESSAGE);
        cr_assert_eq(weir_read_bytes(b->s, MESSAGE, keep, NULL), 0);
        cr_assert_eq(weir_write(a->s, text, MESSAGE, NULL, NULL), 0);
        run_until(e, &holds, i + 1);
    }
}

static void drop_messages(void)
{
    for (int i = 0; i < holds; i++) {
        expect_bytes(held[i].data, (size_t)i * MESSAGE, MESSAGE);
        cr_assert_eq(weir_view_drop(hold[i]), 0);
    }
}

ON_ALL_LAYERS(stream_read, what_is_held_outlives_its_stream)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    keep_messages(e, &a, &b, 3);
    close_pair(e, &a, &b);
    run_idle(e);
    cr_assert_eq(weir_loop_close(e->loop), -EBUSY, "but not the loop");
    drop_messages();
    cr_assert_eq(weir_view_drop(NULL), 0);
}

/* However much is held, half of the shared buffers are there for others. */
ON_ALL_LAYERS(stream_read, what_is_held_leaves_buffers_to_others)
{
    struct party a, b, c, d;
    const struct wr_bufpool *pool = &e->loop->world->pool;
    struct weir_loop_stats stats;
    open_pair(e, NULL, &a, &b);
    open_pair(e, NULL, &c, &d);
    keep_messages(e, &a, &b, HELD);
    run_idle(e);
    cr_assert_geq(wr_bufpool_available(pool) + 1, pool->count / 2);
    weir_loop_stats(e->loop, &stats, sizeof stats);
    cr_assert_gt(stats.copied_in, 0);
    cr_assert_eq(weir_read_bytes(d.s, 5, on_read, &d), 0);
    send_text(&c, "other");
    run_idle(e);
    expect_log(e, "b read 0 5 other\n");
    drop_messages();
    close_pair(e, &a, &b);
    close_pair(e, &c, &d);
}

static void keep_parts(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct weir_view part = {(const char *)view.data + 2, 3}, same = part, wrong[] = {
        {view.data, 0}, {view.data, SIZE_MAX}, {memory, 4}, {NULL, 0}};
    on_read(s, status, view, arg);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(weir_view_hold(s, &wrong[i], &hold[2]), -EINVAL);
    cr_assert_eq(weir_view_hold(s, NULL, &hold[2]), -EINVAL);
    cr_assert_eq(weir_view_hold(s, &part, NULL), -EINVAL);
    cr_assert_eq(weir_view_hold(s, &part, &hold[0]), 0);
    cr_assert_eq(weir_view_hold(s, &same, &hold[1]), 0);
    cr_assert_eq(weir_view_drop(hold[0]), 0);
    held[0] = same;
}

ON_ALL_LAYERS(stream_read, a_part_is_held_as_often_as_one_likes)
{
    struct party a, b;
    struct weir_view none = {memory, 1};
    open_pair(e, NULL, &a, &b);
    send_text(&a, "0123456789");
    cr_assert_eq(weir_read_bytes(b.s, 10, keep_parts, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 10 0123456789\n");
    cr_assert_eq(weir_view_hold(b.s, &none, &hold[2]), -EINVAL, "no callback runs");
    send_text(&a, "abcdefghij");
    cr_assert_eq(weir_read_bytes(b.s, 10, on_read, &b), 0);
    run_idle(e);
    cr_assert(held[0].len == 3 && memcmp(held[0].data, "234", 3) == 0);
    cr_assert_eq(weir_view_drop(hold[1]), 0);
    close_pair(e, &a, &b);
}

/* ---- Received to where it stays ---- */

enum { LONG = 1 << 20 };

static unsigned char spoken[LONG];
static size_t understood;
static int over;

static void understand(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    *(int *)arg = status;
    over++;
    if (status != 0)
        return;
    expect_bytes(view.data, understood, view.len);
    understood += view.len;
}

/* Half of a long message has come, and more of it would go behind that. */
static void open_half(struct env *e, struct party *a, struct party *b, int *status)
{
    understood = 0;
    over = 0;
    fill_bytes(spoken, 0, LONG);
    open_pair(e, NULL, a, b);
    cr_assert_eq(weir_read_bytes(b->s, LONG, understand, status), 0);
    cr_assert_eq(weir_write_ref(a->s, spoken, LONG / 2, NULL, NULL, NULL), 0);
    run_idle(e);
    cr_assert_eq(over, 0);
}

static void understand_all(struct env *e, struct party *a, struct party *b, size_t at_a_time, int *status)
{
    cr_assert_eq(weir_write_ref(a->s, spoken + LONG / 2, LONG / 2, NULL, NULL, NULL), 0);
    while (understood < LONG) {
        int before = over;
        cr_assert_eq(weir_read_bytes(b->s, wr_min(at_a_time, LONG - understood), understand, status), 0);
        run_until(e, &over, before + 1);
        cr_assert_eq(*status, 0);
    }
    cr_assert_eq(understood, LONG);
}

ON_ALL_LAYERS(stream_read, a_long_read_comes_in_halves)
{
    struct party a, b;
    int status = 1;
    open_half(e, &a, &b, &status);
    cr_assert_eq(weir_write_ref(a.s, spoken + LONG / 2, LONG / 2, NULL, NULL, NULL), 0);
    run_until(e, &over, 1);
    cr_assert(status == 0 && understood == LONG);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_read, a_long_read_that_is_cancelled_leaves_its_bytes)
{
    struct party a, b;
    int status = 1;
    for (size_t at_a_time = 1000; at_a_time < LONG; at_a_time *= 30) {
        open_half(e, &a, &b, &status);
        cr_assert_eq(weir_read_cancel(b.s), 0);
        run_until(e, &over, 1);
        cr_assert_eq(status, -ECANCELED);
        understand_all(e, &a, &b, at_a_time, &status);
        close_pair(e, &a, &b);
    }
}

ON_ALL_LAYERS(stream_read, a_long_read_is_cut_off_by_its_end)
{
    static const int manners[] = {WEIR_CLOSE_NOW, WEIR_CLOSE_FLUSH, WEIR_CLOSE_RESET};
    struct party a, b;
    int status = 1;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        open_half(e, &a, &b, &status);
        cr_assert_eq(weir_stream_close(i % 2 ? a.s : b.s, manners[i]), 0);
        run_until(e, &over, 1);
        cr_assert_lt(status, 0);
        close_pair(e, &a, &b);
    }
}

static size_t had;

static void close_reader(struct weir_stream *s, int status, void *arg)
{
    struct party *b = arg;
    (void)s;
    cr_assert_eq(status, 0);
    had = facts_of(b).buffered;
    cr_assert_eq(weir_stream_close(b->s, WEIR_CLOSE_FLUSH), 0);
}

static void keeps_no_more(struct weir_stream *s, int reason, void *arg)
{
    struct party *b = arg;
    cr_assert_eq(facts_of(b).buffered, had);
    on_close(s, reason, b);
}

/* The bytes are in the kernel, or already where they would stay, as the stream ends. */
ON_ALL_LAYERS(stream_read, what_a_long_read_gets_after_the_end_is_dropped)
{
    struct party a, b;
    int status = 1;
    open_half(e, &a, &b, &status);
    cr_assert_eq(weir_stream_on_close(b.s, keeps_no_more, &b), 0);
    cr_assert_eq(weir_write_ref(a.s, spoken + LONG / 2, LONG / 4, NULL, close_reader, &b), 0);
    run_until(e, &b.closed, 1);
    cr_assert_eq(over, 1);
    cr_assert_eq(status, -ECANCELED);
    close_pair(e, &a, &b);
}
