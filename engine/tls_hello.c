/* What is said while a handshake goes on, and what is watched. */
#include "tls.h"

#include <errno.h>
#include <string.h>

/* ---- The name that a client asks for ---- */

/* A number of two bytes, which moves *p on; -1 if they are not there. */
static int take_number(const unsigned char **p, const unsigned char *end)
{
    if (end - *p < 2)
        return -1;
    int number = (*p)[0] << 8 | (*p)[1];
    *p += 2;
    return number;
}

/* server_name of RFC 6066, 3: a list, in practice of one name of the only kind. NULL if there is none. */
static const unsigned char *asked_name(SSL *ssl, size_t *ret_len)
{
    const unsigned char *p, *end;
    size_t len;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1)
        return NULL;
    end = p + len;
    int list = take_number(&p, end);
    if (list < 0 || list != end - p || p == end || *p++ != TLSEXT_NAMETYPE_host_name)
        return NULL;
    int name = take_number(&p, end);
    if (name <= 0 || name > end - p)
        return NULL;
    *ret_len = (size_t)name;
    return p;
}

static bool use_named(struct wr_tls *tls, struct weir_tls_config *named)
{
    SSL_CTX *ctx = wr_tls_config_context(named);
    bool set = SSL_set_SSL_CTX(tls->ssl, ctx) != NULL;

    SSL_CTX_free(ctx);
    weir_tls_config_close(tls->config);
    tls->config = named;
    if (set)
        wr_tls_setup_apply(wr_tls_setup_of(tls->ssl), tls->ssl);
    return set;
}

/* Before anything is decided: sessions, versions and certificates are those of the name's own configuration. What is
 * wrong with the hello is told by OpenSSL, but that it takes one of SSL 2, which has no extensions. */
int wr_tls_hello_cb(SSL *ssl, int *alert, void *arg)
{
    struct wr_tls *tls = wr_tls_of_ssl(ssl);
    size_t len;

    (void)arg;
    if (SSL_client_hello_isv2(ssl)) {
        *alert = SSL_AD_PROTOCOL_VERSION;
        return SSL_CLIENT_HELLO_ERROR;
    }
    const unsigned char *name = asked_name(ssl, &len);
    struct weir_tls_config *named = name ? wr_tls_config_named(tls->config, (const char *)name, len) : NULL;
    if (named && !use_named(tls, named)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* The name was taken notice of, whatever it is. */
int wr_tls_name_cb(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* ---- Protocols ---- */

int wr_tls_alpn_cb(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len, const unsigned char *offered,
                   unsigned len, void *arg)
{
    const struct wr_tls_setup *setup = wr_tls_setup_of(ssl);
    unsigned char *chosen;

    (void)arg;
    if (!setup->alpn)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, ret_len, setup->alpn, setup->alpn_len, offered, len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret_chosen = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* OpenSSL before 3.0.15 takes any. */
static bool was_offered(const struct wr_tls_setup *setup, const unsigned char *chosen, unsigned len)
{
    for (unsigned at = 0; at < setup->alpn_len; at += 1 + setup->alpn[at])
        if (setup->alpn[at] == len && memcmp(setup->alpn + at + 1, chosen, len) == 0)
            return true;
    return false;
}

int wr_tls_agreed(struct wr_tls *tls)
{
    const unsigned char *chosen;
    unsigned len;

    tls->begun = true;
    SSL_set_read_ahead(tls->ssl, 1);
    SSL_get0_alpn_selected(tls->ssl, &chosen, &len);
    if (len == 0 || tls->alpn)
        return 0;
    if (!was_offered(wr_tls_setup_of(tls->ssl), chosen, len))
        return wr_tls_break(tls, WEIR_ETLS, "the peer chose a protocol that was not offered");
    tls->alpn = OPENSSL_strndup((const char *)chosen, len);
    return tls->alpn ? 0 : wr_tls_break(tls, -ENOMEM, "out of memory");
}

/* ---- Watching ---- */

void wr_tls_message_cb(int written, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
    struct wr_tls *tls = arg;

    (void)version, (void)ssl, (void)data, (void)len;
    if (!written && type == SSL3_RT_HANDSHAKE && tls->begun && tls->chatter <= WR_TLS_CHATTER_MAX)
        tls->chatter++;
}

void wr_tls_keylog_cb(const SSL *ssl, const char *line)
{
    const struct wr_tls_setup *setup = wr_tls_setup_of(ssl);
    setup->keylog(line, setup->keylog_arg);
}
