/* What processes use, as the kernel tells. NAN: it does not, of one of them at least. */
#ifndef LOAD_PROC_H
#define LOAD_PROC_H

enum { PIDS_MAX = 32 };

struct pids {
    int count;
    int pid[PIDS_MAX];
};

/* "12", "12+13". Result: 0, or -1. */
int pids_parse(const char *text, struct pids *ret);

/* The first that is no process, or has ended; 0: all run. */
int pids_gone(const struct pids *pids);

/* The CPU time of all threads that they have or had, in ns. */
double pids_cpu_ns(const struct pids *pids);

/* Their resident memory, in bytes. */
double pids_resident(const struct pids *pids);

#endif
