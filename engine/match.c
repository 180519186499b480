/* A pending read: when is it satisfied, and by how many bytes?
 *
 * The delimiter search goes from one place that has both ends of a delimiter to the next, as long as those are rare,
 * and from there on it is memmem; over the borders of chunks it is joined by the automaton of Knuth, Morris and Pratt.
 * Of the new bytes, the automaton looks at those where a delimiter that began in older ones may still end, the search
 * at all, and the automaton once more at the last ones, where the next border will be: each byte three times at most.
 * What stands between the ends is compared only as far as that bound leaves room. */
#include "match.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "weir.h"

enum { CANDIDATE = 8 };     /* what such a place costs besides the bytes compared: the search starts anew */

_Thread_local uint64_t wr_match_looked;

static enum wr_match_verdict never(struct wr_match *m, int code)
{
    m->code = (int16_t)code;
    return WR_MATCH_NEVER;
}

/* ---- Delimiters ---- */

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

/* The table is only needed at borders, and made there: that of a short delimiter, as quickly as it is used, each time,
 * into `room`. */
static const uint16_t *table_of(struct wr_match *m, uint16_t room[WR_MATCH_INLINE])
{
    bool is_long = m->delim_len > WR_MATCH_INLINE;
    uint16_t *table = is_long ? (uint16_t *)(void *)(m->delim.block + table_offset(m->delim_len)) : room;
    if (!m->has_table)
        fill_table(table, delim_of(m), m->delim_len);
    m->has_table = is_long;
    return table;
}

/* Where the automaton stands: before the byte `at`, behind `state` bytes of the delimiter. */
struct stand {
    size_t at, state;
};

/* Walk on until the delimiter is whole, until what stands of it begins at `border` or behind, or to the end. */
static wr_apart struct stand walk(struct wr_match *m, const unsigned char *data, struct stand from, size_t end,
                                  size_t border)
{
    uint16_t room[WR_MATCH_INLINE];
    const uint16_t *fail = table_of(m, room);
    const unsigned char *delim = delim_of(m);
    struct stand s = from;

    while (s.at < end && s.state < m->delim_len && s.at - s.state < border)
        s.state = follow(delim, fail, s.state, data[s.at++]);
    wr_match_looked += s.at - from.at;
    return s;
}

/* Where the first delimiter in data[from .. end) ends, or 0: linear, whatever the bytes are. */
static wr_apart size_t search_any(const struct wr_match *m, const unsigned char *data, size_t from, size_t end)
{
    const unsigned char *hit = memmem(data + from, end - from, delim_of(m), m->delim_len);
    size_t stop = hit ? (size_t)(hit - data) + m->delim_len : end;
    wr_match_looked += stop - from;
    return hit ? stop : 0;
}

/* Delimiters are short: a call would cost more. */
static bool same(const unsigned char *a, const unsigned char *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i == n;
}

typedef unsigned char octets __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* The first of 16 bytes that is the last of a delimiter, by that and by the delimiter's first: its index, or 16. */
static inline size_t find_in_octets(const unsigned char *at, size_t before, unsigned char first, unsigned char last)
{
    octets ends, begins;
    memcpy(&ends, at, sizeof ends);
    memcpy(&begins, at - before, sizeof begins);
    halves both = (halves)((ends == last) & (begins == first));
    if (wr_likely((both[0] | both[1]) == 0))
        return sizeof both;
    uint64_t half = both[0] ? both[0] : both[1];
    return (both[0] ? 0 : sizeof half) + (size_t)__builtin_ctzll(le64toh(half)) / 8;
}

/* The first place whose ends are those of a delimiter: its last byte, in at .. end; or NULL. Both together are rare
 * where one is not, as in "\r\n\r\n" behind lines. */
static inline const unsigned char *find_ends(const unsigned char *at, const unsigned char *end,
                                             const unsigned char *delim, size_t before)
{
    unsigned char first = delim[0], last = delim[before];
    size_t i;
    if (before == 0)
        return memchr(at, last, (size_t)(end - at));
    for (; (size_t)(end - at) >= sizeof(octets); at += sizeof(octets))
        if ((i = find_in_octets(at, before, first, last)) < sizeof(octets))
            return at + i;
    while (at < end && !(*at == last && at[-(ptrdiff_t)before] == first))
        at++;
    return at < end ? at : NULL;
}

/* The same, many times as fast where both ends together are rare. At most `spare` bytes are looked at twice. */
static size_t search(const struct wr_match *m, const unsigned char *data, size_t from, size_t end, size_t spare)
{
    const unsigned char *delim = delim_of(m);
    size_t before = m->delim_len - 1u, price = before + CANDIDATE, at = from + before;

    if (at >= end)
        return 0;
    for (; spare >= price + before; spare -= price) {
        const unsigned char *last = find_ends(data + at, data + end, delim, before);
        if (!last) {
            wr_match_looked += end - at;
            return 0;
        }
        wr_match_looked += (size_t)(last + 1 - data) - at + before;
        at = (size_t)(last + 1 - data);
        if (same(last - before, delim, before))
            return at;
    }
    return search_any(m, data, at - before, end);
}

