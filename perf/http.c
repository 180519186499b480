/* A static HTTP/1.1 server: the files below --root, or one small page. A client that does not read its
 * answers is asked for no more requests; small files stay in memory, and of others the kernel sends the bytes.
 *
 * Nobody may take for ever: who is silent goes by the stream's idle limit, who takes nothing of an answer by its stall
 * limit. Each read has the time of a head, however slowly bytes trickle in; bodies have a least rate. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common_args.h"
#include "common_body.h"
#include "common_http.h"
#include "http_answer.h"
#include "http_cache.h"
#include "http_target.h"

enum {
    HEAD_MAX = 16 * 1024,
    BODY_MAX = 1 << 20,         /* of a request: read and dropped */
    BODY_RATE = 500,            /* bytes a second, at least */
    HIGH_WATER = 1 << 20,
    NAME_SIZE = 4096
};

struct conn {
    struct client client;
    struct http_body body;      /* of the request */
    struct http_file file;      /* what is asked for; fd -1: none, or it is in memory */
    struct http_page *page;     /* while the request is looked at: where in memory, or NULL */
    struct http_range range;    /* of the file: what is to be sent */
    size_t unasked;             /* bytes written since we asked how many are queued */
    time_t now;                 /* when the answer began to be made */
    int status;                 /* of the answer */
    int head_only, keep, minor;
    int begun;                  /* a head was there in part when time was up once */
};

#define ALLOWED "Allow: GET, HEAD, OPTIONS\r\n"

static const char page[] = "Hello, world!\n";
static int root = -1;
static uint64_t head_timeout_ns;

static void next_request(struct conn *c);

/* ---- Answers ---- */

static const struct http_file *asked_for(const struct conn *c)
{
    return c->page ? &c->page->file : &c->file;
}

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
        http_put_size_field(&out, asked_for(c));
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

/* A read or a write failed. A stream that is closing may still send what it has: leave it to that. */
static void give_up(struct conn *c)
{
    struct weir_stream_facts facts;
    if (weir_stream_facts(c->client.s, &facts, sizeof facts) == 0 && !facts.closed)
        weir_stream_close(c->client.s, WEIR_CLOSE_RESET);
}

static void drop_file(struct conn *c)
{
    if (c->file.fd >= 0)
        close(c->file.fd);
    c->file.fd = -1;
}

