/* CLIP's weights: names and shapes by configuration, where they lie in a file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "model/clip.h"
#include "model/quantised_weight.h"

typedef struct binding {
    cm3_clip *clip;
    const cm3_weights *weights; /**< NULL: fresh ones are drawn */
    const char *prefix;
    bool check_weights;
    cm3_random random;
    cm3_status status; /**< of the first that failed */
} binding;

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/** The spread of a fresh tensor's normal numbers; 0: a constant. */
static double spread_of(const binding *b, const char *name, const cm3_tensor *tensor) {
    if (ends_with(name, "position_embedding.weight")) return 0.01;
    if (strstr(name, "_embedding") && !ends_with(name, "patch_embedding.weight")) return 0.02;
    if (tensor->rank == 1) return 0;
    const double deviation = 1 / sqrt((double)(tensor->count / tensor->shape[0]));
    const bool added = ends_with(name, "out_proj.weight") || ends_with(name, "fc2.weight");
    const int32_t layers = strstr(name, "text_model.") ? b->clip->config.text.layers : b->clip->config.vision.layers;
    return added ? deviation / sqrt(2.0 * layers) : deviation;
}

/** A fresh tensor: norms begin as they are, biases as nothing. */
static void draw(binding *b, cm3_tensor *tensor, const char *name) {
    float *data = cm3_arena_alloc(b->clip->values, (size_t)tensor->count * sizeof *data);
    tensor->data = data;
    if (!data) {
        b->status = cm3_fail_memory(b->clip->context, (size_t)tensor->count * sizeof *data, name);
        return;
    }
    const double spread = spread_of(b, name, tensor);
    const float constant = ends_with(name, "bias") ? 0 : 1;
    for (int64_t i = 0; i < tensor->count; i++) {
        data[i] = spread > 0 ? (float)(spread * cm3_random_normal(&b->random)) : constant;
    }
}

/** Puts a tensor on the list of parameters. */
static void list(binding *b, cm3_tensor *tensor, const char *name) {
    cm3_clip *clip = b->clip;
    b->status = cm3_grow(clip->context, &clip->parameters, &clip->parameter_capacity, clip->parameter_count + 1,
                         sizeof *clip->parameters, "encoder");
    char *copy = b->status == CM3_OK ? cm3_arena_alloc(clip->names, strlen(name) + 1) : NULL;
    if (b->status == CM3_OK && !copy) b->status = cm3_fail_memory(clip->context, strlen(name), "encoder");
    if (b->status != CM3_OK) return;
    strcpy(copy, name);
    clip->parameters[clip->parameter_count++] = (cm3_clip_parameter){copy, tensor};
}

/** A matrix of integers, where it lies. */
static void bind_quantised(binding *b, cm3_tensor *tensor, const int64_t *shape, const cm3_weight *found) {
    size_t parts = 0;
    *tensor = cm3_tensor_over(NULL, CM3_F32, 2, shape);
    b->status = cm3_quantised_weight(b->clip->context, b->weights, found, b->check_weights, tensor, &parts);
}

/** Lets `tensor` stand for a tensor of the file: where it lies, or, of another type than can be multiplied, a copy. */
static void bind(binding *b, cm3_tensor *tensor, int rank, const int64_t *shape, const char *stem, const char *name) {
    char full[256];
    if (b->status != CM3_OK) return;
    snprintf(full, sizeof full, "%s%s%s", b->prefix, stem, name);
    list(b, tensor, full + strlen(b->prefix));
    if (b->status != CM3_OK) return;
    if (!b->weights) {
        *tensor = cm3_tensor_over(NULL, CM3_F32, rank, shape);
        draw(b, tensor, full);
        return;
    }
    const cm3_weight *found = cm3_weights_find(b->weights, full);
    if (found && rank == 2 && cm3_entry_is_quantised(&found->entry)) {
        bind_quantised(b, tensor, shape, found);
        return;
    }
    b->status = cm3_weights_check(b->weights, full, found, rank, shape, b->check_weights);
    if (b->status != CM3_OK) return;
    const cm3_entry *entry = &found->entry;
    *tensor = cm3_tensor_over((void *)(uintptr_t)entry->data, entry->dtype, rank, shape);
    if (entry->dtype == CM3_F32 || (entry->dtype == CM3_BF16 && rank > 1)) return;
    tensor->dtype = CM3_F32;
    tensor->data = cm3_arena_alloc(b->clip->values, (size_t)entry->count * sizeof(float));
    if (!tensor->data) {
        b->status = cm3_fail_memory(b->clip->context, (size_t)entry->count * sizeof(float), full);
        return;
    }
    cm3_convert(tensor->data, CM3_F32, entry->data, entry->dtype, (size_t)entry->count);
}

