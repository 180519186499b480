/* Suite stream_end: half an end, and whole ones of each manner, on all three worlds. (That a stream may be closed in
 * every callback, in every manner, is the matrix's to show.) */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers_stream.h"
#include "stream.h"

TestSuite(stream_end, .timeout = 60);

enum { MUCH = 3 << 20 };

static unsigned char bytes[MUCH];
static size_t came;

static void take(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s;
    (void)arg;
    if (status != 0)
        return;
    expect_bytes(view.data, came, view.len);
    came += view.len;
}

/* As on_read, of bytes that are too many to log. */
static void take_whole(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    expect_bytes(view.data, 0, view.len);
    on_read(s, status, view, arg);
}

static void open_streams(struct env *e, int half_open, struct party *a, struct party *b)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = half_open, .max_buffer_size = MUCH};
    came = 0;
    if (bytes[1] == 0)
        fill_bytes(bytes, 0, MUCH);
    open_narrow_pair(e, &opt, a, b);
}

/* ---- Half an end ---- */

ON_ALL_LAYERS(stream_end, each_way_ends_by_itself)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_shutdown(a.s), -EPIPE, "done before");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read WEIR_EOF\n");
    cr_assert_eq(weir_write_ref(b.s, bytes, MUCH, NULL, on_wrote, &b), 0);
    cr_assert_eq(weir_read_bytes(a.s, MUCH, take_whole, &a), 0);
    run_until_log(e, "a read 0 3145728 \n");
    cr_assert(strstr(e->log, "b wrote 0\n"), "%s", e->log);
    e->log_len = 0;
    cr_assert_eq(weir_shutdown(b.s), 0);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 0 \n");
    cr_assert(!a.closed && !b.closed, "who opened half keeps the rest");
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read WEIR_EOF\n");
    close_pair(e, &a, &b);
    expect_log(e, "a closed 0\nb closed 0\n");
}

ON_ALL_LAYERS(stream_end, a_shutdown_waits_for_what_is_queued)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, bytes, MUCH, NULL, on_wrote, &a), 0);
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_read_until_close(b.s, take_whole, &b), 0);
    run_until_log(e, "b read 0 3145728 \n");
    expect_log(e, "a wrote 0\nb read 0 3145728 \n");
    close_pair(e, &a, &b);
}

/* What it had still to write reaches a peer that has only ended its own half. */
ON_ALL_LAYERS(stream_end, the_peers_half_ends_all_but_what_is_queued)
{
    struct party a, b;
    open_streams(e, 0, &a, &b);
    cr_assert_eq(weir_write_ref(b.s, bytes, MUCH, NULL, on_wrote, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_write(b.s, "late", 4, NULL, NULL), WEIR_ECLOSED);
    cr_assert_eq(weir_read_until_close(a.s, take_whole, &a), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    cr_assert(strstr(e->log, "b wrote 0\n") && strstr(e->log, "a read 0 3145728 \n"), "%s", e->log);
    cr_assert_eq(b.reason, WEIR_EOF);
}

/* ---- The peer's end, of a stream that does not read ---- */

ON_ALL_LAYERS(stream_end, an_idle_stream_hears_of_a_reset)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "a closed 0\nb closed ECONNRESET\n");
}

ON_ALL_LAYERS(stream_end, an_idle_half_open_stream_stays)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(facts_of(&b).closed, 0);
    cr_assert_eq(weir_read_some(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* ---- Flushing ---- */

static void last_words(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    on_read(s, status, view, arg);
    cr_assert_eq(weir_write(s, "the last reply", 14, on_wrote, arg), 0);
    cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_FLUSH), 0);
}

/* A close with bytes unread would be a reset, which overtakes the reply. */
ON_ALL_LAYERS(stream_end, the_last_reply_reaches_a_peer_that_still_sends)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 4, last_words, &b), 0);
    cr_assert_eq(weir_write_ref(a.s, bytes, 4, NULL, NULL, NULL), 0);
    cr_assert_eq(weir_write_ref(a.s, bytes, MUCH, NULL, on_wrote, &a), 0);
    run_until_log(e, "a wrote 0\n");
    cr_assert(strstr(e->log, "b wrote 0\n"), "%s", e->log);
    cr_assert_eq(b.closed, 0, "it waits for the peer's end");
    e->log_len = 0;
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 14 the last reply\n");
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b closed 0\n");
    close_pair(e, &a, &b);
}

