/* What the servers to compare with have in common, none of which is measured: command line, signals, listening. */
#include "common_peer.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

volatile sig_atomic_t peer_stopped;

static void on_signal(int sig)
{
    (void)sig;
    peer_stopped = 1;
}

static int listen_on(const char *where, const char *what, int flags)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    char host[64];
    int port, one = 1;
    if (sscanf(where, "%63[^:]:%d", host, &port) != 2 || inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return -1;
    in.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 4096) < 0)
        return -1;
    socklen_t len = sizeof in;
    getsockname(fd, (struct sockaddr *)&in, &len);
    printf("listening on %s:%d (%s)\n", host, ntohs(in.sin_port), what);
    fflush(stdout);
    return fd;
}

static const char *take(int *argc, char **argv, const char *name, int count)
{
    for (int i = 1; i + count <= *argc; i++) {
        if (strcmp(argv[i], name) != 0)
            continue;
        const char *last = argv[i + count - 1];
        memmove(argv + i, argv + i + count, (size_t)(*argc - i - count) * sizeof *argv);
        *argc -= count;
        return last;
    }
    return NULL;
}

int peer_flag(int *argc, char **argv, const char *name)
{
    return take(argc, argv, name, 1) != NULL;
}

const char *peer_option(int *argc, char **argv, const char *name)
{
    return take(argc, argv, name, 2);
}

void peer_usage(int argc, char **argv, const char *own)
{
    int asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: %s %s%s[--listen HOST:PORT]\n", argv[0], own, *own ? " " : "");
    exit(asked ? 0 : 2);
}

int peer_start(int argc, char **argv, const char *own, const char *what, int flags)
{
    struct sigaction act = {.sa_handler = on_signal};
    const char *asked = peer_option(&argc, argv, "--listen"), *where = asked ? asked : "127.0.0.1:8080";
    if (argc != 1)
        peer_usage(argc, argv, own);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    int listener = listen_on(where, what, flags);
    if (listener < 0) {
        perror(where);
        exit(1);
    }
    return listener;
}
