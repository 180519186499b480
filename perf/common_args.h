/* The command line and the life that all servers share. */
#ifndef COMMON_ARGS_H
#define COMMON_ARGS_H

#include "weir.h"

struct server_args {
    const char *listen;     /* HOST:PORT */
    int backend;            /* enum weir_backend */
    const char *tls_cert, *tls_key;     /* files; NULL: plain, and the key stands with the certificate */
};

/* An option of one server's own. */
struct server_option {
    const char *name, *form, *help;     /* "--root", "DIR" ("": it takes no value), what it does */
    const char *value;                  /* as it was given (its name, if it takes none), or else as it was before */
};

/* Reads --listen, --backend, --tls-cert, --tls-key, --help and the server's own options, of which the last has no name
 * (NULL: there are none). Exits with 0 after --help, with 2 on a mistake. */
void server_read_args(int argc, char **argv, const char *what, struct server_option *own, struct server_args *args);

/* Seconds as a user writes them, up to 1e9. Result: nanoseconds, or 0: it is no such number. */
uint64_t seconds_by_text(const char *text);

/* An enum weir_backend, or -1. */
int backend_by_name(const char *name);

/* One server: opens the loop, listens, says so on one line, serves, over TLS if it has a certificate, until SIGTERM or
 * SIGINT, stops accepting, drains (a client goes once it has been quiet for a moment), and returns the exit status.
 * on_stream is called for each accepted stream; a stream must be told of with server_lost from its on_close. A second
 * signal ends at once. */
int server_run(const struct server_args *args, const struct weir_stream_options *options,
               void (*on_stream)(struct weir_stream *s));

/* To be called by on_close: keeps the list of open streams. The first bytes of a stream's ext are a struct client. */
struct client {
    struct client *next, *prev;
    struct weir_stream *s;
    uint64_t moved;     /* bytes, as last seen while draining */
};
void server_lost(struct weir_stream *s);

/* True once a signal has come: finish what is begun, begin nothing. */
int server_draining(void);

#endif
