/* Writing: new files, records, what is taken out. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/options.h"
#include "base/random.h"
#include "files/system.h"
#include "retrieve/bank.h"
#include "retrieve/identity.h"
#include "text/bpe.h"

#define MOST_BYTES ((uint64_t)INT32_MAX) /* of a key, a text or a picture */
#define NEVER 2.0f                       /* no inner product is above it */

void cm3_bank_options_init(cm3_bank_options *options) {
    if (options) *options = (cm3_bank_options){.struct_size = sizeof *options, .vectors = CM3_VECTORS_BF16};
}

void cm3_bank_add_options_init(cm3_bank_add_options *options) {
    if (options) *options = (cm3_bank_add_options){.struct_size = sizeof *options, .near_duplicate = NEVER, .sync = 1};
}

/* --- files ---------------------------------------------------------------------------------------------------------
 */

/** Where commits end now; a hint that need not be on the disk, for what lies behind it is found by its sums. */
static cm3_status write_mark(cm3_bank *bank) {
    cm3_bank_mark mark = {.blocks = bank->at.end.number, .end = bank->at.end.offset, .chain = bank->at.end.chain};
    mark.sum = cm3_hash(&mark, offsetof(cm3_bank_mark, sum));
    const int64_t at = CM3_BANK_MARKS_AT + (int64_t)(bank->at.end.number % 2 * sizeof mark);
    return cm3_write_all(bank->context, bank->path, bank->at.fd, &mark, sizeof mark, at);
}

cm3_status cm3_bank_make_file(cm3_bank *bank, const char *path, const cm3_bank_head *head, bool replaces) {
    bank->at.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | (replaces ? O_TRUNC : O_EXCL), 0666);
    if (bank->at.fd < 0 && errno == EEXIST) {
        return cm3_fail(bank->context, CM3_ERROR_BUSY, "%s: there is such a file already", path);
    }
    if (bank->at.fd < 0) return cm3_fail_system(bank->context, path, "creating", errno);
    CM3_TRY(cm3_bank_lock_file(bank, path, bank->at.fd));
    struct stat info;
    if (fstat(bank->at.fd, &info) != 0) return cm3_fail_system(bank->context, path, "stat", errno);
    bank->at.inode = info.st_ino;
    bank->at.device = info.st_dev;
    bank->writes = true;
    bank->at.head = *head;
    bank->at.head.identity[0] = cm3_random_seed();
    bank->at.head.identity[1] = cm3_random_seed();
    bank->at.head.sum = cm3_hash(&bank->at.head, offsetof(cm3_bank_head, sum));
    uint8_t bytes[CM3_BANK_HEAD_SIZE] = {0};
    memcpy(bytes, &bank->at.head, sizeof bank->at.head);
    CM3_TRY(cm3_write_all(bank->context, path, bank->at.fd, bytes, sizeof bytes, 0));
    CM3_TRY(cm3_vectors_form_make(bank->context, (cm3_vector_type)head->vectors, head->dimension, &bank->at.form));
    bank->at.end = cm3_bank_first_place(&bank->at.head);
    CM3_TRY(cm3_bank_map(bank));
    return write_mark(bank);
}

static cm3_status fill_head(cm3_context *context, const cm3_bank_options *options, cm3_bank_head *head) {
    int32_t dimension = options->dimension;
    memcpy(head->magic, CM3_BANK_MAGIC, sizeof head->magic);
    head->version = CM3_BANK_VERSION;
    head->vectors = (uint32_t)options->vectors;
    if (options->model) {
        CM3_TRY(cm3_model_identity(options->model, &head->encoder, &head->image));
        cm3_model_info info = {.struct_size = sizeof info};
        CM3_TRY(cm3_model_get_info(options->model, &info));
        if (dimension && dimension != info.embedding_size) {
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "dimension: %d, the encoder's vectors have %d numbers",
                            dimension, info.embedding_size);
        }
        dimension = info.embedding_size;
    }
    cm3_vectors_form form;
    CM3_TRY(cm3_vectors_form_make(context, options->vectors, dimension, &form));
    head->dimension = (uint32_t)dimension;
    const char *name = options->encoder_name ? options->encoder_name : "";
    if (strlen(name) >= sizeof head->encoder_name) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "encoder_name: %zu bytes, at most %zu are kept",
                        strlen(name), sizeof head->encoder_name - 1);
    }
    strcpy(head->encoder_name, name);
    return CM3_OK;
}

