/* Shards of pictures to shards of codes, so that language-model training need not encode the pictures again and again.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cm3leon/train.h"
#include "files/json.h"
#include "files/shard.h"
#include "image/preprocess.h"
#include "model/model.h"
#include "train/shard_names.h"

#define CM3_ENCODE_BATCH 32

typedef struct cm3_encode_run {
    cm3_context *context;
    const cm3_vq *vq;
    char codebook[17]; /**< its fingerprint in hexadecimal */
    cm3_graph *graph;
    cm3_record records[CM3_ENCODE_BATCH];
    int count;      /**< records */
    int pictures;   /**< of them all: of each record its own, then those with names */
    float *pixels;  /**< [CM3_ENCODE_BATCH, side, side, 3] */
    int32_t *codes; /**< [CM3_ENCODE_BATCH, tokens] */
    cm3_shard_writer *writer;
    const char *path;
} cm3_encode_run;

static cm3_status encode_batch(void *arg) {
    cm3_encode_run *run = arg;
    int64_t side = run->vq->config.resolution, tokens = cm3_vq_tokens(run->vq);
    if (!run->graph)
        CM3_TRY(cm3_graph_create(run->context, &(cm3_graph_options){.compute = CM3_COMPUTE_F32}, &run->graph));
    cm3_graph_reset(run->graph);
    cm3_tensor x = cm3_tensor_over(run->pixels, CM3_F32, 4, (const int64_t[]){run->pictures, side, side, 3});
    cm3_tensor *z = cm3_vq_encode(run->graph, run->vq, &x);
    if (!z) return cm3_graph_status(run->graph);
    return cm3_vq_quantise(run->graph, run->vq, cm3_f32(z), run->pictures * tokens, CM3_VQ_USUAL, run->codes, NULL);
}

static json_t *codes_of(const cm3_encode_run *run, const int32_t *codes) {
    json_t *list = json_array();
    for (int32_t i = 0; i < cm3_vq_tokens(run->vq); i++) json_array_append_new(list, json_integer(codes[i]));
    return list;
}

/** "codes" of the record's own picture, "images" of those with names, and who made them. */
static bool set_codes(const cm3_encode_run *run, const cm3_record *record, const int32_t *codes, json_t *json) {
    bool ok = json_object_set_new(json, "codes", codes_of(run, codes)) == 0 &&
              json_object_set_new(json, "codebook", json_string(run->codebook)) == 0;
    if (!record->picture_count) return ok;
    json_t *images = json_object();
    for (size_t i = 0; i < record->picture_count && ok; i++) {
        codes += cm3_vq_tokens(run->vq);
        ok = json_object_set_new(images, record->pictures[i].name, codes_of(run, codes)) == 0;
    }
    return json_object_set_new(json, "images", images) == 0 && ok;
}

/** The record's JSON (or a new one) with the codes in it, as KEY.json. */
static cm3_status write_record(cm3_encode_run *run, const cm3_record *record, const int32_t *codes) {
    json_t *json = NULL;
    char name[512], *text = NULL;
    snprintf(name, sizeof name, "%s: record %s", run->path, record->key);
    if (record->json) {
        CM3_TRY(cm3_json_parse(run->context, name, record->json, record->json_size, &json));
    } else {
        json = json_object();
        if (record->text && json_object_set_new(json, "text", json_stringn(record->text, record->text_size))) {
            json_decref(json);
            return cm3_fail(run->context, CM3_ERROR_FORMAT, "%s: the caption is not UTF-8", name);
        }
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return cm3_fail(run->context, CM3_ERROR_FORMAT, "%s: not an object", name);
    }
    snprintf(name, sizeof name, "%s.json", record->key);
    if (set_codes(run, record, codes, json)) text = json_dumps(json, JSON_COMPACT);
    cm3_status status =
        text ? cm3_shard_writer_add(run->writer, name, text, strlen(text)) : cm3_fail_memory(run->context, 0, "record");
    free(text);
    json_decref(json);
    return status;
}

static cm3_status flush(cm3_encode_run *run) {
    if (!run->count) return CM3_OK;
    cm3_status status = cm3_context_run(run->context, encode_batch, run);
    const int32_t *codes = run->codes;
    for (int i = 0; i < run->count; i++) {
        if (status == CM3_OK) status = write_record(run, &run->records[i], codes);
        codes += (int64_t)(1 + run->records[i].picture_count) * cm3_vq_tokens(run->vq);
        cm3_record_clear(run->context, &run->records[i]);
    }
    run->count = run->pictures = 0;
    return status;
}

