/* The simulator's sockets without faults, by the contract of engine/backend.h: what a kernel would do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "helpers_sim.h"

/* ---- Bytes and ends ---- */

SIM_TEST(sim_sockets, bytes_come_before_the_end_which_stays)
{
    static struct sim_act a;
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_start_recv(&a, own, true);
    sim_rounds(2);
    cr_assert_eq(a.shots, 0);
    cr_assert_eq(sim_raw_send(raw, "hello"), 5);
    sim_rounds(1);
    cr_assert_eq(sim_raw_send(raw, "world"), 5);
    sim_close_raw(raw, 0);
    cr_assert_eq(sim_finish(&a), 0);
    cr_assert_eq(a.got_len, 10);
    cr_assert_arr_eq(a.got, "helloworld", 10);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(sim_recv(own), 0);
    sim_close(own);
}

SIM_TEST(sim_sockets, reset_leaves_what_has_come_and_is_told_once)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_raw_send(raw, "hello");
    sim_close_raw(raw, 1);
    cr_assert_eq(sim_poll(own, POLLIN), POLLIN | POLLERR | POLLHUP);
    cr_assert_eq(sim_recv(own), 5);
    cr_assert_eq(sim_recv(own), -ECONNRESET);
    cr_assert_eq(sim_recv(own), 0);
    cr_assert_eq(sim_send(own, 1), -EPIPE);
    cr_assert_eq(sim_shutdown(own, SHUT_WR), -ENOTCONN);
    sim_close(own);
}

SIM_TEST(sim_sockets, reset_is_told_to_the_first_who_asks)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_close_raw(raw, 1);
    cr_assert_eq(sim_send(own, 1), -ECONNRESET);
    cr_assert_eq(sim_send(own, 1), -EPIPE);
    cr_assert_eq(sim_recv(own), 0);
    sim_close(own);
}

SIM_TEST(sim_sockets, reset_ends_what_waits)
{
    static struct sim_act in, out, hup;
    static unsigned char bytes[3 * CAPACITY];
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_start_send(&out, own, bytes, sizeof bytes);
    sim_start_poll(&hup, own, POLLRDHUP);
    sim_start_recv(&in, own, true);
    sim_rounds(3);
    cr_assert(!in.over && !out.over && !hup.over);
    sim_close_raw(raw, 1);
    cr_assert_eq(sim_finish(&out), CAPACITY);
    cr_assert_eq(sim_finish(&in), -ECONNRESET);
    cr_assert(sim_finish(&hup) & POLLRDHUP);
    sim_close(own);
}

SIM_TEST(sim_sockets, close_with_unread_bytes_resets)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_raw_send(raw, "x");
    sim_close(own);
    cr_assert_eq(sim_raw_recv(raw), -ECONNRESET);
    cr_assert_eq(sim_raw_recv(raw), 0);
    sim_close_raw(raw, 0);
    sim_make_pair(&own, &raw);
    sim_close(own);
    cr_assert_eq(sim_raw_recv(raw), 0);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, close_with_linger_resets)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    cr_assert_eq(sim_send(own, 10), 10);
    cr_assert_eq(sim_world->ops->option(sim_world, own, WR_SO_LINGER_RESET, 1), 0);
    sim_close(own);
    cr_assert_eq(sim_raw_recv(raw), 10);
    cr_assert_eq(sim_raw_recv(raw), -ECONNRESET);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, send_to_the_closed_is_taken_once)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_raw_send(raw, "x");
    sim_close_raw(raw, 0);
    cr_assert_eq(sim_send(own, 3 * CAPACITY), CAPACITY);
    cr_assert_eq(sim_recv(own), 1);
    cr_assert_eq(sim_recv(own), 0);
    cr_assert_eq(sim_send(own, 1), -EPIPE);
    cr_assert_eq(sim_recv(own), 0);
    sim_close(own);
}

