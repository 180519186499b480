/* Threads, signals and fork, as a plain program: Criterion forks for each test, and ThreadSanitizer cannot follow. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir.h"

enum { POSTERS = 4, POSTS = 20000 };

static int passed, failed;

#define check(cond, what)                                              \
    do {                                                               \
        if (!(cond)) {                                                 \
            printf("FAILED %s: %s (%s)\n", __func__, what, #cond);     \
            failed++;                                                  \
            return;                                                    \
        }                                                              \
    } while (0)

struct weir_loop *loop;
static long last[POSTERS], total;

struct letter {
    int from;
    long number;
};

static void receive(void *arg)
{
    struct letter *l = arg;
    if (l->number != last[l->from] + 1) {
        printf("out of order\n");
        exit(1);
    }
    last[l->from] = l->number;
    free(l);
    if (++total == (long)POSTERS * POSTS)
        weir_loop_stop(loop);
}

static void *poster(void *arg)
{
    for (long i = 1; i <= POSTS; i++) {
        struct letter *l = malloc(sizeof *l);
        *l = (struct letter){(int)(long)arg, i};
        if (weir_post(loop, receive, l) != 0)
            abort();
    }
    return NULL;
}

static void posts_from_threads_come_in_order(void)
{
    pthread_t threads[POSTERS];
    total = 0;
    for (long i = 0; i < POSTERS; i++) {
        last[i] = 0;
        pthread_create(&threads[i], NULL, poster, (void *)i);
    }
    int rc = weir_loop_run(loop);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    check(rc == 0 && total == (long)POSTERS * POSTS, "every post comes once");
    passed++;
}

static atomic_int wrong_answers;

static void ignore_read(struct weir_stream *s, int status, struct weir_view v, void *arg)
{
    (void)s, (void)status, (void)v, (void)arg;
}

static void ignore_timer(struct weir_timer *t, void *arg)
{
    (void)t, (void)arg;
}

static void ignore_event(struct weir_watch *w, int status, unsigned events, void *arg)
{
    (void)w, (void)status, (void)events, (void)arg;
}

static void ignore_signal(struct weir_signal *s, int signo, void *arg)
{
    (void)s, (void)signo, (void)arg;
}

static void ignore_call(void *arg)
{
    (void)arg;
}

static struct weir_watch *watch;
static struct weir_signal *usr2;

/* What a thread, or a forked child, that does not own the loop must hear from every call. */
static int misuse(struct weir_stream *s, int code)
{
    int wrong = 0;
    struct weir_watch *w;
    struct weir_signal *g;
    struct weir_loop_stats st;
    struct weir_stream_facts f;
    struct weir_timer *t;
    struct weir_stream *other;
    wrong += weir_loop_run_once(loop, 0) != code;
    wrong += weir_loop_run(loop) != code;
    wrong += weir_loop_close(loop) != code;
    wrong += weir_loop_fd(loop) != code;
    wrong += weir_loop_stats(loop, &st, sizeof st) != code;
    wrong += weir_loop_describe(loop, NULL, 0) != code;
    wrong += weir_defer(loop, ignore_call, NULL) != code;
    wrong += weir_timer_start(loop, 0, 0, ignore_timer, NULL, &t) != code;
    wrong += weir_watch_open(loop, 0, WEIR_READABLE, ignore_event, NULL, &w) != code;
    wrong += weir_watch_update(watch, 0) != code;
    wrong += weir_watch_close(watch) != code;
    wrong += weir_signal_open(loop, SIGUSR2, ignore_signal, NULL, &g) != code;
    wrong += weir_signal_close(usr2) != code;
    wrong += weir_stream_open(loop, 0, NULL, &other) != code;
    wrong += weir_read_bytes(s, 1, ignore_read, NULL) != code;
    wrong += weir_read_stop(s) != code;
    wrong += weir_write(s, "x", 1, NULL, NULL) != code;
    wrong += weir_shutdown(s) != code;
    wrong += weir_stream_close(s, WEIR_CLOSE_NOW) != code;
    wrong += weir_stream_facts(s, &f, sizeof f) != code;
    wrong += weir_stream_set_nodelay(s, 1) != code;
    return wrong;
}

static void *stranger(void *s)
{
    atomic_fetch_add(&wrong_answers, misuse(s, WEIR_ETHREAD));
    weir_loop_stop(loop);
    return NULL;
}

static struct weir_stream *stream(int fds[2])
{
    struct weir_stream *s = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 || weir_stream_open(loop, fds[0], NULL, &s) != 0)
        abort();
    return s;
}

static void a_foreign_thread_is_told_so(void)
{
    pthread_t thread;
    int fds[2];
    struct weir_stream *s = stream(fds);
    pthread_create(&thread, NULL, stranger, s);
    int rc = weir_loop_run(loop);
    pthread_join(thread, NULL);
    close(fds[1]);
    check(rc == 0, "stop from another thread");
    check(wrong_answers == 0, "each call says WEIR_ETHREAD");
    passed++;
}

static void a_forked_child_is_told_so(void)
{
    int fds[2], status;
    struct weir_stream *s = stream(fds);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(misuse(s, WEIR_EFORK));
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "each call says WEIR_EFORK");
    check(weir_write(s, "still here", 10, NULL, NULL) == 0, "the parent goes on");
    char text[16];
    while (recv(fds[1], text, sizeof text, MSG_DONTWAIT) < 0)
        check(weir_loop_run_once(loop, 1000000) >= 0, "the parent goes on");
    close(fds[1]);
    passed++;
}

static void on_alarm(int sig)
{
    (void)sig;
    weir_loop_stop(loop);
}

static void a_signal_handler_may_stop_the_loop(void)
{
    struct sigaction act = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &act, NULL);
    for (int i = 0; i < 20; i++) {
        ualarm(1000, 0);
        check(weir_loop_run(loop) == 0, "run ends");
    }
    passed++;
}

static void *own_loop(void *arg)
{
    (void)arg;
    return weir_loop_default() && weir_defer(NULL, ignore_call, NULL) == 0 && weir_loop_run_once(NULL, 0) >= 0 ? NULL
                                                                                                              : loop;
}

static void each_thread_has_a_default_loop_that_ends_with_it(void)
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *bad;
        pthread_create(&thread, NULL, own_loop, NULL);
        pthread_join(thread, &bad);
        check(!bad, "a default loop works");
    }
    passed++;
}

static void on_world(int backend)
{
    struct weir_loop_options opt = {.size = sizeof opt, .backend = backend};
    int before = failed;
    if (weir_loop_open(&opt, &loop) != 0) {
        printf("FAILED to open a loop: %s\n", weir_loop_refusal());
        failed++;
        return;
    }
    if (weir_watch_open(loop, 0, 0, ignore_event, NULL, &watch) != 0 ||
        weir_signal_open(loop, SIGUSR2, ignore_signal, NULL, &usr2) != 0)
        failed++;
    posts_from_threads_come_in_order();
    a_foreign_thread_is_told_so();
    a_forked_child_is_told_so();
    a_signal_handler_may_stop_the_loop();
    if (weir_loop_close(loop) != 0)
        failed++;
    if (failed > before)
        printf("on backend %d\n", backend);
}

int main(void)
{
    on_world(WEIR_BACKEND_URING);
    on_world(WEIR_BACKEND_EPOLL);
    each_thread_has_a_default_loop_that_ends_with_it();
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
