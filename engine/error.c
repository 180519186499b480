/* Codes as words. Static texts only. */
#include <string.h>

#include "base.h"
#include "weir.h"

#define STRING(x) #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

static const struct {
    int code;
    const char *name, *text;
} own[] = {
    {0, "0", "success"},
    {WEIR_EOF, "WEIR_EOF", "end of stream"},
    {WEIR_ECLOSED, "WEIR_ECLOSED", "stream is closed"},
    {WEIR_EUNSATISFIABLE, "WEIR_EUNSATISFIABLE", "what was to be read does not end within its limit"},
    {WEIR_EBUFFULL, "WEIR_EBUFFULL", "read buffer limit exceeded"},
    {WEIR_ETHREAD, "WEIR_ETHREAD", "called from a thread that does not run the loop"},
    {WEIR_EFORK, "WEIR_EFORK", "called in a forked child"},
    {WEIR_EWORLD, "WEIR_EWORLD", "io_uring is required and was refused"},
    {WEIR_EREGEX, "WEIR_EREGEX", "a match would take more work or memory than allowed"},
    {WEIR_ETRUNCATED, "WEIR_ETRUNCATED", "it ended before what was announced"},
    {WEIR_ETLS, "WEIR_ETLS", "TLS failed"},
    {WEIR_ECERT, "WEIR_ECERT", "the peer's certificate is refused"},
};

const char *weir_strerror(int code)
{
    for (size_t i = 0; i < WR_COUNT(own); i++)
        if (own[i].code == code)
            return own[i].text;
    const char *text = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
    return text ? text : "unknown error";
}

const char *weir_error_name(int code)
{
    for (size_t i = 0; i < WR_COUNT(own); i++)
        if (own[i].code == code)
            return own[i].name;
    const char *name = code < 0 && code > -4096 ? strerrorname_np(-code) : NULL;
    return name ? name : "?";
}

const char *weir_version(void)
{
    return VERSION(WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
}
