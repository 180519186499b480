/* The receive pool: one mapping, and for each buffer the segment by which a stream holds it. */
#include "bufpool.h"

#include <errno.h>
#include <sys/mman.h>

enum { FIND_TRIES = 16 };

static void push(struct wr_bufpool *p, int id)
{
    p->bufs[id].home = WR_BUF_FREE;
    p->bufs[id].at = (uint16_t)p->free_count;
    p->free[p->free_count++] = (uint16_t)id;
    wr_assert(p->free_count <= p->count);
}

static void set_run(struct wr_bufpool *p, int id, unsigned run)
{
    p->bufs[id].run = (uint8_t)run;
    p->bufs[id].seg.size = run * (size_t)p->size;
}

/* The end of a run becomes free: those behind its first `keep`. */
static void shorten(struct wr_bufpool *p, int id, unsigned keep)
{
    for (unsigned run = p->bufs[id].run; run > keep;)
        push(p, id + (int)--run);
    set_run(p, id, keep);
}

/* The first comes last, and so is used first. */
static wr_apart void break_up(struct wr_bufpool *p, int id)
{
    shorten(p, id, 1);
    push(p, id);
}

static void come_home(struct wr_bufpool *p, int id)
{
    if (wr_unlikely(p->bufs[id].run > 1))
        break_up(p, id);
    else
        push(p, id);
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
        p->bufs[id].seg = (struct wr_segment){.kind = &pool_kind, .base = wr_bufpool_base(p, id)};
        set_run(p, id, 1);
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

/* Of so many buffers that begin at a multiple of that, this one's, if all are free; else -1. */
static int run_of(const struct wr_bufpool *p, int id, int run)
{
    int first = id & -run, i = 0;
    while (i < run && p->bufs[first + i].home == WR_BUF_FREE)
        i++;
    return i == run ? first : -1;
}

/* Where the warmest buffers are; what is in pieces there is not looked for elsewhere. */
static int find_run(const struct wr_bufpool *p, int run)
{
    int first = -1;
    for (uint32_t i = p->free_count, tries = FIND_TRIES; i > 0 && tries > 0 && first < 0; tries--)
        first = run_of(p, p->free[--i], run);
    return first;
}

/* The last of the stack takes its place. */
static void pull(struct wr_bufpool *p, int id)
{
    uint16_t last = p->free[--p->free_count], at = p->bufs[id].at;
    p->free[at] = last;
    p->bufs[last].at = at;
}

static void take_whole(struct wr_bufpool *p, int first, unsigned run)
{
    for (int i = 0; i < (int)run; i++) {
        pull(p, first + i);
        p->bufs[first + i].home = WR_BUF_RUN;
    }
    p->bufs[first].home = WR_BUF_WORLD;
    set_run(p, first, run);
    p->world_count += run;
}

int wr_bufpool_find_run(struct wr_bufpool *p, unsigned depth)
{
    wr_assert(depth <= WR_RUN_DEPTH);
    for (unsigned run = 1u << depth; run > 1; run /= 2) {
        int first = wr_bufpool_available(p) >= p->count / 2 + run ? find_run(p, (int)run) : -1;
        if (first >= 0) {
            take_whole(p, first, run);
            return first;
        }
    }
    return wr_bufpool_take(p);
}

static void leave_world(struct wr_bufpool *p, int id)
{
    wr_assert(id >= 0 && (uint32_t)id < p->count && p->bufs[id].home == WR_BUF_WORLD);
    p->world_count -= p->bufs[id].run;
}

/* Who fills all is given twice as much; who does not need a second buffer, half. */
wr_apart void wr_bufpool_fit_run(struct wr_bufpool *p, int id, size_t n, uint8_t *depth)
{
    unsigned run = p->bufs[id].run, used = (unsigned)((n + p->size - 1) / p->size);
    wr_assert(p->bufs[id].home == WR_BUF_WORLD && used > 0 && used <= run);
    if (n == wr_bufpool_room(p, id) && *depth < WR_RUN_DEPTH)
        ++*depth;
    else if (n < p->size && *depth > 0)
        --*depth;
    p->world_count -= run - used;
    shorten(p, id, used);
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
