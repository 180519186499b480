/* Tornado's tests of its write buffer (class TestStreamBuffer), on ours, the queue of engine/sendq.h: it knows no
 * world. What is appended, looked at and advanced over stays equal to a plain array of bytes. What Tornado calls to
 * peek is to freeze here, and what is frozen must go, in part or whole, before the next look.
 *
 * Ours differs: there a buffer of more than 2048 bytes is kept by reference without being asked, here only what is
 * written with weir_write_ref; and a look gives all the pieces, not the first alone. */
#include <criterion/criterion.h>
#include <string.h>

#include "helpers_tornado.h"
#include "sendq.h"

enum { ROOM = 1 << 16, PIECES = 16 };

struct queue {
    struct wr_cache cache;
    struct wr_sendq q;
    unsigned char model[ROOM];
    size_t head, tail;      /* model[head .. tail) is queued */
    unsigned released;
};

static void open_queue(struct queue *t)
{
    *t = (struct queue){.head = 0};
    wr_cache_init(&t->cache, 1 << 20);
    wr_sendq_init(&t->q, &t->cache);
    fill_bytes(t->model, 0, ROOM);
}

static void close_queue(struct queue *t)
{
    wr_sendq_done(&t->q);
    wr_cache_done(&t->cache);
}

static void append_copy(struct queue *t, size_t len)
{
    uint64_t copied = 0;
    cr_assert_eq(wr_sendq_copy(&t->q, t->model + t->tail, len, &copied), 0);
    t->tail += len;
}

static void count_release(const void *data, size_t len, void *arg)
{
    (void)data, (void)len;
    ++*(unsigned *)arg;
}

static void append_reference(struct queue *t, size_t len)
{
    struct wr_segment *seg = wr_segment_borrow(&t->cache, t->model + t->tail, len, count_release, &t->released);
    cr_assert_not_null(seg);
    cr_assert_eq(wr_sendq_refer(&t->q, seg, 0, len), 0);
    t->tail += len;
}

/* Look at `max` bytes at most, which must be those of the model, and advance over n of them. */
static unsigned look(struct queue *t, size_t max, size_t n)
{
    struct iovec iov[PIECES];
    unsigned count = wr_sendq_freeze(&t->q, iov, PIECES, max);
    size_t at = t->head, len = t->q.frozen;
    cr_assert_leq(len, max);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_gt(iov[i].iov_len, 0, "a piece of nothing");
        expect_bytes(iov[i].iov_base, at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    cr_assert_eq(at, t->head + len);
    cr_assert(len > 0 || t->head == t->tail);
    wr_sendq_advance(&t->q, n < len ? n : len);
    t->head += n < len ? n : len;
    wr_sendq_check(&t->q);
    cr_assert_eq(wr_sendq_len(&t->q), t->tail - t->head);
    return count;
}

Test(tornado, test_small)
{
    static struct queue t;
    open_queue(&t);
    cr_assert_eq(look(&t, ROOM, ROOM), 0);
    for (size_t len = 1; len <= 50; len++)
        append_copy(&t, len);
    cr_assert_eq(look(&t, ROOM, 0), 1, "small writes share a piece");
    for (size_t n = 1; t.head < t.tail; n = n % 13 + 1) {
        look(&t, n, n);
        look(&t, 100, n / 2);
        if (n % 5 == 0)
            append_copy(&t, 3);
    }
    cr_assert_eq(look(&t, 1, 1), 0);
    close_queue(&t);
}

Test(tornado, test_large)
{
    enum { LARGE = 5000, COUNT = 6 };
    static struct queue t;
    open_queue(&t);
    for (int i = 0; i < COUNT; i++)
        append_reference(&t, LARGE);
    cr_assert_eq(look(&t, ROOM, 0), COUNT, "each is a piece of its own");
    append_copy(&t, 10);
    append_reference(&t, LARGE);
    append_copy(&t, 20);
    append_copy(&t, 30);
    cr_assert_eq(look(&t, ROOM, 0), COUNT + 3, "and small ones join only their like");
    look(&t, ROOM, LARGE - 1);
    cr_assert_eq(t.released, 0);
    look(&t, 1, 1);
    cr_assert_eq(t.released, 1, "released with the last byte");
    while (t.head < t.tail)
        look(&t, 1777, 1234);
    cr_assert_eq(t.released, COUNT + 1);
    close_queue(&t);
}
