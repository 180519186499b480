/* Suite net: what the worlds on real sockets share. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "addr.h"
#include "backend.h"
#include "helpers_case.h"
#include "helpers_stream.h"

static struct wr_net net;
static struct wr_world world = {.net = &net};
static struct sockaddr_storage addr;
static socklen_t addr_len;
static int fds_before;

static void set_up(void)
{
    fds_before = open_fds();
    wr_net_open(&net, false);
    cr_assert(net.spare_fd >= 0 && fcntl(net.spare_fd, F_GETFD) == FD_CLOEXEC);
}

static void tear_down(void)
{
    wr_net_close(&net);
    cr_assert_eq(open_fds(), fds_before, "no descriptor is left");
}

TestSuite(net, .init = set_up, .timeout = 30);

static const struct sockaddr *sa(void)
{
    return (const struct sockaddr *)&addr;
}

/* Listen there; addr is then where it really is. */
static int listen_at(const char *text, bool reuse_port)
{
    cr_assert_eq(wr_addr_parse(text, &addr, &addr_len), 0);
    int fd = wr_net_listen(&world, sa(), addr_len, 8, reuse_port);
    if (fd >= 0)
        cr_assert_eq(wr_net_address(&world, fd, false, &addr, &addr_len), 0);
    return fd;
}

static int connect_there(void)
{
    int fd = socket(addr.ss_family, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, sa(), addr_len), 0);
    return fd;
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, -1), 1);
}

static int option_of(int fd, int level, int name)
{
    int value = 0;
    cr_assert_eq(getsockopt(fd, level, name, &value, &(socklen_t){sizeof value}), 0);
    return value;
}

static bool is_nonblock(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static bool is_cloexec(int fd)
{
    return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

CASE(net, a_socket_is_as_the_world_wants_it)
{
    static const int families[] = {AF_INET, AF_UNIX};
    for (int nonblock = 0; nonblock <= 1; nonblock++)
        for (size_t i = 0; i < WR_COUNT(families); i++) {
            net.nonblock = nonblock;
            int fd = wr_net_socket(&world, families[i]);
            cr_assert_geq(fd, 0);
            cr_assert_eq(option_of(fd, SOL_SOCKET, SO_DOMAIN), families[i]);
            cr_assert_eq(option_of(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
            cr_assert_eq(is_nonblock(fd), nonblock);
            cr_assert(is_cloexec(fd));
            close(fd);
        }
    cr_assert_eq(wr_net_socket(&world, AF_UNSPEC), -EAFNOSUPPORT);
    cr_assert_eq(wr_net_socket(&world, AF_NETLINK), -EAFNOSUPPORT);
    cr_assert_eq(wr_net_socket(&world, -1), -EAFNOSUPPORT);
}

/* ---- Listening ---- */

CASE(net, a_listener_takes_connections)
{
    static const char *const where[] = {"127.0.0.1:0", "unix:@weir-test-net"};
    for (size_t i = 0; i < WR_COUNT(where); i++) {
        int l = listen_at(where[i], false);
        cr_assert_geq(l, 0);
        int client = connect_there(), server = accept(l, NULL, NULL);
        cr_assert_geq(server, 0);
        cr_assert(is_cloexec(l));
        close(l);
        close(client);
        close(server);
    }
}

CASE(net, a_port_in_use_is_told)
{
    int l = listen_at("127.0.0.1:0", false);
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, false), -EADDRINUSE);
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, true), -EADDRINUSE);
    close(l);
    l = listen_at("unix:@weir-test-net", false);
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, false), -EADDRINUSE);
    close(l);
}

CASE(net, a_port_is_shared_if_both_say_so)
{
    int one = listen_at("127.0.0.1:0", true);
    int two = wr_net_listen(&world, sa(), addr_len, 8, true);
    cr_assert_geq(two, 0);
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, false), -EADDRINUSE);
    close(one);
    close(two);
}

