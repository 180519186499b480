/* Descriptors that are no stream's, on any world: sockets of the kernel or of the simulator, with calls that never
 * wait. And watches that log what they are told. */
#ifndef HELPERS_FOREIGN_H
#define HELPERS_FOREIGN_H

#include "helpers_stream.h"

/* Two connected sockets. */
void foreign_pair(struct env *e, int fds[2]);
void foreign_send(struct env *e, int fd, const char *text);
/* How many bytes were there to read, all of them; -1: the end, or an error. */
long foreign_drain(struct env *e, int fd);
/* Send until nothing more fits. */
void foreign_fill(struct env *e, int fd);
void foreign_shutdown(struct env *e, int fd);
void foreign_close(struct env *e, int fd, int reset);
/* Wait, without a turn of any loop, until fd has something to read. */
void foreign_wait(struct env *e, int fd);

/* What was logged so far is of no interest. */
void forget_log(struct env *e);

/* A watch with a name. Its callback logs "NAME rw", or "NAME ERRNAME"; r, w, h, e: the events. NULL: nothing. */
struct lookout {
    struct env *e;
    const char *name;
    int fd;
    struct weir_watch *watch;
    int calls;
    unsigned events;            /* of the last call */
    int status;
    void (*then)(struct lookout *l);    /* called from the callback; may be NULL */
    void *with;                 /* for `then` */
};

void lookout_open(struct lookout *l, struct env *e, const char *name, int fd, unsigned events);
void lookout_close(struct lookout *l);
/* For `then`: read what is there. */
void lookout_drain(struct lookout *l);

#endif
