/* The files below a directory, and none above it. */
#ifndef HTTP_FILE_H
#define HTTP_FILE_H

#include "http_condition.h"

/* What tells a file from one that has taken its place. */
struct http_version {
    uint64_t device, inode;
    struct timespec changed;
};

struct http_file {
    int fd;                 /* open for reading, the caller's to close */
    const char *type;       /* its Content-Type */
    struct http_entity entity;
    struct http_version version;
};

enum { HTTP_INDEX_SIZE = sizeof "index.html" };

/* Opens the file, or the index.html of a directory if `name` ends in a slash or is empty; symbolic links may not lead
 * out of the root. `name` is as http_file_name makes it, with room for HTTP_INDEX_SIZE more.
 * Result: 0; 301: it is a directory, and lacks the slash; or the status to refuse with. */
int http_open_file(int root, char *name, struct http_file *ret_file);

#endif
