#include "load_stats.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stats_median(double *values, int count)
{
    if (count == 0)
        return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* How many of the values are below the median is binomial: as many are cut off at either end as come to 2.5% each. */
int stats_interval(double *values, int count, double *ret_low, double *ret_high)
{
    double term = ldexp(1, -count), sum = term; /* exactly k of count; k of count or fewer */
    int cut = 0;
    for (; sum <= 0.025; cut++) {
        term *= (double)(count - cut) / (cut + 1);
        sum += term;
    }
    if (cut == 0)
        return -1;
    qsort(values, (size_t)count, sizeof *values, by_value);
    *ret_low = values[cut - 1];
    *ret_high = values[count - cut];
    return 0;
}

void stats_order(int round, int count, int *ret_order)
{
    int mirrored = round / count % 2;
    for (int i = 0; i < count; i++) {
        int at = i % 2 ? (i + 1) / 2 : (count - i / 2) % count;
        ret_order[mirrored ? count - 1 - i : i] = (at + round) % count;
    }
}
