/* Suite get: the parts of get that are pure: URLs, requests, and the line that tells of progress. */
#include "get_url.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "get_progress.h"
#include "get_request.h"
#include "weir.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct url url;

static struct http_text text(const char *string)
{
    return (struct http_text){string, strlen(string)};
}

static void expect_url(const char *from, const char *host, const char *target)
{
    char made[URL_HOST_SIZE + 16];
    url_format_host(&url, made, sizeof made);
    cr_assert_str_eq(made, host, "%s: %s", from, made);
    cr_assert_str_eq(url.target, target, "%s: %s", from, url.target);
}

/* ---- URLs ---- */

Test(get, urls)
{
    static const char *const cases[][3] = {
        {"http://h", "h", "/"},
        {"h", "h", "/"},
        {"HTTP://HoSt:080/Path?Query#Fragment", "host", "/Path?Query"},
        {"localhost:8080/x", "localhost:8080", "/x"},
        {"h:/", "h", "/"},
        {"h:0", "h:0", "/"},
        {"h:65535", "h:65535", "/"},
        {"http://[::1]:81?q", "[::1]:81", "/?q"},
        {"http://[FE80::1]", "[fe80::1]", "/"},
        {"h?a/../b", "h", "/?a/../b"},
        {"h#f?g", "h", "/"},
        {"h/a/./b/../c", "h", "/a/c"},
        {"h/../..", "h", "/"},
        {"h//a//", "h", "//a//"},
        {"h/x?http://y", "h", "/x?http://y"},
        {"h/\xc3\xa4?\xff", "h", "/%C3%A4?%FF"},
        {"h/%2e%2E/%00", "h", "/%2e%2E/%00"},
        {"ftp", "ftp", "/"},
        {"h/a:b://c", "h", "/a:b://c"},
        {"https://h", "h", "/"},
        {"HTTPS://h:443/x", "h", "/x"},
        {"https://h:80", "h:80", "/"},
        {"http://h:443", "h:443", "/"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(url_parse(cases[i][0], &url), 0, "%s", cases[i][0]);
        expect_url(cases[i][0], cases[i][1], cases[i][2]);
    }
}

Test(get, urls_that_are_none)
{
    static const char *const malformed[] = {"",
                                            "http://",
                                            "http:///x",
                                            "http://?",
                                            ":80",
                                            "http://h:x/",
                                            "http://h:-1",
                                            "http://h:65536/",
                                            "http://h:99999999999999999999/",
                                            "http://u@h/",
                                            "http://u:p@h/",
                                            "http://h/a b",
                                            "http://h/\r\nA: b",
                                            "h/\x7f",
                                            "http://[::1/",
                                            "http://[]/",
                                            "http://[1.2.3.4]/",
                                            "http://[::1%25lo]/",
                                            "http://[::1]x/",
                                            "::1",
                                            "http://*:80/",
                                            "http://a,b/",
                                            "http://a%41/",
                                            "http://\xc3\xa4/",
                                            "http://h\\x/",
                                            "http://\"h\"/",
                                            " http://h",
                                            "h\t"};
    static const char *const others[] = {"ftp://h/", "a+b-c.9://", "httpx://h", "httpss://h", "http+s://h"};
    for (size_t i = 0; i < COUNT(malformed); i++)
        cr_assert_eq(url_parse(malformed[i], &url), -EINVAL, "%s", malformed[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        cr_assert_eq(url_parse(others[i], &url), -EPROTONOSUPPORT, "%s", others[i]);
}

/* RFC 3986, 5.4: all that stays within http. */
Test(get, references)
{
    static const char *const cases[][2] = {{"g", "/b/c/g"},
                                           {"./g", "/b/c/g"},
                                           {"g/", "/b/c/g/"},
                                           {"/g", "/g"},
                                           {"?y", "/b/c/d;p?y"},
                                           {"g?y", "/b/c/g?y"},
                                           {"#s", "/b/c/d;p?q"},
                                           {"g#s", "/b/c/g"},
                                           {"g?y#s", "/b/c/g?y"},
                                           {";x", "/b/c/;x"},
                                           {"g;x", "/b/c/g;x"},
                                           {"g;x?y#s", "/b/c/g;x?y"},
                                           {"", "/b/c/d;p?q"},
                                           {".", "/b/c/"},
                                           {"./", "/b/c/"},
                                           {"..", "/b/"},
                                           {"../", "/b/"},
                                           {"../g", "/b/g"},
                                           {"../..", "/"},
                                           {"../../", "/"},
                                           {"../../g", "/g"},
                                           {"../../../g", "/g"},
                                           {"../../../../g", "/g"},
                                           {"/./g", "/g"},
                                           {"/../g", "/g"},
                                           {"g.", "/b/c/g."},
                                           {".g", "/b/c/.g"},
                                           {"g..", "/b/c/g.."},
                                           {"..g", "/b/c/..g"},
                                           {"./../g", "/b/g"},
                                           {"./g/.", "/b/c/g/"},
                                           {"g/./h", "/b/c/g/h"},
                                           {"g/../h", "/b/c/h"},
                                           {"g;x=1/./y", "/b/c/g;x=1/y"},
                                           {"g;x=1/../y", "/b/c/y"},
                                           {"g?y/./x", "/b/c/g?y/./x"},
                                           {"g?y/../x", "/b/c/g?y/../x"},
                                           {"g#s/../x", "/b/c/g"},
                                           {"g b\xc3\xa4?c d", "/b/c/g%20b%C3%A4?c%20d"},
                                           {"http://a/x", "/x"},
                                           {"//a/y/../z", "/z"},
                                           {"//a", "/"},
                                           {"//a?q", "/?q"},
                                           {"HTTP://A", "/"},
                                           {"1:2", "/b/c/1:2"},
                                           {"./g:h", "/b/c/g:h"},
                                           {"?", "/b/c/d;p?"},
                                           {"a\\b", "/b/c/a\\b"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(url_parse("http://a/b/c/d;p?q", &url), 0);
        cr_assert_eq(url_resolve(&url, text(cases[i][0])), 0, "%s", cases[i][0]);
        expect_url(cases[i][0], "a", cases[i][1]);
    }
}

Test(get, references_to_elsewhere)
{
    struct url from, to;
    cr_assert_eq(url_parse("http://a:81/b", &from), 0);
    to = from;
    cr_assert_eq(url_resolve(&to, text("/x")), 0);
    cr_assert(url_same_origin(&from, &to));
    static const char *const others[] = {"http://a/", "//b:81/", "//a:82", "http://[::1]:81/", "https://a:81/b"};
    for (size_t i = 0; i < COUNT(others); i++) {
        to = from;
        cr_assert_eq(url_resolve(&to, text(others[i])), 0, "%s", others[i]);
        cr_assert_not(url_same_origin(&from, &to), "%s", others[i]);
        cr_assert_eq(to.tls, strncmp(others[i], "https:", 6) == 0);
    }
    cr_assert_eq(url_parse("https://a:81/b", &to), 0);
    cr_assert_eq(url_resolve(&to, text("//c/d")), 0);
    cr_assert(to.tls && to.port == 443, "the scheme is the base's");
    cr_assert_eq(url_resolve(&to, text("http://c/d")), 0);
    cr_assert(!to.tls && to.port == 80);
    static const struct {
        const char *reference;
        int error;
    } bad[] = {{"g:h", -EPROTONOSUPPORT},
               {"javascript:x", -EPROTONOSUPPORT},
               {"http:g", -EINVAL},
               {"http:/g", -EINVAL},
               {"http://", -EINVAL},
               {"///g", -EINVAL},
               {"//u@a/", -EINVAL},
               {"//a b/", -EINVAL},
               {"http://a:x/", -EINVAL}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        to = from;
        cr_assert_eq(url_resolve(&to, text(bad[i].reference)), bad[i].error, "%s", bad[i].reference);
        cr_assert(url_same_origin(&from, &to) && strcmp(to.target, "/b") == 0, "%s", bad[i].reference);
    }
}

/* Any length is either taken or refused, and what is taken comes out whole. */
Test(get, long_urls)
{
    static char long_text[2 * URL_TARGET_SIZE];
    size_t longest = 0;
    for (size_t n = URL_TARGET_SIZE - 20; n < URL_TARGET_SIZE + 20; n++) {
        memset(long_text, 'x', n);
        memcpy(long_text, "h/", 2);
        long_text[n] = '\0';
        int rc = url_parse(long_text, &url);
        cr_assert(rc == -EINVAL || (rc == 0 && strlen(url.target) == n - 1), "%zu", n);
        longest = rc == 0 ? n : longest;
    }
    cr_assert_gt(longest, URL_TARGET_SIZE - 20);
    memset(long_text, '\xff', URL_TARGET_SIZE / 2);
    memcpy(long_text, "h/", 2);
    long_text[URL_TARGET_SIZE / 2] = '\0';
    cr_assert_eq(url_parse(long_text, &url), -EINVAL, "escapes take room");
    memset(long_text, 'a', URL_HOST_SIZE);
    long_text[URL_HOST_SIZE] = '\0';
    cr_assert_eq(url_parse(long_text, &url), -EINVAL);
    long_text[URL_HOST_SIZE - 1] = '\0';
    cr_assert_eq(url_parse(long_text, &url), 0);
}

Test(get, addresses)
{
    struct sockaddr_storage addr;
    const struct sockaddr_in *in = (const void *)&addr;
    socklen_t len;
    cr_assert(url_parse("LOCALHOST:81", &url) == 0 && url_address(&url, &addr, &len) == 0);
    cr_assert(in->sin_family == AF_INET && ntohl(in->sin_addr.s_addr) == INADDR_LOOPBACK && ntohs(in->sin_port) == 81);
    cr_assert(url_parse("[::1]", &url) == 0 && url_address(&url, &addr, &len) == 0);
    cr_assert_eq(addr.ss_family, AF_INET6);
    static const char *const names[] = {"example.com", "unix:80",    "unix/x", "127.1",
                                        "1.2.3.256",   "localhost.", "0x7f.1"};
    for (size_t i = 0; i < COUNT(names); i++) {
        cr_assert_eq(url_parse(names[i], &url), 0, "%s", names[i]);
        cr_assert_eq(url_address(&url, &addr, &len), -ENOENT, "%s", names[i]);
    }
}

/* ---- Requests ---- */

static const char *request(const struct get_args *args, int same_origin)
{
    static char made[GET_REQUEST_MAX];
    cr_assert_eq(url_parse("h:81/x?y", &url), 0);
    int len = get_format_request(args, &url, same_origin, made);
    cr_assert_eq(len, (int)strlen(made));
    return made;
}

#define TEXT(x) #x
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)
#define VERSION DOTTED(WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH)
#define OURS "User-Agent: weir-get/" VERSION "\r\nAccept: */*\r\nConnection: close\r\n"

Test(get, requests)
{
    struct get_args args = {0};
    cr_assert_str_eq(request(&args, 1), "GET /x?y HTTP/1.1\r\nHost: h:81\r\n" OURS "\r\n");
    args.head_only = 1;
    cr_assert_str_eq(request(&args, 0), "HEAD /x?y HTTP/1.1\r\nHost: h:81\r\n" OURS "\r\n");
}

Test(get, fields_of_the_user)
{
    struct get_args args = {.headers = {"A: b", "ACCEPT: c", "Cookie: d", "Authorization: e", "Host: f"},
                            .header_count = 5};
    cr_assert_str_eq(request(&args, 1), "GET /x?y HTTP/1.1\r\nUser-Agent: weir-get/" VERSION "\r\nConnection: close\r\n"
                                        "A: b\r\nACCEPT: c\r\nCookie: d\r\nAuthorization: e\r\nHost: f\r\n\r\n");
    cr_assert_str_eq(request(&args, 0), "GET /x?y HTTP/1.1\r\nHost: h:81\r\nUser-Agent: weir-get/" VERSION "\r\n"
                                        "Connection: close\r\nA: b\r\nACCEPT: c\r\n\r\n");
}

Test(get, requests_that_are_too_long)
{
    static char made[GET_REQUEST_MAX], field[GET_REQUEST_MAX / 4];
    struct get_args args = {.header_count = 5};
    memset(field, 'x', sizeof field - 1);
    for (int i = 0; i < 5; i++)
        args.headers[i] = field;
    cr_assert_eq(url_parse("h", &url), 0);
    cr_assert_eq(get_format_request(&args, &url, 1, made), -E2BIG);
}

/* ---- Progress ---- */

#define SECOND 1000000000u

Test(get, progress)
{
    static const struct {
        uint64_t done;
        int64_t total;
        uint64_t elapsed;
        const char *line;
    } cases[] = {
        {0, 1000, 0, "  0% [>         ]    0 B     0 B/s  -:-- left"},
        {0, 1000, SECOND, "  0% [>         ]    0 B     0 B/s  -:-- left"},
        {500, 1000, SECOND, " 50% [=====>    ]  500 B   500 B/s  0:01 left"},
        {999, 1000, SECOND, " 99% [=========>]  999 B   999 B/s  0:00 left"},
        {1000, 1000, SECOND, "100% [==========]  1.0 KiB   1.0 KiB/s  0:00 left"},
        {0, 0, 0, "100% [==========]    0 B     0 B/s  0:00 left"},
        {1 << 20, 90l << 20, SECOND, "  1% [>         ]  1.0 MiB   1.0 MiB/s  1:29 left"},
        {1 << 20, 9000l << 20, 2 * SECOND, "  0% [>         ]  1.0 MiB   512 KiB/s  4:59:58 left"},
        {5ull << 40, -1, 1000ull * SECOND, " 5.0 TiB   5.1 GiB/s"},
        {0, -1, 0, "   0 B     0 B/s"},
        {1, INT64_MAX, SECOND, "  0% [>         ]    1 B     1 B/s  99:59:59 left"},
    };
    char line[200];
    for (size_t i = 0; i < COUNT(cases); i++) {
        int n = progress_format(line, sizeof line, 60, cases[i].done, cases[i].total, cases[i].elapsed);
        cr_assert_str_eq(line, cases[i].line);
        cr_assert_eq(n, (int)strlen(line));
    }
}

Test(get, progress_fits_the_terminal)
{
    char line[200];
    for (int columns = 1; columns < 180; columns++) {
        int n = progress_format(line, sizeof line, columns, 1ull << 39, 1ll << 40, 1);
        cr_assert(n == (int)strlen(line) && n <= columns, "%d columns: %s", columns, line);
    }
}
