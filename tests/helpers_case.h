/* What suites of a machine share: cases around which it is set up and torn down, and drawn numbers. */
#ifndef HELPERS_CASE_H
#define HELPERS_CASE_H

#include <criterion/criterion.h>
#include <stdint.h>

/* A test with the check of the file's tear_down in it: an assert that fails in a suite's .fini does not count. What
 * comes before is the suite's .init. */
#define CASE(suite, name)       \
    static void name(void);     \
    Test(suite, name)           \
    {                           \
        name();                 \
        tear_down();            \
    }                           \
    static void name(void)

/* Begin to draw, from this seed; a test that crashes tells it. */
void draw_from(uint64_t seed);
/* A number below n. */
uint64_t draw(uint64_t n);
/* "seed 7", for the message of an assert. */
const char *drawn(void);

#endif
