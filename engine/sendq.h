/* The write queue and its frozen head, as offsets into the stream's outgoing bytes. Level 1.
 *
 *     done  <=  done + frozen  <=  queued
 *
 * Bytes before `done` are the kernel's. The `frozen` bytes behind it are in the hands of a send (or must be
 * offered again unchanged): they keep address, length and order until wr_sendq_advance. New bytes go behind
 * `queued` only. Marks are completions at their own byte position, in order. */
#ifndef WR_SENDQ_H
#define WR_SENDQ_H

#include <sys/uio.h>

#include "segment.h"

struct weir_stream;
struct weir_context;

struct wr_mark {
    uint64_t at;
    void (*fn)(struct weir_stream *s, int status, void *arg);   /* a weir_write_fn */
    void *arg;
    struct weir_context *context;   /* what the call runs in; not looked at here */
};

struct wr_piece {
    struct wr_segment *seg;
    size_t off, len;
};

/* A queue of pieces or marks. One stands beside the ring, more in its place in a block of the cache, which goes with
 * the last: an idle stream owns none. */
struct wr_ring {
    uint32_t size;          /* of the block, in bytes; 0: there is none */
    uint32_t first, count;  /* in elements */
};

struct wr_sendq {
    uint64_t done, queued;
    uint64_t in_files;      /* queued bytes that are files' */
    uint32_t frozen;
    struct wr_ring pieces;
    union {
        struct wr_piece one;
        void *block;
    } piece;
    uint32_t empty;         /* pieces of no bytes */
    struct wr_ring marks;
    union {                 /* from here on, seldom looked at */
        struct wr_mark one;
        void *block;
    } mark;
    struct wr_cache *cache;
};

void wr_sendq_init(struct wr_sendq *q, struct wr_cache *cache);
/* Drop all pieces and marks (marks uncalled; pieces' releases run). Nothing may be frozen. */
void wr_sendq_done(struct wr_sendq *q);

/* All return 0, or -ENOMEM with nothing to be seen of it. Copies of neighbouring small writes share a segment; each
 * has at least one byte. *copied grows by how many bytes were: a few that stand elsewhere move in with those behind. */
int wr_sendq_copy(struct wr_sendq *q, const void *data, size_t len, uint64_t *copied);
/* What the vector names, `total` bytes, stays in one piece. */
int wr_sendq_gather(struct wr_sendq *q, const struct iovec *iov, size_t count, size_t total,
                    uint64_t *copied);
/* Takes over the caller's hold on seg, if it succeeds. With len == 0 too the release does not run at once. */
int wr_sendq_refer(struct wr_sendq *q, struct wr_segment *seg, size_t off, size_t len);
/* If these bytes, at least one, stand right behind those of the last piece, it has them too, and its hold does for all.
 * Else nothing has changed. */
bool wr_sendq_join(struct wr_sendq *q, const struct wr_segment *seg, size_t off, size_t len);
/* Call `mark`, whose position is filled in, when all that is queued now is done. */
int wr_sendq_mark(struct wr_sendq *q, const struct wr_mark *mark);
/* Room for one more mark, so that the next wr_sendq_mark cannot fail. */
int wr_sendq_reserve_mark(struct wr_sendq *q);

static inline size_t wr_sendq_len(const struct wr_sendq *q)
{
    return (size_t)(q->queued - q->done);
}

/* Of them, those that take memory. */
static inline size_t wr_sendq_in_memory(const struct wr_sendq *q)
{
    return (size_t)(q->queued - q->done - q->in_files);
}

static inline bool wr_sendq_is_frozen(const struct wr_sendq *q)
{
    return q->frozen > 0;
}

/* All that is queued is one piece, of memory that nobody waits for. */
bool wr_sendq_is_own(const struct wr_sendq *q);

/* Freeze the head: at most `max` bytes, in at most `count` pieces, written to iov. It ends before a piece of a file.
 * Returns how many pieces; 0 if no bytes are queued. Nothing may be frozen already. */
unsigned wr_sendq_freeze(struct wr_sendq *q, struct iovec *iov, unsigned count, size_t max);
/* The head (pieces of no bytes apart) is a piece of a file: freeze at most `max` bytes of it and return it, its `off`
 * being the place in the file; else NULL. *ret_n becomes the bytes. */
const struct wr_piece *wr_sendq_freeze_file(struct wr_sendq *q, size_t max, size_t *ret_n);
/* n bytes of the frozen head have gone; the rest of it thaws. Drops the pieces that are done. */
void wr_sendq_advance(struct wr_sendq *q, size_t n);
/* The next mark that is due (all = false: at <= done; true: any), removed. Empty pieces that are due are
 * dropped before. */
bool wr_sendq_next_mark(struct wr_sendq *q, bool all, struct wr_mark *ret_mark);
/* The first mark, due or not, removed; false if there is none. */
bool wr_sendq_take_mark(struct wr_sendq *q, struct wr_mark *ret_mark);
/* Drop the unsent bytes (releases run), keep the marks: they fail one by one. Nothing may be frozen. */
void wr_sendq_discard(struct wr_sendq *q);
/* Asserts the inequalities above, and that pieces add up. */
void wr_sendq_check(const struct wr_sendq *q);

#endif
