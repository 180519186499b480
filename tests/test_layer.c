/* Suite layer: what a layer may count on, and what its stream's user may, each test on all three worlds. That whatever
 * works on a stream works on one with a layer is held by the suites that run on both (ON_ALL_LAYERS). */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helpers_layer.h"
#include "helpers_stream.h"

TestSuite(layer, .timeout = 60);

enum { BULK = 2 << 20 };

static struct shy shy[2];
static unsigned char bulk[BULK];
static size_t got[2];
static int wrote;

/* Layers that are the test's, on the streams of a pair. */
static void put_layers(struct party *a, struct party *b, unsigned odds)
{
    struct party *p[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        shy_init(&shy[i], (uint64_t)i + 1, odds);
        shy[i].keep = true;
        if (p[i])
            cr_assert_eq(weir_layer_attach(p[i]->s, &shy_verbs, &shy[i]), 0);
    }
}

static void on_begun(struct weir_stream *s, int status, void *party)
{
    struct party *p = party;
    cr_assert_eq(s, p->s);
    note(p->env, "%s begun %s\n", p->name, weir_error_name(status));
}

/* ---- Retries ---- */

static void count_bytes(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    size_t *n = arg;
    (void)s;
    cr_assert(status == 0 || status == -ECANCELED || status == WEIR_EOF);
    cr_assert_leq(view.len, BULK - *n);
    cr_assert(view.len == 0 || memcmp(view.data, bulk + *n, view.len) == 0);
    *n += view.len;
}

static void count_write(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    (void)arg;
    cr_assert_eq(status, 0);
    wrote++;
}

static void released(const void *data, size_t len, void *arg)
{
    (void)data, (void)len, (void)arg;
}

/* Writes of all kinds and sizes, until all of it is queued. */
static int write_bulk(struct party *p)
{
    int n = 0;
    for (size_t at = 0, len; at < BULK; at += len, n++) {
        len = (at * 7919) % 50000 + 1;
        len = len < BULK - at ? len : BULK - at;
        int rc = n % 2 ? weir_write(p->s, bulk + at, len, count_write, NULL)
                       : weir_write_ref(p->s, bulk + at, len, released, count_write, NULL);
        cr_assert_eq(rc, 0);
    }
    return n;
}

static void both_ways(struct env *e, unsigned odds, bool chatty)
{
    struct party a, b;
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = byte_at(i);
    got[0] = got[1] = 0;
    wrote = 0;
    open_narrow_pair(e, NULL, &a, &b);
    put_layers(&a, &b, odds);
    shy[0].chatty = shy[1].chatty = chatty;
    cr_assert_eq(weir_read_start(a.s, count_bytes, &got[0]), 0);
    cr_assert_eq(weir_read_start(b.s, count_bytes, &got[1]), 0);
    int writes = write_bulk(&a) + write_bulk(&b);
    while (got[0] < BULK || got[1] < BULK || wrote < writes)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
    cr_assert_eq(wrote, writes);
    close_pair(e, &a, &b);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(shy[i].releases, 1);
        cr_assert(odds == 0 || shy[i].retries[LAYER_EMIT] > 10);
        cr_assert(!chatty || shy[i].retries[LAYER_INGEST] > 10);
    }
}

ON_ALL_WORLDS(layer, bytes_go_both_ways_at_once)
{
    both_ways(e, 0, false);
}

ON_ALL_WORLDS(layer, what_is_to_be_emitted_again_stands_still)
{
    both_ways(e, 4, false);
}

ON_ALL_WORLDS(layer, who_only_reads_may_have_to_send)
{
    both_ways(e, 3, true);
}

/* Small writes that could be joined to what has to be emitted again. */
ON_ALL_WORLDS(layer, what_is_to_be_emitted_again_is_not_added_to)
{
    enum { TURNS = 3000, STEP = 10 };
    struct party a, b;
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = byte_at(i);
    got[1] = 0;
    open_pair(e, NULL, &a, &b);
    put_layers(&a, &b, 2);
    cr_assert_eq(weir_read_start(b.s, count_bytes, &got[1]), 0);
    for (size_t i = 0; i < TURNS; i++) {
        cr_assert_eq(weir_write(a.s, bulk + i * STEP, STEP, NULL, NULL), 0);
        cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
    }
    while (got[1] < TURNS * STEP)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
    cr_assert_gt(shy[0].retries[LAYER_EMIT], 100);
    close_pair(e, &a, &b);
}

