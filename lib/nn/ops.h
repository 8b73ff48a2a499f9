/*
 * Operations on tensors: each computes at once and, when the graph records, leaves its gradient on the tape. All
 * results live in the graph's arena until its reset; all are f32. NULL in gives NULL out (see graph.h). Parameters may
 * be f32 or bf16.
 */
#ifndef CM3_NN_OPS_H
#define CM3_NN_OPS_H

#include "nn/graph.h"

/* --- linear.c, linear_few.c, matmul.c
 * ------------------------------------------------------------------------------------------- */

/** Whether so many rows are multiplied by kernels of our own, where nothing is differentiated. */
bool cm3_nn_are_few(int64_t rows);
/** x [m, k] times w [n, k] transposed, plus bias [n] (may be NULL): [m, n]. */
cm3_tensor *cm3_nn_linear(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias);

/** A matrix [n, k] and its bias [n] (may be NULL). */
typedef struct cm3_linear_weights {
    cm3_tensor *w, *bias;
} cm3_linear_weights;

/** y[i] = cm3_nn_linear() of the same x with each of the weights; NULL in y where it failed. */
void cm3_nn_linear_each(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights, int count, cm3_tensor **y);
/** swish(linear of gate) * linear of up; [m, n]. */
cm3_tensor *cm3_nn_linear_swiglu(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *gate,
                                 const cm3_linear_weights *up);
cm3_tensor *cm3_nn_linear_activation(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights,
                                     cm3_activation kind);
/** residual + linear of x; in the residual's own memory, which is returned, where the graph does not record. */
cm3_tensor *cm3_nn_linear_add(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights, cm3_tensor *residual);

/** f32 values rounded to bf16, in the graph's arena; by the whole team. For operations. */
uint16_t *cm3_nn_round(cm3_graph *graph, const float *values, int64_t count);

/** Batched product of activations: a [b, m, k] (trans_a: [b, k, m]) times b [b, k, n] (trans_b: [b, n, k]): [b, m, n].
 */
cm3_tensor *cm3_nn_matmul(cm3_graph *graph, cm3_tensor *a, bool trans_a, cm3_tensor *b, bool trans_b);

/* --- norm.c ------------------------------------------------------------------------------------------------------- */

/** x / rms(x) * gamma over the last dimension; gamma [n]. */
cm3_tensor *cm3_nn_rms_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, float epsilon);

/**
 * Layer norm over the last dimension. gamma and beta may be NULL (no parameters), [n], or [period, n] where row r uses
 * row r % period (the q/k-norm of Chameleon: one row a head).
 */
cm3_tensor *cm3_nn_layer_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta, float epsilon);

/** Group norm of x [n, h, w, c], then swish where `swish`; gamma, beta [c]; c must be a multiple of groups. */
cm3_tensor *cm3_nn_group_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta, int64_t groups,
                              float epsilon, bool swish);

/* --- pointwise.c -------------------------------------------------------------------------------------------------- */

cm3_tensor *cm3_nn_add(cm3_graph *graph, cm3_tensor *a, cm3_tensor *b);
cm3_tensor *cm3_nn_scale(cm3_graph *graph, cm3_tensor *x, float factor);
cm3_tensor *cm3_nn_activation(cm3_graph *graph, cm3_tensor *x, cm3_activation kind);
/** swish(gate) * up. */
cm3_tensor *cm3_nn_swiglu(cm3_graph *graph, cm3_tensor *gate, cm3_tensor *up);
/** The same in the memory of the first operand, which is returned, where the graph does not record. */
cm3_tensor *cm3_nn_add_to(cm3_graph *graph, cm3_tensor *a, cm3_tensor *b);
cm3_tensor *cm3_nn_activation_to(cm3_graph *graph, cm3_tensor *x, cm3_activation kind);
cm3_tensor *cm3_nn_swiglu_to(cm3_graph *graph, cm3_tensor *gate, cm3_tensor *up);
cm3_tensor *cm3_nn_softmax(cm3_graph *graph, cm3_tensor *x);
/** The same data under another shape. */
cm3_tensor *cm3_nn_reshape(cm3_graph *graph, cm3_tensor *x, int rank, const int64_t *shape);

