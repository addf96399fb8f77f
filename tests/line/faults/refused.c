/* A disk that refuses one sync: the first sync with data to write of the file whose path ends with REFUSED. FILLER is a file on
 * the file system under that disk; it takes all the room during the sync, so that the kernel really fails, with all the effects
 * of that. The sync of an emptied file has no data that could fail, so this library returns the error itself and does not sync.
 *
 * It works only in the process that has LD_PRELOAD; the processes that it starts do not sync such files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_flag over = ATOMIC_FLAG_INIT;
static atomic_int grown;

static int is_meant(int fd) {
    const char *end = getenv("REFUSED");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (!end || n < (ssize_t)strlen(end)) return 0;
    path[n] = 0;
    return strcmp(path + n - strlen(end), end) == 0;
}

static void fill(const char *filler) {
    static const char bytes[1 << 20];
    int fd = open(filler, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t n = sizeof bytes; fd >= 0 && n >= 4096;)
        if (write(fd, bytes, n) < (ssize_t)n) n /= 2;
    close(fd);
}

static int sync_by(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *filler = getenv("FILLER");
    struct stat st;
    if (!filler || fstat(fd, &st) != 0 || !is_meant(fd)) return real(fd);
    /* Each commit syncs the WAL; the sync to refuse is the one after the WAL was emptied. */
    const char *end = strrchr(getenv("REFUSED"), '-');
    int wal = end && strcmp(end, "-wal") == 0;
    if (wal && st.st_size > 0) grown = 1;
    if ((wal && (!grown || st.st_size > 0)) || atomic_flag_test_and_set(&over)) return real(fd);
    if (wal) {
        errno = EIO;
        return -1;
    }
    fill(filler);
    int result = real(fd), error = errno;
    unlink(filler);
    if (result == 0) atomic_flag_clear(&over);
    errno = error;
    return result;
}

int fsync(int fd) { return sync_by("fsync", fd); }

int fdatasync(int fd) { return sync_by("fdatasync", fd); }
