/* The image tokenizer's forward pass (formats: Chameleon's and taming's order of operations). */
#include "image/vq.h"

#include <math.h>

#include "base/status.h"
#include "files/hash.h"
#include "image/vq_layers.h"

#define CM3_VQ_EPSILON 1e-6f

int32_t cm3_vq_cell(const cm3_vq *vq) {
    return vq->config.patch_size << (vq->config.levels - 1);
}

int32_t cm3_vq_grid(const cm3_vq *vq) {
    return vq->config.resolution / cm3_vq_cell(vq);
}

int32_t cm3_vq_tokens(const cm3_vq *vq) {
    return cm3_vq_grid(vq) * cm3_vq_grid(vq);
}

uint64_t cm3_vq_fingerprint(const cm3_vq *vq) {
    const cm3_tensor *codebook = vq->layers->codebook;
    return cm3_hash(cm3_f32(codebook), (size_t)codebook->count * sizeof(float));
}

static const cm3_conv_options same = {.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

static cm3_tensor *conv3(cm3_graph *graph, cm3_tensor *x, const cm3_vq_pair *conv) {
    return cm3_nn_conv2d(graph, x, conv->weight, conv->bias, &same);
}

static cm3_tensor *conv1(cm3_graph *graph, cm3_tensor *x, const cm3_vq_pair *conv) {
    return cm3_nn_conv2d(graph, x, conv->weight, conv->bias, &(cm3_conv_options){.stride = 1});
}

/** What a norm, swish and convolution behind one another are made of. */
static cm3_norm_conv norm_conv(const cm3_vq *vq, const cm3_vq_pair *norm, const cm3_vq_pair *conv) {
    return (cm3_norm_conv){.gamma = norm->weight,
                           .beta = norm->bias,
                           .weight = conv->weight,
                           .bias = conv->bias,
                           .groups = vq->config.norm_groups,
                           .epsilon = CM3_VQ_EPSILON};
}

/** Norm over the channels of each position, swish, 1 x 1 convolution. */
static cm3_tensor *local_conv(cm3_graph *graph, cm3_tensor *x, const cm3_vq_pair *norm, const cm3_vq_pair *conv) {
    x = cm3_nn_layer_norm(graph, x, norm->weight, norm->bias, CM3_VQ_EPSILON);
    return conv1(graph, cm3_nn_activation_to(graph, x, CM3_ACT_SWISH), conv);
}

static cm3_tensor *local_block(cm3_graph *graph, cm3_tensor *x, const cm3_vq_block *block) {
    const cm3_vq_pair *shortcut = block->shortcut.weight ? &block->shortcut : NULL;
    /* What is left of the block comes first, so that the rest can be forgotten; on a tape it keeps its place. */
    cm3_tensor *sum = shortcut && !graph->record ? conv1(graph, x, shortcut) : x;
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_tensor *y = local_conv(graph, x, &block->norm1, &block->conv1);
    y = local_conv(graph, y, &block->norm2, &block->conv2);
    if (shortcut && graph->record) sum = conv1(graph, x, shortcut);
    sum = cm3_nn_add_to(graph, sum, y);
    cm3_graph_rewind(graph, mark);
    return sum;
}

static cm3_tensor *res_block(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x, const cm3_vq_half *half,
                             const cm3_vq_block *block) {
    if (half->local) return local_block(graph, x, block);
    const cm3_res_block parts = {.first = norm_conv(vq, &block->norm1, &block->conv1),
                                 .second = norm_conv(vq, &block->norm2, &block->conv2),
                                 .shortcut = block->shortcut.weight,
                                 .shortcut_bias = block->shortcut.bias};
    return cm3_nn_res_block_to(graph, x, &parts);
}

/** [n, h, w, c] as [n, h * w, c]. */
static cm3_tensor *as_rows(cm3_graph *graph, cm3_tensor *x) {
    if (!x) return NULL;
    return cm3_nn_reshape(graph, x, 3, (const int64_t[]){x->shape[0], x->shape[1] * x->shape[2], x->shape[3]});
}

/** One head over all pixels; softmax over keys of q k^T c^-1/2. */
static cm3_tensor *attention(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x, const cm3_vq_attention *a) {
    if (!x || !a->norm.weight) return x;
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_tensor *h =
        cm3_nn_group_norm(graph, x, a->norm.weight, a->norm.bias, vq->config.norm_groups, CM3_VQ_EPSILON, false);
    cm3_tensor *q = as_rows(graph, conv1(graph, h, &a->q)), *k = as_rows(graph, conv1(graph, h, &a->k));
    cm3_tensor *v = as_rows(graph, conv1(graph, h, &a->v));
    cm3_tensor *scores = cm3_nn_scale(graph, cm3_nn_matmul(graph, q, false, k, true), 1.0f / sqrtf((float)x->shape[3]));
    cm3_tensor *mixed = cm3_nn_matmul(graph, cm3_nn_softmax(graph, scores), false, v, false);
    if (!mixed) return NULL;
    x = cm3_nn_add_to(graph, x, conv1(graph, cm3_nn_reshape(graph, mixed, 4, x->shape), &a->out));
    cm3_graph_rewind(graph, mark);
    return x;
}

static cm3_tensor *level_blocks(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x, const cm3_vq_half *half,
                                int32_t index) {
    const cm3_vq_level *level = &half->levels[index];
    for (int32_t i = 0; i < level->block_count; i++) {
        x = attention(graph, vq, res_block(graph, vq, x, half, &level->blocks[i]), &level->attention[i]);
    }
    return x;
}

static cm3_tensor *middle(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x, const cm3_vq_half *half) {
    x = attention(graph, vq, res_block(graph, vq, x, half, &half->mid1), &half->mid_attention);
    return res_block(graph, vq, x, half, &half->mid2);
}

static cm3_tensor *out(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x, const cm3_vq_half *half) {
    if (half->local) return local_conv(graph, x, &half->norm_out, &half->conv_out);
    const cm3_norm_conv parts = norm_conv(vq, &half->norm_out, &half->conv_out);
    return cm3_nn_norm_conv2d(graph, x, &parts, &same);
}

cm3_tensor *cm3_vq_encode(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x) {
    const cm3_vq_half *encoder = &vq->layers->encoder;
    /* One column right and one row below, then stride 2 without padding. */
    const cm3_conv_options halve = {.stride = 2, .pad_bottom = 1, .pad_right = 1};
    x = conv3(graph, cm3_nn_space_to_depth(graph, x, vq->config.patch_size), &encoder->conv_in);
    for (int32_t i = 0; i < vq->config.levels; i++) {
        const cm3_vq_level *level = &encoder->levels[i];
        x = level_blocks(graph, vq, x, encoder, i);
        if (level->resample.weight) x = cm3_nn_conv2d(graph, x, level->resample.weight, level->resample.bias, &halve);
    }
    x = middle(graph, vq, x, encoder);
    x = out(graph, vq, x, encoder);
    return conv1(graph, x, &vq->layers->quant_conv);
}

cm3_tensor *cm3_vq_decode_features(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *z) {
    const cm3_vq_half *decoder = &vq->layers->decoder;
    if (!vq->has_decoder) {
        return cm3_graph_fail(graph, CM3_ERROR_UNSUPPORTED,
                              "the image tokenizer has no decoder: it reads pictures only");
    }
    cm3_tensor *x = conv3(graph, conv1(graph, z, &vq->layers->post_quant_conv), &decoder->conv_in);
    x = middle(graph, vq, x, decoder);
    for (int32_t i = vq->config.levels - 1; i >= 0; i--) {
        const cm3_vq_level *level = &decoder->levels[i];
        x = level_blocks(graph, vq, x, decoder, i);
        if (!level->resample.weight) continue;
        x = cm3_nn_upsample_conv2d(graph, x, level->resample.weight, level->resample.bias, &same);
    }
    return x;
}

cm3_tensor *cm3_vq_decode_pixels(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *features) {
    return cm3_nn_depth_to_space(graph, out(graph, vq, features, &vq->layers->decoder), vq->config.patch_size);
}

cm3_tensor *cm3_vq_decode(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *z) {
    /* What is decoded ends as eight bits; what is encoded as codes, which an error may turn. */
    graph->winograd = true;
    cm3_tensor *pixels = cm3_vq_decode_pixels(graph, vq, cm3_vq_decode_features(graph, vq, z));
    graph->winograd = false;
    return pixels;
}

/* --- quantisation --------------------------------------------------------------------------------------------------
 */

typedef struct cm3_nearest {
    cm3_graph *graph;
    const float *z, *codebook, *norms;
    float *products; /**< one [CM3_TILE, codes] a member */
    int64_t codes, d;
    int32_t *result;
} cm3_nearest;

#define CM3_TILE 32

static void nearest_rows(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_nearest *n = arg;
    float *products = n->products + member * CM3_TILE * n->codes;
    for (int64_t first = begin; first < end; first += CM3_TILE) {
        int64_t rows = end - first < CM3_TILE ? end - first : CM3_TILE;
        n->graph->kernels->gemm_f32(products, n->codes, n->z + first * n->d, n->d, 1, n->codebook, 1, n->d, rows,
                                    n->codes, n->d, false);
        for (int64_t i = 0; i < rows; i++) {
            const float *z = n->z + (first + i) * n->d, *row = products + i * n->codes;
            float norm = 0, best = INFINITY;
            for (int64_t k = 0; k < n->d; k++) norm += z[k] * z[k];
            int32_t code = 0;
            for (int64_t j = 0; j < n->codes; j++) {
                float distance = norm + n->norms[j] - 2 * row[j];
                if (distance < best) best = distance, code = (int32_t)j;
            }
            n->result[first + i] = code;
        }
    }
}

cm3_status cm3_vq_quantise(cm3_graph *graph, const cm3_vq *vq, const float *z, int64_t count, cm3_vq_choice choice,
                           int32_t *codes, float *rows) {
    const cm3_tensor *codebook = vq->layers->codebook;
    cm3_nearest n = {.graph = graph,
                     .z = z,
                     .codebook = cm3_f32(codebook),
                     .norms = choice == CM3_VQ_USUAL && vq->cost_norms ? vq->cost_norms : vq->codebook_norms,
                     .codes = codebook->shape[0],
                     .d = codebook->shape[1],
                     .result = codes};
    size_t members = (size_t)cm3_team_size(graph->team);
    n.products = cm3_graph_scratch(graph, members * CM3_TILE * (size_t)n.codes * sizeof(float));
    if (!n.products) return graph->status;
    if (!n.norms) { /* in training the codebook changes with each step */
        float *norms = cm3_graph_scratch(graph, (size_t)n.codes * sizeof(float));
        if (!norms) return graph->status;
        for (int64_t j = 0; j < n.codes && !graph->idle; j++)
            norms[j] = (float)graph->kernels->sum_squares(n.codebook + j * n.d, n.d);
        n.norms = norms;
    }
    cm3_graph_for(graph, count, CM3_TILE, nearest_rows, &n);
    for (int64_t i = 0; rows && i < count && !graph->idle; i++) {
        memcpy(rows + i * n.d, n.codebook + codes[i] * n.d, (size_t)n.d * sizeof(float));
    }
    return CM3_OK;
}