/* --- embedding.c, rope.c ------------------------------------------------------------------------------------------ */

/** Rows of table [vocab, d]: [count, d]. ids are copied. An id out of range: INVALID_ARGUMENT. */
cm3_tensor *cm3_nn_embedding(cm3_graph *graph, cm3_tensor *table, const int32_t *ids, int64_t count);

/** A row before each `each` rows of x [count * each, d]: [count * (each + 1), d]. row: [d]. */
cm3_tensor *cm3_nn_prepend(cm3_graph *graph, cm3_tensor *row, cm3_tensor *x, int64_t each);

/** Angles of rotary positions: cos and sin [count, d/2], inv_freq = theta^(-2i/d) in f32, as Hugging Face computes
 * them. */
typedef struct cm3_rope_table {
    const float *cos, *sin;
    int64_t rows, head_dim;
} cm3_rope_table;
bool cm3_nn_rope_table(cm3_graph *graph, const int32_t *positions, int64_t count, int64_t head_dim, float theta,
                       cm3_rope_table *table);
/** x [rows, heads * d] turned; half-split. */
cm3_tensor *cm3_nn_rope(cm3_graph *graph, cm3_tensor *x, const cm3_rope_table *table);

/* --- attention.c -------------------------------------------------------------------------------------------------- */

/** Keys and values of one sequence, all layers: layer l, head h, position p at k[l] + (h * capacity + p) * head_dim. */
typedef struct cm3_kv_cache {
    cm3_dtype dtype; /**< F32, BF16, or I8 with a scale for each key and value of a head */
    int32_t layers, kv_heads, head_dim;
    int64_t capacity, length;     /**< positions that are filled; the caller of the forward moves `length` on */
    void **k, **v;                /**< [layers] */
    float **k_scales, **v_scales; /**< I8: [layers], each [kv_heads, capacity] */
    /** NULL, or a cache without a prefix of its own whose positions come before these; many may share it. Not owned. */
    const struct cm3_kv_cache *prefix;
} cm3_kv_cache;

/** Positions that the cache and its prefix hold. */
static inline int64_t cm3_kv_positions(const cm3_kv_cache *cache) {
    return cache->length + (cache->prefix ? cache->prefix->length : 0);
}

/** Consecutive rows of a batch that go on with one sequence. */
typedef struct cm3_sequence {
    cm3_kv_cache *cache;
    int64_t first_row, rows;
} cm3_sequence;

/** What the rows of an attention may see. */
typedef struct cm3_attention_plan {
    /** Without a cache (training, plain forward): row i attends rows first[i]..i of the same call; [rows]. With `last`
     * it attends first[i]..last[i], which need not end at itself: encoders that see both ways. */
    const int32_t *first, *last;
    /** With caches: row i of a sequence attends its cached positions and the rows of its own up to itself. Sequences
     * that share a prefix read it together where they follow each other. */
    const cm3_sequence *sequences;
    int64_t sequence_count;
} cm3_attention_plan;

/**
 * Causal attention: q [rows, heads * d], k and v [rows, kv_heads * d]; head h uses kv head h / (heads / kv_heads);
 * scale d^-1/2. With caches (layer `layer`), k and v are appended first. The gradient exists without caches only.
 */
cm3_tensor *cm3_nn_attention(cm3_graph *graph, cm3_tensor *q, cm3_tensor *k, cm3_tensor *v, int64_t heads,
                             int64_t kv_heads, const cm3_attention_plan *plan, int32_t layer);

/* --- conv.c, res_block.c, feature_map.c
 * ------------------------------------------------------------------------------- */

