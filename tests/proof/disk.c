/* disk.so - between a program and its disk (LD_PRELOAD): writes down every change below one folder in its order, and
 * fails the changes that it is told to fail.
 *
 *   DISK_FOLDER   absolute path; only files below it are looked at
 *   DISK_LOG      where to record; absent: no recording
 *   DISK_FAIL     "FIRST COUNT ERRNO HALF": the changes numbered FIRST to FIRST+COUNT-1 (from 0) fail with ERRNO; of a write
 *                 that fails with HALF = 1 the first half is written all the same
 *   DISK_COUNTED  a file that holds the number of changes so far (eight octets, mapped)
 *
 * A change: write, truncate, create, rename, remove, sync of a file, sync of a folder.
 * The recording is one record after another: a header (struct record), then `name` octets of path, then `length` octets of
 * data. Syncs have two records, where they begin and where they end: only what was written before the begin is safe at the
 * end. Two marks tell what the world was told: an acknowledgement before it is handed to the network, and a next hop's
 * acknowledgement when it has arrived.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE, CREATE, RENAME, REMOVE, SYNC, SYNCED, FOLDER_SYNC, FOLDER_SYNCED, MKDIR, PROMISED, TAKEN };

struct record {
    uint32_t kind, name;
    uint64_t offset, length;
};

#define FILES 4096
static char *path_of[FILES]; /* by descriptor; NULL: not below the folder */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int recording = -1;
static long fail_first = -1, fail_count;
static int fail_errno, fail_half;
static volatile uint64_t *counted;
static uint64_t count_here;

#define REAL(type, name, ...) static type (*real_##name)(__VA_ARGS__)
REAL(int, open64, const char *, int, ...);
REAL(int, openat64, int, const char *, int, ...);
REAL(int, close, int);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
REAL(int, ftruncate64, int, off64_t);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, rename, const char *, const char *);
REAL(int, unlink, const char *);
REAL(int, mkdir, const char *, mode_t);
REAL(ssize_t, send, int, const void *, size_t, int);
REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
REAL(ssize_t, recv, int, void *, size_t, int);
REAL(int, fcntl64, int, int, ...);

__attribute__((constructor)) static void begin(void) {
#define FIND(name) real_##name = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name)
    FIND(open64), FIND(openat64), FIND(close), FIND(write), FIND(writev), FIND(pwrite64), FIND(ftruncate64);
    FIND(fsync), FIND(fdatasync), FIND(rename), FIND(unlink), FIND(mkdir), FIND(send), FIND(sendmsg), FIND(recv), FIND(fcntl64);
    folder = getenv("DISK_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
    const char *log = getenv("DISK_LOG"), *fail = getenv("DISK_FAIL"), *file = getenv("DISK_COUNTED");
    if (log)
        recording = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fail)
        sscanf(fail, "%ld %ld %d %d", &fail_first, &fail_count, &fail_errno, &fail_half);
    counted = &count_here;
    if (file) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && syscall(SYS_ftruncate, fd, 8L) == 0) {
            void *map = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (map != MAP_FAILED)
                counted = map;
        }
    }
}

/* The path below the folder, in `room`, or NULL. */
static const char *below(int at, const char *path, char *room) {
    if (!folder || !path)
        return NULL;
    if (path[0] != '/') {
        char link[64], base[PATH_MAX];
        ssize_t length = 0;
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base))
                return NULL;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            if ((length = readlink(link, base, sizeof base - 1)) < 0)
                return NULL;
            base[length] = 0;
        }
        snprintf(room, PATH_MAX, "%.2000s/%.2000s", base, path);
    } else {
        snprintf(room, PATH_MAX, "%s", path);
    }
    if (strncmp(room, folder, folder_length) != 0 || (room[folder_length] != '/' && room[folder_length] != 0))
        return NULL;
    size_t length = strlen(room);
    /* SQLite's index of its log is memory, not disk: it is made anew at each start. */
    if (length > 4 && strcmp(room + length - 4, "-shm") == 0)
        return NULL;
    return room[folder_length] ? room + folder_length + 1 : ".";
}

