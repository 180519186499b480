/* Records of TLS 1.3 that OpenSSL would never send: what the keys of a session allow, and no more. */
#ifndef HELPERS_TLS_FORGE_H
#define HELPERS_TLS_FORGE_H

#include <stddef.h>
#include <stdint.h>

struct forger {
    unsigned char client_secret[64], server_secret[64];     /* learned from the log of keys */
    unsigned char key[16], iv[12];
    uint64_t number;            /* of the next record */
};

/* A weir_tls_keylog_fn; arg is a struct forger. */
void forger_learn(const char *line, void *forger);
/* Be the client, or the server, from now on; `number` records of data and tickets came from it. */
void forger_be(struct forger *forger, int server, uint64_t number);
/* The record of this type, with data and then so many zeros inside: how many bytes, at most len + padding + 22. */
size_t forge(struct forger *forger, int type, const void *data, size_t len, size_t padding, unsigned char *to);

#endif
