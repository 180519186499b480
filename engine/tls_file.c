/* Certificates, keys and lists of revoked ones: read, and put into an SSL_CTX. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

/* A source of PEM: a file, or a text. */
struct source {
    const char *file, *pem;
};

static const char *name_of(const struct source *from)
{
    return from->file ? from->file : "(text)";
}

static bool is_given(const struct source *from)
{
    return from->file || from->pem;
}

static int open_source(const struct source *from, BIO **ret_bio)
{
    if (from->file && from->pem)
        return wr_tls_refuse(-EINVAL, "%s: a file and a text for the same thing", from->file);
    BIO *bio = from->file ? BIO_new_file(from->file, "re") : BIO_new_mem_buf(from->pem, -1);
    if (!bio)
        return wr_tls_refuse_openssl("cannot open", name_of(from));
    *ret_bio = bio;
    return 0;
}

/* OpenSSL would ask on the terminal. */
static int no_password(char *text, int size, int writing, void *arg)
{
    (void)text, (void)size, (void)writing, (void)arg;
    return -1;
}

/* True if the reader has stopped because there was nothing more, and not in the middle of something. */
static bool is_end(void)
{
    unsigned long e = ERR_peek_last_error();
    bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
    if (end)
        ERR_clear_error();
    return end;
}

/* Read every certificate and give it to `use`, which takes it over. At least one. */
static int each_certificate(BIO *bio, const struct source *from, int (*use)(X509 *certificate, void *arg), void *arg)
{
    X509 *certificate;
    int count = 0, rc = 0;

    while (rc == 0 && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        rc = use(certificate, arg);
        count++;
    }
    if (rc < 0)
        return rc;
    if (!is_end())
        return wr_tls_refuse_openssl("a certificate in", name_of(from));
    return count > 0 ? 0 : wr_tls_refuse(-EINVAL, "no certificate in %s", name_of(from));
}

/* ---- One's own ---- */

struct own {
    SSL_CTX *ctx;
    const struct source *from;
    bool has_leaf;
};

static int use_own(X509 *certificate, void *arg)
{
    struct own *own = arg;
    bool leaf = !own->has_leaf;
    long rc = leaf ? SSL_CTX_use_certificate(own->ctx, certificate) : SSL_CTX_add0_chain_cert(own->ctx, certificate);

    own->has_leaf = true;
    /* The chain takes it over, and only if it succeeds. */
    if (leaf || rc != 1)
        X509_free(certificate);
    return rc == 1 ? 0 : wr_tls_refuse_openssl("the certificate in", name_of(own->from));
}

static int load_key(SSL_CTX *ctx, const struct source *from)
{
    BIO *bio = NULL;
    int rc = open_source(from, &bio);
    if (rc < 0)
        return rc;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (!key)
        return wr_tls_refuse_openssl("the key in", name_of(from));
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        rc = wr_tls_refuse_openssl("the key in", name_of(from));
    EVP_PKEY_free(key);
    return rc;
}

int wr_tls_load_own(SSL_CTX *ctx, const struct weir_tls_config_options *opt)
{
    const struct source chain = {opt->cert_file, opt->cert_pem};
    const struct source key = {opt->key_file, opt->key_pem};
    struct own own = {.ctx = ctx, .from = &chain};
    BIO *bio = NULL;

    if (!is_given(&chain))
        return is_given(&key) ? wr_tls_refuse(-EINVAL, "%s: a key without a certificate", name_of(&key)) : 0;
    int rc = open_source(&chain, &bio);
    if (rc < 0)
        return rc;
    rc = each_certificate(bio, &chain, use_own, &own);
    BIO_free(bio);
    return rc < 0 ? rc : load_key(ctx, is_given(&key) ? &key : &chain);
}

/* ---- Whom to believe ---- */

struct trust {
    SSL_CTX *ctx;
    const struct source *from;
    EVP_MD_CTX *digest;         /* of all that decides whom to believe */
    bool server;
};

static bool count_bytes(struct trust *trust, int (*digest)(const void *object, unsigned char *to, unsigned *len),
                        const void *object)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len;
    return digest(object, bytes, &len) == 1 && EVP_DigestUpdate(trust->digest, bytes, len) == 1;
}

static int digest_certificate(const void *certificate, unsigned char *to, unsigned *len)
{
    return X509_digest(certificate, EVP_sha256(), to, len);
}

