#include "helpers_actor.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct actor actors[2];

static struct actor *its_turn;
static bool only_writes;        /* and its turn is that of its writes' callbacks */
static struct end ends[2];
static struct weir_context *contexts[2];
static char scope[64];          /* the contexts that are entered, by their letters */
static struct weir_regex *regex;
static int file, pending;       /* calls that are still to come */

static const char text[] = "abcdefghabababacbbbbaaccddeeffgghhaabbccddeeffgghhabcabcabc";

/* ---- Chance ---- */

unsigned actor_draw(struct actor *x, unsigned n)
{
    uint64_t *r = &x->random[x->voice];
    *r ^= *r << 13;
    *r ^= *r >> 7;
    *r ^= *r << 17;
    return (unsigned)((*r >> 16) % n);
}

static void seed(struct actor *x, uint64_t number)
{
    for (x->voice = 0; x->voice < VOICES; x->voice++) {
        x->random[x->voice] = (number * VOICES + x->voice) * 0x9e3779b97f4a7c15u + 1;
        for (int i = 0; i < 4; i++)
            actor_draw(x, 1);
    }
    x->voice = LIFE;
}

static struct actor *other(const struct actor *x)
{
    return &actors[x == actors];
}

/* ---- Contexts ---- */

static void enter(void *letter)
{
    strcat(scope, letter);
}

static void leave(void *letter)
{
    size_t len = strlen(scope);
    cr_assert(len > 0 && scope[len - 1] == *(char *)letter);
    scope[len - 1] = '\0';
}

static void open_context(void *arg)
{
    static char letters[2][2] = {"p", "q"};
    int i = *(int *)arg;
    struct weir_context_options opt = {.size = sizeof opt, .enter = enter, .leave = leave, .arg = letters[i]};
    cr_assert_eq(weir_context_open(actors[0].p.env->loop, &opt, &contexts[i]), 0);
}

/* ---- Callbacks ---- */

#define tell(x, format, ...) \
    note((x)->p.env, "%s%d [%s] " format "\n", (x)->p.name, (x)->voice, scope, __VA_ARGS__)

static void act(void *actor);

/* The voice's callback may make a call of its own. */
static void act_inside(struct actor *x)
{
    if (x != its_turn || x->calls == 0 || (only_writes && x->voice != WRITES) || facts_of(&x->p).closed)
        return;
    x->calls--;
    x->inside = true;
    act(x);
    x->inside = false;
}

static void try_to_hold(struct actor *x, struct weir_view v)
{
    if (x->hold || v.len == 0 || actor_draw(x, 8) > 0)
        return;
    x->held = (struct weir_view){(const char *)v.data + v.len / 3, v.len - v.len / 3};
    if (weir_view_hold(x->p.s, &x->held, &x->hold) < 0)
        tell(x, "holds nothing of %zu", v.len);
}

static void on_told_read(struct weir_stream *s, int status, struct weir_view v, void *actor)
{
    struct actor *x = actor;
    cr_assert(s == x->p.s && !x->p.closed);
    x->voice = READS;
    tell(x, "read %s %zu %.*s", weir_error_name(status), v.len, (int)v.len, v.len ? (const char *)v.data : "");
    x->got += v.len;
    try_to_hold(x, v);
    act_inside(x);
}

static void on_told_write(struct weir_stream *s, int status, void *actor)
{
    struct actor *x = actor;
    cr_assert(s == x->p.s && !x->p.closed);
    x->voice = WRITES;
    tell(x, "wrote %s", weir_error_name(status));
    act_inside(x);
}

static void on_released(const void *data, size_t len, void *actor)
{
    struct actor *x = actor;
    (void)data;
    x->voice = WRITES;
    tell(x, "released %zu", len);
}

static void on_file_released(int fd, void *actor)
{
    struct actor *x = actor;
    x->voice = WRITES;
    tell(x, "released the file %d", fd == file);
}

static void on_drain(struct weir_stream *s, void *unused)
{
    struct actor *x = &actors[s == actors[1].p.s];
    (void)unused;
    x->voice = WRITES;
    tell(x, "drained%s", "");
    act_inside(x);
}

static void end(struct actor *x, int reason, const char *how)
{
    cr_assert(!x->p.closed);
    x->voice = LIFE;
    x->end->sent = facts_of(&x->p).bytes_out;
    x->p.closed = 1;
    x->p.reason = reason;
    tell(x, "%s %s", how, weir_error_name(reason));
}

static void on_end(struct weir_stream *s, int reason, void *actor)
{
    (void)s;
    end(actor, reason, "closed");
}

static void on_other_end(struct weir_stream *s, int reason, void *actor)
{
    (void)s;
    end(actor, reason, "closed otherwise");
}

