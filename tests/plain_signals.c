/* Signals among threads and processes, as a plain program: Criterion forks for each test, and ThreadSanitizer cannot
 * follow. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir.h"

enum { ROUNDS = 5000, LOOPS = 3, LIVES = 300, CHILDREN = 300 };

static int passed, failed, backend;

#define check(cond, what)                                                          \
    do {                                                                           \
        if (!(cond)) {                                                             \
            printf("FAILED %s on %d: %s (%s)\n", __func__, backend, what, #cond);  \
            failed++;                                                              \
            return;                                                                \
        }                                                                          \
    } while (0)

#define must(cond)                                                                 \
    do {                                                                           \
        if (!(cond)) {                                                             \
            printf("FAILED %s on %d: %s\n", __func__, backend, #cond);             \
            abort();                                                               \
        }                                                                          \
    } while (0)

static struct weir_loop *open_loop(void)
{
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    struct weir_loop *loop;
    must(weir_loop_open(&opt, &loop) == 0);
    return loop;
}

static struct weir_signal *open_signal(struct weir_loop *loop, weir_signal_fn *fn, void *arg)
{
    struct weir_signal *s;
    must(weir_signal_open(loop, SIGUSR1, fn, arg, &s) == 0);
    return s;
}

/* ---- None is lost: each is sent once all loops have served the one before ---- */

static sem_t served;
static atomic_bool over;

static void serve(struct weir_signal *s, int signo, void *loop)
{
    (void)s, (void)signo;
    if (atomic_load(&over))
        weir_loop_stop(loop);
    sem_post(&served);
}

static void *run_loop(void *arg)
{
    struct weir_loop *loop = open_loop();
    struct weir_signal *s = open_signal(loop, serve, loop);
    (void)arg;
    sem_post(&served);
    must(weir_loop_run(loop) == 0);
    must(weir_signal_close(s) == 0);
    must(weir_loop_close(loop) == 0);
    return NULL;
}

static void every_loop_hears_every_one(void)
{
    pthread_t threads[LOOPS];
    atomic_store(&over, false);
    sem_init(&served, 0, 0);
    for (int i = 0; i < LOOPS; i++)
        pthread_create(&threads[i], NULL, run_loop, NULL);
    for (int i = 0; i < LOOPS; i++)
        while (sem_wait(&served) < 0)
            ;
    for (int round = 1; round <= ROUNDS; round++) {
        if (round == ROUNDS)
            atomic_store(&over, true);
        if (round % 2)
            kill(getpid(), SIGUSR1);
        else
            pthread_kill(threads[round % LOOPS], SIGUSR1);
        for (int i = 0; i < LOOPS; i++)
            while (sem_wait(&served) < 0)
                ;
    }
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    passed++;
}

/* ---- Loops come and go under a storm ---- */

static void *storm(void *arg)
{
    (void)arg;
    while (!atomic_load(&over))
        kill(getpid(), SIGUSR1);
    return NULL;
}

static void count(struct weir_signal *s, int signo, void *calls)
{
    (void)s, (void)signo;
    ++*(int *)calls;
}

static void *live_and_die(void *arg)
{
    (void)arg;
    for (int i = 0; i < LIVES; i++) {
        struct weir_loop *loop = open_loop();
        int calls[2] = {0, 0};
        struct weir_signal *first = open_signal(loop, count, &calls[0]), *second = open_signal(loop, count, &calls[1]);
        while (calls[0] == 0)
            must(weir_loop_run_once(loop, UINT64_MAX) >= 0);
        must(weir_signal_close(i % 2 ? first : second) == 0);
        int so_far = calls[0];
        while (i % 2 == 0 && calls[0] == so_far)
            must(weir_loop_run_once(loop, UINT64_MAX) >= 0);
        if (i % 3)
            must(weir_signal_close(i % 2 ? second : first) == 0);
        must(weir_loop_close(loop) == 0);
    }
    return NULL;
}

static void loops_come_and_go_under_a_storm(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_t threads[LOOPS], sender;
    sigaction(SIGUSR1, &ignore, NULL);
    atomic_store(&over, false);
    pthread_create(&sender, NULL, storm, NULL);
    for (int i = 0; i < LOOPS; i++)
        pthread_create(&threads[i], NULL, live_and_die, NULL);
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    pthread_join(sender, NULL);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    check(now.sa_handler == SIG_IGN, "what was done before is done again");
    signal(SIGUSR1, SIG_DFL);
    passed++;
}

