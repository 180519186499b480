#include "load_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load_gang.h"
#include "load_conn.h"
#include "load_memory.h"
#include "load_protocol.h"
#include "load_stats.h"

enum { POINTS_MAX = 2 * SLICES_MAX };

/* A target's measurements, by round; NAN where there is none. */
struct track {
    double cpu[SLICES_MAX], rate[SLICES_MAX];
};

static struct run {
    const struct load_args *args;
    struct result *results;
    struct load load;
    struct gang gang;
    struct track tracks[TARGETS_MAX];
    uint64_t start;             /* of the first slice */
    int rounds;                 /* that are over */
    int shows;                  /* a progress line */
    /* What is going on, and how it was when it was last looked at. */
    int target;
    uint64_t seen_at, seen_answers;
} run;

static int has_pids(int target)
{
    return run.args->targets[target].pids.count > 0;
}

static double resident(int target)
{
    return pids_resident(&run.args->targets[target].pids);
}

/* ---- Looking on ---- */

static void add_point(struct result *r, double at, double rate)
{
    if (r->point_count < POINTS_MAX)
        r->points[r->point_count++] = (struct point){at, rate};
}

static void show(double elapsed, double rate)
{
    if (run.args->compare)
        fprintf(stderr, "\rround %d of %d", run.rounds + 1, run.args->slices);
    else
        fprintf(stderr, "\r%.1f of %.1f s", elapsed, run.args->seconds);
    fprintf(stderr, "  %s  %.0f messages/s\033[K", run.args->targets[run.target].name, rate);
}

static void look(struct weir_timer *timer, void *arg)
{
    uint64_t now = clock_ns(), answers = gang_answers(&run.gang, run.target);
    double seconds = (double)(now - run.seen_at) / 1e9, elapsed = (double)(now - run.start) / 1e9;
    double rate = (double)(answers - run.seen_answers) / seconds;
    (void)timer, (void)arg;
    if (!run.args->compare)
        add_point(&run.results[run.target], elapsed - seconds / 2, rate);
    if (run.shows)
        show(elapsed, rate);
    run.seen_at = now;
    run.seen_answers = answers;
}

/* ---- Measuring ---- */

static void order(struct order order)
{
    gang_order(&run.gang, order);
}

static void drive(int target, double seconds, int round)
{
    double step = seconds / 100 < 0.05 ? 0.05 : seconds / 100 > 1 ? 1 : seconds / 100;
    struct weir_timer *timer = NULL;
    if (round >= 0 && (run.shows || (run.args->plot && !run.args->compare)))
        weir_timer_start(gang_loop(&run.gang), (uint64_t)(step * 1e9), (uint64_t)(step * 1e9), look, NULL, &timer);
    order((struct order){.kind = ORDER_DRIVE, .target = target, .seconds = seconds, .round = round});
    weir_timer_stop(timer);
}

static void slice(int target, int round)
{
    const struct pids *pids = &run.args->targets[target].pids;
    double cpu = pids_cpu_ns(pids);
    uint64_t answers = gang_answers(&run.gang, target), at = clock_ns();
    run.target = target;
    run.seen_at = at;
    run.seen_answers = answers;
    drive(target, run.args->seconds, round);
    double seconds = (double)(clock_ns() - at) / 1e9, n = (double)(gang_answers(&run.gang, target) - answers);
    cpu = pids_cpu_ns(pids) - cpu; /* less than nothing: another process has the number of one that ended */
    if (n > 0 && has_pids(target) && cpu >= 0 && pids_gone(pids) == 0)
        run.tracks[target].cpu[round] = cpu / 1e3 / n;
    run.tracks[target].rate[round] = n / seconds;
    if (run.args->compare)
        add_point(&run.results[target], (double)(at - run.start) / 1e9 + seconds / 2, n / seconds);
}

/* Silent connections: some whose memory is not counted, as a server's pools grow with them, and then those that are. */
static void open_idle(int target)
{
    struct order idle = {.kind = ORDER_IDLE, .target = target, .count = worker_idle_warmup(run.args)};
    if (run.args->idle == 0)
        return;
    order(idle);
    double before = resident(target);
    idle.count = run.args->idle;
    order(idle);
    if (has_pids(target))
        run.results[target].idle_bytes = (resident(target) - before) / run.args->idle;
}

static int all_live(void)
{
    for (int t = 0; t < run.args->target_count; t++)
        if (gang_live(&run.gang, t) == 0)
            return 0;
    return 1;
}

