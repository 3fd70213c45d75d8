/*
 * Records what a process does to the files below one folder, in the order it does it, so that the states a power cut
 * may leave can be made from the record. Loaded with LD_PRELOAD; POWER_ROOT is the folder, POWER_TRACE the record.
 *
 * Every record is: kind (1 byte), four 64-bit numbers, two 32-bit lengths, then so many bytes of each text.
 *   W file offset        data     bytes written
 *   T file length                 cut or grown
 *   S file 1 for a folder         on the disk from here on
 *   C file 1 for a folder path    a new name
 *   R 0 1 for an exchange path    renamed to the second text
 *   L                    path     the second text is another name of it
 *   U                    path     removed
 *   X                    what     something this shim cannot record; the run is void
 * "file" is device and inode. One lock makes the order of the record the order of the calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("POWER_ROOT"), *file = getenv("POWER_TRACE");
    if (!folder || !file || !realpath(folder, root))
        return;
    root_length = strlen(root);
    int opened = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (opened >= 0) {
        trace = fcntl(opened, F_DUPFD_CLOEXEC, 200);
        syscall(SYS_close, opened);
    }
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static void put(char kind, uint64_t a, uint64_t b, uint64_t c, uint64_t d, const void *one, size_t one_length,
                const void *two, size_t two_length)
{
    char head[1 + 4 * 8 + 2 * 4];
    uint64_t numbers[4] = {a, b, c, d};
    uint32_t lengths[2] = {(uint32_t)one_length, (uint32_t)two_length};
    head[0] = kind;
    memcpy(head + 1, numbers, 32);
    memcpy(head + 33, lengths, 8);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)one, one_length}, {(void *)two, two_length}};
    size_t total = sizeof head + one_length + two_length;
    if (syscall(SYS_writev, trace, parts, 3) != (long)total)
        abort();
}

static int below(const char *path)
{
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || path[root_length] == 0);
}

/* Where a name lies, with its folder resolved; 0 when it is not below the folder. */
static int place(int folder, const char *path, char *out)
{
    char whole[PATH_MAX], parent[PATH_MAX];
    if (trace < 0 || !path)
        return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else if (folder == AT_FDCWD) {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here))
            return 0;
        if (snprintf(whole, sizeof whole, "%s/%s", here, path) >= (int)sizeof whole)
            return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, sizeof whole - 1);
        if (length < 0)
            return 0;
        snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/')
        whole[--length] = 0;
    char *last = strrchr(whole, '/');
    if (!last)
        return 0;
    *last = 0;
    if (!realpath(*whole ? whole : "/", parent))
        return 0;
    if (snprintf(out, PATH_MAX, "%s/%s", parent, last + 1) >= PATH_MAX)
        return 0;
    return below(out);
}

/* Whether a descriptor is a file or folder below ours; a removed one still counts. */
static int ours(int fd, struct stat *about)
{
    char link[64], path[PATH_MAX];
    if (trace < 0 || fd == trace)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (!below(path) || fstat(fd, about))
        return 0;
    return S_ISREG(about->st_mode) || S_ISDIR(about->st_mode);
}

static void written(int fd, off_t offset, const void *data, ssize_t length)
{
    struct stat about;
    if (length > 0 && ours(fd, &about))
        put('W', about.st_dev, about.st_ino, (uint64_t)offset, 0, data, (size_t)length, NULL, 0);
}

static void lost(const char *what)
{
    put('X', 0, 0, 0, 0, what, strlen(what), NULL, 0);
}

