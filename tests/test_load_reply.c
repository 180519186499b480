/* Suite load_reply: answers of HTTP as they come, whole, cut at every byte, and many at a time. */
#include "load_reply.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

static struct reply_memo memo;
static struct reply reply = {.memo = &memo};

/* In pieces of so many bytes. Result: as reply_take, and where it ended. */
static int take(const char *text, size_t len, size_t piece, size_t *ret_end)
{
    size_t at = 0, used;
    int rc = 0;
    while (rc == 0 && at < len) {
        size_t n = len - at < piece ? len - at : piece;
        rc = reply_take(&reply, text + at, n, &used);
        cr_assert(rc != 0 || used == n, "it left bytes that it was to take");
        at += used;
    }
    *ret_end = at;
    return rc;
}

static const struct {
    const char *text;
    int status, persists;
} whole[] = {
    {OK "Content-Length: 0\r\n\r\n", 200, 1},
    {OK "Content-Length: 5\r\n\r\nhello", 200, 1},
    {OK "content-length:5\r\nServer: x\r\n\r\n\r\n\r\n\n", 200, 1},
    {OK "Content-Length: 2\r\nConnection: close\r\n\r\nhi", 200, 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", 200, 1},
    {"HTTP/1.1 204 \r\n\r\n", 204, 1},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, 1},
    {"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad", 500, 1},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", 200, 1},
    {CHUNKED "0\r\n\r\n", 200, 1},
    {CHUNKED "5\r\nhello\r\n0\r\n\r\n", 200, 1},
    {CHUNKED "5;a=b\r\nhello\r\n1\r\n\r\r\nA\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\n", 200, 1},
};

Test(load_reply, whole_answers)
{
    for (size_t i = 0; i < COUNT(whole); i++) {
        for (size_t piece = 1; piece <= strlen(whole[i].text); piece++) {
            size_t end, len = strlen(whole[i].text);
            cr_assert_eq(take(whole[i].text, len, piece, &end), 1, "%s, by %zu", whole[i].text, piece);
            cr_assert_eq(end, len, "%s, by %zu: it ended at %zu", whole[i].text, piece, end);
            cr_assert_eq(reply.status, whole[i].status);
            cr_assert_eq(reply.persists, whole[i].persists, "%s", whole[i].text);
            cr_assert_not(reply_begun(&reply));
        }
    }
    reply_drop(&reply);
}

/* All of them in one row, twice, cut every so many bytes: each ends where it should. */
Test(load_reply, many_answers)
{
    char all[4096] = "";
    for (size_t i = 0; i < 2 * COUNT(whole); i++)
        strcat(all, whole[i % COUNT(whole)].text);
    for (size_t piece = 1; piece < 200; piece++) {
        size_t from = 0, used, done = 0, len = strlen(all);
        for (size_t to = 0; to < len;) {
            to = to + piece < len ? to + piece : len;
            while (from < to) {
                int rc = reply_take(&reply, all + from, to - from, &used);
                cr_assert_geq(rc, 0);
                from += used;
                if (rc == 1)
                    cr_assert_eq(reply.status, whole[done++ % COUNT(whole)].status);
            }
        }
        cr_assert_eq(done, 2 * COUNT(whole));
        cr_assert_not(reply_begun(&reply));
    }
    reply_drop(&reply);
}

/* The head that is remembered is not taken for one that only begins like it. */
Test(load_reply, heads_that_begin_alike)
{
    static const char *const texts[] = {OK "Content-Length: 1\r\n\r\nx", OK "Content-Length: 12\r\n\r\n0123456789ab",
                                        OK "Content-Length: 1\r\nA: b\r\n\r\nx"};
    size_t end;
    for (int i = 0; i < 9; i++) {
        const char *text = texts[i * i % 3];
        cr_assert_eq(take(text, strlen(text), 1000, &end), 1);
        cr_assert_eq(end, strlen(text));
    }
}

Test(load_reply, to_the_end)
{
    const char *text = OK "\r\nanything\r\n\r\n";
    size_t end;
    cr_assert_eq(take(text, strlen(text), 1000, &end), 0);
    cr_assert_eq(end, strlen(text));
    cr_assert(reply_ends(&reply) && !reply.persists);
}

Test(load_reply, the_end_in_the_middle)
{
    static const char *const texts[] = {"H", OK, OK "Content-Length: 5\r\n\r\nhell", CHUNKED, CHUNKED "1",
                                        CHUNKED "1\r\nx", CHUNKED "0\r\n"};
    size_t end;
    for (size_t i = 0; i < COUNT(texts); i++) {
        cr_assert_eq(take(texts[i], strlen(texts[i]), 1000, &end), 0);
        cr_assert(reply_begun(&reply) && !reply_ends(&reply), "%s", texts[i]);
        reply_drop(&reply);
        cr_assert_not(reply_begun(&reply));
    }
}

Test(load_reply, what_is_no_http)
{
    static const char *const texts[] = {
        "hello\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK "Content-Length: x\r\n\r\n",
        OK "Content-Length: -1\r\n\r\n",
        OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED "x\r\n",
        CHUNKED "\r\n",
        CHUNKED "1\nx",
        CHUNKED "1\r\nxx\r\n",
        CHUNKED "1\r\nx\n",
        CHUNKED "0\r\nno field\r\n",
    };
    size_t end;
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (size_t piece = 1; piece < 50; piece += 7) {
            cr_assert_eq(take(texts[i], strlen(texts[i]), piece, &end), -1, "%s, by %zu", texts[i], piece);
            reply_drop(&reply);
        }
    }
}

Test(load_reply, a_head_without_end)
{
    size_t len = 3 * REPLY_HEAD_MAX, end;
    char *text = malloc(len);
    memset(text, 'a', len);
    for (size_t piece = 1; piece <= len; piece *= 3) {
        cr_assert_eq(take(text, len, piece, &end), -1, "by %zu", piece);
        cr_assert_leq(end, REPLY_HEAD_MAX + piece);
        reply_drop(&reply);
    }
    free(text);
}