static void measure(void)
{
    const struct load_args *args = run.args;
    int turn[TARGETS_MAX];
    for (int t = 0; t < args->target_count; t++)
        order((struct order){.kind = ORDER_CONNECT, .target = t});
    for (int t = 0; t < args->target_count && all_live(); t++)
        open_idle(t);
    for (int t = 0; t < args->target_count && args->warmup > 0 && all_live(); t++)
        drive(t, args->warmup, -1);
    run.start = clock_ns();
    for (; run.rounds < args->slices && all_live(); run.rounds++) {
        stats_order(run.rounds, args->target_count, turn);
        for (int i = 0; i < args->target_count && all_live(); i++)
            slice(turn[i], run.rounds);
    }
    if (run.shows)
        fputs("\r\033[K", stderr);
}

/* ---- Results ---- */

/* The median of those that there are; NAN if there are none. */
static double median_of(const double *values, int count)
{
    double there[SLICES_MAX];
    int n = 0;
    for (int i = 0; i < count; i++)
        if (!isnan(values[i]))
            there[n++] = values[i];
    return n > 0 ? stats_median(there, n) : NAN;
}

/* What the slices of a target came to beside the first target's of the same round. */
static void set_ratio(struct result *r, const double *values, const double *first)
{
    double ratios[SLICES_MAX];
    int n = 0;
    for (int i = 0; i < run.rounds; i++)
        if (values[i] >= 0 && first[i] > 0)
            ratios[n++] = values[i] / first[i];
    if (n > 0)
        r->ratio = stats_median(ratios, n);
    stats_interval(ratios, n, &r->ratio_low, &r->ratio_high);
}

static void add_up(int target)
{
    struct result *r = &run.results[target];
    struct track *track = &run.tracks[target];
    for (int i = 0; i < run.gang.count; i++) {
        const struct share *share = &run.gang.workers[i].shares[target];
        hist_merge(&r->hist, &share->hist);
        for (int kind = 0; kind < FAULTS; kind++)
            r->faults.count[kind] += share->faults.count[kind];
    }
    double rate = median_of(track->rate, run.args->slices);
    r->messages_per_s = isnan(rate) ? 0 : rate;
    r->cpu_us = median_of(track->cpu, run.args->slices);
    if (has_pids(target) && pids_gone(&run.args->targets[target].pids) == 0)
        r->rss_kib = resident(target) / 1024;
    if (!run.args->compare)
        return;
    r->ratio_of_cpu = 1;
    for (int t = 0; t < run.args->target_count; t++)
        r->ratio_of_cpu &= has_pids(t);
    set_ratio(r, r->ratio_of_cpu ? track->cpu : track->rate,
              r->ratio_of_cpu ? run.tracks[0].cpu : run.tracks[0].rate);
}

/* ---- Beginning ---- */

static void raise_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void prepare_target(int t)
{
    const struct load_target *target = &run.args->targets[t];
    run.load.goals[t] = (struct goal){.where = target};
    protocol_request(run.args, &run.load.goals[t]);
    run.results[t] = (struct result){.target = target->where, .name = target->name, .cpu_us = NAN, .ratio = NAN,
                                     .ratio_low = NAN, .ratio_high = NAN, .rss_kib = NAN, .idle_bytes = NAN};
    run.results[t].points = load_memory(POINTS_MAX, sizeof *run.results[t].points);
    for (int i = 0; i < SLICES_MAX; i++)
        run.tracks[t].cpu[i] = run.tracks[t].rate[i] = NAN;
}

static int prepare(void)
{
    struct load *load = &run.load;
    struct weir_tls_config_options tls = {.size = sizeof tls, .DANGEROUS_any_certificate = 1};
    *load = (struct load){.args = run.args, .timeout_ns = (uint64_t)(run.args->timeout * 1e9)};
    for (int t = 0, gone; t < run.args->target_count; t++) {
        if ((gone = pids_gone(&run.args->targets[t].pids)) == 0)
            continue;
        fprintf(stderr, "load: there is no process %d\n", gone);
        return -1;
    }
    if (run.args->tls && weir_tls_config_open(&tls, &load->tls) < 0) {
        fprintf(stderr, "load: %s\n", weir_tls_config_refusal());
        return -1;
    }
    load->protocol = protocol_of(run.args);
    load->payload = protocol_payload(run.args);
    for (int t = 0; t < run.args->target_count; t++)
        prepare_target(t);
    gang_open(&run.gang, load);
    return 0;
}

int load_run(const struct load_args *args, struct result *results)
{
    run = (struct run){.args = args, .results = results, .shows = isatty(STDERR_FILENO)};
    raise_limit();
    if (prepare() < 0)
        return -1;
    measure();
    for (int t = 0; t < args->target_count; t++)
        add_up(t);
    gang_close(&run.gang);
    for (int t = 0; t < args->target_count; t++)
        free(run.load.goals[t].request);
    free(run.load.payload);
    weir_tls_config_close(run.load.tls);
    return 0;
}
