/* A static HTTP/1.1 server: the files below --root, or one small page. A client that does not read its
 * answers is asked for no more requests; big files go out piece by piece, as the client takes them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common_args.h"
#include "common_http.h"

enum {
    HEAD_MAX = 16 * 1024,
    HEAD_READ = 64 * 1024,      /* beyond this the stream ends; between the two there is an answer */
    BODY_MAX = 1 << 20,         /* of a request: read and dropped */
    PIECE = 256 * 1024,         /* of a file: what is in memory at once */
    HIGH_WATER = 1 << 20,
    PATH_SIZE = 4096
};

struct conn {
    struct client client;
    int fd;                     /* the file that is the answer, or -1: the small page */
    const char *type;
    int64_t size, sent;         /* of the file */
    int64_t body;               /* bytes of the request's body still to come */
    int head_only, keep, minor;
};

static const char page[] = "Hello, world!\n";
static int root = -1;
static char piece[PIECE];

static void next_request(struct conn *c);
static void send_piece(struct conn *c);

/* ---- Answers ---- */

/* Now, as text that is made once a second. */
static const char *date(time_t *ret_now)
{
    static char text[40];
    static time_t made = -1;
    time_t now = time(NULL);
    if (now != made) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        made = now;
    }
    *ret_now = now;
    return text;
}

static size_t make_head(char *to, size_t size, const char *status, const char *extra, const char *type,
                        int64_t length)
{
    time_t now;
    int n = snprintf(to, size,
                     "HTTP/1.1 %s\r\nDate: %s\r\n%sContent-Type: %s\r\nContent-Length: %lld\r\n\r\n", status,
                     date(&now), extra, type, (long long)length);
    return (size_t)n;
}

/* The answer to most requests: the small page with its head, made once a second. */
static int send_page_whole(struct conn *c)
{
    static char answer[512];
    static size_t len;
    static time_t made = -1;
    time_t now;
    date(&now);
    if (now != made) {
        len = make_head(answer, sizeof answer, "200 OK", "", "text/plain", (int64_t)strlen(page));
        memcpy(answer + len, page, strlen(page));
        len += strlen(page);
        made = now;
    }
    return weir_write(c->client.s, answer, len, NULL, NULL);
}

static const char *connection_field(const struct conn *c)
{
    if (!c->keep)
        return "Connection: close\r\n";
    return c->minor == 0 ? "Connection: keep-alive\r\n" : "";
}

/* A head, and what there is of a body at once. */
static int send_answer(struct conn *c, const char *status, const char *extra, const char *type,
                       int64_t length, const char *body, size_t len)
{
    char fields[128], head[512];
    snprintf(fields, sizeof fields, "%s%s", extra, connection_field(c));
    size_t head_len = make_head(head, sizeof head, status, fields, type, length);
    struct iovec iov[] = {{head, head_len}, {(void *)(uintptr_t)body, c->head_only ? 0 : len}};
    return weir_writev(c->client.s, iov, 2, NULL, NULL);
}

static const char *status_text(int status)
{
    switch (status) {
    case 400: return "400 Bad Request";
    case 404: return "404 Not Found";
    case 405: return "405 Method Not Allowed";
    case 411: return "411 Length Required";
    case 413: return "413 Content Too Large";
    case 414: return "414 URI Too Long";
    case 417: return "417 Expectation Failed";
    case 431: return "431 Request Header Fields Too Large";
    case 500: return "500 Internal Server Error";
    case 501: return "501 Not Implemented";
    case 503: return "503 Service Unavailable";
    case 505: return "505 HTTP Version Not Supported";
    default: return "500 Internal Server Error";
    }
}

