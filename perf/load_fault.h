/* What can go wrong, counted by kind. */
#ifndef LOAD_FAULT_H
#define LOAD_FAULT_H

#include <stdint.h>

enum fault {
    FAULT_CONNECT,      /* no connection */
    FAULT_TLS,          /* no TLS on it, or it broke */
    FAULT_RESUMED,      /* the handshake was whole where a session was to go on, or the other way round */
    FAULT_CLOSED,       /* the server ended the connection, in between or where an answer was due */
    FAULT_SHORT,        /* it did so in the middle of an answer */
    FAULT_TIMEOUT,      /* no whole answer in time */
    FAULT_MISMATCH,     /* not what was sent, or what nobody asked for */
    FAULT_MALFORMED,    /* no HTTP */
    FAULT_STATUS,       /* not 2xx */
    FAULT_UNSENT,       /* due, but no connection came free for it */
    FAULTS
};

struct faults {
    uint64_t count[FAULTS];
};

const char *fault_name(int fault);

uint64_t faults_total(const struct faults *faults);

/* Counts, and says the first few of all on stderr. Any thread may. */
void fault_add(struct faults *faults, enum fault fault, uint64_t count, const char *target, const char *why);

#endif
