/* Suite tls_hostile: peers that are old, weak, endless, or simply wrong. */
#include <errno.h>
#include <string.h>

#include "helpers_tls.h"
#include "helpers_tls_forge.h"

/* ---- Old and weak ---- */

static void open_with(struct tls_link *link, void (*weaken)(SSL_CTX *ctx), bool server)
{
    struct weir_tls_config *c = client_config(), *s = server_config();
    SSL_CTX *ctx = server ? s->ctx : c->ctx;
    SSL_CTX_set_security_level(ctx, 0);
    weaken(ctx);
    link_open(link, c, s, "localhost");
    weir_tls_config_close(c);
    weir_tls_config_close(s);
}

/* Whichever end is as weak as that, the other does not talk to it. */
static void neither_talks_to(void (*weaken)(SSL_CTX *ctx), const char *server_says, const char *client_says)
{
    for (int server = 0; server < 2; server++) {
        struct tls_link link = {0};
        open_with(&link, weaken, server != 0);
        struct tls_end *strict = server ? &link.client : &link.server;
        cr_assert_not(handshake(&link));
        cr_assert_eq(strict->begun, WEIR_ETLS, "%s", weir_error_name(strict->begun));
        cr_assert_str_eq(strict->tls->words, server ? client_says : server_says);
        link_close(&link);
    }
}

static void only_1_1(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
}

Test(tls_hostile, versions_before_1_2)
{
    neither_talks_to(only_1_1, "unsupported protocol", "the peer says: protocol version");
}

static void use_ciphers(SSL_CTX *ctx, const char *names)
{
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    cr_assert_eq(SSL_CTX_set_cipher_list(ctx, names), 1);
}

static void no_forward_secrecy(SSL_CTX *ctx)
{
    use_ciphers(ctx, "AES128-GCM-SHA256:AES256-GCM-SHA384:@SECLEVEL=0");
}

