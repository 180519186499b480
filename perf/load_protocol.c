#include "load_protocol.h"

#include <string.h>

#include "load_conn.h"
#include "load_memory.h"

enum { REF_FROM = 16384 };  /* larger messages are not copied */

static void unasked(struct conn *c)
{
    conn_fail(c, FAULT_MISMATCH, "it says what nobody has asked for");
}

static int write_bytes(struct conn *c, const unsigned char *bytes, size_t size)
{
    return size >= REF_FROM ? weir_write_ref(c->s, bytes, size, NULL, NULL, NULL)
                            : weir_write(c->s, bytes, size, NULL, NULL);
}

/* ---- Echo: what was sent comes back ---- */

static int write_echo(struct conn *c, size_t size)
{
    return write_bytes(c, c->w->payload, size);
}

static void on_echo(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = arg;
    const unsigned char *p = view.data, *payload = c->w->payload;
    (void)s;
    if (status < 0)
        return; /* on_close tells */
    uint64_t now = clock_ns();
    for (size_t n, left = view.len; left > 0; left -= n, p += n) {
        if (c->in_flight == 0) {
            unasked(c);
            return;
        }
        size_t due = conn_message(c, 0)->size - c->received;
        n = due < left ? due : left;
        if (memcmp(p, payload + c->received, n) != 0) {
            conn_fail(c, FAULT_MISMATCH, "the echo differs");
            return;
        }
        if (n == due)
            conn_done(c, now);
        else
            c->received += n;
    }
}

static int listen_echo(struct conn *c)
{
    return weir_read_start(c->s, on_echo, c);
}

/* ---- Lines: the same, read line by line ---- */

static const unsigned char *line_of(const struct conn *c, size_t size)
{
    return c->w->payload + c->w->load->args->sizes.high - size;
}

static int write_line(struct conn *c, size_t size)
{
    return write_bytes(c, line_of(c, size), size);
}

static int listen_line(struct conn *c);

static void on_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = arg;
    struct weir_stream_facts facts;
    if (s != c->s)
        return;
    if (status == WEIR_EUNSATISFIABLE) {
        conn_fail(c, FAULT_MISMATCH, "a line is longer than any that was sent");
    } else if (status < 0) {
        if (weir_stream_facts(s, &facts, sizeof facts) == 0)
            c->received = facts.buffered;
    } else if (c->in_flight == 0) {
        unasked(c);
    } else if (view.len != conn_message(c, 0)->size || memcmp(view.data, line_of(c, view.len), view.len) != 0) {
        conn_fail(c, FAULT_MISMATCH, "the line differs");
    } else {
        conn_done(c, clock_ns());
        if (c->s == s)
            listen_line(c);
    }
}

static int listen_line(struct conn *c)
{
    return weir_read_until(c->s, "\n", 1, c->w->load->args->sizes.high, on_line, c);
}

/* ---- HTTP ---- */

static int write_request(struct conn *c, size_t size)
{
    (void)size;
    return weir_write(c->s, c->goal->request, c->goal->request_len, NULL, NULL);
}

static void answered(struct conn *c)
{
    const struct reply *r = &c->reply;
    if (r->status < 200 || r->status > 299) {
        char why[16];
        snprintf(why, sizeof why, "%d", r->status);
        fault_add(&c->w->share->faults, FAULT_STATUS, 1, c->goal->where->name, why);
    }
    if (!r->persists)
        conn_renew(c);
    conn_done(c, clock_ns());
}

static void on_answers(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = arg;
    const char *at = view.data;
    size_t left = view.len, used;
    while (s == c->s && left > 0 && status == 0) {
        int rc = c->in_flight > 0 ? reply_take(&c->reply, at, left, &used) : -1;
        if (rc < 0 && c->in_flight == 0)
            unasked(c);
        else if (rc < 0)
            conn_fail(c, FAULT_MALFORMED, "this is no HTTP");
        if (rc < 0)
            return;
        at += used;
        left -= used;
        c->received += used;
        if (rc > 0)
            answered(c);
    }
    if (s == c->s && status == WEIR_EOF && reply_ends(&c->reply))
        answered(c);
}

static int listen_answers(struct conn *c)
{
    reply_drop(&c->reply);
    return weir_read_start(c->s, on_answers, c);
}

/* ---- Handshakes: nothing is said, and what is heard does not matter ---- */

static int write_nothing(struct conn *c, size_t size)
{
    (void)size;
    conn_done(c, clock_ns());
    return 0;
}

static void on_anything(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)status, (void)view, (void)arg;
}

static int listen_anything(struct conn *c)
{
    return weir_read_start(c->s, on_anything, c);
}

/* ---- What is needed beforehand ---- */

const struct protocol *protocol_of(const struct load_args *args)
{
    static const struct protocol protocols[] = {
        [LOAD_ECHO] = {listen_echo, write_echo},
        [LOAD_LINE] = {listen_line, write_line},
        [LOAD_HTTP] = {listen_answers, write_request},
    }, handshake = {listen_anything, write_nothing};
    return args->churn == CHURN_HANDSHAKE ? &handshake : &protocols[args->protocol];
}

unsigned char *protocol_payload(const struct load_args *args)
{
    size_t size = args->sizes.high;
    unsigned char *payload = load_memory(1, size);
    for (size_t i = 0; i < size; i++)
        payload[i] = (unsigned char)(args->protocol == LOAD_LINE ? ' ' + (i * 131 + (i >> 8) * 7) % 95
                                                                  : i * 131 + (i >> 8) * 7);
    if (args->protocol == LOAD_LINE)
        payload[size - 1] = '\n';
    return payload;
}

size_t protocol_queue(const struct load *load, const struct goal *goal)
{
    size_t size = goal->request ? goal->request_len : load->args->sizes.high;
    return (size + 1) * (size_t)load->args->depth;
}

void protocol_request(const struct load_args *args, struct goal *goal)
{
    const char *where = goal->where->where;
    size_t size = strlen(args->path) + strlen(where) + 64;
    if (args->protocol != LOAD_HTTP)
        return;
    goal->request = load_memory(1, size);
    goal->request_len = (size_t)snprintf(goal->request, size, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", args->path,
                                         strncmp(where, "unix:", 5) == 0 ? "localhost" : where);
}
