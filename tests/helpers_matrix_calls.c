/* The matrix' calls that need more than a line. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "helpers_matrix.h"

int fresh_socket(struct scene *m)
{
    int fd = m->loop->world->ops->socket(m->loop->world, AF_INET);
    holds(fd >= 0);
    return fd;
}

int open_stream(struct scene *m, struct subject *x)
{
    struct weir_stream *s;
    struct weir_stream_options opt = subject_options(x);
    int fd = fresh_socket(m), rc = weir_stream_open(m->loop, fd, &opt, &s);
    if (rc == 0)
        be_open(x, s);
    else
        m->loop->world->ops->discard(m->loop->world, fd);
    return rc;
}

int connect_new(struct scene *m, struct subject *x, struct claim *c, const struct sockaddr_storage *addr)
{
    struct weir_stream *s;
    struct weir_stream_options opt = subject_options(x);
    c->of = x;
    int rc = weir_connect_addr(m->loop, (const struct sockaddr *)addr, m->addr_len, &opt, wrote, c, &s);
    if (rc == 0)
        be_open(x, s);
    return rc;
}

int connect_this(struct scene *m, struct weir_stream *s, struct claim *c)
{
    return weir_stream_connect(s, (const struct sockaddr *)&m->addr, m->addr_len, wrote, c);
}

int write_reference(struct weir_stream *s, size_t len, struct claim *c)
{
    int rc = weir_write_ref(s, matrix_huge, len, released, wrote, c);
    c->release_owed += rc == 0;
    return rc;
}

int attach_layer(struct weir_stream *s)
{
    struct shy *l = malloc(sizeof *l);
    shy_init(l, 3, 3);
    int rc = weir_layer_attach(s, &shy_verbs, l);
    if (rc < 0)
        free(l);
    return rc;
}

int attach_and_wait(struct weir_stream *s, struct claim *c)
{
    int rc = attach_layer(s);
    return rc < 0 ? rc : weir_layer_wait(s, wrote, c);
}

int write_file(struct weir_stream *s, size_t len, struct claim *c)
{
    int rc = weir_write_file(s, c->m->file, HUGE_BYTES - len, len, let_go, wrote, c);
    c->release_owed += rc == 0;
    return rc;
}

int write_pieces(struct weir_stream *s, struct claim *c)
{
    struct iovec iov[3] = {{matrix_huge, 10}, {NULL, 0}, {matrix_huge + 20, 30}};
    return weir_writev(s, iov, 3, wrote, c);
}

/* The last call that weir_read_start owed is not owed any more. */
int stop_reading(struct scene *m, struct weir_stream *s)
{
    int rc = weir_read_stop(s);
    for (int i = 0; rc == 0 && i < m->claim_count; i++) {
        struct claim *c = &m->claims[i];
        if (c->of && c->of->s == s && c->chunks)
            c->owed = c->came;
    }
    return rc;
}

int start_chunks(struct weir_stream *s, struct claim *c)
{
    c->chunks = true;
    return weir_read_start(s, read_came, c);
}

int peek(struct weir_stream *s)
{
    struct weir_view view = {NULL, 0};
    int rc = weir_peek(s, &view);
    (void)sum_of(view);
    return rc;
}

int hold_view(struct scene *m, struct weir_stream *s)
{
    struct weir_view view = m->view;
    int rc = weir_view_hold(s, &view, &m->hold);
    m->held = view;
    m->held_sum = sum_of(view);
    return rc;
}

int hold_and_drop(struct scene *m, struct weir_stream *s)
{
    int rc = hold_view(m, s);
    struct weir_hold *hold = m->hold;
    m->hold = NULL;
    return rc < 0 ? rc : weir_view_drop(hold);
}

int replace_on_close(struct weir_stream *s, struct claim *c)
{
    return weir_stream_on_close(s, subject_closed, c->of);
}

int ask_facts(struct weir_stream *s)
{
    struct weir_stream_facts facts;
    return weir_stream_facts(s, &facts, sizeof facts);
}

int ask_address(struct weir_stream *s, int peer)
{
    struct sockaddr_storage addr;
    socklen_t len;
    return weir_stream_address(s, peer, &addr, &len);
}

int ask_listener(struct scene *m)
{
    struct sockaddr_storage addr;
    socklen_t len;
    return weir_listener_address(m->listener, &addr, &len);
}

int ask_stats(struct scene *m)
{
    struct weir_loop_stats stats;
    return weir_loop_stats(m->loop, &stats, sizeof stats);
}

int describe(struct scene *m)
{
    char text[64];
    return weir_loop_describe(m->loop, text, sizeof text);
}

int close_listener(struct scene *m)
{
    struct weir_listener *l = m->listener;
    m->listener = NULL;
    return weir_listener_close(l);
}

int start_periodic(struct scene *m, struct claim *c)
{
    c->any = true;
    return weir_timer_start(m->loop, 0, 1, fired, c, &m->other_timer);
}

int again(struct scene *m)
{
    return promise(m->timer_claim, weir_timer_again(m->timer, 0));
}

int stop_timer(struct scene *m)
{
    struct weir_timer *timer = m->timer;
    m->timer = NULL;
    m->timer_claim->any = false;
    m->timer_claim->owed = m->timer_claim->came;
    return weir_timer_stop(timer);
}

int read_pattern(struct weir_stream *s, struct claim *c)
{
    struct weir_regex *regex;
    int rc = weir_regex_open("\n+", 2, &regex);
    if (rc == 0) {
        rc = weir_read_until_regex(s, regex, 0, read_came, c);
        weir_regex_close(regex);
    }
    return rc;
}

int read_frame(struct weir_stream *s, struct claim *c)
{
    struct weir_frame frame = {.size = sizeof frame, .width = 1};
    return weir_read_frame(s, &frame, read_came, c);
}

int watch_again(struct scene *m)
{
    if (m->other_watch)
        return -EBUSY;
    return weir_watch_open(m->loop, m->watched, 0, stirred, m->watch_claim, &m->other_watch);
}

int stop_watch(struct scene *m)
{
    struct weir_watch *watch = m->watch;
    m->watch = NULL;
    return weir_watch_close(watch);
}

int open_signal(struct scene *m)
{
    return m->signal ? -EBUSY : weir_signal_open(m->loop, SIGUSR2, signalled, m->signal_claim, &m->signal);
}

int close_signal(struct scene *m)
{
    struct weir_signal *signal = m->signal;
    m->signal = NULL;
    return weir_signal_close(signal);
}

int open_another_context(struct scene *m)
{
    struct weir_context *context;
    struct weir_context_options opt = {.size = sizeof opt};
    int rc = weir_context_open(m->loop, &opt, &context);
    return rc < 0 ? rc : weir_context_close(context);
}

void count_call(void *arg)
{
    ++*(int *)arg;
}

/* The one call that calls from inside, by its purpose. */
int run_in_context(struct scene *m)
{
    int count = 0;
    m->in_call = false;
    int rc = weir_context_run(m->loop, m->context, count_call, &count);
    m->in_call = true;
    holds(count == (rc == 0));
    return rc;
}

int close_context(struct scene *m)
{
    give_up_context(m);
    return 0;
}
