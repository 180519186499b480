/* Suite error: every code has a symbol and words. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "weir.h"

enum { FIRST_OWN = -5011, LAST_OWN = -5001, ERRNO_LAST = EHWPOISON };

/* A new code of the library's does not compile before it stands here. */
static const char *symbol(enum weir_error code)
{
    switch (code) {
#define CODE(name) \
    case name:     \
        return #name;
        CODE(WEIR_EOF)
        CODE(WEIR_ECLOSED)
        CODE(WEIR_EUNSATISFIABLE)
        CODE(WEIR_EBUFFULL)
        CODE(WEIR_ETHREAD)
        CODE(WEIR_EFORK)
        CODE(WEIR_EWORLD)
        CODE(WEIR_EREGEX)
        CODE(WEIR_ETRUNCATED)
        CODE(WEIR_ETLS)
        CODE(WEIR_ECERT)
#undef CODE
    }
    return NULL;
}

static bool is_known(int code)
{
    bool named = strcmp(weir_error_name(code), "?") != 0;
    bool told = strcmp(weir_strerror(code), "unknown error") != 0;
    cr_assert_eq(named, told, "%d: %s, %s", code, weir_error_name(code), weir_strerror(code));
    return named;
}

Test(error, every_code_of_the_library_has_a_name_and_words)
{
    for (int code = FIRST_OWN; code <= LAST_OWN; code++) {
        const char *name = symbol((enum weir_error)code);
        cr_assert_not_null(name, "%d", code);
        cr_assert_str_eq(weir_error_name(code), name);
        cr_assert(is_known(code));
        cr_assert_gt(strlen(weir_strerror(code)), 5);
    }
    cr_assert_not(is_known(FIRST_OWN - 1));
    cr_assert_not(is_known(LAST_OWN + 1));
}

Test(error, every_errno_has_a_name_and_words)
{
    for (int number = 1; number <= ERRNO_LAST; number++) {
        bool hole = number == 41 || number == 58; /* the kernel gave these numbers to nothing */
        cr_assert_eq(is_known(-number), !hole, "%d", number);
        if (!hole)
            cr_assert_eq(weir_error_name(-number)[0], 'E');
    }
    cr_assert_str_eq(weir_error_name(-EPERM), "EPERM");
    cr_assert_str_eq(weir_error_name(-EAGAIN), "EAGAIN");
    cr_assert_str_eq(weir_error_name(-ECONNRESET), "ECONNRESET");
    cr_assert_str_eq(weir_error_name(-ECANCELED), "ECANCELED");
    cr_assert_str_eq(weir_strerror(-ECONNREFUSED), "Connection refused");
}

Test(error, no_two_codes_share_a_name_or_words)
{
    for (int a = FIRST_OWN; a <= 0; a++) {
        if (!is_known(a))
            continue;
        for (int b = a + 1; b <= 0; b++) {
            cr_assert_str_neq(weir_error_name(a), weir_error_name(b));
            cr_assert_str_neq(weir_strerror(a), weir_strerror(b));
        }
    }
}

Test(error, zero_is_no_error)
{
    cr_assert_str_eq(weir_error_name(0), "0");
    cr_assert_str_eq(weir_strerror(0), "success");
}

Test(error, other_numbers_are_unknown)
{
    static const int codes[] = {1,     EAGAIN, 5001,  INT_MAX,      -ERRNO_LAST - 1, -4095,
                                -4096, -4097,  -5000, INT_MIN + 1, INT_MIN};
    for (size_t i = 0; i < WR_COUNT(codes); i++)
        cr_assert_not(is_known(codes[i]), "%d", codes[i]);
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

Test(error, texts_are_static)
{
    uint64_t allocations = wr_mem_allocations();
    wr_mem_gate = refuse_all;
    for (int code = -6000; code <= 200; code++) {
        cr_assert_eq(weir_strerror(code), weir_strerror(code));
        cr_assert_eq(weir_error_name(code), weir_error_name(code));
    }
    wr_mem_gate = NULL;
    cr_assert_eq(wr_mem_allocations(), allocations);
}

Test(error, the_version_is_the_headers)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR,
             WEIR_VERSION_PATCH);
    cr_assert_str_eq(weir_version(), version);
    cr_assert_eq(weir_version(), weir_version());
}
