/* An echo server: what comes goes back. A client that does not read is not read from. */
#include "common_args.h"

enum { HIGH_WATER = 1 << 20 };

struct echo {
    struct client client;
    size_t unasked;     /* bytes written since we asked how many are queued */
};

static void on_chunk(struct weir_stream *s, int status, struct weir_view chunk, void *arg);

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    if (status == 0)
        weir_read_start(s, on_chunk, arg);
}

static void on_chunk(struct weir_stream *s, int status, struct weir_view chunk, void *arg)
{
    struct echo *e = weir_stream_ext(s);
    struct weir_stream_facts facts;
    if (status == WEIR_EOF) {
        weir_stream_close(s, WEIR_CLOSE_FLUSH);
        return;
    }
    if (status < 0 || weir_write(s, chunk.data, chunk.len, NULL, NULL) < 0)
        return;
    if ((e->unasked += chunk.len) < HIGH_WATER / 2)
        return;
    e->unasked = 0;
    if (weir_stream_facts(s, &facts, sizeof facts) == 0 && facts.queued > HIGH_WATER) {
        weir_read_stop(s);
        weir_write(s, NULL, 0, on_drained, arg);
    }
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)reason;
    (void)arg;
    server_lost(s);
}

static void on_stream(struct weir_stream *s)
{
    weir_read_start(s, on_chunk, NULL);
}

int main(int argc, char **argv)
{
    struct server_args args;
    struct weir_stream_options options = {
        .size = sizeof options, .ext_size = sizeof(struct echo), .half_open = 1, .on_close = on_close};
    server_read_args(argc, argv, "Sends back what it receives.", NULL, &args);
    return server_run(&args, &options, on_stream);
}
