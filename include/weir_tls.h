/* weir_tls: TLS on a stream, of libweir_tls. Once it is on, the stream is read and written as any other.
 *
 *     struct weir_tls_config_options opt = {
 *         .size = sizeof opt, .server = 1, .cert_file = "cert.pem", .key_file = "key.pem"};
 *     weir_tls_config_open(&opt, &config);         once
 *     weir_tls_start(stream, config, NULL);        on each stream that was accepted
 *
 * A client's config needs no options, and weir_tls_start the name of whom it talks to. What is not said is safe:
 * TLS 1.2 at least, authenticated ciphers with forward secrecy, no renegotiation, no compression, no early data. A
 * client believes in a certificate that names the host, and that the system's roots vouch for. An end of the connection
 * that the peer did not announce is WEIR_ETRUNCATED, not WEIR_EOF. What is unsafe has DANGEROUS in its name.
 *
 * A stream that TLS ends tells WEIR_ECERT (the peer's certificate was refused here) or WEIR_ETLS (all else), and
 * weir_tls_error in words why. Errors, memory and threads as in weir.h. */
#ifndef WEIR_TLS_H
#define WEIR_TLS_H

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ssl_st;

/* ---- Configurations ------------------------------------------------------------------------ */

enum weir_tls_client_cert {
    WEIR_TLS_CLIENT_CERT_NONE = 0,      /* do not ask for one */
    WEIR_TLS_CLIENT_CERT_OPTIONAL = 1,  /* ask; one that is shown is verified */
    WEIR_TLS_CLIENT_CERT_REQUIRED = 2
};

enum weir_tls_version {
    WEIR_TLS_1_2 = 0x0303,
    WEIR_TLS_1_3 = 0x0304
};

typedef void weir_tls_keylog_fn(const char *line, void *arg);

/* Files and texts are PEM; a file and a text for the same thing are -EINVAL. Keys with a password are refused. Who else
 * may read the file of a key is not looked at. */
struct weir_tls_config_options {
    size_t size;                /* sizeof(struct weir_tls_config_options) */
    int server;                 /* 1: for streams that were accepted; 0: for those that connect */
    const char *cert_file;      /* one's own certificate, and behind it those that lead to the root. Servers need one */
    const char *cert_pem;
    const char *key_file;       /* its private key; if there is none, it stands with the certificate */
    const char *key_pem;
    const char *ca_file;        /* the roots to believe in; the system's. Servers: those of client certificates */
    const char *ca_pem;
    const char *crl_file;       /* what was revoked; then each issuer of a peer's certificate must have a list here */
    const char *crl_pem;
    int client_cert;            /* enum weir_tls_client_cert, of servers; needs roots */
    const char *alpn;           /* protocols, best first, comma between: "h2,http/1.1". The server's order counts. It
                                 * refuses a client that speaks of protocols, but of none of these */
    int min_version;            /* enum weir_tls_version; TLS 1.2 */
    int no_resumption;          /* 1: a full handshake each time */
    weir_tls_keylog_fn *keylog; /* gets a line of the key log format of NSS for each secret: who has them reads all */
    void *keylog_arg;
    int DANGEROUS_any_certificate;  /* clients: whoever answers is believed, and may be anybody */
    int DANGEROUS_any_name;     /* clients: whoever has a certificate from the roots is believed */
};

struct weir_tls_config;

/* Read the files, and make a configuration for any number of streams, loops and threads. opt may be NULL.
 * Result: 0 and *ret_config. Errors: -EINVAL (options, or what is in the files; weir_tls_config_refusal tells), -E2BIG,
 * -ENOMEM, and what opening the files says: -ENOENT, -EACCES, ... Memory: options and texts are copied; the config is
 * the library's, end it with weir_tls_config_close. Thread: any. Since: 0.1 */
WEIR_API int weir_tls_config_open(const struct weir_tls_config_options *opt, struct weir_tls_config **ret_config);

/* Why the last weir_tls_config_open or weir_tls_config_reload of this thread failed, in words. Result: text, "" if it
 * did not fail. Errors: none. Memory: the thread's, until the next such call. Thread: any. Since: 0.1 */
WEIR_API const char *weir_tls_config_refusal(void);

/* Options in place of those before, files read anew: for the streams that start from now on. Those that have started,
 * and those in the middle of it, go on with what they began with. Tickets stay good unless whom to believe has changed.
 * Result: 0. Errors: as weir_tls_config_open, -EINVAL also for another `server`; then all is as before. Memory: as
 * weir_tls_config_open. Thread: any. Since: 0.1 */
WEIR_API int weir_tls_config_reload(struct weir_tls_config *config, const struct weir_tls_config_options *opt);

/* Clients that ask for this name get another configuration of servers, its certificate and all the rest: NULL: no more.
 * "*.example.org" is any name with one label in front; a name in full goes before it. Names of
 * `other` do not count. Result: 0. Errors: -EINVAL (not a name, or not both of servers), -ENOMEM. Memory: config keeps
 * `other` for as long as it needs it, yours may be closed. Thread: any. Since: 0.1 */
