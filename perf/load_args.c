#include "load_args.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common_args.h"

static const char usage_text[] =
    "usage: load --connect HOST:PORT [options]\n"
    "       load --compare HOST:PORT[,PID[,NAME]] --compare HOST:PORT[,PID[,NAME]] ... [options]\n"
    "What is said\n"
    "  --protocol P       echo, line or http (echo)\n"
    "  --size SIZES       of messages, in bytes: 64, 64-4096, 64:90,16384:10 (64)\n"
    "  --seed N           of sizes that are drawn (1)\n"
    "  --path PATH        what http asks for (/)\n"
    "  --tls              over TLS; whoever answers is believed\n"
    "  --churn KIND       a connection for each: message, or handshake (of TLS, without a message)\n"
    "  --resume           churn goes on with a TLS session\n"
    "How much, and when\n"
    "  --connections N    up to 1000000 (50)\n"
    "  --depth N          messages in flight on each, up to 65536, and up to 4000000 in all (1)\n"
    "  --idle N           so many more, which are silent after one exchange, up to 1000000 (0);\n"
    "                     as many, up to 2000, come before them and are not measured\n"
    "  --rate N           messages a second in all, due at fixed times (as fast as answers come)\n"
    "  --think MS         between an answer and the next message (0)\n"
    "  --seconds S        (2)            --warmup S  (0.2)\n"
    "  --timeout S        for an answer (10)\n"
    "  --loops N          threads, with a loop each, up to 1024 (1)\n"
    "  --backend WORLD    auto, uring or epoll (auto)\n"
    "What is told\n"
    "  --pid PID[+PID]    of the server: its CPU time and memory\n"
    "  --json, --csv      a line for each server; else text\n"
    "  --plot FILE        a picture, SVG\n"
    "  --slices N         rounds of a comparison, up to 1000 (20)\n"
    "  --slice-ms MS      of each server in a round (100)\n"
    "  --help             this text\n"
    "Exit status: 0; 1: something failed, and is counted; 2: the command line.\n";

void load_usage(FILE *to)
{
    fputs(usage_text, to);
}

/* ---- Values. Result: 0, or -1 ---- */

static int read_number(const char *text, double low, double high, double *ret)
{
    char *end;
    double n = isdigit((unsigned char)*text) || *text == '.' ? strtod(text, &end) : -1;
    if (n < low || n > high || *end != '\0' || strspn(text, "0123456789.e") != strlen(text))
        return -1;
    *ret = n;
    return 0;
}

static int read_count(const char *text, int low, int high, int *ret)
{
    double n;
    if (strspn(text, "0123456789") != strlen(text) || read_number(text, low, high, &n) < 0)
        return -1;
    *ret = (int)n;
    return 0;
}

static int read_seed(const char *text, uint64_t *ret)
{
    char *end;
    *ret = strtoull(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0' ? 0 : -1;
}

static int read_name(const char *text, const char *const *names, int *ret)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *ret = i;
        return 0;
    }
    return -1;
}

/* It goes into a request as it is. */
static int read_path(const char *text, const char **ret)
{
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p >= 127)
            return -1;
    *ret = text;
    return *text == '/' && strlen(text) < 4096 ? 0 : -1;
}

static int read_milliseconds(const char *text, double low, double *ret_seconds)
{
    if (read_number(text, low, 1e6, ret_seconds) < 0)
        return -1;
    *ret_seconds /= 1e3;
    return 0;
}

static int read_target(const char *text, struct load_args *args)
{
    struct load_target t = {0};
    const char *pid = strchr(text, ','), *name = pid ? strchr(pid + 1, ',') : NULL;
    size_t len = pid ? (size_t)(pid - text) : strlen(text);
    if (args->target_count == TARGETS_MAX || len >= sizeof t.where || (name && strlen(name + 1) >= sizeof t.name))
        return -1;
    memcpy(t.where, text, len);
    snprintf(t.name, sizeof t.name, "%s", name && name[1] ? name + 1 : t.where);
    char number[256];
    snprintf(number, sizeof number, "%.*s", pid ? (int)(name ? name - pid - 1 : 255) : 0, pid ? pid + 1 : "");
    if ((*number && pids_parse(number, &t.pids) < 0) || (pid && !name && !*number))
        return -1;
    if (weir_addr_parse(t.where, &t.addr, &t.addr_len) < 0)
        return -1;
    args->targets[args->target_count++] = t;
    return 0;
}

/* ---- Options ---- */

/* What was given, besides what went into load_args. */
struct given {
    struct pids pids;
    int connect, size, path, slices, protocol;
    double think, slice;
};

static int set_flag(struct load_args *a, const char *name)
{
    int *flag = strcmp(name, "--tls") == 0 ? &a->tls : strcmp(name, "--resume") == 0 ? &a->resume : NULL;
    if (flag)
        *flag = 1;
    else if (strcmp(name, "--json") == 0)
        a->form = FORM_JSON;
    else if (strcmp(name, "--csv") == 0)
        a->form = FORM_CSV;
    else
        return -1;
    return 0;
}

