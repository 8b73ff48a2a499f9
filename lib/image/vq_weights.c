/* The image tokenizer's weights: names and shapes by configuration, fresh ones, and those of a file. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/status.h"
#include "image/vq_layers.h"

/** Filled in two rounds, first to count, then to place. */
typedef struct cm3_vq_declaration {
    cm3_vq *vq;
    size_t count;
    bool place, failed;
} cm3_vq_declaration;

static cm3_tensor *declare(cm3_vq_declaration *d, const char *name, const char *suffix, int rank,
                           const int64_t *shape) {
    size_t index = d->count++;
    if (!d->place) return NULL;
    char full[160];
    int length = snprintf(full, sizeof full, "%s.%s", name, suffix);
    cm3_vq_parameter *parameter = &d->vq->parameters[index];
    parameter->name = cm3_strndup(d->vq->context, full, (size_t)length);
    if (!parameter->name) d->failed = true;
    parameter->tensor = cm3_tensor_over(NULL, CM3_F32, rank, shape);
    parameter->present = true;
    return &parameter->tensor;
}

static cm3_vq_pair conv(cm3_vq_declaration *d, int64_t in, int64_t out, int64_t kernel, const char *name) {
    return (cm3_vq_pair){declare(d, name, "weight", 4, (const int64_t[]){out, in, kernel, kernel}),
                         declare(d, name, "bias", 1, &out)};
}

static cm3_vq_pair norm(cm3_vq_declaration *d, int64_t channels, const char *name) {
    return (cm3_vq_pair){declare(d, name, "weight", 1, &channels), declare(d, name, "bias", 1, &channels)};
}

/** "<prefix>.<part>" in a buffer of the caller's. */
#define CM3_PART(buffer, prefix, part) (snprintf(buffer, sizeof buffer, "%s.%s", prefix, part), buffer)

static void block(cm3_vq_declaration *d, cm3_vq_block *b, int64_t in, int64_t out, int64_t kernel, const char *prefix) {
    char name[128];
    b->norm1 = norm(d, in, CM3_PART(name, prefix, "norm1"));
    b->conv1 = conv(d, in, out, kernel, CM3_PART(name, prefix, "conv1"));
    b->norm2 = norm(d, out, CM3_PART(name, prefix, "norm2"));
    b->conv2 = conv(d, out, out, kernel, CM3_PART(name, prefix, "conv2"));
    if (in != out) b->shortcut = conv(d, in, out, 1, CM3_PART(name, prefix, "nin_shortcut"));
}

static void attention(cm3_vq_declaration *d, cm3_vq_attention *a, int64_t channels, const char *prefix) {
    char name[128];
    a->norm = norm(d, channels, CM3_PART(name, prefix, "norm"));
    a->q = conv(d, channels, channels, 1, CM3_PART(name, prefix, "q"));
    a->k = conv(d, channels, channels, 1, CM3_PART(name, prefix, "k"));
    a->v = conv(d, channels, channels, 1, CM3_PART(name, prefix, "v"));
    a->out = conv(d, channels, channels, 1, CM3_PART(name, prefix, "proj_out"));
}

static int64_t kernel_of(const cm3_vq_half *half) {
    return half->local ? 1 : 3;
}

static bool attends(const cm3_vq_config *c, int32_t resolution) {
    for (int32_t i = 0; i < c->attn_count; i++) {
        if (c->attn_resolutions[i] == resolution) return true;
    }
    return false;
}

static void middle(cm3_vq_declaration *d, cm3_vq_half *half, int64_t channels, const char *side) {
    char name[64];
    int64_t kernel = kernel_of(half);
    block(d, &half->mid1, channels, channels, kernel, CM3_PART(name, side, "mid.block_1"));
    if (d->vq->config.mid_attention && !half->local)
        attention(d, &half->mid_attention, channels, CM3_PART(name, side, "mid.attn_1"));
    block(d, &half->mid2, channels, channels, kernel, CM3_PART(name, side, "mid.block_2"));
}

