/* The same program gives the same trace of results and callbacks on io_uring, on epoll and in the simulator.
 *
 * Programs are drawn from a seed and played step by step: after each step the world comes to rest, so that nothing
 * depends on how fast it is. Writes are small enough to arrive in one piece. The trace is each stream's own: which of
 * two streams is called first is nobody's promise. */
#include <errno.h>
#include <string.h>

#include "helpers_stream.h"

enum { PROGRAMS = 60, STEPS = 40, TRACE_MAX = 65536 };

static const char *const worlds[] = {"io_uring", "epoll", "sim"};
static uint64_t seed, state;
static char traces[3][TRACE_MAX];
static int playing;

static unsigned draw(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 16) % n);
}

static void settle(struct env *e)
{
    for (int quiet = 0; quiet < 6;) {
        struct weir_loop_stats before, after;
        weir_loop_stats(e->loop, &before, sizeof before);
        int rc = weir_loop_run_once(e->loop, 300000);
        cr_assert_geq(rc, 0);
        weir_loop_stats(e->loop, &after, sizeof after);
        quiet = rc == 0 && before.completed == after.completed ? quiet + 1 : 0;
    }
}

static void released(const void *data, size_t len, void *party)
{
    struct party *p = party;
    (void)data;
    note(p->env, "%s released %zu\n", p->name, len);
}

/* A read from inside a callback, now and then. */
static void read_on(struct weir_stream *s, int status, struct weir_view view, void *party)
{
    struct party *p = party;
    on_read(s, status, view, party);
    if (status == 0)
        note(p->env, "%s reads on: %s\n", p->name, weir_error_name(weir_read_bytes(s, 1 + view.len / 2, on_read, p)));
}

static int ask_read(struct party *p)
{
    switch (draw(6)) {
    case 0:
        return weir_read_bytes(p->s, draw(40), draw(2) ? on_read : read_on, p);
    case 1:
        return weir_read_some(p->s, draw(30), on_read, p);
    case 2:
        return weir_read_until(p->s, "c", 1, 1 + draw(60), draw(2) ? on_read : read_on, p);
    case 3:
        return weir_read_until(p->s, "ab", 2, 0, on_read, p);
    case 4:
        return draw(4) ? -EAGAIN : weir_read_until_close(p->s, on_read, p);
    default:
        return draw(2) ? weir_read_start(p->s, on_read, p) : weir_read_stop(p->s);
    }
}

static int ask_write(struct party *p)
{
    static const char text[] = "abcdefghabababacbbbbaaccddeeffgghhaabbccddeeffgghhabcabcabc";
    size_t n = draw(sizeof text), half = n / 2;
    switch (draw(3)) {
    case 0:
        return weir_write(p->s, text, n, on_wrote, p);
    case 1: {
        struct iovec iov[2] = {{(char *)(uintptr_t)text, half}, {(char *)(uintptr_t)text + half, n - half}};
        return weir_writev(p->s, iov, 2, draw(2) ? on_wrote : NULL, p);
    }
    default:
        return weir_write_ref(p->s, text, n, released, on_wrote, p);
    }
}

static void step(struct env *e, struct party *p)
{
    if (p->closed)
        return;
    unsigned what = draw(24);
    int rc = 0;
    if (what < 11)
        rc = ask_read(p);
    else if (what < 22)
        rc = ask_write(p);
    else if (what == 22)
        rc = weir_shutdown(p->s);
    else if (draw(4) == 0)
        rc = weir_stream_close(p->s, WEIR_CLOSE_FLUSH);
    note(e, "%s %u: %s\n", p->name, what, weir_error_name(rc));
    settle(e);
}

static void facts(struct env *e, struct party *p)
{
    struct weir_stream_facts f;
    if (p->closed || weir_stream_facts(p->s, &f, sizeof f) != 0)
        return;
    note(e, "%s has read %d write %d closed %d error %s queued %zu out %llu\n", p->name, f.reading, f.writing, f.closed,
         weir_error_name(f.error), f.queued, (unsigned long long)f.bytes_out);
}

/* After a reset the kernel tells ECONNRESET to whichever call asks first, and EPIPE to the next send. */
static void blur(char *trace)
{
    for (char *at; (at = strstr(trace, "ECONNRESET"));)
        memmove(mempcpy(at, "EPIPE", 5), at + 10, strlen(at + 10) + 1);
}

/* The lines of one stream. */
static char *pick(char *to, const char *log, char name)
{
    for (const char *line = log, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        if (*line == name)
            to = mempcpy(to, line, (size_t)(end - line));
    }
    *to = '\0';
    return to;
}

static void play(struct env *e)
{
    struct weir_stream_options opt = {.size = sizeof opt};
    struct party a, b;
    state = seed * 0x9e3779b97f4a7c15u + 1;
    opt.half_open = (int)draw(2);
    opt.max_buffer_size = draw(3) ? 0 : 100;
    opt.max_write_buffer_size = draw(3) ? 0 : 50;
    open_pair(e, &opt, &a, &b);
    for (int i = 0; i < STEPS; i++)
        step(e, draw(2) ? &a : &b);
    facts(e, &a);
    facts(e, &b);
    pick(pick(traces[playing], e->log, 'a'), e->log, 'b');
    blur(traces[playing]);
    close_pair(e, &a, &b);
}

Test(trace, programs_run_the_same_on_all_worlds, .timeout = 100)
{
    for (seed = 1; seed <= PROGRAMS; seed++) {
        for (playing = 0; playing < 3; playing++)
            env_run(worlds[playing], play);
        for (int i = 1; i < 3; i++)
            cr_assert_str_eq(traces[0], traces[i], "seed %d\n--- %s:\n%s--- %s:\n%s", (int)seed, worlds[0], traces[0],
                             worlds[i], traces[i]);
    }
}
