/* Suite sendq: one by one what chance would show too seldom. The rest is in test_sendq_model.c. */
#include "sendq.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

static void marked(struct weir_stream *stream, int status, void *arg)
{
    (void)stream, (void)status, (void)arg;
}


struct fixture {
    struct wr_cache cache;
    struct wr_sendq q;
    uint64_t live;
};

static void set_up(struct fixture *f)
{
    f->live = wr_mem_live();
    wr_cache_init(&f->cache, 1 << 20);
    wr_sendq_init(&f->q, &f->cache);
}

static void tear_down(struct fixture *f)
{
    wr_sendq_done(&f->q);
    wr_cache_done(&f->cache);
    cr_assert_eq(wr_mem_live(), f->live);
}

static uint64_t copied;

static int copy_text(struct wr_sendq *q, const char *text)
{
    return wr_sendq_copy(q, text, strlen(text), &copied);
}

static size_t freeze_one(struct wr_sendq *q, struct iovec *iov)
{
    (void)wr_sendq_freeze(q, iov, 1, SIZE_MAX);
    return q->frozen;
}

Test(sendq, a_million_small_writes_cost_few_segments)
{
    struct fixture f;
    struct iovec iov;
    size_t left = 1000000;

    set_up(&f);
    uint64_t allocations = wr_mem_allocations();
    for (size_t i = 0; i < left; i++)
        cr_assert_eq(copy_text(&f.q, "x"), 0);
    cr_assert_leq(f.q.pieces.count, 1000000 / 4000);
    cr_assert_leq(wr_mem_allocations() - allocations, 1000000 / 4000 + 16);
    while (left > 0) {
        size_t n = freeze_one(&f.q, &iov);
        cr_assert_gt(n, 0);
        wr_sendq_advance(&f.q, n);
        left -= n;
    }
    cr_assert_eq(wr_sendq_len(&f.q), 0);
    tear_down(&f);
}

Test(sendq, a_steady_state_allocates_nothing)
{
    struct fixture f;
    struct iovec iov;
    struct wr_mark mark;
    uint64_t allocations = 0;

    set_up(&f);
    for (int i = 0; i < 1000; i++) {
        if (i == 1)
            allocations = wr_mem_allocations();
        cr_assert_eq(copy_text(&f.q, "HTTP/1.1 200 OK\r\n"), 0);
        cr_assert_eq(wr_sendq_mark(&f.q, &(struct wr_mark){.fn = marked, .arg = NULL}), 0);
        wr_sendq_advance(&f.q, freeze_one(&f.q, &iov));
        cr_assert(wr_sendq_next_mark(&f.q, false, &mark));
        cr_assert(f.q.pieces.size == 0 && f.q.marks.size == 0, "an idle queue owns nothing");
    }
    cr_assert_eq(wr_mem_allocations(), allocations);
    tear_down(&f);
}

Test(sendq, copies_go_behind_frozen_bytes_in_the_same_segment)
{
    struct fixture f;
    struct iovec first, again;

    set_up(&f);
    cr_assert_eq(copy_text(&f.q, "hello"), 0);
    cr_assert_eq(freeze_one(&f.q, &first), 5);
    cr_assert_eq(copy_text(&f.q, ", world"), 0);
    cr_assert_eq(f.q.pieces.count, 1);
    cr_assert_eq(f.q.frozen, 5);
    wr_sendq_advance(&f.q, 0);
    cr_assert_eq(freeze_one(&f.q, &again), 12);
    cr_assert_eq(again.iov_base, first.iov_base);
    cr_assert_eq(memcmp(again.iov_base, "hello, world", 12), 0);
    wr_sendq_advance(&f.q, 12);
    tear_down(&f);
}

