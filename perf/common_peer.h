/* What the servers written by hand have in common. It does without weir. */
#ifndef COMMON_PEER_H
#define COMMON_PEER_H

#include <signal.h>

/* Not 0 once SIGTERM or SIGINT has come. */
extern volatile sig_atomic_t peer_stopped;

/* Reads [--listen HOST:PORT], listens there (flags: for socket(2)), and says so on one line. Accepted sockets are
 * TCP_NODELAY. Result: the listening socket; exits with 1 or 2 on a mistake, with 0 after --help. */
int peer_start(int argc, char **argv, const char *what, int flags);

#endif
