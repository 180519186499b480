/* On the wire: frames of a kind, a length of two bytes, and so many bytes, each hidden. */
#include "helpers_layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

enum { HEADER = 3, MASK = 0xa5 };
enum kind { HELLO = 'H', DATA = 'D', ASK = '?', ANSWER = '!', NOTHING = '0', BYE = 'B', SORRY = 'X' };

static unsigned draw(struct shy *l, unsigned n)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (unsigned)((l->random >> 20) % n);
}

static bool put(struct weir_wire *wire, enum kind kind, const void *data, size_t len)
{
    unsigned char frame[HEADER + LAYER_FRAME] = {(unsigned char)kind, (unsigned char)(len >> 8), (unsigned char)len};
    if (weir_wire_room(wire) < HEADER + len)
        return false;
    for (size_t i = 0; i < len; i++)
        frame[HEADER + i] = ((const unsigned char *)data)[i] ^ MASK;
    return weir_wire_put(wire, frame, HEADER + len) == HEADER + len;
}

/* ---- What comes ---- */

static bool store(struct shy *l, const unsigned char *data, size_t len)
{
    if (l->count + len > LAYER_STORE)
        return false;
    for (size_t i = 0; i < len; i++)
        l->store[(l->first + l->count++) % LAYER_STORE] = data[i] ^ MASK;
    return true;
}

static bool take_frame(struct shy *l, enum kind kind, const unsigned char *data, size_t len)
{
    switch (kind) {
    case HELLO:
        l->heard_hello = true;
        return true;
    case DATA:
        return store(l, data, len);
    case ASK:
        l->owes++;
        return true;
    case ANSWER:
        l->waits = false;
        return true;
    case BYE:
        l->heard_bye = true;
        return true;
    default:
        return true;
    }
}

static void absorb(struct shy *l, struct weir_wire *wire)
{
    const void *at;
    for (size_t len; !l->deaf && (len = weir_wire_look(wire, &at)) >= HEADER;) {
        const unsigned char *frame = at;
        size_t size = (size_t)frame[1] << 8 | frame[2];
        if (len < HEADER + size || !take_frame(l, (enum kind)frame[0], frame + HEADER, size))
            break;
        weir_wire_take(wire, HEADER + size);
    }
    while (l->owes > 0 && put(wire, ANSWER, NULL, 0))
        l->owes--;
}

/* ---- Verbs ---- */

/* Not 0: what the verb is to answer at once. */
static int interfere(struct shy *l, struct weir_wire *wire, enum layer_verb verb)
{
    if (++l->calls[verb] > l->after[verb] && l->fail[verb]) {
        put(wire, SORRY, NULL, 0);
        return l->fail[verb];
    }
    absorb(l, wire);
    if (l->odds == 0 || (verb == LAYER_INGEST && !l->chatty) || draw(l, l->odds) > 0)
        return 0;
    l->retries[verb]++;
    return put(wire, NOTHING, NULL, 0) ? WEIR_WANTS_ROOM : 0;
}

static int start(void *layer, struct weir_wire *wire)
{
    struct shy *l = layer;
    int rc = interfere(l, wire, LAYER_START);
    if (rc == 0 && !l->said_hello && !(l->said_hello = put(wire, HELLO, NULL, 0)))
        rc = WEIR_WANTS_ROOM;
    return rc == 0 && !l->heard_hello ? WEIR_WANTS_INPUT : rc;
}

static int64_t ingest(void *layer, struct weir_wire *wire, void *memory, size_t len)
{
    struct shy *l = layer;
    int rc = interfere(l, wire, LAYER_INGEST);
    wr_assert(l->said_hello && l->heard_hello && len > 0);
    if (rc < 0)
        return rc;
    size_t n = len < l->count ? len : l->count;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)memory)[i] = l->store[(l->first + i) % LAYER_STORE];
    l->first = (l->first + n) % LAYER_STORE;
    l->count -= n;
    if (n > 0)
        return (int64_t)n;
    return l->heard_bye ? WEIR_EOF : WEIR_WANTS_INPUT;
}

/* Eight bytes at a time: heads are long, and looked at whole for each retry. */
uint64_t digest_of(const void *bytes, size_t len)
{
    const unsigned char *data = bytes;
    uint64_t h = len, word;
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&word, data, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; len > 0; len--)
        h = (h ^ *data++) * 0x100000001b3u;
    return h;
}

static int64_t again(struct shy *l, int rc, const void *data, size_t len)
{
    l->head = data;
    l->head_len = len;
    l->head_sum = digest_of(data, len);
    return rc;
}

static int64_t emit(void *layer, struct weir_wire *wire, const void *data, size_t len)
{
    struct shy *l = layer;
    wr_assert(l->said_hello && l->heard_hello && !l->said_bye && len > 0);
    if (l->head)
        wr_assert(data == l->head && len == l->head_len && digest_of(data, len) == l->head_sum);
    int rc = interfere(l, wire, LAYER_EMIT);
    l->waits &= !l->heard_bye;
    if (rc == 0 && l->waits)
        rc = WEIR_WANTS_INPUT;
    if (rc < 0)
        return again(l, rc, data, len);
    if (l->odds > 0 && !l->heard_bye && draw(l, l->odds) == 0 && put(wire, ASK, NULL, 0)) {
        l->waits = true;
        return again(l, WEIR_WANTS_INPUT, data, len);
    }
    size_t n = 1 + draw(l, LAYER_FRAME);
    n = n < len ? n : len;
    if (!put(wire, DATA, data, n))
        return again(l, WEIR_WANTS_ROOM, data, len);
    l->head = NULL;
    return (int64_t)n;
}

static int shut(void *layer, struct weir_wire *wire)
{
    struct shy *l = layer;
    int rc = interfere(l, wire, LAYER_SHUT);
    if (rc == 0 && !l->said_bye && !(l->said_bye = put(wire, BYE, NULL, 0)))
        rc = WEIR_WANTS_ROOM;
    return rc;
}

static void release(void *layer)
{
    struct shy *l = layer;
    l->releases++;
    if (!l->keep)
        free(l);
}

const struct weir_layer_verbs shy_verbs = {.size = sizeof shy_verbs,
                                           .start = start,
                                           .ingest = ingest,
                                           .emit = emit,
                                           .shut = shut,
                                           .release = release};

void shy_init(struct shy *l, uint64_t seed, unsigned odds)
{
    memset(l, 0, sizeof *l);
    l->random = seed * 0x9e3779b97f4a7c15u + 1;
    l->odds = odds;
}

void shy_attach(struct weir_stream *s, uint64_t seed, unsigned odds)
{
    struct shy *l = malloc(sizeof *l);
    shy_init(l, seed, odds);
    int rc = weir_layer_attach(s, &shy_verbs, l);
    wr_assert(rc == 0);
}

/* ---- Layers that send nothing ---- */

static int begin_silently(void *layer, struct weir_wire *wire)
{
    (void)layer, (void)wire;
    return 0;
}

static int64_t give_nothing(void *layer, struct weir_wire *wire, void *memory, size_t len)
{
    (void)layer, (void)wire, (void)memory, (void)len;
    return WEIR_WANTS_INPUT;
}

static int64_t keep_silently(void *layer, struct weir_wire *wire, const void *data, size_t len)
{
    (void)layer, (void)wire, (void)data;
    return (int64_t)len;
}

const struct weir_layer_verbs silent_verbs = {.size = sizeof silent_verbs,
                                              .start = begin_silently,
                                              .ingest = give_nothing,
                                              .emit = keep_silently,
                                              .shut = begin_silently};
