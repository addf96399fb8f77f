/* Preloaded into the daemon by wire.rs: appends every byte that it sends or receives on a socket to the file TAP. The bytes of
 * one call of libc stay together; those of two calls may have those of another thread between them. The control socket is read by
 * system calls of its own, which are not tapped, and neither are programs that the daemon starts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int out = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("TAP");
    real_write = dlsym(RTLD_NEXT, "write");
    if (!path || (out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) abort();
    unsetenv("LD_PRELOAD");
}

static void keep(int fd, const void *bytes, ssize_t n) {
    struct stat st;
    if (n <= 0 || out < 0 || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
    pthread_mutex_lock(&lock);
    for (ssize_t done = 0; done < n;) {
        ssize_t more = real_write(out, (const char *)bytes + done, (size_t)(n - done));
        if (more <= 0) abort();
        done += more;
    }
    pthread_mutex_unlock(&lock);
}

/* The first `n` bytes of these parts, in one piece. */
static void keep_parts(int fd, const struct iovec *parts, size_t count, ssize_t n) {
    char *all = n > 0 ? malloc((size_t)n) : NULL;
    size_t at = 0;
    for (size_t i = 0; all && i < count && at < (size_t)n; i++) {
        size_t more = parts[i].iov_len < (size_t)n - at ? parts[i].iov_len : (size_t)n - at;
        memcpy(all + at, parts[i].iov_base, more);
        at += more;
    }
    keep(fd, all, (ssize_t)at);
    free(all);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(write);
    ssize_t done = real(fd, bytes, n);
    keep(fd, bytes, done);
    return done;
}

ssize_t read(int fd, void *bytes, size_t n) {
    REAL(read);
    ssize_t done = real(fd, bytes, n);
    keep(fd, bytes, done);
    return done;
}

ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    REAL(send);
    ssize_t done = real(fd, bytes, n, flags);
    keep(fd, bytes, done);
    return done;
}

ssize_t recv(int fd, void *bytes, size_t n, int flags) {
    REAL(recv);
    ssize_t done = real(fd, bytes, n, flags);
    if (!(flags & MSG_PEEK)) keep(fd, bytes, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    ssize_t done = real(fd, parts, count);
    keep_parts(fd, parts, (size_t)count, done);
    return done;
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
    REAL(readv);
    ssize_t done = real(fd, parts, count);
    keep_parts(fd, parts, (size_t)count, done);
    return done;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    ssize_t done = real(fd, message, flags);
    keep_parts(fd, message->msg_iov, message->msg_iovlen, done);
    return done;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL(recvmsg);
    ssize_t done = real(fd, message, flags);
    keep_parts(fd, message->msg_iov, message->msg_iovlen, done);
    return done;
}
