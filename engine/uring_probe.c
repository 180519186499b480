/* Opening the io_uring world: set-up from the best flags to none, then a self-test of every feature on the very ring,
 * so that only what works here is used. What is refused is refused in words. */
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CQ_ENTRIES = 16384,     /* an overflow ends multishots: far more than a turn can bring */
    CQ_ENTRIES_MIN = 512,
    CACHE_KEEP = 4 << 20,
    TEST_SENDS = 64,        /* of 1 KiB, more than the least of socket buffers takes */
    TEST_TURNS = 8          /* turns that a part of the self-test may take, of at most TEST_WAIT each */
};

static const uint64_t TEST_WAIT = 20000000u;    /* ns; only waited for when something is broken */

/* ---- Set-up ---- */

static const struct {
    const char *name;
    unsigned flag;
} setup_features[] = {
    {"single_issuer", IORING_SETUP_SINGLE_ISSUER},
    {"defer_taskrun", IORING_SETUP_DEFER_TASKRUN},
    {"coop_taskrun", IORING_SETUP_COOP_TASKRUN},
    {"submit_all", IORING_SETUP_SUBMIT_ALL},
};

static const unsigned ladder[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL, /* 6.1 */
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,  /* 6.0 */
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,                               /* 5.19 */
    IORING_SETUP_SUBMIT_ALL,                                                           /* 5.18 */
    0,
};

static unsigned masked_flags(const char *mask)
{
    unsigned flags = 0;
    for (size_t i = 0; i < WR_COUNT(setup_features); i++)
        if (wr_masked(mask, setup_features[i].name))
            flags |= setup_features[i].flag;
    return flags;
}

/* Where memory may not be locked without end, smaller rings do. */
static int try_rung(struct wr_uring *u, unsigned flags, unsigned entries)
{
    unsigned cq_entries = (unsigned)wr_max(CQ_ENTRIES, 2 * (size_t)entries);
    for (;;) {
        struct io_uring_params p = {.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                    .cq_entries = cq_entries};
        int rc = io_uring_queue_init_params(entries, &u->ring, &p);
        if (rc != -ENOMEM || cq_entries <= CQ_ENTRIES_MIN)
            return rc;
        cq_entries /= 2;
        entries = (unsigned)wr_min(entries, cq_entries / 2);
    }
}

static void report_rung(struct wr_report *report, const char *mask, unsigned used, unsigned refused)
{
    for (size_t i = 0; i < WR_COUNT(setup_features); i++) {
        unsigned flag = setup_features[i].flag;
        const char *name = setup_features[i].name;
        if (used & flag)
            wr_report_feature(report, name, WR_FEATURE_USED, 0);
        else if (wr_masked(mask, name))
            wr_report_feature(report, name, WR_FEATURE_MASKED, 0);
        else if (refused & flag)
            wr_report_feature(report, name, WR_FEATURE_ABSENT, -EINVAL);
        else
            wr_report_feature(report, name, WR_FEATURE_UNUSED, 0);
    }
}

/* Down the ladder while the kernel says EINVAL, which is its word for a flag it does not know. */
static int set_up(struct wr_uring *u, const struct wr_world_options *opt, struct wr_report *report)
{
    unsigned masked = masked_flags(opt->mask), refused = 0;
    int rc = -EINVAL;
    for (size_t i = 0; i < WR_COUNT(ladder) && rc == -EINVAL; i++) {
        if (ladder[i] & masked)
            continue;
        rc = try_rung(u, ladder[i], opt->ring_entries);
        if (rc == 0)
            report_rung(report, opt->mask, ladder[i], refused);
        refused |= ladder[i];
    }
    return rc;
}

/* ---- Refusals in words ---- */

static int sysctl_value(void)
{
    char c = '0';
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (read(fd, &c, 1) != 1)
        c = '0';
    close(fd);
    return c - '0';
}

static int refuse(struct wr_report *report, const char *step, int rc)
{
    const char *why = "";
    struct rlimit locked;
    if (rc == -EPERM && sysctl_value() > 0)
        why = ": the sysctl kernel.io_uring_disabled forbids it";
    else if (rc == -EPERM || rc == -EACCES)
        why = ": a seccomp filter or a security module forbids it";
    else if (rc == -ENOSYS)
        why = ": the kernel has no io_uring, or a seccomp filter hides it";
    else if (rc == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY)
        why = ": out of memory, or of the RLIMIT_MEMLOCK limit (ulimit -l)";
    else if (rc == -ENOMEM)
        why = ": out of memory";
    else if (rc == -EOPNOTSUPP || rc == -EINVAL)
        why = ": the kernel is too old, 5.19 at least is needed";
    else if (rc == -EMFILE)
        why = ": the limit on open descriptors is reached (ulimit -n)";
    else if (rc == -ENFILE)
        why = ": the system's limit on open files is reached (sysctl fs.file-max)";
    return wr_report_refusal(report, "io_uring", step, rc, why);
}