/* All of it is emitted, and some of that is still here. */
ON_ALL_WORLDS(layer, a_write_is_told_of_when_the_kernel_has_it)
{
    enum { MUCH = 120000 };
    struct party a, b;
    got[1] = 0;
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = byte_at(i);
    open_narrow_pair(e, NULL, &a, &b);
    put_layers(&a, &b, 0);
    cr_assert_eq(weir_write(a.s, bulk, MUCH, on_wrote, &a), 0);
    run_idle(e);
    size_t queued = facts_of(&a).queued;
    cr_assert_gt(queued, MUCH, "frames: it is emitted");
    expect_log(e, "");
    cr_assert_eq(weir_read_start(b.s, count_bytes, &got[1]), 0);
    while (got[1] < MUCH)
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    close_pair(e, &a, &b);
}

/* ---- Beginning ---- */

ON_ALL_WORLDS(layer, its_beginning_is_told_early_or_late)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), -ENOENT);
    cr_assert_null(weir_layer_of(a.s, &shy_verbs));
    put_layers(&a, &b, 3);
    cr_assert_eq(weir_layer_of(a.s, &shy_verbs), &shy[0]);
    cr_assert_null(weir_layer_of(a.s, NULL));
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), 0);
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), -EBUSY);
    cr_assert_eq(weir_layer_wait(a.s, NULL, &a), -EINVAL);
    expect_log(e, "");
    run_idle(e);
    expect_log(e, "a begun 0\n");
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), 0);
    cr_assert_eq(weir_layer_wait(b.s, on_begun, &b), 0);
    run_idle(e);
    expect_lines(&a, "a begun 0\n");
    expect_lines(&b, "b begun 0\n");
    close_pair(e, &a, &b);
    cr_assert_eq(shy[0].releases, 1);
    cr_assert_eq(shy[1].releases, 1);
}

ON_ALL_WORLDS(layer, is_refused_where_plain_bytes_wait)
{
    struct party a, b;
    struct weir_layer_verbs lacking = shy_verbs;
    open_pair(e, NULL, &a, &b);
    shy_init(&shy[0], 1, 0);
    lacking.emit = NULL;
    cr_assert_eq(weir_layer_attach(NULL, &shy_verbs, &shy[0]), -EINVAL);
    cr_assert_eq(weir_layer_attach(a.s, NULL, &shy[0]), -EINVAL);
    cr_assert_eq(weir_layer_attach(a.s, &lacking, &shy[0]), -EINVAL);
    cr_assert_eq(weir_read_bytes(a.s, 2, on_read, &a), 0);
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), -EBUSY, "a read is pending");
    send_text(&b, "plain");
    cr_assert_eq(weir_layer_attach(b.s, &shy_verbs, &shy[0]), -EBUSY, "a write is queued");
    run_idle(e);
    expect_log(e, "a read 0 2 pl\n");
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), -EBUSY, "bytes were not read");
    cr_assert_eq(weir_read_bytes(a.s, 3, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 3 ain\n");
    put_layers(&a, &b, 0);
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), -EALREADY);
    send_text(&b, "hidden");
    cr_assert_eq(weir_read_bytes(a.s, 6, on_read, &a), 0);
    run_idle(e);
    expect_log(e, "a read 0 6 hidden\n");
    cr_assert_eq(weir_shutdown(a.s), 0);
    close_pair(e, &a, &b);
    cr_assert_eq(shy[0].releases, 1);
}

