#include "load_sizes.h"

#include <ctype.h>
#include <stdlib.h>

/* SplitMix64. */
static uint64_t random_number(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t random_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)((unsigned __int128)random_number(state) * n >> 64);
}

/* A number from 1 to SIZE_LIMIT, which *text is moved behind. Result: 0 if there is none. */
static size_t take_number(const char **text)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return 0;
    unsigned long long n = strtoull(*text, &end, 10);
    *text = end;
    return n <= SIZE_LIMIT ? (size_t)n : 0;
}

static int take_range(const char **text, size_t *ret_low, size_t *ret_high, uint64_t *ret_weight)
{
    size_t low = *ret_low = *ret_high = take_number(text);
    *ret_weight = 1;
    if (low > 0 && **text == '-') {
        ++*text;
        *ret_high = take_number(text);
    }
    if (**text == ':') {
        ++*text;
        *ret_weight = take_number(text);
    }
    return low > 0 && *ret_high >= low && *ret_weight > 0 ? 0 : -1;
}

int sizes_parse(const char *text, struct sizes *ret)
{
    struct sizes s = {.low = SIZE_LIMIT};
    uint64_t total = 0, weight;
    for (const char *at = text;; at++) {
        size_t low, high;
        if (s.count == SIZES_MAX || take_range(&at, &low, &high, &weight) < 0)
            return -1;
        s.range[s.count].low = low;
        s.range[s.count].high = high;
        s.range[s.count++].upto = total += weight;
        s.low = low < s.low ? low : s.low;
        s.high = high > s.high ? high : s.high;
        if (*at == '\0')
            break;
        if (*at != ',')
            return -1;
    }
    s.fixed = s.low == s.high ? s.low : 0;
    *ret = s;
    return 0;
}

void sizes_seed(struct sizes *s, uint64_t seed)
{
    s->state = seed;
    s->state = random_number(&s->state); /* so that seeds in a row do not give the same numbers a step later */
}

size_t sizes_draw(struct sizes *s)
{
    uint64_t at = s->count > 1 ? random_below(&s->state, s->range[s->count - 1].upto) : 0;
    int i = 0;
    while (s->range[i].upto <= at)
        i++;
    return s->range[i].low + random_below(&s->state, s->range[i].high - s->range[i].low + 1);
}
