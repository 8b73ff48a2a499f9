/*
 * safetensors files, written: the layout, the header with room for the sum of the data, the data, and the sum in its
 * place. Where nothing can be written twice, the data is gone through for the sum first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "files/hash.h"
#include "files/safetensors.h"
#include "files/writer.h"

#define ALIGNMENT 64
#define PREFIX 8
#define SUM 16 /* digits */
/* Elements converted at a time. */
#define CHUNK 16384

typedef struct save {
    cm3_context *context;
    const char *path;
    const cm3_save_entry *entries;
    size_t count;
    size_t *sizes; /**< bytes of each entry in the file */
    uint8_t *buffer;
    json_t *header;
    size_t pads;
} save;

/* The data section on its way: counted, summed up and written. */
typedef struct outlet {
    const save *job;
    cm3_hasher *hasher;
    cm3_writer *writer; /**< NULL: only the sum is wanted */
    size_t passed;      /**< bytes since it was set to 0 */
} outlet;

static const uint8_t zeros[ALIGNMENT];

static size_t padding(size_t offset) {
    return (ALIGNMENT - offset % ALIGNMENT) % ALIGNMENT;
}

static bool is_float(cm3_dtype dtype) {
    return dtype == CM3_F32 || dtype == CM3_BF16 || dtype == CM3_F16;
}

static cm3_status fail_entry(const save *job, const char *name, const char *words) {
    return cm3_fail(job->context, CM3_ERROR_INVALID_ARGUMENT, "%s: tensor %.200s: %s", job->path, name, words);
}

static cm3_status entry_size(const save *job, const cm3_save_entry *entry, size_t *size) {
    if (entry->name == NULL) return fail_entry(job, "NULL", "a name is missing");
    if (strncmp(entry->name, "pad.", 4) == 0 || strcmp(entry->name, "__metadata__") == 0) {
        return fail_entry(job, entry->name, "the name is the format's own");
    }
    *size = cm3_dtype_size(entry->dtype);
    if (*size == 0 || entry->rank < 0 || entry->rank > CM3_MAX_RANK) {
        return fail_entry(job, entry->name, "no such dtype or rank");
    }
    if (entry->dtype != entry->source_dtype && !(is_float(entry->dtype) && is_float(entry->source_dtype))) {
        return fail_entry(job, entry->name, "its dtype cannot be made from the source's");
    }
    for (int i = 0; i < entry->rank; ++i) {
        if (entry->shape[i] < 0 || !cm3_mul_size(*size, (size_t)entry->shape[i], size) || *size > PTRDIFF_MAX) {
            return fail_entry(job, entry->name, "the size of its shape overflows");
        }
    }
    if (entry->data == NULL && entry->produce == NULL && *size > 0)
        return fail_entry(job, entry->name, "its data is NULL");
    return CM3_OK;
}

static cm3_status out_of_memory(const save *job) {
    return cm3_fail_memory(job->context, job->count, job->path);
}

/* One tensor's line of the header. */
static cm3_status add_line(save *job, const char *name, cm3_dtype dtype, const int64_t *shape, int rank, size_t begin,
                           size_t end) {
    json_t *dimensions = json_array();
    for (int i = 0; i < rank; ++i) json_array_append_new(dimensions, json_integer(shape[i]));
    json_t *line = json_pack("{s:s, s:o, s:[I, I]}", "dtype", cm3_dtype_name(dtype), "shape", dimensions,
                             "data_offsets", (json_int_t)begin, (json_int_t)end);
    if (line == NULL) return out_of_memory(job);
    if (json_object_get(job->header, name) != NULL) {
        json_decref(line);
        return fail_entry(job, name, "the name is there twice");
    }
    if (json_object_set_new(job->header, name, line) != 0) return fail_entry(job, name, "the name is not valid UTF-8");
    return CM3_OK;
}

