/* Whole files as bytes: mapped, in memory, or read through an I/O vtable. */
#ifndef CM3_FILES_FILE_H
#define CM3_FILES_FILE_H

#include "base/context.h"

/** Reference-counted; `data` stays where it is until the last release. */
typedef struct cm3_file {
    const uint8_t *data;
    size_t size;
    const char *name; /**< for messages: the path, "memory" or "io" */
} cm3_file;

/** Maps a regular file (anything else is read into memory). Errors: NOT_FOUND, IO, NO_MEMORY. */
cm3_status cm3_file_open(cm3_context *context, const char *path, cm3_file **file);
/** Wraps memory of the caller's. */
cm3_status cm3_file_from_memory(cm3_context *context, const void *data, size_t size, cm3_file **file);
/** Reads everything through the vtable. */
cm3_status cm3_file_from_io(cm3_context *context, const cm3_io *io, cm3_file **file);
/** What a copy of `size` bytes into huge pages takes of the context's memory, its name left out. */
uint64_t cm3_file_huge_bytes(size_t size);
/** Copies into huge pages (madvise), counted as memory; releases nothing of the old one. */
cm3_status cm3_file_copy_huge(cm3_context *context, const cm3_file *from, cm3_file **file);
/** Lets the system have back what of a mapped file is in memory; it is read again when it is touched. */
void cm3_file_forget(const cm3_file *file);
void cm3_file_retain(cm3_file *file);
void cm3_file_release(cm3_file *file);

#endif
