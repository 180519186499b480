/* One turn, in this order: hand over and wait, layers that waited to begin, completions, posted calls, timers, tasks
 * (signals among them), receives that waited for a buffer. What they start is handed over, all of it in one system
 * call, by the next turn. */
#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "weir_sim.h"

enum {
    REAP_BATCH = 32,       /* few enough to stay in the nearest cache */
    TASK_ROUNDS = 4,        /* tasks may queue tasks; what is left after this many rounds waits for the next turn */
    CACHE_KEEP = 16 << 20,  /* bytes of free blocks a loop keeps */
    RECV_BUFFER_SIZE = 32768,
    RECV_BUFFERS = 256,
    RING_ENTRIES = 1024,
    TURN_BUDGET = 1024,
    BEGIN_BUDGET = 8        /* the peers of those that were served get on while others are */
};

static const uint64_t SHRINK_EVERY = 1000000000u, LOOK_EVERY = 100000000u;

static _Thread_local char refusal[256];

/* ---- Whose loop is it? ---- */

static atomic_uint fork_mark;   /* differs in a forked child from what its parent's loops remember */

static void forked(void)
{
    atomic_fetch_add_explicit(&fork_mark, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forked);
}

inline int wr_loop_check(const struct weir_loop *loop)
{
    if (wr_unlikely(loop->fork_mark != atomic_load_explicit(&fork_mark, memory_order_relaxed)))
        return WEIR_EFORK;
    if (wr_unlikely(loop->owner != __builtin_thread_pointer())) /* pthread_self, without its call */
        return WEIR_ETHREAD;
    return 0;
}

static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static void close_own(void *loop)
{
    weir_loop_close(loop);
}

static void make_own_key(void)
{
    pthread_key_create(&own_key, close_own);
}

struct weir_loop *weir_loop_default(void)
{
    pthread_once(&own_once, make_own_key);
    struct weir_loop *loop = pthread_getspecific(own_key);
    if (!loop && weir_loop_open(NULL, &loop) == 0)
        pthread_setspecific(own_key, loop);
    return loop;
}

struct weir_loop *wr_loop_or_default(struct weir_loop *loop)
{
    return loop ? loop : weir_loop_default();
}

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

bool wr_loop_may_begin(struct weir_loop *loop, struct wr_task *task)
{
    if (loop->begin_budget > 0 && wr_list_empty(&loop->beginners)) {
        loop->begin_budget--;
        return true;
    }
    if (wr_list_empty(&task->link))
        wr_list_push(&loop->beginners, &task->link);
    return false;
}

void wr_loop_began_nothing(struct weir_loop *loop)
{
    loop->begin_budget++;
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
    loop->begin_budget = BEGIN_BUDGET;
    while (loop->begin_budget > 0 && (node = wr_list_pop(&loop->beginners))) {
        loop->begin_budget--;
        struct wr_task *task = wr_home(node, struct wr_task, link);
        task->run(task);
    }
}

static void serve_tasks(struct weir_loop *loop)
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

static void plan_shrinking(struct weir_loop *loop)
{
    if (loop->cache.kept > 0 && !wr_timer_is_set(&loop->shrink))
        wr_timers_set(&loop->timers, &loop->shrink, wr_add_sat(loop->now, SHRINK_EVERY));
}

static bool has_work(struct weir_loop *loop)
{
    return !wr_list_empty(&loop->tasks) || !wr_list_empty(&loop->beginners) || wr_mailbox_waiting(&loop->mail) ||
           (wr_unlikely(!wr_list_empty(&loop->starved)) && wr_bufpool_available(&loop->world->pool) > 0);
}

static uint64_t wait_time(struct weir_loop *loop, uint64_t timeout_ns)
{
    if (has_work(loop) || timeout_ns == 0)
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

static int turn(struct weir_loop *loop, uint64_t timeout_ns)
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
    serve_tasks(loop);
    feed_starved(loop);
    feed_thirsty(loop);
    plan_shrinking(loop);
    loop->in_turn = false;
    return rc;
}

/* ---- Life ---- */

