#include "helpers_tls_cert.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *kept_texts[512];
static int kept_count;

/* Whoever looks for leaks sees that it is kept. */
static const char *keep(char *text)
{
    cr_assert_not_null(text);
    cr_assert_lt(kept_count, 512);
    return kept_texts[kept_count++] = text;
}

static const char *text_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    BIO_free(bio);
    return keep(text);
}

/* ---- Making ---- */

static void extend(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (!value)
        return;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(ext, "%s", value);
    cr_assert_eq(X509_add_ext(x509, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

/* A name with bytes that no text can have. */
static void add_raw_name(X509 *x509, const void *bytes, int len)
{
    ASN1_IA5STRING *name = ASN1_IA5STRING_new();
    ASN1_STRING_set(name, bytes, len);
    GENERAL_NAME *general = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(general, GEN_DNS, name);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    sk_GENERAL_NAME_push(names, general);
    cr_assert_eq(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static void set_names(X509 *x509, const struct cert_spec *spec)
{
    X509_NAME *name = X509_get_subject_name(x509);
    if (spec->cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->cn, -1, -1, 0);
    X509_set_issuer_name(x509, spec->issuer ? X509_get_subject_name(spec->issuer->x509) : name);
}

struct cert cert_new(const struct cert_spec *spec)
{
    static long serial = 1;
    struct cert c = {.x509 = X509_new()};
    c.key = spec->rsa_bits ? EVP_RSA_gen((unsigned)spec->rsa_bits) : EVP_EC_gen("P-256");
    cr_assert_not_null(c.key);
    X509 *issuer = spec->issuer ? spec->issuer->x509 : c.x509;
    X509_set_version(c.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), spec->begins ? spec->begins : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), spec->ends ? spec->ends : 365 * DAY);
    X509_set_pubkey(c.x509, c.key);
    set_names(c.x509, spec);
    extend(c.x509, issuer, NID_subject_key_identifier, "hash");
    if (spec->issuer)
        extend(c.x509, issuer, NID_authority_key_identifier, "keyid");
    extend(c.x509, issuer, NID_basic_constraints,
           spec->constraints ? spec->constraints : spec->ca ? "critical,CA:TRUE" : NULL);
    extend(c.x509, issuer, NID_key_usage, spec->key_usage);
    extend(c.x509, issuer, NID_ext_key_usage, spec->usage);
    extend(c.x509, issuer, NID_name_constraints, spec->limits);
    extend(c.x509, issuer, NID_subject_alt_name, spec->san);
    if (spec->raw_name)
        add_raw_name(c.x509, spec->raw_name, spec->raw_name_len);
    cr_assert_gt(X509_sign(c.x509, spec->issuer ? spec->issuer->key : c.key,
                           EVP_get_digestbyname(spec->digest ? spec->digest : "SHA256")), 0);
    return c;
}

void cert_free(struct cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

/* ---- Texts ---- */

const char *cert_pem(const struct cert *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert->x509);
    return text_of(bio);
}

const char *cert_key_pem(const struct cert *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, cert->key, NULL, NULL, 0, NULL, NULL);
    return text_of(bio);
}

const char *joined(const char *a, const char *b)
{
    char *text = malloc(strlen(a) + strlen(b) + 1);
    strcat(strcpy(text, a), b);
    return keep(text);
}

const char *chain_pem(const struct cert *leaf, ...)
{
    BIO *bio = BIO_new(BIO_s_mem());
    va_list args;
    va_start(args, leaf);
    for (const struct cert *c = leaf; c; c = va_arg(args, const struct cert *))
        PEM_write_bio_X509(bio, c->x509);
    va_end(args);
    return text_of(bio);
}

static void revoke(X509_CRL *crl, const struct cert *cert)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert->x509));
    ASN1_TIME *when = X509_gmtime_adj(NULL, -3600);
    X509_REVOKED_set_revocationDate(entry, when);
    ASN1_TIME_free(when);
    cr_assert_eq(X509_CRL_add0_revoked(crl, entry), 1);
}

const char *crl_pem(const struct cert *issuer, const struct cert *revoked)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -DAY), *to = X509_gmtime_adj(NULL, DAY);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509));
    X509_CRL_set1_lastUpdate(crl, from);
    X509_CRL_set1_nextUpdate(crl, to);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    if (revoked)
        revoke(crl, revoked);
    cr_assert_gt(X509_CRL_sign(crl, issuer->key, EVP_sha256()), 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_CRL(bio, crl);
    X509_CRL_free(crl);
    return text_of(bio);
}

/* ---- The usual ones ---- */

static const struct cert *once(struct cert *cert, const struct cert_spec *spec)
{
    if (!cert->x509)
        *cert = cert_new(spec);
    return cert;
}

const struct cert *test_ca(void)
{
    static struct cert ca;
    return once(&ca, &(struct cert_spec){.cn = "An authority", .ca = 1});
}

const struct cert *test_server(void)
{
    static struct cert server;
    return once(&server, &(struct cert_spec){.cn = "A server", .issuer = test_ca(), .usage = "serverAuth",
                                             .san = "DNS:localhost,IP:127.0.0.1,IP:::1"});
}

const struct cert *test_client(void)
{
    static struct cert client;
    return once(&client, &(struct cert_spec){.cn = "A client", .issuer = test_ca(), .usage = "clientAuth"});
}
