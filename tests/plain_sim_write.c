/* Writes: their callbacks in order and at their time, releases, what is full and drained, and the cork. */
#include "plain_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READ_AT_ONCE = 16384 };  /* a file's few bytes are: what happens to it later is nothing to them */

static unsigned char scratch[BIG];

/* ---- What comes back ---- */

/* The kernel has taken all of it: of all that is queued, if only the last write is told. */
static void check_gone(struct side *x, const struct write_rec *w)
{
    struct weir_stream_facts f = facts_of(x);
    must(f.bytes_out >= w->end);
    must(!x->opt.last_write_callback || f.queued == 0);
}

/* What goes out ends in a file that has become shorter, and where it ends now. */
static void check_truncated(struct side *x)
{
    uint64_t out = facts_of(x).bytes_out;
    const struct write_rec *w = x->write;
    while (w < x->write + x->written && w->end <= out)
        w++;
    must(w < x->write + x->written && w->shrunk && (w->untouched ? out == w->cut : out >= w->cut));
}

static void on_wrote(struct weir_stream *s, int status, void *arg)
{
    struct write_rec *w = arg;
    struct side *x = owner(s);
    must(x && !x->closed);
    callback_begin(w->context);
    while (x->next_report < x->written && &x->write[x->next_report] != w)
        must(x->write[x->next_report++].reported);
    must(&x->write[x->next_report] == w && !w->reported);
    must(!w->borrowed || w->released);
    w->reported = true;
    if (status == 0)
        check_gone(x, w);
    else if (status != WEIR_ETRUNCATED)
        must(is_reason(x, status));
    else
        check_truncated(x);
    x->failed |= status != 0;
    if (chance(40))
        act(x);
    callback_end();
}

static void on_release(const void *data, size_t len, void *arg)
{
    struct write_rec *w = arg;
    must(!t.in_call && t.depth == 0 && w->borrowed && !w->released && (data == w->copy || len == 0));
    w->released = true;
    free(w->copy);
    w->copy = NULL;
}

static void on_file_release(int fd, void *arg)
{
    struct write_rec *w = arg;
    must(!t.in_call && t.depth == 0 && w->borrowed && !w->released && fd == w->file);
    w->released = true;
    close(fd);
    t.files--;
}

void all_writes_are_told(const struct side *x)
{
    for (unsigned i = 0; i < x->written; i++)
        must(x->write[i].reported && (!x->write[i].borrowed || x->write[i].released));
}

/* ---- Water ---- */

void on_drain(struct weir_stream *s, void *arg)
{
    struct side *x = owner(s);
    (void)arg;
    must(x && !x->closed && x->full);
    callback_begin(x->drain_context);
    struct weir_stream_facts f = facts_of(x);
    must(!f.full && !f.closed && f.queued <= x->opt.write_low_water);
    x->full = false;
    if (chance(60))
        act(x);
    callback_end();
}

static bool loop_is_full(void)
{
    struct weir_loop_stats st;
    must(weir_loop_stats(t.loop, &st, sizeof st) == 0);
    return t.max_memory && st.memory >= t.max_memory;
}

static void check_full(struct side *x)
{
    struct weir_stream_facts f = facts_of(x);
    must(f.full || (f.queued <= x->opt.write_high_water && !x->full));
    must(!f.full || x->full || f.queued > x->opt.write_high_water || loop_is_full());
    if (f.full && !x->full)
        x->full_mark = f.bytes_out;
    x->full = f.full;
}

/* ---- The cork ---- */

void cork_or_uncork(struct side *x, bool cork)
{
    int rc = cork ? ask(weir_cork(x->s)) : ask(weir_uncork(x->s));
    must(rc == 0 || rc == WEIR_ECLOSED);
    if (rc < 0 || (x->corked && cork))
        return;
    x->corked = cork && !x->shut;
    x->cork_mark = x->sent;
}

/* ---- Asking ---- */

static void accepted(struct side *x, struct write_rec *w, size_t n, bool told)
{
    struct weir_stream_facts f = facts_of(x);
    if (x->opt.last_write_callback)
        for (unsigned i = 0; i < x->written; i++)
            x->write[i].reported = true;
    if (n > 0 && f.queued == n)
        began_queueing(x);
    w->begin = x->sent;
    w->end = x->sent += n;
    w->reported = !told;
    x->written++;
    check_full(x);
}

