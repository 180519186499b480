/* Reads: asked for at random, and held to what they must give. */
#include "plain_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Bytes ---- */

static void check_text(uint64_t key, uint64_t from, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        if (p[i] != byte_at(key, from + i))
            fail("wrong byte at offset %llu", (unsigned long long)(from + i));
}

void check_bytes(struct side *x, struct weir_view v)
{
    must(x->got + v.len <= x->peer->sent);
    check_text(x->peer->key, x->got, v.data, v.len);
    x->got += v.len;
    total_bytes += v.len;
}

/* What has come and was not read, as the program sees it. It does not know how much of it is in its own memory. */
void look(struct side *x)
{
    struct weir_view v;
    must(ask(weir_peek(x->s, &v)) == 0 && v.len == facts_of(x).buffered);
    must(x->got + v.len <= x->peer->sent);
    if (x->read.kind != 'i' && x->read.kind != 'p')
        check_text(x->peer->key, x->got, v.data, v.len);
}

/* ---- Memory that the library may write to until the callback, and no longer ---- */

static void lend_memory(struct side *x, size_t n)
{
    check_memory(x);
    free(x->memory);
    x->memory = malloc(n + 1);
    must(x->memory);
    memset(x->memory, '#', n + 1);
    x->memory_len = n + 1;
    x->memory_got = 0;
}

/* Behind what was told there is nothing. */
void check_memory(struct side *x)
{
    for (size_t i = x->memory_got; x->memory && i < x->memory_len; i++)
        must(x->memory[i] == '#');
}

static void take_memory(struct side *x, struct weir_view v)
{
    must(v.data == x->memory && v.len < x->memory_len);
    x->memory_got = v.len;
    check_memory(x);
}

/* ---- Views that are kept ---- */

static void hold_some(struct side *x, struct weir_view v)
{
    struct held *h = &t.held[draw(HOLDS_MAX)];
    if (h->hold || t.evicting)
        return;
    size_t off = (size_t)draw(v.len), len = 1 + (size_t)draw(v.len - off);
    h->view = (struct weir_view){(const char *)v.data + off, len};
    must(ask(weir_view_hold(x->s, &h->view, &h->hold)) == 0 && h->view.len == len);
    h->key = x->peer->key;
    h->at = x->got + off;
}

void check_holds(void)
{
    for (int i = 0; i < HOLDS_MAX; i++)
        if (t.held[i].hold)
            check_text(t.held[i].key, t.held[i].at, t.held[i].view.data, t.held[i].view.len);
}

void drop_holds(unsigned percent)
{
    for (int i = 0; i < HOLDS_MAX; i++) {
        struct held *h = &t.held[i];
        if (!h->hold || !chance(percent))
            continue;
        check_text(h->key, h->at, h->view.data, h->view.len);
        must(ask(weir_view_drop(h->hold)) == 0);
        h->hold = NULL;
    }
}

/* ---- What a read may tell ---- */

static bool is_searched(int kind)
{
    return kind == 'u' || kind == 'r' || kind == 'f';
}

/* The peer's bytes that the read may go by. */
static size_t expected(const struct side *x, const struct read_rec *r, size_t len, int *ret_code)
{
    return expected_end(r, x->peer->key, x->got, len, ret_code);
}

/* It ends where it must in all that was sent, or in what has come of that before the peer's end. */
static bool is_found(const struct side *x, const struct read_rec *r, size_t len)
{
    int code;
    return len == expected(x, r, (size_t)(x->peer->sent - x->got), &code) ||
           (is_reason(x, WEIR_EOF) && len == expected(x, r, len + facts_of(x).buffered, &code));
}

static void check_good(struct side *x, const struct read_rec *r, struct weir_view v)
{
    if (r->kind == 'b' || r->kind == 'i')
        must(v.len == r->n);
    else if (r->kind == 's')
        must(v.len >= 1 && (r->n == 0 || v.len <= r->n));
    else if (r->kind == 'p')
        must((v.len >= 1 || r->n == 0) && v.len <= r->n);
    else if (r->kind == 'k')
        must(v.len >= 1);
    else if (is_searched(r->kind))
        must(v.len <= r->n && is_found(x, r, v.len));
    else
        must(r->kind == 'c' && v.len <= x->opt.max_buffer_size);
    must(!r->cancelled);
}

