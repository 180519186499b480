/* A compiled pattern, shared by reads, loops and threads. Level 1.
 *
 * The search can stop where the bytes stop and go on when there are more, and what it finds does not depend on where
 * that was. One start after the other is tried, and each start comes to one of three ends: no match, a match, or not
 * decided by the bytes that are there. The first two are final, the third ends the search there, to be resumed. */
#ifndef WR_REGEX_H
#define WR_REGEX_H

#include "base.h"

struct weir_regex;

/* One more holder; each calls weir_regex_close once. Returns regex. */
struct weir_regex *wr_regex_hold(struct weir_regex *regex);

/* Search data[0 .. len), len > 0, for the first match that begins at `from` or behind: at 0, or where the last search
 * of these bytes told. The bytes before `from` are seen by lookbehind. `more`: bytes may follow these.
 * 1: *ret_at is the match's end, and no further byte changes that.
 * 0: there is none yet (at all, without `more`); *ret_at is where the next search is to begin.
 * WEIR_EREGEX: a bound was passed. -ENOMEM: this thread's first search, or one that is interpreted, had no memory. */
int wr_regex_search(struct weir_regex *regex, const unsigned char *data, size_t len, size_t from, bool more,
                    size_t *ret_at);

/* false: no match is in bytes of which each part was said so. Far cheaper than to search. */
bool wr_regex_worth(const struct weir_regex *regex, const unsigned char *data, size_t len);

/* For tests: false makes patterns that are opened from then on be interpreted. */
extern bool wr_regex_jit;

#endif
