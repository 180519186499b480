/* The write queue and its frozen head.
 *
 * Pieces tile the bytes from `done` to `queued`; each has one hold on its segment. Bytes never move: a copy
 * goes behind the last piece where that piece's segment has room that nobody else can see, or into a new
 * segment. */
#include "sendq.h"

#include <errno.h>
#include <string.h>

/* What a segment for small copies has at least. With its head it fills a block of 4 KiB. */
enum { COPY_SIZE = 4096 - 64 };

#ifdef WR_CHECK
#define checked(q) wr_sendq_check(q)
#else
#define checked(q) ((void)0)
#endif

/* -- Rings. */

/* One of the two, and what stands beside it. */
struct ring {
    struct wr_ring *at;
    void *store;            /* the one element, or where the block is */
    size_t member;          /* the size of an element */
};

static inline struct ring pieces_of(const struct wr_sendq *q)
{
    struct wr_sendq *own = (struct wr_sendq *)(uintptr_t)q;
    return (struct ring){&own->pieces, &own->piece, sizeof(struct wr_piece)};
}

static inline struct ring marks_of(const struct wr_sendq *q)
{
    struct wr_sendq *own = (struct wr_sendq *)(uintptr_t)q;
    return (struct ring){&own->marks, &own->mark, sizeof(struct wr_mark)};
}

static inline void **block_of(struct ring r)
{
    return r.store;
}

static inline uint32_t ring_room(const struct wr_ring *at, size_t member)
{
    return at->size > 0 ? (uint32_t)(at->size / member) : 1;
}

static inline void *block_at(void *block, const struct wr_ring *at, size_t member, uint32_t i)
{
    uint32_t room = ring_room(at, member), slot = at->first + i;
    wr_assert(i < room);
    return (char *)block + (slot < room ? slot : slot - room) * member;
}

static inline void *ring_at(struct ring r, uint32_t i)
{
    if (wr_unlikely(r.at->size > 0))
        return block_at(*block_of(r), r.at, r.member, i);
    wr_assert(i == 0);
    return r.store;
}

static void ring_free(struct ring r, struct wr_cache *cache)
{
    if (r.at->size > 0)
        wr_cache_give(cache, *block_of(r), r.at->size);
    *r.at = (struct wr_ring){0};
}

/* Move to a block, or one of twice the size, in order. */
static wr_apart int ring_grow(const struct wr_sendq *q, struct wr_ring *at, void *store, size_t member)
{
    struct ring r = {at, store, member};
    size_t size = 0;
    void *block = NULL;
    uint32_t count = r.at->count;

    if (r.at->size <= UINT32_MAX / 4)
        block = wr_cache_take(q->cache, wr_max((size_t)r.at->size * 2, 2 * r.member), &size);
    if (!block)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        memcpy((char *)block + i * r.member, ring_at(r, i), r.member);
    ring_free(r, q->cache);
    *block_of(r) = block;
    *r.at = (struct wr_ring){.size = (uint32_t)size, .count = count};
    return 0;
}

static inline int ring_reserve(const struct wr_sendq *q, struct ring r)
{
    bool fits = wr_likely(r.at->size == 0) ? r.at->count == 0 : r.at->count < ring_room(r.at, r.member);
    return wr_likely(fits) ? 0 : ring_grow(q, r.at, r.store, r.member);
}

/* A new last element. There must be room. */
static inline void *ring_push(struct ring r)
{
    void *slot = ring_at(r, r.at->count);
    r.at->count++;
    return slot;
}

/* The block goes with the last element. */
static wr_apart void block_pop(const struct wr_sendq *q, struct wr_ring *at, void *store, size_t member)
{
    at->first = at->first + 1 < ring_room(at, member) ? at->first + 1 : 0;
    if (at->count == 0)
        ring_free((struct ring){at, store, member}, q->cache);
}

static inline void ring_pop(const struct wr_sendq *q, struct ring r)
{
    wr_assert(r.at->count > 0);
    r.at->count--;
    if (wr_unlikely(r.at->size > 0))
        block_pop(q, r.at, r.store, r.member);
}

