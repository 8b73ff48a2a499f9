/* Looking records up. */
#include <string.h>

#include "files/system.h"
#include "retrieve/bank.h"

const cm3_bank_part *cm3_bank_part_of(const cm3_bank *bank, uint64_t id) {
    size_t low = 0, high = bank->at.part_count;
    if (id >= bank->at.end.records) return NULL;
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (bank->at.parts[middle].first <= id)
            low = middle;
        else
            high = middle;
    }
    return &bank->at.parts[low];
}

cm3_vectors cm3_bank_part_vectors(const cm3_bank *bank, const cm3_bank_part *part) {
    return (cm3_vectors){.values = bank->at.data + part->vectors,
                         .scales = (const uint16_t *)(const void *)(bank->at.data + part->scales)};
}

cm3_hnsw cm3_bank_graph_of(const cm3_bank *bank, const cm3_bank_graph *graph) {
    const uint8_t *data = bank->at.data;
    return (cm3_hnsw){.count = (uint32_t)graph->count,
                      .m = graph->m,
                      .entry = graph->entry,
                      .width = cm3_hnsw_width(bank->at.form.dimension),
                      .rows = (const int8_t *)(data + graph->rows),
                      .scales = (const float *)(const void *)(data + graph->scales),
                      .ground = (const uint32_t *)(const void *)(data + graph->ground),
                      .places = (const uint32_t *)(const void *)(data + graph->places),
                      .upper = (const uint32_t *)(const void *)(data + graph->upper),
                      .upper_count = graph->upper_count};
}

const cm3_bank_entry *cm3_bank_entry_of(const cm3_bank *bank, const cm3_bank_part *part, uint64_t id,
                                        const uint8_t **blob) {
    const cm3_bank_entry *entries = (const cm3_bank_entry *)(const void *)(bank->at.data + part->entries);
    const cm3_bank_entry *entry = &entries[id - part->first];
    const uint64_t size = (uint64_t)entry->image_size + entry->text_size + entry->key_size;
    const uint32_t kind = entry->kind & CM3_ENTRY_IMAGE_MASK;
    *blob = bank->at.data + part->blob;
    if (entry->offset <= part->blob_size && size <= part->blob_size - entry->offset && kind <= CM3_BANK_CODES_32) {
        return entry;
    }
    cm3_fail(bank->context, CM3_ERROR_CHECKSUM, "%s: record %llu: its text and picture do not lie where its block says",
             bank->path, (unsigned long long)id);
    return NULL;
}

/** Bytes of a copy's parts, each with room for its alignment. */
static size_t copy_size(const cm3_bank *bank, const cm3_bank_entry *entry) {
    size_t image = entry->image_size;
    if ((entry->kind & CM3_ENTRY_IMAGE_MASK) == CM3_BANK_CODES_16) image *= 2;
    return sizeof(cm3_bank_record) + (size_t)bank->at.form.dimension * sizeof(float) + image + 64 + entry->text_size +
           entry->key_size + 2;
}

static void copy_codes(const uint8_t *from, uint32_t kind, size_t count, int32_t *to) {
    for (size_t i = 0; i < count; i++) {
        uint16_t small;
        if (kind == CM3_BANK_CODES_16) {
            memcpy(&small, from + i * sizeof small, sizeof small);
            to[i] = small;
        } else {
            memcpy(&to[i], from + i * sizeof *to, sizeof *to);
        }
    }
}

