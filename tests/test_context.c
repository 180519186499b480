/* Suite context: what a callback was handed over in is entered around its call. */
#include "helpers_stream.h"

#include <errno.h>
#include <string.h>

/* A context that notes when it is entered, left, asked about an error and released. */
struct place {
    struct env *env;
    const char *name;
    int handles;            /* the errors it handles: 1 all, 0 none */
    struct weir_context *c;
};

static void enter(void *arg)
{
    struct place *p = arg;
    note(p->env, "(%s\n", p->name);
}

static void leave(void *arg)
{
    struct place *p = arg;
    note(p->env, "%s)\n", p->name);
}

static int on_error(int code, void *arg)
{
    struct place *p = arg;
    note(p->env, "%s hears %s\n", p->name, weir_error_name(code));
    return p->handles;
}

static void released(void *arg)
{
    struct place *p = arg;
    note(p->env, "%s released\n", p->name);
}

static void open_place(struct place *p)
{
    struct weir_context_options opt = {
        .size = sizeof opt, .enter = enter, .leave = leave, .on_error = on_error, .release = released, .arg = p};
    cr_assert_eq(weir_context_open(p->env->loop, &opt, &p->c), 0);
}

static void run_in(struct place *p, weir_call_fn *fn, void *arg)
{
    cr_assert_eq(weir_context_run(p->env->loop, p->c, fn, arg), 0);
}

/* Work for a callback, deferred. */
struct work {
    struct env *env;
    int done;
    void (*then)(struct work *w);
    struct place *place, *inner;
};

static void work(void *arg)
{
    struct work *w = arg;
    note(w->env, "work\n");
    w->done++;
    if (w->then)
        w->then(w);
}

static void defer_work(void *arg)
{
    struct work *w = arg;
    cr_assert_eq(weir_defer(w->env->loop, work, w), 0);
}

ON_ALL_WORLDS(context, what_is_deferred_inside_runs_inside)
{
    struct place p = {.env = e, .name = "p"};
    struct work w = {.env = e};
    open_place(&p);
    run_in(&p, defer_work, &w);
    expect_log(e, "(p\np)\n");
    cr_assert_null(weir_context_current(e->loop));
    cr_assert_eq(weir_context_close(p.c), 0);
    expect_log(e, "");
    run_until(e, &w.done, 1);
    run_idle(e);
    expect_log(e, "(p\nwork\np)\np released\n");
}

ON_ALL_WORLDS(context, what_is_deferred_outside_runs_outside)
{
    struct place p = {.env = e, .name = "p"};
    struct work w = {.env = e};
    open_place(&p);
    defer_work(&w);
    run_until(e, &w.done, 1);
    expect_log(e, "work\n");
    weir_context_close(p.c);
    run_idle(e);
    expect_log(e, "p released\n");
}

static void open_inner(void *arg)
{
    struct work *w = arg;
    open_place(w->inner);
    cr_assert_eq(weir_context_run(w->env->loop, w->inner->c, defer_work, w), 0);
}

ON_ALL_WORLDS(context, one_stands_in_the_other)
{
    struct place p = {.env = e, .name = "p"}, q = {.env = e, .name = "q"};
    struct work w = {.env = e, .inner = &q};
    open_place(&p);
    run_in(&p, open_inner, &w);
    expect_log(e, "(p\n(p\n(q\nq)\np)\np)\n");
    run_until(e, &w.done, 1);
    expect_log(e, "(p\n(q\nwork\nq)\np)\n");
    weir_context_close(p.c);
    expect_log(e, "");
    weir_context_close(q.c);
    run_idle(e);
    expect_log(e, "q released\np released\n");
}

/* A continuation of a continuation stays inside, however long the chain. */
static void again(struct work *w)
{
    if (w->done < 5)
        defer_work(w);
}

ON_ALL_WORLDS(context, a_chain_stays_inside)
{
    struct place p = {.env = e, .name = "p"};
    struct work w = {.env = e, .then = again};
    open_place(&p);
    run_in(&p, defer_work, &w);
    weir_context_close(p.c);
    run_until(e, &w.done, 5);
    run_idle(e);
    expect_log(e, "(p\np)\n(p\nwork\np)\n(p\nwork\np)\n(p\nwork\np)\n(p\nwork\np)\n(p\nwork\np)\np released\n");
}

