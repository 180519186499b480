#include "http_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { CHAINS = 1024 };

struct entry {
    struct http_page page;
    struct entry *next;             /* in its chain */
    struct entry *older, *newer;    /* by last use, in a ring with `uses` */
    time_t read, checked;           /* the seconds */
    size_t size;                    /* bytes, all told */
    uint32_t hash;
    size_t path_len;
    char path[];                    /* then the answer */
};

static struct entry *chains[CHAINS];
static struct entry uses = {.older = &uses, .newer = &uses};
static size_t bytes, count;
static uint64_t secret;             /* drawn with the first entry */

/* All 128 bits of a product count. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const char *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* By eight characters, of which the last may overlap those before; with a factor that nobody outside knows, or many
 * paths could be made to share a chain. */
static uint32_t hash_of(struct http_text path)
{
    uint64_t hash = secret ^ path.len, x = 0;
    if (path.len >= sizeof x) {
        const char *last = path.at + path.len - sizeof x;
        for (const char *at = path.at; at < last; at += sizeof x)
            hash = mix(hash ^ word_at(at), secret | 1);
        x = word_at(last);
    } else {
        for (size_t i = 0; i < path.len; i++)
            x = x << 8 | (unsigned char)path.at[i];
    }
    return (uint32_t)mix(hash ^ x, secret | 1);
}

/* Where the pointer to the entry of this path stands, or would stand. */
static struct entry **place_of(struct http_text path, uint32_t hash)
{
    struct entry **at = &chains[hash % CHAINS];
    while (*at && ((*at)->hash != hash || (*at)->path_len != path.len || memcmp((*at)->path, path.at, path.len) != 0))
        at = &(*at)->next;
    return at;
}

/* ---- Last used, first kept ---- */

static void unlink_use(struct entry *e)
{
    e->older->newer = e->newer;
    e->newer->older = e->older;
}

static void use(struct entry *e)
{
    if (uses.older == e)
        return;
    if (e->older)
        unlink_use(e);
    e->older = uses.older;
    e->newer = &uses;
    uses.older->newer = e;
    uses.older = e;
}

static void drop(struct entry *e)
{
    struct http_text path = {e->path, e->path_len};
    *place_of(path, e->hash) = e->next;
    unlink_use(e);
    bytes -= e->size;
    count--;
    free(e);
}

static void make_room(size_t size)
{
    while (count > 0 && (count == HTTP_CACHE_FILES || bytes + size > HTTP_CACHE_BYTES))
        drop(uses.newer);
}

/* ---- Entries ---- */

struct http_page *http_cache_find(struct http_text path, time_t now)
{
    struct entry *e = *place_of(path, hash_of(path));
    if (!e || e->checked != now)
        return NULL;
    use(e);
    return &e->page;
}

/* The file is what it was when it was read. If it had changed within that very second, it may have changed again. */
static int is_current(const struct entry *e, const struct http_file *file)
{
    const struct http_file *old = &e->page.file;
    return memcmp(&old->entity, &file->entity, sizeof old->entity) == 0 &&
           memcmp(&old->version, &file->version, sizeof old->version) == 0 && file->version.changed.tv_sec < e->read;
}

static struct entry *read_file(struct http_text path, const struct http_file *file, time_t now)
{
    size_t len = (size_t)file->entity.size, size = sizeof(struct entry) + path.len + HTTP_ANSWER_SIZE + len;
    struct entry *e = calloc(1, size);
    if (!e)
        return NULL;
    struct http_answer *answer = &e->page.answer;
    answer->text = e->path + path.len;
    http_make_file_answer(answer, file, now);
    if (pread(file->fd, answer->text + answer->head_len, len, 0) != (ssize_t)len) {
        free(e);
        return NULL;
    }
    answer->len = answer->head_len + len;
    e->page.file = *file;
    e->page.file.fd = -1;
    e->read = now;
    e->size = size;
    e->path_len = path.len;
    memcpy(e->path, path.at, path.len);
    return e;
}

struct http_page *http_cache_keep(struct http_text path, const struct http_file *file, time_t now)
{
    if (secret == 0 && getrandom(&secret, sizeof secret, GRND_NONBLOCK) < 0)
        secret = (uint64_t)time(NULL) << 32;
    uint32_t hash = hash_of(path);
    struct entry *e = *place_of(path, hash);
    if (e && !is_current(e, file)) {
        drop(e);
        e = NULL;
    }
    if (!e) {
        if (file->entity.size > HTTP_CACHE_FILE || !(e = read_file(path, file, now)))
            return NULL;
        make_room(e->size);
        e->hash = hash;
        *place_of(path, hash) = e;
        bytes += e->size;
        count++;
    }
    use(e);
    e->checked = now;
    return &e->page;
}
