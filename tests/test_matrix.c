/* Every public call in every callback, on all three worlds: of the callback's own stream, of its peer, of streams in
 * other states. Each pair runs in a world of its own, first with nothing else going on, then with reads and writes
 * pending on both ends, and must keep the bargain of weir.h: what returns < 0 never calls back, what returns 0 calls
 * back exactly once, never from inside a call, nothing after on_close; views stay good until the callback returns; no
 * memory, buffer or descriptor is left behind.
 *
 * A new call is a line of CALLS, a new callback a line of CALLBACKS: the last two tests ask include/ for both. */
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>

#include "helpers_matrix.h"

enum { FEW_BYTES = 64, FAR_TOO_MANY = MEMORY_BYTES, TURNS_TO_BEGIN = 30 };

struct call;
struct callback;

/* What is tried: this call, of that stream, in this callback. */
struct pair {
    struct scene scene;     /* the first member */
    const struct callback *callback;
    const struct call *call;
    int target;
    int manner;
};

/* ---- The lists ---- */

/* What it is about (a STREAM in every state, or the LOOP and what else it has), whether it OWES a callback if it
 * returns 0, the call, a variant, and how it is made: of the scene m, the stream s and the claim c. */
#define CALLS(X)                                                                                            \
    X(STREAM, OWES, weir_read_bytes, , weir_read_bytes(s, 3, read_came, c))                                 \
    X(STREAM, OWES, weir_read_bytes, _none, weir_read_bytes(s, 0, read_came, c))                            \
    X(STREAM, OWES, weir_read_bytes, _many, weir_read_bytes(s, FAR_TOO_MANY, read_came, c))                 \
    X(STREAM, OWES, weir_read_some, , weir_read_some(s, 0, read_came, c))                                   \
    X(STREAM, OWES, weir_read_until, , weir_read_until(s, "\n", 1, 0, read_came, c))                        \
    X(STREAM, OWES, weir_read_until, _limit, weir_read_until(s, "\n", 1, 2, read_came, c))                  \
    X(STREAM, OWES, weir_read_until_regex, , read_pattern(s, c))                                            \
    X(STREAM, OWES, weir_read_frame, , read_frame(s, c))                                                    \
    X(STREAM, OWES, weir_read_into, , weir_read_into(s, matrix_memory, 3, 0, read_came, c))                 \
    X(STREAM, OWES, weir_read_into, _many, weir_read_into(s, matrix_memory, MEMORY_BYTES, 0, read_came, c)) \
    X(STREAM, OWES, weir_read_into, _partial, weir_read_into(s, matrix_memory, 50000, 1, read_came, c))     \
    X(STREAM, NONE, weir_read_cancel, , weir_read_cancel(s))                                                \
    X(STREAM, NONE, weir_read_deadline, , weir_read_deadline(s, weir_now(m->loop)))                         \
    X(STREAM, NONE, weir_peek, , peek(s))                                                                   \
    X(STREAM, NONE, weir_view_hold, , hold_view(m, s))                                                      \
    X(STREAM, NONE, weir_view_drop, , hold_and_drop(m, s))                                                  \
    X(STREAM, NONE, weir_cork, , weir_cork(s))                                                              \
    X(STREAM, NONE, weir_uncork, , weir_uncork(s))                                                          \
    X(STREAM, OWES, weir_read_until_close, , weir_read_until_close(s, read_came, c))                        \
    X(STREAM, OWES, weir_read_start, , start_chunks(s, c))                                                  \
    X(STREAM, NONE, weir_read_stop, , stop_reading(m, s))                                                   \
    X(STREAM, OWES, weir_write, , weir_write(s, "word", 4, wrote, c))                                       \
    X(STREAM, OWES, weir_write, _nothing, weir_write(s, NULL, 0, wrote, c))                                 \
    X(STREAM, NONE, weir_write, _untold, weir_write(s, matrix_huge, 5000, NULL, NULL))                             \
    X(STREAM, OWES, weir_writev, , write_pieces(s, c))                                                      \
    X(STREAM, OWES, weir_write_ref, , write_reference(s, HUGE_BYTES, c))                                          \
    X(STREAM, OWES, weir_write_ref, _nothing, write_reference(s, 0, c))                                     \
    X(STREAM, OWES, weir_write_file, , write_file(s, HUGE_BYTES, c))                                        \
    X(STREAM, OWES, weir_write_file, _few, write_file(s, 3, c))                                             \
    X(STREAM, NONE, weir_shutdown, , weir_shutdown(s))                                                      \
    X(STREAM, NONE, weir_stream_close, _now, weir_stream_close(s, WEIR_CLOSE_NOW))                          \
    X(STREAM, NONE, weir_stream_close, _flush, weir_stream_close(s, WEIR_CLOSE_FLUSH))                      \
    X(STREAM, NONE, weir_stream_close, _reset, weir_stream_close(s, WEIR_CLOSE_RESET))                      \
    X(STREAM, OWES, weir_stream_connect, , connect_this(m, s, c))                                           \
    X(STREAM, NONE, weir_stream_on_close, , replace_on_close(s, c))                                         \
    X(STREAM, NONE, weir_stream_facts, , ask_facts(s))                                                      \
    X(STREAM, NONE, weir_stream_ext, , ((void)weir_stream_ext(s), 0))                                       \
    X(STREAM, NONE, weir_stream_loop, , ((void)weir_stream_loop(s), 0))                                     \
    X(STREAM, NONE, weir_stream_address, , ask_address(s, 0))                                               \
    X(STREAM, NONE, weir_stream_address, _peer, ask_address(s, 1))                                          \
    X(STREAM, NONE, weir_stream_set_nodelay, , weir_stream_set_nodelay(s, 0))                               \
    X(LOOP, NONE, weir_stream_open, , open_stream(m, m->extra))                                             \
    X(LOOP, OWES, weir_connect_addr, , connect_new(m, m->extra, c, &m->addr))                               \
    X(LOOP, NONE, weir_listen, , listen_anew(m, &m->other_listener))                                        \
    X(LOOP, NONE, weir_listener_address, , ask_listener(m))                                                 \
    X(LOOP, NONE, weir_listener_close, , close_listener(m))                                                 \
    X(LOOP, OWES, weir_timer_start, , weir_timer_start(m->loop, 0, 0, fired, c, NULL))                      \
    X(LOOP, NONE, weir_timer_start, _periodic, start_periodic(m, c))                                        \
    X(LOOP, NONE, weir_timer_again, , again(m))                                                             \
    X(LOOP, NONE, weir_timer_stop, , stop_timer(m))                                                         \
    X(STREAM, NONE, weir_layer_attach, , attach_layer(s))                                                   \
    X(STREAM, OWES, weir_layer_wait, , weir_layer_wait(s, wrote, c))                                        \
    X(STREAM, OWES, weir_layer_wait, _attached, attach_and_wait(s, c))                                      \
    X(STREAM, NONE, weir_layer_of, , ((void)weir_layer_of(s, &shy_verbs), 0))                               \
    X(LOOP, NONE, weir_watch_open, , watch_again(m))                                                        \
    X(LOOP, NONE, weir_watch_update, , weir_watch_update(m->watch, 0))                                      \
    X(LOOP, NONE, weir_watch_close, , stop_watch(m))                                                        \
    X(LOOP, NONE, weir_signal_open, , open_signal(m))                                                       \
    X(LOOP, NONE, weir_signal_close, , close_signal(m))                                                     \
    X(LOOP, OWES, weir_post, , weir_post(m->loop, called, c))                                               \
    X(LOOP, OWES, weir_defer, , weir_defer(m->loop, called, c))                                             \
    X(LOOP, NONE, weir_context_open, , open_another_context(m))                                             \
    X(LOOP, NONE, weir_context_run, , run_in_context(m))                                                    \
    X(LOOP, NONE, weir_context_fail, , weir_context_fail(m->loop, -EIO))                                    \
    X(LOOP, NONE, weir_context_deactivate, , weir_context_deactivate(m->context))                           \
    X(LOOP, NONE, weir_context_current, , ((void)weir_context_current(m->loop), 0))                         \
    X(LOOP, NONE, weir_context_close, , close_context(m))                                                   \
    X(LOOP, NONE, weir_loop_stop, , weir_loop_stop(m->loop))                                                \
    X(LOOP, NONE, weir_loop_run, , weir_loop_run(m->loop))                                                  \
    X(LOOP, NONE, weir_loop_run_once, , weir_loop_run_once(m->loop, 0))                                     \
    X(LOOP, NONE, weir_loop_close, , weir_loop_close(m->loop))                                              \
    X(LOOP, NONE, weir_loop_fd, , weir_loop_fd(m->loop))                                                    \
    X(LOOP, NONE, weir_loop_next_deadline, , ((void)weir_loop_next_deadline(m->loop), 0))                   \
    X(LOOP, NONE, weir_now, , ((void)weir_now(m->loop), 0))                                                 \
    X(LOOP, NONE, weir_loop_describe, , describe(m))                                                        \
    X(LOOP, NONE, weir_loop_world, , ((void)weir_loop_world(m->loop), 0))                                   \
    X(LOOP, NONE, weir_loop_stats, , ask_stats(m))

