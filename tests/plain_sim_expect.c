/* Where reads must end, found the slow and simple way in the bytes that were sent. */
#include "plain_sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Delimiters ---- */

static size_t delimiter_end(const struct read_rec *r, uint64_t key, uint64_t from, size_t len)
{
    for (size_t i = 0; i + r->delim_len <= len; i++) {
        size_t k = 0;
        while (k < r->delim_len && byte_at(key, from + i + k) == (unsigned char)r->delim[k])
            k++;
        if (k == r->delim_len)
            return i + k;
    }
    return SIZE_MAX;
}

/* ---- Frames ---- */

static size_t frame_end(const struct read_rec *r, uint64_t key, uint64_t from, size_t len, int *ret_code)
{
    const struct weir_frame *f = &r->frame;
    uint64_t header = f->offset + f->width, value = 0;
    if (len < header)
        return SIZE_MAX;
    for (uint32_t i = 0; i < f->width; i++) {
        uint64_t byte = byte_at(key, from + f->offset + i);
        value = f->little_endian ? value | byte << (8 * i) : value << 8 | byte;
    }
    if ((__int128)value + f->adjust < 0) {
        *ret_code = -EBADMSG;
        return SIZE_MAX;
    }
    __int128 total = (__int128)value + f->adjust + header;
    *ret_code = total > (__int128)r->n ? WEIR_EUNSATISFIABLE : 0;
    return *ret_code == 0 && total <= (__int128)len ? (size_t)total : SIZE_MAX;
}

/* ---- Patterns ---- */

struct text {
    uint64_t key, from;
    size_t len;
    bool ends;              /* it was asked what stands behind it */
};

static bool is_in(const struct atom *a, struct text *in, size_t at)
{
    in->ends |= at >= in->len;
    return at < in->len && a->in[byte_at(in->key, in->from + at) - 'a'];
}

/* Where a match of the atoms that begins at `at` ends: greedy, and back where that does not do. */
static size_t match_atoms(const struct atom *a, int left, struct text *in, size_t at)
{
    if (left == 0)
        return at;
    size_t least = a->times == '1' || a->times == '+', most = a->times == '1' || a->times == '?' ? 1 : SIZE_MAX, n = 0;
    while (n < most && is_in(a, in, at + n))
        n++;
    for (; n >= least && n != SIZE_MAX; n--) {
        size_t end = match_atoms(a + 1, left - 1, in, at + n);
        if (end != SIZE_MAX)
            return end;
    }
    return SIZE_MAX;
}

static size_t pattern_end(const struct pattern *p, struct text *in)
{
    for (size_t i = 0; i <= in->len; i++) {
        size_t end = match_atoms(p->atom, p->atoms, in, i);
        if (end != SIZE_MAX)
            return end;
    }
    return SIZE_MAX;
}

static size_t write_atom(const struct atom *a, char *to)
{
    char *p = to;
    *p++ = '[';
    for (int i = 0; i < ALPHABET; i++)
        if (a->in[i])
            *p++ = (char)('a' + i);
    *p++ = ']';
    if (a->times != '1')
        *p++ = a->times;
    return (size_t)(p - to);
}

static bool make_pattern(struct pattern *p)
{
    char text[ATOMS_MAX * (ALPHABET + 3)];
    size_t len = 0;
    *p = (struct pattern){.atoms = 1 + (int)draw(ATOMS_MAX)};
    for (int i = 0; i < p->atoms; i++) {
        struct atom *a = &p->atom[i];
        for (uint64_t n = 1 + draw(4); n > 0; n--)
            a->in[draw(ALPHABET)] = true;
        a->times = "111?*+"[draw(6)];
        len += write_atom(a, text + len);
    }
    int rc = weir_regex_open(text, len, &p->regex);
    must(rc == 0 || rc == -ENOTSUP);
    return rc == 0;
}

struct pattern *draw_pattern(void)
{
    struct pattern *p = &t.pattern[draw(REGEXES)];
    return p->regex || make_pattern(p) ? p : NULL;
}

/* The search sees one byte more than it may take. What cannot be decided by these does not end within them. */
static bool is_decided(const struct read_rec *r, uint64_t key, uint64_t from)
{
    struct text shown = {key, from, r->n + 1, false};
    return pattern_end(&r->pattern, &shown) <= r->n && !shown.ends;
}

size_t expected_end(const struct read_rec *r, uint64_t key, uint64_t from, size_t len, int *ret_code)
{
    *ret_code = 0;
    if (r->kind == 'f')
        return frame_end(r, key, from, len, ret_code);
    struct text in = {key, from, len, false};
    size_t end = r->kind == 'r' ? pattern_end(&r->pattern, &in) : delimiter_end(r, key, from, len);
    if (len > r->n && (end > r->n || (r->kind == 'r' && !is_decided(r, key, from))))
        *ret_code = WEIR_EUNSATISFIABLE;
    return end;
}
