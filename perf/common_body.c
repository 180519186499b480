#include "common_body.h"

#include <errno.h>
#include <string.h>

enum {
    PIECE = 256 * 1024,
    LINE_MAX_BYTES = 4096,
    TRAILERS_MAX = 100
};

static void on_size_line(struct weir_stream *s, int status, struct weir_view view, void *arg);
static void on_piece(struct weir_stream *s, int status, struct weir_view view, void *arg);

/* ---- Reads: one that is refused ends the body, too ---- */

/* The bytes so far have bought time for the rest. */
static void reading(struct http_body *b, int rc)
{
    if (rc == 0 && b->min_rate > 0)
        rc = weir_read_deadline(b->s, b->began + b->grace_ns + b->seen * 1000000 / b->min_rate * 1000);
    if (rc < 0)
        b->on_end(b, rc);
}

static void read_piece(struct http_body *b)
{
    reading(b, weir_read_some(b->s, b->left < PIECE ? (size_t)b->left : PIECE, on_piece, b));
}

/* A line ends in LF here, so that one that has no CR is refused at once. */
static void read_line(struct http_body *b, const char *part, weir_read_fn *fn)
{
    b->part = part;
    reading(b, weir_read_until(b->s, "\n", 1, LINE_MAX_BYTES, fn, b));
}

/* What every read begins with. Result: 0 if the bytes may be looked at; else the body has ended. */
static int came(struct http_body *b, int status, size_t len)
{
    b->seen += len;
    if (status == 0 && b->limit > 0 && b->seen > b->limit)
        status = -EFBIG;
    if (status == WEIR_EUNSATISFIABLE)
        status = -EBADMSG; /* a line without end */
    if (status < 0)
        b->on_end(b, status);
    return status;
}

/* ---- Between chunks ---- */

static void on_trailer(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct http_body *b = arg;
    struct http_text rest = {view.data, view.len}, name, value;
    (void)s;
    if (came(b, status, view.len) < 0)
        return;
    if (view.len == 2 && memcmp(view.data, "\r\n", 2) == 0)
        b->on_end(b, 0);
    else if (http_next_field(&rest, &name, &value) < 0 || ++b->trailers > TRAILERS_MAX)
        b->on_end(b, -EBADMSG);
    else
        read_line(b, "the trailer", on_trailer);
}

static void on_chunk_end(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct http_body *b = arg;
    (void)s;
    if (came(b, status, view.len) < 0)
        return;
    if (memcmp(view.data, "\r\n", 2) != 0)
        b->on_end(b, -EBADMSG);
    else
        read_line(b, "a chunk's size", on_size_line);
}

static void on_size_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct http_body *b = arg;
    (void)s;
    if (came(b, status, view.len) < 0)
        return;
    if (http_chunk_size(view.data, view.len, &b->left) < 0) {
        b->on_end(b, -EBADMSG);
    } else if (b->left == 0) {
        read_line(b, "the trailer", on_trailer);
    } else {
        b->part = "a chunk";
        read_piece(b);
    }
}

/* ---- Pieces ---- */

void http_body_resume(struct http_body *b)
{
    if (b->left > 0)
        read_piece(b);
    else if (b->kind == HTTP_BODY_CHUNKED)
        reading(b, weir_read_bytes(b->s, 2, on_chunk_end, b));
    else
        b->on_end(b, 0);
}

static void on_piece(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct http_body *b = arg;
    (void)s;
    if (status == WEIR_EOF && b->kind == HTTP_BODY_TO_THE_END) {
        b->on_end(b, 0);
        return;
    }
    if (came(b, status, view.len) < 0)
        return;
    if (b->kind != HTTP_BODY_TO_THE_END)
        b->left -= view.len;
    if (!b->on_piece || b->on_piece(b, view) == 0)
        http_body_resume(b);
}

void http_body_read(struct http_body *b, const struct http_head *head)
{
    b->part = "the body";
    b->began = weir_now(weir_stream_loop(b->s));
    b->seen = 0;
    b->trailers = 0;
    if (head->coding == HTTP_CHUNKED) {
        b->kind = HTTP_BODY_CHUNKED;
        read_line(b, "a chunk's size", on_size_line);
        return;
    }
    b->kind = head->length >= 0 ? HTTP_BODY_COUNTED : HTTP_BODY_TO_THE_END;
    b->left = head->length >= 0 ? (uint64_t)head->length : PIECE;
    http_body_resume(b);
}
