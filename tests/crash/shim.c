/* Makes one call of a process on the files of one folder fail, or the process end there.
 *
 * Loaded with LD_PRELOAD and asleep until shim_arm. It sees every call that changes files, those of
 * SQLite included: open for creating or writing, write, pwrite, ftruncate, fsync, fdatasync, rename,
 * unlink, mkdir; and read and pread when asked.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096
enum { SLEEP, COUNT, EXIT_BEFORE, EXIT_AFTER, FAIL };

static int mode = SLEEP, failure, with_reads;
static long at, seen;
static char root[PATH_MAX];
static char ours[FILES];
static char last[PATH_MAX + 64];

void shim_arm(const char *folder, int how, long which, int error, int reads) {
    strncpy(root, folder, sizeof root - 1);
    memset(ours, 0, sizeof ours);
    mode = how; at = which; failure = error; with_reads = reads; seen = 0;
}
long shim_disarm(void) { mode = SLEEP; return seen; }
const char *shim_last(void) { return last; }

static int inside(const char *path) {
    return mode != SLEEP && path && strncmp(path, root, strlen(root)) == 0;
}
static int inside_fd(int fd) { return mode != SLEEP && fd >= 0 && fd < FILES && ours[fd]; }

/* Returns 1 when the call must fail; ends the process when it must end before the call. */
static int strike(const char *name, const char *what) {
    if (++seen != at) return 0;
    snprintf(last, sizeof last, "%s %s", name, what);
    if (mode == EXIT_BEFORE) _exit(137);
    if (mode == FAIL) { errno = failure; return 1; }
    return 0;
}
static void after(void) { if (mode == EXIT_AFTER && seen == at) _exit(137); }
static const char *of_fd(int fd) {
    static char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return path;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)
#define CALL(condition, name, what, call) \
    int hit = condition; \
    if (hit && strike(name, what)) return -1; \
    __typeof__(call) result = call; \
    if (hit) after(); \
    return result

#define OPEN(symbol, text) \
int symbol(const char *path, int flags, ...) { \
    REAL(int, text, const char *, int, ...); \
    va_list rest; va_start(rest, flags); int permissions = va_arg(rest, int); va_end(rest); \
    int hit = inside(path) && (flags & (O_CREAT | O_TRUNC)); \
    if (hit && strike("open", path)) return -1; \
    int fd = real(path, flags, permissions); \
    if (fd >= 0 && fd < FILES) ours[fd] = inside(path); \
    if (hit) after(); \
    return fd; \
}
OPEN(open, "open")
OPEN(open64, "open64")

#define OPENAT(symbol, text) \
int symbol(int folder, const char *path, int flags, ...) { \
    REAL(int, text, int, const char *, int, ...); \
    va_list rest; va_start(rest, flags); int permissions = va_arg(rest, int); va_end(rest); \
    int hit = inside(path) && (flags & (O_CREAT | O_TRUNC)); \
    if (hit && strike("open", path)) return -1; \
    int fd = real(folder, path, flags, permissions); \
    if (fd >= 0 && fd < FILES) ours[fd] = inside(path); \
    if (hit) after(); \
    return fd; \
}
OPENAT(openat, "openat")
OPENAT(openat64, "openat64")

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    CALL(inside_fd(fd), "write", of_fd(fd), real(fd, data, size));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    CALL(inside_fd(fd), "pwrite", of_fd(fd), real(fd, data, size, offset));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    CALL(inside_fd(fd), "pwrite", of_fd(fd), real(fd, data, size, offset));
}
ssize_t read(int fd, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    CALL(with_reads && inside_fd(fd), "read", of_fd(fd), real(fd, data, size));
}
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    CALL(with_reads && inside_fd(fd), "pread", of_fd(fd), real(fd, data, size, offset));
}
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    CALL(inside_fd(fd), "ftruncate", of_fd(fd), real(fd, size));
}
int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    CALL(inside_fd(fd), "ftruncate", of_fd(fd), real(fd, size));
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    CALL(inside_fd(fd), "fsync", of_fd(fd), real(fd));
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    CALL(inside_fd(fd), "fdatasync", of_fd(fd), real(fd));
}
int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    CALL(inside(to), "rename", to, real(from, to));
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    CALL(inside(path), "unlink", path, real(path));
}
int mkdir(const char *path, mode_t permissions) {
    REAL(int, "mkdir", const char *, mode_t);
    CALL(inside(path), "mkdir", path, real(path, permissions));
}
