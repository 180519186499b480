/* Actors: the users of two connected streams, who draw what they call from a seed, from outside and from inside
 * callbacks, and note all that they are told. They keep clear of what is nobody's promise; see test_trace.c. */
#ifndef HELPERS_ACTOR_H
#define HELPERS_ACTOR_H

#include <stdbool.h>

#include "helpers_rest.h"

/* What a callback is about, and a line of the log, which begins with the actor's name and the voice's number. */
enum voice { READS, WRITES, LIFE, VOICES };

struct actor {
    struct party p;             /* first: the callbacks' arg is a party */
    struct end *end;
    uint64_t random[VOICES];
    enum voice voice;           /* that speaks now */
    bool inside;                /* a callback */
    bool reading, calling;      /* as the step began: a read was pending; its call is of this step */
    bool shut;                  /* its end is under way, or has come */
    uint64_t got;               /* bytes that were read */
    int calls;                  /* that may still be made from callbacks in this step */
    char memory[64];
    struct weir_hold *hold;
    struct weir_view held;
};

extern struct actor actors[2];

/* What all programs use. */
void actors_prepare(void);
void actors_done(void);
/* What those on one loop use. */
void actors_meet(struct env *e);
void actors_part(void);

/* A pair of streams, with options that are drawn. */
void actors_open(struct env *e, uint64_t number);
void actors_close(struct env *e);
unsigned actor_draw(struct actor *x, unsigned n);
/* One call from outside, and all that comes of it. */
void actor_step(struct env *e, struct actor *x);

#endif
