/* An SSL_CTX made from options: all that is safe by default stands here. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

/* With authentication and forward secrecy, and no others. */
#define CIPHERS_1_2                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

enum {
    SECURITY_LEVEL = 2,         /* RSA of 2048 bits, no SHA-1 */
    CHAIN_DEPTH = 8,
    CHAIN_BYTES = 64 * 1024,
    TICKETS = 1                 /* of TLS 1.3; who resumes gets a new one. Each is a 17th of a handshake */
};

/* ---- Places for what is ours in OpenSSL's objects: its app data is the user's ---- */

static int setup_place, tls_place;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_setup(void *ctx, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    struct wr_tls_setup *setup = pointer;
    (void)ctx, (void)data, (void)index, (void)number, (void)arg;
    if (!setup)
        return;
    EVP_CIPHER_free(setup->ticket_cipher);
    OPENSSL_free(setup->alpn);
    OPENSSL_free(setup);
}

static void make_places(void)
{
    setup_place = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_setup);
    tls_place = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

const struct wr_tls_setup *wr_tls_setup_of(const SSL *ssl)
{
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), setup_place);
}

struct wr_tls *wr_tls_of_ssl(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, tls_place);
}

bool wr_tls_tie(struct wr_tls *tls, SSL *ssl)
{
    return SSL_set_ex_data(ssl, tls_place, tls) == 1;
}

/* ---- Protocols ---- */

static unsigned count_protocol(const char *name, size_t len, unsigned char *to)
{
    to[0] = (unsigned char)len;
    memcpy(to + 1, name, len);
    return (unsigned)len + 1;
}

/* "h2,http/1.1" as the wire has it: each name behind its length. */
static int read_alpn(struct wr_tls_setup *setup, const char *names)
{
    size_t whole = strlen(names);
    if (whole > 65000)
        return wr_tls_refuse(-EINVAL, "alpn: too long");
    if (!(setup->alpn = OPENSSL_malloc(whole + 1)))
        return wr_tls_refuse(-ENOMEM, "out of memory");
    for (;;) {
        size_t len = strcspn(names, ",");
        if (len == 0 || len > 255)
            return wr_tls_refuse(-EINVAL, "alpn: a name of %zu bytes", len);
        setup->alpn_len += count_protocol(names, len, setup->alpn + setup->alpn_len);
        if (names[len] == '\0')
            return 0;
        names += len + 1;
    }
}

/* ---- The setup ---- */

static int check_options(const struct weir_tls_config_options *opt)
{
    if (opt->min_version != 0 && opt->min_version != WEIR_TLS_1_2 && opt->min_version != WEIR_TLS_1_3)
        return wr_tls_refuse(-EINVAL, "min_version: none that is spoken here");
    if (opt->client_cert < WEIR_TLS_CLIENT_CERT_NONE || opt->client_cert > WEIR_TLS_CLIENT_CERT_REQUIRED)
        return wr_tls_refuse(-EINVAL, "client_cert: no such value");
    if (!opt->server && opt->client_cert)
        return wr_tls_refuse(-EINVAL, "client_cert: only servers ask for one");
    if (opt->server && (opt->DANGEROUS_any_certificate || opt->DANGEROUS_any_name))
        return wr_tls_refuse(-EINVAL, "DANGEROUS: only of clients");
    if (opt->server && !opt->cert_file && !opt->cert_pem)
        return wr_tls_refuse(-EINVAL, "cert_file: a server needs a certificate");
    if (opt->client_cert && !opt->ca_file && !opt->ca_pem)
        return wr_tls_refuse(-EINVAL, "ca_file: client certificates need roots");
    return 0;
}

static int make_setup(SSL_CTX *ctx, const struct weir_tls_config_options *opt)
{
    struct wr_tls_setup *setup = OPENSSL_zalloc(sizeof *setup);
    if (!setup || SSL_CTX_set_ex_data(ctx, setup_place, setup) != 1) {
        OPENSSL_free(setup);
        return wr_tls_refuse(-ENOMEM, "out of memory");
    }
    setup->client_cert = opt->client_cert;
    setup->no_resumption = opt->no_resumption;
    setup->min_version = opt->min_version ? opt->min_version : WEIR_TLS_1_2;
    setup->any_certificate = opt->DANGEROUS_any_certificate != 0;
    setup->any_name = opt->DANGEROUS_any_name != 0;
    setup->keylog = opt->keylog;
    setup->keylog_arg = opt->keylog_arg;
    if (opt->server && !(setup->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL)))
        return wr_tls_refuse_openssl("OpenSSL", "has no cipher for tickets");
    return opt->alpn ? read_alpn(setup, opt->alpn) : 0;
}

