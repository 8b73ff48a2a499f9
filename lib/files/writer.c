/* Writing files: a regular file is replaced as a whole or not at all; devices and pipes are written through. */
#include "files/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "files/system.h"

#define BUFFER_SIZE 65536
#define MAX_LINKS 40
#define MAX_TRIES 100

struct cm3_writer {
    cm3_context *context;
    int fd;
    bool through;      /**< no regular file: nothing to rename */
    char *target;      /**< where the file shall stand, links resolved */
    char *temporary;   /**< beside it; NULL when written through */
    cm3_status failed; /**< the first failure: nothing is written after it */
    size_t buffered;
    uint8_t buffer[BUFFER_SIZE];
};

/* A folder that is not there is a fault of where to write, not of what is looked for. */
static cm3_status fail_system(cm3_context *context, const char *name, const char *doing, int error) {
    cm3_status status = cm3_fail_system(context, name, doing, error);
    return status == CM3_ERROR_NOT_FOUND ? CM3_ERROR_IO : status;
}

/* "DIRECTORY/" of a path, as a length: 0 where there is none. */
static size_t directory_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

/* `name` in the directory of `path`, or `name` itself where it is absolute. */
static char *beside(cm3_context *context, const char *path, const char *name, size_t length) {
    size_t directory = length > 0 && name[0] == '/' ? 0 : directory_length(path);
    char *joined = cm3_alloc(context, directory + length + 1);
    if (joined == NULL) return NULL;
    memcpy(joined, path, directory);
    memcpy(joined + directory, name, length);
    joined[directory + length] = '\0';
    return joined;
}

/* Follows links to what they name, whether it is there or not: the link stays, its target is replaced. */
static cm3_status resolve(cm3_context *context, const char *path, char **target) {
    char link[PATH_MAX];
    *target = cm3_strndup(context, path, strlen(path));
    for (int i = 0; *target != NULL; ++i) {
        ssize_t length = readlink(*target, link, sizeof link);
        if (length < 0) return CM3_OK; /* no link; what else is wrong shows when it is opened */
        if (i == MAX_LINKS || (size_t)length == sizeof link) {
            cm3_free(context, *target);
            *target = NULL;
            return fail_system(context, path, "following links", i == MAX_LINKS ? ELOOP : ENAMETOOLONG);
        }
        char *next = beside(context, *target, link, (size_t)length);
        cm3_free(context, *target);
        *target = next;
    }
    return cm3_fail_memory(context, strlen(path), path);
}

/* A new file of a name nobody has, in the target's directory. */
static cm3_status open_temporary(cm3_writer *writer, const struct stat *old) {
    for (int i = 0; i < MAX_TRIES; ++i) {
        char name[64];
        int length = snprintf(name, sizeof name, ".cm3-%016llx.tmp", (unsigned long long)cm3_random_seed());
        writer->temporary = beside(writer->context, writer->target, name, (size_t)length);
        if (writer->temporary == NULL) return cm3_fail_memory(writer->context, sizeof name, writer->target);
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0) break;
        int error = errno;
        cm3_free(writer->context, writer->temporary);
        writer->temporary = NULL;
        errno = error; /* the host's allocator may have set another one */
        if (errno != EEXIST) break;
    }
    if (writer->fd < 0) return fail_system(writer->context, writer->target, "creating a file beside it", errno);
    if (old == NULL) return CM3_OK;
    /* The owner is kept where the system lets us; the mode always (after the owner, for that may clear bits of it). */
    if ((old->st_uid != geteuid() || old->st_gid != getegid()) && fchown(writer->fd, old->st_uid, old->st_gid) != 0) {
        cm3_log(writer->context, CM3_LOG_DEBUG, "%s: the owner changes to this process's", writer->target);
    }
    if (fchmod(writer->fd, old->st_mode & 07777) != 0) {
        return fail_system(writer->context, writer->target, "setting the mode", errno);
    }
    return CM3_OK;
}

