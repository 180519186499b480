/* Suite tls_session: sessions that go on, and those that must not. */
#include <errno.h>
#include <string.h>

#include "helpers_tls.h"

/* A handshake, and a dialogue by which the tickets come. True if it was resumed, at both ends. */
static bool talk(struct tls_link *link, struct weir_tls_config *client, struct weir_tls_config *server,
                 const char *host)
{
    struct weir_tls_facts facts[2];

    link_open(link, client, server, host);
    cr_assert(handshake(link), "%s, %s", link->client.tls->words, link->server.tls->words);
    converse(link, &link->client, 10);
    converse(link, &link->server, 10);
    wr_tls_tell(link->client.tls, &facts[0]);
    wr_tls_tell(link->server.tls, &facts[1]);
    cr_assert_eq(facts[0].resumed, facts[1].resumed);
    cr_assert(facts[0].verified, "also of what was verified then");
    return facts[0].resumed;
}

static bool resumes(struct weir_tls_config *client, struct weir_tls_config *server, const char *host)
{
    struct tls_link link = {0};
    bool resumed = talk(&link, client, server, host);
    wr_tls_verbs.shut(link.client.tls, &link.client.wire);
    wr_tls_verbs.shut(link.server.tls, &link.server.wire);
    link_close(&link);
    return resumed;
}

#define FOR_BOTH_VERSIONS for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)

static struct weir_tls_config *client_of(int version)
{
    struct weir_tls_config *client = client_config();
    SSL_CTX_set_max_proto_version(client->ctx, version);
    return client;
}

Test(tls_session, a_client_that_comes_again_is_known)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config *client = client_of(version), *server = server_config();
        cr_assert_not(resumes(client, server, "localhost"));
        for (int i = 0; i < 5; i++)
            cr_assert(resumes(client, server, "localhost"), "the %d. time, version %x", i, version);
        cr_assert_not(resumes(client, server, "127.0.0.1"), "another host is another");
        cr_assert(resumes(client, server, "127.0.0.1"));
        cr_assert(resumes(client, server, "LOCALHOST"));
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

Test(tls_session, an_end_without_goodbye_is_not_held_against_it)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config *client = client_of(version), *server = server_config();
        for (int i = 0; i < 4; i++) {
            struct tls_link link = {0};
            cr_assert_eq(talk(&link, client, server, "localhost"), i > 0, "the %d. time, version %x", i, version);
            link_close(&link);
        }
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

/* Found by OpenSSL, or by the layer. */
Test(tls_session, one_that_was_broken_does_not_go_on)
{
    FOR_BOTH_VERSIONS
        for (int found = 0; found < 2; found++) {
            struct weir_tls_config *client = client_of(version), *server = server_config();
            struct tls_link link = {0};
            talk(&link, client, server, "localhost");
            if (found) {
                wr_tls_break(link.client.tls, WEIR_ETLS, "too much");
            } else {
                feed(&link.client, "\x17\x03\x03\x00\x20 32 bytes that nobody has sealed.", 37);
                cr_assert_eq(taste(&link.client), WEIR_ETLS);
            }
            link_close(&link);
            cr_assert_not(resumes(client, server, "localhost"), "found %d, version %x", found, version);
            cr_assert(resumes(client, server, "localhost"));
            weir_tls_config_close(client);
            weir_tls_config_close(server);
        }
}

Test(tls_session, who_does_not_want_it_has_none)
{
    FOR_BOTH_VERSIONS
        for (int end = 0; end < 2; end++) {
            struct weir_tls_config_options copt = client_options(), sopt = server_options();
            *(end ? &copt.no_resumption : &sopt.no_resumption) = 1;
            struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
            SSL_CTX_set_max_proto_version(client->ctx, version);
            for (int i = 0; i < 3; i++)
                cr_assert_not(resumes(client, server, "localhost"));
            cr_assert_null(client->kept);
            weir_tls_config_close(client);
            weir_tls_config_close(server);
        }
}

