/* The three passes of a convolution over plain buffers, for the operations that are made of convolutions. */
#ifndef CM3_NN_CONV_H
#define CM3_NN_CONV_H

#include "nn/onednn/onednn.h"
#include "nn/ops.h"

/** The shape of a convolution of a map [n, h, w, cin] by w; false (with the graph's status set) where they do not fit.
 */
bool cm3_conv_shape_of(cm3_graph *graph, const int64_t *map, const cm3_tensor *w, const cm3_tensor *bias,
                       const cm3_conv_options *options, cm3_conv_shape *shape);

/** What convolutions are multiplied in: bf16 or f32. */
static inline cm3_dtype cm3_conv_dtype(const cm3_graph *graph) {
    return graph->compute == CM3_COMPUTE_BF16 ? CM3_BF16 : CM3_F32;
}

/** A weight as passes over a tape take it, in that type: as it is, its shadow, or converted now. Without a tape it may
 * stay bf16, which cm3_conv_forward() takes as well. *type: what it is. NULL where memory is out. */
const void *cm3_conv_weights(cm3_graph *graph, const cm3_tensor *w, cm3_dtype dtype, cm3_dtype *type);

/*
 * By oneDNN, or by the portable path where it has nothing. x, w and dy are of `dtype`. False: the graph's status says
 * why.
 */

/** y = conv(x, w) + bias + residual; bias and residual may be NULL; w may be bf16 where x is f32. */
bool cm3_conv_forward(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x, const void *w,
                      cm3_dtype w_dtype, const float *bias, const float *residual, void *y, cm3_dtype y_dtype);
/** dx is overwritten. */
bool cm3_conv_data_gradient(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *dy,
                            const void *w, void *dx, cm3_dtype dx_dtype);
/** Adds to the gradients of the parameters, where they want one; bias may be NULL. */
bool cm3_conv_weights_gradient(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                               const void *dy, cm3_tensor *w, cm3_tensor *bias);

/* --- conv_doubled.c ------------------------------------------------------------------------------------------------
 */

/** y [n, h, w, cout] = a 3 x 3 convolution, one pixel of border, of x [n, h / 2, w / 2, cin] with each pixel as 2 x 2;
 * `large` is that convolution's shape. f32; bias may be NULL. False: the graph's status says why. */
bool cm3_conv_doubled(cm3_graph *graph, const cm3_conv_shape *large, const float *x, const float *w, const float *bias,
                      float *y);

/* --- conv_portable.c: products over unfolded patches, f32; errors go to the graph ----------------------------------
 */

void cm3_conv_portable_forward(cm3_graph *graph, const cm3_conv_shape *shape, const float *x, const float *w,
                               const float *bias, float *y);
void cm3_conv_portable_data(cm3_graph *graph, const cm3_conv_shape *shape, const float *dy, const float *w, float *dx);
/** Overwrites dw (OIHW) and dbias (may be NULL). */
void cm3_conv_portable_weights(cm3_graph *graph, const cm3_conv_shape *shape, const float *x, const float *dy,
                               float *dw, float *dbias);

/* --- feature_map.c -------------------------------------------------------------------------------------------------
 */

/** Each pixel of x [n, h, w, c] as 2 x 2 in `large`, which is f32 or bf16. */
void cm3_map_spread(cm3_graph *graph, const cm3_tensor *x, void *large, cm3_dtype dtype);
/** small [n, h, w, c] (+)= factor * the sums of 2 x 2 pixels of `large`. */
void cm3_map_gather(cm3_graph *graph, const int64_t *small_shape, float *small, bool accumulate, const void *large,
                    cm3_dtype dtype, float factor);

#endif
