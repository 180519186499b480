/* Suite stream_ask: reads that are asked for and taken back, on all three worlds. */
#include <errno.h>

#include "backend.h"
#include "helpers_stream.h"
#include "loop.h"

TestSuite(stream_ask, .timeout = 60);

static const uint64_t MS = 1000000;
static int beats;

static void count_beat(struct weir_timer *timer, void *arg)
{
    (void)timer, (void)arg;
    beats++;
}

static void let_pass(struct env *e, uint64_t ms)
{
    beats = 0;
    cr_assert_eq(weir_timer_start(e->loop, ms * MS, 0, count_beat, NULL, NULL), 0);
    run_until(e, &beats, 1);
}

/* What was stopped is over with all that belonged to it. */
ON_ALL_LAYERS(stream_ask, stop_takes_the_deadline_along)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, weir_now(e->loop) + MS), 0);
    cr_assert_eq(weir_read_stop(b.s), 0);
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    let_pass(e, 3);
    cr_assert_eq(weir_write(a.s, "hello", 5, NULL, NULL), 0);
    run_idle(e);
    expect_log(e, "b read 0 5 hello\n");
    close_pair(e, &a, &b);
}

/* ---- While it connects ---- */

static void dial(struct env *e, struct party *p, const char *name, const struct sockaddr_storage *addr, socklen_t len)
{
    *p = (struct party){.env = e, .name = name};
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = p};
    cr_assert_eq(weir_connect_addr(e->loop, (const struct sockaddr *)addr, len, &opt, on_connect, p, &p->s), 0);
}

static void read_again(struct weir_stream *s, int status, struct weir_view view, void *party)
{
    on_read(s, status, view, party);
    cr_assert_eq(weir_read_bytes(s, 1, on_read, party), 0);
    cr_assert_eq(weir_read_cancel(s), 0);
}

ON_ALL_WORLDS(stream_ask, reads_end_early_while_it_connects)
{
    struct party a, b;
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = deaf_listener(e, 0, &addr, &len);
    dial(e, &a, "a", &addr, len);
    run_idle(e);
    dial(e, &b, "b", &addr, len);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    cr_assert_eq(weir_read_deadline(b.s, weir_now(e->loop) + MS), 0);
    let_pass(e, 3);
    expect_log(e, "a connected 0\nb read ETIMEDOUT\n");
    cr_assert_eq(weir_read_bytes(b.s, 1, read_again, &b), 0);
    cr_assert_eq(weir_read_cancel(b.s), 0);
    run_idle(e);
    expect_log(e, "b read ECANCELED\nb read ECANCELED\n");
    cr_assert_eq(weir_read_bytes(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, ""); /* the others wait */
    weir_stream_close(a.s, WEIR_CLOSE_NOW);
    weir_stream_close(b.s, WEIR_CLOSE_NOW);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    e->loop->world->ops->discard(e->loop->world, listener);
}

static void hang_up(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l, (void)arg;
    cr_assert_eq(status, 0);
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

ON_ALL_WORLDS(stream_ask, who_connects_and_never_reads_hears_the_end)
{
    struct party a;
    struct weir_listener *l;
    struct sockaddr_storage addr;
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&addr};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, hang_up, NULL, &l), 0);
    socklen_t len = sizeof addr;
    cr_assert_eq(weir_listener_address(l, &addr, &len), 0);
    dial(e, &a, "a", &addr, len);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected 0\na closed WEIR_EOF\n");
    weir_listener_close(l);
}

/* ---- While it closes ---- */

/* What comes after a close by FLUSH is dropped: then the peer's end does not stand behind what is buffered. */
ON_ALL_LAYERS(stream_ask, the_end_behind_a_gap_decides_no_match)
{
    static char big[32 << 20];
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1, .max_write_buffer_size = sizeof big};
    struct weir_regex *regex;
    struct party a, b;
    if (weir_regex_open("b+", 2, &regex) == -ENOTSUP)
        return;
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    cr_assert_eq(weir_write(a.s, "xab", 3, NULL, NULL), 0);
    run_idle(e);
    cr_assert_eq(weir_write_ref(b.s, big, sizeof big, NULL, NULL, NULL), 0); /* more than goes out */
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_idle(e);
    cr_assert_eq(weir_write(a.s, "cd", 2, NULL, NULL), 0);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_idle(e);
    cr_assert_eq(weir_read_until_regex(b.s, regex, 0, on_read, &b), WEIR_ECLOSED);
    cr_assert_eq(weir_read_bytes(b.s, 2, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 1 x\nb read 0 2 ab\n");
    weir_regex_close(regex);
    close_pair(e, &a, &b);
}
