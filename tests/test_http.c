/* Suite http: what the programs of perf/ make of the text of HTTP, case by case. */
#include "common_http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_answer.h"
#include "http_condition.h"
#include "http_target.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct http_head head;

static struct http_text text(const char *string)
{
    return (struct http_text){string, strlen(string)};
}

static int is(struct http_text t, const char *string)
{
    return t.at && http_same(t, string);
}

/* The same comes of it with a memory of earlier requests, among them this one. */
static void again(const char *data, int wanted, const struct http_head *plain)
{
    static struct http_memo memo;
    for (int i = 0; i < 2; i++) {
        struct http_head got;
        cr_assert_eq(http_parse_request_again(data, strlen(data), &memo, &got), wanted, "%s", data);
        cr_assert(wanted != 0 || (got.fields.at == plain->fields.at && got.fields.len == plain->fields.len &&
                                  got.hosts == plain->hosts && got.close == plain->close &&
                                  got.keep_alive == plain->keep_alive && got.length == plain->length &&
                                  got.coding == plain->coding && got.range.at == plain->range.at &&
                                  got.expect.at == plain->expect.at && got.if_match.at == plain->if_match.at),
                  "%s", data);
    }
}

/* A request with these field lines besides Host. */
static int request(const char *fields)
{
    static char data[40000];
    snprintf(data, sizeof data, "GET /x?y HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    int rc = http_parse_request(data, strlen(data), &head);
    again(data, rc, &head);
    return rc;
}

/* ---- Heads ---- */

/* Whatever stands around it: long texts are looked at in eights. */
Test(http, each_octet_at_each_place)
{
    char data[100];
    for (int len = 1; len <= 20; len++)
        for (int at = 0; at < len; at++)
            for (int octet = 0; octet < 256; octet++) {
                int visible = octet > ' ' && octet < 0x7f, is_text = octet >= ' ' ? octet != 0x7f : octet == '\t';
                char word[21] = "aaaaaaaaaaaaaaaaaaaa";
                word[at] = (char)octet;
                word[len] = '\0';
                int n = snprintf(data, sizeof data, "GET /");
                memcpy(data + n, word, (size_t)len);
                n += len;
                n += snprintf(data + n, sizeof data - (size_t)n, " HTTP/1.1\r\nHost: h\r\n\r\n");
                cr_assert_eq(http_parse_request(data, (size_t)n, &head), visible ? 0 : 400, "%d: %d at %d of %d",
                             http_parse_request(data, (size_t)n, &head), octet, at, len);
                n = snprintf(data, sizeof data, "GET / HTTP/1.1\r\nHost: h\r\nA:");
                memcpy(data + n, word, (size_t)len);
                n += len;
                n += snprintf(data + n, sizeof data - (size_t)n, "\r\n\r\n");
                cr_assert_eq(http_parse_request(data, (size_t)n, &head), is_text ? 0 : 400, "%d at %d of %d", octet, at,
                             len);
            }
}

Test(http, a_request)
{
    cr_assert_eq(request("Connection: a , close,Keep-Alive\r\ncontent-length:  7 \r\nRange: r\r\nIf-Range: i\r\n"
                         "If-Match: m\r\nIf-None-Match: n\r\nIf-Modified-Since: s\r\nIf-Unmodified-Since: u\r\n"
                         "EXPECT: 100-continue\r\nExtra: e\r\n"),
                 0);
    cr_assert(is(head.method, "GET") && is(head.target, "/x?y") && head.minor == 1 && head.hosts == 1);
    cr_assert(head.close && head.keep_alive && head.length == 7 && head.coding == HTTP_PLAIN);
    cr_assert(is(head.range, "r") && is(head.if_range, "i") && is(head.if_match, "m") && is(head.if_none_match, "n"));
    cr_assert(is(head.if_modified_since, "s") && is(head.if_unmodified_since, "u") && is(head.expect, "100-continue"));
    cr_assert_null(head.location.at);
    cr_assert_not(http_persists(&head));
    struct http_text name, value;
    int count = 0;
    for (struct http_text rest = head.fields; http_next_field(&rest, &name, &value) == 1; count++)
        ;
    cr_assert_eq(count, 11);
    cr_assert(is(name, "Extra") && is(value, "e"));
}

Test(http, a_field_that_stands_there_twice_means_nothing)
{
    cr_assert_eq(request("Range: bytes=0-1\r\nrange: bytes=0-1\r\n"), 0);
    cr_assert(is(head.range, ""));
    cr_assert_eq(request("Range:\r\n"), 0);
    cr_assert(is(head.range, ""));
    cr_assert_eq(request(""), 0);
    cr_assert_null(head.range.at);
}

Test(http, an_answer)
{
    const char *data = "HTTP/1.0 302 Found it\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    cr_assert_eq(http_parse_answer(data, strlen(data), &head), 0);
    cr_assert(head.status == 302 && head.minor == 0 && is(head.location, "/there") && head.length == 0);
}

/* No prefix of a head is a head, nor is one that has lost a byte of its line ends. */
Test(http, heads_that_are_cut)
{
    const char *data = "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", *answer = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for (size_t n = 0; n < strlen(data); n++)
        cr_assert_eq(http_parse_request(data, n, &head), 400, "%zu bytes", n);
    for (size_t n = 0; n < strlen(answer); n++)
        cr_assert_eq(http_parse_answer(answer, n, &head), -1, "%zu bytes", n);
    for (size_t n = 0; data[n]; n++) {
        char lost[64];
        snprintf(lost, sizeof lost, "%.*s%s", (int)n, data, data + n + 1);
        if (data[n] == '\r' || data[n] == '\n')
            cr_assert_eq(http_parse_request(lost, strlen(lost), &head), 400, "without byte %zu", n);
    }
}

/* Whatever one byte of a head becomes, the result is a head that is as good, or a refusal; never a read beyond it. */
Test(http, heads_with_one_other_byte)
{
    static const char data[] = "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    for (size_t at = 0; at < sizeof data - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char *copy = malloc(sizeof data - 1);
            memcpy(copy, data, sizeof data - 1);
            copy[at] = (char)byte;
            int status = http_parse_request(copy, sizeof data - 1, &head);
            cr_assert(status == 0 || status == 400 || status == 505, "%d at %zu: %d", byte, at, status);
            cr_assert(status != 0 || byte >= ' ' || byte == data[at] || byte == '\t', "%d at %zu", byte, at);
            free(copy);
        }
    }
}

