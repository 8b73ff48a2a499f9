/* PyTorch's checkpoints. */
#include "files/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "files/pickle.h"
#include "files/zip.h"

struct cm3_torch {
    cm3_context *context;
    cm3_file *file;
    cm3_zip *zip;
    cm3_arena *arena;
    char *prefix; /**< of all entries: "consolidated.00/" */
    cm3_entry *entries;
    size_t count;
    void **copies;
    size_t copy_count, copy_capacity;
};

static cm3_status fail_tensor(const cm3_torch *torch, const char *name, const char *what) {
    return cm3_fail(torch->context, CM3_ERROR_FORMAT, "%s: tensor '%.200s': %s", torch->file->name, name, what);
}

/** PREFIX/NAME of the archive; NULL where there is none, or memory is out. */
static const cm3_zip_entry *find_part(const cm3_torch *torch, const char *folder, const char *name) {
    size_t size = strlen(torch->prefix) + strlen(folder) + strlen(name) + 1;
    char *full = cm3_arena_alloc(torch->arena, size);
    if (!full) return NULL;
    snprintf(full, size, "%s%s%s", torch->prefix, folder, name);
    return cm3_zip_find(torch->zip, full);
}

/** The archive's one pickle, and what stands before its name. */
static cm3_status find_pickle(cm3_torch *torch, const cm3_zip_entry **pickle) {
    static const char name[] = "data.pkl";
    *pickle = NULL;
    for (size_t i = 0; i < cm3_zip_count(torch->zip); i++) {
        const cm3_zip_entry *entry = cm3_zip_at(torch->zip, i);
        const char *slash = strrchr(entry->name, '/'), *own = slash ? slash + 1 : entry->name;
        if (strcmp(own, name) != 0) continue;
        if (*pickle) return cm3_fail(torch->context, CM3_ERROR_FORMAT, "%s: two pickles in it", torch->file->name);
        *pickle = entry;
    }
    if (!*pickle) {
        return cm3_fail(torch->context, CM3_ERROR_FORMAT, "%s: no %s in it: this is no checkpoint of PyTorch's",
                        torch->file->name, name);
    }
    size_t length = strlen((*pickle)->name) - strlen(name);
    torch->prefix = cm3_arena_alloc(torch->arena, length + 1);
    if (!torch->prefix) return cm3_fail_memory(torch->context, length, torch->file->name);
    memcpy(torch->prefix, (*pickle)->name, length);
    torch->prefix[length] = 0;
    return CM3_OK;
}

static cm3_status check_byte_order(const cm3_torch *torch) {
    const cm3_zip_entry *order = find_part(torch, "", "byteorder");
    if (!order || (order->size >= 6 && memcmp(order->data, "little", 6) == 0)) return CM3_OK;
    return cm3_fail(torch->context, CM3_ERROR_UNSUPPORTED, "%s: its byte order is '%.*s'; little is read",
                    torch->file->name, (int)(order->size < 16 ? order->size : 16), (const char *)order->data);
}

/** Elements from the first to the last of a tensor, both included; false where that is more than can be. */
static bool extent_of(const cm3_pickle_value *t, const cm3_entry *entry, uint64_t *extent) {
    *extent = entry->count ? 1 : 0;
    for (int i = 0; i < entry->rank && entry->count; i++) {
        uint64_t steps = (uint64_t)entry->shape[i] - 1, stride = (uint64_t)t->as.tensor.stride[i], reach;
        if (__builtin_mul_overflow(steps, stride, &reach) || __builtin_add_overflow(*extent, reach, extent))
            return false;
    }
    return true;
}

static bool is_contiguous(const cm3_pickle_value *t, const cm3_entry *entry) {
    int64_t expected = 1;
    for (int i = entry->rank - 1; i >= 0; i--) {
        if (entry->shape[i] != 1 && t->as.tensor.stride[i] != expected) return false;
        expected *= entry->shape[i];
    }
    return true;
}

/** A copy whose elements follow each other. */
static cm3_status gather(cm3_torch *torch, const cm3_pickle_value *t, cm3_entry *entry, const uint8_t *from,
                         size_t width) {
    CM3_TRY(cm3_grow(torch->context, &torch->copies, &torch->copy_capacity, torch->copy_count + 1,
                     sizeof *torch->copies, torch->file->name));
    uint8_t *to = cm3_alloc(torch->context, entry->size);
    if (!to) return cm3_fail_memory(torch->context, entry->size, torch->file->name);
    torch->copies[torch->copy_count++] = to;
    int64_t index[CM3_MAX_RANK] = {0};
    for (int64_t i = 0; i < entry->count; i++) {
        int64_t place = 0;
        for (int d = 0; d < entry->rank; d++) place += index[d] * t->as.tensor.stride[d];
        memcpy(to + (size_t)i * width, from + (size_t)place * width, width);
        for (int d = entry->rank - 1; d >= 0 && ++index[d] == entry->shape[d]; d--) index[d] = 0;
    }
    entry->data = to;
    return CM3_OK;
}

