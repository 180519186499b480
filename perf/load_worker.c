#include "load_worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "load_conn.h"
#include "load_memory.h"

enum {
    OPENING_MAX = 100,          /* at a time, so that no queue of a server overflows */
    IDLE_WARMUP_MAX = 2000      /* ports and descriptors are for those that are measured */
};
static const uint64_t SWEEP_MAX_NS = 100000000, SWEEP_MIN_NS = 1000000;

/* ---- What a connection does that is free for a message ---- */

static void rest(struct conn *c, uint64_t now)
{
    (void)c, (void)now;
}

static void send_again(struct conn *c, uint64_t now)
{
    conn_send(c, now, now);
}

static void wait_until(struct conn *c, uint64_t at)
{
    struct worker *w = c->w;
    w->ready[(w->ready_head + w->ready_count++) % w->ready_size] = (struct ready){c, at};
}

static void think(struct conn *c, uint64_t now)
{
    wait_until(c, now + c->w->load->args->think_ns);
}

/* ---- A turn ---- */

static int is_open_loop(const struct worker *w)
{
    return w->load->args->rate > 0;
}

/* When the next message is to be sent, as far as that is known. */
static uint64_t next_due(const struct worker *w)
{
    if (w->ready_count == 0)
        return UINT64_MAX;
    return is_open_loop(w) ? schedule_due(&w->schedule) : w->ready[w->ready_head].at;
}

/* Sends what is due. In an open loop what is late counts from when it was due. */
static void send_due(struct worker *w, uint64_t now)
{
    for (uint64_t due; (due = next_due(w)) <= now;) {
        struct conn *c = w->ready[w->ready_head].conn;
        w->ready_head = (w->ready_head + 1) % w->ready_size;
        w->ready_count--;
        if (c->broken)
            continue;
        if (is_open_loop(w))
            schedule_take(&w->schedule);
        conn_send(c, now, is_open_loop(w) ? due : now);
    }
}

static void turn(struct worker *w, uint64_t now, uint64_t end)
{
    if (w->ready_count > 0) {
        send_due(w, now);
        uint64_t due = next_due(w);
        end = due < end ? due : end;
    }
    int rc = weir_loop_run_once(w->loop, end > now ? end - now : 0);
    if (rc < 0) {
        fprintf(stderr, "load: the loop ended: %s\n", weir_strerror(rc));
        exit(1);
    }
}

/* In a closed loop nothing is due but the end, and the loop's own clock will do. */
static uint64_t time_of(const struct worker *w)
{
    return w->again ? weir_now(w->loop) : clock_ns();
}

/* ---- What takes too long ---- */

static void sweep_some(struct conn *conns, int count, uint64_t now)
{
    for (struct conn *c = conns; c < conns + count; c++)
        if ((c->in_flight > 0 || c->changing) && now - c->waiting_since > c->w->load->timeout_ns)
            conn_fail(c, FAULT_TIMEOUT, c->in_flight > 0 ? "no answer in time" : "no end in time");
}

static void sweep(struct weir_timer *timer, void *arg)
{
    struct worker *w = arg;
    uint64_t now = clock_ns();
    (void)timer;
    if (!w->share)
        return;
    sweep_some(w->share->conns, w->share->count, now);
    sweep_some(w->share->idle, w->share->idle_used, now);
}

/* ---- Orders ---- */

static void look_at(struct worker *w, int target)
{
    w->share = &w->shares[target];
    w->hist = &w->share->hist;
}

static void forget_answers(struct worker *w)
{
    memset(w->hist, 0, sizeof *w->hist);
}

void worker_connect(struct worker *w, int target)
{
    look_at(w, target);
    for (int i = 0; !w->churn && (i < w->share->count || w->busy > 0);) {
        while (i < w->share->count && w->busy < OPENING_MAX)
            conn_open(&w->share->conns[i++]);
        turn(w, 0, SWEEP_MAX_NS);
    }
}

/* As many again, so that tables and pools of a fresh server have grown as far as they do for so many. */
int worker_idle_warmup(const struct load_args *args)
{
    return args->idle < IDLE_WARMUP_MAX ? args->idle : IDLE_WARMUP_MAX;
}

void worker_idle(struct worker *w, int target, int count)
{
    look_at(w, target);
    struct share *share = w->share;
    for (int end = share->idle_used + count; share->idle_used < end || w->busy > 0;) {
        while (share->idle_used < end && w->busy < OPENING_MAX) {
            uint64_t now = clock_ns();
            conn_send(&share->idle[share->idle_used++], now, now);
        }
        turn(w, 0, SWEEP_MAX_NS);
    }
    forget_answers(w);
}

