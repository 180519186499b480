#include "helpers_tls.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <string.h>

#include "helpers_stream.h"

/* ---- Ends ---- */

static int end_open(struct tls_end *end, struct weir_tls_config *config, const char *host, size_t room)
{
    wr_cache_init(&end->cache, 1 << 20);
    wr_sendq_init(&end->out, &end->cache);
    wr_wire_init(&end->wire, &end->cache, &end->out, room ? room : 1 << 20);
    end->begun = 1;
    return wr_tls_new(config, host, &end->tls);
}

static void end_close(struct tls_end *end)
{
    if (end->tls)
        wr_tls_verbs.release(end->tls);
    wr_wire_done(&end->wire);
    wr_sendq_done(&end->out);
    wr_cache_done(&end->cache);
}

void link_open(struct tls_link *link, struct weir_tls_config *client, struct weir_tls_config *server, const char *host)
{
    int rc = link_try(link, client, server, host);
    cr_assert_eq(rc, 0, "%s", weir_error_name(rc));
}

int link_try(struct tls_link *link, struct weir_tls_config *client, struct weir_tls_config *server, const char *host)
{
    int client_rc = end_open(&link->client, client, host, link->room);
    int server_rc = end_open(&link->server, server, NULL, link->room);
    return client_rc < 0 ? client_rc : server_rc;
}

void link_close(struct tls_link *link)
{
    end_close(&link->client);
    end_close(&link->server);
}

void feed(struct tls_end *to, const void *data, size_t len)
{
    struct wr_segment *seg = wr_segment_new(&to->cache, len);
    memcpy(seg->base, data, len);
    wr_wire_feed(&to->wire, seg, 0, len);
    cr_assert_eq(to->wire.error, 0);
}

size_t carry(struct tls_link *link, struct tls_end *from, size_t max)
{
    struct tls_end *to = from == &link->client ? &link->server : &link->client;
    struct iovec iov;
    (void)wr_sendq_freeze(&from->out, &iov, 1, max);
    size_t n = from->out.frozen;

    if (n > 0)
        feed(to, iov.iov_base, n);
    struct tls_record *record = to == &link->client ? link->to_client : link->to_server;
    if (record && n > 0) {
        cr_assert_leq(record->len + n, sizeof record->bytes);
        memcpy(record->bytes + record->len, iov.iov_base, n);
        record->len += n;
    }
    wr_sendq_advance(&from->out, n);
    from->moved += n;
    return n;
}

void open_usual(struct tls_link *link)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    link_open(link, client, server, "localhost");
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

void prepare_usual(void)
{
    struct tls_link link = {0};
    open_usual(&link);
    link_close(&link);
}

static size_t cut_of(const struct tls_link *link)
{
    return link->cut ? link->cut : SIZE_MAX;
}

static bool wants(int answer)
{
    return answer == 1 || answer == WEIR_WANTS_INPUT || answer == WEIR_WANTS_ROOM;
}

static void begin(struct tls_end *end)
{
    if (wants(end->begun))
        end->begun = wr_tls_verbs.start(end->tls, &end->wire);
}

bool handshake(struct tls_link *link)
{
    size_t n;
    do {
        begin(&link->client);
        n = carry(link, &link->client, cut_of(link));
        begin(&link->server);
        n += carry(link, &link->server, cut_of(link));
    } while (n > 0);
    return link->client.begun == 0 && link->server.begun == 0;
}

void expect_handshake(struct tls_link *link)
{
    cr_assert(handshake(link), "client: %s (%s), server: %s (%s)", weir_error_name(link->client.begun),
              link->client.tls->words, weir_error_name(link->server.begun), link->server.tls->words);
}

void settle(struct tls_link *link)
{
    while (carry(link, &link->client, cut_of(link)) + carry(link, &link->server, cut_of(link)) > 0)
        ;
}

int64_t taste(struct tls_end *end)
{
    char memory[64];
    return wr_tls_verbs.ingest(end->tls, &end->wire, memory, sizeof memory);
}

