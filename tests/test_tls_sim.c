/* Suite tls_sim: TLS between two streams in the simulator, under all of its faults, from seeds. */
#include <errno.h>
#include <string.h>

#include "helpers_stream.h"
#include "helpers_tls.h"
#include "mem.h"

TestSuite(tls_sim, .timeout = 120);

struct side {
    const char *name;
    struct weir_stream *s;
    struct side *peer;
    uint64_t *seed;
    size_t total, sent, got;    /* bytes that it will send, has sent, has read */
    int ended;                  /* what its reads ended with, 1: not yet */
    int closed, reason;
};

enum { TOTAL_MAX = 100000 };

static void write_more(struct side *side);

static void on_piece_gone(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    if (status == 0)
        write_more(arg);
}

/* Some pieces at a time; the last one's callback goes on. Then its end. */
static void write_more(struct side *side)
{
    static unsigned char bytes[TOTAL_MAX];
    for (uint64_t n = 1 + chance(side->seed, 3); n > 0 && side->sent < side->total; n--) {
        size_t len = 1 + chance(side->seed, side->total - side->sent);
        fill_bytes(bytes, side->sent, len);
        if (weir_write(side->s, bytes, len, n == 1 ? on_piece_gone : NULL, side) < 0)
            return;
        side->sent += len;
    }
    if (side->sent == side->total)
        weir_shutdown(side->s);
}

static void on_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct side *side = arg;
    (void)s;
    expect_bytes(view.data, side->got, view.len);
    side->got += view.len;
    cr_assert_leq(side->got, side->peer->sent, "%s reads what was not sent", side->name);
    if (status == 0)
        return;
    side->ended = status;
    cr_assert(status != WEIR_EOF || side->got == side->peer->total, "%s: an end after %zu of %zu bytes", side->name,
              side->got, side->peer->total);
    if (status == WEIR_EOF && side->sent == side->total)
        weir_stream_close(side->s, WEIR_CLOSE_FLUSH);
}

static void gone(struct weir_stream *s, int reason, void *arg)
{
    struct side *side = arg;
    (void)s;
    cr_assert(!side->closed);
    side->closed = 1;
    side->reason = reason;
}

static void open_side(struct side *side, struct weir_loop *loop, int fd, struct weir_tls_config *config,
                      const char *host)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1, .on_close = gone, .on_close_arg = side};
    side->total = chance(side->seed, TOTAL_MAX);
    side->ended = 1;
    cr_assert_eq(weir_stream_open(loop, fd, &opt, &side->s), 0);
    cr_assert_eq(weir_tls_start(side->s, config, host), 0);
    cr_assert_eq(weir_read_start(side->s, on_chunk, side), 0);
    write_more(side);
}

/* Turn until both are gone; who still waits for the other's end after a while is closed. */
static void run(struct weir_sim *sim, struct weir_loop *loop, struct side sides[2])
{
    for (int turns = 0; !sides[0].closed || !sides[1].closed; turns++) {
        cr_assert_lt(turns, 200000, "it never ends");
        if (turns == 100000)
            weir_sim_heal(sim);
        if (turns == 150000)
            for (int i = 0; i < 2; i++)
                if (!sides[i].closed)
                    weir_stream_close(sides[i].s, WEIR_CLOSE_NOW);
        int rc = weir_loop_run_once(loop, 1000000);
        cr_assert_geq(rc, 0, "%s", weir_strerror(rc));
    }
}

/* The digest of the run. calm: nothing may go wrong. */
static uint64_t run_seed(uint64_t seed, bool calm)
{
    struct weir_sim_options opt = {.size = sizeof opt,
                                   .faults = calm ? WEIR_SIM_ALL & ~WEIR_SIM_RESET : WEIR_SIM_ALL};
    uint64_t state = seed, live = wr_mem_live();
    struct side sides[2] = {{.name = "client", .peer = &sides[1], .seed = &state},
                            {.name = "server", .peer = &sides[0], .seed = &state}};
    struct weir_sim *sim;
    struct weir_loop *loop;
    int fds[2];

    tls_random_from(seed);
    struct weir_tls_config *client = client_config(), *server = server_config();
    cr_assert_eq(weir_sim_open(seed, &opt, &sim), 0);
    cr_assert_eq(weir_sim_loop_open(sim, NULL, &loop), 0);
    cr_assert_eq(weir_sim_pair(sim, fds), 0);
    open_side(&sides[0], loop, fds[0], client, "localhost");
    open_side(&sides[1], loop, fds[1], server, NULL);
    run(sim, loop, sides);
    for (int i = 0; i < 2; i++)
        if (calm)
            cr_assert(sides[i].ended == WEIR_EOF && sides[i].reason == 0, "seed %d, %s: %s, %s", (int)seed,
                      sides[i].name, weir_error_name(sides[i].ended), weir_error_name(sides[i].reason));
    uint64_t digest = weir_sim_digest(sim);
    cr_assert_eq(weir_loop_close(loop), 0);
    cr_assert_eq(weir_sim_close(sim), 0);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    cr_assert_eq(wr_mem_live(), live);
    return digest;
}

Test(tls_sim, all_bytes_arrive_when_nothing_is_reset)
{
    prepare_usual();
    for (uint64_t seed = 1; seed <= 200; seed++)
        run_seed(seed, true);
}

Test(tls_sim, what_arrives_is_right_and_an_end_is_an_end)
{
    prepare_usual();
    for (uint64_t seed = 1001; seed <= 1300; seed++)
        run_seed(seed, false);
}

Test(tls_sim, a_seed_is_a_run)
{
    prepare_usual();
    for (uint64_t seed = 1; seed <= 20; seed++)
        cr_assert_eq(run_seed(seed, false), run_seed(seed, false), "seed %d", (int)seed);
}
