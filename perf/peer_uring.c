/* To compare with: an echo server written by hand on io_uring, as well as we know how: multishot accept, multishot
 * receives from one ring of provided buffers, which are sent from where they stand, one send in flight per connection,
 * one system call per turn, which waits for what comes after its own short sends. With --http it answers requests. It
 * does not use weir, and it takes short cuts that a library may not: descriptors index its table, a send that fails
 * ends the connection, and a client that does not read is not waited for, nor kept from holding buffers that others
 * need. */
#include "common_peer.h"
#include "common_peer_http.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FDS = 65536, BUFFERS = 256, BUFFER = 32768, PIECES = 128, SHORT = 4096 };
enum { ACCEPT = 1, RECV, SEND, CLOSE };

/* Where bytes stand that are to be sent: in buffers of the ring, which they keep, or in memory that stays. */
struct pieces {
    struct pieces *next;        /* that nobody uses */
    struct msghdr msg;
    unsigned count;
    size_t bytes;
    struct iovec iov[PIECES];
};

/* What is being sent and what goes next; an idle connection has neither. */
struct conn {
    struct pieces *sending, *filling;
    unsigned turn;              /* in which a send was started that is over when it is submitted */
    unsigned char receiving, closing;
    unsigned char matched;      /* of the end of a request */
};

static struct conn conns[FDS];
static struct io_uring ring;
static struct io_uring_buf_ring *bufs;
static char *memory;
static int http;
static struct pieces *unused;
/* How many sends of this turn are over when they are submitted, and nothing is to be started once they are. */
static unsigned turn = 1, settled;

static struct io_uring_sqe *get_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (sqe)
        return sqe;
    io_uring_submit(&ring);
    return io_uring_get_sqe(&ring);
}

static void name(struct io_uring_sqe *sqe, int what, int fd)
{
    sqe->user_data = (unsigned long long)what << 32 | (unsigned)fd;
}

static void start_accept(int listener)
{
    struct io_uring_sqe *sqe = get_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    name(sqe, ACCEPT, listener);
}

static void start_recv(int fd)
{
    struct io_uring_sqe *sqe = get_sqe();
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= IORING_RECV_MULTISHOT;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    name(sqe, RECV, fd);
    conns[fd].receiving = 1;
}

static void send_pieces(int fd, struct pieces *p, int flags)
{
    struct io_uring_sqe *sqe = get_sqe();
    flags |= MSG_NOSIGNAL;
    p->msg = (struct msghdr){.msg_iov = p->iov, .msg_iovlen = p->count};
    if (p->count == 1)
        io_uring_prep_send(sqe, fd, p->iov[0].iov_base, p->iov[0].iov_len, flags);
    else
        io_uring_prep_sendmsg(sqe, fd, &p->msg, (unsigned)flags);
    name(sqe, SEND, fd);
}

/* A short one finds room, or says so at once. */
static void start_send(int fd)
{
    struct conn *c = &conns[fd];
    c->sending = c->filling;
    c->filling = NULL;
    if (c->sending->bytes <= SHORT) {
        c->turn = turn;
        settled++;
        send_pieces(fd, c->sending, MSG_DONTWAIT);
    } else {
        send_pieces(fd, c->sending, MSG_WAITALL);
    }
}

