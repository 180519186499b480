/* TLS, as a layer: what its files share. Level 5. They make libweir_tls, which calls libweir by its public headers
 * only. */
#ifndef WR_TLS_H
#define WR_TLS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base.h"
#include "weir_layer.h"
#include "weir_tls.h"

/* wr_assert's text is libweir's own. */
#define tls_assert(cond) (wr_likely(cond) ? (void)0 : abort())

enum {
    WR_TLS_CHATTER_MAX = 32,    /* handshake messages after the handshake, with no data of either side's between them */
    WR_TLS_NAME_SIZE = 254,     /* of a host's name, with its NUL */
    WR_TLS_HOSTS = 256          /* a config keeps sessions with so many hosts */
};

struct wr_tls;

/* ---- Configurations ---- */

/* What one reading of the options has made. It never changes, and goes with its SSL_CTX. */
struct wr_tls_setup {
    int client_cert, no_resumption, min_version;
    bool any_certificate, any_name;
    unsigned char *alpn;        /* each protocol behind its length; NULL: none */
    unsigned alpn_len;
    EVP_CIPHER *ticket_cipher;  /* a server's; to look it up takes longer than to use it */
    weir_tls_keylog_fn *keylog;
    void *keylog_arg;
};

struct wr_tls_name {
    char *name;                 /* lower case; "*." in front: any label */
    struct weir_tls_config *config;
};

struct wr_tls_ticket_key {
    unsigned char name[16], cipher[32], mac[32];
};

/* A session with a host, to be resumed. */
struct wr_tls_kept {
    struct wr_tls_kept *next;
    SSL_SESSION *session;
    char host[];
};

struct weir_tls_config {
    atomic_uint holders;
    bool server;
    pthread_mutex_t lock;       /* of all below */
    SSL_CTX *ctx;               /* of the last reading */
    struct wr_tls_name *names;  /* in order */
    size_t name_count, name_room;
    struct wr_tls_ticket_key keys[2];   /* the one in use, the one before */
    int key_count;
    bool keys_given;            /* they do not change by themselves */
    uint64_t key_since;         /* seconds */
    struct wr_tls_kept *kept;   /* the newest first */
};

/* tls_setup.c: an SSL_CTX made from the options, with a struct wr_tls_setup. */
int wr_tls_context_new(const struct weir_tls_config_options *opt, SSL_CTX **ret_ctx);
const struct wr_tls_setup *wr_tls_setup_of(const SSL *ssl);
struct wr_tls *wr_tls_of_ssl(const SSL *ssl);
/* So that wr_tls_of_ssl finds it. */
bool wr_tls_tie(struct wr_tls *tls, SSL *ssl);
/* The verification, versions and tickets that this setup wants: SSL_new does it, SSL_set_SSL_CTX does not. */
void wr_tls_setup_apply(const struct wr_tls_setup *setup, SSL *ssl);

/* tls_file.c: what options name, put into an SSL_CTX. 0 or an error. */
int wr_tls_load_own(SSL_CTX *ctx, const struct weir_tls_config_options *opt);
/* Also makes a number of whom to believe, which sessions are bound to. */
int wr_tls_load_trust(SSL_CTX *ctx, const struct weir_tls_config_options *opt);

/* tls_config.c */
/* A name as it is kept: lower case, without the dot at its end. False if it cannot be one; to OpenSSL, one that begins
 * with a dot would be anybody there. */
bool wr_tls_tidy_name(char to[WR_TLS_NAME_SIZE], const char *name, size_t len);
struct weir_tls_config *wr_tls_config_hold(struct weir_tls_config *config);
/* The config that has this name, held; NULL if there is none. */
struct weir_tls_config *wr_tls_config_named(struct weir_tls_config *config, const char *name, size_t len);
/* The SSL_CTX for new streams, held. */
SSL_CTX *wr_tls_config_context(struct weir_tls_config *config);
/* 0, -EINVAL in words, or what else. For the thread: weir_tls_config_refusal tells. */
int wr_tls_refuse(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with OpenSSL's reason. -ENOMEM if that is the reason. */
int wr_tls_refuse_openssl(const char *what, const char *which);

/* tls_session.c */
int wr_tls_ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                         int sealing);
int wr_tls_session_cb(SSL *ssl, SSL_SESSION *session);
/* One to resume with a client's host, held; NULL if there is none. */
SSL_SESSION *wr_tls_session_for(struct wr_tls *tls);
void wr_tls_sessions_drop(struct weir_tls_config *config);

/* ---- Streams ---- */

struct wr_tls {
    SSL *ssl;
    struct weir_wire *wire;     /* during a verb */
    struct weir_tls_config *config;
    char *host;                 /* a client's, or NULL */
    char *alpn;
    int broken;                 /* the code that it tells from now on */
    bool begun;
    bool starved;               /* OpenSSL has asked for input in vain */
    uint8_t chatter;            /* handshake messages since the last data, less the records of data sent meanwhile */
    uint32_t record_rest;       /* bytes of the record that OpenSSL is reading ahead */
    /* What OpenSSL has written and the wire had no room for: it goes before anything else. NULL if that is nothing. */
    unsigned char *spill;
    size_t spill_from, spilled, spill_room;
    /* Of the bytes that emit is called with: those whose records are written, and partly spilled. */
    const void *sealed;
    size_t sealed_len;
    char words[120];            /* why it is broken */
};

extern const struct weir_layer_verbs wr_tls_verbs;

int wr_tls_new(struct weir_tls_config *config, const char *host, struct wr_tls **ret_tls);
void wr_tls_free(struct wr_tls *tls);
struct wr_tls *wr_tls_of(struct weir_stream *s);

/* tls_bio.c: OpenSSL's reads and writes, from and to tls->wire. */
BIO *wr_tls_bio_new(struct wr_tls *tls);
/* Put what was spilled on the wire, as there is room. */
void wr_tls_bio_flush(struct wr_tls *tls);

/* tls_hello.c: what is said while it begins, and what is watched. */
int wr_tls_hello_cb(SSL *ssl, int *alert, void *arg);
int wr_tls_name_cb(SSL *ssl, int *alert, void *arg);
int wr_tls_alpn_cb(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len, const unsigned char *offered,
                   unsigned len, void *arg);
void wr_tls_message_cb(int written, int version, int type, const void *data, size_t len, SSL *ssl, void *arg);
void wr_tls_keylog_cb(const SSL *ssl, const char *line);
/* The handshake is done: note what was agreed on. 0, or it is broken. */
int wr_tls_agreed(struct wr_tls *tls);

/* tls_facts.c */
void wr_tls_tell(const struct wr_tls *tls, struct weir_tls_facts *facts);
int wr_tls_export(struct wr_tls *tls, const char *label, const void *context, size_t context_len, void *ret_bytes,
                  size_t len);

/* tls_error.c: OpenSSL's answer to a call that gave `result`, as a verb's: what it wants, WEIR_EOF, or the code that it
 * is broken with. Leaves its queue of errors empty. */
int wr_tls_answer(struct wr_tls *tls, int result);
/* It is broken, for this reason of our own. */
int wr_tls_break(struct wr_tls *tls, int code, const char *words);

#endif
