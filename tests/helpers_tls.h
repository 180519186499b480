/* Two ends of TLS in memory, without a stream: what one puts on its wire is carried to the other, in pieces of any
 * size, and with as little room as a test wants. */
#ifndef HELPERS_TLS_H
#define HELPERS_TLS_H

#include <criterion/criterion.h>
#include <openssl/err.h>

#include "helpers_tls_cert.h"
#include "tls.h"
#include "wire.h"

/* ---- Ends ---- */

struct tls_end {
    struct wr_tls *tls;
    struct wr_cache cache;
    struct wr_sendq out;
    struct weir_wire wire;
    int begun;                  /* start's last answer; 1: it was not asked */
    uint64_t moved;             /* bytes carried to the other end */
};

struct tls_record {
    unsigned char bytes[16384];
    size_t len;
};

struct tls_link {
    struct tls_end client, server;
    size_t cut;                 /* bytes carried at a time; 0: all */
    size_t room;                /* of each wire; 0: 1 MiB */
    struct tls_record *to_client, *to_server;   /* if not NULL: what was carried there */
};

/* host may be NULL. Asserts that both can be made. */
void link_open(struct tls_link *link, struct weir_tls_config *client, struct weir_tls_config *server, const char *host);
/* 0, or the error of an end that could not be made. */
int link_try(struct tls_link *link, struct weir_tls_config *client, struct weir_tls_config *server, const char *host);
void link_close(struct tls_link *link);

/* Carry up to max bytes of what is on `from`'s wire, in one piece: how many. */
size_t carry(struct tls_link *link, struct tls_end *from, size_t max);
/* Bytes from nowhere. */
void feed(struct tls_end *to, const void *data, size_t len);

/* Begin at both ends, until both have begun or are broken, or nothing moves any more. True if both have begun. */
bool handshake(struct tls_link *link);
/* Send len bytes from one end to the other, and assert that they come. */
void converse(struct tls_link *link, struct tls_end *from, size_t len);
/* One ingest: what it answers. Up to 64 bytes of what comes are dropped. */
int64_t taste(struct tls_end *end);
/* Another server and client with defaults, in a link that is zero but for cut, room and records. */
void open_usual(struct tls_link *link);
/* What open_usual() needs is made: what comes from a seed afterwards does not depend on it. */
void prepare_usual(void);
/* Asserts that it comes about. */
void expect_handshake(struct tls_link *link);
/* Carry both ways until nothing moves. */
void settle(struct tls_link *link);

/* ---- Configurations ---- */

/* Asserts that they can be made. */
struct weir_tls_config *config_of(const struct weir_tls_config_options *opt);
/* Options of test_server(), and of a client that believes test_ca(). */
struct weir_tls_config_options server_options(void);
struct weir_tls_config_options client_options(void);
struct weir_tls_config *server_config(void);
/* A server that shows what weir would not: any certificate, on its own security level. chain is PEM, the leaf first. */
struct weir_tls_config *bad_server(const char *chain, const struct cert *leaf);
struct weir_tls_config *client_config(void);

/* ---- Chance ---- */

/* From now on OpenSSL's random numbers are those of a seed. Result: the seed with which those until now go on. */
uint64_t tls_random_from(uint64_t seed);
/* A number below n, from *state. */
uint64_t chance(uint64_t *state, uint64_t n);

#endif
