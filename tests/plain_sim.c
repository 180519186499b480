/* Random programs in the simulator against an oracle that knows what must come out.
 *
 * Each seed makes a network with faults, a few connections, and a program that calls at random what streams and loops
 * offer, from inside callbacks and from outside. The oracle holds, for every accepted call, that it calls back exactly
 * once, in the context it was asked for in, never from inside a call, never after on_close; that the bytes are the
 * right ones, in order, none lost or doubled; that a stream ends for a reason only, and nothing before its time; that
 * once the faults stop everything completes; and that no memory, buffer or socket is left.
 *
 *   plain_sim [FIRST [COUNT]]     a failure prints the command that replays it */
#include "plain_sim.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

struct sim_state t;
struct side sides[SIDES_MAX];
uint64_t callbacks, total_bytes;

void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("seed %llu: ", (unsigned long long)t.seed);
    vprintf(format, args);
    printf("\nreplay: make sim SEED=%llu\n0 passed, 1 failed\n", (unsigned long long)t.seed);
    va_end(args);
    fflush(stdout);
    _exit(1);
}

extern const char *wr_assert_text;

static void aborted(int sig)
{
    (void)sig;
    fail("the library aborted: %s", wr_assert_text ? wr_assert_text : "(no assert)");
}

uint64_t draw(uint64_t n)
{
    return n ? weir_sim_random(t.sim) % n : 0;
}

bool chance(unsigned percent)
{
    return draw(100) < percent;
}

/* Mostly short: up to 65 ms. */
uint64_t draw_time(void)
{
    return 1 + draw(UINT64_C(1000) << draw(17));
}

struct weir_stream_facts facts_of(const struct side *x)
{
    struct weir_stream_facts f;
    must(weir_stream_facts(x->s, &f, sizeof f) == 0);
    return f;
}

/* ---- What a program does ---- */

static void act_on_life(struct side *x)
{
    switch (draw(6)) {
    case 0:
        ask_close(x, (int)draw(3));
        break;
    case 1:
        ask_shutdown(x);
        break;
    case 2:
        replace_on_close(x);
        break;
    default:
        cork_or_uncork(x, chance(50));
    }
}

void act_on_stream(struct side *x)
{
    uint64_t what = draw(100);
    if (what < 4)
        act_on_life(x);
    else if (what < 10)
        act_on_loop();
    else if (what < 18)
        ask_less(x);
    else if (what < 22)
        look(x);
    else if (what < 23)
        shrink_file(x);
    else if (chance(x->reads && x->writes ? 50 : x->reads ? 98 : 2))
        ask_read(x);
    else
        ask_write(x);
}

void act(struct side *x)
{
    if (x->closed || (t.quiet && x->raw < 0))
        return;
    if (x->raw >= 0) {
        act_raw(x);
        return;
    }
    must(!x->closing || facts_of(x).buffered <= x->kept);
    if (chance(15))
        run_in_some_context(act_on_stream, x);
    else
        act_on_stream(x);
}

static void turn(uint64_t timeout)
{
    t.turns++;
    int rc = weir_loop_run_once(t.loop, timeout);
    if (rc < 0)
        fail("the loop ended: %s", weir_strerror(rc));
    must(!t.in_callback && t.depth == 0);
    for (int i = 0; i < t.sides; i++)
        observe(&sides[i]);
    timers_are_told();
    calls_are_told();
}

/* For seconds nobody does anything of himself. */
static void stay_silent(void)
{
    uint64_t until = weir_now(t.loop) + draw(12000000000);
    for (int i = 0; i < 200 && weir_now(t.loop) < until; i++)
        turn(until - weir_now(t.loop));
}

static void play(void)
{
    unsigned steps = 20 + (unsigned)draw(400);
    for (unsigned i = 0; i < steps; i++) {
        for (uint64_t n = draw(4); n > 0; n--)
            act(&sides[draw((uint64_t)t.sides)]);
        turn(draw(3) ? draw(200000) : 0);
        if (draw(300) == 0)
            stay_silent();
        check_holds();
        drop_holds(10);
    }
}

/* ---- How it ends ---- */

static void close_or_end(struct side *x)
{
    if (x->pipe)
        ask_close(x, WEIR_CLOSE_FLUSH);
    else
        ask_shutdown(x);
}

/* Enough bytes for whatever read is pending, and the end behind them. */
static void finish_stream(struct side *x)
{
    if (x->corked)
        cork_or_uncork(x, false); /* or it would wake a stream that sleeps for ever */
    bool full = x->writes && !x->shut && !x->closing && ask_write_of(x, READ_MAX + 8) == -ENOBUFS;
    if (x->writes && (!full || facts_of(x).queued == 0)) /* its limit may be less than this */
        close_or_end(x);
    if (x->reads && x->read.kind == 0 && !x->ended)
        ask_chunks(x);
}

static void finish_sending(struct side *x)
{
    if (x->closed || x->connecting || x->watch)
        return;
    if (x->raw >= 0)
        finish_raw(x);
    else
        finish_stream(x);
}

static bool is_settled(const struct side *x)
{
    if (x->closed || x->raw >= 0)
        return x->closed || x->ended;
    struct weir_stream_facts f = facts_of(x);
    return f.queued == 0 && (x->ended || f.closed || !x->reads) && x->read.kind == 0;
}

