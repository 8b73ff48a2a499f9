/* safetensors files, read: nothing of the header is believed before it is checked. */
#include "files/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The reference implementation's limit. */
#define MAX_HEADER ((uint64_t)100000000)
#define PREFIX 8

struct cm3_safetensors {
    cm3_context *context;
    cm3_file *file;
    json_t *metadata; /**< an object of strings, or NULL */
    char *names;      /**< all of them, one after the other */
    cm3_entry *entries;
    const cm3_entry **by_name; /**< sorted */
    void **copies;             /**< data that stood misaligned in the file; `count` pointers, most NULL */
    size_t count;
    const uint8_t *data;
    size_t data_size;
};

static cm3_status read_header(cm3_safetensors *tensors, json_t **header) {
    const cm3_file *file = tensors->file;
    if (file->size < PREFIX) {
        return cm3_fail(tensors->context, CM3_ERROR_TRUNCATED, "%s: expected a safetensors file, found %zu bytes",
                        file->name, file->size);
    }
    uint64_t length = 0;
    for (int i = PREFIX - 1; i >= 0; --i) length = length << 8 | file->data[i];
    if (length > MAX_HEADER) {
        return cm3_fail(tensors->context, CM3_ERROR_FORMAT,
                        "%s: expected a safetensors header of at most %" PRIu64 " bytes, found %" PRIu64, file->name,
                        MAX_HEADER, length);
    }
    if (length > file->size - PREFIX) {
        return cm3_fail(tensors->context, CM3_ERROR_TRUNCATED,
                        "%s: the header is %" PRIu64 " bytes, the file ends after %zu of them", file->name, length,
                        file->size - PREFIX);
    }
    const uint8_t *text = file->data + PREFIX;
    if (length == 0 || text[0] != '{') {
        return cm3_fail(tensors->context, CM3_ERROR_FORMAT, "%s: byte %d: expected the header's \"{\"", file->name,
                        PREFIX);
    }
    tensors->data = text + length;
    tensors->data_size = file->size - PREFIX - (size_t)length;
    return cm3_json_parse(tensors->context, file->name, text, (size_t)length, header);
}

static cm3_status fail_entry(const cm3_safetensors *tensors, cm3_status status, const char *name, const char *words) {
    return cm3_fail(tensors->context, status, "%s: tensor %.200s: %s", tensors->file->name, name, words);
}

static cm3_status read_dtype(const cm3_safetensors *tensors, const json_t *value, cm3_entry *entry) {
    const json_t *dtype = json_object_get(value, "dtype");
    if (!json_is_string(dtype)) {
        return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "expected a string as dtype");
    }
    entry->dtype = cm3_dtype_parse(json_string_value(dtype));
    if (entry->dtype != CM3_DTYPE_NONE) return CM3_OK;
    return cm3_fail(tensors->context, CM3_ERROR_UNSUPPORTED,
                    "%s: tensor %.200s: dtype %.40s is none of F32, BF16, F16, I64, I32, U8, I8", tensors->file->name,
                    entry->name, json_string_value(dtype));
}

static cm3_status read_shape(const cm3_safetensors *tensors, const json_t *value, cm3_entry *entry) {
    const json_t *shape = json_object_get(value, "shape");
    if (!json_is_array(shape)) return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "expected an array as shape");
    size_t rank = json_array_size(shape);
    if (rank > CM3_MAX_RANK) {
        return cm3_fail(tensors->context, CM3_ERROR_UNSUPPORTED,
                        "%s: tensor %.200s: %zu dimensions, at most %d are read", tensors->file->name, entry->name,
                        rank, CM3_MAX_RANK);
    }
    entry->rank = (int)rank;
    entry->count = 1;
    for (size_t i = 0; i < rank; ++i) {
        const json_t *dimension = json_array_get(shape, i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0) {
            return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "a dimension is no whole number");
        }
        entry->shape[i] = json_integer_value(dimension);
        if (__builtin_mul_overflow(entry->count, entry->shape[i], &entry->count)) {
            return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "the product of its shape overflows");
        }
    }
    int64_t bytes;
    if (__builtin_mul_overflow(entry->count, (int64_t)cm3_dtype_size(entry->dtype), &bytes) ||
        (uint64_t)bytes > SIZE_MAX) {
        return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "the size of its shape overflows");
    }
    entry->size = (size_t)bytes;
    return CM3_OK;
}

