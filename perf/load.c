/* load: drives servers, and tells what they could bear.
 *
 *     load --connect HOST:PORT [--pid PID] [options]
 *     load --compare HOST:PORT,PID,NAME --compare HOST:PORT,PID,NAME [options]
 *
 * Protocols. echo sends messages and has every byte of theirs back; line the same, of lines, read one at a time; http
 * asks for a page, keeps connections alive, and checks status and framing. Each also over TLS. --size may be a number,
 * a range, or ranges with weights; the same --seed draws the same sizes.
 *
 * Closed loop, unless told otherwise: --depth messages are in flight on each connection, and an answer brings on the
 * next message, after --think. That shows what a server can do. How long one waits for it, it does not: a server that
 * stalls is asked less.
 *
 * Open loop, with --rate: messages are due at fixed times, and latency counts from then. What finds no connection free
 * is sent later, not dropped, and its wait counts. So a stall of a second is seen by all whom it met.
 *
 * Churn: --churn message has a connection for each message: connect, TLS, one exchange, close. --churn handshake leaves
 * the exchange out, and works with any server of TLS. With --resume they go on with a session; one that does not is an
 * error.
 *
 * Silent connections: --idle opens so many more, which say one thing each and then nothing. If the process id is known,
 * it is told what memory each takes of the server. As many, but no more than 2,000, are opened before them and stay: by
 * then the server's tables and pools have grown, which is not what one more connection takes.
 *
 * Comparison: slices of the targets in turn, so that all meet the same weather, in an order that has nobody always
 * behind the same one. What counts is the ratio of a target's slice to the first's of the same round: of the server's
 * CPU time per message if all process ids are known, else of throughput; the median of all rounds, and what that median
 * lies between with 95% confidence, which takes 6 rounds.
 *
 * Results. A failure is counted by its kind: connect, tls, resumed, closed, short, timeout, mismatch, malformed,
 * status, unsent; each message that it cost counts. A connection that has failed is not used again, and a run ends
 * early when a target has none left. JSON has an object for each target: target, name, messages_per_s, mean_us, p50_us,
 * p90_us, p99_us, p999_us, p9999_us, max_us, cpu_us_per_message, rss_kib, ratio, ratio_low, ratio_high,
 * idle_bytes_each (null for what is not known), errors, error_kinds. CSV has the same, with a column for each kind.
 *
 * Exit status: 0; 1: there was an error; 2: the command line makes no sense. */
#include <stdlib.h>
#include <string.h>

#include "load_plot.h"
#include "load_run.h"

/* Result: rc, which is told if it is a code. */
static int plotted(const struct load_args *args, int rc)
{
    if (rc < 0)
        fprintf(stderr, "load: %s: %s\n", args->plot, strerror(-rc));
    return rc;
}

/* Everything that was asked for. Result: the exit status. */
static int carry_out(const struct load_args *args, struct result *results)
{
    FILE *picture = NULL;
    if (args->plot && plotted(args, load_plot_open(args->plot, &picture)) < 0)
        return 1;
    if (load_run(args, results) < 0)
        return 1;
    report(stdout, args, results);
    int failed = picture && plotted(args, load_plot(picture, args, results)) < 0;
    failed |= fflush(stdout) != 0;
    for (int i = 0; i < args->target_count; i++) {
        failed |= faults_total(&results[i].faults) > 0;
        free(results[i].points);
    }
    return failed;
}

int main(int argc, char **argv)
{
    static struct load_args args;
    static struct result results[TARGETS_MAX];
    char why[256];
    int rc = load_read_args(argc, argv, &args, why, sizeof why);
    if (rc > 0) {
        load_usage(stdout);
        return 0;
    }
    if (rc < 0) {
        fprintf(stderr, "load: %s\nload: --help tells what there is\n", why);
        return 2;
    }
    return carry_out(&args, results);
}