/* Exports that take neither a stream nor a loop, nor what a loop has. */
#define EXEMPT(X)                                                                                           \
    X(weir_version) X(weir_strerror) X(weir_error_name) X(weir_addr_parse) X(weir_addr_format)              \
    X(weir_loop_open) X(weir_loop_default) X(weir_loop_refusal)                                             \
    X(weir_wire_look) X(weir_wire_take) X(weir_wire_room) X(weir_wire_put)                                  \
    X(weir_regex_open) X(weir_regex_close) X(weir_regex_refusal)                                            \
    X(weir_sim_open) X(weir_sim_close) X(weir_sim_loop_open) X(weir_sim_heal) X(weir_sim_random)            \
    X(weir_sim_pair) X(weir_sim_pipe) X(weir_sim_digest) X(weir_sim_peer_connect) X(weir_sim_peer_send)     \
    X(weir_sim_peer_recv) X(weir_sim_peer_shutdown) X(weir_sim_peer_close)

/* A callback, its type, what is asked for so that it comes (arm), and what makes it come (fire). */
#define CALLBACKS(X)                                                                                        \
    X(read, weir_read_fn, arm_read, fire_send)                                                              \
    X(read_chunk, weir_read_fn, arm_chunks, fire_send)                                                      \
    X(read_at_the_end, weir_read_fn, arm_big_read, fire_peer_close)                                         \
    X(read_cancelled, weir_read_fn, arm_big_read, fire_close)                                               \
    X(write, weir_write_fn, arm_write, fire_nothing)                                                        \
    X(write_cancelled, weir_write_fn, arm_write, fire_close)                                                \
    X(release, weir_release_fn, arm_release, fire_nothing)                                                  \
    X(release_cancelled, weir_release_fn, arm_release, fire_close)                                          \
    X(file, weir_file_fn, arm_file, fire_nothing)                                                           \
    X(file_cancelled, weir_file_fn, arm_big_file, fire_close)                                               \
    X(connect, weir_connect_fn, arm_connect, fire_nothing)                                                  \
    X(connect_refused, weir_connect_fn, arm_connect_nobody, fire_nothing)                                   \
    X(connect_cancelled, weir_connect_fn, arm_connect, fire_close)                                          \
    X(close, weir_close_fn, arm_close, fire_close)                                                          \
    X(close_flushed, weir_close_fn, arm_close, fire_flush)                                                  \
    X(close_by_peer, weir_close_fn, arm_close, fire_peer_close)                                             \
    X(drain, weir_drain_fn, arm_drain, fire_nothing)                                                        \
    X(layer, weir_layer_fn, arm_layer, fire_nothing)                                                        \
    X(layer_cancelled, weir_layer_fn, arm_layer_alone, fire_close)                                          \
    X(layer_read, weir_read_fn, arm_layer_read, fire_send)                                                  \
    X(layer_read_at_the_end, weir_read_fn, arm_layer_read, fire_peer_close)                                 \
    X(layer_write, weir_write_fn, arm_layer_write, fire_nothing)                                            \
    X(layer_release, weir_release_fn, arm_layer_release, fire_nothing)                                      \
    X(layer_close, weir_close_fn, arm_layer_close, fire_close)                                              \
    X(layer_close_flushed, weir_close_fn, arm_layer_close, fire_flush)                                      \
    X(accept, weir_accept_fn, arm_accept, fire_nothing)                                                     \
    X(timer, weir_timer_fn, arm_timer, fire_nothing)                                                        \
    X(watch, weir_watch_fn, arm_watch, fire_nothing)                                                        \
    X(signal, weir_signal_fn, arm_signal, fire_signal)                                                      \
    X(timer_periodic, weir_timer_fn, arm_periodic, fire_nothing)                                            \
    X(post, weir_call_fn, arm_post, fire_nothing)                                                           \
    X(defer, weir_call_fn, arm_defer, fire_nothing)                                                         \
    X(context_enter, enter, arm_enter, fire_nothing)                                                        \
    X(context_leave, leave, arm_leave, fire_nothing)                                                        \
    X(context_error, on_error, arm_error, fire_nothing)                                                     \
    X(context_release, release, arm_forget, fire_forget)                                                    \
    X(context_release_in_a_call, release, arm_forget_replaced, fire_replace)                                \
    X(read_as_the_loop_closes, weir_read_fn, arm_big_read, fire_loop_close)                                 \
    X(close_as_the_loop_closes, weir_close_fn, arm_close, fire_loop_close)

