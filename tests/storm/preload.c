/* The storm (main.rs) and the tests of the line (line/blows.rs) preload this library into a process of the line. It kills the
 * process right before its N-th write or sync of the ledger, before it sends its N-th message, or before its N-th step with
 * other files. It can turn the kill into a power cut, which undoes everything that was not synced.
 *
 *   CRASH_IN      the process: the end of its argv[0], or its argv[1]; other processes only pass these variables on
 *   CRASH_AT      "write:17", "sync:4", "send:9", or "other:3" (a sync, renaming or removal of a file that is not the
 *                 ledger's); counted from the start of the process
 *   CRASH_FROM    if set, the count begins when there is a file of this name
 *   CRASH_LEDGER  for all but "send": absolute path of the ledger; the files with the suffixes below belong to it
 *   CRASH_COUNT   for "send": a file of 4 bytes in which all processes of that name count together, so that a process that
 *                 replaces the killed one goes on counting
 *   STALL_MS      how long the disk, or the process, stands still before the kill
 *   CUT           if set, the kill is a power cut
 *
 * The stall reveals an acknowledgement before the commit: its receiver goes on in that time and lets bytes out, and the row
 * is never written. A correct program only loses the time.
 *
 * In a power cut each of the ledger's files gets the bytes and the size that it had at its last sync, and the -shm, which is
 * only memory, is removed. Names of files are not undone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4, WRITE = 0, SYNC = 1, OTHER = 2, SEND = 3 };
static const char *const suffixes[FILES] = {"", "-wal", "-journal", "-new"};
static const char *const kinds[] = {"write:", "sync:", "other:", "send:"};

/* The bytes in a file before a write. */
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
static long stall_ms;
static unsigned crash_at, done[3], *sent;
static const char *from;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static int (*real_fsync)(int), (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_rename)(const char *, const char *), (*real_unlink)(const char *);

static void must(int holds, const char *what) {
    if (!holds) {
        dprintf(2, "preload: %s\n", what);
        abort();
    }
}

static void resolve(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_send = dlsym(RTLD_NEXT, "send");
    real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
}

/* Whether this is the process that CRASH_IN selects. */
static int is_meant(const char *in, int argc, char **argv) {
    size_t own = argc > 0 ? strlen(argv[0]) : 0, length = strlen(in);
    return (own >= length && strcmp(argv[0] + own - length, in) == 0) || (argc > 1 && strcmp(argv[1], in) == 0);
}

__attribute__((constructor)) static void load(int argc, char **argv) {
    const char *in = getenv("CRASH_IN"), *at = getenv("CRASH_AT"), *path = getenv("CRASH_LEDGER");
    const char *count = getenv("CRASH_COUNT"), *stall = getenv("STALL_MS");
    resolve();
    must(in && at, "CRASH_IN and CRASH_AT are needed");
    if (!is_meant(in, argc, argv)) return;
    unsetenv("LD_PRELOAD");
    cut = getenv("CUT") != NULL;
    from = getenv("CRASH_FROM");
    stall_ms = stall ? atol(stall) : 0;
    int kind = SEND;
    while (kind > 0 && strncmp(at, kinds[kind], strlen(kinds[kind])) != 0) kind--;
    crash_at = strtoul(strchr(at, ':') + 1, NULL, 10);
    if (kind == SEND) {
        int fd = count ? open(count, O_RDWR) : -1;
        must(fd >= 0, "CRASH_COUNT is needed");
        sent = mmap(NULL, sizeof *sent, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(sent != MAP_FAILED, "CRASH_COUNT has no 4 bytes");
        close(fd);
    } else {
        must(path && strlen(path) < sizeof ledger - 16, "CRASH_LEDGER is needed");
        strcpy(ledger, path);
    }
    crash_kind = kind;
}

/* The index of the ledger's file that a descriptor refers to; -1 = none. */
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

/* Finds a file by its inode, because it may have been renamed. */
static void restore(int i) {
    struct file *f = &files[i];
    for (int name = 0; name < FILES && f->count > 0; name++) {
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s%s", ledger, suffixes[name]);
        struct stat st;
        int fd = open(path, O_RDWR);
        if (fd < 0 || fstat(fd, &st) != 0 || st.st_ino != f->ino) continue;
        while (f->count > 0) {
            struct before *b = &f->before[--f->count];
            must(real_pwrite(fd, b->bytes, b->length, b->at) == (ssize_t)b->length, "cannot restore");
        }
        must(real_ftruncate(fd, f->size) == 0, "cannot restore the size");
    }
}

static void blow(void) {
    struct timespec left = {stall_ms / 1000, stall_ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {}
    if (cut) {
        for (int i = 0; i < FILES; i++) restore(i);
        char shm[PATH_MAX + 8];
        snprintf(shm, sizeof shm, "%s-shm", ledger);
        real_unlink(shm);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int counts(void) { return !from || access(from, F_OK) == 0; }

/* Counts a step. The last one does not return; the lock is held, so no other thread writes in the meantime. */
static void step(int kind) {
    if (counts() && ++done[kind] == crash_at && kind == crash_kind) blow();
}

/* Counts a message that is about to be sent through a socket. */
static void sends(int fd) {
    struct stat st;
    if (crash_kind != SEND || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode) || !counts()) return;
    if (__atomic_add_fetch(sent, 1, __ATOMIC_SEQ_CST) == crash_at) blow();
}

/* Keeps the bytes of the file from `at` on, at most `length` of them. */
static void keep(int i, int fd, off_t at, size_t length) {
    struct file *f = &files[i];
    struct stat st;
    if (!cut || length == 0) return;
    must(fstat(fd, &st) == 0, "fstat");
    if (f->ino != st.st_ino) f->count = 0; /* a new file has taken the name */
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
    if (i < 0) {
        sends(fd);
        return real_write(fd, bytes, n);
    }
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

ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (!real_writev) resolve();
    sends(fd);
    return real_writev(fd, parts, n);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    if (!real_send) resolve();
    sends(fd);
    return real_send(fd, bytes, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (!real_sendmsg) resolve();
    sends(fd);
    return real_sendmsg(fd, message, flags);
}

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
    pthread_mutex_lock(&lock);
    step(i < 0 ? OTHER : SYNC);
    int result = real(fd);
    if (i >= 0 && result == 0) forget(i);
    pthread_mutex_unlock(&lock);
    return result;
}

/* These are called after `which`, which calls `resolve`. */
static int by_fsync(int fd) { return real_fsync(fd); }
static int by_fdatasync(int fd) { return real_fdatasync(fd); }

int fsync(int fd) { return sync_by(by_fsync, fd); }

int fdatasync(int fd) { return sync_by(by_fdatasync, fd); }

/* Counts a step with another file. */
static void other(void) {
    if (!real_unlink) resolve();
    pthread_mutex_lock(&lock);
    step(OTHER);
    pthread_mutex_unlock(&lock);
}

int rename(const char *old, const char *new) {
    other();
    return real_rename(old, new);
}

int unlink(const char *path) {
    other();
    return real_unlink(path);
}