static int set_what(struct load_args *a, struct given *given, const char *name, const char *value)
{
    static const char *const protocols[] = {"echo", "line", "http", NULL};
    static const char *const churns[] = {"", "message", "handshake", NULL};
    if (strcmp(name, "--protocol") == 0)
        return given->protocol = 1, read_name(value, protocols, &a->protocol);
    if (strcmp(name, "--size") == 0)
        return given->size = 1, sizes_parse(value, &a->sizes);
    if (strcmp(name, "--seed") == 0)
        return read_seed(value, &a->seed);
    if (strcmp(name, "--path") == 0)
        return given->path = 1, read_path(value, &a->path);
    if (strcmp(name, "--churn") == 0)
        return *value ? read_name(value, churns, &a->churn) : -1;
    if (strcmp(name, "--backend") == 0)
        return (a->backend = backend_by_name(value)) < 0 ? -1 : 0;
    return 1;
}

static int set_amount(struct load_args *a, struct given *given, const char *name, const char *value)
{
    if (strcmp(name, "--connections") == 0)
        return read_count(value, 1, CONNECTIONS_MAX, &a->connections);
    if (strcmp(name, "--depth") == 0)
        return read_count(value, 1, DEPTH_MAX, &a->depth);
    if (strcmp(name, "--idle") == 0)
        return read_count(value, 0, CONNECTIONS_MAX, &a->idle);
    if (strcmp(name, "--loops") == 0)
        return read_count(value, 1, LOOPS_MAX, &a->loops);
    if (strcmp(name, "--rate") == 0)
        return read_number(value, 1e-3, 1e9, &a->rate);
    if (strcmp(name, "--think") == 0)
        return read_milliseconds(value, 0, &given->think);
    if (strcmp(name, "--seconds") == 0)
        return read_number(value, 1e-3, 1e6, &a->seconds);
    if (strcmp(name, "--warmup") == 0)
        return read_number(value, 0, 1e6, &a->warmup);
    if (strcmp(name, "--timeout") == 0)
        return read_number(value, 1e-3, 1e6, &a->timeout);
    return 1;
}

static int set_report(struct load_args *a, struct given *given, const char *name, const char *value)
{
    if (strcmp(name, "--connect") == 0)
        return given->connect = 1, read_target(value, a);
    if (strcmp(name, "--compare") == 0)
        return a->compare = 1, read_target(value, a);
    if (strcmp(name, "--pid") == 0)
        return pids_parse(value, &given->pids);
    if (strcmp(name, "--plot") == 0)
        return a->plot = value, *value ? 0 : -1;
    if (strcmp(name, "--slices") == 0)
        return given->slices = 1, read_count(value, 1, SLICES_MAX, &a->slices);
    if (strcmp(name, "--slice-ms") == 0)
        return given->slices = 1, read_milliseconds(value, 1, &given->slice);
    return 1;
}

/* What does not go together, in words; NULL: all is well. */
static const char *contradiction(const struct load_args *a, const struct given *given)
{
    const struct {
        int wrong;
        const char *why;
    } rules[] = {
        {a->target_count == 0, "--connect or --compare is missing"},
        {given->connect && (a->compare || a->target_count > 1), "--connect goes alone; --compare compares"},
        {a->compare && a->target_count < 2, "--compare takes two servers or more"},
        {a->compare && given->pids.count > 0, "--compare is told the process ids behind the address"},
        {!a->compare && given->slices, "--slices and --slice-ms go with --compare"},
        {a->rate > 0 && given->think > 0, "--rate and --think contradict each other"},
        {a->churn && a->depth > 1, "--churn has one message on a connection"},
        {a->resume && !(a->churn && a->tls), "--resume goes with --churn, over TLS"},
        {a->churn == CHURN_HANDSHAKE && (given->protocol || given->size), "a handshake has no messages"},
        {a->protocol == LOAD_HTTP && given->size, "--size is not for http"},
        {a->protocol != LOAD_HTTP && given->path, "--path goes with --protocol http"},
        {a->loops > a->connections, "there are fewer connections than loops"},
        {a->depth > IN_FLIGHT_MAX / a->connections, "there are more than 4000000 messages in flight"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].wrong)
            return rules[i].why;
    return NULL;
}

static int set_option(struct load_args *a, struct given *given, const char *name, const char *value)
{
    int rc = set_what(a, given, name, value);
    if (rc == 1)
        rc = set_amount(a, given, name, value);
    return rc == 1 ? set_report(a, given, name, value) : rc;
}

/* Result: as load_read_args. */
static int read_options(int argc, char **argv, struct load_args *a, struct given *given, char *why, size_t size)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return 1;
        if (set_flag(a, argv[i]) == 0)
            continue;
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int rc = set_option(a, given, argv[i], value);
        if (rc != 0) {
            snprintf(why, size, rc > 0 ? "%s: there is no such option" : "%s: not with '%s'", argv[i], value);
            return -1;
        }
        i++;
    }
    return 0;
}

int load_read_args(int argc, char **argv, struct load_args *a, char *why, size_t size)
{
    struct given given = {.slice = 0.1};
    *a = (struct load_args){.connections = 50, .depth = 1, .loops = 1, .slices = 20, .seconds = 2, .warmup = 0.2,
                            .timeout = 10, .seed = 1, .path = "/"};
    sizes_parse("64", &a->sizes);
    int rc = read_options(argc, argv, a, &given, why, size);
    if (rc != 0)
        return rc;
    a->think_ns = (uint64_t)(given.think * 1e9);
    a->tls |= a->churn == CHURN_HANDSHAKE;
    const char *wrong = contradiction(a, &given);
    if (wrong) {
        snprintf(why, size, "%s", wrong);
        return -1;
    }
    if (a->compare)
        a->seconds = given.slice;
    else
        a->slices = 1;
    if (given.pids.count > 0)
        a->targets[0].pids = given.pids;
    return 0;
}