/* Where there is none, the last bytes may belong to one: that is remembered. */
static wr_apart size_t search_to_end(struct wr_match *m, const unsigned char *data, size_t from, size_t end,
                                     size_t spare)
{
    size_t found = search(m, data, from, end, spare), border = wr_min(end - from, m->delim_len - 1u);
    if (found)
        return found;
    m->scanned = end;
    m->partial = (uint16_t)walk(m, data, (struct stand){.at = end - border}, end, end).state;
    return 0;
}

/* Bytes were looked at before, and may have ended with the beginning of a delimiter. */
static wr_apart size_t find_on(struct wr_match *m, const unsigned char *data, size_t end)
{
    struct stand s = {m->scanned, m->partial};
    wr_assert(s.state < m->delim_len && s.state <= s.at);
    if (s.state > 0)
        s = walk(m, data, s, end, m->scanned);
    if (s.state == m->delim_len)
        return s.at;
    if (s.at < end)
        return search_to_end(m, data, s.at - s.state, end, end - s.at - wr_min(end - s.at, m->delim_len - 1u));
    m->scanned = end;
    m->partial = (uint16_t)s.state;
    return 0;
}

/* The first such place is no delimiter, or there is none (NULL). */
static wr_apart size_t find_behind(struct wr_match *m, const unsigned char *data, size_t end,
                                   const unsigned char *last)
{
    size_t before = m->delim_len - 1u, at = last ? (size_t)(last + 1 - data) : end;
    wr_match_looked += at;
    return search_to_end(m, data, at - before, end, end - before - (before + CANDIDATE));
}

/* Where the first delimiter in data[0 .. end) ends, or 0. Finding it changes nothing in m, so that asking
 * again gives the same answer. Mostly the first place with its ends is one. */
static inline size_t find_delim(struct wr_match *m, const unsigned char *data, size_t end)
{
    const unsigned char *delim = delim_of(m);
    size_t before = m->delim_len - 1u;
    if (m->scanned > 0 || end < 3 * before + CANDIDATE)
        return find_on(m, data, end);
    const unsigned char *last = find_ends(data + before, data + end, delim, before);
    if (!last || !same(last - before, delim, before))
        return find_behind(m, data, end, last);
    wr_match_looked += (size_t)(last + 1 - data);
    return (size_t)(last + 1 - data);
}

/* Bytes behind the limit are not looked at: a delimiter that ends there comes too late. With exactly n bytes
 * and no delimiter the read is lost already, but it is not told before one byte more has come. */
static wr_apart enum wr_match_verdict scan_until(struct wr_match *m, const unsigned char *data, size_t len,
                                                 size_t *ret_n)
{
    size_t end = wr_min(len, m->n);

    wr_assert(m->scanned <= end);
    if (end > m->scanned && (*ret_n = find_delim(m, data, end)) > 0)
        return WR_MATCH_FOUND;
    return len > m->n ? never(m, WEIR_EUNSATISFIABLE) : WR_MATCH_MORE;
}

/* ---- Patterns ---- */

/* Search the bytes up to `end`, of which some are new. As wr_regex_search; 0 is remembered, the rest is not. */
static int search_regex(struct wr_match *m, const unsigned char *data, size_t end, size_t *ret_at)
{
    struct weir_regex *regex = m->search.regex;
    size_t from = m->search.from;
    int rc = 0;

    wr_match_looked += end - m->scanned;
    bool worth = m->worth || wr_regex_worth(regex, data + m->scanned, end - m->scanned);
    if (worth) {
        wr_match_looked += end - from;
        rc = wr_regex_search(regex, data, end, from, true, &from);
    }
    if (rc == 0) {
        m->search.from = from;
        m->scanned = end;
        m->worth = worth;
    }
    *ret_at = from;
    return rc;
}

/* The byte behind the limit is shown, as what is needed to decide a match that ends at the limit. */
static wr_apart enum wr_match_verdict scan_regex(struct wr_match *m, const unsigned char *data, size_t len,
                                                 size_t *ret_n)
{
    size_t end = len > m->n ? m->n + 1 : len, at;

    wr_assert(m->scanned <= end);
    if (end > m->scanned) {
        int rc = search_regex(m, data, end, &at);
        if (rc < 0)
            return never(m, rc);
        if (rc > 0 && at <= m->n) {
            *ret_n = at;
            return WR_MATCH_FOUND;
        }
    }
    return len > m->n ? never(m, WEIR_EUNSATISFIABLE) : WR_MATCH_MORE;
}

static wr_apart enum wr_match_verdict scan_last(struct wr_match *m, const unsigned char *data, size_t len,
                                                size_t *ret_n)
{
    size_t at;
    int rc = wr_regex_search(m->search.regex, data, len, m->search.from, false, &at);

    if (rc < 0)
        return never(m, rc);
    *ret_n = rc > 0 ? at : 0;
    return rc > 0 ? WR_MATCH_FOUND : WR_MATCH_MORE;
}

