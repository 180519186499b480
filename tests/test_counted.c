/* What is promised in numbers: allocations, system calls, memory, bytes looked at. */
#include <errno.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <string.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helpers_stream.h"
#include "match.h"
#include "mem.h"
#include "stream.h"

enum { ROUNDS = 2000, IDLE = 10000 };

static int echoed;

static void echo_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status == 0)
        cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
}

static void again(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    if (status != 0)
        return; /* the test is over */
    echoed++;
    cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
    cr_assert_eq(weir_read_until(s, "\n", 1, 0, again, arg), 0);
}

static void play(struct env *e, int rounds)
{
    int goal = echoed + rounds;
    run_until(e, &echoed, goal);
}

ON_ALL_WORLDS(counted, a_steady_state_allocates_nothing_and_enters_once_a_turn)
{
    struct party a, b;
    echoed = 0;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, echo_chunk, &b), 0);
    cr_assert_eq(weir_read_until(a.s, "\n", 1, 0, again, &a), 0);
    cr_assert_eq(weir_write(a.s, "ping pong\n", 10, NULL, NULL), 0);
    play(e, 200);
    struct weir_loop_stats before, after;
    uint64_t allocations = wr_mem_allocations();
    weir_loop_stats(e->loop, &before, sizeof before);
    play(e, ROUNDS);
    weir_loop_stats(e->loop, &after, sizeof after);
    if (!e->sim) /* the simulated kernel allocates; the library does not */
        cr_assert_eq(wr_mem_allocations(), allocations);
    cr_assert_leq(after.enters - before.enters, after.turns - before.turns);
    cr_assert_eq(after.copied_in, before.copied_in, "whole messages are never copied");
    close_pair(e, &a, &b);
}

enum { LARGE = 600000 };

static void again_large(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    if (status != 0)
        return; /* the test is over */
    echoed++;
    cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(s, LARGE, again_large, arg), 0);
}

/* Nor does it give memory back to ask for it again: that costs more than the bytes do. */
ON_ALL_WORLDS(counted, nor_does_one_of_large_messages)
{
    static const char message[LARGE];
    struct party a, b;
    echoed = 0;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, LARGE, again_large, &b), 0);
    cr_assert_eq(weir_read_bytes(a.s, LARGE, again_large, &a), 0);
    cr_assert_eq(weir_write(a.s, message, LARGE, NULL, NULL), 0);
    play(e, 10);
    uint64_t allocations = wr_mem_allocations();
    play(e, 20);
    if (!e->sim)
        cr_assert_eq(wr_mem_allocations(), allocations);
    close_pair(e, &a, &b);
}

/* ---- The end ---- */

/* That have come from the peer; the simulator has none. */
static uint32_t packets(const struct env *e, const struct party *p)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    if (!e->sim)
        cr_assert_eq(getsockopt(p->s->in.fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_segs_in;
}

/* A peer that waits for each byte before it sends the next, on a thread of its own. */
static void *ask(void *arg)
{
    char byte = '?';
    for (int i = 0; i < ROUNDS; i++)
        if (send(*(int *)arg, &byte, 1, MSG_NOSIGNAL) != 1 || recv(*(int *)arg, &byte, 1, 0) != 1)
            break;
    close(*(int *)arg);
    return NULL;
}

/* It takes one system call to answer and to wait for the next question, by when the answer is not queued any more. */
static void lone_connection(struct env *e)
{
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = 1};
    struct party a;
    struct weir_loop_stats before, after;
    int fds[2];
    pthread_t thread;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_party(e, &a, "a", fds[0], &opt);
    cr_assert_eq(weir_read_start(a.s, echo_chunk, &a), 0);
    run_idle(e);
    weir_loop_stats(e->loop, &before, sizeof before);
    cr_assert_eq(pthread_create(&thread, NULL, ask, &fds[1]), 0);
    run_until(e, &a.closed, 1);
    weir_loop_stats(e->loop, &after, sizeof after);
    pthread_join(thread, NULL);
    cr_assert_lt(after.enters - before.enters, ROUNDS * 3 / 2);
}

Test(counted, a_lone_connection_enters_once_a_message)
{
    env_run("io_uring", lone_connection);
}

