/* The end of a process whose invariant is broken. */
#include "base.h"

#include <stdlib.h>

/* What was broken, for the core dump. */
const char *wr_assert_text;
const char *wr_assert_file;
int wr_assert_line;

void wr_assert_failed(const char *text, const char *file, int line)
{
    wr_assert_text = text;
    wr_assert_file = file;
    wr_assert_line = line;
    abort();
}
