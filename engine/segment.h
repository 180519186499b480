/* A counted piece of memory: from the heap, from the receive pool, or borrowed from the user. Level 1. */
#ifndef WR_SEGMENT_H
#define WR_SEGMENT_H

#include "mem.h"

struct wr_segment;

struct wr_segment_kind {
    const char *name;
    bool shared;                            /* pool memory: keep it for as short as can be */
    bool grows;                             /* bytes may be added behind what is used */
    bool lent;                              /* somebody is told when it is no longer held */
    bool file;                              /* the bytes are a file's, and not in memory: base is NULL */
    void (*last)(struct wr_segment *seg);   /* the last hold was dropped */
};

struct wr_segment {
    const struct wr_segment_kind *kind;
    unsigned char *base;
    size_t size;
    uint32_t holds;
};

extern const struct wr_segment_kind wr_segment_heap, wr_segment_borrowed, wr_segment_file, wr_segment_read;

/* One hold each. NULL when out of memory. The heap kind has at least `size` bytes. */
struct wr_segment *wr_segment_new(struct wr_cache *cache, size_t size);
/* `release` (may be NULL) runs once, with the last drop. */
struct wr_segment *wr_segment_borrow(struct wr_cache *cache, const void *data, size_t len,
                                     void (*release)(const void *data, size_t len, void *arg), void *arg);

/* Bytes of the file fd. With size 0 they stay there, and pieces say which; else there is memory to read them into.
 * `release` (may be NULL) as above. */
struct wr_segment *wr_segment_of_file(struct wr_cache *cache, int fd, size_t size, void (*release)(int fd, void *arg),
                                      void *arg);
int wr_segment_fd(const struct wr_segment *file);

/* Undo either of these: nothing was borrowed, `release` does not run. */
void wr_segment_forget(struct wr_segment *seg);

static inline void wr_segment_hold(struct wr_segment *seg)
{
    wr_assert(seg->holds > 0);
    seg->holds++;
}

static inline void wr_segment_drop(struct wr_segment *seg)
{
    wr_assert(seg->holds > 0);
    if (--seg->holds == 0)
        seg->kind->last(seg);
}

#endif
