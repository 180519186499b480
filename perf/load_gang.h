/* The threads of the workers: an order is carried out by all of them, each with its share. */
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
    int working;        /* workers that have not carried it out */
    int refused;        /* why a loop did not open; 0: all did */
};

/* Result: 0, or the code of a loop that did not open, which is told on stderr. */
int gang_open(struct gang *gang, struct load *load);
void gang_close(struct gang *gang);

/* Returns when all have carried it out. look(arg), if not NULL, is called every look_ns meanwhile. */
void gang_order(struct gang *gang, struct order order, uint64_t look_ns, void (*look)(void *arg), void *arg);

/* Answers so far, also while an order is carried out. */
uint64_t gang_answers(const struct gang *gang, int target);

/* A target's connections that have not failed. */
int gang_live(const struct gang *gang, int target);

#endif
