/* Suite fair: who takes all that he can get does not take it from others, on all three worlds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bufpool.h"
#include "helpers_stream.h"
#include "loop.h"
#include "stream.h"

TestSuite(fair, .timeout = 120);

/* ---- Firehoses and 200 pingers ---- */

enum { PINGERS = 200, ROUNDS = 10, FIREHOSES = 3, GULP = 1 << 20, LIMIT = 256 << 10 };

static struct pinger {
    struct party here, there;
    int rounds;
} pinger[PINGERS];

static struct firehose {
    struct party from, to;
    int gulps;
} firehose[FIREHOSES];

static unsigned char flood[4 * GULP];
static int pings, waited;
static size_t peak;

static void send_back(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status == 0)
        cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
}

static void ping(struct pinger *p);

static void pinged(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct pinger *p = arg;
    (void)s;
    cr_assert_eq(status, 0);
    cr_assert(view.len == 4 && memcmp(view.data, "ping", 4) == 0);
    pings++;
    if (++p->rounds < ROUNDS)
        ping(p);
}

static void ping(struct pinger *p)
{
    cr_assert_eq(weir_read_bytes(p->here.s, 4, pinged, p), 0);
    cr_assert_eq(weir_write(p->here.s, "ping", 4, NULL, NULL), 0);
}

/* Always more to send, and always more to read, a large piece at a time. What went before a close is told after it. */
static void spout(struct weir_stream *s, int status, void *arg)
{
    int rc = status == 0 ? weir_write_ref(s, flood, sizeof flood, NULL, spout, arg) : 0;
    cr_assert(rc == 0 || rc == WEIR_ECLOSED);
}

static void swallow(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct firehose *f = arg;
    if (status == -ECANCELED)
        return;
    cr_assert_eq(status, 0);
    expect_bytes(view.data, (size_t)(f->gulps % 4) * GULP, GULP);
    f->gulps++;
    cr_assert_eq(weir_read_bytes(s, GULP, swallow, f), 0);
}

/* No layer has still to begin when they do, however long it takes all of them. */
static void open_all(struct env *e)
{
    struct weir_stream_options opt = {.size = sizeof opt, .handshake_timeout_ns = 3600000000000u};
    pings = waited = 0;
    peak = 0;
    fill_bytes(flood, 0, sizeof flood);
    e->loop->max_memory = LIMIT;
    for (int i = 0; i < FIREHOSES; i++) {
        firehose[i].gulps = 0;
        open_pair(e, &opt, &firehose[i].from, &firehose[i].to);
        cr_assert_eq(weir_read_bytes(firehose[i].to.s, GULP, swallow, &firehose[i]), 0);
    }
    for (int i = 0; i < PINGERS; i++) {
        pinger[i].rounds = 0;
        open_pair(e, &opt, &pinger[i].here, &pinger[i].there);
        cr_assert_eq(weir_read_start(pinger[i].there.s, send_back, NULL), 0);
    }
    run_idle(e);
    for (int i = 0; i < FIREHOSES; i++)
        spout(firehose[i].from.s, 0, NULL);
}

static void watch_turn(struct env *e)
{
    int rc = weir_loop_run_once(e->loop, 1000000000);
    cr_assert_geq(rc, 0);
    if (!wr_list_empty(&e->loop->starved) && wr_bufpool_available(&e->loop->world->pool) > 0)
        cr_assert_eq(rc, 1, "it would sleep although a buffer is there for who waits");
    waited += !wr_list_empty(&e->loop->thirsty);
    peak = e->loop->cache.used > peak ? e->loop->cache.used : peak;
}

OVER_TLS_TOO(fair, firehoses_wait_for_memory_and_pingers_do_not)
{
    open_all(e);
    while (waited == 0)
        watch_turn(e);
    for (int i = 0; i < PINGERS; i++)
        ping(&pinger[i]);
    while (pings < PINGERS * ROUNDS)
        watch_turn(e);
    cr_assert_gt(waited, 1, "the firehoses pressed on");
    cr_assert_lt(peak, LIMIT + 4 * GULP, "%zu bytes", peak);
    for (int i = 0; i < FIREHOSES; i++)
        for (int gulps = firehose[i].gulps; firehose[i].gulps < gulps + 2;)
            watch_turn(e); /* all of them go on, one after the other */
    for (int i = 0; i < FIREHOSES; i++)
        close_pair(e, &firehose[i].from, &firehose[i].to);
    for (int i = 0; i < PINGERS; i++)
        close_pair(e, &pinger[i].here, &pinger[i].there);
}

/* ---- 100,000 requests in one write ---- */

/* WIRE: what a layer may have made of what its stream writes. */
enum { REQUESTS = 100000, REQUEST = 9, REPLY = 3, ECHOES = 50, WIRE = 128 << 10 };

static char requests[REQUESTS * REQUEST + 1];
static int served, echoes;
static size_t replied;
static uintptr_t low, high;

static void note_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    low = low == 0 || here < low ? here : low;
    high = here > high ? here : high;
}

