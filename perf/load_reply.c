#include "load_reply.h"

#include <stdlib.h>
#include <string.h>

#include "load_memory.h"

/* ---- Heads and lines, which may come in pieces ---- */

/* Bytes of text up to and with the delimiter, that begins no earlier than at `from`; 0 if it is not there. */
static size_t find(struct http_text text, const char *delim, size_t from)
{
    const char *at = memmem(text.at + from, text.len - from, delim, strlen(delim));
    return at ? (size_t)(at - text.at) + strlen(delim) : 0;
}

/* Adds to what is held, up to the delimiter. Result: as gather. */
static int gather_more(struct reply *r, struct http_text *rest, const char *delim, struct http_text *ret)
{
    size_t before = r->held_len, overlap = strlen(delim) - 1;
    size_t room = REPLY_HEAD_MAX - before, n = rest->len < room ? rest->len : room;
    if (!r->held)
        r->held = load_memory(1, REPLY_HEAD_MAX);
    memcpy(r->held + before, rest->at, n);
    size_t end = find((struct http_text){r->held, before + n}, delim, before > overlap ? before - overlap : 0);
    size_t taken = end > 0 ? end - before : n;
    rest->at += taken;
    rest->len -= taken;
    r->held_len = before + taken;
    *ret = (struct http_text){r->held, r->held_len};
    if (end == 0)
        return r->held_len < REPLY_HEAD_MAX ? 0 : -1;
    r->held_len = 0;
    return 1;
}

/* The text up to and with the delimiter, taken off the rest. Result: 1; 0: it is not there yet; -1: it is too long. */
static int gather(struct reply *r, struct http_text *rest, const char *delim, struct http_text *ret)
{
    size_t end = r->held_len == 0 ? find(*rest, delim, 0) : 0;
    if (end == 0 || end > REPLY_HEAD_MAX)
        return gather_more(r, rest, delim, ret);
    *ret = (struct http_text){rest->at, end};
    rest->at += end;
    rest->len -= end;
    return 1;
}

/* ---- Heads ---- */

static int begin_body(struct reply *r, const struct http_head *head)
{
    r->status = head->status;
    r->persists = http_persists(head);
    if (head->status < 200)
        return head->status == 101 ? -1 : 0;
    if (head->status == 204 || head->status == 304)
        return 1;
    if (head->coding != HTTP_PLAIN) {
        r->part = REPLY_SIZE_LINE;
        return 0;
    }
    if (head->length < 0) {
        r->part = REPLY_TO_THE_END;
        r->persists = 0;
        return 0;
    }
    r->left = (uint64_t)head->length;
    r->part = r->left > 0 ? REPLY_BODY : REPLY_HEAD;
    return r->left == 0;
}

static int take_head(struct reply *r, struct http_text *rest)
{
    struct reply_memo *memo = r->memo;
    struct http_text text;
    if (r->held_len == 0 && memo->len > 0 && rest->len >= memo->len && memcmp(rest->at, memo->text, memo->len) == 0) {
        rest->at += memo->len;
        rest->len -= memo->len;
        return begin_body(r, &memo->head);
    }
    int rc = gather(r, rest, "\r\n\r\n", &text);
    if (rc <= 0)
        return rc;
    struct http_head head;
    if (http_parse_answer(text.at, text.len, &head) < 0)
        return -1;
    if (text.len <= sizeof memo->text) {
        memo->len = text.len;
        memo->head = head;
        memcpy(memo->text, text.at, text.len);
    }
    return begin_body(r, &head);
}

/* ---- Bodies ---- */

static int take_body(struct reply *r, struct http_text *rest, enum reply_part next)
{
    size_t n = r->left < rest->len ? (size_t)r->left : rest->len;
    rest->at += n;
    rest->len -= n;
    r->left -= n;
    if (r->left > 0)
        return 0;
    r->part = next;
    return next == REPLY_HEAD;
}

static int take_line(struct reply *r, struct http_text *rest)
{
    struct http_text line, name, value;
    int rc = gather(r, rest, "\n", &line);
    if (rc <= 0)
        return rc;
    int empty = line.len == 2 && line.at[0] == '\r';
    if (r->part == REPLY_CHUNK_END) {
        r->part = REPLY_SIZE_LINE;
        return empty ? 0 : -1;
    }
    if (r->part == REPLY_SIZE_LINE) {
        rc = http_chunk_size(line.at, line.len, &r->left);
        r->part = r->left > 0 ? REPLY_CHUNK : REPLY_TRAILER;
        return rc;
    }
    if (!empty)
        return http_next_field(&line, &name, &value) < 0 ? -1 : 0;
    r->part = REPLY_HEAD;
    return 1;
}

int reply_take(struct reply *r, const char *data, size_t len, size_t *ret_used)
{
    struct http_text rest = {data, len};
    int rc = 0;
    while (rc == 0 && rest.len > 0) {
        if (r->part == REPLY_HEAD)
            rc = take_head(r, &rest);
        else if (r->part == REPLY_BODY)
            rc = take_body(r, &rest, REPLY_HEAD);
        else if (r->part == REPLY_CHUNK)
            rc = take_body(r, &rest, REPLY_CHUNK_END);
        else if (r->part == REPLY_TO_THE_END)
            rest.len = 0;
        else
            rc = take_line(r, &rest);
    }
    *ret_used = len - rest.len;
    return rc;
}

int reply_ends(const struct reply *r)
{
    return r->part == REPLY_TO_THE_END;
}

int reply_begun(const struct reply *r)
{
    return r->part != REPLY_HEAD || r->held_len > 0;
}

void reply_drop(struct reply *r)
{
    free(r->held);
    *r = (struct reply){.memo = r->memo};
}
