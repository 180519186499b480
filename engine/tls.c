/* TLS on a stream: the four verbs, over OpenSSL. */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* What is spilled of a record of data, and what may have to be answered meanwhile. */
enum { SPILL_MAX = SSL3_RT_MAX_PACKET_SIZE + 4096 };

struct wr_tls *wr_tls_of(struct weir_stream *s)
{
    return s ? weir_layer_of(s, &wr_tls_verbs) : NULL;
}

/* ---- Verbs ---- */

/* Errors that others left in the thread's queue must not be taken for ours. To look is cheaper than to clear. */
static void enter(struct wr_tls *tls, struct weir_wire *wire)
{
    if (wr_unlikely(ERR_peek_error() != 0))
        ERR_clear_error();
    tls_assert(!tls->wire);
    tls->wire = wire;
    wr_tls_bio_flush(tls);
}

/* What was spilled goes before anything is told: an alert before what it is about. */
static int64_t leave(struct wr_tls *tls, int64_t answer)
{
    tls->wire = NULL;
    return tls->spilled > 0 && answer <= 0 ? WEIR_WANTS_ROOM : answer;
}

/* OpenSSL would only say that it wants input: nothing has come, and it has nothing to tell. */
static bool is_dry(const struct wr_tls *tls, struct weir_wire *wire)
{
    const void *rest;
    return weir_wire_look(wire, &rest) == 0 && (tls->starved || !SSL_has_pending(tls->ssl)) &&
           !(SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN);
}

static int start(void *layer, struct weir_wire *wire)
{
    struct wr_tls *tls = layer;
    int answer = tls->broken;

    if (answer == 0 && tls->spilled == 0 && tls->starved && is_dry(tls, wire))
        return WEIR_WANTS_INPUT;
    enter(tls, wire);
    if (answer == 0 && !tls->begun) {
        int rc = SSL_do_handshake(tls->ssl);
        answer = rc == 1 ? wr_tls_agreed(tls) : wr_tls_answer(tls, rc);
    }
    /* An end that comes before the beginning is none. */
    if (answer == WEIR_EOF)
        answer = wr_tls_break(tls, WEIR_ETLS, "the peer ended the handshake");
    return (int)leave(tls, answer);
}

/* As many records as have come and are sure to fit, or some of one; how many bytes they gave, or the answer that kept
 * from more. */
static int64_t read_records(struct wr_tls *tls, unsigned char *memory, size_t len)
{
    size_t got = 0, n;

    do {
        int rc = SSL_read_ex(tls->ssl, memory + got, len - got, &n);
        if (rc != 1) {
            int answer = wr_tls_answer(tls, rc);
            return got > 0 ? (int64_t)got : answer;
        }
        got += n;
        tls->chatter = 0;
    } while (len - got >= SSL3_RT_MAX_PLAIN_LENGTH && !is_dry(tls, tls->wire));
    return (int64_t)got;
}

static int64_t ingest(void *layer, struct weir_wire *wire, void *memory, size_t len)
{
    struct wr_tls *tls = layer;
    int64_t answer = tls->broken;

    if (answer == 0 && tls->spilled == 0 && is_dry(tls, wire))
        return WEIR_WANTS_INPUT;
    enter(tls, wire);
    if (answer == 0)
        answer = tls->spilled > SPILL_MAX ? WEIR_WANTS_ROOM : read_records(tls, memory, len);
    if (answer == WEIR_WANTS_INPUT && tls->chatter > WR_TLS_CHATTER_MAX)
        answer = wr_tls_break(tls, WEIR_ETLS, "too many messages of the handshake kind, without data");
    int64_t last = leave(tls, answer);
    /* For the room that its record needs emit waits already: the peer, which may wait for us to read, is read on. */
    return tls->sealed_len > 0 && tls->broken == 0 ? answer : last;
}

/* As many records as there is room for the beginning of. What is spilled of the last has all bytes stay where they are:
 * they are not taken before it has gone. */
static int64_t write_records(struct wr_tls *tls, const unsigned char *data, size_t len)
{
    size_t taken = 0, n;

    do {
        int rc = SSL_write_ex(tls->ssl, data + taken, wr_min(len - taken, SSL3_RT_MAX_PLAIN_LENGTH), &n);
        if (rc != 1) {
            int answer = wr_tls_answer(tls, rc);
            return taken > 0 ? (int64_t)taken : answer;
        }
        taken += n;
        if (tls->chatter > 0)
            tls->chatter--; /* who only takes may ask for new keys now and then */
    } while (taken < len && weir_wire_room(tls->wire) > 0);
    if (tls->spilled == 0)
        return (int64_t)taken;
    tls->sealed = data;
    tls->sealed_len = taken;
    return WEIR_WANTS_ROOM;
}

/* Nothing is spilled any more. */
static int64_t take_sealed(struct wr_tls *tls, const void *data, size_t len)
{
    size_t taken = tls->sealed_len;

    if (data != tls->sealed || len < taken)
        return wr_tls_break(tls, WEIR_ETLS, "bad write retry");
    tls->sealed = NULL;
    tls->sealed_len = 0;
    return (int64_t)taken;
}