/* ---- The self-test ---- */

/* A test's ops live with the world: if the kernel will not let go of one, the world is left to it. */
struct test_op {
    struct wr_op op;
    struct wr_result last;
    unsigned results;
    unsigned bytes;         /* received, and found to be 0, 1, 2, ... */
    bool disorder, again;
    int fds[2];             /* accepted */
};

struct self_test {
    struct wr_uring *u;
    struct test_op op;
    int pair[2];
    int error;
    int refused;            /* what io_uring_enter said, if it said no */
};

static void test_done(struct wr_op *op, const struct wr_result *r)
{
    struct test_op *t = wr_home(op, struct test_op, op);
    t->last = *r;
    if (op->kind == WR_OP_ACCEPT && r->res >= 0 && t->results < 2)
        t->fds[t->results] = r->res;
    t->results++;
    if (!r->seg)
        return;
    for (int i = 0; i < r->res; i++)
        t->disorder |= r->seg->base[r->off + (unsigned)i] != (unsigned char)t->bytes++;
    wr_segment_drop(r->seg);
}

/* Turns until the op has `results` of them, or is over. */
static bool run(struct self_test *st, unsigned results)
{
    struct wr_world *w = &st->u->w;
    struct wr_result r;
    for (int i = 0; i < TEST_TURNS && st->op.op.in_flight && st->op.results < results; i++) {
        int rc = w->ops->turn(w, TEST_WAIT);
        if (rc < 0) {
            st->refused = rc;
            return false;
        }
        while (w->ops->reap(w, &r, 1) > 0) {
            r.op->in_flight = r.more;
            r.op->done(r.op, &r);
        }
        wr_uring_bufs_offer(st->u); /* one buffer must do: it may be filled as soon as the peer speaks */
    }
    return st->op.results >= results;
}

/* On unix sockets, which stand for all. */
static struct wr_op *new_op(struct self_test *st, enum wr_op_kind kind, int fd, enum wr_op_flag flags)
{
    st->op = (struct test_op){
        .op = {.done = test_done, .kind = (uint8_t)kind, .fd = fd, .flags = (uint8_t)flags, .traits = WR_FD_TCP},
        .fds = {-1, -1}};
    wr_list_init(&st->op.op.link);
    return &st->op.op;
}

static void begin(struct self_test *st, enum wr_op_kind kind, int fd)
{
    wr_start(&st->u->w, new_op(st, kind, fd, WR_OP_MULTI));
}

/* The op ends, because it was asked to, with -ECANCELED. */
static bool ends_by_cancel(struct self_test *st)
{
    unsigned seen = st->op.results;
    wr_cancel(&st->u->w, &st->op.op);
    return st->op.op.in_flight && run(st, seen + 1) && !st->op.op.in_flight && st->op.last.res == -ECANCELED;
}

static bool say(struct self_test *st, unsigned from, unsigned count)
{
    unsigned char text[256];
    for (unsigned i = 0; i < count; i++)
        text[i] = (unsigned char)(from + i);
    return send(st->pair[1], text, count, MSG_NOSIGNAL) == (ssize_t)count;
}

/* An empty ring of buffers is told as ENOBUFS; filled, it gives the bytes that waited. */
static bool test_buffers(struct self_test *st)
{
    struct wr_bufpool *pool = &st->u->w.pool;
    uint32_t free_count = pool->free_count;
    pool->free_count = 0; /* hide the buffers for one turn */
    bool ok = say(st, 0, 50);
    begin(st, WR_OP_RECV, st->pair[0]);
    ok = run(st, 1) && ok && st->op.last.res == -ENOBUFS && !st->op.op.in_flight;
    pool->free_count += free_count;
    if (!ok)
        return false;
    begin(st, WR_OP_RECV, st->pair[0]);
    return run(st, 1) && st->op.bytes == 50 && !st->op.disorder;
}

/* Bytes in order over several shots, the op goes on between them, the end of the peer ends it. */
static bool test_multishot_recv(struct self_test *st)
{
    struct test_op *t = &st->op;
    if (!t->op.in_flight || !say(st, 50, 50) || !run(st, 2) || !say(st, 100, 50) || !run(st, 3))
        return false;
    bool whole = t->bytes == 150 && !t->disorder && t->op.in_flight;
    shutdown(st->pair[1], SHUT_WR);
    return run(st, 4) && whole && t->last.res == 0 && !t->op.in_flight;
}

