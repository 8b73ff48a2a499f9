/* Comparing a bank with its sums. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "files/file.h"
#include "files/system.h"
#include "retrieve/bank.h"

void cm3_bank_work_options_init(cm3_bank_work_options *options) {
    if (options) *options = (cm3_bank_work_options){.struct_size = sizeof *options};
}

typedef struct verification {
    cm3_context *context;
    const cm3_file *file;
    const cm3_bank_work_options *options;
    cm3_vectors_form form;
    cm3_bank_mark mark;
    float *vector;
    uint64_t faults;
} verification;

/** Tells of one thing that is wrong; the first stays the context's message. */
__attribute__((format(printf, 2, 3))) static void fault(verification *v, const char *format, ...) {
    char what[512];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    if (!v->faults++) cm3_fail(v->context, CM3_ERROR_CHECKSUM, "%s: %s", v->file->name, what);
    if (v->options->on_fault) v->options->on_fault(v->options->user, what);
}

static cm3_status progress(const verification *v, uint64_t done) {
    const cm3_bank_work_options *o = v->options;
    if (!o->on_progress || !o->on_progress(o->user, done, v->file->size)) return CM3_OK;
    return cm3_fail(v->context, CM3_ERROR_CANCELLED, "%s: verifying was stopped", v->file->name);
}

/** Marks, and the zeros between the head's parts. */
static void verify_head(verification *v) {
    const uint8_t *data = v->file->data;
    for (int i = 0; i < 2; i++) {
        cm3_bank_mark mark;
        memcpy(&mark, data + CM3_BANK_MARKS_AT + (size_t)i * sizeof mark, sizeof mark);
        static const cm3_bank_mark unused;
        if (i == 1 && memcmp(&mark, &unused, sizeof mark) == 0) continue; /* there was one commit, or none */
        if (!cm3_bank_mark_good(&mark)) {
            fault(v, "mark %d at byte %zu is not what its sum says (the next commits write it anew)", i,
                  CM3_BANK_MARKS_AT + (size_t)i * sizeof mark);
        }
    }
    const size_t behind = CM3_BANK_MARKS_AT + 2 * sizeof(cm3_bank_mark);
    for (size_t i = sizeof(cm3_bank_head); i < CM3_BANK_HEAD_SIZE; i++) {
        if (i == CM3_BANK_MARKS_AT) i = behind;
        if (data[i]) fault(v, "byte %zu of the head is not zero", i);
    }
}

/** Records' places and vectors, of a block whose sum is right: what a writer of another make could have got wrong. */
static void verify_records(verification *v, const cm3_bank_block *block) {
    const uint8_t *from = (const uint8_t *)block;
    const cm3_bank_entry *entries = (const cm3_bank_entry *)(const void *)(from + block->entries);
    const cm3_vectors vectors = {.values = from + block->vectors,
                                 .scales = (const uint16_t *)(const void *)(from + block->scales)};
    const cm3_kernels *kernels = cm3_kernels_get(cm3_context_cpu(v->context));
    for (uint64_t i = 0; i < block->count; i++) {
        const unsigned long long id = block->first + i;
        const uint64_t size = (uint64_t)entries[i].image_size + entries[i].text_size + entries[i].key_size;
        if (entries[i].offset > block->blob_size || size > block->blob_size - entries[i].offset) {
            fault(v, "record %llu: its text and picture do not lie in its block", id);
        }
        cm3_vectors_get(&v->form, kernels, &vectors, (int64_t)i, v->vector);
        const double length = sqrt(kernels->sum_squares(v->vector, v->form.dimension));
        if (!(fabs(length - 1) < 0.05)) fault(v, "record %llu: its vector's length is %g, not 1", id, length);
    }
}

/** A graph's numbers, of a block whose sum is right: likewise. */
static void verify_graph(verification *v, const cm3_bank_block *block, uint64_t number) {
    const uint8_t *from = (const uint8_t *)block;
    const float *scales = (const float *)(const void *)(from + block->scales);
    const uint32_t *ground = (const uint32_t *)(const void *)(from + block->entries);
    const uint64_t places = block->count * (uint64_t)cm3_hnsw_line(block->m);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < block->count; i++) wrong += !(scales[i] >= 0 && scales[i] < 2);
    for (uint64_t i = 0; i < places; i++) wrong += ground[i] >= block->count && ground[i] != CM3_HNSW_NONE;
    if (wrong) {
        fault(v, "block %llu: its graph has %llu numbers that cannot be", (unsigned long long)number,
              (unsigned long long)wrong);
    }
}

static cm3_status verify_blocks(verification *v, cm3_bank_place place) {
    for (;;) {
        const cm3_bank_place before = place;
        const cm3_bank_block *block;
        const bool sure = place.offset < v->mark.end;
        cm3_status status =
            cm3_bank_block_at(v->context, v->file->name, &v->form, v->file->data, v->file->size, false, &place, &block);
        if (status != CM3_OK && !sure) break;
        if (status != CM3_OK) {
            /* Once more, for its words. */
            cm3_bank_block_at(v->context, v->file->name, &v->form, v->file->data, v->file->size, true, &place, &block);
            fault(v, "block %llu at byte %llu is damaged: it and what lies behind it cannot be read",
                  (unsigned long long)before.number, (unsigned long long)before.offset);
            break;
        }
        if (!cm3_bank_block_whole(block)) {
            if (!sure) break;
            fault(v, "block %llu at byte %llu (%llu bytes): its data is not what its sum says",
                  (unsigned long long)before.number, (unsigned long long)before.offset,
                  (unsigned long long)block->size);
        } else if (block->type == CM3_BLOCK_RECORDS) {
            verify_records(v, block);
        } else if (block->type == CM3_BLOCK_GRAPH) {
            verify_graph(v, block, before.number);
        }
        CM3_TRY(progress(v, place.offset));
    }
    return progress(v, v->file->size);
}

static cm3_status verify(verification *v) {
    const cm3_file *file = v->file;
    CM3_TRY(cm3_bank_head_check(v->context, file->name, file->data, file->size));
    const cm3_bank_head *head = (const cm3_bank_head *)(const void *)file->data;
    CM3_TRY(cm3_vectors_form_make(v->context, (cm3_vector_type)head->vectors, head->dimension, &v->form));
    v->vector = cm3_calloc(v->context, (size_t)v->form.dimension, sizeof *v->vector);
    if (!v->vector) return cm3_fail_memory(v->context, sizeof *v->vector, file->name);
    cm3_bank_last_mark(file->data, &v->mark);
    if (v->mark.end > file->size) {
        fault(v, "%zu bytes, its last commit ended at byte %llu", file->size, (unsigned long long)v->mark.end);
    }
    verify_head(v);
    CM3_TRY(verify_blocks(v, cm3_bank_first_place(head)));
    return v->faults ? CM3_ERROR_CHECKSUM : CM3_OK;
}

cm3_status cm3_bank_verify(cm3_context *context, const char *path, const cm3_bank_work_options *given) {
    if (!context) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_verify: path is NULL");
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    CM3_TRY(cm3_options_read(context, &options, sizeof options, given, "cm3_bank_work_options"));
    cm3_file *file;
    CM3_TRY(cm3_file_open(context, path, &file));
    verification v = {.context = context, .file = file, .options = &options};
    cm3_status status = verify(&v);
    cm3_free(context, v.vector);
    cm3_file_release(file);
    return status;
}
