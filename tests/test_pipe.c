/* Streams that are no sockets, each test on all three worlds. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "helpers_stream.h"

TestSuite(pipe, .timeout = 60);

static volatile sig_atomic_t signals;

static void count_signal(int signo)
{
    (void)signo;
    signals++;
}

/* A SIGPIPE would be counted. */
static void open_counted_pipe(struct env *e, struct party *r, struct party *w)
{
    signal(SIGPIPE, count_signal);
    signals = 0;
    open_pipe(e, r, w);
}

ON_ALL_WORLDS(pipe, is_read_in_every_manner)
{
    struct party r, w;
    open_pipe(e, &r, &w);
    cr_assert_eq(weir_write(w.s, "hel", 3, NULL, NULL), 0);
    cr_assert_eq(weir_write(w.s, "lo world", 8, on_wrote, &w), 0);
    cr_assert_eq(weir_read_until(r.s, " ", 1, 0, on_read, &r), 0);
    run_idle(e);
    cr_assert_eq(weir_read_bytes(r.s, 3, on_read, &r), 0);
    run_idle(e);
    expect_log(e, "w wrote 0\nr read 0 6 hello \nr read 0 3 wor\n");
    cr_assert_eq(weir_stream_close(w.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_until_close(r.s, on_read, &r), 0);
    run_until(e, &r.closed, 1);
    expect_log(e, "w closed 0\nr read 0 2 ld\nr closed WEIR_EOF\n");
}

static char big[1 << 20];
static size_t came;

static void check_big(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    cr_assert_eq(status, 0);
    cr_assert_eq(view.len, sizeof big);
    cr_assert_eq(memcmp(view.data, big, sizeof big), 0);
    came = view.len;
}

ON_ALL_WORLDS(pipe, takes_a_big_write)
{
    struct party r, w;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 31 + i / 1000);
    came = 0;
    open_pipe(e, &r, &w);
    cr_assert_eq(weir_write(w.s, big, sizeof big, on_wrote, &w), 0);
    run_idle(e);
    expect_log(e, ""); /* far more than a pipe holds */
    cr_assert_eq(weir_read_bytes(r.s, sizeof big, check_big, NULL), 0);
    run_idle(e);
    cr_assert_eq(came, sizeof big);
    expect_log(e, "w wrote 0\n");
    close_pair(e, &r, &w);
}

