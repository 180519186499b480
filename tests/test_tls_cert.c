/* Suite tls_cert: whose certificate is believed, and whose is not, and why. */
#include <string.h>

#include "helpers_tls.h"

/* ---- A client looks at a server's ---- */

struct look {
    const char *host;           /* NULL: example.org */
    const char *chain;          /* what the server shows, in place of the leaf alone */
    const struct cert *ca;      /* whom the client believes; NULL: test_ca() */
    const char *crl;
};

/* words: NULL: it is believed; else a part of the reason for which it is not. */
static void look(struct cert leaf, const struct look *how, const char *words)
{
    struct weir_tls_config_options opt = client_options();
    struct tls_link link = {0};

    if (how->ca)
        opt.ca_pem = cert_pem(how->ca);
    opt.crl_pem = how->crl;
    struct weir_tls_config *client = config_of(&opt);
    struct weir_tls_config *server = bad_server(how->chain ? how->chain : cert_pem(&leaf), &leaf);
    link_open(&link, client, server, how->host ? how->host : "example.org");
    bool ok = handshake(&link);
    cr_assert_eq(ok, words == NULL, "wanted %s: %s", words, link.client.tls->words);
    if (words) {
        cr_assert_eq(link.client.begun, WEIR_ECERT, "%s", weir_error_name(link.client.begun));
        cr_assert_not_null(strstr(link.client.tls->words, words), "%s", link.client.tls->words);
        cr_assert_lt(link.server.begun, 0, "it does not learn that it is not believed");
    } else {
        converse(&link, &link.client, 100);
    }
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    cert_free(&leaf);
}

static struct cert leaf_new(struct cert_spec spec)
{
    spec.issuer = spec.issuer ? spec.issuer : test_ca();
    return cert_new(&spec);
}

static struct cert ca_new(struct cert_spec spec)
{
    spec.cn = spec.cn ? spec.cn : "Another authority";
    spec.ca = 1;
    return cert_new(&spec);
}

#define LEAF(...) leaf_new((struct cert_spec){__VA_ARGS__})
#define CA(...) ca_new((struct cert_spec){__VA_ARGS__})
#define LOOK(...) &(struct look){__VA_ARGS__}

static const char mismatch[] = "hostname mismatch", no_ip[] = "IP address mismatch";