static int opening(int folder, const char *path, int flags, mode_t mode)
{
    char where[PATH_MAX];
    struct stat about;
    if (!place(folder, path, where) || !(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE) {
        if (trace >= 0 && (flags & O_TMPFILE) == O_TMPFILE && path && place(folder, path, where))
            lost("O_TMPFILE");
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    }
    pthread_mutex_lock(&order);
    int before = !lstat(where, &about);
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int error = errno;
    if (fd >= 0 && !fstat(fd, &about)) {
        if (!before)
            put('C', about.st_dev, about.st_ino, 0, 0, where, strlen(where), NULL, 0);
        else if (flags & O_TRUNC)
            put('T', about.st_dev, about.st_ino, 0, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    errno = error;
    return fd;
}

#define MODE(last)                                                                                                     \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, last);                                                                                          \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }
int open(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opening(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opening(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* The call and its record under one lock, with errno kept. */
#define ORDERED(type, call, note)                                                                                      \
    if (trace < 0)                                                                                                     \
        return call;                                                                                                   \
    pthread_mutex_lock(&order);                                                                                        \
    type done = call;                                                                                                  \
    int error = errno;                                                                                                 \
    if (done >= 0) {                                                                                                   \
        note;                                                                                                          \
    }                                                                                                                  \
    pthread_mutex_unlock(&order);                                                                                      \
    errno = error;                                                                                                     \
    return done;

ssize_t write(int fd, const void *data, size_t length)
{
    ORDERED(ssize_t, syscall(SYS_write, fd, data, length), written(fd, lseek(fd, 0, SEEK_CUR) - done, data, done))
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
    ORDERED(ssize_t, syscall(SYS_pwrite64, fd, data, length, at), written(fd, at, data, done))
}
ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { return pwrite(fd, data, length, at); }

static void written_parts(int fd, const struct iovec *parts, int count, off_t at, ssize_t left)
{
    for (int i = 0; i < count && left > 0; i++) {
        ssize_t now = left < (ssize_t)parts[i].iov_len ? left : (ssize_t)parts[i].iov_len;
        written(fd, at, parts[i].iov_base, now);
        at += now;
        left -= now;
    }
}
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ORDERED(ssize_t, syscall(SYS_writev, fd, parts, count),
            written_parts(fd, parts, count, lseek(fd, 0, SEEK_CUR) - done, done))
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    ORDERED(ssize_t, REAL(pwritev)(fd, parts, count, at), written_parts(fd, parts, count, at, done))
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return pwritev(fd, parts, count, at); }

static void cut(int fd)
{
    struct stat about;
    if (ours(fd, &about))
        put('T', about.st_dev, about.st_ino, (uint64_t)about.st_size, 0, NULL, 0, NULL, 0);
}
int ftruncate(int fd, off_t length) { ORDERED(int, (int)syscall(SYS_ftruncate, fd, length), cut(fd)) }
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }
int fallocate(int fd, int how, off_t at, off_t length)
{
    ORDERED(int, (int)syscall(SYS_fallocate, fd, how, at, length), if (how) lost("fallocate"); else cut(fd))
}
int posix_fallocate(int fd, off_t at, off_t length) { return fallocate(fd, 0, at, length) ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t length) { return posix_fallocate(fd, at, length); }
int truncate(const char *path, off_t length)
{
    char where[PATH_MAX];
    ORDERED(int, (int)syscall(SYS_truncate, path, length), if (place(AT_FDCWD, path, where)) lost("truncate"))
}

static void synced(int fd)
{
    struct stat about;
    if (ours(fd, &about))
        put('S', about.st_dev, about.st_ino, S_ISDIR(about.st_mode), 0, NULL, 0, NULL, 0);
}
int fsync(int fd) { ORDERED(int, (int)syscall(SYS_fsync, fd), synced(fd)) }
int fdatasync(int fd) { ORDERED(int, (int)syscall(SYS_fdatasync, fd), synced(fd)) }

static int renaming(int from_folder, const char *from, int to_folder, const char *to, unsigned how)
{
    char one[PATH_MAX], two[PATH_MAX];
    int known = place(from_folder, from, one), known_too = place(to_folder, to, two);
    ORDERED(int, (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, how),
            if (known && known_too) put('R', 0, how == RENAME_EXCHANGE, 0, 0, one, strlen(one), two, strlen(two));
            else if (known || known_too) lost("a rename over the border"))
}
int rename(const char *from, const char *to) { return renaming(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renaming(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned how) { return renaming(a, from, b, to, how); }

static int removing(int folder, const char *path, int flags)
{
    char where[PATH_MAX];
    int known = place(folder, path, where);
    ORDERED(int, (int)syscall(SYS_unlinkat, folder, path, flags),
            if (known) put('U', 0, 0, 0, 0, where, strlen(where), NULL, 0))
}
int unlink(const char *path) { return removing(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removing(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return removing(folder, path, flags); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    char where[PATH_MAX];
    struct stat about;
    int known = place(folder, path, where);
    ORDERED(int, (int)syscall(SYS_mkdirat, folder, path, mode),
            if (known && !lstat(where, &about))
                put('C', about.st_dev, about.st_ino, 1, 0, where, strlen(where), NULL, 0))
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* Ways to write that nothing here takes; a run that does is void rather than wrong. */
static void refuse(int fd, const char *what)
{
    struct stat about;
    if (ours(fd, &about))
        lost(what);
}
ssize_t sendfile(int to, int from, off_t *at, size_t length)
{
    struct stat about;
    if (ours(to, &about)) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_sendfile, to, from, at, length);
}
ssize_t sendfile64(int to, int from, off_t *at, size_t length) { return sendfile(to, from, at, length); }
ssize_t copy_file_range(int from, off_t *a, int to, off_t *b, size_t length, unsigned flags)
{
    struct stat about;
    if (ours(to, &about)) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_copy_file_range, from, a, to, b, length, flags);
}
int linkat(int a, const char *from, int b, const char *to, int flags)
{
    char one[PATH_MAX], two[PATH_MAX];
    int known = place(a, from, one), known_too = place(b, to, two);
    ORDERED(int, (int)syscall(SYS_linkat, a, from, b, to, flags),
            if (known && known_too) put('L', 0, 0, 0, 0, one, strlen(one), two, strlen(two));
            else if (known || known_too) lost("a link over the border"))
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    char link[64], path[PATH_MAX];
    if (trace >= 0 && fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t end = readlink(link, path, sizeof path - 1);
        path[end > 0 ? end : 0] = 0;
        /* The index of the log is made anew after a crash, whatever it held. */
        if (end < 4 || strcmp(path + end - 4, "-shm"))
            refuse(fd, "mmap");
    }
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t length, int p, int flags, int fd, off_t offset) { return mmap(at, length, p, flags, fd, offset); }
