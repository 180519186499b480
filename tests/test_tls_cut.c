/* Suite tls_cut: a session that was recorded, cut at every byte, on all three worlds. The peer says what was recorded
 * up to there, and ends; who hears it ends never well, and never not at all. "a" hears, "b" is the peer. */
#include <stdio.h>
#include <string.h>

#include "helpers_stream.h"
#include "helpers_tls.h"

TestSuite(tls_cut, .timeout = 60);

enum { CLIENT_SEED = 7, SERVER_SEED = 8, DATA = 100 };

struct session {
    struct weir_tls_config *client, *server;
    struct tls_record to_client, to_server;
    struct tls_record *cut;     /* one of the two */
    size_t data_end;            /* in it: behind the data, before what ends the session */
};

/* Its random numbers are its own, so that it fits to its peer's bytes again. */
static void step(struct tls_link *link, struct tls_end *end, uint64_t *random)
{
    uint64_t others = tls_random_from(*random);
    end->begun = wr_tls_verbs.start(end->tls, &end->wire);
    *random = tls_random_from(others);
    settle(link);
}

static void record_session(struct session *s)
{
    struct tls_link link = {.to_client = &s->to_client, .to_server = &s->to_server};
    uint64_t client = CLIENT_SEED, server = SERVER_SEED;

    link_open(&link, s->client, s->server, "localhost");
    for (int flights = 0; flights < 3; flights++) {
        step(&link, &link.client, &client);
        step(&link, &link.server, &server);
    }
    expect_handshake(&link);
    converse(&link, &link.server, DATA);
    converse(&link, &link.client, DATA);
    s->data_end = s->cut->len;
    wr_tls_verbs.shut(link.server.tls, &link.server.wire);
    wr_tls_verbs.shut(link.client.tls, &link.client.wire);
    settle(&link);
    link_close(&link);
}

static void session_open(struct session *s, int version, bool to_client)
{
    struct weir_tls_config_options opt = client_options();

    opt.no_resumption = 1; /* each is as the first */
    s->to_client.len = s->to_server.len = 0;
    s->cut = to_client ? &s->to_client : &s->to_server;
    s->client = config_of(&opt);
    s->server = server_config();
    SSL_CTX_set_max_proto_version(s->client->ctx, version);
    record_session(s);
    cr_assert_lt(s->data_end, s->cut->len, "it says goodbye");
}

static void session_close(struct session *s)
{
    weir_tls_config_close(s->client);
    weir_tls_config_close(s->server);
}

static void hear(struct env *e, const struct session *s, size_t n, struct party *a)
{
    bool client = s->cut == &s->to_client;
    struct party b;

    open_pair(e, NULL, a, &b);
    cr_assert_eq(weir_tls_start(a->s, client ? s->client : s->server, client ? "localhost" : NULL), 0);
    tls_random_from(client ? CLIENT_SEED : SERVER_SEED);
    cr_assert_eq(weir_read_until_close(a->s, on_read, a), 0);
    cr_assert_eq(weir_write(b.s, s->cut->bytes, n, NULL, NULL), 0);
    cr_assert_eq(weir_stream_close(b.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a->closed, 1);
    run_until(e, &b.closed, 1);
}

/* The data comes before the end, whatever that is. */
static void expect_cut(struct env *e, const struct session *s, size_t n)
{
    bool whole = n == s->cut->len;
    struct party a;
    char lines[128];

    hear(e, s, n, &a);
    snprintf(lines, sizeof lines, "a read %s%s\na closed %s\n", whole ? "0" : "WEIR_ETRUNCATED",
             n >= s->data_end ? " 100 " : "", whole ? "WEIR_EOF" : "WEIR_ETRUNCATED");
    cr_assert(strstr(e->log, lines), "after %zu of %zu bytes on %s:\n%s", n, s->cut->len, e->world, e->log);
    e->log_len = 0;
}

static void cut_everywhere(struct env *e, int version, bool to_client)
{
    static struct session s;

    session_open(&s, version, to_client);
    for (size_t n = 0; n <= s.cut->len; n++)
        expect_cut(e, &s, n);
    session_close(&s);
}

ON_ALL_WORLDS(tls_cut, what_a_client_hears)
{
    cut_everywhere(e, TLS1_3_VERSION, true);
}

ON_ALL_WORLDS(tls_cut, what_a_client_hears_of_the_old_version)
{
    cut_everywhere(e, TLS1_2_VERSION, true);
}

ON_ALL_WORLDS(tls_cut, what_a_server_hears)
{
    cut_everywhere(e, TLS1_3_VERSION, false);
}

ON_ALL_WORLDS(tls_cut, what_a_server_hears_of_the_old_version)
{
    cut_everywhere(e, TLS1_2_VERSION, false);
}