Test(sendq, references_to_neighbours_are_one_piece)
{
    struct fixture f;
    struct iovec iov;

    set_up(&f);
    struct wr_segment *seg = wr_segment_new(&f.cache, 9);
    seg->holds = 3;
    memcpy(seg->base, "123456789", 9);
    cr_assert(!wr_sendq_join(&f.q, seg, 0, 3), "there is no piece");
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 3), 0);
    cr_assert_eq(freeze_one(&f.q, &iov), 3);
    cr_assert(!wr_sendq_join(&f.q, seg, 4, 2) && !wr_sendq_join(&f.q, NULL, 3, 2));
    cr_assert(wr_sendq_join(&f.q, seg, 3, 2));
    cr_assert_eq(f.q.pieces.count, 1);
    cr_assert_eq(seg->holds, 3, "one hold for both");
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 6, 3), 0);
    cr_assert_eq(f.q.pieces.count, 2, "a byte is between");
    wr_sendq_advance(&f.q, 3);
    cr_assert_eq(freeze_one(&f.q, &iov), 2);
    cr_assert_eq(memcmp(iov.iov_base, "45", 2), 0);
    wr_sendq_advance(&f.q, 2);
    cr_assert_eq(freeze_one(&f.q, &iov), 3);
    cr_assert_eq(memcmp(iov.iov_base, "789", 3), 0);
    wr_sendq_advance(&f.q, 3);
    cr_assert_eq(seg->holds, 1);
    wr_segment_drop(seg);
    tear_down(&f);
}

/* Two pieces would cost more than to copy a few bytes. Many, or those in flight, stay where they are. */
Test(sendq, a_copy_takes_a_few_bytes_that_stand_elsewhere_with_it)
{
    struct fixture f;
    struct iovec iov;

    set_up(&f);
    struct wr_segment *seg = wr_segment_new(&f.cache, 5000);
    seg->holds = 4;
    memset(seg->base, 'x', 5000);
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 3, 2), 0);
    copied = 0;
    cr_assert_eq(copy_text(&f.q, "yz"), 0);
    cr_assert(f.q.pieces.count == 1 && copied == 4 && seg->holds == 3);
    cr_assert_eq(freeze_one(&f.q, &iov), 4);
    cr_assert_eq(memcmp(iov.iov_base, "xxyz", 4), 0);
    wr_sendq_advance(&f.q, 4);
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 2), 0);
    cr_assert_eq(freeze_one(&f.q, &iov), 2);
    cr_assert_eq(copy_text(&f.q, "yz"), 0);
    cr_assert_eq(f.q.pieces.count, 2, "the first is in flight");
    wr_sendq_advance(&f.q, 2);
    wr_sendq_advance(&f.q, freeze_one(&f.q, &iov));
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 4500), 0);
    cr_assert_eq(copy_text(&f.q, "yz"), 0);
    cr_assert_eq(f.q.pieces.count, 2, "many bytes stay where they are");
    wr_sendq_advance(&f.q, freeze_one(&f.q, &iov));
    wr_sendq_advance(&f.q, freeze_one(&f.q, &iov));
    cr_assert_eq(copied, 8);
    wr_segment_drop(seg);
    tear_down(&f);
}

Test(sendq, a_failed_copy_leaves_the_room_of_the_last_piece_alone)
{
    struct fixture f;
    static char big[100000];
    struct iovec iov;

    set_up(&f);
    cr_assert_eq(copy_text(&f.q, "hello"), 0);
    wr_mem_gate = refuse_all;
    cr_assert_eq(wr_sendq_copy(&f.q, big, sizeof big, &copied), -ENOMEM);
    wr_mem_gate = NULL;
    cr_assert_eq(wr_sendq_len(&f.q), 5);
    cr_assert_eq(freeze_one(&f.q, &iov), 5);
    wr_sendq_advance(&f.q, 5);
    tear_down(&f);
}

struct greedy {
    struct wr_sendq *q;
    int releases;
    bool frozen;
    struct iovec iov;
    size_t n;
};

/* A release that writes and starts the next send itself. */
static void release_and_send(const void *data, size_t len, void *arg)
{
    struct greedy *g = arg;
    (void)data, (void)len;
    g->releases++;
    g->frozen = wr_sendq_is_frozen(g->q);
    cr_assert_eq(copy_text(g->q, "more"), 0);
    if (!g->frozen)
        g->n = freeze_one(g->q, &g->iov);
}

