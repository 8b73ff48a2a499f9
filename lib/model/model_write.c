/* Writing `.cm3` files. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "model/model.h"
#include "model/source.h"

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
    for (size_t i = 0; content->clip && i < content->clip->parameter_count; i++) {
        const cm3_clip_parameter *p = &content->clip->parameters[i];
        CM3_TRY(add(contents, "encoder.", p->name, p->tensor, p->tensor->rank > 1 ? content->clip_dtype : CM3_F32));
    }
    return CM3_OK;
}

cm3_status cm3_model_write(cm3_context *context, const char *path, const cm3_model_content *content) {
    cm3_contents contents = {.context = context};
    char *config = NULL, *tokenizer = NULL;
    size_t tokenizer_size = 0;
    cm3_status status = add_tensors(&contents, content);
    if (status == CM3_OK)
        status = cm3_config_format(context, content->lm ? &content->lm->config : NULL,
                                   content->vq ? &content->vq->config : NULL, NULL,
                                   content->clip ? &content->clip->config : NULL, content->special, &config);
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
    cm3_free(context, config);
    return status;
}