/* As a child process has it: the close of this one is no end. The simulator's cannot be shared. */
ON_ALL_LAYERS(stream_end, a_flush_ends_a_socket_that_others_hold)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    int shared = e->sim ? -1 : dup(b.s->in.fd);
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_read_bytes(b.s, 1, last_words, &b), 0);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_until(e, &b.closed, 1);
    run_until_log(e, "a read 0 14 the last reply\n");
    expect_lines(&b, "b read WEIR_EOF\nb wrote 0\nb closed 0\n");
    close_pair(e, &a, &b);
    if (shared >= 0)
        close(shared);
}

ON_ALL_LAYERS(stream_end, a_flush_serves_a_read_that_has_its_bytes)
{
    struct party a, b;
    open_streams(e, 0, &a, &b);
    send_text(&a, "headtail");
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert_eq(strncmp(e->log, "b read 0 4 head\nb read 0 4 tail\n", 32), 0, "%s", e->log);
}

ON_ALL_LAYERS(stream_end, a_flush_ends_a_read_that_has_not)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_write_ref(b.s, bytes, MUCH, NULL, on_wrote, &b), 0);
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), -EBUSY);
    run_idle(e);
    expect_log(e, "b read ECANCELED\n");
    cr_assert_eq(weir_read_bytes(b.s, 4, on_read, &b), WEIR_ECLOSED);
    cr_assert_eq(weir_read_until_close(a.s, take_whole, &a), 0);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_until(e, &b.closed, 1);
    run_until_log(e, "a read 0 3145728 \n");
    cr_assert(strstr(e->log, "b wrote 0\n"), "%s", e->log);
    close_pair(e, &a, &b);
}

/* ---- A socket that is the stream's alone, as an accepted one is ---- */

static weir_read_fn *at_end;

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct party *b = arg;
    cr_assert_eq(status, 0);
    b->s = s;
    cr_assert_eq(weir_read_bytes(s, 1, at_end, b), 0);
    cr_assert_eq(weir_listener_close(l), 0);
}

/* The accepted one, b, reads until the end of a. */
static void accept_one(struct env *e, weir_read_fn *fn, struct party *a, struct party *b)
{
    struct weir_stream_options opt_a = {.size = sizeof opt_a, .on_close = on_close, .on_close_arg = a};
    struct weir_stream_options opt_b = {.size = sizeof opt_b, .on_close = on_close, .on_close_arg = b, .half_open = 1};
    struct weir_listen_options opt = {.size = sizeof opt, .stream = &opt_b};
    struct sockaddr_storage addr;
    struct weir_listener *l;
    *a = (struct party){.env = e, .name = "a"};
    *b = (struct party){.env = e, .name = "b"};
    at_end = fn;
    e->log_len = 0;
    opt.addr = (struct sockaddr *)&addr;
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, b, &l), 0);
    cr_assert_eq(weir_listener_address(l, &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, opt.addr, opt.addr_len, &opt_a, on_connect, a, &a->s), 0);
    while (!b->s)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000u), 0);
    run_idle(e);
    expect_log(e, "a connected 0\n");
    cr_assert_eq(weir_read_until_close(a->s, on_read, a), 0);
}

static uint64_t ops_until_closed(struct env *e, struct party *a, struct party *b)
{
    uint64_t before = e->loop->world->started;
    cr_assert_eq(weir_shutdown(a->s), 0);
    run_until(e, &b->closed, 1);
    run_until(e, &a->closed, 1);
    expect_lines(b, "b read WEIR_EOF\nb wrote 0\nb closed 0\n");
    expect_lines(a, "a read 0 14 the last reply\na closed WEIR_EOF\n");
    return e->loop->world->started - before;
}

/* a: shutdown, perhaps receives, close; b: send, close, and no shutdown between. */
ON_ALL_WORLDS(stream_end, a_close_is_the_fin_where_nobody_else_can_hold_the_socket)
{
    struct party a, b;
    accept_one(e, last_words, &a, &b);
    cr_assert(a.s->out.traits & WR_FD_SOLE, "who connects is shown no socket either");
    uint64_t alone = ops_until_closed(e, &a, &b);
    accept_one(e, last_words, &a, &b);
    b.s->out.traits &= (uint8_t)~WR_FD_SOLE;
    cr_assert_eq(ops_until_closed(e, &a, &b), alone + 1);
}

