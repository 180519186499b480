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

static void read_on(struct weir_stream *s)
{
    if (lines())
        weir_read_until(s, "\n", 1, 0, on_bytes, NULL);
    else
        weir_read_start(s, on_bytes, NULL);
}

static void on_drained(struct weir_stream *s, int status, void *arg)
{
    (void)arg;
    if (status == 0)
        read_on(s);
}

/* 1: so much is queued that it shall go first. Asked for once in a while only. */
static int is_full(struct weir_stream *s, size_t written)
{
    struct echo *e = weir_stream_ext(s);
    struct weir_stream_facts facts;
    if ((e->unasked += written) < HIGH_WATER / 2)
        return 0;
    e->unasked = 0;
    return weir_stream_facts(s, &facts, sizeof facts) == 0 && facts.queued > HIGH_WATER;
}

static void on_bytes(struct weir_stream *s, int status, struct weir_view bytes, void *arg)
{
    (void)arg;
    if (status == WEIR_EOF) {
        weir_stream_close(s, WEIR_CLOSE_FLUSH);
        return;
    }
    if (status < 0 || weir_write(s, bytes.data, bytes.len, NULL, NULL) < 0)
        return;
    if (is_full(s, bytes.len)) {
        if (!lines())
            weir_read_stop(s);
        weir_write(s, NULL, 0, on_drained, NULL);
    } else if (lines()) {
        read_on(s);
    }
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)reason;
    (void)arg;
    server_lost(s);
}

int main(int argc, char **argv)
{
    struct server_args args;
    struct weir_stream_options options = {
        .size = sizeof options, .ext_size = sizeof(struct echo), .half_open = 1, .on_close = on_close};
    server_read_args(argc, argv, "Sends back what it receives.", own, &args);
    return server_run(&args, &options, read_on);
}
