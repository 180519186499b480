/* Suite memory: what streams may keep, together, and who waits when it is too much. */
#include "helpers_stream.h"
#include "loop.h"
#include "stream.h"

#include <errno.h>
#include <string.h>

/* WIRE: what a layer may have made of what its stream writes. */
enum { LIMIT = 64 << 10, PART = 16 << 10, WHOLE = 300 << 10, GATHERERS = 4, WIRE = 128 << 10 };

static struct party in[GATHERERS], out[GATHERERS], a, b;
static char text[WHOLE];
static int whole, pings;
static size_t peak;

static void got_whole(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    if (status == -ECANCELED)
        return; /* the test is over */
    cr_assert_eq(status, 0);
    cr_assert_eq(view.len, WHOLE);
    cr_assert_eq(memcmp(view.data, text, WHOLE), 0);
    whole++;
}

static void got_ping(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert_eq(status, 0);
    cr_assert_eq(view.len, 4);
    pings++;
}

static void open_parties(struct env *e)
{
    e->loop->max_memory = LIMIT;
    whole = pings = 0;
    for (size_t i = 0; i < WHOLE; i++)
        text[i] = (char)('a' + i % 23);
    for (int i = 0; i < GATHERERS; i++) {
        open_pair(e, NULL, &in[i], &out[i]);
        cr_assert_eq(weir_read_bytes(in[i].s, WHOLE, got_whole, NULL), 0);
    }
    open_pair(e, NULL, &a, &b);
}

static void close_parties(struct env *e)
{
    for (int i = 0; i < GATHERERS; i++) {
        weir_stream_close(in[i].s, WEIR_CLOSE_NOW);
        weir_stream_close(out[i].s, WEIR_CLOSE_NOW);
    }
    close_pair(e, &a, &b);
    for (int i = 0; i < GATHERERS; i++) {
        run_until(e, &in[i].closed, 1);
        run_until(e, &out[i].closed, 1);
    }
}

static void turn(struct env *e)
{
    cr_assert_geq(weir_loop_run_once(e->loop, 1000000), 0);
    if (e->loop->cache.used > peak)
        peak = e->loop->cache.used;
}

/* Borrowed bytes are not the loop's memory. */
static void send_part(int i, size_t off, size_t len)
{
    cr_assert_eq(weir_write_ref(out[i].s, text + off, len, NULL, NULL, NULL), 0);
}

OVER_TLS_TOO(memory, all_get_the_whole_one_after_the_other)
{
    open_parties(e);
    peak = 0;
    for (int i = 0; i < GATHERERS; i++)
        send_part(i, 0, WHOLE);
    for (int turns = 0; whole < GATHERERS; turns++) {
        cr_assert_lt(turns, 1000000);
        turn(e);
    }
    /* The exempt one doubles its memory as it grows; each of the others keeps a receive buffer's worth or two. */
    size_t bound = LIMIT + 4 * WHOLE + 2 * GATHERERS * e->loop->world->pool.size;
    cr_assert_lt(peak, bound, "%zu bytes on %s", peak, e->world);
    close_parties(e);
}

OVER_TLS_TOO(memory, who_keeps_nothing_does_not_wait)
{
    struct weir_loop_stats stats;
    open_parties(e);
    for (int i = 0; i < GATHERERS; i++)
        send_part(i, 0, WHOLE - 1); /* none can complete */
    run_idle(e);
    cr_assert(wr_loop_is_full(e->loop));
    cr_assert_not(wr_list_empty(&e->loop->thirsty));
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(weir_read_bytes(a.s, 4, got_ping, NULL), 0);
        cr_assert_eq(weir_write(b.s, "ping", 4, NULL, NULL), 0);
        run_until(e, &pings, i + 1);
    }
    cr_assert_eq(whole, 0);
    weir_loop_stats(e->loop, &stats, sizeof stats);
    cr_assert_geq(stats.thirsted, GATHERERS - 1);
    cr_assert_geq(stats.memory, LIMIT);
    for (int i = 0; i < GATHERERS; i++)
        send_part(i, WHOLE - 1, 1);
    run_until(e, &whole, GATHERERS);
    close_parties(e);
}

/* The one that need not wait may have a peer that has stopped sending: then it is another's turn. */
OVER_TLS_TOO(memory, a_stalled_peer_does_not_hold_up_the_others)
{
    open_parties(e);
    e->loop->max_memory = 2 * WHOLE + (e->layer ? WIRE : 0); /* twice that holds what two stalled senders keep, too */
    send_part(0, 0, WHOLE - 1);
    send_part(1, 0, WHOLE - 1);
    run_idle(e);
    cr_assert(wr_loop_is_full(e->loop));
    send_part(2, 0, WHOLE);
    send_part(3, 0, WHOLE);
    run_until(e, &whole, 2);
    send_part(0, WHOLE - 1, 1);
    send_part(1, WHOLE - 1, 1);
    run_until(e, &whole, GATHERERS);
    close_parties(e);
}

/* But not for ever: peers that all stop in the middle would have it all. */
OVER_TLS_TOO(memory, stalled_peers_do_not_get_more_than_twice_the_limit)
{
    open_parties(e);
    peak = 0;
    for (int i = 0; i < GATHERERS; i++)
        send_part(i, 0, WHOLE - 1);
    for (int turns = 0; turns < 600; turns++)
        turn(e);
    cr_assert_lt(peak, 2 * LIMIT + 4 * WHOLE, "%zu bytes on %s", peak, e->world);
    cr_assert_not(wr_list_empty(&e->loop->thirsty));
    close_parties(e);
}

