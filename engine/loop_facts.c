/* What can be asked of a loop. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop.h"

uint64_t weir_now(struct weir_loop *loop)
{
    loop = wr_loop_or_default(loop);
    return loop ? loop->now : 0;
}

const char *weir_loop_world(struct weir_loop *loop)
{
    loop = wr_loop_or_default(loop);
    return loop ? loop->world->ops->name : "none";
}

int weir_loop_describe(struct weir_loop *loop, char *text, size_t size)
{
    static const char *const states[] = {"used", "masked", "broken", "absent", "unused"};
    if (!(loop = wr_loop_or_default(loop)) || (!text && size > 0))
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    const struct wr_report *r = &loop->world->report;
    size_t used = 0;
#define SAY(...) used += (size_t)snprintf(used < size ? text + used : NULL, used < size ? size - used : 0, __VA_ARGS__)
    SAY("world: %s\n", loop->world->ops->name);
    if (r->why[0])
        SAY("because: %s\n", r->why);
    for (unsigned i = 0; i < r->features; i++) {
        const struct wr_feature *f = &r->feature[i];
        SAY("%s: %s%s%s\n", f->name, states[f->state], f->error ? ", " : "",
            f->error ? weir_strerror(f->error) : "");
    }
#undef SAY
    return (int)used;
}

int weir_loop_stats(struct weir_loop *loop, struct weir_loop_stats *stats, size_t size)
{
    if (!(loop = wr_loop_or_default(loop)) || !stats)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc < 0)
        return rc;
    loop->stats.enters = loop->world->enters;
    loop->stats.memory = loop->cache.used;
    loop->stats.submitted = loop->world->started;
    loop->stats.buffers_free = wr_bufpool_available(&loop->world->pool);
    memcpy(stats, &loop->stats, wr_min(size, sizeof loop->stats));
    return 0;
}
