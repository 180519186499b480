/* Suite sendq: the queue against a plain byte array, with random operations and failing allocations. */
#include "sendq.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rng_state = 88172645463325252u;

static size_t below(size_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (size_t)(rng_state % n);
}

static bool refuse_some(size_t size)
{
    (void)size;
    return below(4) != 0;
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

/* -- The model: every byte that is queued, by its offset; every release and mark that is owed, in order. */

enum { WINDOW = 1 << 19, OWED = 1 << 12, PIECES = 12, TAIL = 10 };

struct borrowed {
    struct model *m;
    uint64_t id, end;       /* the offset behind its last byte */
    size_t len;             /* of those that are queued; TAIL more are lent */
    unsigned char bytes[];
};

struct model {
    struct wr_cache cache;
    struct wr_sendq q;
    unsigned char bytes[WINDOW];            /* of offset x: bytes[x % WINDOW] */
    uint64_t done, queued;
    struct borrowed *refs[OWED];            /* of id x: refs[x % OWED] */
    uint64_t refs_first, refs_next;
    struct wr_mark marks[OWED];
    uint64_t marks_first, marks_next;
    uint64_t marks_seen;
    bool refused;                           /* a refused reference is taken back: its release is not owed */
    struct iovec iov[PIECES];               /* the frozen head as it was given, */
    unsigned iov_count;
    unsigned char frozen[WINDOW];           /* and what stood there */
    size_t frozen_len;
    const unsigned char *next_byte;         /* where the first byte that was frozen and did not go stands */
    unsigned failures;
};

static struct model *model_new(size_t keep_max)
{
    struct model *m = calloc(1, sizeof *m);
    cr_assert_not_null(m);
    wr_cache_init(&m->cache, keep_max);
    wr_sendq_init(&m->q, &m->cache);
    return m;
}

static void model_free(struct model *m)
{
    cr_assert_eq(m->refs_first, m->refs_next, "%lu releases did not run",
                 (unsigned long)(m->refs_next - m->refs_first));
    wr_cache_done(&m->cache);
    free(m);
}

/* Releases come in order, once, and not before the last byte has gone. */
static void released(const void *data, size_t len, void *arg)
{
    struct borrowed *b = arg;
    struct model *m = b->m;

    cr_assert_eq(data, (const void *)b->bytes);
    cr_assert_eq(len, b->len + TAIL);
    for (size_t i = 0; i < TAIL; i++)
        cr_assert_eq(b->bytes[b->len + i], 0xab, "wrote into lent memory");
    if (!m->refused) {
        cr_assert_eq(b->id, m->refs_first);
        cr_assert_eq(m->refs[b->id % OWED], b);
        cr_assert(b->end <= m->q.done || m->q.queued == m->q.done, "released while queued");
        m->refs[m->refs_first++ % OWED] = NULL;
    }
    free(b);
}

static void marked(struct weir_stream *stream, int status, void *arg)
{
    (void)stream, (void)status, (void)arg;
}

static void fill_random(unsigned char *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)below(251);
}

static void model_add(struct model *m, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        m->bytes[(m->queued + i) % WINDOW] = bytes[i];
    m->queued += len;
}

static void equals_model(const struct model *m, uint64_t at, const unsigned char *bytes, size_t len)
{
    size_t slot = at % WINDOW, straight = wr_min(len, WINDOW - slot);
    cr_assert_eq(memcmp(m->bytes + slot, bytes, straight), 0);
    cr_assert_eq(memcmp(m->bytes, bytes + straight, len - straight), 0);
}

/* What holds after every operation, also after one that failed. */
static void check_model(const struct model *m)
{
    size_t at = 0;

    wr_sendq_check(&m->q);
    cr_assert_eq(m->q.done, m->done);
    cr_assert_eq(m->q.queued, m->queued);
    cr_assert_eq(m->q.frozen, m->frozen_len);
    cr_assert_eq(m->q.marks.count, m->marks_next - m->marks_first);
    for (unsigned i = 0; i < m->iov_count; i++) {
        cr_assert_eq(memcmp(m->frozen + at, m->iov[i].iov_base, m->iov[i].iov_len), 0,
                     "frozen bytes changed");
        at += m->iov[i].iov_len;
    }
    cr_assert_eq(at, m->frozen_len);
}

static size_t some_len(void)
{
    return below(50) == 0 ? below(40000) : below(8) == 0 ? below(5000) : below(100);
}

