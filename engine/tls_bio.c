/* OpenSSL's reads and writes, from and to the wire of the verb that runs. */
#include "tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

/* How much OpenSSL gets of what has come. Once it reads ahead it asks for more than it needs: then it is one record at
 * a time, so that it never has to move what it has of the next. */
static size_t portion(struct wr_tls *tls, const unsigned char *data, size_t len)
{
    if (!SSL_get_read_ahead(tls->ssl))
        return len;
    if (tls->record_rest == 0 && len >= SSL3_RT_HEADER_LENGTH)
        tls->record_rest = SSL3_RT_HEADER_LENGTH + ((uint32_t)data[3] << 8 | data[4]);
    return wr_min(len, tls->record_rest);
}

/* What floods us gets no further: the verb that reads sees why. */
static int bio_read(BIO *bio, char *memory, int len)
{
    struct wr_tls *tls = BIO_get_data(bio);
    const void *data;

    BIO_clear_retry_flags(bio);
    if (len <= 0 || !tls->wire)
        return 0;
    size_t came = weir_wire_look(tls->wire, &data);
    size_t n = tls->chatter > WR_TLS_CHATTER_MAX ? 0 : wr_min(portion(tls, data, came), (size_t)len);
    tls->starved = n == 0;
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(memory, data, n);
    weir_wire_take(tls->wire, n);
    tls->record_rest -= (uint32_t)wr_min(n, tls->record_rest);
    return (int)n;
}

/* Behind what was spilled before. */
static bool spill(struct wr_tls *tls, const char *data, size_t len)
{
    if (tls->spill_from > 0)
        memmove(tls->spill, tls->spill + tls->spill_from, tls->spilled);
    tls->spill_from = 0;
    if (tls->spilled + len > tls->spill_room) {
        unsigned char *more = OPENSSL_realloc(tls->spill, tls->spilled + len);
        if (!more)
            return false;
        tls->spill = more;
        tls->spill_room = tls->spilled + len;
    }
    memcpy(tls->spill + tls->spilled, data, len);
    tls->spilled += len;
    return true;
}

/* All is taken, room or no room. OpenSSL must not be left with a record to write: while it reads, it may have to answer
 * (new keys that it was asked for, an alert), and what it answers does not go behind that record but breaks it. The
 * verbs see to it that what waits stays small. */
static int bio_write(BIO *bio, const char *data, int len)
{
    struct wr_tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len <= 0 || !tls->wire)
        return 0;
    size_t all = (size_t)len, n = tls->spilled == 0 ? weir_wire_put(tls->wire, data, all) : 0;
    if (n == all || spill(tls, data + n, all - n))
        return len;
    ERR_raise(ERR_LIB_BIO, ERR_R_MALLOC_FAILURE);
    return -1;
}

void wr_tls_bio_flush(struct wr_tls *tls)
{
    if (tls->spilled == 0)
        return;
    size_t n = weir_wire_put(tls->wire, tls->spill + tls->spill_from, tls->spilled);
    tls->spill_from += n;
    tls->spilled -= n;
    if (tls->spilled > 0)
        return;
    OPENSSL_free(tls->spill);
    tls->spill = NULL;
    tls->spill_from = tls->spill_room = 0;
}

static long bio_ctrl(BIO *bio, int what, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

/* One for the process, for good. */
static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir");
    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_ctrl))
        return;
    BIO_meth_free(method);
    method = NULL;
}

BIO *wr_tls_bio_new(struct wr_tls *tls)
{
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (bio) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }
    return bio;
}
