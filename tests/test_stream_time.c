/* Suite stream_time: what a stream's time limits end, and what they leave alone, on all three worlds. Time is exact in
 * the simulator; on the others the tests ask for outcomes and their order, and what must come in time has plenty. "a"
 * writes and "b" reads. */
#include <errno.h>
#include <string.h>

#include "backend.h"
#include "helpers_stream.h"
#include "stream.h"

TestSuite(stream_time, .timeout = 60);

static const uint64_t MS = 1000000, LATE = 3600000000000u;

static uint64_t begun;

/* So many milliseconds after `begun`, where that can be told, but for what closing takes. */
static void expect_at(struct env *e, uint64_t ms)
{
    uint64_t passed = weir_now(e->loop) - begun;
    if (e->sim)
        cr_assert(passed >= ms * MS && passed < ms * MS + MS / 10, "after %llu ns", (unsigned long long)passed);
}

static void open_limited(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_narrow_pair(e, opt, a, b);
    run_idle(e);
    begun = weir_now(e->loop);
}

static void run_while_reading(struct env *e, struct party *p)
{
    while (facts_of(p).reading)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
}

/* ---- Something that happens again and again ---- */

struct pulse {
    struct party *p;
    struct weir_timer *timer;
    int beats;
    size_t bytes;
};

static void begin_pulse(struct pulse *x, struct party *p, uint64_t period, weir_timer_fn *fn)
{
    *x = (struct pulse){.p = p};
    cr_assert_eq(weir_timer_start(p->env->loop, period, period, fn, x, &x->timer), 0);
}

/* A beat of the simulator's network and one of the loop's may meet: half a period apart they do not. */
static void trickle(struct weir_timer *timer, void *arg)
{
    struct pulse *x = arg;
    (void)timer;
    x->beats++;
    if (!x->p->closed)
        send_text(x->p, "x");
}

static void drop(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct pulse *x = arg;
    (void)s;
    if (status == 0)
        x->bytes += view.len;
}

/* A reader that takes little at a time. */
static void sip(struct weir_timer *timer, void *arg)
{
    struct pulse *x = arg;
    (void)timer;
    x->beats++;
    if (!x->p->closed && !facts_of(x->p).reading)
        cr_assert_eq(weir_read_bytes(x->p->s, 16384, drop, x), 0);
}

static void beat(struct weir_timer *timer, void *arg)
{
    struct pulse *x = arg;
    (void)timer;
    x->beats++;
}

/* ---- Reads ---- */

ON_ALL_LAYERS(stream_time, a_read_is_late_however_much_trickles_in)
{
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 55 * MS};
    struct party a, b;
    struct pulse x;
    open_limited(e, &opt, &a, &b);
    begin_pulse(&x, &a, 10 * MS, trickle);
    cr_assert_eq(weir_read_bytes(b.s, 1000, on_read, &b), 0);
    run_while_reading(e, &b);
    expect_log(e, "b read ETIMEDOUT\n");
    expect_at(e, 55);
    weir_timer_stop(x.timer);
    cr_assert(x.beats > 0 && (!e->sim || x.beats == 5));
    cr_assert_eq(weir_read_bytes(b.s, (size_t)x.beats, on_read, &b), 0, "what came is there, and so is the stream");
    run_until_log(e, "b read 0");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, each_read_has_the_whole_time)
{
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 500 * MS};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    send_text(&a, "x");
    run_while_reading(e, &b);
    expect_log(e, "b read 0 1 x\n");
    begun = weir_now(e->loop);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_while_reading(e, &b);
    expect_log(e, "b read ETIMEDOUT\n");
    expect_at(e, 500);
    close_pair(e, &a, &b);
}