static void level(cm3_vq_declaration *d, cm3_vq_half *half, const char *side, int32_t index, int64_t in, int64_t out,
                  int32_t blocks) {
    const cm3_vq_config *c = &d->vq->config;
    cm3_vq_level *l = &half->levels[index];
    bool attending = !half->local && attends(c, c->resolution / c->patch_size >> index);
    char name[64];
    l->block_count = blocks;
    for (int32_t i = 0; i < blocks; i++) {
        snprintf(name, sizeof name, "%s.%d.block.%d", side, index, i);
        block(d, &l->blocks[i], i ? out : in, out, kernel_of(half), name);
        if (!attending) continue;
        snprintf(name, sizeof name, "%s.%d.attn.%d", side, index, i);
        attention(d, &l->attention[i], out, name);
    }
}

static void declare_encoder(cm3_vq_declaration *d, cm3_vq_half *half) {
    const cm3_vq_config *c = &d->vq->config;
    int64_t in = c->base_channels;
    char name[64];
    half->local = c->local_encoder;
    half->conv_in = conv(d, (int64_t)c->in_channels * c->patch_size * c->patch_size, in, 3, "encoder.conv_in");
    for (int32_t i = 0; i < c->levels; i++) {
        int64_t out = (int64_t)c->base_channels * c->channel_multiplier[i];
        level(d, half, "encoder.down", i, in, out, c->num_res_blocks);
        in = out;
        if (i == c->levels - 1) continue;
        snprintf(name, sizeof name, "encoder.down.%d.downsample.conv", i);
        half->levels[i].resample = conv(d, in, in, 3, name);
    }
    middle(d, half, in, "encoder");
    half->norm_out = norm(d, in, "encoder.norm_out");
    half->conv_out = conv(d, in, c->latent_channels, kernel_of(half), "encoder.conv_out");
}

static void declare_decoder(cm3_vq_declaration *d, cm3_vq_half *half) {
    const cm3_vq_config *c = &d->vq->config;
    int64_t in = (int64_t)c->base_channels * c->channel_multiplier[c->levels - 1];
    char name[64];
    half->conv_in = conv(d, c->latent_channels, in, 3, "decoder.conv_in");
    middle(d, half, in, "decoder");
    for (int32_t i = c->levels - 1; i >= 0; i--) {
        int64_t out = (int64_t)c->base_channels * c->channel_multiplier[i];
        level(d, half, "decoder.up", i, in, out, c->num_res_blocks + 1);
        in = out;
        if (i == 0) continue;
        snprintf(name, sizeof name, "decoder.up.%d.upsample.conv", i);
        half->levels[i].resample = conv(d, in, in, 3, name);
    }
    half->norm_out = norm(d, in, "decoder.norm_out");
    half->conv_out = conv(d, in, (int64_t)c->out_channels * c->patch_size * c->patch_size, 3, "decoder.conv_out");
}

static void declare_all(cm3_vq_declaration *d) {
    const cm3_vq_config *c = &d->vq->config;
    cm3_vq_layers *layers = d->vq->layers;
    declare_encoder(d, &layers->encoder);
    layers->quant_conv = conv(d, c->latent_channels, c->embed_dim, 1, "quant_conv");
    layers->codebook =
        declare(d, "quantize.embedding", "weight", 2, (const int64_t[]){c->num_embeddings, c->embed_dim});
    layers->post_quant_conv = conv(d, c->embed_dim, c->latent_channels, 1, "post_quant_conv");
    declare_decoder(d, &layers->decoder);
    /* Last, for what is drawn at random for a parameter depends on its number. */
    layers->cost = declare(d, "quantize", "cost", 1, (const int64_t[]){c->num_embeddings});
}

static bool of_decoder(const char *name) {
    return strncmp(name, "decoder.", 8) == 0 || strncmp(name, "post_quant_conv.", 16) == 0;
}

static bool is_cost(const char *name) {
    return strcmp(name, CM3_VQ_COST) == 0;
}