ON_ALL_WORLDS(counted, the_last_bytes_take_the_end_with_them)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    struct party a, b;
    open_pair(e, &opt, &a, &b);
    run_idle(e);
    uint32_t before = packets(e, &b);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    send_text(&a, "good bye");
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_until_log(e, "b read 0 8 good bye\n");
    cr_assert_eq(packets(e, &b) - before, e->sim ? 0 : 1);
    before = packets(e, &a);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    send_text(&b, "and you");
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_until_log(e, "a read 0 7 and you\n");
    cr_assert_eq(packets(e, &a) - before, e->sim ? 0 : 1);
    close_pair(e, &a, &b);
}

/* ---- Time limits ---- */

enum { PIECES = 100000 };

static char message[PIECES];

static void again_whole(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    if (status != 0)
        return;
    cr_assert_eq(view.len, PIECES);
    echoed++;
    cr_assert_eq(weir_write_ref(s, message, PIECES, NULL, NULL, NULL), 0);
    cr_assert_eq(weir_read_bytes(s, PIECES, again_whole, arg), 0);
}

/* Each message comes in several pieces, so that every limit begins, is moved and ends many times. */
ON_ALL_WORLDS(counted, a_message_under_all_limits_moves_no_timer)
{
    static const uint64_t HOUR = 3600000000000u;
    struct weir_stream_options opt = {.size = sizeof opt, .read_timeout_ns = HOUR, .idle_timeout_ns = HOUR,
                                      .write_stall_timeout_ns = HOUR, .min_rate = 1};
    struct party a, b;
    echoed = 0;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_start(b.s, echo_chunk, &b), 0);
    cr_assert_eq(weir_read_bytes(a.s, PIECES, again_whole, &a), 0);
    cr_assert_eq(weir_write(a.s, message, PIECES, NULL, NULL), 0);
    play(e, 10);
    uint64_t set_a = a.s->bounds->due.timer.order, set_b = b.s->bounds->due.timer.order;
    play(e, 100);
    cr_assert(wr_timer_is_set(&a.s->bounds->due.timer) && wr_timer_is_set(&b.s->bounds->due.timer));
    cr_assert_eq(a.s->bounds->due.timer.order, set_a);
    cr_assert_eq(b.s->bounds->due.timer.order, set_b);
    close_pair(e, &a, &b);
}

/* ---- What is looked at ---- */

static int arrived;

static void on_trickle(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert_eq(status, 0);
    arrived = (int)view.len;
}

/* One byte, and the turns it takes to arrive. */
static void drip(struct env *e, struct party *a, char c)
{
    cr_assert_eq(weir_write(a->s, &c, 1, NULL, NULL), 0);
    cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
}

ON_ALL_WORLDS(counted, a_trickled_delimiter_is_looked_for_in_linear_time)
{
    enum { BYTES = 1 << 20 };
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 2 << 20};
    struct party a, b;
    arrived = 0;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_until(b.s, "aaab", 4, 2 << 20, on_trickle, &b), 0);
    uint64_t looked = wr_match_looked;
    struct weir_loop_stats before, after;
    weir_loop_stats(e->loop, &before, sizeof before);
    for (int i = 0; i < BYTES; i++)
        drip(e, &a, 'a');
    drip(e, &a, 'b');
    run_until(e, &arrived, BYTES + 1);
    weir_loop_stats(e->loop, &after, sizeof after);
    cr_assert_leq(wr_match_looked - looked, 3 * (uint64_t)(BYTES + 1));
    cr_assert_leq(after.copied_in - before.copied_in, 4 * (uint64_t)BYTES,
                  "a byte is moved a constant number of times");
    close_pair(e, &a, &b);
}

/* ---- What waits ---- */

/* Bytes of the heap in use, the allocator's own included. (Under sanitizers there is no telling: 0.) */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int heard;

static void hear(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)view;
    (void)arg;
    cr_assert(status == 0 || status == -ECANCELED);
    heard += status == 0;
}

static void count_close(struct weir_stream *s, int reason, void *env)
{
    (void)s;
    (void)reason;
    ((struct env *)env)->closes++;
}

