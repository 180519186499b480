/* Writes seeds for the fuzzers: seeds DIR. Sessions of several kinds, and records of each kind. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "helpers_tls_fuzz.h"

static const char *dir;

static void write_seed(const char *target, const char *name, const void *bytes, size_t len)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", dir, target);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "%s", path);
    fwrite(bytes, 1, len, f);
    fclose(f);
}

static void write_session(const char *name, int version)
{
    static struct tls_record to_client, to_server;
    struct tls_link link = {.to_client = &to_client, .to_server = &to_server};

    to_client.len = to_server.len = 0;
    fuzz_open(&link);
    SSL_set_max_proto_version(link.client.tls->ssl, version);
    expect_handshake(&link);
    converse(&link, &link.client, 100);
    converse(&link, &link.server, 100);
    wr_tls_verbs.shut(link.client.tls, &link.client.wire);
    wr_tls_verbs.shut(link.server.tls, &link.server.wire);
    settle(&link);
    link_close(&link);
    write_seed("tls_client", name, to_client.bytes, to_client.len);
    write_seed("tls_server", name, to_server.bytes, to_server.len);
}

static void write_records(void)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
    } seeds[] = {
        {"data", "\0\x17\0\0\x05hello\x17\x09\0\x05again", 19},
        {"end", "\1\x17\0\0\x05hello\x15\0\0\x02\1\0", 16},
        {"key", "\0\x16\0\0\x05\x18\0\0\1\0\x16\0\0\x05\x18\0\0\1\1", 19},
        {"ticket", "\1\x16\0\0\x15\4\0\0\x11\0\0\x1c\x20\1\2\3\4\1\0\0\4abcd\0\0", 26},
        {"alert", "\1\x15\0\0\2\2\x50", 7},
        {"hello", "\1\x16\0\0\4\0\0\0\0", 9},
    };
    for (size_t i = 0; i < WR_COUNT(seeds); i++)
        write_seed("tls_records", seeds[i].name, seeds[i].bytes, seeds[i].len);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    dir = argv[1];
    write_session("new", TLS1_3_VERSION);
    write_session("old", TLS1_2_VERSION);
    write_records();
    return 0;
}
