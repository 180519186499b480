/* Sessions that go on: the keys of a server's tickets, and what a client keeps of its hosts. */
#include "tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

enum { KEY_SECONDS = 12 * 3600 };

/* ---- Ticket keys ---- */

static uint64_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void put_key(struct weir_tls_config *config, const struct wr_tls_ticket_key *key)
{
    config->keys[1] = config->keys[0];
    config->keys[0] = *key;
    config->key_count = config->key_count > 0 ? 2 : 1;
    config->key_since = seconds();
}

static bool draw_key(struct wr_tls_ticket_key *key)
{
    return RAND_bytes(key->name, sizeof key->name) == 1 && RAND_priv_bytes(key->cipher, sizeof key->cipher) == 1 &&
           RAND_priv_bytes(key->mac, sizeof key->mac) == 1;
}

int weir_tls_config_rotate(struct weir_tls_config *config, const void *key)
{
    struct wr_tls_ticket_key next;

    _Static_assert(sizeof next == WEIR_TLS_TICKET_KEY_SIZE, "they are given as one");
    if (!config || !config->server)
        return -EINVAL;
    if (key)
        memcpy(&next, key, sizeof next);
    else if (!draw_key(&next))
        return -ENOMEM;
    pthread_mutex_lock(&config->lock);
    put_key(config, &next);
    config->keys_given = key != NULL;
    pthread_mutex_unlock(&config->lock);
    OPENSSL_cleanse(&next, sizeof next);
    return 0;
}

/* The key for new tickets, made when it is first needed and when it has become old. */
static bool sealing_key(struct weir_tls_config *config, struct wr_tls_ticket_key *ret_key)
{
    struct wr_tls_ticket_key next;
    bool ok = true;

    pthread_mutex_lock(&config->lock);
    if (config->key_count == 0 || (!config->keys_given && seconds() - config->key_since >= KEY_SECONDS)) {
        ok = draw_key(&next);
        if (ok)
            put_key(config, &next);
        OPENSSL_cleanse(&next, sizeof next);
    }
    *ret_key = config->keys[0];
    pthread_mutex_unlock(&config->lock);
    return ok;
}

/* -1: no such key; 0: the one in use; 1: the one before. */
static int find_key(struct weir_tls_config *config, const unsigned char *name, struct wr_tls_ticket_key *ret_key)
{
    int found = -1;

    pthread_mutex_lock(&config->lock);
    for (int i = 0; i < config->key_count && found < 0; i++)
        if (memcmp(config->keys[i].name, name, sizeof config->keys[i].name) == 0) {
            *ret_key = config->keys[i];
            found = i;
        }
    pthread_mutex_unlock(&config->lock);
    return found;
}

static bool use_key(const struct wr_tls_ticket_key *key, const EVP_CIPHER *how, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, how, NULL, key->cipher, iv, sealing) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's: -1 an error, 0 no such key, 1 done, 2 done and the client gets a new one: in TLS 1.3 it uses each once. */
int wr_tls_ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                         int sealing)
{
    struct weir_tls_config *config = wr_tls_of_ssl(ssl)->config;
    struct wr_tls_ticket_key key;
    int found = 0;

    if (sealing) {
        if (!sealing_key(config, &key) || RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
            return -1;
        memcpy(name, key.name, sizeof key.name);
    } else if ((found = find_key(config, name, &key)) < 0) {
        return 0;
    }
    bool ok = use_key(&key, wr_tls_setup_of(ssl)->ticket_cipher, iv, cipher, mac, sealing);
    bool renew = found > 0 || SSL_version(ssl) >= TLS1_3_VERSION;
    OPENSSL_cleanse(&key, sizeof key);
    return !ok ? -1 : renew && !sealing ? 2 : 1;
}

/* ---- A client's sessions ---- */

static void free_kept(struct wr_tls_kept *kept)
{
    SSL_SESSION_free(kept->session);
    OPENSSL_free(kept);
}

static struct wr_tls_kept **find_kept(struct weir_tls_config *config, const char *host)
{
    for (struct wr_tls_kept **at = &config->kept; *at; at = &(*at)->next)
        if (strcmp((*at)->host, host) == 0)
            return at;
    return NULL;
}

static struct wr_tls_kept *unlink_kept(struct wr_tls_kept **at)
{
    struct wr_tls_kept *kept = *at;
    *at = kept->next;
    return kept;
}

/* The last of too many goes. */
static struct wr_tls_kept *excess(struct weir_tls_config *config)
{
    struct wr_tls_kept **at = &config->kept;
    for (int i = 0; i < WR_TLS_HOSTS && *at; i++)
        at = &(*at)->next;
    return *at ? unlink_kept(at) : NULL;
}

/* What was begun with other options may believe in others. */
static bool is_current(const struct wr_tls *tls)
{
    return SSL_get_SSL_CTX(tls->ssl) == tls->config->ctx;
}

/* OpenSSL's: 1 if the session was taken over. */
int wr_tls_session_cb(SSL *ssl, SSL_SESSION *session)
{
    struct wr_tls *tls = wr_tls_of_ssl(ssl);
    struct weir_tls_config *config = tls->config;
    size_t size = tls->host ? strlen(tls->host) + 1 : 0;
    struct wr_tls_kept *kept = size ? OPENSSL_zalloc(sizeof *kept + size) : NULL, *gone = NULL;

    if (!kept)
        return 0;
    memcpy(kept->host, tls->host, size);
    kept->session = session;
    pthread_mutex_lock(&config->lock);
    bool current = is_current(tls);
    if (current) {
        struct wr_tls_kept **before = find_kept(config, kept->host);
        gone = before ? unlink_kept(before) : NULL;
        kept->next = config->kept;
        config->kept = kept;
        gone = gone ? gone : excess(config);
    }
    pthread_mutex_unlock(&config->lock);
    if (gone)
        free_kept(gone);
    if (!current)
        OPENSSL_free(kept);
    return current;
}

/* One of TLS 1.3 is for one use, so that nobody can tell that two connections are the same client's. */
SSL_SESSION *wr_tls_session_for(struct wr_tls *tls)
{
    struct weir_tls_config *config = tls->config;
    SSL_SESSION *session = NULL;
    struct wr_tls_kept *gone = NULL;

    pthread_mutex_lock(&config->lock);
    struct wr_tls_kept **at = is_current(tls) ? find_kept(config, tls->host) : NULL;
    if (at) {
        session = (*at)->session;
        SSL_SESSION_up_ref(session);
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
            gone = unlink_kept(at);
    }
    pthread_mutex_unlock(&config->lock);
    if (gone)
        free_kept(gone);
    return session;
}

void wr_tls_sessions_drop(struct weir_tls_config *config)
{
    pthread_mutex_lock(&config->lock);
    struct wr_tls_kept *kept = config->kept;
    config->kept = NULL;
    pthread_mutex_unlock(&config->lock);
    while (kept) {
        struct wr_tls_kept *next = kept->next;
        free_kept(kept);
        kept = next;
    }
}
