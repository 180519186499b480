/* A load generator for echo servers: closed loop, every echoed byte checked, the server's CPU time per message.
 *
 * With --churn a message is a connection: TLS is begun, and closed in good order. Any server of TLS will do.
 *
 * With --compare it drives two or more servers in turn, a slice each, again and again, so that all of them meet the
 * same weather; the ratio of a round is what counts. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common_args.h"
#include "common_hist.h"
#include "weir_tls.h"

enum { ECHO, CHURN_FULL, CHURN_RESUMED };

enum { TARGETS_MAX = 8, SLICES_MAX = 1000, REF_FROM = 16384 };

struct target {
    const char *name;
    int pid;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct conn *conns;
    uint64_t messages;
    struct hist *hist;
    double cpu[SLICES_MAX], rate[SLICES_MAX];       /* us per message, messages per second */
};

struct conn {
    struct target *target;
    struct weir_stream *s;
    uint64_t *sent_at;      /* of the messages in flight, a ring of `depth` */
    unsigned head, in_flight;
    size_t received;        /* of the message at the head */
    char host[24];          /* whose session is resumed */
};

static struct options {
    int connections, depth, slices, json, backend, tls, churn;
    size_t size;
    double seconds, slice_ms;
} opt = {.connections = 50, .depth = 1, .size = 64, .seconds = 2, .slice_ms = 100};

static struct weir_loop *loop;
static struct weir_tls_config *tls;    /* NULL: plain */
static struct target targets[TARGETS_MAX];
static int target_count, compare;
static unsigned char *payload;
static uint64_t in_flight, errors;
static int connected, sending, recording, closing;

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void error(struct conn *c, const char *what, int code)
{
    if (closing)
        return;
    if (errors++ < 5)
        fprintf(stderr, "%s: %s: %s\n", c->target->name, what, weir_strerror(code));
}

/* ---- A message ---- */

static void send_message(struct conn *c, uint64_t now)
{
    int rc = opt.size >= REF_FROM ? weir_write_ref(c->s, payload, opt.size, NULL, NULL, NULL)
                                  : weir_write(c->s, payload, opt.size, NULL, NULL);
    if (rc < 0) {
        error(c, "write", rc);
        return;
    }
    c->sent_at[(c->head + c->in_flight++) % (unsigned)opt.depth] = now;
    in_flight++;
}

static void message_done(struct conn *c, uint64_t now)
{
    c->received = 0;
    c->in_flight--;
    in_flight--;
    c->target->messages++;
    if (recording)
        hist_add(c->target->hist, now - c->sent_at[c->head]);
    c->head = (c->head + 1) % (unsigned)opt.depth;
    if (sending)
        send_message(c, now);
}

static void on_echo(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = arg;
    const unsigned char *p = view.data;
    uint64_t now = clock_ns();
    if (status < 0) {
        error(c, "read", status);
        return;
    }
    for (size_t n, left = view.len; left > 0; left -= n, p += n) {
        n = opt.size - c->received < left ? opt.size - c->received : left;
        if (c->in_flight == 0 || memcmp(p, payload + c->received, n) != 0) {
            error(c, "the echo differs", 0);
            weir_stream_close(s, WEIR_CLOSE_NOW);
            return;
        }
        c->received += n;
        if (c->received == opt.size)
            message_done(c, now);
    }
}

/* ---- Churn: connections for messages ---- */

static void churn(struct conn *c);

static void on_end(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)status, (void)view, (void)arg;
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

static void on_begun(struct weir_stream *s, int status, void *arg)
{
    struct weir_tls_facts facts = {0};
    struct conn *c = arg;
    if (status < 0) {
        error(c, "connect", status);
        return;
    }
    weir_tls_facts(s, &facts, sizeof facts);
    if (recording && facts.resumed != (opt.churn == CHURN_RESUMED))
        error(c, facts.resumed ? "resumed" : "not resumed", 0);
    c->target->messages++;
    if (recording)
        hist_add(c->target->hist, clock_ns() - c->sent_at[0]);
    weir_shutdown(s);
    weir_read_until_close(s, on_end, c); /* tickets come before the end */
}

static void on_over(struct weir_stream *s, int reason, void *arg)
{
    struct conn *c = arg;
    (void)s, (void)reason;
    c->s = NULL;
    in_flight--;
    if (sending && errors == 0)
        churn(c);
}

static void churn(struct conn *c)
{
    struct target *t = c->target;
    struct weir_stream_options so = {.size = sizeof so, .on_close = on_over, .on_close_arg = c};
    c->sent_at[0] = clock_ns();
    int rc = weir_connect_addr(loop, (struct sockaddr *)&t->addr, t->addr_len, &so, on_begun, c, &c->s);
    if (rc == 0) {
        in_flight++;
        rc = weir_tls_start(c->s, tls, opt.churn == CHURN_RESUMED ? c->host : NULL);
    }
    if (rc < 0)
        error(c, "connect", rc);
}

