/* safetensors files, read and written; `.cm3` is one of them. */
#ifndef CM3_FILES_SAFETENSORS_H
#define CM3_FILES_SAFETENSORS_H

#include "base/dtype.h"
#include "files/file.h"
#include "files/json.h"

#define CM3_MAX_RANK 8

typedef struct cm3_entry {
    const char *name;
    cm3_dtype dtype;
    int rank;
    int64_t shape[CM3_MAX_RANK];
    int64_t count;    /**< elements */
    const void *data; /**< aligned to its type's size; copied where the file has it elsewhere */
    size_t size;      /**< bytes */
} cm3_entry;

/** A parsed file; holds a reference to the cm3_file. Entries named `pad.N` are left out. */
typedef struct cm3_safetensors cm3_safetensors;

/**
 * Parses and checks everything before it is used: header length, JSON, dtypes, shapes (product overflow), offsets
 * inside the data, size = product * dtype size, no overlaps, no holes, no duplicate names. Errors: FORMAT, TRUNCATED,
 * UNSUPPORTED, NO_MEMORY.
 */
cm3_status cm3_safetensors_open(cm3_context *context, cm3_file *file, cm3_safetensors **tensors);
void cm3_safetensors_close(cm3_safetensors *tensors);
size_t cm3_safetensors_count(const cm3_safetensors *tensors);
const cm3_entry *cm3_safetensors_at(const cm3_safetensors *tensors, size_t index);
/** NULL where there is none. */
const cm3_entry *cm3_safetensors_find(const cm3_safetensors *tensors, const char *name);
/** A string of __metadata__, or NULL. */
const char *cm3_safetensors_metadata(const cm3_safetensors *tensors, const char *key);
/** See cm3_file_forget(). */
void cm3_safetensors_forget(const cm3_safetensors *tensors);
/** The file's name, for messages, and its data section. */
const char *cm3_safetensors_name(const cm3_safetensors *tensors);
void cm3_safetensors_data(const cm3_safetensors *tensors, const uint8_t **data, size_t *size);

/** Where an entry's bytes go. */
typedef struct cm3_sink {
    cm3_status (*put)(void *to, const void *data, size_t size);
    void *to;
} cm3_sink;

/** What is to be written; data is read while writing. */
typedef struct cm3_save_entry {
    const char *name;
    cm3_dtype dtype;        /**< the type in the file */
    cm3_dtype source_dtype; /**< the type of `data`; F32, BF16 and F16 are converted */
    int rank;
    int64_t shape[CM3_MAX_RANK];
    const void *data;
    /**
     * Where not NULL, asked for the bytes instead: all of them, in order, of type `dtype`. Called once where the file
     * is a regular one, and twice, with the same result, where it is a pipe or a device.
     */
    cm3_status (*produce)(void *arg, const cm3_sink *sink);
    void *arg;
} cm3_save_entry;

/**
 * Writes a file atomically: entries in the order given, data aligned to 64 bytes by U8 tensors named `pad.N`. `keys`
 * and `values` (`pairs` of them) are strings of __metadata__; the sum of the data section is added as `xxh3` (16 hex
 * digits).
 */
cm3_status cm3_safetensors_write(cm3_context *context, const char *path, const cm3_save_entry *entries, size_t count,
                                 const char *const *keys, const char *const *values, size_t pairs);

#endif