/* ---- Frames ---- */

static uint64_t read_length(const struct wr_match *m, const unsigned char *field)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < m->frame.width; i++) {
        unsigned char byte = field[m->frame.little_endian ? m->frame.width - 1 - i : i];
        length = length << 8 | byte;
    }
    return length;
}

static wr_apart enum wr_match_verdict scan_frame(struct wr_match *m, const unsigned char *data, size_t len,
                                                 size_t *ret_n)
{
    uint64_t header = (uint64_t)m->frame.offset + m->frame.width, total;

    if (len < header)
        return WR_MATCH_MORE;
    if (__builtin_add_overflow(read_length(m, data + m->frame.offset), m->frame.adjust, &total) ||
        __builtin_add_overflow(total, header, &total))
        return never(m, -EBADMSG);
    if (total > m->n)
        return never(m, WEIR_EUNSATISFIABLE);
    m->scanned = (size_t)total;
    if (len < total)
        return WR_MATCH_MORE;
    *ret_n = (size_t)total;
    return WR_MATCH_FOUND;
}

/* ---- All kinds ---- */

static void begin(struct wr_match *m, enum wr_match_kind kind, size_t n)
{
    wr_assert(m->kind == WR_MATCH_NONE);
    m->kind = (uint8_t)kind; /* the rest is zero */
    m->n = n;
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

/* 1 to WR_MATCH_INLINE bytes, by two pieces that may overlap: a call would cost more. */
static inline void copy_short(unsigned char *to, const unsigned char *from, size_t n)
{
    if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

/* A longer delimiter, with room for its table, in a block. */
static wr_apart int begin_long(struct wr_match *m, const void *delim, size_t delim_len, size_t max)
{
    unsigned char *block = wr_alloc(table_offset(delim_len) + delim_len * sizeof(uint16_t));
    if (!block)
        return -ENOMEM;
    begin(m, WR_MATCH_UNTIL, max);
    m->delim_len = (uint16_t)delim_len;
    m->delim.block = block;
    memcpy(block, delim, delim_len);
    return 0;
}

int wr_match_until(struct wr_match *m, const void *delim, size_t delim_len, size_t max)
{
    wr_assert(delim_len > 0 && delim_len <= WR_DELIM_MAX && delim_len <= max);
    if (delim_len > WR_MATCH_INLINE)
        return begin_long(m, delim, delim_len, max);
    begin(m, WR_MATCH_UNTIL, max);
    m->delim_len = (uint16_t)delim_len;
    copy_short(m->delim.bytes, delim, delim_len);
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

void wr_match_regex(struct wr_match *m, struct weir_regex *regex, size_t max)
{
    wr_assert(max > 0);
    begin(m, WR_MATCH_REGEX, max);
    m->search.regex = wr_regex_hold(regex);
}

int wr_match_frame(struct wr_match *m, const struct weir_frame *frame)
{
    if (frame->width < 1 || frame->width > sizeof(uint64_t))
        return -EINVAL;
    if ((uint64_t)frame->offset + frame->width > frame->max)
        return -EINVAL;
    begin(m, WR_MATCH_FRAME, frame->max);
    m->frame.adjust = frame->adjust;
    m->frame.offset = frame->offset;
    m->frame.width = (uint8_t)frame->width;
    m->frame.little_endian = frame->little_endian != 0;
    return 0;
}

void wr_match_into(struct wr_match *m, void *memory)
{
    wr_assert(m->kind == WR_MATCH_BYTES || m->kind == WR_MATCH_SOME);
    m->into = true;
    m->memory.next = memory;
    m->memory.got = 0;
}

void wr_match_put(struct wr_match *m, size_t n)
{
    wr_assert(m->into && n <= m->n);
    m->memory.next += n;
    m->memory.got += n;
    m->n -= n;
}

void wr_match_done(struct wr_match *m)
{
    if (m->kind == WR_MATCH_REGEX)
        weir_regex_close(m->search.regex);
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
    if (m->kind == WR_MATCH_REGEX)
        return scan_regex(m, data, len, ret_n);
    if (m->kind == WR_MATCH_FRAME)
        return scan_frame(m, data, len, ret_n);
    if (m->kind == WR_MATCH_BYTES && len < m->n)
        return WR_MATCH_MORE;
    if (m->kind == WR_MATCH_CLOSE && len <= m->n)
        return WR_MATCH_MORE;
    if (m->kind != WR_MATCH_BYTES && len == 0)
        return WR_MATCH_MORE;
    *ret_n = wr_min(m->n, len);
    return m->kind == WR_MATCH_CLOSE ? never(m, WEIR_EBUFFULL) : WR_MATCH_FOUND;
}

enum wr_match_verdict wr_match_last(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n)
{
    enum wr_match_verdict verdict = wr_match_scan(m, data, len, ret_n);
    bool ends = verdict == WR_MATCH_MORE && m->kind == WR_MATCH_REGEX && len > 0;
    return ends ? scan_last(m, data, len, ret_n) : verdict;
}