/* Which stream is given, and what is done to it first, in the same callback. */
#define TARGETS(X) X(own) X(peer) X(null) X(fresh) X(connecting) X(corked) X(shut) X(flushing) X(closing)

/* What else goes on: nothing; reads and writes that pend on both ends; or all was asked for inside a context. */
#define MANNERS(X) X(alone) X(busy) X(in_context)

enum { STREAM, LOOP };
enum { NONE, OWES };

struct call {
    const char *name, *variant;
    int about, owes;
    int (*make)(struct scene *m, struct weir_stream *s, struct claim *c);
};

#define X(about, owes, name, variant, expression)                                                           \
    static int make_##name##variant(struct scene *m, struct weir_stream *s, struct claim *c)                \
    {                                                                                                       \
        (void)m, (void)s, (void)c;                                                                          \
        return expression;                                                                                  \
    }
CALLS(X)
#undef X

static const struct call calls[] = {
#define X(about, owes, name, variant, expression) {#name, #variant, about, owes, make_##name##variant},
    CALLS(X)
#undef X
};

enum {
#define X(name) TARGET_##name,
    TARGETS(X)
#undef X
    TARGET_COUNT
};

static const char *const target_names[] = {
#define X(name) #name,
    TARGETS(X)
#undef X
};

enum {
#define X(name) MANNER_##name,
    MANNERS(X)
#undef X
    MANNER_COUNT
};