static void outside(struct work *w)
{
    w->then = NULL;
    cr_assert_eq(weir_context_run(w->env->loop, NULL, defer_work, w), 0);
    cr_assert_eq(weir_context_current(w->env->loop), w->place->c);
}

ON_ALL_WORLDS(context, the_null_scope_is_no_context)
{
    struct place p = {.env = e, .name = "p"};
    struct work w = {.env = e, .then = outside, .place = &p};
    open_place(&p);
    run_in(&p, defer_work, &w);
    run_until(e, &w.done, 2);
    expect_log(e, "(p\np)\n(p\nwork\np)\nwork\n");
    weir_context_close(p.c);
    run_idle(e);
    expect_log(e, "p released\n");
}

static void deactivate_and_go_on(struct work *w)
{
    cr_assert_eq(weir_context_deactivate(w->place->c), 0);
    cr_assert_eq(weir_context_fail(w->env->loop, -EIO), 0, "the call that runs ends as it began");
    w->then = NULL;
    defer_work(w);
}

ON_ALL_WORLDS(context, deactivating_is_for_later_calls_only)
{
    struct place p = {.env = e, .name = "p", .handles = 1};
    struct work w = {.env = e, .then = deactivate_and_go_on, .place = &p};
    open_place(&p);
    run_in(&p, defer_work, &w);
    run_until(e, &w.done, 2);
    expect_log(e, "(p\np)\n(p\nwork\np hears EIO\np)\nwork\n");
    weir_context_close(p.c);
    run_idle(e);
    expect_log(e, "p released\n");
}

static void fail(struct work *w)
{
    w->done = 100 + weir_context_fail(w->env->loop, -EIO);
}

/* Who of three, one in another, hears of an error, if those that `handles` has digits for handle it. */
static void expect_hearing(struct env *e, int p_handles, int q_handles, int rc, const char *text)
{
    struct place p = {.env = e, .name = "p", .handles = p_handles}, q = {.env = e, .name = "q", .handles = q_handles};
    struct work w = {.env = e, .inner = &q, .then = fail};
    open_place(&p);
    run_in(&p, open_inner, &w);
    expect_log(e, "(p\n(p\n(q\nq)\np)\np)\n");
    run_until(e, &w.done, 1);
    cr_assert_eq(w.done, 100 + rc);
    expect_log(e, text);
    weir_context_close(p.c);
    weir_context_close(q.c);
    run_idle(e);
    expect_log(e, "q released\np released\n");
}

ON_ALL_WORLDS(context, the_innermost_handler_hears_first)
{
    expect_hearing(e, 1, 1, 0, "(p\n(q\nwork\nq hears EIO\nq)\np)\n");
    expect_hearing(e, 1, 0, 0, "(p\n(q\nwork\nq hears EIO\np hears EIO\nq)\np)\n");
    expect_hearing(e, 0, 0, -ENOENT, "(p\n(q\nwork\nq hears EIO\np hears EIO\nq)\np)\n");
    cr_assert_eq(weir_context_fail(e->loop, -EIO), -ENOENT);
    cr_assert_eq(weir_context_fail(e->loop, 0), -EINVAL);
}

static int raise_again(int code, void *arg)
{
    struct place *p = arg;
    note(p->env, "%s hears %s\n", p->name, weir_error_name(code));
    return weir_context_fail(p->env->loop, -EPROTO) == 0;
}

static void open_raiser(void *arg)
{
    struct work *w = arg;
    struct weir_context_options opt = {.size = sizeof opt, .on_error = raise_again, .arg = w->inner};
    cr_assert_eq(weir_context_open(w->env->loop, &opt, &w->inner->c), 0);
    cr_assert_eq(weir_context_run(w->env->loop, w->inner->c, defer_work, w), 0);
}

ON_ALL_WORLDS(context, what_a_handler_raises_goes_outwards)
{
    struct place p = {.env = e, .name = "p", .handles = 1}, q = {.env = e, .name = "q"};
    struct work w = {.env = e, .inner = &q, .then = fail};
    open_place(&p);
    run_in(&p, open_raiser, &w);
    run_until(e, &w.done, 1);
    cr_assert_eq(w.done, 100);
    expect_log(e, "(p\n(p\np)\np)\n(p\nwork\nq hears EIO\np hears EPROTO\np)\n");
    weir_context_close(q.c);
    weir_context_close(p.c);
    run_idle(e);
    expect_log(e, "p released\n");
}

