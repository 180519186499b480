#include "http_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For kernels without openat2: name by name, and no symbolic link anywhere. */
static int open_by_steps(int dir, char *path, int flags)
{
    int at = dir, fd;
    for (char *name = path, *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        fd = openat(at, *name ? name : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        *slash = '/';
        if (at != dir)
            close(at);
        if (fd < 0)
            return fd;
        at = fd;
    }
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    fd = openat(at, *last ? last : ".", flags | O_NOFOLLOW);
    if (at != dir)
        close(at);
    return fd;
}

/* Nothing above `dir` is opened, by whatever links. */
static int open_beneath(int dir, char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_by_steps(dir, path, (int)how.flags);
    return (int)fd;
}

/* Links that lead out, or in circles, are as if they were not there. */
static int status_of(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return 503;
    default:
        return 404;
    }
}

/* Content-Type by the end of the name. */
static const char *type_of(const char *name)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"}, {".htm", "text/html; charset=utf-8"}, {".css", "text/css"},
        {".js", "text/javascript"}, {".mjs", "text/javascript"}, {".json", "application/json"},
        {".wasm", "application/wasm"}, {".txt", "text/plain"}, {".xml", "application/xml"},
        {".svg", "image/svg+xml"}, {".png", "image/png"}, {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"},
        {".gif", "image/gif"}, {".webp", "image/webp"}, {".ico", "image/x-icon"}, {".woff2", "font/woff2"},
        {".mp4", "video/mp4"}, {".pdf", "application/pdf"}, {".gz", "application/gzip"}, {".zip", "application/zip"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

int http_open_file(int root, char *name, struct http_file *file)
{
    struct stat st;
    size_t len = strlen(name);
    int names_directory = len == 0 || name[len - 1] == '/';
    if (names_directory)
        strcpy(name + len, "index.html");
    int fd = open_beneath(root, name);
    if (fd < 0)
        return status_of(errno);
    int known = fstat(fd, &st) == 0;
    if (!known || !S_ISREG(st.st_mode)) {
        close(fd);
        return known && S_ISDIR(st.st_mode) && !names_directory ? 301 : 403;
    }
    file->fd = fd;
    file->type = type_of(name);
    file->entity = (struct http_entity){st.st_size, st.st_mtim};
    file->version = (struct http_version){st.st_dev, st.st_ino, st.st_ctim};
    return 0;
}
