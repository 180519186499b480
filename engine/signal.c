/* Signals: weir_signal_*. Level 4.
 *
 * One handler serves the process. It takes no lock and does no more than ring. Those who asked for a signal stand in
 * its list, which is changed under a lock, one pointer at a time; whoever has left it waits until no handler runs any
 * more before its memory goes. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "context.h"

struct weir_signal {
    struct wr_alarm alarm;
    struct wr_resident resident;
    struct weir_loop *loop;
    struct weir_context *context;
    weir_signal_fn *fn;
    void *arg;
    int signo;
    bool closed;
    _Atomic(struct weir_signal *) next;     /* in the list of its signal */
};

static struct slot {
    _Atomic(struct weir_signal *) first;    /* not NULL as long as `caught` is installed */
    struct sigaction before;                /* what was done on the signal before that */
} slots[_NSIG];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int handling;     /* handlers that may look at a list */
static atomic_int home;         /* the process that the lists belong to */

/* ---- In the handler ---- */

/* A child that was forked without our knowledge, or a moment ago: the loops are its parent's, whom it must not wake. */
static void pass_on(int signo)
{
    sigaction(signo, &slots[signo].before, NULL);
    raise(signo); /* comes when the handler returns */
}

static void caught(int signo)
{
    int saved = errno;
    if (getpid() != atomic_load(&home)) {
        pass_on(signo);
        errno = saved;
        return;
    }
    atomic_fetch_add(&handling, 1);
    for (struct weir_signal *s = atomic_load(&slots[signo].first); s; s = atomic_load(&s->next))
        wr_loop_ring(s->loop, &s->alarm);
    atomic_fetch_sub(&handling, 1);
    errno = saved;
}

/* ---- The lists ---- */

/* Unless somebody else's handler took the place of ours. */
static void restore(int signo)
{
    struct sigaction now;
    if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == caught)
        sigaction(signo, &slots[signo].before, NULL);
}

static void forked(void)
{
    for (int signo = 1; signo < _NSIG; signo++) {
        if (atomic_load(&slots[signo].first))
            restore(signo);
        atomic_store(&slots[signo].first, NULL);
    }
    atomic_store(&handling, 0);
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* whoever held it is not in this process */
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forked);
}

/* Ours is installed last, and removed first: it never finds the list empty, nor `before` half written. */
static int join(struct weir_signal *s)
{
    struct slot *slot = &slots[s->signo];
    struct weir_signal *first = atomic_load(&slot->first);
    struct sigaction ours = {.sa_handler = caught, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigfillset(&ours.sa_mask);
    if (!first && sigaction(s->signo, NULL, &slot->before) < 0)
        return -errno;
    atomic_store(&home, getpid());
    atomic_store(&s->next, first);
    atomic_store(&slot->first, s);
    if (first || sigaction(s->signo, &ours, NULL) == 0)
        return 0;
    atomic_store(&slot->first, NULL);
    return -errno;
}

static void leave(struct weir_signal *s)
{
    struct slot *slot = &slots[s->signo];
    pthread_mutex_lock(&lock);
    _Atomic(struct weir_signal *) *at = &slot->first;
    if (atomic_load(at) == s && !atomic_load(&s->next))
        restore(s->signo);
    while (atomic_load(at) != s)
        at = &atomic_load(at)->next;
    atomic_store(at, atomic_load(&s->next));
    pthread_mutex_unlock(&lock);
    while (atomic_load(&handling) > 0)
        sched_yield(); /* it may have seen us before we left */
}

/* ---- On the loop's thread ---- */

static void call(struct wr_task *task)
{
    struct weir_signal *s = wr_home(task, struct weir_signal, alarm.task);
    struct wr_scope in;
    wr_enter(&in, s->loop, wr_context_share(s->context));
    s->fn(s, s->signo, s->arg);
    wr_leave(&in);
}

static void end(struct weir_signal *s)
{
    if (s->closed)
        return;
    s->closed = true;
    leave(s);
    wr_list_remove(&s->alarm.link);
    wr_list_remove(&s->alarm.task.link);
    wr_loop_bury(s->loop, &s->resident);
}

static void evict(struct wr_resident *resident)
{
    end(wr_home(resident, struct weir_signal, resident));
}

static void bury(struct wr_resident *resident)
{
    struct weir_signal *s = wr_home(resident, struct weir_signal, resident);
    wr_context_drop(s->context);
    wr_free(s);
}

static const struct wr_resident_kind residence = {.evict = evict, .bury = bury};

/* A fault comes again as soon as its handler returns; the other two are never delivered. */
static bool is_servable(int signo)
{
    return signo > 0 && signo < _NSIG && signo != SIGKILL && signo != SIGSTOP && signo != SIGSEGV && signo != SIGBUS &&
           signo != SIGFPE && signo != SIGILL;
}

static int make(struct weir_loop *loop, int signo, weir_signal_fn *fn, void *arg, struct weir_signal **ret_signal)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct weir_signal *s = wr_alloc_zeroed(sizeof *s);
    if (!s)
        return -ENOMEM;
    s->loop = loop;
    s->signo = signo;
    s->fn = fn;
    s->arg = arg;
    s->alarm.task.run = call;
    s->resident.kind = &residence;
    wr_list_init(&s->alarm.link);
    wr_list_init(&s->alarm.task.link);
    wr_list_init(&s->resident.link);
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    int rc = join(s);
    pthread_mutex_unlock(&lock);
    if (rc < 0) {
        wr_free(s);
        return rc;
    }
    s->context = wr_context_capture(loop);
    wr_list_push(&loop->alarms, &s->alarm.link);
    wr_list_push(&loop->residents, &s->resident.link);
    *ret_signal = s;
    return 0;
}

int weir_signal_open(struct weir_loop *loop, int signo, weir_signal_fn *fn, void *arg, struct weir_signal **ret_signal)
{
    if (!(loop = wr_loop_or_default(loop)) || !is_servable(signo) || !fn || !ret_signal)
        return -EINVAL;
    int rc = wr_loop_check(loop);
    if (rc == 0 && loop->closing)
        rc = WEIR_ECLOSED;
    return rc < 0 ? rc : make(loop, signo, fn, arg, ret_signal);
}

int weir_signal_close(struct weir_signal *s)
{
    if (!s)
        return 0;
    int rc = wr_loop_check(s->loop);
    if (rc < 0)
        return rc;
    end(s);
    return 0;
}