SIM_TEST(sim_sockets, shutdown_ends_one_direction)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    cr_assert_eq(sim_send(own, 7), 7);
    cr_assert_eq(sim_shutdown(own, SHUT_WR), 0);
    cr_assert_eq(sim_send(own, 1), -EPIPE);
    cr_assert_eq(sim_raw_recv(raw), 7);
    cr_assert_eq(sim_raw_recv(raw), 0);
    cr_assert_eq(sim_raw_send(raw, "abc"), 3);
    cr_assert_eq(sim_recv(own), 3);
    cr_assert_eq(sim_poll(own, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
    cr_assert_eq(weir_sim_peer_shutdown(the_sim, raw), 0);
    cr_assert_eq(sim_poll(own, POLLIN | POLLRDHUP), POLLIN | POLLRDHUP | POLLHUP);
    cr_assert_eq(sim_shutdown(own, SHUT_WR), -ENOTCONN);
    cr_assert_eq(sim_recv(own), 0);
    sim_close(own);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, shut_for_reading_ends_behind_what_is_there)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_raw_send(raw, "abc");
    cr_assert_eq(sim_shutdown(own, SHUT_RD), 0);
    cr_assert_eq(sim_recv(own), 3);
    cr_assert_eq(sim_recv(own), 0);
    cr_assert_eq(sim_shutdown(own, 17), -EINVAL);
    sim_close(own);
    sim_close_raw(raw, 0);
}

/* A send is whole: it ends when the last byte is gone, and not before. */
SIM_TEST(sim_sockets, send_waits_for_room)
{
    static struct sim_act a;
    static unsigned char bytes[5 * CAPACITY], got[5 * CAPACITY];
    int own, raw;
    size_t at = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    sim_make_pair(&own, &raw);
    sim_start_send(&a, own, bytes, sizeof bytes);
    while (at < sizeof bytes) {
        sim_rounds(2);
        cr_assert_eq(a.over, sizeof bytes - at <= CAPACITY);
        int64_t n = weir_sim_peer_recv(the_sim, raw, got + at, 1000);
        cr_assert(n > 0);
        at += (size_t)n;
    }
    cr_assert_eq(sim_finish(&a), sizeof bytes);
    cr_assert_arr_eq(bytes, got, sizeof bytes);
    sim_close(own);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, cancelled_send_tells_what_has_gone)
{
    static struct sim_act a;
    static unsigned char bytes[2 * CAPACITY];
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_start_send(&a, own, bytes, sizeof bytes);
    sim_rounds(1);
    wr_cancel(sim_world, &a.op);
    cr_assert_eq(sim_finish(&a), CAPACITY);
    sim_start_send(&a, own, bytes, sizeof bytes);
    sim_rounds(1);
    wr_cancel(sim_world, &a.op);
    cr_assert_eq(sim_finish(&a), -ECANCELED);
    cr_assert_eq(sim_raw_recv(raw), CAPACITY);
    sim_close(own);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, one_reap_gives_all_shots)
{
    static struct sim_act a;
    struct wr_result out[8];
    int own, raw;
    char bytes[2 * POOL_SIZE];
    memset(bytes, 'x', sizeof bytes);
    sim_make_pair(&own, &raw);
    sim_start_recv(&a, own, true);
    weir_sim_peer_send(the_sim, raw, bytes, sizeof bytes);
    cr_assert_eq(sim_world->ops->turn(sim_world, 0), 0);
    cr_assert_eq(sim_world->ops->reap(sim_world, out, 8), 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(out[i].res, POOL_SIZE);
        cr_assert(out[i].more);
        sim_serve(&out[i]);
    }
    wr_cancel(sim_world, &a.op);
    cr_assert_eq(sim_finish(&a), -ECANCELED);
    sim_close(own);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, recv_without_a_buffer_says_so)
{
    static struct sim_act a[2];
    struct wr_result out[8];
    unsigned held = 0, n;
    int own, raw;
    char bytes[POOL_SIZE * (POOL_COUNT + 1)];
    memset(bytes, 'x', sizeof bytes);
    sim_make_pair(&own, &raw);
    sim_start_recv(&a[0], own, true);
    weir_sim_peer_send(the_sim, raw, bytes, sizeof bytes);
    struct wr_segment *segs[POOL_COUNT];
    while (sim_world->ops->turn(sim_world, 0) == 0 && (n = sim_world->ops->reap(sim_world, out, 1)) > 0 && out[0].seg)
        segs[held++] = out[0].seg;
    cr_assert_eq(held, POOL_COUNT);
    cr_assert_eq(out[0].res, -ENOBUFS);
    cr_assert(!out[0].more);
    sim_serve(&out[0]);
    sim_start_recv(&a[1], own, false);
    cr_assert_eq(sim_finish(&a[1]), -ENOBUFS);
    for (unsigned i = 0; i < held; i++)
        wr_segment_drop(segs[i]);
    cr_assert_eq(sim_recv(own), POOL_SIZE);
    sim_close(own);
    sim_close_raw(raw, 0);
}

