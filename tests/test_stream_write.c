/* Suite stream_write: water marks, limits, corks, callbacks, on all three worlds. "a" writes and "b" reads. */
#include <errno.h>
#include <string.h>

#include "helpers_stream.h"
#include "stream.h"

TestSuite(stream_write, .timeout = 60);

enum { HIGH = 64 << 10, LOW = 16 << 10, PART = 10000, ALL = 3 << 20 };

static unsigned char bytes[ALL];

static struct {
    struct party a, b;
    struct env *env;
    int drains, wrote, rounds;
    size_t sent, came;
} t;

static void open_test(struct env *e, struct weir_stream_options *opt)
{
    memset(&t, 0, sizeof t);
    t.env = e;
    if (bytes[1] == 0)
        fill_bytes(bytes, 0, ALL);
    open_narrow_pair(e, opt, &t.a, &t.b);
}

static void take(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    if (status != 0)
        return;
    expect_bytes(view.data, t.came, view.len);
    t.came += view.len;
}

/* b takes all that was sent, and nothing is under way any more. */
static void take_all(void)
{
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    while (t.came < t.sent)
        cr_assert_geq(weir_loop_run_once(t.env->loop, 1000000000), 0);
    cr_assert_eq(weir_read_stop(t.b.s), 0);
    run_idle(t.env);
    cr_assert_eq(t.came, t.sent);
}

static int send_more(size_t n, weir_write_fn *fn)
{
    cr_assert_leq(t.sent + n, ALL);
    int rc = weir_write(t.a.s, bytes + t.sent, n, fn, NULL);
    t.sent += rc == 0 ? n : 0;
    return rc;
}

static void fill_up(void)
{
    while (!facts_of(&t.a).full)
        cr_assert_eq(send_more(PART, NULL), 0);
}

static void count_drain(struct weir_stream *s, void *arg)
{
    (void)arg;
    struct weir_stream_facts facts = facts_of(&t.a);
    cr_assert_eq(s, t.a.s);
    cr_assert_leq(facts.queued, LOW);
    cr_assert_not(facts.full);
    t.drains++;
}

static struct weir_stream_options with_marks(weir_drain_fn *fn)
{
    return (struct weir_stream_options){.size = sizeof(struct weir_stream_options), .write_high_water = HIGH,
                                        .write_low_water = LOW, .on_drain = fn};
}

/* ---- Water marks ---- */

ON_ALL_LAYERS(stream_write, drains_once_for_each_time_it_was_full)
{
    struct weir_stream_options opt = with_marks(count_drain);
    open_test(e, &opt);
    for (int i = 1; i <= 3; i++) {
        fill_up();
        cr_assert_gt(facts_of(&t.a).queued, HIGH);
        cr_assert_leq(facts_of(&t.a).queued, HIGH + PART);
        cr_assert_eq(send_more(PART, NULL), 0, "full is a word, not a wall");
        take_all();
        cr_assert_eq(t.drains, i);
    }
    cr_assert_eq(send_more(HIGH, NULL), 0);
    cr_assert_not(facts_of(&t.a).full, "as much as the mark is not more");
    take_all();
    cr_assert_eq(t.drains, 3);
    close_pair(e, &t.a, &t.b);
}

static void refill(struct weir_stream *s, void *arg)
{
    count_drain(s, arg);
    if (t.drains < 10)
        fill_up();
}

ON_ALL_LAYERS(stream_write, may_be_filled_again_in_on_drain)
{
    struct weir_stream_options opt = with_marks(refill);
    open_test(e, &opt);
    fill_up();
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    run_until(e, &t.drains, 10);
    cr_assert_eq(weir_read_stop(t.b.s), 0);
    take_all();
    cr_assert_eq(t.drains, 10);
    close_pair(e, &t.a, &t.b);
}

static void write_on(struct weir_stream *s, int status, void *arg)
{
    (void)s, (void)arg;
    cr_assert_eq(status, 0);
    t.wrote++;
    if (t.wrote < 5)
        cr_assert_eq(send_more(HIGH + 1, write_on), 0);
}