ON_ALL_WORLDS(layer, is_refused_on_what_ends_or_goes_one_way)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    shy_init(&shy[0], 1, 0);
    open_pair(e, &opt, &a, &b);
    cr_assert_eq(weir_shutdown(a.s), 0);
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), -EPIPE);
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_NOW), 0);
    cr_assert_eq(weir_layer_attach(b.s, &shy_verbs, &shy[0]), WEIR_ECLOSED);
    close_pair(e, &a, &b);
    open_pipe(e, &a, &b);
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), -ENOTSUP);
    cr_assert_eq(weir_layer_attach(b.s, &shy_verbs, &shy[0]), -ENOTSUP);
    close_pair(e, &a, &b);
    cr_assert_eq(shy[0].releases, 0);
}

/* Its peer never says hello. */
ON_ALL_WORLDS(layer, that_does_not_begin_in_time_ends_the_stream)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .handshake_timeout_ns = 20000000};
    open_pair(e, &opt, &a, &b);
    put_layers(&a, NULL, 0);
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a read ETIMEDOUT\na wrote ETIMEDOUT\na begun ETIMEDOUT\na closed ETIMEDOUT\n");
    close_pair(e, &a, &b);
    cr_assert_eq(shy[0].releases, 1);
}

static unsigned char heard[64];
static size_t heard_len;

static void hear(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)arg;
    if (status < 0)
        return;
    memcpy(heard + heard_len, view.data, view.len);
    heard_len += view.len;
}

/* What the layer said last reaches the peer, and the user hears at once. */
ON_ALL_WORLDS(layer, that_fails_to_begin_says_why)
{
    struct party a, b;
    heard_len = 0;
    open_pair(e, NULL, &a, &b);
    put_layers(&a, NULL, 0);
    shy[0].fail[LAYER_START] = WEIR_ETLS;
    shy[0].after[LAYER_START] = 1;
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), 0);
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_read_bytes(a.s, 1, on_read, &a), 0);
    cr_assert_eq(weir_read_start(b.s, hear, NULL), 0);
    run_until(e, &b.closed, 1);
    cr_assert_eq(heard_len, 6);
    cr_assert_eq(memcmp(heard, "H\0\0X\0\0", 6), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a read WEIR_ETLS\na wrote WEIR_ETLS\na begun WEIR_ETLS\na closed WEIR_ETLS\n");
    expect_lines(&b, "b closed WEIR_EOF\n");
    close_pair(e, &a, &b);
}

/* ---- On a connection ---- */

static struct party *entering;

static void accept_with_layer(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct env *e = arg;
    (void)l;
    cr_assert_eq(status, 0);
    *entering = (struct party){.env = e, .name = "b", .s = s};
    weir_stream_on_close(s, on_close, entering);
    cr_assert_eq(weir_layer_attach(s, &shy_verbs, &shy[1]), 0);
    cr_assert_eq(weir_read_bytes(s, 5, on_read, entering), 0);
}

/* All is asked for before the connection is there; connecting is over when the layer has begun. */
static void connect_with_layer(struct env *e, struct party *a, struct party *b)
{
    struct sockaddr_storage addr;
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&addr};
    struct weir_stream_options options = {.size = sizeof options, .on_close = on_close, .on_close_arg = a};
    struct weir_listener *l;
    entering = b;
    put_layers(NULL, NULL, 3);
    *a = (struct party){.env = e, .name = "a"};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len), 0);
    cr_assert_eq(weir_listen(e->loop, &opt, accept_with_layer, e, &l), 0);
    cr_assert_eq(weir_listener_address(l, &addr, &opt.addr_len), 0);
    int rc = weir_connect_addr(e->loop, (struct sockaddr *)&addr, opt.addr_len, &options, on_connect, a, &a->s);
    cr_assert_eq(rc, 0);
    cr_assert_eq(weir_layer_attach(a->s, &shy_verbs, &shy[0]), 0);
    cr_assert_eq(weir_layer_wait(a->s, on_begun, a), 0);
    cr_assert_eq(weir_write(a->s, "hello", 5, on_wrote, a), 0);
    run_idle(e);
    weir_listener_close(l);
}

