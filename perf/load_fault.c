#include "load_fault.h"

#include <stdio.h>

enum { SAID_MAX = 5 };

const char *fault_name(int fault)
{
    static const char *const names[FAULTS] = {"connect", "tls",      "resumed",   "closed", "short",
                                              "timeout", "mismatch", "malformed", "status", "unsent"};
    return names[fault];
}

uint64_t faults_total(const struct faults *faults)
{
    uint64_t total = 0;
    for (int i = 0; i < FAULTS; i++)
        total += faults->count[i];
    return total;
}

void fault_add(struct faults *faults, enum fault fault, uint64_t count, const char *target, const char *why)
{
    static unsigned said;
    faults->count[fault] += count;
    if (__atomic_fetch_add(&said, 1, __ATOMIC_RELAXED) < SAID_MAX)
        fprintf(stderr, "load: %s: %s: %s\n", target, fault_name((int)fault), why);
}