void converse(struct tls_link *link, struct tls_end *from, size_t len)
{
    static unsigned char data[1 << 20], got[1 << 20];
    struct tls_end *to = from == &link->client ? &link->server : &link->client;
    size_t sent = 0, came = 0;

    cr_assert_leq(len, sizeof data);
    fill_bytes(data, 0, len);
    while (came < len) {
        int64_t n = sent < len ? wr_tls_verbs.emit(from->tls, &from->wire, data + sent, len - sent) : 0;
        cr_assert(n >= 0 || n == WEIR_WANTS_ROOM, "emit: %s (%s)", weir_error_name((int)n), from->tls->words);
        sent += n > 0 ? (size_t)n : 0;
        size_t moved = carry(link, from, cut_of(link));
        int64_t m = wr_tls_verbs.ingest(to->tls, &to->wire, got + came, len - came);
        cr_assert(m > 0 || m == WEIR_WANTS_INPUT, "ingest: %s (%s)", weir_error_name((int)m), to->tls->words);
        came += m > 0 ? (size_t)m : 0;
        cr_assert(n > 0 || m > 0 || moved > 0, "stuck: %zu sent, %zu came of %zu", sent, came, len);
    }
    expect_bytes(got, 0, len);
}

/* ---- Configurations ---- */

struct weir_tls_config *config_of(const struct weir_tls_config_options *opt)
{
    struct weir_tls_config *config;
    int rc = weir_tls_config_open(opt, &config);
    cr_assert_eq(rc, 0, "%s: %s", weir_error_name(rc), weir_tls_config_refusal());
    return config;
}

struct weir_tls_config_options server_options(void)
{
    static const char *cert, *key;
    if (!cert) {
        cert = cert_pem(test_server());
        key = cert_key_pem(test_server());
    }
    return (struct weir_tls_config_options){.size = sizeof(struct weir_tls_config_options), .server = 1,
                                            .cert_pem = cert, .key_pem = key};
}

struct weir_tls_config_options client_options(void)
{
    static const char *ca;
    if (!ca)
        ca = cert_pem(test_ca());
    return (struct weir_tls_config_options){.size = sizeof(struct weir_tls_config_options), .ca_pem = ca};
}

struct weir_tls_config *server_config(void)
{
    struct weir_tls_config_options opt = server_options();
    return config_of(&opt);
}

static void use_chain(SSL_CTX *ctx, const char *chain)
{
    BIO *bio = BIO_new_mem_buf(chain, -1);
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    cr_assert_eq(SSL_CTX_use_certificate(ctx, x509), 1);
    X509_free(x509);
    SSL_CTX_clear_chain_certs(ctx);
    while ((x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        cr_assert_eq(SSL_CTX_add0_chain_cert(ctx, x509), 1);
    ERR_clear_error();
    BIO_free(bio);
}

struct weir_tls_config *bad_server(const char *chain, const struct cert *leaf)
{
    struct weir_tls_config *config = server_config();
    SSL_CTX_set_security_level(config->ctx, 0);
    use_chain(config->ctx, chain);
    cr_assert_eq(SSL_CTX_use_PrivateKey(config->ctx, leaf->key), 1);
    /* The usual certificate, of another kind of key, is still there. */
    if (EVP_PKEY_is_a(leaf->key, "RSA"))
        SSL_CTX_set1_sigalgs_list(config->ctx, "RSA-PSS+SHA256");
    return config;
}

struct weir_tls_config *client_config(void)
{
    struct weir_tls_config_options opt = client_options();
    return config_of(&opt);
}

/* ---- Streams ---- */

void over_tls(struct weir_stream *a, struct weir_stream *b)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    if (a)
        cr_assert_eq(weir_tls_start(a, client, "localhost"), 0);
    if (b)
        cr_assert_eq(weir_tls_start(b, server, NULL), 0);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- Chance ---- */

uint64_t chance(uint64_t *state, uint64_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

static uint64_t random_state;

static int random_bytes(unsigned char *to, int len)
{
    for (int i = 0; i < len; i++)
        to[i] = (unsigned char)chance(&random_state, 256);
    return 1;
}

static int always(void)
{
    return 1;
}

uint64_t tls_random_from(uint64_t seed)
{
    static RAND_METHOD method;
    uint64_t before = random_state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    method = (RAND_METHOD){.bytes = random_bytes, .pseudorand = random_bytes, .status = always};
    cr_assert_eq(RAND_set_rand_method(&method), 1);
#pragma GCC diagnostic pop
    random_state = seed;
    return before;
}
