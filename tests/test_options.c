/* Suite options: structs of callers that are older, newer or wrong. */
#include "options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct old {
    size_t size;
    uint64_t first;
};

struct present {
    size_t size;
    uint64_t first;
    uint64_t second;
};

enum { LARGEST = 65536 };

/* Bytes of exactly this size, so that a sanitizer sees what is read behind them. */
static void *block(size_t bytes, size_t size)
{
    struct old *b = calloc(1, bytes);
    memcpy(b, &size, wr_min(bytes, sizeof size));
    return b;
}

/* Not inlined: the compiler is not to know how long src really is. */
__attribute__((noinline)) static int copy(struct present *dst, const void *src)
{
    memset(dst, 0, sizeof *dst);
    return wr_options_copy(dst, sizeof *dst, src);
}

static void expect_refused(int rc, const void *src)
{
    static const struct present none;
    struct present dst;
    cr_assert_eq(copy(&dst, src), rc);
    cr_assert_eq(memcmp(&dst, &none, sizeof dst), 0, "a refused struct leaves nothing");
}

Test(options, none_means_all_defaults)
{
    expect_refused(0, NULL);
}

Test(options, the_present_struct_is_copied)
{
    struct present src = {sizeof src, 11, 22}, dst;
    cr_assert_eq(copy(&dst, &src), 0);
    cr_assert_eq(dst.first, 11);
    cr_assert_eq(dst.second, 22);
}

Test(options, an_older_struct_is_shorter)
{
    struct old *src = block(sizeof *src, sizeof *src);
    struct present dst;
    src->first = 11;
    cr_assert_eq(copy(&dst, src), 0);
    cr_assert_eq(dst.first, 11);
    cr_assert_eq(dst.second, 0, "what it does not know has its default");
    free(src);
}

Test(options, the_size_alone_is_a_struct)
{
    size_t *src = block(sizeof *src, sizeof *src);
    struct present dst;
    cr_assert_eq(copy(&dst, src), 0);
    cr_assert_eq(dst.first, 0);
    cr_assert_eq(dst.second, 0);
    free(src);
}

Test(options, a_size_without_itself_is_refused)
{
    struct present src = {0, 11, 22};
    for (src.size = 0; src.size < sizeof(size_t); src.size++)
        expect_refused(-EINVAL, &src);
}

Test(options, a_newer_struct_may_say_nothing_new)
{
    size_t longer = sizeof(struct present) + 24;
    struct present *src = block(longer, longer), dst;
    src->first = 11;
    src->second = 22;
    cr_assert_eq(copy(&dst, src), 0);
    cr_assert_eq(dst.first, 11);
    cr_assert_eq(dst.second, 22);
    free(src);
}

Test(options, no_byte_of_a_newer_struct_is_overlooked)
{
    size_t longer = sizeof(struct present) + 24;
    unsigned char *src = block(longer, longer);
    for (size_t i = sizeof(struct present); i < longer; i++) {
        src[i] = 1;
        expect_refused(-E2BIG, src);
        src[i] = 0;
    }
    free(src);
}

Test(options, the_copy_ends_with_the_struct)
{
    struct {
        struct present dst;
        unsigned char behind[64];
    } to = {0};
    size_t longer = sizeof to;
    struct present *src = block(longer, longer);
    memset(to.behind, 0x5a, sizeof to.behind);
    cr_assert_eq(wr_options_copy(&to.dst, sizeof to.dst, src), 0);
    for (size_t i = 0; i < sizeof to.behind; i++)
        cr_assert_eq(to.behind[i], 0x5a);
    free(src);
}

Test(options, a_size_beyond_reason_is_refused_unread)
{
    struct present dst;
    void *src = block(LARGEST, LARGEST);
    cr_assert_eq(copy(&dst, src), 0);
    free(src);
    const size_t sizes[] = {LARGEST + 1, (size_t)1 << 32, SIZE_MAX - 7, SIZE_MAX};
    for (size_t i = 0; i < WR_COUNT(sizes); i++) {
        src = block(sizeof(struct present), sizes[i]);
        expect_refused(-EINVAL, src);
        free(src);
    }
}
