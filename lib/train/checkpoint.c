/* Checkpoints. */
#include "train/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "files/hash.h"
#include "train/agreement.h"
#include "train/checkpoint_parts.h"

static void numbers_text(const cm3_checkpoint *checkpoint, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < 2; i++) {
        if (checkpoint->optimizers[i]) {
            used += (size_t)snprintf(text + used, size - used, "%lld,", (long long)checkpoint->optimizers[i]->step);
        }
    }
    for (size_t i = 0; i < checkpoint->number_count; i++) {
        used += (size_t)snprintf(text + used, size - used, "%lld,", (long long)*checkpoint->numbers[i]);
    }
    snprintf(text + used - 1, size - used + 1, "]");
}

/** A sum over the metadata that training goes on from: the data have one of their own. */
static void metadata_sum(const char *kind, const char *settings, const char *numbers, char sum[17]) {
    uint64_t sums[] = {cm3_hash(kind, strlen(kind)), cm3_hash(settings, strlen(settings)),
                       cm3_hash(numbers, strlen(numbers))};
    snprintf(sum, 17, "%016llx", (unsigned long long)cm3_hash(sums, sizeof sums));
}

static cm3_status write_file(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_parts *parts) {
    cm3_save_entry *entries = cm3_calloc(context, parts->count, sizeof *entries);
    if (!entries) return cm3_fail_memory(context, parts->count * sizeof *entries, "checkpoint");
    for (size_t i = 0; i < parts->count; i++) {
        cm3_part *part = &parts->list[i];
        entries[i] = (cm3_save_entry){.name = part->name,
                                      .dtype = CM3_F32,
                                      .source_dtype = CM3_F32,
                                      .rank = 1,
                                      .shape = {part->count},
                                      .data = part->data,
                                      .produce = part->data ? NULL : cm3_parts_produce,
                                      .arg = part};
    }
    char numbers[256], sum[17];
    numbers_text(checkpoint, numbers, sizeof numbers);
    metadata_sum(checkpoint->kind, checkpoint->settings, numbers, sum);
    const char *keys[] = {"format", "kind", "settings", "numbers", "sum"};
    const char *values[] = {"cm3-checkpoint-1", checkpoint->kind, checkpoint->settings, numbers, sum};
    cm3_status status = cm3_safetensors_write(context, checkpoint->path, entries, parts->count, keys, values, 5);
    cm3_free(context, entries);
    return status;
}

/** The ranks of a run of several; NULL: alone. */
static cm3_ranks *ranks_of(const cm3_checkpoint *checkpoint) {
    return checkpoint->ranks && !cm3_ranks_alone(checkpoint->ranks) ? checkpoint->ranks : NULL;
}

/** The first rank writes, however it goes, and then lets the others go. */
static cm3_status write_together(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_parts *parts) {
    if (parts->ranks->comm.rank > 0) return cm3_parts_serve(parts);
    cm3_status status = write_file(context, checkpoint, parts);
    /* The message of what went wrong is still the context's: only a failure leaves another one. */
    cm3_status ended = cm3_parts_end(parts);
    return status == CM3_OK ? ended : status;
}

cm3_status cm3_checkpoint_write(cm3_context *context, const cm3_checkpoint *checkpoint) {
    cm3_ranks *ranks = ranks_of(checkpoint);
    cm3_parts parts = {.context = context, .ranks = ranks};
    cm3_status status = cm3_parts_list(checkpoint, &parts);
    if (ranks) status = cm3_ranks_agree(ranks, status);
    if (status == CM3_OK && ranks) {
        status = cm3_ranks_agree(ranks, write_together(context, checkpoint, &parts));
    } else if (status == CM3_OK) {
        status = write_file(context, checkpoint, &parts);
    }
    cm3_free(context, parts.list);
    return status;
}

/** Names the settings that differ, "lr: 0.001 here, 0.002 there". */
static cm3_status compare_settings(cm3_context *context, const cm3_checkpoint *checkpoint, const char *there) {
    json_t *ours = NULL, *theirs = NULL;
    CM3_TRY(cm3_json_parse(context, "settings", checkpoint->settings, strlen(checkpoint->settings), &ours));
    cm3_status status = cm3_json_parse(context, checkpoint->path, there, strlen(there), &theirs);
    char list[512] = "";
    /* What one of them has not is found by looking from the other. */
    bool differ = status == CM3_OK && (cm3_settings_differ(ours, theirs, "now", "then", list, sizeof list) ||
                                       cm3_settings_differ(theirs, ours, "then", "now", list, sizeof list));
    json_decref(ours);
    json_decref(theirs);
    if (status != CM3_OK || !differ) return status;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                    "%s: the checkpoint was made with other settings (%s); give the same ones, another run directory, "
                    "or do not resume",
                    checkpoint->path, list);
}

/** Steps, positions and counters; one more says whether there is a file at all. */
typedef struct cm3_numbers {
    uint64_t found, values[8];
} cm3_numbers;

static cm3_status read_numbers(cm3_context *context, const cm3_checkpoint *checkpoint, const char *text,
                               cm3_numbers *numbers) {
    size_t wanted = checkpoint->number_count;
    json_t *list = NULL;
    for (int i = 0; i < 2; i++) wanted += checkpoint->optimizers[i] != NULL;
    CM3_TRY(cm3_json_parse(context, checkpoint->path, text, strlen(text), &list));
    bool good = json_array_size(list) == wanted;
    for (size_t i = 0; good && i < wanted; i++) {
        const json_t *number = json_array_get(list, i);
        good = json_is_integer(number) && json_integer_value(number) >= 0;
        numbers->values[i] = good ? (uint64_t)json_integer_value(number) : 0;
    }
    json_decref(list);
    if (good) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: 'numbers' is not a list of %zu counts", checkpoint->path, wanted);
}

