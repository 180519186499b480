#include "load_plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 900, LEFT = 78, RIGHT = 860, PANEL = 270, STEPS = 300, NAME_MAX_CHARS = 44, COLORS = 8 };
_Static_assert(TARGETS_MAX <= 2 * COLORS, "some lines would look the same");

/* A rectangle, and the values at its edges. */
struct panel {
    double top, x_high, y_low, y_high;      /* x begins with 0 */
};

static const char style[] =
    "<style>\n"
    "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\n"
    ".head{font-weight:600;font-size:15px}.quiet{fill:#5f6b76}.paper{fill:#ffffff}\n"
    ".grid{stroke:#e4e7eb;stroke-width:1}.axis{stroke:#9aa4af;stroke-width:1}\n"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.dashed{stroke-dasharray:7 6}\n"
    ".c0{stroke:#0b62c4}.c1{stroke:#d9480f}.c2{stroke:#0a7d4b}.c3{stroke:#9c36b5}\n"
    ".c4{stroke:#a37200}.c5{stroke:#c2255c}.c6{stroke:#087e8b}.c7{stroke:#5c5f66}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#e6e8eb}.quiet{fill:#9aa4af}.paper{fill:#14181d}.grid{stroke:#2a313a}.axis{stroke:#66707c}\n"
    ".c0{stroke:#5aa9ff}.c1{stroke:#ff8f4d}.c2{stroke:#4cc38a}.c3{stroke:#d58cf0}\n"
    ".c4{stroke:#e6b84d}.c5{stroke:#ff7fae}.c6{stroke:#4dc4d1}.c7{stroke:#a9afb8}}\n"
    "</style>\n";

/* ---- Pieces ---- */

static void put_text(FILE *f, const char *text, size_t max)
{
    for (size_t i = 0; text[i] && i < max; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '<' || c == '>' || c == '&' || c == '"' || c < ' ')
            fprintf(f, "&#%d;", c < ' ' ? '?' : c);
        else
            fputc(c, f);
    }
}

static void label(FILE *f, double x, double y, const char *anchor, const char *class, const char *text)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
    put_text(f, text, 200);
    fputs("</text>\n", f);
}

static void rule(FILE *f, double x1, double y1, double x2, double y2, const char *class)
{
    fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

/* Lines beyond the colors have them again, dashed. */
static void begin_line(FILE *f, const char *shape, int number)
{
    fprintf(f, "<%s class=\"line c%d%s\"", shape, number % COLORS, number < COLORS ? "" : " dashed");
}

static double x_of(const struct panel *p, double x)
{
    return LEFT + (RIGHT - LEFT) * x / p->x_high;
}

static double y_of(const struct panel *p, double y)
{
    return p->top + PANEL * (1 - (y - p->y_low) / (p->y_high - p->y_low));
}

static void frame(FILE *f, const struct panel *p, const char *head, const char *below)
{
    label(f, LEFT, p->top - 14, "start", "head", head);
    rule(f, LEFT, p->top + PANEL, RIGHT, p->top + PANEL, "axis");
    label(f, RIGHT, p->top + PANEL + 38, "end", "quiet", below);
}

static void tick_x(FILE *f, const struct panel *p, double x, const char *text)
{
    rule(f, x_of(p, x), p->top, x_of(p, x), p->top + PANEL, "grid");
    label(f, x_of(p, x), p->top + PANEL + 19, "middle", "quiet", text);
}

static void tick_y(FILE *f, const struct panel *p, double y, const char *text)
{
    rule(f, LEFT, y_of(p, y), RIGHT, y_of(p, y), "grid");
    label(f, LEFT - 8, y_of(p, y) + 4, "end", "quiet", text);
}

/* 1, 2 or 5 times a power of ten, such that it makes at most `count` steps of `range`. */
static double step_for(double range, int count)
{
    double least = range / count, power = pow(10, floor(log10(least)));
    for (int i = 0; i < 3; i++)
        if (power * (double[]){1, 2, 5}[i] >= least * 0.999)
            return power * (double[]){1, 2, 5}[i];
    return power * 10;
}

/* ---- Latency by percentile: the last part of the axis is drawn as large as what is ten times its size ---- */

/* A percentile where the axis is x: 0%, 90%, 99%, 99.9%, ... */
static double percent_at(double x)
{
    return 100 * (1 - pow(10, -x));
}

static void format_latency(double us, char *text, size_t size)
{
    if (us < 999)
        snprintf(text, size, "%g \u00b5s", us);
    else if (us < 999e3)
        snprintf(text, size, "%g ms", us / 1e3);
    else
        snprintf(text, size, "%g s", us / 1e6);
}

static void latency_axes(FILE *f, const struct panel *p)
{
    static const struct {
        double x;
        const char *text;
    } ticks[] = {{0, "0%"},     {0.30103, "50%"}, {1, "90%"},     {2, "99%"},
                 {3, "99.9%"},  {4, "99.99%"},    {5, "99.999%"}, {6, "99.9999%"}};
    char text[32];
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks && ticks[i].x <= p->x_high; i++)
        tick_x(f, p, ticks[i].x, ticks[i].text);
    int few = p->y_high - p->y_low > 3; /* then powers of ten will do */
    for (int power = (int)floor(p->y_low); power <= p->y_high; power++) {
        for (int i = 0; i < (few ? 1 : 3); i++) {
            double us = pow(10, power) * (double[]){1, 2, 5}[i], y = log10(us);
            format_latency(us, text, sizeof text);
            if (y >= p->y_low - 1e-9 && y <= p->y_high + 1e-9)
                tick_y(f, p, y, text);
        }
    }
}