ON_ALL_WORLDS(layer, may_be_there_from_the_first_byte)
{
    struct party a, b;
    connect_with_layer(e, &a, &b);
    expect_lines(&a, "a connected 0\na begun 0\na wrote 0\n");
    expect_lines(&b, "b read 0 5 hello\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(layer, that_fails_fails_the_connection)
{
    struct party a, b = {.closed = 1};
    struct sockaddr_storage addr;
    socklen_t len;
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = &a};
    put_layers(NULL, NULL, 0);
    a = (struct party){.env = e, .name = "a"};
    cr_assert_eq(weir_addr_parse("127.0.0.1:1", &addr, &len), 0);
    cr_assert_eq(weir_connect_addr(e->loop, (struct sockaddr *)&addr, len, &opt, on_connect, &a, &a.s), 0);
    cr_assert_eq(weir_layer_attach(a.s, &shy_verbs, &shy[0]), 0);
    cr_assert_eq(weir_layer_wait(a.s, on_begun, &a), 0);
    run_until(e, &a.closed, 1);
    expect_log(e, "a connected ECONNREFUSED\na begun ECONNREFUSED\na closed ECONNREFUSED\n");
    cr_assert_eq(shy[0].calls[LAYER_START], 0);
    cr_assert_eq(shy[0].releases, 1);
    close_pair(e, &a, &b);
}

/* ---- The end ---- */

static void begin_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_pair(e, opt, a, b);
    put_layers(a, b, 3);
    run_idle(e);
}

ON_ALL_WORLDS(layer, what_was_cut_off_is_no_end)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    send_text(&a, "some");
    run_idle(e);
    shy[0].fail[LAYER_SHUT] = WEIR_ETLS; /* it will not say bye */
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b read WEIR_ETRUNCATED 4 some\nb closed WEIR_ETRUNCATED\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(layer, an_idle_stream_hears_its_peers_bye)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_shutdown(a.s), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a closed WEIR_EOF\n");
    expect_lines(&b, "b closed WEIR_EOF\n");
}

ON_ALL_WORLDS(layer, the_end_waits_for_what_is_to_be_emitted_again)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct party a, b;
        open_pair(e, NULL, &a, &b);
        shy_attach(a.s, seed, 2);
        shy_attach(b.s, seed + 100, 2);
        cr_assert_eq(weir_write(a.s, bulk, 5000, NULL, NULL), 0);
        cr_assert_eq(weir_shutdown(a.s), 0);
        cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
        run_until(e, &b.closed, 1);
        run_until(e, &a.closed, 1);
        expect_lines(&a, "a closed WEIR_EOF\n");
        expect_lines(&b, "b read 0 5000 \nb closed WEIR_EOF\n");
        e->log_len = 0;
        e->log[0] = '\0';
    }
}

ON_ALL_WORLDS(layer, a_close_at_once_says_bye)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a closed 0\n");
    expect_lines(&b, "b closed WEIR_EOF\n");
}

/* What was dropped must not look as if all had been said. */
ON_ALL_WORLDS(layer, a_close_that_drops_something_says_nothing)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write(a.s, "word", 4, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_NOW), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote ECANCELED\na closed 0\n");
    expect_lines(&b, "b closed WEIR_ETRUNCATED\n");
}

ON_ALL_WORLDS(layer, a_reset_says_nothing)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a closed 0\n");
    cr_assert_neq(b.reason, WEIR_EOF);
    cr_assert_eq(shy[0].calls[LAYER_SHUT], 0);
}

/* Closed before it has begun: the flush waits for that, and sends what was written. */
ON_ALL_WORLDS(layer, a_flush_begins_first)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    put_layers(&a, &b, 3);
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    cr_assert_eq(weir_write(a.s, "last words", 10, on_wrote, &a), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a wrote 0\na closed 0\n");
    expect_lines(&b, "b read 0 10 last words\nb closed WEIR_EOF\n");
}

ON_ALL_WORLDS(layer, a_flush_with_nothing_to_say_does_not_begin)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    put_layers(&a, NULL, 0);
    cr_assert_eq(weir_read_start(b.s, hear, NULL), 0);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a closed 0\n");
    cr_assert_eq(shy[0].calls[LAYER_START], 0);
    cr_assert_eq(shy[0].calls[LAYER_SHUT], 1);
}

