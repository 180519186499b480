/* Suite tls: the four verbs, with two ends of TLS in memory. */
#include <errno.h>
#include <string.h>

#include "helpers_tls.h"

Test(tls, a_handshake_and_a_dialogue)
{
    struct tls_link link = {0};
    struct weir_tls_facts facts;

    open_usual(&link);
    wr_tls_tell(link.client.tls, &facts);
    cr_assert(!facts.begun && !facts.verified);
    cr_assert_str_eq(facts.protocol, "");
    expect_handshake(&link);
    wr_tls_tell(link.client.tls, &facts);
    cr_assert(facts.begun && facts.verified && !facts.resumed);
    cr_assert_str_eq(facts.protocol, "TLSv1.3");
    cr_assert_str_eq(facts.cipher, "TLS_AES_128_GCM_SHA256");
    cr_assert_str_eq(facts.alpn, "");
    cr_assert_str_eq(facts.sni, "localhost");
    wr_tls_tell(link.server.tls, &facts);
    cr_assert(facts.begun && !facts.verified && !facts.resumed);
    cr_assert_str_eq(facts.sni, "localhost");
    converse(&link, &link.client, 1);
    converse(&link, &link.server, 1 << 20);
    converse(&link, &link.client, 1 << 20);
    link_close(&link);
}

/* OpenSSL is not called, and so takes no buffers, for a server that nobody has spoken to yet. */
Test(tls, a_server_that_hears_nothing_does_nothing)
{
    struct tls_link link = {0};

    open_usual(&link);
    cr_assert_eq(wr_tls_verbs.start(link.server.tls, &link.server.wire), WEIR_WANTS_INPUT);
    cr_assert(SSL_in_before(link.server.tls->ssl));
    expect_handshake(&link);
    converse(&link, &link.client, 1);
    link_close(&link);
}

Test(tls, the_wire_may_be_cut_anywhere)
{
    for (size_t cut = 1; cut <= 300; cut += cut < 20 ? 1 : 37) {
        struct tls_link link = {.cut = cut};
        open_usual(&link);
        expect_handshake(&link);
        converse(&link, &link.client, 5000);
        converse(&link, &link.server, 20000);
        link_close(&link);
    }
}

Test(tls, the_wire_may_have_little_room)
{
    for (size_t room = 1; room <= 20000; room += room < 20 ? 1 : room / 2) {
        struct tls_link link = {.room = room};
        open_usual(&link);
        expect_handshake(&link);
        converse(&link, &link.client, 40000);
        converse(&link, &link.server, 40000);
        link_close(&link);
    }
}

/* ---- Every call of a session is told to wait, now and then ---- */

/* Room and pieces are drawn for each call, none at all more often than not. */
static void draw_room(struct tls_end *end, uint64_t *seed)
{
    end->wire.limit = wr_sendq_len(&end->out) + (chance(seed, 3) ? 0 : chance(seed, 2000));
}

static size_t draw_piece(uint64_t *seed)
{
    return chance(seed, 3) ? 0 : 1 + chance(seed, 3000);
}

struct flow {
    struct tls_end *from, *to;
    size_t sent, came, offered;
};

/* One step: what was offered and not taken is offered again, the same bytes at the same address. */
static void flow_step(struct flow *f, const unsigned char *data, unsigned char *got, size_t len, uint64_t *seed)
{
    if (f->sent < len && f->from->begun == 0) {
        if (f->offered == 0)
            f->offered = 1 + chance(seed, len - f->sent);
        draw_room(f->from, seed);
        int64_t n = wr_tls_verbs.emit(f->from->tls, &f->from->wire, data + f->sent, f->offered);
        cr_assert(n > 0 || n == WEIR_WANTS_ROOM || n == WEIR_WANTS_INPUT, "%s", f->from->tls->words);
        cr_assert_leq(n, (int64_t)f->offered);
        if (n > 0) {
            f->sent += (size_t)n;
            f->offered = 0;
        }
    }
    if (f->came < len && f->to->begun == 0) {
        draw_room(f->to, seed);
        int64_t n = wr_tls_verbs.ingest(f->to->tls, &f->to->wire, got + f->came, 1 + chance(seed, len - f->came));
        cr_assert(n > 0 || n == WEIR_WANTS_INPUT || n == WEIR_WANTS_ROOM, "%s", f->to->tls->words);
        f->came += n > 0 ? (size_t)n : 0;
    }
}