ON_ALL_WORLDS(pipe, idle_reader_notices_the_end)
{
    struct party r, w;
    open_pipe(e, &r, &w);
    run_idle(e);
    cr_assert_eq(weir_stream_close(w.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &r.closed, 1);
    expect_log(e, "w closed 0\nr closed WEIR_EOF\n");
}

ON_ALL_WORLDS(pipe, idle_writer_notices_the_end)
{
    struct party r, w;
    open_counted_pipe(e, &r, &w);
    run_idle(e);
    cr_assert_eq(weir_stream_close(r.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &w.closed, 1);
    expect_log(e, "r closed 0\nw closed EPIPE\n");
    cr_assert_eq(signals, 0);
}

ON_ALL_WORLDS(pipe, writes_that_wait_fail_when_the_reader_goes)
{
    struct party r, w;
    open_counted_pipe(e, &r, &w);
    cr_assert_eq(weir_write(w.s, big, sizeof big, on_wrote, &w), 0);
    run_idle(e);
    cr_assert_eq(weir_stream_close(r.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &w.closed, 1);
    expect_log(e, "r closed 0\nw wrote EPIPE\nw closed EPIPE\n");
    cr_assert_eq(signals, 0);
}

/* The end of what was written comes with the close, and at once: nobody waits for an answer on a pipe. */
ON_ALL_WORLDS(pipe, flush_ends_with_the_last_byte)
{
    struct party r, w;
    open_pipe(e, &r, &w);
    uint64_t begun = weir_now(e->loop);
    cr_assert_eq(weir_write(w.s, big, 300000, on_wrote, &w), 0);
    cr_assert_eq(weir_stream_close(w.s, WEIR_CLOSE_FLUSH), 0);
    cr_assert_eq(weir_read_bytes(r.s, 300000, on_read, &r), 0);
    run_until(e, &r.closed, 1);
    cr_assert(strstr(e->log, "w wrote 0\n") && strstr(e->log, "r read 0 300000 \n"), "%s", e->log);
    cr_assert(w.closed && w.reason == 0 && r.reason == WEIR_EOF);
    if (e->sim)
        cr_assert_lt(weir_now(e->loop) - begun, 1000000000);
}

ON_ALL_WORLDS(pipe, is_a_stream_like_others)
{
    struct party r, w;
    struct sockaddr_storage addr;
    socklen_t len;
    open_pipe(e, &r, &w);
    cr_assert_eq(weir_stream_address(r.s, 0, &addr, &len), -ENOTSOCK);
    cr_assert_eq(weir_stream_set_nodelay(w.s, 0), 0);
    cr_assert_eq(weir_stream_connect(w.s, (struct sockaddr *)&addr, sizeof addr, on_connect, &w), -EISCONN);
    cr_assert_eq(weir_stream_close(w.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &r.closed, 1);
    expect_log(e, "w closed 0\nr closed WEIR_EOF\n");
}

/* What goes one way only refuses the other in the call, even for nothing, and is none the worse for it. */
ON_ALL_WORLDS(pipe, goes_one_way)
{
    struct party r, w;
    struct iovec piece = {"x", 1};
    char memory[4];
    open_pipe(e, &r, &w);
    cr_assert_eq(weir_write(r.s, "x", 1, on_wrote, &r), -EBADF);
    cr_assert_eq(weir_write(r.s, NULL, 0, on_wrote, &r), -EBADF);
    cr_assert_eq(weir_writev(r.s, &piece, 1, on_wrote, &r), -EBADF);
    cr_assert_eq(weir_write_ref(r.s, "x", 1, NULL, on_wrote, &r), -EBADF);
    cr_assert_eq(weir_shutdown(r.s), -EBADF);
    cr_assert_eq(weir_read_bytes(w.s, 1, on_read, &w), -EBADF);
    cr_assert_eq(weir_read_bytes(w.s, 0, on_read, &w), -EBADF);
    cr_assert_eq(weir_read_into(w.s, memory, sizeof memory, 1, on_read, &w), -EBADF);
    cr_assert_eq(weir_read_until_close(w.s, on_read, &w), -EBADF);
    cr_assert_eq(weir_read_start(w.s, on_read, &w), -EBADF);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_read_bytes(r.s, 2, on_read, &r), 0);
    cr_assert_eq(weir_write(w.s, "ok", 2, on_wrote, &w), 0);
    cr_assert_eq(weir_shutdown(w.s), -ENOTSOCK, "its FIN is its close");
    run_idle(e);
    expect_log(e, "w wrote 0\nr read 0 2 ok\n");
    close_pair(e, &r, &w);
}

/* ---- Terminals, on the worlds that have them ---- */

static void talk_over_a_terminal(struct env *e)
{
    struct party terminal, master;
    struct termios mode;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0);
    int slave = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC), kept = dup(slave);
    cr_assert(tcgetattr(slave, &mode) == 0);
    mode.c_lflag &= ~(tcflag_t)ECHO;
    cr_assert(tcsetattr(slave, TCSANOW, &mode) == 0);
    open_party(e, &master, "master", fd, NULL);
    open_party(e, &terminal, "terminal", slave, NULL);
    cr_assert_eq(weir_read_until(terminal.s, "\n", 1, 0, on_read, &terminal), 0);
    cr_assert_eq(weir_read_until(master.s, "\r\n", 2, 0, on_read, &master), 0);
    cr_assert_eq(weir_write(master.s, "typed\nmore", 10, NULL, NULL), 0);
    run_until_log(e, "\n\n"); /* the kernel passes bytes on when it has the time */
    expect_log(e, "terminal read 0 6 typed\n\n");
    cr_assert_eq(weir_write(terminal.s, "shown\n", 6, NULL, NULL), 0);
    run_until_log(e, "\n\n");
    expect_log(e, "master read 0 7 shown\r\n\n");
    cr_assert_eq(weir_shutdown(terminal.s), -ENOTSOCK);
    cr_assert_eq(fcntl(kept, F_GETFL) & O_NONBLOCK, 0);
    close(kept);
    cr_assert_eq(weir_stream_close(terminal.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &master.closed, 1);
    expect_log(e, "terminal closed 0\nmaster closed WEIR_EOF\n");
}

Test(pipe, terminal_uring)
{
    env_run("io_uring", talk_over_a_terminal);
}

Test(pipe, terminal_epoll)
{
    env_run("epoll", talk_over_a_terminal);
}

/* ---- What is no stream ---- */

static void refuse_files(struct env *e)
{
    static const char *const names[] = {"/proc/self/exe", "/", "/dev/null", "/dev/zero"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct weir_stream *s;
        int fd = open(names[i], O_RDONLY | O_CLOEXEC), flags = fcntl(fd, F_GETFL);
        cr_assert_eq(weir_stream_open(e->loop, fd, NULL, &s), -ENOTSUP, "%s", names[i]);
        cr_assert_eq(fcntl(fd, F_GETFL), flags);
        close(fd);
        fd = open(names[i], O_PATH | O_CLOEXEC);
        cr_assert_eq(weir_stream_open(e->loop, fd, NULL, &s), -EBADF, "%s", names[i]);
        close(fd);
    }
}

Test(pipe, files_are_refused_uring)
{
    env_run("io_uring", refuse_files);
}

Test(pipe, files_are_refused_epoll)
{
    env_run("epoll", refuse_files);
}
