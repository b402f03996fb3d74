/* Makes one call of a process on the files of one folder fail, or the process end there.
 *
 * Loaded with LD_PRELOAD and asleep until shim_arm. It sees every call that changes files, those of
 * SQLite included: open for creating or emptying, write, truncate, sync, rename, unlink, mkdir, rmdir,
 * link, in all their forms, also by a folder's descriptor; and reading when asked.
 *
 * A sync is a call like the others but never reaches the disk: a killed process does not test the disk,
 * and waiting for it took half of the time.
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
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
enum { SLEEP, COUNT, EXIT_BEFORE, EXIT_AFTER, FAIL };

static int mode = SLEEP, failure, with_reads;
static long at, seen;
static char root[PATH_MAX];
static char ours[FILES];
static char last[2 * PATH_MAX + 64];

void shim_arm(const char *folder, int how, long which, int error, int reads) {
    strncpy(root, folder, sizeof root - 1);
    memset(ours, 0, sizeof ours);
    mode = how; at = which; failure = error; with_reads = reads; seen = 0;
}
long shim_seen(void) { return seen; }
long shim_disarm(void) { mode = SLEEP; return seen; }
const char *shim_last(void) { return last; }

static const char *of_fd(int fd) {
    static __thread char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return path;
}
/* The whole path of a name that may be relative to a folder's descriptor. */
static const char *whole(int folder, const char *path) {
    static __thread char joined[2 * PATH_MAX];
    if (mode == SLEEP || !path || path[0] == '/') return path;
    snprintf(joined, sizeof joined, "%s/%s", of_fd(folder), path);
    return joined;
}
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

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)
#define CALL(condition, name, what, call) \
    int hit = condition; \
    if (hit && strike(name, what)) return -1; \
    __typeof__(call) result = call; \
    if (hit) after(); \
    return result

#define OPENED(path, call) \
    int hit = inside(path) && (flags & (O_CREAT | O_TRUNC)); \
    if (hit && strike("open", path)) return -1; \
    int fd = call; \
    if (fd >= 0 && fd < FILES) ours[fd] = inside(path); \
    if (hit) after(); \
    return fd

#define OPEN(symbol, text) \
int symbol(const char *path, int flags, ...) { \
    REAL(int, text, const char *, int, ...); \
    va_list rest; va_start(rest, flags); int permissions = va_arg(rest, int); va_end(rest); \
    const char *full = whole(AT_FDCWD, path); \
    OPENED(full, real(path, flags, permissions)); \
}
OPEN(open, "open")
OPEN(open64, "open64")

#define OPENAT(symbol, text) \
int symbol(int folder, const char *path, int flags, ...) { \
    REAL(int, text, int, const char *, int, ...); \
    va_list rest; va_start(rest, flags); int permissions = va_arg(rest, int); va_end(rest); \
    const char *full = whole(folder, path); \
    OPENED(full, real(folder, path, flags, permissions)); \
}
OPENAT(openat, "openat")
OPENAT(openat64, "openat64")

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < FILES) ours[fd] = 0;
    return real(fd);
}