/* Its limit was passed: it does not end within so many bytes of those that have come. */
static void check_limit(struct side *x, const struct read_rec *r, int status, struct weir_view v)
{
    struct weir_stream_facts f = facts_of(x);
    int code = WEIR_EBUFFULL;
    if (r->kind == 'c')
        must(f.buffered + v.len > x->opt.max_buffer_size && v.len <= x->opt.max_buffer_size);
    else
        must(is_searched(r->kind) && (expected(x, r, f.buffered, &code), code == status));
    must(code == status);
    if (x->opt.limit_keeps) {
        must(v.len == 0 && f.error != status);
    } else {
        must(f.closed);
        x->broke = f.error == status ? status : x->broke;
    }
}

/* The peer's end came first, behind what is buffered. */
static void check_unsatisfied(struct side *x, const struct read_rec *r)
{
    size_t n = facts_of(x).buffered;
    int code;
    if (r->kind == 'b')
        must(n < r->n);
    else if (is_searched(r->kind))
        must(n == 0 || (expected(x, r, n, &code) == SIZE_MAX && code == 0));
    else
        must(n == 0);
}

/* The peer ended in good order: what it was allowed to send must all have come. */
static void check_whole(struct side *x)
{
    if (x->peer->flushed && !(t.faults & WEIR_SIM_RESET) && !x->peer->failed)
        must(x->got + facts_of(x).buffered == x->peer->sent);
}

static bool is_limit(int status)
{
    return status == WEIR_EUNSATISFIABLE || status == WEIR_EBUFFULL || status == -EBADMSG;
}

static void check_bad(struct side *x, const struct read_rec *r, int status, struct weir_view v)
{
    must(v.len == 0 || r->kind == 'c' || r->kind == 'i' || r->kind == 'p');
    if (is_limit(status))
        check_limit(x, r, status, v);
    else if (status == -ECANCELED)
        must(r->cancelled || x->closing || t.evicting);
    else if (status == -ETIMEDOUT)
        must(r->overdue || weir_now(t.loop) >= r->due || facts_of(x).error == status);
    else
        must(is_reason(x, status) && status != 0);
    must(!r->cancelled || status == -ECANCELED || status == -ETIMEDOUT);
}

static void on_read(struct weir_stream *s, int status, struct weir_view v, void *arg)
{
    struct side *x = arg;
    struct read_rec r = x->read;
    must(s == x->s && !x->closed && r.kind != 0);
    callback_begin(r.context);
    if (r.kind != 'k' || status != 0)
        x->read = (struct read_rec){.kind = 0};
    if (r.kind == 'i' || r.kind == 'p')
        take_memory(x, v);
    if (status == 0)
        check_good(x, &r, v);
    else
        check_bad(x, &r, status, v);
    if (r.kind != 'i' && r.kind != 'p' && v.len > 0 && chance(10))
        hold_some(x, v);
    check_bytes(x, v);
    if (status == WEIR_EOF)
        check_unsatisfied(x, &r);
    if (status == WEIR_EOF || (status == 0 && r.kind == 'c')) {
        x->ended = true;
        check_whole(x);
    }
    if (x->echo && status == 0 && r.kind != 'i' && r.kind != 'p')
        echo(x, v);
    if (x->greedy)
        ask_little(x);
    else if (chance(60))
        act(x);
    callback_end();
}

/* ---- Asking ---- */

static int ask_until(struct side *x, struct read_rec *r)
{
    bool is_long = chance(20); /* then it is one that will come */
    uint64_t at = x->got + draw(r->n + 1);
    r->delim_len = 1 + (size_t)draw(is_long ? sizeof r->delim : 3);
    for (size_t i = 0; i < r->delim_len; i++)
        r->delim[i] = (char)(is_long ? byte_at(x->peer->key, at + i) : 'a' + draw(ALPHABET));
    r->n += r->delim_len;
    char delim[sizeof r->delim];
    memcpy(delim, r->delim, sizeof delim);
    int rc = ask(weir_read_until(x->s, delim, r->delim_len, r->n, on_read, x));
    memset(delim, '#', sizeof delim); /* copied */
    return rc;
}

static int ask_pattern(struct side *x, struct read_rec *r)
{
    struct pattern *p = draw_pattern();
    if (!p)
        return -EBUSY;
    r->pattern = *p;
    r->n += 1;
    int rc = ask(weir_read_until_regex(x->s, p->regex, r->n, on_read, x));
    if (chance(5)) {
        weir_regex_close(p->regex);
        p->regex = NULL;
    }
    return rc;
}

void close_patterns(void)
{
    for (int i = 0; i < REGEXES; i++) {
        weir_regex_close(t.pattern[i].regex);
        t.pattern[i].regex = NULL;
    }
}

