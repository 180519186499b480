/* A compiled pattern: PCRE2, made to give the same answer however the bytes came.
 *
 * PCRE2_PARTIAL_HARD ends a search as soon as a start looks at the end of the bytes, which makes the starts before it
 * final. What in PCRE2 (10.42) would break that is met here:
 * - A line break is always \n, and (?m)^ also matches behind a last one: else ^ would look at the end unnoticed.
 * - A start that looks at nothing but the end is undecided only if the pattern has a lookbehind. So each pattern with a
 *   group gets one, which is never run.
 * - What spares PCRE2 some starts makes mistakes where there are groups, and is off for such patterns.
 * - \G, verbs and, by mistake of the JIT compiler, references to groups see more than their start. Patterns with these
 *   are searched from the first byte each time.
 * - The interpreter takes a final \r for the whole of a repeated \R: without JIT such patterns are refused. It does not
 *   wait for the rest of a repeated \C: that is always refused, and (?s:.) is the same.
 * The bounds on work count anew for each start, so they too are passed, or not, however the bytes came. */
#include "regex.h"

#include <errno.h>
#include <stdio.h>

#include "weir.h"

bool wr_regex_jit = true;

static _Thread_local char refusal[256];

const char *weir_regex_refusal(void)
{
    return refusal;
}

#ifndef WR_NO_PCRE2

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "mem.h"

enum {
    OPTIONS = PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
    MATCH_LIMIT = 200 * 1000,           /* backtracks of one start: about 1 ms, interpreted 4 ms */
    DEPTH_LIMIT = 100 * 1000,           /* of these, at a time; interpreted only */
    HEAP_LIMIT_KIB = 4096,              /* interpreted only */
    STACK_MIN = 32 * 1024, STACK_MAX = 512 * 1024   /* of JIT code */
};

/* What one search at a time needs; a regex has as many as threads search with it at once. */
struct room {
    struct room *next;
    pcre2_match_data *result;
    pcre2_match_context *bounds;
    pcre2_jit_stack *stack;             /* NULL without JIT */
};

struct weir_regex {
    atomic_uint holders;
    bool whole;                         /* each search begins at the first byte */
    bool has_sign;
    unsigned char sign[2];              /* a byte that every match has behind its start, and its other case */
    pcre2_code *code;
    pcre2_general_context *memory;
    pthread_mutex_t lock;
    struct room *spare;
};

static void *allocate(size_t size, void *none)
{
    (void)none;
    return wr_alloc(size);
}

static void release(void *block, void *none)
{
    (void)none;
    wr_free(block);
}

/* ---- Rooms ---- */

static void room_free(struct room *room)
{
    pcre2_match_data_free(room->result);
    pcre2_match_context_free(room->bounds);
    pcre2_jit_stack_free(room->stack);
    wr_free(room);
}

static bool is_jit(const struct weir_regex *regex)
{
    size_t size = 0;
    return pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &size) == 0 && size > 0;
}

static struct room *room_new(const struct weir_regex *regex)
{
    bool jit = is_jit(regex);
    struct room *room = wr_alloc_zeroed(sizeof *room);
    if (!room)
        return NULL;
    room->result = pcre2_match_data_create(1, regex->memory);
    room->bounds = pcre2_match_context_create(regex->memory);
    if (jit)
        room->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, regex->memory);
    if (!room->result || !room->bounds || (jit && !room->stack)) {
        room_free(room);
        return NULL;
    }
    pcre2_set_match_limit(room->bounds, MATCH_LIMIT);
    pcre2_set_depth_limit(room->bounds, DEPTH_LIMIT);
    pcre2_set_heap_limit(room->bounds, HEAP_LIMIT_KIB);
    if (jit)
        pcre2_jit_stack_assign(room->bounds, NULL, room->stack);
    return room;
}

static struct room *room_take(struct weir_regex *regex)
{
    pthread_mutex_lock(&regex->lock);
    struct room *room = regex->spare;
    if (room)
        regex->spare = room->next;
    pthread_mutex_unlock(&regex->lock);
    return room ? room : room_new(regex);
}

static void room_give(struct weir_regex *regex, struct room *room)
{
    pthread_mutex_lock(&regex->lock);
    room->next = regex->spare;
    regex->spare = room;
    pthread_mutex_unlock(&regex->lock);
}

