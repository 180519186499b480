/* What the fuzzers of TLS share: a server and a client, the same in each run. */
#ifndef HELPERS_TLS_FUZZ_H
#define HELPERS_TLS_FUZZ_H

#include "helpers_tls.h"
#include "helpers_tls_forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both ends, with protocols and certificates of clients, and random numbers that begin anew. */
void fuzz_open(struct tls_link *link);
/* What the log of keys has said last. */
void fuzz_forger(struct forger *ret_forger);
/* Give the bytes to an end, in pieces, and call its verbs. Fails if they answer what they may not. */
void fuzz_feed(struct tls_end *end, const uint8_t *data, size_t size);

#endif
