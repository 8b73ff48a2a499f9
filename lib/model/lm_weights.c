/* The transformer's weights: names and shapes by configuration, fresh ones, and those of a file. */
#include <math.h>
#include <stdio.h>

#include "base/status.h"
#include "model/lm.h"
#include "model/quantised_weight.h"
#include "nn/kernels.h"

/** How fresh values are drawn. */
typedef enum cm3_init { CM3_INIT_NORMAL, CM3_INIT_RESIDUAL, CM3_INIT_ONE, CM3_INIT_ZERO, CM3_INIT_POSITION } cm3_init;

/** What the model consists of: filled by declare() in two rounds, first to count, then to place. */
typedef struct cm3_declaration {
    cm3_lm *lm;
    size_t count;
    bool place;
    cm3_tensor *tensors; /**< [parameter_count], behind the parameters */
    cm3_init *inits;
    bool failed;
} cm3_declaration;

static cm3_tensor *declare(cm3_declaration *d, cm3_init init, int rank, int64_t rows, int64_t columns,
                           const char *format, int32_t layer) {
    size_t index = d->count++;
    if (!d->place) return NULL;
    char name[96];
    /* The formats are literals of this file, with %d for the layer where there is one. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int length = snprintf(name, sizeof name, format, layer);
#pragma GCC diagnostic pop
    cm3_lm_parameter *parameter = &d->lm->parameters[index];
    parameter->name = cm3_strndup(d->lm->context, name, (size_t)length);
    if (!parameter->name) d->failed = true;
    parameter->tensor = &d->tensors[index];
    parameter->decay = rank == 2 && init != CM3_INIT_ONE && init != CM3_INIT_ZERO;
    d->tensors[index] = cm3_tensor_over(NULL, CM3_F32, rank, (const int64_t[]){rows, columns});
    d->inits[index] = init;
    return parameter->tensor;
}

static cm3_tensor *declare_bias(cm3_declaration *d, bool wanted, int64_t n, const char *format, int32_t layer) {
    return wanted ? declare(d, CM3_INIT_ZERO, 1, n, 1, format, layer) : NULL;
}

static cm3_tensor *declare_norm(cm3_declaration *d, const char *format, int32_t layer) {
    if (d->lm->config.norm != CM3_NORM_RMS) return NULL;
    return declare(d, CM3_INIT_ONE, 1, d->lm->config.hidden_size, 1, format, layer);
}

static void declare_attention(cm3_declaration *d, cm3_lm_layer *l, int32_t i) {
    const cm3_lm_config *c = &d->lm->config;
    int64_t width = c->hidden_size, kv = (int64_t)c->kv_heads * c->head_dim;
    l->q = declare(d, CM3_INIT_NORMAL, 2, width, width, "model.layers.%d.self_attn.q_proj.weight", i);
    l->q_bias = declare_bias(d, c->attention_bias, width, "model.layers.%d.self_attn.q_proj.bias", i);
    l->k = declare(d, CM3_INIT_NORMAL, 2, kv, width, "model.layers.%d.self_attn.k_proj.weight", i);
    l->k_bias = declare_bias(d, c->attention_bias, kv, "model.layers.%d.self_attn.k_proj.bias", i);
    l->v = declare(d, CM3_INIT_NORMAL, 2, kv, width, "model.layers.%d.self_attn.v_proj.weight", i);
    l->v_bias = declare_bias(d, c->attention_bias, kv, "model.layers.%d.self_attn.v_proj.bias", i);
    l->o = declare(d, CM3_INIT_RESIDUAL, 2, width, width, "model.layers.%d.self_attn.o_proj.weight", i);
    l->o_bias = declare_bias(d, c->attention_bias, width, "model.layers.%d.self_attn.o_proj.bias", i);
    if (!c->qk_norm) return;
    l->q_norm = declare(d, CM3_INIT_ONE, 2, c->heads, c->head_dim, "model.layers.%d.self_attn.q_norm.weight", i);
    l->q_norm_bias = declare(d, CM3_INIT_ZERO, 2, c->heads, c->head_dim, "model.layers.%d.self_attn.q_norm.bias", i);
    l->k_norm = declare(d, CM3_INIT_ONE, 2, c->kv_heads, c->head_dim, "model.layers.%d.self_attn.k_norm.weight", i);
    l->k_norm_bias = declare(d, CM3_INIT_ZERO, 2, c->kv_heads, c->head_dim, "model.layers.%d.self_attn.k_norm.bias", i);
}

static void declare_feed_forward(cm3_declaration *d, cm3_lm_layer *l, int32_t i) {
    const cm3_lm_config *c = &d->lm->config;
    int64_t width = c->hidden_size, ffn = c->ffn_size;
    if (c->ffn == CM3_FFN_SWIGLU) {
        l->gate = declare(d, CM3_INIT_NORMAL, 2, ffn, width, "model.layers.%d.mlp.gate_proj.weight", i);
        l->gate_bias = declare_bias(d, c->ffn_bias, ffn, "model.layers.%d.mlp.gate_proj.bias", i);
        l->up = declare(d, CM3_INIT_NORMAL, 2, ffn, width, "model.layers.%d.mlp.up_proj.weight", i);
        l->up_bias = declare_bias(d, c->ffn_bias, ffn, "model.layers.%d.mlp.up_proj.bias", i);
        l->down = declare(d, CM3_INIT_RESIDUAL, 2, width, ffn, "model.layers.%d.mlp.down_proj.weight", i);
        l->down_bias = declare_bias(d, c->ffn_bias, width, "model.layers.%d.mlp.down_proj.bias", i);
        return;
    }
    l->up = declare(d, CM3_INIT_NORMAL, 2, ffn, width, "model.layers.%d.mlp.fc1.weight", i);
    l->up_bias = declare_bias(d, c->ffn_bias, ffn, "model.layers.%d.mlp.fc1.bias", i);
    l->down = declare(d, CM3_INIT_RESIDUAL, 2, width, ffn, "model.layers.%d.mlp.fc2.weight", i);
    l->down_bias = declare_bias(d, c->ffn_bias, width, "model.layers.%d.mlp.fc2.bias", i);
}

static void declare_all(cm3_declaration *d) {
    cm3_lm *lm = d->lm;
    const cm3_lm_config *c = &lm->config;
    lm->embed = declare(d, CM3_INIT_NORMAL, 2, c->vocab_size, c->hidden_size, "model.embed_tokens.weight", 0);
    if (c->position == CM3_POSITION_LEARNED) {
        lm->positions = declare(d, CM3_INIT_POSITION, 2, (int64_t)c->max_positions + c->position_offset, c->hidden_size,
                                "model.embed_positions.weight", 0);
    }
    for (int32_t i = 0; i < c->layers; i++) {
        cm3_lm_layer *layer = &lm->layers[i];
        layer->input_norm = declare_norm(d, "model.layers.%d.input_layernorm.weight", i);
        declare_attention(d, layer, i);
        layer->post_norm = declare_norm(d, "model.layers.%d.post_attention_layernorm.weight", i);
        declare_feed_forward(d, layer, i);
    }
    lm->final_norm = declare_norm(d, "model.norm.weight", 0);
    lm->head = c->tied ? lm->embed : declare(d, CM3_INIT_NORMAL, 2, c->vocab_size, c->hidden_size, "lm_head.weight", 0);
}

/** The model with all its tensors named and shaped, without data. */
static cm3_status create(cm3_context *context, const cm3_lm_config *config, cm3_init **inits, cm3_lm **out) {
    *out = NULL;
    *inits = NULL;
    CM3_TRY(cm3_lm_config_check(context, config));
    cm3_lm *lm = cm3_calloc(context, 1, sizeof *lm);
    if (!lm) return cm3_fail_memory(context, sizeof *lm, "model");
    lm->context = context;
    lm->config = *config;
    cm3_context_retain(context);
    lm->layers = cm3_calloc(context, (size_t)config->layers, sizeof *lm->layers);
    cm3_declaration d = {.lm = lm};
    if (lm->layers) {
        declare_all(&d);
        lm->parameters = cm3_calloc(context, d.count, sizeof *lm->parameters + sizeof(cm3_tensor));
        *inits = cm3_calloc(context, d.count, sizeof **inits);
    }
    if (!lm->layers || !lm->parameters || !*inits) goto memory;
    lm->parameter_count = d.count;
    d.tensors = (cm3_tensor *)(lm->parameters + d.count);
    d.inits = *inits;
    d.count = 0;
    d.place = true;
    declare_all(&d);
    if (d.failed) goto memory;
    *out = lm;
    return CM3_OK;
memory:
    cm3_free(context, *inits);
    *inits = NULL;
    cm3_lm_destroy(lm);
    return cm3_fail_memory(context, 0, "model");
}

void cm3_lm_destroy(cm3_lm *lm) {
    if (!lm) return;
    cm3_context *context = lm->context;
    for (size_t i = 0; i < lm->parameter_count; i++) cm3_free(context, (void *)(uintptr_t)lm->parameters[i].name);
    cm3_free(context, lm->parameters);
    cm3_free(context, lm->layers);
    cm3_free(context, lm->storage);
    cm3_free(context, lm);
    cm3_context_release(context);
}

void cm3_lm_forget_storage(cm3_lm *lm) {
    cm3_free(lm->context, lm->storage);
    lm->storage = NULL;
}

/** Memory for the f32 data of every tensor that `owns` says; tensors lie behind each other, 64-byte aligned. */
static cm3_status allocate(cm3_lm *lm, bool (*owns)(const cm3_tensor *tensor)) {
    size_t bytes = 0;
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_tensor *tensor = lm->parameters[i].tensor;
        if (owns(tensor) && !cm3_add_size(bytes, ((size_t)tensor->count * sizeof(float) + 63) / 64 * 64, &bytes)) {
            return cm3_fail_memory(lm->context, SIZE_MAX, "weights");
        }
    }
    lm->storage = cm3_alloc(lm->context, bytes);
    if (!lm->storage) return cm3_fail_memory(lm->context, bytes, "weights");
    char *place = lm->storage;
    for (size_t i = 0; i < lm->parameter_count; i++) {
        cm3_tensor *tensor = lm->parameters[i].tensor;
        if (!owns(tensor)) continue;
        tensor->data = place;
        place += ((size_t)tensor->count * sizeof(float) + 63) / 64 * 64;
    }
    return CM3_OK;
}

