#include "get_args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common_args.h"
#include "common_http.h"

enum {
    BACKEND = 256, CACERT, CONNECT_TIMEOUT, FAIL, HEAD, HEADER, HELP, INCLUDE, INSECURE, MAX_REDIRS, MAX_TIME, SILENT
};

static const struct option options[] = {{"backend", required_argument, NULL, BACKEND},
                                        {"cacert", required_argument, NULL, CACERT},
                                        {"connect-timeout", required_argument, NULL, CONNECT_TIMEOUT},
                                        {"fail", no_argument, NULL, FAIL},
                                        {"head", no_argument, NULL, HEAD},
                                        {"header", required_argument, NULL, HEADER},
                                        {"help", no_argument, NULL, HELP},
                                        {"include", no_argument, NULL, INCLUDE},
                                        {"insecure", no_argument, NULL, INSECURE},
                                        {"max-redirs", required_argument, NULL, MAX_REDIRS},
                                        {"max-time", required_argument, NULL, MAX_TIME},
                                        {"output", required_argument, NULL, 'o'},
                                        {"silent", no_argument, NULL, SILENT},
                                        {0}};

static void usage(FILE *to, const char *program)
{
    fprintf(to,
            "usage: %s [options] URL\n"
            "Fetches an http or https URL, and writes what it finds there to stdout.\n"
            "  --head               ask for the header only, and show it\n"
            "  --include            show the header before the body\n"
            "  --header 'K: V'      send this field; may be repeated\n"
            "  --output FILE, -o    write there; the file appears once it is complete\n"
            "  --fail               no body of an answer 400 and above; exit status 22\n"
            "  --max-redirs N       follow at most N redirections (10)\n"
            "  --connect-timeout S  seconds for one connection (10)\n"
            "  --max-time S         seconds for all of it (no limit)\n"
            "  --silent             neither progress nor messages\n"
            "  --cacert FILE        believe in the certificates there (the system's)\n"
            "  --insecure           believe whoever answers\n"
            "  --backend WORLD      auto, uring or epoll\n"
            "  --help               this text\n"
            "Exit status, as curl's: 0 done, 1 scheme not supported, 2 usage, 3 malformed URL, 6 host name not looked\n"
            "up, 7 not connected, 8 answer not understood, 18 cut short, 22 status 400 and above (--fail), 23 not\n"
            "written, 28 out of time, 35 TLS failed, 47 too many redirections, 52 empty answer, 56 not received,\n"
            "60 the server's certificate is refused, 77 --cacert is no good.\n",
            program);
}

__attribute__((noreturn))
static void mistake(const char *program, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program, what, why);
    usage(stderr, program);
    exit(2);
}

/* Nothing that a server could take for more than one field. */
static int is_field(const char *text)
{
    char line[HTTP_LINE_MAX];
    int len = snprintf(line, sizeof line, "%s\r\n", text);
    struct http_text rest = {line, (size_t)len}, name, value;
    return len < (int)sizeof line && http_next_field(&rest, &name, &value) == 1 && rest.len == 0;
}

static void take_option(const char *program, int option, char *value, struct get_args *args)
{
    int64_t number;
    switch (option) {
    case BACKEND:
        if ((args->backend = backend_by_name(value)) < 0)
            mistake(program, value, "no such backend");
        break;
    case CACERT:
        args->cacert = value;
        break;
    case CONNECT_TIMEOUT:
    case MAX_TIME:
        if (seconds_by_text(value) == 0)
            mistake(program, value, "not a number of seconds");
        *(option == MAX_TIME ? &args->max_time_ns : &args->connect_timeout_ns) = seconds_by_text(value);
        break;
    case MAX_REDIRS:
        if (http_number((struct http_text){value, strlen(value)}, &number) < 0 || number > 1000)
            mistake(program, value, "not a number up to 1000");
        args->max_redirects = (int)number;
        break;
    case HEADER:
        if (!is_field(value))
            mistake(program, value, "not a header field");
        if (args->header_count == GET_HEADERS_MAX)
            mistake(program, value, "too many");
        args->headers[args->header_count++] = value;
        break;
    case 'o':
        args->output = strcmp(value, "-") == 0 ? NULL : value;
        break;
    case FAIL:
        args->fail = 1;
        break;
    case HEAD:
        args->head_only = 1;
        break;
    case INCLUDE:
        args->include = 1;
        break;
    case INSECURE:
        args->insecure = 1;
        break;
    case SILENT:
        args->silent = 1;
        break;
    case HELP:
        usage(stdout, program);
        exit(0);
    default: /* getopt has said what */
        usage(stderr, program);
        exit(2);
    }
}

void get_read_args(int argc, char **argv, struct get_args *args)
{
    int option;
    *args = (struct get_args){.max_redirects = 10};
    while ((option = getopt_long(argc, argv, "o:", options, NULL)) >= 0)
        take_option(argv[0], option, optarg, args);
    if (optind + 1 != argc)
        mistake(argv[0], optind < argc ? argv[optind + 1] : "URL", optind < argc ? "one URL at a time" : "missing");
    args->url = argv[optind];
}
