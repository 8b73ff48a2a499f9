/*
 * Zip archives whose entries are stored, not compressed, so that they can be used where they lie in a mapped file:
 * PyTorch's checkpoints. (Libraries for zip files hand entries out by copying them.)
 */
#ifndef CM3_FILES_ZIP_H
#define CM3_FILES_ZIP_H

#include "files/file.h"

typedef struct cm3_zip_entry {
    const char *name; /**< NUL-terminated */
    const uint8_t *data;
    size_t size;
} cm3_zip_entry;

typedef struct cm3_zip cm3_zip;

/** Whether a file begins as zip archives do. */
bool cm3_is_zip(const cm3_file *file);

/**
 * Reads the central directory, zip64 included; holds the file. Everything is checked before it is used: places, sizes,
 * names. Errors: FORMAT, TRUNCATED, UNSUPPORTED (a compressed or encrypted entry, several disks), NO_MEMORY.
 */
cm3_status cm3_zip_open(cm3_context *context, cm3_file *file, cm3_zip **zip);
void cm3_zip_close(cm3_zip *zip);
size_t cm3_zip_count(const cm3_zip *zip);
const cm3_zip_entry *cm3_zip_at(const cm3_zip *zip, size_t index);
/** NULL where there is none. */
const cm3_zip_entry *cm3_zip_find(const cm3_zip *zip, const char *name);

#endif
