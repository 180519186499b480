#include "helpers_match.h"

#include <stdlib.h>
#include <string.h>

static uint64_t rng_state = 88172645463325252u;

size_t below(size_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (size_t)(rng_state % n);
}

void fill_random(unsigned char *to, size_t len, size_t alphabet)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)('a' + below(alphabet));
}

bool same_answer(struct answer a, struct answer b)
{
    return a.verdict == b.verdict && a.n == b.n && a.code == b.code;
}

typedef enum wr_match_verdict scan_fn(struct wr_match *m, const unsigned char *data, size_t len, size_t *ret_n);

static struct answer ask(scan_fn *scan, struct wr_match *m, const unsigned char *data, size_t len)
{
    struct answer a = {.n = 12345};
    unsigned char *copy = malloc(len ? len : 1);

    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    a.verdict = scan(m, copy, len, &a.n);
    a.code = a.verdict == WR_MATCH_NEVER ? m->code : 0;
    free(copy);
    return a;
}

static struct answer ask_twice(scan_fn *scan, struct wr_match *m, const unsigned char *data, size_t len)
{
    struct answer first = ask(scan, m, data, len), second = ask(scan, m, data, len);
    cr_assert(same_answer(first, second), "%d, %zu, %d, and asked again: %d, %zu, %d", (int)first.verdict, first.n,
              first.code, (int)second.verdict, second.n, second.code);
    return first;
}

struct answer scan_elsewhere(struct wr_match *m, const unsigned char *data, size_t len)
{
    return ask(wr_match_scan, m, data, len);
}

struct answer scan_twice(struct wr_match *m, const unsigned char *data, size_t len)
{
    return ask_twice(wr_match_scan, m, data, len);
}

struct answer last_twice(struct wr_match *m, const unsigned char *data, size_t len)
{
    return ask_twice(wr_match_last, m, data, len);
}
