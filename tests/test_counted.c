/* What is promised in numbers: allocations, system calls, memory, bytes looked at. */
#include <string.h>

#include "helpers_stream.h"
#include "match.h"
#include "mem.h"

enum { ROUNDS = 2000, IDLE = 2000 };

static int echoed;

static void echo_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status == 0)
        cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
}

static void again(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    if (status != 0)
        return; /* the test is over */
    echoed++;
    cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
    cr_assert_eq(weir_read_until(s, "\n", 1, 0, again, arg), 0);
}

static void play(struct env *e, int rounds)
{
    int goal = echoed + rounds;
    run_until(e, &echoed, goal);
}

ON_ALL_WORLDS(counted, a_steady_state_allocates_nothing_and_enters_once_a_turn)
{
    struct party a, b;
    echoed = 0;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, echo_chunk, &b), 0);
    cr_assert_eq(weir_read_until(a.s, "\n", 1, 0, again, &a), 0);
    cr_assert_eq(weir_write(a.s, "ping pong\n", 10, NULL, NULL), 0);
    play(e, 200);
    struct weir_loop_stats before, after;
    uint64_t allocations = wr_mem_allocations();
    weir_loop_stats(e->loop, &before, sizeof before);
    play(e, ROUNDS);
    weir_loop_stats(e->loop, &after, sizeof after);
    if (!e->sim) /* the simulated kernel allocates; the library does not */
        cr_assert_eq(wr_mem_allocations(), allocations);
    cr_assert_leq(after.enters - before.enters, after.turns - before.turns);
    cr_assert_eq(after.copied_in, before.copied_in, "whole messages are never copied");
    close_pair(e, &a, &b);
}

static int arrived;

static void on_trickle(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert_eq(status, 0);
    arrived = (int)view.len;
}

/* One byte, and the turns it takes to arrive. */
static void drip(struct env *e, struct party *a, char c)
{
    cr_assert_eq(weir_write(a->s, &c, 1, NULL, NULL), 0);
    cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
}

ON_ALL_WORLDS(counted, a_trickled_delimiter_is_looked_for_in_linear_time)
{
    enum { BYTES = 1 << 18 };
    struct party a, b;
    arrived = 0;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_until(b.s, "aaab", 4, 1 << 20, on_trickle, &b), 0);
    uint64_t looked = wr_match_looked;
    struct weir_loop_stats before, after;
    weir_loop_stats(e->loop, &before, sizeof before);
    for (int i = 0; i < BYTES; i++)
        drip(e, &a, 'a');
    drip(e, &a, 'b');
    run_until(e, &arrived, BYTES + 1);
    weir_loop_stats(e->loop, &after, sizeof after);
    cr_assert_leq(wr_match_looked - looked, 3 * (uint64_t)(BYTES + 1));
    cr_assert_leq(after.copied_in - before.copied_in, 4 * (uint64_t)BYTES,
                  "a byte is moved a constant number of times");
    close_pair(e, &a, &b);
}

static size_t allocated;

static bool weigh(size_t size)
{
    allocated += size;
    return true;
}

ON_ALL_WORLDS(counted, an_idle_stream_is_small)
{
    static struct party parties[IDLE];
    allocated = 0;
    wr_mem_gate = e->sim ? NULL : weigh;
    for (int i = 0; i < IDLE; i += 2) {
        open_pair(e, NULL, &parties[i], &parties[i + 1]);
        cr_assert_eq(weir_read_until(parties[i].s, "\n", 1, 0, on_read, &parties[i]), 0);
    }
    run_idle(e);
    wr_mem_gate = NULL;
    cr_assert_lt(allocated / IDLE, 1024, "%zu bytes for each", allocated / IDLE);
    for (int i = 0; i < IDLE; i++)
        weir_stream_close(parties[i].s, WEIR_CLOSE_NOW);
    run_until(e, &e->closes, IDLE);
}