static const char *const manner_names[] = {
#define X(name) #name,
    MANNERS(X)
#undef X
};

/* ---- The moment: inside the callback ---- */

static struct subject *prepare(struct scene *m, int target)
{
    struct subject *x = m->own;
    if (x->closed && target > TARGET_connecting)
        return x;
    switch (target) {
    case TARGET_peer:
        return m->peer;
    case TARGET_null:
        return NULL;
    case TARGET_fresh:
    case TARGET_connecting:
        x = new_subject(m);
        if (open_stream(m, x) == 0 && target == TARGET_connecting) {
            struct claim *c = new_claim(m, x);
            holds(promise(c, connect_this(m, x->s, c)) == 0);
        }
        break;
    case TARGET_corked:
        weir_cork(x->s);
        break;
    case TARGET_shut:
        weir_shutdown(x->s);
        break;
    case TARGET_flushing:
        weir_stream_close(x->s, WEIR_CLOSE_FLUSH);
        break;
    case TARGET_closing:
        weir_stream_close(x->s, WEIR_CLOSE_NOW);
        break;
    }
    return x;
}

static void act(struct scene *m)
{
    const struct pair *p = (const struct pair *)m;
    m->in_call = true;
    struct subject *x = prepare(m, p->target);
    struct claim *c = new_claim(m, p->call->about == STREAM ? x : NULL);
    int rc = p->call->make(m, x && !x->closed ? x->s : NULL, c);
    m->in_call = false;
    if (p->call->owes == OWES) {
        holds(rc <= 0);
        promise(c, rc);
    }
}

/* ---- What leads up to it ---- */