OVER_TLS_TOO(memory, who_waits_can_be_closed)
{
    open_parties(e);
    for (int i = 0; i < GATHERERS; i++)
        send_part(i, 0, WHOLE - 1);
    run_idle(e);
    cr_assert_not(wr_list_empty(&e->loop->thirsty));
    close_parties(e);
    cr_assert_eq(whole, 0);
}

OVER_TLS_TOO(memory, who_asks_no_more_is_in_nobodys_way)
{
    open_parties(e);
    e->loop->max_memory = 0; /* one at a time */
    run_idle(e);
    cr_assert_eq(weir_read_cancel(in[1].s), 0);
    run_idle(e);
    for (int i = 0; i < GATHERERS; i++)
        if (i != 1)
            send_part(i, 0, WHOLE);
    run_until(e, &whole, GATHERERS - 1);
    close_parties(e);
}

OVER_TLS_TOO(memory, a_write_into_a_full_loop_makes_its_stream_full)
{
    struct weir_stream_facts facts;
    open_parties(e);
    e->loop->max_memory = 1;
    cr_assert_eq(weir_write(a.s, "x", 1, NULL, NULL), 0);
    cr_assert_eq(weir_stream_facts(a.s, &facts, sizeof facts), 0);
    cr_assert(facts.full);
    run_idle(e);
    cr_assert_eq(weir_stream_facts(a.s, &facts, sizeof facts), 0);
    cr_assert_not(facts.full);
    close_parties(e);
}

OVER_TLS_TOO(memory, a_write_of_nothing_leaves_nothing_to_drain)
{
    struct weir_stream_facts facts;
    open_parties(e);
    e->loop->max_memory = 0;
    cr_assert_eq(weir_write(a.s, "", 0, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_facts(a.s, &facts, sizeof facts), 0);
    cr_assert_not(facts.full);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    close_parties(e);
}

/* Room that is given before the bytes come is not taken from those who send theirs. */
OVER_TLS_TOO(memory, many_who_announce_much_fill_nothing)
{
    enum { CROWD = 64, SAID = 40000, KEPT = 128 << 10 };
    static struct party hearer[CROWD], announcer[CROWD];
    e->loop->max_memory = 2 * CROWD * KEPT;
    for (int i = 0; i < CROWD; i++) {
        open_pair(e, NULL, &hearer[i], &announcer[i]);
        cr_assert_eq(weir_read_bytes(hearer[i].s, WHOLE, got_whole, NULL), 0);
        cr_assert_eq(weir_write_ref(announcer[i].s, text, SAID, NULL, NULL, NULL), 0);
        run_idle(e);
    }
    cr_assert_not(wr_loop_is_full(e->loop), "%zu bytes on %s", e->loop->cache.used, e->world);
    for (int i = 0; i < CROWD; i++)
        close_pair(e, &hearer[i], &announcer[i]);
}

OVER_TLS_TOO(memory, an_idle_loop_keeps_nothing)
{
    open_parties(e);
    send_part(0, 0, WHOLE);
    run_until(e, &whole, 1);
    cr_assert_gt(e->loop->cache.kept, 0);
    for (int turns = 0; e->loop->cache.kept > 0; turns++) {
        cr_assert_lt(turns, 10);
        cr_assert_geq(weir_loop_run_once(e->loop, UINT64_MAX), 0);
    }
    cr_assert_eq(weir_loop_next_deadline(e->loop), UINT64_MAX, "and it is not woken any more");
    close_parties(e);
}

/* ---- Who uses up what was offered ---- */

enum { SEEKERS = 36, GROUND = 1 << 20, TORRENT = 1 << 20, PIECE = 32768, PIECES = 128 };

static unsigned char torrent[TORRENT];

static void search(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)view, (void)arg;
    if (status == 0)
        cr_assert_eq(weir_read_until(s, "never", 5, 2 * TORRENT, search, NULL), 0);
}

/* Each finds a buffer, and none for more: who was to stop then, for want of memory, does not go on with the next. */
OVER_TLS_TOO(memory, who_used_up_what_was_offered_waits_for_memory_like_others)
{
    static struct party from[SEEKERS], to[SEEKERS];
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 2 * TORRENT};
    reopen_with_buffers(e, PIECES, PIECE);
    e->loop->max_memory = GROUND;
    for (int i = 0; i < SEEKERS; i++) {
        open_pair(e, &opt, &from[i], &to[i]);
        cr_assert_eq(weir_read_until(to[i].s, "never", 5, 2 * TORRENT, search, NULL), 0);
        cr_assert_eq(weir_write(from[i].s, "never", 5, NULL, NULL), 0);
    }
    run_idle(e);
    for (int i = 0; i < SEEKERS; i++)
        cr_assert_eq(weir_write_ref(from[i].s, torrent, TORRENT, NULL, NULL, NULL), 0);
    peak = 0;
    for (int turns = 0; turns < 60; turns++)
        turn(e);
    size_t wires = e->layer ? (size_t)SEEKERS * WIRE : 0;
    cr_assert_leq(peak, GROUND + 2 * PIECES * PIECE + wires, "%zu bytes on %s", peak, e->world);
    cr_assert_not(wr_list_empty(&e->loop->thirsty));
    for (int i = 0; i < SEEKERS; i++)
        close_pair(e, &from[i], &to[i]);
}
