/* One turn, in this order: hand over and wait, layers that waited to begin, completions, posted calls, timers, tasks
 * (signals among them), receives that waited for a buffer. What they start is handed over, all of it in one system
 * call, by the next turn. */
#include "loop.h"

enum {
    REAP_BATCH = 32,        /* few enough to stay in the nearest cache */
    TASK_ROUNDS = 4         /* tasks may queue tasks; what is left after this many rounds waits for the next turn */
};

static const uint64_t SHRINK_EVERY = 1000000000u, LOOK_EVERY = 100000000u;

/* ---- What waits for its moment ---- */

void wr_loop_task(struct weir_loop *loop, struct wr_task *task)
{
    if (wr_list_empty(&task->link))
        wr_list_push(&loop->tasks, &task->link);
}

void wr_loop_park(struct weir_loop *loop, struct wr_task *task)
{
    wr_list_remove(&task->link);
    wr_list_push(&loop->parked, &task->link);
}

void wr_loop_fd_freed(struct weir_loop *loop)
{
    struct wr_list *node;
    while ((node = wr_list_pop(&loop->parked)))
        wr_list_push(&loop->tasks, node);
}

bool wr_loop_may_begin(struct weir_loop *loop, struct wr_beginner *b)
{
    if (loop->begin_budget > 0 && wr_list_empty(&loop->beginners)) {
        loop->begin_budget -= b->price;
        return true;
    }
    if (wr_list_empty(&b->task.link))
        wr_list_push(&loop->beginners, &b->task.link);
    return false;
}

void wr_loop_began_nothing(struct weir_loop *loop, const struct wr_beginner *b)
{
    loop->begin_budget += b->price;
}

void wr_loop_ring(struct weir_loop *loop, struct wr_alarm *alarm)
{
    atomic_store(&alarm->rung, true);
    atomic_store(&loop->alarmed, true);
    loop->world->ops->wake(loop->world);
}

void wr_loop_bury(struct weir_loop *loop, struct wr_resident *resident)
{
    wr_list_remove(&resident->link);
    if (loop->closing)
        wr_list_push(&loop->ended, &resident->link);
    else
        resident->kind->bury(resident);
}

uint64_t wr_loop_now(struct weir_loop *loop)
{
    if (!loop->in_turn)
        loop->now = loop->world->ops->now(loop->world);
    return loop->now;
}

void wr_loop_starve(struct weir_loop *loop, struct wr_op *op)
{
    wr_assert(!op->in_flight);
    loop->stats.starved++;
    op->flags &= (uint8_t)~WR_OP_MULTI; /* one buffer, and then the next one's turn */
    wr_list_push(&loop->starved, &op->link);
}

void wr_loop_spend(struct weir_loop *loop, struct wr_op *op)
{
    wr_assert(!op->in_flight);
    wr_list_push(&loop->spent, &op->link);
}

bool wr_loop_exempts(struct weir_loop *loop, struct wr_op *op)
{
    if (!loop->exempt && wr_list_empty(&loop->thirsty))
        loop->exempt = op;
    if (loop->exempt != op)
        return false;
    loop->exempt_moves = true;
    return true;
}

void wr_loop_exempt_over(struct weir_loop *loop, struct wr_op *op)
{
    if (loop->exempt == op)
        loop->exempt = NULL;
}

void wr_loop_thirst(struct weir_loop *loop, struct wr_op *op)
{
    wr_assert(!op->in_flight);
    loop->stats.thirsted++;
    wr_list_push(&loop->thirsty, &op->link);
    if (!wr_timer_is_set(&loop->look))
        wr_timers_set(&loop->timers, &loop->look, wr_add_sat(loop->now, LOOK_EVERY));
}

/* An exempt one whose peer is silent makes way for the next, but keeps what it has: beyond twice the limit all wait. */
static void look_at_exempt(struct wr_timer *timer)
{
    struct weir_loop *loop = wr_home(timer, struct weir_loop, look);
    if (wr_list_empty(&loop->thirsty))
        return;
    if (!loop->exempt_moves && loop->cache.used / 2 < loop->max_memory)
        loop->exempt = NULL; /* the turn goes on with the next */
    loop->exempt_moves = false;
    wr_timers_set(&loop->timers, &loop->look, wr_add_sat(loop->now, LOOK_EVERY));
}

void wr_loop_cancel(struct weir_loop *loop, struct wr_op *op)
{
    if (op->in_flight)
        wr_cancel(loop->world, op);
    else
        wr_list_remove(&op->link);
}

/* ---- A turn's parts ---- */

static void serve_completions(struct weir_loop *loop)
{
    struct wr_result batch[REAP_BATCH];
    unsigned left = loop->turn_budget, n;
    while (left > 0 && (n = loop->world->ops->reap(loop->world, batch, (unsigned)wr_min(left, REAP_BATCH)))) {
        for (unsigned i = 0; i < n; i++) {
            struct wr_op *op = batch[i].op;
            wr_assert(op->in_flight);
            if (!batch[i].more)
                op->in_flight = false;
            op->done(op, &batch[i]);
        }
        left -= n;
        loop->stats.completed += n;
    }
}

static void answer_alarms(struct weir_loop *loop)
{
    if (!atomic_load_explicit(&loop->alarmed, memory_order_relaxed))
        return;
    atomic_store(&loop->alarmed, false); /* before the look: what is rung after it sets it again */
    for (struct wr_list *node = loop->alarms.next; node != &loop->alarms; node = node->next) {
        struct wr_alarm *alarm = wr_home(node, struct wr_alarm, link);
        if (atomic_exchange(&alarm->rung, false))
            wr_loop_task(loop, &alarm->task);
    }
}