static void answered(struct conn *c)
{
    drop_file(c);
    c->page = NULL;
    if (c->keep)
        next_request(c);
    else
        weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

static void written(struct conn *c, int rc)
{
    if (rc < 0)
        give_up(c);
    else
        answered(c);
}

/* The answer is only its status. */
static void deny(struct conn *c)
{
    char text[64];
    struct http_out out = {.text = text, .size = sizeof text};
    http_put(&out, http_status_text(c->status) + 4);
    http_put_some(&out, "\n", sizeof "\n");
    written(c, send_text(c, text));
}

/* The last answer of the connection: what follows in it is not looked at. */
static void refuse(struct conn *c, int status)
{
    c->status = status;
    c->keep = 0;
    deny(c);
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
        give_up(c);
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

/* ---- Requests ---- */

static int has_body(const struct http_head *head)
{
    return head->length > 0 || head->coding != HTTP_PLAIN;
}

static void send_allowed(struct conn *c)
{
    char head[HTTP_ANSWER_SIZE];
    struct http_out out = begin_answer(c, head, sizeof head);
    http_put(&out, ALLOWED);
    written(c, send_answer(c, &out, NULL, 0));
}

static void respond(struct conn *c)
{
    if (c->page)
        written(c, is_plain(c) ? send_ready(c, &c->page->answer) : send_page(c));
    else if (c->file.fd >= 0)
        send_file(c);
    else if (c->status == 204)
        send_allowed(c);
    else
        written(c, send_greeting(c));
}

static void on_body_end(struct http_body *body, int status)
{
    struct conn *c = weir_stream_ext(body->s);
    c->now = time(NULL);
    if (status == 0)
        respond(c);
    else if (status == -EFBIG)
        refuse(c, 413);
    else if (status == -EBADMSG || status == WEIR_EOF)
        refuse(c, 400);
    else if (status == -ETIMEDOUT)
        refuse(c, 408);
    else
        give_up(c);
}

/* The client may wait for leave to send the body. */
static void read_body(struct conn *c, const struct http_head *head)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    int rc = head->expect.at && head->minor > 0 ? weir_write(c->client.s, go_on, strlen(go_on), NULL, NULL) : 0;
    if (rc < 0) {
        give_up(c);
        return;
    }
    c->body = (struct http_body){.s = c->client.s,
                                 .on_end = on_body_end,
                                 .limit = BODY_MAX,
                                 .grace_ns = head_timeout_ns,
                                 .min_rate = BODY_RATE};
    http_body_read(&c->body, head);
}

/* A directory's name lacks its slash. The target goes back as it came, but for slashes that would make the first name
 * a host. */
static void redirect(struct conn *c, const struct http_target *target)
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

/* Result: 0 for GET and HEAD; 204 for OPTIONS; or the status to refuse the request with. */
static int judge_method(struct conn *c, struct http_text method)
{
    static const char *const others[] = {"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"};
    if (http_same(method, "GET"))
        return 0;
    c->head_only = http_same(method, "HEAD");
    if (c->head_only)
        return 0;
    if (http_same(method, "OPTIONS"))
        return 204;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (http_same(method, others[i]))
            return 405;
    return 501;
}

/* What can be said of the body before it comes. Result: 0, or the status to refuse the request with. */
static int judge_body(const struct http_head *head)
{
    if (head->coding == HTTP_CODED)
        return 501;
    if (head->length > BODY_MAX)
        return 413;
    return head->expect.at && head->minor > 0 && !http_is(head->expect, "100-continue") ? 417 : 0;
}

/* Result: 0, and c->file is open or c->page is set; or the status of the answer. */
static int open_file(struct conn *c, const struct http_head *head, struct http_text path)
{
    char name[NAME_SIZE + HTTP_INDEX_SIZE];
    if (!has_body(head) && (c->page = http_cache_find(path, c->now)))
        return 0;
    int rc = path.len > 0 ? http_file_name(path, name, NAME_SIZE) : 400;
    if (rc != 0)
        return rc;
    if (root < 0)
        return *name ? 404 : 200;
    if ((rc = http_open_file(root, name, &c->file)) == 0 && !has_body(head))
        c->page = http_cache_keep(path, &c->file, c->now);
    if (c->page)
        drop_file(c);
    return rc;
}

/* Result: the status of the answer. What is in memory stays only while the request is looked at, so that one whose body
 * is still to come does without. A target that is kept as a path is nothing but that. */
static int find(struct conn *c, const struct http_head *head, struct http_target *target)
{
    int rc = 0;
    c->page = has_body(head) ? NULL : http_cache_find(head->target, c->now);
    if (!c->page && (rc = http_parse_target(head->target, target)) == 0)
        rc = open_file(c, head, target->path);
    return rc ? rc : http_judge(head, c->head_only, &asked_for(c)->entity, c->now, &c->range);
}

/* Result: the status of the answer. The connection outlives it only if the request is in order. */
static int judge(struct conn *c, struct weir_view view, struct http_head *head, struct http_target *target)
{
    static struct http_memo memo;
    int rc = http_parse_request_again(view.data, view.len, &memo, head);
    if (rc != 0)
        return rc;
    c->minor = head->minor;
    int method = judge_method(c, head->method);
    if (method >= 400 || (rc = judge_body(head)) != 0)
        return method >= 400 ? method : rc;
    rc = method == 204 ? http_parse_target(head->target, target) : find(c, head, target);
    c->keep = http_persists(head) && !server_draining() && rc != 400;
    return rc ? rc : method;
}

static void take_request(struct conn *c, struct weir_view view)
{
    struct http_head head;
    struct http_target target;
    c->head_only = c->begun = c->keep = 0;
    c->now = time(NULL);
    c->status = judge(c, view, &head, &target);
    if (has_body(&head) && (c->status == 301 || c->status >= 400))
        c->keep = 0; /* it is not waited for */
    if (c->status >= 400)
        deny(c);
    else if (c->status == 301)
        redirect(c, &target);
    else if (has_body(&head))
        read_body(c, &head);
    else
        respond(c);
}

static int has_part_of_head(struct conn *c)
{
    struct weir_stream_facts facts;
    weir_stream_facts(c->client.s, &facts, sizeof facts);
    return facts.buffered > 0;
}

/* A client that ends within a head has not gone yet: it may want to know. */
static void end_of_input(struct conn *c)
{
    if (has_part_of_head(c))
        refuse(c, 400);
    else
        weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

static void read_head(struct conn *c);

/* Time is up. Between requests that means nothing; and a head that began meanwhile has its whole time before it. */
static void head_is_late(struct conn *c)
{
    if (c->begun) {
        refuse(c, 408);
    } else {
        c->begun = has_part_of_head(c);
        read_head(c);
    }
}

static void on_head(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = arg;
    (void)s;
    if (status == 0)
        take_request(c, view);
    else if (status == WEIR_EOF)
        end_of_input(c);
    else if (status == -ETIMEDOUT)
        head_is_late(c);
    else if (status == WEIR_EUNSATISFIABLE)
        refuse(c, 431);
}

static void read_head(struct conn *c)
{
    int rc = weir_read_until(c->client.s, "\r\n\r\n", 4, HEAD_MAX, on_head, c);
    if (rc < 0)
        give_up(c);
}

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        read_head(weir_stream_ext(s));
}

static void next_request(struct conn *c)
{
    struct weir_stream_facts facts = {.queued = 0};
    if (c->unasked >= HIGH_WATER / 2) {
        c->unasked = 0;
        weir_stream_facts(c->client.s, &facts, sizeof facts);
    }
    if (facts.queued < HIGH_WATER)
        read_head(c);
    else if (weir_write(c->client.s, NULL, 0, on_drained, NULL) < 0)
        give_up(c);
}

/* ---- Connections ---- */

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)reason;
    (void)arg;
    drop_file(weir_stream_ext(s));
    server_lost(s);
}