/* The letters of the text are its lengths, so that `adjust` decides how long frames are. */
static int ask_frame(struct side *x, struct read_rec *r)
{
    struct weir_frame *f = &r->frame;
    *f = (struct weir_frame){.size = sizeof *f, .offset = (uint32_t)draw(5), .width = 1, .adjust = (int64_t)draw(100)};
    if (chance(50))
        f->adjust = -95 - (int64_t)draw(10);
    if (chance(20))
        f->width += (uint32_t)draw(8);
    if (f->width == 2 && chance(80))
        f->adjust = -24929 - 500 + (int64_t)draw(2000);
    f->little_endian = chance(50);
    f->max = r->n += f->offset + f->width;
    struct weir_frame given = *f;
    int rc = ask(weir_read_frame(x->s, &given, on_read, x));
    memset(&given, '#', sizeof given);
    return rc;
}

static int ask_into(struct side *x, const struct read_rec *r)
{
    if (x->read.kind != 0)
        return ask(weir_read_into(x->s, NULL, 0, 0, on_read, x));
    lend_memory(x, r->n);
    return ask(weir_read_into(x->s, x->memory, r->n, r->kind == 'p', on_read, x));
}

static int ask_of_kind(struct side *x, struct read_rec *r)
{
    switch (r->kind) {
    case 'b':
        return ask(weir_read_bytes(x->s, r->n, on_read, x));
    case 's':
        return ask(weir_read_some(x->s, r->n, on_read, x));
    case 'u':
        return ask_until(x, r);
    case 'c':
        return ask(weir_read_until_close(x->s, on_read, x));
    case 'k':
        return ask(weir_read_start(x->s, on_read, x));
    case 'r':
        return ask_pattern(x, r);
    case 'f':
        return ask_frame(x, r);
    default:
        return ask_into(x, r);
    }
}

static void ask_read_of(struct side *x, struct read_rec *r)
{
    bool busy = x->read.kind != 0;
    r->context = t.current;
    r->began = weir_now(t.loop);
    r->due = r->kind == 'k' || x->opt.read_timeout_ns == 0 ? UINT64_MAX : r->began + x->opt.read_timeout_ns;
    int rc = ask_of_kind(x, r);
    must(rc == 0 || rc == -EBUSY || rc == WEIR_ECLOSED || rc == WEIR_EBUFFULL || rc == -EBADF);
    must(x->reads || rc == -EBADF || rc == WEIR_ECLOSED);
    must(!busy || rc == -EBUSY || rc == WEIR_ECLOSED);
    must(rc != WEIR_EBUFFULL || (r->n > x->opt.max_buffer_size && r->kind != 'i' && r->kind != 'p'));
    if (rc == 0)
        x->read = *r;
}

void ask_read(struct side *x)
{
    static const char kinds[] = "bbssuurrffiippck";
    struct read_rec r = {.kind = kinds[draw(sizeof kinds - 1)]};
    r.n = (size_t)(chance(80) ? draw(200) : draw(READ_MAX - 16));
    if (x->echo && chance(30)) {
        r.kind = 'b'; /* large enough to be held as it is written back */
        r.n = 4096 + (size_t)draw(8000);
    }
    ask_read_of(x, &r);
}

void ask_chunks(struct side *x)
{
    ask_read_of(x, &(struct read_rec){.kind = 'k'});
}

void ask_little(struct side *x)
{
    if (!t.quiet)
        ask_read_of(x, &(struct read_rec){.kind = chance(50) ? 's' : 'b', .n = (size_t)draw(4)});
    if (chance(1))
        x->greedy = false;
}

static void ask_deadline(struct side *x)
{
    struct read_rec *r = &x->read;
    uint64_t now = weir_now(t.loop), at = chance(10) ? UINT64_MAX : chance(10) ? 0 : now + draw_time();
    int rc = ask(weir_read_deadline(x->s, at));
    must(rc == (r->kind ? 0 : -EINVAL));
    r->overdue |= r->kind && now >= r->due;
    r->due = at;
}

void ask_less(struct side *x)
{
    int kind = x->read.kind, rc;
    switch (draw(4)) {
    case 0:
        rc = ask(weir_read_cancel(x->s));
        must(rc == (kind ? 0 : -EINVAL));
        x->read.cancelled = true;
        break;
    case 1:
    case 2:
        ask_deadline(x);
        break;
    default:
        rc = ask(weir_read_stop(x->s));
        must(rc == (kind && kind != 'k' ? -EINVAL : 0));
        if (kind == 'k' && !facts_of(x).reading)
            x->read.kind = 0;
    }
}
