/* Small files in memory, each with the answer that most requests for it get. They are found by the path of the request,
 * as it was spelled, and looked at on the disk once a second: so changes show after a second at most. */
#ifndef HTTP_CACHE_H
#define HTTP_CACHE_H

#include "http_answer.h"

enum {
    HTTP_CACHE_FILE = 64 * 1024,    /* bytes of a file that is kept */
    HTTP_CACHE_BYTES = 16 << 20,    /* of all that is kept */
    HTTP_CACHE_FILES = 4096
};

/* Stays until the next call of http_cache_keep. */
struct http_page {
    struct http_file file;          /* fd -1: its bytes are in memory */
    struct http_answer answer;      /* 200, to a request that keeps its connection */
};

/* What was kept under this path within this second, or NULL. */
struct http_page *http_cache_find(struct http_text path, time_t now);

/* Keep what was opened under this path, if it is small. Result: the page, whose file is a copy; or NULL. */
struct http_page *http_cache_keep(struct http_text path, const struct http_file *file, time_t now);

#endif