WEIR_API int weir_tls_config_name(struct weir_tls_config *config, const char *name, struct weir_tls_config *other);

enum { WEIR_TLS_TICKET_KEY_SIZE = 80 };

/* A new key for session tickets; those of the one before stay good until the next. Without this call a server makes
 * random ones and changes them every 12 hours. With key: WEIR_TLS_TICKET_KEY_SIZE secret bytes, the first 16 of which
 * name it, to be shared by servers that resume each other's sessions; keys do not change by themselves then. NULL: a
 * random one. Result: 0. Errors: -EINVAL (a client's), -ENOMEM. Memory: the key is copied. Thread: any. Since: 0.1 */
WEIR_API int weir_tls_config_rotate(struct weir_tls_config *config, const void *key);

/* Give the configuration back; streams that began with it go on. Result: none; NULL is a no-op. Errors: none.
 * Memory: the handle is invalid afterwards. Thread: any. Since: 0.1 */
WEIR_API void weir_tls_config_close(struct weir_tls_config *config);

/* ---- Streams ------------------------------------------------------------------------------- */

/* Speak TLS on the stream from now on: one that was accepted, connected or is connecting, also after a dialogue in
 * plain. Reads and writes may be asked for at once, and wait. For clients `host` is whom the certificate must name: a
 * host name, which is also told to the server, or an IP address. For servers it is NULL; for clients only with
 * DANGEROUS in the config. Between this call and the next turn weir_tls_ssl may be told what is special of this stream.
 * Result: 0; weir_tls_wait tells when it has begun, or that it could not. Errors: -EINVAL (`host` is missing, or cannot
 * be), and those of weir_layer_attach: -EBUSY (bytes in plain wait to be read or sent, so that nobody takes them for
 * protected), -EALREADY, -ENOTCONN, -EPIPE, -ENOTSUP, -ENOMEM, WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK. Memory: the
 * stream keeps the config for as long as it needs it. Thread: loop. Since: 0.1 */
WEIR_API int weir_tls_start(struct weir_stream *s, struct weir_tls_config *config, const char *host);

typedef void weir_tls_fn(struct weir_stream *s, int status, void *arg);

/* Call fn when the handshake is done, with 0, or when the stream ends before that, with the reason, before on_close.
 * Result: 0, and fn once, also when it was done long ago. Errors: -EINVAL, -ENOENT (no TLS), -EBUSY (somebody waits
 * already), WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK. Memory: arg is the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_tls_wait(struct weir_stream *s, weir_tls_fn *fn, void *arg);

/* Why TLS ended the stream, in words. Result: text, "" if it did not, or there is no TLS. Errors: none. Memory: the
 * stream's, until on_close has returned. Thread: loop. Since: 0.1 */
WEIR_API const char *weir_tls_error(struct weir_stream *s);

/* Texts are "" for what is not known, or not yet. */
struct weir_tls_facts {
    int begun;              /* the handshake is done */
    int resumed;            /* it went on with a session from before */
    int verified;           /* the peer's certificate was verified, now or when that session began, and so was its name,
                             * if it is a server's, and not any would do */
    const char *protocol;   /* "TLSv1.3" */
    const char *cipher;     /* "TLS_AES_128_GCM_SHA256" */
    const char *alpn;       /* the protocol that was agreed on */
    const char *sni;        /* the name that the client asked for */
};

/* How TLS stands. Result: 0. Errors: -EINVAL, -ENOENT (no TLS). Memory: the caller's struct; at most `size` bytes are
 * written. Its texts are the stream's, until on_close has returned. Thread: loop. Since: 0.1 */
WEIR_API int weir_tls_facts(struct weir_stream *s, struct weir_tls_facts *facts, size_t size);

/* The peer's certificate, in DER, at most `size` bytes of it. Result: the length the whole has. Errors: -EINVAL,
 * -ENOENT (no TLS, or none was shown). Memory: the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_tls_peer_certificate(struct weir_stream *s, void *der, size_t size);

/* Key material that only the two ends know (RFC 5705, RFC 8446 7.5): the same bytes for the same label and context at
 * either. context may be NULL: none. Result: 0 and len bytes. Errors: -EINVAL, -ENOENT (no TLS), -ENOTCONN (it has not
 * begun), -ENOMEM, WEIR_ETLS. Memory: the caller's. Thread: loop. Since: 0.1 */
WEIR_API int weir_tls_export(struct weir_stream *s, const char *label, const void *context, size_t context_len,
                             void *ret_bytes, size_t len);

/* OpenSSL's own handle, for what is not wrapped here. Do not read, write or shut it down. Result: the SSL, NULL if
 * there is no TLS. Errors: none. Memory: the stream's, until on_close has returned. Thread: loop. Since: 0.1 */
WEIR_API struct ssl_st *weir_tls_ssl(struct weir_stream *s);

#ifdef __cplusplus
}
#endif
#endif
