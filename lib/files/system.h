/* Calls of the system: what their errors become, and writing without signals. */
#ifndef CM3_FILES_SYSTEM_H
#define CM3_FILES_SYSTEM_H

#include <sys/types.h>

#include "base/context.h"

/** Fails with the system's words for `error` (errno): "NAME: DOING: WORDS". NOT_FOUND, NO_SPACE (a file-size limit is a
 * full disk of the process's own), NO_MEMORY, or IO. */
cm3_status cm3_fail_system(cm3_context *context, const char *name, const char *doing, int error);

/** write(), or pwrite() where `offset` is not below 0, without the signals that a closed pipe or a size limit would
 * send: a library must not end its host. */
ssize_t cm3_quiet_write(int fd, const void *data, size_t size, int64_t offset);

/** All of `data`, in pieces where it must be. `name` is for messages. Errors: as of cm3_fail_system(). */
cm3_status cm3_write_all(cm3_context *context, const char *name, int fd, const void *data, size_t size, int64_t offset);

/** Makes a rename in the folder of `path` last. It has happened, so a failure is a line of log and no more. */
void cm3_sync_folder(cm3_context *context, const char *path);

#endif