static void open_near_and_far(struct scene *m)
{
    struct subject *x[2] = {m->own = new_subject(m), m->peer = new_subject(m)};
    struct weir_stream *s;
    int fds[2];
    if (m->sim)
        holds(weir_sim_pair(m->sim, fds) == 0);
    else
        holds(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        struct weir_stream_options opt = subject_options(x[i]);
        holds(weir_stream_open(m->loop, fds[i], &opt, &s) == 0);
        be_open(x[i], s);
    }
}

static struct claim *arm_pair(struct scene *m)
{
    open_near_and_far(m);
    struct claim *c = new_claim(m, m->own);
    m->trigger = c;
    return c;
}

static void arm_read(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, weir_read_bytes(m->own->s, 1, read_came, c)) == 0);
}

static void arm_big_read(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, weir_read_bytes(m->own->s, FAR_TOO_MANY, read_came, c)) == 0);
}

static void arm_chunks(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, start_chunks(m->own->s, c)) == 0);
}

static void arm_write(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, weir_write(m->own->s, "x", 1, wrote, c)) == 0);
}

static void arm_release(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, write_reference(m->own->s, 1, c)) == 0);
    m->trigger = &c->released;
}

static void arm_file(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, write_file(m->own->s, 3, c)) == 0);
    m->trigger = &c->released;
}

static void arm_big_file(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(promise(c, write_file(m->own->s, HUGE_BYTES, c)) == 0);
    m->trigger = &c->released;
}

static void arm_layer(struct scene *m)
{
    struct claim *c = arm_pair(m);
    shy_attach(m->own->s, 1, 3);
    shy_attach(m->peer->s, 2, 3);
    holds(promise(c, weir_layer_wait(m->own->s, wrote, c)) == 0);
}

static void arm_layer_alone(struct scene *m)
{
    struct claim *c = arm_pair(m);
    holds(attach_layer(m->own->s) == 0);
    holds(promise(c, weir_layer_wait(m->own->s, wrote, c)) == 0);
}

/* What follows begins when both layers have. */
static struct claim *arm_begun(struct scene *m)
{
    arm_layer(m);
    m->trigger = NULL;
    for (int turns = 0; turns < TURNS_TO_BEGIN; turns++)
        holds(weir_loop_run_once(m->loop, 0) >= 0);
    struct claim *c = new_claim(m, m->own);
    m->trigger = c;
    return c;
}

static void arm_layer_read(struct scene *m)
{
    struct claim *c = arm_begun(m);
    holds(promise(c, weir_read_bytes(m->own->s, 1, read_came, c)) == 0);
}

static void arm_layer_write(struct scene *m)
{
    struct claim *c = arm_begun(m);
    holds(promise(c, weir_write(m->own->s, "few", 3, wrote, c)) == 0);
}

static void arm_layer_release(struct scene *m)
{
    struct claim *c = arm_begun(m);
    holds(promise(c, write_reference(m->own->s, 3, c)) == 0);
    m->trigger = &c->released;
}

static void arm_layer_close(struct scene *m)
{
    arm_begun(m);
    m->trigger = m->own;
}

static void arm_connect_to(struct scene *m, const struct sockaddr_storage *addr)
{
    m->own = new_subject(m);
    struct claim *c = new_claim(m, m->own);
    holds(promise(c, connect_new(m, m->own, c, addr)) == 0);
    m->trigger = c;
}

static void arm_connect(struct scene *m)
{
    arm_connect_to(m, &m->addr);
}

static void arm_connect_nobody(struct scene *m)
{
    struct sockaddr_storage addr;
    socklen_t len;
    holds(weir_addr_parse("127.0.0.1:1", &addr, &len) == 0);
    arm_connect_to(m, &addr);
}

static void arm_accept(struct scene *m)
{
    arm_connect(m);
    m->peer = m->own;
    m->trigger = m;
}

static void arm_close(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = m->own;
}

static void arm_drain(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = &m->own->drained;
    holds(weir_write(m->own->s, matrix_huge, 5000, NULL, NULL) == 0);
}

static void arm_timer(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = m->timer_claim;
    again(m);
}

static void arm_watch(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = m->watch_claim;
    m->watch_claim->any = true;
    holds(weir_watch_update(m->watch, WEIR_WRITABLE) == 0);
}