static void start_step(struct tls_end *end, uint64_t *seed)
{
    draw_room(end, seed);
    if (end->begun != 0)
        end->begun = wr_tls_verbs.start(end->tls, &end->wire);
    cr_assert(end->begun == 0 || end->begun == WEIR_WANTS_INPUT || end->begun == WEIR_WANTS_ROOM, "%s",
              end->tls->words);
}

enum { FLOW = 60000 };

static void run_flow(uint64_t seed)
{
    static unsigned char data[FLOW], got[2][FLOW];
    struct tls_link link = {0};
    struct flow up, down;

    open_usual(&link);
    up = (struct flow){.from = &link.client, .to = &link.server};
    down = (struct flow){.from = &link.server, .to = &link.client};
    for (size_t i = 0; i < FLOW; i++)
        data[i] = (unsigned char)chance(&seed, 256);
    for (int turn = 0; up.came < FLOW || down.came < FLOW; turn++) {
        cr_assert_lt(turn, 1000000, "stuck");
        start_step(&link.client, &seed);
        start_step(&link.server, &seed);
        flow_step(&up, data, got[0], FLOW, &seed);
        flow_step(&down, data, got[1], FLOW, &seed);
        carry(&link, &link.client, draw_piece(&seed));
        carry(&link, &link.server, draw_piece(&seed));
        /* New keys in the middle of it, from either end. */
        if (link.client.begun == 0 && link.server.begun == 0 && chance(&seed, 50) == 0)
            SSL_key_update(chance(&seed, 2) ? link.client.tls->ssl : link.server.tls->ssl, SSL_KEY_UPDATE_REQUESTED);
    }
    cr_assert_eq(memcmp(data, got[0], FLOW), 0);
    cr_assert_eq(memcmp(data, got[1], FLOW), 0);
    link_close(&link);
}

Test(tls, each_call_may_have_to_wait_any_number_of_times)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_flow(seed);
}

/* A record of the server's has found no room for all of it when the client asks for new keys, once and again: what it
 * answers goes behind that record. */
static void ask_for_keys_amid_a_record(int times)
{
    static char data[5000];
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 10);
    link.server.wire.limit = wr_sendq_len(&link.server.out) + 100;
    cr_assert_eq(wr_tls_verbs.emit(link.server.tls, &link.server.wire, data, sizeof data), WEIR_WANTS_ROOM);
    for (int i = 0; i < times; i++) {
        SSL_key_update(link.client.tls->ssl, SSL_KEY_UPDATE_REQUESTED);
        cr_assert_eq(wr_tls_verbs.emit(link.client.tls, &link.client.wire, "x", 1), 1);
    }
    carry(&link, &link.client, SIZE_MAX);
    for (int i = 0; i < times; i++)
        cr_assert_eq(taste(&link.server), 1, "%s", link.server.tls->words);
    link.server.wire.limit = 1 << 20;
    cr_assert_eq(wr_tls_verbs.emit(link.server.tls, &link.server.wire, data, sizeof data), sizeof data);
    settle(&link);
    for (size_t came = 0; came < sizeof data;) {
        int64_t n = taste(&link.client);
        cr_assert_gt(n, 0, "%s", link.client.tls->words);
        came += (size_t)n;
    }
    converse(&link, &link.server, 40000);
    converse(&link, &link.client, 40000);
    link_close(&link);
}

Test(tls, new_keys_are_asked_for_amid_a_record)
{
    for (int times = 1; times <= 4; times++)
        ask_for_keys_amid_a_record(times);
}