cm3_status cm3_bank_create(cm3_context *context, const char *path, const cm3_bank_options *given, cm3_bank **out) {
    if (out) *out = NULL;
    if (!context) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path || !out) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_create: an argument is NULL");
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    CM3_TRY(cm3_options_read(context, &options, sizeof options, given, "cm3_bank_options"));
    cm3_bank_head head;
    memset(&head, 0, sizeof head);
    CM3_TRY(fill_head(context, &options, &head));
    cm3_bank *bank;
    CM3_TRY(cm3_bank_new(context, path, &bank));
    cm3_status status = cm3_bank_make_file(bank, path, &head, false);
    if (status == CM3_OK && fsync(bank->at.fd) != 0) status = cm3_fail_system(context, path, "syncing", errno);
    if (status != CM3_OK) {
        if (bank->at.fd >= 0) unlink(path); /* it is ours, and nothing is in it */
        cm3_bank_destroy(bank);
        return status;
    }
    cm3_sync_folder(context, path);
    *out = bank;
    return CM3_OK;
}

/* --- commits -------------------------------------------------------------------------------------------------------
 */

cm3_status cm3_bank_check_writes(const cm3_bank *bank) {
    if (bank->broken) {
        return cm3_fail(bank->context, CM3_ERROR_IO, "%s: syncing it failed before: open it anew to see what is there",
                        bank->path);
    }
    if (bank->writes) return CM3_OK;
    return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "%s: opened for reading only", bank->path);
}

cm3_status cm3_bank_write_block(cm3_bank *bank, cm3_bank_block *block, size_t size, bool sync) {
    memcpy(block->magic, CM3_BLOCK_MAGIC, sizeof block->magic);
    block->number = bank->at.end.number;
    block->size = size;
    block->chain = bank->at.end.chain;
    block->payload_sum = cm3_hash(block + 1, size - sizeof *block);
    block->sum = cm3_hash(block, offsetof(cm3_bank_block, sum));
    CM3_TRY(cm3_write_all(bank->context, bank->path, bank->at.fd, block, size, (int64_t)bank->at.end.offset));
    if (sync && fdatasync(bank->at.fd) != 0) {
        bank->broken = true;
        return cm3_fail_system(bank->context, bank->path, "syncing", errno);
    }
    return CM3_OK;
}

cm3_status cm3_bank_take_up(cm3_bank *bank, const cm3_bank_block *block) {
    const uint64_t offset = bank->at.end.offset;
    bank->at.end = cm3_bank_place_behind(&bank->at.end, block);
    cm3_status status = cm3_bank_map(bank);
    if (status == CM3_OK) status = cm3_bank_take_block(bank, offset, block);
    if (status != CM3_OK) {
        /* It is on the disk and cannot be taken up here: no other may follow it. */
        bank->broken = true;
        return status;
    }
    return write_mark(bank);
}

cm3_status cm3_bank_commit(cm3_bank *bank, size_t size, bool sync) {
    cm3_bank_block *block = (cm3_bank_block *)(void *)bank->buffer;
    CM3_TRY(cm3_bank_write_block(bank, block, size, sync));
    return cm3_bank_take_up(bank, block);
}

/* --- adding --------------------------------------------------------------------------------------------------------
 */

/** What becomes of a record that is being added. */
typedef struct addition {
    bool taken;
    cm3_bank_image_kind kind;
    size_t image_size, text_size, key_size; /**< in the file */
    cm3_digest digest;
} addition;

typedef struct adding {
    cm3_bank *bank;
    const cm3_bank_record *records;
    const void *raw; /**< as in cm3_bank_append() */
    const uint16_t *raw_scales;
    size_t count;
    addition *additions;
    float *vectors; /**< [count, dimension], of length 1; NULL with raw */
} adding;

