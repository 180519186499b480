/* The loop: turns, timers, posted calls, stopping, sitting inside another loop. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helpers_stream.h"
#include "loop.h"

static int calls;

static void count(void *arg)
{
    (void)arg;
    calls++;
}

static void say(void *arg)
{
    struct party *p = arg;
    note(p->env, "%s called\n", p->name);
}

static void tick(struct weir_timer *timer, void *arg)
{
    struct party *p = arg;
    (void)timer;
    p->closed++;
    note(p->env, "%s fired\n", p->name);
}

ON_ALL_WORLDS(loop, timers_fire_in_order_and_can_be_stopped)
{
    struct party a = {.env = e, .name = "a"}, b = {.env = e, .name = "b"}, c = {.env = e, .name = "c"};
    struct weir_timer *tb, *tc;
    uint64_t began = weir_now(e->loop);
    cr_assert_eq(weir_timer_start(e->loop, 3000000, 0, tick, &c, &tc), 0);
    cr_assert_eq(weir_timer_start(e->loop, 2000000, 0, tick, &b, &tb), 0);
    cr_assert_eq(weir_timer_start(e->loop, 1000000, 0, tick, &a, NULL), 0);
    cr_assert_eq(weir_timer_stop(tb), 0);
    cr_assert_leq(weir_loop_next_deadline(e->loop), began + 2000000);
    run_until(e, &c.closed, 1);
    cr_assert_geq(weir_now(e->loop), began + 3000000, "too early");
    expect_log(e, "a fired\nc fired\n");
    cr_assert_eq(weir_loop_next_deadline(e->loop), UINT64_MAX);
    cr_assert_eq(weir_timer_again(tc, 1), 0);
    run_until(e, &c.closed, 2);
    cr_assert_eq(weir_timer_stop(tc), 0);
    cr_assert_eq(weir_timer_stop(NULL), 0);
}

static void tick_thrice(struct weir_timer *timer, void *arg)
{
    tick(timer, arg);
    if (((struct party *)arg)->closed == 3)
        cr_assert_eq(weir_timer_stop(timer), 0);
}

ON_ALL_WORLDS(loop, a_periodic_timer_may_stop_itself)
{
    struct party a = {.env = e, .name = "a"};
    struct weir_timer *t;
    cr_assert_eq(weir_timer_start(e->loop, 0, 100000, tick_thrice, &a, &t), 0);
    run_until(e, &a.closed, 3);
    cr_assert_eq(weir_loop_next_deadline(e->loop), UINT64_MAX);
}

static void post_again(void *arg)
{
    struct party *p = arg;
    say(arg);
    if (++p->closed < 3)
        cr_assert_eq(weir_defer(p->env->loop, post_again, p), 0);
}

ON_ALL_WORLDS(loop, deferred_calls_wait_for_the_next_turn)
{
    struct party a = {.env = e, .name = "a"}, b = {.env = e, .name = "b"};
    cr_assert_eq(weir_defer(e->loop, post_again, &a), 0);
    cr_assert_eq(weir_post(e->loop, say, &b), 0);
    cr_assert_eq(weir_loop_next_deadline(e->loop), 0);
    cr_assert_eq(weir_loop_run_once(e->loop, UINT64_MAX), 1);
    expect_log(e, "a called\nb called\n");
    run_until(e, &a.closed, 3);
    expect_log(e, "a called\na called\n");
    cr_assert_eq(weir_defer(e->loop, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_loop_run_once(e->loop, 0), 0);
}

static void stop_it(struct weir_timer *timer, void *arg)
{
    (void)timer;
    cr_assert_eq(weir_loop_run(arg), -EBUSY);
    cr_assert_eq(weir_loop_run_once(arg, 0), -EBUSY);
    cr_assert_eq(weir_loop_close(arg), -EBUSY);
    cr_assert_eq(weir_loop_stop(arg), 0);
}

ON_ALL_WORLDS(loop, run_until_stopped)
{
    cr_assert_eq(weir_timer_start(e->loop, 1000, 0, stop_it, e->loop, NULL), 0);
    cr_assert_eq(weir_loop_run(e->loop), 0);
    cr_assert_eq(weir_loop_stop(e->loop), 0);
    cr_assert_eq(weir_loop_run(e->loop), 0, "a stop before the run ends it at once");
}

ON_ALL_WORLDS(loop, describes_itself)
{
    char text[4096];
    int n = weir_loop_describe(e->loop, text, sizeof text);
    cr_assert(n > 0 && (size_t)n == strlen(text));
    cr_assert_eq(strncmp(text, "world: ", 7), 0);
    cr_assert(strstr(text, e->world));
    char small[8];
    cr_assert_eq(weir_loop_describe(e->loop, small, sizeof small), n);
    cr_assert_str_eq(small, "world: ");
    cr_assert_eq(weir_loop_describe(e->loop, NULL, 0), n);
}

static void reopen(struct env *e)
{
    if (e->sim)
        cr_assert_eq(weir_sim_loop_open(e->sim, NULL, &e->loop), 0);
    else
        cr_assert_eq(weir_loop_open(NULL, &e->loop), 0);
}

ON_ALL_LAYERS(loop, closing_ends_everything)
{
    struct party a, b, t = {.env = e, .name = "t"};
    struct weir_timer *timer;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(a.s, 9, on_read, &a), 0);
    cr_assert_eq(weir_timer_start(e->loop, 3600000000000u, 0, tick, &t, &timer), 0);
    run_idle(e);
    cr_assert_eq(weir_loop_close(e->loop), 0);
    cr_assert(a.closed && b.closed);
    cr_assert(strstr(e->log, "a read ECANCELED\n"));
    reopen(e);
}

static struct weir_timer *old_timer;
static struct weir_listener *old_listener;

static void never_accepts(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l;
    (void)status;
    (void)s;
    (void)arg;
    cr_assert_fail("nobody connects");
}

static void use_old_handles(struct weir_stream *s, int reason, void *arg)
{
    struct party *p = arg;
    struct sockaddr_storage addr;
    socklen_t len;
    on_close(s, reason, p);
    cr_assert_eq(weir_timer_again(old_timer, 0), WEIR_ECLOSED);
    cr_assert_eq(weir_timer_start(p->env->loop, 0, 1, tick, p, NULL), WEIR_ECLOSED);
    cr_assert_lt(weir_listener_address(old_listener, &addr, &len), 1);
    cr_assert_eq(weir_listener_close(old_listener), 0);
    cr_assert_eq(weir_timer_stop(old_timer), 0);
}

/* Last callbacks run while the loop closes: they may still use what its user holds. */
ON_ALL_LAYERS(loop, handles_are_valid_until_it_is_closed)
{
    struct party a, b;
    struct sockaddr_storage addr;
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&addr};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, never_accepts, NULL, &old_listener), 0);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_timer_start(e->loop, 3600000000000u, 0, tick, &b, &old_timer), 0);
    weir_stream_on_close(b.s, use_old_handles, &b);
    run_idle(e);
    cr_assert_eq(weir_loop_close(e->loop), 0);
    cr_assert(a.closed && b.closed);
    reopen(e);
}

