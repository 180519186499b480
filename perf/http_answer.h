/* The heads of answers, field by field. */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include "http_file.h"
#include "http_out.h"

enum { HTTP_ANSWER_SIZE = 512 };    /* room for a head made of these, but for Location */

/* A whole answer 200, made beforehand. */
struct http_answer {
    char *text;
    size_t head_len, len;
    time_t dated;           /* when its Date was written */
};

/* "200 OK" */
const char *http_status_text(int status);

/* As text, that is made once a second. */
const char *http_date(time_t now);

/* The first lines; `connection` is the value of that field, or NULL. */
void http_put_first_lines(struct http_out *out, int status, time_t now, const char *connection);

void http_put_content_fields(struct http_out *out, const char *type, int64_t length);

/* What answers 200, 206 and 304 say about a file. */
void http_put_file_fields(struct http_out *out, int status, const struct http_file *file,
                          const struct http_range *range);

/* The head of the answer for all of a file, in text with room for HTTP_ANSWER_SIZE and the body. */
void http_make_file_answer(struct http_answer *answer, const struct http_file *file, time_t now);

/* Before it is sent: its Date is `now`. */
void http_date_answer(struct http_answer *answer, time_t now);

/* How much there is, in answers 416. */
void http_put_size_field(struct http_out *out, const struct http_file *file);

#endif
