/* The life of a loop: opened with what it was asked for, run by the thread that opened it, or inside another loop, and
 * closed once all that lives on it has ended. What a turn does is in loop_turn.c. */
#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "weir_sim.h"

enum {
    CACHE_KEEP = 16 << 20,  /* bytes of free blocks a loop keeps */
    RECV_BUFFER_SIZE = 32768,
    RECV_BUFFERS = 256,
    RING_ENTRIES = 1024,
    TURN_BUDGET = 1024
};

static _Thread_local char refusal[256];

/* ---- Whose loop is it? ---- */

static atomic_uint fork_mark;   /* differs in a forked child from what its parent's loops remember */
static atomic_uint forks;       /* begun by this process, or those it comes from */

static void forking(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void forked(void)
{
    atomic_fetch_add_explicit(&fork_mark, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(forking, NULL, forked);
}

inline int wr_loop_check(const struct weir_loop *loop)
{
    if (wr_unlikely(loop->fork_mark != atomic_load_explicit(&fork_mark, memory_order_relaxed)))
        return WEIR_EFORK;
    if (wr_unlikely(loop->owner != __builtin_thread_pointer())) /* pthread_self, without its call */
        return WEIR_ETHREAD;
    return 0;
}

/* Who lets another program run in the child need not tell: descriptors do not outlive that. */
bool wr_loop_has_forked(const struct weir_loop *loop)
{
    return loop->forks != atomic_load_explicit(&forks, memory_order_relaxed);
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
    if (wr_loop_join_timers(loop) < 0) {
        wr_free(loop);
        return NULL;
    }
    wr_mailbox_open(&loop->mail);
    wr_list_init(&loop->tasks);
    wr_list_init(&loop->starved);
    wr_list_init(&loop->spent);
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
    loop->forks = atomic_load_explicit(&forks, memory_order_relaxed);
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
    if ((rc = wr_loop_turn(loop, timeout_ns)) < 0)
        return rc;
    if (loop->embedded) {
        loop->handed_over = loop->world->started;
        if ((rc = loop->world->ops->flush(loop->world)) != 0)
            return rc;
    }
    return wr_loop_has_work(loop) || weir_loop_next_deadline(loop) <= loop->now;
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
        rc = wr_loop_turn(loop, UINT64_MAX);
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
    while (!wr_list_empty(&loop->residents) || wr_loop_has_work(loop))
        if (wr_loop_turn(loop, UINT64_MAX) < 0)
            return -EIO; /* the kernel still holds memory of ours: leaking it is the safe end */
    if (loop->holds > 0)
        return -EBUSY;
    while ((node = wr_list_pop(&loop->ended))) {
        struct wr_resident *resident = wr_home(node, struct wr_resident, link);
        resident->kind->bury(resident);
    }
    while (!wr_list_empty(&loop->tasks))
        wr_loop_serve_tasks(loop); /* they may have been the last to hold a context */
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
    if (!(loop = wr_loop_or_default(loop)) || wr_loop_has_work(loop))
        return 0;
    if (loop->embedded && loop->handed_over != loop->world->started)
        return 0; /* something was started outside a turn, and is still to be submitted */
    return wr_timers_next(&loop->timers);
}
