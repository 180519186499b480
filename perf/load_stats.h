/* What rounds of measurements say, and in which order they are to be taken. */
#ifndef LOAD_STATS_H
#define LOAD_STATS_H

/* Sorts values. 0 if there are none. */
double stats_median(double *values, int count);

/* Sorts values. Bounds between which the median of what they were drawn from lies with 95% confidence, whatever its
 * distribution is: two of the values. Result: 0, or -1: there are too few, less than 6. */
int stats_interval(double *values, int count, double *ret_low, double *ret_high);

/* The order of `count` targets in a round, such that over 2 * count rounds each comes as often right behind each other
 * one, and as often at each place (a Williams design). */
void stats_order(int round, int count, int *ret_order);

#endif