static void open_one_more(void *arg)
{
    struct work *w = arg;
    struct weir_context *c;
    int rc = weir_context_open(w->env->loop, NULL, &c);
    w->done++;
    if (rc == 0) {
        cr_assert_eq(weir_context_run(w->env->loop, c, open_one_more, w), 0);
        weir_context_close(c);
    } else {
        cr_assert_eq(rc, -ELOOP);
    }
}

ON_ALL_WORLDS(context, only_so_many_stand_in_each_other)
{
    struct work w = {.env = e};
    open_one_more(&w);
    cr_assert_eq(w.done, 65);
}

/* ---- Every kind of callback ---- */

static struct party a, b;

static void ask_for_everything(void *arg)
{
    (void)arg;
    weir_stream_on_close(a.s, on_close, &a);
    cr_assert_eq(weir_read_bytes(a.s, 2, on_read, &a), 0);
    cr_assert_eq(weir_write(a.s, "hi", 2, on_wrote, &a), 0);
}

ON_ALL_WORLDS(context, streams_call_inside)
{
    struct place p = {.env = e, .name = "p"};
    open_pair(e, NULL, &a, &b);
    open_place(&p);
    run_in(&p, ask_for_everything, e);
    weir_context_close(p.c);
    expect_log(e, "(p\np)\n");
    cr_assert_eq(weir_read_bytes(b.s, 2, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "(p\na wrote 0\np)\nb read 0 2 hi\n");
    cr_assert_eq(weir_write(b.s, "yo", 2, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "(p\na read 0 2 yo\np)\n");
    close_pair(e, &a, &b);
    expect_log(e, "(p\na closed 0\np)\nb closed 0\np released\n");
}

static void start_reading(void *arg)
{
    (void)arg;
    cr_assert_eq(weir_read_start(a.s, on_read, &a), 0);
}

ON_ALL_WORLDS(context, every_chunk_comes_inside)
{
    struct place p = {.env = e, .name = "p"};
    open_pair(e, NULL, &a, &b);
    open_place(&p);
    run_in(&p, start_reading, e);
    weir_context_close(p.c);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_write(b.s, "yo", 2, NULL, NULL), 0);
        run_idle(e);
    }
    expect_log(e, "(p\np)\n(p\na read 0 2 yo\np)\n(p\na read 0 2 yo\np)\n");
    cr_assert_eq(weir_read_stop(a.s), 0);
    run_idle(e);
    expect_log(e, "p released\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

static void replace_callback(void *arg)
{
    (void)arg;
    cr_assert_eq(weir_write(a.s, "x", 1, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "y", 1, NULL, NULL), 0);
}

ON_ALL_WORLDS(context, a_callback_that_another_replaces_lets_go)
{
    struct weir_stream_options opt = {.size = sizeof opt, .last_write_callback = 1};
    struct place p = {.env = e, .name = "p"};
    open_pair(e, &opt, &a, &b);
    open_place(&p);
    run_in(&p, replace_callback, e);
    weir_context_close(p.c);
    run_idle(e);
    expect_log(e, "(p\np)\np released\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

static int fired;

static void on_timer(struct weir_timer *timer, void *arg)
{
    note(arg, "timer\n");
    if (++fired == 2)
        weir_timer_stop(timer);
}

static void start_timer(void *arg)
{
    struct env *e = arg;
    struct weir_timer *timer;
    fired = 0;
    cr_assert_eq(weir_timer_start(e->loop, 1000000, 1000000, on_timer, e, &timer), 0);
}

ON_ALL_WORLDS(context, timers_fire_inside)
{
    struct place p = {.env = e, .name = "p"};
    open_place(&p);
    run_in(&p, start_timer, e);
    weir_context_close(p.c);
    run_until(e, &fired, 2);
    run_idle(e);
    expect_log(e, "(p\np)\n(p\ntimer\np)\n(p\ntimer\np)\np released\n");
}

static struct weir_listener *listener;
static int met;

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l;
    note(arg, "accepted %d\n", status);
    b = (struct party){.env = arg, .name = "b", .s = s};
    met++;
}

static void on_connected(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    note(arg, "connected %d\n", status);
    met++;
}

static void meet(void *arg)
{
    struct env *e = arg;
    struct sockaddr_storage addr;
    socklen_t len;
    a = (struct party){.env = e, .name = "a"};
    cr_assert_eq(weir_listener_address(listener, &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, NULL, on_connected, e, &a.s), 0);
}

static void listen_here(void *arg)
{
    struct env *e = arg;
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_stream_options stream = {.size = sizeof stream, .on_close = on_close, .on_close_arg = &b};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &len), 0);
    struct weir_listen_options opt = {
        .size = sizeof opt, .addr = (struct sockaddr *)&addr, .addr_len = len, .stream = &stream};
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &listener), 0);
}

