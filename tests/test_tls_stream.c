/* Suite tls_stream: TLS on streams, each test on all three worlds. "a" is the client, "b" the server. */
#include <errno.h>
#include <string.h>

#include "helpers_stream.h"
#include "helpers_tls.h"
#include "stream.h"

TestSuite(tls_stream, .timeout = 60);

static void on_begun(struct weir_stream *s, int status, void *party)
{
    struct party *p = party;
    cr_assert_eq(s, p->s);
    cr_assert(!p->closed);
    note(p->env, "%s begun %s\n", p->name, weir_error_name(status));
}

static void wait_for(struct party *p)
{
    cr_assert_eq(weir_tls_wait(p->s, on_begun, p), 0);
}

static void start(struct party *p, struct weir_tls_config *config, const char *host)
{
    int rc = weir_tls_start(p->s, config, host);
    cr_assert_eq(rc, 0, "%s", weir_error_name(rc));
    weir_tls_config_close(config);
}

/* A pair with TLS from the beginning. The streams keep the configurations. */
static void open_tls_pair(struct env *e, const struct weir_stream_options *opt, struct party *a, struct party *b)
{
    open_pair(e, opt, a, b);
    start(a, client_config(), "localhost");
    start(b, server_config(), NULL);
}

static void read_all(struct party *p)
{
    cr_assert_eq(weir_read_until_close(p->s, on_read, p), 0);
}

/* ---- What works ---- */

ON_ALL_WORLDS(tls_stream, a_dialogue)
{
    struct party a, b;
    struct weir_tls_facts facts;

    open_tls_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_tls_facts(a.s, &facts, sizeof facts), 0);
    cr_assert(!facts.begun && !facts.verified && facts.cipher[0] == '\0');
    wait_for(&a);
    wait_for(&b);
    send_text(&a, "hello|");
    cr_assert_eq(weir_read_until(b.s, "|", 1, 0, on_read, &b), 0);
    run_idle(e);
    send_text(&b, "good");
    send_text(&b, " day");
    cr_assert_eq(weir_read_bytes(a.s, 8, on_read, &a), 0);
    run_idle(e);
    expect_lines(&a, "a begun 0\na read 0 8 good day\n");
    expect_lines(&b, "b begun 0\nb read 0 6 hello|\n");
    cr_assert_eq(weir_tls_facts(a.s, &facts, sizeof facts), 0);
    cr_assert(facts.begun && facts.verified);
    cr_assert_str_eq(facts.protocol, "TLSv1.3");
    cr_assert_str_eq(weir_tls_error(a.s), "");
    close_pair(e, &a, &b);
}

/* Nothing more comes from the peer when the second read is asked for: the rest of the record is inside OpenSSL. */
ON_ALL_WORLDS(tls_stream, a_record_in_two_reads)
{
    struct party a, b;
    char got[2][4];

    open_tls_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_read_into(b.s, got[0], 4, 0, on_read, &b), 0);
    send_text(&a, "good day");
    run_idle(e);
    cr_assert_eq(weir_read_into(b.s, got[1], 4, 0, on_read, &b), 0);
    run_idle(e);
    expect_lines(&b, "b read 0 4 good\nb read 0 4  day\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tls_stream, much_both_ways)
{
    enum { MUCH = 1 << 20 };
    static unsigned char data[MUCH], got[2][MUCH];
    struct party a, b;

    open_tls_pair(e, NULL, &a, &b);
    fill_bytes(data, 0, MUCH);
    struct party *p[2] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(weir_write_ref(p[i]->s, data, MUCH, NULL, on_wrote, p[i]), 0);
        cr_assert_eq(weir_read_into(p[i]->s, got[i], MUCH, 0, on_read, p[i]), 0);
    }
    run_idle(e);
    for (int i = 0; i < 2; i++) {
        expect_bytes(got[i], 0, MUCH);
        cr_assert_not_null(strstr(e->log, i ? "b wrote 0" : "a wrote 0"));
    }
    close_pair(e, &a, &b);
}

