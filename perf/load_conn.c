#include "load_conn.h"

#include <errno.h>

#include "load_protocol.h"

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
    c->changing = 0;
    conn_rest(c);
    c->broken = 1;
    c->s = NULL;
    if (!c->idle)
        c->w->share->live--;
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

void conn_refused(struct conn *c, int code)
{
    conn_fail(c, FAULT_CLOSED, weir_strerror(code));
}

/* ---- Opening ---- */

/* What was sent before it was open, or what the connection before has not answered. */
static void write_all(struct conn *c)
{
    struct weir_stream *s = c->s;
    for (unsigned i = 0, n = c->in_flight; i < n && c->s == s; i++) {
        int rc = c->w->load->protocol->write(c, conn_message(c, i)->size);
        if (rc < 0)
            conn_refused(c, rc);
    }
}

/* A session goes on from the second connection on, if it is to, and never if not. */
static void check_resumed(struct conn *c)
{
    struct weir_tls_facts facts = {0};
    int wanted = c->w->load->args->resume && c->known;
    if (!c->w->churn || weir_tls_facts(c->s, &facts, sizeof facts) < 0)
        return;
    if (facts.resumed != wanted)
        fault_add(&c->w->share->faults, FAULT_RESUMED, 1, c->goal->where->name,
                  wanted ? "the session did not go on" : "a session went on");
    c->known = 1;
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
    c->write = c->w->load->protocol->write;
    c->w->busy--;
    c->waiting_since = clock_ns();
    check_resumed(c);
    if (c->w->load->protocol->listen(c) < 0)
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

/* The server ends it in its turn, after what tickets it has to give. */
void conn_finish(struct conn *c)
{
    conn_rest(c);
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
    conn_rest(c);
    weir_stream_close(s, WEIR_CLOSE_NOW);
    if (c->in_flight > 1) /* the head is answered */
        conn_open(c);
}

static int write_later(struct conn *c, size_t size)
{
    (void)size;
    if (!c->changing)
        conn_open(c);
    return 0;
}

void conn_rest(struct conn *c)
{
    c->write = write_later;
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
