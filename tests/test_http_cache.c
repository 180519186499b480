/* Suite http_cache: what perf/http keeps of files. Time is what the caller says, so no test waits. */
#include "http_cache.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOW = 1000000000 };

/* A file without a name that has these bytes, and was changed long before NOW. */
static struct http_file make_file(const char *bytes, size_t len)
{
    struct http_file file = {.fd = open("/tmp", O_TMPFILE | O_RDWR, 0600), .type = "text/plain"};
    cr_assert_geq(file.fd, 0);
    cr_assert_eq(pwrite(file.fd, bytes, len, 0), (ssize_t)len);
    file.entity = (struct http_entity){(int64_t)len, {NOW - 100, 5}};
    file.version = (struct http_version){1, 2, {NOW - 100, 5}};
    return file;
}

static struct http_text text(const char *string)
{
    return (struct http_text){string, strlen(string)};
}

static int has_body(const struct http_page *page, const char *body)
{
    const struct http_answer *answer = &page->answer;
    size_t len = strlen(body);
    return answer->len == answer->head_len + len && memcmp(answer->text + answer->head_len, body, len) == 0;
}

Test(http_cache, keeps_a_file_for_a_second)
{
    struct http_file file = make_file("hello", 5);
    cr_assert_null(http_cache_find(text("/a"), NOW));
    struct http_page *page = http_cache_keep(text("/a"), &file, NOW);
    cr_assert_not_null(page);
    cr_assert(has_body(page, "hello"));
    cr_assert(page->file.fd == -1 && page->file.entity.size == 5);
    cr_assert_eq(http_cache_find(text("/a"), NOW), page);
    cr_assert_null(http_cache_find(text("/b"), NOW));
    cr_assert_null(http_cache_find(text("/aa"), NOW));
    cr_assert_null(http_cache_find(text("/"), NOW));
    cr_assert_null(http_cache_find(text("/a"), NOW + 1));
    cr_assert_null(http_cache_find(text("/a"), NOW - 1), "a clock that was set back");
    cr_assert_eq(http_cache_keep(text("/a"), &file, NOW + 1), page, "it has not changed");
    cr_assert_eq(http_cache_find(text("/a"), NOW + 1), page);
    close(file.fd);
}

Test(http_cache, an_answer_is_a_whole_one_with_the_date_of_now)
{
    struct http_file file = make_file("hello", 5);
    struct http_head head;
    time_t now = time(NULL);
    struct http_page *page = http_cache_keep(text("/a"), &file, NOW);
    struct http_answer *answer = &page->answer;
    memset(answer->text + strlen("HTTP/1.1 200 OK\r\nDate: "), 'x', HTTP_DATE_SIZE - 1);
    answer->dated = 0;
    http_date_answer(answer, now);
    cr_assert(memmem(answer->text, answer->head_len, http_date(now), HTTP_DATE_SIZE - 1));
    cr_assert_eq(answer->dated, now);
    cr_assert_eq(http_parse_answer(answer->text, answer->head_len, &head), 0);
    cr_assert(head.status == 200 && head.length == 5 && !head.close);
    cr_assert(memmem(answer->text, answer->head_len, "\r\nETag: \"", 9));
    close(file.fd);
}

Test(http_cache, sees_that_a_file_has_changed)
{
    static const struct {
        const char *what;
        struct http_entity entity;
        struct http_version version;
    } others[] = {{"its size", {4, {NOW - 100, 5}}, {1, 2, {NOW - 100, 5}}},
                  {"when it was written", {5, {NOW - 100, 6}}, {1, 2, {NOW - 100, 5}}},
                  {"when it was changed", {5, {NOW - 100, 5}}, {1, 2, {NOW - 100, 6}}},
                  {"that it is another one", {5, {NOW - 100, 5}}, {1, 3, {NOW - 100, 5}}},
                  {"that it is elsewhere", {5, {NOW - 100, 5}}, {3, 2, {NOW - 100, 5}}}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct http_file file = make_file("hello", 5);
        cr_assert(has_body(http_cache_keep(text("/a"), &file, NOW), "hello"));
        cr_assert_eq(pwrite(file.fd, "other", 5, 0), 5);
        cr_assert(has_body(http_cache_keep(text("/a"), &file, NOW + 1), "hello"), "it looks unchanged");
        file.entity = others[i].entity;
        file.version = others[i].version;
        struct http_page *page = http_cache_keep(text("/a"), &file, NOW + 2);
        cr_assert(has_body(page, i == 0 ? "othe" : "other"), "%s is not seen", others[i].what);
        cr_assert_eq(http_cache_find(text("/a"), NOW + 2), page);
        close(file.fd);
    }
}

