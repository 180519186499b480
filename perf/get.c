/* Fetches a page over HTTP/1.1: connects, writes the request, reads the head of the answer line by line, and then the
 * body in pieces, as fast as they can be written. Redirections are followed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common_body.h"
#include "common_http.h"
#include "get_args.h"
#include "get_output.h"
#include "get_progress.h"
#include "get_request.h"
#include "get_url.h"
#include "weir_tls.h"

enum exit_status {
    BAD_SCHEME = 1,
    NOT_STARTED = 2,
    BAD_URL = 3,
    NOT_RESOLVED = 6,
    NOT_CONNECTED = 7,
    BAD_ANSWER = 8,
    CUT_SHORT = 18,
    HTTP_ERROR = 22,
    NOT_WRITTEN = 23,
    OUT_OF_TIME = 28,
    TLS_FAILED = 35,
    TOO_MANY_REDIRECTS = 47,
    NO_ANSWER = 52,
    NOT_RECEIVED = 56,
    NOT_BELIEVED = 60,
    BAD_CACERT = 77
};

enum { HEAD_MAX = 64 * 1024, INTERIM_MAX = 100, TICK_NS = 100000000 };

static struct get_args args;
static struct weir_loop *loop;
static int result = -1;             /* the exit status; -1: not known yet */

static struct url first_url, url;
static int redirects, interim;
static struct weir_stream *stream;  /* the present connection, or NULL */
static struct weir_tls_config *tls; /* made when it is first needed */
static char head_text[HEAD_MAX];
static size_t head_len;
static struct http_head head;       /* points into head_text */
static struct http_body body;
static void (*waiting)(void);       /* goes on once the output has room */

static struct weir_timer *ticker;   /* not NULL: progress is shown */
static uint64_t began, received;

/* ---- The end ---- */

