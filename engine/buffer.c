/* The read buffer. Bytes are copied in two cases only: to join what came to what is still unread, and to leave shared
 * memory. */
#include "buffer.h"

#include <errno.h>
#include <string.h>

void wr_buf_init(struct wr_buf *b)
{
    *b = (struct wr_buf){0};
}

void wr_buf_done(struct wr_buf *b)
{
    if (b->seg)
        wr_segment_drop(b->seg);
    wr_buf_init(b);
}

void wr_buf_check(const struct wr_buf *b)
{
    wr_assert((b->seg != NULL) == (b->head < b->tail));
    wr_assert(b->seg ? b->tail <= b->seg->size && b->seg->holds > 0 : b->head == 0 && b->tail == 0);
}

/* Memory that nobody else looks at, and that is not shared. */
static bool is_own(const struct wr_buf *b)
{
    return b->seg->kind->grows && b->seg->holds == 1;
}

/* The unread bytes go to a segment of their own with room for `room`. */
static int move_out(struct wr_buf *b, struct wr_cache *cache, size_t room, uint64_t *copied)
{
    size_t len = wr_buf_len(b);
    struct wr_segment *seg = wr_segment_new(cache, room);
    if (!seg)
        return -ENOMEM;
    memcpy(seg->base, wr_buf_data(b), len);
    *copied += len;
    wr_segment_drop(b->seg);
    *b = (struct wr_buf){.seg = seg, .tail = len};
    return 0;
}

static void move_down(struct wr_buf *b, uint64_t *copied)
{
    size_t len = wr_buf_len(b);
    memmove(b->seg->base, wr_buf_data(b), len);
    *copied += len;
    b->head = 0;
    b->tail = len;
}

size_t wr_buf_room(const struct wr_buf *b)
{
    return b->seg && is_own(b) ? b->seg->size - b->tail : 0;
}

void wr_buf_put(struct wr_buf *b, size_t n)
{
    wr_assert(n <= wr_buf_room(b));
    b->tail += n;
}

/* Moving down is only worth it if at least as much is freed as is moved; else the memory doubles. */
int wr_buf_reserve(struct wr_buf *b, struct wr_cache *cache, size_t n, uint64_t *copied)
{
    size_t len = wr_buf_len(b), need;
    if (wr_buf_room(b) >= n)
        return 0;
    if (is_own(b) && b->head >= len && b->seg->size - len >= n) {
        move_down(b, copied);
        return 0;
    }
    if (__builtin_add_overflow(len, wr_max(n, len), &need))
        return -ENOMEM;
    return move_out(b, cache, need, copied);
}

static wr_apart int join(struct wr_buf *b, struct wr_cache *cache, struct wr_segment *seg, size_t off, size_t len,
                         uint64_t *copied)
{
    int rc = wr_buf_reserve(b, cache, len, copied);
    if (rc == 0) {
        memcpy(b->seg->base + b->tail, seg->base + off, len);
        *copied += len;
        b->tail += len;
    }
    wr_segment_drop(seg);
    return rc;
}

int wr_buf_take(struct wr_buf *b, struct wr_cache *cache, struct wr_segment *seg, size_t off, size_t len,
                uint64_t *copied)
{
    wr_assert(len > 0 && off <= seg->size && len <= seg->size - off);
    if (b->seg)
        return join(b, cache, seg, off, len, copied);
    *b = (struct wr_buf){.seg = seg, .head = off, .tail = off + len};
    return 0;
}

struct wr_segment *wr_buf_lend(struct wr_buf *b, size_t n)
{
    struct wr_segment *seg = b->seg;
    wr_assert(n > 0 && n <= wr_buf_len(b));
    if (n == wr_buf_len(b)) {
        wr_buf_init(b);
    } else {
        wr_segment_hold(seg);
        b->head += n;
    }
    return seg;
}

int wr_buf_move(struct wr_buf *b, struct wr_cache *cache, uint64_t *copied)
{
    return move_out(b, cache, wr_buf_len(b), copied);
}
