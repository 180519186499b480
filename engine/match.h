/* A pending read: when is it satisfied, and by how many bytes? Level 1. */
#ifndef WR_MATCH_H
#define WR_MATCH_H

#include "mem.h"
#include "regex.h"

struct weir_frame;

enum wr_match_kind {
    WR_MATCH_NONE = 0,
    WR_MATCH_BYTES,     /* exactly n */
    WR_MATCH_SOME,      /* 1 to n */
    WR_MATCH_UNTIL,     /* to the end of the delimiter, at most n in all */
    WR_MATCH_CLOSE,     /* everything before the end, at most n */
    WR_MATCH_CHUNKS,    /* as SOME, again and again */
    WR_MATCH_REGEX,     /* to the end of the first match, at most n in all */
    WR_MATCH_FRAME      /* as many as the header in them tells, at most n */
};

enum wr_match_verdict { WR_MATCH_MORE, WR_MATCH_FOUND, WR_MATCH_NEVER };

enum { WR_MATCH_INLINE = 16 };

struct wr_match {
    uint8_t kind;
    bool worth : 1;         /* REGEX: the scanned bytes have what every match has */
    bool into : 1;          /* BYTES, SOME: what comes goes to memory of the user's, and n counts the rest */
    bool has_table : 1;     /* UNTIL: a long delimiter's failure table is filled */
    uint16_t partial;       /* UNTIL: how many delimiter bytes the scanned bytes end with */
    uint16_t delim_len;
    int16_t code;               /* why NEVER */
    size_t n;
    size_t scanned;         /* UNTIL, REGEX: bytes of the unread ones that were looked at already. FRAME: how many it
                             * has, once that is known */
    union {
        struct {
            unsigned char *next;    /* where the next byte goes */
            size_t got;             /* bytes that are there */
        } memory;
        union {
            unsigned char bytes[WR_MATCH_INLINE];
            unsigned char *block;   /* longer delimiters: the bytes, then room for their failure table */
        } delim;
        struct {
            struct weir_regex *regex;
            size_t from;        /* no match begins before */
        } search;
        struct {
            int64_t adjust;
            uint32_t offset;
            uint8_t width;
            bool little_endian;
        } frame;
    };
};

enum { WR_DELIM_MAX = 1024 };

/* Each makes m the pending read; before, there is none: m is all zero, or done. wr_match_until copies delim
 * (1 to WR_DELIM_MAX bytes, <= max); 0 or -ENOMEM. */
void wr_match_bytes(struct wr_match *m, size_t n);
void wr_match_some(struct wr_match *m, size_t max);
int wr_match_until(struct wr_match *m, const void *delim, size_t delim_len, size_t max);
void wr_match_close(struct wr_match *m, size_t max);
void wr_match_chunks(struct wr_match *m);
/* Holds the regex until done; max > 0. */
void wr_match_regex(struct wr_match *m, struct weir_regex *regex, size_t max);
/* -EINVAL if no frame can be like this: a width that is none, or a header longer than max. `size` is not looked at. */
int wr_match_frame(struct wr_match *m, const struct weir_frame *frame);
/* What satisfies a read of BYTES or SOME goes to `memory`. It is whoever puts it there who counts, by wr_match_put. */
void wr_match_into(struct wr_match *m, void *memory);
/* How many unread bytes will satisfy it; 0 as long as that is not known. */
static inline size_t wr_match_goal(const struct wr_match *m)
{
    if (m->kind == WR_MATCH_BYTES)
        return m->n;
    return m->kind == WR_MATCH_FRAME ? m->scanned : 0;
}
/* n bytes more are there. */
void wr_match_put(struct wr_match *m, size_t n);
/* No pending read; frees the delimiter, lets go of the regex. */
void wr_match_done(struct wr_match *m);

/* Look at the unread bytes, of which those seen by earlier scans of this read have not changed. Asking again gives the
 * same answer, and so do the same bytes in other pieces.
 * FOUND: *ret_n bytes satisfy it. NEVER: it cannot be had, and m->code is the reason:
 *   WEIR_EUNSATISFIABLE  UNTIL, REGEX, FRAME: its end lies beyond the limit
 *   WEIR_EBUFFULL        CLOSE: more than n bytes came; *ret_n = n, what may still be handed over
 *   WEIR_EREGEX, -ENOMEM REGEX: see wr_regex_search
 *   -EBADMSG             FRAME: its length is less than its header's, or more than 64 bits tell
 * CLOSE is never FOUND here: the end of the stream satisfies it.
 * UNTIL looks at each byte at most three times, whatever the pieces and the delimiter.
 * REGEX shows the matcher n + 1 bytes at most, so that the limit means the same however they came. It looks once at the
 * bytes before one that every match has, and then at each new piece together with what has not been decided before it:
 * in k pieces, at up to k times n bytes, if a start stays undecided that long. A search may look at a byte again for
 * each start and each way to repeat; only wr_regex_search's bounds hold that. */
enum wr_match_verdict wr_match_scan(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n);

/* The same when no more will come: REGEX may also be FOUND at the end. MORE: the read cannot be had. */
enum wr_match_verdict wr_match_last(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n);

/* Bytes that this thread's scans have looked at, or shown to a matcher, since it began: for the tests that count. */
extern _Thread_local uint64_t wr_match_looked;

#endif
