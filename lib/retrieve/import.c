/* Records of shards into a retriever. */
#include <string.h>

#include "base/memory.h"
#include "files/json.h"
#include "retrieve/retriever.h"

#ifdef CM3_WITH_TRAIN

#include "files/shard.h"

#define TOGETHER 128

/** Records that go in together; their strings live in `records` and `lines`. */
typedef struct cm3_import {
    cm3_retriever *retriever;
    cm3_record records[TOGETHER];
    json_t *lines[TOGETHER];
    int32_t *codes[TOGETHER];
    cm3_retrieval_item items[TOGETHER];
    uint64_t ids[TOGETHER];
    size_t count;
    uint64_t done, added;
} cm3_import;

static void clear(cm3_import *import) {
    cm3_context *context = import->retriever->context;
    for (size_t i = 0; i < import->count; i++) {
        cm3_image_destroy(import->items[i].image);
        cm3_free(context, import->codes[i]);
        json_decref(import->lines[i]);
        cm3_record_clear(context, &import->records[i]);
    }
    import->count = 0;
}

static cm3_status flush(cm3_import *import) {
    CM3_TRY(cm3_retriever_add(import->retriever, import->items, import->count, import->ids));
    for (size_t i = 0; i < import->count; i++) import->added += import->ids[i] != CM3_NO_RECORD;
    import->done += import->count;
    clear(import);
    return CM3_OK;
}

/** "codes" of a record's JSON. */
static cm3_status take_codes(cm3_import *import, size_t index, const char *where, json_t *json) {
    cm3_context *context = import->retriever->context;
    cm3_retrieval_item *item = &import->items[index];
    const cm3_json_object object = {context, where, json};
    const size_t count = json_array_size(json_object_get(json, "codes"));
    int32_t *codes = cm3_calloc(context, count, sizeof *codes);
    import->codes[index] = codes;
    if (!codes) return cm3_fail_memory(context, count * sizeof *codes, where);
    item->codes = codes;
    return cm3_json_ints(&object, "codes", 0, INT32_MAX, codes, count, &item->code_count);
}

/** The record in the next place as an item, which borrows from it. */
static cm3_status take(cm3_import *import, const char *path) {
    cm3_context *context = import->retriever->context;
    const size_t index = import->count++; /* whatever happens, it is cleared with the others */
    const cm3_record *record = &import->records[index];
    cm3_retrieval_item *item = &import->items[index];
    char where[512];
    snprintf(where, sizeof where, "%s: record %s", path, record->key ? record->key : "?");
    *item = (cm3_retrieval_item){.struct_size = sizeof *item, .key = record->key, .text = record->text};
    import->lines[index] = NULL;
    import->codes[index] = NULL;
    if (record->json) {
        CM3_TRY(cm3_json_parse(context, where, record->json, record->json_size, &import->lines[index]));
        const json_t *text = json_object_get(import->lines[index], "text");
        if (json_is_array(text)) text = json_array_get(text, 0);
        if (text) item->text = json_string_value(text);
        if (json_object_get(import->lines[index], "codes")) {
            CM3_TRY(take_codes(import, index, where, import->lines[index]));
        }
    }
    if (record->image && !item->codes) {
        CM3_TRY(cm3_image_load_memory(context, record->image, record->image_size, &item->image));
    }
    if (item->text || item->image || item->codes) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s has neither a text nor a picture", where);
}

static cm3_status import_shard(cm3_import *import, const char *path, int (*progress)(void *, uint64_t, uint64_t),
                               void *user) {
    cm3_context *context = import->retriever->context;
    cm3_shard *shard = NULL;
    CM3_TRY(cm3_shard_open(context, path, &shard));
    cm3_status status = CM3_OK;
    for (bool more = true; status == CM3_OK && more;) {
        import->records[import->count] = (cm3_record){0};
        status = cm3_shard_next(shard, &import->records[import->count], &more);
        if (status == CM3_OK && more)
            status = take(import, path);
        else
            cm3_record_clear(context, &import->records[import->count]);
        if (status != CM3_OK || import->count < TOGETHER) continue;
        status = flush(import);
        if (status == CM3_OK && progress && progress(user, import->done, 0)) {
            status = cm3_fail(context, CM3_ERROR_CANCELLED, "%s: importing was stopped", path);
        }
    }
    cm3_shard_close(shard);
    return status;
}

cm3_status cm3_retriever_import(cm3_retriever *retriever, const char *const *shards, size_t shard_count,
                                int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                                uint64_t *added) {
    if (added) *added = 0;
    if (!retriever) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = retriever->context;
    for (size_t i = 0; i < shard_count; i++) {
        if (!shards || !shards[i]) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "shards: NULL");
    }
    cm3_import *import = cm3_calloc(context, 1, sizeof *import);
    if (!import) return cm3_fail_memory(context, sizeof *import, "import");
    import->retriever = retriever;
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < shard_count && status == CM3_OK; i++) {
        status = import_shard(import, shards[i], progress, user);
    }
    if (status == CM3_OK && import->count) status = flush(import);
    if (added) *added = import->added;
    clear(import);
    cm3_free(context, import);
    return status;
}

#else

cm3_status cm3_retriever_import(cm3_retriever *retriever, const char *const *shards, size_t shard_count,
                                int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                                uint64_t *added) {
    (void)shards, (void)shard_count, (void)progress, (void)user;
    if (added) *added = 0;
    if (!retriever) return CM3_ERROR_INVALID_ARGUMENT;
    return cm3_fail(retriever->context, CM3_ERROR_UNSUPPORTED,
                    "this library reads no shards: it was built without training");
}

#endif
