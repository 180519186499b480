/* weir_layer: a protocol between a stream and its wire, such as TLS.
 *
 * The user of the stream reads and writes plain bytes; the layer makes wire bytes of them, and plain bytes of what
 * comes from the peer. It is four verbs over bytes: it sees no descriptor, no loop and no clock, and so is the same on
 * io_uring, epoll and in the simulator. weir_tls.h is made of nothing but this.
 *
 * What a verb may answer, besides what stands at each:
 *   WEIR_WANTS_INPUT   it can go on when more has come from the peer. While 1 MiB waits, no more comes; start and
 *                      ingest, if they want more nevertheless, have failed with WEIR_EBUFFULL
 *   WEIR_WANTS_ROOM    it can go on when the peer has taken some of what was put on the wire
 *   WEIR_EOF           ingest: the peer has ended its side in good order
 *   any other < 0      it is broken: the stream sends what is on the wire, ends, and tells this code. -errno, or a code
 *                      of weir.h, such as WEIR_ETLS
 * A verb that wants something is called again when it may have it, and what it was called with is frozen meanwhile:
 *   emit    the very same bytes: same address, same length, nothing merged with them, moved or freed, until they are
 *           taken or the stream ends. Later writes wait behind them.
 * Wanting is no promise: a verb may be called again earlier than that, and wants again. A layer whose peer has ended,
 * and that still wants input, was cut off: the stream ends with WEIR_ETRUNCATED, behind the plain bytes that came.
 *
 * Verbs are called by the loop and run outside of all contexts. They may use the wire they are given, and nothing else
 * of the stream's. Errors, memory and threads as in weir.h. */
#ifndef WEIR_LAYER_H
#define WEIR_LAYER_H

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_layer_answer {
    WEIR_WANTS_INPUT = -6001,
    WEIR_WANTS_ROOM = -6002
};

/* ---- The wire, for verbs ------------------------------------------------------------------- */

struct weir_wire;

/* What has come from the peer and was not taken, in one piece. Result: how many bytes, and where. Errors: none.
 * Memory: the wire's, until the verb returns or takes them. Thread: loop. Since: 0.1 */
WEIR_API size_t weir_wire_look(struct weir_wire *wire, const void **ret_data);

/* The first n of them, no more than there are, are done with. Result: none. Errors: none. Memory: none. Thread: loop.
 * Since: 0.1 */
WEIR_API void weir_wire_take(struct weir_wire *wire, size_t n);

/* How many bytes weir_wire_put would take. Result: bytes, perhaps 0. Errors: none. Memory: none. Thread: loop.
 * Since: 0.1 */
WEIR_API size_t weir_wire_room(const struct weir_wire *wire);

/* Bytes for the peer, in order; as many as there is room for. Once the stream has sent its FIN they go nowhere.
 * Result: how many, perhaps 0. Errors: none; without memory there is no room, and the stream ends with -ENOMEM.
 * Memory: they are copied. Thread: loop. Since: 0.1 */
WEIR_API size_t weir_wire_put(struct weir_wire *wire, const void *data, size_t len);

/* ---- The layer ----------------------------------------------------------------------------- */

/* All take the layer that weir_layer_attach was given. */
struct weir_layer_verbs {
    size_t size;    /* sizeof(struct weir_layer_verbs) */
    /* Begin, or go on with that; ingest and emit come only after it. Result: 0: it has begun. */
    int (*start)(void *layer, struct weir_wire *wire);
    /* What the peer has sent, in plain: up to len bytes (1 at least) into memory. Result: how many, 1 at least. */
    int64_t (*ingest)(void *layer, struct weir_wire *wire, void *memory, size_t len);
    /* Take plain bytes of the user's: len of them (1 at least). Result: how many were taken, 1 at least. */
    int64_t (*emit)(void *layer, struct weir_wire *wire, const void *data, size_t len);
    /* Nothing will be emitted any more: tell the peer. Called also when it has not begun, or the peer has ended.
     * Result: 0. */
    int (*shut)(void *layer, struct weir_wire *wire);
    /* The stream is gone, and the layer the caller's again. The last call, once. May be NULL. */
    void (*release)(void *layer);
};

/* Put a layer on a stream: what is written and read from now on goes through it. On a stream that is connecting, start
 * comes first when it is connected, and the connect callback when it has begun, or with why it could not. Writes and
 * reads may be asked for at once, and wait. Beginning may take handshake_timeout_ns of the stream's options.
 * Result: 0. Errors: -EINVAL (a verb is missing), -E2BIG, -EALREADY (there is one), -EBUSY (plain bytes wait: some were
 * received and not read, or written and not yet taken by the kernel; or a read is pending), -ENOTCONN, -EPIPE (after
 * weir_shutdown), -ENOTSUP (not open both ways), -ENOMEM, WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK. Then release is not
 * called. Memory: layer must stay until release; verbs until then, too. Thread: loop. Since: 0.1 */
WEIR_API int weir_layer_attach(struct weir_stream *s, const struct weir_layer_verbs *verbs, void *layer);

typedef void weir_layer_fn(struct weir_stream *s, int status, void *arg);

/* Call fn when the layer has begun, with 0, or when the stream ends before that, with the reason, after its writes and
 * before on_close. Result: 0, and fn once, also when it has begun long ago. Errors: -EINVAL, -ENOENT (there is no
 * layer), -EBUSY (somebody waits already), WEIR_ECLOSED, WEIR_ETHREAD, WEIR_EFORK. Memory: arg is the caller's.
 * Thread: loop. Since: 0.1 */
WEIR_API int weir_layer_wait(struct weir_stream *s, weir_layer_fn *fn, void *arg);

/* The layer of the stream, if it has these verbs: until on_close has returned. Result: the layer, NULL if it has none
 * such. Errors: none. Memory: the layer's owner's. Thread: loop. Since: 0.1 */
WEIR_API void *weir_layer_of(struct weir_stream *s, const struct weir_layer_verbs *verbs);

#ifdef __cplusplus
}
#endif
#endif
