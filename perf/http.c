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

#include "http_conn.h"

enum {
    HEAD_MAX = 16 * 1024,
    BODY_MAX = 1 << 20,         /* of a request: read and dropped */
    BODY_RATE = 500,            /* bytes a second, at least */
    HIGH_WATER = 1 << 20,
    NAME_SIZE = 4096
};

static int root = -1;
static uint64_t head_timeout_ns;

/* ---- Requests ---- */

static int has_body(const struct http_head *head)
{
    return !head->plain && (head->length > 0 || head->coding != HTTP_PLAIN);
}

static void on_body_end(struct http_body *body, int status)
{
    struct conn *c = weir_stream_ext(body->s);
    c->now = time(NULL);
    if (status == 0)
        http_respond(c);
    else if (status == -EFBIG)
        http_refuse(c, 413);
    else if (status == -EBADMSG || status == WEIR_EOF)
        http_refuse(c, 400);
    else if (status == -ETIMEDOUT)
        http_refuse(c, 408);
    else
        http_give_up(c);
}

/* The client may wait for leave to send the body. */
static void read_body(struct conn *c, const struct http_head *head)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    int rc = head->expect.at && head->minor > 0 ? weir_write(c->client.s, go_on, strlen(go_on), NULL, NULL) : 0;
    if (rc < 0) {
        http_give_up(c);
        return;
    }
    c->body = (struct http_body){.s = c->client.s,
                                 .on_end = on_body_end,
                                 .limit = BODY_MAX,
                                 .grace_ns = head_timeout_ns,
                                 .min_rate = BODY_RATE};
    http_body_read(&c->body, head);
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
    if (head->plain)
        return 0;
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
        http_drop_file(c);
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
    return rc ? rc : http_judge(head, c->head_only, &http_asked_for(c)->entity, c->now, &c->range);
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

/* What is asked for is not here. A body is not waited for. */
static void turn_away(struct conn *c, const struct http_head *head, const struct http_target *target)
{
    if (has_body(head))
        c->keep = 0;
    if (c->status == 301)
        http_redirect(c, target);
    else
        http_deny(c);
}

static void take_request(struct conn *c, struct weir_view view)
{
    struct http_head head;
    struct http_target target;
    c->head_only = c->begun = c->keep = 0;
    c->now = time(NULL);
    c->status = judge(c, view, &head, &target);
    if (c->status == 301 || c->status >= 400)
        turn_away(c, &head, &target);
    else if (has_body(&head))
        read_body(c, &head);
    else
        http_respond(c);
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
        http_refuse(c, 400);
    else
        weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

static void read_head(struct conn *c);

/* Time is up. Between requests that means nothing; and a head that began meanwhile has its whole time before it. */
static void head_is_late(struct conn *c)
{
    if (c->begun) {
        http_refuse(c, 408);
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
        http_refuse(c, 431);
}

static void read_head(struct conn *c)
{
    int rc = weir_read_until(c->client.s, "\r\n\r\n", 4, HEAD_MAX, on_head, c);
    if (rc < 0)
        http_give_up(c);
}

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        read_head(weir_stream_ext(s));
}

/* Looked at once in a while. Not inlined, it costs most requests nothing. */
static __attribute__((noinline)) int is_full(struct conn *c)
{
    struct weir_stream_facts facts;
    c->unasked = 0;
    return weir_stream_facts(c->client.s, &facts, sizeof facts) == 0 && facts.queued >= HIGH_WATER;
}

void http_next_request(struct conn *c)
{
    if (c->unasked < HIGH_WATER / 2 || !is_full(c))
        read_head(c);
    else if (weir_write(c->client.s, NULL, 0, on_drained, NULL) < 0)
        http_give_up(c);
}

/* ---- Connections ---- */

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)reason;
    (void)arg;
    http_drop_file(weir_stream_ext(s));
    server_lost(s);
}

static void on_stream(struct weir_stream *s)
{
    struct conn *c = weir_stream_ext(s);
    c->file.fd = -1;
    http_next_request(c);
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