/** Records of a caller with a later header are larger. */
static const cm3_bank_record *record_of(const adding *a, size_t index) {
    return (const cm3_bank_record *)(const void *)((const char *)a->records + index * a->records->struct_size);
}

static cm3_status refuse(const adding *a, size_t index, cm3_status status, const char *what) {
    return cm3_fail(a->bank->context, status, "%s: record %zu of %zu: %s", a->bank->path, index, a->count, what);
}

static cm3_status measure(const adding *a, size_t index) {
    const cm3_bank_record *record = record_of(a, index);
    addition *add = &a->additions[index];
    if (record->struct_size < sizeof *record || record->struct_size != a->records->struct_size) {
        return refuse(a, index, CM3_ERROR_INVALID_ARGUMENT, "struct_size is not that of a cm3_bank_record");
    }
    if (!record->text && !record->image && !record->codes) {
        return refuse(a, index, CM3_ERROR_INVALID_ARGUMENT, "neither a text nor a picture");
    }
    if (record->image && record->codes) {
        return refuse(a, index, CM3_ERROR_INVALID_ARGUMENT, "a picture and codes: one of them");
    }
    add->text_size = record->text ? strlen(record->text) : 0;
    add->key_size = record->key ? strlen(record->key) : 0;
    if (record->image) {
        add->kind = CM3_BANK_FILE_IMAGE;
        add->image_size = record->image_size;
    } else if (record->codes) {
        bool small = true;
        for (size_t i = 0; i < record->code_count; i++) {
            if (record->codes[i] < 0) return refuse(a, index, CM3_ERROR_INVALID_ARGUMENT, "a code below 0");
            small = small && record->codes[i] <= UINT16_MAX;
        }
        add->kind = small ? CM3_BANK_CODES_16 : CM3_BANK_CODES_32;
        if (record->code_count > MOST_BYTES / 4) return refuse(a, index, CM3_ERROR_TOO_LONG, "too many codes");
        add->image_size = record->code_count * (small ? 2 : 4);
    }
    if (add->text_size > MOST_BYTES || add->key_size > MOST_BYTES || add->image_size > MOST_BYTES) {
        return refuse(a, index, CM3_ERROR_TOO_LONG, "its key, text or picture has more than 2^31 bytes");
    }
    if (record->text) CM3_TRY(cm3_utf8_check(a->bank->context, "text", record->text, add->text_size));
    if (record->key) CM3_TRY(cm3_utf8_check(a->bank->context, "key", record->key, add->key_size));
    return CM3_OK;
}

static cm3_status take_vectors(const adding *a) {
    const int64_t d = a->bank->at.form.dimension;
    for (size_t i = 0; i < a->count; i++) {
        if (!record_of(a, i)->vector) return refuse(a, i, CM3_ERROR_INVALID_ARGUMENT, "it has no vector");
        if (!cm3_vector_normalise(a->vectors + (int64_t)i * d, record_of(a, i)->vector, d)) {
            return refuse(a, i, CM3_ERROR_INVALID_ARGUMENT, "its vector is zero or not finite");
        }
    }
    return CM3_OK;
}

/** The picture's bytes as they go into the file. */
static void put_image(const cm3_bank_record *record, const addition *add, uint8_t *to) {
    if (add->kind == CM3_BANK_FILE_IMAGE) memcpy(to, record->image, add->image_size);
    for (size_t i = 0; record->codes && i < record->code_count; i++) {
        const uint16_t small = (uint16_t)record->codes[i];
        if (add->kind == CM3_BANK_CODES_16)
            memcpy(to + i * sizeof small, &small, sizeof small);
        else
            memcpy(to + i * sizeof record->codes[i], &record->codes[i], sizeof record->codes[i]);
    }
}

