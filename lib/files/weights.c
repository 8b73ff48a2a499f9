/* Tensors gathered from files. */
#include "files/weights.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/** A file that the data lies in: one of the two. */
typedef struct holding {
    cm3_safetensors *tensors;
    cm3_torch *torch;
} holding;

struct cm3_weights {
    cm3_context *context;
    atomic_int references;
    cm3_arena *names;
    const char *name;
    cm3_weight *list;
    size_t count, capacity, sealed; /**< the first so many are sorted */
    holding *files;
    size_t file_count, file_capacity;
    void **blocks;
    size_t block_count, block_capacity;
    void *zeros; /**< a mapping of nothing, for outlines */
    size_t zeros_size;
};

static const char *keep_name(cm3_weights *weights, const char *prefix, const char *name) {
    size_t first = strlen(prefix), second = strlen(name);
    char *copy = cm3_arena_alloc(weights->names, first + second + 1);
    if (!copy) return NULL;
    memcpy(copy, prefix, first);
    memcpy(copy + first, name, second + 1);
    return copy;
}

cm3_status cm3_weights_create(cm3_context *context, const char *name, cm3_weights **out) {
    *out = NULL;
    cm3_weights *weights = cm3_calloc(context, 1, sizeof *weights);
    if (!weights) return cm3_fail_memory(context, sizeof *weights, name);
    weights->context = context;
    atomic_init(&weights->references, 1);
    cm3_context_retain(context);
    cm3_status status = cm3_arena_create(context, 1 << 14, &weights->names);
    if (status == CM3_OK && !(weights->name = keep_name(weights, "", name))) status = cm3_fail_memory(context, 0, name);
    if (status != CM3_OK) {
        cm3_weights_release(weights);
        return status;
    }
    *out = weights;
    return CM3_OK;
}

static void let_go(const holding *file) {
    cm3_safetensors_close(file->tensors);
    cm3_torch_close(file->torch);
}

void cm3_weights_retain(cm3_weights *weights) {
    atomic_fetch_add(&weights->references, 1);
}

void cm3_weights_release(cm3_weights *weights) {
    if (!weights || atomic_fetch_sub(&weights->references, 1) != 1) return;
    cm3_context *context = weights->context;
    for (size_t i = 0; i < weights->file_count; i++) let_go(&weights->files[i]);
    for (size_t i = 0; i < weights->block_count; i++) cm3_free(context, weights->blocks[i]);
    if (weights->zeros) munmap(weights->zeros, weights->zeros_size);
    cm3_free(context, weights->files);
    cm3_free(context, weights->blocks);
    cm3_free(context, weights->list);
    cm3_arena_destroy(weights->names);
    cm3_free(context, weights);
    cm3_context_release(context);
}

static cm3_status hold(cm3_weights *weights, holding file) {
    cm3_status status = cm3_grow(weights->context, &weights->files, &weights->file_capacity, weights->file_count + 1,
                                 sizeof *weights->files, weights->name);
    if (status == CM3_OK) {
        weights->files[weights->file_count++] = file;
    } else {
        let_go(&file);
    }
    return status;
}

cm3_status cm3_weights_hold(cm3_weights *weights, cm3_safetensors *tensors) {
    return hold(weights, (holding){.tensors = tensors});
}

cm3_status cm3_weights_hold_torch(cm3_weights *weights, cm3_torch *torch) {
    return hold(weights, (holding){.torch = torch});
}

void cm3_weights_forget(const cm3_weights *weights) {
    for (size_t i = 0; i < weights->file_count; i++) {
        if (weights->files[i].tensors) cm3_safetensors_forget(weights->files[i].tensors);
        if (weights->files[i].torch) cm3_torch_forget(weights->files[i].torch);
    }
}

void *cm3_weights_note(cm3_weights *weights, size_t size) {
    void *note = cm3_arena_alloc(weights->names, size);
    if (!note) cm3_fail_memory(weights->context, size, weights->name);
    return note;
}

void *cm3_weights_memory(cm3_weights *weights, size_t size) {
    if (cm3_grow(weights->context, &weights->blocks, &weights->block_capacity, weights->block_count + 1,
                 sizeof *weights->blocks, weights->name) != CM3_OK) {
        return NULL;
    }
    void *block = cm3_alloc(weights->context, size);
    if (!block) {
        cm3_fail_memory(weights->context, size, weights->name);
        return NULL;
    }
    return weights->blocks[weights->block_count++] = block;
}

cm3_status cm3_weights_add(cm3_weights *weights, const char *prefix, const char *name, const char *file,
                           const cm3_entry *entry) {
    return cm3_weights_add_made(weights, prefix, name, file, entry, NULL, NULL);
}

cm3_status cm3_weights_add_made(cm3_weights *weights, const char *prefix, const char *name, const char *file,
                                const cm3_entry *entry, cm3_make_fn make, const void *recipe) {
    CM3_TRY(cm3_grow(weights->context, &weights->list, &weights->capacity, weights->count + 1, sizeof *weights->list,
                     weights->name));
    const char *full = keep_name(weights, prefix, name);
    if (!full) return cm3_fail_memory(weights->context, strlen(name), weights->name);
    weights->list[weights->count++] = (cm3_weight){full, file, *entry, make, recipe};
    return CM3_OK;
}

cm3_status cm3_weights_make_all(cm3_weights *weights) {
    for (size_t i = 0; i < weights->count; i++) {
        cm3_weight *weight = &weights->list[i];
        if (!weight->make) continue;
        void *data = cm3_weights_memory(weights, weight->entry.size);
        if (!data) return CM3_ERROR_NO_MEMORY;
        weight->make(weight->recipe, data);
        weight->entry.data = data;
        weight->make = NULL;
    }
    return CM3_OK;
}

