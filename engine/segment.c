/* Segments of the heap, of the user and of files. Those of the receive pool are in bufpool.c. */
#include "segment.h"

struct heap_segment {
    struct wr_segment seg;
    struct wr_cache *cache;
    size_t block_size;
};

struct borrowed_segment {
    struct wr_segment seg;
    struct wr_cache *cache;
    size_t block_size;
    void (*release)(const void *data, size_t len, void *arg);
    void *arg;
};

struct file_segment {
    struct wr_segment seg;
    struct wr_cache *cache;
    size_t block_size;
    void (*release)(int fd, void *arg);
    void *arg;
    int fd;
};

static void give_heap(struct wr_segment *seg)
{
    struct heap_segment *h = wr_home(seg, struct heap_segment, seg);
    wr_cache_give(h->cache, h, h->block_size);
}

static void give_borrowed(struct wr_segment *seg)
{
    struct borrowed_segment *b = wr_home(seg, struct borrowed_segment, seg);
    wr_cache_give(b->cache, b, b->block_size);
}

/* The user's release may use the cache: what it is told is read before the block goes back. */
static void release_borrowed(struct wr_segment *seg)
{
    struct borrowed_segment b = *wr_home(seg, struct borrowed_segment, seg);
    give_borrowed(seg);
    if (b.release)
        b.release(b.seg.base, b.seg.size, b.arg);
}

static void give_file(struct wr_segment *seg)
{
    struct file_segment *f = wr_home(seg, struct file_segment, seg);
    wr_cache_give(f->cache, f, f->block_size);
}

static void release_file(struct wr_segment *seg)
{
    struct file_segment f = *wr_home(seg, struct file_segment, seg);
    give_file(seg);
    if (f.release)
        f.release(f.fd, f.arg);
}

const struct wr_segment_kind wr_segment_heap = {.name = "heap", .grows = true, .last = give_heap};
const struct wr_segment_kind wr_segment_borrowed = {.name = "borrowed", .lent = true, .last = release_borrowed};
const struct wr_segment_kind wr_segment_file = {.name = "file", .lent = true, .file = true, .last = release_file};
const struct wr_segment_kind wr_segment_read = {.name = "read", .lent = true, .last = release_file};

struct wr_segment *wr_segment_new(struct wr_cache *cache, size_t size)
{
    size_t want, block_size;
    if (__builtin_add_overflow(size, sizeof(struct heap_segment), &want))
        return NULL;
    struct heap_segment *h = wr_cache_take(cache, want, &block_size);
    if (!h)
        return NULL;
    h->seg = (struct wr_segment){.kind = &wr_segment_heap,
                                 .base = (unsigned char *)(h + 1),
                                 .size = block_size - sizeof *h,
                                 .holds = 1};
    h->cache = cache;
    h->block_size = block_size;
    return &h->seg;
}

struct wr_segment *wr_segment_borrow(struct wr_cache *cache, const void *data, size_t len,
                                     void (*release)(const void *data, size_t len, void *arg), void *arg)
{
    size_t block_size;
    struct borrowed_segment *b = wr_cache_take(cache, sizeof *b, &block_size);
    if (!b)
        return NULL;
    b->seg = (struct wr_segment){.kind = &wr_segment_borrowed,
                                 .base = (unsigned char *)(uintptr_t)data,
                                 .size = len,
                                 .holds = 1};
    b->cache = cache;
    b->block_size = block_size;
    b->release = release;
    b->arg = arg;
    return &b->seg;
}

struct wr_segment *wr_segment_of_file(struct wr_cache *cache, int fd, size_t size, void (*release)(int fd, void *arg),
                                      void *arg)
{
    size_t block_size;
    struct file_segment *f = wr_cache_take(cache, sizeof *f + size, &block_size);
    if (!f)
        return NULL;
    *f = (struct file_segment){.seg = {.kind = &wr_segment_file, .holds = 1},
                               .cache = cache,
                               .block_size = block_size,
                               .release = release,
                               .arg = arg,
                               .fd = fd};
    if (size > 0) {
        f->seg.kind = &wr_segment_read;
        f->seg.base = (unsigned char *)(f + 1);
        f->seg.size = size;
    }
    return &f->seg;
}

int wr_segment_fd(const struct wr_segment *file)
{
    wr_assert(file->kind == &wr_segment_file);
    return wr_home(file, const struct file_segment, seg)->fd;
}

void wr_segment_forget(struct wr_segment *seg)
{
    wr_assert(seg->holds == 1 && (seg->kind == &wr_segment_borrowed || seg->kind->last == release_file));
    if (seg->kind == &wr_segment_borrowed)
        give_borrowed(seg);
    else
        give_file(seg);
}
