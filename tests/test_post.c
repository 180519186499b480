/* Suite post: the mailbox. */
#include "post.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "helpers_case.h"
#include "weir.h"

static struct wr_mailbox box;
static int called[4096];
static size_t calls;

static void set_up(void)
{
    wr_mailbox_open(&box);
}

static void tear_down(void)
{
    wr_mailbox_close(&box);
    cr_assert_eq(wr_mem_live(), 0);
}

TestSuite(post, .init = set_up);

static void call(void *arg)
{
    called[calls++] = (int)(intptr_t)arg;
}

/* Puts a number and expects whether it is the first that the loop must be told of. */
static void put(int number, bool expected_first)
{
    bool first = !expected_first;
    cr_assert_eq(wr_mailbox_put(&box, call, (void *)(intptr_t)number, &first), 0);
    cr_assert_eq(first, expected_first);
    cr_assert(wr_mailbox_waiting(&box));
}

static void expect_calls(int from, int to)
{
    cr_assert_eq((int)calls, to - from + 1);
    for (int i = from; i <= to; i++)
        cr_assert_eq(called[i - from], i);
    calls = 0;
}

static bool refuse_all(size_t size)
{
    (void)size;
    return false;
}

CASE(post, an_empty_box_calls_nobody)
{
    cr_assert_not(wr_mailbox_waiting(&box));
    wr_mailbox_serve(&box);
    cr_assert_eq(calls, 0);
}

CASE(post, calls_come_in_order_and_the_first_says_so)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            put(i, i == 0);
        wr_mailbox_serve(&box);
        expect_calls(0, 999);
        cr_assert_not(wr_mailbox_waiting(&box));
        wr_mailbox_serve(&box);
        cr_assert_eq(calls, 0, "each is called once");
    }
}

static void call_and_put(void *arg)
{
    bool first;
    int number = (int)(intptr_t)arg;
    call(arg);
    cr_assert_eq(wr_mailbox_put(&box, call_and_put, (void *)(intptr_t)(number + 100), &first), 0);
    cr_assert_eq(first, number == 0 || number == 100);
}

CASE(post, what_a_call_puts_waits_for_the_next_time)
{
    bool first;
    for (intptr_t i = 0; i < 100; i++)
        cr_assert_eq(wr_mailbox_put(&box, call_and_put, (void *)i, &first), 0);
    wr_mailbox_serve(&box);
    expect_calls(0, 99);
    cr_assert(wr_mailbox_waiting(&box));
    wr_mailbox_serve(&box);
    expect_calls(100, 199);
}

CASE(post, a_steady_state_allocates_nothing)
{
    for (int i = 0; i < 50; i++)
        put(i, i == 0);
    wr_mailbox_serve(&box);
    for (int i = 0; i < 50; i++)
        put(i, i == 0);
    wr_mailbox_serve(&box);
    calls = 0;
    wr_mem_gate = refuse_all;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 50; i++)
            put(i, i == 0);
        wr_mailbox_serve(&box);
        expect_calls(0, 49);
    }
    wr_mem_gate = NULL;
}

CASE(post, without_memory_nothing_is_put)
{
    bool first;
    int number = 0;
    wr_mem_gate = refuse_all;
    cr_assert_eq(wr_mailbox_put(&box, call, NULL, &first), -ENOMEM);
    cr_assert_not(wr_mailbox_waiting(&box));
    wr_mem_gate = NULL;
    for (; number < 200; number++) {
        wr_mem_gate = refuse_all;
        int rc = wr_mailbox_put(&box, call, (void *)(intptr_t)number, &first);
        wr_mem_gate = NULL;
        cr_assert(rc == 0 || rc == -ENOMEM);
        if (rc < 0)
            put(number, number == 0);
    }
    wr_mailbox_serve(&box);
    expect_calls(0, 199);
}

CASE(post, a_shut_box_takes_nothing_and_serves_what_it_has)
{
    bool first;
    put(0, true);
    wr_mailbox_shut(&box);
    cr_assert_eq(wr_mailbox_put(&box, call, NULL, &first), WEIR_ECLOSED);
    wr_mailbox_serve(&box);
    expect_calls(0, 0);
    cr_assert_eq(wr_mailbox_put(&box, call, NULL, &first), WEIR_ECLOSED);
    cr_assert_not(wr_mailbox_waiting(&box));
}

CASE(post, closing_drops_what_was_not_served)
{
    put(0, true);
    wr_mailbox_serve(&box);
    put(1, true);
    calls = 0;
}

/* ---- Several threads ---- */

/* No letter lies there that nobody will be told of. */
static void check(void)
{
    pthread_mutex_lock(&box.lock);
    bool waiting = wr_mailbox_waiting(&box), has_letters = box.in.count > 0;
    pthread_mutex_unlock(&box.lock);
    cr_assert_eq(waiting, has_letters);
}

enum { THREADS = 4, LETTERS = 200000 };

static struct writer {
    int got;
    uint64_t firsts;
} writer[THREADS];

static struct letter {
    struct writer *from;
    int number;
} letter[THREADS][LETTERS];

static uint64_t served;
static pthread_barrier_t all_there;

static void receive(void *arg)
{
    struct letter *l = arg;
    served++;
    cr_assert_eq(l->number, l->from->got++, "in order of posting");
}

static void *write_letters(void *arg)
{
    struct writer *w = arg;
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = &letter[w - writer][i];
        bool first = false;
        *l = (struct letter){w, i};
        if (wr_mailbox_put(&box, receive, l, &first) < 0)
            abort();
        w->firsts += first;
    }
    return NULL;
}

CASE(post, many_threads_write_to_one_reader)
{
    pthread_t thread[THREADS];
    uint64_t rounds = 0, firsts = 0;
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, write_letters, &writer[i]), 0);
    pthread_barrier_wait(&all_there);
    while (served < (uint64_t)THREADS * LETTERS) {
        uint64_t before = served;
        wr_mailbox_serve(&box);
        rounds += served > before;
        check();
        sched_yield();
    }
    pthread_barrier_destroy(&all_there);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        firsts += writer[i].firsts;
        cr_assert_eq(writer[i].got, LETTERS);
    }
    cr_assert_eq(firsts, rounds, "the loop is told once for each time there was something");
    cr_assert_not(wr_mailbox_waiting(&box));
}
