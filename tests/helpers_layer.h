/* A layer that is hard to live with: it hides every byte, asks for retries at random, in emit also until its peer has
 * answered, and checks that what it is asked to take again are the very same bytes. */
#ifndef HELPERS_LAYER_H
#define HELPERS_LAYER_H

#include <stdbool.h>

#include "weir_layer.h"

enum { LAYER_STORE = 1 << 16, LAYER_FRAME = 2000 };

enum layer_verb { LAYER_START, LAYER_INGEST, LAYER_EMIT, LAYER_SHUT, LAYER_VERBS };

struct shy {
    uint64_t random;
    unsigned odds;              /* one call in so many asks for a retry; 0: none does */
    bool deaf;                  /* it takes nothing of what comes */
    bool chatty;                /* also those of ingest, so that who only reads sends something, too */
    int fail[LAYER_VERBS];      /* a verb fails with this code, once after[verb] calls of it have been made */
    unsigned after[LAYER_VERBS];
    unsigned calls[LAYER_VERBS], retries[LAYER_VERBS], releases;
    bool keep;                  /* it is the test's: release does not free it */

    bool said_hello, heard_hello, said_bye, heard_bye;
    bool waits;                 /* for an answer: emit takes nothing before; who has said bye does not answer */
    unsigned owes;              /* answers */
    const void *head;           /* what emit has to be called with again, NULL: anything */
    size_t head_len;
    uint64_t head_sum;
    unsigned char store[LAYER_STORE];   /* plain bytes that came */
    size_t first, count;
};

extern const struct weir_layer_verbs shy_verbs;
/* Of layers that begin at once, send nothing, and hear nothing. */
extern const struct weir_layer_verbs silent_verbs;

/* Tells bytes that are the same from bytes that were changed. */
uint64_t digest_of(const void *bytes, size_t len);
void shy_init(struct shy *l, uint64_t seed, unsigned odds);
/* One of its own on the stream, freed by release. */
void shy_attach(struct weir_stream *s, uint64_t seed, unsigned odds);

#endif