ON_ALL_WORLDS(context, accepts_and_connects_tell_inside)
{
    struct place p = {.env = e, .name = "p"}, q = {.env = e, .name = "q"};
    met = 0;
    open_place(&p);
    open_place(&q);
    run_in(&p, listen_here, e);
    run_in(&q, meet, e);
    expect_log(e, "(p\np)\n(q\nq)\n");
    weir_context_close(p.c);
    weir_context_close(q.c);
    run_until(e, &met, 2);
    cr_assert(strstr(e->log, "(p\naccepted 0\np)\n") && strstr(e->log, "(q\nconnected 0\nq)\n"));
    e->log_len = 0;
    weir_stream_close(a.s, WEIR_CLOSE_NOW);
    weir_stream_close(b.s, WEIR_CLOSE_NOW);
    weir_listener_close(listener);
    run_until(e, &b.closed, 1);
    run_idle(e);
    cr_assert(strstr(e->log, "(p\nb closed 0\np)\n"), "what the listener's options name was handed over with them");
    cr_assert(strstr(e->log, "p released\n") && strstr(e->log, "q released\n"));
}

static void replace_itself(struct weir_stream *s, int reason, void *arg)
{
    on_close(s, reason, arg);
    cr_assert_eq(weir_stream_on_close(s, on_close, arg), 0);
}

static void open_replacing(void *arg)
{
    open_pair(arg, NULL, &a, &b);
    weir_stream_on_close(b.s, replace_itself, &b);
}

/* It is too late, and must do no harm: the stream's hold on the context may be the last one. */
ON_ALL_WORLDS(context, on_close_may_be_replaced_in_itself)
{
    struct place p = {.env = e, .name = "p"};
    open_place(&p);
    run_in(&p, open_replacing, e);
    weir_context_close(p.c);
    close_pair(e, &a, &b);
    cr_assert(strstr(e->log, "(p\na closed 0\np)\n") && strstr(e->log, "(p\nb closed 0\np)\n"), "%s", e->log);
    const char *end = strstr(e->log, "p released\n");
    cr_assert(end && end[11] == '\0', "%s", e->log);
}

static void on_drain(struct weir_stream *s, void *arg)
{
    (void)s;
    note(arg, "drained\n");
}

static void open_draining(void *arg)
{
    struct weir_stream_options opt = {
        .size = sizeof opt, .write_high_water = 1, .on_drain = on_drain, .on_drain_arg = arg};
    open_pair(arg, &opt, &a, &b);
}

static void replace(void *arg)
{
    (void)arg;
    cr_assert_eq(weir_stream_on_close(a.s, on_close, &a), 0);
}

/* Who replaces on_close hands on_close over, and nothing else. */
ON_ALL_WORLDS(context, on_drain_keeps_its_own)
{
    struct place p = {.env = e, .name = "p"}, q = {.env = e, .name = "q"};
    open_place(&p);
    open_place(&q);
    run_in(&p, open_draining, e);
    run_in(&q, replace, NULL);
    weir_context_close(p.c);
    weir_context_close(q.c);
    expect_log(e, "(p\np)\n(q\nq)\n");
    cr_assert_eq(weir_write(a.s, "xx", 2, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "(p\ndrained\np)\n");
    close_pair(e, &a, &b);
    cr_assert(strstr(e->log, "(q\na closed 0\nq)\n") && strstr(e->log, "(p\nb closed 0\np)\n"), "%s", e->log);
    cr_assert(strstr(e->log, "p released\n") && strstr(e->log, "q released\n"), "%s", e->log);
}
