/* Streams, each test on all three worlds: the log of callbacks must be the same everywhere. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "helpers_stream.h"

ON_ALL_LAYERS(stream, one_read_of_each_kind)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    send_text(&a, "hello\r\nworldabcdefrest");
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 7 hello\r\n\n");
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    cr_assert_eq(e->log_len, 0, "called back from inside the call");
    run_idle(e);
    expect_log(e, "b read 0 5 world\n");
    cr_assert_eq(weir_read_some(b.s, 3, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_read_bytes(b.s, 0, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 3 abc\nb read 0 0 \n");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert_eq(a.reason, 0);
    cr_assert_eq(b.reason, WEIR_EOF);
}

ON_ALL_LAYERS(stream, writes_complete_in_order)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, "one", 3, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "", 0, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "two", 3, on_wrote, &a), 0);
    cr_assert_eq(e->log_len, 0);
    run_idle(e);
    expect_log(e, "a wrote 0\na wrote 0\na wrote 0\n");
    cr_assert_eq(weir_write(a.s, NULL, 0, on_wrote, &a), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    cr_assert_eq(weir_read_bytes(b.s, 6, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 6 onetwo\n");
    close_pair(e, &a, &b);
}

static void on_release(const void *data, size_t len, void *arg)
{
    struct party *p = arg;
    note(p->env, "%s released %.*s\n", p->name, (int)len, (const char *)data);
}

ON_ALL_LAYERS(stream, borrowed_bytes_are_released_once)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write_ref(a.s, "borrowed", 8, on_release, on_wrote, &a), 0);
    cr_assert_eq(weir_write_ref(a.s, "", 0, on_release, on_wrote, &a), 0);
    run_idle(e);
    expect_log(e, "a released borrowed\na released \na wrote 0\na wrote 0\n");
    cr_assert_eq(weir_write_ref(a.s, "lost", 4, on_release, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    cr_assert_eq(weir_write_ref(a.s, "never", 5, on_release, on_wrote, &a), WEIR_ECLOSED);
    run_until(e, &a.closed, 1);
    expect_log(e, "a released lost\na wrote ECANCELED\na closed 0\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(stream, close_answers_everything_in_order)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    run_idle(e);
    cr_assert_eq(weir_write(a.s, "x", 1, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "y", 1, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 5, on_read, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    cr_assert_eq(weir_write(a.s, "z", 1, on_wrote, &a), WEIR_ECLOSED);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ECANCELED\na wrote ECANCELED\na wrote ECANCELED\na closed 0\n");
    run_until(e, &b.closed, 1);
    expect_log(e, "b closed WEIR_EOF\n");
}

ON_ALL_LAYERS(stream, flush_delivers_everything_then_closes)
{
    struct party a, b;
    static char big[700000];
    memset(big, 'q', sizeof big);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, big, sizeof big, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "a wrote 0\n"));
    cr_assert(strstr(e->log, "b read 0 700000 \n"));
    cr_assert_eq(a.reason, 0);
}

ON_ALL_LAYERS(stream, half_open_peer_gets_its_answer)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    open_pair(e, &opt, &a, &b);
    send_text(&a, "question");
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_write(a.s, "x", 1, NULL, NULL), -EPIPE);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 8 question\n");
    cr_assert_eq(weir_read_bytes(b.s, 1, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read WEIR_EOF\n");
    send_text(&b, "answer");
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_until_close(a.s, on_read, &a), 0);
    run_idle(e);
    cr_assert(strstr(e->log, "a read 0 6 answer\n"));
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream, reset_is_told_as_such)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read ECONNRESET\nb closed ECONNRESET\n"), "%s", e->log);
}

ON_ALL_LAYERS(stream, limits_and_misuse_have_codes)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .max_buffer_size = 100, .max_write_buffer_size = 10};
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_bytes(a.s, 101, on_read, &a), WEIR_EBUFFULL);
    cr_assert_eq(weir_read_until(a.s, "", 0, 0, on_read, &a), -EINVAL);
    cr_assert_eq(weir_read_until(a.s, "abc", 3, 2, on_read, &a), -EINVAL);
    cr_assert_eq(weir_read_until(a.s, "abc", 3, 101, on_read, &a), WEIR_EBUFFULL);
    cr_assert_eq(weir_read_bytes(a.s, 3, NULL, NULL), -EINVAL);
    cr_assert_eq(weir_read_bytes(NULL, 3, on_read, &a), -EINVAL);
    cr_assert_eq(weir_read_bytes(a.s, 3, on_read, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 3, on_read, &a), -EBUSY);
    cr_assert_eq(weir_read_stop(a.s), -EINVAL);
    cr_assert_eq(weir_write(a.s, "0123456789a", 11, on_wrote, &a), -ENOBUFS);
    cr_assert_eq(weir_write(a.s, "01234", 5, NULL, NULL), 0);
    cr_assert_eq(weir_write(a.s, "012345", 6, NULL, NULL), -ENOBUFS);
    cr_assert_eq(weir_write(a.s, "56789", 5, NULL, NULL), 0);
    cr_assert_eq(weir_stream_close(a.s, 7), -EINVAL);
    cr_assert_eq(weir_stream_close(NULL, 0), 0);
    cr_assert_eq(weir_read_bytes(b.s, 10, on_read, &b), 0);
    run_idle(e);
    expect_log(e, "b read 0 10 0123456789\n");
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream, until_beyond_max_closes)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_until(b.s, "def", 3, 5, on_read, &b), 0);
    send_text(&a, "abcdef");
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert(strstr(e->log, "b read WEIR_EUNSATISFIABLE\nb closed WEIR_EUNSATISFIABLE\n"), "%s", e->log);
}

/* ---- A chain of reads from the buffer ---- */

