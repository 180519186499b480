/* Owners of ops that obey engine/op.h: they start again what any world may end for nothing, and check
 * every completion against the contract. */
#include "helpers_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STARTS_MAX = 1000000, CANARY = 64, CANARY_BYTE = 0x5c, SPENT_BYTE = 0xa5 };

/* ---- Checks ---- */

static uint64_t vector_sum(const struct wr_op *op)
{
    uint64_t sum = 0;
    const struct iovec *piece;
    size_t count = op->kind == WR_OP_SEND ? wr_op_pieces(op, &piece) : 0;
    for (size_t i = 0; i < count; i++, piece++) {
        sum = sum * 31 + (uintptr_t)piece->iov_base;
        sum = sum * 31 + piece->iov_len;
    }
    return sum;
}

static size_t vector_len(const struct wr_op *op)
{
    const struct iovec *iov;
    size_t count = wr_op_pieces(op, &iov), len = 0;
    for (size_t i = 0; i < count; i++)
        len += iov[i].iov_len;
    return len;
}

static void check_recv(const struct act *a, const struct wr_result *r)
{
    const struct wr_bufpool *pool = &a->t->w->pool;
    if (a->plan.u.recv.base) {
        expect(a->t, r->seg == NULL && !r->more && r->res != -ENOBUFS);
        expect(a->t, r->res <= (int64_t)a->plan.u.recv.len);
        return;
    }
    expect(a->t, (r->seg != NULL) == (r->res > 0));
    expect(a->t, !r->more || r->res > 0);
    if (r->seg == NULL)
        return;
    const unsigned char *base = r->seg->base;
    expect_eq(a->t, r->seg->holds, 1);
    expect(a->t, r->off + (size_t)r->res <= r->seg->size);
    if (!r->seg->kind->shared && (a->plan.traits & WR_FD_PLAIN))
        return;
    expect(a->t, r->seg->kind->shared);
    expect(a->t, r->seg->size == pool->size || (a->plan.flags & WR_OP_MULTI));
    expect(a->t, r->off + (size_t)r->res + pool->size > r->seg->size); /* none of a run is empty */
    expect(a->t, base >= pool->memory && base + r->seg->size <= pool->memory + (size_t)pool->size * pool->count);
}

static void check_result(const struct act *a, const struct wr_result *r)
{
    const struct wr_op *plan = &a->plan;
    bool for_nothing = r->res == -EINTR || r->res == -EAGAIN;
    expect(a->t, a->t->serving && a->flying);
    expect(a->t, a->op.fd == plan->fd && a->op.kind == plan->kind && a->op.flags == plan->flags);
    expect(a->t, !r->more || ((plan->flags & WR_OP_MULTI) && r->res >= 0));
    expect(a->t, r->seg == NULL || plan->kind == WR_OP_RECV);
    if (plan->kind == WR_OP_RECV)
        check_recv(a, r);
    if (plan->kind == WR_OP_SEND) {
        expect(a->t, r->res != 0 && r->res <= (int64_t)vector_len(plan));
        expect_eq(a->t, vector_sum(plan), a->iov_sum);
    }
    if (plan->kind == WR_OP_CONNECT)
        expect(a->t, r->res <= 0 && !for_nothing && r->res != -EINPROGRESS && r->res != -EALREADY);
    if (plan->kind == WR_OP_SHUTDOWN || plan->kind == WR_OP_CLOSE)
        expect(a->t, r->res <= 0 && !for_nothing);
    if (plan->kind == WR_OP_POLL)
        expect(a->t, r->res != 0);
}

/* ---- Acts ---- */

static bool is_for_nothing(const struct act *a, int res)
{
    switch (a->plan.kind) {
    case WR_OP_CLOSE:       /* the fd is gone in any case */
        return false;
    case WR_OP_CONNECT:
    case WR_OP_SHUTDOWN:
        return res == -ECANCELED;
    default:
        return res == -EINTR || res == -EAGAIN || res == -ECANCELED ||
               (res == -ENOBUFS && a->plan.kind == WR_OP_RECV && a->plan.u.recv.base == NULL);
    }
}