Test(tls_cert, times)
{
    look(LEAF(.san = "DNS:example.org"), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.org", .ends = -3600), LOOK(0), "certificate has expired");
    look(LEAF(.san = "DNS:example.org", .begins = DAY), LOOK(0), "certificate is not yet valid");
    look(LEAF(.san = "DNS:example.org", .begins = 10 * DAY, .ends = 5 * DAY), LOOK(0), "not yet valid");
}

Test(tls_cert, names)
{
    look(LEAF(.san = "DNS:example.org"), LOOK(.host = "EXAMPLE.org"), NULL);
    look(LEAF(.san = "DNS:example.org"), LOOK(.host = "example.org."), NULL);
    look(LEAF(.san = "DNS:a.example,DNS:example.org"), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.com"), LOOK(0), mismatch);
    look(LEAF(.san = "DNS:example.org.example.com"), LOOK(0), mismatch);
    look(LEAF(.san = "DNS:ample.org"), LOOK(0), mismatch);
    look(LEAF(.san = "email:example.org"), LOOK(0), mismatch);
    look(LEAF(.san = "URI:https://example.org"), LOOK(0), mismatch);
    look(LEAF(.cn = "example.org"), LOOK(0), mismatch);
    look(LEAF(.cn = "example.org", .san = "DNS:example.com"), LOOK(0), mismatch);
    look(LEAF(.raw_name = "example.org\0.evil.com", .raw_name_len = 21), LOOK(0), mismatch);
    look(LEAF(.raw_name = "example.org\0", .raw_name_len = 12), LOOK(0), mismatch);
    look(LEAF(.raw_name = "", .raw_name_len = 0), LOOK(0), mismatch);
}

Test(tls_cert, wildcards)
{
    look(LEAF(.san = "DNS:*.example.org"), LOOK(.host = "www.example.org"), NULL);
    look(LEAF(.san = "DNS:*.example.org"), LOOK(0), mismatch);
    look(LEAF(.san = "DNS:*.example.org"), LOOK(.host = "a.b.example.org"), mismatch);
    look(LEAF(.san = "DNS:w*.example.org"), LOOK(.host = "www.example.org"), mismatch);
    look(LEAF(.san = "DNS:*w.example.org"), LOOK(.host = "www.example.org"), mismatch);
    look(LEAF(.san = "DNS:www.*.org"), LOOK(.host = "www.example.org"), mismatch);
    look(LEAF(.san = "DNS:*.*.org"), LOOK(.host = "www.example.org"), mismatch);
    look(LEAF(.san = "DNS:*.org"), LOOK(0), mismatch);
    look(LEAF(.san = "DNS:*"), LOOK(0), mismatch);
    look(LEAF(.san = "DNS:*"), LOOK(.host = "localhost"), mismatch);
}

Test(tls_cert, addresses)
{
    look(LEAF(.san = "IP:192.0.2.1"), LOOK(.host = "192.0.2.1"), NULL);
    look(LEAF(.san = "IP:2001:db8::1"), LOOK(.host = "2001:DB8:0::1"), NULL);
    look(LEAF(.san = "IP:192.0.2.2"), LOOK(.host = "192.0.2.1"), no_ip);
    look(LEAF(.san = "DNS:192.0.2.1"), LOOK(.host = "192.0.2.1"), no_ip);
    look(LEAF(.cn = "192.0.2.1"), LOOK(.host = "192.0.2.1"), no_ip);
    look(LEAF(.san = "DNS:*.0.2.1"), LOOK(.host = "192.0.2.1"), no_ip);
    look(LEAF(.san = "IP:192.0.2.1"), LOOK(0), mismatch);
}

Test(tls_cert, who_vouches)
{
    struct cert self = cert_new(&(struct cert_spec){.cn = "x", .san = "DNS:example.org"});
    struct cert other = CA(0), namesake = CA(.cn = "An authority");

    look(LEAF(.issuer = &other, .san = "DNS:example.org"), LOOK(0), "unable to get local issuer");
    look(LEAF(.issuer = &other, .san = "DNS:example.org"), LOOK(.ca = &other), NULL);
    look(LEAF(.issuer = &namesake, .san = "DNS:example.org"), LOOK(0), "refused");
    X509_up_ref(self.x509);
    EVP_PKEY_up_ref(self.key);
    look(self, LOOK(0), "self-signed certificate");
    look(self, LOOK(.ca = &self), NULL);
    cert_free(&other);
    cert_free(&namesake);
}

Test(tls_cert, chains)
{
    struct cert root = CA(.cn = "root"), old_root = CA(.cn = "old root", .ends = -3600);
    struct cert short_root = CA(.cn = "short root", .constraints = "critical,CA:TRUE,pathlen:0");
    struct cert strict = CA(.cn = "strict", .limits = "permitted;DNS:example.com");
    struct cert middle = CA(.cn = "middle", .issuer = &root), below_short = CA(.cn = "middle", .issuer = &short_root);
    struct cert old = CA(.cn = "old", .issuer = &root, .ends = -3600);
    struct cert no_ca = cert_new(&(struct cert_spec){.cn = "no authority", .issuer = &root});

    struct cert leaf = LEAF(.issuer = &middle, .san = "DNS:example.org");
    look(leaf, LOOK(.ca = &root, .chain = chain_pem(&leaf, &middle, NULL)), NULL);
    look(LEAF(.issuer = &middle, .san = "DNS:example.org"), LOOK(.ca = &root), "unable to get local issuer");
    leaf = LEAF(.issuer = &below_short, .san = "DNS:example.org");
    look(leaf, LOOK(.ca = &short_root, .chain = chain_pem(&leaf, &below_short, NULL)), "path length");
    leaf = LEAF(.issuer = &no_ca, .san = "DNS:example.org");
    look(leaf, LOOK(.ca = &root, .chain = chain_pem(&leaf, &no_ca, NULL)), "invalid CA certificate");
    leaf = LEAF(.issuer = &old, .san = "DNS:example.org");
    look(leaf, LOOK(.ca = &root, .chain = chain_pem(&leaf, &old, NULL)), "has expired");
    look(LEAF(.issuer = &old_root, .san = "DNS:example.org"), LOOK(.ca = &old_root), "has expired");
    look(LEAF(.issuer = &strict, .san = "DNS:example.org"), LOOK(.ca = &strict), "permitted subtree violation");
    look(LEAF(.issuer = &strict, .san = "DNS:example.com"), LOOK(.ca = &strict, .host = "example.com"), NULL);
    struct cert *all[] = {&root, &short_root, &old_root, &strict, &middle, &below_short, &old, &no_ca};
    for (size_t i = 0; i < WR_COUNT(all); i++)
        cert_free(all[i]);
}

Test(tls_cert, a_chain_may_be_long_and_not_too_long)
{
    enum { LINKS = 12 };
    struct cert links[LINKS];
    const char *above = "";

    links[0] = CA(.cn = "link 0");
    for (int i = 1; i < LINKS; i++) {
        char name[20];
        snprintf(name, sizeof name, "link %d", i);
        links[i] = CA(.cn = name, .issuer = &links[i - 1]);
        above = joined(cert_pem(&links[i]), above);
        struct cert leaf = LEAF(.issuer = &links[i], .san = "DNS:example.org");
        look(leaf, LOOK(.ca = &links[0], .chain = joined(cert_pem(&leaf), above)),
             i <= 8 ? NULL : "certificate chain too long");
    }
    for (int i = 0; i < LINKS; i++)
        cert_free(&links[i]);
}

Test(tls_cert, purposes)
{
    look(LEAF(.san = "DNS:example.org", .usage = "serverAuth"), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.org", .usage = "clientAuth,serverAuth"), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.org", .usage = "clientAuth"), LOOK(0), "unsuitable certificate purpose");
    look(LEAF(.san = "DNS:example.org", .usage = "codeSigning"), LOOK(0), "unsuitable certificate purpose");
    look(LEAF(.san = "DNS:example.org", .key_usage = "critical,keyCertSign"), LOOK(0), "unsuitable");
    look(LEAF(.san = "DNS:example.org", .key_usage = "critical,digitalSignature"), LOOK(0), NULL);
}

Test(tls_cert, strength)
{
    struct cert weak = CA(.cn = "weak", .rsa_bits = 1024);

    look(LEAF(.san = "DNS:example.org", .rsa_bits = 2048), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.org", .rsa_bits = 1024), LOOK(0), "key too weak");
    look(LEAF(.san = "DNS:example.org", .digest = "SHA1"), LOOK(0), "digest algorithm too weak");
    look(LEAF(.san = "DNS:example.org", .digest = "SHA384"), LOOK(0), NULL);
    look(LEAF(.san = "DNS:example.org", .issuer = &weak), LOOK(.ca = &weak), "too weak");
    cert_free(&weak);
}

Test(tls_cert, revoked)
{
    struct cert other = CA(0), leaf = LEAF(.san = "DNS:example.org");
    const char *revoked = crl_pem(test_ca(), &leaf), *nothing = crl_pem(test_ca(), NULL);

    X509_up_ref(leaf.x509);
    EVP_PKEY_up_ref(leaf.key);
    look(leaf, LOOK(0), NULL);
    look(leaf, LOOK(.crl = revoked), "certificate revoked");
    look(LEAF(.san = "DNS:example.org"), LOOK(.crl = revoked), NULL);
    look(LEAF(.san = "DNS:example.org"), LOOK(.crl = nothing), NULL);
    look(LEAF(.san = "DNS:example.org"), LOOK(.crl = crl_pem(&other, NULL)), "unable to get certificate CRL");
    cert_free(&other);
}

/* ---- Unsafe clients ---- */

/* host may be NULL. */
static bool unsafe_works(struct weir_tls_config_options opt, struct cert leaf, const char *host)
{
    struct weir_tls_config *client = config_of(&opt), *server = bad_server(cert_pem(&leaf), &leaf);
    struct tls_link link = {0};
    struct weir_tls_facts facts;

    link_open(&link, client, server, host);
    bool ok = handshake(&link);
    wr_tls_tell(link.client.tls, &facts);
    cr_assert(!ok || facts.verified == !opt.DANGEROUS_any_certificate);
    link_close(&link);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    cert_free(&leaf);
    return ok;
}

Test(tls_cert, who_asks_for_it_gets_it)
{
    struct weir_tls_config_options any = client_options(), any_name = client_options();
    struct cert other = CA(0);

    any.DANGEROUS_any_certificate = 1;
    any_name.DANGEROUS_any_name = 1;
    cr_assert(unsafe_works(any, LEAF(.issuer = &other, .ends = -1), "example.org"));
    cr_assert(unsafe_works(any, cert_new(&(struct cert_spec){.cn = "self", .ends = -1}), NULL));
    cr_assert(unsafe_works(any_name, LEAF(.san = "DNS:example.com"), "example.org"));
    cr_assert(unsafe_works(any_name, LEAF(.san = "DNS:example.com"), NULL));
    cr_assert_not(unsafe_works(any_name, LEAF(.issuer = &other), NULL));
    cr_assert_not(unsafe_works(any_name, LEAF(.ends = -1), NULL));
    cert_free(&other);
}

/* ---- A server looks at a client's ---- */

struct show {
    const struct cert *shown;   /* NULL: none */
    int wanted;                 /* enum weir_tls_client_cert */
    const char *crl;
};

/* words as in look(). Also over TLS 1.2, where the client hears of it in its handshake. */
static void show(const struct show *how, int code, const char *words, int verified)
{
    struct weir_tls_config_options copt = client_options(), sopt = server_options();

    sopt.client_cert = how->wanted;
    sopt.ca_pem = cert_pem(test_ca());
    sopt.crl_pem = how->crl;
    copt.cert_pem = how->shown ? cert_pem(how->shown) : NULL;
    copt.key_pem = how->shown ? cert_key_pem(how->shown) : NULL;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct weir_tls_config *client = config_of(&copt), *server = config_of(&sopt);
        struct tls_link link = {0};
        struct weir_tls_facts facts;
        SSL_CTX_set_max_proto_version(client->ctx, version);
        link_open(&link, client, server, "localhost");
        cr_assert_eq(handshake(&link), code == 0);
        cr_assert_eq(link.server.begun, code, "%s", weir_error_name(link.server.begun));
        cr_assert_not_null(strstr(link.server.tls->words, words), "%s", link.server.tls->words);
        wr_tls_tell(link.server.tls, &facts);
        cr_assert_eq(facts.verified, verified);
        if (code == 0)
            converse(&link, &link.server, 10);
        else
            cr_assert_eq(link.client.begun ? link.client.begun : taste(&link.client), WEIR_ETLS);
        link_close(&link);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

#define SHOW(cert, when, ...) &(struct show){.shown = cert, .wanted = when, __VA_ARGS__}

Test(tls_cert, clients)
{
    enum { NONE = WEIR_TLS_CLIENT_CERT_NONE, OPTIONAL, REQUIRED };
    struct cert other = CA(0), stranger = LEAF(.issuer = &other, .usage = "clientAuth");
    struct cert expired = LEAF(.usage = "clientAuth", .ends = -1);
    const char *revoked = crl_pem(test_ca(), test_client());

    show(SHOW(NULL, NONE), 0, "", 0);
    show(SHOW(test_client(), NONE), 0, "", 0);
    show(SHOW(NULL, OPTIONAL), 0, "", 0);
    show(SHOW(test_client(), OPTIONAL), 0, "", 1);
    show(SHOW(test_client(), REQUIRED), 0, "", 1);
    show(SHOW(NULL, REQUIRED), WEIR_ECERT, "shows no certificate", 0);
    for (int wanted = OPTIONAL; wanted <= REQUIRED; wanted++) {
        show(SHOW(&stranger, wanted), WEIR_ECERT, "unable to get local issuer", 0);
        show(SHOW(&expired, wanted), WEIR_ECERT, "has expired", 0);
        show(SHOW(test_server(), wanted), WEIR_ECERT, "unsuitable certificate purpose", 0);
        show(SHOW(test_client(), wanted, .crl = revoked), WEIR_ECERT, "certificate revoked", 0);
    }
    show(SHOW(test_client(), REQUIRED, .crl = crl_pem(test_ca(), NULL)), 0, "", 1);
    cert_free(&other);
    cert_free(&stranger);
    cert_free(&expired);
}
