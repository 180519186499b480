/* Suite addr: addresses as text, both ways. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "helpers_case.h"
#include "weir.h"

enum {
    PATH_AT = offsetof(struct sockaddr_un, sun_path),
    PATH_MAX_LEN = sizeof(struct sockaddr_un) - PATH_AT - 1
};

static struct sockaddr_storage addr;
static socklen_t addr_len;

static int parse(const char *text)
{
    memset(&addr, 0xee, sizeof addr);
    addr_len = 0;
    return weir_addr_parse(text, &addr, &addr_len);
}

static const char *format(void)
{
    static char text[256];
    int len = weir_addr_format((struct sockaddr *)&addr, addr_len, text, sizeof text);
    cr_assert_eq((size_t)len, strlen(text));
    return text;
}

static void expect_in(const char *text, uint32_t host, uint16_t port)
{
    const struct sockaddr_in *in = (const void *)&addr;
    cr_assert_eq(parse(text), 0, "%s", text);
    cr_assert_eq(addr_len, sizeof *in);
    cr_assert_eq(in->sin_family, AF_INET);
    cr_assert_eq(ntohl(in->sin_addr.s_addr), host);
    cr_assert_eq(ntohs(in->sin_port), port);
}

Test(addr, four_numbers_and_a_port)
{
    expect_in("127.0.0.1:80", 0x7f000001, 80);
    expect_in("0.0.0.0:0", 0, 0);
    expect_in("255.255.255.255:65535", 0xffffffff, 65535);
    expect_in("1.2.3.4:00080", 0x01020304, 80);
    expect_in("*:80", INADDR_ANY, 80);
    cr_assert_str_eq(format(), "0.0.0.0:80");
    expect_in("localhost:80", INADDR_LOOPBACK, 80);
    cr_assert_str_eq(format(), "127.0.0.1:80");
}

Test(addr, brackets_around_eight_numbers)
{
    const struct sockaddr_in6 *in6 = (const void *)&addr;
    cr_assert_eq(parse("[::1]:8080"), 0);
    cr_assert_eq(addr_len, sizeof *in6);
    cr_assert_eq(in6->sin6_family, AF_INET6);
    cr_assert(IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
    cr_assert_eq(ntohs(in6->sin6_port), 8080);
    cr_assert_eq(in6->sin6_scope_id, 0);
    cr_assert_eq(in6->sin6_flowinfo, 0);
    cr_assert_eq(parse("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:1"), 0, "as long as can be");
}

Test(addr, paths_and_abstract_names)
{
    const struct sockaddr_un *un = (const void *)&addr;
    cr_assert_eq(parse("unix:/run/weir"), 0);
    cr_assert_eq(un->sun_family, AF_UNIX);
    cr_assert_str_eq(un->sun_path, "/run/weir");
    cr_assert_eq(addr_len, PATH_AT + strlen("/run/weir") + 1);
    cr_assert_eq(parse("unix:@weir"), 0);
    cr_assert_eq(memcmp(un->sun_path, "\0weir", 5), 0);
    cr_assert_eq(addr_len, PATH_AT + 5, "a name has no byte too many");
    cr_assert_eq(parse("unix:relative"), 0);
    cr_assert_eq(parse("unix:127.0.0.1:80"), 0);
    cr_assert_str_eq(un->sun_path, "127.0.0.1:80");
}

Test(addr, what_was_parsed_is_formatted_as_it_was)
{
    static const char *const texts[] = {
        "127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0", "[::1]:80", "[fe80::1]:65535",
        "[2001:db8::ff00:42:8329]:443", "[::ffff:1.2.3.4]:5", "[1:2:3:4:5:6:7:8]:9", "unix:/run/weir",
        "unix:x", "unix:@weir", "unix:@a b:c", "unix:/with:colon]",
    };
    for (size_t i = 0; i < WR_COUNT(texts); i++) {
        cr_assert_eq(parse(texts[i]), 0, "%s", texts[i]);
        cr_assert_str_eq(format(), texts[i]);
    }
}

Test(addr, the_longest_path_fits_and_one_more_does_not)
{
    char text[5 + PATH_MAX_LEN + 2] = "unix:";
    for (int abstract = 0; abstract <= 1; abstract++) {
        memset(text + 5, 'p', PATH_MAX_LEN);
        text[5] = abstract ? '@' : '/';
        cr_assert_eq(parse(text), 0);
        cr_assert_leq(addr_len, sizeof(struct sockaddr_un));
        cr_assert_str_eq(format(), text);
        text[5 + PATH_MAX_LEN] = 'p';
        cr_assert_eq(parse(text), -ENAMETOOLONG);
        text[5 + PATH_MAX_LEN] = '\0';
    }
}

Test(addr, bad_texts_are_refused)
{
    static const char *const texts[] = {
        "", ":", ":80", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:99999",
        "127.0.0.1:000080", "127.0.0.1:4294967376", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 1",
        "127.0.0.1:1 ", "127.0.0.1:0x1", "127.0.0.1:http", " 127.0.0.1:80", "127.0.0.1 :80", "127.1:80",
        "1.2.3.4.5:80", "1.2.3.256:80", "1.2.3.:80", "0x7f.0.0.1:80", "127.0.0.1::80", "**:80", "* :80",
        "example.com:80", "LOCALHOST:80", "localhost", "::1:80", ":::80", "[", "]", "[]", "[]:80", "[:80",
        "[::1", "[::1]", "[::1]:", "[::1]80", "[::1]:65536", "[::1]:80:90", "[::1]x:80", "[::1:80",
        "::1]:80", "[[::1]]:80", "[127.0.0.1]:80", "[localhost]:80", "[*]:80", "[::1%lo]:80", "[:::1]:80",
        "[1:2:3:4:5:6:7:8:9]:80", "[12345::]:80", "unix", "unix:", "unix:@", "Unix:/x", "unix/x",
    };
    for (size_t i = 0; i < WR_COUNT(texts); i++)
        cr_assert_eq(parse(texts[i]), -EINVAL, "\"%s\"", texts[i]);
}

Test(addr, a_host_beyond_reason_is_refused)
{
    static char text[10000];
    for (size_t len = 60; len < sizeof text - 4; len += len < 70 ? 1 : 997) {
        memset(text, '1', len);
        strcpy(text + len, ":80");
        cr_assert_eq(parse(text), -EINVAL);
        text[0] = '[';
        strcpy(text + len, "]:1");
        cr_assert_eq(parse(text), -EINVAL);
    }
}

Test(addr, nothing_is_no_address)
{
    cr_assert_eq(weir_addr_parse(NULL, &addr, &addr_len), -EINVAL);
    cr_assert_eq(weir_addr_parse("*:80", NULL, &addr_len), -EINVAL);
    cr_assert_eq(weir_addr_parse("*:80", &addr, NULL), -EINVAL);
    cr_assert_eq(weir_addr_format(NULL, sizeof addr, NULL, 0), -EINVAL);
    cr_assert_eq(parse("*:80"), 0);
    cr_assert_eq(weir_addr_format((struct sockaddr *)&addr, addr_len, NULL, 10), -EINVAL);
}

Test(addr, a_short_text_is_cut_and_its_length_told)
{
    char text[32];
    cr_assert_eq(parse("[::1]:8080"), 0);
    const struct sockaddr *sa = (const void *)&addr;
    cr_assert_eq(weir_addr_format(sa, addr_len, NULL, 0), 10);
    for (size_t size = 1; size <= sizeof text; size++) {
        memset(text, '#', sizeof text);
        cr_assert_eq(weir_addr_format(sa, addr_len, text, size), 10);
        cr_assert_eq(strlen(text), wr_min(size - 1, 10));
        cr_assert_eq(strncmp(text, "[::1]:8080", size - 1), 0);
        cr_assert(size == sizeof text || text[size] == '#', "nothing behind it is written");
    }
}

Test(addr, formatting_refuses_what_it_does_not_know)
{
    struct sockaddr_storage unknown = {.ss_family = AF_NETLINK};
    const struct sockaddr *sa = (const void *)&unknown;
    cr_assert_eq(weir_addr_format(sa, sizeof unknown, NULL, 0), -EAFNOSUPPORT);
    unknown.ss_family = AF_UNSPEC;
    cr_assert_eq(weir_addr_format(sa, sizeof unknown, NULL, 0), -EAFNOSUPPORT);
    unknown.ss_family = AF_INET;
    cr_assert_eq(weir_addr_format(sa, 0, NULL, 0), -EINVAL);
    cr_assert_eq(weir_addr_format(sa, 1, NULL, 0), -EINVAL);
    cr_assert_eq(weir_addr_format(sa, sizeof unknown + 1, NULL, 0), -EINVAL);
}

/* The kernel tells paths without their NUL when they fill the address, and sockets without a name. */
Test(addr, unix_addresses_as_the_kernel_tells_them)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    addr_len = PATH_AT;
    memcpy(&addr, &un, sizeof un);
    cr_assert_str_eq(format(), "unix:");
    memset(un.sun_path, 'p', sizeof un.sun_path);
    addr_len = sizeof un;
    memcpy(&addr, &un, sizeof un);
    cr_assert_eq(strlen(format()), 5 + sizeof un.sun_path);
    un.sun_path[0] = '\0';
    memcpy(&addr, &un, sizeof un);
    cr_assert_eq(strlen(format()), 5 + sizeof un.sun_path);
    cr_assert_eq(format()[5], '@');
}

