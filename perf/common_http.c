#include "common_http.h"

#include <endian.h>
#include <string.h>

/* ---- Characters ---- */

/* What a character may stand in: the value of a field; a target; a token; a host; a number. */
enum { TEXT = 1, VISIBLE = 2, TOKEN = 4, HOST = 8, DIGIT = 16 };
enum { V = TEXT | VISIBLE, VT = V | TOKEN, VH = V | HOST, VTH = VT | HOST, NUM = VTH | DIGIT };

/* So TEXT has no NUL, no CR, no LF and no other control character but the tab. HOST has no comma, though the RFC would
 * allow it: two hosts in one field are none. */
static const unsigned char kinds[256] = {
    ['\t'] = TEXT, [' '] = TEXT, ['!'] = VTH, ['"'] = V, ['#'] = VT, ['$' ... '\''] = VTH, ['(' ... ')'] = VH,
    ['*' ... '+'] = VTH, [','] = V, ['-' ... '.'] = VTH, ['/'] = V, ['0' ... '9'] = NUM, [':'] = V, [';'] = VH,
    ['<'] = V, ['='] = VH, ['>' ... '@'] = V, ['A' ... 'Z'] = VTH, ['[' ... ']'] = V, ['^'] = VT, ['_'] = VTH,
    ['`'] = VT, ['a' ... 'z'] = VTH, ['{'] = V, ['|'] = VT, ['}'] = V, ['~'] = VTH, [0x80 ... 0xff] = TEXT};

/* How many characters at the start are of this kind. */
static size_t span(struct http_text t, int kind)
{
    size_t n = 0;
    while (n < t.len && kinds[(unsigned char)t.at[n]] & kind)
        n++;
    return n;
}

typedef unsigned char octets __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* The same for long texts: sixteen characters at a time, up to the first that could be of another kind. */
static inline size_t span_long(struct http_text t, int kind)
{
    size_t n = 0;
    for (octets x; t.len - n >= sizeof x; n += sizeof x) {
        memcpy(&x, t.at + n, sizeof x);
        halves others = (halves)(kind == TEXT ? (x < ' ') | (x == 0x7f) : (x < '!') | (x > '~'));
        if (others[0] | others[1]) {
            uint64_t half = others[0] ? others[0] : others[1];
            n += (others[0] ? 0 : sizeof half) + (size_t)__builtin_ctzll(le64toh(half)) / 8;
            break;
        }
    }
    return n + span((struct http_text){t.at + n, t.len - n}, kind);
}

static int is_all(struct http_text t, int kind)
{
    return span(t, kind) == t.len;
}

