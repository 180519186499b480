/* The run: connections, warm-up, and slices of the targets in turn. */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "load_report.h"

/* Fills a result for each target. Result: 0, or -1: it could not begin, which is told on stderr. */
int load_run(const struct load_args *args, struct result *results);

#endif
