/* Checkpoints. */
#include "train/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/status.h"
#include "files/hash.h"

/** One tensor of the state. */
typedef struct cm3_part {
    char name[192];
    float *data;
    int64_t count;
} cm3_part;

typedef struct cm3_parts {
    cm3_context *context;
    cm3_part *list;
    size_t count, capacity;
} cm3_parts;

static cm3_status add_part(cm3_parts *parts, const char *prefix, const char *name, float *data, int64_t count) {
    CM3_TRY(
        cm3_grow(parts->context, &parts->list, &parts->capacity, parts->count + 1, sizeof *parts->list, "checkpoint"));
    cm3_part *part = &parts->list[parts->count++];
    snprintf(part->name, sizeof part->name, "%s.%s", prefix, name);
    part->data = data;
    part->count = count;
    return CM3_OK;
}

static cm3_status list_parts(const cm3_checkpoint *checkpoint, cm3_parts *parts) {
    for (int i = 0; i < 2; i++) {
        const cm3_optimizer *optimizer = checkpoint->optimizers[i];
        for (size_t j = 0; optimizer && j < optimizer->count; j++) {
            const cm3_optimized *p = &optimizer->parameters[j];
            CM3_TRY(add_part(parts, "weight", p->name, p->tensor->data, p->tensor->count));
            CM3_TRY(add_part(parts, "m", p->name, p->m, p->tensor->count));
            CM3_TRY(add_part(parts, "v", p->name, p->v, p->tensor->count));
            if (p->average) CM3_TRY(add_part(parts, "average", p->name, p->average, p->tensor->count));
        }
    }
    for (size_t i = 0; i < checkpoint->extra_count; i++) {
        const cm3_extra_state *extra = &checkpoint->extra[i];
        CM3_TRY(add_part(parts, "extra", extra->name, extra->data, extra->count));
    }
    return CM3_OK;
}

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

cm3_status cm3_checkpoint_write(cm3_context *context, const cm3_checkpoint *checkpoint) {
    cm3_parts parts = {.context = context};
    cm3_status status = list_parts(checkpoint, &parts);
    cm3_save_entry *entries = status == CM3_OK ? cm3_calloc(context, parts.count, sizeof *entries) : NULL;
    if (status == CM3_OK && !entries) status = cm3_fail_memory(context, parts.count * sizeof *entries, "checkpoint");
    for (size_t i = 0; status == CM3_OK && i < parts.count; i++) {
        entries[i] = (cm3_save_entry){.name = parts.list[i].name,
                                      .dtype = CM3_F32,
                                      .source_dtype = CM3_F32,
                                      .rank = 1,
                                      .shape = {parts.list[i].count},
                                      .data = parts.list[i].data};
    }
    if (status == CM3_OK) {
        char numbers[256], sum[17];
        numbers_text(checkpoint, numbers, sizeof numbers);
        metadata_sum(checkpoint->kind, checkpoint->settings, numbers, sum);
        const char *keys[] = {"format", "kind", "settings", "numbers", "sum"};
        const char *values[] = {"cm3-checkpoint-1", checkpoint->kind, checkpoint->settings, numbers, sum};
        status = cm3_safetensors_write(context, checkpoint->path, entries, parts.count, keys, values, 5);
    }
    cm3_free(context, entries);
    cm3_free(context, parts.list);
    return status;
}

/** Names the settings that differ, "lr: 0.001 here, 0.002 there". */
static cm3_status compare_settings(cm3_context *context, const cm3_checkpoint *checkpoint, const char *there) {
    json_t *ours = NULL, *theirs = NULL;
    CM3_TRY(cm3_json_parse(context, "settings", checkpoint->settings, strlen(checkpoint->settings), &ours));
    cm3_status status = cm3_json_parse(context, checkpoint->path, there, strlen(there), &theirs);
    char list[512] = "";
    size_t used = 0;
    const char *key;
    json_t *value;
    json_object_foreach(ours, key, value) {
        const json_t *other = json_object_get(theirs, key);
        if (json_equal(value, other) || used >= sizeof list - 1) continue;
        char *here = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT),
             *was = other ? json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s: %s now, %s then", used ? "; " : "", key,
                                 here ? here : "?", was ? was : "absent");
        free(here);
        free(was);
    }
    json_decref(ours);
    json_decref(theirs);
    if (status != CM3_OK || !used) return status;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                    "%s: the checkpoint was made with other settings (%s); give the same ones, another run directory, "
                    "or do not resume",
                    checkpoint->path, list);
}