/* The last answer of the connection. */
static void refuse(struct conn *c, int status)
{
    char body[64];
    const char *text = status_text(status);
    int len = snprintf(body, sizeof body, "%s\n", text + 4);
    c->keep = 0;
    send_answer(c, text, status == 405 ? "Allow: GET, HEAD\r\n" : "", "text/plain", len, body, (size_t)len);
    weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

/* A stream that closes by FLUSH refuses what is new, and still sends what it has: leave it to that. */
static void give_up(struct conn *c, int rc)
{
    if (rc != WEIR_ECLOSED)
        weir_stream_close(c->client.s, WEIR_CLOSE_RESET);
}

static void answered(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (c->keep)
        next_request(c);
    else
        weir_stream_close(c->client.s, WEIR_CLOSE_FLUSH);
}

/* ---- Files ---- */

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One character of the path. Escapes that would be a slash or a control character are no part of any name. */
static int take_char(const char **at, const char *end)
{
    char c = *(*at)++;
    if (c != '%')
        return c == '#' ? -1 : (unsigned char)c;
    int high = end - *at >= 2 ? hex((*at)[0]) : -1, low = end - *at >= 2 ? hex((*at)[1]) : -1;
    int byte = high * 16 + low;
    *at += 2;
    return high < 0 || low < 0 || byte < ' ' || byte == 0x7f || byte == '/' ? -1 : byte;
}

/* The target as a path below the root, without leading slashes. Result: 0, or the status to refuse with. */
static int decode_target(struct http_text t, char *path)
{
    const char *at = t.at;
    const char *query = memchr(at, '?', t.len);
    size_t len = 0;
    if (t.len > 7 && strncasecmp(at, "http://", 7) == 0) {
        at = memchr(at + 7, '/', t.len - 7);
        if (!at || (query && at > query))
            return 400;
    }
    const char *end = query ? query : t.at + t.len;
    if (at == end || *at != '/')
        return 400;
    while (at < end) {
        int c = take_char(&at, end);
        if (c < 0)
            return 400;
        if (len + 1 == PATH_SIZE)
            return 404;
        if (c != '/' || len > 0)
            path[len++] = (char)c;
    }
    path[len] = '\0';
    return 0;
}

static int climbs(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return 1;
    }
    return 0;
}