static void latency_line(FILE *f, const struct panel *p, const struct result *r, int number)
{
    double last = log10((double)r->hist.count);
    last = last < p->x_high ? last : p->x_high;
    begin_line(f, "polyline", number);
    fputs(" points=\"", f);
    for (int i = 0; i <= STEPS; i++) {
        double x = p->x_high * i / STEPS, ns;
        if (x > last && i > 0)
            break;
        ns = (double)hist_percentile(&r->hist, percent_at(x));
        fprintf(f, "%.1f,%.1f ", x_of(p, x), y_of(p, log10(ns > 100 ? ns / 1e3 : 0.1)));
    }
    fputs("\"/>\n", f);
}

/* A bound of the axis: the next of 1, 2, 5 below or above. */
static double bound(double ns, int up)
{
    double us = ns > 100 ? ns / 1e3 : 0.1, power = pow(10, floor(log10(us))), found = up ? power * 10 : power;
    for (int i = 0; i < 3; i++) {
        double value = power * (double[]){1, 2, 5}[i];
        if (up ? value >= us && value < found : value <= us && value > found)
            found = value;
    }
    return log10(found);
}

static void latency(FILE *f, struct panel *p, const struct result *results, int count)
{
    double low = HUGE_VAL, high = 0, most = 100;
    for (int i = 0; i < count; i++) {
        const struct hist *h = &results[i].hist;
        if (h->count == 0)
            continue;
        low = fmin(low, (double)hist_percentile(h, 0));
        high = fmax(high, (double)h->max);
        most = fmax(most, (double)h->count);
    }
    p->x_high = fmin(ceil(log10(most)), 6.2);
    p->y_low = low < HUGE_VAL ? bound(low, 0) : 0;
    p->y_high = fmax(bound(high, 1), p->y_low + 0.3);
    frame(f, p, "Latency by percentile", "percentile");
    latency_axes(f, p);
    for (int i = 0; i < count; i++)
        if (results[i].hist.count > 0)
            latency_line(f, p, &results[i], i);
}

/* ---- Throughput over time ---- */

static void throughput_line(FILE *f, const struct panel *p, const struct result *r, int number)
{
    begin_line(f, "polyline", number);
    fputs(" points=\"", f);
    for (int i = 0; i < r->point_count; i++)
        fprintf(f, "%.1f,%.1f ", x_of(p, r->points[i].at), y_of(p, r->points[i].rate));
    fputs("\"/>\n", f);
}