static void begin(struct worker *w, double seconds, int round)
{
    const struct load_args *args = w->load->args;
    uint64_t now = clock_ns();
    w->free = is_open_loop(w) || args->think_ns > 0 ? think : send_again;
    w->again = w->free == send_again && !w->churn;
    sizes_seed(&w->sizes, args->seed + (uint64_t)(round + 1) * (uint64_t)args->loops + w->index);
    if (is_open_loop(w))
        schedule_begin(&w->schedule, now, args->rate, seconds, w->index, (unsigned)args->loops);
    void (*first)(struct conn *c, uint64_t at) = w->free == think ? wait_until : send_again;
    for (int depth = 0; depth < args->depth; depth++)
        for (struct conn *c = w->share->conns; c < w->share->conns + w->share->count; c++)
            if (!c->broken)
                first(c, now);
}

/* What is due and was not sent is late, but not lost, unless that takes longer than an answer may. */
static void send_late(struct worker *w)
{
    uint64_t now, end = clock_ns() + w->load->timeout_ns, left;
    while ((left = schedule_left(&w->schedule)) > 0 && (now = clock_ns()) < end && w->share->live > 0)
        turn(w, now, end);
    if (left > 0)
        fault_add(&w->share->faults, FAULT_UNSENT, left, w->share->conns[0].goal->where->name,
                  "no connection was free in time");
}

static void stop(struct worker *w)
{
    w->free = rest;
    w->again = 0;
    w->ready_count = 0;
    while (w->busy > 0)
        turn(w, 0, SWEEP_MAX_NS);
}

void worker_drive(struct worker *w, int target, double seconds, int round)
{
    uint64_t now, end = clock_ns() + (uint64_t)(seconds * 1e9);
    look_at(w, target);
    begin(w, seconds, round);
    while ((now = time_of(w)) < end && w->share->live > 0)
        turn(w, now, end);
    if (is_open_loop(w))
        send_late(w);
    stop(w);
    if (round < 0)
        forget_answers(w);
}

/* ---- Life ---- */

static struct conn *make_conns(struct worker *w, int target, int count, int depth)
{
    struct conn *conns = load_memory((size_t)count + 1, sizeof *conns);
    for (int i = 0; i < count; i++) {
        struct conn *c = &conns[i];
        *c = (struct conn){.w = w, .goal = &w->load->goals[target], .depth = (unsigned)depth,
                           .reply.memo = &w->memo};
        conn_rest(c);
        c->ring = load_memory(c->depth, sizeof *c->ring);
        snprintf(c->host, sizeof c->host, "c%d-%u-%d.test", target, w->index, i);
    }
    return conns;
}

static int share_of(int all, const struct worker *w)
{
    int loops = w->load->args->loops;
    return all / loops + ((int)w->index < all % loops);
}

int worker_open(struct worker *w, struct load *load, unsigned index)
{
    const struct load_args *args = load->args;
    struct weir_loop_options opt = {.size = sizeof opt, .backend = args->backend};
    uint64_t period = load->timeout_ns / 8;
    *w = (struct worker){.load = load, .index = index, .free = rest, .churn = args->churn, .sizes = args->sizes,
                         .payload = load->payload};
    prctl(PR_SET_TIMERSLACK, 1); /* else waits end 50 us late, and messages that are due then would be, too */
    int rc = weir_loop_open(&opt, &w->loop);
    if (rc < 0)
        return rc;
    for (int t = 0; t < args->target_count; t++) {
        struct share *share = &w->shares[t];
        share->count = share->live = share_of(args->connections, w);
        share->conns = make_conns(w, t, share->count, args->depth);
        share->idle_count = share_of(args->idle, w) + share_of(worker_idle_warmup(args), w);
        share->idle = make_conns(w, t, share->idle_count, 1);
        for (int i = 0; i < share->idle_count; i++)
            share->idle[i].idle = 1;
    }
    w->ready_size = (size_t)w->shares[0].count * (size_t)args->depth;
    w->ready = load_memory(w->ready_size, sizeof *w->ready);
    period = period < SWEEP_MIN_NS ? SWEEP_MIN_NS : period > SWEEP_MAX_NS ? SWEEP_MAX_NS : period;
    return weir_timer_start(w->loop, period, period, sweep, w, &w->sweep);
}

/* Nobody is told of ends from now on. */
static void forget(struct conn *conns, int count)
{
    for (struct conn *c = conns; c < conns + count; c++) {
        c->s = NULL;
        reply_drop(&c->reply);
        free(c->ring);
    }
}

void worker_close(struct worker *w)
{
    for (int t = 0; t < w->load->args->target_count; t++) {
        struct share *share = &w->shares[t];
        forget(share->conns, share->count);
        forget(share->idle, share->idle_count);
    }
    weir_timer_stop(w->sweep);
    weir_loop_close(w->loop);
    for (int t = 0; t < w->load->args->target_count; t++) {
        free(w->shares[t].conns);
        free(w->shares[t].idle);
    }
    free(w->ready);
}