/* Who only takes what he is sent may ask for new keys now and then, for as long as that lasts. */
Test(tls, a_listener_asks_for_keys_now_and_then)
{
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    for (int i = 0; i < 1000; i++) {
        converse(&link, &link.server, 100);
        SSL_key_update(link.client.tls->ssl, SSL_KEY_UPDATE_REQUESTED);
        cr_assert_eq(taste(&link.client), WEIR_WANTS_INPUT);
        settle(&link);
        cr_assert_eq(taste(&link.server), WEIR_WANTS_INPUT, "%d: %s", i, link.server.tls->words);
    }
    link_close(&link);
}

/* Who asks for new keys again and again, and takes nothing of what is answered, is not listened to for ever. */
Test(tls, answers_that_nobody_takes_are_few)
{
    struct tls_link link = {0};
    int64_t answer = 1;
    int times = 0;

    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 10);
    link.server.wire.limit = 0;
    for (; answer == 1; times++) {
        cr_assert_lt(times, 5000, "%zu bytes wait", (size_t)link.server.tls->spilled);
        SSL_key_update(link.client.tls->ssl, SSL_KEY_UPDATE_REQUESTED);
        cr_assert_eq(wr_tls_verbs.emit(link.client.tls, &link.client.wire, "x", 1), 1);
        carry(&link, &link.client, SIZE_MAX);
        answer = taste(&link.server);
    }
    cr_assert_eq(answer, WEIR_WANTS_ROOM);
    cr_assert_gt(times, 100);
    link.server.wire.limit = 1 << 20;
    cr_assert_eq(taste(&link.server), 1);
    cr_assert_eq(link.server.tls->spilled, 0);
    link_close(&link);
}

Test(tls, a_retry_with_other_bytes_is_found_out)
{
    static char data[2][5000];
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    link.client.wire.limit = wr_sendq_len(&link.client.out) + 1;
    cr_assert_eq(wr_tls_verbs.emit(link.client.tls, &link.client.wire, data[0], 5000), WEIR_WANTS_ROOM);
    link.client.wire.limit = 1 << 20;
    cr_assert_eq(wr_tls_verbs.emit(link.client.tls, &link.client.wire, data[1], 5000), WEIR_ETLS);
    cr_assert_str_eq(link.client.tls->words, "bad write retry");
    link_close(&link);
}

/* ---- Ends ---- */

static int shut(struct tls_end *end)
{
    return wr_tls_verbs.shut(end->tls, &end->wire);
}

Test(tls, each_side_ends_for_itself)
{
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.client, 10);
    cr_assert_eq(shut(&link.client), 0);
    settle(&link);
    cr_assert_eq(taste(&link.server), WEIR_EOF);
    cr_assert_eq(taste(&link.server), WEIR_EOF, "and it stays so");
    converse(&link, &link.server, 100000);
    cr_assert_eq(taste(&link.client), WEIR_WANTS_INPUT);
    cr_assert_eq(shut(&link.server), 0);
    settle(&link);
    cr_assert_eq(taste(&link.client), WEIR_EOF);
    link_close(&link);
}

/* Who has ended is heard, though he does not take what is sent. */
Test(tls, a_record_that_waits_does_not_keep_the_end_from_being_told)
{
    static char data[5000];
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 10);
    link.server.wire.limit = wr_sendq_len(&link.server.out) + 100;
    cr_assert_eq(wr_tls_verbs.emit(link.server.tls, &link.server.wire, data, sizeof data), WEIR_WANTS_ROOM);
    cr_assert_eq(shut(&link.client), 0);
    carry(&link, &link.client, SIZE_MAX);
    cr_assert_eq(taste(&link.server), WEIR_EOF);
    link_close(&link);
}