CASE(net, a_port_is_free_again_although_a_connection_lingers)
{
    int l = listen_at("127.0.0.1:0", false), client = connect_there(), server = accept(l, NULL, NULL);
    close(l);
    close(server);
    wait_readable(client);
    close(client);
    l = wr_net_listen(&world, sa(), addr_len, 8, false);
    cr_assert_geq(l, 0);
    close(l);
}

CASE(net, bad_addresses_are_told)
{
    cr_assert_eq(listen_at("203.0.113.1:0", false), -EADDRNOTAVAIL);
    cr_assert_eq(listen_at("unix:/nowhere/to/be/found", false), -ENOENT);
    cr_assert_eq(wr_addr_parse("127.0.0.1:0", &addr, &addr_len), 0);
    for (socklen_t len = 0; len < sizeof(struct sockaddr_in); len++)
        cr_assert_eq(wr_net_listen(&world, sa(), len, 8, false), -EINVAL, "%u", len);
    addr.ss_family = AF_UNSPEC;
    cr_assert_eq(wr_net_listen(&world, sa(), 1, 8, false), -EINVAL, "not even a family");
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, false), -EAFNOSUPPORT);
    cr_assert_eq(open_fds(), fds_before + 1, "what fails is closed");
}

/* Listen on the same port twice, first for IPv6, which may be anybody's already for IPv4. */
static int four_beside_six(void)
{
    int four, six = listen_at("[::]:0", false);
    if (six < 0)
        return six;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = ((struct sockaddr_in6 *)&addr)->sin6_port};
    four = wr_net_listen(&world, (struct sockaddr *)&in, sizeof in, 8, false);
    if (four >= 0)
        close(four);
    close(six);
    return four >= 0 ? 0 : four;
}

/* Without IPv6 here there is no socket to look at. */
CASE(net, six_does_not_take_the_port_of_four)
{
    int rc = -EADDRINUSE;
    for (int ports = 0; ports < 50 && rc == -EADDRINUSE; ports++)
        rc = four_beside_six();
    cr_assert(rc == 0 || rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL, "%s", strerror(-rc));
}