static bool is_refusal(struct side *x, int rc)
{
    struct weir_stream_facts f = facts_of(x);
    must(!f.full || x->full || (rc == -ENOBUFS && f.queued > 0));
    if (f.full && !x->full)
        x->full_mark = f.bytes_out;
    x->full = f.full;
    must((rc == -EBADF) == (!x->writes && rc != WEIR_ECLOSED));
    must(rc != -EPIPE || x->shut);
    return rc == -ENOBUFS || rc == WEIR_ECLOSED || rc == -EPIPE || rc == -EBADF;
}

/* Write back what of the view was not sent yet, if that is where the sent bytes end. */
void echo(struct side *x, struct weir_view v)
{
    struct write_rec *w = &x->write[x->written];
    uint64_t begin = x->got - v.len;
    if (x->written == WRITES_MAX || x->sent < begin || x->sent >= x->got)
        return;
    size_t off = (size_t)(x->sent - begin);
    *w = (struct write_rec){.context = t.current, .file = -1};
    int rc = ask(weir_write(x->s, (const char *)v.data + off, v.len - off, on_wrote, w));
    must(rc == 0 || is_refusal(x, rc));
    if (rc == 0)
        accepted(x, w, v.len - off, true);
}

static size_t draw_length(const struct side *x)
{
    size_t n = (size_t)(chance(70) ? draw(300) : chance(80) ? draw(5000) : draw(BIG));
    if (!x->echo)
        return n;
    return x->sent < x->got && chance(50) ? (size_t)(x->got - x->sent) : (size_t)draw(50); /* catch up */
}

static int write_borrowed(struct side *x, struct write_rec *w, size_t n, weir_write_fn *fn)
{
    w->borrowed = true;
    w->copy = malloc(n ? n : 1);
    must(w->copy);
    memcpy(w->copy, scratch, n);
    int rc = ask(weir_write_ref(x->s, w->copy, n, on_release, fn, w));
    if (rc < 0)
        free(w->copy);
    return rc;
}

static int write_pieces(struct side *x, struct write_rec *w, size_t n, weir_write_fn *fn)
{
    size_t cut = (size_t)draw(n + 1);
    struct iovec iov[2] = {{scratch, cut}, {scratch + cut, n - cut}};
    return ask(weir_writev(x->s, iov, 2, fn, w));
}

static int write_copied(struct side *x, struct write_rec *w, size_t n, weir_write_fn *fn)
{
    return ask(weir_write(x->s, scratch, n, fn, w));
}

static int write_file(struct side *x, struct write_rec *w, size_t n, weir_write_fn *fn)
{
    w->borrowed = true;
    w->file = memfd_create("bytes", MFD_CLOEXEC);
    w->file_off = draw(100);
    must(w->file >= 0 && pwrite(w->file, scratch, n, (off_t)w->file_off) == (ssize_t)n);
    must(n > 0 || ftruncate(w->file, (off_t)w->file_off) == 0);
    int rc = ask(weir_write_file(x->s, w->file, w->file_off, n, on_file_release, fn, w));
    if (rc < 0)
        close(w->file);
    t.files += rc == 0;
    return rc;
}

/* Take some of its bytes from under a write. */
void shrink_file(struct side *x)
{
    for (unsigned i = x->next_report; i < x->written; i++) {
        struct write_rec *w = &x->write[i];
        if (w->file < 0 || w->released || w->shrunk || w->end - w->begin <= READ_AT_ONCE)
            continue;
        w->cut = w->begin + draw(w->end - w->begin);
        must(ftruncate(w->file, (off_t)(w->file_off + w->cut - w->begin)) == 0);
        w->shrunk = x->truncated = true;
        w->untouched = facts_of(x).bytes_out < w->begin;
        return;
    }
}

int ask_write_of(struct side *x, size_t n)
{
    static int (*const manners[])(struct side *x, struct write_rec *w, size_t n, weir_write_fn *fn) = {
        write_borrowed, write_borrowed, write_borrowed, write_copied, write_copied, write_pieces, write_file};
    if (x->written == WRITES_MAX)
        return -ENOBUFS;
    n = n < BIG ? n : BIG;
    struct write_rec *w = &x->write[x->written];
    bool told = chance(90);
    *w = (struct write_rec){.context = t.current, .file = -1};
    fill(x, scratch, n);
    int rc = manners[draw(sizeof manners / sizeof *manners)](x, w, n, told ? on_wrote : NULL);
    memset(scratch, '#', n); /* copies must not need it any more */
    must(rc == 0 || is_refusal(x, rc));
    if (rc == 0)
        accepted(x, w, n, told);
    return rc;
}

void ask_write(struct side *x)
{
    ask_write_of(x, draw_length(x));
}