/* Names, places and sizes of everything; the gaps between tensors become tensors themselves. */
static cm3_status lay_out(save *job) {
    size_t offset = 0;
    for (size_t i = 0; i < job->count; ++i) {
        const cm3_save_entry *entry = &job->entries[i];
        CM3_TRY(entry_size(job, entry, &job->sizes[i]));
        size_t gap = job->sizes[i] > 0 ? padding(offset) : 0;
        if (gap > 0) {
            char name[32];
            snprintf(name, sizeof name, "pad.%zu", job->pads++);
            CM3_TRY(add_line(job, name, CM3_U8, &(int64_t){(int64_t)gap}, 1, offset, offset + gap));
        }
        size_t begin = offset + gap;
        if (!cm3_add_size(begin, job->sizes[i], &offset) || offset > PTRDIFF_MAX - ALIGNMENT) {
            return fail_entry(job, entry->name, "the sum of sizes overflows");
        }
        CM3_TRY(add_line(job, entry->name, entry->dtype, entry->shape, entry->rank, begin, offset));
    }
    return CM3_OK;
}

static cm3_status put(void *to, const void *data, size_t size) {
    outlet *out = to;
    out->passed += size;
    cm3_hasher_add(out->hasher, data, size);
    return out->writer ? cm3_writer_write(out->writer, data, size) : CM3_OK;
}

static cm3_status convert_entry(const save *job, const cm3_save_entry *entry, size_t size, outlet *out) {
    size_t width = cm3_dtype_size(entry->dtype), source_width = cm3_dtype_size(entry->source_dtype);
    size_t count = size / width;
    for (size_t done = 0; done < count;) {
        size_t part = count - done < CHUNK ? count - done : CHUNK;
        const uint8_t *from = (const uint8_t *)entry->data + done * source_width;
        cm3_convert(job->buffer, entry->dtype, from, entry->source_dtype, part);
        CM3_TRY(put(out, job->buffer, part * width));
        done += part;
    }
    return CM3_OK;
}

static cm3_status send_entry(const save *job, const cm3_save_entry *entry, size_t size, outlet *out) {
    if (entry->produce) {
        const cm3_sink sink = {put, out};
        out->passed = 0;
        CM3_TRY(entry->produce(entry->arg, &sink));
        if (out->passed == size) return CM3_OK;
        return cm3_fail(job->context, CM3_ERROR_INTERNAL, "%s: tensor %.200s: %zu bytes came, %zu were announced",
                        job->path, entry->name, out->passed, size);
    }
    if (entry->dtype == entry->source_dtype) return put(out, entry->data, size);
    return convert_entry(job, entry, size, out);
}

/* The data section, byte by byte as lay_out() placed it; its sum as 16 hex digits. */
static cm3_status send_data(const save *job, cm3_writer *writer, char sum[SUM + 1]) {
    outlet out = {job, cm3_hasher_create(), writer, 0};
    if (out.hasher == NULL) return out_of_memory(job);
    cm3_status status = CM3_OK;
    size_t offset = 0;
    for (size_t i = 0; i < job->count && status == CM3_OK; ++i) {
        size_t gap = job->sizes[i] > 0 ? padding(offset) : 0;
        status = put(&out, zeros, gap);
        if (status == CM3_OK) status = send_entry(job, &job->entries[i], job->sizes[i], &out);
        offset += gap + job->sizes[i];
    }
    snprintf(sum, SUM + 1, "%016" PRIx64, cm3_hasher_sum(out.hasher));
    cm3_hasher_destroy(out.hasher);
    return status;
}

static cm3_status add_metadata(save *job, const char *const *keys, const char *const *values, size_t pairs,
                               const char *sum) {
    json_t *metadata = json_object();
    if (metadata == NULL || json_object_set_new(job->header, "__metadata__", metadata) != 0) return out_of_memory(job);
    for (size_t i = 0; i < pairs; ++i) {
        if (keys[i] == NULL || values[i] == NULL || strcmp(keys[i], "xxh3") == 0 ||
            json_object_get(metadata, keys[i]) != NULL) {
            return cm3_fail(job->context, CM3_ERROR_INVALID_ARGUMENT,
                            "%s: __metadata__: pair %zu is NULL, there twice, or xxh3", job->path, i);
        }
        if (json_object_set_new(metadata, keys[i], json_string(values[i])) != 0) {
            return cm3_fail(job->context, CM3_ERROR_INVALID_ARGUMENT, "%s: __metadata__: pair %zu is not valid UTF-8",
                            job->path, i);
        }
    }
    return json_object_set_new(metadata, "xxh3", json_string(sum)) == 0 ? CM3_OK : out_of_memory(job);
}