Test(http, codings)
{
    static const struct {
        const char *fields;
        int status;
        enum http_coding coding;
    } cases[] = {
        {"Transfer-Encoding: chunked\r\n", 0, HTTP_CHUNKED},
        {"Transfer-Encoding: \tCHUNKED \r\n", 0, HTTP_CHUNKED},
        {"Transfer-Encoding: gzip, chunked\r\n", 0, HTTP_CODED},
        {"Transfer-Encoding: a,b , chunked\r\n", 0, HTTP_CODED},
        {"Transfer-Encoding: gzip\r\n", 400, 0},
        {"Transfer-Encoding: identity\r\n", 400, 0},
        {"Transfer-Encoding: xchunked\r\n", 400, 0},
        {"Transfer-Encoding: chunkedx\r\n", 400, 0},
        {"Transfer-Encoding: chunked, gzip\r\n", 400, 0},
        {"Transfer-Encoding: chunked, chunked\r\n", 400, 0},
        {"Transfer-Encoding: chunked,\r\n", 400, 0},
        {"Transfer-Encoding: , chunked\r\n", 400, 0},
        {"Transfer-Encoding: chunked;a=b\r\n", 400, 0},
        {"Transfer-Encoding: \"chunked\"\r\n", 400, 0},
        {"Transfer-Encoding:\r\n", 400, 0},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 400, 0},
        {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400, 0},
        {"Content-Length: 1\r\nTransfer-Encoding: gzip, chunked\r\n", 400, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(request(cases[i].fields), cases[i].status, "%s", cases[i].fields);
        cr_assert(cases[i].status != 0 || head.coding == cases[i].coding, "%s", cases[i].fields);
    }
}