static bool owns_all(const cm3_tensor *tensor) {
    (void)tensor;
    return true;
}

/** Norms and biases are small and read by kernels that want f32. */
static bool owns_vectors(const cm3_tensor *tensor) {
    return tensor->dtype == CM3_DTYPE_NONE;
}

static double truncated_normal(cm3_random *random) {
    double value;
    do value = cm3_random_normal(random);
    while (fabs(value) > 3);
    return value;
}

cm3_status cm3_lm_create_random(cm3_context *context, const cm3_lm_config *config, uint64_t seed, cm3_lm **out) {
    cm3_init *inits;
    cm3_lm *lm;
    *out = NULL;
    CM3_TRY(create(context, config, &inits, &lm));
    cm3_status status = allocate(lm, owns_all);
    for (size_t i = 0; i < lm->parameter_count && status == CM3_OK; i++) {
        cm3_tensor *tensor = lm->parameters[i].tensor;
        cm3_random random = cm3_random_make(seed, i);
        float std = config->init_std;
        if (inits[i] == CM3_INIT_RESIDUAL) std /= sqrtf(2.0f * (float)config->layers);
        if (inits[i] == CM3_INIT_POSITION) std = config->init_std / 30; /* 0.0002 for CM3Leon's 0.006 */
        for (int64_t j = 0; j < tensor->count; j++) {
            bool constant = inits[i] == CM3_INIT_ONE || inits[i] == CM3_INIT_ZERO;
            cm3_f32(tensor)[j] =
                constant ? (inits[i] == CM3_INIT_ONE ? 1.0f : 0.0f) : (float)(std * truncated_normal(&random));
        }
    }
    cm3_free(context, inits);
    if (status != CM3_OK) {
        cm3_lm_destroy(lm);
        return status;
    }
    *out = lm;
    return CM3_OK;
}

