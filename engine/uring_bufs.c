/* The ring of provided buffers: the kernel takes one when bytes come, so an idle stream has none. */
#include "uring.h"

#include <errno.h>
#include <sys/mman.h>

enum {
    WARM_BYTES = 1 << 20,
    OFFER_EACH = 64         /* bytes: a buffer's own, whatever it gets */
};

static size_t ring_bytes(const struct wr_uring *u)
{
    return u->w.pool.count * sizeof(struct io_uring_buf);
}

int wr_uring_bufs_open(struct wr_uring *u)
{
    void *memory = mmap(NULL, ring_bytes(u), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = u->w.pool.count};
    int rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc < 0) {
        munmap(memory, ring_bytes(u));
        return rc;
    }
    u->bufs = memory;
    io_uring_buf_ring_init(u->bufs);
    return 0;
}

void wr_uring_bufs_close(struct wr_uring *u)
{
    if (!u->bufs)
        return;
    io_uring_unregister_buf_ring(&u->ring, 0);
    munmap(u->bufs, ring_bytes(u));
    u->bufs = NULL;
    for (uint32_t id = 0; id < u->w.pool.count; id++)
        if (u->w.pool.bufs[id].home == WR_BUF_WORLD)
            wr_bufpool_return(&u->w.pool, (int)id);
}

void wr_uring_bufs_filled(struct wr_uring *u, uint32_t len)
{
    u->fill = (u->fill * 15 + len) / 16;
}

/* As many as what they are likely to bring fits the processor's cache: the kernel fills them in turn, and what is far
 * ahead of us is cold when we come to it. One that has none waits until the next turn. */
static uint32_t how_many(const struct wr_uring *u)
{
    uint32_t n = WARM_BYTES / (u->fill + OFFER_EACH);
    return n > WR_OFFER_MIN ? n : WR_OFFER_MIN;
}

void wr_uring_bufs_offer(struct wr_uring *u)
{
    int id, n = 0, mask = io_uring_buf_ring_mask(u->w.pool.count);
    if (!u->bufs)
        return;
    for (uint32_t most = how_many(u); u->w.pool.world_count < most && (id = wr_bufpool_take(&u->w.pool)) >= 0;)
        io_uring_buf_ring_add(u->bufs, wr_bufpool_base(&u->w.pool, id), u->w.pool.size, (unsigned short)id, mask,
                              n++);
    if (n > 0)
        io_uring_buf_ring_advance(u->bufs, n);
}