static int is_token(struct http_text t)
{
    return t.len > 0 && is_all(t, TOKEN);
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

int http_hex(char c)
{
    c = lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
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

int http_number(struct http_text t, int64_t *ret)
{
    int64_t n = 0;
    if (t.len == 0 || !is_all(t, DIGIT))
        return -1;
    for (size_t i = 0; i < t.len; i++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, t.at[i] - '0', &n))
            return -1;
    *ret = n;
    return 0;
}

/* ---- Lines ---- */

static void leave(struct http_text *rest, size_t n)
{
    rest->at += n;
    rest->len -= n;
}

/* Result: the line without its CRLF, or at == NULL if there is none that ends in CRLF. */
static struct http_text take_line(struct http_text *rest)
{
    const char *lf = rest->len > 0 ? memchr(rest->at, '\n', rest->len) : NULL;
    if (!lf || lf == rest->at || lf[-1] != '\r')
        return (struct http_text){NULL, 0};
    struct http_text line = {rest->at, (size_t)(lf - 1 - rest->at)};
    leave(rest, line.len + 2);
    return line;
}

/* The part before the first `c`, which goes too; at == NULL if there is no `c`. */
static struct http_text take_until(struct http_text *rest, char c)
{
    const char *end = rest->len > 0 ? memchr(rest->at, c, rest->len) : NULL;
    if (!end)
        return (struct http_text){NULL, 0};
    struct http_text part = {rest->at, (size_t)(end - rest->at)};
    leave(rest, part.len + 1);
    return part;
}

int http_next_field(struct http_text *rest, struct http_text *name, struct http_text *value)
{
    if (rest->len == 0)
        return 0;
    size_t len = span(*rest, TOKEN);
    if (len == 0 || len == rest->len || rest->at[len] != ':')
        return -1;
    *name = (struct http_text){rest->at, len};
    leave(rest, len + 1);
    len = span_long(*rest, TEXT);
    if (rest->len - len < 2 || rest->at[len] != '\r' || rest->at[len + 1] != '\n')
        return -1;
    *value = trim((struct http_text){rest->at, len});
    leave(rest, len + 2);
    return 1;
}

int http_next_element(struct http_text *rest, struct http_text *element)
{
    if (!rest->at)
        return 0;
    *element = take_until(rest, ',');
    if (!element->at) {
        *element = *rest;
        *rest = (struct http_text){NULL, 0};
    }
    *element = trim(*element);
    return 1;
}

/* ---- What a field means ---- */

static int is_of_v6(char c)
{
    return http_hex(c) >= 0 || c == ':' || c == '.';
}

int http_split_authority(struct http_text text, struct http_text *host, struct http_text *port)
{
    size_t len = span(text, HOST);
    if (text.len > 0 && text.at[0] == '[') {
        for (len = 1; len < text.len && is_of_v6(text.at[len]); len++)
            ;
        if (len == text.len || text.at[len++] != ']')
            return -1;
    }
    *host = (struct http_text){text.at, len};
    leave(&text, len);
    *port = text;
    if (text.len == 0)
        return 0;
    leave(port, 1);
    return text.at[0] == ':' && is_all(*port, DIGIT) ? 0 : -1;
}

static int take_length(struct http_head *head, struct http_text value)
{
    int64_t n;
    if (http_number(value, &n) < 0 || (head->length >= 0 && head->length != n))
        return -1;
    head->length = n;
    return 0;
}

/* What does not end in "chunked" has no end that can be known. */
static int take_coding(struct http_head *head, struct http_text value)
{
    struct http_text element;
    int chunked = 0;
    if (head->coding != HTTP_PLAIN)
        return -1;
    while (http_next_element(&value, &element)) {
        if (chunked || !is_token(element))
            return -1;
        chunked = http_is(element, "chunked");
        head->coding = chunked && head->coding == HTTP_PLAIN ? HTTP_CHUNKED : HTTP_CODED;
    }
    return chunked ? 0 : -1;
}

static int take_connection(struct http_head *head, struct http_text value)
{
    struct http_text element;
    while (http_next_element(&value, &element)) {
        head->close |= http_is(element, "close");
        head->keep_alive |= http_is(element, "keep-alive");
    }
    return 0;
}

static int take_host(struct http_head *head, struct http_text value)
{
    struct http_text host, port;
    head->hosts++;
    return http_split_authority(value, &host, &port);
}

static int take_once(struct http_text *to, struct http_text value)
{
    *to = to->at ? (struct http_text){"", 0} : value;
    return 0;
}

/* The length tells most names apart: what stands in most requests is compared once. */
static int take_field(struct http_head *head, struct http_text name, struct http_text value)
{
    switch (name.len) {
    case 4:
        return http_is(name, "host") ? take_host(head, value) : 0;
    case 5:
        return http_is(name, "range") ? take_once(&head->range, value) : 0;
    case 6:
        return http_is(name, "expect") ? take_once(&head->expect, value) : 0;
    case 8:
        return http_is(name, "location")   ? take_once(&head->location, value)
               : http_is(name, "if-range") ? take_once(&head->if_range, value)
               : http_is(name, "if-match") ? take_once(&head->if_match, value)
                                           : 0;
    case 10:
        return http_is(name, "connection") ? take_connection(head, value) : 0;
    case 13:
        return http_is(name, "if-none-match") ? take_once(&head->if_none_match, value) : 0;
    case 14:
        return http_is(name, "content-length") ? take_length(head, value) : 0;
    case 17:
        return http_is(name, "transfer-encoding")   ? take_coding(head, value)
               : http_is(name, "if-modified-since") ? take_once(&head->if_modified_since, value)
                                                    : 0;
    case 19:
        return http_is(name, "if-unmodified-since") ? take_once(&head->if_unmodified_since, value) : 0;
    default:
        return 0;
    }
}

/* ---- Heads ---- */

static int is_digit(char c)
{
    return kinds[(unsigned char)c] & DIGIT;
}

/* "HTTP/1.x", of which there are 8 characters; 1 is the most frequent x. Result: x, or the status to refuse it with. */
static int parse_version(const char *t)
{
    if (memcmp(t, "HTTP/1.1", 8) == 0)
        return 1;
    if (memcmp(t, "HTTP/", 5) != 0 || !is_digit(t[5]) || t[6] != '.' || !is_digit(t[7]))
        return 400;
    return t[5] == '1' ? t[7] - '0' : 505;
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

/* The first n characters, if a blank follows, which goes too; or nothing. */
static struct http_text take_word(struct http_text *rest, size_t n)
{
    struct http_text word = {rest->at, n};
    if (n == rest->len || rest->at[n] != ' ')
        return (struct http_text){rest->at, 0};
    leave(rest, n + 1);
    return word;
}

/* Most requests have this one. */
static size_t method_len(struct http_text t)
{
    return t.len >= 4 && memcmp(t.at, "GET ", 4) == 0 ? 3 : span(t, TOKEN);
}

/* The first line, with its CRLF, which goes. Result: 0, or the status to refuse it with. */
static int take_request_line(struct http_text *rest, struct http_head *head)
{
    head->method = take_word(rest, method_len(*rest));
    head->target = take_word(rest, span_long(*rest, VISIBLE));
    if (head->method.len == 0 || head->target.len == 0 || rest->len < 10 || memcmp(rest->at + 8, "\r\n", 2) != 0)
        return 400;
    head->minor = parse_version(rest->at);
    leave(rest, 10);
    return head->minor < 10 ? 0 : head->minor;
}

/* How long it is tells before what is in it. */
static int parse_request_line(struct http_text *rest, struct http_head *head)
{
    struct http_text whole = *rest;
    int rc = take_request_line(rest, head);
    if (rc == 0 && rest->at - whole.at <= HTTP_LINE_MAX + 2)
        return 0;
    return take_line(&whole).len > HTTP_LINE_MAX ? 414 : rc;
}

/* Nothing in them but what is copied by `recall`. */
static int says_nothing(const struct http_head *head)
{
    return head->coding == HTTP_PLAIN && head->length < 0 && !head->expect.at && !head->location.at &&
           !head->range.at && !head->if_range.at && !head->if_match.at && !head->if_none_match.at &&
           !head->if_modified_since.at && !head->if_unmodified_since.at;
}

static void remember(struct http_memo *memo, struct http_text fields, const struct http_head *head)
{
    if (fields.len > sizeof memo->fields || !head->plain)
        return;
    memo->len = fields.len;
    memo->head = *head;
    memcpy(memo->fields, fields.at, fields.len);
}

/* Result: the fields are the same again, and the head is complete. */
static int recall(const struct http_memo *memo, struct http_text fields, struct http_head *head)
{
    if (memo->len != fields.len || fields.len == 0 || memcmp(memo->fields, fields.at, fields.len) != 0)
        return 0;
    head->fields = (struct http_text){fields.at, fields.len - 2};
    head->hosts = memo->head.hosts;
    head->close = memo->head.close;
    head->keep_alive = memo->head.keep_alive;
    head->plain = 1;
    return 1;
}

/* As if all were zero, but the length; what is not there needs no `len`. */
static inline void begin(struct http_head *head)
{
    head->status = head->minor = head->hosts = head->close = head->keep_alive = head->plain = 0;
    head->method = head->target = head->fields = (struct http_text){NULL, 0};
    head->coding = HTTP_PLAIN;
    head->length = -1;
    head->expect.at = head->location.at = head->range.at = head->if_range.at = NULL;
    head->if_match.at = head->if_none_match.at = head->if_modified_since.at = head->if_unmodified_since.at = NULL;
}

int http_parse_request(const char *data, size_t len, struct http_head *head)
{
    struct http_memo memo;
    memo.len = 0;
    return http_parse_request_again(data, len, &memo, head);
}

int http_parse_request_again(const char *data, size_t len, struct http_memo *memo, struct http_head *head)
{
    struct http_text rest = {data, len};
    begin(head);
    if (len >= 2 && memcmp(data, "\r\n", 2) == 0)
        leave(&rest, 2); /* one empty line before a request is forgiven, as the RFC asks */
    int rc = parse_request_line(&rest, head);
    if (rc == 0 && !recall(memo, rest, head) && (rc = parse_fields(rest, head)) == 0) {
        head->plain = says_nothing(head);
        remember(memo, rest, head);
    }
    if (rc == 0 && (head->hosts > 1 || (head->hosts == 0 && head->minor > 0)))
        rc = 400;
    return rc;
}

int http_parse_answer(const char *data, size_t len, struct http_head *head)
{
    struct http_text rest = {data, len};
    begin(head);
    struct http_text line = take_line(&rest);
    if (!line.at || line.len < 12 || line.at[8] != ' ' || (line.len > 12 && line.at[12] != ' '))
        return -1;
    int64_t status;
    head->minor = parse_version(line.at);
    if (head->minor >= 10 || http_number((struct http_text){line.at + 9, 3}, &status) < 0 || !is_all(line, TEXT))
        return -1;
    head->status = (int)status;
    return status < 100 || status > 599 || parse_fields(rest, head) != 0 ? -1 : 0;
}

/* ---- Chunks ---- */

int http_chunk_size(const char *line, size_t len, uint64_t *ret_size)
{
    struct http_text rest = {line, len};
    struct http_text t = take_line(&rest);
    uint64_t n = 0;
    size_t i = 0;
    if (!t.at || rest.len > 0 || !is_all(t, TEXT))
        return -1;
    for (; i < t.len && http_hex(t.at[i]) >= 0; i++) {
        if (n >> 59)
            return -1; /* a size that does not fit an int64_t */
        n = n << 4 | (unsigned)http_hex(t.at[i]);
    }
    *ret_size = n;
    t = trim((struct http_text){t.at + i, t.len - i});
    return i > 0 && (t.len == 0 || t.at[0] == ';') ? 0 : -1;
}
