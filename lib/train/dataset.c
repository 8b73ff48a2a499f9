/* Records in memory. */
#include "train/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "files/hash.h"
#include "files/json.h"
#include "files/shard.h"
#include "text/utf8.h"

/** Copies into the dataset's memory. */
static void *keep(cm3_dataset *dataset, const void *data, size_t size) {
    void *memory = cm3_arena_alloc(dataset->memory, size ? size : 1);
    if (memory && size) memcpy(memory, data, size);
    return memory;
}

/** A string, or a list of them, behind each other; `key` goes into messages. */
static cm3_status keep_texts(cm3_dataset *dataset, const char *where, const char *key, const json_t *text,
                             const char **texts, int32_t *text_count) {
    size_t count = json_is_array(text) ? json_array_size(text) : 1, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(text) ? json_array_get(text, i) : text;
        if (!json_is_string(one)) {
            return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: '%.64s' is neither a string nor a list of strings",
                            where, key);
        }
        bytes += json_string_length(one) + 1;
    }
    char *place = cm3_arena_alloc(dataset->memory, bytes ? bytes : 1);
    if (!place) return cm3_fail_memory(dataset->context, bytes, "captions");
    *texts = place;
    *text_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(text) ? json_array_get(text, i) : text;
        memcpy(place, json_string_value(one), json_string_length(one) + 1);
        place += strlen(place) + 1; /* a NUL inside ends the text */
    }
    return CM3_OK;
}

static cm3_status keep_codes(cm3_dataset *dataset, const char *where, const json_t *codes, const uint16_t **out,
                             int32_t *out_count) {
    size_t count = json_array_size(codes);
    if (!json_is_array(codes)) return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: 'codes' is not a list", where);
    uint16_t *place = cm3_arena_alloc(dataset->memory, count * sizeof *place + 1);
    if (!place) return cm3_fail_memory(dataset->context, count * sizeof *place, "codes");
    for (size_t i = 0; i < count; i++) {
        json_int_t code = json_integer_value(json_array_get(codes, i));
        if (!json_is_integer(json_array_get(codes, i)) || code < 0 || code > UINT16_MAX) {
            return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: code %zu is not an integer in 0..65535", where, i);
        }
        place[i] = (uint16_t)code;
    }
    *out = place;
    *out_count = (int32_t)count;
    return CM3_OK;
}

/** "images": {NAME: codes}. */
static cm3_status keep_images(cm3_dataset *dataset, const char *where, json_t *images, cm3_sample *sample) {
    if (!json_is_object(images)) {
        return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: 'images' is not an object of lists of codes", where);
    }
    size_t count = json_object_size(images);
    cm3_sample_image *own = cm3_arena_alloc(dataset->memory, count * sizeof *own + 1);
    if (!own) return cm3_fail_memory(dataset->context, count * sizeof *own, "codes");
    sample->images = own;
    const char *key;
    json_t *codes;
    json_object_foreach(images, key, codes) {
        cm3_sample_image *image = &own[sample->image_count++];
        image->name = keep(dataset, key, strlen(key) + 1);
        if (!image->name) return cm3_fail_memory(dataset->context, strlen(key), "codes");
        CM3_TRY(keep_codes(dataset, where, codes, &image->codes, &image->code_count));
    }
    return CM3_OK;
}

/** {"task": NAME, KEY: text or texts ...}. */
static cm3_status keep_example(cm3_dataset *dataset, const char *where, json_t *json, cm3_example *example) {
    const char *task = json_string_value(json_object_get(json, "task")), *key;
    json_t *value;
    if (!task) {
        return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: an example is no object with a string 'task'", where);
    }
    size_t count = json_object_size(json) - 1;
    cm3_sample_text *texts = cm3_arena_alloc(dataset->memory, count * sizeof *texts + 1);
    *example = (cm3_example){.task = keep(dataset, task, strlen(task) + 1), .texts = texts};
    if (!texts || !example->task) return cm3_fail_memory(dataset->context, count * sizeof *texts, "examples");
    json_object_foreach(json, key, value) {
        if (strcmp(key, "task") == 0) continue;
        cm3_sample_text *text = &texts[example->text_count++];
        text->name = keep(dataset, key, strlen(key) + 1);
        if (!text->name) return cm3_fail_memory(dataset->context, strlen(key), "examples");
        CM3_TRY(keep_texts(dataset, where, key, value, &text->texts, &text->count));
    }
    return CM3_OK;
}

static cm3_status keep_examples(cm3_dataset *dataset, const char *where, json_t *list, cm3_sample *sample) {
    size_t count = json_array_size(list);
    if (!json_is_array(list)) {
        return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: 'examples' is not a list", where);
    }
    cm3_example *own = cm3_arena_alloc(dataset->memory, count * sizeof *own + 1);
    if (!own) return cm3_fail_memory(dataset->context, count * sizeof *own, "examples");
    sample->examples = own;
    for (size_t i = 0; i < count; i++) {
        CM3_TRY(keep_example(dataset, where, json_array_get(list, i), &own[i]));
        sample->example_count++;
    }
    return CM3_OK;
}

