/* What was measured of a target, as text, JSON or CSV. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdio.h>

#include "common_hist.h"
#include "load_args.h"
#include "load_fault.h"

struct point {
    double at, rate;            /* seconds; messages a second */
};

/* NAN: not known. */
struct result {
    const char *target, *name;
    double messages_per_s;
    double cpu_us;              /* of the server, per message */
    double ratio, ratio_low, ratio_high;    /* to the first: of CPU if ratio_of_cpu, else of throughput */
    int ratio_of_cpu;
    double rss_kib, idle_bytes;
    struct hist hist;
    struct faults faults;
    struct point *points;       /* throughput over time */
    int point_count;
};

void report(FILE *to, const struct load_args *args, const struct result *results);

#endif