/* ---- A connection ---- */

static void on_connect(struct weir_stream *s, int status, void *arg)
{
    struct conn *c = arg;
    connected++;
    if (status < 0)
        error(c, "connect", status);
    else
        weir_read_start(s, on_echo, c);
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct conn *c = arg;
    (void)s;
    if (reason != 0)
        error(c, "closed", reason);
    in_flight -= c->in_flight;
    c->in_flight = 0;
    c->s = NULL;
}

/* ---- A target ---- */

static void turn(uint64_t timeout)
{
    int rc = weir_loop_run_once(loop, timeout);
    if (rc < 0) {
        fprintf(stderr, "the loop ended: %s\n", weir_strerror(rc));
        exit(1);
    }
}

static void connect_target(struct target *t)
{
    t->conns = calloc((size_t)opt.connections, sizeof *t->conns);
    t->hist = calloc(1, sizeof *t->hist);
    for (int i = 0; i < opt.connections; i++) {
        struct conn *c = &t->conns[i];
        struct weir_stream_options so = {.size = sizeof so, .on_close = on_close, .on_close_arg = c,
                                         .max_write_buffer_size = (opt.size + 1) * (size_t)opt.depth};
        c->target = t;
        c->sent_at = calloc((size_t)opt.depth, sizeof *c->sent_at);
        snprintf(c->host, sizeof c->host, "c%d-%d.test", (int)(t - targets), i);
        if (opt.churn)
            continue;
        int rc = weir_connect_addr(loop, (struct sockaddr *)&t->addr, t->addr_len, &so, on_connect, c, &c->s);
        if (rc == 0 && tls)
            rc = weir_tls_start(c->s, tls, NULL);
        if (rc < 0) {
            error(c, "connect", rc);
            exit(1);
        }
    }
    for (int goal = connected + opt.connections; connected < goal && !opt.churn;)
        turn(1000000000);
}

/* The CPU time of all threads of the server, in ns. */
static uint64_t cpu_ns(int pid)
{
    char path[300];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = pid > 0 ? opendir(path) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        unsigned long long ns;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%llu", &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return sum;
}

/* Full load for so long; then no new messages, until the last echo is back. */
static void drive(struct target *t, double seconds)
{
    uint64_t now = clock_ns(), end = now + (uint64_t)(seconds * 1e9);
    sending = 1;
    for (int i = 0; i < opt.connections && opt.churn; i++)
        churn(&t->conns[i]);
    for (int i = 0; i < opt.connections && !opt.churn; i++)
        while (t->conns[i].s && t->conns[i].in_flight < (unsigned)opt.depth && errors == 0)
            send_message(&t->conns[i], now);
    while ((now = clock_ns()) < end && errors == 0)
        turn(end - now);
    sending = 0;
    for (end = now + 5000000000u; in_flight > 0 && errors == 0 && (now = clock_ns()) < end;)
        turn(end - now);
    if (in_flight > 0 && errors == 0)
        error(&t->conns[0], "echoes are missing", 0);
}

static void slice(struct target *t, double seconds, int number)
{
    uint64_t cpu = cpu_ns(t->pid), messages = t->messages, at = clock_ns();
    drive(t, seconds);
    double n = (double)(t->messages - messages);
    if (n > 0) {
        t->cpu[number] = (double)(cpu_ns(t->pid) - cpu) / 1e3 / n;
        t->rate[number] = n / ((double)(clock_ns() - at) / 1e9);
    }
}

/* ---- Results ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int count)
{
    double sorted[SLICES_MAX];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* The median of what each round's slice cost beside the first target's. */
static double ratio(const struct target *t, int slices)
{
    double ratios[SLICES_MAX];
    for (int i = 0; i < slices; i++)
        ratios[i] = targets[0].cpu[i] > 0 ? t->cpu[i] / targets[0].cpu[i] : 0;
    return median(ratios, slices);
}

static void report(const struct target *t, int slices)
{
    double p[3] = {50, 99, 99.9};
    for (int i = 0; i < 3; i++)
        p[i] = (double)hist_percentile(t->hist, p[i]) / 1e3;
    double cpu = median(t->cpu, slices), rate = median(t->rate, slices), r = ratio(t, slices);
    if (opt.json)
        printf("{\"target\":\"%s\",\"messages_per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
               "\"cpu_us_per_message\":%.3f,\"ratio\":%.3f,\"errors\":%llu}\n",
               t->name, rate, p[0], p[1], p[2], cpu, r, (unsigned long long)errors);
    else
        printf("%-22s %10.0f msg/s  p50 %8.1f us  p99 %8.1f us  p99.9 %8.1f us  cpu %7.3f us/msg  ratio %5.3f\n",
               t->name, rate, p[0], p[1], p[2], cpu, r);
}

