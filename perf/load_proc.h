/* What processes use, as /proc tells. */
#ifndef LOAD_PROC_H
#define LOAD_PROC_H

#include <stdint.h>

enum { PIDS_MAX = 32 };

struct pids {
    int count;
    int pid[PIDS_MAX];
};

/* "12", "12+13". Result: 0, or -1. */
int pids_parse(const char *text, struct pids *ret);

/* The first that is no process; 0: all are. */
int pids_gone(const struct pids *pids);

/* The CPU time of all their threads, in ns. */
uint64_t pids_cpu_ns(const struct pids *pids);

/* Their resident memory, in bytes. */
uint64_t pids_resident(const struct pids *pids);

#endif