static bool parse_hex(const json_t *value, uint64_t *number) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *number = strtoull(text, NULL, 16);
    return true;
}

/** "neighbours": {"bank": its identity, "ids": [records]}. */
static cm3_status keep_neighbours(cm3_dataset *dataset, const char *where, const json_t *json, cm3_sample *sample) {
    const json_t *ids = json_object_get(json, "ids");
    const size_t count = json_array_size(ids);
    if (!json_is_array(ids) || !parse_hex(json_object_get(json, "bank"), &sample->bank) || count > INT32_MAX) {
        return cm3_fail(dataset->context, CM3_ERROR_FORMAT,
                        "%s: 'neighbours' is not an object of a bank's identity and a list of its records", where);
    }
    uint64_t *own = cm3_arena_alloc(dataset->memory, count * sizeof *own + 1);
    if (!own) return cm3_fail_memory(dataset->context, count * sizeof *own, "neighbours");
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0) {
            return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: neighbour %zu is no record's number", where, i);
        }
        own[i] = (uint64_t)json_integer_value(id);
    }
    sample->neighbours = own;
    sample->neighbour_count = (int32_t)count;
    return CM3_OK;
}

/** Which image tokenizer made the codes, where the record tells it. */
static cm3_status keep_codebook(cm3_dataset *dataset, const char *where, const json_t *codebook, cm3_sample *sample) {
    if (parse_hex(codebook, &sample->codebook)) return CM3_OK;
    return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: 'codebook' is not a string of 16 hexadecimal digits",
                    where);
}

static cm3_status keep_json(cm3_dataset *dataset, const char *where, const cm3_record *record, cm3_sample *sample) {
    json_t *json = NULL;
    CM3_TRY(cm3_json_parse(dataset->context, where, record->json, record->json_size, &json));
    json_t *text = json_object_get(json, "text"), *query = json_object_get(json, "query"),
           *codes = json_object_get(json, "codes"), *codebook = json_object_get(json, "codebook"),
           *images = json_object_get(json, "images"), *examples = json_object_get(json, "examples"),
           *neighbours = json_object_get(json, "neighbours");
    cm3_status status = CM3_OK;
    if (!json_is_object(json)) status = cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: not an object", where);
    if (status == CM3_OK && text) {
        status = keep_texts(dataset, where, "text", text, &sample->captions, &sample->caption_count);
    }
    if (status == CM3_OK && query) {
        status = keep_texts(dataset, where, "query", query, &sample->queries, &sample->query_count);
    }
    if (status == CM3_OK && codes) {
        status = keep_codes(dataset, where, codes, &sample->codes, &sample->code_count);
    }
    if (status == CM3_OK && codebook) status = keep_codebook(dataset, where, codebook, sample);
    if (status == CM3_OK && images) status = keep_images(dataset, where, images, sample);
    if (status == CM3_OK && examples) status = keep_examples(dataset, where, examples, sample);
    if (status == CM3_OK && neighbours) status = keep_neighbours(dataset, where, neighbours, sample);
    json_decref(json);
    return status;
}

/** A caption from key.txt; those from JSON are UTF-8 already. */
static cm3_status keep_text(cm3_dataset *dataset, const char *where, const cm3_record *record, cm3_sample *sample) {
    size_t size = record->text_size, length;
    while (size && (record->text[size - 1] == '\n' || record->text[size - 1] == '\r')) size--;
    for (size_t i = 0; i < size; i += length) {
        if (record->text[i] && cm3_utf8_look(record->text + i, size - i, &length) == CM3_UTF8_GOOD) continue;
        return cm3_fail(dataset->context, CM3_ERROR_FORMAT, "%s: the caption is not UTF-8 text (byte %zu)", where, i);
    }
    char *text = cm3_arena_alloc(dataset->memory, size + 1);
    if (!text) return cm3_fail_memory(dataset->context, size, "captions");
    if (size) memcpy(text, record->text, size);
    text[size] = 0;
    sample->captions = text;
    sample->caption_count = 1;
    return CM3_OK;
}

static cm3_status keep_record(cm3_dataset *dataset, const char *path, const cm3_record *record, bool want_images) {
    cm3_sample sample = {0};
    char where[512];
    snprintf(where, sizeof where, "%s: record %s", path, record->key ? record->key : "?");
    sample.name = keep(dataset, where, strlen(where) + 1);
    if (!sample.name) return cm3_fail_memory(dataset->context, strlen(where), "records");
    if (record->json) CM3_TRY(keep_json(dataset, where, record, &sample));
    if (!sample.captions && record->text) CM3_TRY(keep_text(dataset, where, record, &sample));
    if (record->image && want_images && !sample.codes) {
        sample.image = keep(dataset, record->image, record->image_size);
        sample.image_size = record->image_size;
        if (!sample.image) return cm3_fail_memory(dataset->context, record->image_size, "pictures");
    }
    CM3_TRY(cm3_grow(dataset->context, &dataset->samples, &dataset->capacity, dataset->count + 1,
                     sizeof *dataset->samples, "records"));
    dataset->samples[dataset->count++] = sample;
    return CM3_OK;
}

