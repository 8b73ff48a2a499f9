/* Banks written anew, and put together. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "files/system.h"
#include "retrieve/bank.h"

#define TOGETHER 8192                    /* records that are copied at once */
#define MOST_BYTES ((uint64_t)256 << 20) /* of vectors, texts and pictures copied at once */
#define SUFFIX ".compacting"

/** Records of one bank on their way into another. */
typedef struct copying {
    cm3_bank *to;
    const cm3_bank *from;
    const cm3_bank_work_options *options;
    uint64_t total; /**< of progress: records, twice where a graph is built as well */
    bool raw;       /**< vectors are kept alike: they go over as they are */
    uint64_t added;
    /* of the records that go together */
    cm3_bank_record **records, *listed;
    uint8_t *vectors;
    uint16_t *scales;
    uint64_t *ids;
} copying;

static cm3_status progress(const copying *c, uint64_t done) {
    const cm3_bank_work_options *o = c->options;
    if (!o->on_progress || !o->on_progress(o->user, done, c->total)) return CM3_OK;
    return cm3_fail(c->to->context, CM3_ERROR_CANCELLED, "%s: writing it was stopped", c->to->path);
}

static void put_raw(const copying *c, uint64_t id, size_t index) {
    const cm3_vectors_form *form = &c->from->at.form;
    const cm3_bank_part *part = cm3_bank_part_of(c->from, id);
    const cm3_vectors vectors = cm3_bank_part_vectors(c->from, part);
    const size_t size = cm3_vector_size(form), scales = cm3_vector_scales(form), row = (size_t)(id - part->first);
    memcpy(c->vectors + index * size, (const uint8_t *)vectors.values + row * size, size);
    if (scales) memcpy(c->scales + index * scales, vectors.scales + row * scales, scales * sizeof *c->scales);
}

/** Records from *id on, as many as go together. */
static cm3_status copy_some(copying *c, uint64_t *id) {
    size_t count = 0;
    uint64_t bytes = 0;
    cm3_status status = CM3_OK;
    while (count < TOGETHER && bytes < MOST_BYTES && cm3_bank_next(c->from, id) == CM3_OK) {
        status = cm3_bank_get(c->from, *id, &c->records[count]);
        if (status != CM3_OK) break;
        const cm3_bank_record *record = c->records[count];
        bytes += record->image_size + record->code_count * sizeof(int32_t) + cm3_vector_size(&c->from->at.form);
        if (record->text) bytes += strlen(record->text);
        c->listed[count] = *record;
        if (c->raw) put_raw(c, *id, count);
        count++;
        ++*id;
    }
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    options.sync = 0;
    if (status == CM3_OK && count) {
        pthread_rwlock_wrlock(&c->to->lock);
        status = cm3_bank_append(c->to, c->listed, count, c->raw ? c->vectors : NULL, c->scales, &options, c->ids);
        pthread_rwlock_unlock(&c->to->lock);
    }
    for (size_t i = 0; i < count && status == CM3_OK; i++) c->added += c->ids[i] != CM3_NO_RECORD;
    for (size_t i = 0; i < count; i++) cm3_bank_record_destroy(c->from, c->records[i]);
    return status;
}

/** All of them. Neither lock is held meanwhile, so that two banks may be merged into each other. */
static cm3_status copy_all(copying *c) {
    cm3_context *context = c->to->context;
    const cm3_vectors_form *ours = &c->to->at.form, *theirs = &c->from->at.form;
    c->raw = ours->type == theirs->type && ours->block == theirs->block;
    c->records = cm3_calloc(context, TOGETHER, sizeof *c->records);
    c->listed = cm3_calloc(context, TOGETHER, sizeof *c->listed);
    c->vectors = cm3_calloc(context, TOGETHER, cm3_vector_size(theirs));
    c->scales = cm3_calloc(context, TOGETHER, (cm3_vector_scales(theirs) + 1) * sizeof *c->scales);
    c->ids = cm3_calloc(context, TOGETHER, sizeof *c->ids);
    cm3_status status = CM3_OK;
    if (!c->records || !c->listed || !c->vectors || !c->scales || !c->ids) {
        status = cm3_fail_memory(context, TOGETHER * cm3_vector_size(theirs), c->to->path);
    }
    for (uint64_t id = 0; status == CM3_OK && cm3_bank_next(c->from, &id) == CM3_OK;) {
        status = copy_some(c, &id);
        if (status == CM3_OK) status = progress(c, id);
    }
    if (status == CM3_OK && fdatasync(c->to->at.fd) != 0) {
        status = cm3_fail_system(context, c->to->path, "syncing", errno);
    }
    cm3_free(context, c->records);
    cm3_free(context, c->listed);
    cm3_free(context, c->vectors);
    cm3_free(context, c->scales);
    cm3_free(context, c->ids);
    return status;
}

