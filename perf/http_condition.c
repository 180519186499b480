#include "http_condition.h"

#include <string.h>

#include "http_out.h"

/* ---- Dates ---- */

int http_parse_date(struct http_text t, time_t *ret_when)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    char text[64];
    if (t.len >= sizeof text)
        return -1;
    memcpy(text, t.at, t.len);
    text[t.len] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && *end == '\0') {
            *ret_when = timegm(&tm);
            return 0;
        }
    }
    return -1;
}

/* ---- Tags ---- */

void http_format_etag(const struct http_entity *e, char text[HTTP_ETAG_SIZE])
{
    uint64_t ns = (uint64_t)e->modified.tv_sec * 1000000000u + (uint64_t)e->modified.tv_nsec;
    struct http_out out = {.text = text, .size = HTTP_ETAG_SIZE};
    http_put(&out, "\"");
    http_put_number(&out, ns, 16);
    http_put(&out, "-");
    http_put_number(&out, (uint64_t)e->size, 16);
    http_put_some(&out, "\"", sizeof "\"");
}

/* The next of a list of tags, quotes included. It may have commas inside. Result: 1, or 0 at the end, or where the list
 * is malformed. */
static int next_tag(struct http_text *rest, struct http_text *tag, int *weak)
{
    while (rest->len > 0 && strchr(" \t,", rest->at[0])) {
        rest->at++;
        rest->len--;
    }
    *weak = rest->len > 2 && memcmp(rest->at, "W/", 2) == 0;
    const char *open = rest->at + 2 * *weak, *end = rest->at + rest->len;
    if (open == end || *open != '"')
        return 0;
    const char *close = memchr(open + 1, '"', (size_t)(end - open - 1));
    if (!close)
        return 0;
    *tag = (struct http_text){open, (size_t)(close + 1 - open)};
    *rest = (struct http_text){close + 1, (size_t)(end - close - 1)};
    return 1;
}

/* The list names the entity. A weak tag does so only where bytes need not be the same. */
static int names(struct http_text list, const struct http_entity *e, int weak_counts)
{
    char etag[HTTP_ETAG_SIZE];
    struct http_text tag;
    int weak;
    if (http_same(list, "*"))
        return 1;
    http_format_etag(e, etag);
    while (next_tag(&list, &tag, &weak))
        if ((weak_counts || !weak) && http_same(tag, etag))
            return 1;
    return 0;
}

/* ---- Ranges ---- */

/* The digits at the start, as a number; more than an int64_t holds is as much as it holds. Result: how many. */
static size_t take_number(struct http_text *t, int64_t *ret)
{
    size_t n = 0;
    for (*ret = 0; n < t->len && t->at[n] >= '0' && t->at[n] <= '9'; n++)
        *ret = *ret > (INT64_MAX - 9) / 10 ? INT64_MAX : *ret * 10 + (t->at[n] - '0');
    t->at += n;
    t->len -= n;
    return n;
}

/* "bytes=5-9", "bytes=5-", "bytes=-5". What is malformed, or several, is as if it were not there. */
static int take_range(struct http_text t, int64_t size, struct http_range *range)
{
    int64_t first, last;
    if (t.len < 6 || !http_is((struct http_text){t.at, 6}, "bytes="))
        return 200;
    t.at += 6;
    t.len -= 6;
    size_t has_first = take_number(&t, &first);
    if (t.len == 0 || t.at[0] != '-')
        return 200;
    t.at++;
    t.len--;
    size_t has_last = take_number(&t, &last);
    if (t.len > 0 || (!has_first && !has_last) || (has_first && has_last && first > last))
        return 200;
    if (!has_first)
        first = last == 0 ? size : last < size ? size - last : 0;
    if (first >= size)
        return 416;
    range->first = first;
    range->end = has_first && has_last && last < size ? last + 1 : size;
    return 206;
}

/* The bytes that the client has are of this very version. A date tells that only once its second is over. */
static int if_range_holds(struct http_text value, const struct http_entity *e, time_t now)
{
    time_t when;
    if (!value.at)
        return 1;
    if (http_parse_date(value, &when) == 0)
        return when == e->modified.tv_sec && now > when;
    return !http_same(value, "*") && names(value, e, 0);
}

/* ---- All of it ---- */

/* In the order of RFC 9110, 13.2.2. */
int http_judge_fields(const struct http_head *head, int head_only, const struct http_entity *e, time_t now,
                      struct http_range *range)
{
    time_t when;
    if (head->if_match.at) {
        if (!names(head->if_match, e, 0))
            return 412;
    } else if (head->if_unmodified_since.at && http_parse_date(head->if_unmodified_since, &when) == 0) {
        if (e->modified.tv_sec > when)
            return 412;
    }
    if (head->if_none_match.at) {
        if (names(head->if_none_match, e, 1))
            return 304;
    } else if (head->if_modified_since.at && http_parse_date(head->if_modified_since, &when) == 0) {
        if (e->modified.tv_sec <= when)
            return 304;
    }
    if (head_only || !head->range.at || !if_range_holds(head->if_range, e, now))
        return 200;
    return take_range(head->range, e->size, range);
}
