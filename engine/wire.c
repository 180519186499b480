/* Both ends of the wire. */
#include "wire.h"

#include "weir_layer.h"

void wr_wire_init(struct weir_wire *w, struct wr_cache *cache, struct wr_sendq *out, size_t limit)
{
    *w = (struct weir_wire){.cache = cache, .out = out, .limit = limit};
    wr_buf_init(&w->in);
}

void wr_wire_done(struct weir_wire *w)
{
    wr_buf_done(&w->in);
}

void wr_wire_feed(struct weir_wire *w, struct wr_segment *seg, size_t off, size_t len)
{
    int rc = wr_buf_take(&w->in, w->cache, seg, off, len, &w->copied);
    if (rc < 0)
        w->error = rc;
}

/* ---- For verbs ---- */

size_t weir_wire_look(struct weir_wire *wire, const void **ret_data)
{
    *ret_data = wr_buf_data(&wire->in);
    return wr_buf_len(&wire->in);
}

void weir_wire_take(struct weir_wire *wire, size_t n)
{
    n = wr_min(n, wr_buf_len(&wire->in));
    if (n > 0)
        wr_segment_drop(wr_buf_lend(&wire->in, n));
}

size_t weir_wire_room(const struct weir_wire *wire)
{
    return wire->limit - wr_min(wr_sendq_len(wire->out), wire->limit);
}

size_t weir_wire_put(struct weir_wire *wire, const void *data, size_t len)
{
    size_t n = wr_min(len, weir_wire_room(wire));
    if (n == 0 || wire->closed)
        return n;
    uint64_t copied = 0;
    int rc = wr_sendq_copy(wire->out, data, n, &copied);
    if (rc < 0)
        wire->error = rc;
    return rc < 0 ? 0 : n;
}
