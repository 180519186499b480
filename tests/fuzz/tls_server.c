/* What a stranger sends to a server. */
#include "helpers_tls_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_link link = {0};

    fuzz_open(&link);
    fuzz_feed(&link.server, data, size);
    link_close(&link);
    return 0;
}
