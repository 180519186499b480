#include "http_out.h"

#include <assert.h>
#include <string.h>

void http_put_some(struct http_out *out, const char *text, size_t len)
{
    assert(len <= out->size - out->len);
    memcpy(out->text + out->len, text, len);
    out->len += len;
}

void http_put(struct http_out *out, const char *text)
{
    http_put_some(out, text, strlen(text));
}

void http_put_number(struct http_out *out, uint64_t n, unsigned base)
{
    char digits[64], *at = digits + sizeof digits;
    do
        *--at = "0123456789abcdef"[n % base];
    while ((n /= base) > 0);
    http_put_some(out, at, (size_t)(digits + sizeof digits - at));
}

/* Exactly so many digits. */
static void set_digits(char *to, int count, int n)
{
    for (; count > 0; n /= 10)
        to[--count] = (char)('0' + n % 10);
}

void http_format_date(time_t when, char text[HTTP_DATE_SIZE])
{
    struct tm tm;
    gmtime_r(&when, &tm);
    memcpy(text, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_SIZE);
    memcpy(text, &"SunMonTueWedThuFriSat"[3 * tm.tm_wday], 3);
    set_digits(text + 5, 2, tm.tm_mday);
    memcpy(text + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * tm.tm_mon], 3);
    set_digits(text + 12, 4, tm.tm_year + 1900);
    set_digits(text + 17, 2, tm.tm_hour);
    set_digits(text + 20, 2, tm.tm_min);
    set_digits(text + 23, 2, tm.tm_sec);
}
