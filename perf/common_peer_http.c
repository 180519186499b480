#include "common_peer_http.h"

#include <string.h>

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n"
#define END "\r\n\r\n"

enum { SIZE = sizeof ANSWER - 1, ENDS = sizeof END - 1, ANSWERS = PEER_HTTP_RECEIVED / ENDS + 1 };

static char answers_of_a_turn[ANSWERS * SIZE];

/* 1: with this byte a request ends. */
static size_t step(unsigned char *matched, char byte)
{
    *matched = byte == END[*matched] ? (unsigned char)(*matched + 1) : byte == END[0];
    if (*matched < ENDS)
        return 0;
    *matched = 0;
    return 1;
}

static size_t requests(unsigned char *matched, const char *data, size_t len)
{
    const char *end = data + len, *found;
    size_t count = 0;
    while (data < end) {
        if (*matched > 0 || end - data < ENDS) {
            count += step(matched, *data++);
        } else if ((found = memmem(data, (size_t)(end - data), END, ENDS))) {
            data = found + ENDS;
            count++;
        } else {
            data = end - ENDS + 1;
        }
    }
    return count;
}

size_t peer_http(unsigned char *matched, const char *data, size_t len, const char **answers)
{
    if (answers_of_a_turn[0] == '\0')
        for (size_t i = 0; i < ANSWERS; i++)
            memcpy(answers_of_a_turn + i * SIZE, ANSWER, SIZE);
    *answers = answers_of_a_turn;
    return requests(matched, data, len) * SIZE;
}