static void note(enum kind kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    if (recording < 0)
        return;
    struct record record = { kind, (uint32_t)strlen(name), offset, length };
    struct iovec parts[3] = { { &record, sizeof record }, { (void *)name, record.name }, { (void *)data, data ? length : 0 } };
    if (!data)
        record.length = 0;
    syscall(SYS_writev, recording, parts, 3L);
}

/* Whether the next change fails; counts it. With the lock held. */
static int fails(void) {
    long number = (long)*counted;
    *counted = number + 1;
    return fail_first >= 0 && number >= fail_first && number < fail_first + fail_count;
}

static const char *file(int fd) {
    return fd >= 0 && fd < FILES ? path_of[fd] : NULL;
}

static int opened(int fd, int at, const char *path, int flags, int existed) {
    char room[PATH_MAX];
    const char *name = fd >= 0 && fd < FILES ? below(at, path, room) : NULL;
    if (!name)
        return fd;
    pthread_mutex_lock(&lock);
    free(path_of[fd]);
    path_of[fd] = strdup(name);
    if ((flags & O_CREAT) && !existed)
        note(CREATE, name, 0, NULL, 0);
    if ((flags & O_TRUNC) && existed)
        note(TRUNCATE, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

static int open_any(int at, const char *path, int flags, mode_t mode) {
    char room[PATH_MAX];
    struct stat64 seen;
    int existed = 1;
    if ((flags & O_CREAT) && below(at, path, room)) {
        existed = fstatat64(at, path, &seen, 0) == 0;
        pthread_mutex_lock(&lock);
        int failed = !existed && fails();
        pthread_mutex_unlock(&lock);
        if (failed) {
            errno = fail_errno;
            return -1;
        }
    }
    return opened(real_openat64(at, path, flags, mode), at, path, flags, existed);
}

#define MODE(flags)                                                                                                                                            \
    mode_t mode = 0;                                                                                                                                           \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                                                                     \
        va_list more;                                                                                                                                          \
        va_start(more, flags);                                                                                                                                 \
        mode = va_arg(more, mode_t);                                                                                                                           \
        va_end(more);                                                                                                                                          \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_any(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_any(at, path, flags, mode);
}

static int copied(int from, int to) {
    if (file(from) && to >= 0 && to < FILES) {
        pthread_mutex_lock(&lock);
        free(path_of[to]);
        path_of[to] = strdup(path_of[from]);
        pthread_mutex_unlock(&lock);
    }
    return to;
}

static int fcntl_any(int fd, int command, void *argument) {
    int result = real_fcntl64(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
int fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return fcntl_any(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return fcntl_any(fd, command, argument);
}

int close(int fd) {
    if (file(fd)) {
        pthread_mutex_lock(&lock);
        free(path_of[fd]);
        path_of[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

static ssize_t pwrite_any(int fd, const void *data, size_t length, off64_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t result;
    if (fails()) {
        size_t half = fail_half ? length / 2 : 0;
        if (half && (result = real_pwrite64(fd, data, half, offset)) > 0)
            note(WRITE, file(fd), offset, data, result);
        errno = fail_errno;
        result = -1;
    } else if ((result = real_pwrite64(fd, data, length, offset)) > 0) {
        note(WRITE, file(fd), offset, data, result);
    }
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

/* Where a plain write goes. */
static off64_t place(int fd) {
    struct stat64 seen;
    int flags = real_fcntl64(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND) && fstat64(fd, &seen) == 0)
        return seen.st_size;
    return lseek64(fd, 0, SEEK_CUR);
}

/* What the world is told: `250 2.0.0 accepted as ID`. */
static void promise(const void *data, size_t length) {
    static const char words[] = "accepted as ";
    const char *found = recording < 0 ? NULL : memmem(data, length, words, sizeof words - 1);
    if (!found)
        return;
    found += sizeof words - 1;
    size_t rest = length - (found - (const char *)data), id = 0;
    while (id < rest && found[id] > ' ')
        id++;
    pthread_mutex_lock(&lock);
    note(PROMISED, "", 0, found, id);
    pthread_mutex_unlock(&lock);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return file(fd) ? pwrite_any(fd, data, length, offset) : real_pwrite64(fd, data, length, offset);
}
ssize_t pwrite(int fd, const void *data, size_t length, off64_t offset) {
    return pwrite64(fd, data, length, offset);
}
ssize_t write(int fd, const void *data, size_t length) {
    if (!file(fd)) {
        promise(data, length);
        return real_write(fd, data, length);
    }
    off64_t at = place(fd);
    ssize_t result = pwrite_any(fd, data, length, at);
    if (result > 0)
        lseek64(fd, at + result, SEEK_SET);
    return result;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!file(fd)) {
        for (int at = 0; at < count; at++)
            promise(parts[at].iov_base, parts[at].iov_len);
        return real_writev(fd, parts, count);
    }
    ssize_t total = 0;
    for (int at = 0; at < count; at++) {
        ssize_t result = write(fd, parts[at].iov_base, parts[at].iov_len);
        if (result < 0)
            return total ? total : result;
        total += result;
        if ((size_t)result < parts[at].iov_len)
            break;
    }
    return total;
}

int ftruncate64(int fd, off64_t length) {
    if (!file(fd))
        return real_ftruncate64(fd, length);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (fails())
        errno = fail_errno;
    else if ((result = real_ftruncate64(fd, length)) == 0)
        note(TRUNCATE, file(fd), length, NULL, 0);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}
int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

/* `data`: fdatasync. Either way length and content are safe afterwards, and nothing is known of names. */
static int sync_any(int fd, int (*sync)(int)) {
    char name[PATH_MAX];
    struct stat64 seen;
    pthread_mutex_lock(&lock);
    snprintf(name, sizeof name, "%s", file(fd));
    int is_folder = fstat64(fd, &seen) == 0 && S_ISDIR(seen.st_mode), failed = fails();
    if (!failed)
        note(is_folder ? FOLDER_SYNC : SYNC, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (failed) {
        errno = fail_errno;
        return -1;
    }
    int result = sync(fd), kept = errno;
    if (result == 0) {
        pthread_mutex_lock(&lock);
        note(is_folder ? FOLDER_SYNCED : SYNCED, name, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = kept;
    return result;
}
int fsync(int fd) {
    return file(fd) ? sync_any(fd, real_fsync) : real_fsync(fd);
}
int fdatasync(int fd) {
    return file(fd) ? sync_any(fd, real_fdatasync) : real_fdatasync(fd);
}

int rename(const char *from, const char *to) {
    char room[PATH_MAX], other[PATH_MAX];
    const char *name = below(AT_FDCWD, from, room), *next = below(AT_FDCWD, to, other);
    if (!name || !next)
        return real_rename(from, to);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (fails())
        errno = fail_errno;
    else if ((result = real_rename(from, to)) == 0)
        note(RENAME, name, 0, next, strlen(next));
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}
int unlink(const char *path) {
    char room[PATH_MAX];
    const char *name = below(AT_FDCWD, path, room);
    if (!name)
        return real_unlink(path);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (fails())
        errno = fail_errno;
    else if ((result = real_unlink(path)) == 0)
        note(REMOVE, name, 0, NULL, 0);
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}
int mkdir(const char *path, mode_t mode) {
    char room[PATH_MAX];
    const char *name = below(AT_FDCWD, path, room);
    int result = real_mkdir(path, mode);
    if (name && result == 0) {
        pthread_mutex_lock(&lock);
        note(MKDIR, name, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    promise(data, length);
    return real_send(fd, data, length, flags);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    for (size_t at = 0; at < message->msg_iovlen; at++)
        promise(message->msg_iov[at].iov_base, message->msg_iov[at].iov_len);
    return real_sendmsg(fd, message, flags);
}
ssize_t recv(int fd, void *data, size_t length, int flags) {
    static const char words[] = "kept as ";
    ssize_t result = real_recv(fd, data, length, flags);
    const char *found = result > 0 && recording >= 0 ? memmem(data, result, words, sizeof words - 1) : NULL;
    if (found) {
        int kept = errno;
        found += sizeof words - 1;
        size_t rest = result - (found - (const char *)data), id = 0;
        while (id < rest && found[id] > ' ')
            id++;
        pthread_mutex_lock(&lock);
        note(TAKEN, "", 0, found, id);
        pthread_mutex_unlock(&lock);
        errno = kept;
    }
    return result;
}