static void throughput(FILE *f, struct panel *p, const struct result *results, int count)
{
    char text[32];
    double most = 1;
    p->x_high = 1e-3;
    for (int i = 0; i < count; i++) {
        for (int n = 0; n < results[i].point_count; n++) {
            most = fmax(most, results[i].points[n].rate);
            p->x_high = fmax(p->x_high, results[i].points[n].at);
        }
    }
    double step_x = step_for(p->x_high, 10), step_y = step_for(most, 6);
    p->y_high = ceil(most / step_y) * step_y;
    frame(f, p, "Throughput, messages a second", "seconds");
    for (int i = 0; i * step_x <= p->x_high; i++) {
        snprintf(text, sizeof text, "%g", i * step_x);
        tick_x(f, p, i * step_x, text);
    }
    for (int i = 0; i * step_y <= p->y_high * 1.001; i++) {
        snprintf(text, sizeof text, i * step_y < 1e5 ? "%g" : "%.0fk", i * step_y / (i * step_y < 1e5 ? 1 : 1e3));
        tick_y(f, p, i * step_y, text);
    }
    for (int i = 0; i < count; i++)
        throughput_line(f, p, &results[i], i);
}

/* ---- The whole ---- */

static void heading(FILE *f, const struct load_args *args)
{
    static const char *const protocols[] = {"echo", "line", "http"};
    static const char *const churns[] = {"", ", a connection for each message", ""};
    char text[256], rate[64] = "closed loop";
    if (args->rate > 0)
        snprintf(rate, sizeof rate, "%g messages/s", args->rate);
    snprintf(text, sizeof text, "%s%s%s, %d connections, depth %d, %s",
             args->churn == CHURN_HANDSHAKE ? "handshakes" : protocols[args->protocol],
             args->tls && args->churn != CHURN_HANDSHAKE ? " over TLS" : "", churns[args->churn], args->connections,
             args->depth, rate);
    label(f, LEFT, 30, "start", "quiet", text);
}

/* Names, in two columns. */
static void legend(FILE *f, const struct result *results, int count)
{
    for (int i = 0; i < count; i++) {
        double x = LEFT + i % 2 * 400, y = 56 + i / 2 * 22;
        begin_line(f, "line", i);
        fprintf(f, " x1=\"%.0f\" y1=\"%.0f\" x2=\"%.0f\" y2=\"%.0f\"/>\n", x, y - 4, x + 24, y - 4);
        fprintf(f, "<text x=\"%.0f\" y=\"%.0f\">", x + 32, y);
        put_text(f, results[i].name, NAME_MAX_CHARS);
        fputs("</text>\n", f);
    }
}

int load_plot_open(const char *name, FILE **ret)
{
    *ret = fopen(name, "a");
    return *ret ? 0 : -errno;
}

static void draw(FILE *f, const struct load_args *args, const struct result *results)
{
    int count = args->target_count;
    struct panel upper = {.top = 56 + (count - 1) / 2 * 22 + 48}, lower = {.top = upper.top + PANEL + 96};
    double height = lower.top + PANEL + 60;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\">\n",
            WIDTH, height, WIDTH, height);
    fputs(style, f);
    fprintf(f, "<rect class=\"paper\" width=\"%d\" height=\"%.0f\"/>\n", WIDTH, height);
    heading(f, args);
    legend(f, results, count);
    latency(f, &upper, results, count);
    throughput(f, &lower, results, count);
    fputs("</svg>\n", f);
}

int load_plot(FILE *f, const struct load_args *args, const struct result *results)
{
    int rc = ftruncate(fileno(f), 0) == 0 || errno == EINVAL ? 0 : -errno; /* a pipe has no length */
    if (rc == 0)
        draw(f, args, results);
    int failed = ferror(f);
    if (fclose(f) != 0 && rc == 0)
        rc = -errno;
    return rc < 0 || !failed ? rc : -EIO;
}
