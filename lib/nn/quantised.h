/*
 * Matrices of small integers, in blocks along their rows, and rows of activations made so for them. The layout is that
 * of `.cm3` files: what is mapped is what the kernels read.
 */
#ifndef CM3_NN_QUANTISED_H
#define CM3_NN_QUANTISED_H

#include <stdbool.h>

#include "nn/tensor.h"

/** Blocks are of 32 or 64 columns, and divide a row. */
#define CM3_QUANTISED_LEAST_BLOCK 32
#define CM3_QUANTISED_MOST_BLOCK 64

/**
 * w[n][i] = scales[n][i / block] q[n][i] + mins[n][i / block]. CM3_I8: q is -128..127, one a byte, and there are no
 * mins; CM3_U4: q is 0..15, two a byte, the first in the low nibble.
 */
typedef struct cm3_quantised {
    cm3_dtype dtype;
    int64_t k, block; /**< columns */
    const uint8_t *values;
    const uint16_t *scales, *mins; /**< f16 [rows, k / block] */
} cm3_quantised;

/**
 * Rows of activations, x[r][i] ~ scales[r][i / block] values[r][i], -127..127, the largest of a block at its end. A
 * block that holds a NaN or an infinity has NaN for its scale and its sum.
 */
typedef struct cm3_quantised_rows {
    int64_t k, block;
    bool split; /**< for CM3_U4: of each row first the elements of even columns, then those of odd ones */
    int8_t *values;
    float *scales;
    float *sums; /**< of each block: split: the sum of x; else that of scale * values */
} cm3_quantised_rows;

/** Bytes behind `values` that kernels may read (not use). */
#define CM3_QUANTISED_ROWS_SLACK 64

static inline bool cm3_is_quantised(const cm3_tensor *tensor) {
    return tensor->dtype == CM3_I8 || tensor->dtype == CM3_U4;
}

/** A quantised tensor's matrix. */
static inline cm3_quantised cm3_quantised_of(const cm3_tensor *tensor) {
    return (cm3_quantised){.dtype = tensor->dtype,
                           .k = tensor->shape[1],
                           .block = tensor->block,
                           .values = tensor->data,
                           .scales = tensor->scales,
                           .mins = tensor->mins};
}

/** Rows first..first + count - 1 of a matrix of any type. */
static inline cm3_tensor cm3_tensor_rows(const cm3_tensor *tensor, int64_t first, int64_t count) {
    cm3_tensor part = *tensor;
    int64_t k = tensor->shape[1];
    size_t line = tensor->dtype == CM3_U4 ? (size_t)k / 2 : (size_t)k * cm3_dtype_size(tensor->dtype);
    part.shape[0] = count;
    part.count = count * k;
    part.data = (char *)tensor->data + (size_t)first * line;
    if (cm3_is_quantised(tensor)) {
        part.scales += first * (k / tensor->block);
        if (part.mins) part.mins += first * (k / tensor->block);
    }
    return part;
}

/** Bytes of a tensor's data, scales and mins included. */
static inline int64_t cm3_tensor_bytes(const cm3_tensor *tensor) {
    if (!cm3_is_quantised(tensor)) return tensor->count * (int64_t)cm3_dtype_size(tensor->dtype);
    int64_t blocks = tensor->count / tensor->block;
    return tensor->dtype == CM3_U4 ? tensor->count / 2 + 4 * blocks : tensor->count + 2 * blocks;
}

#endif
