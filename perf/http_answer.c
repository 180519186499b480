#include "http_answer.h"

#include <string.h>

const char *http_status_text(int status)
{
    switch (status) {
    case 200: return "200 OK";
    case 204: return "204 No Content";
    case 206: return "206 Partial Content";
    case 301: return "301 Moved Permanently";
    case 304: return "304 Not Modified";
    case 400: return "400 Bad Request";
    case 403: return "403 Forbidden";
    case 404: return "404 Not Found";
    case 405: return "405 Method Not Allowed";
    case 408: return "408 Request Timeout";
    case 412: return "412 Precondition Failed";
    case 413: return "413 Content Too Large";
    case 414: return "414 URI Too Long";
    case 416: return "416 Range Not Satisfiable";
    case 417: return "417 Expectation Failed";
    case 431: return "431 Request Header Fields Too Large";
    case 501: return "501 Not Implemented";
    case 503: return "503 Service Unavailable";
    case 505: return "505 HTTP Version Not Supported";
    default: return "500 Internal Server Error";
    }
}

const char *http_date(time_t now)
{
    static char text[HTTP_DATE_SIZE];
    static time_t made = -1;
    if (now != made)
        http_format_date(now, text);
    made = now;
    return text;
}

static const char before_date[] = "\r\nDate: ";

void http_put_first_lines(struct http_out *out, int status, time_t now, const char *connection)
{
    http_put(out, "HTTP/1.1 ");
    http_put(out, http_status_text(status));
    http_put(out, before_date);
    http_put(out, http_date(now));
    if (connection) {
        http_put(out, "\r\nConnection: ");
        http_put(out, connection);
    }
    http_put(out, "\r\n");
}

void http_put_content_fields(struct http_out *out, const char *type, int64_t length)
{
    http_put(out, "Content-Type: ");
    http_put(out, type);
    http_put(out, "\r\nContent-Length: ");
    http_put_number(out, (uint64_t)length, 10);
    http_put(out, "\r\n");
}

static void put_range_field(struct http_out *out, const struct http_range *range, int64_t size)
{
    http_put(out, "Content-Range: bytes ");
    http_put_number(out, (uint64_t)range->first, 10);
    http_put(out, "-");
    http_put_number(out, (uint64_t)range->end - 1, 10);
    http_put(out, "/");
    http_put_number(out, (uint64_t)size, 10);
    http_put(out, "\r\n");
}

void http_put_file_fields(struct http_out *out, int status, const struct http_file *file,
                          const struct http_range *range)
{
    char modified[HTTP_DATE_SIZE], etag[HTTP_ETAG_SIZE];
    if (status != 304)
        http_put_content_fields(out, file->type, range->end - range->first);
    if (status == 206)
        put_range_field(out, range, file->entity.size);
    http_format_date(file->entity.modified.tv_sec, modified);
    http_format_etag(&file->entity, etag);
    http_put(out, "Accept-Ranges: bytes\r\nLast-Modified: ");
    http_put(out, modified);
    http_put(out, "\r\nETag: ");
    http_put(out, etag);
    http_put(out, "\r\n");
}

void http_make_file_answer(struct http_answer *answer, const struct http_file *file, time_t now)
{
    struct http_out out = {.text = answer->text, .size = HTTP_ANSWER_SIZE};
    http_put_first_lines(&out, 200, now, NULL);
    http_put_file_fields(&out, 200, file, &(struct http_range){0, file->entity.size});
    http_put(&out, "\r\n");
    answer->head_len = out.len;
}

void http_date_answer(struct http_answer *answer, time_t now)
{
    if (answer->dated == now)
        return;
    memcpy(answer->text + strlen("HTTP/1.1 200 OK") + strlen(before_date), http_date(now), HTTP_DATE_SIZE - 1);
    answer->dated = now;
}

void http_put_size_field(struct http_out *out, const struct http_file *file)
{
    http_put(out, "Content-Range: bytes */");
    http_put_number(out, (uint64_t)file->entity.size, 10);
    http_put(out, "\r\n");
}
