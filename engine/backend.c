/* Which world: the one that is wanted, or the one that works. */
#include "backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "weir.h"

int wr_report_refusal(struct wr_report *r, const char *world, const char *step, int rc, const char *why)
{
    snprintf(r->why, sizeof r->why, "%s is refused: %s gave %s%s", world, step, weir_error_name(rc), why);
    return rc;
}

void wr_report_feature(struct wr_report *r, const char *name, enum wr_feature_state state, int error)
{
    for (unsigned i = 0; i < r->features; i++)
        if (strcmp(r->feature[i].name, name) == 0) {
            r->feature[i].state = (uint8_t)state;
            r->feature[i].error = error;
            return;
        }
    wr_assert(r->features < WR_COUNT(r->feature));
    r->feature[r->features++] = (struct wr_feature){.name = name, .state = (uint8_t)state, .error = error};
}

int wr_check_mask(const char *mask)
{
    static const char known[] = "single_issuer,defer_taskrun,coop_taskrun,submit_all,registered_ring,buffer_ring,"
                                "multishot_recv,multishot_accept,quiet_send,epoll_pwait2,rwf_nowait,rwf_nosignal";
    while (mask && *mask) {
        size_t len = strcspn(mask, ",");
        char name[32];
        if (len == 0 || len >= sizeof name)
            return -EINVAL;
        memcpy(name, mask, len);
        name[len] = '\0';
        if (!wr_masked(known, name))
            return -EINVAL;
        mask += len + (mask[len] == ',');
    }
    return 0;
}

bool wr_masked(const char *mask, const char *name)
{
    size_t len = strlen(name);
    while (mask && *mask) {
        const char *end = strchrnul(mask, ',');
        if ((size_t)(end - mask) == len && memcmp(mask, name, len) == 0)
            return true;
        mask = *end ? end + 1 : end;
    }
    return false;
}

int wr_backend_open(int backend, const struct wr_world_options *opt, struct wr_report *report,
                    struct wr_world **ret_world)
{
    int rc = -ENOSYS;
    if (backend != WEIR_BACKEND_EPOLL)
        rc = wr_uring_open(opt, report, ret_world);
    if (rc == 0 || backend == WEIR_BACKEND_URING)
        return rc;
    char first[sizeof report->why];
    memcpy(first, report->why, sizeof first);
    *report = (struct wr_report){0};
    rc = wr_epoll_open(opt, report, ret_world);
    size_t len = strlen(report->why);
    if (first[0])
        snprintf(report->why + len, sizeof report->why - len, "%s%s", len ? "; " : "", first);
    return rc;
}
