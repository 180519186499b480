/* Results as a picture: latency by percentile, and throughput over time. */
#ifndef LOAD_PLOT_H
#define LOAD_PLOT_H

#include "load_report.h"

/* An SVG file of the name that was given. Result: 0, or -errno. */
int load_plot(const struct load_args *args, const struct result *results);

#endif