static int64_t emit(void *layer, struct weir_wire *wire, const void *data, size_t len)
{
    struct wr_tls *tls = layer;
    int64_t answer = tls->broken;

    enter(tls, wire);
    if (answer == 0 && tls->spilled == 0 && tls->sealed_len > 0)
        answer = take_sealed(tls, data, len);
    else if (answer == 0 && (tls->spilled > 0 || weir_wire_room(wire) == 0))
        answer = WEIR_WANTS_ROOM;
    else if (answer == 0)
        answer = write_records(tls, data, len);
    return leave(tls, answer);
}

/* close_notify, once OpenSSL has said and heard what it is amid of: a message that has not come whole, new keys. */
static int say_goodbye(struct wr_tls *tls)
{
    int rc = SSL_in_init(tls->ssl) ? SSL_do_handshake(tls->ssl) : 1;
    if (rc != 1)
        return wr_tls_answer(tls, rc);
    SSL_shutdown(tls->ssl);
    return 0;
}

/* There is nobody to tell before the handshake is done. */
static int shut(void *layer, struct weir_wire *wire)
{
    struct wr_tls *tls = layer;
    int answer = 0;

    enter(tls, wire);
    if (tls->broken == 0 && tls->begun)
        answer = say_goodbye(tls);
    ERR_clear_error();
    return (int)leave(tls, answer == WEIR_WANTS_INPUT ? answer : 0);
}

static void release(void *layer)
{
    wr_tls_free(layer);
}

const struct weir_layer_verbs wr_tls_verbs = {
    .size = sizeof wr_tls_verbs, .start = start, .ingest = ingest, .emit = emit, .shut = shut, .release = release};

/* ---- Life ---- */

static bool is_address(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Whom the certificate must name. Only names are told to the server. */
static int expect_host(struct wr_tls *tls, const char *host)
{
    const struct wr_tls_setup *setup = wr_tls_setup_of(tls->ssl);
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    char name[WR_TLS_NAME_SIZE];

    if (!wr_tls_tidy_name(name, host, strlen(host)))
        return -EINVAL;
    if (!(tls->host = OPENSSL_strdup(name)))
        return -ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    bool ip = is_address(tls->host);
    if (!ip && SSL_set_tlsext_host_name(tls->ssl, tls->host) != 1)
        return -ENOMEM;
    if (setup->any_certificate || setup->any_name)
        return 0;
    int rc = ip ? X509_VERIFY_PARAM_set1_ip_asc(param, tls->host)
                : X509_VERIFY_PARAM_set1_host(param, tls->host, strlen(tls->host));
    return rc == 1 ? 0 : -ENOMEM;
}

static int begin_as_client(struct wr_tls *tls, const char *host)
{
    const struct wr_tls_setup *setup = wr_tls_setup_of(tls->ssl);
    int rc = 0;

    SSL_set_connect_state(tls->ssl);
    if (host)
        rc = expect_host(tls, host);
    else if (!setup->any_certificate && !setup->any_name)
        rc = -EINVAL;
    SSL_SESSION *session = rc == 0 && tls->host ? wr_tls_session_for(tls) : NULL;
    if (session)
        SSL_set_session(tls->ssl, session);
    SSL_SESSION_free(session);
    return rc;
}

static int set_up(struct wr_tls *tls, const char *host)
{
    SSL_CTX *ctx = wr_tls_config_context(tls->config);
    tls->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    BIO *bio = tls->ssl ? wr_tls_bio_new(tls) : NULL;
    if (!bio)
        return -ENOMEM;
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    if (!wr_tls_tie(tls, tls->ssl))
        return -ENOMEM;
    if (!tls->config->server)
        return begin_as_client(tls, host);
    SSL_set_accept_state(tls->ssl);
    tls->starved = true; /* the client has the first word */
    return host ? -EINVAL : 0;
}

int wr_tls_new(struct weir_tls_config *config, const char *host, struct wr_tls **ret_tls)
{
    struct wr_tls *tls = OPENSSL_zalloc(sizeof *tls);
    if (!tls)
        return -ENOMEM;
    tls->config = wr_tls_config_hold(config);
    int rc = set_up(tls, host);
    ERR_clear_error();
    if (rc < 0)
        wr_tls_free(tls);
    else
        *ret_tls = tls;
    return rc;
}

/* OpenSSL does not go on with a session that ended without its goodbye. That is asked of those only that were broken:
 * a close that does not wait, or a peer that is gone, says nothing about the session (RFC 5246, 7.2.1). */
void wr_tls_free(struct wr_tls *tls)
{
    if (tls->ssl && tls->broken == 0)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    weir_tls_config_close(tls->config);
    OPENSSL_free(tls->host);
    OPENSSL_free(tls->alpn);
    OPENSSL_free(tls->spill);
    OPENSSL_free(tls);
}

/* ---- Calls ---- */

int weir_tls_start(struct weir_stream *s, struct weir_tls_config *config, const char *host)
{
    struct wr_tls *tls = NULL;

    if (!s || !config)
        return -EINVAL;
    int rc = wr_tls_new(config, host, &tls);
    if (rc < 0)
        return rc;
    rc = weir_layer_attach(s, &wr_tls_verbs, tls);
    if (rc < 0)
        wr_tls_free(tls);
    return rc;
}

int weir_tls_wait(struct weir_stream *s, weir_tls_fn *fn, void *arg)
{
    if (!s || !fn)
        return -EINVAL;
    return wr_tls_of(s) ? weir_layer_wait(s, fn, arg) : -ENOENT;
}