void cm3_vq_destroy(cm3_vq *vq) {
    if (!vq) return;
    cm3_context *context = vq->context;
    for (size_t i = 0; i < vq->parameter_count; i++) cm3_free(context, vq->parameters[i].name);
    cm3_free(context, vq->parameters);
    cm3_free(context, vq->layers);
    cm3_free(context, vq->storage);
    cm3_free(context, vq->codebook_norms);
    cm3_free(context, vq);
    cm3_context_release(context);
}

void cm3_vq_forget_storage(cm3_vq *vq) {
    cm3_free(vq->context, vq->storage);
    vq->storage = NULL;
}

/** All parameters named and shaped, without data. */
static cm3_status create(cm3_context *context, const cm3_vq_config *config, cm3_vq **out) {
    *out = NULL;
    CM3_TRY(cm3_vq_config_check(context, config));
    cm3_vq *vq = cm3_calloc(context, 1, sizeof *vq);
    if (!vq) return cm3_fail_memory(context, sizeof *vq, "image tokenizer");
    vq->context = context;
    vq->config = *config;
    vq->has_decoder = true;
    cm3_context_retain(context);
    vq->layers = cm3_calloc(context, 1, sizeof *vq->layers);
    cm3_vq_declaration d = {.vq = vq};
    if (vq->layers) {
        declare_all(&d);
        vq->parameters = cm3_calloc(context, d.count, sizeof *vq->parameters);
    }
    if (vq->parameters) {
        vq->parameter_count = d.count;
        d.count = 0;
        d.place = true;
        declare_all(&d);
    }
    if (!vq->parameters || d.failed) {
        cm3_vq_destroy(vq);
        return cm3_fail_memory(context, 0, "image tokenizer");
    }
    *out = vq;
    return CM3_OK;
}

/** f32 memory for each tensor without data that is present. */
static cm3_status allocate(cm3_vq *vq) {
    size_t bytes = 0;
    for (int round = 0; round < 2; round++) {
        char *place = vq->storage;
        for (size_t i = 0; i < vq->parameter_count; i++) {
            cm3_vq_parameter *p = &vq->parameters[i];
            size_t size = ((size_t)p->tensor.count * sizeof(float) + 63) / 64 * 64;
            if (p->tensor.data || !p->present) continue;
            if (round == 0) {
                if (!cm3_add_size(bytes, size, &bytes))
                    return cm3_fail_memory(vq->context, SIZE_MAX, "image tokenizer");
                continue;
            }
            p->tensor.data = place;
            place += size;
        }
        if (round == 0) {
            vq->storage = cm3_alloc(vq->context, bytes);
            if (!vq->storage) return cm3_fail_memory(vq->context, bytes, "image tokenizer");
        }
    }
    return CM3_OK;
}

cm3_tensor *cm3_vq_find(const cm3_vq *vq, const char *name) {
    for (size_t i = 0; i < vq->parameter_count; i++) {
        if (vq->parameters[i].present && strcmp(vq->parameters[i].name, name) == 0) return &vq->parameters[i].tensor;
    }
    return NULL;
}

/* --- fresh ---------------------------------------------------------------------------------------------------------
 */

/** Values of one parameter. A bias is bounded by its convolution's fan-in: the parameter before it. */
static void draw(cm3_vq *vq, size_t index, uint64_t seed) {
    const cm3_vq_parameter *p = &vq->parameters[index];
    cm3_random random = cm3_random_make(seed, index);
    float *values = p->tensor.data;
    double bound = 0, constant = 0;
    if (p->tensor.rank == 4) {
        bound = 1 / sqrt((double)(p->tensor.count / p->tensor.shape[0]));
    } else if (p->tensor.rank == 2) {
        bound = 1.0 / vq->config.num_embeddings;
    } else if (index && vq->parameters[index - 1].tensor.rank == 4) {
        const cm3_tensor *weight = &vq->parameters[index - 1].tensor;
        bound = 1 / sqrt((double)(weight->count / weight->shape[0]));
    } else {
        size_t length = strlen(p->name);
        constant = length > 7 && strcmp(p->name + length - 7, ".weight") == 0;
    }
    for (int64_t i = 0; i < p->tensor.count; i++) {
        values[i] = (float)(constant + bound * (2 * cm3_random_uniform(&random) - 1));
    }
}

