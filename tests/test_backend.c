/* Suite backend: masks, reports, the start and the end of an op, and which world is chosen. */
#include "backend.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "helpers_stream.h"

TestSuite(backend, .timeout = 30);

/* ---- Masks ---- */

Test(backend, a_mask_names_whole_names)
{
    cr_assert(wr_masked("one", "one"));
    cr_assert(wr_masked("one,two,three", "one"));
    cr_assert(wr_masked("one,two,three", "two"));
    cr_assert(wr_masked("one,two,three", "three"));
    cr_assert(wr_masked(",,two,", "two"));
    cr_assert_not(wr_masked(NULL, "one"));
    cr_assert_not(wr_masked("", "one"));
    cr_assert_not(wr_masked(",", "one"));
    cr_assert_not(wr_masked("one_more", "one"));
    cr_assert_not(wr_masked("not_one", "one"));
    cr_assert_not(wr_masked("on", "one"));
    cr_assert_not(wr_masked("one,two", "one,two"));
    cr_assert_not(wr_masked("ONE", "one"));
}

/* ---- Reports ---- */

Test(backend, a_refusal_says_what_gave_which_error_and_why)
{
    struct wr_report r = {0};
    cr_assert_eq(wr_report_refusal(&r, "io_uring", "the test", -EPERM, ": it had to be"), -EPERM);
    cr_assert_str_eq(r.why, "io_uring is refused: the test gave EPERM: it had to be");
    cr_assert_eq(wr_report_refusal(&r, "epoll", "memory", -ENOMEM, ""), -ENOMEM);
    cr_assert_str_eq(r.why, "epoll is refused: memory gave ENOMEM");
}