/* ---- Command line ---- */

static void usage(FILE *to)
{
    fputs("usage: load --connect HOST:PORT [--pid PID] [options]\n"
          "       load --compare HOST:PORT,PID --compare HOST:PORT,PID ... [options]\n"
          "  --connections N  50      --size BYTES  64      --depth N  1 (messages in flight on each)\n"
          "  --seconds S  2           --slices N  (compare; 20)   --slice-ms MS  100\n"
          "  --pid PID        of the server, for its CPU time     --backend auto|uring|epoll\n"
          "  --tls            whoever answers is believed         --json   one object a line\n"
          "  --churn full|resumed       TLS handshakes for messages, whole or going on with a session\n"
          "  --help\n",
          to);
}

static int add_target(const char *text)
{
    char *comma, name[128];
    struct target *t = &targets[target_count];
    snprintf(name, sizeof name, "%s", text);
    if ((comma = strchr(name, ','))) {
        *comma = '\0';
        t->pid = atoi(comma + 1);
    }
    if (target_count == TARGETS_MAX || weir_addr_parse(name, &t->addr, &t->addr_len) < 0)
        return 0;
    t->name = strdup(name);
    target_count++;
    return 1;
}

static int read_option(const char *name, const char *value)
{
    static const char *const names[] = {"--connect", "--compare", "--connections", "--size",    "--depth",
                                        "--seconds", "--slices",  "--slice-ms",    "--backend", "--churn"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        switch (i) {
        case 0:
            return add_target(value);
        case 1:
            compare = 1;
            return add_target(value);
        case 2:
            return (opt.connections = atoi(value)) > 0;
        case 3:
            return (opt.size = strtoull(value, NULL, 10)) > 0;
        case 4:
            return (opt.depth = atoi(value)) > 0;
        case 5:
            return (opt.seconds = atof(value)) > 0;
        case 6:
            return (opt.slices = atoi(value)) > 0 && opt.slices <= SLICES_MAX;
        case 7:
            return (opt.slice_ms = atof(value)) > 0;
        case 8:
            return (opt.backend = backend_by_name(value)) >= 0;
        default:
            opt.tls = 1;
            opt.churn = strcmp(value, "full") == 0 ? CHURN_FULL : strcmp(value, "resumed") == 0 ? CHURN_RESUMED : ECHO;
            return opt.churn != ECHO;
        }
    }
    return 0;
}

static void read_args(int argc, char **argv)
{
    int pid = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            exit(0);
        }
        if (strcmp(argv[i], "--json") == 0) {
            opt.json = 1;
        } else if (strcmp(argv[i], "--tls") == 0) {
            opt.tls = 1;
        } else if (value && strcmp(argv[i], "--pid") == 0) {
            pid = atoi(argv[++i]);
        } else if (value && read_option(argv[i], value)) {
            i++;
        } else {
            fprintf(stderr, "load: %s: not understood\n", argv[i]);
            usage(stderr);
            exit(2);
        }
    }
    if (pid > 0)
        targets[0].pid = pid;
    if (target_count == 0 || (!compare && target_count > 1)) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_args(argc, argv);
    struct weir_loop_options lopt = {.size = sizeof lopt, .backend = opt.backend};
    int rc = weir_loop_open(&lopt, &loop), slices = compare ? (opt.slices ? opt.slices : 20) : 1;
    if (rc < 0) {
        fprintf(stderr, "load: %s %s\n", weir_strerror(rc), weir_loop_refusal());
        return 1;
    }
    struct weir_tls_config_options topt = {.size = sizeof topt, .DANGEROUS_any_certificate = 1};
    if (opt.tls && weir_tls_config_open(&topt, &tls) < 0) {
        fprintf(stderr, "load: %s\n", weir_tls_config_refusal());
        return 1;
    }
    payload = malloc(opt.size);
    for (size_t i = 0; i < opt.size; i++)
        payload[i] = (unsigned char)(i * 131 + (i >> 8) * 7);
    for (int i = 0; i < target_count; i++) {
        connect_target(&targets[i]);
        drive(&targets[i], 0.2); /* warm-up */
    }
    recording = 1;
    for (int n = 0; n < slices; n++)
        for (int i = 0; i < target_count; i++)
            slice(&targets[i], compare ? opt.slice_ms / 1e3 : opt.seconds, n);
    for (int i = 0; i < target_count; i++)
        report(&targets[i], slices);
    if (errors > 0)
        fprintf(stderr, "%llu errors\n", (unsigned long long)errors);
    closing = 1;
    weir_loop_close(loop);
    weir_tls_config_close(tls);
    return errors > 0;
}