static unsigned char much[8 << 20];
static size_t had[2];

static void have(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    size_t *n = arg;
    cr_assert_eq(status, 0, "%s: %s", weir_error_name(status), weir_tls_error(s));
    cr_assert(view.len <= sizeof much - *n && memcmp(view.data, much + *n, view.len) == 0);
    *n += view.len;
}

/* The kernel takes 2 KiB at a time, far less than a record: each is offered again and again. Meanwhile both ask for new
 * keys, and answer. */
ON_ALL_WORLDS(tls_stream, much_both_ways_through_a_needles_eye)
{
    struct party a, b, *p[2] = {&a, &b};
    struct weir_stream_options opt = {.size = sizeof opt, .max_write_buffer_size = sizeof much};
    int size = 2048, asked = 0;

    open_tls_pair(e, &opt, &a, &b);
    fill_bytes(much, 0, sizeof much);
    for (int i = 0; i < 2; i++) {
        had[i] = 0;
        if (!e->sim)
            cr_assert_eq(setsockopt(p[i]->s->out.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
        cr_assert_eq(weir_write_ref(p[i]->s, much, sizeof much, NULL, on_wrote, p[i]), 0);
        cr_assert_eq(weir_read_start(p[i]->s, have, &had[i]), 0);
    }
    for (size_t next = 1; had[0] < sizeof much || had[1] < sizeof much;) {
        cr_assert_geq(weir_loop_run_once(e->loop, 1000000000), 0);
        size_t both = wr_min(had[0], had[1]);
        if (both < next)
            continue;
        for (int i = 0; i < 2; i++)
            asked += SSL_key_update(weir_tls_ssl(p[i]->s), SSL_KEY_UPDATE_REQUESTED); /* not amid the last one */
        next = both + 50000;    /* data between them: too many without are refused */
    }
    run_idle(e);
    cr_assert_gt(asked, 20);
    cr_assert(strstr(e->log, "a wrote 0") && strstr(e->log, "b wrote 0"), "%s", e->log);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(weir_read_stop(p[i]->s), 0);
    close_pair(e, &a, &b);
}

/* A record that is read one byte at a time, with nothing more to come from the kernel. */
ON_ALL_WORLDS(tls_stream, what_is_in_the_layer_is_read)
{
    static unsigned char data[16384];
    struct party a, b;

    open_tls_pair(e, NULL, &a, &b);
    fill_bytes(data, 0, sizeof data);
    cr_assert_eq(weir_write(b.s, data, sizeof data, NULL, NULL), 0);
    run_idle(e);
    for (size_t i = 0; i < 1000; i++) {
        unsigned char byte = 0;
        cr_assert_eq(weir_read_into(a.s, &byte, 1, 0, on_read, &a), 0);
        int before = (int)e->log_len, now = before;
        for (int turns = 0; now == before && turns < 100; turns++) {
            weir_loop_run_once(e->loop, 1000000);
            now = (int)e->log_len;
        }
        expect_bytes(&byte, i, 1);
        e->log_len = 0;
    }
    close_pair(e, &a, &b);
}

/* ---- Ends ---- */

ON_ALL_WORLDS(tls_stream, each_side_ends_for_itself)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = 1};
    struct party a, b;

    open_tls_pair(e, &opt, &a, &b);
    send_text(&a, "that is all");
    cr_assert_eq(weir_shutdown(a.s), 0);
    read_all(&b);
    run_idle(e);
    send_text(&b, "and from here");
    cr_assert_eq(weir_shutdown(b.s), 0);
    read_all(&a);
    run_idle(e);
    expect_lines(&b, "b read 0 11 that is all\n");
    expect_lines(&a, "a read 0 13 and from here\n");
    close_pair(e, &a, &b);
    cr_assert_eq(a.reason, 0);
    cr_assert_eq(b.reason, 0);
}