static void bind_vector(binding *b, cm3_tensor *tensor, int64_t n, const char *stem, const char *name) {
    bind(b, tensor, 1, &n, stem, name);
}

static void bind_matrix(binding *b, cm3_tensor *tensor, int64_t rows, int64_t columns, const char *stem,
                        const char *name) {
    bind(b, tensor, 2, (const int64_t[]){rows, columns}, stem, name);
}

static void bind_layer(binding *b, const cm3_clip_tower_config *c, cm3_clip_layer *l, const char *stem) {
    const int64_t d = c->hidden_size, ffn = c->ffn_size;
    bind_vector(b, &l->norm1, d, stem, "layer_norm1.weight");
    bind_vector(b, &l->norm1_bias, d, stem, "layer_norm1.bias");
    bind_matrix(b, &l->q, d, d, stem, "self_attn.q_proj.weight");
    bind_vector(b, &l->q_bias, d, stem, "self_attn.q_proj.bias");
    bind_matrix(b, &l->k, d, d, stem, "self_attn.k_proj.weight");
    bind_vector(b, &l->k_bias, d, stem, "self_attn.k_proj.bias");
    bind_matrix(b, &l->v, d, d, stem, "self_attn.v_proj.weight");
    bind_vector(b, &l->v_bias, d, stem, "self_attn.v_proj.bias");
    bind_matrix(b, &l->o, d, d, stem, "self_attn.out_proj.weight");
    bind_vector(b, &l->o_bias, d, stem, "self_attn.out_proj.bias");
    bind_vector(b, &l->norm2, d, stem, "layer_norm2.weight");
    bind_vector(b, &l->norm2_bias, d, stem, "layer_norm2.bias");
    bind_matrix(b, &l->fc1, ffn, d, stem, "mlp.fc1.weight");
    bind_vector(b, &l->fc1_bias, ffn, stem, "mlp.fc1.bias");
    bind_matrix(b, &l->fc2, d, ffn, stem, "mlp.fc2.weight");
    bind_vector(b, &l->fc2_bias, d, stem, "mlp.fc2.bias");
}

static void bind_layers(binding *b, const cm3_clip_tower_config *c, cm3_clip_tower *tower, const char *stem) {
    cm3_context *context = b->clip->context;
    tower->layers = cm3_calloc(context, (size_t)c->layers, sizeof *tower->layers);
    if (!tower->layers && b->status == CM3_OK) {
        b->status = cm3_fail_memory(context, (size_t)c->layers * sizeof *tower->layers, "encoder");
    }
    for (int32_t i = 0; i < c->layers && b->status == CM3_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "%sencoder.layers.%d.", stem, i);
        bind_layer(b, c, &tower->layers[i], name);
    }
}

static void bind_text(binding *b) {
    const cm3_clip_config *c = &b->clip->config;
    cm3_clip_tower *t = &b->clip->text;
    const int64_t d = c->text.hidden_size;
    bind_matrix(b, &t->tokens, c->vocab_size, d, "text_model.", "embeddings.token_embedding.weight");
    bind_matrix(b, &t->positions, c->max_positions, d, "text_model.", "embeddings.position_embedding.weight");
    bind_layers(b, &c->text, t, "text_model.");
    bind_vector(b, &t->final_norm, d, "text_model.", "final_layer_norm.weight");
    bind_vector(b, &t->final_norm_bias, d, "text_model.", "final_layer_norm.bias");
    bind_matrix(b, &t->projection, c->projection_dim, d, "", "text_projection.weight");
}

