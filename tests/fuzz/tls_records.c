/* What a peer sends who has the keys. The first byte says which peer; then records: their type, padding, length in two
 * bytes, and as many bytes. */
#include "helpers_tls_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char record[70000];
    struct tls_link link = {0};
    struct forger forger;

    if (size == 0)
        return 0;
    fuzz_open(&link);
    cr_assert(handshake(&link));
    fuzz_forger(&forger);
    forger_be(&forger, data[0] & 1, 0);
    struct tls_end *end = data[0] & 1 ? &link.client : &link.server;
    for (size_t at = 1; at + 4 <= size;) {
        size_t len = wr_min((size_t)data[at + 2] << 8 | data[at + 3], size - at - 4);
        len = wr_min(len, 16384);
        fuzz_feed(end, record, forge(&forger, data[at], data + at + 4, len, data[at + 1], record));
        at += 4 + len;
    }
    link_close(&link);
    return 0;
}
