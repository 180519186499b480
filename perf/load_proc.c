#include "load_proc.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int pids_parse(const char *text, struct pids *ret)
{
    struct pids pids = {0};
    for (;; text++) {
        char *end;
        long n = isdigit((unsigned char)*text) ? strtol(text, &end, 10) : 0;
        if (n <= 0 || n > INT_MAX || pids.count == PIDS_MAX || (*end != '\0' && *end != '+'))
            return -1;
        pids.pid[pids.count++] = (int)n;
        text = end;
        if (*text == '\0')
            break;
    }
    *ret = pids;
    return 0;
}

/* A number of a file there; NAN if it is not to be had. */
static double number(const char *path, const char *form)
{
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    int found = f && fscanf(f, form, &n) == 1;
    if (f)
        fclose(f);
    return found ? (double)n : NAN;
}

static double resident_pages(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    return number(path, "%*s %llu");
}

/* One that nobody has waited for is still listed when it has ended, but has no memory any more. */
int pids_gone(const struct pids *pids)
{
    char path[64];
    for (int i = 0; i < pids->count; i++) {
        snprintf(path, sizeof path, "/proc/%d", pids->pid[i]);
        if (access(path, F_OK) < 0 || resident_pages(pids->pid[i]) == 0)
            return pids->pid[i];
    }
    return 0;
}

/* By the process's own clock: it keeps what threads have used that ended meanwhile, and takes no descriptor. */
static double cpu_ns(int pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return NAN;
    return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

double pids_cpu_ns(const struct pids *pids)
{
    double sum = 0;
    for (int i = 0; i < pids->count; i++)
        sum += cpu_ns(pids->pid[i]);
    return sum;
}

double pids_resident(const struct pids *pids)
{
    double pages = 0;
    for (int i = 0; i < pids->count; i++)
        pages += resident_pages(pids->pid[i]);
    return pages * (double)sysconf(_SC_PAGE_SIZE);
}