static cm3_status place_data(cm3_torch *torch, const cm3_pickle_value *t, cm3_entry *entry) {
    const cm3_pickle_storage *storage = t->as.tensor.storage;
    const cm3_zip_entry *bytes = find_part(torch, "data/", storage->key);
    if (!bytes) return fail_tensor(torch, entry->name, "its storage is missing");
    uint64_t extent;
    size_t held, needed;
    if (!cm3_mul_size((size_t)storage->count, storage->width, &held) || held > bytes->size) {
        return fail_tensor(torch, entry->name, "its storage is shorter than it says");
    }
    bool inside = extent_of(t, entry, &extent) && extent <= (uint64_t)storage->count &&
                  (uint64_t)t->as.tensor.offset <= (uint64_t)storage->count - extent;
    if (!inside) return fail_tensor(torch, entry->name, "it reaches beyond its storage");
    if (!cm3_mul_size((size_t)entry->count, storage->width, &needed) || needed > held) {
        return fail_tensor(torch, entry->name, "it has more elements than its storage");
    }
    entry->size = needed;
    const uint8_t *from = bytes->data + (size_t)t->as.tensor.offset * storage->width;
    bool aligned = (uintptr_t)from % storage->width == 0;
    if (!is_contiguous(t, entry) || !aligned) return gather(torch, t, entry, from, storage->width);
    entry->data = from;
    return CM3_OK;
}

static cm3_status read_tensor(cm3_torch *torch, const cm3_pickle_item *item, cm3_entry *entry) {
    const cm3_pickle_value *t = item->value;
    const char *name = item->key->as.string.text;
    *entry = (cm3_entry){.name = name, .dtype = t->as.tensor.storage->dtype, .rank = t->as.tensor.rank, .count = 1};
    if (strlen(name) != item->key->as.string.size) return fail_tensor(torch, name, "its name has a NUL in it");
    for (int i = 0; i < entry->rank; i++) {
        entry->shape[i] = t->as.tensor.shape[i];
        if (__builtin_mul_overflow(entry->count, entry->shape[i], &entry->count)) {
            return fail_tensor(torch, name, "the size of its shape overflows");
        }
    }
    return entry->dtype == CM3_DTYPE_NONE ? CM3_OK : place_data(torch, t, entry);
}

static bool is_tensor(const cm3_pickle_item *item) {
    return item->key->kind == CM3_PICKLE_STRING && item->value->kind == CM3_PICKLE_TENSOR;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const cm3_entry *)a)->name, ((const cm3_entry *)b)->name);
}

static cm3_status read_tensors(cm3_torch *torch, const cm3_pickle_value *value) {
    const cm3_pickle_value *inner = cm3_pickle_get(value, "state_dict");
    if (inner && inner->kind == CM3_PICKLE_DICT) value = inner;
    if (value->kind != CM3_PICKLE_DICT) {
        return cm3_fail(torch->context, CM3_ERROR_FORMAT, "%s: it holds no dictionary of tensors", torch->file->name);
    }
    torch->entries = cm3_calloc(torch->context, value->as.items.count + 1, sizeof *torch->entries);
    if (!torch->entries) return cm3_fail_memory(torch->context, value->as.items.count, torch->file->name);
    for (const cm3_pickle_item *item = value->as.items.first; item; item = item->next) {
        if (!is_tensor(item)) continue;
        CM3_TRY(read_tensor(torch, item, &torch->entries[torch->count]));
        torch->count++;
    }
    if (torch->count) qsort(torch->entries, torch->count, sizeof *torch->entries, compare);
    for (size_t i = 1; i < torch->count; i++) {
        if (!strcmp(torch->entries[i - 1].name, torch->entries[i].name)) {
            return fail_tensor(torch, torch->entries[i].name, "it is there twice");
        }
    }
    return CM3_OK;
}

static cm3_status read_all(cm3_torch *torch) {
    const cm3_zip_entry *pickle;
    const cm3_pickle_value *value;
    if (!cm3_is_zip(torch->file)) {
        return cm3_fail(torch->context, CM3_ERROR_UNSUPPORTED,
                        "%s: no zip archive; checkpoints from before PyTorch 1.6 are to be saved anew",
                        torch->file->name);
    }
    CM3_TRY(cm3_zip_open(torch->context, torch->file, &torch->zip));
    CM3_TRY(cm3_arena_create(torch->context, 1 << 16, &torch->arena));
    CM3_TRY(find_pickle(torch, &pickle));
    CM3_TRY(check_byte_order(torch));
    CM3_TRY(cm3_pickle_read(torch->context, torch->file->name, pickle->data, pickle->size, torch->arena, &value));
    return read_tensors(torch, value);
}

cm3_status cm3_torch_open(cm3_context *context, cm3_file *file, cm3_torch **out) {
    *out = NULL;
    cm3_torch *torch = cm3_calloc(context, 1, sizeof *torch);
    if (!torch) return cm3_fail_memory(context, sizeof *torch, file->name);
    torch->context = context;
    torch->file = file;
    cm3_file_retain(file);
    cm3_status status = read_all(torch);
    if (status == CM3_OK) {
        *out = torch;
    } else {
        cm3_torch_close(torch);
    }
    return status;
}

void cm3_torch_close(cm3_torch *torch) {
    if (!torch) return;
    cm3_context *context = torch->context;
    for (size_t i = 0; i < torch->copy_count; i++) cm3_free(context, torch->copies[i]);
    cm3_free(context, torch->copies);
    cm3_free(context, torch->entries);
    cm3_arena_destroy(torch->arena);
    cm3_zip_close(torch->zip);
    cm3_file_release(torch->file);
    cm3_free(context, torch);
}

void cm3_torch_forget(const cm3_torch *torch) {
    cm3_file_forget(torch->file);
}

const char *cm3_torch_name(const cm3_torch *torch) {
    return torch->file->name;
}

size_t cm3_torch_count(const cm3_torch *torch) {
    return torch->count;
}

const cm3_entry *cm3_torch_at(const cm3_torch *torch, size_t index) {
    return &torch->entries[index];
}

const cm3_entry *cm3_torch_find(const cm3_torch *torch, const char *name) {
    const cm3_entry wanted = {.name = name};
    return torch->count ? bsearch(&wanted, torch->entries, torch->count, sizeof *torch->entries, compare) : NULL;
}
