/* See terms.h. */
#include "terms.h"

#include <string.h>

#include "mem.h"
#include "options.h"

enum {
    READ_MAX = 1 << 20,
    WRITE_MAX = 4 << 20,
    HIGH_WATER = 1 << 20,
    LOW_WATER = 256 << 10,
    LOOKS = 8   /* who opens each stream with other options does not search long */
};

static const uint64_t CONNECT_TIMEOUT = 10000000000u, HANDSHAKE_TIMEOUT = 10000000000u, FLUSH_TIMEOUT = 5000000000u;

int wr_terms_read(const struct weir_stream_options *given, struct weir_stream_options *opt)
{
    *opt = (struct weir_stream_options){0};
    int rc = wr_options_copy(opt, sizeof *opt, given);
    if (rc < 0)
        return rc;
    if (opt->ext_size > 1 << 20)
        return -EINVAL;
    opt->size = sizeof *opt;
    opt->max_buffer_size = opt->max_buffer_size ? opt->max_buffer_size : READ_MAX;
    opt->max_write_buffer_size = opt->max_write_buffer_size ? opt->max_write_buffer_size : WRITE_MAX;
    opt->write_high_water = wr_min(opt->write_high_water ? opt->write_high_water : HIGH_WATER,
                                   opt->max_write_buffer_size);
    opt->write_low_water = wr_min(opt->write_low_water ? opt->write_low_water : LOW_WATER, opt->write_high_water);
    opt->connect_timeout_ns = opt->connect_timeout_ns ? opt->connect_timeout_ns : CONNECT_TIMEOUT;
    opt->handshake_timeout_ns = opt->handshake_timeout_ns ? opt->handshake_timeout_ns : HANDSHAKE_TIMEOUT;
    opt->flush_timeout_ns = opt->flush_timeout_ns ? opt->flush_timeout_ns : FLUSH_TIMEOUT;
    return 0;
}

/* ---- Sharing ---- */

struct terms {
    struct wr_list link;    /* the last used is the last */
    size_t holds;
    struct weir_stream_options opt;
};

static struct terms *find(const struct wr_list *all, const struct weir_stream_options *opt)
{
    struct wr_list *node = all->prev;
    for (int i = 0; i < LOOKS && node != all; i++, node = node->prev) {
        struct terms *t = wr_home(node, struct terms, link);
        if (memcmp(&t->opt, opt, sizeof *opt) == 0)
            return t;
    }
    return NULL;
}

static struct terms *make(const struct weir_stream_options *opt)
{
    struct terms *t = wr_alloc(sizeof *t);
    if (!t)
        return NULL;
    *t = (struct terms){.opt = *opt};
    wr_list_init(&t->link);
    return t;
}

const struct weir_stream_options *wr_terms_share(struct wr_list *all, const struct weir_stream_options *opt)
{
    struct weir_stream_options plain = *opt;
    plain.on_close = NULL;
    plain.on_drain = NULL;
    plain.on_close_arg = plain.on_drain_arg = NULL;
    struct terms *t = find(all, &plain);
    if (!t && !(t = make(&plain)))
        return NULL;
    wr_list_remove(&t->link);
    wr_list_push(all, &t->link);
    t->holds++;
    return &t->opt;
}

void wr_terms_drop(const struct weir_stream_options *shared)
{
    struct terms *t = wr_home(shared, struct terms, opt);
    wr_assert(t->holds > 0);
    if (--t->holds > 0)
        return;
    wr_list_remove(&t->link);
    wr_free(t);
}