Test(loop, options_are_checked)
{
    struct weir_loop *loop = NULL;
    struct weir_loop_options opt = {.size = sizeof opt, .recv_buffers = 3};
    cr_assert_eq(weir_loop_open(&opt, &loop), -EINVAL);
    opt = (struct weir_loop_options){.size = 3};
    cr_assert_eq(weir_loop_open(&opt, &loop), -EINVAL);
    opt = (struct weir_loop_options){.size = sizeof opt, .backend = 9};
    cr_assert_eq(weir_loop_open(&opt, &loop), -EINVAL);
    cr_assert_eq(weir_loop_open(NULL, NULL), -EINVAL);
    struct {
        struct weir_loop_options opt;
        char newer[8];
    } longer = {.opt.size = sizeof longer};
    longer.newer[3] = 1;
    cr_assert_eq(weir_loop_open(&longer.opt, &loop), -E2BIG);
    cr_assert_null(loop);
    longer.newer[3] = 0;
    cr_assert_eq(weir_loop_open(&longer.opt, &loop), 0);
    cr_assert_eq(weir_loop_close(loop), 0);
    cr_assert_eq(weir_loop_close(NULL), 0);
}

Test(loop, the_default_loop_is_the_threads_own)
{
    struct weir_loop *loop = weir_loop_default();
    cr_assert_not_null(loop);
    cr_assert_eq(weir_loop_default(), loop);
    calls = 0;
    cr_assert_eq(weir_defer(NULL, count, NULL), 0);
    cr_assert_geq(weir_loop_run_once(NULL, 0), 0);
    cr_assert_eq(calls, 1);
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* A loop that lives by poll(2) alone, as inside another loop. */
/* One that is started outside a turn, too, is submitted before its caller sleeps. */
static void hears_of_a_connect(struct env *e, struct pollfd *p)
{
    struct party c = {.env = e, .name = "c"};
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &c};
    struct sockaddr_storage addr;
    socklen_t len;
    cr_assert_eq(weir_addr_parse("127.0.0.1:1", &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &c, &c.s), 0);
    while (!c.closed) {
        if (weir_loop_next_deadline(e->loop) > 0)
            cr_assert_eq(poll(p, 1, 5000), 1, "the connect was not submitted");
        while (weir_loop_run_once(e->loop, 0) > 0)
            ;
    }
}