static void try_copy(struct model *m)
{
    static unsigned char bytes[60000];
    struct iovec iov[4];
    size_t total = 0, count = below(5);

    for (size_t i = 0; i < count; i++) {
        size_t len = wr_min(some_len(), sizeof bytes - total);
        iov[i] = (struct iovec){len ? bytes + total : NULL, len};
        total += len;
    }
    fill_random(bytes, total);
    if (total > WINDOW - (m->queued - m->done))
        return;
    bool flat = total > 0 && below(2);
    uint64_t copied = 0;
    int rc = flat ? wr_sendq_copy(&m->q, bytes, total, &copied)
                  : wr_sendq_gather(&m->q, iov, count, total, &copied);
    cr_assert(rc == 0 || rc == -ENOMEM);
    cr_assert(rc != 0 || (copied >= total && copied - total < 4096));
    if (rc == 0)
        model_add(m, bytes, total);
    m->failures += rc != 0;
    memset(bytes, 0xee, total);
}

static void try_refer(struct model *m)
{
    size_t len = below(20) ? some_len() : 0;
    if (len > WINDOW - (m->queued - m->done) || m->refs_next - m->refs_first == OWED)
        return;
    struct borrowed *b = malloc(sizeof *b + len + TAIL);
    cr_assert_not_null(b);
    *b = (struct borrowed){.m = m, .id = m->refs_next, .end = m->queued + len, .len = len};
    fill_random(b->bytes, len);
    memset(b->bytes + len, 0xab, TAIL);

    struct wr_segment *seg = wr_segment_borrow(&m->cache, b->bytes, len + TAIL, released, b);
    if (!seg) {
        m->failures++;
        free(b);
        return;
    }
    if (wr_sendq_refer(&m->q, seg, 0, len) < 0) {
        m->failures++;
        cr_assert_eq(seg->holds, 1, "a refused reference is still the caller's");
        m->refused = true;
        wr_segment_drop(seg);
        m->refused = false;
        return;
    }
    m->refs[m->refs_next++ % OWED] = b;
    model_add(m, b->bytes, len);
}

/* A heap segment of somebody else's, part of which is queued while he keeps a hold, or does not. */
static void try_refer_heap(struct model *m)
{
    size_t len = 1 + below(3000), off = below(100);
    if (len > WINDOW - (m->queued - m->done))
        return;
    struct wr_segment *seg = wr_segment_new(&m->cache, off + len + TAIL);
    if (!seg)
        return;
    fill_random(seg->base, off + len + TAIL);
    bool keep = below(2);
    if (keep)
        wr_segment_hold(seg);
    bool queued = wr_sendq_refer(&m->q, seg, off, len) == 0;
    if (queued)
        model_add(m, seg->base + off, len);
    else
        wr_segment_drop(seg);
    if (keep) {
        unsigned char behind[TAIL];
        memcpy(behind, seg->base + off + len, sizeof behind);
        try_copy(m);
        cr_assert_eq(memcmp(behind, seg->base + off + len, sizeof behind), 0, "wrote into shared memory");
        wr_segment_drop(seg);
    }
}

static void try_mark(struct model *m)
{
    if (m->marks_next - m->marks_first == OWED)
        return;
    bool reserve = below(2);
    if (reserve && wr_sendq_reserve_mark(&m->q) < 0) {
        m->failures++;
        return;
    }
    bool (*gate)(size_t) = wr_mem_gate;
    if (reserve)
        wr_mem_gate = refuse_all;
    int rc = wr_sendq_mark(&m->q, &(struct wr_mark){.fn = marked, .arg = (void *)(uintptr_t)m->marks_next});
    wr_mem_gate = gate;
    cr_assert(rc == 0 || (rc == -ENOMEM && !reserve));
    m->failures += rc != 0;
    if (rc == 0)
        m->marks[m->marks_next++ % OWED] = (struct wr_mark){.at = m->queued};
}

static void take_marks(struct model *m, bool all)
{
    struct wr_mark mark;

    while (wr_sendq_next_mark(&m->q, all, &mark)) {
        cr_assert_lt(m->marks_first, m->marks_next);
        cr_assert_eq(mark.arg, (void *)(uintptr_t)m->marks_first, "marks out of order");
        cr_assert_eq(mark.at, m->marks[m->marks_first % OWED].at);
        cr_assert(all || mark.at <= m->done, "a mark before its bytes");
        cr_assert_eq(mark.fn, marked);
        m->marks_first++;
        m->marks_seen++;
    }
    cr_assert(m->marks_first == m->marks_next || (!all && m->marks[m->marks_first % OWED].at > m->done),
              "a mark is missing");
}