SIM_TEST(sim_sockets, memory_is_written_late)
{
    static struct sim_act a;
    char bytes[8] = "before";
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_raw_send(raw, "after");
    sim_start_recv_into(&a, own, bytes, sizeof bytes);
    cr_assert_str_eq(bytes, "before");
    cr_assert_eq(sim_finish(&a), 5);
    cr_assert_arr_eq(bytes, "after", 5);
    sim_close(own);
    sim_close_raw(raw, 0);
}
/* ---- Connections ---- */

SIM_TEST(sim_sockets, connects_and_accepts_in_order)
{
    struct sockaddr_storage addr, mine, theirs;
    socklen_t len, mine_len, theirs_len;
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 16, &addr, &len), client[5];
    cr_assert_neq(((struct sockaddr_in *)&addr)->sin_port, 0);
    for (int i = 0; i < 5; i++) {
        client[i] = sim_world->ops->socket(sim_world, AF_INET);
        cr_assert_eq(sim_connect(client[i], &addr, len), 0);
        cr_assert_eq(sim_connect(client[i], &addr, len), -EISCONN);
    }
    for (int i = 0; i < 5; i++) {
        int fd = sim_accept(listener);
        cr_assert_eq(sim_world->ops->address(sim_world, client[i], false, &mine, &mine_len), 0);
        cr_assert_eq(sim_world->ops->address(sim_world, fd, true, &theirs, &theirs_len), 0);
        cr_assert_eq(mine_len, theirs_len);
        cr_assert_arr_eq(&mine, &theirs, mine_len);
        cr_assert_eq(sim_world->ops->address(sim_world, client[i], true, &theirs, &theirs_len), 0);
        cr_assert_arr_eq(&addr, &theirs, len);
        cr_assert_eq(sim_send(fd, 9), 9);
        cr_assert_eq(sim_recv(client[i]), 9);
        sim_close(fd);
        sim_close(client[i]);
    }
    sim_close(listener);
}

SIM_TEST(sim_sockets, connect_to_nobody_is_refused)
{
    struct sockaddr_storage addr;
    socklen_t len;
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 1, &addr, &len), fd = sim_world->ops->socket(sim_world, AF_INET);
    int un = sim_world->ops->socket(sim_world, AF_UNIX);
    sim_close(listener);
    cr_assert_eq(sim_connect(fd, &addr, len), -ECONNREFUSED);
    cr_assert_eq(sim_connect(un, &addr, len), -EAFNOSUPPORT);
    cr_assert_eq(sim_connect(un, (void *)&path, sizeof path), -ENOENT);
    cr_assert_eq(weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len), -ECONNREFUSED);
    sim_close(fd);
    sim_close(un);
}

/* As the kernel: one more than the backlog waits in it, the others before it. */
SIM_TEST(sim_sockets, connect_waits_while_the_backlog_is_full)
{
    static struct sim_act a[3];
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 1, &addr, &len), fd[3], client[2], accepted[3];
    for (int i = 0; i < 2; i++)
        client[i] = weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len);
    cr_assert(client[0] >= 0 && client[1] >= 0);
    cr_assert_eq(weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len), -ECONNREFUSED);
    for (int i = 0; i < 3; i++) {
        fd[i] = sim_world->ops->socket(sim_world, AF_INET);
        sim_start_connect(&a[i], fd[i], &addr, len);
    }
    sim_rounds(5);
    cr_assert(!a[0].over && !a[1].over && !a[2].over);
    accepted[0] = sim_accept(listener);
    cr_assert_eq(sim_finish(&a[0]), 0);
    sim_rounds(5);
    cr_assert(!a[1].over && !a[2].over);
    wr_cancel(sim_world, &a[1].op);
    cr_assert_eq(sim_finish(&a[1]), -ECANCELED);
    accepted[1] = sim_accept(listener);
    cr_assert_eq(sim_finish(&a[2]), 0);
    accepted[2] = sim_accept(listener);
    for (int i = 0; i < 3; i++) {
        sim_close(fd[i]);
        sim_close(accepted[i]);
    }
    sim_close_raw(client[0], 0);
    sim_close_raw(client[1], 0);
    sim_close(listener);
}