static void on_request(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    note_stack();
    if (status != 0)
        return;
    cr_assert_eq(view.len, REQUEST);
    cr_assert_eq(memcmp(view.data, requests + (size_t)served * REQUEST, REQUEST), 0, "request %d", served);
    served++;
    cr_assert_eq(weir_write(s, "ok\n", REPLY, NULL, NULL), 0);
    cr_assert_eq(weir_read_until(s, "\n", 1, 0, on_request, arg), 0);
}

static void on_replies(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    if (status == 0)
        replied += view.len;
}

static void echoed(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct party *p = arg;
    cr_assert_eq(status, 0);
    cr_assert(view.len == 4 && memcmp(view.data, "ping", 4) == 0);
    if (++echoes == ECHOES)
        return;
    cr_assert_eq(weir_read_bytes(s, 4, echoed, p), 0);
    cr_assert_eq(weir_write(s, "ping", 4, NULL, NULL), 0);
}

static void flood_with_requests(struct env *e)
{
    struct party client, server, other, echo;
    served = echoes = 0;
    replied = peak = 0;
    low = high = 0;
    for (int i = 0; i < REQUESTS; i++)
        snprintf(requests + (size_t)i * REQUEST, REQUEST + 1, "%08d\n", i);
    open_pair(e, NULL, &client, &server);
    open_pair(e, NULL, &other, &echo);
    cr_assert_eq(weir_read_until(server.s, "\n", 1, 0, on_request, NULL), 0);
    cr_assert_eq(weir_read_start(client.s, on_replies, NULL), 0);
    cr_assert_eq(weir_read_start(echo.s, send_back, NULL), 0);
    run_idle(e); /* a layer has begun */
    cr_assert_eq(weir_write_ref(client.s, requests, REQUESTS * REQUEST, NULL, NULL, NULL), 0);
    while (served == 0)
        watch_turn(e);
    cr_assert_eq(weir_read_bytes(other.s, 4, echoed, &other), 0);
    cr_assert_eq(weir_write(other.s, "ping", 4, NULL, NULL), 0);
    while (echoes < ECHOES)
        watch_turn(e);
    cr_assert_lt(served, REQUESTS, "the other client was served meanwhile");
    while (replied < REQUESTS * REPLY)
        watch_turn(e);
    cr_assert_eq(served, REQUESTS);
    cr_assert_lt(high - low, 16384, "the stack is flat");
    cr_assert_lt(peak, (256 << 10) + (e->layer ? 2 * WIRE : 0), "%zu bytes", peak);
    close_pair(e, &client, &server);
    close_pair(e, &other, &echo);
}

OVER_TLS_TOO(fair, a_flood_of_requests_is_flat_bounded_and_fair)
{
    flood_with_requests(e);
}

/* Who needs a buffer waits his turn, also if he comes from reading. */
OVER_TLS_TOO(fair, the_only_buffer_goes_round)
{
    reopen_with_buffers(e, 1, 1024);
    flood_with_requests(e);
}

/* ---- Who waits for a buffer, and is then asked for something else ---- */

enum { TRIES = 20, SENT = 100, INTO = 40000 };

static unsigned char memory[INTO];
static int into;

static void got_all(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    cr_assert_eq(status, WEIR_EOF);
    cr_assert_eq(view.len, SENT);
    expect_bytes(view.data, 0, SENT);
    into++;
}

/* Less than a buffer: some is left, and so each receive is started anew. */
static void take_some(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    size_t *n = arg;
    *n += view.len;
    int rc = status == 0 ? weir_read_bytes(s, 48, take_some, n) : 0;
    cr_assert(rc == 0 || rc == WEIR_ECLOSED);
}

/* The only buffer there is has always something to hold. */
static void take_the_buffer(struct env *e, struct party *x, struct party *y, size_t *n)
{
    fill_bytes(flood, 0, sizeof flood);
    reopen_with_buffers(e, 1, 64);
    open_pair(e, NULL, x, y);
    cr_assert_eq(weir_read_bytes(y->s, 48, take_some, n), 0);
    spout(x->s, 0, NULL);
}

static void ask_who_waits(void *arg)
{
    struct party *p = arg;
    bool waits = !wr_list_empty(&p->s->in.link);
    waited += waits;
    if (waits)
        cr_assert_eq(weir_read_into(p->s, memory, INTO, 0, got_all, NULL), 0);
}

/* The peer has sent, and ended: so one looks what has come, and finds no buffer; then comes a read that needs none. */
OVER_TLS_TOO(fair, who_waits_for_a_buffer_and_needs_none_any_more_goes_on)
{
    struct party a, b, x, y;
    size_t n = 0;
    take_the_buffer(e, &x, &y, &n);
    waited = into = 0;
    for (int i = 0; i < TRIES; i++) {
        int before = waited;
        open_pair(e, NULL, &a, &b);
        cr_assert_eq(weir_write(a.s, flood, SENT, NULL, NULL), 0);
        cr_assert_eq(weir_shutdown(a.s), 0);
        while (waited == before && facts_of(&b).buffered == 0) {
            cr_assert_eq(weir_post(e->loop, ask_who_waits, &b), 0);
            cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
        }
        run_until(e, &into, waited);
        close_pair(e, &a, &b);
    }
    cr_assert(waited > 0 || e->sim); /* there, completions come one by one */
    close_pair(e, &x, &y);
}