Test(sendq, a_release_may_queue_and_freeze)
{
    struct fixture f;
    struct greedy g[2] = {{.q = &f.q}, {.q = &f.q}};
    struct iovec iov[2];

    set_up(&f);
    for (int i = 0; i < 2; i++) {
        struct wr_segment *seg = wr_segment_borrow(&f.cache, "abc", 3, release_and_send, &g[i]);
        cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 3), 0);
    }
    cr_assert_eq(wr_sendq_freeze(&f.q, iov, 2, SIZE_MAX), 2);
    cr_assert_eq(f.q.frozen, 6);
    wr_sendq_advance(&f.q, 6);
    cr_assert(g[0].releases == 1 && g[1].releases == 1);
    cr_assert(g[0].frozen, "the send was not taken in yet");
    cr_assert(!g[1].frozen);
    cr_assert_eq(g[1].n, 8);
    cr_assert_eq(memcmp(g[1].iov.iov_base, "moremore", 8), 0);
    cr_assert_eq(f.q.frozen, 8, "what the release froze is frozen");
    wr_sendq_advance(&f.q, 8);
    cr_assert_eq(wr_sendq_len(&f.q), 0);
    tear_down(&f);
}

static void release_and_write(const void *data, size_t len, void *arg)
{
    (void)data, (void)len;
    cr_assert_eq(copy_text(arg, "late"), 0);
}

Test(sendq, what_a_release_queues_survives_the_discard)
{
    struct fixture f;

    set_up(&f);
    for (int i = 0; i < 3; i++) {
        struct wr_segment *seg = wr_segment_borrow(&f.cache, "abc", 3, release_and_write, &f.q);
        cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 3), 0);
    }
    wr_sendq_discard(&f.q);
    cr_assert_eq(wr_sendq_len(&f.q), 12);
    wr_sendq_check(&f.q);
    tear_down(&f);
}

static void count_release(const void *data, size_t len, void *arg)
{
    (void)data, (void)len;
    ++*(int *)arg;
}

static void refer_nothing(struct fixture *f, int *releases)
{
    struct wr_segment *seg = wr_segment_borrow(&f->cache, NULL, 0, count_release, releases);
    cr_assert_eq(wr_sendq_refer(&f->q, seg, 0, 0), 0);
}

/* Nothing is sent for an empty reference, and yet it is released: later, and before its mark. */
Test(sendq, an_empty_reference_is_released_in_its_turn)
{
    struct fixture f;
    struct wr_mark mark;
    struct iovec iov;
    int releases = 0;

    set_up(&f);
    refer_nothing(&f, &releases);
    cr_assert_eq(wr_sendq_mark(&f.q, &(struct wr_mark){.fn = marked, .arg = NULL}), 0);
    cr_assert_eq(releases, 0);
    cr_assert(wr_sendq_next_mark(&f.q, false, &mark));
    cr_assert_eq(releases, 1);

    cr_assert_eq(copy_text(&f.q, "hello"), 0);
    refer_nothing(&f, &releases);
    cr_assert(!wr_sendq_next_mark(&f.q, false, &mark));
    cr_assert_eq(freeze_one(&f.q, &iov), 5);
    wr_sendq_advance(&f.q, 4);
    cr_assert_eq(releases, 1);
    cr_assert_eq(freeze_one(&f.q, &iov), 1);
    wr_sendq_advance(&f.q, 1);
    cr_assert_eq(releases, 2);
    tear_down(&f);
}

static void release_and_refer(const void *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    (void)data, (void)len;
    struct wr_segment *seg = wr_segment_borrow(&f->cache, NULL, 0, release_and_refer, f);
    cr_assert_eq(wr_sendq_refer(&f->q, seg, 0, 0), 0);
}

Test(sendq, empty_references_without_end_do_not_hold_up_a_call)
{
    struct fixture f;
    struct wr_mark mark;

    set_up(&f);
    release_and_refer(NULL, 0, &f);
    cr_assert(!wr_sendq_next_mark(&f.q, false, &mark));
    cr_assert_eq(f.q.pieces.count, 1);
    struct wr_segment *seg = f.q.piece.one.seg;
    wr_segment_hold(seg);
    wr_sendq_discard(&f.q);
    wr_segment_forget(seg);
    tear_down(&f);
}

