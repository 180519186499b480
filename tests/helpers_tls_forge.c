#include "helpers_tls_forge.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdio.h>
#include <string.h>

static void learn(const char *line, const char *label, unsigned char *secret)
{
    size_t len = strlen(label);
    if (strncmp(line, label, len) != 0)
        return;
    /* LABEL RANDOM SECRET, in hexadecimal. */
    const char *hex = strrchr(line, ' ') + 1;
    for (size_t i = 0; i < 32; i++)
        cr_assert_eq(sscanf(hex + 2 * i, "%2hhx", secret + i), 1);
}

void forger_learn(const char *line, void *arg)
{
    struct forger *f = arg;
    learn(line, "CLIENT_TRAFFIC_SECRET_0 ", f->client_secret);
    learn(line, "SERVER_TRAFFIC_SECRET_0 ", f->server_secret);
}

/* HKDF-Expand-Label of RFC 8446, 7.1. */
static void expand(unsigned char *secret, const char *label, unsigned char *to, size_t len)
{
    char prefix[] = "tls13 ", digest[] = "SHA256";
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                           OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, 32),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label,
                                                             strlen(label)),
                           OSSL_PARAM_construct_end()};
    cr_assert_eq(EVP_KDF_derive(ctx, to, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

void forger_be(struct forger *f, int server, uint64_t number)
{
    unsigned char *secret = server ? f->server_secret : f->client_secret;
    expand(secret, "key", f->key, sizeof f->key);
    expand(secret, "iv", f->iv, sizeof f->iv);
    f->number = number;
}

static void put_nonce(struct forger *f, unsigned char nonce[12])
{
    memcpy(nonce, f->iv, 12);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (unsigned char)(f->number >> (8 * i));
    f->number++;
}

size_t forge(struct forger *f, int type, const void *data, size_t len, size_t padding, unsigned char *to)
{
    static const unsigned char zeros[20000];
    size_t inner = len + 1 + padding, outer = inner + 16;
    unsigned char nonce[12], kind = (unsigned char)type, *at = to + 5;
    int n;

    cr_assert_leq(padding, sizeof zeros);
    to[0] = 23;
    to[1] = to[2] = 3;
    to[3] = (unsigned char)(outer >> 8);
    to[4] = (unsigned char)outer;
    put_nonce(f, nonce);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, f->key, nonce);
    EVP_EncryptUpdate(ctx, NULL, &n, to, 5);
    EVP_EncryptUpdate(ctx, at, &n, data, (int)len);
    EVP_EncryptUpdate(ctx, at + len, &n, &kind, 1);
    EVP_EncryptUpdate(ctx, at + len + 1, &n, zeros, (int)padding);
    EVP_EncryptFinal_ex(ctx, at + inner, &n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, at + inner);
    EVP_CIPHER_CTX_free(ctx);
    return outer + 5;
}
