/* To compare with: an echo server over TLS written by hand, on epoll and OpenSSL's own sockets. It decrypts a record
 * into one buffer, encrypts it at once, and asks for EPOLLOUT only after the kernel was full. With --ahead OpenSSL
 * receives all that there is, for each record's head and then its rest: few servers ask for that. It does not use
 * weir. */
#include "common_peer.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, CHUNK = SSL3_RT_MAX_PLAIN_LENGTH, FDS = 65536 };

/* A connection, with what a full kernel left of its bytes. */
struct connection {
    SSL *ssl;
    char *rest;
    int len;
    uint32_t wants;     /* what epoll was asked for */
};

static struct connection connections[FDS];
static char chunk[CHUNK];
static SSL_CTX *ctx;
static int epfd;

static void want(int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    struct connection *c = &connections[fd];
    if (c->wants != events)
        epoll_ctl(epfd, c->wants ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    c->wants = events;
}

static void hang_up(int fd)
{
    struct connection *c = &connections[fd];
    SSL_free(c->ssl);
    free(c->rest);
    memset(c, 0, sizeof *c);
    close(fd);
}

/* 1: it waits for the kernel; 0: it is over. */
static int wait_or_end(int fd, int rc)
{
    switch (SSL_get_error(connections[fd].ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        want(fd, EPOLLIN);
        return 1;
    case SSL_ERROR_WANT_WRITE:
        want(fd, EPOLLOUT);
        return 1;
    case SSL_ERROR_ZERO_RETURN:
        SSL_shutdown(connections[fd].ssl);
        break;
    default:
        ERR_clear_error();
    }
    hang_up(fd);
    return 0;
}

static void keep_rest(int fd, int len)
{
    struct connection *c = &connections[fd];
    c->rest = malloc((size_t)len);
    if (!c->rest) {
        hang_up(fd);
        return;
    }
    memcpy(c->rest, chunk, (size_t)len);
    c->len = len;
}

/* What OpenSSL has received already, epoll does not know of. */
static void on_readable(int fd)
{
    struct connection *c = &connections[fd];
    do {
        int n = SSL_read(c->ssl, chunk, CHUNK);
        if (n <= 0) {
            wait_or_end(fd, n);
            return;
        }
        int rc = SSL_write(c->ssl, chunk, n);
        if (rc != n) {
            if (wait_or_end(fd, rc))
                keep_rest(fd, n);
            return;
        }
    } while (SSL_has_pending(c->ssl));
}

static void on_writable(int fd)
{
    struct connection *c = &connections[fd];
    int rc = SSL_write(c->ssl, c->rest, c->len);
    if (rc != c->len) {
        wait_or_end(fd, rc);
        return;
    }
    free(c->rest);
    c->rest = NULL;
    want(fd, EPOLLIN);
    if (SSL_has_pending(c->ssl))
        on_readable(fd);
}

static void on_connection(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        SSL *ssl = fd < FDS ? SSL_new(ctx) : NULL;
        if (!ssl || SSL_set_fd(ssl, fd) != 1) {
            SSL_free(ssl);
            close(fd);
            continue;
        }
        SSL_set_accept_state(ssl);
        connections[fd].ssl = ssl;
        want(fd, EPOLLIN);
    }
}

static void serve(int listener)
{
    static struct epoll_event events[EVENTS];
    while (!peer_stopped) {
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                on_connection(fd);
            else if (connections[fd].rest)
                on_writable(fd);
            else
                on_readable(fd);
        }
    }
}

/* An SSL_CTX as it comes, with the ciphers that weir takes. Sessions are in tickets, one for a handshake as weir's. */
static void set_up(const char *cert, const char *key, int ahead)
{
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384");
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_read_ahead(ctx, ahead);
}

int main(int argc, char **argv)
{
    static const char own[] = "[--ahead] --tls-cert FILE --tls-key FILE";
    int ahead = peer_flag(&argc, argv, "--ahead");
    const char *cert = peer_option(&argc, argv, "--tls-cert"), *key = peer_option(&argc, argv, "--tls-key");
    if (!cert || !key)
        peer_usage(argc, argv, own);
    set_up(cert, key, ahead);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    const char *what = ahead ? "by hand, TLS on epoll, reading ahead" : "by hand, TLS on epoll";
    int listener = peer_start(argc, argv, own, what, SOCK_NONBLOCK);
    want(listener, EPOLLIN);
    serve(listener);
    return 0;
}