/* --- from a file ---------------------------------------------------------------------------------------------------
 */

/** Whether a matrix can be read where it lies; everything else becomes f32. */
static bool stays(const cm3_lm_parameter *parameter, const cm3_entry *entry) {
    return parameter->decay && entry->dtype != CM3_F16;
}

/** Checks what was found of a parameter, and says where its data lies, or, by no type, that it becomes a copy. */
static cm3_status place(cm3_lm *lm, const cm3_lm_parameter *parameter, const cm3_weights *weights, const char *name,
                        const cm3_weight *found, bool copy, bool check_weights) {
    cm3_tensor *tensor = parameter->tensor;
    if (found && parameter->decay && cm3_entry_is_quantised(&found->entry)) {
        CM3_TRY(cm3_quantised_weight(lm->context, weights, found, check_weights, tensor, &lm->extra_tensors));
        if (copy) tensor->dtype = CM3_DTYPE_NONE;
        return CM3_OK;
    }
    CM3_TRY(cm3_weights_check(weights, name, found, tensor->rank, tensor->shape, check_weights));
    bool in_place = !copy && stays(parameter, &found->entry);
    tensor->dtype = in_place ? found->entry.dtype : CM3_DTYPE_NONE;
    if (in_place) tensor->data = (void *)(uintptr_t)found->entry.data;
    return CM3_OK;
}