__attribute__((format(printf, 1, 0)))
static void complain(const char *format, va_list list)
{
    if (args.silent)
        return;
    fputs("get: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

static void show_progress(void)
{
    progress_draw(received, body.kind == HTTP_BODY_COUNTED ? head.length : -1, weir_now(loop) - began);
}

/* Only the first end counts. What has come is written before the loop stops. */
__attribute__((format(printf, 2, 3)))
static void finish(int status, const char *format, ...)
{
    va_list list;
    if (result >= 0)
        return;
    result = status;
    if (ticker) {
        show_progress();
        fputc('\n', stderr);
        weir_timer_stop(ticker);
        ticker = NULL;
    }
    va_start(list, format);
    if (format)
        complain(format, list);
    va_end(list);
    weir_stream_close(stream, WEIR_CLOSE_NOW);
    if (output_idle())
        weir_loop_stop(loop);
}

/* Who has closed the pipe that we write to knows that. */
static void finish_unwritten(int rc)
{
    if (rc == -EPIPE)
        finish(NOT_WRITTEN, NULL);
    else
        finish(NOT_WRITTEN, "%s: %s", args.output ? args.output : "writing", weir_strerror(rc));
}

static void out_of_time(struct weir_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    if (result == 0)
        result = -1; /* all has come, but not all is written */
    finish(OUT_OF_TIME, "out of time");
    weir_loop_stop(loop); /* also if nobody takes what we write */
}

/* ---- Output ---- */

static void on_written(int status)
{
    void (*go_on)(void) = waiting;
    waiting = NULL;
    if (status < 0)
        finish_unwritten(status);
    if (result >= 0 && output_idle())
        weir_loop_stop(loop);
    if (result < 0 && go_on)
        go_on();
}

/* Result: 0; or 1: it has failed, or `go_on` will be called once there is room for more. */
static int print(const void *data, size_t len, void (*go_on)(void))
{
    int rc = output_write(data, len);
    if (rc < 0)
        finish_unwritten(rc);
    else if (rc > 0)
        waiting = go_on;
    return rc != 0;
}

/* ---- Bodies ---- */

static void resume_body(void)
{
    http_body_resume(&body);
}

static int on_piece(struct http_body *b, struct weir_view piece)
{
    (void)b;
    received += piece.len;
    return print(piece.data, piece.len, resume_body);
}

static void on_body_end(struct http_body *b, int status)
{
    if (status == 0)
        finish(0, NULL);
    else if (status == WEIR_EOF)
        finish(CUT_SHORT, "the connection ended within %s", b->part);
    else if (status == -EBADMSG)
        finish(BAD_ANSWER, "%s is malformed", b->part);
    else
        finish(NOT_RECEIVED, "receiving: %s", weir_strerror(status));
}

static void tick(struct weir_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    show_progress();
}

/* Progress is for a person who does not see the body itself. */
static void read_body(void)
{
    body = (struct http_body){.s = stream, .on_piece = on_piece, .on_end = on_body_end};
    began = weir_now(loop);
    if (!args.silent && isatty(STDERR_FILENO) && (args.output || !isatty(STDOUT_FILENO)))
        weir_timer_start(loop, 0, TICK_NS, tick, NULL, &ticker);
    http_body_read(&body, &head);
}

/* ---- Heads ---- */

static void read_head(void);
static void connect_to_url(void);

/* The connection is not used again: what else comes on it does not matter. */
static void redirect(void)
{
    struct weir_stream *old = stream;
    int rc = head.location.len > 0 ? url_resolve(&url, head.location) : -EBADMSG;
    if (redirects++ == args.max_redirects)
        finish(TOO_MANY_REDIRECTS, "more than %d redirections", args.max_redirects);
    else if (rc == -EBADMSG)
        finish(BAD_ANSWER, "a redirection to nowhere");
    else if (rc < 0)
        finish(rc == -EPROTONOSUPPORT ? BAD_SCHEME : BAD_URL, "a redirection to %.*s: %s", (int)head.location.len,
               head.location.at, rc == -EPROTONOSUPPORT ? "only http and https are spoken here" : "malformed");
    if (result >= 0)
        return;
    stream = NULL;
    weir_stream_close(old, WEIR_CLOSE_NOW);
    connect_to_url();
}

static int is_redirect(void)
{
    switch (head.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return head.location.at != NULL;
    default:
        return 0;
    }
}

static void after_head(void)
{
    if (head.status < 200 && ++interim <= INTERIM_MAX)
        read_head();
    else if (head.status < 200)
        finish(BAD_ANSWER, "more than %d interim answers", INTERIM_MAX);
    else if (is_redirect())
        redirect();
    else if (args.fail && head.status >= 400)
        finish(HTTP_ERROR, "the answer's status is %d", head.status);
    else if (args.head_only || head.status == 204 || head.status == 304)
        finish(0, NULL);
    else
        read_body();
}

static void take_head(void)
{
    if (http_parse_answer(head_text, head_len, &head) < 0 || head.coding == HTTP_CODED || head.status == 101)
        finish(BAD_ANSWER, "the answer's head is malformed");
    else if (!(args.include || args.head_only) || print(head_text, head_len, after_head) == 0)
        after_head();
}

static void head_lost(struct weir_stream *s, int status)
{
    struct weir_stream_facts facts;
    weir_stream_facts(s, &facts, sizeof facts);
    if (status == WEIR_EOF && head_len == 0 && facts.buffered == 0)
        finish(NO_ANSWER, "the connection ended without an answer");
    else if (status == WEIR_EOF)
        finish(BAD_ANSWER, "the connection ended within the answer's head");
    else if (status == WEIR_EUNSATISFIABLE)
        finish(BAD_ANSWER, "the answer's head has a line without end");
    else
        finish(NOT_RECEIVED, "receiving: %s", weir_strerror(status));
}

static void read_line(void);

/* What cannot be an answer is refused at once: whoever sent it may be waiting for us. */
static void on_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    const char *line = view.data;
    (void)arg;
    if (status < 0) {
        head_lost(s, status);
        return;
    }
    if (view.len < 2 || line[view.len - 2] != '\r' || head_len + view.len > HEAD_MAX ||
        (head_len == 0 && strncmp(line, "HTTP/1.", 7 < view.len ? 7 : view.len) != 0)) {
        finish(BAD_ANSWER, "the answer is not HTTP/1.1, or too long");
        return;
    }
    memcpy(head_text + head_len, line, view.len);
    head_len += view.len;
    if (view.len == 2)
        take_head();
    else
        read_line();
}

static void read_line(void)
{
    int rc = weir_read_until(stream, "\n", 1, HTTP_LINE_MAX + 2, on_line, NULL);
    if (rc < 0)
        finish(NOT_RECEIVED, "receiving: %s", weir_strerror(rc));
}

static void read_head(void)
{
    head_len = 0;
    read_line();
}

/* ---- Connections ---- */

/* As curl's. Codes below errno's are of TLS, since nothing has been asked of the connection yet. */
static int status_of(int code)
{
    switch (code) {
    case -ETIMEDOUT:
        return OUT_OF_TIME;
    case WEIR_ECERT:
        return NOT_BELIEVED;
    default:
        return code < -4095 ? TLS_FAILED : NOT_CONNECTED;
    }
}

static void not_connected(int code)
{
    char host[URL_HOST_SIZE + 16];
    const char *words = stream ? weir_tls_error(stream) : "";
    url_format_host(&url, host, sizeof host);
    finish(status_of(code), "%s: %s", host, *words ? words : weir_strerror(code));
}

static void on_connect(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    (void)arg;
    if (status < 0)
        not_connected(status);
    else
        read_head();
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)arg;
    if (s != stream)
        return;
    stream = NULL;
    finish(NOT_RECEIVED, "receiving: %s", weir_strerror(reason));
}