static cm3_status read_numbers(cm3_context *context, const cm3_checkpoint *checkpoint, const char *text,
                               json_t **list) {
    size_t wanted = checkpoint->number_count;
    for (int i = 0; i < 2; i++) wanted += checkpoint->optimizers[i] != NULL;
    CM3_TRY(cm3_json_parse(context, checkpoint->path, text, strlen(text), list));
    bool good = json_array_size(*list) == wanted;
    for (size_t i = 0; good && i < wanted; i++) {
        const json_t *number = json_array_get(*list, i);
        good = json_is_integer(number) && json_integer_value(number) >= 0;
    }
    if (good) return CM3_OK;
    json_decref(*list);
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: 'numbers' is not a list of %zu counts", checkpoint->path, wanted);
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

static cm3_status read_parts(cm3_context *context, const cm3_checkpoint *checkpoint, const cm3_safetensors *tensors) {
    const char *format = cm3_safetensors_metadata(tensors, "format"), *kind = cm3_safetensors_metadata(tensors, "kind");
    const char *settings = cm3_safetensors_metadata(tensors, "settings"),
               *numbers = cm3_safetensors_metadata(tensors, "numbers");
    if (!format || strcmp(format, "cm3-checkpoint-1") != 0 || !kind || strcmp(kind, checkpoint->kind) != 0 ||
        !settings || !numbers) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: not a checkpoint of a '%s' run", checkpoint->path,
                        checkpoint->kind);
    }
    CM3_TRY(check_metadata(context, checkpoint, tensors, settings, numbers));
    CM3_TRY(compare_settings(context, checkpoint, settings));
    CM3_TRY(check_sum(context, checkpoint, tensors));
    cm3_parts parts = {.context = context};
    json_t *list = NULL;
    cm3_status status = list_parts(checkpoint, &parts);
    for (size_t i = 0; status == CM3_OK && i < parts.count; i++)
        status = check_part(context, checkpoint, tensors, &parts.list[i]);
    if (status == CM3_OK) status = read_numbers(context, checkpoint, numbers, &list);
    if (status == CM3_OK) {
        for (size_t i = 0; i < parts.count; i++) {
            memcpy(parts.list[i].data, cm3_safetensors_find(tensors, parts.list[i].name)->data,
                   (size_t)parts.list[i].count * sizeof(float));
        }
        size_t next = 0;
        for (int i = 0; i < 2; i++) {
            if (checkpoint->optimizers[i])
                checkpoint->optimizers[i]->step = json_integer_value(json_array_get(list, next++));
        }
        for (size_t i = 0; i < checkpoint->number_count; i++) {
            *checkpoint->numbers[i] = (uint64_t)json_integer_value(json_array_get(list, next++));
        }
        json_decref(list);
    }
    cm3_free(context, parts.list);
    return status;
}

cm3_status cm3_checkpoint_read(cm3_context *context, const cm3_checkpoint *checkpoint, bool *found) {
    cm3_file *file = NULL;
    cm3_safetensors *tensors = NULL;
    /* Only what is surely not there is no checkpoint: anything else must not end in a fresh run that writes over it. */
    *found = access(checkpoint->path, F_OK) == 0 || errno != ENOENT;
    if (!*found) return CM3_OK;
    CM3_TRY(cm3_file_open(context, checkpoint->path, &file));
    cm3_status status = cm3_safetensors_open(context, file, &tensors);
    if (status == CM3_OK) status = read_parts(context, checkpoint, tensors);
    cm3_safetensors_close(tensors);
    cm3_file_release(file);
    return status;
}