/* A verb fails in the middle: what the peer sent before is read first. */
ON_ALL_WORLDS(layer, that_breaks_ends_the_stream_behind_its_bytes)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    send_text(&a, "before");
    run_idle(e);
    shy[1].fail[LAYER_INGEST] = -EBADMSG;
    send_text(&a, "after");
    cr_assert_eq(weir_read_until_close(b.s, on_read, &b), 0);
    cr_assert_eq(weir_write(b.s, "word", 4, on_wrote, &b), 0);
    run_until(e, &b.closed, 1);
    cr_assert(strstr(e->log, "b read EBADMSG 6 before\n"), "%s", e->log);
    cr_assert(strstr(e->log, "b closed EBADMSG\n"), "%s", e->log);
    close_pair(e, &a, &b);
    cr_assert_eq(shy[1].releases, 1);
}

ON_ALL_WORLDS(layer, that_cannot_emit_fails_the_writes)
{
    struct party a, b;
    begin_pair(e, NULL, &a, &b);
    shy[0].fail[LAYER_EMIT] = -EBADMSG;
    cr_assert_eq(weir_write(a.s, "one", 3, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "two", 3, on_wrote, &a), 0);
    run_until(e, &a.closed, 1);
    expect_lines(&a, "a wrote EBADMSG\na wrote EBADMSG\na closed EBADMSG\n");
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b closed WEIR_ETRUNCATED\n");
    close_pair(e, &a, &b);
}

/* ---- Limits ---- */

/* What the layer has on the wire is not the user's: who may queue ten bytes may do so whatever it says. */
ON_ALL_WORLDS(layer, its_own_bytes_are_not_the_users)
{
    struct party a, b;
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = 10};
    open_pair(e, &opt, &a, &b);
    put_layers(&a, &b, 0);
    cr_assert_eq(weir_write(a.s, "0123456789", 10, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "x", 1, NULL, NULL), -ENOBUFS);
    run_idle(e);
    expect_log(e, "a wrote 0\n");
    close_pair(e, &a, &b);
    open_narrow_pair(e, &opt, &a, &b);
    put_layers(&a, &b, 0);
    run_idle(e);
    while (facts_of(&a).queued == 0) {
        cr_assert_eq(weir_write(a.s, "0123456789", 10, NULL, NULL), 0);
        cr_assert_geq(weir_loop_run_once(e->loop, 0), 0);
    }
    cr_assert_gt(facts_of(&a).queued, 10, "frames, all of them emitted");
    cr_assert_eq(weir_write(a.s, "0123456789", 10, NULL, NULL), 0);
    cr_assert_eq(weir_write(a.s, "x", 1, NULL, NULL), -ENOBUFS);
    close_pair(e, &a, &b);
}

/* ---- Files ---- */

ON_ALL_WORLDS(layer, a_file_that_shrinks_is_cut_off)
{
    struct party a, b;
    int file = memfd_create("bytes", MFD_CLOEXEC);
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = byte_at(i);
    got[1] = 0;
    cr_assert_eq(pwrite(file, bulk, BULK, 0), BULK);
    begin_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_write_file(a.s, file, 0, BULK, NULL, on_wrote, &a), 0);
    cr_assert_eq(weir_write(a.s, "tail", 4, on_wrote, &a), 0);
    cr_assert_eq(ftruncate(file, 100000), 0);
    while (got[1] < 100000) {
        struct weir_view view;
        struct weir_stream_facts facts = facts_of(&b);
        cr_assert_eq(weir_peek(b.s, &view), 0);
        if (facts.buffered > 0 && !facts.reading)
            cr_assert_eq(weir_read_bytes(b.s, facts.buffered, count_bytes, &got[1]), 0);
        cr_assert_geq(weir_loop_run_once(e->loop, 100000000), 0);
    }
    run_until(e, &b.closed, 1);
    run_until(e, &a.closed, 1);
    cr_assert_eq(got[1], 100000);
    expect_lines(&a, "a wrote WEIR_ETRUNCATED\na wrote WEIR_ETRUNCATED\na closed WEIR_ETRUNCATED\n");
    expect_lines(&b, "b closed WEIR_ETRUNCATED\n");
    close(file);
}