/** Where the parts of a block begin. */
static cm3_bank_block layout(const cm3_vectors_form *form, uint64_t count, uint64_t blob_size) {
    cm3_bank_block block = {.type = CM3_BLOCK_RECORDS, .count = count, .blob_size = blob_size};
    block.vectors = sizeof block;
    block.scales = cm3_bank_align(block.vectors + count * cm3_vector_size(form));
    block.digests = cm3_bank_align(block.scales + count * cm3_vector_scales(form) * sizeof(uint16_t));
    block.entries = cm3_bank_align(block.digests + count * sizeof(cm3_digest));
    block.blob = cm3_bank_align(block.entries + count * sizeof(cm3_bank_entry));
    block.size = cm3_bank_align(block.blob + blob_size);
    return block;
}

/** Blob and digests of all records, into memory that stands for the block's blob. */
static void put_blob(const adding *a, uint8_t *blob) {
    for (size_t i = 0; i < a->count; i++) {
        addition *add = &a->additions[i];
        const cm3_bank_record *record = record_of(a, i);
        put_image(record, add, blob);
        if (add->text_size) memcpy(blob + add->image_size, record->text, add->text_size);
        const uint64_t seed = add->text_size * 64 + (uint64_t)add->kind * 2 + (record->text != NULL);
        add->digest = cm3_digest_of(blob, add->image_size + add->text_size, seed);
        blob += add->image_size + add->text_size;
        if (add->key_size) memcpy(blob, record->key, add->key_size);
        blob += add->key_size;
    }
}

/** The digests of live records, where nobody wanted them before. */
static cm3_status know_digests(cm3_bank *bank, size_t more) {
    const bool unknown = !bank->at.digests.capacity;
    CM3_TRY(cm3_digests_reserve(bank->context, &bank->at.digests,
                                (size_t)(bank->at.end.records - bank->at.deleted_count) + more));
    for (size_t p = 0; unknown && p < bank->at.part_count; p++) {
        const cm3_bank_part *part = &bank->at.parts[p];
        const cm3_digest *digests = (const cm3_digest *)(const void *)(bank->at.data + part->digests);
        for (uint64_t i = 0; i < part->count; i++) {
            if (!cm3_bank_is_deleted(bank, part->first + i)) cm3_digests_add(&bank->at.digests, digests[i]);
        }
    }
    return CM3_OK;
}

/** Leaves out records that are near to one in the bank, or to one before them. */
static cm3_status refuse_near(const adding *a, float above) {
    const int64_t d = a->bank->at.form.dimension;
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = 1;
    options.way = CM3_SEARCH_EXACT; /* none may be missed */
    cm3_hit *hits = cm3_calloc(a->bank->context, a->count, sizeof *hits);
    if (!hits) return cm3_fail_memory(a->bank->context, a->count * sizeof *hits, a->bank->path);
    cm3_status status = cm3_bank_search_run(a->bank, a->vectors, a->count, &options, hits, NULL);
    const cm3_kernels *kernels = cm3_kernels_get(cm3_context_cpu(a->bank->context));
    for (size_t i = 0; i < a->count && status == CM3_OK; i++) {
        bool near = hits[i].id != CM3_NO_RECORD && hits[i].score > above;
        for (size_t j = 0; j < i && !near && a->additions[i].taken; j++) {
            float score;
            kernels->few_rows_f32(&score, 1, a->vectors + (int64_t)i * d, 1, a->vectors + (int64_t)j * d, d, 0, 1,
                                  NULL);
            near = a->additions[j].taken && score > above;
        }
        if (near) a->additions[i].taken = false;
    }
    cm3_free(a->bank->context, hits);
    return status;
}

/** Zeros where a block's parts leave gaps up to the next. */
static void clear_gaps(const cm3_bank_block *head, const cm3_vectors_form *form, uint8_t *to) {
    const uint64_t count = head->count;
    const struct {
        uint64_t from, until;
    } gaps[] = {{head->vectors + count * cm3_vector_size(form), head->scales},
                {head->scales + count * cm3_vector_scales(form) * sizeof(uint16_t), head->digests},
                {head->digests + count * sizeof(cm3_digest), head->entries},
                {head->entries + count * sizeof(cm3_bank_entry), head->blob}};
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        memset(to + gaps[i].from, 0, gaps[i].until - gaps[i].from);
    }
}

