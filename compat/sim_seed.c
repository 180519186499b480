/* What the seed decides: draws, faults, sizes, and the order in which events come. */
#include "sim.h"

/* ---- Numbers ---- */

static uint64_t split(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void wr_sim_rng_seed(struct wr_sim_rng *r, uint64_t seed)
{
    for (size_t i = 0; i < WR_COUNT(r->s); i++)
        r->s[i] = split(&seed);
}

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

/* xoshiro256** */
uint64_t wr_sim_rng_next(struct wr_sim_rng *r)
{
    uint64_t *s = r->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t wr_sim_draw(struct weir_sim *sim, uint64_t n)
{
    wr_assert(n >= 1 && n <= (uint64_t)1 << 32);
    return (wr_sim_rng_next(&sim->chance) >> 32) * n >> 32;
}

bool wr_sim_strikes(struct weir_sim *sim, enum weir_sim_fault fault)
{
    if (!(sim->faults & (uint32_t)fault))
        return false;
    return wr_sim_draw(sim, 65536) < sim->odds[__builtin_ctz((unsigned)fault)];
}

uint64_t wr_sim_lag(struct weir_sim *sim)
{
    return 1 + wr_sim_draw(sim, (uint64_t)1 << wr_sim_draw(sim, sim->lag_log2 + 1));
}

/* One byte, almost all and anything between are where mistakes are made. */
size_t wr_sim_part(struct weir_sim *sim, size_t n)
{
    wr_assert(n >= 1);
    switch (wr_sim_draw(sim, 8)) {
    case 0:
        return 1;
    case 1:
        return n > 1 ? n - 1 : 1;
    default:
        return 1 + (size_t)wr_sim_draw(sim, n);
    }
}

/* ---- Faults and sizes ---- */

/* Half of the faults that may happen do not happen at all: the others are then seen in peace. */
static void draw_faults(struct weir_sim *sim, uint32_t allowed)
{
    for (unsigned bit = 0; bit < WR_SIM_FAULTS; bit++) {
        uint32_t on = (uint32_t)wr_sim_draw(sim, 2);
        sim->odds[bit] = 65536u >> (1 + wr_sim_draw(sim, 7));
        sim->faults |= (on << bit) & allowed;
    }
    sim->lag_log2 = 8 + (unsigned)wr_sim_draw(sim, 17);
}

static uint32_t draw_power(struct weir_sim *sim, unsigned lowest, unsigned highest)
{
    return 1u << (lowest + wr_sim_draw(sim, highest - lowest + 1));
}

/* What is drawn does not depend on the options, so that leaving a fault out leaves the rest as it was. */
void wr_sim_sow(struct weir_sim *sim, uint64_t seed, const struct weir_sim_options *opt)
{
    wr_sim_rng_seed(&sim->chance, seed);
    wr_sim_rng_seed(&sim->user, ~seed);
    draw_faults(sim, opt->faults);
    uint32_t least = draw_power(sim, 10, 17), socket_buffer = least + (uint32_t)wr_sim_draw(sim, least + 1);
    uint32_t buffers = draw_power(sim, 0, 6), buffer_size = draw_power(sim, 6, 15);
    sim->socket_buffer = opt->socket_buffer ? opt->socket_buffer : socket_buffer;
    sim->recv_buffers = opt->recv_buffers ? opt->recv_buffers : buffers;
    sim->recv_buffer_size = opt->recv_buffer_size ? opt->recv_buffer_size : buffer_size;
}

/* ---- Events: a pairing heap, without memory of its own ---- */

static bool is_before(const struct wr_sim_event *a, const struct wr_sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static struct wr_sim_event *meld(struct wr_sim_event *a, struct wr_sim_event *b)
{
    if (!a || !b)
        return a ? a : b;
    if (is_before(b, a)) {
        struct wr_sim_event *later = a;
        a = b;
        b = later;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Siblings become one heap: in pairs from the left, then all of these from the right. */
static struct wr_sim_event *meld_siblings(struct wr_sim_event *first)
{
    struct wr_sim_event *pairs = NULL, *all = NULL;
    while (first) {
        struct wr_sim_event *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct wr_sim_event *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        all = meld(all, pair);
    }
    return all;
}

void wr_sim_event_unset(struct weir_sim *sim, struct wr_sim_event *e)
{
    if (!e->set)
        return;
    struct wr_sim_event *rest = meld_siblings(e->child);
    if (e == sim->first) {
        sim->first = rest;
    } else {
        if (e->next)
            e->next->prev = e->prev;
        if (e->prev->child == e)
            e->prev->child = e->next;
        else
            e->prev->next = e->next;
        sim->first = meld(sim->first, rest);
    }
    e->child = e->next = e->prev = NULL;
    e->set = false;
}

/* Events of one moment come in the order in which they were set, give or take what REORDER does to it. */
void wr_sim_event_set(struct weir_sim *sim, struct wr_sim_event *e, uint64_t at)
{
    if (e->set && e->at <= at)
        return;
    wr_sim_event_unset(sim, e);
    wr_assert(at >= sim->now && e->fire);
    sim->order += 64;
    e->at = at;
    e->order = sim->order + (wr_sim_strikes(sim, WEIR_SIM_REORDER) ? wr_sim_draw(sim, 4096) : 0);
    e->set = true;
    sim->first = meld(sim->first, e);
}
