/* The read buffer: received bytes, always in one piece. Level 1.
 *
 * The bytes stand either in the pool buffer that the kernel filled (nothing was copied), or, once they have
 * to be kept or joined, in memory of the stream's own:  base .. head (read) .. tail (received) .. size. */
#ifndef WR_BUFFER_H
#define WR_BUFFER_H

#include "segment.h"

struct wr_buf {
    struct wr_segment *seg; /* NULL exactly when there is no byte */
    size_t head, tail;      /* the unread bytes are seg->base[head .. tail) */
};

void wr_buf_init(struct wr_buf *b);
/* Drop everything. */
void wr_buf_done(struct wr_buf *b);

static inline size_t wr_buf_len(const struct wr_buf *b)
{
    return b->tail - b->head;
}

static inline const unsigned char *wr_buf_data(const struct wr_buf *b)
{
    return b->seg ? b->seg->base + b->head : NULL;
}

/* Add seg->base[off .. off+len), which is at least one byte, behind the unread bytes: they stay where they are if there
 * are none, else they are copied. Takes over the caller's hold on seg in any case. Growth doubles, so a byte is moved a
 * constant number of times. *copied grows by the bytes copied. 0, or -ENOMEM and the unread bytes are as they were. */
int wr_buf_take(struct wr_buf *b, struct wr_cache *cache, struct wr_segment *seg, size_t off, size_t len,
                uint64_t *copied);
/* The first n bytes, at least one, have been read. They stay where they are as long as the segment that is returned:
 * one hold, which is the caller's. */
struct wr_segment *wr_buf_lend(struct wr_buf *b, size_t n);
/* What is still unread, at least one byte, moves to memory of the stream's own and of that size. 0, or -ENOMEM with
 * nothing changed. */
int wr_buf_move(struct wr_buf *b, struct wr_cache *cache, uint64_t *copied);

/* There is room for n bytes behind the unread ones, of which there is one at least, in memory of the stream's own. 0,
 * or -ENOMEM with nothing changed. */
int wr_buf_reserve(struct wr_buf *b, struct wr_cache *cache, size_t n, uint64_t *copied);
/* For how many bytes there is such room; and n of them have come, to where it begins. */
size_t wr_buf_room(const struct wr_buf *b);
void wr_buf_put(struct wr_buf *b, size_t n);

static inline int wr_buf_settle(struct wr_buf *b, struct wr_cache *cache, uint64_t *copied)
{
    return b->seg && b->seg->kind->shared ? wr_buf_move(b, cache, copied) : 0;
}

/* Much more memory is kept than there are bytes. */
static inline bool wr_buf_is_loose(const struct wr_buf *b)
{
    return b->seg && b->seg->size / 4 > wr_buf_len(b);
}

/* Asserts the inequalities above. */
void wr_buf_check(const struct wr_buf *b);

#endif