/* What the callbacks write counts before it is asked whether the stream has drained. */
ON_ALL_LAYERS(stream_write, is_not_drained_if_its_callbacks_write_on)
{
    struct weir_stream_options opt = with_marks(count_drain);
    opt.write_low_water = 1; /* so that it cannot drain before the callback */
    open_test(e, &opt);
    cr_assert_eq(send_more(HIGH + 1, write_on), 0);
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    run_until(e, &t.wrote, 5);
    cr_assert_eq(weir_read_stop(t.b.s), 0);
    take_all();
    cr_assert_eq(t.drains, 1);
    cr_assert_not(facts_of(&t.a).full);
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, does_not_drain_once_it_is_closing)
{
    struct weir_stream_options opt = with_marks(count_drain);
    open_test(e, &opt);
    fill_up();
    cr_assert_eq(weir_stream_close(t.a.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    run_until(e, &t.b.closed, 1);
    run_until(e, &t.a.closed, 1);
    cr_assert_eq(t.came, t.sent);
    cr_assert_eq(t.drains, 0);
}

/* ---- The limit ---- */

static int releases;

static void count_release(const void *data, size_t len, void *arg)
{
    (void)data, (void)len, (void)arg;
    releases++;
}

static void count_wrote(struct weir_stream *s, int status, void *arg)
{
    (void)s, (void)arg;
    cr_assert_eq(status, 0);
    t.wrote++;
}

/* Every way to write is refused, and leaves nothing behind. */
static void expect_no_room_for(size_t n)
{
    struct weir_stream_facts before = facts_of(&t.a);
    struct iovec two[2] = {{bytes, 1}, {bytes, n - 1}};
    cr_assert_eq(weir_write(t.a.s, bytes, n, count_wrote, NULL), -ENOBUFS);
    cr_assert_eq(weir_writev(t.a.s, two, 2, count_wrote, NULL), -ENOBUFS);
    cr_assert_eq(weir_write_ref(t.a.s, bytes, n, count_release, count_wrote, NULL), -ENOBUFS);
    cr_assert_eq(facts_of(&t.a).queued, before.queued);
}

/* What is queued counts, but not what a layer has made of some of it. */
static size_t room(void)
{
    struct wr_layer *l = t.a.s->layer;
    return 2 * HIGH - (l ? wr_sendq_len(&l->plain) : facts_of(&t.a).queued);
}

static void write_too_much(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)view, (void)arg;
    cr_assert_eq(status, 0);
    expect_no_room_for(ALL);
    t.rounds++;
}

ON_ALL_LAYERS(stream_write, beyond_the_limit_nothing_is_queued)
{
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = 2 * HIGH};
    open_test(e, &opt);
    releases = 0;
    expect_no_room_for(2 * HIGH + 1);
    cr_assert_eq(send_more(2 * HIGH - 10, count_wrote), 0);
    cr_assert(room() == 10 || e->layer);
    expect_no_room_for(room() + 1);
    cr_assert_eq(weir_read_bytes(t.a.s, 1, write_too_much, NULL), 0);
    cr_assert_eq(weir_write(t.b.s, "x", 1, NULL, NULL), 0);
    run_until(e, &t.rounds, 1); /* inside a callback, too */
    expect_no_room_for(room() + 1);
    cr_assert_eq(send_more(room(), count_wrote), 0, "to the last byte");
    cr_assert_eq(weir_write(t.a.s, NULL, 0, count_wrote, NULL), 0, "nothing always fits");
    take_all();
    cr_assert_eq(t.wrote, 3);
    cr_assert_eq(releases, 0);
    close_pair(e, &t.a, &t.b);
}

static void write_again(struct weir_stream *s, void *arg)
{
    (void)s, (void)arg;
    t.drains++;
    cr_assert_eq(send_more(HIGH, NULL), 0);
}

