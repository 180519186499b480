#include "helpers_case.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static uint64_t seed, state;

static void tell_seed(int sig)
{
    (void)sig;
    fprintf(stderr, "%s\n", drawn());
}

void draw_from(uint64_t from)
{
    seed = from;
    state = (seed + 1) * 0x9e3779b97f4a7c15u;
    signal(SIGABRT, tell_seed);
}

uint64_t draw(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

const char *drawn(void)
{
    static char text[32];
    snprintf(text, sizeof text, "seed %" PRIu64, seed);
    return text;
}
