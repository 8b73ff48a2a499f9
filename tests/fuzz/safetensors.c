/* Any bytes as a safetensors file: opened, and all of it read; what was opened is written again and must come back. */
#include "files/safetensors.h"
#include "fuzz.h"

/* Touches what a reader would touch. */
static uint64_t read_everything(const cm3_safetensors *tensors) {
    uint64_t sum = 0;
    for (size_t i = 0; i < cm3_safetensors_count(tensors); ++i) {
        const cm3_entry *entry = cm3_safetensors_at(tensors, i);
        FUZZ_CHECK((uintptr_t)entry->data % cm3_dtype_size(entry->dtype) == 0);
        FUZZ_CHECK(cm3_safetensors_find(tensors, entry->name) == entry);
        int64_t count = 1;
        for (int d = 0; d < entry->rank; ++d) count *= entry->shape[d];
        FUZZ_CHECK(count == entry->count && (size_t)count * cm3_dtype_size(entry->dtype) == entry->size);
        for (size_t j = 0; j < entry->size; ++j) sum += ((const uint8_t *)entry->data)[j];
    }
    const uint8_t *data;
    size_t size;
    cm3_safetensors_data(tensors, &data, &size);
    for (size_t j = 0; j < size; ++j) sum += data[j];
    return sum;
}

/* The writer's own names for its padding, and metadata's key, are not the caller's to use. */
static bool is_reserved(const char *name) {
    return strncmp(name, "pad.", 4) == 0 || strcmp(name, "__metadata__") == 0;
}

static cm3_status write(cm3_context *context, const cm3_safetensors *tensors, const char *path, size_t *count) {
    cm3_save_entry entries[16];
    *count = 0;
    for (size_t i = 0; i < cm3_safetensors_count(tensors) && *count < 16; ++i) {
        const cm3_entry *from = cm3_safetensors_at(tensors, i);
        if (is_reserved(from->name)) continue;
        cm3_save_entry *to = &entries[(*count)++];
        *to =
            (cm3_save_entry){.name = from->name, .dtype = from->dtype, .source_dtype = from->dtype, .rank = from->rank};
        memcpy(to->shape, from->shape, sizeof to->shape);
        to->data = from->data;
    }
    static const char *const key = "format", *const value = "fuzz";
    return cm3_safetensors_write(context, path, entries, *count, &key, &value, 1);
}

/* What is read can be written, and is then the same. */
static void write_and_read(cm3_context *context, const cm3_safetensors *tensors) {
    const char *path = fuzz_path("written.safetensors");
    size_t count;
    cm3_file *file;
    cm3_safetensors *again;
    if (write(context, tensors, path, &count) != CM3_OK) return;
    FUZZ_CHECK(cm3_file_open(context, path, &file) == CM3_OK);
    FUZZ_CHECK(cm3_safetensors_open(context, file, &again) == CM3_OK);
    FUZZ_CHECK(cm3_safetensors_count(again) == count);
    for (size_t i = 0; i < count; ++i) {
        const cm3_entry *one = cm3_safetensors_at(again, i), *other = cm3_safetensors_find(tensors, one->name);
        FUZZ_CHECK(other != NULL && one->dtype == other->dtype && one->size == other->size);
        FUZZ_CHECK(one->rank == other->rank && !memcmp(one->shape, other->shape, sizeof *one->shape * one->rank));
        FUZZ_CHECK(memcmp(one->data, other->data, one->size) == 0);
    }
    cm3_safetensors_close(again);
    cm3_file_release(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cm3_context *context = fuzz_begin((size_t)16 << 20);
    cm3_file *file;
    cm3_safetensors *tensors;
    FUZZ_CHECK(cm3_file_from_memory(context, data, size, &file) == CM3_OK);
    cm3_status status = cm3_safetensors_open(context, file, &tensors);
    fuzz_check_result(context, status, tensors);
    if (tensors != NULL) {
        read_everything(tensors);
        if (fuzz_hash(data, size) % 16 == 0) write_and_read(context, tensors);
    }
    cm3_safetensors_close(tensors);
    cm3_file_release(file);
    fuzz_end(context);
    return 0;
}
