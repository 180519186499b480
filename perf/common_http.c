#include "common_http.h"

#include <string.h>

/* ---- Characters ---- */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* tchar of RFC 9110 */
static int is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static int is_token(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++)
        if (!is_token_char(t.at[i]))
            return 0;
    return t.len > 0;
}

/* No control characters: so no NUL, no bare CR and no bare LF. */
static int is_field_text(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return 0;
    }
    return 1;
}

static int is_visible(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++)
        if (t.at[i] <= ' ' || t.at[i] > '~')
            return 0;
    return t.len > 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

int http_is(struct http_text text, const char *name)
{
    for (size_t i = 0; i < text.len; i++)
        if (name[i] == '\0' || lower(text.at[i]) != name[i])
            return 0;
    return name[text.len] == '\0';
}

static struct http_text trim(struct http_text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

/* Digits, and nothing but. */
static int number(struct http_text t, int64_t *ret)
{
    int64_t n = 0;
    for (size_t i = 0; i < t.len; i++)
        if (!is_digit(t.at[i]) || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, t.at[i] - '0', &n))
            return -1;
    *ret = n;
    return t.len > 0 ? 0 : -1;
}

/* ---- Lines ---- */

/* Result: the line without its CRLF, or at == NULL if there is none that ends in CRLF. */
static struct http_text take_line(struct http_text *rest)
{
    const char *lf = rest->len > 0 ? memchr(rest->at, '\n', rest->len) : NULL;
    if (!lf || lf == rest->at || lf[-1] != '\r')
        return (struct http_text){NULL, 0};
    struct http_text line = {rest->at, (size_t)(lf - 1 - rest->at)};
    rest->at += line.len + 2;
    rest->len -= line.len + 2;
    return line;
}

/* The part before the first `c`, which goes too; at == NULL if there is no `c`. */
static struct http_text take_until(struct http_text *rest, char c)
{
    const char *end = rest->len > 0 ? memchr(rest->at, c, rest->len) : NULL;
    if (!end)
        return (struct http_text){NULL, 0};
    struct http_text part = {rest->at, (size_t)(end - rest->at)};
    rest->at += part.len + 1;
    rest->len -= part.len + 1;
    return part;
}

int http_next_field(struct http_text *rest, struct http_text *name, struct http_text *value)
{
    if (rest->len == 0)
        return 0;
    struct http_text line = take_line(rest);
    if (!line.at)
        return -1;
    *name = take_until(&line, ':');
    *value = trim(line);
    return name->at && is_token(*name) && is_field_text(line) ? 1 : -1;
}

/* ---- What a field means ---- */

static int take_length(struct http_head *head, struct http_text value)
{
    int64_t n;
    if (number(value, &n) < 0 || (head->length >= 0 && head->length != n))
        return -1;
    head->length = n;
    return 0;
}

static int take_coding(struct http_head *head, struct http_text value)
{
    if (head->coding != HTTP_PLAIN)
        return -1;
    head->coding = http_is(value, "chunked") ? HTTP_CHUNKED : HTTP_CODED;
    return 0;
}

static void take_connection(struct http_head *head, struct http_text value)
{
    while (value.len > 0) {
        struct http_text rest = value, part = take_until(&rest, ',');
        if (!part.at) {
            part = value;
            rest.len = 0;
        }
        part = trim(part);
        head->close |= http_is(part, "close");
        head->keep_alive |= http_is(part, "keep-alive");
        value = rest;
    }
}

static int take_host(struct http_head *head, struct http_text value)
{
    head->hosts++;
    for (size_t i = 0; i < value.len; i++)
        if (!is_token_char(value.at[i]) && !strchr("()=;:[]", value.at[i]))
            return -1;
    return 0;
}

static int take_field(struct http_head *head, struct http_text name, struct http_text value)
{
    switch (name.len) {
    case 4:
        return http_is(name, "host") ? take_host(head, value) : 0;
    case 6:
        head->expects |= http_is(name, "expect");
        return 0;
    case 10:
        if (http_is(name, "connection"))
            take_connection(head, value);
        return 0;
    case 14:
        return http_is(name, "content-length") ? take_length(head, value) : 0;
    case 17:
        return http_is(name, "transfer-encoding") ? take_coding(head, value) : 0;
    default:
        return 0;
    }
}

