/* The command line of load. */
#ifndef LOAD_ARGS_H
#define LOAD_ARGS_H

#include <stdio.h>
#include <sys/socket.h>

#include "load_proc.h"
#include "load_sizes.h"

enum {
    TARGETS_MAX = 16,
    SLICES_MAX = 1000,
    LOOPS_MAX = 1024,
    CONNECTIONS_MAX = 1000000,
    DEPTH_MAX = 65536,
    IN_FLIGHT_MAX = 4000000     /* to a target: they are sent before the first turn, and nothing is heard till then */
};

enum load_protocol { LOAD_ECHO, LOAD_LINE, LOAD_HTTP };
enum load_churn { CHURN_NONE, CHURN_MESSAGE, CHURN_HANDSHAKE };
enum load_form { FORM_TEXT, FORM_JSON, FORM_CSV };

struct load_target {
    char where[128], name[128];     /* the name is where, if none was given */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct pids pids;
};

struct load_args {
    struct load_target targets[TARGETS_MAX];
    int target_count, compare;
    int protocol, churn, form, backend;     /* enums load_protocol, load_churn, load_form, weir_backend */
    int tls, resume;
    int connections, depth, idle, loops, slices;
    struct sizes sizes;
    uint64_t seed;
    const char *path;
    const char *plot;                       /* a file, or NULL */
    double rate;                            /* messages a second; 0: closed loop */
    double seconds, warmup, timeout;        /* seconds is a slice's where servers are compared */
    uint64_t think_ns;
};

/* Result: 0; 1: --help was asked for; -1: a mistake, which is told in `why`. */
int load_read_args(int argc, char **argv, struct load_args *args, char *why, size_t size);

void load_usage(FILE *to);

#endif