/* Chunks have no end that could be late. */
ON_ALL_LAYERS(stream_time, chunks_may_take_their_time)
{
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 5 * MS};
    struct party a, b;
    struct pulse x;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    begin_pulse(&x, &a, 15 * MS, beat);
    run_until(e, &x.beats, 1);
    weir_timer_stop(x.timer);
    cr_assert_eq(facts_of(&b).reading, 1);
    send_text(&a, "chunk");
    run_idle(e);
    expect_log(e, "b read 0 5 chunk\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, a_deadline_takes_the_limits_place)
{
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 20 * MS};
    struct party a, b;
    struct pulse x;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_read_deadline(b.s, LATE), -EINVAL, "no read is pending");
    cr_assert_eq(weir_read_bytes(b.s, 3, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, UINT64_MAX), 0); /* never */
    begin_pulse(&x, &a, 30 * MS, beat);
    run_until(e, &x.beats, 1);
    weir_timer_stop(x.timer);
    cr_assert_eq(facts_of(&b).reading, 1);
    cr_assert_eq(weir_read_deadline(b.s, begun + 70 * MS), 0); /* later than the limit */
    run_while_reading(e, &b);
    expect_log(e, "b read ETIMEDOUT\n");
    expect_at(e, 70);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, a_deadline_that_has_passed_is_told_soon)
{
    struct party a, b;
    open_limited(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 3, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, 0), 0);
    expect_log(e, "");
    run_while_reading(e, &b);
    expect_log(e, "b read ETIMEDOUT\n");
    expect_at(e, 0);
    close_pair(e, &a, &b);
}

OVER_TLS_TOO(stream_time, a_deadline_is_for_one_read)
{
    struct party a, b;
    struct pulse x;
    open_limited(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 3, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, begun + 1000 * MS), 0);
    send_text(&a, "one");
    run_while_reading(e, &b);
    expect_log(e, "b read 0 3 one\n");
    cr_assert_eq(weir_read_bytes(b.s, 3, on_read, &b), 0);
    begin_pulse(&x, &a, 1100 * MS, beat);
    run_until(e, &x.beats, 1);
    weir_timer_stop(x.timer);
    cr_assert_eq(facts_of(&b).reading, 1);
    close_pair(e, &a, &b);
}

/* What the kernel has put into the user's memory stays there, and is told; from then on the memory is the user's. */
ON_ALL_LAYERS(stream_time, a_late_read_into_memory_tells_what_is_there)
{
    static char memory[100000];
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 500 * MS};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    memset(memory, '.', sizeof memory);
    cr_assert_eq(weir_read_into(b.s, memory, sizeof memory, 0, on_read, &b), 0);
    send_text(&a, "some");
    run_while_reading(e, &b);
    expect_log(e, "b read ETIMEDOUT 4 some\n");
    send_text(&a, "more");
    run_idle(e);
    cr_assert_eq(memcmp(memory, "some....", 8), 0);
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    run_while_reading(e, &b);
    expect_log(e, "b read 0 4 more\n");
    close_pair(e, &a, &b);
}

/* ---- Connecting ---- */

ON_ALL_WORLDS(stream_time, a_connection_that_nobody_takes_is_given_up)
{
    struct party a = {.env = e, .name = "a"}, b = {.env = e, .name = "b"};
    struct weir_stream_options opt = {.size = sizeof opt, .connect_timeout_ns = 500 * MS, .on_close = on_close};
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = deaf_listener(e, 0, &addr, &len);
    opt.on_close_arg = &a;
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    run_idle(e);
    expect_log(e, "a connected 0\n");
    begun = weir_now(e->loop);
    opt.on_close_arg = &b;
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &b, &b.s), 0);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    cr_assert_eq(weir_write(b.s, "early", 5, on_wrote, &b), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b read ETIMEDOUT\nb wrote ETIMEDOUT\nb connected ETIMEDOUT\nb closed ETIMEDOUT\n");
    expect_at(e, 500);
    cr_assert_eq(a.closed, 0, "the limit is over with the connecting");
    cr_assert(!a.s->bounds, "and so is what it needs");
    weir_stream_close(a.s, WEIR_CLOSE_NOW);
    run_until(e, &a.closed, 1);
    e->loop->world->ops->discard(e->loop->world, listener);
}

/* ---- Writes ---- */

enum { MUCH = 1 << 20 };

static const char much[MUCH];