typedef struct cm3_conv_options {
    int64_t stride, pad_top, pad_left, pad_bottom, pad_right;
} cm3_conv_options;

/** x [n, h, w, cin], weights OIHW [cout, cin, kh, kw], bias [cout] (may be NULL): [n, h', w', cout]. Weights f32 or
 * bf16. */
cm3_tensor *cm3_nn_conv2d(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias,
                          const cm3_conv_options *options);
/** The same over x with each pixel made 2 x 2 first; keeps no large map in f32. */
cm3_tensor *cm3_nn_upsample_conv2d(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias,
                                   const cm3_conv_options *options);

/** Group norm, swish and a convolution behind them. */
typedef struct cm3_norm_conv {
    cm3_tensor *gamma, *beta, *weight, *bias;
    int64_t groups;
    float epsilon;
} cm3_norm_conv;
/** As cm3_nn_group_norm() with swish and cm3_nn_conv2d(), in fewer passes; with bf16 the map between them is bf16. */
cm3_tensor *cm3_nn_norm_conv2d(cm3_graph *graph, cm3_tensor *x, const cm3_norm_conv *parameters,
                               const cm3_conv_options *options);

/** A residual block of two, 3 x 3 each with padding 1; shortcut: a 1 x 1 convolution, or NULL where channels stay. */
typedef struct cm3_res_block {
    cm3_norm_conv first, second;
    cm3_tensor *shortcut, *shortcut_bias;
} cm3_res_block;
/** x (or its shortcut) + second(first(x)). */
cm3_tensor *cm3_nn_res_block(cm3_graph *graph, cm3_tensor *x, const cm3_res_block *block);

/** The same; in x's own memory, which is returned, where the graph does not record and there is no shortcut. */
cm3_tensor *cm3_nn_res_block_to(cm3_graph *graph, cm3_tensor *x, const cm3_res_block *block);

/** Each pixel becomes 2 x 2. */
cm3_tensor *cm3_nn_upsample(cm3_graph *graph, cm3_tensor *x);
/** The mean of each 2 x 2; h and w must be even. */
cm3_tensor *cm3_nn_downsample(cm3_graph *graph, cm3_tensor *x);

/** Squares of block x block pixels become channels: [n, h, w, c] to [n, h/b, w/b, b*b*c], and back. block 1: x itself.
 */
cm3_tensor *cm3_nn_space_to_depth(cm3_graph *graph, cm3_tensor *x, int64_t block);
cm3_tensor *cm3_nn_depth_to_space(cm3_graph *graph, cm3_tensor *x, int64_t block);

/* --- loss.c ------------------------------------------------------------------------------------------------------- */

/**
 * Weighted mean of -log softmax(logits [rows, vocab])[target]: sum_i w_i ce_i / sum_i w_i; [1]. targets below 0 count
 * nothing; weights may be NULL (all 1). losses (may be NULL, [rows]) gets each row's unweighted loss.
 */
cm3_tensor *cm3_nn_cross_entropy(cm3_graph *graph, cm3_tensor *logits, const int32_t *targets, const float *weights,
                                 float *losses);
/** Mean of |x - target| and of (x - target)^2 over all elements; target is data without gradient, [count]. */
cm3_tensor *cm3_nn_mean_absolute_error(cm3_graph *graph, cm3_tensor *x, const float *target);
cm3_tensor *cm3_nn_mean_squared_error(cm3_graph *graph, cm3_tensor *x, const float *target);
/** The mean of all elements; of max(0, 1 + sign * x) (hinge). */
cm3_tensor *cm3_nn_mean(cm3_graph *graph, cm3_tensor *x);
cm3_tensor *cm3_nn_mean_hinge(cm3_graph *graph, cm3_tensor *x, float sign);
/** Values of `value` [count], gradient passed straight to x (van den Oord et al. 2017). */
cm3_tensor *cm3_nn_straight_through(cm3_graph *graph, cm3_tensor *x, const float *value);

#endif
