/* Records from tar shards in WebDataset form, or from a JSON-lines file (training only; uses libarchive). */
#ifndef CM3_FILES_SHARD_H
#define CM3_FILES_SHARD_H

#include "base/context.h"

/** A picture beside the record's own: key.NAME.jpg or key.NAME.png, encoded. */
typedef struct cm3_record_picture {
    char *name;
    uint8_t *data;
    size_t size;
} cm3_record_picture;

/** One record: the files of one key. Strings and bytes belong to the record. */
typedef struct cm3_record {
    char *key;
    char *json; /**< key.json as it is, or NULL */
    size_t json_size;
    char *text; /**< key.txt, or NULL */
    size_t text_size;
    uint8_t *image; /**< key.jpg or key.png, encoded, or NULL */
    size_t image_size;
    cm3_record_picture *pictures; /**< others, in their order */
    size_t picture_count, picture_capacity;
} cm3_record;

void cm3_record_clear(cm3_context *context, cm3_record *record);

/** Reads one shard from its beginning. One thread. */
typedef struct cm3_shard cm3_shard;

/** `path`: a .tar, or a .jsonl whose lines hold {"text", "image": path relative to it}. Errors: NOT_FOUND, IO, FORMAT.
 */
cm3_status cm3_shard_open(cm3_context *context, const char *path, cm3_shard **shard);
/** The next record; *more is false at the end. A broken archive: FORMAT or TRUNCATED with file and member. */
cm3_status cm3_shard_next(cm3_shard *shard, cm3_record *record, bool *more);
void cm3_shard_close(cm3_shard *shard);

/** Writes a tar shard atomically: members are added in order. */
typedef struct cm3_shard_writer cm3_shard_writer;
cm3_status cm3_shard_writer_open(cm3_context *context, const char *path, cm3_shard_writer **writer);
cm3_status cm3_shard_writer_add(cm3_shard_writer *writer, const char *name, const void *data, size_t size);
cm3_status cm3_shard_writer_commit(cm3_shard_writer *writer);
void cm3_shard_writer_abort(cm3_shard_writer *writer);

#endif