static void set_numbers(const cm3_checkpoint *checkpoint, const cm3_numbers *numbers) {
    const uint64_t *next = numbers->values;
    for (int i = 0; i < 2; i++) {
        if (checkpoint->optimizers[i]) checkpoint->optimizers[i]->step = (int64_t)*next++;
    }
    for (size_t i = 0; i < checkpoint->number_count; i++) *checkpoint->numbers[i] = *next++;
}

static cm3_status check_part(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_safetensors *tensors,
                             const cm3_part *part) {
    const cm3_entry *entry = cm3_safetensors_find(tensors, part->name);
    if (!entry) return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%s' is missing", checkpoint->path, part->name);
    if (entry->dtype == CM3_F32 && entry->count == part->count) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%s' should hold %lld F32 values and holds %lld %s",
                    checkpoint->path, part->name, (long long)part->count, (long long)entry->count,
                    cm3_dtype_name(entry->dtype));
}

/** Settings and numbers are what was written, where the file has a sum of them. */
static cm3_status check_metadata(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_safetensors *tensors,
                                 const char *settings, const char *numbers) {
    const char *sum = cm3_safetensors_metadata(tensors, "sum");
    char found[17];
    metadata_sum(checkpoint->kind, settings, numbers, found);
    if (!sum || strcmp(sum, found) == 0) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: the checksum of settings and numbers is %s; the file says %s",
                    checkpoint->path, found, sum);
}

static cm3_status check_sum(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_safetensors *tensors) {
    const char *sum = cm3_safetensors_metadata(tensors, "xxh3");
    const uint8_t *data;
    size_t size;
    char found[17];
    cm3_safetensors_data(tensors, &data, &size);
    snprintf(found, sizeof found, "%016llx", (unsigned long long)cm3_hash(data, size));
    if (sum && strcmp(sum, found) == 0) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: the data's checksum is %s; the file says %s", checkpoint->path,
                    found, sum ? sum : "nothing");
}

/** A file that is one of this run, and whole. */
static cm3_status check_file(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_safetensors *tensors,
                             const cm3_parts *parts, cm3_numbers *numbers) {
    const char *format = cm3_safetensors_metadata(tensors, "format"), *kind = cm3_safetensors_metadata(tensors, "kind");
    const char *settings = cm3_safetensors_metadata(tensors, "settings"),
               *text = cm3_safetensors_metadata(tensors, "numbers");
    if (!format || strcmp(format, "cm3-checkpoint-1") != 0 || !kind || strcmp(kind, checkpoint->kind) != 0 ||
        !settings || !text) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: not a checkpoint of a '%s' run", checkpoint->path,
                        checkpoint->kind);
    }
    CM3_TRY(check_metadata(context, checkpoint, tensors, settings, text));
    CM3_TRY(compare_settings(context, checkpoint, settings));
    CM3_TRY(check_sum(context, checkpoint, tensors));
    for (size_t i = 0; i < parts->count; i++) CM3_TRY(check_part(context, checkpoint, tensors, &parts->list[i]));
    return read_numbers(context, checkpoint, text, numbers);
}

/** A file that is open. */
typedef struct cm3_opened {
    cm3_file *file;
    cm3_safetensors *tensors;
} cm3_opened;

static void close_file(cm3_opened *opened) {
    cm3_safetensors_close(opened->tensors);
    if (opened->file) cm3_file_release(opened->file);
}

/** The file, where there is one: opened and checked. */
static cm3_status open_file(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_parts *parts,
                            cm3_opened *opened, cm3_numbers *numbers) {
    /* Only what is surely not there is no checkpoint: anything else must not end in a fresh run that writes over it. */
    numbers->found = access(checkpoint->path, F_OK) == 0 || errno != ENOENT;
    if (!numbers->found) return CM3_OK;
    CM3_TRY(cm3_file_open(context, checkpoint->path, &opened->file));
    CM3_TRY(cm3_safetensors_open(context, opened->file, &opened->tensors));
    return check_file(context, checkpoint, opened->tensors, parts, numbers);
}

/** Behind the checks: everything from the file, or, on the other ranks, from the one that has it. */
static cm3_status fill(const cm3_checkpoint *checkpoint, const cm3_parts *parts, const cm3_safetensors *tensors,
                       cm3_numbers *numbers) {
    if (parts->ranks) CM3_TRY(cm3_ranks_broadcast(parts->ranks, numbers, sizeof *numbers, 0));
    if (!numbers->found) return CM3_OK;
    for (size_t i = 0; i < parts->count; i++) {
        const cm3_part *part = &parts->list[i];
        CM3_TRY(cm3_parts_fill(parts, part, tensors ? cm3_safetensors_find(tensors, part->name)->data : NULL));
    }
    set_numbers(checkpoint, numbers);
    return CM3_OK;
}

cm3_status cm3_checkpoint_read(cm3_context *context, const cm3_checkpoint *checkpoint) {
    cm3_ranks *ranks = ranks_of(checkpoint);
    cm3_parts parts = {.context = context, .ranks = ranks};
    cm3_opened opened = {NULL, NULL};
    cm3_numbers numbers = {0};
    cm3_status status = cm3_parts_list(checkpoint, &parts);
    if (status == CM3_OK && (!ranks || ranks->comm.rank == 0))
        status = open_file(context, checkpoint, &parts, &opened, &numbers);
    if (ranks) status = cm3_ranks_agree(ranks, status);
    if (status == CM3_OK) status = fill(checkpoint, &parts, opened.tensors, &numbers);
    close_file(&opened);
    cm3_free(context, parts.list);
    return status;
}
