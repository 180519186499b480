/* The protocols, and what they have to say. */
#ifndef LOAD_PROTOCOL_H
#define LOAD_PROTOCOL_H

#include "load_worker.h"

const struct protocol *protocol_of(const struct load_args *args);

/* Messages of any size up to the largest are the beginning of it, or, of lines, its end. */
unsigned char *protocol_payload(const struct load_args *args);

/* Bytes that a connection may have to queue at a time. */
size_t protocol_queue(const struct load *load, const struct goal *goal);

void protocol_request(const struct load_args *args, struct goal *goal);

#endif
