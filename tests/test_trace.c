/* The same program gives the same trace of results and callbacks on io_uring, on epoll and in the simulator.
 *
 * Programs are drawn from a seed and played step by step over a pair of streams, by calls from outside and from inside
 * callbacks; after each step the world comes to rest. What is nobody's promise is no part of a trace:
 *
 * - Which is called first of two streams, or of a stream's reads and writes. Each of these voices has its own trace,
 *   and draws for itself.
 * - What comes first of calls and bytes that cross. So the two ends take turns: who has written to one that reads makes
 *   no calls before it has got an answer, and nobody answers one that has ended.
 * - How much is received before it is asked for, and so what those reads give that are content with less: they ask for
 *   one byte, or when nothing has come. Who closes reads no more.
 * - Whether bytes that are under way when a stream ends still go out, and how the other end learns that it has gone: by
 *   an end, a reset or a broken pipe. A program ends there; this step counts only for who ended of itself, and for his
 *   writes not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers_actor.h"

enum { PROGRAMS = 250, STEPS = 40 };

/* The lines of one voice, up to `end`. */
static char *pick(char *to, const char *log, const char *end, char name, int voice)
{
    for (const char *line = log, *after; line < end; line = after) {
        after = strchr(line, '\n') + 1;
        if (line[0] == name && line[1] == '0' + voice)
            to = mempcpy(to, line, (size_t)(after - line));
    }
    *to = '\0';
    return to;
}

/* It was ended by the other, or would have been. */
static bool is_survivor(const struct actor *x)
{
    int reason = x->p.reason;
    return !x->p.closed || reason == WEIR_EOF || reason == -EPIPE || reason == -ECONNRESET;
}

/* The voices one after the other; `last` is where the last step begins. */
static char *take_log(struct env *e, size_t last)
{
    char *trace = malloc(e->log_len + 1), *to = trace;
    bool over = actors[0].p.closed || actors[1].p.closed;
    for (int i = 0; i < 2; i++)
        for (int voice = 0; voice < VOICES; voice++) {
            size_t len = over && (is_survivor(&actors[i]) || voice == WRITES) ? last : e->log_len;
            to = pick(to, e->log, e->log + len, "ab"[i], voice);
        }
    return trace;
}

static char *play(struct env *e, uint64_t number)
{
    size_t last = 0;
    actors_open(e, number);
    for (int i = 0; i < STEPS && !actors[0].p.closed && !actors[1].p.closed; i++) {
        last = e->log_len;
        actor_step(e, &actors[actor_draw(&actors[0], 2)]);
    }
    char *trace = take_log(e, last);
    actors_close(e);
    e->log_len = 0;
    e->log[0] = '\0';
    return trace;
}

static char *traces[3][PROGRAMS];
static uint64_t first;
static int playing;

static void play_all(struct env *e)
{
    actors_meet(e);
    for (int i = 0; i < PROGRAMS; i++)
        traces[playing][i] = play(e, first + (uint64_t)i);
    actors_part();
}

static void compare(void)
{
    static const char *const worlds[] = {"io_uring", "epoll", "sim"};
    actors_prepare();
    for (playing = 0; playing < 3; playing++)
        env_run(worlds[playing], play_all);
    for (int i = 0; i < PROGRAMS; i++)
        for (int k = 1; k < 3; k++)
            cr_assert_str_eq(traces[0][i], traces[k][i], "program %d\n--- %s:\n%s--- %s:\n%s", (int)first + i,
                             worlds[0], traces[0][i], worlds[k], traces[k][i]);
    actors_done();
}

/* Several, so that they are played at a time. */
#define PART(n)                                                            \
    Test(trace, programs_run_the_same_on_all_worlds_##n, .timeout = 100)   \
    {                                                                      \
        first = n * 1000;                                                  \
        compare();                                                         \
    }

PART(0)
PART(1)
PART(2)
PART(3)
PART(4)
PART(5)
PART(6)
PART(7)