static void arm_signal(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = m->signal_claim;
    holds(open_signal(m) == 0);
}

/* The scene's own timer, anew. */
static void arm_periodic(struct scene *m)
{
    open_near_and_far(m);
    m->trigger = m->timer_claim;
    m->timer_claim->any = true;
    holds(weir_timer_stop(m->timer) == 0);
    holds(weir_timer_start(m->loop, 0, 1, fired, m->timer_claim, &m->timer) == 0);
}

static void arm_post(struct scene *m)
{
    struct claim *c = arm_pair(m);
    c->of = NULL;
    holds(promise(c, weir_post(m->loop, called, c)) == 0);
}

static void arm_defer(struct scene *m)
{
    struct claim *c = arm_pair(m);
    c->of = NULL;
    holds(promise(c, weir_defer(m->loop, called, c)) == 0);
}

/* Something to enter the context for: a deferred call, */
static void defer_inside(void *arg)
{
    struct scene *m = arg;
    struct claim *c = new_claim(m, NULL);
    holds(promise(c, weir_defer(m->loop, called, c)) == 0);
}

/* or one that tells it of an error. */
static void fail_inside(void *arg)
{
    struct scene *m = arg;
    weir_context_fail(m->loop, -EIO);
}

static void defer_failing(void *arg)
{
    struct scene *m = arg;
    holds(weir_defer(m->loop, fail_inside, m) == 0);
}

static void arm_context(struct scene *m, weir_call_fn *inside, const void *what)
{
    open_near_and_far(m);
    holds(weir_context_run(m->loop, m->context, inside, m) == 0);
    m->trigger = what;
}

static void arm_enter(struct scene *m)
{
    arm_context(m, defer_inside, &m->entered);
}

static void arm_leave(struct scene *m)
{
    arm_context(m, defer_inside, &m->left);
}

static void arm_error(struct scene *m)
{
    arm_context(m, defer_failing, &m->failed);
}

static void arm_forget(struct scene *m)
{
    arm_context(m, defer_inside, &m->forgotten);
}

static void replace_all(void *arg)
{
    struct scene *m = arg;
    holds(weir_stream_on_close(m->own->s, subject_closed, m->own) == 0);
    holds(weir_stream_on_close(m->peer->s, subject_closed, m->peer) == 0);
}

static void open_outside(void *arg)
{
    open_near_and_far(arg);
}

/* But for on_close, nothing of the streams stands in the context. */
static void arm_forget_replaced(struct scene *m)
{
    holds(weir_context_run(m->loop, NULL, open_outside, m) == 0);
    holds(weir_context_run(m->loop, m->context, replace_all, m) == 0);
    m->trigger = &m->forgotten;
}

/* Reads and writes that pend on both ends, as far as they may. */
static void keep_busy(struct scene *m)
{
    struct subject *ends[2] = {m->own, m->peer};
    for (int i = 0; i < 2; i++) {
        if (!ends[i])
            continue;
        struct claim *c = new_claim(m, ends[i]);
        promise(c, i == 0 ? weir_read_bytes(ends[i]->s, FAR_TOO_MANY, read_came, c)
                          : weir_read_into(ends[i]->s, matrix_memory, MEMORY_BYTES, 0, read_came, c));
        c = new_claim(m, ends[i]);
        promise(c, write_reference(ends[i]->s, HUGE_BYTES, c));
        c = new_claim(m, ends[i]);
        promise(c, weir_write(ends[i]->s, "last", 4, wrote, c));
    }
}

static void fire_nothing(struct scene *m)
{
    (void)m;
}

static void fire_send(struct scene *m)
{
    holds(weir_write(m->peer->s, matrix_huge, FEW_BYTES, NULL, NULL) == 0);
}

static void fire_signal(struct scene *m)
{
    (void)m;
    raise(SIGUSR2);
}

static void fire_close(struct scene *m)
{
    holds(weir_stream_close(m->own->s, WEIR_CLOSE_NOW) == 0);
}

static void fire_flush(struct scene *m)
{
    holds(weir_stream_close(m->own->s, WEIR_CLOSE_FLUSH) == 0);
    holds(weir_stream_close(m->peer->s, WEIR_CLOSE_FLUSH) == 0);
}