CASE(net, a_dead_servers_socket_file_is_replaced_and_nothing_else)
{
    char dir[] = P_tmpdir "/weir-net-XXXXXX", text[128];
    struct stat st;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(text, sizeof text, "unix:%s/socket", dir);
    umask(0);
    int l = listen_at(text, false);
    cr_assert_geq(l, 0);
    cr_assert_eq(stat(text + 5, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600, "nobody else may connect");
    cr_assert_eq(listen_at(text, false), -EADDRINUSE, "the server lives");
    close(l);
    l = listen_at(text, false);
    cr_assert_geq(l, 0, "the server is dead");
    close(connect_there());
    close(l);
    unlink(text + 5);
    close(open(text + 5, O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(listen_at(text, false), -EADDRINUSE, "not a socket");
    cr_assert_eq(stat(text + 5, &st), 0);
    unlink(text + 5);
    rmdir(dir);
}

/* ---- Foreign sockets ---- */

/* Only streams are restored. */
static void expect_adopted(int fd, enum wr_want want, bool connected)
{
    for (int mode = 0; mode < 4; mode++) {
        struct wr_adopted facts = {0};
        bool before = mode & 1, stream = want == WR_WANT_STREAM;
        net.nonblock = mode & 2;
        fcntl(fd, F_SETFD, 0);
        fcntl(fd, F_SETFL, before ? O_NONBLOCK : 0);
        cr_assert_eq(wr_net_adopt(&world, fd, want, &facts), 0);
        cr_assert_eq(is_nonblock(fd), net.nonblock);
        cr_assert(is_cloexec(fd));
        cr_assert(facts.socket && facts.connected == connected && facts.reads == stream && facts.writes == stream);
        wr_net_restore(&net, fd, facts.traits);
        cr_assert_eq(is_nonblock(fd), stream ? before : net.nonblock);
    }
    net.nonblock = false;
}

static void expect_refused(int fd, enum wr_want want, int rc)
{
    for (int mode = 0; mode < 4; mode++) {
        struct wr_adopted facts;
        net.nonblock = mode & 2;
        fcntl(fd, F_SETFL, mode & 1 ? O_NONBLOCK : 0);
        int flags = fcntl(fd, F_GETFL);
        cr_assert_eq(wr_net_adopt(&world, fd, want, &facts), rc);
        cr_assert_eq(fcntl(fd, F_GETFL), flags, "it stays as it was");
        cr_assert_not(fd >= 0 && fcntl(fd, F_GETFD) > 0);
    }
    net.nonblock = false;
}

CASE(net, stream_sockets_are_adopted)
{
    int pair[2], fresh = socket(AF_INET, SOCK_STREAM, 0), l = listen_at("127.0.0.1:0", false);
    int client = connect_there();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    expect_adopted(fresh, WR_WANT_STREAM, false);
    expect_adopted(l, WR_WANT_LISTENER, false);
    expect_adopted(client, WR_WANT_STREAM, true);
    expect_adopted(pair[0], WR_WANT_STREAM, true);
    cr_assert(wr_net_traits(client) == WR_FD_TCP && wr_net_traits(l) == WR_FD_TCP && wr_net_traits(pair[0]) == 0);
    close(fresh);
    close(l);
    close(client);
    close(pair[0]);
    close(pair[1]);
}

CASE(net, a_socket_of_the_wrong_sort_is_refused)
{
    int fresh = socket(AF_INET, SOCK_STREAM, 0), l = listen_at("127.0.0.1:0", false), client = connect_there();
    fcntl(l, F_SETFD, 0);
    expect_refused(l, WR_WANT_STREAM, -EINVAL);
    expect_refused(fresh, WR_WANT_LISTENER, -EINVAL);
    expect_refused(client, WR_WANT_LISTENER, -EINVAL);
    close(l);
    close(fresh);
    close(client);
}

CASE(net, nothing_else_is_adopted)
{
    int fds[] = {socket(AF_INET, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_SEQPACKET, 0), open("/dev/null", O_RDWR),
                 open("/", O_RDONLY | O_DIRECTORY), open("/proc/self/exe", O_RDONLY)};
    for (size_t i = 0; i < WR_COUNT(fds); i++) {
        expect_refused(fds[i], WR_WANT_STREAM, -ENOTSUP);
        expect_refused(fds[i], WR_WANT_LISTENER, -ENOTSOCK);
        close(fds[i]);
    }
    expect_refused(fds[0], WR_WANT_STREAM, -EBADF);
    expect_refused(-1, WR_WANT_LISTENER, -EBADF);
}

/* ---- Facts and settings ---- */

CASE(net, both_addresses_are_told)
{
    struct sockaddr_storage local, peer = {.ss_family = 99};
    socklen_t local_len, peer_len = 7;
    int l = listen_at("127.0.0.1:0", false), client = connect_there(), server = accept(l, NULL, NULL);
    cr_assert_eq(wr_net_address(&world, l, true, &peer, &peer_len), -ENOTCONN);
    cr_assert(peer.ss_family == 99 && peer_len == 7);
    cr_assert_eq(wr_net_address(&world, client, true, &peer, &peer_len), 0);
    cr_assert(peer_len == addr_len && memcmp(&peer, &addr, addr_len) == 0);
    cr_assert_eq(wr_net_address(&world, client, false, &local, &local_len), 0);
    cr_assert_eq(wr_net_address(&world, server, true, &peer, &peer_len), 0);
    cr_assert(peer_len == local_len && memcmp(&peer, &local, local_len) == 0);
    close(l);
    close(client);
    close(server);
    cr_assert_eq(wr_net_address(&world, server, true, &peer, &peer_len), -EBADF);
}

CASE(net, the_delay_is_for_tcp_alone)
{
    int pair[2], tcp = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(wr_net_option(&world, tcp, WR_SO_NODELAY, 1), 0);
    cr_assert_neq(option_of(tcp, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_assert_eq(wr_net_option(&world, tcp, WR_SO_NODELAY, 0), 0);
    cr_assert_eq(option_of(tcp, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_assert_eq(wr_net_option(&world, pair[0], WR_SO_NODELAY, 1), 0);
    close(tcp);
    close(pair[0]);
    close(pair[1]);
}

CASE(net, a_reset_reaches_the_peer)
{
    char byte;
    for (int reset = 0; reset <= 1; reset++) {
        int l = listen_at("127.0.0.1:0", false), client = connect_there(), server = accept(l, NULL, NULL);
        cr_assert_eq(wr_net_option(&world, client, WR_SO_LINGER_RESET, 1), 0);
        cr_assert_eq(wr_net_option(&world, client, WR_SO_LINGER_RESET, reset), 0);
        close(client);
        ssize_t got = read(server, &byte, 1);
        cr_assert(reset ? got < 0 && errno == ECONNRESET : got == 0);
        close(server);
        close(l);
    }
    cr_assert_eq(wr_net_option(&world, -1, WR_SO_LINGER_RESET, 1), -EBADF);
}

/* ---- The limit on descriptors ---- */

enum { LIMIT = 64 };

static int taken[LIMIT];

/* Take all descriptors below the limit. */
static void exhaust(void)
{
    int n = 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = LIMIT;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((taken[n] = dup(STDERR_FILENO)) >= 0)
        n++;
    cr_assert_eq(errno, EMFILE);
}

static void relax(void)
{
    for (int n = 0; taken[n] >= 0; n++)
        close(taken[n]);
}

CASE(net, at_the_limit_one_waiting_connection_is_shed)
{
    char byte;
    for (int nonblock = 0; nonblock <= 1; nonblock++) {
        net.nonblock = nonblock;
        int l = listen_at("127.0.0.1:0", false), one = connect_there(), two = connect_there();
        exhaust();
        wait_readable(l);
        cr_assert_lt(accept(l, NULL, NULL), 0);
        cr_assert_eq(errno, EMFILE);
        cr_assert_eq(wr_net_shed(&world, l), 1);
        cr_assert_eq(read(one, &byte, 1), 0, "it has its end");
        wait_readable(l);
        cr_assert_eq(wr_net_shed(&world, l), 1, "the spare is there again");
        cr_assert_eq(read(two, &byte, 1), 0);
        cr_assert_eq(wr_net_shed(&world, l), 0, "nobody waits, and it does not wait either");
        cr_assert_eq(is_nonblock(l), nonblock);
        cr_assert(is_cloexec(net.spare_fd));
        relax();
        close(l);
        close(one);
        close(two);
    }
}

CASE(net, without_a_spare_nothing_is_shed)
{
    struct wr_net poor;
    struct wr_world poor_world = {.net = &poor};
    int l = listen_at("127.0.0.1:0", false), one = connect_there();
    exhaust();
    wr_net_open(&poor, false);
    cr_assert_eq(poor.spare_fd, -1);
    wait_readable(l);
    cr_assert_eq(wr_net_shed(&poor_world, l), 0);
    wr_net_close(&poor);
    cr_assert_eq(wr_net_socket(&world, AF_INET), -EMFILE);
    cr_assert_eq(wr_net_listen(&world, sa(), addr_len, 8, false), -EMFILE);
    relax();
    close(l);
    close(one);
}

/* An address ends where its length says, and need not have a NUL there: what stands behind names nobody. */
CASE(net, a_path_ends_with_its_address)
{
    char dir[] = P_tmpdir "/weir-net-XXXXXX", text[128];
    struct stat st;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(text, sizeof text, "unix:%s/socket", dir);
    close(listen_at(text, false)); /* a dead server's */
    snprintf(text, sizeof text, "unix:%s/socket-alive", dir);
    int alive = listen_at(text, false);
    cr_assert_geq(alive, 0);
    int l = wr_net_listen(&world, sa(), addr_len - (socklen_t)sizeof "-alive", 8, false);
    cr_assert_geq(l, 0, "in the dead one's place");
    cr_assert_eq(stat(text + 5, &st), 0, "the other lives");
    close(l);
    close(alive);
    unlink(text + 5);
    text[strlen(text) - strlen("-alive")] = '\0';
    unlink(text + 5);
    cr_assert_eq(rmdir(dir), 0);
}