/* A message each way, and then one waits for the next, while the other waits for nothing. */
static void converse(struct env *e, struct party *a, struct party *b)
{
    int goal = heard + 4;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_read_until(a->s, "\n", 1, 0, hear, NULL), 0);
        cr_assert_eq(weir_read_bytes(b->s, 6, hear, NULL), 0);
        send_text(a, "hello\n");
        send_text(b, "hello\n");
        run_until(e, &heard, goal - 2 + 2 * i);
    }
    cr_assert_eq(weir_read_until(a->s, "\n", 1, 0, hear, NULL), 0);
}

/* Bytes that each of many idle streams takes, in all: what the library and the world keep for it, and the allocator.
 * (In the simulator the network is in memory, too.) */
static size_t idle_size(struct env *e, const struct weir_stream_options *opt)
{
    static struct party parties[IDLE];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    cr_assert_gt(files.rlim_max, IDLE + 100, "the limit on descriptors is too low for this test (ulimit -n)");
    size_t before = in_use();
    for (int i = 0; i < IDLE; i += 2) {
        open_pair(e, opt, &parties[i], &parties[i + 1]);
        converse(e, &parties[i], &parties[i + 1]);
        weir_stream_on_close(parties[i].s, count_close, e);
        weir_stream_on_close(parties[i + 1].s, count_close, e);
    }
    run_idle(e);
    size_t each = e->sim ? 0 : (in_use() - before) / IDLE;
    for (int i = 0; i < IDLE; i++)
        weir_stream_close(parties[i].s, WEIR_CLOSE_RESET); /* their ports are free for the tests to come */
    run_until(e, &e->closes, IDLE);
    return each;
}

ON_ALL_WORLDS(counted, an_idle_stream_is_small)
{
    size_t each = idle_size(e, NULL);
    cr_assert_leq(each, 512, "%zu bytes for each", each);
}

ON_ALL_WORLDS(counted, limits_of_time_take_little_more)
{
    struct weir_stream_options opt = {.size = sizeof opt, .idle_timeout_ns = 3600000000000u};
    size_t each = idle_size(e, &opt);
    cr_assert_leq(each, 512 + 192, "%zu bytes for each", each);
}

/* ---- Writing back what was read ---- */

enum { BULK = 1 << 20 };

static unsigned char bulk[BULK];
static int returned;
static uint64_t small;
static size_t widest;

static void write_back(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status != 0)
        return;
    small += view.len < 4096 ? view.len : 0;
    cr_assert_eq(weir_write(s, view.data, view.len, NULL, NULL), 0);
}

static void compare(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    if (status != 0)
        return;
    cr_assert_leq((size_t)returned + view.len, BULK);
    cr_assert_eq(memcmp(view.data, bulk + returned, view.len), 0, "at byte %d", returned);
    returned += (int)view.len;
    widest = wr_max(widest, view.len);
}

