/* Attention of one head, portable: a row at a time, its scores in the scratch. */
#include <math.h>
#include <string.h>

#include "nn/ref/exponential.h"
#include "nn/ref/ref.h"

#include "nn/ref/simd.h"

static inline float dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static inline void add_scaled(float *y, float factor, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += factor * x[i];
}

/** Row j of keys or values as f32; `wide` [head_dim] takes it where it is not f32 already. */
static inline const float *kv_row(const cm3_attention_args *args, const void *rows, const float *scales, int64_t j,
                                  float *wide) {
    if (args->kv_dtype == CM3_I8) {
        const int8_t *integers = (const int8_t *)rows + j * args->kv_stride;
#pragma omp simd
        for (int64_t i = 0; i < args->head_dim; i++) wide[i] = scales[j] * (float)integers[i];
        return wide;
    }
    if (args->kv_dtype == CM3_F32) return (const float *)rows + j * args->kv_stride;
    const uint16_t *row = (const uint16_t *)rows + j * args->kv_stride;
#pragma omp simd
    for (int64_t i = 0; i < args->head_dim; i++) wide[i] = cm3_bf16_to_f32(row[i]);
    return wide;
}

/** Any head_dim, any limits. */
static int64_t attention_scratch(int64_t rows, int64_t keys, int64_t head_dim) {
    (void)rows;
    return (keys + head_dim) * (int64_t)sizeof(float);
}

/** Scores of the row become exponentials below their maximum, which is returned. */
static float exponentials(float *scores, int64_t n, float *sum_out) {
    float highest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < n; j++) highest = scores[j] > highest ? scores[j] : highest;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        scores[j] = cm3_exp(scores[j] - highest);
        sum += scores[j];
    }
    *sum_out = sum;
    return highest;
}

static void attention(const cm3_attention_args *args, void *scratch) {
    int64_t d = args->head_dim;
    float *wide = scratch, *scores = wide + d;
    for (int64_t i = 0; i < args->rows; i++) {
        const float *q = args->q + i * args->q_stride;
        float *out = args->out + i * args->out_stride;
        int64_t first = args->first[i], n = args->last[i] - first + 1;
        memset(out, 0, (size_t)d * sizeof *out);
        if (n <= 0) { /* nothing to see */
            if (args->lse) args->lse[i] = -INFINITY;
            continue;
        }
        for (int64_t j = 0; j < n; j++)
            scores[j] = dot(q, kv_row(args, args->k, args->k_scales, first + j, wide), d) * args->scale;
        float sum, highest = exponentials(scores, n, &sum);
        if (args->lse) args->lse[i] = highest + logf(sum);
        for (int64_t j = 0; j < n; j++)
            add_scaled(out, scores[j] / sum, kv_row(args, args->v, args->v_scales, first + j, wide), d);
    }
}

static void attention_backward(const cm3_attention_args *args, const cm3_attention_grads *grads, void *scratch) {
    (void)scratch;
    int64_t d = args->head_dim, stride = args->kv_stride;
    const float *keys = args->k, *values = args->v;
    for (int64_t i = 0; i < args->rows; i++) {
        const float *q = args->q + i * args->q_stride, *dout = grads->dout + i * args->out_stride;
        float *dq = grads->dq + i * args->q_stride;
        float delta = dot(grads->out + i * args->out_stride, dout, d);
        memset(dq, 0, (size_t)d * sizeof *dq);
        for (int64_t j = args->first[i]; j <= args->last[i]; j++) {
            const float *k = keys + j * stride, *v = values + j * stride;
            float p = cm3_exp(dot(q, k, d) * args->scale - args->lse[i]);
            float ds = p * (dot(dout, v, d) - delta) * args->scale;
            add_scaled(grads->dv + j * stride, p, dout, d);
            add_scaled(dq, ds, k, d);
            add_scaled(grads->dk + j * stride, ds, q, d);
        }
    }
}

void cm3_ref_attention(cm3_kernels *kernels) {
    kernels->attention = attention;
    kernels->attention_backward = attention_backward;
    kernels->attention_scratch = attention_scratch;
}
