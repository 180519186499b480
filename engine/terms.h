/* What a stream was opened with: its options, the defaults filled in. They do not change, and streams that were given
 * the same share them. Level 1. */
#ifndef WR_TERMS_H
#define WR_TERMS_H

#include "list.h"
#include "weir.h"

/* Fill in the defaults. 0, -EINVAL or -E2BIG. */
int wr_terms_read(const struct weir_stream_options *given, struct weir_stream_options *opt);

/* One hold on options like these, but without the callbacks, since each stream has its own. `all` are those that are
 * held, and may be shared. NULL when out of memory. */
const struct weir_stream_options *wr_terms_share(struct wr_list *all, const struct weir_stream_options *opt);
void wr_terms_drop(const struct weir_stream_options *shared);

#endif
