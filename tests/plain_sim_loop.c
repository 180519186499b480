/* What a loop offers besides streams: contexts, calls for later, timers, watches. */
#include "plain_sim.h"

#include <errno.h>

/* ---- Contexts ---- */

static int index_of(void *arg)
{
    return (int)((struct context *)arg - t.context);
}

static void enter(void *arg)
{
    must(!t.in_call && !t.context[index_of(arg)].released && t.depth < SCOPES_MAX);
    t.scope[t.depth++] = index_of(arg);
}

static void leave(void *arg)
{
    must(!t.in_call && t.depth > 0 && t.scope[--t.depth] == index_of(arg));
}

static int on_error(int code, void *arg)
{
    must(code == -EIO);
    return t.context[index_of(arg)].handles;
}

static void on_release(void *arg)
{
    struct context *c = arg;
    must(!t.in_call && t.depth == 0 && c->opened && !c->handle && !c->released);
    c->released = true;
}

static int check_chain(int context, int at)
{
    if (context < 0)
        return at;
    at = check_chain(t.context[context].parent, at);
    if (t.context[context].inactive)
        return at;
    must(at < t.depth && t.scope[at] == context);
    return at + 1;
}

/* This context is current, and it and those around it are entered, in their order, and no others. */
static void check_scope(int context)
{
    must(check_chain(context, t.base) == t.depth);
    struct weir_context *now = weir_context_current(t.loop);
    must(context < 0 ? now == NULL : now && (!t.context[context].handle || now == t.context[context].handle));
}

void callback_begin(int context)
{
    must(!t.in_call && !t.in_callback && t.base == 0);
    callbacks++;
    t.in_callback = true;
    t.current = context;
    check_scope(context);
}

void callback_end(void)
{
    t.in_callback = false;
    t.current = -1;
}

static void open_inside(void *arg)
{
    struct context *c = arg;
    struct weir_context_options opt = {.size = sizeof opt, .enter = enter, .leave = leave, .on_error = on_error,
                                       .release = on_release, .arg = c};
    must(weir_context_open(t.loop, &opt, &c->handle) == 0);
    c->opened = true;
    c->handles = chance(30);
}

void open_contexts(void)
{
    for (int i = 0; i < CONTEXTS; i++) {
        struct context *c = &t.context[i];
        c->parent = chance(50) ? i - 1 : -1;
        must(weir_context_run(t.loop, c->parent < 0 ? NULL : t.context[c->parent].handle, open_inside, c) == 0);
    }
}

static void close_context(struct context *c)
{
    must(ask(weir_context_close(c->handle)) == 0);
    c->handle = NULL;
}

void close_contexts(void)
{
    for (int i = 0; i < CONTEXTS; i++)
        close_context(&t.context[i]);
}

void contexts_are_gone(void)
{
    for (int i = 0; i < CONTEXTS; i++)
        must(t.context[i].released);
}

struct inside {
    void (*fn)(struct side *x);
    struct side *x;
    int context;
};

static void go_inside(void *arg)
{
    struct inside *in = arg;
    int around = t.current;
    t.current = in->context;
    check_scope(in->context);
    in->fn(in->x);
    t.current = around;
}

void run_in_some_context(void (*fn)(struct side *x), struct side *x)
{
    int i = (int)draw(CONTEXTS + 1) - 1, base = t.base;
    if (i >= 0 && !t.context[i].handle)
        i = -1;
    struct inside in = {fn, x, i};
    t.base = t.depth;
    must(weir_context_run(t.loop, i < 0 ? NULL : t.context[i].handle, go_inside, &in) == 0);
    must(t.depth == t.base);
    t.base = base;
}

/* An error finds the innermost that handles it. */
static void raise_error(void)
{
    bool handled = false;
    for (int i = t.base; i < t.depth; i++)
        handled |= t.context[t.scope[i]].handles;
    must(weir_context_fail(t.loop, -EIO) == (handled ? 0 : -ENOENT));
}

static void end_some_context(void)
{
    struct context *c = &t.context[draw(CONTEXTS)];
    if (!c->handle)
        return;
    if (chance(50)) {
        must(ask(weir_context_deactivate(c->handle)) == 0);
        c->inactive = true;
    } else {
        close_context(c);
    }
}

/* ---- Calls for later ---- */

static void on_call(void *arg)
{
    struct call_rec *c = arg;
    must(c->pending && t.turns <= c->turn + 1);
    callback_begin(c->posted ? -1 : c->context);
    c->pending = false;
    if (c->posted) {
        must(c->number > t.posts_told); /* in order */
        t.posts_told = c->number;
    }
    if (chance(50))
        act(&sides[draw((uint64_t)t.sides)]);
    callback_end();
}