/** One picture's pixels, for the next place of the batch. `name`: NULL for the record's own. */
static cm3_status take_picture(cm3_encode_run *run, const cm3_record *record, const char *name, const uint8_t *data,
                               size_t size) {
    int32_t side = run->vq->config.resolution;
    cm3_image *image = NULL;
    cm3_status status = cm3_image_load_memory(run->context, data, size, &image);
    if (status == CM3_OK) {
        status = cm3_preprocess(run->context, image, CM3_PREPROCESS_META, side,
                                run->pixels + (size_t)run->pictures++ * 3 * (size_t)side * (size_t)side);
    }
    cm3_image_destroy(image);
    if (status == CM3_OK || status == CM3_ERROR_NO_MEMORY) return status;
    char message[512];
    snprintf(message, sizeof message, "%s", cm3_context_message(run->context));
    return cm3_fail(run->context, status, "%s: record %s%s%s: %s", run->path, record->key, name ? "." : "",
                    name ? name : "", message);
}

static cm3_status take_pictures(cm3_encode_run *run, const cm3_record *record) {
    if (!record->image) {
        return cm3_fail(run->context, CM3_ERROR_FORMAT, "%s: record %s has no picture", run->path, record->key);
    }
    if (record->picture_count >= CM3_ENCODE_BATCH) {
        return cm3_fail(run->context, CM3_ERROR_UNSUPPORTED, "%s: record %s has %zu pictures; at most %d are read",
                        run->path, record->key, 1 + record->picture_count, CM3_ENCODE_BATCH);
    }
    if ((size_t)run->pictures + 1 + record->picture_count > CM3_ENCODE_BATCH) CM3_TRY(flush(run));
    CM3_TRY(take_picture(run, record, NULL, record->image, record->image_size));
    for (size_t i = 0; i < record->picture_count; i++) {
        const cm3_record_picture *picture = &record->pictures[i];
        CM3_TRY(take_picture(run, record, picture->name, picture->data, picture->size));
    }
    return CM3_OK;
}

/** Takes the record over. */
static cm3_status take(cm3_encode_run *run, cm3_record *record) {
    cm3_status status = take_pictures(run, record);
    if (status != CM3_OK) {
        cm3_record_clear(run->context, record);
        return status;
    }
    run->records[run->count++] = *record;
    return run->pictures == CM3_ENCODE_BATCH ? flush(run) : CM3_OK;
}

static cm3_status encode_shard(void *arg, const char *path, const char *out) {
    cm3_encode_run *run = arg;
    cm3_shard *shard = NULL;
    run->path = path;
    CM3_TRY(cm3_shard_open(run->context, path, &shard));
    cm3_status status = cm3_shard_writer_open(run->context, out, &run->writer);
    bool more = true;
    while (status == CM3_OK && more) {
        cm3_record record = {0};
        status = cm3_shard_next(shard, &record, &more);
        if (status == CM3_OK && more) status = take(run, &record);
    }
    if (status == CM3_OK) status = flush(run);
    for (int i = 0; i < run->count; i++) cm3_record_clear(run->context, &run->records[i]);
    run->count = 0;
    cm3_shard_close(shard);
    if (status == CM3_OK) {
        status = cm3_shard_writer_commit(run->writer);
    } else {
        cm3_shard_writer_abort(run->writer);
    }
    run->writer = NULL;
    return status;
}

static cm3_status drop_graph(void *arg) {
    cm3_graph_destroy(((cm3_encode_run *)arg)->graph);
    return CM3_OK;
}

cm3_status cm3_train_encode_shards(cm3_context *context, const char *image_tokenizer, const char *const *data,
                                   size_t data_count, const char *out_dir, cm3_progress_fn progress, void *user) {
    if (!context || !image_tokenizer || !data || !data_count || !out_dir) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_encode_shards: an argument is NULL");
    }
    for (size_t i = 0; i < data_count; i++) {
        if (!data[i])
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_encode_shards: data[%zu] is NULL", i);
    }
    cm3_model *model = NULL;
    CM3_TRY(cm3_model_load(context, image_tokenizer, NULL, &model));
    cm3_encode_run run = {.context = context, .vq = model->tokenizer ? model->tokenizer->vq : NULL};
    cm3_status status = CM3_OK;
    if (!run.vq) status = cm3_fail(context, CM3_ERROR_FORMAT, "%s: there is no image tokenizer in it", image_tokenizer);
    if (status == CM3_OK) {
        snprintf(run.codebook, sizeof run.codebook, "%016llx", (unsigned long long)cm3_vq_fingerprint(run.vq));
        size_t side = (size_t)run.vq->config.resolution;
        run.pixels = cm3_calloc(context, CM3_ENCODE_BATCH * 3 * side * side, sizeof(float));
        run.codes = cm3_calloc(context, CM3_ENCODE_BATCH * (size_t)cm3_vq_tokens(run.vq), sizeof(int32_t));
        if (!run.pixels || !run.codes)
            status = cm3_fail_memory(context, CM3_ENCODE_BATCH * 3 * side * side * 4, "pictures");
    }
    const cm3_shard_list list = {data, data_count, out_dir, progress, user};
    if (status == CM3_OK) status = cm3_make_shards(context, &list, encode_shard, &run);
    if (cm3_context_run(context, drop_graph, &run) != CM3_OK) drop_graph(&run);
    cm3_free(context, run.pixels);
    cm3_free(context, run.codes);
    cm3_model_destroy(model);
    return status;
}