static void on_call(void *actor)
{
    struct actor *x = actor;
    pending--;
    x->voice = LIFE;
    tell(x, "called%s", "");
    if (x->calling)
        act_inside(x);
}

static void on_timer(struct weir_timer *timer, void *actor)
{
    (void)timer;
    on_call(actor);
}

/* ---- Calls ---- */

/* Everything that was sent has been read. */
static bool has_read_all(struct actor *x)
{
    return !x->inside && facts_of(&other(x)->p).bytes_out == x->got;
}

/* Reads that are content with less. */
static int read_what_comes(struct actor *x, size_t n)
{
    bool all = has_read_all(x);
    switch (actor_draw(x, 3)) {
    case 0:
        return weir_read_some(x->p.s, all ? n : 1, on_told_read, x);
    case 1:
        return weir_read_into(x->p.s, x->memory, all ? n : 1, 1, on_told_read, x);
    default:
        return all ? weir_read_start(x->p.s, on_told_read, x) : -EAGAIN;
    }
}

static int read_something(struct actor *x)
{
    struct weir_stream *s = x->p.s;
    struct weir_frame frame = {.size = sizeof frame, .width = 1, .adjust = -(int64_t)actor_draw(x, 110), .max = 20};
    unsigned what = actor_draw(x, 10), n = actor_draw(x, 40);
    switch (what) {
    case 0:
    case 1:
        return weir_read_bytes(s, n, on_told_read, x);
    case 2:
    case 3:
        return weir_read_until(s, actor_draw(x, 2) ? "c" : "ab", 1 + actor_draw(x, 2), n, on_told_read, x);
    case 4:
        return weir_read_until_regex(s, regex, n, on_told_read, x);
    case 5:
        return weir_read_frame(s, &frame, on_told_read, x);
    case 6:
        return weir_read_into(s, x->memory, n, 0, on_told_read, x);
    case 7:
        return actor_draw(x, 4) ? -EAGAIN : weir_read_until_close(s, on_told_read, x);
    default:
        return read_what_comes(x, n);
    }
}

static int read_no_more(struct actor *x)
{
    switch (actor_draw(x, 3)) {
    case 0:
        return weir_read_stop(x->p.s);
    case 1:
        return weir_read_cancel(x->p.s);
    default:
        return weir_read_deadline(x->p.s, actor_draw(x, 2) && !x->inside ? 0 : UINT64_MAX); /* a race with what comes */
    }
}

static int write_something(struct actor *x)
{
    struct weir_stream *s = x->p.s;
    size_t n = actor_draw(x, sizeof text), half = n / 2;
    struct iovec iov[2] = {{(char *)(uintptr_t)text, half}, {(char *)(uintptr_t)text + half, n - half}};
    weir_write_fn *fn = actor_draw(x, 4) ? on_told_write : NULL;
    switch (actor_draw(x, 4)) {
    case 0:
        return weir_write(s, text, n, fn, x);
    case 1:
        return weir_writev(s, iov, 2, fn, x);
    case 2:
        return weir_write_file(s, file, actor_draw(x, 10), n, on_file_released, fn, x);
    default:
        return weir_write_ref(s, text, n, on_released, fn, x);
    }
}

static int call_later(struct actor *x)
{
    struct weir_loop *loop = x->p.env->loop;
    pending++;
    x->calling = !x->inside;
    switch (actor_draw(x, 3)) {
    case 0:
        return weir_post(loop, on_call, x);
    case 1:
        return weir_defer(loop, on_call, x);
    default:
        return weir_timer_start(loop, 0, 0, on_timer, x, NULL);
    }
}

static int look(struct actor *x)
{
    struct weir_view v;
    int rc = weir_peek(x->p.s, &v);
    cr_assert_eq(v.len, facts_of(&x->p).buffered);
    if (x->hold)
        tell(x, "holds %.*s", (int)x->held.len, (const char *)x->held.data);
    weir_view_drop(x->hold);
    x->hold = NULL;
    return rc;
}

static int close_somehow(struct actor *x)
{
    static const int manners[] = {WEIR_CLOSE_FLUSH, WEIR_CLOSE_FLUSH, WEIR_CLOSE_NOW, WEIR_CLOSE_RESET};
    x->calls = 0;
    x->shut = true;
    return weir_stream_close(x->p.s, manners[actor_draw(x, 4)]);
}

static int end_something(struct actor *x)
{
    switch (actor_draw(x, 8)) {
    case 0:
        return close_somehow(x);
    case 1:
        x->calls = 0;
        x->shut = true;
        return weir_shutdown(x->p.s);
    default:
        return weir_stream_on_close(x->p.s, actor_draw(x, 2) ? on_end : on_other_end, x);
    }
}