static void stop_who_waits(void *arg)
{
    struct party *p = arg;
    bool waits = !p->closed && !wr_list_empty(&p->s->in.link);
    waited += waits;
    if (waits)
        cr_assert_eq(weir_read_stop(p->s), 0);
}

/* The peer has ended: so one looks what has come, and finds no buffer; then nobody wants any. */
OVER_TLS_TOO(fair, who_waits_for_a_buffer_and_stops_reading_hears_the_end)
{
    struct party a, b, x, y;
    size_t n = 0;
    take_the_buffer(e, &x, &y, &n);
    waited = 0;
    for (int i = 0; i < TRIES; i++) {
        int before = waited;
        open_pair(e, NULL, &a, &b);
        cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
        cr_assert_eq(weir_shutdown(a.s), 0);
        while (waited == before && !b.closed) {
            cr_assert_eq(weir_post(e->loop, stop_who_waits, &b), 0);
            cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
        }
        run_until(e, &b.closed, 1);
        cr_assert_eq(b.reason, WEIR_EOF);
        close_pair(e, &a, &b);
    }
    cr_assert(waited > 0 || e->sim); /* there, completions come one by one */
    close_pair(e, &x, &y);
}

/* ---- More floods than buffers ---- */

enum { FLOODS = 100, AT_FIRST = 50, TURNS = 20 };

static void drown(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)status, (void)view, (void)arg;
}

/* Each of the floods could have all buffers, for as long as anybody looks. */
static void speak_through_floods(struct env *e, uint32_t count, uint32_t size)
{
    static struct party from[FLOODS], to[FLOODS], here, there;
    int turns = 0;
    reopen_with_buffers(e, count, size);
    open_pair(e, NULL, &here, &there);
    cr_assert_eq(weir_read_start(there.s, send_back, NULL), 0);
    for (int i = 0; i < FLOODS; i++) {
        open_pair(e, NULL, &from[i], &to[i]);
        cr_assert_eq(weir_read_start(to[i].s, drown, NULL), 0);
    }
    run_idle(e); /* a layer has begun */
    for (int i = 0; i < FLOODS; i++)
        spout(from[i].s, 0, NULL);
    for (int i = 0; i < AT_FIRST; i++)
        watch_turn(e);
    echoes = ECHOES - 1;
    cr_assert_eq(weir_read_bytes(here.s, 4, echoed, &here), 0);
    cr_assert_eq(weir_write(here.s, "ping", 4, NULL, NULL), 0);
    for (; echoes < ECHOES; turns++)
        watch_turn(e);
    cr_assert_lt(turns, e->layer ? 2 * TURNS : TURNS); /* records are longer, and come in more pieces */
    for (int i = 0; i < FLOODS; i++)
        close_pair(e, &from[i], &to[i]);
    close_pair(e, &here, &there);
}

OVER_TLS_TOO(fair, who_waits_for_a_buffer_waits_for_one_round_of_the_others)
{
    speak_through_floods(e, 32, 1024);
}

/* Not all that are free are offered to the kernel. */
OVER_TLS_TOO(fair, who_waits_for_one_of_many_buffers_waits_for_one_round_of_the_others)
{
    speak_through_floods(e, 128, 32768);
}

/* ---- More comes at once than was offered, and there is more to offer ---- */

enum { SPEAKERS = 36, WORD = 32768, REHEARSALS = 6, SPEECHES = 10 };

static size_t heard;

static void hear(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    heard += status == 0 ? view.len : 0;
}

static uint64_t starved_so_far(struct env *e)
{
    struct weir_loop_stats stats;
    cr_assert_eq(weir_loop_stats(e->loop, &stats, sizeof stats), 0);
    return stats.starved;
}

static void all_speak(struct env *e, const struct party *from)
{
    size_t goal = heard + (size_t)SPEAKERS * WORD;
    for (int i = 0; i < SPEAKERS; i++)
        cr_assert_eq(weir_write_ref(from[i].s, flood, WORD, NULL, NULL, NULL), 0);
    while (heard < goal)
        watch_turn(e);
}

/* Of 128 buffers the ring is offered 31, as all are filled. */
OVER_TLS_TOO(fair, who_used_up_what_was_offered_need_not_wait_for_a_buffer)
{
    static struct party from[SPEAKERS], to[SPEAKERS];
    reopen_with_buffers(e, 128, WORD);
    heard = 0;
    for (int i = 0; i < SPEAKERS; i++) {
        open_pair(e, NULL, &from[i], &to[i]);
        cr_assert_eq(weir_read_start(to[i].s, hear, NULL), 0);
    }
    for (int i = 0; i < REHEARSALS; i++)
        all_speak(e, from);
    uint64_t before = starved_so_far(e);
    for (int i = 0; i < SPEECHES; i++)
        all_speak(e, from);
    cr_assert_eq(starved_so_far(e), before);
    for (int i = 0; i < SPEAKERS; i++)
        close_pair(e, &from[i], &to[i]);
}