SIM_TEST(sim_sockets, closed_listener_ends_those_who_wait)
{
    static struct sim_act a;
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 0, &addr, &len), fd = sim_world->ops->socket(sim_world, AF_INET);
    int client = weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len);
    sim_start_connect(&a, fd, &addr, len);
    sim_rounds(2);
    cr_assert(!a.over);
    sim_close(listener);
    cr_assert_eq(sim_finish(&a), -ECONNREFUSED);
    cr_assert_eq(sim_raw_recv(client), -ECONNRESET);
    sim_close_raw(client, 0);
    sim_close(fd);
}

SIM_TEST(sim_sockets, who_left_the_backlog_is_accepted_and_gone)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 4, &addr, &len);
    int polite = weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len);
    int rude = weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len);
    sim_raw_send(polite, "bye");
    sim_close_raw(polite, 0);
    sim_close_raw(rude, 1);
    int fd = sim_accept(listener);
    cr_assert_eq(sim_recv(fd), 3);
    cr_assert_eq(sim_recv(fd), 0);
    sim_close(fd);
    fd = sim_accept(listener);
    cr_assert_eq(sim_world->ops->address(sim_world, fd, true, &addr, &len), -ENOTCONN);
    cr_assert_eq(sim_recv(fd), -ECONNRESET);
    sim_close(fd);
    sim_close(listener);
}

SIM_TEST(sim_sockets, addresses_are_taken_and_free_again)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int any = sim_listen_on(INADDR_ANY, 8080, 4, &addr, &len);
    cr_assert(any >= 0);
    cr_assert_eq(sim_listen_on(INADDR_LOOPBACK, 8080, 4, &addr, &len), -EADDRINUSE);
    cr_assert_eq(sim_listen_on(INADDR_ANY, 8080, 4, &addr, &len), -EADDRINUSE);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}, .sin_port = htons(8080)};
    int client = weir_sim_peer_connect(the_sim, (struct sockaddr *)&in, sizeof in);
    int fd = sim_accept(any);
    cr_assert_eq(sim_world->ops->address(sim_world, fd, false, &addr, &len), 0);
    cr_assert_eq(((struct sockaddr_in *)&addr)->sin_addr.s_addr, in.sin_addr.s_addr);
    sim_close(any);
    any = sim_listen_on(INADDR_LOOPBACK, 8080, 4, &addr, &len);
    cr_assert(any >= 0);
    sim_close(any);
    sim_close(fd);
    sim_close_raw(client, 0);
    cr_assert_eq(sim_world->ops->socket(sim_world, AF_NETLINK), -EAFNOSUPPORT);
}

SIM_TEST(sim_sockets, unix_names_are_paths_or_any_bytes)
{
    struct sockaddr_storage addr;
    socklen_t len, path = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = {0, 'a', 0, 'b'}}, named = {
        .sun_family = AF_UNIX, .sun_path = "/tmp/name"};
    int one = sim_world->ops->listen(sim_world, (struct sockaddr *)&abstract, path + 4, 4, false);
    int two = sim_world->ops->listen(sim_world, (struct sockaddr *)&named, sizeof named, 4, false);
    cr_assert(one >= 0 && two >= 0);
    cr_assert_eq(weir_sim_peer_connect(the_sim, (struct sockaddr *)&abstract, path + 3), -ECONNREFUSED);
    int a = weir_sim_peer_connect(the_sim, (struct sockaddr *)&abstract, path + 4);
    int b = weir_sim_peer_connect(the_sim, (struct sockaddr *)&named, path + 9);
    cr_assert(a >= 0 && b >= 0);
    int fd = sim_accept(two);
    cr_assert_eq(sim_world->ops->address(sim_world, fd, false, &addr, &len), 0);
    cr_assert_eq(len, path + 10);
    cr_assert_eq(sim_world->ops->address(sim_world, fd, true, &addr, &len), 0);
    cr_assert_eq(len, path);
    sim_close_raw(a, 0);
    sim_close_raw(b, 0);
    sim_close(fd);
    sim_close(one);
    sim_close(two);
}