static void act_done(struct wr_op *op, const struct wr_result *r)
{
    struct act *a = wr_home(op, struct act, op);
    check_result(a, r);
    if (!r->more) {
        /* The op is its owner's again, link and all: whoever still looks at it gets nonsense. */
        expect(a->t, wr_list_empty(&a->op.link));
        memset(&a->op, SPENT_BYTE, sizeof(a->op));
        a->flying = false;
        a->terminals++;
        a->t->flying--;
        expect_eq(a->t, a->terminals, a->starts);
    }
    if (!a->asked && !r->more && is_for_nothing(a, r->res)) {
        if (r->res == -ENOBUFS)
            wr_list_push(&a->t->starved, &a->wait);
        else
            act_start(a);
        return;
    }
    a->shots++;
    a->res = r->res;
    if (a->heard)
        a->heard(a, r);
    if (r->seg)
        wr_segment_drop(r->seg);
    if (r->more)
        return;
    if (a->keep && !a->enough && !a->asked && r->res > 0)
        act_start(a);
    else
        a->over = true;
}

void act_init(struct act *a, struct trial *t, enum wr_op_kind kind, int fd)
{
    memset(a, 0, sizeof(*a));
    a->t = t;
    a->plan.done = act_done;
    a->plan.kind = (uint8_t)kind;
    a->plan.fd = fd;
    a->plan.traits = trial_traits(t, fd);
    wr_list_init(&a->wait);
}

void act_start(struct act *a)
{
    uint64_t served = a->t->served;
    expect(a->t, !a->flying && !a->over && a->starts < STARTS_MAX);
    a->op = a->plan;
    a->iov_sum = vector_sum(&a->plan);
    a->flying = true;
    a->starts++;
    a->t->flying++;
    wr_start(a->t->w, &a->op);
    expect_eq(a->t, a->t->served, served);
}

void act_cancel(struct act *a)
{
    uint64_t served = a->t->served;
    a->asked = true;
    if (a->flying)
        wr_cancel(a->t->w, &a->op);
    else if (!a->over) {
        wr_list_remove(&a->wait);
        a->res = -ECANCELED;
        a->over = true;
    }
    expect_eq(a->t, a->t->served, served);
}

void act_revive(struct act *a)
{
    expect(a->t, a->over);
    a->over = a->asked = a->enough = false;
}

int act_end(struct act *a)
{
    until (a->t, a->over)
        ;
    return a->res;
}

bool act_is_empty(const struct act *a)
{
    return a->asked && (a->res == -ECANCELED || a->res == -EINTR || a->res == -EAGAIN || a->res == -ENOBUFS);
}

int act_once(struct trial *t, enum wr_op_kind kind, int fd, uint32_t how)
{
    struct act a;
    act_init(&a, t, kind, fd);
    if (kind == WR_OP_POLL)
        a.plan.u.events = how;
    if (kind == WR_OP_SHUTDOWN)
        a.plan.u.how = (int)how;
    act_start(&a);
    return act_end(&a);
}

void act_connect_to(struct act *a, const void *addr, socklen_t len)
{
    a->plan.u.connect.len = len;
    a->plan.u.connect.addr = addr;
}

/* Its owner wants no more: an op that goes on is cancelled, one that has ended is not started again. */
static void act_has_enough(struct act *a)
{
    a->enough = true;
    if (a->flying && !a->asked)
        act_cancel(a);
}

/* ---- Readers ---- */

static void reader_heard(struct act *a, const struct wr_result *res)
{
    struct reader *r = wr_home(a, struct reader, act);
    if (res->res <= 0)
        return;
    const unsigned char *data = res->seg ? res->seg->base + res->off : r->memory;
    expect_eq(a->t, pattern_match(r->key, r->got, data, (size_t)res->res), res->res);
    r->got += (uint64_t)res->res;
    if (r->hold && res->seg) {
        reader_release(r);
        wr_segment_hold(res->seg);
        r->held = res->seg;
    }
    if (r->stop && r->got >= r->stop)
        act_has_enough(a);
}

