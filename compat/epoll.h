/* The epoll world, shared by its own files. Level 3.
 *
 * epoll.c      descriptors, starting, waiting, reaping
 * epoll_try.c  what an op does when its descriptor may be ready */
#ifndef WR_EPOLL_H
#define WR_EPOLL_H

#include <stdatomic.h>
#include <sys/epoll.h>

#include "backend.h"

enum { WR_EPOLL_EVENTS = 32 };  /* what they wake is still in the nearest cache when it has something to send */

/* What is known of a descriptor. */
struct wr_seat {
    struct wr_op *ops;      /* in flight: one for each direction, any number of polls; the next is in world[1] */
    uint32_t generation;    /* tells a stale event from one of the descriptor's present owner */
    uint16_t watchers;      /* those who have it polled, and will close it without telling us */
    uint8_t depth;          /* of the runs of buffers that receives are given */
    bool registered : 1;
    bool room : 1;          /* so it is for room to send */
    bool readable : 1;      /* the last look did not find it empty */
    bool short_is_empty : 1;    /* a receive of less than asked for has found the end of what is there */
};

struct wr_epoll {
    struct wr_world w;
    struct wr_net net;
    int epfd, wake_fd;
    atomic_bool waking;
    bool rested;            /* the last turn went without a system call */
    unsigned served;        /* results since the last system call */
    bool no_pwait2;
    struct wr_seat *seats;  /* by descriptor */
    size_t seat_count;
    uint32_t generation;
    struct wr_list ready, finished;
    struct wr_list again;   /* tried in this turn already, and to be tried in the next */
    struct epoll_event events[WR_EPOLL_EVENTS];
};

/* Go as far as it goes now. Is *r a result? If not, the op waits for the next edge. */
bool wr_epoll_try(struct wr_epoll *ep, struct wr_seat *seat, struct wr_op *op, struct wr_result *r);

#endif