/* A second change within the clock's grain leaves no trace. */
Test(http_cache, reads_again_what_had_just_changed)
{
    struct http_file file = make_file("first", 5);
    file.version.changed.tv_sec = NOW;
    cr_assert(has_body(http_cache_keep(text("/a"), &file, NOW), "first"));
    cr_assert_eq(pwrite(file.fd, "other", 5, 0), 5);
    struct http_page *page = http_cache_keep(text("/a"), &file, NOW + 1);
    cr_assert(has_body(page, "other"));
    cr_assert_eq(http_cache_keep(text("/a"), &file, NOW + 2), page);
    close(file.fd);
}

Test(http_cache, keeps_neither_large_files_nor_what_has_become_shorter)
{
    struct http_file file = make_file("hello", 5);
    file.entity.size = 6;
    cr_assert_null(http_cache_keep(text("/a"), &file, NOW));
    cr_assert_null(http_cache_find(text("/a"), NOW));
    cr_assert_eq(ftruncate(file.fd, HTTP_CACHE_FILE + 1), 0);
    file.entity.size = HTTP_CACHE_FILE + 1;
    cr_assert_null(http_cache_keep(text("/a"), &file, NOW));
    file.entity.size = HTTP_CACHE_FILE;
    cr_assert_not_null(http_cache_keep(text("/a"), &file, NOW));
    file.entity.size++;
    cr_assert_null(http_cache_keep(text("/a"), &file, NOW));
    cr_assert_null(http_cache_find(text("/a"), NOW), "what it was is forgotten");
    close(file.fd);
}

/* Keeps so many files, and the first of them in use. Result: how many are left in the end. */
static int keep_many(const struct http_file *file, int count)
{
    char path[32];
    int found = 0;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/%d", i);
        cr_assert_not_null(http_cache_keep(text(path), file, NOW));
        cr_assert_not_null(http_cache_find(text(path), NOW));
        cr_assert_not_null(http_cache_find(text("/0"), NOW), "what is used goes last");
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/%d", i);
        found += http_cache_find(text(path), NOW) != NULL;
    }
    cr_assert_not_null(http_cache_find(text(path), NOW), "the last is there");
    snprintf(path, sizeof path, "/%d", 1);
    cr_assert_null(http_cache_find(text(path), NOW), "the oldest is gone");
    return found;
}

Test(http_cache, keeps_so_many_files)
{
    struct http_file file = make_file("hello", 5);
    cr_assert_eq(keep_many(&file, HTTP_CACHE_FILES + 100), HTTP_CACHE_FILES);
    close(file.fd);
}

Test(http_cache, keeps_so_many_bytes)
{
    struct http_file file = make_file("", 0);
    cr_assert_eq(ftruncate(file.fd, HTTP_CACHE_FILE), 0);
    file.entity.size = HTTP_CACHE_FILE;
    int found = keep_many(&file, 1000), fit = HTTP_CACHE_BYTES / HTTP_CACHE_FILE;
    cr_assert(found < fit && found > fit * 9 / 10, "%d are kept", found);
    close(file.fd);
}

/* A path of any length, however many: the bytes count, too. */
Test(http_cache, long_names_count)
{
    struct http_file file = make_file("hello", 5);
    char path[8001];
    int found = 0;
    memset(path, 'x', 8000);
    path[8000] = '\0';
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 4000; i++) {
            snprintf(path, 8, "/%06d", i);
            path[7] = 'x';
            found += pass == 0 ? !http_cache_keep(text(path), &file, NOW) : http_cache_find(text(path), NOW) != NULL;
        }
    cr_assert(found > 1500 && found < 2100, "%d are kept", found);
    close(file.fd);
}