/** The block in bank->buffer, whose blob stands at its end already, in front of which everything else finds room. */
static void put_block(const adding *a, const cm3_bank_block *head, const uint8_t *blob, uint64_t first) {
    cm3_bank *bank = a->bank;
    const cm3_vectors_form *form = &bank->at.form;
    const cm3_kernels *kernels = cm3_kernels_get(cm3_context_cpu(bank->context));
    uint8_t *to = bank->buffer;
    cm3_digest *digests = (cm3_digest *)(void *)(to + head->digests);
    cm3_bank_entry *entries = (cm3_bank_entry *)(void *)(to + head->entries);
    uint64_t from = 0, at = 0;
    int64_t row = 0;
    clear_gaps(head, form, to);
    memcpy(to, head, sizeof *head);
    ((cm3_bank_block *)(void *)to)->first = first;
    for (size_t i = 0; i < a->count; i++) {
        const addition *add = &a->additions[i];
        const uint64_t size = add->image_size + add->text_size + add->key_size;
        if (add->taken) {
            memmove(to + head->blob + at, blob + from, size);
            entries[row] = (cm3_bank_entry){.offset = at,
                                            .image_size = (uint32_t)add->image_size,
                                            .text_size = (uint32_t)add->text_size,
                                            .key_size = (uint32_t)add->key_size,
                                            .kind = (uint32_t)add->kind};
            if (record_of(a, i)->text) entries[row].kind |= CM3_ENTRY_HAS_TEXT;
            digests[row] = add->digest;
            if (a->raw) {
                const size_t width = cm3_vector_size(form), scales = cm3_vector_scales(form) * sizeof(uint16_t);
                memcpy(to + head->vectors + (size_t)row * width, (const uint8_t *)a->raw + i * width, width);
                if (scales) {
                    memcpy(to + head->scales + (size_t)row * scales, (const uint8_t *)a->raw_scales + i * scales,
                           scales);
                }
            } else {
                cm3_vectors_put(form, kernels, to + head->vectors, (uint16_t *)(void *)(to + head->scales), row,
                                a->vectors + (int64_t)i * form->dimension);
            }
            row++;
            at += size;
        }
        from += size;
    }
    memset(to + head->blob + at, 0, head->size - head->blob - at);
}

/** Decides which records go in and writes them. */
static cm3_status add_measured(const adding *a, const cm3_bank_add_options *options, uint64_t *ids) {
    cm3_bank *bank = a->bank;
    uint64_t blob_size = 0;
    for (size_t i = 0; i < a->count; i++) {
        const addition *add = &a->additions[i];
        blob_size += add->image_size + add->text_size + add->key_size;
    }
    /* With all of them in: the blob is put where it will lie then, and moves forward where some are left out. */
    cm3_bank_block head = layout(&bank->at.form, a->count, blob_size);
    CM3_TRY(cm3_grow(bank->context, &bank->buffer, &bank->buffer_capacity, (size_t)head.size, 1, bank->path));
    const uint8_t *blob = bank->buffer + head.blob;
    put_blob(a, bank->buffer + head.blob);
    if (options->near_duplicate < 1 && a->vectors) CM3_TRY(refuse_near(a, options->near_duplicate));
    CM3_TRY(know_digests(bank, a->count));
    uint64_t taken = 0, size = 0;
    for (size_t i = 0; i < a->count; i++) {
        addition *add = &a->additions[i];
        add->taken = add->taken && cm3_digests_add(&bank->at.digests, add->digest);
        taken += add->taken;
        if (add->taken) size += add->image_size + add->text_size + add->key_size;
    }
    const uint64_t first = bank->at.end.records;
    cm3_status status = CM3_OK;
    if (taken) {
        head = layout(&bank->at.form, taken, size);
        put_block(a, &head, blob, first);
        status = cm3_bank_commit(bank, (size_t)head.size, options->sync != 0);
        /* What was not written is not there. */
        if (status != CM3_OK) cm3_digests_clear(bank->context, &bank->at.digests);
    }
    uint64_t id = first;
    for (size_t i = 0; ids && i < a->count && status == CM3_OK; i++) {
        ids[i] = a->additions[i].taken ? id++ : CM3_NO_RECORD;
    }
    return status;
}

