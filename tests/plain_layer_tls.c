/* TLS for the random programs of plain_layer.c. */
#include "plain_layer.h"

#ifndef WR_NO_TLS

#include "helpers_tls.h"

static struct weir_tls_config *clients, *servers;

void layer_tls_prepare(void)
{
    prepare_usual();
}

void layer_tls_open(uint64_t seed, bool old)
{
    (void)tls_random_from(seed);
    clients = client_config();
    servers = server_config();
    if (old)
        SSL_CTX_set_max_proto_version(clients->ctx, TLS1_2_VERSION);
}

void layer_tls_close(void)
{
    weir_tls_config_close(clients);
    weir_tls_config_close(servers);
}

int layer_tls_start(struct weir_stream *s, bool client)
{
    return weir_tls_start(s, client ? clients : servers, client ? "localhost" : NULL);
}

#else

void layer_tls_prepare(void)
{
}

void layer_tls_open(uint64_t seed, bool old)
{
    (void)seed, (void)old;
}

void layer_tls_close(void)
{
}

int layer_tls_start(struct weir_stream *s, bool client)
{
    (void)s, (void)client;
    return -1;
}

#endif
