/* A binary heap in an array; each timer knows its place, so that it can leave at once. */
#include "timers.h"

#include <errno.h>

void wr_timers_init(struct wr_timers *ts)
{
    *ts = (struct wr_timers){0};
}

void wr_timers_done(struct wr_timers *ts)
{
    wr_assert(ts->members == 0 && ts->count == 0);
    wr_free(ts->heap);
}

int wr_timers_join(struct wr_timers *ts, struct wr_timer *t, void (*fire)(struct wr_timer *t))
{
    if (ts->members + 1 >= ts->room) {
        uint32_t room = ts->room ? ts->room * 2 : 16;
        struct wr_timer **heap = wr_realloc(ts->heap, room * sizeof(*heap));
        if (!heap)
            return -ENOMEM;
        ts->heap = heap;
        ts->room = room;
    }
    ts->members++;
    *t = (struct wr_timer){.fire = fire};
    return 0;
}

static bool before(const struct wr_timer *a, const struct wr_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct wr_timers *ts, uint32_t slot, struct wr_timer *t)
{
    ts->heap[slot] = t;
    t->slot = slot;
}

static void sift_up(struct wr_timers *ts, uint32_t slot, struct wr_timer *t)
{
    for (; slot > 1 && before(t, ts->heap[slot / 2]); slot /= 2)
        put(ts, slot, ts->heap[slot / 2]);
    put(ts, slot, t);
}

static void sift_down(struct wr_timers *ts, uint32_t slot, struct wr_timer *t)
{
    for (uint32_t child; (child = slot * 2) <= ts->count; slot = child) {
        if (child < ts->count && before(ts->heap[child + 1], ts->heap[child]))
            child++;
        if (!before(ts->heap[child], t))
            break;
        put(ts, slot, ts->heap[child]);
    }
    put(ts, slot, t);
}

void wr_timers_unset(struct wr_timers *ts, struct wr_timer *t)
{
    uint32_t slot = t->slot;
    if (slot == 0)
        return;
    wr_assert(ts->heap[slot] == t);
    t->slot = 0;
    struct wr_timer *last = ts->heap[ts->count--];
    if (last == t)
        return;
    if (slot > 1 && before(last, ts->heap[slot / 2]))
        sift_up(ts, slot, last);
    else
        sift_down(ts, slot, last);
}

void wr_timers_leave(struct wr_timers *ts, struct wr_timer *t)
{
    wr_assert(ts->members > 0);
    wr_timers_unset(ts, t);
    ts->members--;
}

void wr_timers_set(struct wr_timers *ts, struct wr_timer *t, uint64_t at)
{
    wr_timers_unset(ts, t);
    wr_assert(ts->count < ts->members);
    t->at = at;
    t->order = ts->order++;
    sift_up(ts, ++ts->count, t);
}

uint64_t wr_timers_next(const struct wr_timers *ts)
{
    return ts->count > 0 ? ts->heap[1]->at : UINT64_MAX;
}

struct wr_timer *wr_timers_due(struct wr_timers *ts, uint64_t now, uint64_t order)
{
    if (ts->count == 0 || ts->heap[1]->at > now || ts->heap[1]->order >= order)
        return NULL;
    struct wr_timer *t = ts->heap[1];
    wr_timers_unset(ts, t);
    return t;
}

uint64_t wr_timers_beat(uint64_t at, uint64_t period, uint64_t now)
{
    uint64_t late = now > at ? now - at : 0;
    return wr_add_sat(at, (late / period + 1) * period);
}