/* Result: 0, or it has failed. */
static int begin_tls(void)
{
    struct weir_tls_config_options options = {.size = sizeof options,
                                              .ca_file = args.cacert,
                                              .DANGEROUS_any_certificate = args.insecure,
                                              .alpn = "http/1.1"};
    char host[URL_HOST_SIZE];
    int bracket = url.host[0] == '[';
    int rc = tls ? 0 : weir_tls_config_open(&options, &tls);
    if (rc < 0) {
        finish(rc == -ENOTSUP ? BAD_SCHEME : BAD_CACERT, "%s", weir_tls_config_refusal());
        return rc;
    }
    snprintf(host, sizeof host, "%.*s", (int)strlen(url.host) - 2 * bracket, url.host + bracket);
    rc = weir_tls_start(stream, tls, host);
    if (rc < 0)
        not_connected(rc);
    return rc;
}

/* The request is queued before there is a connection. */
static void connect_to_url(void)
{
    struct weir_stream_options options = {.size = sizeof options,
                                          .half_open = 1,
                                          .connect_timeout_ns = args.connect_timeout_ns,
                                          .on_close = on_close};
    static char request[GET_REQUEST_MAX];
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int len = get_format_request(&args, &url, url_same_origin(&url, &first_url), request);
    if (len < 0) {
        finish(NOT_STARTED, "the request is too long");
        return;
    }
    if (url_address(&url, &addr, &addr_len) < 0) {
        finish(NOT_RESOLVED, "%s: names are not looked up yet: it takes an IP address or localhost", url.host);
        return;
    }
    int rc = weir_connect_addr(loop, (struct sockaddr *)&addr, addr_len, &options, on_connect, NULL, &stream);
    if (rc == 0 && url.tls && begin_tls() < 0)
        return;
    if (rc == 0)
        rc = weir_write(stream, request, (size_t)len, NULL, NULL);
    if (rc < 0)
        not_connected(rc);
}

/* ---- Life ---- */

/* A file or a socket must not become stdout by chance. This one cannot be written to. */
static void fill_standard_files(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd > STDERR_FILENO)
        close(fd);
}

/* Everything that may go wrong before the loop runs. */
static void start(void)
{
    struct weir_loop_options options = {.size = sizeof options, .backend = args.backend};
    int rc = url_parse(args.url, &url);
    if (rc < 0) {
        finish(rc == -EPROTONOSUPPORT ? BAD_SCHEME : BAD_URL, "%s: %s", args.url,
               rc == -EPROTONOSUPPORT ? "only http and https are spoken here" : "malformed");
        return;
    }
    first_url = url;
    if ((rc = weir_loop_open(&options, &loop)) < 0) {
        finish(NOT_STARTED, "%s: %s", weir_strerror(rc), weir_loop_refusal());
        return;
    }
    output_open(loop, args.output, on_written);
    if (args.max_time_ns > 0 && (rc = weir_timer_start(loop, args.max_time_ns, 0, out_of_time, NULL, NULL)) < 0)
        finish(NOT_STARTED, "%s", weir_strerror(rc));
    else
        connect_to_url();
}

int main(int argc, char **argv)
{
    fill_standard_files();
    get_read_args(argc, argv, &args);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file may not grow further: that is told by write */
    start();
    int rc = result < 0 ? weir_loop_run(loop) : 0;
    if (rc < 0)
        finish(NOT_STARTED, "%s", weir_strerror(rc));
    int idle = output_idle();
    rc = output_close(result == 0);
    if (rc < 0 && result == 0) {
        result = -1;
        finish_unwritten(rc);
    }
    if (idle)
        weir_loop_close(loop); /* else the thread that writes may still want it */
    weir_tls_config_close(tls);
    return result;
}
