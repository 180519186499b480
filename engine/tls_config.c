/* Configurations: what streams begin with, changed under their feet. */
#include "tls.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

#include "options.h"

struct weir_tls_config *wr_tls_config_hold(struct weir_tls_config *config)
{
    atomic_fetch_add(&config->holders, 1);
    return config;
}

SSL_CTX *wr_tls_config_context(struct weir_tls_config *config)
{
    pthread_mutex_lock(&config->lock);
    SSL_CTX *ctx = config->ctx;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&config->lock);
    return ctx;
}

/* ---- Names ---- */

bool wr_tls_tidy_name(char to[WR_TLS_NAME_SIZE], const char *name, size_t len)
{
    if (len > 1 && name[len - 1] == '.')
        len--;
    if (len == 0 || len >= WR_TLS_NAME_SIZE || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] > '~')
            return false;
        to[i] = (char)tolower((unsigned char)name[i]);
    }
    to[len] = '\0';
    return true;
}

/* Where the name stands, or would stand. */
static size_t find_name(const struct weir_tls_config *config, const char *name, bool *ret_is_there)
{
    size_t low = 0, high = config->name_count;

    *ret_is_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(config->names[middle].name, name);
        if (order == 0) {
            *ret_is_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* In full, else with any first label. */
struct weir_tls_config *wr_tls_config_named(struct weir_tls_config *config, const char *name, size_t len)
{
    struct weir_tls_config *named = NULL;
    char key[WR_TLS_NAME_SIZE];
    bool is_there;

    if (!wr_tls_tidy_name(key, name, len))
        return NULL;
    pthread_mutex_lock(&config->lock);
    size_t at = find_name(config, key, &is_there);
    char *dot = strchr(key, '.');
    if (!is_there && dot && dot > key) {
        dot[-1] = '*';
        at = find_name(config, dot - 1, &is_there);
    }
    if (is_there)
        named = wr_tls_config_hold(config->names[at].config);
    pthread_mutex_unlock(&config->lock);
    return named;
}

static int insert_name(struct weir_tls_config *config, size_t at, const char *name, struct weir_tls_config *other)
{
    if (config->name_count == config->name_room) {
        size_t room = config->name_room * 2 + 4;
        void *names = OPENSSL_realloc(config->names, room * sizeof *config->names);
        if (!names)
            return -ENOMEM;
        config->names = names;
        config->name_room = room;
    }
    char *copy = OPENSSL_strdup(name);
    if (!copy)
        return -ENOMEM;
    struct wr_tls_name *slot = config->names + at;
    memmove(slot + 1, slot, (config->name_count - at) * sizeof *slot);
    *slot = (struct wr_tls_name){.name = copy, .config = wr_tls_config_hold(other)};
    config->name_count++;
    return 0;
}

static void remove_name(struct weir_tls_config *config, size_t at)
{
    struct wr_tls_name *slot = config->names + at;
    OPENSSL_free(slot->name);
    config->name_count--;
    memmove(slot, slot + 1, (config->name_count - at) * sizeof *slot);
}

int weir_tls_config_name(struct weir_tls_config *config, const char *name, struct weir_tls_config *other)
{
    struct weir_tls_config *before = NULL;
    char key[WR_TLS_NAME_SIZE];
    bool is_there;
    int rc = 0;

    if (!config || !name || !config->server || (other && !other->server) || other == config ||
        !wr_tls_tidy_name(key, name, strlen(name)))
        return -EINVAL;
    pthread_mutex_lock(&config->lock);
    size_t at = find_name(config, key, &is_there);
    if (is_there)
        before = config->names[at].config;
    if (is_there && other)
        config->names[at].config = wr_tls_config_hold(other);
    else if (is_there)
        remove_name(config, at);
    else if (other)
        rc = insert_name(config, at, key, other);
    pthread_mutex_unlock(&config->lock);
    weir_tls_config_close(before);
    return rc;
}

/* ---- Life ---- */

/* The options as this version knows them. */
static int read_options(struct weir_tls_config_options *to, const struct weir_tls_config_options *from)
{
    wr_tls_refuse(0, "%s", "");
    ERR_clear_error();
    int rc = wr_options_copy(to, sizeof *to, from);
    return rc < 0 ? wr_tls_refuse(rc, "options: %s", weir_strerror(rc)) : 0;
}

int weir_tls_config_open(const struct weir_tls_config_options *opt, struct weir_tls_config **ret_config)
{
    struct weir_tls_config_options mine = {0};
    SSL_CTX *ctx = NULL;

    int rc = read_options(&mine, opt);
    if (rc == 0)
        rc = wr_tls_context_new(&mine, &ctx);
    if (rc < 0)
        return rc;
    struct weir_tls_config *config = OPENSSL_zalloc(sizeof *config);
    if (!config) {
        SSL_CTX_free(ctx);
        return wr_tls_refuse(-ENOMEM, "out of memory");
    }
    atomic_init(&config->holders, 1);
    pthread_mutex_init(&config->lock, NULL);
    config->server = mine.server != 0;
    config->ctx = ctx;
    *ret_config = config;
    return 0;
}

int weir_tls_config_reload(struct weir_tls_config *config, const struct weir_tls_config_options *opt)
{
    struct weir_tls_config_options mine = {0};
    SSL_CTX *ctx = NULL;

    int rc = config ? read_options(&mine, opt) : -EINVAL;
    if (rc == 0 && (mine.server != 0) != config->server)
        rc = wr_tls_refuse(-EINVAL, "a configuration of %s stays one", config->server ? "servers" : "clients");
    if (rc == 0)
        rc = wr_tls_context_new(&mine, &ctx);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&config->lock);
    SSL_CTX *before = config->ctx;
    config->ctx = ctx;
    pthread_mutex_unlock(&config->lock);
    SSL_CTX_free(before);
    wr_tls_sessions_drop(config);
    return 0;
}

void weir_tls_config_close(struct weir_tls_config *config)
{
    if (!config || atomic_fetch_sub(&config->holders, 1) != 1)
        return;
    while (config->name_count > 0) {
        weir_tls_config_close(config->names[config->name_count - 1].config);
        remove_name(config, config->name_count - 1);
    }
    OPENSSL_free(config->names);
    wr_tls_sessions_drop(config);
    SSL_CTX_free(config->ctx);
    pthread_mutex_destroy(&config->lock);
    OPENSSL_cleanse(config->keys, sizeof config->keys);
    OPENSSL_free(config);
}
