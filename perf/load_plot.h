/* Results as a picture: latency by percentile, and throughput over time. */
#ifndef LOAD_PLOT_H
#define LOAD_PLOT_H

#include "load_report.h"

/* The file, to begin with: what is there stays until it is drawn. Result: 0, or -errno. */
int load_plot_open(const char *name, FILE **ret);

/* Into the file, which is SVG then, and closed. Result: 0, or -errno. */
int load_plot(FILE *f, const struct load_args *args, const struct result *results);

#endif
