/* The io_uring world where the kernel refuses it, lacks features, interrupts it or has little room. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helpers_refuse.h"
#include "helpers_stream.h"
#include "loop.h"
#include "mem.h"
#include "uring.h"

enum { SOME = 40000, MANY = 256 << 10 };

TestSuite(uring, .timeout = 60);

/* ---- What a refused loop leaves behind ---- */

static uint64_t live_before;
static int fds_before;

static void count(void)
{
    live_before = wr_mem_live();
    fds_before = open_fds();
}

static void nothing_left(void)
{
    cr_assert_eq(open_fds(), fds_before, "descriptors left: %d", open_fds() - fds_before);
    cr_assert_eq(wr_mem_live(), live_before, "blocks left: %d", (int)(wr_mem_live() - live_before));
}

/* io_uring is refused, in words that hold both; the words are copied. */
static void refused_in_words(const char *error, const char *cause, char words[256])
{
    struct weir_loop *loop = NULL;
    cr_assert_eq(open_world(WEIR_BACKEND_URING, NULL, &loop), WEIR_EWORLD);
    cr_assert_null(loop);
    snprintf(words, 256, "%s", weir_loop_refusal());
    cr_assert(strstr(words, error), "no %s in: %s", error, words);
    cr_assert(strstr(words, cause), "no %s in: %s", cause, words);
    nothing_left();
}

/* Whoever does not insist on io_uring gets epoll, and is told why. */
static void epoll_instead(const char *words)
{
    struct weir_loop *loop = must_open(WEIR_BACKEND_AUTO, NULL);
    cr_assert_str_eq(weir_loop_world(loop), "epoll");
    cr_assert_str_eq(weir_loop_refusal(), "");
    cr_assert_str_eq(described(loop, "world"), "epoll");
    cr_assert_str_eq(described(loop, "because"), words);
    echo_works(loop, SOME);
    cr_assert_eq(weir_loop_close(loop), 0);
    nothing_left();
}

