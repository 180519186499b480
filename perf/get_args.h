/* The command line of get. */
#ifndef GET_ARGS_H
#define GET_ARGS_H

#include <stdint.h>

enum { GET_HEADERS_MAX = 50 };

struct get_args {
    const char *url;
    int backend;                /* enum weir_backend */
    int head_only, include, silent, fail;
    int max_redirects;          /* 10 */
    uint64_t connect_timeout_ns, max_time_ns;   /* 0: the library's, and none */
    const char *cacert;         /* a file with the roots to believe in; NULL: the system's */
    int insecure;               /* whoever answers is believed */
    const char *output;         /* a file; NULL: stdout */
    const char *headers[GET_HEADERS_MAX];       /* "Name: value" */
    int header_count;
};

/* Exits with 0 after --help, with 2 on a mistake. */
void get_read_args(int argc, char **argv, struct get_args *args);

#endif