cm3_status cm3_weights_outline(cm3_weights *weights, uint64_t *bytes) {
    size_t largest = 0;
    *bytes = 0;
    for (size_t i = 0; i < weights->count; i++) {
        if (!weights->list[i].make) continue;
        size_t size = weights->list[i].entry.size;
        *bytes += cm3_alloc_size(size);
        if (size > largest) largest = size;
    }
    if (!largest) return CM3_OK;
    /* Pages that are only read are all the system's one page of zeros. */
    void *zeros = mmap(NULL, largest, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) return cm3_fail_memory(weights->context, largest, weights->name);
    weights->zeros = zeros;
    weights->zeros_size = largest;
    for (size_t i = 0; i < weights->count; i++) {
        cm3_weight *weight = &weights->list[i];
        if (!weight->make) continue;
        weight->entry.data = zeros;
        weight->make = NULL;
    }
    return CM3_OK;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const cm3_weight *)a)->name, ((const cm3_weight *)b)->name);
}

cm3_status cm3_weights_seal(cm3_weights *weights) {
    if (weights->count) qsort(weights->list, weights->count, sizeof *weights->list, compare);
    for (size_t i = 1; i < weights->count; i++) {
        const cm3_weight *a = &weights->list[i - 1], *b = &weights->list[i];
        if (strcmp(a->name, b->name) != 0) continue;
        return cm3_fail(weights->context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' is the same as '%.200s' of %s",
                        b->file, b->entry.name, a->entry.name, a->file);
    }
    weights->sealed = weights->count;
    return CM3_OK;
}

cm3_status cm3_weights_of(cm3_context *context, cm3_safetensors *tensors, cm3_weights **out) {
    cm3_weights *weights;
    *out = NULL;
    cm3_status status = cm3_weights_create(context, cm3_safetensors_name(tensors), &weights);
    if (status != CM3_OK) {
        cm3_safetensors_close(tensors);
        return status;
    }
    status = cm3_weights_hold(weights, tensors);
    for (size_t i = 0; status == CM3_OK && i < cm3_safetensors_count(tensors); i++) {
        const cm3_entry *entry = cm3_safetensors_at(tensors, i);
        status = cm3_weights_add(weights, "", entry->name, cm3_safetensors_name(tensors), entry);
    }
    if (status == CM3_OK) status = cm3_weights_seal(weights);
    if (status != CM3_OK) {
        cm3_weights_release(weights);
        return status;
    }
    *out = weights;
    return CM3_OK;
}

const char *cm3_weights_name(const cm3_weights *weights) {
    return weights->name;
}

size_t cm3_weights_count(const cm3_weights *weights) {
    return weights->count;
}

const cm3_weight *cm3_weights_at(const cm3_weights *weights, size_t index) {
    return index < weights->count ? &weights->list[index] : NULL;
}

const cm3_weight *cm3_weights_find(const cm3_weights *weights, const char *name) {
    const cm3_weight wanted = {.name = name};
    return weights->sealed ? bsearch(&wanted, weights->list, weights->sealed, sizeof *weights->list, compare) : NULL;
}

void cm3_weights_replace(cm3_weights *weights, const char *name, cm3_make_fn make, const void *recipe) {
    const cm3_weight wanted = {.name = name};
    cm3_weight *weight = bsearch(&wanted, weights->list, weights->sealed, sizeof *weights->list, compare);
    if (!weight) return;
    weight->entry.data = NULL;
    weight->make = make;
    weight->recipe = recipe;
}

/* --- checks --------------------------------------------------------------------------------------------------------
 */

static bool finite_values(const cm3_entry *entry) {
    bool finite = true;
    if (entry->dtype == CM3_F32) {
        const uint32_t *bits = entry->data;
        for (int64_t i = 0; i < entry->count; i++) finite &= (bits[i] & 0x7f800000u) != 0x7f800000u;
    } else {
        uint16_t exponent = entry->dtype == CM3_BF16 ? 0x7f80 : 0x7c00;
        const uint16_t *bits = entry->data;
        for (int64_t i = 0; i < entry->count; i++) finite &= (bits[i] & exponent) != exponent;
    }
    return finite;
}

static void shape_text(char *text, size_t size, int rank, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    }
    if (used < size) snprintf(text + used, size - used, "]");
}

cm3_status cm3_weights_check(const cm3_weights *weights, const char *name, const cm3_weight *weight, int rank,
                             const int64_t *shape, bool check_values) {
    cm3_context *context = weights->context;
    if (!weight) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%s' is missing", weights->name, name);
    }
    const cm3_entry *entry = &weight->entry;
    bool same = entry->rank == rank;
    for (int i = 0; i < rank && same; i++) same = entry->shape[i] == shape[i];
    if (!same) {
        char expected[192], found[192];
        shape_text(expected, sizeof expected, rank, shape);
        shape_text(found, sizeof found, entry->rank, entry->shape);
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' should have the shape %s and has %s",
                        weight->file, entry->name, expected, found);
    }
    if (entry->dtype != CM3_F32 && entry->dtype != CM3_BF16 && entry->dtype != CM3_F16) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' is of type %s; F32, BF16 or F16 is expected",
                        weight->file, entry->name, cm3_dtype_name(entry->dtype));
    }
    if (check_values && !finite_values(entry)) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' holds a value that is not a number or infinite",
                        weight->file, entry->name);
    }
    return CM3_OK;
}
