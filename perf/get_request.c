#include "get_request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "weir.h"

struct request {
    const struct get_args *args;
    int same_origin;
    char *text;
    size_t len;     /* goes on counting where there is no room */
};

__attribute__((format(printf, 2, 3)))
static void put(struct request *r, const char *format, ...)
{
    va_list list;
    size_t room = r->len < GET_REQUEST_MAX ? GET_REQUEST_MAX - r->len : 0;
    va_start(list, format);
    r->len += (size_t)vsnprintf(r->text + (room > 0 ? r->len : 0), room, format, list);
    va_end(list);
}

static int is_named(const char *field, const char *name)
{
    return http_is((struct http_text){field, strcspn(field, ":")}, name);
}

static int is_sent(const struct request *r, const char *field)
{
    return r->same_origin ||
           !(is_named(field, "host") || is_named(field, "authorization") || is_named(field, "cookie"));
}

static int user_has(const struct request *r, const char *name)
{
    for (int i = 0; i < r->args->header_count; i++)
        if (is_named(r->args->headers[i], name) && is_sent(r, r->args->headers[i]))
            return 1;
    return 0;
}

int get_format_request(const struct get_args *args, const struct url *url, int same_origin, char text[GET_REQUEST_MAX])
{
    struct request r = {args, same_origin, text, 0};
    char host[URL_HOST_SIZE + 16];
    url_format_host(url, host, sizeof host);
    put(&r, "%s %s HTTP/1.1\r\n", args->head_only ? "HEAD" : "GET", url->target);
    if (!user_has(&r, "host"))
        put(&r, "Host: %s\r\n", host);
    if (!user_has(&r, "user-agent"))
        put(&r, "User-Agent: weir-get/%s\r\n", weir_version());
    if (!user_has(&r, "accept"))
        put(&r, "Accept: */*\r\n");
    if (!user_has(&r, "connection"))
        put(&r, "Connection: close\r\n");
    for (int i = 0; i < args->header_count; i++)
        if (is_sent(&r, args->headers[i]))
            put(&r, "%s\r\n", args->headers[i]);
    put(&r, "\r\n");
    return r.len < GET_REQUEST_MAX ? (int)r.len : -E2BIG;
}