static void fire_peer_close(struct scene *m)
{
    holds(weir_stream_close(m->peer->s, WEIR_CLOSE_NOW) == 0);
}

/* A stream that was opened inside holds it, too. */
static void fire_forget(struct scene *m)
{
    if (m->context)
        give_up_context(m);
    else
        fire_flush(m);
}

static void fire_replace(struct scene *m)
{
    if (m->context)
        give_up_context(m);
    replace_all(m);
}

/* The turn that closes the loop is the one that makes it come. */
static void fire_loop_close(struct scene *m)
{
    holds(weir_loop_run_once(m->loop, 0) >= 0);
    close_loop(m);
}

struct callback {
    const char *name, *type;
    void (*arm)(struct scene *m);
    void (*fire)(struct scene *m);
};

static const struct callback callbacks[] = {
#define X(name, type, arm, fire) {#name, #type, arm, fire},
    CALLBACKS(X)
#undef X
};

enum {
#define X(name, type, arm, fire) CALLBACK_##name,
    CALLBACKS(X)
#undef X
};

/* ---- All pairs ---- */

static void arm_inside(void *arg)
{
    struct pair *p = arg;
    p->callback->arm(&p->scene);
}

static void run_pair(struct pair *p)
{
    struct scene *m = &p->scene;
    snprintf(matrix_where, sizeof matrix_where, "%s%s of the %s stream in %s, %s, on %s", p->call->name,
             p->call->variant, target_names[p->target], p->callback->name, manner_names[p->manner], m->world);
    scene_open(m);
    if (p->manner == MANNER_in_context) {
        holds(weir_context_run(m->loop, m->context, arm_inside, p) == 0);
        give_up_context(m);
    } else {
        p->callback->arm(m);
    }
    if (p->manner == MANNER_busy)
        keep_busy(m);
    m->armed = true;
    p->callback->fire(m);
    scene_play(m);
    scene_close(m);
}

static void every_call(const char *world, const struct callback *callback)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (int target = 0; target < (calls[i].about == STREAM ? TARGET_COUNT : 1); target++)
            for (int manner = 0; manner < MANNER_COUNT; manner++) {
                struct pair p = {.scene = {.world = world, .act = act}, .callback = callback, .call = &calls[i],
                                 .target = target, .manner = manner};
                run_pair(&p);
            }
}

#define X(name, type, arm, fire)                                  \
    ON_ALL_WORLDS(matrix, name)                                   \
    {                                                             \
        every_call(e->world, &callbacks[CALLBACK_##name]);        \
    }
CALLBACKS(X)
#undef X

/* ---- Nothing is missing ---- */

static const char *const exempt[] = {
#define X(name) #name,
    EXEMPT(X)
#undef X
};

static int listed(const char *name)
{
    int n = 0;
    for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++)
        n += strcmp(exempt[i], name) == 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        n += strcmp(calls[i].name, name) == 0;
    return n;
}

static bool called_back(const char *type)
{
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++)
        if (strcmp(callbacks[i].type, type) == 0)
            return true;
    return false;
}

static FILE *open_here(const char *path)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s: run this at the top of the tree", path);
    return f;
}

Test(matrix, every_export_has_a_line)
{
    char line[256], name[64];
    size_t exports = 0, lines = sizeof exempt / sizeof *exempt;
    FILE *f = open_here("include/weir.map");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, " %63[a-z0-9_];", name) == 1 && strncmp(name, "weir_", 5) == 0) {
            exports++;
            cr_assert_gt(listed(name), 0, "%s is exported, and in no list of the matrix", name);
        }
    fclose(f);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        lines += i == 0 || strcmp(calls[i].name, calls[i - 1].name) != 0;
    cr_assert_eq(lines, exports, "the matrix lists what is not exported, or twice");
}

Test(matrix, every_type_of_callback_has_a_line)
{
    char line[256], type[64];
    int types = 0;
    FILE *f = open_here("include/weir.h");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "typedef void %63[a-z0-9_](", type) == 1) {
            types++;
            cr_assert(called_back(type), "%s is a callback, and not in the matrix", type);
        }
    fclose(f);
    cr_assert_gt(types, 0);
}
