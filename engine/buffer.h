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

/* Add seg->base[off .. off+len) behind the unread bytes: by a hold on seg if there are none, else by copying.
 * The caller keeps its own hold on seg. Growth doubles, so a byte is moved a constant number of times. *copied
 * grows by the bytes copied. 0, or -ENOMEM with nothing changed. */
int wr_buf_take(struct wr_buf *b, struct wr_cache *cache, struct wr_segment *seg, size_t off, size_t len,
                uint64_t *copied);
/* The first n bytes have been read. The segment is dropped with the last byte. */
void wr_buf_consume(struct wr_buf *b, size_t n);
/* What is still unread leaves shared memory for the stream's own. 0, or -ENOMEM with nothing changed. */
int wr_buf_settle(struct wr_buf *b, struct wr_cache *cache, uint64_t *copied);
/* Asserts the inequalities above. */
void wr_buf_check(const struct wr_buf *b);

#endif