static void no_aead(SSL_CTX *ctx)
{
    use_ciphers(ctx, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0");
}

static void no_encryption(SSL_CTX *ctx)
{
    use_ciphers(ctx, "eNULL:@SECLEVEL=0");
}

static void nobody_in_particular(SSL_CTX *ctx)
{
    use_ciphers(ctx, "aNULL:@SECLEVEL=0");
}

static void finite_fields(SSL_CTX *ctx)
{
    use_ciphers(ctx, "DHE:@SECLEVEL=0");
}

Test(tls_hostile, weak_ciphers)
{
    void (*weak[])(SSL_CTX *ctx) = {no_forward_secrecy, no_aead, no_encryption, nobody_in_particular, finite_fields};
    for (size_t i = 0; i < WR_COUNT(weak); i++)
        neither_talks_to(weak[i], "no shared cipher", "the peer says: handshake failure");
}

static void modest(SSL_CTX *ctx)
{
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
}

Test(tls_hostile, version_1_2_is_as_good_as_it_gets)
{
    for (int server = 0; server < 2; server++) {
        struct tls_link link = {0};
        struct weir_tls_facts facts;
        open_with(&link, modest, server != 0);
        expect_handshake(&link);
        wr_tls_tell(link.client.tls, &facts);
        cr_assert_str_eq(facts.protocol, "TLSv1.2");
        cr_assert_str_eq(facts.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
        cr_assert_null(SSL_get_current_compression(link.server.tls->ssl));
        cr_assert(SSL_get_extms_support(link.server.tls->ssl));
        link_close(&link);
    }
}

static void talks_1_2(struct weir_tls_config *config, bool expected)
{
    struct tls_link link = {0};
    struct weir_tls_config *server = server_config();
    SSL_CTX_set_max_proto_version(server->ctx, TLS1_2_VERSION);
    link_open(&link, config, server, "localhost");
    cr_assert_eq(handshake(&link), expected);
    link_close(&link);
    weir_tls_config_close(server);
}

Test(tls_hostile, version_1_3_alone)
{
    struct weir_tls_config_options opt = client_options();
    struct weir_tls_config *usual = config_of(&opt);
    opt.min_version = WEIR_TLS_1_3;
    struct weir_tls_config *strict = config_of(&opt);
    talks_1_2(usual, true);
    talks_1_2(strict, false);
    weir_tls_config_close(usual);
    weir_tls_config_close(strict);
}

/* ---- Renegotiation ---- */

static void renegotiating(SSL_CTX *ctx)
{
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_clear_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_options(ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
}

static void renegotiate(struct tls_end *end)
{
    end->tls->wire = &end->wire;
    cr_assert_eq(SSL_renegotiate(end->tls->ssl), 1);
    SSL_do_handshake(end->tls->ssl);
    end->tls->wire = NULL;
    ERR_clear_error();
}

Test(tls_hostile, nobody_begins_anew)
{
    for (int server = 0; server < 2; server++) {
        struct tls_link link = {0};
        open_with(&link, renegotiating, server != 0);
        struct tls_end *bad = server ? &link.server : &link.client, *good = server ? &link.client : &link.server;
        expect_handshake(&link);
        converse(&link, bad, 10);
        renegotiate(bad);
        cr_assert_gt(carry(&link, bad, SIZE_MAX), 0);
        cr_assert_eq(taste(good), WEIR_WANTS_INPUT);
        cr_assert_gt(carry(&link, good, SIZE_MAX), 0, "it says no");
        cr_assert_eq(SSL_num_renegotiations(good->tls->ssl), 0);
        cr_assert_eq(taste(bad), WEIR_ETLS);
        cr_assert_str_eq(bad->tls->words, "no renegotiation");
        link_close(&link);
    }
}

/* ---- Floods ---- */

/* Have `bad` do something, again and again: after how many times `good` has enough. */
static int patience(struct tls_link *link, struct tls_end *bad, void (*flood)(struct tls_end *bad))
{
    struct tls_end *good = bad == &link->client ? &link->server : &link->client;
    for (int i = 1; i <= 1000; i++) {
        flood(bad);
        carry(link, bad, SIZE_MAX);
        int64_t answer = taste(good);
        carry(link, good, SIZE_MAX);
        taste(bad);
        if (answer == WEIR_ETLS)
            return i;
        cr_assert_eq(answer, WEIR_WANTS_INPUT);
    }
    return 0;
}

static void update_key(struct tls_end *end)
{
    end->tls->wire = &end->wire;
    cr_assert_eq(SSL_key_update(end->tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    SSL_do_handshake(end->tls->ssl);
    end->tls->wire = NULL;
}

static void ask_for_key(struct tls_end *end)
{
    end->tls->wire = &end->wire;
    cr_assert_eq(SSL_key_update(end->tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    SSL_do_handshake(end->tls->ssl);
    end->tls->wire = NULL;
}

static void give_ticket(struct tls_end *end)
{
    end->tls->wire = &end->wire;
    cr_assert_eq(SSL_new_session_ticket(end->tls->ssl), 1);
    SSL_do_handshake(end->tls->ssl);
    end->tls->wire = NULL;
}

Test(tls_hostile, new_keys_without_end)
{
    void (*floods[])(struct tls_end *end) = {update_key, ask_for_key};
    for (size_t i = 0; i < WR_COUNT(floods); i++)
        for (int server = 0; server < 2; server++) {
            struct tls_link link = {0};
            open_usual(&link);
            expect_handshake(&link);
            converse(&link, &link.server, 10);
            struct tls_end *bad = server ? &link.server : &link.client, *good = server ? &link.client : &link.server;
            for (int n = 0; n < 100; n++) {
                floods[i](bad);
                converse(&link, bad, 1);
                converse(&link, good, 1);
            }
            cr_assert_eq(patience(&link, bad, floods[i]), 33);
            cr_assert_not_null(strstr(good->tls->words, "too many messages"), "%s", good->tls->words);
            link_close(&link);
        }
}

Test(tls_hostile, many_new_keys_at_once)
{
    struct tls_link link = {0};
    open_usual(&link);
    expect_handshake(&link);
    for (int i = 0; i < 10000; i++)
        update_key(&link.client);
    carry(&link, &link.client, SIZE_MAX);
    size_t before = wr_wire_came(&link.server.wire);
    cr_assert_eq(taste(&link.server), WEIR_ETLS);
    cr_assert_lt(before - wr_wire_came(&link.server.wire), 2000, "it has looked at the first of them only");
    link_close(&link);
}

Test(tls_hostile, tickets_without_end)
{
    struct tls_link link = {0};
    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 10);
    cr_assert_eq(patience(&link, &link.server, give_ticket), 33);
    link_close(&link);
}

/* ---- Bytes before there are keys ---- */

struct bytes {
    const char *bytes;
    size_t len;
    int code;
    const char *words;
};

#define BYTES(text) text, sizeof(text) - 1

/* Fed to a server again and again, until it is broken. */
static void server_breaks(const struct bytes *b, int times)
{
    struct tls_link link = {0};
    int answer = WEIR_WANTS_INPUT;

    open_usual(&link);
    for (int i = 0; i < times && answer == WEIR_WANTS_INPUT; i++) {
        feed(&link.server, b->bytes, b->len);
        answer = wr_tls_verbs.start(link.server.tls, &link.server.wire);
    }
    cr_assert_eq(answer, b->code, "%s: %s", b->words, weir_error_name(answer));
    if (answer == WEIR_ETLS)
        cr_assert_str_eq(link.server.tls->words, b->words);
    link_close(&link);
}

Test(tls_hostile, what_is_no_hello)
{
    static const struct bytes once[] = {
        {BYTES("GET / HTTP/1.0\r\n"), WEIR_ETLS, "http request"},
        {BYTES("CONNECT x:1 HTTP/1.0\r\n"), WEIR_ETLS, "https proxy request"},
        {BYTES("SSH-2.0-OpenSSH_9\r\n"), WEIR_ETLS, "wrong version number"},
        {BYTES("\0\0\0\0\0\0\0\0\0\0\0"), WEIR_ETLS, "wrong version number"},
        {BYTES("\x80\x1c\x01\x03\x03\x00\x03\x00\x00\x00\x10\x00\xc0\x2b 16 bytes of dare"), WEIR_ETLS,
         "callback failed"},
        {BYTES("\x16\x03\x01\xff\xff\x01\x00\x00"), WEIR_ETLS, "packet length too long"},
        {BYTES("\x17\x03\x03\x00\x05hello"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x18\x03\x03\x00\x03\x01\x40\x00"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x16\x03\x01\x00\x04\x01\xff\xff\xff"), WEIR_ETLS, "excessive message size"},
        {BYTES("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x15\x03\x01\x00\x02\x02\x28"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x15\x03\x01\x00\x02\x01\x00"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x15\x03\x01\x00\x01\x01"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x16"), WEIR_WANTS_INPUT, ""},
        {BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), WEIR_WANTS_INPUT, ""},
    };
    static const struct bytes often[] = {
        {BYTES("\x16\x03\x03\x00\x00"), WEIR_ETLS, "record too small"},
        {BYTES("\x14\x03\x03\x00\x01\x01"), WEIR_ETLS, "unexpected message"},
        {BYTES("\x15\x03\x03\x00\x02\x01\x5a"), WEIR_ETLS, "unexpected message"},
    };
    for (size_t i = 0; i < WR_COUNT(once); i++)
        server_breaks(&once[i], 1);
    for (size_t i = 0; i < WR_COUNT(often); i++)
        server_breaks(&often[i], 100);
}

Test(tls_hostile, a_chain_of_certificates_without_end)
{
    struct tls_link link = {0};
    struct weir_tls_config *client = client_config(), *server = server_config();

    for (int i = 0; i < 300; i++)
        cr_assert_eq(SSL_CTX_add1_chain_cert(server->ctx, test_ca()->x509), 1);
    link_open(&link, client, server, "localhost");
    cr_assert_not(handshake(&link));
    cr_assert_str_eq(link.client.tls->words, "excessive message size");
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- Records that only who has the keys can make ---- */

struct forged {
    struct tls_link link;
    struct forger forger;
    struct tls_end *good;
};

static void open_forged(struct forged *f, bool as_server)
{
    struct weir_tls_config_options opt = client_options();

    *f = (struct forged){0};
    opt.keylog = forger_learn;
    opt.keylog_arg = &f->forger;
    struct weir_tls_config *client = config_of(&opt), *server = server_config();
    SSL_CTX_set_num_tickets(server->ctx, 0);
    link_open(&f->link, client, server, "localhost");
    expect_handshake(&f->link);
    forger_be(&f->forger, as_server, 0);
    f->good = as_server ? &f->link.client : &f->link.server;
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void inject(struct forged *f, int type, const void *data, size_t len, size_t padding)
{
    static unsigned char record[40000];
    feed(f->good, record, forge(&f->forger, type, data, len, padding, record));
}

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23, HEARTBEAT = 24 };

Test(tls_hostile, what_is_forged_well_is_read)
{
    for (int server = 0; server < 2; server++) {
        struct forged f;
        open_forged(&f, server != 0);
        inject(&f, DATA, "hello", 5, 0);
        cr_assert_eq(taste(f.good), 5);
        inject(&f, DATA, "hello", 5, 1000);
        cr_assert_eq(taste(f.good), 5);
        inject(&f, ALERT, "\x01\x00", 2, 0);
        cr_assert_eq(taste(f.good), WEIR_EOF);
        link_close(&f.link);
    }
}

/* Amid a message of the peer's OpenSSL says no goodbye: that waits for the rest, and nothing is lost. */
Test(tls_hostile, who_shuts_amid_a_ticket)
{
    static const char ticket[] = "\4\0\0\x15\0\0\x1c\x20\1\2\3\4\1\0\0\7abcdefg\0\0";
    struct forged f;

    open_forged(&f, true);
    inject(&f, HANDSHAKE, ticket, 10, 0);
    cr_assert_eq(taste(f.good), WEIR_WANTS_INPUT);
    cr_assert_eq(wr_tls_verbs.shut(f.good->tls, &f.good->wire), WEIR_WANTS_INPUT);
    cr_assert_eq(taste(f.good), WEIR_WANTS_INPUT, "%s", f.good->tls->words);
    inject(&f, HANDSHAKE, ticket + 10, sizeof ticket - 1 - 10, 0);
    inject(&f, DATA, "hello", 5, 0);
    cr_assert_eq(taste(f.good), 5, "%s", f.good->tls->words);
    cr_assert_eq(wr_tls_verbs.shut(f.good->tls, &f.good->wire), 0);
    settle(&f.link);
    cr_assert_eq(taste(&f.link.server), WEIR_EOF);
    link_close(&f.link);
}

struct forgery {
    const char *bytes;
    size_t len;
    int type;
    const char *words;
};

static void breaks(const struct forgery *forgery, bool as_server, int times, size_t padding)
{
    struct forged f;
    int64_t answer = WEIR_WANTS_INPUT;

    open_forged(&f, as_server);
    for (int i = 0; i < times && answer == WEIR_WANTS_INPUT; i++) {
        inject(&f, forgery->type, forgery->bytes, forgery->len, padding);
        answer = taste(f.good);
    }
    cr_assert_eq(answer, WEIR_ETLS, "%s: %s", forgery->words, weir_error_name((int)answer));
    cr_assert_str_eq(f.good->tls->words, forgery->words);
    cr_assert_eq(taste(f.good), WEIR_ETLS);
    link_close(&f.link);
}

Test(tls_hostile, forged_records)
{
    static const struct forgery once[] = {
        {BYTES("\x02\x50"), ALERT, "the peer says: internal error"},
        {BYTES("\x01"), ALERT, "invalid alert"},
        {BYTES("\x01\x00\x00"), ALERT, "invalid alert"},
        {BYTES("\x01"), CCS, "bad record type"},
        {BYTES("\x01"), HEARTBEAT, "bad record type"},
        {BYTES("x"), 99, "bad record type"},
        {BYTES("\x18\x00\x00\x01\x02"), HANDSHAKE, "bad key update"},
        {BYTES("\x18\x00\x00\x02\x00\x00"), HANDSHAKE, "excessive message size"},
        {BYTES("\x18\x00\x00\x00"), HANDSHAKE, "bad key update"},
        {BYTES("\x18\x00\x00\x01\x00\x18\x00\x00\x01\x00"), HANDSHAKE, "not on record boundary"},
        {BYTES("\x14\x00\x00\x20"), HANDSHAKE, "unexpected message"},
        {BYTES("\x00\x00\x00\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\x02\x00\x00\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\xff\x00\x00\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\x18\xff\xff\xff"), HANDSHAKE, "excessive message size"},
        {BYTES(""), HANDSHAKE, "bad length"},
        {BYTES(""), 0, "bad record type"},
    };
    for (size_t i = 0; i < WR_COUNT(once); i++)
        for (int server = 0; server < 2; server++)
            breaks(&once[i], server != 0, 1, 0);
}

Test(tls_hostile, forged_floods)
{
    static const struct forgery often[] = {
        {BYTES(""), DATA, "record too small"},
        {BYTES("\x01\x5a"), ALERT, "too many warn alerts"},
        {BYTES("\x18\x00\x00\x01\x00"), HANDSHAKE, "decryption failed or bad record mac"},
    };
    for (size_t i = 0; i < WR_COUNT(often); i++)
        for (int server = 0; server < 2; server++)
            breaks(&often[i], server != 0, 100, 0);
}

Test(tls_hostile, forged_for_one_end)
{
    static const struct forgery to_client[] = {
        {BYTES("\x04\x00\x00\x01\x00"), HANDSHAKE, "length mismatch"},
        {BYTES("\x01\x00\x00\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\x0d\x00\x00\x03\x00\x00\x00"), HANDSHAKE, "unexpected message"},
    };
    static const struct forgery to_server[] = {
        {BYTES("\x04\x00\x00\x01\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\x01\x00\x00\x00"), HANDSHAKE, "unexpected message"},
        {BYTES("\x0b\x00\x00\x04\x00\x00\x00\x00"), HANDSHAKE, "unexpected message"},
    };
    for (size_t i = 0; i < WR_COUNT(to_client); i++)
        breaks(&to_client[i], true, 1, 0);
    for (size_t i = 0; i < WR_COUNT(to_server); i++)
        breaks(&to_server[i], false, 1, 0);
}

/* ---- Bytes that are changed at random ---- */

static size_t mutate(unsigned char *bytes, size_t len, uint64_t *seed)
{
    size_t at = chance(seed, len), n = chance(seed, len - at) % 200;
    switch (chance(seed, 6)) {
    case 0:
        bytes[at] ^= (unsigned char)(1 << chance(seed, 8));
        return len;
    case 1:
        bytes[at] = (unsigned char)chance(seed, 256);
        return len;
    case 2:
        memmove(bytes + at, bytes + at + n, len - at - n);
        return len - n;
    case 3:
        memmove(bytes + at + n, bytes + at, len - at);
        return len + n;
    case 4:
        for (size_t i = 0; i < n; i++)
            bytes[at + i] = (unsigned char)chance(seed, 256);
        return len;
    default:
        return at;
    }
}

/* What a session's one end says when the bytes for it are changed: never data that were not sent, and an end only if
 * nothing was lost. */
static void replay(const struct tls_record *record, bool to_server, uint64_t seed)
{
    static unsigned char bytes[40000];
    struct tls_link link = {0};
    size_t len = record->len, came = 0;

    memcpy(bytes, record->bytes, len);
    for (uint64_t n = 1 + chance(&seed, 3); n > 0 && len > 0; n--)
        len = mutate(bytes, len, &seed);
    tls_random_from(7);
    open_usual(&link);
    struct tls_end *end = to_server ? &link.server : &link.client;
    int64_t answer = WEIR_WANTS_INPUT;
    for (size_t at = 0; at < len && answer != WEIR_ETLS && answer != WEIR_ECERT && answer != WEIR_EOF;) {
        size_t n = 1 + chance(&seed, len - at);
        feed(end, bytes + at, n);
        at += n;
        if (end->begun != 0)
            answer = end->begun = wr_tls_verbs.start(end->tls, &end->wire);
        while (end->begun == 0 && (answer = taste(end)) > 0)
            came += (size_t)answer;
    }
    cr_assert(answer == WEIR_ETLS || answer == WEIR_ECERT || answer == WEIR_WANTS_INPUT || answer == WEIR_EOF, "%s",
              weir_error_name((int)answer));
    cr_assert_leq(came, 100);
    cr_assert(answer != WEIR_EOF || came == 100);
    link_close(&link);
}

static void record_both(struct tls_record *to_client, struct tls_record *to_server)
{
    struct tls_link link = {.to_client = to_client, .to_server = to_server};

    prepare_usual();
    tls_random_from(7);
    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 100);
    converse(&link, &link.client, 100);
    wr_tls_verbs.shut(link.client.tls, &link.client.wire);
    wr_tls_verbs.shut(link.server.tls, &link.server.wire);
    settle(&link);
    link_close(&link);
}

Test(tls_hostile, changed_sessions)
{
    static struct tls_record to_client, to_server;
    record_both(&to_client, &to_server);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        replay(&to_client, false, seed);
        replay(&to_server, true, seed);
    }
}

/* Random bytes that look like records, to an end that has begun. */
Test(tls_hostile, noise_behind_a_handshake)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        static unsigned char noise[3000];
        struct tls_link link = {0};
        uint64_t state = seed;
        open_usual(&link);
        expect_handshake(&link);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)chance(&state, 256);
        memcpy(noise, "\x17\x03\x03\x02\x00", 5);
        feed(&link.server, noise, 1 + chance(&state, sizeof noise));
        int64_t answer = taste(&link.server);
        cr_assert(answer == WEIR_ETLS || answer == WEIR_WANTS_INPUT);
        link_close(&link);
    }
}