static int read_options(const struct weir_loop_options *given, struct weir_loop_options *opt,
                        struct wr_world_options *wopt)
{
    *opt = (struct weir_loop_options){0};
    int rc = wr_options_copy(opt, sizeof *opt, given);
    if (rc < 0)
        return rc;
    *wopt = (struct wr_world_options){
        .recv_buffer_size = opt->recv_buffer_size ? opt->recv_buffer_size : RECV_BUFFER_SIZE,
        .recv_buffers = opt->recv_buffers ? opt->recv_buffers : RECV_BUFFERS,
        .ring_entries = opt->ring_entries ? opt->ring_entries : RING_ENTRIES,
        .completions_per_turn = opt->completions_per_turn ? opt->completions_per_turn : TURN_BUDGET,
        .mask = opt->mask,
    };
    if (!wr_is_pow2(wopt->recv_buffer_size) || wopt->recv_buffer_size < 64 ||
        wopt->recv_buffer_size > 1 << 24 || !wr_is_pow2(wopt->recv_buffers) || wopt->recv_buffers > 32768 ||
        !wr_is_pow2(wopt->ring_entries) || wopt->ring_entries > 32768 || opt->backend < WEIR_BACKEND_AUTO ||
        opt->backend > WEIR_BACKEND_EPOLL)
        return -EINVAL;
    return wr_check_mask(opt->mask);
}

static size_t quarter_of_the_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages / 4 * (size_t)size : SIZE_MAX;
}

static struct weir_loop *make_loop(const struct wr_world_options *wopt, size_t max_memory)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    struct weir_loop *loop = wr_alloc_zeroed(sizeof *loop);
    if (!loop)
        return NULL;
    wr_cache_init(&loop->cache, CACHE_KEEP);
    wr_timers_init(&loop->timers);
    if (wr_timers_join(&loop->timers, &loop->shrink, shrink) < 0) {
        wr_free(loop);
        return NULL;
    }
    int rc = wr_timers_join(&loop->timers, &loop->look, look_at_exempt);
    wr_assert(rc == 0); /* the first has made room for several */
    wr_mailbox_open(&loop->mail);
    wr_list_init(&loop->tasks);
    wr_list_init(&loop->starved);
    wr_list_init(&loop->thirsty);
    wr_list_init(&loop->beginners);
    wr_list_init(&loop->parked);
    wr_list_init(&loop->alarms);
    wr_list_init(&loop->residents);
    wr_list_init(&loop->terms);
    wr_list_init(&loop->ended);
    loop->turn_budget = wopt->completions_per_turn;
    loop->max_memory = max_memory ? max_memory : quarter_of_the_machine();
    loop->owner = __builtin_thread_pointer();
    loop->fork_mark = atomic_load_explicit(&fork_mark, memory_order_relaxed);
    return loop;
}

static void free_loop(struct weir_loop *loop)
{
    wr_mailbox_close(&loop->mail);
    wr_timers_leave(&loop->timers, &loop->shrink);
    wr_timers_leave(&loop->timers, &loop->look);
    wr_timers_done(&loop->timers);
    wr_cache_done(&loop->cache);
    wr_free(loop);
}

static int refuse(struct weir_loop *loop, int rc, const struct wr_report *report)
{
    free_loop(loop);
    snprintf(refusal, sizeof refusal, "%s", report->why);
    return rc;
}

static void settle_in(struct weir_loop *loop, struct wr_world *world, const struct wr_report *report,
                      struct weir_loop **ret_loop)
{
    world->report = *report;
    loop->world = world;
    loop->now = world->ops->now(world);
    *ret_loop = loop;
}

int weir_loop_open(const struct weir_loop_options *given, struct weir_loop **ret_loop)
{
    struct weir_loop_options opt;
    struct wr_world_options wopt;
    struct wr_report report = {0};
    struct wr_world *world = NULL;
    refusal[0] = '\0';
    int rc = ret_loop ? read_options(given, &opt, &wopt) : -EINVAL;
    if (rc < 0)
        return rc;
    struct weir_loop *loop = make_loop(&wopt, opt.max_memory);
    if (!loop)
        return -ENOMEM;
    if ((rc = wr_backend_open(opt.backend, &wopt, &report, &world)) < 0)
        return refuse(loop, opt.backend == WEIR_BACKEND_URING ? WEIR_EWORLD : rc, &report);
    settle_in(loop, world, &report, ret_loop);
    return 0;
}