static inline struct wr_piece *piece_at(const struct wr_sendq *q, uint32_t i)
{
    return ring_at(pieces_of(q), i);
}

static inline struct wr_mark *mark_at(const struct wr_sendq *q, uint32_t i)
{
    return ring_at(marks_of(q), i);
}

bool wr_sendq_is_own(const struct wr_sendq *q)
{
    return q->pieces.count == 1 && !piece_at(q, 0)->seg->kind->lent;
}

/* -- Queueing. */

static int reserve_piece(struct wr_sendq *q)
{
    return ring_reserve(q, pieces_of(q));
}

static void push_piece(struct wr_sendq *q, struct wr_segment *seg, size_t off, size_t len)
{
    struct wr_piece *p = ring_push(pieces_of(q));
    *p = (struct wr_piece){.seg = seg, .off = off, .len = len};
    q->queued += len;
}

/* NULL: there is none. */
static inline struct wr_piece *last_piece(const struct wr_sendq *q)
{
    return q->pieces.count > 0 ? piece_at(q, q->pieces.count - 1) : NULL;
}

/* Bytes that may be added to the piece where it stands: what is behind it, in a segment that only this piece holds, is
 * nobody's. */
static inline size_t room_behind(const struct wr_piece *p)
{
    return p && p->seg->kind->grows && p->seg->holds == 1 ? p->seg->size - p->off - p->len : 0;
}

/* The last piece becomes n bytes longer: where they go. */
static inline unsigned char *stretch(struct wr_sendq *q, struct wr_piece *last, size_t n)
{
    unsigned char *to = last->seg->base + last->off + last->len;
    last->len += n;
    q->queued += n;
    return to;
}

/* A segment with room for n bytes, and a place in the queue for its piece. */
static struct wr_segment *take_segment(struct wr_sendq *q, size_t n)
{
    struct wr_segment *seg = wr_segment_new(q->cache, wr_max(n, COPY_SIZE));
    if (seg && reserve_piece(q) < 0) {
        wr_segment_drop(seg);
        return NULL;
    }
    return seg;
}

/* All that is queued are a few bytes that stand elsewhere: with these behind them, in memory of the queue's own, they
 * are one piece. Two would cost more than that. */
static bool are_better_one(const struct wr_sendq *q, size_t len)
{
    const struct wr_piece *p = last_piece(q);
    return q->pieces.count == 1 && p->len + len <= COPY_SIZE && !wr_sendq_is_frozen(q) && !p->seg->kind->lent &&
           !p->seg->kind->file && room_behind(p) == 0;
}

static int move_in(struct wr_sendq *q, uint64_t *copied)
{
    struct wr_piece *p = last_piece(q);
    struct wr_segment *from = p->seg, *seg = wr_segment_new(q->cache, COPY_SIZE);
    if (!seg)
        return -ENOMEM;
    memcpy(seg->base, from->base + p->off, p->len);
    *copied += p->len;
    p->seg = seg;
    p->off = 0;
    wr_segment_drop(from);
    return 0;
}

/* The last piece takes as many as it has room for. */
static int copy_on(struct wr_sendq *q, const unsigned char *data, size_t len)
{
    size_t here = wr_min(room_behind(last_piece(q)), len), rest = len - here;
    struct wr_segment *seg = rest > 0 ? take_segment(q, rest) : NULL;
    if (rest > 0 && !seg)
        return -ENOMEM;
    if (here > 0)
        memcpy(stretch(q, last_piece(q), here), data, here);
    if (rest == 0)
        return 0;
    push_piece(q, seg, 0, 0);
    memcpy(stretch(q, last_piece(q), rest), data + here, rest);
    return 0;
}

static wr_apart int copy_apart(struct wr_sendq *q, const unsigned char *data, size_t len, uint64_t *copied)
{
    int rc = are_better_one(q, len) ? move_in(q, copied) : 0;
    if (rc == 0)
        rc = copy_on(q, data, len);
    if (rc == 0)
        *copied += len;
    return rc;
}

