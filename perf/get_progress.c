#include "get_progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_MAX = 50, LINE_SIZE = 256 };

/* Four characters and a unit: "1023 B", " 1.5 MiB". */
static void format_amount(double amount, char text[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; amount >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        amount /= 1024;
    snprintf(text, 16, unit > 0 && amount < 99.95 ? "%4.1f %s" : "%4.0f %s", amount, units[unit]);
}

static void format_time(double seconds, char text[16])
{
    unsigned s = seconds < 359999 ? (unsigned)(seconds + 0.5) : 359999;
    if (s < 3600)
        snprintf(text, 16, "%u:%02u", s / 60, s % 60);
    else
        snprintf(text, 16, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}

static void format_bar(double part, int width, char text[BAR_MAX + 1])
{
    int full = (int)(part * width);
    memset(text, ' ', (size_t)width);
    memset(text, '=', (size_t)full);
    if (full < width)
        text[full] = '>';
    text[width] = '\0';
}

int progress_format(char *text, size_t size, int columns, uint64_t done, int64_t total, uint64_t elapsed_ns)
{
    char amount[16], rate_text[16], left[16] = "-:--", bar[BAR_MAX + 1];
    double rate = elapsed_ns > 0 ? (double)done * 1e9 / (double)elapsed_ns : 0;
    double part = total > 0 ? (double)done / (double)total : 1;
    int width = columns - 50 < BAR_MAX ? columns - 50 : BAR_MAX; /* the rest takes less than 50 */
    int n;
    format_amount((double)done, amount);
    format_amount(rate, rate_text);
    if (total < 0) {
        n = snprintf(text, size, "%s  %s/s", amount, rate_text);
    } else {
        if (rate > 0 || part >= 1)
            format_time(part < 1 ? (double)((uint64_t)total - done) / rate : 0, left);
        format_bar(part < 1 ? part : 1, width > 0 ? width : 0, bar);
        n = snprintf(text, size, "%3d%% [%s] %s  %s/s  %s left", (int)(part * 100), bar, amount, rate_text, left);
    }
    if (n <= columns || (size_t)columns >= size)
        return n;
    text[columns] = '\0';
    return columns;
}

void progress_draw(uint64_t done, int64_t total, uint64_t elapsed_ns)
{
    struct winsize window;
    char line[LINE_SIZE];
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1 : 79;
    progress_format(line, sizeof line, columns, done, total, elapsed_ns);
    fprintf(stderr, "\r%s\033[K", line);
}
