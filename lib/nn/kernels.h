/*
 * The kernel table: the inner loops of all operations, in portable C (ref/) and per instruction set (x86/, arm/), which
 * only override slots. Kernels work on ranges handed to them; threads are their callers' business. All floats are f32.
 */
#ifndef CM3_NN_KERNELS_H
#define CM3_NN_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/dtype.h"
#include "nn/quantised.h"

typedef enum cm3_activation {
    CM3_ACT_SWISH = 1, /**< x sigmoid(x) */
    CM3_ACT_GELU = 2,  /**< x Phi(x), by erf */
    CM3_ACT_RELU = 3,
    CM3_ACT_QUICK_GELU = 4, /**< x sigmoid(1.702 x) */
    CM3_ACT_LEAKY_RELU = 5  /**< slope 0.2 below zero */
} cm3_activation;

/** AdamW's numbers for one step (Loshchilov and Hutter 2019): decay is decoupled. */
typedef struct cm3_adamw {
    float lr, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2; /**< 1 - beta^t */
    float grad_scale;               /**< gradients are multiplied by it first (clipping) */
} cm3_adamw;

/** Attention of query rows over keys and values (softmax(q k^T scale) v), for one kv head. */
typedef struct cm3_attention_args {
    int64_t rows, head_dim;
    float scale;
    /* queries and outputs: row i at q + i * q_stride */
    const float *q;
    int64_t q_stride;
    float *out;
    int64_t out_stride;
    /* keys and values: row j at k + j * kv_stride (elements); f32, bf16, or I8 with a scale for each row */
    const void *k, *v;
    int64_t kv_stride;
    cm3_dtype kv_dtype;
    const float *k_scales, *v_scales; /**< I8: row j is k_scales[j] times its integers */
    /** Row i attends keys first[i]..last[i], both inside. */
    const int32_t *first, *last;
    /** Where not NULL: the log of the sum of exponentials of row i, for the backward pass. */
    float *lse;
} cm3_attention_args;

/** The backward of the same, f32 only. Gradients of q are written, those of k and v added to. */
typedef struct cm3_attention_grads {
    const float *out, *dout; /**< out_stride */
    float *dq;               /**< q_stride */
    float *dk, *dv;          /**< kv_stride */
} cm3_attention_grads;

/**
 * A block of pixels of one NHWC map, for group norm; scale, shift, centre, slope and offset are one number a channel.
 * Maps are f32 or bf16.
 */
typedef struct cm3_map_args {
    int64_t pixels, channels;
    bool swish;
    cm3_dtype x_dtype, dy_dtype, out_dtype;
    const void *x, *dy;
    const float *scale, *shift, *centre, *slope, *offset;
    const float *add; /**< backward: NULL, or a map to be added to dx */
    bool accumulate;  /**< backward: dx is added to */
    void *out;        /**< y or dx */
    float *sums;      /**< [2, channels], overwritten */
} cm3_map_args;

/** y[r][n] (+)= sum_k x[r][k] w[n][k] (+ bias[n]) with a matrix of integers; x has its blocks, and is split for CM3_U4.
 */
typedef struct cm3_many_rows {
    float *y;
    int64_t ldy, rows;
    const cm3_quantised_rows *x;
    const cm3_quantised *w;
    const float *bias; /**< or NULL */
    bool accumulate;
} cm3_many_rows;

/** Columns that many_rows_quantised takes together: calls begin at multiples of it. */
#define CM3_MANY_COLUMNS 32

/** Bytes of scratch that many_rows_quantised wants for such a matrix. */
static inline int64_t cm3_many_rows_scratch(const cm3_quantised *w) {
    return CM3_MANY_COLUMNS * (w->k + w->k / w->block * 2 * (int64_t)sizeof(float));
}

/* Fixed point: how rows lie is each level's own business; there is room for k brought up to a multiple of 16, and for
 * as many rows as go together. */
#define CM3_FIXED_ROWS 8
/** Rows of a matrix that fixed_products packs at a time. */
#define CM3_FIXED_BLOCK 16

static inline int64_t cm3_fixed_width(int64_t k) {
    return (k + 15) / 16 * 16;
}

/** Numbers of so many rows of k in fixed point. */
static inline int64_t cm3_fixed_size(int64_t rows, int64_t k) {
    return (rows + CM3_FIXED_ROWS - 1) / CM3_FIXED_ROWS * CM3_FIXED_ROWS * cm3_fixed_width(k);
}

/* Tiles: rows by sixteens, of which as many go together, and the columns in pairs; both are brought up to whole ones.
 */
#define CM3_TILE_ROWS 16
#define CM3_TILE_DEPTH 32

/** Numbers of so many rows of k in tiles. */
static inline int64_t cm3_tiled_size(int64_t rows, int64_t k) {
    return (rows + CM3_TILE_ROWS - 1) / CM3_TILE_ROWS * CM3_TILE_ROWS *
           ((k + CM3_TILE_DEPTH - 1) / CM3_TILE_DEPTH * CM3_TILE_DEPTH);
}

