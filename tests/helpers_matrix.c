#include "helpers_matrix.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"

enum { PATIENCE = 1000, TURNS_AFTER = 8, HIGH_WATER = 1000, LOW_WATER = 100 };

unsigned char matrix_huge[HUGE_BYTES], matrix_memory[MEMORY_BYTES];
char matrix_where[256];

/* ---- Promises ---- */

struct claim *new_claim(struct scene *m, struct subject *of)
{
    holds(m->claim_count < CLAIMS);
    m->claims[m->claim_count] = (struct claim){.m = m, .of = of};
    return &m->claims[m->claim_count++];
}

struct subject *new_subject(struct scene *m)
{
    holds(m->subject_count < SUBJECTS);
    m->subjects[m->subject_count] = (struct subject){.m = m, .closed = 1};
    return &m->subjects[m->subject_count++];
}

int promise(struct claim *c, int rc)
{
    c->owed += rc == 0;
    return rc;
}

static void drained(struct weir_stream *s, void *subject);

struct weir_stream_options subject_options(struct subject *x)
{
    return (struct weir_stream_options){.size = sizeof(struct weir_stream_options),
                                        .write_high_water = HIGH_WATER,
                                        .write_low_water = LOW_WATER,
                                        .on_drain = drained,
                                        .on_drain_arg = x};
}

void be_open(struct subject *x, struct weir_stream *s)
{
    x->s = s;
    x->closed = 0;
    holds(weir_stream_on_close(s, subject_closed, x) == 0);
}

/* ---- Callbacks ---- */

static void trigger(struct scene *m, const void *what)
{
    if (!m->armed || m->trigger != what || m->acted)
        return;
    m->acted = true;
    m->act(m);
}

/* `last`: it is one that is counted. */
static void answer(struct claim *c, bool last)
{
    holds(!c->m->in_call);
    holds(!c->of || !c->of->closed);
    c->came += last;
    holds(c->any || c->came + !last <= c->owed);
    trigger(c->m, c);
}

uint64_t sum_of(struct weir_view view)
{
    return digest_of(view.data, view.len);
}

void read_came(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct claim *c = arg;
    uint64_t sum = sum_of(view);
    holds(s == c->of->s);
    c->m->view = view;
    answer(c, !c->chunks || status != 0);
    c->m->view = (struct weir_view){NULL, 0};
    holds(sum_of(view) == sum);
}

void wrote(struct weir_stream *s, int status, void *arg)
{
    struct claim *c = arg;
    (void)status;
    holds(s == c->of->s);
    answer(c, true);
}

void released(const void *data, size_t len, void *arg)
{
    struct claim *c = arg;
    holds(data == matrix_huge && len <= HUGE_BYTES);
    holds(!c->m->in_call);
    holds(!c->of->closed);
    holds(++c->released <= c->release_owed);
    trigger(c->m, &c->released);
}

void let_go(int fd, void *arg)
{
    struct claim *c = arg;
    holds(fd == c->m->file);
    released(matrix_huge, 0, c);
}

void called(void *arg)
{
    answer(arg, true);
}

void fired(struct weir_timer *timer, void *arg)
{
    (void)timer;
    answer(arg, true);
}

void signalled(struct weir_signal *signal, int signo, void *arg)
{
    struct claim *c = arg;
    holds(signal == c->m->signal && signo == SIGUSR2);
    answer(c, true);
}

void stirred(struct weir_watch *watch, int status, unsigned events, void *arg)
{
    struct claim *c = arg;
    holds(watch == c->m->watch && status == 0 && events != 0);
    answer(c, true);
}

static void drained(struct weir_stream *s, void *arg)
{
    struct subject *x = arg;
    holds(!x->m->in_call);
    holds(!x->closed && s == x->s);
    x->drained++;
    trigger(x->m, &x->drained);
}

void subject_closed(struct weir_stream *s, int reason, void *arg)
{
    struct subject *x = arg;
    (void)reason;
    holds(!x->m->in_call);
    holds(!x->closed && s == x->s);
    for (int i = 0; i < x->m->claim_count; i++) {
        const struct claim *c = &x->m->claims[i];
        holds(c->of != x || (c->came == c->owed && c->released == c->release_owed));
    }
    trigger(x->m, x);
    x->closed = 1;
}

void accepted(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct scene *m = arg;
    (void)l;
    holds(!m->in_call);
    holds(status == 0);
    struct subject *x = new_subject(m);
    be_open(x, s);
    if (m->trigger == m && !m->acted)
        m->own = x;
    else if (!m->peer)
        m->peer = x;
    trigger(m, m);
}

static void context_entered(void *arg)
{
    struct scene *m = arg;
    holds(!m->in_call && !m->forgotten);
    m->entered++;
    trigger(m, &m->entered);
}

static void context_left(void *arg)
{
    struct scene *m = arg;
    holds(!m->in_call && !m->forgotten);
    m->left++;
    trigger(m, &m->left);
}

/* Inside weir_context_fail. */
static int context_failed(int code, void *arg)
{
    struct scene *m = arg;
    holds(code < 0 && !m->forgotten);
    m->failed++;
    trigger(m, &m->failed);
    return 1;
}

static void context_forgotten(void *arg)
{
    struct scene *m = arg;
    holds(m->forgotten == 0 && !m->context);
    m->forgotten++;
    trigger(m, &m->forgotten);
}

/* ---- A scene ---- */

static int open_context(struct scene *m)
{
    struct weir_context_options opt = {.size = sizeof opt,
                                       .enter = context_entered,
                                       .leave = context_left,
                                       .on_error = context_failed,
                                       .release = context_forgotten,
                                       .arg = m};
    return weir_context_open(m->loop, &opt, &m->context);
}