/** The file of `fresh` becomes that of `bank`, at its path. */
static cm3_status take_place(cm3_bank *bank, cm3_bank *fresh) {
    if (fsync(fresh->at.fd) != 0) return cm3_fail_system(bank->context, fresh->path, "syncing", errno);
    if (rename(fresh->path, bank->path) != 0) return cm3_fail_system(bank->context, bank->path, "renaming", errno);
    cm3_sync_folder(bank->context, bank->path);
    /* Readers of the old file are let out first; it goes with the other object. */
    pthread_rwlock_wrlock(&bank->lock);
    const cm3_bank_state old = bank->at;
    bank->at = fresh->at;
    fresh->at = old;
    pthread_rwlock_unlock(&bank->lock);
    return CM3_OK;
}

/** The graph's part of the progress. */
static int on_indexed(void *user, uint64_t done, uint64_t total) {
    const copying *c = user;
    const cm3_bank_work_options *o = c->options;
    const uint64_t records = c->from->at.end.records;
    return o->on_progress ? o->on_progress(o->user, done < total ? records + done : c->total, c->total) : 0;
}

/** A graph over the new bank, such as the old one's last is. */
static cm3_status index_anew(copying *c) {
    const cm3_bank_graph *last = &c->from->at.graphs[c->from->at.graph_count - 1];
    cm3_index_options options;
    cm3_index_options_init(&options);
    options.m = (int32_t)last->m;
    options.ef_construction = (int32_t)last->ef_construction;
    options.least = 1;
    options.on_progress = on_indexed;
    options.user = c;
    return cm3_bank_index_locked(c->to, &options);
}

static cm3_status compact(cm3_bank *bank, const cm3_bank_work_options *options) {
    if (!bank->writes) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "%s: opened for reading only", bank->path);
    }
    const size_t length = strlen(bank->path);
    char *path = cm3_alloc(bank->context, length + sizeof SUFFIX);
    if (!path) return cm3_fail_memory(bank->context, length, bank->path);
    memcpy(path, bank->path, length);
    memcpy(path + length, SUFFIX, sizeof SUFFIX);
    cm3_bank *fresh;
    cm3_status status = cm3_bank_new(bank->context, path, &fresh);
    /* What an interrupted compaction left there is in nobody's way: whoever has the bank's lock may write it. */
    if (status == CM3_OK) status = cm3_bank_make_file(fresh, path, &bank->at.head, true);
    if (status == CM3_OK) {
        const uint64_t records = bank->at.end.records;
        const bool indexed = bank->at.graph_count && !options->no_graph;
        copying c = {.to = fresh, .from = bank, .options = options, .total = indexed ? 2 * records : records};
        status = copy_all(&c);
        if (status == CM3_OK && indexed) status = index_anew(&c);
    }
    if (status == CM3_OK)
        status = take_place(bank, fresh);
    else if (fresh && fresh->at.fd >= 0)
        unlink(path);
    cm3_bank_destroy(fresh);
    cm3_free(bank->context, path);
    return status;
}

cm3_status cm3_bank_compact(cm3_bank *bank, const cm3_bank_work_options *given) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_bank_work_options"));
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_mutex_lock(&bank->writing);
    cm3_status status = compact(bank, &options);
    pthread_mutex_unlock(&bank->writing);
    return status;
}

static cm3_status check_alike(const cm3_bank *to, const cm3_bank *from) {
    const cm3_bank_head *ours = &to->at.head, *theirs = &from->at.head;
    const bool named = (ours->encoder.low | ours->encoder.high) && (theirs->encoder.low | theirs->encoder.high);
    const bool coded = (ours->image.low | ours->image.high) && (theirs->image.low | theirs->image.high);
    if (ours->dimension == theirs->dimension && (!named || cm3_digest_equal(ours->encoder, theirs->encoder)) &&
        (!coded || cm3_digest_equal(ours->image, theirs->image))) {
        return CM3_OK;
    }
    return cm3_fail(to->context, CM3_ERROR_INVALID_ARGUMENT,
                    "%s: made by encoder %016llx and image tokenizer %016llx of '%s' (%u numbers); %s: by %016llx and "
                    "%016llx of '%s' (%u numbers)",
                    to->path, (unsigned long long)ours->encoder.low, (unsigned long long)ours->image.low,
                    ours->encoder_name, ours->dimension, from->path, (unsigned long long)theirs->encoder.low,
                    (unsigned long long)theirs->image.low, theirs->encoder_name, theirs->dimension);
}

cm3_status cm3_bank_merge(cm3_bank *bank, const cm3_bank *from, const cm3_bank_work_options *given, uint64_t *added) {
    if (added) *added = 0;
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    if (!from || from == bank) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_merge: from is NULL, or the bank itself");
    }
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_bank_work_options"));
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_mutex_lock(&bank->writing);
    copying c = {.to = bank, .from = from, .options = &options, .total = from->at.end.records};
    cm3_status status = check_alike(bank, from);
    if (status == CM3_OK) status = copy_all(&c);
    pthread_mutex_unlock(&bank->writing);
    if (added) *added = c.added;
    return status;
}