static int digest_list(const void *list, unsigned char *to, unsigned *len)
{
    return X509_CRL_digest(list, EVP_sha256(), to, len);
}

/* A server also tells its clients whom it believes. */
static int use_root(X509 *certificate, void *arg)
{
    struct trust *trust = arg;
    bool ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(trust->ctx), certificate) == 1 &&
              count_bytes(trust, digest_certificate, certificate) &&
              (!trust->server || SSL_CTX_add_client_CA(trust->ctx, certificate) == 1);
    X509_free(certificate);
    return ok ? 0 : wr_tls_refuse_openssl("a root in", name_of(trust->from));
}

static int load_roots(struct trust *trust, const struct source *from)
{
    BIO *bio = NULL;
    int rc = open_source(from, &bio);
    if (rc < 0)
        return rc;
    trust->from = from;
    rc = each_certificate(bio, from, use_root, trust);
    BIO_free(bio);
    return rc;
}

/* Where OpenSSL was built to look, and not where the environment says. One file is read at once; in a directory OpenSSL
 * looks when it needs one. */
static int load_system_roots(struct trust *trust)
{
    X509_STORE *store = SSL_CTX_get_cert_store(trust->ctx);
    const char *file = X509_get_default_cert_file(), *directory = X509_get_default_cert_dir();

    if (access(file, R_OK) == 0 && X509_STORE_load_file(store, file) == 1)
        return 0;
    ERR_clear_error();
    if (access(directory, R_OK | X_OK) == 0 && X509_STORE_load_path(store, directory) == 1)
        return 0;
    return wr_tls_refuse(-ENOENT, "the system has no roots: neither %s nor %s", file, directory);
}

static int use_list(struct trust *trust, X509_CRL *list)
{
    bool ok = X509_STORE_add_crl(SSL_CTX_get_cert_store(trust->ctx), list) == 1 &&
              count_bytes(trust, digest_list, list);
    X509_CRL_free(list);
    return ok ? 0 : wr_tls_refuse_openssl("a list in", name_of(trust->from));
}

static int load_lists(struct trust *trust, const struct source *from)
{
    X509_CRL *list;
    BIO *bio = NULL;
    int count = 0, rc = open_source(from, &bio);

    trust->from = from;
    while (rc == 0 && (list = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL))) {
        rc = use_list(trust, list);
        count++;
    }
    BIO_free(bio);
    if (rc < 0)
        return rc;
    if (!is_end() || count == 0)
        return wr_tls_refuse_openssl("a list of what was revoked in", name_of(from));
    X509_STORE_set_flags(SSL_CTX_get_cert_store(trust->ctx), X509_V_FLAG_CRL_CHECK);
    return 0;
}

/* Sessions are resumed only where the same are believed in, or a client could keep what it has lost. */
static int bind_sessions(struct trust *trust, int client_cert)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len;
    bool ok = EVP_DigestUpdate(trust->digest, &client_cert, sizeof client_cert) == 1 &&
              EVP_DigestFinal_ex(trust->digest, bytes, &len) == 1 &&
              SSL_CTX_set_session_id_context(trust->ctx, bytes, len) == 1;
    return ok ? 0 : wr_tls_refuse_openssl("sessions", "");
}

static int load_trust(struct trust *trust, const struct weir_tls_config_options *opt)
{
    const struct source roots = {opt->ca_file, opt->ca_pem}, lists = {opt->crl_file, opt->crl_pem};
    int rc = 0;

    if (is_given(&roots))
        rc = load_roots(trust, &roots);
    else if (!opt->server && !opt->DANGEROUS_any_certificate)
        rc = load_system_roots(trust);
    if (rc == 0 && is_given(&lists))
        rc = load_lists(trust, &lists);
    return rc < 0 ? rc : bind_sessions(trust, opt->client_cert);
}

int wr_tls_load_trust(SSL_CTX *ctx, const struct weir_tls_config_options *opt)
{
    struct trust trust = {.ctx = ctx, .digest = EVP_MD_CTX_new(), .server = opt->server != 0};
    int rc = -ENOMEM;

    if (trust.digest && EVP_DigestInit_ex(trust.digest, EVP_sha256(), NULL) == 1)
        rc = load_trust(&trust, opt);
    else
        wr_tls_refuse(rc, "out of memory");
    EVP_MD_CTX_free(trust.digest);
    return rc;
}
