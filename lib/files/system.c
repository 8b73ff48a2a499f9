/* Calls of the system. */
#include "files/system.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

cm3_status cm3_fail_system(cm3_context *context, const char *name, const char *doing, int error) {
    cm3_status status = CM3_ERROR_IO;
    if (error == ENOENT || error == ENOTDIR) status = CM3_ERROR_NOT_FOUND;
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) status = CM3_ERROR_NO_SPACE;
    if (error == ENOMEM) status = CM3_ERROR_NO_MEMORY;
    char words[128];
    return cm3_fail(context, status, "%s: %s: %s", name, doing, strerror_r(error, words, sizeof words));
}

ssize_t cm3_quiet_write(int fd, const void *data, size_t size, int64_t offset) {
    sigset_t own, before, pending;
    sigemptyset(&own);
    sigaddset(&own, SIGPIPE);
    sigaddset(&own, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &own, &before);
    ssize_t written = offset < 0 ? write(fd, data, size) : pwrite(fd, data, size, (off_t)offset);
    int error = errno;
    if (written < 0 && (error == EPIPE || error == EFBIG)) {
        /* The signal is for this thread, so it is taken back before anyone sees it, unless it was waiting before. */
        int number = error == EPIPE ? SIGPIPE : SIGXFSZ;
        sigset_t sent;
        sigemptyset(&sent);
        sigaddset(&sent, number);
        const struct timespec at_once = {0, 0};
        if (!sigismember(&pending, number)) sigtimedwait(&sent, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

cm3_status cm3_write_all(cm3_context *context, const char *name, int fd, const void *data, size_t size,
                         int64_t offset) {
    const uint8_t *from = data;
    while (size > 0) {
        size_t part = size < (size_t)1 << 30 ? size : (size_t)1 << 30;
        ssize_t written = cm3_quiet_write(fd, from, part, offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return cm3_fail_system(context, name, "writing", written < 0 ? errno : EIO);
        from += written;
        size -= (size_t)written;
        if (offset >= 0) offset += written;
    }
    return CM3_OK;
}

void cm3_sync_folder(cm3_context *context, const char *path) {
    /* Without memory of the context's, lest it be left out for want of some. */
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder) return;
    if (length) memcpy(folder, path, length);
    folder[length ? length : 1] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) cm3_log(context, CM3_LOG_INFO, "%s: its folder cannot be synced", path);
    if (fd >= 0) close(fd);
}