/* ---- Searching ---- */

static int search_in(struct room *room, const struct weir_regex *regex, const unsigned char *data, size_t len,
                     size_t from, bool more, size_t *ret_at)
{
    int rc = pcre2_match(regex->code, data, len, from, more ? PCRE2_PARTIAL_HARD : 0, room->result, room->bounds);
    const size_t *bounds = pcre2_get_ovector_pointer(room->result);

    if (rc >= 0) {
        *ret_at = bounds[1];
        return 1;
    }
    if (rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL)
        return rc == PCRE2_ERROR_NOMEMORY ? -ENOMEM : WEIR_EREGEX;
    *ret_at = regex->whole ? 0 : rc == PCRE2_ERROR_PARTIAL ? bounds[0] : len;
    return 0;
}

int wr_regex_search(struct weir_regex *regex, const unsigned char *data, size_t len, size_t from, bool more,
                    size_t *ret_at)
{
    wr_assert(from <= len && len > 0);

    struct room *room = room_take(regex);
    if (!room)
        return -ENOMEM;
    int rc = search_in(room, regex, data, len, from, more, ret_at);
    room_give(regex, room);
    return rc;
}

bool wr_regex_worth(const struct weir_regex *regex, const unsigned char *data, size_t len)
{
    return !regex->has_sign || memchr(data, regex->sign[0], len) || memchr(data, regex->sign[1], len);
}

/* ---- Opening and closing ---- */

static int refuse(int code, size_t at, const char *why)
{
    snprintf(refusal, sizeof refusal, "byte %zu: %s", at, why);
    return code;
}

static bool has(const char *pattern, size_t len, const char *part)
{
    return memmem(pattern, len, part, strlen(part)) != NULL;
}

/* PCRE2 does not tell what is in a pattern. To see too much here only costs time. */
static bool sees_other_starts(const struct weir_regex *regex, const char *pattern, size_t len)
{
    uint32_t references = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_BACKREFMAX, &references);
    return references > 0 || has(pattern, len, "\\G") || has(pattern, len, "(*") || has(pattern, len, "(?(");
}

/* Where a \R is repeated, or len. */
static size_t find_repeated_break(const char *pattern, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (pattern[i] != '\\')
            continue;
        if (pattern[i + 1] == 'R' && memchr("+*?{", pattern[i + 2], 4))
            return i;
        i++;
    }
    return len;
}

static void find_sign(struct weir_regex *regex)
{
    uint32_t type = 0, byte = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_LASTCODETYPE, &type);
    pcre2_pattern_info(regex->code, PCRE2_INFO_LASTCODEUNIT, &byte);
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    regex->has_sign = type == 1;
    regex->sign[0] = (unsigned char)byte;
    regex->sign[1] = (unsigned char)(letter ? byte ^ 0x20 : byte);
}

static int compile(struct weir_regex *regex, const char *pattern, size_t len, uint32_t more_options)
{
    PCRE2_UCHAR why[200];
    int code = PCRE2_ERROR_HEAP_FAILED;
    size_t at = 0;

    pcre2_code_free(regex->code);
    regex->code = NULL;
    pcre2_compile_context *context = pcre2_compile_context_create(regex->memory);
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        regex->code = pcre2_compile((PCRE2_SPTR)pattern, len, OPTIONS | more_options, &code, &at, context);
        pcre2_compile_context_free(context);
    }
    if (regex->code)
        return 0;
    pcre2_get_error_message(code, why, sizeof why);
    return refuse(code == PCRE2_ERROR_HEAP_FAILED ? -ENOMEM : -EINVAL, at, (const char *)why);
}

/* The bytes of the verbs that may only stand first; others, which may be repeated, stay out of it if they are. */
static size_t opening_verbs(const char *pattern, size_t len)
{
    size_t at = 0;
    while (len - at > 3 && memcmp(pattern + at, "(*", 2) == 0 && pattern[at + 2] >= 'A' && pattern[at + 2] <= 'Z') {
        const char *end = memchr(pattern + at, ')', len - at);
        size_t next = end ? (size_t)(end - pattern) + 1 : at;
        if (!end || (next < len && memchr("+*?{", pattern[next], 4)))
            break;
        at = next;
    }
    return at;
}