/* For kernels without openat2: name by name, and no symbolic link anywhere. */
static int open_by_steps(int dir, char *path, int flags)
{
    int at = dir, fd;
    for (char *name = path, *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        fd = openat(at, *name ? name : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        *slash = '/';
        if (at != dir)
            close(at);
        if (fd < 0)
            return fd;
        at = fd;
    }
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    fd = openat(at, *last ? last : ".", flags | O_NOFOLLOW);
    if (at != dir)
        close(at);
    return fd;
}

/* Nothing above `dir` is opened, by whatever links. */
static int open_beneath(int dir, char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_by_steps(dir, path, (int)how.flags);
    return (int)fd;
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"}, {".css", "text/css"},  {".js", "text/javascript"},
        {".json", "application/json"},         {".txt", "text/plain"}, {".png", "image/png"},
        {".jpg", "image/jpeg"},                {".svg", "image/svg+xml"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static int has_type(int fd, mode_t type, struct stat *st)
{
    return fstat(fd, st) == 0 && (st->st_mode & S_IFMT) == type;
}

/* `path` has room for the name that stands for a directory. Result: 0, or the status to refuse with. */
static int take_file(struct conn *c, char *path)
{
    struct stat st;
    int fd = open_beneath(root, path);
    if (fd >= 0 && has_type(fd, S_IFDIR, &st)) {
        close(fd);
        strcat(path, *path ? "/index.html" : "index.html");
        fd = open_beneath(root, path);
    }
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EAGAIN ? 503 : 404;
    if (!has_type(fd, S_IFREG, &st)) {
        close(fd);
        return 404;
    }
    c->fd = fd;
    c->type = type_of(path);
    c->size = st.st_size;
    c->sent = 0;
    return 0;
}

static void piece_sent(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        send_piece(weir_stream_ext(s));
}

/* A file that has become shorter ends in a reset: the length was a promise, and nothing is made up. */
static void send_piece(struct conn *c)
{
    if (c->sent == c->size) {
        answered(c);
        return;
    }
    size_t want = c->size - c->sent < PIECE ? (size_t)(c->size - c->sent) : PIECE;
    ssize_t n = pread(c->fd, piece, want, c->sent);
    if (n <= 0 || weir_write(c->client.s, piece, (size_t)n, piece_sent, NULL) < 0) {
        weir_stream_close(c->client.s, WEIR_CLOSE_RESET);
        return;
    }
    c->sent += n;
}

static void send_file(struct conn *c)
{
    ssize_t n = c->size <= PIECE && !c->head_only ? pread(c->fd, piece, PIECE, 0) : 0;
    if (n < 0) {
        refuse(c, 500);
        return;
    }
    int64_t length = c->size <= PIECE && !c->head_only ? n : c->size;
    int rc = send_answer(c, "200 OK", "", c->type, length, piece, (size_t)n);
    if (rc < 0)
        give_up(c, rc);
    else if (c->head_only || c->size <= PIECE)
        answered(c);
    else
        send_piece(c);
}

/* ---- Requests ---- */

static void respond(struct conn *c)
{
    if (c->fd >= 0) {
        send_file(c);
        return;
    }
    int rc = c->keep && c->minor > 0 && !c->head_only
                 ? send_page_whole(c)
                 : send_answer(c, "200 OK", "", "text/plain", (int64_t)strlen(page), page, strlen(page));
    if (rc < 0)
        give_up(c, rc);
    else
        answered(c);
}

static void on_body(struct weir_stream *s, int status, struct weir_view view, void *arg);

static void read_body(struct conn *c)
{
    size_t max = c->body < PIECE ? (size_t)c->body : PIECE;
    int rc = 0;
    if (c->body == 0)
        respond(c);
    else
        rc = weir_read_some(c->client.s, max, on_body, NULL);
    if (rc < 0)
        give_up(c, rc);
}

static void on_body(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = weir_stream_ext(s);
    (void)arg;
    if (status < 0) {
        weir_stream_close(s, WEIR_CLOSE_NOW);
        return;
    }
    c->body -= (int64_t)view.len;
    read_body(c);
}

static int method_status(struct conn *c, struct http_text method)
{
    static const char *const others[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"};
    if (method.len == 3 && memcmp(method.at, "GET", 3) == 0)
        return 0;
    if (method.len == 4 && memcmp(method.at, "HEAD", 4) == 0) {
        c->head_only = 1;
        return 0;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (method.len == strlen(others[i]) && memcmp(method.at, others[i], method.len) == 0)
            return 405;
    return 501;
}

/* Result: 0 and what is to be answered, or the status to refuse the request with. */
static int take_request(struct conn *c, struct weir_view view)
{
    struct http_head head;
    char path[PATH_SIZE + sizeof "/index.html"];
    c->head_only = 0;
    int rc = http_parse_request(view.data, view.len, &head);
    if (rc == 0 && view.len > HEAD_MAX)
        rc = 431;
    if (rc == 0)
        rc = method_status(c, head.method);
    if (rc == 0 && head.coding != HTTP_PLAIN)
        rc = head.coding == HTTP_CHUNKED ? 411 : 501;
    if (rc == 0 && head.length > BODY_MAX)
        rc = 413;
    if (rc == 0 && head.length > 0 && head.expects)
        rc = 417;
    if (rc == 0)
        rc = decode_target(head.target, path);
    if (rc != 0)
        return rc;
    c->keep = http_persists(&head) && !server_draining();
    c->minor = head.minor;
    c->body = head.length > 0 ? head.length : 0;
    if (root < 0)
        return *path ? 404 : 0;
    return climbs(path) ? 400 : take_file(c, path);
}

static void on_head(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct conn *c = weir_stream_ext(s);
    (void)arg;
    if (status == WEIR_EOF)
        weir_stream_close(s, WEIR_CLOSE_FLUSH);
    if (status < 0)
        return;
    int rc = take_request(c, view);
    if (rc != 0)
        refuse(c, rc);
    else
        read_body(c);
}

static void read_head(struct conn *c)
{
    int rc = weir_read_until(c->client.s, "\r\n\r\n", 4, HEAD_READ, on_head, NULL);
    if (rc < 0)
        give_up(c, rc);
}

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        read_head(weir_stream_ext(s));
}

static void next_request(struct conn *c)
{
    struct weir_stream_facts facts;
    weir_stream_facts(c->client.s, &facts, sizeof facts);
    int rc = 0;
    if (facts.queued < HIGH_WATER)
        read_head(c);
    else
        rc = weir_write(c->client.s, NULL, 0, on_drained, NULL);
    if (rc < 0)
        give_up(c, rc);
}

/* ---- Connections ---- */

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct conn *c = weir_stream_ext(s);
    (void)reason;
    (void)arg;
    if (c->fd >= 0)
        close(c->fd);
    server_lost(s);
}

static void on_stream(struct weir_stream *s)
{
    struct conn *c = weir_stream_ext(s);
    c->fd = -1;
    next_request(c);
}

int main(int argc, char **argv)
{
    struct server_args args;
    struct weir_stream_options options = {
        .size = sizeof options, .ext_size = sizeof(struct conn), .half_open = 1, .on_close = on_close};
    server_read_args(argc, argv, "Serves files over HTTP/1.1, or one small page at /.", 1, &args);
    if (args.root && (root = open(args.root, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], args.root, strerror(errno));
        return 2;
    }
    return server_run(&args, &options, on_stream);
}
