/* What the programs are linked with where libweir_tls is not built (make OPENSSL=no): it refuses. */
#include <errno.h>

#include "weir_tls.h"

int weir_tls_config_open(const struct weir_tls_config_options *opt, struct weir_tls_config **ret_config)
{
    (void)opt, (void)ret_config;
    return -ENOTSUP;
}

const char *weir_tls_config_refusal(void)
{
    return "built without TLS";
}

void weir_tls_config_close(struct weir_tls_config *config)
{
    (void)config;
}

int weir_tls_start(struct weir_stream *s, struct weir_tls_config *config, const char *host)
{
    (void)s, (void)config, (void)host;
    return -ENOTSUP;
}

int weir_tls_facts(struct weir_stream *s, struct weir_tls_facts *facts, size_t size)
{
    (void)s, (void)facts, (void)size;
    return -ENOTSUP;
}

const char *weir_tls_error(struct weir_stream *s)
{
    (void)s;
    return "";
}