/* ---- Heads ---- */

/* "HTTP/1.x" and nothing else. Result: x, or the status to refuse it with. */
static int parse_version(struct http_text t)
{
    if (t.len != 8 || memcmp(t.at, "HTTP/", 5) != 0 || t.at[6] != '.' || !is_digit(t.at[5]) ||
        !is_digit(t.at[7]))
        return 400;
    return t.at[5] == '1' ? t.at[7] - '0' : 505;
}

/* `rest` is what follows the first line. */
static int parse_fields(struct http_text rest, struct http_head *head)
{
    struct http_text name, value;
    if (rest.len < 2 || memcmp(rest.at + rest.len - 2, "\r\n", 2) != 0)
        return 400;
    rest.len -= 2;
    head->fields = rest;
    for (int count = 0;; count++) {
        const char *line = rest.at;
        int rc = http_next_field(&rest, &name, &value);
        if (rc == 0)
            break;
        if (rc < 0 || take_field(head, name, value) < 0)
            return 400;
        if (count == HTTP_FIELDS_MAX || rest.at - line > HTTP_LINE_MAX)
            return 431;
    }
    /* A message with two lengths has none. */
    return head->coding != HTTP_PLAIN && (head->length >= 0 || head->minor == 0) ? 400 : 0;
}

static int parse_request_line(struct http_text line, struct http_head *head)
{
    if (line.len > HTTP_LINE_MAX)
        return 414;
    head->method = take_until(&line, ' ');
    head->target = take_until(&line, ' ');
    if (!head->method.at || !is_token(head->method) || !head->target.at || !is_visible(head->target))
        return 400;
    head->minor = parse_version(line);
    return head->minor < 10 ? 0 : head->minor;
}

int http_parse_request(const char *data, size_t len, struct http_head *head)
{
    struct http_text rest = {data, len};
    *head = (struct http_head){.length = -1};
    struct http_text line = take_line(&rest);
    if (line.at && line.len == 0)
        line = take_line(&rest); /* one empty line before a request is forgiven, as the RFC asks */
    if (!line.at)
        return 400;
    int rc = parse_request_line(line, head);
    if (rc == 0)
        rc = parse_fields(rest, head);
    if (rc == 0 && (head->hosts > 1 || (head->hosts == 0 && head->minor > 0)))
        rc = 400;
    return rc;
}

int http_parse_answer(const char *data, size_t len, struct http_head *head)
{
    struct http_text rest = {data, len};
    *head = (struct http_head){.length = -1};
    struct http_text line = take_line(&rest);
    if (!line.at || line.len < 12 || line.at[8] != ' ' || (line.len > 12 && line.at[12] != ' '))
        return -1;
    int64_t status;
    head->minor = parse_version((struct http_text){line.at, 8});
    if (head->minor >= 10 || number((struct http_text){line.at + 9, 3}, &status) < 0 || !is_field_text(line))
        return -1;
    head->status = (int)status;
    return status < 100 || status > 599 || parse_fields(rest, head) != 0 ? -1 : 0;
}

int http_persists(const struct http_head *head)
{
    return !head->close && (head->minor > 0 || head->keep_alive);
}

/* ---- Chunks ---- */

static int hex(char c)
{
    c = lower(c);
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_chunk_size(const char *line, size_t len, uint64_t *ret_size)
{
    struct http_text rest = {line, len};
    struct http_text t = take_line(&rest);
    uint64_t n = 0;
    size_t i = 0;
    if (!t.at || rest.len > 0 || !is_field_text(t))
        return -1;
    for (; i < t.len && hex(t.at[i]) >= 0; i++) {
        if (n >> 59)
            return -1; /* a size that does not fit an int64_t */
        n = n << 4 | (unsigned)hex(t.at[i]);
    }
    *ret_size = n;
    t = trim((struct http_text){t.at + i, t.len - i});
    return i > 0 && (t.len == 0 || t.at[0] == ';') ? 0 : -1;
}