static void bind_vision(binding *b) {
    const cm3_clip_config *c = &b->clip->config;
    cm3_clip_tower *t = &b->clip->vision;
    const int64_t d = c->vision.hidden_size, side = c->image_size / c->patch_size, p = c->patch_size;
    bind_vector(b, &t->class_token, d, "vision_model.", "embeddings.class_embedding");
    bind(b, &t->patches, 4, (const int64_t[]){d, 3, p, p}, "vision_model.", "embeddings.patch_embedding.weight");
    bind_matrix(b, &t->positions, side * side + 1, d, "vision_model.", "embeddings.position_embedding.weight");
    bind_vector(b, &t->first_norm, d, "vision_model.", "pre_layrnorm.weight");
    bind_vector(b, &t->first_norm_bias, d, "vision_model.", "pre_layrnorm.bias");
    bind_layers(b, &c->vision, t, "vision_model.");
    bind_vector(b, &t->final_norm, d, "vision_model.", "post_layernorm.weight");
    bind_vector(b, &t->final_norm_bias, d, "vision_model.", "post_layernorm.bias");
    bind_matrix(b, &t->projection, c->projection_dim, d, "", "visual_projection.weight");
}

/** What pictures are made to must be what the tower reads: the two come from different files. */
static cm3_status check_pictures(cm3_context *context, const cm3_clip_config *config, const char *name) {
    const cm3_hf_preprocessing *p = &config->preprocessing;
    if (!config->vision.present || (p->crop_width == config->image_size && p->crop_height == config->image_size)) {
        return CM3_OK;
    }
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: preprocessing makes pictures of %d x %d; the encoder reads %d x %d",
                    name, p->crop_width, p->crop_height, config->image_size, config->image_size);
}

static cm3_status make(cm3_context *context, const cm3_clip_config *config, binding *b, cm3_clip **out) {
    *out = NULL;
    cm3_clip *clip = cm3_calloc(context, 1, sizeof *clip);
    if (!clip) return cm3_fail_memory(context, sizeof *clip, "encoder");
    clip->context = context;
    clip->config = *config;
    cm3_context_retain(context);
    b->clip = clip;
    b->status = cm3_arena_create(context, 1 << 12, &clip->names);
    if (b->status == CM3_OK) b->status = cm3_arena_create(context, 1 << 14, &clip->values);
    if (config->text.present && b->status == CM3_OK) bind_text(b);
    if (config->vision.present && b->status == CM3_OK) bind_vision(b);
    if (b->status == CM3_OK) {
        *out = clip;
    } else {
        cm3_clip_destroy(clip);
    }
    return b->status;
}

cm3_status cm3_clip_load(cm3_context *context, const cm3_clip_config *config, const cm3_weights *weights,
                         const char *prefix, bool check_weights, cm3_clip **clip) {
    *clip = NULL;
    CM3_TRY(check_pictures(context, config, cm3_weights_name(weights)));
    binding b = {.weights = weights, .prefix = prefix, .check_weights = check_weights};
    return make(context, config, &b, clip);
}

cm3_status cm3_clip_create_random(cm3_context *context, const cm3_clip_config *config, uint64_t seed, cm3_clip **clip) {
    *clip = NULL;
    CM3_TRY(check_pictures(context, config, "encoder"));
    binding b = {.prefix = "", .random = cm3_random_make(seed, 0x434C495000000000u)};
    return make(context, config, &b, clip);
}

void cm3_clip_destroy(cm3_clip *clip) {
    if (!clip) return;
    cm3_context *context = clip->context;
    cm3_free(context, clip->parameters);
    cm3_free(context, clip->text.layers);
    cm3_free(context, clip->vision.layers);
    cm3_arena_destroy(clip->names);
    cm3_arena_destroy(clip->values);
    cm3_free(context, clip);
    cm3_context_release(context);
}

void cm3_clip_forget_storage(cm3_clip *clip) {
    cm3_arena_destroy(clip->values);
    clip->values = NULL;
}