void reader_init(struct reader *r, struct trial *t, int fd, uint64_t key, enum reader_manner manner,
                 size_t memory_size)
{
    memset(r, 0, sizeof(*r));
    act_init(&r->act, t, WR_OP_RECV, fd);
    r->act.heard = reader_heard;
    r->act.keep = true;
    r->key = key;
    if (manner == INTO_POOL_MULTI)
        r->act.plan.flags = WR_OP_MULTI;
    if (manner != INTO_MEMORY)
        return;
    r->memory_size = memory_size;
    r->memory = malloc(memory_size + CANARY);
    memset(r->memory, CANARY_BYTE, memory_size + CANARY);
    r->act.plan.u.recv.base = r->memory;
    r->act.plan.u.recv.len = memory_size;
}

void reader_release(struct reader *r)
{
    if (r->held)
        wr_segment_drop(r->held);
    r->held = NULL;
}

void reader_done(struct reader *r)
{
    expect(r->act.t, r->act.over);
    reader_release(r);
    for (size_t i = 0; r->memory && i < CANARY; i++)
        expect_eq(r->act.t, r->memory[r->memory_size + i], CANARY_BYTE);
    free(r->memory);
}

/* ---- Writers ---- */

/* Offer what comes next, in pieces that are about the same; what was sent is spent. */
static void writer_offer(struct writer *s)
{
    size_t spent = (size_t)(s->sent - s->filled_at), at = 0;
    if (spent == s->filled) {
        s->filled_at = s->sent;
        s->filled = (size_t)wr_min(s->offer, s->total - s->sent);
        pattern_fill(s->key, s->filled_at, s->memory, s->filled);
        spent = s->spent = 0;
    }
    memset(s->memory + s->spent, SPENT_BYTE, spent - s->spent);
    s->spent = spent;
    size_t len = s->filled - spent, count = wr_min(s->pieces, len);
    for (size_t i = 0; i < count; i++) {
        size_t end = len * (i + 1) / count;
        s->iov[i] = (struct iovec){ s->memory + spent + at, end - at };
        at = end;
    }
    s->vector = (struct msghdr){ .msg_iov = s->iov, .msg_iovlen = count };
    s->act.plan.flags = s->pieces > 1 ? WR_OP_PIECES : 0;
    s->act.plan.flags |= !s->loud && trial_draw(s->act.t, 2) ? WR_OP_QUIET : 0;
    if (s->pieces > 1)
        s->act.plan.u.pieces = &s->vector;
    else
        s->act.plan.u.send = s->iov[0];
}

static void writer_heard(struct act *a, const struct wr_result *r)
{
    struct writer *s = wr_home(a, struct writer, act);
    if (r->res > 0)
        s->sent += (uint64_t)r->res;
    if (s->sent == s->total)
        act_has_enough(a);
    else if (r->res > 0)
        writer_offer(s);
}

void writer_init(struct writer *s, struct trial *t, int fd, uint64_t key, uint64_t total, size_t offer,
                 unsigned pieces)
{
    memset(s, 0, sizeof(*s));
    act_init(&s->act, t, WR_OP_SEND, fd);
    s->act.heard = writer_heard;
    s->act.keep = true;
    s->key = key;
    s->total = total;
    s->offer = offer;
    s->pieces = pieces;
    s->memory = malloc(offer);
    s->iov = calloc(pieces, sizeof(*s->iov));
}

void writer_start(struct writer *s)
{
    writer_offer(s);
    act_start(&s->act);
}

void writer_done(struct writer *s)
{
    expect(s->act.t, s->act.over);
    free(s->memory);
    free(s->iov);
}

/* ---- Takers ---- */

static void taker_heard(struct act *a, const struct wr_result *r)
{
    struct taker *k = wr_home(a, struct taker, act);
    if (r->res < 0)
        return;
    expect(a->t, k->count < TRIAL_FDS);
    trial_own(a->t, r->res, false);
    k->fds[k->count++] = r->res;
    if (k->count >= k->want)
        act_has_enough(a);
}

void taker_init(struct taker *k, struct trial *t, int fd, bool multi, unsigned want)
{
    memset(k, 0, sizeof(*k));
    act_init(&k->act, t, WR_OP_ACCEPT, fd);
    k->act.heard = taker_heard;
    k->act.keep = true;
    k->act.plan.flags = multi ? WR_OP_MULTI : 0;
    k->want = want;
    k->fds = calloc(TRIAL_FDS, sizeof(*k->fds));
}

void taker_done(struct taker *k)
{
    expect(k->act.t, k->act.over);
    free(k->fds);
}