Test(http, authorities)
{
    static const char *const good[][3] = {{"h", "h", ""},
                                          {"a.b-c_d~:80", "a.b-c_d~", "80"},
                                          {"h:", "h", ""},
                                          {"", "", ""},
                                          {":80", "", "80"},
                                          {"[::1]", "[::1]", ""},
                                          {"[::ffff:1.2.3.4]:8", "[::ffff:1.2.3.4]", "8"},
                                          {"%41", "%41", ""}};
    static const char *const bad[] = {"h:x", "h:8 ", "h:8:8", "u@h",  "a,b", "a b", "a/b", "[::1", "[::1]x",
                                      "[g]", "::1",  "]",     "h\\i", "h?",  "h#",  "<h>", "h\"",  "\xc3\xa4"};
    struct http_text host, port;
    for (size_t i = 0; i < COUNT(good); i++) {
        cr_assert_eq(http_split_authority(text(good[i][0]), &host, &port), 0, "%s", good[i][0]);
        cr_assert(is(host, good[i][1]) && is(port, good[i][2]), "%s", good[i][0]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_split_authority(text(bad[i]), &host, &port), -1, "%s", bad[i]);
}

Test(http, numbers)
{
    int64_t n = -1;
    cr_assert(http_number(text("9223372036854775807"), &n) == 0 && n == INT64_MAX);
    cr_assert(http_number(text("0000000000000000000000000007"), &n) == 0 && n == 7);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "9223372036854775808", "1,1", "\xb2"};
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_number(text(bad[i]), &n), -1, "%s", bad[i]);
}

Test(http, sizes_of_chunks)
{
    static const struct {
        const char *line;
        uint64_t size;
    } good[] = {{"0\r\n", 0},
                {"aF\r\n", 0xaf},
                {"0000000000000000000003\r\n", 3},
                {"7fffffffffffffff\r\n", INT64_MAX},
                {"3;a=b\r\n", 3},
                {"3 ;a=\"b;\"\r\n", 3},
                {"3\t \r\n", 3}};
    static const char *const bad[] = {"",
                                      "\r\n",
                                      "3",
                                      "3\n",
                                      "3\r",
                                      "3\r\r\n",
                                      "3\r\n\r\n",
                                      "x\r\n",
                                      "3x\r\n",
                                      "-3\r\n",
                                      "+3\r\n",
                                      "0x3\r\n",
                                      " 3\r\n",
                                      "3 4\r\n",
                                      ";a\r\n",
                                      "3;\a\r\n",
                                      "8000000000000000\r\n",
                                      "10000000000000000\r\n"};
    uint64_t size;
    for (size_t i = 0; i < COUNT(good); i++) {
        cr_assert_eq(http_chunk_size(good[i].line, strlen(good[i].line), &size), 0, "%s", good[i].line);
        cr_assert_eq(size, good[i].size, "%s", good[i].line);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_chunk_size(bad[i], strlen(bad[i]), &size), -1, "%s", bad[i]);
    cr_assert_eq(http_chunk_size("3;\0\r\n", 5, &size), -1);
}

/* ---- Targets ---- */