static int cork_something(struct actor *x)
{
    return actor_draw(x, 2) ? weir_cork(x->p.s) : weir_uncork(x->p.s);
}

/* It was asked to send something. What comes back is the other's turn, if it listens. */
static void pass_turn(struct actor *x)
{
    if (other(x)->reading)
        its_turn = other(x);
    else
        only_writes = true;
}

static void act(void *actor)
{
    struct actor *x = actor;
    unsigned what = actor_draw(x, 50);
    int rc;
    if (what < 20)
        rc = read_something(x);
    else if (what < 24)
        rc = read_no_more(x);
    else if (what < 40)
        rc = x->inside && other(x)->shut ? -EAGAIN : write_something(x);
    else if (what < 43)
        rc = cork_something(x);
    else if (what < 45)
        rc = call_later(x);
    else if (what < 48)
        rc = look(x);
    else
        rc = end_something(x);
    x->reading |= what < 20 && rc == 0;
    if (what >= 24 && what < 43 && rc == 0)
        pass_turn(x);
    tell(x, "%u: %s", what, weir_error_name(rc));
}

/* ---- Steps ---- */

static void tell_facts(struct actor *x)
{
    if (x->p.closed)
        return;
    struct weir_stream_facts f = facts_of(&x->p);
    x->reading = f.reading;
    x->shut |= f.closed;
    x->voice = LIFE;
    tell(x, "reads %d writes %d closed %d full %d error %s queued %zu out %d", f.reading, f.writing, f.closed, f.full,
         weir_error_name(f.error), f.queued, (int)f.bytes_out);
}

void actor_step(struct env *e, struct actor *x)
{
    actors[0].calls = actors[1].calls = 2;
    actors[0].calling = actors[1].calling = false;
    its_turn = x;
    only_writes = false;
    x->voice = LIFE;
    if (facts_of(&x->p).closed)
        return;
    unsigned where = actor_draw(x, 4);
    cr_assert_eq(weir_context_run(e->loop, where < 2 ? contexts[where] : NULL, act, x), 0);
    run_to_rest(e, ends, &pending);
    tell_facts(&actors[0]);
    tell_facts(&actors[1]);
}

static struct weir_stream_options draw_options(struct actor *x)
{
    struct weir_stream_options opt = {.size = sizeof opt, .on_drain = on_drain};
    opt.half_open = (int)actor_draw(x, 2);
    opt.limit_keeps = (int)actor_draw(x, 2);
    opt.last_write_callback = actor_draw(x, 3) == 0;
    opt.max_buffer_size = actor_draw(x, 3) ? 0 : 100;
    opt.max_write_buffer_size = actor_draw(x, 3) ? 0 : 50;
    opt.write_high_water = actor_draw(x, 2) ? 0 : 30;
    opt.write_low_water = actor_draw(x, 2) ? 0 : 10;
    return opt;
}

void actors_open(struct env *e, uint64_t number)
{
    for (int i = 0; i < 2; i++) {
        actors[i] = (struct actor){.end = &ends[i]};
        ends[i] = (struct end){.party = &actors[i].p};
        seed(&actors[i], number * 2 + (uint64_t)i);
    }
    struct weir_stream_options opt = draw_options(&actors[0]);
    open_pair(e, &opt, &actors[0].p, &actors[1].p);
    for (int i = 0; i < 2; i++)
        weir_stream_on_close(actors[i].p.s, on_end, &actors[i]);
}

void actors_close(struct env *e)
{
    for (int i = 0; i < 2; i++) {
        if (!actors[i].p.closed)
            weir_stream_close(actors[i].p.s, WEIR_CLOSE_RESET); /* or so many would use up the ports */
        run_until(e, &actors[i].p.closed, 1);
        weir_view_drop(actors[i].hold);
    }
}

/* ---- What they share ---- */

void actors_prepare(void)
{
    file = memfd_create("text", MFD_CLOEXEC);
    cr_assert_eq(pwrite(file, text, sizeof text, 0), (ssize_t)sizeof text);
    if (weir_regex_open("[ab]+c", 6, &regex) < 0)
        regex = NULL;
}

void actors_done(void)
{
    weir_regex_close(regex);
    close(file);
}

void actors_meet(struct env *e)
{
    actors[0].p.env = e;
    cr_assert_eq(weir_context_run(e->loop, NULL, open_context, &(int){0}), 0);
    cr_assert_eq(weir_context_run(e->loop, contexts[0], open_context, &(int){1}), 0);
}

void actors_part(void)
{
    weir_context_close(contexts[0]);
    weir_context_close(contexts[1]);
}