ON_ALL_LAYERS(stream_time, a_writer_whose_peer_takes_nothing_is_ended)
{
    struct weir_stream_options opt = {.size = sizeof opt, .write_stall_timeout_ns = 50 * MS};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, much, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ETIMEDOUT\na wrote ETIMEDOUT\na closed ETIMEDOUT\n");
    /* The first time, some had gone into the kernel. The test's layer waits for an answer, and nothing is under way. */
    expect_at(e, e->layer == on_a_layer ? 50 : 100);
    cr_assert_eq(b.closed, 0);
    close_pair(e, &a, &b);
}

/* One send may take far longer than the limits, and tells nothing before its end; but bytes go all the time. */
OVER_TLS_TOO(stream_time, a_slow_taker_is_neither_stalled_nor_idle)
{
    struct weir_stream_options opt = {.size = sizeof opt, .write_stall_timeout_ns = 1000 * MS,
                                      .idle_timeout_ns = 1000 * MS};
    struct party a, b;
    struct pulse x;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, much, MUCH, on_wrote, &a), 0);
    begin_pulse(&x, &b, 30 * MS, sip);
    while (x.bytes < MUCH && !a.closed)
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    cr_assert_geq(x.beats, 64);
    weir_timer_stop(x.timer);
    expect_log(e, "a wrote 0\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, who_never_says_a_word_is_idle_too)
{
    struct weir_stream_options opt = {.size = sizeof opt, .idle_timeout_ns = 50 * MS};
    struct party a, b;
    begun = weir_now(e->loop);
    open_uneven_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "a read ETIMEDOUT\n"), "%s", e->log);
    cr_assert_eq(a.reason, -ETIMEDOUT);
    expect_at(e, 50);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, an_idle_stream_is_ended)
{
    struct weir_stream_options opt = {.size = sizeof opt, .idle_timeout_ns = 50 * MS};
    struct party a, b;
    struct pulse x;
    begun = weir_now(e->loop);
    open_uneven_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    begin_pulse(&x, &a, 30 * MS, trickle);
    if (e->sim) { /* elsewhere a busy machine may be late */
        while (x.beats < 5)
            cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
        cr_assert_not(a.closed, "what moves is not idle");
    }
    weir_timer_stop(x.timer);
    run_until(e, &a.closed, 1);
    cr_assert_eq(a.reason, -ETIMEDOUT);
    expect_at(e, 150 + 50);
    close_pair(e, &a, &b);
}

static void nothing(struct weir_timer *timer, void *arg)
{
    (void)timer, (void)arg;
}

/* Nobody asked when these bytes went; it comes to light as something else happens. */
ON_ALL_LAYERS(stream_time, what_was_sent_long_ago_is_no_news)
{
    struct weir_stream_options opt = {.size = sizeof opt, .idle_timeout_ns = 50 * MS};
    struct weir_timer *timer;
    struct party a, b;
    begun = weir_now(e->loop);
    open_uneven_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, "x", 1, NULL, NULL), 0);
    cr_assert_eq(weir_timer_start(e->loop, 30 * MS, 0, nothing, NULL, &timer), 0);
    run_until(e, &a.closed, 1);
    cr_assert_eq(a.reason, -ETIMEDOUT);
    expect_at(e, 50);
    weir_timer_stop(timer);
    close_pair(e, &a, &b);
}

/* ---- The least rate ---- */

/* Each kind of peer at once, since the grace is long. */
struct rated {
    struct party a, b;
    struct pulse pulse;
};

static void open_rated(struct env *e, struct rated *r, uint64_t rate, uint64_t period, weir_timer_fn *fn, bool reader)
{
    struct weir_stream_options opt = {.size = sizeof opt, .min_rate = rate};
    open_narrow_pair(e, &opt, &r->a, &r->b);
    begin_pulse(&r->pulse, reader ? &r->b : &r->a, period, fn);
}