static int verify_mode(const struct wr_tls_setup *setup, bool server)
{
    if (!server)
        return setup->any_certificate ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    switch (setup->client_cert) {
    case WEIR_TLS_CLIENT_CERT_REQUIRED:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case WEIR_TLS_CLIENT_CERT_OPTIONAL:
        return SSL_VERIFY_PEER;
    default:
        return SSL_VERIFY_NONE;
    }
}

void wr_tls_setup_apply(const struct wr_tls_setup *setup, SSL *ssl)
{
    SSL_set_verify(ssl, verify_mode(setup, true), NULL);
    SSL_set_min_proto_version(ssl, setup->min_version);
    if (setup->no_resumption) {
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(ssl, 0);
    } else {
        SSL_clear_options(ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(ssl, TICKETS);
    }
}

/* ---- The SSL_CTX ---- */

/* OpenSSL's configuration file, and the distribution, have no say in these. */
static bool harden(SSL_CTX *ctx)
{
    SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT |
                                   SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION | SSL_OP_ALLOW_CLIENT_RENEGOTIATION |
                                   SSL_OP_NO_EXTENDED_MASTER_SECRET);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_BYTES);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_recv_max_early_data(ctx, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_post_handshake_auth(ctx, 0);
    SSL_CTX_set_max_proto_version(ctx, 0);
    return SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) == 1 && SSL_CTX_set_ciphersuites(ctx, CIPHERS_1_3) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1;
}

/* A client's sessions are kept by its config; a server keeps none, they are in its tickets. OpenSSL asks the SSL_CTX
 * that a stream began with for their keys, whatever name was asked for: so each can tell them, be it for its names. */
static void set_sessions(SSL_CTX *ctx, const struct wr_tls_setup *setup, bool server)
{
    if (server)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, wr_tls_ticket_key_cb);
    if (setup->no_resumption) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    } else if (server) {
        SSL_CTX_set_num_tickets(ctx, TICKETS);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, wr_tls_session_cb);
    }
}

static int set_callbacks(SSL_CTX *ctx, const struct wr_tls_setup *setup, bool server)
{
    set_sessions(ctx, setup, server);
    SSL_CTX_set_msg_callback(ctx, wr_tls_message_cb);
    if (setup->keylog)
        SSL_CTX_set_keylog_callback(ctx, wr_tls_keylog_cb);
    SSL_CTX_set_verify(ctx, verify_mode(setup, server), NULL);
    if (server) {
        SSL_CTX_set_client_hello_cb(ctx, wr_tls_hello_cb, NULL);
        SSL_CTX_set_tlsext_servername_callback(ctx, wr_tls_name_cb);
        SSL_CTX_set_alpn_select_cb(ctx, wr_tls_alpn_cb, NULL);
    } else if (setup->alpn && SSL_CTX_set_alpn_protos(ctx, setup->alpn, setup->alpn_len) != 0) {
        return wr_tls_refuse(-ENOMEM, "out of memory");
    }
    return 0;
}

static int fill(SSL_CTX *ctx, const struct weir_tls_config_options *opt)
{
    int rc = make_setup(ctx, opt);
    if (rc < 0)
        return rc;
    const struct wr_tls_setup *setup = SSL_CTX_get_ex_data(ctx, setup_place);
    if (!harden(ctx) || SSL_CTX_set_min_proto_version(ctx, setup->min_version) != 1)
        return wr_tls_refuse_openssl("OpenSSL", "does not do what is needed");
    rc = set_callbacks(ctx, setup, opt->server != 0);
    if (rc == 0)
        rc = wr_tls_load_own(ctx, opt);
    return rc < 0 ? rc : wr_tls_load_trust(ctx, opt);
}

int wr_tls_context_new(const struct weir_tls_config_options *opt, SSL_CTX **ret_ctx)
{
    int rc = check_options(opt);
    if (rc < 0)
        return rc;
    pthread_once(&once, make_places);
    SSL_CTX *ctx = setup_place < 0 || tls_place < 0 ? NULL : SSL_CTX_new(opt->server ? TLS_server_method()
                                                                                     : TLS_client_method());
    rc = ctx ? fill(ctx, opt) : wr_tls_refuse(-ENOMEM, "out of memory");
    ERR_clear_error();
    if (rc < 0)
        SSL_CTX_free(ctx);
    else
        *ret_ctx = ctx;
    return rc;
}