/* Who was refused is told when to try again, whatever the marks are. */
ON_ALL_LAYERS(stream_write, who_was_refused_hears_of_room)
{
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = HIGH, .on_drain = write_again};
    opt.write_low_water = 1; /* as good as nothing */
    open_test(e, &opt);
    cr_assert_eq(send_more(HIGH / 2, NULL), 0);
    cr_assert_eq(send_more(HIGH, NULL), -ENOBUFS);
    cr_assert(facts_of(&t.a).full);
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    run_until(e, &t.drains, 1);
    cr_assert_eq(weir_read_stop(t.b.s), 0);
    take_all();
    cr_assert_eq(t.drains, 1);
    cr_assert_eq(send_more(HIGH + 1, NULL), -ENOBUFS);
    cr_assert_not(facts_of(&t.a).full, "nothing is queued that could go, and it will never fit");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, pieces_that_add_up_to_too_much_are_no_vector)
{
    struct iovec two[2] = {{bytes, SIZE_MAX}, {bytes, 1}}, bad = {NULL, 1}, none = {NULL, 0};
    open_test(e, NULL);
    cr_assert_eq(weir_writev(t.a.s, two, 2, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_writev(t.a.s, two, -1, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_writev(t.a.s, NULL, 1, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_writev(t.a.s, &bad, 1, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_writev(t.a.s, &none, 1, on_wrote, &t.a), 0);
    cr_assert_eq(weir_writev(t.a.s, NULL, 0, on_wrote, &t.a), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\na wrote 0\n");
    close_pair(e, &t.a, &t.b);
}

/* ---- Corks ---- */

ON_ALL_LAYERS(stream_write, what_is_corked_waits_and_leaves_as_one)
{
    open_test(e, NULL);
    cr_assert_eq(weir_uncork(t.a.s), 0, "which it was already");
    cr_assert_eq(weir_cork(t.a.s), 0);
    cr_assert_eq(weir_cork(t.a.s), 0, "twice is once");
    cr_assert_eq(weir_read_some(t.b.s, 0, on_read, &t.b), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(weir_write(t.a.s, "part ", 5, on_wrote, &t.a), 0);
        run_idle(e);
    }
    expect_log(e, "");
    cr_assert_eq(facts_of(&t.a).queued, 15);
    cr_assert_eq(weir_uncork(t.a.s), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\na wrote 0\na wrote 0\nb read 0 15 part part part \n");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, a_shutdown_pulls_the_cork)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    open_test(e, &opt);
    cr_assert_eq(weir_cork(t.a.s), 0);
    cr_assert_eq(weir_write(t.a.s, "last", 4, NULL, NULL), 0);
    cr_assert_eq(weir_shutdown(t.a.s), 0);
    cr_assert_eq(weir_cork(t.a.s), 0, "too late to matter");
    cr_assert_eq(weir_read_until_close(t.b.s, on_read, &t.b), 0);
    run_idle(e);
    expect_log(e, "b read 0 4 last\n");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, a_flush_pulls_the_cork)
{
    open_test(e, NULL);
    cr_assert_eq(weir_cork(t.a.s), 0);
    cr_assert_eq(weir_write(t.a.s, "last", 4, on_wrote, &t.a), 0);
    cr_assert_eq(weir_stream_close(t.a.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_cork(t.a.s), WEIR_ECLOSED);
    cr_assert_eq(weir_uncork(t.a.s), WEIR_ECLOSED);
    cr_assert_eq(weir_read_until_close(t.b.s, on_read, &t.b), 0);
    run_until(e, &t.a.closed, 1);
    run_until(e, &t.b.closed, 1);
    cr_assert(strstr(e->log, "a wrote 0\n") && strstr(e->log, "b read 0 4 last\n"), "%s", e->log);
}

ON_ALL_LAYERS(stream_write, what_is_corked_is_dropped_with_its_stream)
{
    open_test(e, NULL);
    cr_assert_eq(weir_cork(t.a.s), 0);
    cr_assert_eq(weir_write(t.a.s, "never", 5, on_wrote, &t.a), 0);
    run_idle(e);
    cr_assert_eq(weir_read_until_close(t.b.s, on_read, &t.b), 0);
    cr_assert_eq(weir_stream_close(t.a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &t.b.closed, 1);
    expect_lines(&t.a, "a wrote ECANCELED\na closed 0\n");
    /* Over a layer it is no clean end where something was dropped. */
    expect_lines(&t.b, e->layer ? "b read WEIR_ETRUNCATED\nb closed WEIR_ETRUNCATED\n"
                                : "b read 0 0 \nb closed WEIR_EOF\n");
}

static void beat(struct weir_timer *timer, void *arg)
{
    (void)timer, (void)arg;
    t.rounds++;
}

/* A send that was under way goes on; behind it nothing does, and that is no fault of the peer's. */
ON_ALL_LAYERS(stream_write, a_cork_is_no_stall)
{
    struct weir_stream_options opt = {.size = sizeof opt, .write_stall_timeout_ns = 500000000, .min_rate = 1};
    struct weir_timer *timer;
    open_test(e, &opt);
    cr_assert_eq(send_more(ALL, count_wrote), 0);
    run_idle(e);
    cr_assert_eq(weir_cork(t.a.s), 0);
    cr_assert_eq(weir_read_start(t.b.s, take, NULL), 0);
    run_idle(e);
    size_t before = facts_of(&t.a).queued;
    cr_assert(before > 0 && before < ALL, "%zu", before);
    cr_assert_eq(weir_timer_start(e->loop, 1200000000u, 0, beat, NULL, &timer), 0);
    run_until(e, &t.rounds, 1);
    cr_assert_not(t.a.closed);
    cr_assert_eq(facts_of(&t.a).queued, before);
    cr_assert_eq(weir_timer_stop(timer), 0);
    cr_assert_eq(weir_uncork(t.a.s), 0);
    run_until(e, &t.wrote, 1);
    cr_assert_eq(weir_read_stop(t.b.s), 0);
    take_all();
    close_pair(e, &t.a, &t.b);
}

/* ---- One callback for all writes ---- */

static void replaced(struct weir_stream *s, int status, void *arg)
{
    (void)s, (void)status, (void)arg;
    cr_assert_fail("another has taken its place");
}

ON_ALL_LAYERS(stream_write, a_refused_write_takes_no_place)
{
    struct weir_stream_options opt = {.size = sizeof opt, .last_write_callback = 1, .max_write_buffer_size = 100};
    open_test(e, &opt);
    releases = 0;
    cr_assert_eq(weir_write_ref(t.a.s, "one", 3, count_release, replaced, NULL), 0);
    cr_assert_eq(weir_write_ref(t.a.s, "two", 3, count_release, on_wrote, &t.a), 0);
    cr_assert_eq(weir_write(t.a.s, bytes, 95, replaced, NULL), -ENOBUFS);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_eq(releases, 2, "memory comes back for each");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, the_last_callback_waits_for_all)
{
    struct weir_stream_options opt = {.size = sizeof opt, .last_write_callback = 1};
    open_test(e, &opt);
    cr_assert_eq(send_more(ALL, replaced), 0);
    run_idle(e);
    cr_assert_eq(weir_write(t.a.s, NULL, 0, on_wrote, &t.a), 0, "of a write of nothing");
    run_idle(e);
    expect_log(e, "");
    take_all();
    expect_log(e, "a wrote 0\n");
    close_pair(e, &t.a, &t.b);
}

ON_ALL_LAYERS(stream_write, the_last_callback_hears_of_the_end)
{
    struct weir_stream_options opt = {.size = sizeof opt, .last_write_callback = 1};
    open_test(e, &opt);
    cr_assert_eq(send_more(ALL / 2, replaced), 0);
    cr_assert_eq(weir_write(t.a.s, "x", 1, on_wrote, &t.a), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(t.a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &t.a.closed, 1);
    expect_log(e, "a wrote ECANCELED\na closed 0\n");
    close_pair(e, &t.a, &t.b);
}

/* ---- Behind a send that nobody waited for ---- */

static void wrote(struct weir_stream *s, int status, void *arg)
{
    (void)s, (void)arg;
    cr_assert_eq(status, 0);
    t.wrote++;
}

static void write_more(struct weir_stream *b, int status, void *arg)
{
    (void)b, (void)arg;
    cr_assert_eq(status, 0);
    cr_assert_eq(send_more(1, wrote), 0);
}

/* It has begun, and in the same turn, before it can have ended, there is something to wait for. Nothing else happens
 * that would end the loop's wait: b does not read yet. */
ON_ALL_LAYERS(stream_write, what_comes_behind_a_send_in_its_turn_goes_soon)
{
    memset(&t, 0, sizeof t);
    t.env = e;
    fill_bytes(bytes, 0, ALL);
    open_pair(e, NULL, &t.a, &t.b);
    run_idle(e);
    cr_assert_eq(send_more(1, NULL), 0);
    cr_assert_eq(weir_write(t.b.s, NULL, 0, write_more, NULL), 0);
    while (t.wrote == 0)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    take_all();
    close_pair(e, &t.a, &t.b);
}
