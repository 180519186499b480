/* The receive buffers that all streams of a loop share. Level 2.
 *
 * A buffer is free, the world's (offered to the kernel) or a stream's (filled, and held as a segment). Several that are
 * neighbours may go as one, a run, whose id is that of the first: one segment, and one receive fills it. */
#ifndef WR_BUFPOOL_H
#define WR_BUFPOOL_H

#include "segment.h"

enum wr_bufpool_home { WR_BUF_FREE, WR_BUF_WORLD, WR_BUF_STREAM, WR_BUF_RUN /* where the first of its run is */ };

enum {
    WR_RUN_DEPTH = 4,       /* a run has at most 1 << this buffers */
    WR_OFFER_MIN = 16       /* so many a world has for receives at the least, if so many are available */
};

struct wr_pool_buf {
    struct wr_segment seg;
    struct wr_bufpool *pool;
    uint16_t at;                /* where in the stack it stands, while it is free */
    uint8_t home;               /* enum wr_bufpool_home */
    uint8_t run;                /* buffers of the run that it is the first of; else 1 */
};

struct wr_bufpool {
    unsigned char *memory;      /* count * size bytes, page aligned */
    uint32_t size, count;
    struct wr_pool_buf *bufs;
    uint16_t *free;             /* a stack of ids: the warmest is used first */
    uint32_t free_count, world_count;
};

/* size and count are powers of two, count <= 32768. 0, or -ENOMEM and *p is zero. */
int wr_bufpool_open(struct wr_bufpool *p, uint32_t size, uint32_t count);
/* Every buffer must be home: free or the world's. */
void wr_bufpool_close(struct wr_bufpool *p);

/* free -> world: its id, or -1 if none is free. */
int wr_bufpool_take(struct wr_bufpool *p);
/* world -> free: it was not filled. */
void wr_bufpool_return(struct wr_bufpool *p, int id);
/* The two below, where there is more to do. */
int wr_bufpool_find_run(struct wr_bufpool *p, unsigned depth);
void wr_bufpool_fit_run(struct wr_bufpool *p, int id, size_t n, uint8_t *depth);
/* world -> stream: it was filled. The segment has one hold; dropping the last makes the buffer free. */
struct wr_segment *wr_bufpool_fill(struct wr_bufpool *p, int id);

static inline unsigned char *wr_bufpool_base(const struct wr_bufpool *p, int id)
{
    return p->memory + (size_t)id * p->size;
}

/* What a receive into it may bring. */
static inline size_t wr_bufpool_room(const struct wr_bufpool *p, int id)
{
    return p->bufs[id].seg.size;
}

/* free -> world, for receives that go on: a run of 1 << depth buffers, or of fewer; -1 if none is free. More than one
 * only as long as half of the pool is left for others. */
static inline int wr_bufpool_take_run(struct wr_bufpool *p, unsigned depth)
{
    return wr_unlikely(depth > 0) ? wr_bufpool_find_run(p, depth) : wr_bufpool_take(p);
}

/* A receive has brought the first n bytes: what they do not reach becomes free, and *depth, after which its run was
 * taken, is what the next one of the same descriptor should be given. */
static inline void wr_bufpool_judge(struct wr_bufpool *p, int id, size_t n, uint8_t *depth)
{
    if (wr_unlikely(*depth > 0 || n == wr_bufpool_room(p, id)))
        wr_bufpool_fit_run(p, id, n, depth);
}

/* Buffers that a receive could be given: all but the streams'. */
static inline uint32_t wr_bufpool_available(const struct wr_bufpool *p)
{
    return p->free_count + p->world_count;
}

#endif