static void limit_locked_memory(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static void is_refused(long number, int error, const char *cause)
{
    char words[256];
    if (error == ENOMEM)
        limit_locked_memory(0);
    refuse_call(number, error);
    count();
    refused_in_words(strerrorname_np(error), cause, words);
    epoll_instead(words);
}

/* ---- io_uring_setup and io_uring_enter ---- */

#define SETUP_REFUSED(error, cause) \
    Test(uring, setup_refused_##error) { is_refused(SYS_io_uring_setup, error, cause); }

#define ENTER_REFUSED(error, cause) \
    Test(uring, enter_refused_##error) { is_refused(SYS_io_uring_enter, error, cause); }

SETUP_REFUSED(EACCES, "seccomp")
SETUP_REFUSED(ENOSYS, "the kernel has no io_uring")
SETUP_REFUSED(EINVAL, "io_uring is refused")
SETUP_REFUSED(EOPNOTSUPP, "the kernel is too old")
SETUP_REFUSED(EMFILE, "the limit on open descriptors")
SETUP_REFUSED(ENFILE, "limit on open files")
SETUP_REFUSED(ENOMEM, "RLIMIT_MEMLOCK")

ENTER_REFUSED(EPERM, "seccomp")
ENTER_REFUSED(EACCES, "seccomp")
ENTER_REFUSED(ENOSYS, "seccomp")
ENTER_REFUSED(ENOMEM, "out of memory")
ENTER_REFUSED(EINVAL, "io_uring is refused")
ENTER_REFUSED(EMFILE, "the limit on open descriptors")
ENTER_REFUSED(ENFILE, "limit on open files")
ENTER_REFUSED(EOPNOTSUPP, "the kernel is too old")

/* Stands before libc's, so that the tests choose what the sysctl says. NULL: there is none. */
static const char *sysctl_says = "0";

int open(const char *path, int flags, ...)
{
    va_list args;
    int fds[2];
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    if (strcmp(path, "/proc/sys/kernel/io_uring_disabled") != 0)
        return openat(AT_FDCWD, path, flags, mode);
    if (!sysctl_says || pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    (void)!write(fds[1], sysctl_says, strlen(sysctl_says));
    close(fds[1]);
    return fds[0];
}

Test(uring, setup_refused_EPERM)
{
    sysctl_says = "0\n";
    is_refused(SYS_io_uring_setup, EPERM, "seccomp");
}

Test(uring, setup_refused_EPERM_without_a_sysctl)
{
    sysctl_says = NULL;
    is_refused(SYS_io_uring_setup, EPERM, "seccomp");
}

Test(uring, setup_refused_EPERM_by_the_sysctl)
{
    sysctl_says = "2\n";
    is_refused(SYS_io_uring_setup, EPERM, "kernel.io_uring_disabled");
}

/* A filter that comes when the loop is open already ends it with the kernel's word. */
Test(uring, enter_refused_later)
{
    static struct weir_loop *loop;
    loop = must_open(WEIR_BACKEND_URING, NULL);
    echo_works(loop, SOME);
    refuse_call(SYS_io_uring_enter, EPERM);
    cr_assert_eq(weir_loop_run_once(loop, 0), -EPERM);
    cr_assert_eq(weir_loop_run(loop), -EPERM);
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* ---- io_uring_register: the world does without ---- */

static void without_register(int error)
{
    refuse_call(SYS_io_uring_register, error);
    count();
    struct weir_loop *loop = must_open(WEIR_BACKEND_URING, NULL);
    cr_assert_eq(strncmp(described(loop, "buffer_ring"), "broken, ", 8), 0, "%s", described(loop, "buffer_ring"));
    cr_assert(strstr(described(loop, "registered_ring"), weir_strerror(-error)));
    echo_works(loop, SOME);
    cr_assert_eq(weir_loop_close(loop), 0);
    nothing_left();
}

#define REGISTER_REFUSED(error) \
    Test(uring, register_refused_##error) { without_register(error); }

REGISTER_REFUSED(EPERM)
REGISTER_REFUSED(EACCES)
REGISTER_REFUSED(ENOSYS)
REGISTER_REFUSED(EINVAL)
REGISTER_REFUSED(EMFILE)
REGISTER_REFUSED(ENFILE)

Test(uring, register_refused_ENOMEM)
{
    is_refused(SYS_io_uring_register, ENOMEM, "RLIMIT_MEMLOCK");
}

/* ---- Limits ---- */

/* Some kernels charge the ring to the limit, and refuse it then; others do not. */
static void open_within(rlim_t locked)
{
    char words[256];
    struct weir_loop *loop;
    limit_locked_memory(locked);
    int rc = open_world(WEIR_BACKEND_URING, NULL, &loop);
    cr_assert(rc == 0 || rc == WEIR_EWORLD, "%s", weir_strerror(rc));
    if (rc == 0) {
        echo_works(loop, SOME);
        cr_assert_eq(weir_loop_close(loop), 0);
        nothing_left();
    } else if (locked == 0) {
        refused_in_words("ENOMEM", "RLIMIT_MEMLOCK", words);
        epoll_instead(words);
    } else {
        cr_assert(strstr(weir_loop_refusal(), "RLIMIT_MEMLOCK"), "%s", weir_loop_refusal());
        nothing_left();
    }
}

Test(uring, little_memory_may_be_locked)
{
    if (geteuid() == 0)
        cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    cr_assert_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0); /* /proc/self/fd stays readable */
    count();
    for (rlim_t locked = 0; locked <= 640 << 10; locked += 16 << 10)
        open_within(locked);
}

/* Every step of opening meets the limit once, until there is room for all. */
Test(uring, few_descriptors)
{
    struct rlimit limit;
    struct weir_loop *loop;
    int rc = -1, free_fd = dup(0);
    close(free_fd);
    count();
    for (rlim_t room = 0; rc < 0; room++) {
        getrlimit(RLIMIT_NOFILE, &limit);
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = (rlim_t)free_fd + room;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        rc = open_world(WEIR_BACKEND_URING, NULL, &loop);
        limit.rlim_cur = before;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (rc < 0) {
            cr_assert_eq(rc, WEIR_EWORLD);
            cr_assert(strstr(weir_loop_refusal(), "EMFILE"), "%s", weir_loop_refusal());
            nothing_left();
        }
        cr_assert_lt(room, 20);
    }
    echo_works(loop, SOME);
    cr_assert_eq(weir_loop_close(loop), 0);
    nothing_left();
}

/* ---- The ladder ---- */

static const char *const features[] = {"single_issuer", "defer_taskrun",  "coop_taskrun",   "submit_all",
                                       "buffer_ring",   "multishot_recv", "registered_ring", "multishot_accept",
                                       "quiet_send",    "rwf_nowait",     "rwf_nosignal"};
enum { FEATURES = sizeof features / sizeof *features };

static void works_masked(const char *mask)
{
    struct echo e;
    count();
    struct weir_loop *loop = must_open(WEIR_BACKEND_URING, mask);
    for (unsigned i = 0; i < FEATURES; i++)
        if (wr_masked(mask, features[i]))
            cr_assert_str_neq(described(loop, features[i]), "used", "%s in spite of mask %s", features[i], mask);
    echo_start_tcp(&e, loop, MANY);
    echo_finish(&e, 1);
    cr_assert_eq(weir_loop_close(loop), 0);
    nothing_left();
}

Test(uring, each_feature_can_be_masked)
{
    works_masked("");
    for (unsigned i = 0; i < FEATURES; i++) {
        works_masked(features[i]);
        struct weir_loop *loop = must_open(WEIR_BACKEND_URING, features[i]);
        cr_assert_str_eq(described(loop, features[i]), "masked", "%s", features[i]);
        cr_assert_eq(weir_loop_close(loop), 0);
    }
}

Test(uring, pairs_of_features_can_be_masked)
{
    char mask[128];
    for (unsigned i = 0; i < FEATURES; i++)
        for (unsigned k = 0; k < i; k++) {
            snprintf(mask, sizeof mask, "%s,%s", features[i], features[k]);
            works_masked(mask);
        }
}

Test(uring, all_features_can_be_masked)
{
    char mask[256] = "";
    for (unsigned i = 0; i < FEATURES; i++) {
        strcat(mask, i ? "," : "");
        strcat(mask, features[i]);
    }
    works_masked(mask);
}

/* What describe names is in the list above, so that the tests with masks leave nothing out. */
Test(uring, no_feature_is_unheard_of)
{
    struct weir_loop *loop = must_open(WEIR_BACKEND_URING, NULL);
    const struct wr_report *r = &loop->world->report;
    for (unsigned i = 0; i < r->features; i++) {
        bool listed = strcmp(r->feature[i].name, "cancel") == 0; /* there is no world without it */
        for (unsigned k = 0; k < FEATURES; k++)
            listed |= strcmp(r->feature[i].name, features[k]) == 0;
        cr_assert(listed, "%s", r->feature[i].name);
    }
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* ---- The system call, counted and tampered with ---- */

static unsigned enters, tamper_every;
static int tamper_result;       /* what a tampered call says without being made; 0: it hands over one entry only */

/* Stands before liburing's. */
int io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t *sig, size_t size)
{
    bool tamper = ++enters % (tamper_every ? tamper_every : UINT_MAX) == 0;
    if (tamper && tamper_result < 0)
        return tamper_result;
    if (tamper && to_submit > 1) {
        to_submit = 1;
        flags &= ~IORING_ENTER_GETEVENTS; /* nor does the kernel wait when it stops half-way */
    }
    long rc = syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, sig, size);
    return rc < 0 ? -errno : (int)rc;
}

Test(uring, self_test_asks_little)
{
    struct weir_loop *loop = must_open(WEIR_BACKEND_URING, NULL);
    cr_assert_gt(enters, 0);
    cr_assert_lt(enters, 64);
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* The self-test too must live with it. */
static void tampered(unsigned every, int result)
{
    tamper_every = every;
    tamper_result = result;
    count();
    many_at_once(WEIR_BACKEND_URING, 8);
    many_at_once(WEIR_BACKEND_URING, 1024);
    nothing_left();
    cr_assert_gt(enters, 2 * every);
}

Test(uring, interrupted_calls_are_made_good)
{
    tampered(2, -EINTR);
}

Test(uring, calls_the_kernel_has_no_time_for_are_made_good)
{
    tampered(2, -EAGAIN);
    tampered(3, -EBUSY);
}

Test(uring, entries_left_behind_are_handed_over_later)
{
    tampered(1, 0);
    tampered(2, 0);
}

/* ---- Interrupted, and short of room ---- */

Test(uring, signals_lose_nothing)
{
    rounds_under_signals(WEIR_BACKEND_URING);
}

Test(uring, submission_queue_full)
{
    many_at_once(WEIR_BACKEND_URING, 8);
}

Test(uring, submission_queue_of_one)
{
    many_at_once(WEIR_BACKEND_URING, 1);
}

/* Small buffers, and one completion in a turn: they pile up until the kernel ends receives for want of room. */
Test(uring, completion_queue_overflows)
{
    enum { PAIRS = 32 };
    static struct echo echoes[PAIRS];
    struct weir_loop_options opt = {.size = sizeof opt,
                                    .backend = WEIR_BACKEND_URING,
                                    .recv_buffer_size = 64,
                                    .recv_buffers = 32768,
                                    .completions_per_turn = 1};
    struct weir_loop *loop;
    unsigned overflows = 0;
    cr_assert_eq(weir_loop_open(&opt, &loop), 0, "%s", weir_loop_refusal());
    for (int i = 0; i < PAIRS; i++)
        echo_start_tcp(&echoes[i], loop, 64 << 10);
    struct wr_uring *u = wr_uring_of(loop->world);
    for (int i = 0; i < 40000; i++) {
        cr_assert_geq(weir_loop_run_once(loop, 0), 0);
        overflows += io_uring_cq_has_overflow(&u->ring);
    }
    echo_finish(echoes, PAIRS);
    cr_assert_gt(overflows, 0, "there was room for all");
    cr_assert_eq(weir_loop_close(loop), 0);
}

/* ---- What the kernel may fill before we look ---- */

enum { BULK = 16 << 20, SMALL_MESSAGES = 2000 };

static size_t drained;

static void drain(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    if (status == 0)
        drained += view.len;
}

static void drain_until(struct env *e, size_t len)
{
    while (drained < len)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
}

static void offer_by_what_comes(struct env *e)
{
    static unsigned char bytes[BULK];
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = BULK};
    const struct wr_bufpool *pool = &e->loop->world->pool;
    drained = 0;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_start(b.s, drain, NULL), 0);
    run_idle(e);
    cr_assert_eq(pool->world_count, pool->count, "all, as long as nobody knows");
    cr_assert_eq(weir_write_ref(a.s, bytes, BULK, NULL, NULL, NULL), 0);
    drain_until(e, BULK);
    cr_assert_lt(pool->world_count, pool->count / 2, "%u of %u", pool->world_count, pool->count);
    for (size_t i = 1; i <= SMALL_MESSAGES; i++) {
        cr_assert_eq(weir_write(a.s, bytes, 64, NULL, NULL), 0);
        drain_until(e, BULK + i * 64);
    }
    run_idle(e);
    cr_assert_eq(pool->world_count, pool->count, "all again: little comes into each");
    close_pair(e, &a, &b);
}

Test(uring, buffers_are_offered_by_what_comes_into_them)
{
    env_run("io_uring", offer_by_what_comes);
}