Test(tls_session, a_name_may_have_none)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config_options opt = server_options();
        struct weir_tls_config *client = client_of(version), *server = server_config();
        opt.no_resumption = 1;
        struct weir_tls_config *other = config_of(&opt);
        cr_assert_eq(weir_tls_config_name(server, "localhost", other), 0);
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert_null(client->kept);
        cr_assert_not(resumes(client, server, "127.0.0.1"));
        cr_assert(resumes(client, server, "127.0.0.1"));
        weir_tls_config_close(client);
        weir_tls_config_close(server);
        weir_tls_config_close(other);
    }
}

/* The keys are the name's own: they change with its, and with nobody else's. */
Test(tls_session, a_name_alone_may_have_them)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config_options opt = server_options();
        struct weir_tls_config *client = client_of(version), *named = config_of(&opt);
        opt.no_resumption = 1;
        struct weir_tls_config *server = config_of(&opt);
        cr_assert_eq(weir_tls_config_name(server, "localhost", named), 0);
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert(resumes(client, server, "localhost"), "version %x", version);
        cr_assert(resumes(client, named, "localhost"), "it is the same server");
        cr_assert_eq(server->key_count, 0);
        cr_assert_eq(weir_tls_config_rotate(named, NULL), 0);
        cr_assert_eq(weir_tls_config_rotate(named, NULL), 0);
        cr_assert_not(resumes(client, server, "localhost"), "version %x", version);
        for (int i = 0; i < 2; i++)
            cr_assert_not(resumes(client, server, "127.0.0.1"));
        weir_tls_config_close(client);
        weir_tls_config_close(server);
        weir_tls_config_close(named);
    }
}

Test(tls_session, keys_change_and_the_last_but_one_is_good)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config *client = client_of(version), *server = server_config();
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert_eq(weir_tls_config_rotate(server, NULL), 0);
        cr_assert(resumes(client, server, "localhost"));
        cr_assert_eq(weir_tls_config_rotate(server, NULL), 0);
        /* OpenSSL's client drops the new ticket that comes with a session of TLS 1.2: that one ends with its key. */
        cr_assert_eq(resumes(client, server, "localhost"), version == TLS1_3_VERSION);
        cr_assert_eq(weir_tls_config_rotate(server, NULL), 0);
        cr_assert_eq(weir_tls_config_rotate(server, NULL), 0);
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert_eq(weir_tls_config_rotate(client, NULL), -EINVAL);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

Test(tls_session, keys_change_by_themselves)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    struct wr_tls_ticket_key first;

    resumes(client, server, "localhost");
    first = server->keys[0];
    cr_assert_eq(server->key_count, 1);
    server->key_since -= 12 * 3600 - 60;
    cr_assert(resumes(client, server, "localhost"));
    cr_assert_eq(server->key_count, 1);
    server->key_since -= 60;
    cr_assert(resumes(client, server, "localhost"));
    cr_assert_eq(server->key_count, 2);
    cr_assert_eq(memcmp(&server->keys[1], &first, sizeof first), 0);
    cr_assert_neq(memcmp(&server->keys[0], &first, sizeof first), 0);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

Test(tls_session, servers_with_the_same_key_know_each_others_clients)
{
    FOR_BOTH_VERSIONS {
        struct weir_tls_config *client = client_of(version), *one = server_config(), *two = server_config();
        unsigned char key[WEIR_TLS_TICKET_KEY_SIZE];
        memset(key, 7, sizeof key);
        cr_assert_not(resumes(client, one, "localhost"));
        cr_assert_not(resumes(client, two, "localhost"), "they have nothing in common yet");
        cr_assert_eq(weir_tls_config_rotate(one, key), 0);
        cr_assert_eq(weir_tls_config_rotate(two, key), 0);
        one->key_since -= 1000000;
        cr_assert_not(resumes(client, one, "localhost"));
        cr_assert(resumes(client, two, "localhost"));
        cr_assert(resumes(client, one, "localhost"));
        cr_assert_eq(memcmp(&one->keys[0], key, sizeof key), 0, "given keys do not change by themselves");
        weir_tls_config_close(client);
        weir_tls_config_close(one);
        weir_tls_config_close(two);
    }
}

/* ---- What must not go on ---- */

