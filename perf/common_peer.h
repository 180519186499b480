/* What the servers to compare with have in common. It does without weir. */
#ifndef COMMON_PEER_H
#define COMMON_PEER_H

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Not 0 once SIGTERM or SIGINT has come. */
extern volatile sig_atomic_t peer_stopped;

/* Take an option of the server's own off the command line, before peer_start. Result: 1 if it is there; its value, NULL
 * if it is not. */
int peer_flag(int *argc, char **argv, const char *name);
const char *peer_option(int *argc, char **argv, const char *name);

/* Prints how the server is called, and exits: with 0 if it was asked for, or else with 2. */
void peer_usage(int argc, char **argv, const char *own);

/* Reads [--listen HOST:PORT], which is all that may be left, listens there (flags: for socket(2)), and says so on one
 * line. Accepted sockets are TCP_NODELAY. own: the usage of the server's own options. Result: the listening socket;
 * exits with 1 or 2 on a mistake, with 0 after --help. */
int peer_start(int argc, char **argv, const char *own, const char *what, int flags);

#ifdef __cplusplus
}
#endif
#endif