Test(tls, the_last_word_waits_for_room)
{
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    for (struct tls_end *end = &link.client; end; end = end == &link.client ? &link.server : NULL) {
        int answer;
        end->wire.limit = wr_sendq_len(&end->out);
        cr_assert_eq(shut(end), WEIR_WANTS_ROOM);
        do {
            end->wire.limit = wr_sendq_len(&end->out) + 1;
            answer = shut(end);
            carry(&link, end, 1);
        } while (answer == WEIR_WANTS_ROOM);
        cr_assert_eq(answer, 0);
        settle(&link);
    }
    cr_assert_eq(taste(&link.server), WEIR_EOF);
    cr_assert_eq(taste(&link.client), WEIR_EOF);
    link_close(&link);
}

Test(tls, the_last_word_follows_what_is_not_said_yet)
{
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 10);
    SSL_key_update(link.server.tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    cr_assert_eq(shut(&link.server), 0);
    settle(&link);
    cr_assert_eq(taste(&link.client), WEIR_EOF);
    converse(&link, &link.client, 10);
    link_close(&link);
}

Test(tls, there_is_nothing_to_shut_before_it_has_begun)
{
    struct tls_link link = {0};

    open_usual(&link);
    cr_assert_eq(shut(&link.client), 0);
    cr_assert_eq(wr_sendq_len(&link.client.out), 0);
    cr_assert_eq(wr_tls_verbs.start(link.client.tls, &link.client.wire), WEIR_WANTS_INPUT);
    settle(&link);
    cr_assert_eq(shut(&link.client), 0);
    cr_assert_eq(wr_sendq_len(&link.client.out), 0);
    link_close(&link);
}

/* ---- Cut off ---- */

/* What a client says in the end of the first n bytes of what a server has sent. With the same random numbers the
 * server's bytes fit to the client's again. */
static int64_t last_answer(const struct tls_record *record, size_t n, size_t *ret_came)
{
    struct tls_link link = {0};
    int64_t answer;

    tls_random_from(7);
    open_usual(&link);
    wr_tls_verbs.start(link.client.tls, &link.client.wire);
    if (n > 0)
        feed(&link.client, record->bytes, n);
    answer = wr_tls_verbs.start(link.client.tls, &link.client.wire);
    *ret_came = 0;
    while (answer >= 0) {
        answer = taste(&link.client);
        *ret_came += answer > 0 ? (size_t)answer : 0;
    }
    link_close(&link);
    return answer;
}

static void record_session(struct tls_record *record)
{
    struct tls_link link = {.to_client = record};

    prepare_usual();
    tls_random_from(7);
    open_usual(&link);
    expect_handshake(&link);
    converse(&link, &link.server, 100);
    cr_assert_eq(shut(&link.server), 0);
    settle(&link);
    link_close(&link);
}

Test(tls, a_session_that_is_cut_off_never_ends_well)
{
    static struct tls_record record;
    size_t came;

    record_session(&record);
    for (size_t n = 0; n < record.len; n++) {
        cr_assert_eq(last_answer(&record, n, &came), WEIR_WANTS_INPUT, "after %zu of %zu bytes", n, record.len);
        cr_assert(came == 0 || came == 100);
    }
    cr_assert_eq(last_answer(&record, record.len, &came), WEIR_EOF);
    cr_assert_eq(came, 100);
}

Test(tls, a_changed_byte_is_found_wherever_it_is)
{
    static struct tls_record record;
    size_t came, quiet = 0;

    record_session(&record);
    for (size_t n = 0; n < record.len; n++) {
        record.bytes[n] ^= 0x40;
        int64_t answer = last_answer(&record, record.len, &came);
        record.bytes[n] ^= 0x40;
        /* A length that has become longer waits for the rest. */
        cr_assert(answer == WEIR_ETLS || answer == WEIR_WANTS_INPUT || answer == WEIR_ECERT ||
                  (answer == WEIR_EOF && ++quiet), "byte %zu: %s", n, weir_error_name((int)answer));
    }
    cr_assert_leq(quiet, 3, "the versions in some headers are nobody's, %zu", quiet);
}

/* ---- Failing ---- */