inline int wr_sendq_copy(struct wr_sendq *q, const void *data, size_t len, uint64_t *copied)
{
    struct wr_piece *last = last_piece(q);
    checked(q);
    if (wr_unlikely(len > room_behind(last)))
        return copy_apart(q, data, len, copied);
    memcpy(stretch(q, last, len), data, len);
    *copied += len;
    checked(q);
    return 0;
}

/* In one piece, the last. */
static int make_room(struct wr_sendq *q, size_t n, uint64_t *copied)
{
    if (n <= room_behind(last_piece(q)))
        return 0;
    if (are_better_one(q, n))
        return move_in(q, copied);
    struct wr_segment *seg = take_segment(q, n);
    if (!seg)
        return -ENOMEM;
    push_piece(q, seg, 0, 0);
    return 0;
}

int wr_sendq_gather(struct wr_sendq *q, const struct iovec *iov, size_t count, size_t total, uint64_t *copied)
{
    checked(q);
    if (make_room(q, total, copied) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (iov[i].iov_len > 0)
            memcpy(stretch(q, last_piece(q), iov[i].iov_len), iov[i].iov_base, iov[i].iov_len);
    *copied += total;
    checked(q);
    return 0;
}

inline bool wr_sendq_join(struct wr_sendq *q, const struct wr_segment *seg, size_t off, size_t len)
{
    struct wr_piece *last = last_piece(q);
    if (!last || last->seg != seg || last->off + last->len != off || last->len == 0)
        return false;
    last->len += len;
    q->queued += len;
    checked(q);
    return true;
}

int wr_sendq_refer(struct wr_sendq *q, struct wr_segment *seg, size_t off, size_t len)
{
    wr_assert(seg->holds > 0 && (seg->kind->file || (off <= seg->size && len <= seg->size - off)));
    checked(q);
    if (reserve_piece(q) < 0)
        return -ENOMEM;
    push_piece(q, seg, off, len);
    q->empty += len == 0;
    q->in_files += seg->kind->file ? len : 0;
    checked(q);
    return 0;
}

wr_apart int wr_sendq_reserve_mark(struct wr_sendq *q)
{
    return ring_reserve(q, marks_of(q));
}

int wr_sendq_mark(struct wr_sendq *q, const struct wr_mark *mark)
{
    wr_assert(q->marks.count == 0 || mark_at(q, q->marks.count - 1)->at <= q->queued);
    if (wr_sendq_reserve_mark(q) < 0)
        return -ENOMEM;
    struct wr_mark *m = ring_push(marks_of(q));
    *m = *mark;
    m->at = q->queued;
    checked(q);
    return 0;
}

/* -- Sending. */

unsigned wr_sendq_freeze(struct wr_sendq *q, struct iovec *iov, unsigned count, size_t max)
{
    unsigned used = 0;
    size_t total = 0;

    max = wr_min(max, UINT32_MAX);
    checked(q);
    wr_assert(!wr_sendq_is_frozen(q));
    for (uint32_t i = 0; i < q->pieces.count && used < count && total < max; i++) {
        const struct wr_piece *p = piece_at(q, i);
        size_t part = wr_min(p->len, max - total);
        if (part == 0)
            continue;
        if (p->seg->kind->file)
            break;
        iov[used++] = (struct iovec){.iov_base = p->seg->base + p->off, .iov_len = part};
        total += part;
    }
    q->frozen = (uint32_t)total;
    checked(q);
    return used;
}

const struct wr_piece *wr_sendq_freeze_file(struct wr_sendq *q, size_t max, size_t *ret_n)
{
    checked(q);
    wr_assert(!wr_sendq_is_frozen(q));
    const struct wr_piece *p = NULL;
    for (uint32_t i = 0; i < q->pieces.count && (!p || p->len == 0); i++)
        p = piece_at(q, i);
    if (!p || p->len == 0 || !p->seg->kind->file)
        return NULL;
    *ret_n = wr_min(p->len, wr_min(max, UINT32_MAX));
    q->frozen = (uint32_t)*ret_n;
    return p;
}

/* This runs the user's release, which may queue more: the queue must be in order before each call. */
static void drop_first(struct wr_sendq *q)
{
    struct wr_segment *seg = piece_at(q, 0)->seg;
    ring_pop(q, pieces_of(q));
    wr_segment_drop(seg);
}

/* Empty pieces are done once they are first. Those that a release adds meanwhile wait for the next call. */
static wr_apart void drop_some_empty(struct wr_sendq *q)
{
    for (uint32_t n = q->empty; n > 0 && piece_at(q, 0)->len == 0; n--) {
        q->empty--;
        drop_first(q);
    }
}

static inline void drop_empty(struct wr_sendq *q)
{
    if (wr_unlikely(q->empty > 0))
        drop_some_empty(q);
}

void wr_sendq_advance(struct wr_sendq *q, size_t n)
{
    checked(q);
    wr_assert(n <= q->frozen);
    q->frozen = (uint32_t)n;
    while (n > 0) {
        struct wr_piece *p = piece_at(q, 0);
        size_t part = wr_min(n, p->len);
        n -= part;
        q->done += part;
        q->frozen -= (uint32_t)part;
        if (wr_unlikely(p->seg->kind->file))
            q->in_files -= part;
        if (wr_unlikely(p->len == 0))
            q->empty--;
        if (part == p->len) {
            drop_first(q);
        } else {
            p->off += part;
            p->len -= part;
        }
    }
    drop_empty(q);
    checked(q);
}

static bool mark_is_due(const struct wr_sendq *q)
{
    return q->marks.count > 0 && mark_at(q, 0)->at <= q->done;
}

bool wr_sendq_next_mark(struct wr_sendq *q, bool all, struct wr_mark *ret_mark)
{
    drop_empty(q);
    return (all || mark_is_due(q)) && wr_sendq_take_mark(q, ret_mark);
}

bool wr_sendq_take_mark(struct wr_sendq *q, struct wr_mark *ret_mark)
{
    if (q->marks.count == 0)
        return false;
    *ret_mark = *mark_at(q, 0);
    ring_pop(q, marks_of(q));
    checked(q);
    return true;
}

/* -- Life. */

void wr_sendq_init(struct wr_sendq *q, struct wr_cache *cache)
{
    *q = (struct wr_sendq){.cache = cache};
}

/* The pieces leave the queue before the first release runs: what that may queue is not dropped here. */
void wr_sendq_discard(struct wr_sendq *q)
{
    struct wr_sendq left = *q;

    checked(q);
    wr_assert(!wr_sendq_is_frozen(q));
    q->pieces = (struct wr_ring){0};
    q->empty = 0;
    q->in_files = 0;
    q->queued = q->done;
    while (left.pieces.count > 0) {
        struct wr_segment *seg = piece_at(&left, 0)->seg;
        ring_pop(&left, pieces_of(&left));
        wr_segment_drop(seg);
    }
    checked(q);
}

void wr_sendq_done(struct wr_sendq *q)
{
    wr_sendq_discard(q);
    wr_assert(q->pieces.count == 0);
    ring_free(marks_of(q), q->cache);
}

void wr_sendq_check(const struct wr_sendq *q)
{
    uint64_t bytes = 0, in_files = 0, before = 0;
    uint32_t empty = 0;

    wr_assert(q->done <= q->queued && q->frozen <= q->queued - q->done);
    for (uint32_t i = 0; i < q->pieces.count; i++) {
        const struct wr_piece *p = piece_at(q, i);
        wr_assert(p->seg->holds > 0);
        wr_assert(p->seg->kind->file || (p->off <= p->seg->size && p->len <= p->seg->size - p->off));
        bytes += p->len;
        empty += p->len == 0;
        in_files += p->seg->kind->file ? p->len : 0;
    }
    wr_assert(bytes == q->queued - q->done && empty == q->empty && in_files == q->in_files);
    wr_assert(q->pieces.count > 0 || q->pieces.size == 0);
    wr_assert(q->marks.count > 0 || q->marks.size == 0);
    for (uint32_t i = 0; i < q->marks.count; i++) {
        wr_assert(mark_at(q, i)->at >= before);
        before = mark_at(q, i)->at;
    }
    /* Only a discard leaves marks behind what is queued, and it leaves no pieces. */
    wr_assert(before <= q->queued || q->pieces.count == 0);
}