Test(http, targets)
{
    static const char *const good[][3] = {
        {"/", "/", ""}, {"/a/b?c?d/e", "/a/b", "?c?d/e"}, {"/?", "/", "?"},         {"//h/x", "//h/x", ""},
        {"*", "", ""},  {"http://h/a?b", "/a", "?b"},     {"HTTP://h:80", "/", ""}, {"http://[::1]?q/r", "/", "?q/r"}};
    static const char *const bad[] = {"x",          "?x",        "**",          "h:80",        "http:/h",
                                      "http://",    "http:///x", "http://u@h/", "http://:80/", "http://h:x/",
                                      "https://h/", "ftp://h/",  "/a#b",        "http://h#b",  "http://a,b/"};
    struct http_target target;
    for (size_t i = 0; i < COUNT(good); i++) {
        cr_assert_eq(http_parse_target(text(good[i][0]), &target), 0, "%s", good[i][0]);
        cr_assert(http_same(target.path, good[i][1]) && http_same(target.query, good[i][2]), "%s", good[i][0]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_parse_target(text(bad[i]), &target), 400, "%s", bad[i]);
}

Test(http, names_of_files)
{
    static const char *const good[][2] = {
        {"/", ""},       {"///a", "a"},         {"/a//b/", "a//b/"}, {"/%61%2E.%20%c3%a4", "a.. \xc3\xa4"},
        {"/...", "..."}, {"/..a/.b", "..a/.b"}, {"/./a", "./a"},     {"/%25%32f", "%2f"}};
    static const char *const bad[] = {"/..",     "/../a",     "/a/..", "/a/../b",    "//..",   "/%2e%2e",
                                      "/.%2E/a", "/a/%2e./b", "/%00",  "/a%00.html", "/a%2fb", "/a%2Fb",
                                      "/%",      "/%4",       "/%zz",  "/%0a",       "/%7f",   "/%1F"};
    char name[64];
    for (size_t i = 0; i < COUNT(good); i++) {
        cr_assert_eq(http_file_name(text(good[i][0]), name, sizeof name), 0, "%s", good[i][0]);
        cr_assert_str_eq(name, good[i][1]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_file_name(text(bad[i]), name, sizeof name), 400, "%s", bad[i]);
    cr_assert_eq(http_file_name(text("/1234567"), name, 8), 0);
    cr_assert_eq(http_file_name(text("/12345678"), name, 8), 404);
}

/* ---- Conditions ---- */

enum { MODIFIED = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT */
#define ETAG "\"ae1b981bc490a01-3e8\""

static const struct http_entity entity = {1000, {MODIFIED, 1}};
static struct http_range range;

static int judge(const char *fields)
{
    cr_assert_eq(request(fields), 0, "%s", fields);
    return http_judge(&head, 0, &entity, MODIFIED + 1, &range);
}

Test(http, dates)
{
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    static const char *const bad[] = {"",
                                      "Sun",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 GMT x",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "784111777",
                                      "Son, 06 Nov 1994 08:49:37 GMT"};
    char made[HTTP_DATE_SIZE];
    time_t when;
    for (size_t i = 0; i < COUNT(good); i++) {
        cr_assert_eq(http_parse_date(text(good[i]), &when), 0, "%s", good[i]);
        cr_assert_eq(when, MODIFIED, "%s", good[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(http_parse_date(text(bad[i]), &when), -1, "%s", bad[i]);
    /* Each day of 60 years, against the C library. */
    for (time_t t = 0; t < 60L * 366 * 86400; t += 86400 + 3661) {
        char expected[64];
        struct tm tm;
        strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        http_format_date(t, made);
        cr_assert_str_eq(made, expected);
        cr_assert(http_parse_date(text(made), &when) == 0 && when == t, "%s", made);
    }
}

Test(http, tags)
{
    char etag[HTTP_ETAG_SIZE];
    http_format_etag(&entity, etag);
    cr_assert_str_eq(etag, ETAG);
    static const struct http_entity longest = {INT64_MAX, {INT64_MAX, 999999999}};
    http_format_etag(&longest, etag);
    cr_assert_lt(strlen(etag), sizeof etag);
}

Test(http, preconditions)
{
    static const struct {
        const char *fields;
        int status;
    } cases[] = {
        {"", 200},
        {"If-None-Match: " ETAG "\r\n", 304},
        {"If-None-Match: W/" ETAG "\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"a,b\", W/\"c\" ,," ETAG "\r\n", 304},
        {"If-None-Match: \"x\"\r\n", 200},
        {"If-None-Match: ae1b981bc490a01-3e8\r\n", 200},
        {"If-None-Match: x" ETAG "\r\n", 200},
        {"If-None-Match: \"" ETAG "\r\n", 200},
        {"If-None-Match: w/" ETAG "\r\n", 200},
        {"If-None-Match: W/\r\n", 200},
        {"If-None-Match: \"\r\n", 200},
        {"If-None-Match:\r\n", 200},
        {"If-None-Match: " ETAG "\r\nIf-None-Match: " ETAG "\r\n", 200},
        {"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304},
        {"If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 304},
        {"If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200},
        {"If-Modified-Since: yesterday\r\n", 200},
        {"If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200},
        {"If-None-Match: " ETAG "\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 304},
        {"If-Match: " ETAG "\r\n", 200},
        {"If-Match: *\r\n", 200},
        {"If-Match: W/" ETAG "\r\n", 412},
        {"If-Match: \"x\"\r\n", 412},
        {"If-Match:\r\n", 412},
        {"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200},
        {"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 412},
        {"If-Unmodified-Since: never\r\n", 200},
        {"If-Match: " ETAG "\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200},
        {"If-Match: \"x\"\r\nIf-None-Match: " ETAG "\r\n", 412},
        {"If-None-Match: " ETAG "\r\nRange: bytes=0-1\r\n", 304},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(judge(cases[i].fields), cases[i].status, "%s", cases[i].fields);
        cr_assert(range.first == 0 && range.end == 1000, "%s", cases[i].fields);
    }
}

Test(http, ranges)
{
    static const struct {
        const char *value;
        int status, first, end;
    } cases[] = {
        {"bytes=0-0", 206, 0, 1},
        {"bytes=0-", 206, 0, 1000},
        {"Bytes=5-9", 206, 5, 10},
        {"bytes=999-", 206, 999, 1000},
        {"bytes=0-999", 206, 0, 1000},
        {"bytes=5-1000", 206, 5, 1000},
        {"bytes=-1", 206, 999, 1000},
        {"bytes=-1000", 206, 0, 1000},
        {"bytes=-1001", 206, 0, 1000},
        {"bytes=05-007", 206, 5, 8},
        {"bytes=5-99999999999999999999999", 206, 5, 1000},
        {"bytes=-99999999999999999999999", 206, 0, 1000},
        {"bytes=9-9223372036854775807", 206, 9, 1000},
        {"bytes=1000-", 416, 0, 1000},
        {"bytes=1000-1001", 416, 0, 1000},
        {"bytes=-0", 416, 0, 1000},
        {"bytes=99999999999999999999999-", 416, 0, 1000},
        {"bytes=5-4", 200, 0, 1000},
        {"bytes=-", 200, 0, 1000},
        {"bytes=", 200, 0, 1000},
        {"bytes", 200, 0, 1000},
        {"", 200, 0, 1000},
        {"bytes=0", 200, 0, 1000},
        {"bytes=a-b", 200, 0, 1000},
        {"bytes=0-0,5-5", 200, 0, 1000},
        {"bytes=0-0,", 200, 0, 1000},
        {"bytes= 0-0", 200, 0, 1000},
        {"bytes=0 -0", 200, 0, 1000},
        {"bytes=--1", 200, 0, 1000},
        {"bytes=+1-2", 200, 0, 1000},
        {"bytes=0-0x", 200, 0, 1000},
        {"lines=0-0", 200, 0, 1000},
        {"bytes:0-0", 200, 0, 1000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char field[100];
        snprintf(field, sizeof field, "Range: %s\r\n", cases[i].value);
        cr_assert_eq(judge(field), cases[i].status, "%s", cases[i].value);
        cr_assert(range.first == cases[i].first && range.end == cases[i].end, "%s", cases[i].value);
    }
    static const struct http_entity empty = {0};
    cr_assert_eq(request("Range: bytes=0-\r\n"), 0);
    cr_assert_eq(http_judge(&head, 0, &empty, MODIFIED, &range), 416);
    cr_assert_eq(request("Range: bytes=-5\r\n"), 0);
    cr_assert_eq(http_judge(&head, 0, &empty, MODIFIED, &range), 416);
    cr_assert_eq(http_judge(&head, 1, &entity, MODIFIED, &range), 200, "HEAD has no ranges");
}

Test(http, ranges_of_a_certain_version)
{
    static const struct {
        const char *value;
        int status;
    } cases[] = {{ETAG, 206},
                 {"W/" ETAG, 200},
                 {"\"x\"", 200},
                 {"*", 200},
                 {"", 200},
                 {"x", 200},
                 {"Sun, 06 Nov 1994 08:49:37 GMT", 206},
                 {"Sun, 06 Nov 1994 08:49:38 GMT", 200},
                 {"Sun, 06 Nov 1994 08:49:36 GMT", 200},
                 {"Sunday, 06-Nov-94 08:49:37 GMT", 206}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char fields[200];
        snprintf(fields, sizeof fields, "Range: bytes=1-1\r\nIf-Range: %s\r\n", cases[i].value);
        cr_assert_eq(judge(fields), cases[i].status, "%s", cases[i].value);
    }
    /* Within the second it was written in, a file may change again and keep its date. */
    cr_assert_eq(request("Range: bytes=1-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 0);
    cr_assert_eq(http_judge(&head, 0, &entity, MODIFIED, &range), 200);
}

/* ---- The same fields again ---- */

Test(http, fields_that_are_the_same_again)
{
    static const struct {
        const char *data;
        int status, minor, close;
    } cases[] = {{"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0, 1, 1},
                 {"GET /longer HTTP/1.0\r\nHost: h\r\nConnection: close\r\n\r\n", 0, 0, 1},
                 {"GET / HTTP/1.0\r\n\r\n", 0, 0, 0},
                 {"GET / HTTP/1.1\r\n\r\n", 400, 1, 0},
                 {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 0, 0, 0},
                 {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, 1, 0},
                 {"GET / HTTP/1.1\r\nHost: i\r\n\r\n", 0, 1, 0},
                 {"GET / HTTP/1.1\r\nHost: /\r\n\r\n", 400, 1, 0},
                 {"GET / HTTP/1.2\nHost: h\r\n\r\n", 400, 0, 0}};
    struct http_memo memo = {0};
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < COUNT(cases); i++)
            for (int twice = 0; twice < 2; twice++) {
                int rc = http_parse_request_again(cases[i].data, strlen(cases[i].data), &memo, &head);
                cr_assert_eq(rc, cases[i].status, "%s: %d", cases[i].data, rc);
                cr_assert(rc != 0 || (head.minor == cases[i].minor && head.close == cases[i].close &&
                                      head.length == -1 && head.hosts == (strstr(cases[i].data, "Host") != NULL)),
                          "%s", cases[i].data);
            }
}

/* ---- Answers ---- */

Test(http, heads_of_answers_fit)
{
    char made[HTTP_ANSWER_SIZE];
    struct http_out out = {.text = made, .size = sizeof made};
    struct http_file file = {.fd = -1,
                             .type = "application/octet-stream",
                             .entity = {INT64_MAX, {253402300799, 999999999}}};
    http_put_first_lines(&out, 431, 0, "keep-alive");
    http_put_file_fields(&out, 206, &file, &(struct http_range){INT64_MAX - 1, INT64_MAX});
    http_put(&out, "\r\n");
    cr_assert_eq(http_parse_answer(made, out.len, &head), 0);
    cr_assert(head.status == 431 && head.keep_alive && head.length == 1);
    cr_assert(memmem(made, out.len, "\r\nLast-Modified: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 48));
    cr_assert(memmem(made, out.len,
                     "\r\nContent-Range: bytes 9223372036854775806-9223372036854775806/"
                     "9223372036854775807\r\n",
                     82));
}

Test(http, numbers_in_answers)
{
    char made[100] = "";
    struct http_out out = {.text = made, .size = sizeof made};
    http_put_number(&out, 0, 10);
    http_put(&out, " ");
    http_put_number(&out, UINT64_MAX, 10);
    http_put(&out, " ");
    http_put_number(&out, UINT64_MAX, 16);
    cr_assert_str_eq(made, "0 18446744073709551615 ffffffffffffffff");
}