static void embed(int backend)
{
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct env e = {.world = "embedded"};
    struct party a, b;
    cr_assert_eq(weir_loop_open(&opt, &e.loop), 0);
    open_pair(&e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    struct pollfd p = {.fd = weir_loop_fd(e.loop), .events = POLLIN};
    cr_assert_geq(p.fd, 0);
    while (weir_loop_run_once(e.loop, 0) > 0)
        ;
    cr_assert_eq(weir_write(a.s, "hello", 5, NULL, NULL), 0);
    while (e.log_len == 0) {
        while (weir_loop_run_once(e.loop, 0) > 0)
            ;
        if (e.log_len == 0)
            cr_assert_eq(poll(&p, 1, 5000), 1, "the descriptor stayed silent");
    }
    cr_assert_str_eq(e.log, "b read 0 5 hello\n");
    hears_of_a_connect(&e, &p);
    cr_assert_eq(weir_loop_close(e.loop), 0);
}

Test(loop, inside_another_loop_uring)
{
    embed(WEIR_BACKEND_URING);
}

Test(loop, inside_another_loop_epoll)
{
    embed(WEIR_BACKEND_EPOLL);
}

/* ---- What comes while somebody else's loop sleeps ---- */

struct waker {
    struct weir_loop *loop;
    int fd, tid;
    atomic_bool lies_down;
};

static bool is_asleep(int tid)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof line, f))
        abort();
    fclose(f);
    return strstr(line, ") S ");
}

/* A byte for the stream, and a call for the loop, each once nobody is awake to see it come. */
static void *wake_twice(void *arg)
{
    struct waker *w = arg;
    for (int i = 0; i < 2; i++) {
        while (!atomic_load(&w->lies_down) || !is_asleep(w->tid))
            sched_yield();
        atomic_store(&w->lies_down, false);
        if (i == 0 ? send(w->fd, "x", 1, 0) != 1 : weir_post(w->loop, count, NULL) != 0)
            abort();
    }
    return NULL;
}

/* Without a limit: a poll(2) that times out finds what has not woken it. */
static void sleep_on(struct waker *w)
{
    struct pollfd p = {.fd = weir_loop_fd(w->loop), .events = POLLIN};
    while (weir_loop_run_once(w->loop, 0) > 0)
        ;
    atomic_store(&w->lies_down, true);
    cr_assert_eq(poll(&p, 1, -1), 1);
    while (weir_loop_run_once(w->loop, 0) > 0)
        ;
}

static void wake_the_sleeper(int backend, const char *mask)
{
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend, .mask = mask};
    struct env e = {.world = "embedded"};
    struct waker w = {.tid = (int)syscall(SYS_gettid)};
    struct party p;
    int fds[2];
    pthread_t thread;
    cr_assert_eq(weir_loop_open(&opt, &w.loop), 0);
    e.loop = w.loop;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_party(&e, &p, "a", fds[0], NULL);
    w.fd = fds[1];
    cr_assert_eq(weir_read_bytes(p.s, 1, on_read, &p), 0);
    cr_assert_eq(pthread_create(&thread, NULL, wake_twice, &w), 0);
    while (e.log_len == 0)
        sleep_on(&w);
    while (calls == 0)
        sleep_on(&w);
    pthread_join(thread, NULL);
    cr_assert_eq(weir_loop_close(w.loop), 0);
    close(fds[1]);
}

Test(loop, another_loop_is_woken_uring, .timeout = 20)
{
    wake_the_sleeper(WEIR_BACKEND_URING, NULL);
}

Test(loop, another_loop_is_woken_uring_coop, .timeout = 20)
{
    wake_the_sleeper(WEIR_BACKEND_URING, "defer_taskrun");
}

Test(loop, another_loop_is_woken_epoll, .timeout = 20)
{
    wake_the_sleeper(WEIR_BACKEND_EPOLL, NULL);
}

