/* A pending read: when is it satisfied, and by how many bytes?
 *
 * The delimiter search is memmem over what is new, joined over the borders of chunks by the automaton of
 * Knuth, Morris and Pratt. A new byte is looked at once by the automaton while a delimiter that began in
 * older bytes may still end, once by memmem, and once more by the automaton if it is among the last bytes,
 * where the next border will be: never more than three times. */
#include "match.h"

#include <errno.h>
#include <string.h>

_Thread_local uint64_t wr_match_looked;

static size_t table_offset(size_t delim_len)
{
    size_t align = _Alignof(uint16_t);
    return (delim_len + align - 1) / align * align;
}

static const unsigned char *delim_of(const struct wr_match *m)
{
    return m->delim_len <= WR_MATCH_INLINE ? m->delim.bytes : m->delim.block;
}

/* The automaton: `state` bytes of the delimiter stand before c; how many stand behind it? */
static size_t follow(const unsigned char *delim, const uint16_t *fail, size_t state, unsigned char c)
{
    while (state > 0 && delim[state] != c)
        state = fail[state - 1];
    return delim[state] == c ? state + 1 : 0;
}

/* fail[i]: the length, at most i, of the longest beginning that the first i + 1 bytes also end with. */
static void fill_table(uint16_t *fail, const unsigned char *delim, size_t len)
{
    size_t state = 0;
    fail[0] = 0;
    for (size_t i = 1; i < len; i++) {
        state = follow(delim, fail, state, delim[i]);
        fail[i] = (uint16_t)state;
    }
}

/* Short delimiters have no table at rest: it is only needed at borders, and made as quickly as it is used. */
static const uint16_t *table_of(const struct wr_match *m, uint16_t room[WR_MATCH_INLINE])
{
    if (m->delim_len > WR_MATCH_INLINE)
        return (const uint16_t *)(const void *)(m->delim.block + table_offset(m->delim_len));
    fill_table(room, m->delim.bytes, m->delim_len);
    return room;
}

/* Walk from `at` with the automaton until the delimiter is whole, until what stands of it begins at `border`
 * or behind, or to the end. Returns where it stopped. */
static size_t walk(const struct wr_match *m, const unsigned char *data, size_t at, size_t end, size_t border,
                   size_t *state)
{
    uint16_t room[WR_MATCH_INLINE];
    const uint16_t *fail = table_of(m, room);
    const unsigned char *delim = delim_of(m);
    size_t begin = at;

    while (at < end && *state < m->delim_len && at - *state < border)
        *state = follow(delim, fail, *state, data[at++]);
    wr_match_looked += at - begin;
    return at;
}

/* Where the first delimiter in data[from .. end) ends, or 0. */
static size_t search(const struct wr_match *m, const unsigned char *data, size_t from, size_t end)
{
    if (end - from < m->delim_len)
        return 0;
    const unsigned char *hit = memmem(data + from, end - from, delim_of(m), m->delim_len);
    size_t stop = hit ? (size_t)(hit - data) + m->delim_len : end;
    wr_match_looked += stop - from;
    return hit ? stop : 0;
}

/* Where the first delimiter in data[0 .. end) ends, or 0. Finding it changes nothing in m, so that asking
 * again gives the same answer. */
static size_t find_delim(struct wr_match *m, const unsigned char *data, size_t end)
{
    size_t at = m->scanned, state = m->partial;

    wr_assert(state < m->delim_len && state <= at);
    if (state > 0)
        at = walk(m, data, at, end, m->scanned, &state);
    if (state == m->delim_len)
        return at;
    if (at < end) {
        size_t from = at - state;
        size_t found = search(m, data, from, end);
        if (found)
            return found;
        size_t tail = end - wr_min(end - from, m->delim_len - 1);
        state = 0;
        if (tail < end)
            walk(m, data, tail, end, end, &state);
    }
    m->scanned = end;
    m->partial = (uint16_t)state;
    return 0;
}

/* Bytes behind the limit are not looked at: a delimiter that ends there comes too late. With exactly n bytes
 * and no delimiter the read is lost already, but it is not told before one byte more has come. */
static enum wr_match_verdict scan_until(struct wr_match *m, const unsigned char *data, size_t len,
                                        size_t *ret_n)
{
    size_t end = wr_min(len, m->n);

    wr_assert(m->scanned <= end);
    if (end > m->scanned && (*ret_n = find_delim(m, data, end)) > 0)
        return WR_MATCH_FOUND;
    return len > m->n ? WR_MATCH_NEVER : WR_MATCH_MORE;
}

static void begin(struct wr_match *m, enum wr_match_kind kind, size_t n)
{
    wr_assert(m->kind == WR_MATCH_NONE);
    *m = (struct wr_match){.kind = (uint8_t)kind, .n = n};
}

void wr_match_bytes(struct wr_match *m, size_t n)
{
    begin(m, WR_MATCH_BYTES, n);
}

void wr_match_some(struct wr_match *m, size_t max)
{
    wr_assert(max > 0);
    begin(m, WR_MATCH_SOME, max);
}

int wr_match_until(struct wr_match *m, const void *delim, size_t delim_len, size_t max)
{
    wr_assert(delim_len > 0 && delim_len <= WR_DELIM_MAX && delim_len <= max);

    unsigned char *block = NULL;
    if (delim_len > WR_MATCH_INLINE) {
        block = wr_alloc(table_offset(delim_len) + delim_len * sizeof(uint16_t));
        if (!block)
            return -ENOMEM;
    }
    begin(m, WR_MATCH_UNTIL, max);
    m->delim_len = (uint32_t)delim_len;
    if (block) {
        m->delim.block = block;
        memcpy(block, delim, delim_len);
        fill_table((uint16_t *)(void *)(block + table_offset(delim_len)), block, delim_len);
    } else {
        memcpy(m->delim.bytes, delim, delim_len);
    }
    return 0;
}

void wr_match_close(struct wr_match *m, size_t max)
{
    begin(m, WR_MATCH_CLOSE, max);
}

void wr_match_chunks(struct wr_match *m)
{
    begin(m, WR_MATCH_CHUNKS, SIZE_MAX);
}

void wr_match_done(struct wr_match *m)
{
    if (m->kind == WR_MATCH_UNTIL && m->delim_len > WR_MATCH_INLINE)
        wr_free(m->delim.block);
    *m = (struct wr_match){.kind = WR_MATCH_NONE};
}

enum wr_match_verdict wr_match_scan(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n)
{
    wr_assert(m->kind != WR_MATCH_NONE);

    *ret_n = 0;
    if (m->kind == WR_MATCH_CHUNKS) {
        *ret_n = len;
        return len > 0 ? WR_MATCH_FOUND : WR_MATCH_MORE;
    }
    if (m->kind == WR_MATCH_UNTIL)
        return scan_until(m, data, len, ret_n);
    if (m->kind == WR_MATCH_BYTES && len < m->n)
        return WR_MATCH_MORE;
    if (m->kind == WR_MATCH_CLOSE && len <= m->n)
        return WR_MATCH_MORE;
    if (m->kind != WR_MATCH_BYTES && len == 0)
        return WR_MATCH_MORE;
    *ret_n = wr_min(m->n, len);
    return m->kind == WR_MATCH_CLOSE ? WR_MATCH_NEVER : WR_MATCH_FOUND;
}
