/* Certificates made while the tests run, good ones and all kinds of bad ones. */
#ifndef HELPERS_TLS_CERT_H
#define HELPERS_TLS_CERT_H

#include <openssl/x509.h>
#include <stddef.h>

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

enum { DAY = 24 * 3600 };

/* What it says. All zero: P-256, SHA-256, from yesterday for a year. */
struct cert_spec {
    const char *cn;
    const char *san;                /* "DNS:example.org,IP:127.0.0.1"; NULL: none */
    const struct cert *issuer;      /* NULL: itself */
    int ca;                         /* 1: of an authority */
    const char *constraints;        /* in place of what `ca` says: "CA:TRUE,pathlen:0" */
    const char *usage;              /* "serverAuth" */
    const char *key_usage;
    const char *limits;             /* of an authority, on names: "permitted;DNS:example.org" */
    long begins, ends;              /* seconds from now; 0: as above */
    int rsa_bits;                   /* 0: P-256 */
    const char *digest;             /* "SHA1" */
    const void *raw_name;           /* bytes of one more DNS name of any kind */
    int raw_name_len;
};

struct cert cert_new(const struct cert_spec *spec);
void cert_free(struct cert *cert);

/* Texts that stay until the process ends. */
const char *cert_pem(const struct cert *cert);
const char *cert_key_pem(const struct cert *cert);
/* Certificates, up to NULL, one behind the other. */
const char *chain_pem(const struct cert *leaf, ...);
/* Two texts as one. */
const char *joined(const char *a, const char *b);
/* The issuer's list of what was revoked: `revoked` or, if NULL, nothing. */
const char *crl_pem(const struct cert *issuer, const struct cert *revoked);

/* An authority, and a server of localhost, 127.0.0.1 and ::1 that it vouches for; made once. */
const struct cert *test_ca(void);
const struct cert *test_server(void);
const struct cert *test_client(void);

#endif
