/*
 * The one seam to oneDNN: matrix products and convolutions, forward and gradients. No oneDNN type leaves
 * lib/nn/onednn/. Primitives are made once per shape and cached. Every call returns CM3_ERROR_UNSUPPORTED without a
 * message where oneDNN has no implementation, upon which the caller takes the portable kernel. Used by the thread that
 * runs the team only.
 */
#ifndef CM3_NN_ONEDNN_H
#define CM3_NN_ONEDNN_H

#include "base/context.h"
#include "base/dtype.h"

typedef struct cm3_dnn cm3_dnn;

#ifdef CM3_WITH_ONEDNN
/** Primitives run on the team; NULL: on the calling thread. `measure`: they are made and never run; see
 * cm3_dnn_measured(). */
cm3_status cm3_dnn_create(cm3_context *context, cm3_team *team, bool measure, cm3_dnn **dnn);
void cm3_dnn_destroy(cm3_dnn *dnn);

/** Idle: primitives are made and not run. */
void cm3_dnn_idle(cm3_dnn *dnn, bool idle);
/** The working memory that the calls since the last cm3_dnn_measure_anew() need. */
size_t cm3_dnn_measured(const cm3_dnn *dnn);
void cm3_dnn_measure_anew(cm3_dnn *dnn);
/** Makes sure of so much working memory. Errors: NO_MEMORY. */
cm3_status cm3_dnn_reserve(cm3_dnn *dnn, size_t size);
/** Gives working memory back where it is more than `most` bytes. */
void cm3_dnn_trim(cm3_dnn *dnn, size_t most);
#endif

/**
 * c[b][m][n] (+)= a[b][m][k] b[b][k][n] (+ bias[n]), batch >= 1. a and b are f32 or both bf16; c is f32 (accumulating)
 * or bf16. trans_a: a is stored [k][m]; trans_b: b is stored [n][k]. ld*: stride of stored rows, elements; batch
 * strides likewise.
 */
typedef struct cm3_dnn_matmul_args {
    int64_t batch, m, n, k;
    cm3_dtype ab_dtype, c_dtype;
    bool trans_a, trans_b, accumulate;
    const void *a, *b;
    void *c;
    const float *bias;
    int64_t lda, ldb, ldc, a_stride, b_stride, c_stride;
} cm3_dnn_matmul_args;

/** A 2-D convolution: x NHWC [n, h, w, cin], weights OIHW [cout, cin, kh, kw], y NHWC. */
typedef struct cm3_conv_shape {
    int64_t n, h, w, cin, cout, kh, kw, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
} cm3_conv_shape;

static inline int64_t cm3_conv_out_h(const cm3_conv_shape *s) {
    return (s->h + s->pad_top + s->pad_bottom - s->kh) / s->stride + 1;
}
static inline int64_t cm3_conv_out_w(const cm3_conv_shape *s) {
    return (s->w + s->pad_left + s->pad_right - s->kw) / s->stride + 1;
}

#ifdef CM3_WITH_ONEDNN

cm3_status cm3_dnn_matmul(cm3_dnn *dnn, const cm3_dnn_matmul_args *args);

/**
 * x, weights (OIHW) and dy are of `dtype`, f32 or bf16; y and dx f32 or bf16; all else f32. bias may be NULL; residual
 * too: it is laid out as y and added to it; it may be y itself. The forward pass takes bf16 weights with an f32 x, too,
 * where it can (else UNSUPPORTED).
 */
cm3_status cm3_dnn_conv(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x, const void *weights,
                        cm3_dtype weights_dtype, const float *bias, const float *residual, void *y, cm3_dtype y_dtype);
/** Forward, f32, 3 x 3 with stride 1, by Winograd's algorithm (Lavin and Gray 2016): less than half the time, errors of
 * about 1e-5 instead of 1e-7 of the values. UNSUPPORTED for other windows, and where oneDNN has none.
 * `again`: the call before was this one with the same weights, which are not transformed once more. */
cm3_status cm3_dnn_conv_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape, const float *x, const float *weights,
                                 const float *bias, float *y, bool again);
/** Whether it is to be had here for maps of that width and these channels. */
bool cm3_dnn_has_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape);
cm3_status cm3_dnn_conv_backward_data(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, void *dx,
                                      cm3_dtype dx_dtype, const void *dy, const void *weights);
/** dweights (OIHW) and dbias (may be NULL) are overwritten. */
cm3_status cm3_dnn_conv_backward_weights(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                                         const void *dy, float *dweights, float *dbias);

#else

static inline cm3_status cm3_dnn_conv_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape, const float *x,
                                               const float *weights, const float *bias, float *y, bool again) {
    (void)dnn, (void)shape, (void)x, (void)weights, (void)bias, (void)y, (void)again;
    return CM3_ERROR_UNSUPPORTED;
}

static inline bool cm3_dnn_has_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape) {
    (void)dnn, (void)shape;
    return false;
}

/* Without oneDNN a graph has no cm3_dnn, so that these are never called: they only let the callers compile. */
static inline cm3_status cm3_dnn_matmul(cm3_dnn *dnn, const cm3_dnn_matmul_args *args) {
    (void)dnn;
    (void)args;
    return CM3_ERROR_UNSUPPORTED;
}
static inline cm3_status cm3_dnn_conv(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                                      const void *weights, cm3_dtype weights_dtype, const float *bias,
                                      const float *residual, void *y, cm3_dtype y_dtype) {
    (void)dnn, (void)shape, (void)dtype, (void)x, (void)weights, (void)weights_dtype, (void)bias, (void)residual;
    (void)y, (void)y_dtype;
    return CM3_ERROR_UNSUPPORTED;
}
static inline cm3_status cm3_dnn_conv_backward_data(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype,
                                                    void *dx, cm3_dtype dx_dtype, const void *dy, const void *weights) {
    (void)dnn, (void)shape, (void)dtype, (void)dx, (void)dx_dtype, (void)dy, (void)weights;
    return CM3_ERROR_UNSUPPORTED;
}
static inline cm3_status cm3_dnn_conv_backward_weights(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype,
                                                       const void *x, const void *dy, float *dweights, float *dbias) {
    (void)dnn, (void)shape, (void)dtype, (void)x, (void)dy, (void)dweights, (void)dbias;
    return CM3_ERROR_UNSUPPORTED;
}

#endif

#endif