static void expect_alert(struct tls_end *end, const char *words)
{
    int64_t answer = end->begun == 0 ? taste(end) : wr_tls_verbs.start(end->tls, &end->wire);
    cr_assert_eq(answer, WEIR_ETLS, "%s", weir_error_name((int)answer));
    cr_assert_str_eq(end->tls->words, words);
}

/* The alert is on the wire when the error is told, however little room there is. */
Test(tls, who_fails_says_why)
{
    for (size_t room = 1; room <= 1000; room += 333) {
        struct tls_link link = {.room = room};
        struct weir_tls_config *client = config_of(NULL), *server = server_config();

        link_open(&link, client, server, "localhost");
        cr_assert_not(handshake(&link));
        cr_assert_eq(link.client.begun, WEIR_ECERT);
        cr_assert_eq(link.client.tls->spilled, 0);
        cr_assert_not_null(strstr(link.client.tls->words, "unable to get local issuer"), "%s", link.client.tls->words);
        cr_assert_eq(taste(&link.client), WEIR_ECERT, "it stays broken");
        cr_assert_eq(wr_tls_verbs.emit(link.client.tls, &link.client.wire, "x", 1), WEIR_ECERT);
        cr_assert_eq(shut(&link.client), 0);
        settle(&link);
        expect_alert(&link.server, "the peer says: unknown CA");
        link_close(&link);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

Test(tls, an_alert_that_finds_no_room_is_kept)
{
    struct tls_link link = {0};

    open_usual(&link);
    expect_handshake(&link);
    settle(&link);
    feed(&link.server, "\x17\x03\x03\x00\x20 this is none of yours, I am afraid", 37);
    link.server.wire.limit = 0;
    cr_assert_eq(taste(&link.server), WEIR_WANTS_ROOM);
    cr_assert_gt(link.server.tls->spilled, 0);
    cr_assert_eq(taste(&link.server), WEIR_WANTS_ROOM);
    link.server.wire.limit = 10;
    cr_assert_eq(taste(&link.server), WEIR_WANTS_ROOM);
    settle(&link);
    int64_t answer;
    while ((answer = taste(&link.server)) == WEIR_WANTS_ROOM)
        settle(&link);
    cr_assert_eq(answer, WEIR_ETLS);
    settle(&link);
    taste(&link.client);
    expect_alert(&link.client, "the peer says: bad record mac");
    link_close(&link);
}

Test(tls, an_end_before_the_beginning_is_none)
{
    struct tls_link link = {0};

    open_usual(&link);
    cr_assert_eq(wr_tls_verbs.start(link.client.tls, &link.client.wire), WEIR_WANTS_INPUT);
    feed(&link.client, "\x15\x03\x03\x00\x02\x01\x00", 7);
    expect_alert(&link.client, "the peer ended the handshake");
    cr_assert_eq(shut(&link.client), 0);
    link_close(&link);
}

Test(tls, errors_of_others_are_not_ours)
{
    struct tls_link bad = {0}, good = {0};

    open_usual(&bad);
    open_usual(&good);
    expect_handshake(&bad);
    expect_handshake(&good);
    for (int i = 0; i < 2; i++) {
        ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
        cr_assert_eq(taste(&good.client), WEIR_WANTS_INPUT);
        ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE);
        converse(&good, &good.server, 10);
        feed(&bad.client, "\x17\x03\x03\x00\x20 this is none of yours, I am afraid", 37);
        cr_assert_eq(taste(&bad.client), WEIR_ETLS);
        cr_assert_eq(ERR_peek_error(), 0, "and ours are not others'");
        converse(&good, &good.client, 10);
    }
    link_close(&bad);
    link_close(&good);
}

Test(tls, plain_text_is_told_as_such)
{
    struct tls_link link = {0};

    open_usual(&link);
    feed(&link.server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    cr_assert_eq(wr_tls_verbs.start(link.server.tls, &link.server.wire), WEIR_ETLS);
    cr_assert_str_eq(link.server.tls->words, "http request");
    link_close(&link);
}