/* Calls that have a descriptor first, which must be ours. */
#define WRITES(type, name, parameters, types, arguments) \
type name parameters { \
    REAL(type, #name, types); \
    CALL(inside_fd(fd), #name, of_fd(fd), real arguments); \
}
#define READS(type, name, parameters, types, arguments) \
type name parameters { \
    REAL(type, #name, types); \
    CALL(with_reads && inside_fd(fd), #name, of_fd(fd), real arguments); \
}
#define T(...) __VA_ARGS__
typedef const struct iovec *parts_t;

WRITES(ssize_t, write, (int fd, const void *p, size_t n), T(int, const void *, size_t), (fd, p, n))
WRITES(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t o), T(int, const void *, size_t, off_t), (fd, p, n, o))
WRITES(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t o), T(int, const void *, size_t, off64_t), (fd, p, n, o))
WRITES(ssize_t, writev, (int fd, parts_t p, int n), T(int, parts_t, int), (fd, p, n))
WRITES(ssize_t, pwritev, (int fd, parts_t p, int n, off_t o), T(int, parts_t, int, off_t), (fd, p, n, o))
WRITES(int, ftruncate, (int fd, off_t n), T(int, off_t), (fd, n))
WRITES(int, ftruncate64, (int fd, off64_t n), T(int, off64_t), (fd, n))
WRITES(int, fchmod, (int fd, mode_t m), T(int, mode_t), (fd, m))
READS(ssize_t, read, (int fd, void *p, size_t n), T(int, void *, size_t), (fd, p, n))
READS(ssize_t, pread, (int fd, void *p, size_t n, off_t o), T(int, void *, size_t, off_t), (fd, p, n, o))
READS(ssize_t, pread64, (int fd, void *p, size_t n, off64_t o), T(int, void *, size_t, off64_t), (fd, p, n, o))
READS(ssize_t, readv, (int fd, parts_t p, int n), T(int, parts_t, int), (fd, p, n))

int posix_fallocate(int fd, off_t offset, off_t size) { /* returns the error itself */
    REAL(int, "posix_fallocate", int, off_t, off_t);
    int hit = inside_fd(fd);
    if (hit && strike("posix_fallocate", of_fd(fd))) return failure;
    int result = real(fd, offset, size);
    if (hit) after();
    return result;
}
int fsync(int fd) { CALL(inside_fd(fd), "fsync", of_fd(fd), (int)0); }
int fdatasync(int fd) { CALL(inside_fd(fd), "fdatasync", of_fd(fd), (int)0); }

/* Copies within the kernel: writing to one of ours, or reading from one. */
#define COPIES(name) \
ssize_t name(int to, int fd, off_t *offset, size_t size) { \
    REAL(ssize_t, #name, int, int, off_t *, size_t); \
    CALL(inside_fd(to) || (with_reads && inside_fd(fd)), #name, of_fd(fd), real(to, fd, offset, size)); \
}
COPIES(sendfile)
COPIES(sendfile64)
ssize_t copy_file_range(int fd, off64_t *o, int to, off64_t *t, size_t size, unsigned flags) {
    REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
    CALL(inside_fd(to) || (with_reads && inside_fd(fd)), "copy_file_range", of_fd(fd),
         real(fd, o, to, t, size, flags));
}

/* Calls on names. */
#define NAMES(name, parameters, types, arguments, folder, path) \
int name parameters { \
    REAL(int, #name, types); \
    const char *full = whole(folder, path); \
    CALL(inside(full), #name, full, real arguments); \
}
NAMES(rename, (const char *a, const char *b), T(const char *, const char *), (a, b), AT_FDCWD, b)
NAMES(renameat, (int f, const char *a, int g, const char *b), T(int, const char *, int, const char *), (f, a, g, b), g, b)
NAMES(renameat2, (int f, const char *a, int g, const char *b, unsigned o), T(int, const char *, int, const char *, unsigned), (f, a, g, b, o), g, b)
NAMES(link, (const char *a, const char *b), T(const char *, const char *), (a, b), AT_FDCWD, b)
NAMES(linkat, (int f, const char *a, int g, const char *b, int o), T(int, const char *, int, const char *, int), (f, a, g, b, o), g, b)
NAMES(symlink, (const char *a, const char *b), T(const char *, const char *), (a, b), AT_FDCWD, b)
NAMES(unlink, (const char *p), T(const char *), (p), AT_FDCWD, p)
NAMES(unlinkat, (int f, const char *p, int o), T(int, const char *, int), (f, p, o), f, p)
NAMES(rmdir, (const char *p), T(const char *), (p), AT_FDCWD, p)
NAMES(mkdir, (const char *p, mode_t m), T(const char *, mode_t), (p, m), AT_FDCWD, p)
NAMES(mkdirat, (int f, const char *p, mode_t m), T(int, const char *, mode_t), (f, p, m), f, p)
NAMES(truncate, (const char *p, off_t n), T(const char *, off_t), (p, n), AT_FDCWD, p)
NAMES(truncate64, (const char *p, off64_t n), T(const char *, off64_t), (p, n), AT_FDCWD, p)
NAMES(chmod, (const char *p, mode_t m), T(const char *, mode_t), (p, m), AT_FDCWD, p)
