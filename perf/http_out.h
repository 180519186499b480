/* Text that grows in memory of the caller's, who knows that there is room. printf would cost more than all the rest of
 * an answer. */
#ifndef HTTP_OUT_H
#define HTTP_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct http_out {
    char *text;
    size_t size, len;
};

void http_put(struct http_out *out, const char *text);
void http_put_some(struct http_out *out, const char *text, size_t len);
void http_put_number(struct http_out *out, uint64_t n, unsigned base);

/* "Sun, 06 Nov 1994 08:49:37 GMT", with its NUL */
enum { HTTP_DATE_SIZE = 30 };
void http_format_date(time_t when, char text[HTTP_DATE_SIZE]);

#endif