static void freeze(struct model *m)
{
    unsigned asked = 1 + (unsigned)below(PIECES);
    size_t max = below(2) ? SIZE_MAX : 1 + below(10000), at = 0;

    unsigned count = wr_sendq_freeze(&m->q, m->iov, asked, max);
    m->frozen_len = m->q.frozen;
    m->iov_count = count;
    cr_assert_leq(count, asked);
    cr_assert_leq(m->frozen_len, max);
    cr_assert_eq(m->frozen_len == 0, m->queued == m->done, "something goes exactly when there is something");
    if (count < asked)
        cr_assert_eq(m->frozen_len, wr_min(max, (size_t)(m->queued - m->done)), "less than could go");
    for (unsigned i = 0; i < count; i++) {
        cr_assert_gt(m->iov[i].iov_len, 0);
        memcpy(m->frozen + at, m->iov[i].iov_base, m->iov[i].iov_len);
        at += m->iov[i].iov_len;
    }
    cr_assert_eq(at, m->frozen_len);
    equals_model(m, m->done, m->frozen, m->frozen_len);
    if (m->next_byte && count > 0)
        cr_assert_eq(m->iov[0].iov_base, (const void *)m->next_byte, "an unsent byte moved");
}

static void advance(struct model *m)
{
    size_t n = below(4) == 0 ? 0 : below(3) == 0 ? m->frozen_len : below(m->frozen_len + 1);
    size_t skip = n;

    m->next_byte = NULL;
    for (unsigned i = 0; i < m->iov_count && !m->next_byte; i++) {
        if (skip < m->iov[i].iov_len)
            m->next_byte = (const unsigned char *)m->iov[i].iov_base + skip;
        else
            skip -= m->iov[i].iov_len;
    }
    m->done += n;
    m->iov_count = 0;
    m->frozen_len = 0;
    wr_sendq_advance(&m->q, n);
    cr_assert(m->refs_first == m->refs_next || m->refs[m->refs_first % OWED]->end > m->done,
              "a release is missing");
    take_marks(m, false);
}

static void discard(struct model *m)
{
    m->queued = m->done;
    m->next_byte = NULL;
    wr_sendq_discard(&m->q);
    cr_assert_eq(m->refs_first, m->refs_next, "a release is missing");
    check_model(m);
    take_marks(m, false);
    cr_assert_eq(m->q.pieces.size, 0);
    take_marks(m, true);
    cr_assert_eq(m->q.marks.size, 0);
}

static void start_again(struct model *m)
{
    m->queued = m->done = 0;
    m->next_byte = NULL;
    wr_sendq_done(&m->q);
    cr_assert_eq(m->q.pieces.size, 0);
    cr_assert_eq(m->q.marks.size, 0);
    m->marks_first = m->marks_next;
    cr_assert_eq(m->refs_first, m->refs_next, "a release is missing");
    wr_sendq_init(&m->q, &m->cache);
}

static void step(struct model *m)
{
    size_t what = below(1000);
    bool frozen = wr_sendq_is_frozen(&m->q);

    if (what < 350)
        try_copy(m);
    else if (what < 500)
        try_refer(m);
    else if (what < 550)
        try_refer_heap(m);
    else if (what < 700)
        try_mark(m);
    else if (what < 996 && frozen)
        advance(m);
    else if (what < 996)
        freeze(m);
    else if (what < 999 && !frozen)
        discard(m);
    else if (!frozen)
        start_again(m);
    check_model(m);
}

static void run_model(size_t keep_max, bool (*gate)(size_t), int steps)
{
    uint64_t live = wr_mem_live();
    struct model *m = model_new(keep_max);

    wr_mem_gate = gate;
    for (int i = 0; i < steps; i++)
        step(m);
    wr_mem_gate = NULL;
    cr_assert_eq(m->failures > 0, gate != NULL, "%u allocations failed", m->failures);
    cr_assert_gt(m->marks_seen, 1000);
    cr_assert_gt(m->refs_first, 1000);
    if (wr_sendq_is_frozen(&m->q))
        advance(m);
    start_again(m);
    model_free(m);
    cr_assert_eq(wr_mem_live(), live);
}

Test(sendq, does_as_a_plain_byte_array)
{
    run_model(1 << 16, NULL, 100000);
}

Test(sendq, does_so_when_allocations_fail)
{
    run_model(0, refuse_some, 100000);
}
