/* Texts and pictures to vectors: the encoder behind the public calls. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/model.h"

/* So many pictures, and so many tokens of texts, are computed at once. */
#define IMAGES 8
#define TOKENS 2048

typedef struct embedding {
    const cm3_model *model;
    const char *const *texts;
    cm3_image *const *images;
    size_t count;
    bool normalize;
    float *vectors;
    cm3_graph *graph;
    /* of texts */
    int32_t *ids, *starts;
    size_t id_count, id_capacity;
} embedding;

static void finish(const embedding *e, const cm3_tensor *made, float *to) {
    const int64_t d = made->shape[1];
    memcpy(to, made->data, (size_t)made->count * sizeof *to);
    for (float *row = to; e->normalize && row < to + made->count; row += d) {
        double sum = 0;
        for (int64_t i = 0; i < d; i++) sum += (double)row[i] * (double)row[i];
        const float length = (float)sqrt(sum);
        for (int64_t i = 0; i < d; i++) row[i] /= length;
    }
}

cm3_status cm3_clip_text_ids(const cm3_clip_config *config, const cm3_bpe *bpe, cm3_context *context, const char *text,
                             int32_t **ids, size_t *count, size_t *capacity) {
    const size_t most = (size_t)config->max_positions, before = *count;
    CM3_TRY(cm3_utf8_check(context, "text", text, strlen(text)));
    CM3_TRY(cm3_bpe_encode(bpe, text, strlen(text), CM3_ENCODE_SPECIAL | CM3_ENCODE_TEMPLATE, ids, count, capacity));
    if (*count == before) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "a text has no tokens: '%.40s'", text);
    /* Tokenizers that are CLIP's own put an end behind each text; others leave it to whoever wants one. */
    if (config->eos != CM3_CLIP_EOS_IS_LARGEST && (*ids)[*count - 1] != config->eos) {
        CM3_TRY(cm3_grow(context, ids, capacity, *count + 1, sizeof **ids, "text"));
        (*ids)[(*count)++] = config->eos;
    }
    if (*count - before > most) {
        (*ids)[before + most - 1] = (*ids)[*count - 1];
        *count = before + most;
    }
    return CM3_OK;
}

/** Texts from `index` on, as many as go together; *taken of them. */
static cm3_status embed_texts(embedding *e, size_t index, size_t *taken) {
    const cm3_clip_config *config = &e->model->clip->config;
    size_t count = 0;
    e->id_count = 0;
    const size_t longest = (size_t)config->max_positions;
    while (index + count < e->count && (!count || e->id_count + longest <= TOKENS)) {
        e->starts[count] = (int32_t)e->id_count;
        CM3_TRY(cm3_clip_text_ids(config, e->model->tokenizer->bpe, e->model->context, e->texts[index + count++],
                                  &e->ids, &e->id_count, &e->id_capacity));
    }
    e->starts[count] = (int32_t)e->id_count;
    cm3_graph_reset(e->graph);
    const cm3_tensor *made = cm3_clip_texts(e->graph, e->model->clip, e->ids, e->starts, (int64_t)count);
    if (!made) return cm3_graph_status(e->graph);
    finish(e, made, e->vectors + index * (size_t)config->projection_dim);
    *taken = count;
    return CM3_OK;
}

static cm3_status embed_images(embedding *e, size_t index, size_t *taken) {
    cm3_clip *clip = e->model->clip;
    const int64_t side = clip->config.image_size,
                  count = (int64_t)(e->count - index < IMAGES ? e->count - index : IMAGES);
    cm3_graph_reset(e->graph);
    cm3_tensor *pixels = cm3_graph_tensor(e->graph, CM3_F32, 4, (const int64_t[]){count, side, side, 3});
    if (!pixels) return cm3_graph_status(e->graph);
    for (int64_t i = 0; i < count; i++) {
        CM3_TRY(cm3_preprocess_hf(e->model->context, e->images[index + (size_t)i], &clip->config.preprocessing,
                                  cm3_f32(pixels) + i * side * side * 3));
    }
    const cm3_tensor *made = cm3_clip_images(e->graph, clip, pixels);
    if (!made) return cm3_graph_status(e->graph);
    finish(e, made, e->vectors + index * (size_t)clip->config.projection_dim);
    *taken = (size_t)count;
    return CM3_OK;
}

static cm3_status embed_all(void *arg) {
    embedding *e = arg;
    cm3_context *context = e->model->context;
    cm3_status status = cm3_graph_create(context, &(cm3_graph_options){.compute = CM3_COMPUTE_F32}, &e->graph);
    if (status == CM3_OK && e->texts) {
        e->starts = cm3_calloc(context, TOKENS + 2, sizeof *e->starts);
        if (!e->starts) status = cm3_fail_memory(context, TOKENS * sizeof *e->starts, "texts");
    }
    for (size_t index = 0, taken = 0; index < e->count && status == CM3_OK; index += taken) {
        status = e->texts ? embed_texts(e, index, &taken) : embed_images(e, index, &taken);
    }
    cm3_free(context, e->ids);
    cm3_free(context, e->starts);
    cm3_graph_destroy(e->graph);
    return status;
}

static cm3_status check(const cm3_model *model, const void *const *items, size_t count, const float *vectors,
                        bool present, const char *name) {
    bool missing = (!items && count) || (!vectors && count);
    for (size_t i = 0; i < count && !missing; i++) missing = !items[i];
    if (missing) return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "%s: an argument is NULL", name);
    if (present) return CM3_OK;
    return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED, "%s: the model has no encoder for these", name);
}

cm3_status cm3_model_embed_texts(const cm3_model *model, const char *const *texts, size_t count, int normalize,
                                 float *vectors) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    bool present = model->clip && model->clip->config.text.present && model->tokenizer->bpe;
    CM3_TRY(check(model, (const void *const *)texts, count, vectors, present, "cm3_model_embed_texts"));
    embedding e = {.model = model, .texts = texts, .count = count, .normalize = normalize != 0, .vectors = vectors};
    return count ? cm3_context_run(model->context, embed_all, &e) : CM3_OK;
}

cm3_status cm3_model_embed_images(const cm3_model *model, cm3_image *const *images, size_t count, int normalize,
                                  float *vectors) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    bool present = model->clip && model->clip->config.vision.present;
    CM3_TRY(check(model, (const void *const *)images, count, vectors, present, "cm3_model_embed_images"));
    embedding e = {.model = model, .images = images, .count = count, .normalize = normalize != 0, .vectors = vectors};
    return count ? cm3_context_run(model->context, embed_all, &e) : CM3_OK;
}