static cm3_status read_offsets(const cm3_safetensors *tensors, const json_t *value, cm3_entry *entry) {
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second)) {
        return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "expected two whole numbers as data_offsets");
    }
    int64_t begin = json_integer_value(first), end = json_integer_value(second);
    if (begin < 0 || end < begin) {
        return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "data_offsets are negative or the wrong way round");
    }
    if ((uint64_t)end > tensors->data_size) {
        return cm3_fail(tensors->context, CM3_ERROR_TRUNCATED,
                        "%s: tensor %.200s: its data ends at byte %" PRId64 " of the data section, which has %zu",
                        tensors->file->name, entry->name, end, tensors->data_size);
    }
    if ((uint64_t)(end - begin) != entry->size) {
        return cm3_fail(tensors->context, CM3_ERROR_FORMAT,
                        "%s: tensor %.200s: %zu bytes expected by shape and dtype, %" PRId64 " found by data_offsets",
                        tensors->file->name, entry->name, entry->size, end - begin);
    }
    entry->data = tensors->data + begin;
    return CM3_OK;
}

static cm3_status read_entry(const cm3_safetensors *tensors, const json_t *value, cm3_entry *entry) {
    if (!json_is_object(value)) return fail_entry(tensors, CM3_ERROR_FORMAT, entry->name, "expected an object");
    CM3_TRY(read_dtype(tensors, value, entry));
    CM3_TRY(read_shape(tensors, value, entry));
    return read_offsets(tensors, value, entry);
}

static cm3_status read_metadata(cm3_safetensors *tensors, json_t *value) {
    const char *key;
    json_t *item;
    if (!json_is_object(value)) {
        return cm3_fail(tensors->context, CM3_ERROR_FORMAT, "%s: __metadata__: expected an object",
                        tensors->file->name);
    }
    json_object_foreach(value, key, item) {
        if (!json_is_string(item)) {
            return cm3_fail(tensors->context, CM3_ERROR_FORMAT, "%s: __metadata__: %.200s: expected a string",
                            tensors->file->name, key);
        }
    }
    tensors->metadata = json_incref(value);
    return CM3_OK;
}

static bool is_metadata(const char *key) {
    return strcmp(key, "__metadata__") == 0;
}

static cm3_status allocate(cm3_safetensors *tensors, json_t *header) {
    size_t count = 0, bytes = 0;
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        if (is_metadata(key)) continue;
        ++count;
        bytes += strlen(key) + 1; /* no more than the header's own size */
    }
    tensors->entries = cm3_calloc(tensors->context, count, sizeof *tensors->entries);
    tensors->by_name = cm3_calloc(tensors->context, count, sizeof *tensors->by_name);
    tensors->copies = cm3_calloc(tensors->context, count, sizeof *tensors->copies);
    tensors->names = cm3_alloc(tensors->context, bytes);
    if (tensors->entries == NULL || tensors->by_name == NULL || tensors->copies == NULL || tensors->names == NULL) {
        return cm3_fail_memory(tensors->context, bytes + count * sizeof *tensors->entries, tensors->file->name);
    }
    return CM3_OK;
}

static cm3_status read_entries(cm3_safetensors *tensors, json_t *header) {
    CM3_TRY(allocate(tensors, header));
    char *name = tensors->names;
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        if (is_metadata(key)) {
            CM3_TRY(read_metadata(tensors, value));
            continue;
        }
        size_t size = strlen(key) + 1;
        memcpy(name, key, size);
        cm3_entry *entry = &tensors->entries[tensors->count++];
        entry->name = name;
        name += size;
        CM3_TRY(read_entry(tensors, value, entry));
    }
    return CM3_OK;
}