ON_ALL_WORLDS(tls_stream, a_flush_says_goodbye)
{
    struct party a, b;

    open_tls_pair(e, NULL, &a, &b);
    read_all(&b);
    send_text(&a, "bye");
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_FLUSH), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a closed 0\n");
    expect_lines(&b, "b read 0 3 bye\nb closed WEIR_EOF\n");
}

ON_ALL_WORLDS(tls_stream, a_reset_is_no_end)
{
    struct party a, b;

    open_tls_pair(e, NULL, &a, &b);
    wait_for(&b);
    read_all(&b);
    send_text(&a, "hello");
    run_idle(e);
    cr_assert_eq(weir_stream_close(a.s, WEIR_CLOSE_RESET), 0);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b begun 0\nb read ECONNRESET 5 hello\nb closed ECONNRESET\n");
    run_until(e, &a.closed, 1);
}

/* ---- What does not work ---- */

ON_ALL_WORLDS(tls_stream, who_is_not_believed_is_told_so)
{
    struct weir_tls_config_options opt = client_options();
    struct cert other = cert_new(&(struct cert_spec){.cn = "Another authority", .ca = 1});
    struct party a, b;

    opt.ca_pem = cert_pem(&other);
    cert_free(&other);
    open_pair(e, NULL, &a, &b);
    start(&a, config_of(&opt), "localhost");
    start(&b, server_config(), NULL);
    wait_for(&a);
    wait_for(&b);
    cr_assert_eq(weir_write(a.s, "x", 1, on_wrote, &a), 0);
    read_all(&b);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a wrote WEIR_ECERT\na begun WEIR_ECERT\na closed WEIR_ECERT\n");
    expect_lines(&b, "b read WEIR_ETLS\nb begun WEIR_ETLS\nb closed WEIR_ETLS\n");
}

static void tell_why(struct weir_stream *s, int reason, void *party)
{
    struct party *p = party;
    note(p->env, "%s closed %s: %s\n", p->name, weir_error_name(reason), weir_tls_error(s));
    p->closed = 1;
}

ON_ALL_WORLDS(tls_stream, the_reason_is_there_to_the_end)
{
    struct party a, b;

    open_pair(e, NULL, &a, &b);
    weir_stream_on_close(a.s, tell_why, &a);
    weir_stream_on_close(b.s, tell_why, &b);
    start(&a, client_config(), "example.org");
    start(&b, server_config(), NULL);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a closed WEIR_ECERT: the peer's certificate is refused: hostname mismatch\n");
    expect_lines(&b, "b closed WEIR_ETLS: the peer says: bad certificate\n");
}

