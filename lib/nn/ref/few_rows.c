/*
 * A few rows times a matrix, portable: four weight rows at a time, of which each is read from memory once. bf16 is
 * widened a stretch at a time, the weights once for all rows. A result does not depend on the rows and columns asked
 * for along with it.
 */
#include "nn/ref/ref.h"

#include "nn/ref/simd.h"

#define CM3_FEW_WEIGHTS 4
#define CM3_FEW_ROWS 8
#define CM3_FEW_STRETCH 512

/** Elements at.. of f32 or bf16 data as f32: where they are, or widened into `wide`. */
static inline const float *stretch(const void *data, int64_t at, int64_t count, bool bf16, float *wide) {
    if (!bf16) return (const float *)data + at;
    const uint16_t *from = (const uint16_t *)data + at;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) wide[i] = cm3_bf16_to_f32(from[i]);
    return wide;
}

/** Adds the products of one row with four weight rows. */
static void add_products(float sums[CM3_FEW_WEIGHTS], const float *x, const float *const w[CM3_FEW_WEIGHTS],
                         int64_t count) {
    const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < count; i++) {
        s0 += x[i] * w0[i];
        s1 += x[i] * w1[i];
        s2 += x[i] * w2[i];
        s3 += x[i] * w3[i];
    }
    sums[0] += s0;
    sums[1] += s1;
    sums[2] += s2;
    sums[3] += s3;
}

/** Columns n.., at most four; where there are fewer the last one is computed again and dropped. */
static void few_columns(float *y, int64_t ldy, const void *x, bool x_bf16, int rows, const void *w, bool w_bf16,
                        int64_t k, int64_t n, int64_t columns, const float *bias) {
    float sums[CM3_FEW_ROWS][CM3_FEW_WEIGHTS] = {{0}};
    float wide_x[CM3_FEW_STRETCH], wide_w[CM3_FEW_WEIGHTS][CM3_FEW_STRETCH];
    for (int64_t at = 0; at < k; at += CM3_FEW_STRETCH) {
        int64_t count = k - at < CM3_FEW_STRETCH ? k - at : CM3_FEW_STRETCH;
        const float *weights[CM3_FEW_WEIGHTS];
        for (int64_t t = 0; t < CM3_FEW_WEIGHTS; t++) {
            int64_t column = n + (t < columns ? t : columns - 1);
            weights[t] = stretch(w, column * k + at, count, w_bf16, wide_w[t]);
        }
        for (int r = 0; r < rows; r++)
            add_products(sums[r], stretch(x, r * k + at, count, x_bf16, wide_x), weights, count);
    }
    for (int r = 0; r < rows; r++) {
        for (int64_t t = 0; t < columns; t++) y[r * ldy + n + t] = bias ? sums[r][t] + bias[n + t] : sums[r][t];
    }
}

static void few_rows(float *y, int64_t ldy, const void *x, bool x_bf16, int rows, const void *w, bool w_bf16, int64_t k,
                     int64_t n_begin, int64_t n_end, const float *bias) {
    for (int64_t n = n_begin; n < n_end; n += CM3_FEW_WEIGHTS) {
        int64_t columns = n_end - n < CM3_FEW_WEIGHTS ? n_end - n : CM3_FEW_WEIGHTS;
        few_columns(y, ldy, x, x_bf16, rows, w, w_bf16, k, n, columns, bias);
    }
}

static void few_rows_f32(float *y, int64_t ldy, const float *x, int rows, const float *w, int64_t k, int64_t n_begin,
                         int64_t n_end, const float *bias) {
    few_rows(y, ldy, x, false, rows, w, false, k, n_begin, n_end, bias);
}

static void few_rows_bf16(float *y, int64_t ldy, const uint16_t *x, int rows, const uint16_t *w, int64_t k,
                          int64_t n_begin, int64_t n_end, const float *bias) {
    few_rows(y, ldy, x, true, rows, w, true, k, n_begin, n_end, bias);
}

static void few_rows_mixed(float *y, int64_t ldy, const float *x, int rows, const uint16_t *w, int64_t k,
                           int64_t n_begin, int64_t n_end, const float *bias) {
    few_rows(y, ldy, x, false, rows, w, true, k, n_begin, n_end, bias);
}

void cm3_ref_few_rows(cm3_kernels *kernels) {
    kernels->few_rows_f32 = few_rows_f32;
    kernels->few_rows_bf16 = few_rows_bf16;
    kernels->few_rows_mixed = few_rows_mixed;
}
