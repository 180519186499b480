/* Suite layer_begin: how many layers begin in a turn, each test on all three worlds. */
#include "helpers_layer.h"
#include "helpers_stream.h"
#include "loop.h"

TestSuite(layer_begin, .timeout = 60);

enum { CROWD = 200, FEW = 3 };

static int wrote, connected;

static void count(struct weir_stream *s, int status, void *counter)
{
    (void)s;
    cr_assert_eq(status, 0);
    ++*(int *)counter;
}

/* More begin in one turn than one turn has time for. */
ON_ALL_WORLDS(layer_begin, many)
{
    static struct party crowd[2 * CROWD];
    for (int i = 0; i < CROWD; i++) {
        open_pair(e, NULL, &crowd[2 * i], &crowd[2 * i + 1]);
        for (int j = 0; j < 2; j++) {
            shy_attach(crowd[2 * i + j].s, (uint64_t)i, 0);
            cr_assert_eq(weir_write(crowd[2 * i + j].s, "x", 1, count, &wrote), 0);
        }
    }
    wrote = 0;
    run_until(e, &wrote, 2 * CROWD);
    for (int i = 0; i < CROWD; i++)
        close_pair(e, &crowd[2 * i], &crowd[2 * i + 1]);
}

/* ---- Layers that begin with a word ---- */

static int begin_with_a_word(void *layer, struct weir_wire *wire)
{
    struct party *p = layer;
    note(p->env, "%s in turn %d\n", p->name, (int)p->env->loop->stats.turns);
    return weir_wire_put(wire, "word", 4) == 4 ? 0 : WEIR_WANTS_ROOM;
}

/* All in one turn, as far as that goes. */
static void begin_all(struct env *e, struct party few[FEW])
{
    static struct weir_layer_verbs verbs;
    verbs = silent_verbs;
    verbs.start = begin_with_a_word;
    e->loop->stats.turns = 0;
    for (int i = 0; i < FEW; i++)
        cr_assert_eq(weir_layer_attach(few[i].s, &verbs, &few[i]), 0);
    run_until_log(e, "c in turn");
}

/* An answer leaves at the end of the turn, and who waits for it could get on while the next is made. */
ON_ALL_WORLDS(layer_begin, who_was_accepted_has_a_turn_alone)
{
    struct party few[FEW], peers[FEW];
    for (int i = 0; i < FEW; i++) {
        open_pair(e, NULL, &few[i], &peers[i]);
        few[i].name = (const char *[]){"a", "b", "c"}[i];
    }
    begin_all(e, few);
    expect_log(e, "a in turn 1\nb in turn 2\nc in turn 3\n");
    for (int i = 0; i < FEW; i++)
        close_pair(e, &few[i], &peers[i]);
}

/* What clients ask wakes their servers the more often, the less of it comes at a time. */
ON_ALL_WORLDS(layer_begin, who_connects_shares_a_turn)
{
    struct party few[FEW];
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = deaf_listener(e, FEW, &addr, &len);
    connected = 0;
    for (int i = 0; i < FEW; i++) {
        few[i] = (struct party){.env = e, .name = (const char *[]){"a", "b", "c"}[i]};
        struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &few[i]};
        int rc = weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, count, &connected, &few[i].s);
        cr_assert_eq(rc, 0);
    }
    run_until(e, &connected, FEW);
    begin_all(e, few);
    expect_log(e, "a in turn 1\nb in turn 1\nc in turn 1\n");
    for (int i = 0; i < FEW; i++)
        weir_stream_close(few[i].s, WEIR_CLOSE_NOW);
    for (int i = 0; i < FEW; i++)
        run_until(e, &few[i].closed, 1);
    e->loop->world->ops->discard(e->loop->world, listener);
}
