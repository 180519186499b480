#include "get_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "weir.h"

enum { PORT = 80, TLS_PORT = 443 };

static int port_of_scheme(const struct url *url)
{
    return url->tls ? TLS_PORT : PORT;
}

/* A text being read from its start. */
static void skip(struct http_text *t, size_t n)
{
    t->at += n;
    t->len -= n;
}

static int starts(struct http_text t, const char *with)
{
    return t.len >= strlen(with) && memcmp(t.at, with, strlen(with)) == 0;
}

/* Characters before the first one of `stops`. */
static size_t span(struct http_text t, const char *stops)
{
    size_t n = 0;
    while (n < t.len && !strchr(stops, t.at[n]))
        n++;
    return n;
}

/* ---- Paths ---- */

/* Removes "." and ".." from the path, which ends at `len`, and closes the gap. Result: how long it is then. */
static size_t remove_dots(char *path, size_t len)
{
    size_t to = 0;
    for (size_t at = 0; at < len;) {
        struct http_text rest = {path + at + 1, len - at - 1}; /* behind a slash */
        size_t name = span(rest, "/");
        int last = name == rest.len;
        int dot = name == 1 && starts(rest, "."), dots = name == 2 && starts(rest, "..");
        while (dots && to > 0 && path[--to] != '/')
            ;
        if (!dot && !dots) {
            memmove(path + to, path + at, name + 1);
            to += name + 1;
        } else if (last) {
            path[to++] = '/';
        }
        at += name + 1;
    }
    return to;
}

/* Adds to the target; what is not ASCII, and blanks, as escapes. Result: 0, or -EINVAL if it has no room. */
static int add(char *target, size_t *len, struct http_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (*len + 4 > URL_TARGET_SIZE)
            return -EINVAL;
        if (c > ' ' && c < 0x7f)
            target[(*len)++] = (char)c;
        else
            *len += (size_t)snprintf(target + *len, 4, "%%%02X", c);
    }
    target[*len] = '\0';
    return 0;
}

/* The target is `base`, a path, and then `text`: more of a path, and a query. */
static int set_target(struct url *url, struct http_text base, struct http_text text)
{
    char target[URL_TARGET_SIZE];
    size_t len = 0, path = span(text, "?");
    int rc = add(target, &len, base);
    if (rc == 0)
        rc = add(target, &len, (struct http_text){text.at, path});
    if (rc == 0 && len == 0)
        rc = add(target, &len, (struct http_text){"/", 1});
    if (rc < 0)
        return rc;
    len = remove_dots(target, len);
    rc = add(target, &len, (struct http_text){text.at + path, text.len - path});
    if (rc == 0)
        memcpy(url->target, target, len + 1);
    return rc;
}

/* ---- URLs ---- */

/* Letters, digits, and what stands between them in names; or a number of IPv6. */
static int set_host(struct url *url, struct http_text host)
{
    struct in6_addr number;
    char *text = url->host;
    if (host.len == 0 || host.len >= sizeof url->host || span(host, "!$%&'()*+;=~") < host.len)
        return -EINVAL;
    for (size_t i = 0; i < host.len; i++)
        text[i] = host.at[i] >= 'A' && host.at[i] <= 'Z' ? (char)(host.at[i] + 'a' - 'A') : host.at[i];
    text[host.len] = '\0';
    if (text[0] != '[')
        return 0;
    text[host.len - 1] = '\0';
    int good = inet_pton(AF_INET6, text + 1, &number) == 1;
    text[host.len - 1] = ']';
    return good ? 0 : -EINVAL;
}

/* What follows the two slashes. */
static int set_all(struct url *url, struct http_text text)
{
    struct http_text host, port;
    int64_t number = port_of_scheme(url);
    size_t len = span(text, "/?");
    if (http_split_authority((struct http_text){text.at, len}, &host, &port) < 0 || set_host(url, host) < 0 ||
        (port.len > 0 && http_number(port, &number) < 0) || number > 65535)
        return -EINVAL;
    url->port = (int)number;
    skip(&text, len);
    return set_target(url, (struct http_text){"", 0}, text);
}

/* How long the scheme is that the text begins with; 0: it has none. */
static size_t scheme_of(struct http_text t)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = span(t, ":/?#");
    if (n == 0 || n == t.len || t.at[n] != ':' || !strchr(letters, t.at[0]))
        return 0;
    for (size_t i = 1; i < n; i++)
        if (!strchr(letters, t.at[i]) && !strchr("0123456789+-.", t.at[i]))
            return 0;
    return n;
}

/* The text begins with a scheme and its colon. */
static int set_absolute(struct url *url, struct http_text text)
{
    size_t len = scheme_of(text);
    url->tls = http_is((struct http_text){text.at, len}, "https");
    if (!url->tls && !http_is((struct http_text){text.at, len}, "http"))
        return -EPROTONOSUPPORT;
    skip(&text, len + 1);
    if (!starts(text, "//"))
        return -EINVAL;
    skip(&text, 2);
    return set_all(url, text);
}

/* RFC 3986, 5.2.2 */
static int set_relative(struct url *url, struct http_text text)
{
    struct http_text base = {url->target, strlen(url->target)};
    if (starts(text, "//")) {
        skip(&text, 2);
        return set_all(url, text);
    }
    if (text.len == 0)
        return 0;
    if (starts(text, "/"))
        base.len = 0;
    else
        base.len = span(base, "?");
    while (base.len > 0 && text.at[0] != '?' && base.at[base.len - 1] != '/')
        base.len--;
    return set_target(url, base, text);
}

/* Blanks stand in no URL that was written down; elsewhere they are forgiven. */
static int is_clean(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return 0;
    return 1;
}

static struct http_text without_fragment(struct http_text t)
{
    return (struct http_text){t.at, span(t, "#")};
}

int url_parse(const char *string, struct url *url)
{
    struct http_text text = without_fragment((struct http_text){string, strlen(string)});
    struct url made = {.tls = 0};
    size_t scheme = scheme_of(text);
    int absolute = scheme > 0 && starts((struct http_text){text.at + scheme, text.len - scheme}, "://");
    int rc = !is_clean(string) ? -EINVAL : absolute ? set_absolute(&made, text) : set_all(&made, text);
    if (rc == 0)
        *url = made;
    return rc;
}

int url_resolve(struct url *url, struct http_text reference)
{
    struct http_text text = without_fragment(reference);
    struct url made = *url;
    int rc = scheme_of(text) > 0 ? set_absolute(&made, text) : set_relative(&made, text);
    if (rc == 0)
        *url = made;
    return rc;
}

/* ---- What they are good for ---- */

int url_same_origin(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}

int url_format_host(const struct url *url, char *text, size_t size)
{
    return url->port == port_of_scheme(url) ? snprintf(text, size, "%s", url->host)
                             : snprintf(text, size, "%s:%d", url->host, url->port);
}

int url_address(const struct url *url, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
    char text[URL_HOST_SIZE + 16];
    snprintf(text, sizeof text, "%s:%d", url->host, url->port);
    if (weir_addr_parse(text, ret_addr, ret_len) < 0 || ret_addr->ss_family == AF_UNIX) /* "unix" is a name here */
        return -ENOENT;
    return 0;
}
