#include "http_target.h"

#include <string.h>

/* A user before the host is refused: it is there to deceive. */
static int skip_origin(struct http_text *text)
{
    static const char scheme[] = "http://";
    struct http_text host, port;
    size_t head = sizeof scheme - 1, len = 0;
    if (text->len <= head || !http_is((struct http_text){text->at, head}, scheme))
        return 400;
    text->at += head;
    text->len -= head;
    while (len < text->len && text->at[len] != '/' && text->at[len] != '?')
        len++;
    if (http_split_authority((struct http_text){text->at, len}, &host, &port) < 0 || host.len == 0)
        return 400;
    text->at += len;
    text->len -= len;
    return 0;
}

int http_parse_target(struct http_text text, struct http_target *target)
{
    *target = (struct http_target){{"", 0}, {"", 0}};
    if (text.at[0] != '/') {
        if (http_same(text, "*"))
            return 0;
        if (skip_origin(&text) != 0)
            return 400;
    }
    if (memchr(text.at, '#', text.len))
        return 400;
    const char *mark = text.len > 0 ? memchr(text.at, '?', text.len) : NULL;
    size_t len = mark ? (size_t)(mark - text.at) : text.len;
    target->path = len > 0 ? (struct http_text){text.at, len} : (struct http_text){"/", 1};
    target->query = (struct http_text){text.at + len, text.len - len};
    return 0;
}

/* One character of the path. Escapes that would be a slash or a control character are no part of any name. */
static int take_char(const char **at, const char *end)
{
    char c = *(*at)++;
    if (c != '%')
        return (unsigned char)c;
    if (end - *at < 2 || http_hex((*at)[0]) < 0 || http_hex((*at)[1]) < 0)
        return -1;
    int byte = http_hex((*at)[0]) * 16 + http_hex((*at)[1]);
    *at += 2;
    return byte < ' ' || byte == 0x7f || byte == '/' ? -1 : byte;
}

static int climbs(const char *name)
{
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return 1;
    }
    return 0;
}

int http_file_name(struct http_text path, char *name, size_t size)
{
    const char *at = path.at, *end = at + path.len;
    size_t len = 0;
    while (at < end) {
        int c = take_char(&at, end);
        if (c < 0)
            return 400;
        if (len + 1 == size)
            return 404;
        if (c != '/' || len > 0)
            name[len++] = (char)c;
    }
    name[len] = '\0';
    return climbs(name) ? 400 : 0;
}
