/* Facts about worlds as a whole: how they open, what they tell of themselves, and what they leave behind. */
#include "helpers_world.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- Opening and closing ---- */

FACT(worlds_leave_nothing_behind, ON_CALM)
{
    uint64_t live = wr_mem_live();
    int fds = count_fds();
    for (int i = 0; i < 200; i++) {
        struct wr_world *w;
        expect_eq(t, trial_world(t, &w), 0);
        if (i % 2)
            expect_eq(t, w->ops->turn(w, 0), 0);
        w->ops->close(w);
        expect_eq(t, wr_mem_live(), live);
    }
    expect_eq(t, count_fds(), fds);
}

FACT(worlds_do_not_hear_each_other, ON_CALM)
{
    struct wr_world *other;
    expect_eq(t, trial_world(t, &other), 0);
    t->w->ops->wake(t->w);
    uint64_t before = other->ops->now(other);
    expect_eq(t, other->ops->turn(other, 2000000), 0);
    expect(t, other->ops->now(other) - before >= 2000000);
    trial_turn(t, UINT64_MAX);
    other->ops->close(other);
}

static unsigned long gate_at, gate_count;

static bool gate_one(size_t size)
{
    (void)size;
    return ++gate_count != gate_at;
}

FACT(open_without_memory_fails_cleanly, ON_CALM)
{
    uint64_t live = wr_mem_live();
    int fds = count_fds(), res = -ENOMEM;
    for (gate_at = 1; res == -ENOMEM; gate_at++) {
        struct wr_world *w = NULL;
        expect(t, gate_at < 1000);
        gate_count = 0;
        wr_mem_gate = gate_one;
        res = trial_world(t, &w);
        wr_mem_gate = NULL;
        if (res == 0)
            w->ops->close(w);
        else
            expect(t, t->report.why[0]);
        expect_eq(t, wr_mem_live(), live);
        expect_eq(t, count_fds(), fds);
    }
    expect_eq(t, res, 0);
    expect(t, gate_at > 2);
}

FACT(open_without_descriptors_fails_cleanly, ON_REAL)
{
    uint64_t live = wr_mem_live();
    int fds = count_fds(), lowest = dup(0);
    int res = -EMFILE;
    struct rlimit old, tight;
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    for (int room = 0; res != 0; room++) {
        struct wr_world *w = NULL;
        expect(t, room < 32);
        tight.rlim_cur = (rlim_t)(lowest + room);
        expect_eq(t, setrlimit(RLIMIT_NOFILE, &tight), 0);
        res = trial_world(t, &w);
        expect_eq(t, setrlimit(RLIMIT_NOFILE, &old), 0);
        expect(t, res == 0 || res == -EMFILE);
        expect(t, res == 0 || w == NULL);
        expect(t, (res == 0) == (t->report.why[0] == '\0'));
        if (res == 0)
            w->ops->close(w);
        expect_eq(t, wr_mem_live(), live);
        expect_eq(t, count_fds(), fds);
    }
}

FACT(world_is_of_use_at_once, ON_ALL)
{
    struct wr_result none;
    expect_eq(t, t->w->ops->reap(t->w, &none, 1), 0);
    expect_eq(t, t->w->ops->flush(t->w), 0);
    expect_eq(t, t->w->ops->turn(t->w, 0), 0);
    expect_eq(t, t->w->ops->reap(t->w, &none, 1), 0);
    expect_eq(t, t->w->started, 0);
    expect_eq(t, t->w->pool.size, t->set.recv_buffer_size);
    expect_eq(t, t->w->pool.count, t->set.recv_buffers);
}

/* ---- Reports ---- */

FACT(report_tells_each_feature_once, ON_REAL)
{
    const struct wr_report *r = &t->report;
    expect(t, r->features > 0 && r->features <= WR_COUNT(r->feature));
    expect_eq(t, r->why[0], '\0');
    for (unsigned i = 0; i < r->features; i++) {
        expect(t, r->feature[i].name && r->feature[i].name[0]);
        expect(t, r->feature[i].state <= WR_FEATURE_UNUSED);
        expect_eq(t, r->feature[i].state == WR_FEATURE_MASKED,
                  wr_masked(t->kind->mask, r->feature[i].name));
        for (unsigned k = 0; k < i; k++)
            expect(t, strcmp(r->feature[i].name, r->feature[k].name) != 0);
    }
}