static uint64_t ops_to_flush_without_memory(struct env *e, uint8_t traits)
{
    struct party a, b;
    accept_one(e, on_read, &a, &b);
    b.s->out.traits &= traits;
    b.s->end = -ENOMEM; /* as where what came could not be kept */
    uint64_t before = e->loop->world->started;
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    return e->loop->world->started - before;
}

/* Input that was not received makes a reset of the close: what was said before has to leave by itself. */
ON_ALL_WORLDS(stream_end, a_close_is_no_fin_where_input_may_be_left)
{
    uint64_t shared = ops_to_flush_without_memory(e, (uint8_t)~WR_FD_SOLE);
    cr_assert_eq(ops_to_flush_without_memory(e, UINT8_MAX), shared);
}

static void expect_nodelay(struct env *e, int keep_delay)
{
    struct party a = {.env = e, .name = "a"};
    struct weir_stream_options opt = {
        .size = sizeof opt, .on_close = on_close, .on_close_arg = &a, .keep_delay = keep_delay};
    struct sockaddr_storage addr;
    socklen_t len, value_len = sizeof(int);
    int value;
    cr_assert_eq(weir_addr_parse("127.0.0.1:1", &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    if (!e->sim) { /* which has no packets to delay */
        cr_assert_eq(getsockopt(a.s->out.fd, IPPROTO_TCP, TCP_NODELAY, &value, &value_len), 0);
        cr_assert_eq(value != 0, !keep_delay);
    }
    run_until(e, &a.closed, 1);
}

ON_ALL_WORLDS(stream_end, who_connects_does_not_delay_unless_asked_to)
{
    expect_nodelay(e, 0);
    expect_nodelay(e, 1);
}

/* A child that goes on without another program, as long as the test does: it is killed if that fails. The simulator has
 * none. */
static pid_t fork_a_holder(const struct env *e)
{
    pid_t parent = getpid(), child = e->sim ? -1 : fork();
    cr_assert(e->sim || child >= 0);
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent)
        pause();
    _exit(0);
}

static void end_holder(pid_t child)
{
    if (child < 0)
        return;
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

ON_ALL_WORLDS(stream_end, a_flush_ends_a_socket_that_a_child_holds)
{
    struct party a, b;
    accept_one(e, last_words, &a, &b);
    pid_t child = fork_a_holder(e);
    ops_until_closed(e, &a, &b);
    end_holder(child);
}

static pid_t late_child;

static void close_and_fork(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct party *p = arg;
    on_read(s, status, view, arg);
    cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_FLUSH), 0);
    late_child = fork_a_holder(p->env);
}

/* The flush has left its FIN to the close, and that is none any more. */
ON_ALL_WORLDS(stream_end, a_flush_ends_a_socket_that_a_child_holds_since)
{
    struct party a, b;
    accept_one(e, close_and_fork, &a, &b);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&b, "b read WEIR_EOF\nb closed 0\n");
    end_holder(late_child);
}

/* ---- One end after the other ---- */

static void hasten(struct env *e, int manner, const char *peer_log)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, bytes, MUCH, NULL, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0, "which it does");
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_stream_close(a.s, manner), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a wrote ECANCELED\na closed 0\n");
    cr_assert_eq(weir_read_start(b.s, take, NULL), 0);
    run_until_log(e, peer_log);
    run_idle(e);
    expect_log(e, peer_log);
    cr_assert_lt(came, MUCH);
    close_pair(e, &a, &b);
}

/* What is in the peer's hands already, or on its way there, it still gets. Over a layer that is no clean end. */
ON_ALL_LAYERS(stream_end, a_flush_may_be_cut_short)
{
    hasten(e, WEIR_CLOSE_NOW, e->layer ? "b closed WEIR_ETRUNCATED\n" : "");
}

ON_ALL_LAYERS(stream_end, or_made_a_reset)
{
    hasten(e, WEIR_CLOSE_RESET, "b closed ECONNRESET\n");
}

/* What the kernel has not sent is dropped, too. */
ON_ALL_LAYERS(stream_end, a_reset_drops_what_is_queued)
{
    struct party a, b;
    open_streams(e, 1, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, bytes, MUCH, NULL, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ECANCELED\na wrote ECANCELED\na closed 0\n");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    cr_assert(strstr(e->log, "b read ECONNRESET") && strstr(e->log, "b closed ECONNRESET\n"), "%s", e->log);
}
