/* Writing files: a regular file is replaced as a whole or not at all; devices and pipes are written through. */
#ifndef CM3_FILES_WRITER_H
#define CM3_FILES_WRITER_H

#include "base/context.h"

typedef struct cm3_writer cm3_writer;

/** Opens a temporary file beside `path` (or `path` itself where it is no regular file). Errors: IO, NO_SPACE,
 * NO_MEMORY. */
cm3_status cm3_writer_open(cm3_context *context, const char *path, cm3_writer **writer);
cm3_status cm3_writer_write(cm3_writer *writer, const void *data, size_t size);
/** Whether what was written can be written again: false of devices and pipes. */
bool cm3_writer_rewrites(const cm3_writer *writer);
/** Writes over what stands `offset` bytes into the file; only where cm3_writer_rewrites(). */
cm3_status cm3_writer_rewrite(cm3_writer *writer, uint64_t offset, const void *data, size_t size);
/** Syncs and renames; frees the writer whether it succeeds or not. On failure what stood there before is untouched. */
cm3_status cm3_writer_commit(cm3_writer *writer);
/** Removes the temporary file and frees the writer. NULL is allowed. */
void cm3_writer_abort(cm3_writer *writer);
/** Open, write, commit in one. */
cm3_status cm3_write_file(cm3_context *context, const char *path, const void *data, size_t size);

#endif
