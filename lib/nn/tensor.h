/* Tensors: contiguous, row-major, at most four dimensions. */
#ifndef CM3_NN_TENSOR_H
#define CM3_NN_TENSOR_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/memory.h"

/**
 * A tensor does not own its data: an arena, a mapped file or a model does. Pictures are NHWC. Parameters are f32,
 * bf16 or quantised; activations are f32.
 */
typedef struct cm3_tensor {
    cm3_dtype dtype;
    int rank;
    int64_t shape[4];
    int64_t count;
    void *data;
    /** Gradient, f32 [count]: of parameters it belongs to the trainer and is added to; of activations the tape makes
     * it. */
    float *grad;
    bool wants_grad;  /**< the backward pass reaches it */
    bool has_grad;    /**< grad holds something already (activations) */
    uint32_t pending; /**< parameters, where a graph tells of final gradients: steps of the tape that add to it yet */
    /** Parameters in training: the same values rounded to bf16, kept up to date by the optimiser; else NULL. */
    uint16_t *bf16;
    /** Matrices of integers (CM3_I8, CM3_U4), see quantised.h: f16 [rows, columns / block]; mins of CM3_U4 only. */
    const uint16_t *scales, *mins;
    int32_t block;
} cm3_tensor;

static inline float *cm3_f32(const cm3_tensor *tensor) {
    return (float *)tensor->data;
}

/** Fills the header of a tensor over `data`. */
static inline cm3_tensor cm3_tensor_over(void *data, cm3_dtype dtype, int rank, const int64_t *shape) {
    cm3_tensor tensor = {.dtype = dtype, .rank = rank, .count = 1, .data = data};
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        tensor.count *= shape[i];
    }
    return tensor;
}

#endif