static void give_back(unsigned id)
{
    io_uring_buf_ring_add(bufs, memory + (size_t)id * BUFFER, BUFFER, (unsigned short)id,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(bufs, 1);
}

static struct pieces *take_pieces(void)
{
    struct pieces *p = unused;
    if (p)
        unused = p->next;
    else if (!(p = malloc(sizeof *p)))
        abort();
    p->count = 0;
    p->bytes = 0;
    return p;
}

static void let_go(struct pieces *p)
{
    for (unsigned i = 0; p && i < p->count; i++) {
        size_t at = (size_t)((char *)p->iov[i].iov_base - memory);
        if (at < (size_t)BUFFERS * BUFFER)
            give_back((unsigned)(at / BUFFER));
    }
    if (p) {
        p->next = unused;
        unused = p;
    }
}

static void hang_up(int fd)
{
    struct conn *c = &conns[fd];
    int busy = c->receiving || c->sending;
    if (busy && !c->closing)
        shutdown(fd, SHUT_RDWR);
    c->closing = 1;
    if (busy)
        return;
    let_go(c->filling);
    *c = (struct conn){0};
    close(fd);
}

/* Is it kept until it is sent? */
static int answer(int fd, const char *data, size_t len)
{
    struct conn *c = &conns[fd];
    struct pieces *p = c->filling ? c->filling : (c->filling = take_pieces());
    if (p->count == PIECES) {
        hang_up(fd);
        return 0;
    }
    p->iov[p->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    p->bytes += len;
    if (!c->sending) {
        start_send(fd);
    } else if (c->turn == turn) {       /* its end starts the next */
        c->turn = 0;
        settled--;
    }
    return 1;
}

/* Are the bytes kept? */
static int take(int fd, const char *data, size_t len)
{
    if (!http)
        return answer(fd, data, len);
    len = peer_http(&conns[fd].matched, data, len, &data);
    if (len > 0)
        answer(fd, data, len);
    return 0;
}

static void received(int fd, const struct io_uring_cqe *cqe)
{
    unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    int kept = 0;
    conns[fd].receiving = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if (cqe->res > 0 && !conns[fd].closing)
        kept = take(fd, memory + (size_t)id * BUFFER, (size_t)cqe->res);
    if ((cqe->flags & IORING_CQE_F_BUFFER) && !kept)
        give_back(id);
    if (conns[fd].closing || (cqe->res <= 0 && cqe->res != -ENOBUFS))
        hang_up(fd);
    else if (!conns[fd].receiving)
        start_recv(fd);
}

/* What has gone of a short send is taken off it, and the rest waits for room. */
static void send_rest(int fd, struct pieces *p, size_t gone)
{
    for (unsigned i = 0; i < p->count; i++) {
        size_t n = gone < p->iov[i].iov_len ? gone : p->iov[i].iov_len;
        p->iov[i].iov_len -= n;
        if (p->iov[i].iov_len > 0)      /* else it would be taken for one of the next buffer */
            p->iov[i].iov_base = (char *)p->iov[i].iov_base + n;
        gone -= n;
    }
    p->bytes = 0;
    for (unsigned i = 0; i < p->count; i++)
        p->bytes += p->iov[i].iov_len;
    send_pieces(fd, p, MSG_WAITALL);
}

static void sent(int fd, int res)
{
    struct conn *c = &conns[fd];
    struct pieces *p = c->sending;
    if (!c->closing && p->bytes <= SHORT && (res == -EAGAIN || (res > 0 && (size_t)res < p->bytes))) {
        send_rest(fd, p, res > 0 ? (size_t)res : 0);
        return;
    }
    int whole = res > 0 && (size_t)res == p->bytes;
    c->sending = NULL;
    let_go(p);
    if (!whole || c->closing)
        hang_up(fd);
    else if (c->filling)
        start_send(fd);
}

static void accepted(int listener, const struct io_uring_cqe *cqe)
{
    if (cqe->res >= FDS)
        close(cqe->res);
    else if (cqe->res >= 0)
        start_recv(cqe->res);
    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_accept(listener);
}

static void serve(int listener)
{
    struct io_uring_cqe *cqe;
    unsigned head, n;
    start_accept(listener);
    while (!peer_stopped) {
        io_uring_submit_and_wait(&ring, 1 + settled);
        settled = n = 0;
        turn++;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            int fd = (int)(cqe->user_data & 0xffffffff);
            n++;
            switch (cqe->user_data >> 32) {
            case ACCEPT:
                accepted(fd, cqe);
                break;
            case RECV:
                received(fd, cqe);
                break;
            default:
                sent(fd, cqe->res);
            }
        }
        io_uring_cq_advance(&ring, n);
    }
}

static int open_ring(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                         IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
                                .cq_entries = 16384};
    size_t size = BUFFERS * sizeof(struct io_uring_buf), all = (size_t)BUFFERS * BUFFER;
    int rc = io_uring_queue_init_params(1024, &ring, &p);
    if (rc < 0)
        return rc;
    io_uring_register_ring_fd(&ring);
    bufs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg reg = {.ring_addr = (unsigned long long)(uintptr_t)bufs, .ring_entries = BUFFERS};
    if (bufs == MAP_FAILED || memory == MAP_FAILED || (rc = io_uring_register_buf_ring(&ring, &reg, 0)) < 0)
        return rc < 0 ? rc : -ENOMEM;
    io_uring_buf_ring_init(bufs);
    for (unsigned id = 0; id < BUFFERS; id++)
        give_back(id);
    return 0;
}

int main(int argc, char **argv)
{
    http = peer_flag(&argc, argv, "--http");
    int rc = open_ring();
    if (rc < 0) {
        fprintf(stderr, "io_uring: %s\n", strerror(-rc));
        return 1;
    }
    serve(peer_start(argc, argv, "[--http]", "by hand, io_uring", 0));
    return 0;
}