static int compare_places(const void *a, const void *b) {
    const cm3_entry *left = a, *right = b;
    uintptr_t left_begin = (uintptr_t)left->data, right_begin = (uintptr_t)right->data;
    if (left_begin != right_begin) return left_begin < right_begin ? -1 : 1;
    if (left->size != right->size) return left->size < right->size ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int compare_names(const void *a, const void *b) {
    const cm3_entry *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* Entries in the order of their data must follow each other from the section's first byte to its last. */
static cm3_status check_places(cm3_safetensors *tensors) {
    qsort(tensors->entries, tensors->count, sizeof *tensors->entries, compare_places);
    const uint8_t *end = tensors->data;
    for (size_t i = 0; i < tensors->count; ++i) {
        const cm3_entry *entry = &tensors->entries[i];
        const uint8_t *begin = entry->data;
        if (begin != end) {
            return cm3_fail(tensors->context, CM3_ERROR_FORMAT,
                            "%s: tensor %.200s: its data begins at byte %zu, the one before %s %zu",
                            tensors->file->name, entry->name, (size_t)(begin - tensors->data),
                            begin < end ? "overlaps it up to" : "leaves a hole from", (size_t)(end - tensors->data));
        }
        end = begin + entry->size;
    }
    size_t used = (size_t)(end - tensors->data);
    if (used == tensors->data_size) return CM3_OK;
    return cm3_fail(tensors->context, CM3_ERROR_FORMAT, "%s: the data section has %zu bytes, its tensors %zu",
                    tensors->file->name, tensors->data_size, used);
}

static bool is_padding(const cm3_entry *entry) {
    if (entry->dtype != CM3_U8 || strncmp(entry->name, "pad.", 4) != 0 || entry->name[4] == '\0') return false;
    return entry->name[4 + strspn(entry->name + 4, "0123456789")] == '\0';
}

static void drop_padding(cm3_safetensors *tensors) {
    size_t kept = 0;
    for (size_t i = 0; i < tensors->count; ++i) {
        if (!is_padding(&tensors->entries[i])) tensors->entries[kept++] = tensors->entries[i];
    }
    tensors->count = kept;
}

/* Other writers, and callers' memory, may leave data where its type cannot be read from; those tensors are copied. */
static cm3_status align_data(cm3_safetensors *tensors) {
    for (size_t i = 0; i < tensors->count; ++i) {
        cm3_entry *entry = &tensors->entries[i];
        if ((uintptr_t)entry->data % cm3_dtype_size(entry->dtype) == 0) continue;
        void *copy = cm3_alloc(tensors->context, entry->size);
        if (copy == NULL) return cm3_fail_memory(tensors->context, entry->size, tensors->file->name);
        memcpy(copy, entry->data, entry->size);
        tensors->copies[i] = copy;
        entry->data = copy;
    }
    return CM3_OK;
}

static cm3_status parse(cm3_safetensors *tensors) {
    json_t *header;
    CM3_TRY(read_header(tensors, &header));
    cm3_status status = read_entries(tensors, header);
    json_decref(header);
    CM3_TRY(status);
    CM3_TRY(check_places(tensors));
    drop_padding(tensors);
    CM3_TRY(align_data(tensors));
    for (size_t i = 0; i < tensors->count; ++i) tensors->by_name[i] = &tensors->entries[i];
    qsort(tensors->by_name, tensors->count, sizeof *tensors->by_name, compare_names);
    return CM3_OK;
}

cm3_status cm3_safetensors_open(cm3_context *context, cm3_file *file, cm3_safetensors **tensors) {
    *tensors = NULL;
    cm3_safetensors *opened = cm3_calloc(context, 1, sizeof *opened);
    if (opened == NULL) return cm3_fail_memory(context, sizeof *opened, file->name);
    opened->context = context;
    opened->file = file;
    cm3_context_retain(context);
    cm3_file_retain(file);
    cm3_status status = parse(opened);
    if (status != CM3_OK) {
        cm3_safetensors_close(opened);
        return status;
    }
    *tensors = opened;
    return CM3_OK;
}

void cm3_safetensors_close(cm3_safetensors *tensors) {
    if (tensors == NULL) return;
    cm3_context *context = tensors->context;
    for (size_t i = 0; tensors->copies != NULL && i < tensors->count; ++i) cm3_free(context, tensors->copies[i]);
    cm3_free(context, tensors->copies);
    cm3_free(context, tensors->by_name);
    cm3_free(context, tensors->entries);
    cm3_free(context, tensors->names);
    json_decref(tensors->metadata);
    cm3_file_release(tensors->file);
    cm3_free(context, tensors);
    cm3_context_release(context);
}

size_t cm3_safetensors_count(const cm3_safetensors *tensors) {
    return tensors->count;
}

const cm3_entry *cm3_safetensors_at(const cm3_safetensors *tensors, size_t index) {
    return index < tensors->count ? &tensors->entries[index] : NULL;
}

const cm3_entry *cm3_safetensors_find(const cm3_safetensors *tensors, const char *name) {
    if (tensors->count == 0) return NULL;
    const cm3_entry wanted = {.name = name}, *key = &wanted;
    const cm3_entry **found = bsearch(&key, tensors->by_name, tensors->count, sizeof *tensors->by_name, compare_names);
    return found != NULL ? *found : NULL;
}

const char *cm3_safetensors_metadata(const cm3_safetensors *tensors, const char *key) {
    return json_string_value(json_object_get(tensors->metadata, key));
}

void cm3_safetensors_forget(const cm3_safetensors *tensors) {
    cm3_file_forget(tensors->file);
}

const char *cm3_safetensors_name(const cm3_safetensors *tensors) {
    return tensors->file->name;
}

void cm3_safetensors_data(const cm3_safetensors *tensors, const uint8_t **data, size_t *size) {
    *data = tensors->data;
    *size = tensors->data_size;
}
