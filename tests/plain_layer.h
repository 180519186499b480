/* What plain_layer.c asks of TLS, where there is any. */
#ifndef PLAIN_LAYER_H
#define PLAIN_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir.h"

#ifdef WR_NO_TLS
enum { HAS_TLS = 0 };
#else
enum { HAS_TLS = 1 };
#endif

/* What all seeds share is made, so that none is charged with it. */
void layer_tls_prepare(void);
/* New configurations, and OpenSSL's random numbers from the seed; old: TLS 1.2. */
void layer_tls_open(uint64_t seed, bool old);
void layer_tls_close(void);
int layer_tls_start(struct weir_stream *s, bool client);

#endif
