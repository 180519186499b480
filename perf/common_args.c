#include "common_args.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir_tls.h"

static const uint64_t DRAIN_NS = 5000000000u, QUIET_NS = 50000000u;

static struct weir_loop *loop;
static struct weir_tls_config *tls;    /* NULL: plain */
static struct client clients = {.next = &clients, .prev = &clients};
static volatile sig_atomic_t signals;
static void (*serve)(struct weir_stream *s);

int backend_by_name(const char *name)
{
    static const char *const names[] = {"auto", "uring", "epoll"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

uint64_t seconds_by_text(const char *text)
{
    char *end;
    double s = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : 0;
    return s > 0 && s <= 1e9 && *end == '\0' ? (uint64_t)(s * 1e9) : 0;
}

static void show_option(FILE *to, const char *name, const char *form, const char *help)
{
    int width = fprintf(to, "  %s %s", name, form);
    fprintf(to, "%*s%s\n", width < 28 ? 28 - width : 1, "", help);
}

static void usage(FILE *to, const char *program, const char *what, const struct server_option *own)
{
    fprintf(to, "usage: %s [options]\n%s\n", program, what);
    show_option(to, "--listen", "HOST:PORT", "where; port 0 lets the kernel choose; 127.0.0.1:8080 if not given");
    show_option(to, "--backend", "WORLD", "auto, uring or epoll; auto takes io_uring where it is not refused");
    show_option(to, "--tls-cert", "FILE", "speak TLS, with this certificate and those that lead to its root (PEM)");
    show_option(to, "--tls-key", "FILE", "its key; that stands with the certificate if not given");
    for (; own && own->name; own++)
        show_option(to, own->name, own->form, own->help);
    show_option(to, "--help", "", "this text");
}

static struct server_option *find_option(struct server_option *own, const char *name)
{
    for (; own && own->name; own++)
        if (strcmp(own->name, name) == 0)
            return own;
    return NULL;
}

void server_read_args(int argc, char **argv, const char *what, struct server_option *own, struct server_args *args)
{
    *args = (struct server_args){.listen = "127.0.0.1:8080"};
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        struct server_option *option = find_option(own, argv[i]);
        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout, argv[0], what, own);
            exit(0);
        } else if (strcmp(argv[i], "--listen") == 0 && value) {
            args->listen = value;
        } else if (strcmp(argv[i], "--backend") == 0 && value && backend_by_name(value) >= 0) {
            args->backend = backend_by_name(value);
        } else if (strcmp(argv[i], "--tls-cert") == 0 && value) {
            args->tls_cert = value;
        } else if (strcmp(argv[i], "--tls-key") == 0 && value) {
            args->tls_key = value;
        } else if (option && !*option->form) {
            option->value = argv[i--];
        } else if (option && value) {
            option->value = value;
        } else {
            fprintf(stderr, "%s: %s: not understood\n", argv[0], argv[i]);
            usage(stderr, argv[0], what, own);
            exit(2);
        }
    }
}

/* ---- The open streams ---- */

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    (void)l;
    (void)arg;
    if (status < 0)
        return; /* the listener goes on by itself */
    struct client *c = weir_stream_ext(s);
    *c = (struct client){.next = &clients, .prev = clients.prev, .s = s};
    c->prev->next = c->next->prev = c;
    if (tls && weir_tls_start(s, tls, NULL) < 0)
        weir_stream_close(s, WEIR_CLOSE_NOW);
    else
        serve(s);
}

void server_lost(struct weir_stream *s)
{
    struct client *c = weir_stream_ext(s);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    if (signals > 0 && clients.next == &clients)
        weir_loop_stop(loop);
}

/* ---- Life ---- */

static void on_signal(int sig)
{
    (void)sig;
    if (signals++ > 0)
        _exit(1);
    weir_loop_stop(loop);
}

int server_draining(void)
{
    return signals > 0;
}

static void give_up(struct weir_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    weir_loop_stop(loop);
}

/* Clients that have been quiet since the last time may go; the others are still being served. */
static void let_go(struct weir_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
    for (struct client *c = clients.next; c != &clients; c = c->next) {
        struct weir_stream_facts facts;
        weir_stream_facts(c->s, &facts, sizeof facts);
        uint64_t moved = facts.bytes_in + facts.bytes_out;
        if (moved == c->moved && facts.queued == 0)
            weir_stream_close(c->s, WEIR_CLOSE_FLUSH);
        c->moved = moved;
    }
}

static int drain(struct weir_listener *l)
{
    weir_listener_close(l);
    struct weir_timer *quiet;
    weir_timer_start(loop, QUIET_NS, QUIET_NS, let_go, NULL, &quiet);
    weir_timer_start(loop, DRAIN_NS, 0, give_up, NULL, NULL);
    int rc = clients.next == &clients ? 0 : weir_loop_run(loop);
    return rc < 0 ? rc : weir_loop_close(loop);
}

static int fail(const char *doing, int rc)
{
    const char *why = *weir_loop_refusal() ? weir_loop_refusal() : weir_tls_config_refusal();
    fprintf(stderr, "%s: %s%s%s\n", doing, weir_strerror(rc), *why ? ": " : "", why);
    return 1;
}

static int announce(struct weir_listener *l)
{
    struct sockaddr_storage addr;
    socklen_t len;
    char text[128];
    int rc = weir_listener_address(l, &addr, &len);
    if (rc == 0)
        rc = weir_addr_format((struct sockaddr *)&addr, len, text, sizeof text);
    if (rc < 0)
        return rc;
    printf("listening on %s (world: %s)\n", text, weir_loop_world(loop));
    fflush(stdout);
    return 0;
}

static int open_tls(const struct server_args *args)
{
    struct weir_tls_config_options opt = {
        .size = sizeof opt, .server = 1, .cert_file = args->tls_cert, .key_file = args->tls_key};
    return args->tls_cert || args->tls_key ? weir_tls_config_open(&opt, &tls) : 0;
}

int server_run(const struct server_args *args, const struct weir_stream_options *options,
               void (*on_stream)(struct weir_stream *s))
{
    struct weir_loop_options lopt = {.size = sizeof lopt, .backend = args->backend};
    struct weir_listen_options opt = {.size = sizeof opt, .stream = options};
    struct sigaction act = {.sa_handler = on_signal};
    struct sockaddr_storage addr;
    struct weir_listener *l;
    int rc = weir_addr_parse(args->listen, &addr, &opt.addr_len);
    if (rc < 0)
        return fail(args->listen, rc);
    if ((rc = open_tls(args)) < 0)
        return fail("TLS", rc);
    if ((rc = weir_loop_open(&lopt, &loop)) < 0)
        return fail("loop", rc);
    opt.addr = (struct sockaddr *)&addr;
    serve = on_stream;
    if ((rc = weir_listen(loop, &opt, on_accept, NULL, &l)) < 0)
        return fail(args->listen, rc);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    if ((rc = announce(l)) < 0 || (rc = weir_loop_run(loop)) < 0 || (rc = drain(l)) < 0)
        return fail("serving", rc);
    weir_tls_config_close(tls);
    return 0;
}