static void on_stream(struct weir_stream *s)
{
    struct conn *c = weir_stream_ext(s);
    c->file.fd = -1;
    next_request(c);
}

static struct server_option options[] = {
    {"--root", "DIR", "serve the files below it", NULL},
    {"--idle-timeout", "SECONDS", "who neither asks nor takes anything for so long is left (60)", "60"},
    {"--header-timeout", "SECONDS", "for a request's head once it began, up to twice that (10)", "10"},
    {0}};

static uint64_t timeout(const char *program, const struct server_option *option)
{
    uint64_t ns = seconds_by_text(option->value);
    if (ns > 0)
        return ns;
    fprintf(stderr, "%s: %s: %s: not a number of seconds\n", program, option->name, option->value);
    exit(2);
}

int main(int argc, char **argv)
{
    struct server_args args;
    server_read_args(argc, argv, "Serves files over HTTP/1.1, or one small page at /.", options, &args);
    const char *dir = options[0].value;
    if (dir && (root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], dir, strerror(errno));
        return 2;
    }
    uint64_t idle_timeout_ns = timeout(argv[0], &options[1]);
    head_timeout_ns = timeout(argv[0], &options[2]);
    struct weir_stream_options stream_options = {.size = sizeof stream_options,
                                                 .ext_size = sizeof(struct conn),
                                                 .read_timeout_ns = head_timeout_ns,
                                                 .write_stall_timeout_ns = idle_timeout_ns,
                                                 .idle_timeout_ns = idle_timeout_ns,
                                                 .limit_keeps = 1,
                                                 .half_open = 1,
                                                 .on_close = on_close};
    return server_run(&args, &stream_options, on_stream);
}