static void serve_timers(struct weir_loop *loop)
{
    uint64_t set_before = loop->timers.order;
    struct wr_timer *timer;
    while ((timer = wr_timers_due(&loop->timers, loop->now, set_before)))
        timer->fire(timer);
}

/* Before whoever else would begin in this turn. */
static void serve_beginners(struct weir_loop *loop)
{
    struct wr_list *node;
    loop->begin_budget = WR_BEGIN_BUDGET;
    while (loop->begin_budget > 0 && (node = wr_list_pop(&loop->beginners))) {
        struct wr_beginner *b = wr_home(node, struct wr_beginner, task.link);
        loop->begin_budget -= b->price;
        b->task.run(&b->task);
    }
}

void wr_loop_serve_tasks(struct weir_loop *loop)
{
    for (int round = 0; round < TASK_ROUNDS && !wr_list_empty(&loop->tasks); round++) {
        struct wr_list batch, *node;
        wr_list_init(&batch);
        wr_list_steal(&batch, &loop->tasks);
        while ((node = wr_list_pop(&batch))) {
            struct wr_task *task = wr_home(node, struct wr_task, link);
            task->run(task);
        }
    }
}

/* Those that are started may have nothing to receive: while there are buffers, the next turn does not wait. No more are
 * started than surely find one, or who finds none would come to stand behind those who did. */
static void feed_starved(struct weir_loop *loop)
{
    struct wr_list *node;
    uint32_t available = wr_bufpool_available(&loop->world->pool);
    for (uint32_t n = available < WR_OFFER_MIN ? available : WR_OFFER_MIN; n > 0; n--) {
        if (!(node = wr_list_pop(&loop->starved)))
            return;
        wr_start(loop->world, wr_home(node, struct wr_op, link));
    }
}

/* Behind those, who are sure to find their one. Who finds none then is starved. */
static void feed_spent(struct weir_loop *loop)
{
    struct wr_list *node;
    while ((node = wr_list_pop(&loop->spent)))
        wr_start(loop->world, wr_home(node, struct wr_op, link));
}

/* As many as there is room for what each may bring; one if there is none and no other is exempt. */
static void feed_thirsty(struct weir_loop *loop)
{
    struct wr_list *node;
    size_t used = loop->cache.used;
    while (!wr_list_empty(&loop->thirsty) && (used < loop->max_memory || !loop->exempt)) {
        node = wr_list_pop(&loop->thirsty);
        struct wr_op *op = wr_home(node, struct wr_op, link);
        if (used >= loop->max_memory) {
            loop->exempt = op;
            loop->exempt_moves = true;
        }
        used += loop->world->pool.size;
        wr_start(loop->world, op);
    }
}

/* ---- What is kept for reuse ---- */

static void shrink(struct wr_timer *timer)
{
    wr_cache_trim(&wr_home(timer, struct weir_loop, shrink)->cache);
}

int wr_loop_join_timers(struct weir_loop *loop)
{
    int rc = wr_timers_join(&loop->timers, &loop->shrink, shrink);
    if (rc < 0)
        return rc;
    rc = wr_timers_join(&loop->timers, &loop->look, look_at_exempt);
    wr_assert(rc == 0); /* the first has made room for several */
    return 0;
}

static void plan_shrinking(struct weir_loop *loop)
{
    if (loop->cache.kept > 0 && !wr_timer_is_set(&loop->shrink))
        wr_timers_set(&loop->timers, &loop->shrink, wr_add_sat(loop->now, SHRINK_EVERY));
}

bool wr_loop_has_work(struct weir_loop *loop)
{
    return !wr_list_empty(&loop->tasks) || !wr_list_empty(&loop->beginners) || wr_mailbox_waiting(&loop->mail) ||
           (wr_unlikely(!wr_list_empty(&loop->starved)) && wr_bufpool_available(&loop->world->pool) > 0);
}

static uint64_t wait_time(struct weir_loop *loop, uint64_t timeout_ns)
{
    if (wr_loop_has_work(loop) || timeout_ns == 0)
        return 0;
    uint64_t next = wr_timers_next(&loop->timers);
    if (next == UINT64_MAX)
        return timeout_ns;
    uint64_t now = loop->world->ops->now(loop->world);
    uint64_t until = next > now ? next - now : 0;
    return until < timeout_ns ? until : timeout_ns;
}

/* Sends that nobody waits for may keep what somebody waits for. */
static void hurry_for_others(struct weir_loop *loop)
{
    if (wr_unlikely(!wr_list_empty(&loop->starved)) || wr_unlikely(!wr_list_empty(&loop->thirsty)))
        loop->world->hasty = true;
}

int wr_loop_turn(struct weir_loop *loop, uint64_t timeout_ns)
{
    hurry_for_others(loop);
    int rc = loop->world->ops->turn(loop->world, wait_time(loop, timeout_ns));
    loop->now = loop->world->ops->now(loop->world);
    loop->stats.turns++;
    loop->in_turn = true;
    serve_beginners(loop);
    serve_completions(loop);
    answer_alarms(loop);
    wr_mailbox_serve(&loop->mail);
    serve_timers(loop);
    wr_loop_serve_tasks(loop);
    feed_starved(loop);
    feed_spent(loop);
    feed_thirsty(loop);
    plan_shrinking(loop);
    loop->in_turn = false;
    return rc;
}