enum { LINES = 2000 };
static int lines_read, depth, deepest;

static void on_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    cr_assert_eq(status, 0);
    cr_assert_eq(view.len, 2);
    depth++;
    deepest = depth > deepest ? depth : deepest;
    if (++lines_read < LINES)
        cr_assert_eq(weir_read_until(s, "\n", 1, 0, on_line, arg), 0);
    depth--;
}

ON_ALL_LAYERS(stream, buffered_reads_run_flat)
{
    struct party a, b;
    lines_read = deepest = 0;
    open_pair(e, NULL, &a, &b);
    for (int i = 0; i < LINES; i++)
        send_text(&a, "l\n");
    cr_assert_eq(weir_read_until(b.s, "\n", 1, 0, on_line, &b), 0);
    run_until(e, &lines_read, LINES);
    cr_assert_eq(deepest, 1);
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(stream, connect_refused_then_closed)
{
    struct party a = {.env = e, .name = "a"};
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &a};
    cr_assert_eq(weir_addr_parse("127.0.0.1:1", &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    cr_assert_eq(weir_write(a.s, "early", 5, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a read ECONNREFUSED\na wrote ECONNREFUSED\na connected ECONNREFUSED\na closed ECONNREFUSED\n");
}

static struct party *accepted_party;

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l;
    struct env *e = arg;
    cr_assert_eq(status, 0);
    note(e, "accepted\n");
    accepted_party->env = e;
    accepted_party->name = "b";
    accepted_party->s = s;
    weir_stream_on_close(s, on_close, accepted_party);
    cr_assert_eq(weir_read_bytes(s, 5, on_read, accepted_party), 0);
}

ON_ALL_WORLDS(stream, listen_connect_write_while_connecting)
{
    struct party a = {.env = e, .name = "a"}, b = {0};
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_listener *l;
    accepted_party = &b;
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &len), 0);
    struct weir_listen_options lopt = {.size = sizeof lopt, .addr = (struct sockaddr *)&addr, .addr_len = len};
    cr_assert_eq(weir_listen(e->loop, &lopt, on_accept, e, &l), 0);
    cr_assert_eq(weir_listener_address(l, &addr, &len), 0);
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &a};
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    cr_assert_eq(weir_write(a.s, "early", 5, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    cr_assert(strstr(e->log, "b read 0 5 early\n"));
    cr_assert_lt(strstr(e->log, "a connected 0\n"), strstr(e->log, "a wrote 0\n"));
    cr_assert_eq(weir_listener_close(l), 0);
}

/* A connected socket is no listener, a listening one is no stream; both stay the caller's. */
ON_ALL_WORLDS(stream, a_socket_is_taken_for_what_it_is)
{
    struct party a, b;
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_listener *l;
    struct weir_stream *s;
    int fds[2];
    if (e->sim)
        cr_assert_eq(weir_sim_pair(e->sim, fds), 0);
    else
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct weir_listen_options opt = {.size = sizeof opt, .fd = fds[0]};
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &l), -EINVAL);
    cr_assert_eq(weir_stream_open(e->loop, fds[0], NULL, &a.s), 0);
    cr_assert_eq(weir_stream_open(e->loop, fds[1], NULL, &b.s), 0);
    weir_stream_close(a.s, WEIR_CLOSE_NOW);
    weir_stream_close(b.s, WEIR_CLOSE_NOW);
    run_idle(e);
    if (e->sim)
        return; /* it gives out no listening descriptor */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(weir_addr_parse("unix:@weir-test-stream", &addr, &len), 0);
    cr_assert(bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 1) == 0);
    cr_assert_eq(weir_stream_open(e->loop, fd, NULL, &s), -EINVAL);
    close(fd);
}

ON_ALL_WORLDS(stream, addresses_that_cannot_be_have_codes)
{
    struct sockaddr_storage addr;
    struct weir_listener *l, *other;
    struct weir_stream *s;
    struct sockaddr strange = {.sa_family = 77};
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&addr};
    cr_assert_eq(weir_addr_parse("127.0.0.1:65536", &addr, &opt.addr_len), -EINVAL);
    cr_assert_eq(weir_addr_parse("no.such.name:80", &addr, &opt.addr_len), -EINVAL);
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &l), 0);
    cr_assert_eq(weir_listener_address(l, &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &other), -EADDRINUSE);
    cr_assert_eq(weir_connect_addr(e->loop, &strange, sizeof strange, NULL, on_connect, e, &s), -EAFNOSUPPORT);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, 1, NULL, on_connect, e, &s), -EINVAL);
    opt.addr_len = 1;
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &other), -EINVAL);
    opt.addr = &strange;
    opt.addr_len = sizeof strange;
    cr_assert_eq(weir_listen(e->loop, &opt, on_accept, e, &other), -EAFNOSUPPORT);
    cr_assert_eq(weir_listener_close(l), 0);
    run_idle(e);
    expect_log(e, "");
}