void give_up_context(struct scene *m)
{
    struct weir_context *context = m->context;
    m->context = NULL;
    holds(weir_context_close(context) == 0);
}

int listen_anew(struct scene *m, struct weir_listener **ret)
{
    struct sockaddr_storage addr;
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&addr};
    holds(weir_addr_parse("127.0.0.1:0", &addr, &opt.addr_len) == 0);
    return weir_listen(m->loop, &opt, accepted, m, ret);
}

void scene_open(struct scene *m)
{
    struct weir_loop_options opt = {.size = sizeof opt};
    m->live_before = wr_mem_live();
    m->fds_before = open_fds();
    m->file = memfd_create("bytes", MFD_CLOEXEC);
    holds(m->file >= 0 && ftruncate(m->file, HUGE_BYTES) == 0);
    if (strcmp(m->world, "sim") == 0) {
        holds(weir_sim_open(1, NULL, &m->sim) == 0);
        holds(weir_sim_loop_open(m->sim, NULL, &m->loop) == 0);
    } else {
        opt.backend = strcmp(m->world, "epoll") == 0 ? WEIR_BACKEND_EPOLL : WEIR_BACKEND_URING;
        holds(weir_loop_open(&opt, &m->loop) == 0);
    }
    holds(listen_anew(m, &m->listener) == 0);
    holds(weir_listener_address(m->listener, &m->addr, &m->addr_len) == 0);
    m->timer_claim = new_claim(m, NULL);
    holds(weir_timer_start(m->loop, 3600000000000u, 0, fired, m->timer_claim, &m->timer) == 0);
    m->signal_claim = new_claim(m, NULL);
    m->signal_claim->any = true;
    m->watch_claim = new_claim(m, NULL);
    m->watched = fresh_socket(m);
    holds(weir_watch_open(m->loop, m->watched, 0, stirred, m->watch_claim, &m->watch) == 0);
    m->extra = new_subject(m);
    holds(open_context(m) == 0);
}

static void turn(struct scene *m)
{
    int rc = weir_loop_run_once(m->loop, 100000000);
    cr_assert(rc >= 0, "%s: %s", matrix_where, weir_strerror(rc));
}

void scene_play(struct scene *m)
{
    for (int turns = 0; m->loop && !m->acted; turns++) {
        cr_assert(turns < PATIENCE, "%s: it never came", matrix_where);
        turn(m);
    }
    holds(m->acted);
    for (int turns = 0; m->loop && turns < TURNS_AFTER; turns++)
        holds(weir_loop_run_once(m->loop, 0) >= 0);
}

static void drop_hold(struct scene *m)
{
    struct weir_hold *hold = m->hold;
    m->hold = NULL;
    holds(!hold || sum_of(m->held) == m->held_sum);
    holds(weir_view_drop(hold) == 0);
}

void close_loop(struct scene *m)
{
    give_up_context(m);
    close_signal(m);
    weir_watch_close(m->watch);
    weir_watch_close(m->other_watch);
    m->watch = m->other_watch = NULL;
    m->loop->world->ops->discard(m->loop->world, m->watched);
    int rc = weir_loop_close(m->loop);
    if (m->hold) {
        holds(rc == -EBUSY);
        drop_hold(m);
        rc = weir_loop_close(m->loop);
    }
    holds(rc == 0);
    m->loop = NULL;
}

/* The streams end before the loop is closed, so that it is not the loop that ends them. */
static void end_world(struct scene *m)
{
    struct weir_loop_stats stats;
    weir_listener_close(m->listener);
    weir_listener_close(m->other_listener);
    weir_timer_stop(m->other_timer);
    for (int turns = 0; weir_loop_stats(m->loop, &stats, sizeof stats) == 0 && stats.streams > 0; turns++) {
        cr_assert(turns < PATIENCE, "%s: %u streams do not end", matrix_where, stats.streams);
        for (int i = 0; i < m->subject_count; i++)
            if (!m->subjects[i].closed)
                weir_stream_close(m->subjects[i].s, WEIR_CLOSE_NOW);
        turn(m);
    }
    drop_hold(m);
    holds(weir_loop_stats(m->loop, &stats, sizeof stats) == 0);
    holds(stats.buffers_free == m->loop->world->pool.count);
    close_loop(m);
}

static void check_promises(const struct scene *m)
{
    for (int i = 0; i < m->claim_count; i++) {
        const struct claim *c = &m->claims[i];
        cr_assert(c->any || c->came == c->owed, "%s: %d calls back, not %d", matrix_where, c->came, c->owed);
        cr_assert(c->released == c->release_owed, "%s: %d releases, not %d", matrix_where, c->released,
                  c->release_owed);
    }
    for (int i = 0; i < m->subject_count; i++)
        cr_assert(m->subjects[i].closed, "%s: no on_close", matrix_where);
    cr_assert(m->entered == m->left, "%s: %d times entered, %d left", matrix_where, m->entered, m->left);
    cr_assert(m->forgotten == 1, "%s: the context is still there", matrix_where);
}

void scene_close(struct scene *m)
{
    if (m->loop)
        end_world(m);
    check_promises(m);
    if (m->sim)
        cr_assert(weir_sim_close(m->sim) == 0, "%s: sockets left open", matrix_where);
    cr_assert(wr_mem_live() == m->live_before, "%s: %d blocks left", matrix_where,
              (int)(wr_mem_live() - m->live_before));
    close(m->file);
    cr_assert(open_fds() == m->fds_before, "%s: %d descriptors left", matrix_where, open_fds() - m->fds_before);
}
