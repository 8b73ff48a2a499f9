/* Group norm of feature maps over plain buffers, f32 or bf16, for the operations that contain one. */
#ifndef CM3_NN_MAP_NORM_H
#define CM3_NN_MAP_NORM_H

#include "nn/ops.h"

/** What the way back needs. */
typedef struct cm3_map_norm {
    cm3_tensor *gamma, *beta;
    int64_t images, pixels, channels, groups;
    float epsilon;
    bool swish;
    const void *x;
    cm3_dtype x_dtype;
    float *scale, *shift; /**< [images, channels]: y = x scale + shift before the swish */
    float *centre, *rstd; /**< [images, channels]: mean and 1 / deviation of the channel's group */
} cm3_map_norm;

/** y (f32 or bf16) of x; fills `norm` from gamma .. x_dtype on. False: the graph's status says why. */
bool cm3_map_norm_forward(cm3_graph *graph, cm3_map_norm *norm, void *y, cm3_dtype y_dtype);

/**
 * dx (+)= the gradient + `add` (NULL, or laid out as x); dx may be NULL. Adds to the gradients of gamma and beta. dx
 * may lie where dy does, if they are of one type.
 */
bool cm3_map_norm_backward(cm3_graph *graph, const cm3_map_norm *norm, const void *dy, cm3_dtype dy_dtype, void *dx,
                           cm3_dtype dx_dtype, bool accumulate, const float *add);

#endif
