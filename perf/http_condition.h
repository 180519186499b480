/* What a request says about versions of a file and ranges of it (RFC 9110, 13 and 14). Pure functions. */
#ifndef HTTP_CONDITION_H
#define HTTP_CONDITION_H

#include <time.h>

#include "common_http.h"

enum { HTTP_ETAG_SIZE = 40 };

/* A date in any of the three forms that the RFC knows. Result: 0 and *ret_when, or -1. */
int http_parse_date(struct http_text text, time_t *ret_when);

struct http_entity {
    int64_t size;
    struct timespec modified;
};

/* The entity's tag, quotes included. */
void http_format_etag(const struct http_entity *entity, char text[HTTP_ETAG_SIZE]);

struct http_range {
    int64_t first, end;     /* bytes; the one at `end` is no part of it */
};

/* What the fields make of it; *ret_range is all of the entity before. */
int http_judge_fields(const struct http_head *head, int head_only, const struct http_entity *entity, time_t now,
                      struct http_range *ret_range);

/* What a GET (or, if head_only, a HEAD) of this entity comes to. Result: 200, 206, 304, 412 or 416; *ret_range is what
 * is to be sent with 200 and 206. */
static inline int http_judge(const struct http_head *head, int head_only, const struct http_entity *entity, time_t now,
                             struct http_range *ret_range)
{
    *ret_range = (struct http_range){0, entity->size};
    return head->plain ? 200 : http_judge_fields(head, head_only, entity, now, ret_range);
}

#endif