Test(backend, a_long_refusal_is_cut)
{
    struct wr_report r = {0};
    char why[1000];
    memset(why, 'w', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    cr_assert_eq(wr_report_refusal(&r, "io_uring", "the test", -EIO, why), -EIO);
    cr_assert_eq(strlen(r.why), sizeof r.why - 1);
    cr_assert_eq(r.features, 0);
}

static const char *numbered(unsigned i)
{
    static char name[32][8];
    snprintf(name[i], sizeof name[i], "f%u", i);
    return name[i];
}

Test(backend, a_feature_stands_in_the_report_once)
{
    struct wr_report r = {0};
    for (unsigned i = 0; i < WR_COUNT(r.feature); i++)
        wr_report_feature(&r, numbered(i), WR_FEATURE_USED, 0);
    wr_report_feature(&r, "f1", WR_FEATURE_BROKEN, -EINVAL);
    wr_report_feature(&r, "f23", WR_FEATURE_ABSENT, -ENOSYS);
    cr_assert_eq(r.features, 24);
    cr_assert(r.feature[0].state == WR_FEATURE_USED && r.feature[0].error == 0);
    cr_assert(r.feature[1].state == WR_FEATURE_BROKEN && r.feature[1].error == -EINVAL);
    cr_assert_str_eq(r.feature[1].name, "f1");
    cr_assert(r.feature[23].state == WR_FEATURE_ABSENT && r.feature[23].error == -ENOSYS);
}

Test(backend, a_report_has_room_for_so_many_features, .signal = SIGABRT)
{
    struct wr_report r = {0};
    for (unsigned i = 0; i <= WR_COUNT(r.feature); i++)
        wr_report_feature(&r, numbered(i), WR_FEATURE_USED, 0);
}

/* ---- Ops ---- */

static struct wr_op *started, *cancelled;
static int starts, cancels;

static void start(struct wr_world *w, struct wr_op *op)
{
    (void)w;
    starts++;
    started = op;
}

static void cancel(struct wr_world *w, struct wr_op *op)
{
    (void)w;
    cancels++;
    cancelled = op;
}

static void done(struct wr_op *op, const struct wr_result *r)
{
    (void)op, (void)r;
}

static const struct wr_world_ops verbs = {.name = "test", .start = start, .cancel = cancel};
static struct wr_world world = {.ops = &verbs};

static struct wr_op an_op(void)
{
    return (struct wr_op){.done = done, .kind = WR_OP_POLL, .cancelled = true, .world = {1, 2}};
}

Test(backend, a_started_op_is_clean)
{
    struct wr_op op = an_op();
    wr_start(&world, &op);
    cr_assert_eq(started, &op);
    cr_assert(op.in_flight && !op.cancelled && wr_list_empty(&op.link));
    cr_assert(op.world[0] == 0 && op.world[1] == 0);
    cr_assert_eq(world.started, 1);
    cr_assert_eq(starts, 1);
    op.in_flight = false;
    wr_start(&world, &op);
    cr_assert_eq(world.started, 2);
}

Test(backend, an_op_is_cancelled_once_and_only_in_flight)
{
    struct wr_op op = an_op();
    op.cancelled = false;
    wr_cancel(&world, &op);
    cr_assert(cancels == 0 && !op.cancelled);
    wr_start(&world, &op);
    wr_cancel(&world, &op);
    cr_assert(cancels == 1 && cancelled == &op && op.cancelled && op.in_flight);
    wr_cancel(&world, &op);
    cr_assert_eq(cancels, 1);
    op.in_flight = false;
    wr_start(&world, &op);
    wr_cancel(&world, &op);
    cr_assert_eq(cancels, 2, "started again, it can be cancelled again");
}

#define NO_START(name, ...)                         \
    Test(backend, name, .signal = SIGABRT)          \
    {                                               \
        struct wr_op op = an_op();                  \
        __VA_ARGS__;                                \
        wr_start(&world, &op);                      \
    }

NO_START(an_op_in_flight_does_not_start, op.in_flight = true)
NO_START(an_op_that_nobody_hears_of_does_not_start, op.done = NULL)
NO_START(an_op_of_no_kind_does_not_start, op.kind = WR_OP_NONE)
NO_START(an_op_without_a_descriptor_does_not_start, op.fd = -1)

/* ---- The choice ---- */

static const struct wr_world_options small = {
    .recv_buffer_size = 4096, .recv_buffers = 8, .ring_entries = 64, .completions_per_turn = 64};

/* The name of the world that was opened, closed again; "" and *ret_rc if none was. */
static const char *open_world(int backend, struct wr_report *ret_report, int *ret_rc)
{
    struct wr_world *w = NULL;
    *ret_report = (struct wr_report){0};
    *ret_rc = wr_backend_open(backend, &small, ret_report, &w);
    if (*ret_rc < 0) {
        cr_assert_null(w);
        return "";
    }
    const char *name = w->ops->name;
    w->ops->close(w);
    return name;
}

/* io_uring_setup gives EPERM, as many containers have it. */
static void forbid_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {WR_COUNT(code), code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(backend, each_opens_what_it_says)
{
    struct wr_report r;
    int rc;
    cr_assert_str_eq(open_world(WEIR_BACKEND_URING, &r, &rc), "io_uring");
    cr_assert_str_eq(r.why, "");
    cr_assert_str_eq(open_world(WEIR_BACKEND_AUTO, &r, &rc), "io_uring");
    cr_assert_str_eq(r.why, "");
    cr_assert_str_eq(open_world(WEIR_BACKEND_EPOLL, &r, &rc), "epoll");
    cr_assert_str_eq(r.why, "");
}

Test(backend, where_io_uring_is_refused_epoll_serves_and_the_reason_is_kept)
{
    static const char reason[] = "io_uring is refused: io_uring_setup gave EPERM: ";
    struct wr_report r;
    int rc;
    forbid_io_uring();
    cr_assert_str_eq(open_world(WEIR_BACKEND_AUTO, &r, &rc), "epoll");
    cr_assert_eq(strncmp(r.why, reason, strlen(reason)), 0, "%s", r.why);
    cr_assert_str_eq(r.feature[0].name, "epoll_pwait2", "the features are those of the world in use");
    cr_assert_str_eq(open_world(WEIR_BACKEND_URING, &r, &rc), "");
    cr_assert_eq(rc, -EPERM);
    cr_assert_eq(strncmp(r.why, reason, strlen(reason)), 0, "%s", r.why);
    cr_assert_str_eq(open_world(WEIR_BACKEND_EPOLL, &r, &rc), "epoll");
    cr_assert_str_eq(r.why, "");
}

static unsigned asked, refused;

static bool refuse_one(size_t size)
{
    (void)size;
    return asked++ != refused;
}

/* Each allocation fails in turn: then there is a reason, or another world, and nothing is left behind. */
static void open_with_little_memory(int backend)
{
    struct wr_report r;
    int rc, fds = open_fds();
    uint64_t live = wr_mem_live();
    bool all_given = false;
    for (refused = 0; !all_given; refused++) {
        asked = 0;
        wr_mem_gate = refuse_one;
        const char *name = open_world(backend, &r, &rc);
        wr_mem_gate = NULL;
        cr_assert(*name || rc == -ENOMEM, "%s: allocation %u gave %d", name, refused, rc);
        cr_assert(*name || strstr(r.why, "ENOMEM"), "%s", r.why);
        cr_assert_eq(wr_mem_live(), live, "allocation %u", refused);
        cr_assert_eq(open_fds(), fds, "allocation %u", refused);
        cr_assert(backend != WEIR_BACKEND_AUTO || *name, "epoll has all it needs");
        cr_assert(strcmp(name, "epoll") != 0 || r.features == 3, "the features are epoll's alone");
        all_given = asked <= refused;
    }
    cr_assert_gt(refused, 3, "the world and its pool");
    cr_assert_eq(r.why[0], '\0');
}

Test(backend, io_uring_opens_or_says_that_memory_is_short)
{
    open_with_little_memory(WEIR_BACKEND_URING);
}

Test(backend, epoll_opens_or_says_that_memory_is_short)
{
    open_with_little_memory(WEIR_BACKEND_EPOLL);
}

Test(backend, one_of_both_opens_when_memory_is_short)
{
    open_with_little_memory(WEIR_BACKEND_AUTO);
}

/* The same with descriptors: at each limit. */
static void open_with_few_descriptors(int backend)
{
    struct wr_report r;
    struct rlimit limit;
    int rc, opened = 0, fds = open_fds();
    uint64_t live = wr_mem_live();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t usual = limit.rlim_cur;
    for (rlim_t few = 0; few < 64; few++) {
        limit.rlim_cur = few;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        const char *name = open_world(backend, &r, &rc);
        limit.rlim_cur = usual;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        cr_assert(*name || (rc == -EMFILE && strstr(r.why, "EMFILE")), "limit %lu: %d, %s", few, rc, r.why);
        cr_assert_eq(wr_mem_live(), live, "limit %lu", few);
        cr_assert_eq(open_fds(), fds, "limit %lu", few);
        opened += *name != '\0';
    }
    cr_assert(opened > 0 && opened < 64);
}

Test(backend, io_uring_opens_or_says_that_descriptors_are_short)
{
    open_with_few_descriptors(WEIR_BACKEND_URING);
}

Test(backend, epoll_opens_or_says_that_descriptors_are_short)
{
    open_with_few_descriptors(WEIR_BACKEND_EPOLL);
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

Test(backend, without_memory_there_is_no_world)
{
    struct wr_report r;
    int rc;
    for (int backend = WEIR_BACKEND_AUTO; backend <= WEIR_BACKEND_EPOLL; backend++) {
        wr_mem_gate = refuse_all;
        cr_assert_str_eq(open_world(backend, &r, &rc), "");
        wr_mem_gate = NULL;
        cr_assert_eq(rc, -ENOMEM);
        cr_assert(strstr(r.why, "is refused: memory gave ENOMEM"), "%s", r.why);
    }
}
