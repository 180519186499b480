/* Suite tls_config: options, files, names, protocols, and changes while streams live. */
#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "helpers_tls.h"

/* ---- Options ---- */

static void refused(const struct weir_tls_config_options *opt, int code, const char *words)
{
    struct weir_tls_config *config = NULL;
    cr_assert_eq(weir_tls_config_open(opt, &config), code);
    cr_assert_null(config);
    cr_assert_not_null(strstr(weir_tls_config_refusal(), words), "%s", weir_tls_config_refusal());
    cr_assert_eq(ERR_peek_error(), 0);
}

static const char *letters(size_t n)
{
    static char text[65002];
    memset(text, 'a', n);
    text[n] = '\0';
    return text;
}

#define REFUSED(base, code, words, change)                      \
    do {                                                        \
        struct weir_tls_config_options opt = base##_options();  \
        change;                                                 \
        refused(&opt, code, words);                             \
    } while (0)

Test(tls_config, options_that_cannot_be)
{
    REFUSED(server, -EINVAL, "a server needs a certificate", opt.cert_pem = NULL);
    REFUSED(server, -EINVAL, "need roots", opt.client_cert = WEIR_TLS_CLIENT_CERT_OPTIONAL);
    REFUSED(server, -EINVAL, "client_cert", opt.client_cert = 3);
    REFUSED(server, -EINVAL, "min_version", opt.min_version = TLS1_1_VERSION);
    REFUSED(server, -EINVAL, "DANGEROUS", opt.DANGEROUS_any_certificate = 1);
    REFUSED(server, -EINVAL, "DANGEROUS", opt.DANGEROUS_any_name = 1);
    REFUSED(server, -EINVAL, "the same thing", opt.cert_file = "x");
    REFUSED(server, -EINVAL, "alpn", opt.alpn = "");
    REFUSED(server, -EINVAL, "alpn", opt.alpn = "h2,");
    REFUSED(server, -EINVAL, "alpn", opt.alpn = ",h2");
    REFUSED(server, -EINVAL, "alpn", opt.alpn = letters(256));
    REFUSED(server, -EINVAL, "alpn", opt.alpn = letters(65001));
    REFUSED(client, -EINVAL, "only servers", opt.client_cert = WEIR_TLS_CLIENT_CERT_REQUIRED);
    REFUSED(client, -EINVAL, "without a certificate", opt.key_pem = "x");
    REFUSED(client, -EINVAL, "options", opt.size = 4);
}

Test(tls_config, what_cannot_be_read)
{
    REFUSED(client, -ENOENT, "cannot open /none: No such file", (opt.ca_pem = NULL, opt.ca_file = "/none"));
    REFUSED(client, -ENOENT, "cannot open /none: No such file", opt.crl_file = "/none");
    REFUSED(server, -ENOENT, "cannot open /none: No such file", (opt.key_pem = NULL, opt.key_file = "/none"));
}

Test(tls_config, what_is_wrong_in_texts)
{
    const char *cert = cert_pem(test_server()), *key = cert_key_pem(test_server());

    REFUSED(client, -EINVAL, "no certificate in (text)", opt.ca_pem = "");
    REFUSED(client, -EINVAL, "no certificate in (text)", opt.ca_pem = key);
    REFUSED(client, -EINVAL, "a certificate in (text)", opt.ca_pem = joined(cert, "-----BEGIN CERTIFICATE-----\nx"));
    REFUSED(client, -EINVAL, "revoked", opt.crl_pem = cert);
    REFUSED(server, -EINVAL, "the key in (text)", opt.key_pem = NULL);
    REFUSED(server, -EINVAL, "the key in (text)", opt.key_pem = "");
    REFUSED(server, -EINVAL, "values mismatch", opt.key_pem = cert_key_pem(test_client()));
}

static const char *locked_key(const struct cert *cert)
{
    static char text[2000];
    char password[] = "secret";
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, cert->key, EVP_aes_128_cbc(), password, 6, NULL, NULL);
    int len = BIO_read(bio, text, sizeof text - 1);
    BIO_free(bio);
    cr_assert_gt(len, 0);
    return text;
}

/* OpenSSL would ask for it on the terminal. */
Test(tls_config, nobody_is_asked_for_a_password)
{
    REFUSED(server, -EINVAL, "the key in (text)", opt.key_pem = locked_key(test_server()));
}

