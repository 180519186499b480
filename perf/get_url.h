/* http and https URLs (RFC 3986). Pure functions. */
#ifndef GET_URL_H
#define GET_URL_H

#include <stddef.h>
#include <sys/socket.h>

#include "common_http.h"

enum { URL_HOST_SIZE = 256, URL_TARGET_SIZE = 8000 };

struct url {
    int tls;                        /* https */
    char host[URL_HOST_SIZE];       /* in lower case; a number of IPv6 in its brackets */
    int port;
    char target[URL_TARGET_SIZE];   /* path and query, as a request names them: begins with a slash */
};

/* What a user typed: "http://" may be missing. Result: 0 and *url; -EPROTONOSUPPORT: another scheme; -EINVAL. */
int url_parse(const char *text, struct url *url);

/* Makes *url what a reference found there means: a URL, or the part of one. Result and errors as above; *url is then as
 * it was. */
int url_resolve(struct url *url, struct http_text reference);

/* Same scheme, host and port. */
int url_same_origin(const struct url *a, const struct url *b);

/* As a Host field names it: "host", or "host:port" where that is not the scheme's own. Result: as snprintf's. */
int url_format_host(const struct url *url, char *text, size_t size);

/* Where to connect to. Result: 0; -ENOENT: it is a name, and names are not looked up. */
int url_address(const struct url *url, struct sockaddr_storage *ret_addr, socklen_t *ret_len);

#endif
