/* The wire of a stream with a layer: what came from the peer, and what goes to it. Level 1.
 *
 * What goes to it is bounded: a layer that would put more wants room first. */
#ifndef WR_WIRE_H
#define WR_WIRE_H

#include "buffer.h"
#include "sendq.h"

struct weir_wire {
    struct wr_cache *cache;
    struct wr_buf in;
    struct wr_sendq *out;   /* the stream's, or a test's */
    size_t limit;           /* bytes in `out` beyond which there is no room */
    uint64_t copied;        /* bytes that were copied to stand in one piece */
    int error;              /* -ENOMEM once memory was lacking */
    bool closed;            /* nothing goes out any more: what is put is dropped */
};

void wr_wire_init(struct weir_wire *w, struct wr_cache *cache, struct wr_sendq *out, size_t limit);
/* Drop what came. */
void wr_wire_done(struct weir_wire *w);

/* Bytes came: seg->base[off .. off+len). Takes over the caller's hold on seg. */
void wr_wire_feed(struct weir_wire *w, struct wr_segment *seg, size_t off, size_t len);

static inline size_t wr_wire_came(const struct weir_wire *w)
{
    return wr_buf_len(&w->in);
}

/* So much has come, and was not taken, that nothing more is received. */
static inline bool wr_wire_is_full(const struct weir_wire *w)
{
    return wr_wire_came(w) >= 1 << 20;
}

#endif
