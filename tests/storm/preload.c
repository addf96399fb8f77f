/* Preloaded into cardwrightd by the storm (main.rs): kills it right before the N-th write or sync of its ledger, and can
 * make that a power cut, after which nothing that was not synced is there.
 *
 *   CRASH_LEDGER  absolute path of the ledger; its -wal and -journal belong to it
 *   CRASH_AT      "write:17" or "sync:4", counted from the start of the process
 *   CUT           set: a power cut
 *
 * In a power cut the bytes and sizes of those files become what they were at each file's last sync, and the -shm, which is
 * only memory, goes. Names of files are not undone. The library leaves the environment, so children run without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3, WRITE = 0, SYNC = 1 };
static const char *const suffixes[FILES] = {"", "-wal", "-journal"};

/* What stood in a file before a write. */
struct before {
    off_t at;
    size_t length;
    char *bytes;
};

struct file {
    ino_t ino;
    off_t size; /* at the last sync */
    struct before *before;
    size_t count, room;
};

static struct file files[FILES];
static char ledger[PATH_MAX];
static int cut, crash_kind = -1;
static unsigned long crash_at, done[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int), (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);

static void must(int holds, const char *what) {
    if (!holds) {
        dprintf(2, "preload: %s\n", what);
        abort();
    }
}

static void resolve(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
}

__attribute__((constructor)) static void load(void) {
    unsetenv("LD_PRELOAD");
    const char *path = getenv("CRASH_LEDGER"), *at = getenv("CRASH_AT");
    must(path && at && strlen(path) < sizeof ledger - 16, "CRASH_LEDGER and CRASH_AT are needed");
    cut = getenv("CUT") != NULL;
    crash_kind = strncmp(at, "write:", 6) == 0 ? WRITE : SYNC;
    crash_at = strtoul(strchr(at, ':') + 1, NULL, 10);
    strcpy(ledger, path);
}

/* Which of the ledger's files a descriptor is; -1 = none. */
static int which(int fd) {
    if (!real_ftruncate) resolve();
    if (!ledger[0]) return -1;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return -1;
    path[n] = 0;
    size_t stem = strlen(ledger);
    if (strncmp(path, ledger, stem) != 0) return -1;
    for (int i = 0; i < FILES; i++)
        if (strcmp(path + stem, suffixes[i]) == 0) return i;
    return -1;
}

static void restore(int i) {
    struct file *f = &files[i];
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s%s", ledger, suffixes[i]);
    struct stat st;
    int fd = open(path, O_RDWR);
    if (f->count == 0 || fd < 0 || fstat(fd, &st) != 0 || st.st_ino != f->ino) return;
    while (f->count > 0) {
        struct before *b = &f->before[--f->count];
        must(real_pwrite(fd, b->bytes, b->length, b->at) == (ssize_t)b->length, "cannot restore");
    }
    must(real_ftruncate(fd, f->size) == 0, "cannot restore the size");
}

/* Counts; the last one does not return, and as the lock is held, nobody writes meanwhile. */
static void step(int kind) {
    if (++done[kind] != crash_at || kind != crash_kind) return;
    if (cut) {
        for (int i = 0; i < FILES; i++) restore(i);
        char shm[PATH_MAX + 8];
        snprintf(shm, sizeof shm, "%s-shm", ledger);
        unlink(shm);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Keeps what stands in the file from `at` on, `length` bytes at most. */
static void keep(int i, int fd, off_t at, size_t length) {
    struct file *f = &files[i];
    struct stat st;
    if (!cut || length == 0) return;
    must(fstat(fd, &st) == 0, "fstat");
    if (f->ino != st.st_ino) f->count = 0; /* another file under this name */
    if (f->count == 0) f->ino = st.st_ino, f->size = st.st_size;
    if (f->count == f->room) {
        f->room = 2 * f->room + 64;
        must((f->before = realloc(f->before, f->room * sizeof *f->before)) != NULL, "memory");
    }
    struct before *b = &f->before[f->count++];
    b->at = at;
    must((b->bytes = malloc(length)) != NULL, "memory");
    ssize_t n = pread(fd, b->bytes, length, at);
    must(n >= 0, "pread");
    b->length = (size_t)n;
}

static void forget(int i) {
    struct file *f = &files[i];
    while (f->count > 0) free(f->before[--f->count].bytes);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    int i = which(fd);
    if (i < 0) return real_write(fd, bytes, n);
    pthread_mutex_lock(&lock);
    step(WRITE);
    keep(i, fd, lseek(fd, 0, SEEK_CUR), n);
    ssize_t wrote = real_write(fd, bytes, n);
    pthread_mutex_unlock(&lock);
    return wrote;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    int i = which(fd);
    if (i < 0) return real_pwrite(fd, bytes, n, at);
    pthread_mutex_lock(&lock);
    step(WRITE);
    keep(i, fd, at, n);
    ssize_t wrote = real_pwrite(fd, bytes, n, at);
    pthread_mutex_unlock(&lock);
    return wrote;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwrite64(fd, bytes, n, at); }

int ftruncate64(int fd, off64_t size) {
    int i = which(fd);
    if (i < 0) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size > size) keep(i, fd, size, (size_t)(st.st_size - size));
    int result = real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int sync_by(int (*real)(int), int fd) {
    int i = which(fd);
    if (i < 0) return real(fd);
    pthread_mutex_lock(&lock);
    step(SYNC);
    int result = real(fd);
    if (result == 0) forget(i);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return sync_by(real_fsync, fd); }

int fdatasync(int fd) { return sync_by(real_fdatasync, fd); }
