/* What can be asked of a stream, and set, without changing its life. */
#include <errno.h>
#include <string.h>

#include "stream.h"

int weir_stream_on_close(struct weir_stream *s, weir_close_fn *fn, void *arg)
{
    if (!s)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    wr_context_drop(s->close_context);
    s->close_context = wr_context_capture(s->loop);
    s->on_close = fn;
    s->on_close_arg = arg;
    return 0;
}

int weir_stream_facts(struct weir_stream *s, struct weir_stream_facts *facts, size_t size)
{
    if (!s || !facts)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    struct weir_stream_facts all = {
        .reading = s->match.kind != WR_MATCH_NONE,
        .writing = wr_stream_queued(s) > 0,
        .closed = s->life > WR_LIFE_OPEN || s->flush_wanted,
        .full = s->full,
        .error = s->life > WR_LIFE_OPEN ? s->reason : 0,
        .buffered = wr_buf_len(&s->buf),
        .queued = wr_stream_queued(s),
        .bytes_in = s->bytes_in,
        .bytes_out = s->sendq.done,
    };
    memcpy(facts, &all, wr_min(size, sizeof all));
    return 0;
}

void *weir_stream_ext(struct weir_stream *s)
{
    return s && s->opt->ext_size > 0 ? (char *)s + WR_STREAM_EXT : NULL;
}

struct weir_loop *weir_stream_loop(struct weir_stream *s)
{
    return s ? s->loop : NULL;
}

int weir_stream_address(struct weir_stream *s, int peer, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    if (!s || !ret_addr || !ret_len)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life == WR_LIFE_CLOSED)
        return WEIR_ECLOSED;
    return s->loop->world->ops->address(s->loop->world, s->out.fd, peer != 0, ret_addr, ret_len);
}

int weir_stream_set_nodelay(struct weir_stream *s, int on)
{
    if (!s)
        return -EINVAL;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    if (s->life == WR_LIFE_CLOSED)
        return WEIR_ECLOSED;
    if (s->nodelay == (on != 0))
        return 0;
    if ((rc = s->loop->world->ops->option(s->loop->world, s->out.fd, WR_SO_NODELAY, on != 0)) == 0)
        s->nodelay = on != 0;
    return rc;
}
