#include "load_gang.h"

#include <stdlib.h>
#include <time.h>

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

static int start(struct gang *gang, struct worker *w, unsigned index)
{
    int rc = worker_open(w, gang->load, index);
    if (rc < 0) {
        fprintf(stderr, "load: %s %s\n", weir_strerror(rc), weir_loop_refusal());
        gang->refused = rc;
    }
    carried_out(gang);
    return rc;
}

static void *work(void *arg)
{
    struct place place = *(struct place *)arg;
    struct worker *w = &place.gang->workers[place.index];
    free(arg);
    if (start(place.gang, w, place.index) < 0)
        return NULL;
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

static void wait_for_all(struct gang *gang, uint64_t look_ns, void (*look)(void *arg), void *arg)
{
    struct timespec until;
    uint64_t at = clock_ns();
    pthread_mutex_lock(&gang->lock);
    while (gang->working > 0) {
        if (!look) {
            pthread_cond_wait(&gang->changed, &gang->lock);
            continue;
        }
        if (clock_ns() >= at + look_ns) {
            at += look_ns;
            look(arg);
        }
        until.tv_sec = (time_t)((at + look_ns) / 1000000000u);
        until.tv_nsec = (long)((at + look_ns) % 1000000000u);
        pthread_cond_timedwait(&gang->changed, &gang->lock, &until);
    }
    pthread_mutex_unlock(&gang->lock);
}

void gang_order(struct gang *gang, struct order order, uint64_t look_ns, void (*look)(void *arg), void *arg)
{
    pthread_mutex_lock(&gang->lock);
    gang->order = order;
    gang->number++;
    gang->working = gang->count;
    pthread_cond_broadcast(&gang->changed);
    pthread_mutex_unlock(&gang->lock);
    wait_for_all(gang, look_ns, look, arg);
}

int gang_open(struct gang *gang, struct load *load)
{
    pthread_condattr_t attr;
    *gang = (struct gang){.load = load, .count = load->args->loops, .working = load->args->loops};
    gang->workers = calloc((size_t)gang->count, sizeof *gang->workers);
    gang->threads = calloc((size_t)gang->count, sizeof *gang->threads);
    pthread_mutex_init(&gang->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&gang->changed, &attr);
    for (int i = 0; i < gang->count; i++) {
        struct place *place = malloc(sizeof *place);
        *place = (struct place){gang, (unsigned)i};
        if (pthread_create(&gang->threads[i], NULL, work, place) != 0) {
            fprintf(stderr, "load: no thread for loop %d\n", i);
            exit(1);
        }
    }
    wait_for_all(gang, 0, NULL, NULL);
    return gang->refused;
}

void gang_close(struct gang *gang)
{
    pthread_mutex_lock(&gang->lock);
    gang->order = (struct order){.kind = ORDER_END};
    gang->number++;
    pthread_cond_broadcast(&gang->changed);
    pthread_mutex_unlock(&gang->lock);
    for (int i = 0; i < gang->count; i++)
        pthread_join(gang->threads[i], NULL);
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