OVER_TLS_TOO(stream_time, the_least_rate_ends_the_slow_and_nobody_else)
{
    struct rated slow_sender, slow_taker, steady_sender, steady_taker, silent;
    begun = weir_now(e->loop);
    /* Ten bytes a second, each of which is up to 23 on the wire of a layer: those count. */
    open_rated(e, &slow_sender, e->layer ? 1000 : 100, 100 * MS, trickle, false);
    open_rated(e, &steady_sender, 2, 100 * MS, trickle, false);
    open_rated(e, &silent, 100, 1000 * MS, beat, false);
    open_rated(e, &slow_taker, 1000000, 1000 * MS, beat, true); /* but for what the kernel takes */
    open_rated(e, &steady_taker, 20000, 100 * MS, sip, true);   /* 160,000 bytes a second */
    struct rated *senders[] = {&slow_sender, &steady_sender, &silent}, *takers[] = {&slow_taker, &steady_taker};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(weir_read_bytes(senders[i]->b.s, 1000, on_read, &senders[i]->b), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(weir_write(takers[i]->a.s, much, MUCH, NULL, NULL), 0);
    while (weir_now(e->loop) < begun + 7000 * MS)
        cr_assert_geq(weir_loop_run_once(e->loop, 100 * MS), 0);
    cr_assert_eq(slow_sender.b.reason, -ETIMEDOUT);
    cr_assert_eq(slow_taker.a.reason, -ETIMEDOUT);
    cr_assert_not(steady_sender.b.closed);
    cr_assert_not(steady_taker.a.closed);
    cr_assert_gt(steady_taker.pulse.bytes, 7 * 20000, "%zu", steady_taker.pulse.bytes);
    cr_assert_not(silent.b.closed, "a read that has nothing is not slow");
    struct rated *all[] = {&slow_sender, &steady_sender, &silent, &slow_taker, &steady_taker};
    for (int i = 0; i < 5; i++) {
        weir_timer_stop(all[i]->pulse.timer);
        close_pair(e, &all[i]->a, &all[i]->b);
    }
}

/* ---- Flushing ---- */

ON_ALL_LAYERS(stream_time, a_flush_that_does_not_get_out_is_given_up)
{
    struct weir_stream_options opt = {.size = sizeof opt, .flush_timeout_ns = 50 * MS};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, much, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a wrote ETIMEDOUT\na closed ETIMEDOUT\n");
    expect_at(e, 50);
    close_pair(e, &a, &b);
}

/* All is sent; only the peer's FIN does not come. That is no failure. */
static void linger(struct env *e, uint64_t flush_timeout, uint64_t ms)
{
    struct weir_stream_options opt = {.size = sizeof opt, .flush_timeout_ns = flush_timeout, .half_open = 1};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, "reply", 5, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a wrote 0\na closed 0\n");
    expect_at(e, ms);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_time, lingering_is_bound_by_the_flush)
{
    linger(e, 500 * MS, 500);
}

OVER_TLS_TOO(stream_time, lingering_is_bound_by_itself)
{
    linger(e, 0, 2000);
}

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

/* Or it might never end. */
ON_ALL_WORLDS(stream_time, a_flush_that_nothing_can_bound_ends_at_once)
{
    struct party a, b;
    open_limited(e, NULL, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, much, MUCH, NULL, on_wrote, &a), 0);
    run_idle(e);
    wr_mem_gate = refuse;
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_deadline(b.s, 1), -EINVAL);
    cr_assert_eq(weir_read_bytes(b.s, 2 * MUCH, on_read, &b), WEIR_EBUFFULL);
    cr_assert_eq(weir_read_bytes(b.s, MUCH, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, LATE), -ENOMEM);
    wr_mem_gate = NULL;
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "a wrote ENOMEM\na closed ENOMEM\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* ---- Several at once ---- */

ON_ALL_LAYERS(stream_time, limits_end_with_the_stream)
{
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = 500 * MS, .idle_timeout_ns = 500 * MS,
                                      .write_stall_timeout_ns = 500 * MS, .min_rate = 1};
    struct party a, b;
    open_limited(e, &opt, &a, &b);
    cr_assert_eq(weir_write(a.s, much, MUCH, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 10, on_read, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ECANCELED\na wrote ECANCELED\na closed 0\n");
    close_pair(e, &a, &b);
    cr_assert_leq(e->loop->timers.count, 1, "there is none but the cache's");
}