/** *sum_at: where in the file the sum stands. */
static cm3_status write_header(const save *job, cm3_writer *writer, size_t *sum_at) {
    size_t size = json_dumpb(job->header, NULL, 0, JSON_COMPACT);
    if (size == 0) return out_of_memory(job);
    char *text = cm3_alloc(job->context, size);
    if (text == NULL) return out_of_memory(job);
    if (json_dumpb(job->header, text, size, JSON_COMPACT) != size) {
        cm3_free(job->context, text);
        return out_of_memory(job);
    }
    /* As a key the name stands in no string, where its quotes would be escaped; a tensor of the name is an object. */
    static const char key[] = "\"xxh3\":\"";
    const char *place = memmem(text, size, key, sizeof key - 1);
    *sum_at = place ? PREFIX + (size_t)(place - text) + sizeof key - 1 : 0;
    /* Spaces after the JSON bring the data section to a multiple of the alignment. */
    size_t spaces = padding(PREFIX + size);
    uint8_t prefix[PREFIX], blank[ALIGNMENT];
    uint64_t length = size + spaces;
    for (int i = 0; i < PREFIX; ++i) prefix[i] = (uint8_t)(length >> (8 * i));
    memset(blank, ' ', sizeof blank);
    cm3_status status = cm3_writer_write(writer, prefix, PREFIX);
    if (status == CM3_OK) status = cm3_writer_write(writer, text, size);
    if (status == CM3_OK) status = cm3_writer_write(writer, blank, spaces);
    cm3_free(job->context, text);
    return status;
}

static cm3_status write_file(save *job, cm3_writer *writer, const char *const *keys, const char *const *values,
                             size_t pairs) {
    char sum[SUM + 1] = "0000000000000000";
    bool rewrites = cm3_writer_rewrites(writer);
    size_t sum_at = 0;
    if (!rewrites) CM3_TRY(send_data(job, NULL, sum));
    CM3_TRY(add_metadata(job, keys, values, pairs, sum));
    CM3_TRY(write_header(job, writer, &sum_at));
    CM3_TRY(send_data(job, writer, sum));
    return rewrites ? cm3_writer_rewrite(writer, sum_at, sum, SUM) : CM3_OK;
}

cm3_status cm3_safetensors_write(cm3_context *context, const char *path, const cm3_save_entry *entries, size_t count,
                                 const char *const *keys, const char *const *values, size_t pairs) {
    save job = {.context = context, .path = path, .entries = entries, .count = count};
    job.sizes = cm3_calloc(context, count, sizeof *job.sizes);
    job.buffer = cm3_alloc(context, CHUNK * sizeof(float));
    job.header = json_object();
    cm3_status status = CM3_OK;
    if (job.sizes == NULL || job.buffer == NULL || job.header == NULL) status = out_of_memory(&job);
    /* Metadata stands first in the file but needs the layout: the object is made first and filled last. */
    if (status == CM3_OK && json_object_set_new(job.header, "__metadata__", json_null()) != 0) {
        status = out_of_memory(&job);
    }
    if (status == CM3_OK) status = lay_out(&job);
    cm3_writer *writer = NULL;
    if (status == CM3_OK) status = cm3_writer_open(context, path, &writer);
    if (status == CM3_OK) {
        status = write_file(&job, writer, keys, values, pairs);
        if (status == CM3_OK) {
            status = cm3_writer_commit(writer);
        } else {
            cm3_writer_abort(writer);
        }
    }
    json_decref(job.header);
    cm3_free(context, job.buffer);
    cm3_free(context, job.sizes);
    return status;
}