/** One sum for all records up to this one. */
static uint64_t sum_record(uint64_t before, const cm3_record *record) {
    const uint64_t sums[] = {before, record->json ? cm3_hash(record->json, record->json_size) : 0,
                             record->text ? cm3_hash(record->text, record->text_size) : 0,
                             record->image ? cm3_hash(record->image, record->image_size) : 0};
    return cm3_hash(sums, sizeof sums);
}

static cm3_status load_shard(cm3_dataset *dataset, const char *path, bool want_images, uint64_t limit) {
    cm3_shard *shard = NULL;
    CM3_TRY(cm3_shard_open(dataset->context, path, &shard));
    cm3_status status = CM3_OK;
    bool more = true;
    while (status == CM3_OK && more) {
        cm3_record record = {0};
        status = cm3_shard_next(shard, &record, &more);
        if (status == CM3_OK && more) {
            dataset->sum = sum_record(dataset->sum, &record);
            status = keep_record(dataset, path, &record, want_images);
        }
        if (status == CM3_OK && limit && cm3_arena_used(dataset->memory) > limit) {
            status = cm3_fail(dataset->context, CM3_ERROR_NO_MEMORY,
                              "the records take more than memory_limit, %llu bytes: %zu were read, the last from %s",
                              (unsigned long long)limit, dataset->count, path);
        }
        cm3_record_clear(dataset->context, &record);
    }
    cm3_shard_close(shard);
    return status;
}

cm3_status cm3_dataset_load(cm3_context *context, const char *const *paths, size_t path_count, uint64_t seed,
                            bool want_images, uint64_t limit, cm3_dataset **out) {
    *out = NULL;
    for (size_t i = 0; i < path_count; i++) {
        if (!paths[i]) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "path %zu of the data is NULL", i);
    }
    cm3_dataset *dataset = cm3_calloc(context, 1, sizeof *dataset);
    if (!dataset) return cm3_fail_memory(context, sizeof *dataset, "records");
    dataset->context = context;
    dataset->seed = seed;
    dataset->epoch = UINT64_MAX;
    dataset->together = 1;
    cm3_status status = cm3_arena_create(context, (size_t)4 << 20, &dataset->memory);
    for (size_t i = 0; i < path_count && status == CM3_OK; i++) {
        status = load_shard(dataset, paths[i], want_images, limit);
    }
    if (status == CM3_OK && !dataset->count) {
        status = cm3_fail(context, CM3_ERROR_NOT_FOUND, "there are no records in the data (%zu files)", path_count);
    }
    if (status == CM3_OK && dataset->count > UINT32_MAX) {
        status = cm3_fail(context, CM3_ERROR_UNSUPPORTED, "more than 4294967295 records");
    }
    if (status == CM3_OK) {
        dataset->order = cm3_calloc(context, dataset->count, sizeof *dataset->order);
        if (!dataset->order) status = cm3_fail_memory(context, dataset->count * sizeof *dataset->order, "records");
    }
    if (status != CM3_OK) {
        cm3_dataset_destroy(dataset);
        return status;
    }
    *out = dataset;
    return CM3_OK;
}

void cm3_dataset_destroy(cm3_dataset *dataset) {
    if (!dataset) return;
    cm3_context *context = dataset->context;
    cm3_arena_destroy(dataset->memory);
    cm3_free(context, dataset->samples);
    cm3_free(context, dataset->order);
    cm3_free(context, dataset);
}

/** Fisher and Yates with numbers of (seed, epoch), of groups by their first samples. */
static void shuffle(cm3_dataset *dataset, uint64_t epoch) {
    cm3_random random = cm3_random_make(dataset->seed, 0x5348554600000000u ^ epoch);
    uint32_t *order = dataset->order;
    const size_t together = dataset->together, groups = (dataset->count + together - 1) / together;
    for (size_t i = 0; i < groups; i++) order[i] = (uint32_t)(i * together);
    for (size_t i = groups; i > 1; i--) {
        size_t other = cm3_random_below(&random, i);
        uint32_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
    /* Each group's place is at or behind that of its first sample so far, so the last ones go first. */
    for (size_t at = dataset->count, i = groups; i-- > 0 && together > 1;) {
        const size_t first = order[i], left = dataset->count - first;
        for (size_t j = left < together ? left : together; j-- > 0;) order[--at] = (uint32_t)(first + j);
    }
    dataset->epoch = epoch;
}

const cm3_sample *cm3_dataset_at(cm3_dataset *dataset, uint64_t position) {
    uint64_t epoch = position / dataset->count;
    if (epoch != dataset->epoch) shuffle(dataset, epoch);
    return &dataset->samples[dataset->order[position % dataset->count]];
}

/** Text `index` of those behind each other. */
static const char *text_at(const char *texts, int32_t index) {
    for (int32_t i = 0; i < index; i++) texts += strlen(texts) + 1;
    return texts;
}

const char *cm3_sample_caption(const cm3_sample *sample, int32_t index) {
    return text_at(sample->captions, index);
}

const char *cm3_sample_query(const cm3_sample *sample, int32_t index) {
    return text_at(sample->queries, index);
}
