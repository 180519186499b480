/* Fetches a page over HTTP/1.1: connects, writes the request, reads until the empty line, and then as many
 * bytes as that says. The body goes to stdout. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common_args.h"
#include "common_http.h"

enum exit_status {
    USAGE = 2,
    NOT_CONNECTED = 7,
    BAD_ANSWER = 8,
    TRUNCATED = 18,
    HTTP_ERROR = 22,
    NOT_WRITTEN = 23,
    NOT_RECEIVED = 56
};

enum { HEAD_MAX = 64 * 1024, LINE_MAX_BYTES = 4096, TRAILERS_MAX = 100, PIECE = 1 << 20 };

static struct {
    int backend, include;
    const char *host;       /* HOST:PORT */
    const char *authority;  /* as the URL has it */
    const char *path;
} opt;

static struct weir_loop *loop;
static const char *program;
static struct http_head head;
static uint64_t left;       /* bytes of the body, or of the chunk, still to come */
static int trailers;
static int result = -1;     /* the exit status; -1: not known yet */

/* ---- The end ---- */

__attribute__((format(printf, 3, 4)))
static void finish(struct weir_stream *s, int status, const char *format, ...)
{
    va_list args;
    if (result >= 0)
        return;
    result = status;
    if (format) {
        fprintf(stderr, "%s: ", program);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

static void body_done(struct weir_stream *s)
{
    if (head.status >= 400)
        finish(s, HTTP_ERROR, "the answer's status is %d", head.status);
    else
        finish(s, 0, NULL);
}

/* A read failed: `early` is the status if the peer's end is to blame. */
static void lost(struct weir_stream *s, int status, int early, const char *what)
{
    if (status == WEIR_EOF)
        finish(s, early, "the connection ended within %s", what);
    else if (status == WEIR_EUNSATISFIABLE)
        finish(s, BAD_ANSWER, "%s is too long", what);
    else
        finish(s, NOT_RECEIVED, "receiving: %s", weir_strerror(status));
}

static void print(const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EPIPE)
                fprintf(stderr, "%s: writing: %s\n", program, strerror(errno));
            exit(NOT_WRITTEN);
        }
        at += n;
        len -= (size_t)n;
    }
}

/* ---- Reads: one that is refused ends the fetch, too ---- */

static void reading(struct weir_stream *s, int rc)
{
    if (rc < 0)
        finish(s, NOT_RECEIVED, "receiving: %s", weir_strerror(rc));
}

static void read_piece(struct weir_stream *s, weir_read_fn *fn)
{
    reading(s, weir_read_some(s, left < PIECE ? (size_t)left : PIECE, fn, NULL));
}

static void read_line(struct weir_stream *s, weir_read_fn *fn)
{
    reading(s, weir_read_until(s, "\r\n", 2, LINE_MAX_BYTES, fn, NULL));
}

static void read_head(struct weir_stream *s, weir_read_fn *fn)
{
    reading(s, weir_read_until(s, "\r\n\r\n", 4, HEAD_MAX, fn, NULL));
}

/* ---- Bodies ---- */

static void on_counted(struct weir_stream *s, int status, struct weir_view view, void *arg);
static void on_size_line(struct weir_stream *s, int status, struct weir_view view, void *arg);

static void read_counted(struct weir_stream *s)
{
    if (left == 0)
        body_done(s);
    else
        read_piece(s, on_counted);
}

static void on_counted(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status < 0) {
        lost(s, status, TRUNCATED, "the body");
        return;
    }
    print(view.data, view.len);
    left -= view.len;
    read_counted(s);
}

static void on_rest(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status == WEIR_EOF) {
        body_done(s);
    } else if (status < 0) {
        lost(s, status, TRUNCATED, "the body");
    } else {
        print(view.data, view.len);
        reading(s, weir_read_some(s, PIECE, on_rest, NULL));
    }
}

static void on_chunk_end(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status < 0)
        lost(s, status, TRUNCATED, "a chunk");
    else if (memcmp(view.data, "\r\n", 2) != 0)
        finish(s, BAD_ANSWER, "a chunk is longer than it says");
    else
        read_line(s, on_size_line);
}

static void on_chunk(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status < 0) {
        lost(s, status, TRUNCATED, "a chunk");
        return;
    }
    print(view.data, view.len);
    left -= view.len;
    if (left > 0)
        read_piece(s, on_chunk);
    else
        reading(s, weir_read_bytes(s, 2, on_chunk_end, NULL));
}

static void on_trailer(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct http_text rest = {view.data, view.len}, name, value;
    (void)arg;
    if (status < 0)
        lost(s, status, TRUNCATED, "the trailer");
    else if (view.len == 2)
        body_done(s);
    else if (http_next_field(&rest, &name, &value) < 0 || ++trailers > TRAILERS_MAX)
        finish(s, BAD_ANSWER, "the trailer is malformed");
    else
        read_line(s, on_trailer);
}

