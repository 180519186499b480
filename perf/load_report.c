#include "load_report.h"

#include <math.h>
#include <string.h>

/* A column of JSON and CSV: its key, and decimals. */
static const struct column {
    const char *key;
    int decimals;
} columns[] = {
    {"messages_per_s", 0}, {"mean_us", 1},  {"p50_us", 1},    {"p90_us", 1},     {"p99_us", 1},
    {"p999_us", 1},        {"p9999_us", 1}, {"max_us", 1},    {"cpu_us_per_message", 3},
    {"rss_kib", 0},        {"ratio", 3},    {"ratio_low", 3}, {"ratio_high", 3}, {"idle_bytes_each", 0},
    {"errors", 0},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double micro(const struct result *r, double percent)
{
    return (double)hist_percentile(&r->hist, percent) / 1e3;
}

static void fill(const struct result *r, double values[COLUMNS])
{
    const double all[COLUMNS] = {
        r->messages_per_s, hist_mean(&r->hist) / 1e3, micro(r, 50), micro(r, 90), micro(r, 99), micro(r, 99.9),
        micro(r, 99.99), (double)r->hist.max / 1e3, r->cpu_us, r->rss_kib, r->ratio, r->ratio_low, r->ratio_high,
        r->idle_bytes, (double)faults_total(&r->faults),
    };
    memcpy(values, all, sizeof all);
}

/* ---- JSON ---- */

static void json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if (*p < ' ')
            fprintf(to, "\\u%04x", *p);
        else
            fputc(*p, to);
    }
    fputc('"', to);
}

static void json_faults(FILE *to, const struct faults *faults)
{
    const char *between = "";
    fputs(",\"error_kinds\":{", to);
    for (int i = 0; i < FAULTS; i++) {
        if (faults->count[i] == 0)
            continue;
        fprintf(to, "%s\"%s\":%llu", between, fault_name(i), (unsigned long long)faults->count[i]);
        between = ",";
    }
    fputs("}}\n", to);
}

static void report_json(FILE *to, const struct result *r)
{
    double values[COLUMNS];
    fill(r, values);
    fputs("{\"target\":", to);
    json_text(to, r->target);
    fputs(",\"name\":", to);
    json_text(to, r->name);
    for (int i = 0; i < COLUMNS; i++) {
        fprintf(to, ",\"%s\":", columns[i].key);
        if (isnan(values[i]))
            fputs("null", to);
        else
            fprintf(to, "%.*f", columns[i].decimals, values[i]);
    }
    json_faults(to, &r->faults);
}

/* ---- CSV ---- */

static void csv_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++)
        fprintf(to, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', to);
}

static void csv_head(FILE *to)
{
    fputs("target,name", to);
    for (int i = 0; i < COLUMNS; i++)
        fprintf(to, ",%s", columns[i].key);
    for (int i = 0; i < FAULTS; i++)
        fprintf(to, ",errors_%s", fault_name(i));
    fputc('\n', to);
}

static void report_csv(FILE *to, const struct result *r)
{
    double values[COLUMNS];
    fill(r, values);
    csv_text(to, r->target);
    fputc(',', to);
    csv_text(to, r->name);
    for (int i = 0; i < COLUMNS; i++) {
        fputc(',', to);
        if (!isnan(values[i]))
            fprintf(to, "%.*f", columns[i].decimals, values[i]);
    }
    for (int i = 0; i < FAULTS; i++)
        fprintf(to, ",%llu", (unsigned long long)r->faults.count[i]);
    fputc('\n', to);
}

/* ---- Text ---- */

static void text_server(FILE *to, const struct result *r)
{
    const struct {
        double value;
        int decimals;
        const char *what;
    } parts[] = {
        {r->cpu_us, 3, "us of CPU per message"},
        {r->rss_kib, 0, "KiB resident"},
        {r->idle_bytes, 0, "bytes for each silent connection"},
    };
    const char *before = "  server      ";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (isnan(parts[i].value))
            continue;
        fprintf(to, "%s%.*f %s", before, parts[i].decimals, parts[i].value, parts[i].what);
        before = ", ";
    }
    if (*before == ',')
        fputc('\n', to);
}

static void text_ratio(FILE *to, const struct result *r)
{
    if (isnan(r->ratio))
        return;
    fprintf(to, "  %-10s  %.3f of the first's", r->ratio_of_cpu ? "CPU" : "throughput", r->ratio);
    if (isnan(r->ratio_low))
        fputs(" (too few slices for an interval)\n", to);
    else
        fprintf(to, ", 95%%: %.3f to %.3f\n", r->ratio_low, r->ratio_high);
}

static void text_faults(FILE *to, const struct faults *faults)
{
    if (faults_total(faults) == 0)
        return;
    fprintf(to, "  errors      %llu:", (unsigned long long)faults_total(faults));
    for (int i = 0; i < FAULTS; i++)
        if (faults->count[i] > 0)
            fprintf(to, " %s %llu", fault_name(i), (unsigned long long)faults->count[i]);
    fputc('\n', to);
}

static void report_text(FILE *to, const struct result *r)
{
    fprintf(to, "%s", r->target);
    if (strcmp(r->name, r->target) != 0)
        fprintf(to, " %s", r->name);
    fprintf(to, "\n  messages    %llu, %.0f a second\n", (unsigned long long)r->hist.count, r->messages_per_s);
    fprintf(to, "  latency us  p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  p99.99 %.1f  max %.1f  mean %.1f\n",
            micro(r, 50), micro(r, 90), micro(r, 99), micro(r, 99.9), micro(r, 99.99), (double)r->hist.max / 1e3,
            hist_mean(&r->hist) / 1e3);
    text_server(to, r);
    text_ratio(to, r);
    text_faults(to, &r->faults);
}

void report(FILE *to, const struct load_args *args, const struct result *results)
{
    if (args->form == FORM_CSV)
        csv_head(to);
    for (int i = 0; i < args->target_count; i++) {
        if (args->form == FORM_JSON)
            report_json(to, &results[i]);
        else if (args->form == FORM_CSV)
            report_csv(to, &results[i]);
        else
            report_text(to, &results[i]);
    }
}
