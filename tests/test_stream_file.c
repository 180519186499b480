/* Suite stream_file: weir_write_file, each test on all three worlds. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helpers_stream.h"

TestSuite(stream_file, .timeout = 60);

enum { SMALL = 1000, LARGE = 3 << 20 };

static unsigned char bytes[LARGE], got[LARGE + 100];
static size_t got_len;
static int file, ended;

static void make_file(size_t len)
{
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    file = memfd_create("bytes", MFD_CLOEXEC);
    cr_assert_geq(file, 0);
    cr_assert_eq(pwrite(file, bytes, len, 0), (ssize_t)len);
    got_len = 0;
    ended = 0;
}

static void released(int fd, void *party)
{
    struct party *p = party;
    cr_assert_eq(fd, file);
    note(p->env, "%s released\n", p->name);
}

static void gather(struct weir_stream *s, int status, struct weir_view view, void *party)
{
    (void)s;
    (void)party;
    if (status < 0) {
        ended = status;
        return;
    }
    cr_assert_leq(view.len, sizeof got - got_len);
    memcpy(got + got_len, view.data, view.len);
    got_len += view.len;
}

static void turn_until_got(struct env *e, size_t len)
{
    while (got_len < len)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
    cr_assert_eq(got_len, len);
}

static void send_file_between_words(struct env *e, size_t len)
{
    struct party a, b;
    make_file(len + 10);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, gather, &b), 0);
    cr_assert_eq(weir_write(a.s, "head", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_write_file(a.s, file, 10, len, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "tail", 4, on_wrote, &a), 0);
    expect_log(e, "");
    turn_until_got(e, len + 8);
    run_idle(e);
    expect_log(e, "a wrote 0\na released\na wrote 0\na wrote 0\n");
    cr_assert_eq(memcmp(got, "head", 4), 0);
    cr_assert_eq(memcmp(got + 4, bytes + 10, len), 0);
    cr_assert_eq(memcmp(got + 4 + len, "tail", 4), 0);
    close(file);
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(stream_file, a_large_one_goes_out_in_order)
{
    send_file_between_words(e, LARGE - 10);
}

ON_ALL_WORLDS(stream_file, the_smallest_large_one_goes_out_in_order)
{
    send_file_between_words(e, 16385);
}

static void wrote_first(struct weir_stream *s, int status, void *party)
{
    struct party *p = party;
    (void)s;
    note(p->env, "%s wrote first %d\n", p->name, status);
}

/* All that is small leaves as one: the callbacks come in one turn, and a release before its own. */
ON_ALL_WORLDS(stream_file, a_small_one_goes_out_in_order)
{
    struct party a, b;
    make_file(SMALL + 10);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, gather, &b), 0);
    cr_assert_eq(weir_write(a.s, "head", 4, wrote_first, &a), 0);
    cr_assert_eq(weir_write_file(a.s, file, 10, SMALL, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "tail", 4, NULL, NULL), 0);
    expect_log(e, "");
    turn_until_got(e, SMALL + 8);
    run_idle(e);
    expect_log(e, "a released\na wrote first 0\na wrote 0\n");
    cr_assert_eq(memcmp(got + 4, bytes + 10, SMALL), 0);
    close(file);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_file, nothing_of_one_completes)
{
    struct party a, b;
    make_file(SMALL);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write_file(a.s, file, SMALL, 0, released, on_wrote, &a), 0);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "a released\na wrote 0\n");
    cr_assert_eq(weir_write_file(a.s, file, 0, 0, NULL, NULL, NULL), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, LARGE / 2, released, on_wrote, &a), WEIR_ETRUNCATED);
    cr_assert_eq(ftruncate(file, LARGE), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, 0, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, 20000, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, 0, released, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(b.s, 20000, on_read, &b), 0);
    run_idle(e);
    cr_assert_not_null(strstr(e->log, "b read 0 20000 "));
    e->log_len = 0;
    e->log[0] = '\0';
    close(file);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_file, what_cannot_be_sent_is_refused)
{
    struct party a, b;
    char name[] = "/tmp/weir-file-XXXXXX";
    int pipe[2], only_written;
    make_file(SMALL);
    only_written = mkstemp(name);
    close(only_written);
    only_written = open(name, O_WRONLY | O_CLOEXEC);
    unlink(name);
    cr_assert_eq(pipe2(pipe, O_CLOEXEC), 0);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write_file(NULL, file, 0, 1, released, on_wrote, &a), -EINVAL);
    cr_assert_eq(weir_write_file(a.s, -1, 0, 1, released, on_wrote, &a), -EBADF);
    cr_assert_eq(weir_write_file(a.s, only_written, 0, 0, released, on_wrote, &a), -EBADF);
    cr_assert_eq(weir_write_file(a.s, pipe[0], 0, 1, released, on_wrote, &a), -EINVAL);
    cr_assert_eq(weir_write_file(a.s, file, UINT64_MAX, 2, released, on_wrote, &a), -EINVAL);
    cr_assert_eq(weir_write_file(a.s, file, SMALL, 1, released, on_wrote, &a), WEIR_ETRUNCATED);
    cr_assert_eq(weir_write_file(a.s, file, 0, UINT64_MAX, released, on_wrote, &a), WEIR_ETRUNCATED);
    run_idle(e);
    expect_log(e, "");
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, 1, released, on_wrote, &a), -EPIPE);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_log(e, "b closed WEIR_EOF\na closed WEIR_EOF\n");
    close(pipe[0]);
    close(pipe[1]);
    close(only_written);
    close(file);
}

