/* What a request is answered with, and how that is sent. */
#include "http_conn.h"

#include <string.h>
#include <unistd.h>

#define ALLOWED "Allow: GET, HEAD, OPTIONS\r\n"

static const char page[] = "Hello, world!\n";

static struct http_out begin_answer(const struct conn *c, char *head, size_t size)
{
    struct http_out out = {.text = head, .size = size};
    http_put_first_lines(&out, c->status, time(NULL), !c->keep ? "close" : c->minor == 0 ? "keep-alive" : NULL);
    return out;
}

/* A head and what there is of a body at once, in one write. */
static int send_answer(struct conn *c, struct http_out *out, const char *body, size_t len)
{
    http_put(out, "\r\n");
    struct iovec iov[] = {{out->text, out->len}, {(void *)(uintptr_t)body, c->head_only ? 0 : len}};
    c->unasked += iov[0].iov_len + iov[1].iov_len;
    return weir_writev(c->client.s, iov, 2, NULL, NULL);
}

/* An answer with a body of text. */
static int send_text(struct conn *c, const char *text)
{
    char head[HTTP_ANSWER_SIZE];
    struct http_out out = begin_answer(c, head, sizeof head);
    if (c->status == 405)
        http_put(&out, ALLOWED);
    if (c->status == 416)
        http_put_size_field(&out, http_asked_for(c));
    http_put_content_fields(&out, "text/plain", (int64_t)strlen(text));
    return send_answer(c, &out, text, strlen(text));
}

/* The answer to most requests is ready made. */
static int is_plain(const struct conn *c)
{
    return c->status == 200 && c->keep && c->minor > 0;
}

static int send_ready(struct conn *c, struct http_answer *answer)
{
    size_t len = c->head_only ? answer->head_len : answer->len;
    http_date_answer(answer, c->now);
    c->unasked += len;
    return weir_write(c->client.s, answer->text, len, NULL, NULL);
}

/* The small page, where there are no files. */
static int send_greeting(struct conn *c)
{
    static char text[HTTP_ANSWER_SIZE + sizeof page];
    static struct http_answer answer = {.text = text};
    if (!is_plain(c))
        return send_text(c, page);
    if (answer.len == 0) {
        struct http_out out = {.text = text, .size = sizeof text};
        http_put_first_lines(&out, 200, c->now, NULL);
        http_put_content_fields(&out, "text/plain", (int64_t)strlen(page));
        http_put(&out, "\r\n");
        answer.head_len = out.len;
        http_put(&out, page);
        answer.len = out.len;
    }
    return send_ready(c, &answer);
}

void http_give_up(struct conn *c)
{
    struct weir_stream_facts facts;
    if (weir_stream_facts(c->client.s, &facts, sizeof facts) == 0 && !facts.closed)
        weir_stream_close(c->client.s, WEIR_CLOSE_RESET);
}

void http_drop_file(struct conn *c)
{
    if (c->file.fd >= 0)
        close(c->file.fd);
    c->file.fd = -1;
}

static void answered(struct conn *c)
{
    http_drop_file(c);
    c->page = NULL;
    if (c->keep)
        http_next_request(c);
    else
        weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

static void written(struct conn *c, int rc)
{
    if (rc < 0)
        http_give_up(c);
    else
        answered(c);
}

void http_deny(struct conn *c)
{
    char text[64];
    struct http_out out = {.text = text, .size = sizeof text};
    http_put(&out, http_status_text(c->status) + 4);
    http_put_some(&out, "\n", sizeof "\n");
    written(c, send_text(c, text));
}

void http_refuse(struct conn *c, int status)
{
    c->status = status;
    c->keep = 0;
    http_deny(c);
}

/* ---- Files ---- */

static void close_file(int fd, void *arg)
{
    (void)arg;
    close(fd);
}

/* A file that has become shorter ends in a reset: the length was a promise, and nothing is made up. */
static void file_sent(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        answered(weir_stream_ext(s));
    else if (status == WEIR_ETRUNCATED)
        weir_stream_close(s, WEIR_CLOSE_RESET);
}

/* The kernel sends it, as the client takes it. */
static int write_file(struct conn *c)
{
    uint64_t first = (uint64_t)c->range.first, len = (uint64_t)c->range.end - first;
    int rc = weir_write_file(c->client.s, c->file.fd, first, len, close_file, file_sent, NULL);
    c->file.fd = rc < 0 ? c->file.fd : -1;
    return rc;
}

static void send_file(struct conn *c)
{
    char head[HTTP_ANSWER_SIZE];
    struct http_out out = begin_answer(c, head, sizeof head);
    http_put_file_fields(&out, c->status, &c->file, &c->range);
    int rc = send_answer(c, &out, NULL, 0);
    if (rc == 0 && !c->head_only && c->status != 304)
        rc = write_file(c);
    else if (rc == 0)
        answered(c);
    if (rc < 0)
        http_give_up(c);
}

/* A file in memory: in part, or not at all, or as the last of its connection. */
static int send_page(struct conn *c)
{
    char head[HTTP_ANSWER_SIZE];
    const struct http_page *p = c->page;
    const char *body = p->answer.text + p->answer.head_len;
    struct http_out out = begin_answer(c, head, sizeof head);
    http_put_file_fields(&out, c->status, &p->file, &c->range);
    return send_answer(c, &out, body + c->range.first, c->status == 304 ? 0 : (size_t)(c->range.end - c->range.first));
}

/* ---- All of them ---- */

static void send_allowed(struct conn *c)
{
    char head[HTTP_ANSWER_SIZE];
    struct http_out out = begin_answer(c, head, sizeof head);
    http_put(&out, ALLOWED);
    written(c, send_answer(c, &out, NULL, 0));
}

/* The target goes back as it came, but for slashes that would make the first name a host. */
void http_redirect(struct conn *c, const struct http_target *target)
{
    struct http_text path = target->path;
    char head[HTTP_LINE_MAX + HTTP_ANSWER_SIZE];
    struct http_out out = begin_answer(c, head, sizeof head);
    for (; path.len > 1 && path.at[1] == '/'; path.len--)
        path.at++;
    http_put(&out, "Content-Length: 0\r\nLocation: ");
    http_put_some(&out, path.at, path.len);
    http_put(&out, "/");
    http_put_some(&out, target->query.at, target->query.len);
    http_put(&out, "\r\n");
    written(c, send_answer(c, &out, NULL, 0));
}

/* Not inlined, what is made for one request costs the others nothing. */
static __attribute__((noinline)) void respond_anew(struct conn *c)
{
    if (c->page)
        written(c, send_page(c));
    else if (c->file.fd >= 0)
        send_file(c);
    else if (c->status == 204)
        send_allowed(c);
    else
        written(c, send_greeting(c));
}

void http_respond(struct conn *c)
{
    if (c->page && is_plain(c))
        written(c, send_ready(c, &c->page->answer));
    else
        respond_anew(c);
}
