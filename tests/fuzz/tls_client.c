/* What a stranger answers to a client's first words. */
#include "helpers_tls_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_link link = {0};

    fuzz_open(&link);
    link.client.begun = wr_tls_verbs.start(link.client.tls, &link.client.wire);
    fuzz_feed(&link.client, data, size);
    link_close(&link);
    return 0;
}