/* Without faults, and with peers that read and send, every read and every write comes to its end by itself. */
static void settle(void)
{
    t.settling = true;
    for (int i = 0; i < t.sides; i++) {
        sides[i].goal = sides[i].sent + READ_MAX + 8;
        if (sides[i].watch)
            must(ask(weir_watch_update(sides[i].watch, sides[i].watched = WEIR_READABLE | WEIR_WRITABLE)) == 0);
    }
    for (unsigned round = 0, left = 1; left > 0; round++) {
        left = 0;
        must(round < 200000);
        for (int i = 0; i < t.sides; i++) {
            finish_sending(&sides[i]);
            left += !is_settled(&sides[i]);
        }
        turn(1000000);
    }
    t.settling = false;
}

static void close_all(bool dead)
{
    for (int i = 0; i < t.sides; i++)
        if (!sides[i].closed && sides[i].raw < 0)
            ask_close(&sides[i], (int)draw(3));
    must(ask(weir_listener_close(t.listener)) == 0);
    t.deaf = true;
    for (unsigned i = 0; t.open > 0; i++) {
        must(i < 200000);
        for (int k = 0; k < t.sides; k++)
            if (sides[k].raw >= 0 && (!dead || sides[k].peer->closed))
                act(&sides[k]);
        turn(10000000);
    }
    for (int i = 0; i < 20; i++)
        turn(1000000);
}

/* No faults from here on; every stream is closed in some manner, and must come to its end in bounded time, also if its
 * peer is a raw one that has died. Or the loop is closed over all of them. */
static void wind_up(void)
{
    bool dead = chance(20);
    t.quiet = true;
    must(weir_sim_heal(t.sim) == 0);
    if (chance(50))
        drop_holds(100); /* the others stand in the way */
    if (!dead && chance(60))
        settle();
    t.evicting = chance(10);
    if (!t.evicting)
        close_all(dead);
    check_holds();
}

static bool is_anything_held(void)
{
    for (int i = 0; i < HOLDS_MAX; i++)
        if (t.held[i].hold)
            return true;
    return false;
}

static void nothing_is_left(void)
{
    struct weir_loop_stats st;
    must(weir_loop_stats(t.loop, &st, sizeof st) == 0);
    must(st.streams == 0 && st.buffers_free == t.buffers && st.memory == 0);
}

/* Nothing is left, but what the program itself still holds. */
static void close_loop(void)
{
    if (is_anything_held())
        must(weir_loop_close(t.loop) == -EBUSY);
    drop_holds(100);
    if (!t.evicting)
        nothing_is_left();
    must(weir_loop_close(t.loop) == 0);
    for (int i = 0; i < t.sides; i++) {
        sides[i].watch = NULL; /* they went with the loop */
        if (sides[i].raw >= 0 && !sides[i].closed)
            close_raw(&sides[i], false);
    }
    must(t.open == 0);
    contexts_are_gone();
}

/* ---- A seed ---- */

static void open_world(void)
{
    struct weir_sim_options opt = {.size = sizeof opt};
    struct weir_loop_options lopt = {.size = sizeof lopt};
    struct weir_loop_stats st;
    uint64_t h = (t.seed + 1) * 0x9e3779b97f4a7c15u;
    t.faults = opt.faults = (h >> 60) == 0 ? 0 : (uint32_t)(h >> 20) & WEIR_SIM_ALL;
    must(weir_sim_open(t.seed, &opt, &t.sim) == 0);
    lopt.max_memory = t.max_memory = chance(20) ? 1 + (size_t)draw(200000) : 0;
    must(weir_sim_loop_open(t.sim, &lopt, &t.loop) == 0);
    must(weir_loop_stats(t.loop, &st, sizeof st) == 0);
    t.buffers = st.buffers_free;
    open_contexts();
    listen_for_sides(chance(30));
}

static void make_pairs(struct side *none)
{
    (void)none;
    if (chance(40))
        connect_sides();
    else
        pair_sides(chance(40), chance(25));
}

static uint64_t run_seed(uint64_t seed)
{
    uint64_t live = wr_mem_live();
    t = (struct sim_state){.seed = seed, .current = -1};
    open_world();
    pair_sides(chance(40), chance(25));
    for (uint64_t n = draw(3); n > 0; n--)
        run_in_some_context(make_pairs, NULL);
    play();
    wind_up();
    stop_timers();
    close_contexts();
    close_patterns();
    close_loop();
    must(t.files == 0);
    uint64_t digest = weir_sim_digest(t.sim);
    must(weir_sim_close(t.sim) == 0);
    if (wr_mem_live() != live)
        fail("%lld blocks of memory left", (long long)(wr_mem_live() - live));
    return digest;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 20000;
    signal(SIGABRT, aborted);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t digest = run_seed(seed);
        if (seed % 97 == 0 && run_seed(seed) != digest)
            fail("a second run went another way");
    }
    printf("%llu callbacks, %llu bytes checked\n%llu passed, 0 failed\n", (unsigned long long)callbacks,
           (unsigned long long)total_bytes, (unsigned long long)count);
    return 0;
}
