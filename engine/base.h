/* What every file may use: asserts that stay on, home from a member, checked sums. Level 0. */
#ifndef WR_BASE_H
#define WR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the process at once: a broken invariant must not become a broken stream. The text is left in
 * wr_assert_text for the core dump; the library itself never prints. */
__attribute__((noreturn, cold)) void wr_assert_failed(const char *text, const char *file, int line);

#define wr_assert(cond) \
    (__builtin_expect(!!(cond), 1) ? (void)0 : wr_assert_failed(#cond, __FILE__, __LINE__))

#define wr_home(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define wr_likely(cond) __builtin_expect(!!(cond), 1)
#define wr_unlikely(cond) __builtin_expect(!!(cond), 0)

/* Not inlined: what the common way does without stays out of its frame. */
#define wr_apart __attribute__((noinline))

#define WR_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline size_t wr_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t wr_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline bool wr_is_pow2(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* a + b, or UINT64_MAX: deadlines never wrap. */
static inline uint64_t wr_add_sat(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

#endif
