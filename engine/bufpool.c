/* The receive pool: one mapping, and for each buffer the segment by which a stream holds it. */
#include "bufpool.h"

#include <errno.h>
#include <sys/mman.h>

static void come_home(struct wr_bufpool *p, int id)
{
    p->bufs[id].home = WR_BUF_FREE;
    p->free[p->free_count++] = (uint16_t)id;
    wr_assert(p->free_count <= p->count);
}

static void drained(struct wr_segment *seg)
{
    struct wr_pool_buf *b = wr_home(seg, struct wr_pool_buf, seg);
    wr_assert(b->home == WR_BUF_STREAM);
    come_home(b->pool, (int)(b - b->pool->bufs));
}

static const struct wr_segment_kind pool_kind = {.name = "pool", .shared = true, .last = drained};

static void free_pool(struct wr_bufpool *p)
{
    if (p->memory != MAP_FAILED)
        munmap(p->memory, (size_t)p->size * p->count);
    wr_free(p->bufs);
    wr_free(p->free);
    *p = (struct wr_bufpool){0};
}

int wr_bufpool_open(struct wr_bufpool *p, uint32_t size, uint32_t count)
{
    wr_assert(wr_is_pow2(size) && wr_is_pow2(count) && count <= 32768);
    *p = (struct wr_bufpool){.size = size, .count = count};
    p->memory = mmap(NULL, (size_t)size * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p->bufs = wr_alloc_zeroed(count * sizeof *p->bufs);
    p->free = wr_alloc(count * sizeof *p->free);
    if (p->memory == MAP_FAILED || !p->bufs || !p->free) {
        free_pool(p);
        return -ENOMEM;
    }
    for (int id = (int)count - 1; id >= 0; id--) {
        p->bufs[id].pool = p;
        p->bufs[id].seg = (struct wr_segment){.kind = &pool_kind, .base = wr_bufpool_base(p, id), .size = size};
        come_home(p, id);
    }
    return 0;
}

void wr_bufpool_close(struct wr_bufpool *p)
{
    wr_assert(wr_bufpool_available(p) == p->count);
    free_pool(p);
}

int wr_bufpool_take(struct wr_bufpool *p)
{
    if (p->free_count == 0)
        return -1;
    int id = p->free[--p->free_count];
    wr_assert(p->bufs[id].home == WR_BUF_FREE);
    p->bufs[id].home = WR_BUF_WORLD;
    p->world_count++;
    return id;
}

static void leave_world(struct wr_bufpool *p, int id)
{
    wr_assert(id >= 0 && (uint32_t)id < p->count && p->bufs[id].home == WR_BUF_WORLD);
    p->world_count--;
}

void wr_bufpool_return(struct wr_bufpool *p, int id)
{
    leave_world(p, id);
    come_home(p, id);
}

struct wr_segment *wr_bufpool_fill(struct wr_bufpool *p, int id)
{
    leave_world(p, id);
    p->bufs[id].home = WR_BUF_STREAM;
    p->bufs[id].seg.holds = 1;
    return &p->bufs[id].seg;
}