typedef struct cm3_kernels {
    const char *name;

    void (*f32_to_bf16)(uint16_t *to, const float *from, int64_t count);
    void (*bf16_to_f32)(float *to, const uint16_t *from, int64_t count);

    /**
     * A few rows times a matrix: y[r][n] = sum_k x[r][k] w[n][k] (+ bias[n]) for columns n_begin <= n < n_end; 1 <=
     * rows <= 8; x has `k` columns and stride k, y has stride ldy, w is [.., k] row-major. f32; bf16 times bf16; f32
     * times bf16.
     */
    void (*few_rows_f32)(float *y, int64_t ldy, const float *x, int rows, const float *w, int64_t k, int64_t n_begin,
                         int64_t n_end, const float *bias);
    void (*few_rows_bf16)(float *y, int64_t ldy, const uint16_t *x, int rows, const uint16_t *w, int64_t k,
                          int64_t n_begin, int64_t n_end, const float *bias);
    void (*few_rows_mixed)(float *y, int64_t ldy, const float *x, int rows, const uint16_t *w, int64_t k,
                           int64_t n_begin, int64_t n_end, const float *bias);

    /**
     * Products of vectors of length 1, or nearly, in fixed point: numbers are integers of 16 bits, 2^15 times as large,
     * and sums, which cannot be above 2^30 then, exact; longer vectors give anything. NULL at levels whose products of
     * bf16 are faster. `to` and `scratch`: addresses that 32 divides; scratch is cm3_fixed_size(CM3_FIXED_BLOCK, k).
     */
    void (*fix_rows)(int16_t *to, const float *from, int64_t rows, int64_t k);
    /** y[r][j] = sum_k x[r][k] w[j][k], j < n, x from fix_rows. */
    void (*fixed_products)(float *y, int64_t ldy, const int16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                           int64_t n, int16_t *scratch);

    /**
     * Products of many vectors in bf16, by tiles. NULL at levels where others are faster. `to` and `scratch`: addresses
     * that 64 divides; scratch is cm3_tiled_size(CM3_TILE_ROWS, k).
     */
    void (*pack_tiles)(uint16_t *to, const float *from, int64_t rows, int64_t k);
    /** y[r][j] = sum_k x[r][k] w[j][k], j < n, x from pack_tiles. */
    void (*tile_products)(float *y, int64_t ldy, const uint16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                          int64_t n, uint16_t *scratch);

    /** n numbers as integers -127..127 and their scale; NaN where one of them is not finite. */
    void (*quantise_vector)(int8_t *to, float *scale, const float *from, int64_t n);
    /** Weights, finite, as blocks of integers (see cm3_quantised) behind each other: q8 the nearest, q4 on the line
     * that fits best. */
    void (*quantise_q8)(int8_t *values, uint16_t *scales, const float *w, int64_t blocks, int64_t block);
    void (*quantise_q4)(uint8_t *values, uint16_t *scales, uint16_t *mins, const float *w, int64_t blocks,
                        int64_t block);
    /** Blocks begin..end - 1 of rows of x, k columns each behind each other, counted through all rows. */
    void (*quantise_rows)(const cm3_quantised_rows *to, const float *x, int64_t begin, int64_t end);
    /**
     * The same product with a matrix of integers: rows row..row + rows - 1 of x, which has the matrix' blocks (and is
     * split for CM3_U4); 1 <= rows <= 8.
     */
    void (*few_rows_quantised)(float *y, int64_t ldy, const cm3_quantised_rows *x, int64_t row, int rows,
                               const cm3_quantised *w, int64_t n_begin, int64_t n_end, const float *bias);
    /**
     * y[i] = sum_j x[j] w[rows[i]][j] for i < count: one vector with rows from here and there of a matrix [.., k], k <=
     * 65536, of integers -127..127.
     */
    void (*gathered_i8)(int32_t *y, const int8_t *x, const int8_t *w, int64_t k, const uint32_t *rows, int64_t count);
    /** few_rows_quantised for all rows of x. NULL at levels that have nothing better than dequantise_*() and a product.
     */
    void (*many_rows_quantised)(const cm3_many_rows *args, int64_t n_begin, int64_t n_end, void *scratch);
    /** Rows n_begin..n_end - 1 of the matrix as f32 or bf16, behind each other. */
    void (*dequantise_f32)(float *to, const cm3_quantised *w, int64_t n_begin, int64_t n_end);
    void (*dequantise_bf16)(uint16_t *to, const cm3_quantised *w, int64_t n_begin, int64_t n_end);

    /** c[m][n] (+)= sum_k a[m][k] b[k][n] with any strides of a and b (elements; row, column); c row-major with stride
     * ldc. */
    void (*gemm_f32)(float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_column, const float *b,
                     int64_t b_row, int64_t b_column, int64_t m, int64_t n, int64_t k, bool accumulate);

    /* Norms over the last dimension of `rows` rows of n. gamma, beta: NULL, or [period, n]: row r uses row (r %
     * period). */
    void (*rms_norm)(float *y, float *rstd, const float *x, const float *gamma, int64_t rows, int64_t n, float epsilon);
    /** dx is overwritten or added to; dgamma (NULL or [n]) is added to. */
    void (*rms_norm_backward)(float *dx, bool accumulate, float *dgamma, const float *dy, const float *x,
                              const float *rstd, const float *gamma, int64_t rows, int64_t n);
    /** `row0`: number of the first row, for the period. mean and rstd are [rows]. */
    void (*layer_norm)(float *y, float *mean, float *rstd, const float *x, const float *gamma, const float *beta,
                       int64_t period, int64_t row0, int64_t rows, int64_t n, float epsilon);
    void (*layer_norm_backward)(float *dx, bool accumulate, float *dgamma, float *dbeta, const float *dy,
                                const float *x, const float *mean, const float *rstd, const float *gamma,
                                int64_t period, int64_t row0, int64_t rows, int64_t n);

    /** Softmax of each row, y may be x. -INFINITY gives 0. Backward: dx (+)= y (dy - sum(dy y)). */
    void (*softmax)(float *y, const float *x, int64_t rows, int64_t n);
    void (*softmax_backward)(float *dx, bool accumulate, const float *dy, const float *y, int64_t rows, int64_t n);

    void (*activation)(float *y, const float *x, int64_t count, cm3_activation kind);
    void (*activation_backward)(float *dx, bool accumulate, const float *dy, const float *x, int64_t count,
                                cm3_activation kind);
    /** y = swish(gate) * up. */
    void (*swiglu)(float *y, const float *gate, const float *up, int64_t count);
    void (*swiglu_backward)(float *dgate, bool accumulate_gate, float *dup, bool accumulate_up, const float *dy,
                            const float *gate, const float *up, int64_t count);

    /**
     * Rotary positions, half-split (element i with i + d/2): x is [rows, heads, d]; cos and sin are [rows, d/2].
     * `inverse` turns back (the gradient). In place, or y != x.
     */
    void (*rope)(float *y, const float *x, const float *cos, const float *sin, int64_t rows, int64_t heads, int64_t d,
                 bool inverse);

    /**
     * -log softmax(logits)[target] of each row into loss[row] and, where lse is not NULL, log-sum-exp of the row.
     * Targets below 0 give 0. Backward: dlogits = scale[row] (softmax - onehot), overwriting or adding.
     */
    void (*cross_entropy)(float *loss, float *lse, const float *logits, const int32_t *targets, int64_t rows,
                          int64_t n);
    void (*cross_entropy_backward)(float *dlogits, bool accumulate, const float *logits, const float *lse,
                                   const int32_t *targets, const float *scale, int64_t rows, int64_t n);

    void (*add)(float *y, const float *a, const float *b, int64_t count); /**< y may be a or b */
    void (*axpy)(float *y, float alpha, const float *x, int64_t count);   /**< y += alpha x */
    void (*scale)(float *y, float alpha, const float *x, int64_t count);  /**< y = alpha x */
    double (*sum_squares)(const float *x, int64_t count);

    /** One AdamW step; `shadow` (NULL or bf16 [count]) gets the new values rounded. */
    void (*adamw)(float *master, uint16_t *shadow, float *m, float *v, const float *grad, int64_t count,
                  const cm3_adamw *step);

    /** Forward for many rows (prefill, training) and for one row over a long cache (decode). scratch: scratch_size
     * bytes. */
    void (*attention)(const cm3_attention_args *args, void *scratch);
    void (*attention_backward)(const cm3_attention_args *args, const cm3_attention_grads *grads, void *scratch);
    /** Bytes of scratch both need for such args. */
    int64_t (*attention_scratch)(int64_t rows, int64_t keys, int64_t head_dim);

    /** The sums of x - centre and of its square, over the pixels. */
    void (*map_sums)(const cm3_map_args *args);
    /** out = x scale + shift, then swish where asked for. */
    void (*map_affine)(const cm3_map_args *args);
    /** With du the gradient before the swish, dy swish'(x scale + shift): the sums of du and of du (x - centre). */
    void (*map_affine_sums)(const cm3_map_args *args);
    /** out (+)= scale du + slope (x - centre) + offset + add. */
    void (*map_affine_backward)(const cm3_map_args *args);
} cm3_kernels;

/** The table for a level: each level's overrides over the portable one. Static. */
const cm3_kernels *cm3_kernels_get(cm3_cpu_level level);

/* Each instruction set's file overrides slots of the table it is handed. */
void cm3_kernels_ref(cm3_kernels *kernels);
void cm3_kernels_avx2(cm3_kernels *kernels);
void cm3_kernels_avx512(cm3_kernels *kernels);
void cm3_kernels_avx512_bf16(cm3_kernels *kernels);
void cm3_kernels_amx(cm3_kernels *kernels);

#endif