Test(tls_session, tickets_outlive_a_reload_unless_trust_has_changed)
{
    struct cert other = cert_new(&(struct cert_spec){.cn = "Another authority", .ca = 1});
    struct weir_tls_config_options copt = client_options(), sopt = server_options();

    copt.cert_pem = cert_pem(test_client());
    copt.key_pem = cert_key_pem(test_client());
    sopt.client_cert = WEIR_TLS_CLIENT_CERT_OPTIONAL;
    sopt.ca_pem = joined(cert_pem(test_ca()), cert_pem(&other));
    FOR_BOTH_VERSIONS {
        struct weir_tls_config_options changed = sopt;
        struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
        SSL_CTX_set_max_proto_version(client->ctx, version);
        cr_assert_not(resumes(client, server, "localhost"));
        cr_assert_eq(weir_tls_config_reload(server, &sopt), 0);
        cr_assert(resumes(client, server, "localhost"));
        changed.ca_pem = cert_pem(test_ca());
        cr_assert_eq(weir_tls_config_reload(server, &changed), 0);
        cr_assert_not(resumes(client, server, "localhost"), "one authority less");
        cr_assert(resumes(client, server, "localhost"));
        changed.crl_pem = crl_pem(test_ca(), NULL);
        cr_assert_eq(weir_tls_config_reload(server, &changed), 0);
        cr_assert_not(resumes(client, server, "localhost"), "another list");
        changed.client_cert = WEIR_TLS_CLIENT_CERT_REQUIRED;
        cr_assert_eq(weir_tls_config_reload(server, &changed), 0);
        cr_assert_not(resumes(client, server, "localhost"), "another rule");
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
    cert_free(&other);
}

/* Keys in common do not make a stranger at one name a friend at another. */
Test(tls_session, a_session_of_one_name_is_none_of_another)
{
    unsigned char key[WEIR_TLS_TICKET_KEY_SIZE] = {1};
    struct weir_tls_config_options strict_options = server_options();

    strict_options.client_cert = WEIR_TLS_CLIENT_CERT_REQUIRED;
    strict_options.ca_pem = cert_pem(test_ca());
    FOR_BOTH_VERSIONS {
        struct weir_tls_config *client = client_of(version), *server = server_config();
        struct weir_tls_config *strict = config_of(&strict_options);
        struct tls_link link = {0};
        weir_tls_config_name(server, "localhost", strict);
        weir_tls_config_rotate(server, key);
        weir_tls_config_rotate(strict, key);
        cr_assert_not(resumes(client, server, "127.0.0.1"));
        cr_assert(resumes(client, server, "127.0.0.1"));
        strcpy(client->kept->host, "localhost");
        link_open(&link, client, server, "localhost");
        cr_assert_not(handshake(&link));
        cr_assert_eq(link.server.begun, WEIR_ECERT);
        link_close(&link);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
        weir_tls_config_close(strict);
    }
}

Test(tls_session, a_reload_forgets_the_hosts)
{
    struct weir_tls_config_options opt = client_options();
    struct weir_tls_config *client = client_config(), *server = server_config();
    struct tls_link link = {0};

    link_open(&link, client, server, "localhost");
    cr_assert(handshake(&link));
    resumes(client, server, "127.0.0.1");
    cr_assert_not_null(client->kept);
    cr_assert_eq(weir_tls_config_reload(client, &opt), 0);
    cr_assert_null(client->kept);
    converse(&link, &link.server, 10);
    cr_assert_null(client->kept, "tickets of who began before are not kept");
    cr_assert_not(resumes(client, server, "127.0.0.1"));
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

Test(tls_session, a_client_keeps_so_many_hosts)
{
    struct weir_tls_config_options opt = client_options();
    int kept = 0;

    opt.DANGEROUS_any_name = 1;
    struct weir_tls_config *client = config_of(&opt), *server = server_config();
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    for (int i = 0; i <= WR_TLS_HOSTS; i++) {
        char host[30];
        snprintf(host, sizeof host, "h%d.example", i);
        cr_assert_not(resumes(client, server, host));
    }
    for (struct wr_tls_kept *k = client->kept; k; k = k->next)
        kept++;
    cr_assert_eq(kept, WR_TLS_HOSTS);
    cr_assert(resumes(client, server, "h1.example"));
    cr_assert_not(resumes(client, server, "h0.example"), "the oldest went");
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}