/* Once more, with a lookbehind that is never run. */
static int compile_guarded(struct weir_regex *regex, const char *pattern, size_t len)
{
    static const char guard[] = "(?<=.){0}";
    size_t verbs = opening_verbs(pattern, len);
    char *text = wr_alloc(len + sizeof guard);
    if (!text)
        return refuse(-ENOMEM, 0, "out of memory");
    memcpy(text, pattern, verbs);
    memcpy(text + verbs, guard, sizeof guard - 1);
    memcpy(text + verbs + sizeof guard - 1, pattern + verbs, len - verbs);
    int rc = compile(regex, text, len + sizeof guard - 1, PCRE2_NO_START_OPTIMIZE);
    wr_free(text);
    return rc;
}

static int prepare(struct weir_regex *regex, const char *pattern, size_t len)
{
    uint32_t line_break = 0;
    int rc = compile(regex, pattern, len, 0);
    if (rc < 0)
        return rc;
    pcre2_pattern_info(regex->code, PCRE2_INFO_NEWLINE, &line_break);
    if (line_break != PCRE2_NEWLINE_LF)
        return refuse(-EINVAL, 0, "a line break is \\n here, and nothing else");
    regex->whole = sees_other_starts(regex, pattern, len);
    find_sign(regex);
    if (has(pattern, len, "(") && (rc = compile_guarded(regex, pattern, len)) < 0)
        return rc;
    if (wr_regex_jit)
        (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    size_t at = find_repeated_break(pattern, len);
    if (at < len && !is_jit(regex))
        return refuse(-ENOTSUP, at, "a repeated \\R needs PCRE2's JIT compiler, which is not to be had here; "
                                    "(?:\\R) can be repeated");
    return 0;
}

static void finish(struct weir_regex *regex)
{
    for (struct room *room; (room = regex->spare);) {
        regex->spare = room->next;
        room_free(room);
    }
    pcre2_code_free(regex->code);
    pcre2_general_context_free(regex->memory);
    pthread_mutex_destroy(&regex->lock);
    wr_free(regex);
}

int weir_regex_open(const char *pattern, size_t len, struct weir_regex **ret_regex)
{
    refusal[0] = '\0';
    if (!pattern || !ret_regex)
        return refuse(-EINVAL, 0, "no pattern, or no place for the regex");
    struct weir_regex *regex = wr_alloc_zeroed(sizeof *regex);
    if (!regex)
        return refuse(-ENOMEM, 0, "out of memory");
    atomic_init(&regex->holders, 1);
    pthread_mutex_init(&regex->lock, NULL);
    regex->memory = pcre2_general_context_create(allocate, release, NULL);
    int rc = regex->memory ? prepare(regex, pattern, len) : refuse(-ENOMEM, 0, "out of memory");
    if (rc == 0 && !(regex->spare = room_new(regex)))
        rc = refuse(-ENOMEM, 0, "out of memory");
    if (rc < 0)
        finish(regex);
    else
        *ret_regex = regex;
    return rc;
}

struct weir_regex *wr_regex_hold(struct weir_regex *regex)
{
    atomic_fetch_add_explicit(&regex->holders, 1, memory_order_relaxed);
    return regex;
}

void weir_regex_close(struct weir_regex *regex)
{
    if (regex && atomic_fetch_sub_explicit(&regex->holders, 1, memory_order_acq_rel) == 1)
        finish(regex);
}

#else

/* No regex can be opened, so none can be used. */

int weir_regex_open(const char *pattern, size_t len, struct weir_regex **ret_regex)
{
    (void)pattern;
    (void)len;
    (void)ret_regex;
    snprintf(refusal, sizeof refusal, "this libweir was built without PCRE2");
    return -ENOTSUP;
}

void weir_regex_close(struct weir_regex *regex)
{
    wr_assert(!regex);
}

struct weir_regex *wr_regex_hold(struct weir_regex *regex)
{
    wr_assert(!regex);
    return regex;
}

int wr_regex_search(struct weir_regex *regex, const unsigned char *data, size_t len, size_t from, bool more,
                    size_t *ret_at)
{
    (void)data, (void)len, (void)from, (void)more, (void)ret_at;
    wr_assert(!regex);
    return -ENOTSUP;
}

bool wr_regex_worth(const struct weir_regex *regex, const unsigned char *data, size_t len)
{
    (void)data, (void)len;
    wr_assert(!regex);
    return false;
}

#endif
