/* Match tests: random bytes, and scans that would notice a remembered pointer or a look too far. */
#ifndef HELPERS_MATCH_H
#define HELPERS_MATCH_H

#include <criterion/criterion.h>

#include "match.h"

/* The same sequence in each test. */
size_t below(size_t n);
void fill_random(unsigned char *to, size_t len, size_t alphabet);

struct answer {
    enum wr_match_verdict verdict;
    size_t n;
    int code;       /* of NEVER, else 0 */
};

bool same_answer(struct answer a, struct answer b);

/* Scan a copy that stands somewhere else each time and ends where its memory ends. */
struct answer scan_elsewhere(struct wr_match *m, const unsigned char *data, size_t len);
/* Twice, which gives the same; and with wr_match_last. */
struct answer scan_twice(struct wr_match *m, const unsigned char *data, size_t len);
struct answer last_twice(struct wr_match *m, const unsigned char *data, size_t len);

#endif
