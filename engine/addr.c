/* Addresses as text. Numbers only: no name is looked up. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "weir.h"

static int parse_port(const char *text, uint16_t *ret_port)
{
    unsigned port = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
    }
    if (port > 65535)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

static int parse_unix(const char *path, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || (path[0] == '@' && len == 1))
        return -EINVAL;
    if (len >= sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, len);
    bool abstract = path[0] == '@';
    if (abstract)
        un.sun_path[0] = '\0';
    memcpy(ret_addr, &un, sizeof un);
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
    return 0;
}

static int parse_v6(const char *host, uint16_t port, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
        return -EINVAL;
    memcpy(ret_addr, &in6, sizeof in6);
    *ret_len = sizeof in6;
    return 0;
}

static int parse_v4(const char *host, uint16_t port, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    const char *number = strcmp(host, "*") == 0 ? "0.0.0.0" : strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, number, &in.sin_addr) != 1)
        return -EINVAL;
    memcpy(ret_addr, &in, sizeof in);
    *ret_len = sizeof in;
    return 0;
}

int wr_addr_parse(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret_addr, ret_len);
    char host[64];
    uint16_t port;
    bool v6 = text[0] == '[';
    const char *begin = text + v6, *end = v6 ? strstr(text, "]:") : strrchr(text, ':');
    if (!end || (size_t)(end - begin) >= sizeof host || parse_port(end + 1 + v6, &port) < 0)
        return -EINVAL;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    return (v6 ? parse_v6 : parse_v4)(host, port, ret_addr, ret_len);
}

static int format_unix(const struct sockaddr_un *un, socklen_t len, char *text, size_t size)
{
    size_t head = offsetof(struct sockaddr_un, sun_path), n = len > head ? len - head : 0;
    if (n > 0 && un->sun_path[0] == '\0')
        return snprintf(text, size, "unix:@%.*s", (int)(n - 1), un->sun_path + 1);
    return snprintf(text, size, "unix:%.*s", (int)strnlen(un->sun_path, n), un->sun_path);
}

int wr_addr_format(const struct sockaddr *addr, socklen_t addr_len, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_storage all = {0};
    if (addr_len < sizeof(sa_family_t) || addr_len > sizeof all)
        return -EINVAL;
    memcpy(&all, addr, addr_len);
    const struct sockaddr_in *in = (const void *)&all;
    const struct sockaddr_in6 *in6 = (const void *)&all;
    if ((all.ss_family == AF_INET && addr_len < sizeof *in) || (all.ss_family == AF_INET6 && addr_len < sizeof *in6))
        return -EINVAL;
    switch (all.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        return snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        return snprintf(text, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    case AF_UNIX:
        return format_unix((const void *)&all, addr_len, text, size);
    default:
        return -EAFNOSUPPORT;
    }
}

int weir_addr_parse(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    return text && ret_addr && ret_len ? wr_addr_parse(text, ret_addr, ret_len) : -EINVAL;
}

int weir_addr_format(const struct sockaddr *addr, socklen_t addr_len, char *text, size_t size)
{
    return addr && (text || size == 0) ? wr_addr_format(addr, addr_len, text, size) : -EINVAL;
}