static void call_later(void)
{
    struct call_rec *c = &t.calls[draw(CALLS_MAX)];
    if (c->pending)
        return;
    *c = (struct call_rec){.pending = true, .posted = chance(50), .context = t.current, .turn = t.turns};
    c->number = ++t.calls_made;
    must(ask(c->posted ? weir_post(t.loop, on_call, c) : weir_defer(t.loop, on_call, c)) == 0);
}

void calls_are_told(void)
{
    for (int i = 0; i < CALLS_MAX; i++)
        must(!t.calls[i].pending || t.turns <= t.calls[i].turn);
}

/* ---- Timers ---- */

static void change_timer(struct beat *b)
{
    uint64_t delay = draw_time();
    if (chance(20)) {
        must(ask(weir_timer_stop(b->timer)) == 0);
        b->used = false;
        return;
    }
    b->due = weir_now(t.loop) + delay;
    must(ask(weir_timer_again(b->timer, delay)) == 0);
    b->set = true;
    b->late = 0;
}

static void on_timer(struct weir_timer *timer, void *arg)
{
    struct beat *b = arg;
    uint64_t now = weir_now(t.loop), at = b->due;
    must(b->used && b->set && (!b->owned || timer == b->timer) && now >= at);
    callback_begin(b->context);
    b->set = false;
    b->late = 0;
    if (b->owned && chance(20))
        change_timer(b);
    if (b->used && !b->set && b->period > 0) {
        b->due = at + ((now - at) / b->period + 1) * b->period;
        b->set = true;
    }
    b->used = b->used && (b->owned || b->set);
    if (chance(50))
        act(&sides[draw((uint64_t)t.sides)]);
    callback_end();
}

static void start_timer(void)
{
    struct beat *b = &t.beat[draw(BEATS)];
    if (b->used && b->owned)
        change_timer(b);
    if (b->used)
        return;
    uint64_t delay = draw_time();
    *b = (struct beat){.used = true, .owned = chance(70), .set = true, .context = t.current};
    b->due = weir_now(t.loop) + delay;
    b->period = b->owned && chance(50) ? 1 + draw_time() : 0;
    must(ask(weir_timer_start(t.loop, delay, b->period, on_timer, b, b->owned ? &b->timer : NULL)) == 0);
}

void stop_timers(void)
{
    for (int i = 0; i < BEATS; i++)
        if (t.beat[i].used && t.beat[i].owned && chance(70)) /* the others end with the loop */
            must(ask(weir_timer_stop(t.beat[i].timer)) == 0 && (t.beat[i].used = false, true));
}

void timers_are_told(void)
{
    for (int i = 0; i < BEATS; i++) {
        struct beat *b = &t.beat[i];
        b->late = b->used && b->set && b->due <= weir_now(t.loop) ? b->late + 1 : 0;
        must(b->late <= 1); /* one that is set while timers are served waits for the next turn */
    }
}

void act_on_loop(void)
{
    switch (draw(8)) {
    case 0:
        raise_error();
        break;
    case 1:
        if (chance(5))
            end_some_context();
        break;
    case 2:
    case 3:
        start_timer();
        break;
    default:
        call_later();
    }
}

/* ---- Watches ---- */

static unsigned draw_events(const struct side *x)
{
    unsigned both = (x->reads && !x->ended ? WEIR_READABLE : 0) | (x->writes && !x->shut ? WEIR_WRITABLE : 0);
    return t.settling || chance(50) ? both : (unsigned)draw(4);
}

void change_watch(struct side *x)
{
    x->watched = draw_events(x);
    must(ask(weir_watch_update(x->watch, x->watched)) == 0);
}

static void on_watch(struct weir_watch *watch, int status, unsigned events, void *arg)
{
    struct side *x = arg;
    must(watch == x->watch && status == 0 && events != 0 && !x->closed);
    must((events & ~(x->watched | WEIR_HANGUP | WEIR_ERROR)) == 0 && x->watched != 0);
    must(x->watch_turn != t.turns);
    callback_begin(x->watch_context);
    x->watch_turn = t.turns;
    if (t.settling)
        finish_raw(x);
    else
        act(x);
    if (x->watch && (t.settling || chance(30)))
        change_watch(x);
    callback_end();
}

void open_watch(struct side *x)
{
    x->watched = draw_events(x);
    x->watch_context = t.current;
    must(ask(weir_watch_open(t.loop, x->raw, x->watched, on_watch, x, &x->watch)) == 0);
}

void close_watch(struct side *x)
{
    must(ask(weir_watch_close(x->watch)) == 0);
    x->watch = NULL;
}
