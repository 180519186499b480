/* HTTP/1.1 heads (RFC 9110, RFC 9112), strictly: pure functions over a byte range. What two readers could take for two
 * different messages is refused: bare LF, folded lines, blanks before a colon, two lengths. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    HTTP_LINE_MAX = 8192,   /* bytes of a first line or a field line */
    HTTP_FIELDS_MAX = 100
};

struct http_text {
    const char *at;
    size_t len;
};

enum http_coding {
    HTTP_PLAIN,             /* no Transfer-Encoding */
    HTTP_CHUNKED,           /* exactly "chunked" */
    HTTP_CODED              /* something else, and then chunked */
};

struct http_head {
    struct http_text method, target;    /* of a request */
    int status;                         /* of an answer */
    int minor;                          /* HTTP/1.minor */
    struct http_text fields;            /* all field lines, for http_next_field */
    enum http_coding coding;
    int64_t length;                     /* Content-Length, or -1 */
    int hosts;                          /* how many Host fields */
    int close, keep_alive;              /* Connection names them */
    int plain;                          /* of a request: no field says anything of what comes below, or of a body */
    /* Values of fields that may stand there once. at == NULL: none; given twice, it is empty, which means nothing. */
    struct http_text expect, location, range, if_range;
    struct http_text if_match, if_none_match, if_modified_since, if_unmodified_since;
};

/* A whole head, with the empty line that ends it. Result: 0, or the status to refuse a request with; for an
 * answer 0 or -1. The head points into data. */
int http_parse_request(const char *data, size_t len, struct http_head *head);
int http_parse_answer(const char *data, size_t len, struct http_head *head);

/* The fields of a request that say nothing of note, as most do, and what they came to. Clients send the same again and
 * again, with another first line: then one comparison does for parsing them. All zero: none yet. */
struct http_memo {
    size_t len;
    struct http_head head;
    char fields[1024];
};

/* As http_parse_request, which it gives the same result as. */
int http_parse_request_again(const char *data, size_t len, struct http_memo *memo, struct http_head *head);

/* The next of the field lines in *rest, which it leaves behind. Result: 1, 0 if there is none, or -1 if it is
 * malformed, which a parsed head's fields are not. */
int http_next_field(struct http_text *rest, struct http_text *name, struct http_text *value);

/* The next element of a list with commas between, which it leaves behind, without blanks around it. Result: 1, or 0 at
 * the end. */
int http_next_element(struct http_text *rest, struct http_text *element);

/* "host", "host:", "host:80", "[::1]:80": the form, not whether there is such a host; either part may be empty. The
 * brackets belong to the host. Result: 0, or -1. */
int http_split_authority(struct http_text text, struct http_text *host, struct http_text *port);

/* All of it is one number, in digits. Result: 0 and *ret, or -1, also if it is more than an int64_t holds. */
int http_number(struct http_text text, int64_t *ret);

/* Equal but for case. `lower` is in lower case. */
int http_is(struct http_text text, const char *lower);

/* Exactly equal. */
static inline int http_same(struct http_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.at, other, text.len) == 0;
}

/* The value of a hexadecimal digit, or -1. */
int http_hex(char c);

/* The connection outlives this message. */
static inline int http_persists(const struct http_head *head)
{
    return !head->close && (head->minor > 0 || head->keep_alive);
}

/* The line before a chunk, with its CRLF; extensions are passed over. Result: 0 and *ret_size, or -1. */
int http_chunk_size(const char *line, size_t len, uint64_t *ret_size);

#endif