/* ---- Children ---- */

static int ends_how(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        must(errno == EINTR);
    return status;
}

/* The loop is not called, and not even woken. */
static bool sleeps_on(struct weir_loop *loop, const int *calls)
{
    uint64_t before = weir_now(loop), wait = 20000000;
    int so_far = *calls;
    must(weir_loop_run_once(loop, wait) >= 0);
    return *calls == so_far && weir_now(loop) >= before + wait;
}

static pid_t raw_fork(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static int raise_and_return(void)
{
    raise(SIGUSR1);
    return 0;
}

static pid_t child_that_raises(pid_t (*make)(void))
{
    fflush(stdout);
    pid_t child = make();
    if (child == 0)
        _exit(raise_and_return());
    return child;
}

/* Whether it was made with the library's knowledge or behind its back. */
static void a_child_takes_it_as_before(pid_t (*make)(void))
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (int ignored = 0; ignored <= 1; ignored++) {
        struct weir_loop *loop = open_loop();
        int calls = 0;
        if (ignored)
            sigaction(SIGUSR1, &ignore, NULL);
        open_signal(loop, count, &calls);
        for (int i = 0; i < 3; i++)
            must(weir_loop_run_once(loop, 0) >= 0);
        int status = ends_how(child_that_raises(make));
        if (ignored)
            check(WIFEXITED(status), "the child ignores it");
        else
            check(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "the child dies of it");
        check(sleeps_on(loop, &calls), "the parent is not disturbed");
        raise(SIGUSR1);
        while (calls == 0)
            must(weir_loop_run_once(loop, UINT64_MAX) >= 0);
        check(weir_loop_close(loop) == 0, "the parent goes on");
    }
    signal(SIGUSR1, SIG_DFL);
    passed++;
}

static int live_a_life(void)
{
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    if (now.sa_handler != SIG_DFL)
        return 1;
    struct weir_loop *loop = open_loop();
    int calls = 0;
    struct weir_signal *s = open_signal(loop, count, &calls);
    for (int i = 1; i <= 5; i++) {
        raise(SIGUSR1);
        while (calls < i)
            must(weir_loop_run_once(loop, UINT64_MAX) >= 0);
    }
    if (weir_signal_close(s) != 0 || weir_loop_close(loop) != 0)
        return 2;
    sigaction(SIGUSR1, NULL, &now);
    return now.sa_handler == SIG_DFL ? 0 : 3;
}

static void a_child_may_have_its_own(void)
{
    struct weir_loop *loop = open_loop();
    int calls = 0;
    struct weir_signal *s = open_signal(loop, count, &calls);
    for (int i = 0; i < 3; i++)
        must(weir_loop_run_once(loop, 0) >= 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(weir_signal_close(s) == WEIR_EFORK ? live_a_life() : 9);
    int status = ends_how(child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's own is called");
    check(sleeps_on(loop, &calls), "the parent is not disturbed");
    check(weir_loop_close(loop) == 0, "the parent goes on");
    passed++;
}

/* Children that are made while handlers run and lists change. */
static void children_of_a_storm(void)
{
    pthread_t threads[LOOPS], sender;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR1, &ignore, NULL);
    atomic_store(&over, false);
    pthread_create(&sender, NULL, storm, NULL);
    for (int i = 0; i < LOOPS; i++)
        pthread_create(&threads[i], NULL, live_and_die, NULL);
    int bad = 0;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct weir_loop *loop = open_loop();
            int calls = 0;
            open_signal(loop, count, &calls);
            raise(SIGUSR1);
            while (calls == 0)
                must(weir_loop_run_once(loop, UINT64_MAX) >= 0);
            _exit(weir_loop_close(loop));
        }
        int status = ends_how(child);
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    pthread_join(sender, NULL);
    signal(SIGUSR1, SIG_DFL);
    check(bad == 0, "each child's own is called");
    passed++;
}

int main(void)
{
    for (backend = WEIR_BACKEND_URING; backend <= WEIR_BACKEND_EPOLL; backend++) {
        every_loop_hears_every_one();
        loops_come_and_go_under_a_storm();
        a_child_takes_it_as_before(fork);
        a_child_takes_it_as_before(raw_fork);
        a_child_may_have_its_own();
        children_of_a_storm();
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
