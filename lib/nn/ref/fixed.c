/* Products in fixed point, portable: rows behind each other, which compilers know to multiply in pairs. */
#include <string.h>

#include "nn/ref/ref.h"

#include "nn/ref/simd.h"

#define CM3_FIXED_ONE 32768.0f
#define CM3_FIXED_MOST 1100000000 /* of a row's sum of squares, which is 2^30 for length 1: no sum overflows */

/** What is no number becomes the least. */
static inline int16_t fixed(float value) {
    float scaled = value * CM3_FIXED_ONE;
    scaled = scaled < 32767.0f ? scaled : 32767.0f;
    scaled = scaled > -32768.0f ? scaled : -32768.0f;
    /* To the nearest, of two the even one: so large an f32 has no room for a fraction. */
    return (int16_t)(int32_t)(scaled + 12582912.0f - 12582912.0f);
}

/** A row that is too long becomes zeros. */
static void check_length(int16_t *row, int64_t width) {
    int64_t square = 0;
    for (int64_t i = 0; i < width; i++) square += (int64_t)row[i] * row[i];
    if (square > CM3_FIXED_MOST) memset(row, 0, (size_t)width * sizeof *row);
}

static void fix_row(int16_t *to, const void *from, bool bf16, int64_t k) {
    const int64_t width = cm3_fixed_width(k);
    if (bf16) {
        const uint16_t *values = from;
#pragma omp simd
        for (int64_t i = 0; i < k; i++) to[i] = fixed(cm3_bf16_to_f32(values[i]));
    } else {
        const float *values = from;
#pragma omp simd
        for (int64_t i = 0; i < k; i++) to[i] = fixed(values[i]);
    }
    for (int64_t i = k; i < width; i++) to[i] = 0;
    check_length(to, width);
}

static void fix_rows(int16_t *to, const float *from, int64_t rows, int64_t k) {
    for (int64_t r = 0; r < rows; r++) fix_row(to + r * cm3_fixed_width(k), from + r * k, false, k);
}

static int32_t multiply(const int16_t *x, const int16_t *w, int64_t width) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) sum += x[i] * w[i];
    return sum;
}

static void fixed_products(float *y, int64_t ldy, const int16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                           int64_t n, int16_t *scratch) {
    const int64_t width = cm3_fixed_width(k);
    for (int64_t j = 0; j < n; j++) {
        fix_row(scratch, w + j * k, true, k);
        for (int64_t r = 0; r < rows; r++) y[r * ldy + j] = (float)multiply(x + r * width, scratch, width) * 0x1p-30f;
    }
}

void cm3_ref_fixed(cm3_kernels *kernels) {
    kernels->fix_rows = fix_rows;
    kernels->fixed_products = fixed_products;
}