/** One piece of memory: the record, its vector, codes or picture, text, key. */
static cm3_bank_record *copy(const cm3_bank *bank, const cm3_bank_part *part, uint64_t id, const cm3_bank_entry *entry,
                             const uint8_t *blob) {
    const uint32_t kind = entry->kind & CM3_ENTRY_IMAGE_MASK;
    const uint8_t *image = blob + entry->offset;
    cm3_bank_record *record = cm3_alloc(bank->context, copy_size(bank, entry));
    if (!record) return NULL;
    *record = (cm3_bank_record){.struct_size = sizeof *record, .id = id};
    float *vector = (float *)(record + 1);
    const cm3_vectors vectors = cm3_bank_part_vectors(bank, part);
    cm3_vectors_get(&bank->at.form, cm3_kernels_get(cm3_context_cpu(bank->context)), &vectors,
                    (int64_t)(id - part->first), vector);
    record->vector = vector;
    char *rest = (char *)(vector + bank->at.form.dimension);
    if (kind == CM3_BANK_CODES_16 || kind == CM3_BANK_CODES_32) {
        record->codes = (int32_t *)(void *)rest;
        record->code_count = entry->image_size / (kind == CM3_BANK_CODES_16 ? 2 : 4);
        copy_codes(image, kind, record->code_count, (int32_t *)(void *)rest);
        rest += record->code_count * sizeof(int32_t);
    } else if (kind == CM3_BANK_FILE_IMAGE) {
        record->image = memcpy(rest, image, entry->image_size);
        record->image_size = entry->image_size;
        rest += entry->image_size;
    }
    if (entry->kind & CM3_ENTRY_HAS_TEXT) {
        memcpy(rest, image + entry->image_size, entry->text_size);
        rest[entry->text_size] = '\0';
        record->text = rest;
        rest += entry->text_size + 1;
    }
    memcpy(rest, image + entry->image_size + entry->text_size, entry->key_size);
    rest[entry->key_size] = '\0';
    record->key = rest;
    return record;
}

static pthread_rwlock_t *lock_of(const cm3_bank *bank) {
    return (pthread_rwlock_t *)(uintptr_t)&bank->lock;
}

cm3_status cm3_bank_get(const cm3_bank *bank, uint64_t id, cm3_bank_record **record) {
    if (record) *record = NULL;
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    if (!record) return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_get: record is NULL");
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_rdlock(lock_of(bank));
    const cm3_bank_part *part = cm3_bank_part_of(bank, id);
    const uint8_t *blob;
    cm3_status status = CM3_OK;
    if (!part || cm3_bank_is_deleted(bank, id)) {
        status = cm3_fail(bank->context, CM3_ERROR_NOT_FOUND, "%s: record %llu: %s", bank->path, (unsigned long long)id,
                          part ? "it was taken out" : "there is none");
    } else {
        const cm3_bank_entry *entry = cm3_bank_entry_of(bank, part, id, &blob);
        if (!entry)
            status = CM3_ERROR_CHECKSUM;
        else if (!(*record = copy(bank, part, id, entry, blob)))
            status = cm3_fail_memory(bank->context, copy_size(bank, entry), bank->path);
    }
    pthread_rwlock_unlock(lock_of(bank));
    return status;
}

void cm3_bank_record_destroy(const cm3_bank *bank, cm3_bank_record *record) {
    if (bank) cm3_free(bank->context, record);
}

cm3_status cm3_bank_next(const cm3_bank *bank, uint64_t *id) {
    if (!bank || !id) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_rdlock(lock_of(bank));
    while (*id < bank->at.end.records && cm3_bank_is_deleted(bank, *id)) ++*id;
    const bool found = *id < bank->at.end.records;
    pthread_rwlock_unlock(lock_of(bank));
    return found ? CM3_OK : CM3_ERROR_NOT_FOUND;
}

cm3_status cm3_bank_find(const cm3_bank *bank, const char *key, uint64_t *id) {
    if (id) *id = CM3_NO_RECORD;
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    if (!key || !id) return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_find: an argument is NULL");
    const size_t size = strlen(key);
    cm3_status status = CM3_OK;
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_rdlock(lock_of(bank));
    for (size_t p = 0; p < bank->at.part_count && *id == CM3_NO_RECORD && status == CM3_OK; p++) {
        const cm3_bank_part *part = &bank->at.parts[p];
        for (uint64_t i = part->first; i < part->first + part->count; i++) {
            const uint8_t *blob;
            const cm3_bank_entry *entry = cm3_bank_entry_of(bank, part, i, &blob);
            if (!entry) {
                status = CM3_ERROR_CHECKSUM;
                break;
            }
            const uint8_t *own = blob + entry->offset + entry->image_size + entry->text_size;
            if (entry->key_size != size || memcmp(own, key, size) != 0 || cm3_bank_is_deleted(bank, i)) continue;
            *id = i;
            break;
        }
    }
    pthread_rwlock_unlock(lock_of(bank));
    if (status == CM3_OK && *id == CM3_NO_RECORD) {
        return cm3_fail(bank->context, CM3_ERROR_NOT_FOUND, "%s: no record has the key '%.100s'", bank->path, key);
    }
    return status;
}
