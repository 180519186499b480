/* Suite tls_memory: allocations of OpenSSL and of TLS fail, one at a time; and what a stream takes that waits. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "helpers_stream.h"
#include "helpers_tls.h"

static long count, fail_at;     /* 0: none fails */

static bool fails(void)
{
    return ++count == fail_at;
}

static void *allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *reallocate(void *block, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(block, size);
}

static void release(void *block, const char *file, int line)
{
    (void)file, (void)line;
    free(block);
}

/* Before OpenSSL allocates anything, for whomever. */
static int hooked;

__attribute__((constructor)) static void hook(void)
{
    hooked = CRYPTO_set_mem_functions(allocate, reallocate, release);
}

/* A code that is allowed when memory is lacking: OpenSSL does not always say that it was that. */
static bool is_told(int64_t answer)
{
    return answer == -ENOMEM || answer == WEIR_ETLS || answer == WEIR_ECERT;
}

/* One byte each way, as far as it gets. True if it came. */
static bool exchange(struct tls_link *link, struct tls_end *from, struct tls_end *to)
{
    int64_t answer = wr_tls_verbs.emit(from->tls, &from->wire, "x", 1);
    carry(link, from, SIZE_MAX);
    if (answer == 1)
        answer = taste(to);
    cr_assert(answer == 1 || is_told(answer), "%s: %s, %s", weir_error_name((int)answer), from->tls->words,
              to->tls->words);
    return answer == 1;
}

static bool session(struct tls_link *link)
{
    if (!handshake(link)) {
        cr_assert(is_told(link->client.begun) || is_told(link->server.begun), "%s, %s",
                  weir_error_name(link->client.begun), weir_error_name(link->server.begun));
        return false;
    }
    bool came = exchange(link, &link->client, &link->server) && exchange(link, &link->server, &link->client);
    wr_tls_verbs.shut(link->client.tls, &link->client.wire);
    settle(link);
    return came && taste(&link->server) == WEIR_EOF;
}

/* All of it, with one allocation that fails. True if it went well nevertheless. */
static bool attempt(const struct weir_tls_config_options *copt, const struct weir_tls_config_options *sopt, long at)
{
    struct weir_tls_config *client = NULL, *server = NULL;
    bool good = false;

    count = 0;
    fail_at = at;
    int rc = weir_tls_config_open(copt, &client);
    rc = rc < 0 ? rc : weir_tls_config_open(sopt, &server);
    cr_assert_eq(rc < 0, weir_tls_config_refusal()[0] != '\0');
    if (rc == 0) {
        struct tls_link link = {0};
        rc = link_try(&link, client, server, "localhost");
        good = rc == 0 && session(&link);
        link_close(&link);
    }
    cr_assert(rc == 0 || rc == -ENOMEM || rc == -EINVAL, "%s", weir_error_name(rc));
    fail_at = 0;
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    return good;
}

static void torture(int version, long step)
{
    struct weir_tls_config_options copt = client_options(), sopt = server_options();

    copt.alpn = sopt.alpn = "h2";
    copt.min_version = version;
    cr_assert(attempt(&copt, &sopt, 0));
    cr_assert(attempt(&copt, &sopt, 0));
    long all = count, failed = 0;
    for (long at = 1; at <= all; at += step)
        failed += !attempt(&copt, &sopt, at);
    cr_assert_gt(failed, 0);
    cr_assert(attempt(&copt, &sopt, 0), "and all is as before");
}

Test(tls_memory, an_allocation_fails, .timeout = 120)
{
    cr_assert_eq(hooked, 1);
    /* One in seven; all of them have been seen to fail well. */
    torture(WEIR_TLS_1_3, 7);
}

/* ---- What waits ---- */

enum { PAIRS = 100, MESSAGE = 5000, IDLE_MOST = 20 * 1024 };

/* Bytes of the heap in use, OpenSSL's and the allocator's own included. (Under sanitizers there is no telling: 0.) */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int heard;

static void hear(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    (void)s, (void)view, (void)arg;
    heard += status == 0;
}

/* Messages both ways, so that all has been in use. Then both wait for the next. */
static void wait_after_talk(struct env *e, struct party *a, struct party *b)
{
    static const char message[MESSAGE];
    struct party *p[2] = {a, b};
    int goal = heard + 2;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_read_bytes(p[i]->s, MESSAGE, hear, NULL), 0);
        cr_assert_eq(weir_write(p[i]->s, message, MESSAGE, NULL, NULL), 0);
    }
    run_until(e, &heard, goal);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(weir_read_bytes(p[i]->s, MESSAGE, hear, NULL), 0);
}

/* Beyond those of the first pair, which pays for what all share. */
static size_t idle_size(struct env *e, struct weir_tls_config *client, struct weir_tls_config *server)
{
    static struct party a[PAIRS + 1], b[PAIRS + 1];
    size_t before = 0;

    for (int i = 0; i <= PAIRS; i++) {
        open_pair(e, NULL, &a[i], &b[i]);
        cr_assert_eq(weir_tls_start(a[i].s, client, "localhost"), 0);
        cr_assert_eq(weir_tls_start(b[i].s, server, NULL), 0);
        wait_after_talk(e, &a[i], &b[i]);
        before = i == 0 ? in_use() : before;
    }
    run_idle(e);
    size_t each = (in_use() - before) / (2 * PAIRS);
    for (int i = 0; i <= PAIRS; i++)
        close_pair(e, &a[i], &b[i]);
    return each;
}

/* Half of what both ends take, without tickets: with one, a stream of TLS 1.3 comes to 24 KiB over both. */
static void idle_is_small(struct env *e)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct weir_tls_config *client = client_config(), *server = server_config();
        SSL_CTX_set_max_proto_version(client->ctx, version);
        SSL_CTX_set_num_tickets(server->ctx, 0);
        size_t each = idle_size(e, client, server);
        cr_assert_leq(each, IDLE_MOST, "%zu bytes for each, version %x", each, version);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

Test(tls_memory, a_stream_that_waits_takes_little)
{
    env_run("io_uring", idle_is_small);
    env_run("epoll", idle_is_small);
}