/* ---- At random ---- */

Test(addr, any_host_and_port_goes_round)
{
    draw_from(1);
    for (int i = 0; i < 100000; i++) {
        struct sockaddr_storage was = {.ss_family = draw(2) ? AF_INET : AF_INET6};
        struct sockaddr_in6 *in6 = (void *)&was;
        struct sockaddr_in *in = (void *)&was;
        bool v6 = was.ss_family == AF_INET6;
        in->sin_port = (in_port_t)draw(65536);
        for (size_t b = 0; b < (v6 ? 16 : 4); b++)
            *((v6 ? in6->sin6_addr.s6_addr : (uint8_t *)&in->sin_addr) + b) = (uint8_t)(draw(2) * draw(256));
        socklen_t was_len = v6 ? sizeof *in6 : sizeof *in;
        memcpy(&addr, &was, sizeof was);
        addr_len = was_len;
        const char *text = format();
        cr_assert_eq(parse(text), 0, "%s", text);
        cr_assert_eq(addr_len, was_len);
        cr_assert_eq(memcmp(&addr, &was, was_len), 0, "%s", text);
    }
}

/* Text of the right letters in the wrong order: what is accepted goes round from then on. */
Test(addr, any_text_is_refused_or_goes_round)
{
    static const char letters[] = "01259af.:[]*@/x";
    static const char *const heads[] = {"", "", "[", "unix:", "1.2.3.", "[::"};
    int accepted = 0;
    draw_from(2);
    for (int i = 0; i < 200000; i++) {
        const char *head = heads[draw(WR_COUNT(heads))];
        size_t at = strlen(head), len = at + draw(12);
        char *text = malloc(len + 1), again[256];
        memcpy(text, head, at);
        for (; at < len; at++)
            text[at] = letters[draw(sizeof letters - 1)];
        text[len] = '\0';
        int rc = parse(text);
        cr_assert(rc == 0 || rc == -EINVAL, "\"%s\": %d", text, rc);
        free(text);
        if (rc < 0)
            continue;
        accepted++;
        strcpy(again, format());
        cr_assert_eq(parse(again), 0, "%s", again);
        cr_assert_str_eq(format(), again);
    }
    cr_assert_gt(accepted, 1000);
}