static bool test_cancel(struct self_test *st)
{
    begin(st, WR_OP_RECV, st->pair[1]);
    (void)st->u->w.ops->flush(&st->u->w);
    return ends_by_cancel(st);
}

/* Send without a word, once. Does the op go on, without an answer? */
static bool send_quietly(struct self_test *st, void *bytes, size_t len)
{
    struct wr_op *op = new_op(st, WR_OP_SEND, st->pair[0], WR_OP_QUIET);
    struct wr_result r;
    op->u.send = (struct iovec){bytes, len};
    wr_start(&st->u->w, op);
    st->refused = st->u->w.ops->turn(&st->u->w, 0);
    if (st->u->w.ops->reap(&st->u->w, &r, 1) > 0) {
        op->in_flight = false;
        test_done(op, &r);
    }
    return op->in_flight;
}

static size_t drain(struct self_test *st)
{
    unsigned char bytes[1024];
    size_t all = 0;
    ssize_t n;
    while ((n = recv(st->pair[1], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        all += (size_t)n;
    return all;
}

/* What goes well is not told, and arrives; what finds little room is told so, and what finds none goes later. */
static bool test_quiet_send(struct self_test *st)
{
    static unsigned char bytes[1024];
    int least = 1, sends = 0;
    size_t sent = 0;
    (void)setsockopt(st->pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    while (sends++ < TEST_SENDS && !send_quietly(st, bytes, sizeof bytes) && st->op.last.late)
        sent += sizeof bytes;
    size_t came = drain(st);
    bool ok = sent > 0 && sends < TEST_SENDS && run(st, 1) && !st->op.last.late;
    sent += st->op.last.res > 0 ? (size_t)st->op.last.res : 0;
    return ok && came + drain(st) == sent;
}

static int call(const struct sockaddr_un *addr, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)addr, len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void hang_up(int fd)
{
    if (fd >= 0)
        close(fd);
}

static bool test_multishot_accept(struct self_test *st)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX}; /* bound to nothing, it gets an abstract name */
    socklen_t len = sizeof(sa_family_t);
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c[2];
    if (l < 0 || bind(l, (struct sockaddr *)&addr, len) < 0 || listen(l, 4) < 0) {
        hang_up(l);
        return false;
    }
    len = sizeof addr;
    getsockname(l, (struct sockaddr *)&addr, &len);
    begin(st, WR_OP_ACCEPT, l);
    c[0] = call(&addr, len);
    bool ok = run(st, 1);
    c[1] = call(&addr, len);
    ok = run(st, 2) && ok && st->op.fds[0] >= 0 && st->op.fds[1] >= 0;
    ok = ends_by_cancel(st) && ok;
    for (int i = 0; i < 2; i++) {
        hang_up(c[i]);
        hang_up(st->op.fds[i]);
    }
    hang_up(l);
    return ok;
}

/* One feature: masked, or tested. Returns whether it may be used. *error: an op could not be brought to its end. */
static bool judge(struct self_test *st, struct wr_report *report, const char *mask, const char *name,
                  bool (*test)(struct self_test *st))
{
    if (wr_masked(mask, name)) {
        wr_report_feature(report, name, WR_FEATURE_MASKED, 0);
        return false;
    }
    bool ok = st->error == 0 && test(st);
    if (!ok && st->op.op.in_flight) {
        wr_cancel(&st->u->w, &st->op.op);
        (void)run(st, UINT32_MAX);
        if (st->op.op.in_flight)
            st->error = -EIO;
    }
    wr_report_feature(report, name, ok ? WR_FEATURE_USED : WR_FEATURE_BROKEN, ok ? 0 : -EIO);
    return ok;
}

/* The tests of receiving build on each other: one op goes through the first two. */
static void test_features(struct self_test *st, struct wr_report *report, const char *mask)
{
    struct wr_uring *u = st->u;
    if (u->bufs) {
        u->multishot_recv = !wr_masked(mask, "multishot_recv");
        if (!judge(st, report, mask, "buffer_ring", test_buffers))
            wr_uring_bufs_close(u);
        u->multishot_recv = u->bufs && judge(st, report, mask, "multishot_recv", test_multishot_recv);
    }
    if (!u->bufs)   /* what it stands on is not there */
        wr_report_feature(report, "multishot_recv",
                          wr_masked(mask, "multishot_recv") ? WR_FEATURE_MASKED : WR_FEATURE_ABSENT, 0);
    if (!judge(st, report, "", "cancel", test_cancel))
        st->error = st->error ? st->error : -EOPNOTSUPP;
    u->quiet_send = true;
    u->quiet_send = judge(st, report, mask, "quiet_send", test_quiet_send);
    u->multishot_accept = true;
    u->multishot_accept = judge(st, report, mask, "multishot_accept", test_multishot_accept);
}

static int self_test(struct wr_uring *u, struct wr_report *report, const char *mask)
{
    struct self_test *st = wr_alloc_zeroed(sizeof *st);
    if (!st)
        return -ENOMEM;
    st->u = u;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, st->pair) < 0) {
        int rc = -errno;
        wr_free(st);
        return rc;
    }
    test_features(st, report, mask);
    close(st->pair[0]);
    close(st->pair[1]);
    /* What the kernel never took cannot be stuck there. */
    bool untouched = __atomic_load_n(u->ring.sq.khead, __ATOMIC_ACQUIRE) == 0;
    int rc = st->refused && untouched ? st->refused : st->error;
    if (rc != -EIO)
        wr_free(st);
    return rc;
}

