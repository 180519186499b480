/* The workers: an order is carried out by all of them, each with its share. The first works on the thread that gives
 * the orders, so that with one loop there is one thread, and no call pays for others; each other has its own. */
#ifndef LOAD_GANG_H
#define LOAD_GANG_H

#include <pthread.h>

#include "load_worker.h"

enum order_kind { ORDER_CONNECT, ORDER_IDLE, ORDER_DRIVE, ORDER_END };

struct order {
    enum order_kind kind;
    int target;
    int count;          /* of silent connections, of all workers together */
    double seconds;
    int round;
};

struct gang {
    struct load *load;
    struct worker *workers;
    pthread_t *threads;
    int count;          /* as many as there are loops */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct order order;
    unsigned number;    /* of the order */
    int working;        /* threads that have not carried it out */
};

/* Exits with 1 if a loop does not open, and tells why. */
void gang_open(struct gang *gang, struct load *load);
void gang_close(struct gang *gang);

/* Returns when all have carried it out. */
void gang_order(struct gang *gang, struct order order);

/* The loop of the first, for timers that look on. */
struct weir_loop *gang_loop(const struct gang *gang);

/* Answers so far, also while an order is carried out. */
uint64_t gang_answers(const struct gang *gang, int target);

/* A target's connections that have not failed. */
int gang_live(const struct gang *gang, int target);

#endif
