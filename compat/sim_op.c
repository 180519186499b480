/* Ops in flight over sockets in memory.
 *
 * Each op has one event. When it comes, the op looks at its socket as a kernel would: it ends, has a shot, moves some
 * bytes, or finds that it has to wait; then it waits until something about the socket changes. The owner's memory is
 * read and written at that time and not before, so that an owner who let go of it too early is found out; and the op
 * is compared with what it was at its start. */
#include "sim_op.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 8192 };     /* bytes of a send that are remembered at a time */

static struct wr_sim_flight *flight_of(const struct wr_op *op)
{
    return (struct wr_sim_flight *)(uintptr_t)op->world[0];
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

/* ---- What must stay as it is ---- */

static uint64_t sum_far(const struct wr_op *op)
{
    uint64_t sum = 0;
    const struct iovec *iov;
    size_t count = op->kind == WR_OP_SEND ? wr_op_pieces(op, &iov) : 0;
    for (size_t i = 0; i < count; i++) {
        sum = mix(sum, (uintptr_t)iov[i].iov_base);
        sum = mix(sum, iov[i].iov_len);
    }
    if (op->kind == WR_OP_CONNECT)
        for (size_t i = 0; i < op->u.connect.len; i++)
            sum = mix(sum, ((const unsigned char *)op->u.connect.addr)[i]);
    return sum;
}

static void check_op(const struct wr_sim_flight *f)
{
    const struct wr_op *op = f->op, *was = &f->was;
    wr_assert(op->in_flight && flight_of(op) == f);
    wr_assert(op->done == was->done && op->fd == was->fd && op->kind == was->kind && op->flags == was->flags);
    wr_assert(memcmp(&op->u, &was->u, sizeof op->u) == 0);
}

/* Walk over the next n bytes of a send, n being no more than there are: copy them to `copy`, or compare them. */
static bool walk(const struct wr_sim_flight *f, unsigned char *copy, const unsigned char *seen, size_t n)
{
    const struct iovec *iov;
    wr_op_pieces(&f->was, &iov);
    iov += f->piece;
    for (size_t at = f->at, done = 0, len; done < n; done += len, iov++, at = 0) {
        const unsigned char *data = iov->iov_base;
        len = wr_min(iov->iov_len - at, n - done);
        if (len > 0 && copy)
            memcpy(copy + done, data + at, len);
        if (len > 0 && seen && memcmp(seen + done, data + at, len) != 0)
            return false;
    }
    return true;
}

/* Without memory for a window nothing is remembered, and nothing is checked. */
static void open_window(struct wr_sim_flight *f)
{
    if (!f->window)
        f->window = wr_alloc(WINDOW);
    f->window_at = f->moved;
    f->window_len = f->window ? wr_min(f->total - f->moved, WINDOW) : 0;
    walk(f, f->window, NULL, f->window_len);
}

/* The frozen head: what was not moved yet is what was handed over. */
static void check_window(const struct wr_sim_flight *f)
{
    size_t seen = f->moved - f->window_at;
    if (seen < f->window_len)
        wr_assert(walk(f, NULL, f->window + seen, f->window_len - seen));
}

/* ---- Completions ---- */

static void post(struct wr_sim_flight *f, const struct wr_sim_shot *shot)
{
    struct wr_sim_world *w = f->w;
    struct weir_sim *sim = w->sim;
    wr_assert(!f->over && f->count < WR_SIM_SHOTS);
    f->shots[(f->first + f->count++) % WR_SIM_SHOTS] = *shot;
    uint64_t what = (uint64_t)f->was.kind << 40 | (uint64_t)shot->more << 32 | (uint32_t)shot->res;
    sim->digest = mix(mix(mix(sim->digest, what), (uint64_t)w->number << 32 | (uint32_t)f->was.fd), sim->now);
    f->silent = (f->was.flags & WR_OP_QUIET) && f->prompt && shot->res == (int)f->total;
    if (f->count == 1) {
        wr_list_push(&w->ready, &f->link);
        w->ready_count += !f->silent;
    }
    w->fresh = true;
    if (shot->more)
        return;
    f->over = true;
    wr_list_remove(&f->wait.link);
    wr_sim_event_unset(sim, &f->event);
}

static void post_end(struct wr_sim_flight *f, int64_t res)
{
    post(f, &(struct wr_sim_shot){.res = (int)res});
}

/* A MULTI op goes on after a good shot, as long as nothing makes it end. */
static bool goes_on(struct wr_sim_flight *f)
{
    return (f->was.flags & WR_OP_MULTI) && !wr_sim_strikes(f->w->sim, WEIR_SIM_END_MULTI);
}

/* ---- What an op does when its time has come ---- */

static void try_accept(struct wr_sim_flight *f)
{
    struct weir_sim *sim = f->w->sim;
    if (wr_sim_poll(f->sock) != 0 && wr_sim_strikes(sim, WEIR_SIM_ACCEPT)) {
        post_end(f, wr_sim_draw(sim, 2) ? -EMFILE : -ECONNABORTED);
        return;
    }
    int fd = wr_sim_accept(f->sock);
    if (fd >= 0)
        post(f, &(struct wr_sim_shot){.res = fd, .more = goes_on(f)});
    else if (fd != -EAGAIN)
        post_end(f, fd);
}

static void try_connect(struct wr_sim_flight *f)
{
    const struct wr_op *op = f->op;
    int res = -ECONNREFUSED;
    wr_assert(sum_far(op) == f->far_sum);
    if (f->sock->state != WR_SIM_NEW || !wr_sim_strikes(f->w->sim, WEIR_SIM_RESET))
        res = wr_sim_connect(f->sock, op->u.connect.addr, op->u.connect.len);
    if (res != -EAGAIN)
        post_end(f, res);
}

/* What a receive asks for: all that it has room for, or less. */
static size_t share(struct wr_sim_flight *f, size_t len)
{
    size_t n = wr_min(len, f->sock->in.len);
    return n > 0 && wr_sim_strikes(f->w->sim, WEIR_SIM_SHORT) ? wr_sim_part(f->w->sim, n) : len;
}

static void recv_into_pool(struct wr_sim_flight *f)
{
    struct wr_bufpool *pool = &f->w->base.pool;
    struct weir_sim *sim = f->w->sim;
    bool can_wait = f->sock->state == WR_SIM_CONNECTED || f->sock->state == WR_SIM_READER;
    if (can_wait && !(wr_sim_poll(f->sock) & (POLLIN | POLLERR | POLLHUP)))
        return;
    unsigned depth = f->op->flags & WR_OP_MULTI ? f->depth : 0;
    int id = wr_sim_strikes(sim, WEIR_SIM_NOBUFS) ? -1 : wr_bufpool_take_run(pool, depth);
    if (id < 0) {
        post_end(f, -ENOBUFS);
        return;
    }
    size_t room = wr_bufpool_room(pool, id), n = share(f, room);
    uint32_t off = n < room ? (uint32_t)wr_sim_draw(sim, room - n + 1) : 0;
    int64_t res = wr_sim_recv(f->sock, wr_bufpool_base(pool, id) + off, n);
    if (res > 0) {
        wr_bufpool_judge(pool, id, off + (size_t)res, &f->depth);
        struct wr_segment *seg = wr_bufpool_fill(pool, id);
        post(f, &(struct wr_sim_shot){.res = (int)res, .more = goes_on(f), .off = off, .seg = seg});
    } else {
        wr_bufpool_return(pool, id);
        post_end(f, res);
    }
}

static void try_recv(struct wr_sim_flight *f)
{
    if (!f->op->u.recv.base && f->sock->state != WR_SIM_WRITER) {
        recv_into_pool(f);
        return;
    }
    int64_t res = wr_sim_recv(f->sock, f->op->u.recv.base, share(f, f->op->u.recv.len));
    if (res != -EAGAIN)
        post_end(f, res);
}

/* Move up to max bytes, of one piece. How many, or an error. */
static int64_t move(struct wr_sim_flight *f, size_t max)
{
    const struct iovec *iov;
    wr_op_pieces(&f->was, &iov);
    for (; f->at == iov[f->piece].iov_len; f->at = 0)
        f->piece++;
    if (f->moved == f->window_at + f->window_len)
        open_window(f);
    size_t n = wr_min(max, iov[f->piece].iov_len - f->at);
    if (f->window_len > 0)
        n = wr_min(n, f->window_at + f->window_len - f->moved);
    int64_t res = wr_sim_send(f->sock, (unsigned char *)iov[f->piece].iov_base + f->at, n);
    if (res > 0) {
        f->moved += (size_t)res;
        f->at += (size_t)res;
    }
    return res;
}

/* Move up to max bytes. 0, -EAGAIN if the socket is full before, or an error; one that comes behind moved bytes is left
 * for the next op to find. */
static int64_t move_all(struct wr_sim_flight *f, size_t max)
{
    while (max > 0) {
        if (f->moved > 0 && (wr_sim_poll(f->sock) & POLLERR))
            return -EPIPE;
        int64_t res = move(f, max);
        if (res < 0)
            return res;
        max -= (size_t)res;
    }
    return 0;
}

/* As with MSG_WAITALL: it ends when all is moved, or for an error; or earlier, or moves its bytes bit by bit. */
static void try_send(struct wr_sim_flight *f)
{
    struct weir_sim *sim = f->w->sim;
    size_t left = f->total - f->moved, n = wr_min(left, wr_sim_room(f->sock));
    bool cut = n > 0 && wr_sim_strikes(sim, WEIR_SIM_SHORT), pause = n > 0 && wr_sim_strikes(sim, WEIR_SIM_REORDER);
    wr_assert(sum_far(f->op) == f->far_sum);
    check_window(f);
    int64_t res = move_all(f, cut || pause ? wr_sim_part(sim, n) : left);
    bool ends = f->moved == f->total || cut || (res < 0 && res != -EAGAIN);
    if (ends && (f->moved > 0 || res <= 0))
        post_end(f, f->moved > 0 ? (int64_t)f->moved : res);
    else if (pause)
        wr_sim_event_set(sim, &f->event, wr_add_sat(sim->now, wr_sim_lag(sim)));
}

/* Files are real ones. It moves what there is room for, piece by piece, and completes; or waits for room. */
static void try_file(struct wr_sim_flight *f)
{
    struct weir_sim *sim = f->w->sim;
    const struct wr_op *op = f->op;
    unsigned char data[WINDOW];
    size_t most = wr_min(op->u.file.len, wr_sim_room(f->sock)), moved = 0;
    if (most > 0 && wr_sim_strikes(sim, WEIR_SIM_SHORT))
        most = wr_sim_part(sim, most);
    int64_t res;
    do {
        size_t want = wr_min(wr_max(most - moved, 1), sizeof data);
        ssize_t n = pread(op->u.file.fd, data, want, (off_t)(op->u.file.at + moved));
        res = n > 0 ? wr_sim_send(f->sock, data, (size_t)n) : n < 0 ? -errno : 0;
        moved += res > 0 ? (size_t)res : 0;
    } while (res > 0 && moved < most);
    if (moved > 0 || res != -EAGAIN)
        post_end(f, moved > 0 ? (int64_t)moved : res);
}

static void try_poll(struct wr_sim_flight *f)
{
    unsigned events = wr_sim_poll(f->sock) & (f->op->u.events | POLLERR | POLLHUP);
    if (events != 0)
        post_end(f, (int64_t)events);
}

/* The number is free at once. No other op may be in flight on it. */
static void do_close(struct wr_sim_flight *f)
{
    struct wr_sim_sock *s = f->sock;
    f->sock = NULL;
    wr_list_remove(&f->wait.link);
    wr_sim_close(s, false);
    post_end(f, 0);
}

static void attempt(struct wr_sim_flight *f)
{
    if (!f->sock) {
        post_end(f, -EBADF);
        return;
    }
    switch (f->was.kind) {
    case WR_OP_ACCEPT:
        try_accept(f);
        break;
    case WR_OP_CONNECT:
        try_connect(f);
        break;
    case WR_OP_RECV:
        try_recv(f);
        break;
    case WR_OP_SEND:
        try_send(f);
        break;
    case WR_OP_SENDFILE:
        try_file(f);
        break;
    case WR_OP_SHUTDOWN:
        post_end(f, wr_sim_shutdown(f->sock, f->op->u.how));
        break;
    case WR_OP_CLOSE:
        do_close(f);
        break;
    default:
        try_poll(f);
    }
}

/* ---- When its time comes ---- */

/* Would an attempt do something now? */
static bool is_called(const struct wr_sim_flight *f)
{
    if (f->over || f->count == WR_SIM_SHOTS || !f->sock)
        return false;
    switch (f->was.kind) {
    case WR_OP_CONNECT:
        return wr_list_empty(&f->sock->place); /* waits for no listener */
    case WR_OP_ACCEPT:
    case WR_OP_RECV:
        return wr_sim_poll(f->sock) & (POLLIN | POLLERR | POLLHUP);
    case WR_OP_SEND:
    case WR_OP_SENDFILE:
        return wr_sim_poll(f->sock) & (POLLOUT | POLLERR | POLLHUP);
    case WR_OP_POLL:
        return wr_sim_poll(f->sock) & (f->was.u.events | POLLERR | POLLHUP);
    default:
        return false; /* they never wait */
    }
}

static void set_out(struct wr_sim_flight *f)
{
    struct weir_sim *sim = f->w->sim;
    uint64_t lag = wr_sim_strikes(sim, WEIR_SIM_REORDER) ? wr_sim_lag(sim) : 0;
    f->prompt = !f->tried && lag == 0;
    wr_sim_event_set(sim, &f->event, wr_add_sat(sim->now, lag));
}

static void look(struct wr_sim_wait *wait)
{
    struct wr_sim_flight *f = wr_home(wait, struct wr_sim_flight, wait);
    if (is_called(f))
        set_out(f);
}

/* What is left to do is done later: when it is called, and at its end at the latest. */
static void go_on(struct wr_sim_flight *f)
{
    struct weir_sim *sim = f->w->sim;
    if (f->over || f->count == WR_SIM_SHOTS)
        return;
    if (!f->event.set)
        look(&f->wait);
    if (f->end_at != UINT64_MAX)
        wr_sim_event_set(sim, &f->event, f->end_at > sim->now ? f->end_at : sim->now);
}

/* Its end has come, whether it was asked for or not. */
static void end(struct wr_sim_flight *f)
{
    if (f->was.kind == WR_OP_CONNECT && f->sock)
        wr_sim_give_up(f->sock);
    check_window(f);
    post_end(f, f->moved > 0 ? (int64_t)f->moved : f->end_res);
}

static bool sends(const struct wr_sim_flight *f)
{
    return f->was.kind == WR_OP_SEND || f->was.kind == WR_OP_SENDFILE;
}

static void its_time(struct wr_sim_event *e)
{
    struct wr_sim_flight *f = wr_home(e, struct wr_sim_flight, event);
    struct weir_sim *sim = f->w->sim;
    check_op(f);
    if (!f->op->cancelled && !(sim->faults & WEIR_SIM_AGAIN))
        f->end_at = UINT64_MAX; /* healed */
    if (f->count == WR_SIM_SHOTS)
        return; /* goes on when one of them is reaped */
    bool untried = f->op->cancelled && !f->tried && sends(f); /* as in a kernel: handed over before the cancel was */
    if (sim->now >= f->end_at && !untried) {
        end(f);
    } else {
        f->tried = true;
        attempt(f);
    }
    f->prompt = false;
    go_on(f);
}

/* ---- Start and cancel ---- */

static struct wr_sim_flight *new_flight(struct wr_sim_world *w)
{
    struct wr_list *node = wr_list_pop(&w->idle);
    struct wr_sim_flight *f = node ? wr_home(node, struct wr_sim_flight, link) : wr_alloc_zeroed(sizeof *f);
    if (!f)
        return NULL;
    *f = (struct wr_sim_flight){.w = w, .window = f->window, .end_at = UINT64_MAX};
    f->wait.look = look;
    f->event.fire = its_time;
    wr_list_init(&f->wait.link);
    wr_list_init(&f->link);
    return f;
}

/* No memory: it completes all the same, and a close frees its number. */
static void refuse(struct wr_sim_world *w, struct wr_op *op)
{
    struct wr_sim_sock *s = op->kind == WR_OP_CLOSE ? wr_sim_sock(w->sim, op->fd) : NULL;
    if (s)
        wr_sim_close(s, false);
    op->world[1] = s ? 0 : ENOMEM;
    wr_list_push(&w->refused, &op->link);
}

/* Some ops end although nothing has happened, at once or after a while. */
static void draw_end(struct wr_sim_flight *f)
{
    static const int for_nothing[] = {-EINTR, -EAGAIN, -ECANCELED};
    struct weir_sim *sim = f->w->sim;
    bool may = f->was.kind == WR_OP_ACCEPT || f->was.kind == WR_OP_RECV || f->was.kind == WR_OP_SEND ||
               f->was.kind == WR_OP_SENDFILE || f->was.kind == WR_OP_POLL;
    if (!may || !wr_sim_strikes(sim, WEIR_SIM_AGAIN))
        return;
    f->end_res = for_nothing[wr_sim_draw(sim, WR_COUNT(for_nothing))];
    f->end_at = wr_add_sat(sim->now, wr_sim_draw(sim, 2) ? wr_sim_lag(sim) : 0);
}

void wr_sim_take_off(struct wr_sim_world *w, struct wr_op *op)
{
    wr_assert(op->kind <= WR_OP_POLL);
    wr_assert(!(op->flags & WR_OP_MULTI) || op->kind == WR_OP_ACCEPT ||
              (op->kind == WR_OP_RECV && !op->u.recv.base));
    w->flying++;
    struct wr_sim_flight *f = new_flight(w);
    if (!f) {
        refuse(w, op);
        return;
    }
    f->op = op;
    op->world[0] = (uintptr_t)f;
    f->was = *op;
    f->far_sum = sum_far(op);
    f->total = op->kind == WR_OP_SEND ? wr_op_bytes(op) : 0;
    if (f->total > 0)
        open_window(f);
    f->sock = wr_sim_sock(w->sim, op->fd);
    if (f->sock)
        wr_list_push(&f->sock->waits, &f->wait.link);
    draw_end(f);
    set_out(f);
}

/* Without faults a cancel wins, unless the op has completed. A late one finds that it has, or how it does. */
void wr_sim_call_back(struct wr_sim_world *w, struct wr_op *op)
{
    struct weir_sim *sim = w->sim;
    struct wr_sim_flight *f = flight_of(op);
    if (!f || f->over || op->kind == WR_OP_SHUTDOWN || op->kind == WR_OP_CLOSE)
        return;
    f->end_res = -ECANCELED;
    f->end_at = wr_add_sat(sim->now, wr_sim_strikes(sim, WEIR_SIM_CANCEL) ? wr_sim_lag(sim) : 0);
    wr_sim_event_set(sim, &f->event, f->end_at);
}

void wr_sim_let_go(struct wr_sim_world *w, struct wr_sim_sock *s)
{
    for (struct wr_list *node = s->waits.next, *next; node != &s->waits; node = next) {
        struct wr_sim_flight *f = wr_home(node, struct wr_sim_flight, wait.link);
        next = node->next;
        if (f->w != w || f->was.kind != WR_OP_POLL || !f->op->cancelled)
            continue;
        wr_list_remove(node);
        f->sock = NULL;
        f->end_at = w->sim->now;
        wr_sim_event_set(w->sim, &f->event, f->end_at);
    }
}

/* ---- Landing ---- */

void wr_sim_hand_over(struct wr_sim_flight *f, struct wr_result *out)
{
    const struct wr_sim_shot *shot = &f->shots[f->first];
    check_op(f);
    *out = (struct wr_result){
        .op = f->op, .res = shot->res, .more = shot->more, .late = f->silent, .off = shot->off, .seg = shot->seg};
    f->first = (f->first + 1) % WR_SIM_SHOTS;
    f->count--;
    if (f->count > 0)
        wr_list_push(&f->w->ready, &f->link);
    else
        f->w->ready_count -= !f->silent;
    go_on(f);
    if (shot->more)
        return;
    wr_assert(f->over && f->count == 0);
    f->op->world[0] = 0;
    f->w->flying--;
    wr_list_push(&f->w->idle, &f->link);
}

void wr_sim_hand_over_refused(struct wr_sim_world *w, struct wr_op *op, struct wr_result *out)
{
    *out = (struct wr_result){.op = op, .res = -(int)op->world[1]};
    w->flying--;
}

void wr_sim_free_idle(struct wr_sim_world *w)
{
    struct wr_list *node;
    while ((node = wr_list_pop(&w->idle))) {
        struct wr_sim_flight *f = wr_home(node, struct wr_sim_flight, link);
        wr_free(f->window);
        wr_free(f);
    }
}