Test(sendq, marks_outlive_a_discard_but_are_not_due)
{
    struct fixture f;
    struct wr_mark mark;
    int arg[2];

    set_up(&f);
    cr_assert_eq(copy_text(&f.q, "hello"), 0);
    cr_assert_eq(wr_sendq_mark(&f.q, &(struct wr_mark){.fn = marked, .arg = &arg[0]}), 0);
    cr_assert_eq(copy_text(&f.q, "again"), 0);
    cr_assert_eq(wr_sendq_mark(&f.q, &(struct wr_mark){.fn = marked, .arg = &arg[1]}), 0);
    wr_sendq_discard(&f.q);
    cr_assert_eq(wr_sendq_len(&f.q), 0);
    cr_assert(!wr_sendq_next_mark(&f.q, false, &mark));
    cr_assert(wr_sendq_next_mark(&f.q, true, &mark) && mark.arg == &arg[0] && mark.at == 5);
    cr_assert(wr_sendq_next_mark(&f.q, true, &mark) && mark.arg == &arg[1] && mark.at == 10);
    cr_assert(!wr_sendq_next_mark(&f.q, true, &mark));
    tear_down(&f);
}

/* -- Misuse ends the process. */

Test(sendq, advance_past_the_frozen_end_asserts, .signal = SIGABRT)
{
    struct fixture f;
    struct iovec iov;
    set_up(&f);
    copy_text(&f.q, "hello");
    freeze_one(&f.q, &iov);
    copy_text(&f.q, "more");
    wr_sendq_advance(&f.q, 6);
}

Test(sendq, freezing_twice_asserts, .signal = SIGABRT)
{
    struct fixture f;
    struct iovec iov;
    set_up(&f);
    copy_text(&f.q, "hello");
    freeze_one(&f.q, &iov);
    freeze_one(&f.q, &iov);
}

Test(sendq, discarding_frozen_bytes_asserts, .signal = SIGABRT)
{
    struct fixture f;
    struct iovec iov;
    set_up(&f);
    copy_text(&f.q, "hello");
    freeze_one(&f.q, &iov);
    wr_sendq_discard(&f.q);
}

Test(sendq, bytes_that_the_segment_does_not_have_assert, .signal = SIGABRT)
{
    struct fixture f;
    set_up(&f);
    wr_sendq_refer(&f.q, wr_segment_borrow(&f.cache, "abc", 3, NULL, NULL), 1, 3);
}

Test(sendq, a_segment_that_others_hold_is_not_added_to)
{
    struct fixture f;
    struct iovec iov;

    set_up(&f);
    struct wr_segment *seg = wr_segment_new(&f.cache, 4000);
    wr_segment_hold(seg);
    memset(seg->base, '.', seg->size);
    cr_assert_eq(wr_sendq_refer(&f.q, seg, 0, 100), 0);
    cr_assert_eq(freeze_one(&f.q, &iov), 100);
    cr_assert_eq(copy_text(&f.q, "more"), 0);
    cr_assert_eq(seg->base[100], '.', "these bytes are another's");
    wr_sendq_advance(&f.q, 100);
    cr_assert_eq(freeze_one(&f.q, &iov), 4);
    cr_assert_eq(memcmp(iov.iov_base, "more", 4), 0);
    wr_sendq_advance(&f.q, 4);
    wr_segment_drop(seg);
    tear_down(&f);
}

/* ---- Files ---- */

static int files_dropped;

static void drop_file(struct wr_segment *seg)
{
    (void)seg;
    files_dropped++;
}

static const struct wr_segment_kind a_file = {.name = "file", .file = true, .last = drop_file};

