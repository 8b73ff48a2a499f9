/* A few rows times a matrix of integers, portable: block by block, products and their sums in integers. */
#include "nn/ref/ref.h"

#include "nn/ref/simd.h"

static inline int32_t dot_i8(const int8_t *x, const int8_t *w, int64_t count) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += x[i] * w[i];
    return sum;
}

static inline int32_t dot_u4(const int8_t *even, const int8_t *odd, const uint8_t *w, int64_t pairs) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < pairs; i++) sum += even[i] * (w[i] & 15) + odd[i] * (w[i] >> 4);
    return sum;
}

/** Row `row` of x with row n of the matrix. */
static float product(const cm3_quantised_rows *x, int64_t row, const cm3_quantised *w, int64_t n) {
    int64_t blocks = w->k / w->block, half = w->block / 2;
    const int8_t *values = x->values + row * w->k;
    const float *scales = x->scales + row * blocks, *sums = x->sums + row * blocks;
    float sum = 0.0f;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = n * blocks + b;
        float scale = cm3_f16_to_f32(w->scales[at]) * scales[b];
        if (w->dtype == CM3_I8) {
            const int8_t *block = (const int8_t *)w->values + at * w->block;
            sum += scale * (float)dot_i8(values + b * w->block, block, w->block);
        } else {
            const int8_t *even = values + b * half;
            sum += scale * (float)dot_u4(even, even + w->k / 2, w->values + at * half, half);
            sum += cm3_f16_to_f32(w->mins[at]) * sums[b];
        }
    }
    return sum;
}

static void few_rows_quantised(float *y, int64_t ldy, const cm3_quantised_rows *x, int64_t row, int rows,
                               const cm3_quantised *w, int64_t n_begin, int64_t n_end, const float *bias) {
    for (int64_t n = n_begin; n < n_end; n++) {
        for (int r = 0; r < rows; r++) {
            float sum = product(x, row + r, w, n);
            y[r * ldy + n] = bias ? sum + bias[n] : sum;
        }
    }
}

void cm3_ref_few_quantised(cm3_kernels *kernels) {
    kernels->few_rows_quantised = few_rows_quantised;
}