cm3_status cm3_bank_append(cm3_bank *bank, const cm3_bank_record *records, size_t count, const void *raw,
                           const uint16_t *raw_scales, const cm3_bank_add_options *options, uint64_t *ids) {
    adding a = {.bank = bank, .records = records, .raw = raw, .raw_scales = raw_scales, .count = count};
    CM3_TRY(cm3_bank_check_writes(bank));
    a.additions = cm3_calloc(bank->context, count, sizeof *a.additions);
    if (!a.additions) return cm3_fail_memory(bank->context, count * sizeof *a.additions, bank->path);
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        a.additions[i].taken = true;
        status = measure(&a, i);
    }
    if (status == CM3_OK && !raw) {
        size_t size;
        if (!cm3_mul_size(count, (size_t)bank->at.form.dimension * sizeof *a.vectors, &size)) size = SIZE_MAX;
        a.vectors = cm3_alloc(bank->context, size);
        status = a.vectors ? take_vectors(&a) : cm3_fail_memory(bank->context, size, bank->path);
    }
    if (status == CM3_OK) status = add_measured(&a, options, ids);
    cm3_free(bank->context, a.vectors);
    cm3_free(bank->context, a.additions);
    return status;
}

cm3_status cm3_bank_add(cm3_bank *bank, const cm3_bank_record *records, size_t count, const cm3_bank_add_options *given,
                        uint64_t *ids) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_bank_add_options"));
    if (!records && count) return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "records: NULL");
    if (isnan(options.near_duplicate)) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "near_duplicate: not a number");
    }
    if (!count) return CM3_OK;
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_mutex_lock(&bank->writing);
    pthread_rwlock_wrlock(&bank->lock);
    cm3_status status = cm3_bank_append(bank, records, count, NULL, NULL, &options, ids);
    pthread_rwlock_unlock(&bank->lock);
    pthread_mutex_unlock(&bank->writing);
    return status;
}

/* --- taking out ----------------------------------------------------------------------------------------------------
 */

static cm3_status delete_locked(cm3_bank *bank, const uint64_t *ids, size_t count) {
    CM3_TRY(cm3_bank_check_writes(bank));
    cm3_bank_block head = {.type = CM3_BLOCK_DELETED};
    size_t size;
    if (!cm3_mul_size(count, sizeof *ids, &size) || !cm3_add_size(size, 2 * sizeof head, &size)) {
        return cm3_fail_memory(bank->context, SIZE_MAX, bank->path);
    }
    CM3_TRY(cm3_grow(bank->context, &bank->buffer, &bank->buffer_capacity, size, 1, bank->path));
    memset(bank->buffer, 0, size);
    uint64_t *to = (uint64_t *)(void *)(bank->buffer + sizeof head);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= bank->at.end.records) {
            return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "%s: record %llu: there is none", bank->path,
                            (unsigned long long)ids[i]);
        }
        if (!cm3_bank_is_deleted(bank, ids[i])) to[head.count++] = ids[i];
    }
    if (!head.count) return CM3_OK;
    memcpy(bank->buffer, &head, sizeof head);
    cm3_digests_clear(bank->context, &bank->at.digests);
    return cm3_bank_commit(bank, (size_t)cm3_bank_align(sizeof head + head.count * sizeof *ids), true);
}

cm3_status cm3_bank_delete(cm3_bank *bank, const uint64_t *ids, size_t count) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    if (!ids && count) return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "ids: NULL");
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_mutex_lock(&bank->writing);
    pthread_rwlock_wrlock(&bank->lock);
    cm3_status status = delete_locked(bank, ids, count);
    pthread_rwlock_unlock(&bank->lock);
    pthread_mutex_unlock(&bank->writing);
    return status;
}