/* What stands before the cut arrives, and nothing is made up behind it. */
ON_ALL_WORLDS(stream_file, one_that_shrinks_ends_the_stream_where_it_ends)
{
    struct party a, b;
    make_file(LARGE);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, gather, &b), 0);
    cr_assert_eq(weir_write(a.s, "head", 4, NULL, NULL), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, LARGE, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "tail", 4, on_wrote, &a), 0);
    cr_assert_eq(ftruncate(file, 100000), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &ended, ended);
    while (ended == 0)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
    expect_log(e, "a released\na wrote WEIR_ETRUNCATED\na wrote WEIR_ETRUNCATED\na closed WEIR_ETRUNCATED\n");
    cr_assert_eq(ended, WEIR_EOF);
    cr_assert_eq(got_len, 4 + 100000);
    cr_assert_eq(memcmp(got + 4, bytes, 100000), 0);
    run_until(e, &b.closed, 1);
    expect_log(e, "b closed WEIR_EOF\n");
    close(file);
}

ON_ALL_LAYERS(stream_file, a_close_lets_go_of_it)
{
    struct party a, b;
    make_file(LARGE);
    cr_assert_eq(ftruncate(file, (off_t)LARGE * 100), 0);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write_file(a.s, file, 0, (uint64_t)LARGE * 100, released, on_wrote, &a), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, 10, released, on_wrote, &a), 0);
    run_idle(e);
    expect_log(e, ""); /* far more than the sockets hold */
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a released\na released\na wrote ECANCELED\na wrote ECANCELED\na closed 0\n");
    close(file);
    close_pair(e, &a, &b);
}

ON_ALL_LAYERS(stream_file, a_flush_sends_it)
{
    struct party a, b;
    make_file(LARGE);
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_start(b.s, gather, &b), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, LARGE, released, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    cr_assert_eq(got_len, LARGE);
    cr_assert_eq(memcmp(got, bytes, LARGE), 0);
    cr_assert_eq(ended, WEIR_EOF);
    close(file);
}

/* It takes no memory: other writes have all of theirs, and it may be of any size. */
ON_ALL_LAYERS(stream_file, it_counts_as_queued_but_not_as_memory)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = 50000};
    struct weir_stream_facts facts;
    make_file(LARGE);
    cr_assert_eq(ftruncate(file, (off_t)LARGE * 100), 0);
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_write_file(a.s, file, 0, (uint64_t)LARGE * 100, NULL, NULL, NULL), 0);
    cr_assert_eq(weir_stream_facts(a.s, &facts, sizeof facts), 0);
    cr_assert_eq(facts.queued, (size_t)LARGE * 100);
    cr_assert_eq(facts.full, 1);
    cr_assert_eq(weir_write_file(a.s, file, 0, LARGE, NULL, NULL, NULL), -ENOBUFS);
    cr_assert_eq(weir_write(a.s, bytes, 50000, NULL, NULL), 0);
    cr_assert_eq(weir_write(a.s, bytes, 1, NULL, NULL), -ENOBUFS);
    cr_assert_eq(weir_write_file(a.s, file, 0, 1, NULL, NULL, NULL), -ENOBUFS);
    weir_stream_close(a.s, WEIR_CLOSE_NOW);
    run_until(e, &a.closed, 1);
    close(file);
    close_pair(e, &a, &b);
}

static int drains;

static void on_drain(struct weir_stream *s, void *arg)
{
    struct weir_stream_facts facts;
    (void)arg;
    cr_assert_eq(weir_stream_facts(s, &facts, sizeof facts), 0);
    cr_assert_leq(facts.queued, 100000);
    drains++;
}

ON_ALL_LAYERS(stream_file, its_end_drains_the_stream)
{
    struct party a, b;
    struct weir_stream_options opt = {
        .size = sizeof opt, .write_high_water = 200000, .write_low_water = 100000, .on_drain = on_drain};
    drains = 0;
    make_file(LARGE);
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_read_start(b.s, gather, &b), 0);
    cr_assert_eq(weir_write_file(a.s, file, 0, LARGE, NULL, NULL, NULL), 0);
    turn_until_got(e, LARGE);
    run_idle(e);
    cr_assert_eq(drains, 1);
    close(file);
    close_pair(e, &a, &b);
}