ON_ALL_WORLDS(tls_stream, a_silent_peer_is_not_waited_for)
{
    struct weir_stream_options opt = {.size = sizeof opt, .handshake_timeout_ns = 20000000};
    struct party a, b;

    open_pair(e, &opt, &a, &b);
    start(&b, server_config(), NULL);
    wait_for(&b);
    run_until(e, &b.closed, 1);
    expect_lines(&b, "b begun ETIMEDOUT\nb closed ETIMEDOUT\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tls_stream, what_came_in_plain_is_never_taken_for_protected)
{
    struct weir_tls_config *server = server_config();
    struct party a, b;

    open_pair(e, NULL, &a, &b);
    send_text(&a, "STARTTLS\r\nMAIL FROM: x\r\n");
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    run_idle(e);
    cr_assert_eq(weir_tls_start(b.s, server, NULL), -EBUSY);
    cr_assert_eq(weir_read_until(b.s, "\r\n", 2, 0, on_read, &b), 0);
    cr_assert_eq(weir_tls_start(b.s, server, NULL), -EBUSY, "a read is pending");
    run_idle(e);
    send_text(&b, "220 go ahead\r\n");
    cr_assert_eq(weir_tls_start(b.s, server, NULL), -EBUSY, "bytes are queued");
    run_idle(e);
    cr_assert_eq(weir_tls_start(b.s, server, NULL), 0);
    cr_assert_eq(weir_tls_start(b.s, server, NULL), -EALREADY);
    weir_tls_config_close(server);
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tls_stream, calls_on_what_has_no_tls)
{
    struct weir_tls_facts facts;
    struct weir_tls_config *client = client_config();
    struct party a, b;
    char byte;

    open_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_tls_wait(a.s, on_begun, &a), -ENOENT);
    cr_assert_eq(weir_tls_facts(a.s, &facts, sizeof facts), -ENOENT);
    cr_assert_eq(weir_tls_peer_certificate(a.s, &byte, 1), -ENOENT);
    cr_assert_eq(weir_tls_export(a.s, "x", NULL, 0, &byte, 1), -ENOENT);
    cr_assert_null(weir_tls_ssl(a.s));
    cr_assert_str_eq(weir_tls_error(a.s), "");
    cr_assert_eq(weir_tls_start(a.s, client, NULL), -EINVAL, "whom?");
    cr_assert_eq(weir_tls_start(a.s, NULL, "localhost"), -EINVAL);
    cr_assert_eq(weir_tls_facts(a.s, NULL, 1), -EINVAL);
    cr_assert_eq(weir_tls_facts(NULL, &facts, sizeof facts), -EINVAL);
    cr_assert_eq(weir_tls_wait(NULL, on_begun, &a), -EINVAL);
    cr_assert_eq(weir_tls_peer_certificate(NULL, &byte, 1), -EINVAL);
    cr_assert_eq(weir_tls_peer_certificate(a.s, NULL, 1), -EINVAL);
    cr_assert_eq(weir_tls_export(NULL, "x", NULL, 0, &byte, 1), -EINVAL);
    cr_assert_eq(weir_tls_export(a.s, NULL, NULL, 0, &byte, 1), -EINVAL);
    cr_assert_eq(weir_tls_export(a.s, "x", NULL, 1, &byte, 1), -EINVAL);
    cr_assert_eq(weir_tls_export(a.s, "x", NULL, 0, &byte, 0), -EINVAL);
    cr_assert_str_eq(weir_tls_error(NULL), "");
    cr_assert_null(weir_tls_ssl(NULL));
    cr_assert_eq(weir_tls_wait(a.s, NULL, &a), -EINVAL);
    weir_tls_config_close(client);
    close_pair(e, &a, &b);
}

/* ---- Facts ---- */

ON_ALL_WORLDS(tls_stream, the_peer_is_known)
{
    struct weir_tls_config_options copt = client_options(), sopt = server_options();
    struct party a, b;
    static unsigned char der[2][4096];
    unsigned char key[2][20];

    copt.cert_pem = cert_pem(test_client());
    copt.key_pem = cert_key_pem(test_client());
    copt.alpn = "h2,http/1.1";
    sopt.client_cert = WEIR_TLS_CLIENT_CERT_REQUIRED;
    sopt.ca_pem = cert_pem(test_ca());
    sopt.alpn = "http/1.1";
    open_pair(e, NULL, &a, &b);
    start(&a, config_of(&copt), "localhost");
    start(&b, config_of(&sopt), NULL);
    cr_assert_eq(weir_tls_peer_certificate(a.s, der[0], sizeof der[0]), -ENOENT, "not yet");
    cr_assert_eq(weir_tls_export(a.s, "EXPORTER-x", NULL, 0, key[0], 20), -ENOTCONN);
    run_idle(e);
    struct party *p[2] = {&a, &b};
    X509 *peers[2] = {test_server()->x509, test_client()->x509};
    for (int i = 0; i < 2; i++) {
        struct weir_tls_facts facts;
        unsigned char *want = NULL;
        int len = i2d_X509(peers[i], &want);
        cr_assert_eq(weir_tls_peer_certificate(p[i]->s, NULL, 0), len);
        cr_assert_eq(weir_tls_peer_certificate(p[i]->s, der[i], sizeof der[i]), len);
        cr_assert_eq(memcmp(der[i], want, (size_t)len), 0);
        OPENSSL_free(want);
        cr_assert_eq(weir_tls_facts(p[i]->s, &facts, sizeof facts), 0);
        cr_assert(facts.verified);
        cr_assert_str_eq(facts.alpn, "http/1.1");
        cr_assert_str_eq(facts.sni, "localhost");
        cr_assert_eq(weir_tls_export(p[i]->s, "EXPORTER-x", "y", 1, key[i], 20), 0);
        cr_assert_eq(SSL_is_server(weir_tls_ssl(p[i]->s)), i);
    }
    cr_assert_eq(memcmp(key[0], key[1], 20), 0);
    close_pair(e, &a, &b);
}

/* ---- Connecting ---- */

struct hall {
    struct env *env;
    struct weir_listener *listener;
    struct weir_tls_config *config;
    struct party in;
};

static void on_accept(struct weir_listener *l, int status, struct weir_stream *s, void *arg)
{
    struct hall *h = arg;
    (void)l;
    cr_assert_eq(status, 0);
    h->in = (struct party){.env = h->env, .name = "b", .s = s};
    weir_stream_on_close(s, on_close, &h->in);
    cr_assert_eq(weir_tls_start(s, h->config, NULL), 0);
    cr_assert_eq(weir_read_bytes(s, 5, on_read, &h->in), 0);
}

/* Where a client finds it. */
static void open_hall(struct hall *h, struct sockaddr_storage *addr, struct weir_listen_options *opt)
{
    *opt = (struct weir_listen_options){.size = sizeof *opt, .addr = (struct sockaddr *)addr};
    cr_assert_eq(weir_addr_parse("127.0.0.1:0", addr, &opt->addr_len), 0);
    cr_assert_eq(weir_listen(h->env->loop, opt, on_accept, h, &h->listener), 0);
    cr_assert_eq(weir_listener_address(h->listener, addr, &opt->addr_len), 0);
}

/* TLS and a write before there is a connection; resumed the second time. */
ON_ALL_WORLDS(tls_stream, on_a_stream_that_connects)
{
    struct weir_tls_config *client = client_config();
    struct hall h = {.env = e, .config = server_config()};
    struct sockaddr_storage addr;
    struct weir_listen_options opt;

    open_hall(&h, &addr, &opt);
    for (int i = 0; i < 2; i++) {
        struct party a = {.env = e, .name = "a"};
        struct weir_tls_facts facts;
        cr_assert_eq(weir_connect_addr(e->loop, opt.addr, opt.addr_len, NULL, on_connect, &a, &a.s), 0);
        weir_stream_on_close(a.s, on_close, &a);
        cr_assert_eq(weir_tls_start(a.s, client, "127.0.0.1"), 0);
        cr_assert_eq(weir_write(a.s, "hello", 5, on_wrote, &a), 0);
        run_idle(e);
        send_text(&h.in, "good day");
        cr_assert_eq(weir_read_bytes(a.s, 8, on_read, &a), 0);
        run_idle(e);
        cr_assert_eq(weir_tls_facts(a.s, &facts, sizeof facts), 0);
        cr_assert_eq(facts.resumed, i);
        expect_lines(&a, "a connected 0\na wrote 0\na read 0 8 good day\n");
        expect_lines(&h.in, "b read 0 5 hello\n");
        close_pair(e, &a, &h.in);
        e->log_len = 0;
    }
    weir_listener_close(h.listener);
    weir_tls_config_close(h.config);
    weir_tls_config_close(client);
}

/* True if the session went on. The client ends as it is told, its server as it likes. */
static int resumed_before(struct hall *h, const struct weir_listen_options *opt, struct weir_tls_config *client,
                          int manner)
{
    struct party a = {.env = h->env, .name = "a"};
    struct weir_tls_facts facts;

    cr_assert_eq(weir_connect_addr(h->env->loop, opt->addr, opt->addr_len, NULL, on_connect, &a, &a.s), 0);
    weir_stream_on_close(a.s, on_close, &a);
    cr_assert_eq(weir_tls_start(a.s, client, "127.0.0.1"), 0);
    send_text(&a, "hello");
    run_idle(h->env);
    send_text(&h->in, "good day");
    cr_assert_eq(weir_read_bytes(a.s, 8, on_read, &a), 0);
    run_idle(h->env);
    cr_assert_eq(weir_tls_facts(a.s, &facts, sizeof facts), 0);
    cr_assert_eq(weir_stream_close(a.s, manner), 0);
    run_until(h->env, &a.closed, 1);
    close_pair(h->env, &a, &h->in);
    h->env->log_len = 0;
    return facts.resumed;
}

ON_ALL_WORLDS(tls_stream, who_ends_at_once_is_known_the_next_time)
{
    struct hall h = {.env = e, .config = server_config()};
    struct sockaddr_storage addr;
    struct weir_listen_options opt;

    open_hall(&h, &addr, &opt);
    for (int manner = WEIR_CLOSE_NOW; manner <= WEIR_CLOSE_RESET; manner++)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct weir_tls_config *client = client_config();
            SSL_CTX_set_max_proto_version(client->ctx, version);
            for (int i = 0; i < 3; i++)
                cr_assert_eq(resumed_before(&h, &opt, client, manner), i > 0, "manner %d, version %x", manner, version);
            weir_tls_config_close(client);
        }
    weir_listener_close(h.listener);
    weir_tls_config_close(h.config);
}

