#include "helpers_tornado.h"

#include <string.h>

static void answered(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    if (status != 0)
        return;
    bool last = memmem(view.data, view.len, "HTTP/1.0", 8) != NULL;
    cr_assert_eq(weir_write(s, WEB_ANSWER, strlen(WEB_ANSWER), NULL, NULL), 0);
    if (last)
        cr_assert_eq(weir_stream_close(s, WEIR_CLOSE_FLUSH), 0);
    else
        cr_assert_eq(weir_read_until(s, "\r\n\r\n", 4, 0, answered, arg), 0);
}

static void served(struct weir_stream *s, int reason, void *arg)
{
    struct web *w = arg;
    (void)s;
    w->in.closed = 1;
    w->in.reason = reason;
}

static void entered(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct web *w = arg;
    (void)l;
    cr_assert_eq(status, 0);
    w->in = (struct party){.env = w->env, .name = "web", .s = s};
    weir_stream_on_close(s, served, w);
    if (w->env->layer)
        w->env->layer(NULL, s);
    cr_assert_eq(weir_read_until(s, "\r\n\r\n", 4, 0, answered, w), 0);
}

void web_open(struct web *w, struct env *e)
{
    *w = (struct web){.env = e, .in.closed = 1};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", &w->addr, &w->addr_len), 0);
    struct weir_listen_options opt = {.size = sizeof opt, .addr = (struct sockaddr *)&w->addr,
                                      .addr_len = w->addr_len};
    cr_assert_eq(weir_listen(e->loop, &opt, entered, w, &w->listener), 0);
    cr_assert_eq(weir_listener_address(w->listener, &w->addr, &w->addr_len), 0);
}

void web_connect(struct web *w, struct party *a, weir_connect_fn *fn)
{
    *a = (struct party){.env = w->env, .name = "a"};
    struct weir_stream_options opt = {.size = sizeof opt, .on_close = on_close, .on_close_arg = a};
    const struct sockaddr *addr = (struct sockaddr *)&w->addr;
    cr_assert_eq(weir_connect_addr(w->env->loop, addr, w->addr_len, &opt, fn, a, &a->s), 0);
    if (w->env->layer)
        w->env->layer(a->s, NULL);
}

void web_close(struct web *w, struct party *a)
{
    if (!a->closed)
        weir_stream_close(a->s, WEIR_CLOSE_NOW);
    run_until(w->env, &a->closed, 1);
    run_until(w->env, &w->in.closed, 1);
    cr_assert_eq(weir_listener_close(w->listener), 0);
}