int weir_sim_loop_open(struct weir_sim *sim, const struct weir_loop_options *given, struct weir_loop **ret_loop)
{
    struct weir_loop_options opt;
    struct wr_world_options wopt;
    struct wr_report report = {0};
    struct wr_world *world = NULL;
    int rc = sim && ret_loop ? read_options(given, &opt, &wopt) : -EINVAL;
    if (rc < 0)
        return rc;
    wopt.recv_buffer_size = opt.recv_buffer_size; /* 0 lets the simulator draw them */
    wopt.recv_buffers = opt.recv_buffers;
    struct weir_loop *loop = make_loop(&wopt, opt.max_memory);
    if (!loop)
        return -ENOMEM;
    if ((rc = wr_sim_attach(sim, &wopt, &report, &world)) < 0)
        return refuse(loop, rc, &report);
    settle_in(loop, world, &report, ret_loop);
    return 0;
}

const char *weir_loop_refusal(void)
{
    return refusal;
}

int weir_loop_run_once(struct weir_loop *loop, uint64_t timeout_ns)
{
    if (!(loop = wr_loop_or_default(loop)))
        return -ENOMEM;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    if (loop->in_turn)
        return -EBUSY;
    if ((rc = turn(loop, timeout_ns)) < 0)
        return rc;
    if (loop->embedded) {
        loop->handed_over = loop->world->started;
        if ((rc = loop->world->ops->flush(loop->world)) != 0)
            return rc;
    }
    return has_work(loop) || weir_loop_next_deadline(loop) <= loop->now;
}

int weir_loop_run(struct weir_loop *loop)
{
    if (!(loop = wr_loop_or_default(loop)))
        return -ENOMEM;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    if (loop->in_turn || loop->running)
        return -EBUSY;
    loop->running = true;
    while (rc == 0 && !atomic_exchange(&loop->stop, false))
        rc = turn(loop, UINT64_MAX);
    loop->running = false;
    return rc;
}

int weir_loop_stop(struct weir_loop *loop)
{
    if (!loop)
        return -EINVAL;
    atomic_store(&loop->stop, true);
    loop->world->ops->wake(loop->world);
    return 0;
}

int weir_loop_close(struct weir_loop *loop)
{
    if (!loop)
        return 0;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    if (loop->in_turn || loop->running)
        return -EBUSY;
    loop->closing = true;
    wr_mailbox_shut(&loop->mail);
    struct wr_list leaving, *node;
    wr_list_init(&leaving);
    wr_list_steal(&leaving, &loop->residents);
    while ((node = wr_list_pop(&leaving))) {
        wr_list_push(&loop->residents, node);
        struct wr_resident *resident = wr_home(node, struct wr_resident, link);
        resident->kind->evict(resident);
    }
    while (!wr_list_empty(&loop->residents) || has_work(loop))
        if (turn(loop, UINT64_MAX) < 0)
            return -EIO; /* the kernel still holds memory of ours: leaking it is the safe end */
    if (loop->holds > 0)
        return -EBUSY;
    while ((node = wr_list_pop(&loop->ended))) {
        struct wr_resident *resident = wr_home(node, struct wr_resident, link);
        resident->kind->bury(resident);
    }
    while (!wr_list_empty(&loop->tasks))
        serve_tasks(loop); /* they may have been the last to hold a context */
    while (atomic_load(&loop->posting) > 0)
        sched_yield(); /* it was accepted, and has only to wake us */
    loop->world->ops->close(loop->world);
    pthread_once(&own_once, make_own_key);
    if (pthread_getspecific(own_key) == loop)
        pthread_setspecific(own_key, NULL);
    free_loop(loop);
    return 0;
}

/* ---- Inside another loop ---- */

int weir_loop_fd(struct weir_loop *loop)
{
    if (!(loop = wr_loop_or_default(loop)))
        return -ENOMEM;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    int fd = loop->world->ops->fd(loop->world);
    loop->embedded = fd >= 0;
    return fd;
}

uint64_t weir_loop_next_deadline(struct weir_loop *loop)
{
    if (!(loop = wr_loop_or_default(loop)) || has_work(loop))
        return 0;
    if (loop->embedded && loop->handed_over != loop->world->started)
        return 0; /* something was started outside a turn, and is still to be submitted */
    return wr_timers_next(&loop->timers);
}
