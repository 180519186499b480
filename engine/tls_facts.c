/* What there is to know of TLS on a stream. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

struct ssl_st *weir_tls_ssl(struct weir_stream *s)
{
    struct wr_tls *tls = wr_tls_of(s);
    return tls ? tls->ssl : NULL;
}

static const char *text(const char *known)
{
    return known ? known : "";
}

static bool is_verified(const SSL *ssl)
{
    return SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get0_peer_certificate(ssl) &&
           SSL_get_verify_result(ssl) == X509_V_OK;
}

void wr_tls_tell(const struct wr_tls *tls, struct weir_tls_facts *facts)
{
    const SSL *ssl = tls->ssl;

    *facts = (struct weir_tls_facts){.protocol = "", .cipher = "", .alpn = text(tls->alpn),
                                     .sni = text(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))};
    if (!tls->begun)
        return;
    facts->begun = 1;
    facts->resumed = SSL_session_reused(ssl);
    facts->verified = is_verified(ssl);
    facts->protocol = SSL_get_version(ssl);
    facts->cipher = text(SSL_get_cipher_name(ssl));
}

int weir_tls_facts(struct weir_stream *s, struct weir_tls_facts *facts, size_t size)
{
    struct wr_tls *tls = wr_tls_of(s);
    struct weir_tls_facts now;

    if (!s || !facts)
        return -EINVAL;
    if (!tls)
        return -ENOENT;
    wr_tls_tell(tls, &now);
    memcpy(facts, &now, wr_min(size, sizeof now));
    return 0;
}

static int copy_certificate(X509 *certificate, void *der, size_t size)
{
    unsigned char *whole = NULL;
    int len = i2d_X509(certificate, &whole);

    if (len > 0 && size > 0)
        memcpy(der, whole, wr_min(size, (size_t)len));
    OPENSSL_free(whole);
    ERR_clear_error();
    return len > 0 ? len : -ENOMEM;
}

int weir_tls_peer_certificate(struct weir_stream *s, void *der, size_t size)
{
    struct wr_tls *tls = wr_tls_of(s);

    if (!s || (!der && size > 0))
        return -EINVAL;
    X509 *certificate = tls && tls->begun ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    return certificate ? copy_certificate(certificate, der, size) : -ENOENT;
}

int wr_tls_export(struct wr_tls *tls, const char *label, const void *context, size_t context_len, void *ret_bytes,
                  size_t len)
{
    if (!tls->begun)
        return -ENOTCONN;
    int rc = SSL_export_keying_material(tls->ssl, ret_bytes, len, label, strlen(label), context, context_len,
                                        context != NULL);
    bool no_memory = rc != 1 && ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    return rc == 1 ? 0 : no_memory ? -ENOMEM : WEIR_ETLS;
}

int weir_tls_export(struct weir_stream *s, const char *label, const void *context, size_t context_len,
                    void *ret_bytes, size_t len)
{
    struct wr_tls *tls = wr_tls_of(s);

    if (!s || !label || !ret_bytes || len == 0 || (!context && context_len > 0))
        return -EINVAL;
    return tls ? wr_tls_export(tls, label, context, context_len, ret_bytes, len) : -ENOENT;
}