static cm3_status open_target(cm3_writer *writer, const char *path) {
    if (*path == '\0') return fail_system(writer->context, "\"\"", "opening", ENOENT);
    CM3_TRY(resolve(writer->context, path, &writer->target));
    struct stat old;
    if (stat(writer->target, &old) != 0) {
        if (errno != ENOENT) return fail_system(writer->context, path, "opening", errno);
        return open_temporary(writer, NULL);
    }
    if (S_ISDIR(old.st_mode)) return fail_system(writer->context, path, "opening", EISDIR);
    if (S_ISREG(old.st_mode)) {
        /* A rename would replace even what may not be written. */
        if (faccessat(AT_FDCWD, writer->target, W_OK, AT_EACCESS) != 0)
            return fail_system(writer->context, path, "opening", errno);
        return open_temporary(writer, &old);
    }
    writer->through = true;
    writer->fd = open(writer->target, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (writer->fd < 0) return fail_system(writer->context, path, "opening", errno);
    return CM3_OK;
}

cm3_status cm3_writer_open(cm3_context *context, const char *path, cm3_writer **writer) {
    *writer = NULL;
    cm3_writer *opened = cm3_alloc(context, sizeof *opened);
    if (opened == NULL) return cm3_fail_memory(context, sizeof *opened, path);
    memset(opened, 0, offsetof(cm3_writer, buffer));
    opened->context = context;
    opened->fd = -1;
    cm3_context_retain(context);
    cm3_status status = open_target(opened, path);
    if (status != CM3_OK) {
        cm3_writer_abort(opened);
        return status;
    }
    *writer = opened;
    return CM3_OK;
}

static cm3_status write_out(const cm3_writer *writer, const uint8_t *data, size_t size) {
    return cm3_write_all(writer->context, writer->target, writer->fd, data, size, -1);
}

static cm3_status flush(cm3_writer *writer) {
    size_t size = writer->buffered;
    writer->buffered = 0;
    return write_out(writer, writer->buffer, size);
}

cm3_status cm3_writer_write(cm3_writer *writer, const void *data, size_t size) {
    if (writer->failed != CM3_OK) return writer->failed;
    if (size > BUFFER_SIZE - writer->buffered) writer->failed = flush(writer);
    if (writer->failed == CM3_OK && size >= BUFFER_SIZE) {
        writer->failed = write_out(writer, data, size);
    } else if (writer->failed == CM3_OK && size > 0) {
        memcpy(writer->buffer + writer->buffered, data, size);
        writer->buffered += size;
    }
    return writer->failed;
}

bool cm3_writer_rewrites(const cm3_writer *writer) {
    return !writer->through;
}

cm3_status cm3_writer_rewrite(cm3_writer *writer, uint64_t offset, const void *data, size_t size) {
    if (writer->failed == CM3_OK) writer->failed = flush(writer);
    if (writer->failed == CM3_OK) {
        writer->failed = cm3_write_all(writer->context, writer->target, writer->fd, data, size, (int64_t)offset);
    }
    return writer->failed;
}

static cm3_status finish(cm3_writer *writer) {
    if (writer->failed != CM3_OK) return writer->failed;
    CM3_TRY(flush(writer));
    /* What cannot be synced, such as a pipe, says EINVAL or the like. */
    if (fsync(writer->fd) != 0 && !writer->through) {
        return fail_system(writer->context, writer->target, "syncing", errno);
    }
    int fd = writer->fd;
    writer->fd = -1;
    /* After EINTR the descriptor is gone all the same, and the data was synced. */
    if (close(fd) != 0 && errno != EINTR) return fail_system(writer->context, writer->target, "closing", errno);
    if (writer->through) return CM3_OK;
    if (rename(writer->temporary, writer->target) != 0) {
        return fail_system(writer->context, writer->target, "renaming", errno);
    }
    cm3_free(writer->context, writer->temporary);
    writer->temporary = NULL;
    cm3_sync_folder(writer->context, writer->target);
    return CM3_OK;
}

cm3_status cm3_writer_commit(cm3_writer *writer) {
    cm3_status status = finish(writer);
    cm3_writer_abort(writer);
    return status;
}

void cm3_writer_abort(cm3_writer *writer) {
    if (writer == NULL) return;
    cm3_context *context = writer->context;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary != NULL) unlink(writer->temporary);
    cm3_free(context, writer->temporary);
    cm3_free(context, writer->target);
    cm3_free(context, writer);
    cm3_context_release(context);
}

cm3_status cm3_write_file(cm3_context *context, const char *path, const void *data, size_t size) {
    cm3_writer *writer;
    CM3_TRY(cm3_writer_open(context, path, &writer));
    cm3_status status = cm3_writer_write(writer, data, size);
    if (status == CM3_OK) return cm3_writer_commit(writer);
    cm3_writer_abort(writer);
    return status;
}