ON_ALL_WORLDS(tls_stream, who_connects_to_a_stranger_is_told_by_the_connect)
{
    struct weir_tls_config *client = client_config();
    struct hall h = {.env = e, .config = server_config()};
    struct sockaddr_storage addr;
    struct weir_listen_options opt;
    struct party a = {.env = e, .name = "a"};

    open_hall(&h, &addr, &opt);
    cr_assert_eq(weir_connect_addr(e->loop, opt.addr, opt.addr_len, NULL, on_connect, &a, &a.s), 0);
    weir_stream_on_close(a.s, on_close, &a);
    cr_assert_eq(weir_tls_start(a.s, client, "example.org"), 0);
    cr_assert_eq(weir_write(a.s, "hello", 5, on_wrote, &a), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &h.in.closed, 1);
    expect_lines(&a, "a wrote WEIR_ECERT\na connected WEIR_ECERT\na closed WEIR_ECERT\n");
    weir_listener_close(h.listener);
    weir_tls_config_close(h.config);
    weir_tls_config_close(client);
}

/* ---- Closing in the middle ---- */

static void close_self(struct weir_stream *s, int status, void *party)
{
    on_begun(s, status, party);
    weir_stream_close(s, WEIR_CLOSE_NOW);
}

ON_ALL_WORLDS(tls_stream, closed_as_soon_as_it_has_begun)
{
    struct party a, b;

    open_tls_pair(e, NULL, &a, &b);
    cr_assert_eq(weir_tls_wait(a.s, close_self, &a), 0);
    cr_assert_eq(weir_tls_wait(a.s, close_self, &a), -EBUSY);
    read_all(&b);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a begun 0\na closed 0\n");
}

/* After each number of turns, in each manner. */
ON_ALL_WORLDS(tls_stream, closed_at_any_time)
{
    for (int turns = 0; turns < 12; turns++)
        for (int manner = WEIR_CLOSE_NOW; manner <= WEIR_CLOSE_RESET; manner++) {
            struct party a, b;
            open_tls_pair(e, NULL, &a, &b);
            wait_for(&a);
            wait_for(&b);
            send_text(&a, "hello");
            read_all(&b);
            for (int i = 0; i < turns; i++)
                weir_loop_run_once(e->loop, 100000);
            weir_stream_close(a.s, manner);
            run_until(e, &a.closed, 1);
            run_until(e, &b.closed, 1);
            cr_assert_eq(a.reason, 0);
            cr_assert_neq(b.reason, 0);
            cr_assert(manner == WEIR_CLOSE_FLUSH || b.reason != WEIR_EOF || turns > 0);
            e->log_len = 0;
        }
}