Test(tls_config, what_is_too_weak_is_not_shown)
{
    struct cert weak = cert_new(&(struct cert_spec){.cn = "x", .rsa_bits = 1024, .issuer = test_ca()});
    REFUSED(server, -EINVAL, "too small", (opt.cert_pem = cert_pem(&weak), opt.key_pem = cert_key_pem(&weak)));
    cert_free(&weak);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

Test(tls_config, certificates_and_keys_stand_in_files)
{
    char dir[] = "/tmp/weir_tls.XXXXXX", both[60], ca[60];
    struct weir_tls_config_options sopt = {.size = sizeof sopt, .server = 1, .cert_file = both};
    struct weir_tls_config_options copt = {.size = sizeof copt, .ca_file = ca};
    struct tls_link link = {0};

    cr_assert_not_null(mkdtemp(dir));
    snprintf(both, sizeof both, "%s/both.pem", dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    write_file(both, joined(cert_key_pem(test_server()), cert_pem(test_server())));
    write_file(ca, joined("Some words.\n", cert_pem(test_ca())));
    struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
    unlink(both);
    unlink(ca);
    rmdir(dir);
    link_open(&link, client, server, "127.0.0.1");
    cr_assert(handshake(&link), "%s", link.client.tls->words);
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static int start_with(struct weir_tls_config *config, const char *host)
{
    struct wr_tls *tls = NULL;
    int rc = wr_tls_new(config, host, &tls);
    if (rc == 0)
        wr_tls_free(tls);
    else
        cr_assert_null(tls);
    return rc;
}

Test(tls_config, a_client_must_say_whom_it_wants)
{
    static char long_name[300];
    struct weir_tls_config *client = client_config(), *server = server_config();

    memset(long_name, 'a', sizeof long_name - 1);
    cr_assert_eq(start_with(client, NULL), -EINVAL);
    cr_assert_eq(start_with(client, ""), -EINVAL);
    cr_assert_eq(start_with(client, long_name), -EINVAL);
    cr_assert_eq(start_with(client, "."), -EINVAL);
    cr_assert_eq(start_with(client, ".example.org"), -EINVAL, "to OpenSSL that is anybody there");
    cr_assert_eq(start_with(client, "b\xc3\xbc" "cher.example"), -EINVAL);
    cr_assert_eq(start_with(client, "example.org\n"), -EINVAL);
    cr_assert_eq(start_with(client, "example.org"), 0);
    cr_assert_eq(start_with(server, "example.org"), -EINVAL);
    cr_assert_eq(start_with(server, NULL), 0);
    cr_assert_eq(weir_tls_start(NULL, client, "example.org"), -EINVAL);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    weir_tls_config_close(NULL);
}

/* ---- Names ---- */

static struct weir_tls_config *named_config(const char *san)
{
    struct weir_tls_config_options opt = server_options();
    struct cert cert = cert_new(&(struct cert_spec){.cn = "x", .san = san, .issuer = test_ca()});
    opt.cert_pem = cert_pem(&cert);
    opt.key_pem = cert_key_pem(&cert);
    cert_free(&cert);
    return config_of(&opt);
}

static bool is_served(struct weir_tls_config *client, struct weir_tls_config *server, const char *host)
{
    struct tls_link link = {0};
    link_open(&link, client, server, host);
    bool ok = handshake(&link);
    link_close(&link);
    return ok;
}

Test(tls_config, each_name_has_its_certificate)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    struct weir_tls_config *any = named_config("DNS:*.w.example,DNS:x.y.w.example");
    struct weir_tls_config *one = named_config("DNS:one.w.example"), *other = named_config("DNS:one.w.example");

    cr_assert_not(is_served(client, server, "one.w.example"));
    cr_assert_eq(weir_tls_config_name(server, "One.W.Example", one), 0);
    cr_assert_eq(weir_tls_config_name(server, "*.w.example", any), 0);
    weir_tls_config_close(one);
    weir_tls_config_close(any);
    cr_assert(is_served(client, server, "one.w.example"));
    cr_assert(is_served(client, server, "ONE.w.example"));
    cr_assert(is_served(client, server, "two.w.example"));
    cr_assert_not(is_served(client, server, "x.y.w.example"), "that is two labels");
    cr_assert(is_served(client, server, "localhost"));
    cr_assert(is_served(client, server, "127.0.0.1"), "addresses are not told");
    cr_assert_eq(weir_tls_config_name(server, "one.w.example", other), 0);
    cr_assert(is_served(client, server, "one.w.example"));
    cr_assert_eq(weir_tls_config_name(server, "one.w.example", NULL), 0);
    cr_assert(is_served(client, server, "one.w.example"), "any will do again");
    cr_assert_eq(weir_tls_config_name(server, "never.w.example", NULL), 0);

    cr_assert_eq(weir_tls_config_name(server, "", other), -EINVAL);
    cr_assert_eq(weir_tls_config_name(server, "a b", other), -EINVAL);
    cr_assert_eq(weir_tls_config_name(server, "a", client), -EINVAL);
    cr_assert_eq(weir_tls_config_name(client, "a", other), -EINVAL);
    cr_assert_eq(weir_tls_config_name(server, "a", server), -EINVAL);
    weir_tls_config_close(other);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* What is asked of clients goes with the name; and what was resumed under one name is not under another. */
Test(tls_config, a_name_brings_its_own_rules)
{
    struct weir_tls_config_options opt = server_options();
    struct weir_tls_config *client = client_config(), *server = server_config();

    opt.client_cert = WEIR_TLS_CLIENT_CERT_REQUIRED;
    opt.ca_pem = cert_pem(test_ca());
    opt.min_version = WEIR_TLS_1_3;
    struct weir_tls_config *strict = config_of(&opt);
    cr_assert_eq(weir_tls_config_name(server, "localhost", strict), 0);
    cr_assert(is_served(client, server, "127.0.0.1"));
    cr_assert_not(is_served(client, server, "localhost"));
    opt = client_options();
    opt.cert_pem = cert_pem(test_client());
    opt.key_pem = cert_key_pem(test_client());
    cr_assert_eq(weir_tls_config_reload(client, &opt), 0);
    cr_assert(is_served(client, server, "localhost"));
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    weir_tls_config_reload(strict, NULL);
    cr_assert(is_served(client, server, "127.0.0.1"));
    cr_assert_not(is_served(client, server, "localhost"));
    weir_tls_config_close(strict);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

Test(tls_config, a_thousand_names)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    struct weir_tls_config *one = named_config("DNS:n501.example");
    char name[30];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%d.example", i * 7919 % 1000);
        cr_assert_eq(weir_tls_config_name(server, name, one), 0);
    }
    weir_tls_config_close(one);
    cr_assert_eq(server->name_count, 1000);
    cr_assert(is_served(client, server, "n501.example"));
    for (int i = 0; i < 1000; i += 2) {
        snprintf(name, sizeof name, "n%d.example", i);
        cr_assert_eq(weir_tls_config_name(server, name, NULL), 0);
    }
    cr_assert_eq(server->name_count, 500);
    cr_assert(is_served(client, server, "n501.example"));
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- Protocols ---- */

/* What both ends say was agreed on; "refused" if they do not agree. */
static const char *agreed(const char *offered, const char *served, int version)
{
    static char text[300];
    struct weir_tls_config_options copt = client_options(), sopt = server_options();
    struct tls_link link = {0};
    struct weir_tls_facts facts[2];

    copt.alpn = offered;
    sopt.alpn = served;
    struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
    SSL_CTX_set_max_proto_version(client->ctx, version);
    link_open(&link, client, server, "localhost");
    bool ok = handshake(&link);
    wr_tls_tell(link.client.tls, &facts[0]);
    wr_tls_tell(link.server.tls, &facts[1]);
    cr_assert_str_eq(facts[0].alpn, facts[1].alpn);
    strcpy(text, ok ? facts[0].alpn : "refused");
    if (!ok)
        cr_assert_str_eq(link.client.tls->words, "the peer says: no application protocol");
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    return text;
}

Test(tls_config, protocols_are_agreed_on)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        cr_assert_str_eq(agreed("h2,http/1.1", "h2,http/1.1", version), "h2");
        cr_assert_str_eq(agreed("http/1.1,h2", "h2,http/1.1", version), "h2", "the server's order counts");
        cr_assert_str_eq(agreed("http/1.1", "h2,http/1.1", version), "http/1.1");
        cr_assert_str_eq(agreed("a,b,c", "x,c", version), "c");
        cr_assert_str_eq(agreed(NULL, "h2", version), "");
        cr_assert_str_eq(agreed("h2", NULL, version), "");
        cr_assert_str_eq(agreed("h", "h2", version), "refused");
        cr_assert_str_eq(agreed("h2,x", "h", version), "refused");
    }
}

static int choose_wrong(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len,
                        const unsigned char *offered, unsigned len, void *arg)
{
    (void)ssl, (void)offered, (void)len;
    *ret_chosen = arg;
    *ret_len = 2;
    return SSL_TLSEXT_ERR_OK;
}

Test(tls_config, a_protocol_that_was_not_offered_is_refused)
{
    static char wrong[] = "h3";
    struct weir_tls_config_options copt = client_options(), sopt = server_options();
    struct tls_link link = {0};

    copt.alpn = sopt.alpn = "h2";
    struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
    SSL_CTX_set_alpn_select_cb(server->ctx, choose_wrong, wrong);
    link_open(&link, client, server, "localhost");
    handshake(&link);
    cr_assert_eq(link.client.begun, WEIR_ETLS);
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- Changes while streams live ---- */

Test(tls_config, a_reload_touches_nobody_who_has_begun)
{
    struct weir_tls_config_options opt = server_options();
    struct cert next = cert_new(&(struct cert_spec){.cn = "next", .san = "DNS:next.example", .issuer = test_ca()});
    struct weir_tls_config *client = client_config(), *server = server_config();
    struct tls_link old = {0}, half = {0}, new = {0};

    link_open(&old, client, server, "localhost");
    cr_assert(handshake(&old));
    link_open(&half, client, server, "localhost");
    wr_tls_verbs.start(half.client.tls, &half.client.wire);
    carry(&half, &half.client, 100);
    wr_tls_verbs.start(half.server.tls, &half.server.wire);

    opt.cert_pem = cert_pem(&next);
    cr_assert_eq(weir_tls_config_reload(server, &opt), -EINVAL, "the key does not fit");
    cr_assert(is_served(client, server, "localhost"));
    opt.key_pem = cert_key_pem(&next);
    cr_assert_eq(weir_tls_config_reload(server, &opt), 0);
    cr_assert_eq(weir_tls_config_reload(server, NULL), -EINVAL, "a server stays one");
    converse(&old, &old.client, 1000);
    converse(&old, &old.server, 1000);
    cr_assert(handshake(&half), "%s", half.client.tls->words);
    link_open(&new, client, server, "next.example");
    cr_assert(handshake(&new), "%s", new.client.tls->words);
    weir_tls_config_close(server);
    weir_tls_config_close(client);
    converse(&old, &old.client, 1000);
    link_close(&old);
    link_close(&half);
    link_close(&new);
    cert_free(&next);
}

/* ---- Secrets ---- */

Test(tls_config, both_ends_export_the_same)
{
    struct weir_tls_config *client = client_config(), *server = server_config();
    unsigned char key[4][32];

    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_link link = {0};
        SSL_CTX_set_max_proto_version(client->ctx, version);
        link_open(&link, client, server, "localhost");
        cr_assert_eq(wr_tls_export(link.client.tls, "EXPORTER-weir", NULL, 0, key[0], 32), -ENOTCONN);
        cr_assert(handshake(&link));
        cr_assert_eq(wr_tls_export(link.client.tls, "EXPORTER-weir", NULL, 0, key[0], 32), 0);
        cr_assert_eq(wr_tls_export(link.server.tls, "EXPORTER-weir", NULL, 0, key[1], 32), 0);
        cr_assert_eq(memcmp(key[0], key[1], 32), 0);
        cr_assert_eq(wr_tls_export(link.client.tls, "EXPORTER-weir", "x", 1, key[2], 32), 0);
        cr_assert_eq(wr_tls_export(link.server.tls, "EXPORTER-weir", "x", 1, key[3], 32), 0);
        cr_assert_eq(memcmp(key[2], key[3], 32), 0);
        cr_assert_neq(memcmp(key[0], key[2], 32), 0);
        link_close(&link);
    }
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void count_line(const char *line, void *arg)
{
    char *lines = arg;
    strcat(strcat(lines, strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0 ? "*" : "."), "");
}

Test(tls_config, who_asks_gets_the_log_of_keys)
{
    char lines[2][100] = {"", ""};
    struct weir_tls_config_options copt = client_options(), sopt = server_options();
    struct tls_link link = {0};

    copt.keylog = sopt.keylog = count_line;
    copt.keylog_arg = lines[0];
    sopt.keylog_arg = lines[1];
    struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
    link_open(&link, client, server, "localhost");
    cr_assert(handshake(&link));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(strlen(lines[i]), 5, "%s", lines[i]);
        cr_assert_not_null(strchr(lines[i], '*'));
    }
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}
