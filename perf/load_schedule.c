#include "load_schedule.h"

void schedule_begin(struct schedule *s, uint64_t start, double rate, double seconds, unsigned loop, unsigned loops)
{
    double count = rate * seconds;
    uint64_t whole = (uint64_t)count;
    *s = (struct schedule){.start = start, .interval_ns = 1e9 / rate, .next = loop, .step = loops};
    s->end = (double)whole + 1e-6 < count ? whole + 1 : whole;
}

uint64_t schedule_left(const struct schedule *s)
{
    return s->next < s->end ? (s->end - s->next + s->step - 1) / s->step : 0;
}