cm3_status cm3_vq_create_random(cm3_context *context, const cm3_vq_config *config, uint64_t seed, cm3_vq **out) {
    cm3_vq *vq;
    *out = NULL;
    CM3_TRY(create(context, config, &vq));
    vq->parameters[vq->parameter_count - 1].present = false; /* costs are of codes that were counted */
    cm3_status status = allocate(vq);
    if (status != CM3_OK) {
        cm3_vq_destroy(vq);
        return status;
    }
    for (size_t i = 0; i < vq->parameter_count; i++) {
        if (vq->parameters[i].present) draw(vq, i, seed);
    }
    *out = vq;
    return CM3_OK;
}

/* --- from a file ---------------------------------------------------------------------------------------------------
 */

static cm3_status attach(cm3_vq *vq, const cm3_weights *weights, const char *prefix, bool copy, bool check_weights,
                         const cm3_weight **found) {
    char name[224];
    snprintf(name, sizeof name, "%sdecoder.conv_in.weight", prefix);
    vq->has_decoder = cm3_weights_find(weights, name) != NULL;
    for (size_t i = 0; i < vq->parameter_count; i++) {
        cm3_vq_parameter *p = &vq->parameters[i];
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        found[i] = cm3_weights_find(weights, name);
        if (!found[i] && (is_cost(p->name) || (!vq->has_decoder && of_decoder(p->name)))) {
            p->present = false;
            continue;
        }
        CM3_TRY(cm3_weights_check(weights, name, found[i], p->tensor.rank, p->tensor.shape, check_weights));
        if (copy || p->tensor.rank != 4 || found[i]->entry.dtype == CM3_F16) continue;
        p->tensor.dtype = found[i]->entry.dtype;
        p->tensor.data = (void *)(uintptr_t)found[i]->entry.data;
    }
    return CM3_OK;
}

static cm3_status norms_of_codebook(cm3_vq *vq) {
    const cm3_tensor *codebook = vq->layers->codebook;
    int64_t n = codebook->shape[0], d = codebook->shape[1];
    const float *cost = vq->layers->cost->data ? cm3_f32(vq->layers->cost) : NULL;
    vq->codebook_norms = cm3_calloc(vq->context, (size_t)n * (cost ? 2 : 1), sizeof(float));
    if (!vq->codebook_norms) return cm3_fail_memory(vq->context, (size_t)n * sizeof(float), "image tokenizer");
    if (cost) vq->cost_norms = vq->codebook_norms + n;
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int64_t k = 0; k < d; k++) sum += cm3_f32(codebook)[i * d + k] * cm3_f32(codebook)[i * d + k];
        vq->codebook_norms[i] = sum;
        if (cost) vq->cost_norms[i] = sum + cost[i];
    }
    return CM3_OK;
}

cm3_status cm3_vq_load(cm3_context *context, const cm3_vq_config *config, const cm3_weights *weights,
                       const char *prefix, bool copy, bool check_weights, cm3_vq **out) {
    cm3_vq *vq;
    *out = NULL;
    CM3_TRY(create(context, config, &vq));
    const cm3_weight **found = cm3_calloc(context, vq->parameter_count, sizeof *found);
    cm3_status status = found ? attach(vq, weights, prefix, copy, check_weights, found)
                              : cm3_fail_memory(context, 0, "image tokenizer");
    if (status == CM3_OK) status = allocate(vq);
    for (size_t i = 0; i < vq->parameter_count && status == CM3_OK; i++) {
        cm3_tensor *tensor = &vq->parameters[i].tensor;
        if (!found[i] || tensor->data == found[i]->entry.data) continue;
        cm3_convert(tensor->data, CM3_F32, found[i]->entry.data, found[i]->entry.dtype, (size_t)tensor->count);
    }
    cm3_free(context, found);
    if (status == CM3_OK && !copy) status = norms_of_codebook(vq);
    if (status != CM3_OK) {
        cm3_vq_destroy(vq);
        return status;
    }
    *out = vq;
    return CM3_OK;
}
