/* An echo server: what comes goes back, or with --lines each line once it is whole. A client that does not read is not
 * read from. */
#include "common_args.h"

enum { HIGH_WATER = 1 << 20 };

struct echo {
    struct client client;
    size_t unasked;     /* bytes written since we asked how many are queued */
};

static struct server_option own[] = {
    {.name = "--lines", .form = "", .help = "send back whole lines only"},
    {.name = NULL},
};

static void on_bytes(struct weir_stream *s, int status, struct weir_view bytes, void *arg);

static int lines(void)
{
    return own[0].value != NULL;
}

static void read_on(struct echo *e)
{
    if (lines())
        weir_read_until(e->client.s, "\n", 1, 0, on_bytes, e);
    else
        weir_read_start(e->client.s, on_bytes, e);
}

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    (void)s;
    if (status == 0)
        read_on(arg);
}

/* So much is queued that it shall go first. Asked for once in a while: not inlined, it costs most messages nothing. */
static __attribute__((noinline)) int is_full(struct echo *e)
{
    struct weir_stream_facts facts;
    e->unasked = 0;
    return weir_stream_facts(e->client.s, &facts, sizeof facts) == 0 && facts.queued > HIGH_WATER;
}

static void on_bytes(struct weir_stream *s, int status, struct weir_view bytes, void *arg)
{
    struct echo *e = arg;
    if (status == WEIR_EOF) {
        weir_stream_close(s, WEIR_CLOSE_FLUSH);
        return;
    }
    if (status < 0 || weir_write(s, bytes.data, bytes.len, NULL, NULL) < 0)
        return;
    e->unasked += bytes.len;
    if (e->unasked >= HIGH_WATER / 2 && is_full(e)) {
        if (!lines())
            weir_read_stop(s);
        weir_write(s, NULL, 0, on_drained, e);
    } else if (lines()) {
        read_on(e);
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
    read_on(weir_stream_ext(s));
}

int main(int argc, char **argv)
{
    struct server_args args;
    struct weir_stream_options options = {
        .size = sizeof options, .ext_size = sizeof(struct echo), .half_open = 1, .on_close = on_close};
    server_read_args(argc, argv, "Sends back what it receives.", own, &args);
    return server_run(&args, &options, on_stream);
}