Test(loop, no_descriptor_left_is_a_clean_error)
{
    struct rlimit few = {4, 4};
    struct weir_loop *loop = NULL;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int backend = WEIR_BACKEND_AUTO; backend <= WEIR_BACKEND_EPOLL; backend++) {
        struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
        int rc;
        while ((rc = weir_loop_open(&opt, &loop)) == 0)
            cr_assert_neq(open_fds(), 0);
        cr_assert(rc == -EMFILE || rc == WEIR_EWORLD, "%s", weir_strerror(rc));
        if (rc == WEIR_EWORLD)
            cr_assert(strlen(weir_loop_refusal()) > 0);
    }
}

/* ---- Beginnings ---- */

struct beginner {
    struct wr_beginner b;
    struct party p;
    struct beginner *next;      /* asks when this one's turn has come */
    uint8_t price;              /* 0: 1 */
};

static void on_its_turn(struct wr_task *task);

static void ask_to_begin(void *arg)
{
    struct beginner *b = arg;
    wr_list_init(&b->b.task.link);
    b->b.task.run = on_its_turn;
    b->b.price = b->price ? b->price : 1;
    if (wr_loop_may_begin(b->p.env->loop, &b->b))
        note(b->p.env, "%s at once\n", b->p.name);
    else
        cr_assert(!wr_loop_may_begin(b->p.env->loop, &b->b), "to ask again changes nothing");
}

static void on_its_turn(struct wr_task *task)
{
    struct beginner *b = wr_home(task, struct beginner, b.task);
    note(b->p.env, "%s in turn %d\n", b->p.name, (int)b->p.env->loop->stats.turns);
    if (b->next)
        ask_to_begin(b->next);
}

static void began_nothing(void *arg)
{
    struct beginner *b = arg;
    wr_loop_began_nothing(b->p.env->loop, &b->b);
}

enum { STEPS = 8 };

/* A step may take long: a turn takes so many, and nobody who comes is before those who wait. */
ON_ALL_WORLDS(loop, who_would_begin_waits_for_his_turn)
{
    struct beginner b[STEPS + 4] = {0};
    for (int i = 0; i < STEPS + 4; i++)
        b[i].p = (struct party){.env = e, .name = i < STEPS ? "one" : (const char *[]){"a", "b", "c", "d"}[i - STEPS]};
    b[STEPS].next = &b[STEPS + 3];
    e->loop->stats.turns = 0;
    for (int i = 0; i < STEPS + 3; i++)
        cr_assert_eq(weir_post(e->loop, ask_to_begin, &b[i]), 0);
    run_until_log(e, "d in turn");
    expect_log(e, "one at once\none at once\none at once\none at once\none at once\none at once\none at once\n"
                  "one at once\na in turn 2\nb in turn 2\nc in turn 2\nd in turn 2\n");
}

/* Who is allowed more than was left gives back what he took, and no more. */
ON_ALL_WORLDS(loop, who_began_nothing_gives_back_no_more_than_he_took)
{
    static const char *const names[STEPS + 2] = {"a", "b", "c", "d", "e", "f", "g", "all", "h", "i"};
    struct beginner b[STEPS + 2] = {[STEPS - 1] = {.price = STEPS}};
    for (int i = 0; i < STEPS + 2; i++)
        b[i].p = (struct party){.env = e, .name = names[i]};
    for (int i = 0; i < STEPS; i++)
        cr_assert_eq(weir_post(e->loop, ask_to_begin, &b[i]), 0);
    cr_assert_eq(weir_post(e->loop, began_nothing, &b[STEPS - 1]), 0);
    for (int i = STEPS; i < STEPS + 2; i++)
        cr_assert_eq(weir_post(e->loop, ask_to_begin, &b[i]), 0);
    e->loop->stats.turns = 0;
    run_until_log(e, "i in turn 2");
    cr_assert(strstr(e->log, "all at once\nh at once\n"), "%s", e->log);
}

/* What came to nothing is not counted. */
ON_ALL_WORLDS(loop, who_began_nothing_has_taken_no_turn)
{
    struct beginner b[STEPS + 1] = {0};
    for (int i = 0; i < STEPS + 1; i++)
        b[i].p = (struct party){.env = e, .name = i < STEPS ? "one" : "the last"};
    cr_assert_eq(weir_post(e->loop, ask_to_begin, &b[0]), 0);
    cr_assert_eq(weir_post(e->loop, began_nothing, &b[0]), 0);
    for (int i = 1; i < STEPS + 1; i++)
        cr_assert_eq(weir_post(e->loop, ask_to_begin, &b[i]), 0);
    run_idle(e);
    cr_assert(strstr(e->log, "the last at once"), "%s", e->log);
}
