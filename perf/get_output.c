#include "get_output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

/* Bytes are gathered in one buffer while the thread writes the other. */
static struct {
    struct weir_loop *loop;
    const char *file;
    output_fn *on_written;
    int fd;                 /* -1: not open yet */
    char name[PATH_MAX];    /* what the file will be called */
    char temporary[PATH_MAX];
    char buffers[2][BUFFER];
    int gathering;          /* which buffer */
    size_t gathered;
    int busy;               /* the thread has the other buffer */
    int error;              /* the first */
} out = {.fd = -1};

/* What the thread has; the semaphore and weir_post hand it to and fro. */
static struct {
    sem_t begin;
    const char *data;
    size_t len;
    int status;
} job;

/* ---- The file ---- */

static volatile sig_atomic_t has_temporary;

/* Nothing half done is left behind. */
static void on_signal(int sig)
{
    if (has_temporary)
        unlink(out.temporary);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void catch_signals(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_NODEFER}, was;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            sigaction(signals[i], &act, NULL);
}

/* In the same directory, so that it can be renamed; with the rights that the file has, or would have. */
static int make_temporary(const struct stat *old)
{
    const char *slash = strrchr(out.name, '/');
    int dir = slash ? (int)(slash + 1 - out.name) : 0;
    mode_t mask = umask(0);
    umask(mask);
    if (snprintf(out.temporary, sizeof out.temporary, "%.*s.get.XXXXXX", dir, out.name) >= (int)sizeof out.temporary)
        return -ENAMETOOLONG;
    catch_signals();
    has_temporary = 1;
    if ((out.fd = mkostemp(out.temporary, O_CLOEXEC)) < 0)
        return -errno;
    return fchmod(out.fd, old ? old->st_mode & 0777 : 0666 & ~mask) < 0 ? -errno : 0;
}

/* What is no regular file, such as /dev/null, is written to as it is; a link leads to what is replaced. */
static int open_file(void)
{
    struct stat st;
    int exists = stat(out.file, &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) {
        out.fd = open(out.file, O_WRONLY | O_CLOEXEC);
        return out.fd < 0 ? -errno : 0;
    }
    if (exists && !realpath(out.file, out.name))
        return -errno;
    if (!exists && snprintf(out.name, sizeof out.name, "%s", out.file) >= (int)sizeof out.name)
        return -ENAMETOOLONG;
    return make_temporary(exists ? &st : NULL);
}

/* ---- The thread ---- */

static int write_all(const char *data, size_t len)
{
    struct pollfd writable = {.fd = out.fd, .events = POLLOUT};
    while (len > 0) {
        ssize_t n = write(out.fd, data, len);
        if (n < 0 && errno == EAGAIN)
            poll(&writable, 1, -1); /* others have made it non-blocking */
        else if (n < 0 && errno != EINTR)
            return -errno;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static void job_done(void *arg);

static void *run_jobs(void *arg)
{
    for (;;) {
        if (sem_wait(&job.begin) < 0)
            continue;
        job.status = write_all(job.data, job.len);
        if (weir_post(out.loop, job_done, arg) == -ENOMEM)
            abort(); /* the loop would wait for ever */
    }
    return NULL;
}

static int start_thread(void)
{
    pthread_t thread;
    int rc = sem_init(&job.begin, 0, 0) < 0 ? errno : pthread_create(&thread, NULL, run_jobs, NULL);
    if (rc == 0)
        pthread_detach(thread);
    return -rc;
}

/* ---- The loop's side ---- */

static void give_job(void)
{
    job.data = out.buffers[out.gathering];
    job.len = out.gathered;
    out.gathering = !out.gathering;
    out.gathered = 0;
    out.busy = 1;
    sem_post(&job.begin);
}

static void job_done(void *arg)
{
    (void)arg;
    out.busy = 0;
    out.error = job.status;
    if (out.error == 0 && out.gathered > 0)
        give_job();
    out.on_written(out.error);
}

void output_open(struct weir_loop *loop, const char *file, output_fn *on_written)
{
    out.loop = loop;
    out.file = file;
    out.on_written = on_written;
}

/* Result: 0, also if it is open already. */
static int make(void)
{
    if (out.fd >= 0 || out.error < 0)
        return out.error;
    if (!out.file)
        out.fd = STDOUT_FILENO;
    else
        out.error = open_file();
    if (out.error == 0)
        out.error = start_thread();
    return out.error;
}

int output_write(const void *data, size_t len)
{
    int rc = make();
    if (rc < 0)
        return rc;
    assert(len <= BUFFER - out.gathered);
    memcpy(out.buffers[out.gathering] + out.gathered, data, len);
    out.gathered += len;
    if (!out.busy)
        give_job();
    return BUFFER - out.gathered < OUTPUT_PIECE;
}

int output_idle(void)
{
    return !out.busy && (out.gathered == 0 || out.error < 0);
}

int output_close(int keep)
{
    int rc = keep && out.file ? make() : out.error;
    if (out.fd >= 0 && !out.busy && close(out.fd) < 0 && rc == 0)
        rc = -errno;
    if (has_temporary && (!keep || rc < 0))
        unlink(out.temporary);
    else if (has_temporary && rename(out.temporary, out.name) < 0)
        rc = -errno;
    has_temporary = 0;
    return rc;
}