static void begin_bulk(void)
{
    returned = 0;
    small = widest = 0;
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = (unsigned char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

ON_ALL_WORLDS(counted, a_view_that_is_written_back_is_not_copied)
{
    struct party a, b;
    struct weir_loop_stats stats;
    begin_bulk();
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(a.s, compare, NULL), 0);
    cr_assert_eq(weir_read_start(b.s, write_back, NULL), 0);
    cr_assert_eq(weir_write_ref(a.s, bulk, BULK, NULL, NULL, NULL), 0);
    run_until(e, &returned, BULK);
    weir_loop_stats(e->loop, &stats, sizeof stats);
    if (!e->sim) /* where the pool may be tiny, and half of it stays free */
        cr_assert_leq(stats.copied_out, small);
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(counted, a_small_one_is_not_copied_either)
{
    struct party a, b;
    struct weir_loop_stats stats;
    returned = 0;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(a.s, compare, NULL), 0);
    cr_assert_eq(weir_read_start(b.s, write_back, NULL), 0);
    for (int i = 1; i <= 10; i++) {
        cr_assert_eq(weir_write_ref(a.s, bulk + returned, 64, NULL, NULL, NULL), 0);
        run_until(e, &returned, 64 * i);
    }
    weir_loop_stats(e->loop, &stats, sizeof stats);
    if (!e->sim)
        cr_assert_eq(stats.copied_out, 0);
    close_pair(e, &a, &b);
}

static void pour(struct env *e, struct party *a, struct party *b, weir_read_fn *fn)
{
    begin_bulk();
    open_pair(e, NULL, a, b);
    cr_assert_eq(weir_read_start(b->s, fn, NULL), 0);
    cr_assert_eq(weir_write_ref(a->s, bulk, BULK, NULL, NULL, NULL), 0);
    run_until(e, &returned, BULK);
}

/* Of the shared buffers one receive fills several, if much comes. */
static void flood(struct env *e)
{
    struct party a, b;
    pour(e, &a, &b, compare);
    cr_assert_geq(widest, 4 * e->loop->world->pool.size);
    cr_assert_eq(wr_bufpool_available(&e->loop->world->pool), e->loop->world->pool.count);
    close_pair(e, &a, &b);
}

Test(counted, a_flood_comes_by_several_buffers_at_a_time)
{
    env_run("epoll", flood);
}

/* What comes of a long message once some of it is there is received to where it stays. */
static void gather(struct env *e)
{
    enum { LONG = 1 << 20 };
    struct party a, b;
    struct weir_loop_stats before, after;
    struct weir_frame frame = {.size = sizeof frame, .width = 4, .max = LONG};
    begin_bulk();
    cr_assert_leq(LONG, BULK);
    memset(bulk, 0, 4);
    bulk[1] = (LONG - 4) >> 16, bulk[2] = (LONG - 4) >> 8 & 0xff, bulk[3] = (LONG - 4) & 0xff;
    for (int framed = 0; framed < 2; framed++) {
        open_pair(e, NULL, &a, &b);
        returned = 0;
        weir_loop_stats(e->loop, &before, sizeof before);
        int rc = framed ? weir_read_frame(b.s, &frame, compare, NULL) : weir_read_bytes(b.s, LONG, compare, NULL);
        cr_assert_eq(rc, 0);
        cr_assert_eq(weir_write_ref(a.s, bulk, LONG, NULL, NULL, NULL), 0);
        run_until(e, &returned, LONG);
        weir_loop_stats(e->loop, &after, sizeof after);
        cr_assert_lt(after.copied_in - before.copied_in, LONG * 3 / 4);
        close_pair(e, &a, &b);
    }
}

Test(counted, most_of_a_long_message_is_not_copied)
{
    env_run("io_uring", gather);
    env_run("epoll", gather);
}

ON_ALL_WORLDS(counted, who_announces_much_is_given_little)
{
    enum { SAID = 50000 };
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 1 << 28};
    struct party a, b;
    struct weir_loop_stats stats;
    begin_bulk();
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 1 << 28, compare, NULL), 0);
    cr_assert_eq(weir_write_ref(a.s, bulk, SAID, NULL, NULL, NULL), 0);
    run_idle(e);
    weir_loop_stats(e->loop, &stats, sizeof stats);
    cr_assert_lt(stats.memory, SAID * 20);
    close_pair(e, &a, &b);
}

enum { SCRAPS = 64 };

static struct weir_hold *scrap[SCRAPS];
static int scraps;

static void keep_a_scrap(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    uint32_t size = weir_stream_loop(s)->world->pool.size;
    struct weir_view first = {view.data, 10};
    compare(s, status, view, arg);
    if (status == 0 && view.len > size && scraps < SCRAPS)
        cr_assert_eq(weir_view_hold(s, &first, &scrap[scraps++]), 0);
}

static void keep_scraps(struct env *e)
{
    struct party a, b;
    pour(e, &a, &b, keep_a_scrap);
    cr_assert_gt(scraps, 0);
    cr_assert_eq(wr_bufpool_available(&e->loop->world->pool), e->loop->world->pool.count);
    for (int i = 0; i < scraps; i++)
        cr_assert_eq(weir_view_drop(scrap[i]), 0);
    close_pair(e, &a, &b);
}

Test(counted, a_few_bytes_of_a_flood_do_not_keep_its_buffers)
{
    env_run("epoll", keep_scraps);
}