/* A mask that names nothing would make all these worlds one and the same. */
FACT(report_knows_what_was_masked, ON_REAL)
{
    char names[256];
    const struct wr_report *r = &t->report;
    snprintf(names, sizeof(names), "%s", t->kind->mask ? t->kind->mask : "");
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        unsigned i = 0;
        while (i < r->features && strcmp(r->feature[i].name, name) != 0)
            i++;
        if (i == r->features)
            trial_fail(t, __FILE__, __LINE__, "the report does not know %s", name);
        expect_eq(t, r->feature[i].state, WR_FEATURE_MASKED);
    }
}

/* The self-test judges the kernel, not the size of the pool. */
FACT(small_pools_break_no_feature, ON_REAL, .recv_buffer_size = 64, .recv_buffers = 1)
{
    struct wr_report small = t->report;
    struct wr_world *roomy;
    t->set.recv_buffer_size = 32768;
    t->set.recv_buffers = 256;
    expect_eq(t, trial_world(t, &roomy), 0);
    roomy->ops->close(roomy);
    expect_eq(t, small.features, t->report.features);
    for (unsigned i = 0; i < small.features; i++)
        if (small.feature[i].state != t->report.feature[i].state)
            trial_fail(t, __FILE__, __LINE__, "%s is judged otherwise", small.feature[i].name);
}

/* ---- Everything at any time ---- */

enum { CASTS = 24 };

struct cast {
    int own, raw;
    struct act act[2];      /* one in, one out */
    unsigned char in[64], out[64];
};

static void cast_start(struct trial *t, struct cast *c, int i)
{
    struct act *a = &c->act[i];
    uint64_t choice = trial_draw(t, 3);
    act_init(a, t, i ? WR_OP_SEND : choice == 2 ? WR_OP_POLL : WR_OP_RECV, c->own);
    if (a->plan.kind == WR_OP_POLL)
        a->plan.u.events = trial_draw(t, 2) ? POLLOUT : POLLIN;
    if (a->plan.kind == WR_OP_SEND) {
        a->plan.u.send = (struct iovec){ c->out, 1 + trial_draw(t, sizeof(c->out)) };
    }
    if (a->plan.kind == WR_OP_RECV && choice == 0) {
        a->plan.u.recv.base = c->in;
        a->plan.u.recv.len = sizeof(c->in);
    } else if (a->plan.kind == WR_OP_RECV)
        a->plan.flags = trial_draw(t, 2) ? WR_OP_MULTI : 0;
    act_start(a);
}

static void cast_step(struct trial *t, struct cast *c)
{
    unsigned char bytes[100] = { 0 };
    int i = (int)trial_draw(t, 2);
    switch (trial_draw(t, 6)) {
    case 0:
        raw_send(t, c->raw, bytes, 1 + trial_draw(t, sizeof(bytes)));
        break;
    case 1:
        raw_recv(t, c->raw, bytes, sizeof(bytes));
        break;
    case 2:
        trial_pass(t, trial_draw_moment(t));
        break;
    case 3:
        if (!c->act[i].over)
            act_cancel(&c->act[i]);
        break;
    default:
        if (c->act[i].over)
            cast_start(t, c, i);
    }
}

/* Where neither flush tells of something to reap nor the descriptor polls readable there is nothing. */
static void listen_to_fd(struct trial *t)
{
    struct pollfd p = { .fd = t->w->ops->fd(t->w), .events = POLLIN };
    if (t->w->ops->flush(t->w) == 0 && poll(&p, 1, 0) == 0)
        expect_eq(t, trial_reap(t), 0);
}

/* act_done checks each completion, trial_end that none is owed: this only has to make them happen. */
static void play(struct trial *t, unsigned steps, void (*check)(struct trial *t))
{
    static struct cast casts[CASTS];
    for (int i = 0; i < CASTS; i++) {
        trial_pair(t, i % 2 ? UNIX : TCP, &casts[i].own, &casts[i].raw);
        for (int k = 0; k < 2; k++) {
            act_init(&casts[i].act[k], t, WR_OP_NONE, casts[i].own);
            casts[i].act[k].over = true;
        }
    }
    for (unsigned step = 0; step < steps; step++) {
        cast_step(t, &casts[trial_draw(t, CASTS)]);
        if (check && trial_draw(t, 4) == 0)
            check(t);
    }
    for (int i = 0; i < CASTS; i++)
        for (int k = 0; k < 2; k++) {
            act_cancel(&casts[i].act[k]);
            act_end(&casts[i].act[k]);
        }
}

FACT(ops_live_and_end_at_random, ON_ALL, .ring_entries = 8)
{
    play(t, trial_is_real(t) ? 20000 : 1000, NULL);
}

FACT(fd_is_never_silent_about_what_can_be_reaped, ON_REAL, .ring_entries = 8, .recv_buffers = 4)
{
    play(t, 10000, listen_to_fd);
}
