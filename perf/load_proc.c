#include "load_proc.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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

int pids_gone(const struct pids *pids)
{
    char path[64];
    for (int i = 0; i < pids->count; i++) {
        snprintf(path, sizeof path, "/proc/%d", pids->pid[i]);
        if (access(path, F_OK) < 0)
            return pids->pid[i];
    }
    return 0;
}

/* A number of a file there; 0 if it is not to be had. */
static uint64_t number(const char *path, const char *form)
{
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, form, &n) != 1)
        n = 0;
    if (f)
        fclose(f);
    return n;
}

static uint64_t cpu_ns(int pid)
{
    char path[300];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        if (e->d_name[0] != '.')
            sum += number(path, "%llu");
    }
    if (d)
        closedir(d);
    return sum;
}

uint64_t pids_cpu_ns(const struct pids *pids)
{
    uint64_t sum = 0;
    for (int i = 0; i < pids->count; i++)
        sum += cpu_ns(pids->pid[i]);
    return sum;
}

uint64_t pids_resident(const struct pids *pids)
{
    char path[64];
    uint64_t pages = 0;
    for (int i = 0; i < pids->count; i++) {
        snprintf(path, sizeof path, "/proc/%d/statm", pids->pid[i]);
        pages += number(path, "%*s %llu");
    }
    return pages * (uint64_t)sysconf(_SC_PAGE_SIZE);
}
