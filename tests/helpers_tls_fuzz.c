#include "helpers_tls_fuzz.h"

#include <string.h>

static struct forger forger;

static struct weir_tls_config *fuzz_server(void)
{
    struct weir_tls_config_options opt = server_options();
    unsigned char key[WEIR_TLS_TICKET_KEY_SIZE] = "a key that everybody knows";

    opt.client_cert = WEIR_TLS_CLIENT_CERT_OPTIONAL;
    opt.ca_pem = cert_pem(test_ca());
    opt.alpn = "h2,http/1.1";
    struct weir_tls_config *config = config_of(&opt);
    cr_assert_eq(weir_tls_config_rotate(config, key), 0);
    SSL_CTX_set_num_tickets(config->ctx, 0);
    return config;
}

static struct weir_tls_config *fuzz_client(void)
{
    struct weir_tls_config_options opt = client_options();

    opt.cert_pem = cert_pem(test_client());
    opt.key_pem = cert_key_pem(test_client());
    opt.alpn = "http/1.1";
    opt.keylog = forger_learn;
    opt.keylog_arg = &forger;
    return config_of(&opt);
}

void fuzz_open(struct tls_link *link)
{
    static struct weir_tls_config *client, *server;
    tls_random_from(1);
    if (!client) {
        client = fuzz_client();
        server = fuzz_server();
    }
    tls_random_from(2);
    link_open(link, client, server, "localhost");
}

void fuzz_forger(struct forger *ret_forger)
{
    *ret_forger = forger;
}

static bool is_wish(int64_t answer)
{
    return answer == WEIR_WANTS_INPUT || answer == WEIR_WANTS_ROOM;
}

static int64_t step(struct tls_end *end)
{
    int64_t answer = end->begun;
    if (answer != 0)
        answer = end->begun = wr_tls_verbs.start(end->tls, &end->wire);
    if (answer == 0)
        while ((answer = taste(end)) > 0)
            ;
    cr_assert(is_wish(answer) || answer == WEIR_ETLS || answer == WEIR_ECERT || answer == WEIR_EOF, "%s",
              weir_error_name((int)answer));
    cr_assert(!is_wish(answer) || answer == WEIR_WANTS_INPUT, "there is room");
    return answer;
}

void fuzz_feed(struct tls_end *end, const uint8_t *data, size_t size)
{
    uint64_t seed = size;
    for (size_t at = 0, n; at < size; at += n) {
        n = 1 + chance(&seed, size - at);
        feed(end, data + at, n);
        step(end);
    }
    wr_tls_verbs.shut(end->tls, &end->wire);
}
