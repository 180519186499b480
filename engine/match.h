/* A pending read: when is it satisfied, and by how many bytes? Level 1. */
#ifndef WR_MATCH_H
#define WR_MATCH_H

#include "mem.h"

enum wr_match_kind {
    WR_MATCH_NONE = 0,
    WR_MATCH_BYTES,     /* exactly n */
    WR_MATCH_SOME,      /* 1 to n */
    WR_MATCH_UNTIL,     /* to the end of the delimiter, at most n in all */
    WR_MATCH_CLOSE,     /* everything before the end, at most n */
    WR_MATCH_CHUNKS     /* as SOME, again and again */
};

enum wr_match_verdict { WR_MATCH_MORE, WR_MATCH_FOUND, WR_MATCH_NEVER };

enum { WR_MATCH_INLINE = 16 };

struct wr_match {
    uint8_t kind;
    uint16_t partial;       /* UNTIL: how many delimiter bytes the scanned bytes end with */
    uint32_t delim_len;
    size_t n;
    size_t scanned;         /* UNTIL: bytes of the unread ones that were looked at already */
    union {
        unsigned char bytes[WR_MATCH_INLINE];
        unsigned char *block;   /* longer delimiters: the bytes, then their failure table */
    } delim;
};

enum { WR_DELIM_MAX = 1024 };

/* Each makes m the pending read; before, there is none: m is all zero, or done. wr_match_until copies delim
 * (1 to WR_DELIM_MAX bytes, <= max); 0 or -ENOMEM. */
void wr_match_bytes(struct wr_match *m, size_t n);
void wr_match_some(struct wr_match *m, size_t max);
int wr_match_until(struct wr_match *m, const void *delim, size_t delim_len, size_t max);
void wr_match_close(struct wr_match *m, size_t max);
void wr_match_chunks(struct wr_match *m);
/* No pending read; frees the delimiter. */
void wr_match_done(struct wr_match *m);

/* Look at the unread bytes, of which those seen by earlier scans of this read have not changed.
 * FOUND: *ret_n bytes satisfy it. NEVER: UNTIL's or CLOSE's limit is passed; CLOSE gives *ret_n = n, what may
 * still be handed over. CLOSE is never FOUND here: the end of the stream satisfies it.
 * UNTIL looks at each byte at most three times, whatever the pieces and the delimiter. */
enum wr_match_verdict wr_match_scan(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n);

/* Bytes that this thread's scans have looked at since it began: for the tests that count. */
extern _Thread_local uint64_t wr_match_looked;

#endif
