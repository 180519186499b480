/* The command line and the life that all servers share. */
#ifndef COMMON_ARGS_H
#define COMMON_ARGS_H

#include "weir.h"

struct server_args {
    const char *listen;     /* HOST:PORT */
    int backend;            /* enum weir_backend */
    const char *root;       /* --root, if the server has it */
};

/* Reads --listen, --backend, --help and, if takes_root, --root. Exits with 0 after --help, with 2 on a mistake. */
void server_read_args(int argc, char **argv, const char *what, int takes_root, struct server_args *args);

/* An enum weir_backend, or -1. */
int backend_by_name(const char *name);

/* One server: opens the loop, listens, says so on one line, serves until SIGTERM or SIGINT, stops accepting, drains
 * (a client goes once it has been quiet for a moment), and returns the exit status. on_stream is called for each
 * accepted stream; a stream must be told of with server_lost from its on_close. A second signal ends at once. */
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
