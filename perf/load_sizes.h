/* How large messages are: a number, or drawn from ranges with weights, the same for the same seed. */
#ifndef LOAD_SIZES_H
#define LOAD_SIZES_H

#include <stddef.h>
#include <stdint.h>

enum { SIZES_MAX = 16, SIZE_LIMIT = 1 << 30 };

struct sizes {
    size_t fixed;               /* all are of this size; 0: they are drawn */
    size_t low, high;           /* the least and the largest that there are */
    int count;
    struct {
        size_t low, high;
        uint64_t upto;          /* the weights of this range and of those before it */
    } range[SIZES_MAX];
    uint64_t state;             /* of the generator */
};

/* "64", "64-4096" (each as likely), "64:90,1000-2000:10" (with weights; 1 if not given). Result: 0, or -1. */
int sizes_parse(const char *text, struct sizes *ret);

void sizes_seed(struct sizes *s, uint64_t seed);

size_t sizes_draw(struct sizes *s);

static inline size_t sizes_next(struct sizes *s)
{
    return s->fixed ? s->fixed : sizes_draw(s);
}

#endif