static void on_size_line(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status < 0)
        lost(s, status, TRUNCATED, "a chunk's size");
    else if (http_chunk_size(view.data, view.len, &left) < 0)
        finish(s, BAD_ANSWER, "a chunk's size is malformed");
    else if (left == 0)
        read_line(s, on_trailer);
    else
        read_piece(s, on_chunk);
}

/* ---- The answer's head ---- */

static void on_head(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)arg;
    if (status < 0) {
        lost(s, status, BAD_ANSWER, "the answer's head");
        return;
    }
    if (http_parse_answer(view.data, view.len, &head) < 0 || head.coding == HTTP_CODED ||
        head.status == 101) {
        finish(s, BAD_ANSWER, "the answer's head is malformed");
        return;
    }
    if (opt.include)
        print(view.data, view.len);
    if (head.status < 200) {
        read_head(s, on_head);
    } else if (head.status == 204 || head.status == 304) {
        body_done(s);
    } else if (head.coding == HTTP_CHUNKED) {
        read_line(s, on_size_line);
    } else if (head.length >= 0) {
        left = (uint64_t)head.length;
        read_counted(s);
    } else {
        reading(s, weir_read_some(s, PIECE, on_rest, NULL));
    }
}

static void on_connect(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status < 0)
        finish(s, NOT_CONNECTED, "%s: %s", opt.host, weir_strerror(status));
    else
        read_head(s, on_head);
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)s;
    (void)reason;
    (void)arg;
    weir_loop_stop(loop);
}

/* ---- The command line ---- */

__attribute__((noreturn))
static void mistake(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\nusage: %s [--backend auto|uring|epoll] [--include] URL\n", program, what,
            why, program);
    exit(USAGE);
}

/* http://HOST[:PORT][/PATH][?QUERY][#FRAGMENT] */
static void read_url(const char *url)
{
    static char host[300], authority[256], path[HTTP_LINE_MAX / 2];
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p > '~')
            mistake(url, "a blank or an odd character");
    if (strstr(at, "://") && strcspn(at, "/?#") > strcspn(at, ":"))
        mistake(url, "only http:// is spoken here");
    size_t len = strcspn(at, "/?#"), rest = strcspn(at + len, "#");
    if (len == 0 || len >= sizeof authority || memchr(at, '@', len))
        mistake(url, "no HOST or HOST:PORT in it");
    if (rest + 2 > sizeof path)
        mistake(url, "too long");
    memcpy(authority, at, len);
    const char *end = strrchr(authority, ']'), *colon = strchr(end ? end : authority, ':');
    snprintf(host, sizeof host, "%s%s", authority, colon && colon[1] ? "" : colon ? "80" : ":80");
    snprintf(path, sizeof path, "%s%.*s", at[len] == '/' ? "" : "/", (int)rest, at + len);
    opt.host = host;
    opt.authority = authority;
    opt.path = path;
}

static void read_args(int argc, char **argv)
{
    const char *url = NULL;
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc) {
            opt.backend = backend_by_name(argv[++i]);
            if (opt.backend < 0)
                mistake(argv[i], "no such backend");
        } else if (strcmp(argv[i], "--include") == 0) {
            opt.include = 1;
        } else if (argv[i][0] == '-' || url) {
            mistake(argv[i], "not understood");
        } else {
            url = argv[i];
        }
    }
    if (!url)
        mistake("URL", "missing");
    read_url(url);
}

static void read_address(struct sockaddr_storage *addr, socklen_t *len)
{
    if (weir_addr_parse(opt.host, addr, len) < 0 || opt.host[0] == '*' ||
        (addr->ss_family != AF_INET && addr->ss_family != AF_INET6))
        mistake(opt.host, "names are not looked up: it takes an IP address or localhost, and a port");
}

static int start(const struct sockaddr_storage *addr, socklen_t len)
{
    struct weir_stream_options options = {.size = sizeof options, .on_close = on_close};
    char request[HTTP_LINE_MAX];
    struct weir_stream *s;
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nConnection: close\r\n\r\n", opt.path,
                     opt.authority);
    int rc = weir_connect_addr(loop, (const struct sockaddr *)addr, len, &options, on_connect, NULL, &s);
    return rc < 0 ? rc : weir_write(s, request, (size_t)n, NULL, NULL);
}

int main(int argc, char **argv)
{
    struct weir_loop_options options = {.size = sizeof options};
    struct sockaddr_storage addr;
    socklen_t len;
    read_args(argc, argv);
    read_address(&addr, &len);
    options.backend = opt.backend;
    signal(SIGPIPE, SIG_IGN);
    int rc = weir_loop_open(&options, &loop);
    if (rc == 0)
        rc = start(&addr, len);
    if (rc == 0)
        rc = weir_loop_run(loop);
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s %s\n", program, opt.host, weir_strerror(rc), weir_loop_refusal());
        return NOT_CONNECTED;
    }
    weir_loop_close(loop);
    return result < 0 ? NOT_RECEIVED : result;
}