SIM_TEST(sim_sockets, listeners_that_share_take_turns)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(99)};
    int listener[2], raw[2];
    for (int i = 0; i < 2; i++)
        listener[i] = sim_world->ops->listen(sim_world, (struct sockaddr *)&in, sizeof in, 4, true);
    cr_assert(listener[0] >= 0 && listener[1] >= 0);
    cr_assert_eq(sim_world->ops->listen(sim_world, (struct sockaddr *)&in, sizeof in, 4, false), -EADDRINUSE);
    for (int i = 0; i < 2; i++)
        raw[i] = weir_sim_peer_connect(the_sim, (struct sockaddr *)&in, sizeof in);
    for (int i = 0; i < 2; i++) {
        sim_close(sim_accept(listener[i]));
        sim_close_raw(raw[i], 0);
        sim_close(listener[i]);
    }
}

/* ---- Numbers ---- */

SIM_TEST(sim_sockets, numbers_are_reused_lowest_first)
{
    int fd[5];
    for (int i = 0; i < 5; i++) {
        fd[i] = sim_world->ops->socket(sim_world, AF_INET);
        cr_assert_eq(fd[i], 3 + i);
    }
    cr_assert_eq(sim_close(4), 0);
    cr_assert_eq(sim_close(4), -EBADF);
    cr_assert_eq(sim_recv(4), -EBADF);
    sim_world->ops->discard(sim_world, 6);
    cr_assert_eq(sim_world->ops->socket(sim_world, AF_INET), 4);
    cr_assert_eq(sim_world->ops->socket(sim_world, AF_INET), 6);
    for (int i = 0; i < 5; i++)
        sim_close(fd[i]);
}

SIM_TEST(sim_sockets, numbers_run_out_and_one_can_be_shed)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int listener = sim_listen_on(INADDR_LOOPBACK, 0, 4, &addr, &len), fd, last = listener, fds[2];
    int client = weir_sim_peer_connect(the_sim, (struct sockaddr *)&addr, len);
    while ((fd = sim_world->ops->socket(sim_world, AF_INET)) >= 0)
        last = fd;
    cr_assert_eq(fd, -EMFILE);
    cr_assert_eq(last, 16383);
    cr_assert_eq(weir_sim_pair(the_sim, fds), -EMFILE);
    cr_assert_eq(sim_accept(listener), -EMFILE);
    cr_assert_eq(sim_world->ops->shed(sim_world, listener), 1);
    cr_assert_eq(sim_world->ops->shed(sim_world, listener), 0);
    cr_assert_eq(sim_raw_recv(client), 0);
    for (fd = 3; fd <= last; fd++)
        sim_close(fd);
}

SIM_TEST(sim_sockets, adopt_knows_what_it_is_given)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int own, raw, listener = sim_listen_on(INADDR_LOOPBACK, 0, 4, &addr, &len);
    int fresh = sim_world->ops->socket(sim_world, AF_INET6);
    sim_make_pair(&own, &raw);
    struct wr_adopted facts = {0};
    cr_assert_eq(sim_world->ops->adopt(sim_world, listener, WR_WANT_STREAM, &facts), -EINVAL);
    cr_assert_eq(sim_world->ops->adopt(sim_world, own, WR_WANT_LISTENER, &facts), -EINVAL);
    cr_assert_eq(sim_world->ops->adopt(sim_world, listener, WR_WANT_LISTENER, &facts), 0);
    cr_assert_eq(sim_world->ops->adopt(sim_world, fresh, WR_WANT_STREAM, &facts), 0);
    cr_assert(facts.socket && !facts.connected && facts.reads && facts.writes);
    cr_assert_eq(sim_world->ops->adopt(sim_world, own, WR_WANT_STREAM, &facts), 0);
    cr_assert(facts.socket && facts.connected && facts.reads && facts.writes);
    cr_assert_eq(sim_world->ops->adopt(sim_world, 1000, WR_WANT_STREAM, &facts), -EBADF);
    cr_assert_eq(sim_world->ops->adopt(sim_world, -1, WR_WANT_STREAM, &facts), -EBADF);
    cr_assert_eq(sim_recv(fresh), -ENOTCONN);
    cr_assert_eq(sim_send(fresh, 1), -EPIPE);
    cr_assert_eq(sim_accept(own), -EINVAL);
    int fds[] = {own, raw, listener, fresh};
    for (int i = 0; i < 4; i++)
        sim_close(fds[i]);
}
