/* Writing `.cm3` files. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "model/model.h"

/** What the file will hold, gathered before it is written. */
typedef struct cm3_contents {
    cm3_context *context;
    cm3_save_entry *entries;
    size_t count, capacity;
} cm3_contents;

static cm3_status add(cm3_contents *contents, const char *prefix, const char *name, const cm3_tensor *tensor,
                      cm3_dtype dtype) {
    CM3_TRY(cm3_grow(contents->context, &contents->entries, &contents->capacity, contents->count + 1,
                     sizeof *contents->entries, "file"));
    char full[256];
    int length = snprintf(full, sizeof full, "%s%s", prefix, name);
    cm3_save_entry entry = {.name = cm3_strndup(contents->context, full, (size_t)length),
                            .dtype = dtype,
                            .source_dtype = tensor->dtype,
                            .rank = tensor->rank,
                            .data = tensor->data};
    if (!entry.name) return cm3_fail_memory(contents->context, (size_t)length, "file");
    for (int i = 0; i < tensor->rank; i++) entry.shape[i] = tensor->shape[i];
    contents->entries[contents->count++] = entry;
    return CM3_OK;
}

static cm3_status add_tensors(cm3_contents *contents, const cm3_model_content *content) {
    for (size_t i = 0; content->lm && i < content->lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &content->lm->parameters[i];
        CM3_TRY(add(contents, "lm.", p->name, p->tensor, p->decay ? content->lm_dtype : CM3_F32));
    }
    for (size_t i = 0; content->vq && i < content->vq->parameter_count; i++) {
        const cm3_vq_parameter *p = &content->vq->parameters[i];
        bool convolution = p->tensor.rank == 4;
        if (p->present) CM3_TRY(add(contents, "vq.", p->name, &p->tensor, convolution ? content->vq_dtype : CM3_F32));
    }
    return CM3_OK;
}

static cm3_status set(cm3_context *context, json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) ? cm3_fail_memory(context, 0, "config") : CM3_OK;
}

static cm3_status config_json(cm3_context *context, const cm3_model_content *content, char **text) {
    json_t *config = json_object(), *part = NULL;
    cm3_status status = config ? CM3_OK : cm3_fail_memory(context, 0, "config");
    if (status == CM3_OK && content->lm) {
        status = cm3_lm_config_format(context, &content->lm->config, &part);
        if (status == CM3_OK) status = set(context, config, "lm", part);
    }
    if (status == CM3_OK && content->vq) {
        status = cm3_vq_config_format(context, &content->vq->config, &part);
        if (status == CM3_OK) status = set(context, config, "vq", part);
    }
    if (status == CM3_OK && content->special) {
        status = cm3_special_format(context, content->special, &part);
        if (status == CM3_OK) status = set(context, config, "tokens", part);
    }
    *text = status == CM3_OK ? json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (status == CM3_OK && !*text) status = cm3_fail_memory(context, 0, "config");
    json_decref(config);
    return status;
}

cm3_status cm3_model_write(cm3_context *context, const char *path, const cm3_model_content *content) {
    cm3_contents contents = {.context = context};
    char *config = NULL, *tokenizer = NULL;
    size_t tokenizer_size = 0;
    cm3_status status = add_tensors(&contents, content);
    if (status == CM3_OK) status = config_json(context, content, &config);
    if (status == CM3_OK && content->bpe) status = cm3_bpe_format(content->bpe, &tokenizer, &tokenizer_size);
    if (status == CM3_OK) {
        const char *keys[] = {"format", "version", "config", "tokenizer"};
        const char *values[] = {"cm3", CM3_FILE_VERSION, config, tokenizer};
        status =
            cm3_safetensors_write(context, path, contents.entries, contents.count, keys, values, tokenizer ? 4 : 3);
    }
    for (size_t i = 0; i < contents.count; i++) cm3_free(context, (void *)(uintptr_t)contents.entries[i].name);
    cm3_free(context, contents.entries);
    cm3_free(context, tokenizer);
    free(config);
    return status;
}
