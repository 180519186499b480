/* To compare with: an echo server on libuv. --write try: uv_try_write first, and uv_write for what the kernel did not
 * take. --write queue: uv_write always. Received bytes lie in one buffer, and what is to be written later is copied:
 * memory of the 64 KiB that libuv suggests, which its examples take for each read, would cost three times as much. */
#include "common_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct write {
    uv_write_t req;
    char data[];
};

static char chunk[65536];
static int queue;

static void on_closed(uv_handle_t *h)
{
    free(h);
}

static void hang_up(uv_stream_t *s)
{
    if (!uv_is_closing((uv_handle_t *)s))
        uv_close((uv_handle_t *)s, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)h;
    (void)suggested;
    *buf = uv_buf_init(chunk, sizeof chunk);
}

static void on_written(uv_write_t *req, int status)
{
    if (status < 0)
        hang_up(req->handle);
    free(req);      /* its first member */
}

static void write_later(uv_stream_t *s, const char *data, size_t len)
{
    struct write *w = malloc(sizeof *w + len);
    uv_buf_t buf = uv_buf_init(w ? w->data : NULL, (unsigned)len);
    if (w)
        memcpy(w->data, data, len);
    if (!w || uv_write(&w->req, s, &buf, 1, on_written) < 0) {
        free(w);
        hang_up(s);
    }
}

static void write_now(uv_stream_t *s, char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init(data, (unsigned)len);
    int n = uv_try_write(s, &buf, 1);
    size_t left = len - (n > 0 ? (size_t)n : 0);
    if (n < 0 && n != UV_EAGAIN)
        hang_up(s);
    else if (left > 0)
        write_later(s, data + len - left, left);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    if (n > 0 && queue)
        write_later(s, buf->base, (size_t)n);
    else if (n > 0)
        write_now(s, buf->base, (size_t)n);
    else if (n < 0)
        hang_up(s);
}

static void on_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *tcp = status == 0 ? malloc(sizeof *tcp) : NULL;
    if (!tcp)
        return;
    uv_tcp_init(listener->loop, tcp);
    if (uv_accept(listener, (uv_stream_t *)tcp) < 0 || uv_read_start((uv_stream_t *)tcp, on_alloc, on_read) < 0)
        hang_up((uv_stream_t *)tcp);
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    uv_stop(signal->loop);
}

int main(int argc, char **argv)
{
    static const char own[] = "--write try|queue";
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_signal_t term;
    const char *how = peer_option(&argc, argv, "--write");
    if (!how || (strcmp(how, "try") != 0 && strcmp(how, "queue") != 0))
        peer_usage(argc, argv, own);
    queue = strcmp(how, "queue") == 0;
    uv_tcp_init(loop, &listener);
    uv_tcp_open(&listener, peer_start(argc, argv, own, queue ? "libuv, uv_write" : "libuv, uv_try_write", 0));
    uv_signal_init(loop, &term);
    uv_signal_start(&term, on_signal, SIGTERM);
    int rc = uv_listen((uv_stream_t *)&listener, 4096, on_connection);
    if (rc < 0) {
        fprintf(stderr, "uv_listen: %s\n", uv_strerror(rc));
        return 1;
    }
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