/* ---- Opening ---- */

static int open_bufs(struct wr_uring *u, const struct wr_world_options *opt, struct wr_report *report)
{
    bool masked = wr_masked(opt->mask, "buffer_ring");
    int rc = masked ? 0 : wr_uring_bufs_open(u);
    if (masked || rc < 0)
        wr_report_feature(report, "buffer_ring", masked ? WR_FEATURE_MASKED : WR_FEATURE_BROKEN, rc);
    return rc == -ENOMEM ? rc : 0;
}

static void register_ring_fd(struct wr_uring *u, const struct wr_world_options *opt, struct wr_report *report)
{
    bool masked = wr_masked(opt->mask, "registered_ring");
    int rc = masked ? 0 : io_uring_register_ring_fd(&u->ring);
    u->ext_ring_fd = rc == 1;
    wr_report_feature(report, "registered_ring",
                      masked           ? WR_FEATURE_MASKED
                      : u->ext_ring_fd ? WR_FEATURE_USED
                                       : WR_FEATURE_BROKEN,
                      rc < 0 ? rc : 0);
}

/* What the world cannot live without. */
static int check_ring(struct wr_uring *u)
{
    unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_CQE_SKIP;
    return (u->ring.features & needed) == needed ? io_uring_ring_dontfork(&u->ring) : -EOPNOTSUPP;
}

/* Step by step; *step names the one that failed. */
static int open_ring(struct wr_uring *u, const struct wr_world_options *opt, struct wr_report *report,
                     const char **step)
{
    int rc;
    *step = "the feature check";
    if ((rc = check_ring(u)) < 0)
        return rc;
    *step = "the buffer ring";
    if ((rc = open_bufs(u, opt, report)) < 0)
        return rc;
    register_ring_fd(u, opt, report);
    *step = "the self-test";
    return self_test(u, report, opt->mask);
}

static int open_parts(struct wr_uring *u, const struct wr_world_options *opt, struct wr_report *report)
{
    wr_net_open(&u->net, false);
    wr_plain_open(&u->net, opt->mask, report);
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0)
        return -errno;
    return wr_bufpool_open(&u->w.pool, opt->recv_buffer_size, opt->recv_buffers);
}

static void close_parts(struct wr_uring *u)
{
    if (u->w.pool.memory)
        wr_bufpool_close(&u->w.pool);
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    wr_net_close(&u->net);
    wr_free(u);
}

int wr_uring_open(const struct wr_world_options *opt, struct wr_report *report, struct wr_world **ret_world)
{
    const char *step = "io_uring_setup";
    struct wr_uring *u = wr_alloc_zeroed(sizeof *u);
    if (!u)
        return refuse(report, "memory", -ENOMEM);
    u->w.ops = &wr_uring_ops;
    u->w.net = &u->net;
    u->wake_fd = u->net.spare_fd = -1;
    atomic_init(&u->told_fd, -1);
    wr_cache_init(&u->cache, CACHE_KEEP);
    wr_list_init(&u->finished);
    wr_list_init(&u->unsubmitted);
    wr_list_init(&u->uncancelled);
    wr_list_init(&u->cancelling);
    wr_list_init(&u->quiet);
    int rc = set_up(u, opt, report);
    if (rc == 0) {
        rc = open_parts(u, opt, report);
        if (rc == 0)
            rc = open_ring(u, opt, report, &step);
        if (rc < 0) {
            wr_uring_bufs_close(u);
            io_uring_queue_exit(&u->ring);
        }
    }
    if (rc < 0) {
        if (rc != -EIO) /* the kernel may still write to what a stuck op named: better lost than reused */
            close_parts(u);
        return refuse(report, step, rc);
    }
    u->w.started = u->w.enters = 0; /* the self-test's */
    *ret_world = &u->w;
    return 0;
}
