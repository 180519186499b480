#include <errno.h>
#include <string.h>
#include <time.h>

#include "load_protocol.h"

uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- Failing ---- */

static enum fault fault_by_code(int code, enum fault other)
{
    if (code == WEIR_ETLS || code == WEIR_ECERT)
        return FAULT_TLS;
    return code == -ETIMEDOUT ? FAULT_TIMEOUT : other;
}

void conn_fail(struct conn *c, enum fault fault, const char *why)
{
    struct weir_stream *s = c->s;
    if (c->broken)
        return;
    fault_add(&c->w->share->faults, fault, c->in_flight > 0 ? c->in_flight : 1, c->goal->where->name, why);
    c->w->busy -= c->in_flight + c->changing;
    c->in_flight = 0;
    c->changing = c->open = 0;
    c->broken = 1;
    c->s = NULL;
    if (!c->idle)
        c->w->share->live--;
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

/* ---- Opening ---- */

static void write_message(struct conn *c, size_t size)
{
    int rc = c->goal->protocol->write(c, size);
    if (rc < 0)
        conn_fail(c, FAULT_CLOSED, weir_strerror(rc));
}

/* What was sent before it was open, or what the connection before has not answered. */
static void write_all(struct conn *c)
{
    struct weir_stream *s = c->s;
    for (unsigned i = 0, n = c->in_flight; i < n && c->s == s; i++)
        write_message(c, conn_message(c, i)->size);
}

static void check_resumed(struct conn *c)
{
    struct weir_tls_facts facts = {0};
    if (!c->w->measuring || !c->w->churn || weir_tls_facts(c->s, &facts, sizeof facts) < 0)
        return;
    if (facts.resumed != c->w->load->args->resume)
        fault_add(&c->w->share->faults, FAULT_RESUMED, 1, c->goal->where->name,
                  facts.resumed ? "a session went on" : "the session did not go on");
}

static void on_open(struct weir_stream *s, int status, void *arg)
{
    struct conn *c = arg;
    if (s != c->s)
        return;
    if (status < 0) {
        conn_fail(c, fault_by_code(status, FAULT_CONNECT),
                  status == WEIR_ETLS ? weir_tls_error(s) : weir_strerror(status));
        return;
    }
    c->changing = 0;
    c->open = 1;
    c->w->busy--;
    c->waiting_since = clock_ns();
    check_resumed(c);
    if (c->goal->protocol->listen(c) < 0)
        conn_fail(c, FAULT_CLOSED, "it cannot be read from");
    else
        write_all(c);
}

/* ---- Ending ---- */

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct conn *c = arg;
    if (s != c->s)
        return;
    if (c->changing) {
        c->s = NULL;
        c->changing = 0;
        c->w->busy--;
        c->w->free(c, clock_ns());
        return;
    }
    const char *why = reason == WEIR_ETLS ? weir_tls_error(s) : weir_strerror(reason);
    conn_fail(c, fault_by_code(reason, c->received > 0 ? FAULT_SHORT : FAULT_CLOSED), why);
}

/* The one exchange of this connection is over. Its server ends it in its turn, after what tickets it has to give. */
static void finish(struct conn *c)
{
    c->open = 0;
    c->changing = 1;
    c->w->busy++;
    weir_shutdown(c->s);
}

void conn_renew(struct conn *c)
{
    struct weir_stream *s = c->s;
    if (c->w->churn || c->idle)
        return;
    c->s = NULL;
    c->open = 0;
    weir_stream_close(s, WEIR_CLOSE_NOW);
    if (c->in_flight > 1) /* the head is answered */
        conn_open(c);
}

void conn_open(struct conn *c)
{
    struct worker *w = c->w;
    const struct load_args *args = w->load->args;
    size_t high = args->sizes.high > 1 << 20 ? args->sizes.high : 1 << 20;
    struct weir_stream_options so = {.size = sizeof so, .on_close = on_close, .on_close_arg = c,
                                     .max_buffer_size = high,
                                     .max_write_buffer_size = protocol_queue(w->load, c->goal),
                                     .connect_timeout_ns = w->load->timeout_ns,
                                     .handshake_timeout_ns = w->load->timeout_ns};
    c->changing = 1;
    c->waiting_since = clock_ns();
    c->received = 0;
    w->busy++;
    int rc = weir_connect_addr(w->loop, (const struct sockaddr *)&c->goal->where->addr, c->goal->where->addr_len, &so,
                               on_open, c, &c->s);
    if (rc == 0 && w->load->tls)
        rc = weir_tls_start(c->s, w->load->tls, args->resume && !c->idle ? c->host : NULL);
    if (rc < 0)
        conn_fail(c, FAULT_CONNECT, weir_strerror(rc));
}

/* ---- Messages ---- */

void conn_send(struct conn *c, uint64_t now, uint64_t start)
{
    struct message *m = conn_message(c, c->in_flight);
    m->start = start;
    m->size = sizes_next(&c->w->sizes);
    c->w->busy++;
    if (c->in_flight++ == 0)
        c->waiting_since = now;
    if (c->open)
        write_message(c, m->size);
    else if (!c->changing)
        conn_open(c);
}

void conn_done(struct conn *c, uint64_t now)
{
    struct worker *w = c->w;
    hist_add(w->hist, now - conn_message(c, 0)->start);
    c->head++;
    c->in_flight--;
    c->received = 0;
    c->waiting_since = now;
    w->busy--;
    if (w->churn && !c->idle)
        finish(c);
    else
        w->free(c, now);
}