Test(sendq, a_file_is_sent_by_itself)
{
    struct fixture f;
    struct iovec iov[4];
    struct wr_segment file = {.kind = &a_file, .holds = 1};
    const struct wr_piece *piece;
    size_t n;

    set_up(&f);
    cr_assert_eq(copy_text(&f.q, "head"), 0);
    cr_assert_eq(wr_sendq_refer(&f.q, &file, 1000, 50), 0);
    cr_assert_eq(copy_text(&f.q, "tail"), 0);
    cr_assert_eq(wr_sendq_len(&f.q), 58);
    cr_assert_eq(wr_sendq_in_memory(&f.q), 8);
    cr_assert_null(wr_sendq_freeze_file(&f.q, SIZE_MAX, &n), "the head is not a file's");
    cr_assert_eq(wr_sendq_freeze(&f.q, iov, 4, SIZE_MAX), 1, "it ends before the file");
    cr_assert_eq(f.q.frozen, 4);
    wr_sendq_advance(&f.q, 4);

    piece = wr_sendq_freeze_file(&f.q, 30, &n);
    cr_assert_not_null(piece);
    cr_assert_eq(n, 30);
    cr_assert_eq(piece->off, 1000);
    wr_sendq_advance(&f.q, 20);
    cr_assert_eq(wr_sendq_in_memory(&f.q), 4);
    piece = wr_sendq_freeze_file(&f.q, SIZE_MAX, &n);
    cr_assert_eq(n, 30, "what was not sent of it, and no more");
    cr_assert_eq(piece->off, 1020);
    cr_assert_eq(files_dropped, 0);
    wr_sendq_advance(&f.q, 30);
    cr_assert_eq(files_dropped, 1);

    cr_assert_eq(freeze_one(&f.q, &iov[0]), 4);
    cr_assert_eq(memcmp(iov[0].iov_base, "tail", 4), 0);
    wr_sendq_advance(&f.q, 4);
    tear_down(&f);
}

Test(sendq, nothing_of_a_file_is_passed_over)
{
    struct fixture f;
    struct iovec iov[4];
    struct wr_segment file = {.kind = &a_file, .holds = 1}, nothing[3] = {
        {.kind = &a_file, .holds = 1}, {.kind = &a_file, .holds = 1}, {.kind = &a_file, .holds = 1}};
    const struct wr_piece *piece;
    size_t n;

    set_up(&f);
    files_dropped = 0;
    cr_assert_eq(wr_sendq_refer(&f.q, &nothing[0], 9, 0), 0);
    cr_assert_eq(copy_text(&f.q, "head"), 0);
    cr_assert_eq(wr_sendq_refer(&f.q, &nothing[1], 9, 0), 0);
    cr_assert_eq(copy_text(&f.q, "tail"), 0);
    cr_assert_null(wr_sendq_freeze_file(&f.q, SIZE_MAX, &n));
    cr_assert_eq(wr_sendq_freeze(&f.q, iov, 4, SIZE_MAX), 2);
    cr_assert_eq(f.q.frozen, 8);
    wr_sendq_advance(&f.q, 8);
    cr_assert_eq(files_dropped, 2);
    cr_assert_eq(wr_sendq_refer(&f.q, &nothing[2], 9, 0), 0);
    cr_assert_null(wr_sendq_freeze_file(&f.q, SIZE_MAX, &n), "nothing is left but nothing");
    cr_assert_eq(wr_sendq_refer(&f.q, &file, 1000, 50), 0);
    piece = wr_sendq_freeze_file(&f.q, SIZE_MAX, &n);
    cr_assert_not_null(piece);
    cr_assert_eq(piece->off, 1000);
    cr_assert_eq(n, 50);
    wr_sendq_advance(&f.q, 50);
    cr_assert_eq(files_dropped, 4);
    tear_down(&f);
}

Test(sendq, a_file_that_is_discarded_is_dropped)
{
    struct fixture f;
    struct wr_segment file = {.kind = &a_file, .holds = 1}, nothing = {.kind = &a_file, .holds = 1};

    set_up(&f);
    cr_assert_eq(wr_sendq_refer(&f.q, &file, 0, SIZE_MAX / 4), 0);
    cr_assert_eq(wr_sendq_refer(&f.q, &nothing, 7, 0), 0);
    wr_sendq_discard(&f.q);
    cr_assert_eq(files_dropped, 2);
    cr_assert_eq(wr_sendq_in_memory(&f.q), 0);
    cr_assert_eq(wr_sendq_len(&f.q), 0);
    tear_down(&f);
}