/** The copy. */
static void take_over(cm3_tensor *tensor, const cm3_entry *entry) {
    tensor->dtype = CM3_F32;
    if (!tensor->block) {
        cm3_convert(tensor->data, CM3_F32, entry->data, entry->dtype, (size_t)tensor->count);
        return;
    }
    cm3_tensor integers = *tensor;
    integers.dtype = entry->dtype == CM3_U8 ? CM3_U4 : CM3_I8;
    integers.data = (void *)(uintptr_t)entry->data;
    cm3_quantised matrix = cm3_quantised_of(&integers);
    cm3_kernels_get(cm3_cpu_detect())->dequantise_f32(tensor->data, &matrix, 0, tensor->shape[0]);
    tensor->scales = tensor->mins = NULL;
    tensor->block = 0;
}

cm3_status cm3_lm_load(cm3_context *context, const cm3_lm_config *config, const cm3_weights *weights,
                       const char *prefix, bool copy, bool check_weights, cm3_lm **out) {
    cm3_init *inits;
    cm3_lm *lm;
    *out = NULL;
    CM3_TRY(create(context, config, &inits, &lm));
    cm3_free(context, inits);
    const cm3_weight **found = cm3_calloc(context, lm->parameter_count, sizeof *found);
    cm3_status status = found ? CM3_OK : cm3_fail_memory(context, 0, "model");
    for (size_t i = 0; i < lm->parameter_count && status == CM3_OK; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s", prefix, lm->parameters[i].name);
        found[i] = cm3_weights_find(weights, name);
        status = place(lm, &lm->parameters[i], weights, name, found[i], copy, check_weights);
    }
    if (status == CM3_OK) status = allocate(lm, owns_vectors);
    for (size_t i = 0; i < lm->parameter_count && status == CM3_OK; i++) {
        cm3_tensor *tensor = lm->parameters[i].tensor;
        if (tensor->dtype == CM3_DTYPE_NONE) take_over(tensor, &found[i]->entry);
    }
    cm3_free(context, found);
    if (status != CM3_OK) {
        cm3_lm_destroy(lm);
        return status;
    }
    *out = lm;
    return CM3_OK;
}

cm3_status cm3_lm_describe(cm3_context *context, const cm3_lm_config *config, const cm3_weights *weights,
                           const char *prefix, cm3_lm **out) {
    cm3_init *inits;
    cm3_lm *lm;
    *out = NULL;
    CM3_TRY(create(context, config, &inits, &lm));
    cm3_free(context, inits);
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < lm->parameter_count && status == CM3_OK; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s", prefix, lm->parameters[i].name);
        status = place(lm, &lm->parameters[i], weights, name, cm3_weights_find(weights, name), false, false);
    }
    if (status == CM3_OK) {
        *out = lm;
    } else {
        cm3_lm_destroy(lm);
    }
    return status;
}

uint64_t cm3_lm_config_parameters(const cm3_lm_config *c) {
    uint64_t d = (uint64_t)c->hidden_size, kv = (uint64_t)c->kv_heads * (uint64_t)c->head_dim,
             ffn = (uint64_t)c->ffn_size;
    uint64_t matrices = c->ffn == CM3_FFN_SWIGLU ? 3 : 2;
    uint64_t layer = 2 * d * d + 2 * d * kv + matrices * d * ffn;
    if (c->attention_bias) layer += 2 * d + 2 * kv;
    if (c->ffn_bias) layer += (matrices - 1) * ffn + d;
    if (c->qk_norm) layer += 2 * (d + kv);
    if (c->norm == CM3_NORM_RMS) layer += 2 * d;
    uint64_t all = layer * (uint64_t)c->layers + (uint64_t)c->vocab_size * d * (c->tied ? 1 : 2);
    if (c->norm == CM3_NORM_RMS) all += d;
    if (c->position == CM3_POSITION_LEARNED) all += (uint64_t)(c->max_positions + c->position_offset) * d;
    return all;
}
