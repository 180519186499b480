/* OpenSSL's errors as codes of ours, and in words. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- A stream's ---- */

int wr_tls_break(struct wr_tls *tls, int code, const char *words)
{
    tls_assert(code < 0 && code != WEIR_WANTS_INPUT && code != WEIR_WANTS_ROOM);
    tls->broken = code;
    snprintf(tls->words, sizeof tls->words, "%s", words);
    return code;
}

/* The first error is the cause; want of memory hides behind others. The queue is empty afterwards. */
static unsigned long cause(bool *ret_no_memory)
{
    unsigned long first = ERR_get_error(), e = first;

    *ret_no_memory = false;
    for (; e != 0; e = ERR_get_error())
        if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            *ret_no_memory = true;
    return first;
}

static int certificate_refused(struct wr_tls *tls)
{
    const char *why = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
    char words[sizeof tls->words];
    snprintf(words, sizeof words, "the peer's certificate is refused: %s", why);
    return wr_tls_break(tls, WEIR_ECERT, words);
}

/* Reasons from 1000 on are alerts of the peer's. */
static int other_reason(struct wr_tls *tls, unsigned long e)
{
    int reason = ERR_GET_REASON(e);
    bool alert = ERR_GET_LIB(e) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET;
    const char *text = alert ? SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET)
                             : ERR_reason_error_string(e);
    char words[sizeof tls->words];
    snprintf(words, sizeof words, "%s%s", alert ? "the peer says: " : "", text ? text : "no reason given");
    return wr_tls_break(tls, WEIR_ETLS, words);
}

static int broken(struct wr_tls *tls)
{
    bool no_memory;
    unsigned long e = cause(&no_memory);

    if (no_memory)
        return wr_tls_break(tls, -ENOMEM, "out of memory");
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return certificate_refused(tls);
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return wr_tls_break(tls, WEIR_ECERT, "the peer shows no certificate");
    return other_reason(tls, e);
}

int wr_tls_answer(struct wr_tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return WEIR_WANTS_INPUT;
    case SSL_ERROR_ZERO_RETURN:
        return WEIR_EOF;
    default:
        return broken(tls);
    }
}

const char *weir_tls_error(struct weir_stream *s)
{
    struct wr_tls *tls = wr_tls_of(s);
    return tls ? tls->words : "";
}

/* ---- A configuration's ---- */

static _Thread_local char refusal[256];

const char *weir_tls_config_refusal(void)
{
    return refusal;
}

int wr_tls_refuse(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(refusal, sizeof refusal, format, args);
    va_end(args);
    return code;
}

int wr_tls_refuse_openssl(const char *what, const char *which)
{
    bool no_memory;
    unsigned long e = cause(&no_memory);
    const char *text = ERR_reason_error_string(e);

    if (no_memory)
        return wr_tls_refuse(-ENOMEM, "out of memory");
    if (ERR_SYSTEM_ERROR(e))
        return wr_tls_refuse(-ERR_GET_REASON(e), "%s %s: %s", what, which, weir_strerror(-ERR_GET_REASON(e)));
    return wr_tls_refuse(-EINVAL, "%s %s: %s", what, which, text ? text : "cannot be used");
}
