#include "load_gang.h"

#include <stdlib.h>

#include "load_memory.h"

struct place {
    struct gang *gang;
    unsigned index;
};

/* ---- A worker's thread ---- */

static void carry_out(struct worker *w, const struct order *o)
{
    int loops = w->load->args->loops;
    if (o->kind == ORDER_CONNECT)
        worker_connect(w, o->target);
    else if (o->kind == ORDER_IDLE)
        worker_idle(w, o->target, o->count / loops + ((int)w->index < o->count % loops));
    else if (o->kind == ORDER_DRIVE)
        worker_drive(w, o->target, o->seconds, o->round);
}

static void carried_out(struct gang *gang)
{
    pthread_mutex_lock(&gang->lock);
    gang->working--;
    pthread_cond_broadcast(&gang->changed);
    pthread_mutex_unlock(&gang->lock);
}

static struct order next_order(struct gang *gang, unsigned last)
{
    pthread_mutex_lock(&gang->lock);
    while (gang->number == last)
        pthread_cond_wait(&gang->changed, &gang->lock);
    struct order order = gang->order;
    pthread_mutex_unlock(&gang->lock);
    return order;
}

static void start(struct gang *gang, unsigned index)
{
    int rc = worker_open(&gang->workers[index], gang->load, index);
    if (rc < 0) {
        fprintf(stderr, "load: %s %s\n", weir_strerror(rc), weir_loop_refusal());
        exit(1);
    }
}

static void *work(void *arg)
{
    struct place place = *(struct place *)arg;
    struct worker *w = &place.gang->workers[place.index];
    free(arg);
    start(place.gang, place.index);
    for (unsigned number = 0;; number++) {
        struct order order = next_order(place.gang, number);
        if (order.kind == ORDER_END)
            break;
        carry_out(w, &order);
        carried_out(place.gang);
    }
    worker_close(w);
    return NULL;
}

/* ---- Whoever gives the orders ---- */

static void give(struct gang *gang, struct order order)
{
    pthread_mutex_lock(&gang->lock);
    gang->order = order;
    gang->number++;
    gang->working = gang->count - 1;
    pthread_cond_broadcast(&gang->changed);
    pthread_mutex_unlock(&gang->lock);
}

void gang_order(struct gang *gang, struct order order)
{
    give(gang, order);
    carry_out(&gang->workers[0], &order);
    pthread_mutex_lock(&gang->lock);
    while (gang->working > 0)
        pthread_cond_wait(&gang->changed, &gang->lock);
    pthread_mutex_unlock(&gang->lock);
}

struct weir_loop *gang_loop(const struct gang *gang)
{
    return gang->workers[0].loop;
}

void gang_open(struct gang *gang, struct load *load)
{
    *gang = (struct gang){.load = load, .count = load->args->loops};
    gang->workers = load_memory((size_t)gang->count, sizeof *gang->workers);
    gang->threads = load_memory((size_t)gang->count, sizeof *gang->threads);
    pthread_mutex_init(&gang->lock, NULL);
    pthread_cond_init(&gang->changed, NULL);
    start(gang, 0);
    for (int i = 1; i < gang->count; i++) {
        struct place *place = load_memory(1, sizeof *place);
        *place = (struct place){gang, (unsigned)i};
        if (pthread_create(&gang->threads[i], NULL, work, place) != 0) {
            fprintf(stderr, "load: no thread for loop %d\n", i);
            exit(1);
        }
    }
}

void gang_close(struct gang *gang)
{
    give(gang, (struct order){.kind = ORDER_END});
    for (int i = 1; i < gang->count; i++)
        pthread_join(gang->threads[i], NULL);
    worker_close(&gang->workers[0]);
    free(gang->workers);
    free(gang->threads);
}

uint64_t gang_answers(const struct gang *gang, int target)
{
    uint64_t sum = 0;
    for (int i = 0; i < gang->count; i++)
        sum += __atomic_load_n(&gang->workers[i].shares[target].hist.count, __ATOMIC_RELAXED);
    return sum;
}

int gang_live(const struct gang *gang, int target)
{
    int sum = 0;
    for (int i = 0; i < gang->count; i++)
        sum += gang->workers[i].shares[target].live;
    return sum;
}
