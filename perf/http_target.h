/* What a request asks for: its target as the name of a file. Pure functions. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include "common_http.h"

struct http_target {
    struct http_text path;      /* as it came, from its first slash on; empty for "*" */
    struct http_text query;     /* with its question mark, or empty */
};

/* Takes "/path?query", "http://host/path?query" and "*" apart. Result: 0, or the status to refuse it with. */
int http_parse_target(struct http_text text, struct http_target *target);

/* The path decoded, with neither slashes at its start nor a name "..", as a string in `name`. Result: 0, or the status
 * to refuse it with. */
int http_file_name(struct http_text path, char *name, size_t size);

#endif
