/*
 * The pickles of PyTorch's checkpoints, read as data: nothing is ever executed. Understood are exactly the opcodes that
 * torch.save() writes and the few constructors that tensors, their storages and dictionaries need; all others are
 * refused by name.
 */
#ifndef CM3_FILES_PICKLE_H
#define CM3_FILES_PICKLE_H

#include "base/context.h"
#include "base/dtype.h"

typedef enum cm3_pickle_kind {
    CM3_PICKLE_NONE,
    CM3_PICKLE_BOOL,
    CM3_PICKLE_INT,
    CM3_PICKLE_FLOAT,
    CM3_PICKLE_STRING, /**< text or bytes */
    CM3_PICKLE_TUPLE,
    CM3_PICKLE_LIST,
    CM3_PICKLE_DICT,
    CM3_PICKLE_GLOBAL, /**< a constructor or a storage's type */
    CM3_PICKLE_STORAGE,
    CM3_PICKLE_TENSOR
} cm3_pickle_kind;

typedef enum cm3_pickle_global {
    CM3_GLOBAL_ORDERED_DICT,
    CM3_GLOBAL_REBUILD_TENSOR,
    CM3_GLOBAL_REBUILD_PARAMETER,
    CM3_GLOBAL_SIZE,
    CM3_GLOBAL_STORAGE
} cm3_pickle_global;

#define CM3_PICKLE_MAX_RANK 8

typedef struct cm3_pickle_value cm3_pickle_value;

/** An item of a tuple or a list, or of a dictionary with its key; in the order in which they came. */
typedef struct cm3_pickle_item {
    struct cm3_pickle_item *next;
    const cm3_pickle_value *key, *value;
} cm3_pickle_item;

/** The bytes of tensors, by the name of their entry of the archive. */
typedef struct cm3_pickle_storage {
    const char *key; /**< NUL-terminated */
    cm3_dtype dtype; /**< CM3_DTYPE_NONE: one that this library does not read */
    size_t width;    /**< bytes of an element */
    int64_t count;
} cm3_pickle_storage;

struct cm3_pickle_value {
    cm3_pickle_kind kind;
    union {
        int64_t integer; /**< BOOL and INT */
        double number;
        struct {
            const char *text; /**< NUL-terminated, may have NULs inside */
            size_t size;
        } string;
        struct {
            cm3_pickle_item *first, *last;
            size_t count;
        } items;
        struct {
            cm3_pickle_global which;
            cm3_dtype dtype; /**< of STORAGE */
            size_t width;
        } global;
        cm3_pickle_storage storage;
        struct {
            const cm3_pickle_storage *storage;
            int64_t offset; /**< elements */
            int rank;
            int64_t shape[CM3_PICKLE_MAX_RANK], stride[CM3_PICKLE_MAX_RANK];
        } tensor;
    } as;
};

/**
 * The value of a pickle; all of it lives in the arena. `name` is for messages. Errors: FORMAT and UNSUPPORTED with the
 * byte and the opcode or the constructor, TRUNCATED, NO_MEMORY.
 */
cm3_status cm3_pickle_read(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_arena *arena,
                           const cm3_pickle_value **value);

/** The value of a dictionary's key; NULL where there is none, or where it is no dictionary. The last counts. */
const cm3_pickle_value *cm3_pickle_get(const cm3_pickle_value *dict, const char *key);

#endif
