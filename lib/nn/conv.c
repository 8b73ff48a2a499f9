/* 2-D convolutions and their gradients: through oneDNN, or, where it has nothing, by the portable path. */
#include "nn/conv.h"

bool cm3_conv_shape_of(cm3_graph *graph, const int64_t *map, const cm3_tensor *w, const cm3_tensor *bias,
                       const cm3_conv_options *options, cm3_conv_shape *shape) {
    if (w->rank != 4 || map[3] != w->shape[1] || (bias && bias->count != w->shape[0])) {
        cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "convolution: shapes do not fit");
        return false;
    }
    *shape = (cm3_conv_shape){.n = map[0],
                              .h = map[1],
                              .w = map[2],
                              .cin = map[3],
                              .cout = w->shape[0],
                              .kh = w->shape[2],
                              .kw = w->shape[3],
                              .stride = options->stride,
                              .pad_top = options->pad_top,
                              .pad_left = options->pad_left,
                              .pad_bottom = options->pad_bottom,
                              .pad_right = options->pad_right};
    if (shape->h + shape->pad_top + shape->pad_bottom < shape->kh ||
        shape->w + shape->pad_left + shape->pad_right < shape->kw) {
        cm3_graph_fail(graph, CM3_ERROR_INVALID_ARGUMENT, "a picture of %lld x %lld is too small for the model",
                       (long long)shape->w, (long long)shape->h);
        return false;
    }
    return true;
}

static int64_t x_count(const cm3_conv_shape *s) {
    return s->n * s->h * s->w * s->cin;
}

static int64_t y_count(const cm3_conv_shape *s) {
    return s->n * cm3_conv_out_h(s) * cm3_conv_out_w(s) * s->cout;
}

static int64_t w_count(const cm3_conv_shape *s) {
    return s->cout * s->cin * s->kh * s->kw;
}

/** Values as f32: themselves, or widened in the arena. */
static const float *widened(cm3_graph *graph, const void *values, cm3_dtype dtype, int64_t count) {
    if (dtype == CM3_F32) return values;
    float *wide = cm3_graph_scratch(graph, (size_t)count * sizeof(float));
    if (wide && !graph->idle) graph->kernels->bf16_to_f32(wide, values, count);
    return wide;
}

const void *cm3_conv_weights(cm3_graph *graph, const cm3_tensor *w, cm3_dtype dtype, cm3_dtype *type) {
    *type = w->dtype == CM3_BF16 && !graph->record ? CM3_BF16 : dtype;
    if (w->dtype == *type) return w->data;
    if (dtype == CM3_F32) return widened(graph, w->data, w->dtype, w->count);
    return w->bf16 ? w->bf16 : cm3_nn_round(graph, w->data, w->count);
}

/** True where oneDNN did it; false sends the caller to the portable path or, with the graph's status set, away. */
static bool done(cm3_graph *graph, cm3_status status) {
    if (status != CM3_OK && status != CM3_ERROR_UNSUPPORTED) cm3_graph_fail(graph, status, "a convolution failed");
    return status == CM3_OK;
}

/* --- passes --------------------------------------------------------------------------------------------------------
 */

static bool portable_forward(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                             const void *w, const float *bias, void *y, cm3_dtype y_dtype) {
    const float *wide_x = widened(graph, x, dtype, x_count(shape)), *wide_w = widened(graph, w, dtype, w_count(shape));
    float *wide_y = y_dtype == CM3_F32 ? y : cm3_graph_scratch(graph, (size_t)y_count(shape) * sizeof(float));
    if (graph->status != CM3_OK) return false;
    cm3_conv_portable_forward(graph, shape, wide_x, wide_w, bias, wide_y);
    if (y_dtype == CM3_BF16 && !graph->idle) graph->kernels->f32_to_bf16(y, wide_y, y_count(shape));
    return graph->status == CM3_OK;
}

/* Bytes of a strip's input and output that stay in cache while they change their layout and back. */
#define STRIP_BYTES ((int64_t)8 << 20)
/* Below so many pixels the usual algorithm is as fast, and nearer to what others compute. */
#define WINOGRAD_PIXELS (64 * 64)

typedef struct cm3_strip_sum {
    const cm3_kernels *kernels;
    float *y;
    const float *a, *b;
} cm3_strip_sum;

static void add_strip(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_strip_sum *s = arg;
    s->kernels->add(s->y + begin, s->a + begin, s->b + begin, end - begin);
}

/** A window of 3 x 3 that leaves the map's size. */
static bool is_same3(const cm3_conv_shape *s) {
    return s->kh == 3 && s->kw == 3 && s->stride == 1 && s->pad_top == 1 && s->pad_left == 1 && s->pad_bottom == 1 &&
           s->pad_right == 1;
}

static bool suits_winograd(const cm3_graph *graph, const cm3_conv_shape *s, cm3_dtype dtype, cm3_dtype y_dtype) {
    return graph->winograd && graph->dnn && !graph->record && is_same3(s) && dtype == CM3_F32 && y_dtype == CM3_F32 &&
           s->n == 1 && s->h * s->w >= WINOGRAD_PIXELS && s->cin % 16 == 0 && s->cout % 16 == 0;
}

/** Strip by strip, so that the layout that the algorithm wants never leaves the cache. False without the graph's status
 * set: oneDNN has it not. */
static bool winograd(cm3_graph *graph, const cm3_conv_shape *shape, const float *x, const float *w, const float *bias,
                     const float *residual, float *y) {
    cm3_arena_mark mark = cm3_graph_mark(graph);
    int64_t line = shape->w * (shape->cin + shape->cout) * (int64_t)sizeof(float), out = shape->w * shape->cout;
    int64_t step = (STRIP_BYTES / line + 3) / 4 * 4 < 16 ? 16 : (STRIP_BYTES / line + 3) / 4 * 4;
    if (step > shape->h) step = shape->h;
    float *own = residual ? cm3_graph_scratch(graph, (size_t)(step * out) * sizeof(float)) : NULL;
    bool good = graph->status == CM3_OK;
    for (int64_t row = 0; row < shape->h && good; row += step) {
        int64_t rows = shape->h - row < step ? shape->h - row : step, above = row > 0, below = row + rows < shape->h;
        cm3_conv_shape strip = *shape;
        strip.h = rows + above + below;
        strip.pad_top = 1 - above;
        strip.pad_bottom = 1 - below;
        float *to = residual ? own : y + row * out;
        good = done(graph, cm3_dnn_conv_winograd(graph->dnn, &strip, x + (row - above) * shape->w * shape->cin, w, bias,
                                                 to, row > 0));
        if (!good || !residual) continue;
        cm3_strip_sum sum = {graph->kernels, y + row * out, own, residual + row * out};
        cm3_graph_for(graph, rows * out, 1 << 14, add_strip, &sum);
    }
    cm3_graph_rewind(graph, mark);
    return good;
}

bool cm3_conv_forward(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x, const void *w,
                      cm3_dtype w_dtype, const float *bias, const float *residual, void *y, cm3_dtype y_dtype) {
    if (graph->status != CM3_OK) return false;
    const bool large = suits_winograd(graph, shape, dtype, y_dtype);
    if (w_dtype != dtype) { /* where nothing takes it as it is, it is widened */
        if (!large && graph->dnn &&
            done(graph, cm3_dnn_conv(graph->dnn, shape, dtype, x, w, w_dtype, bias, residual, y, y_dtype)))
            return true;
        w = widened(graph, w, w_dtype, w_count(shape));
        if (graph->status != CM3_OK) return false;
    }
    if (large && winograd(graph, shape, x, w, bias, residual, y)) return true;
    if (graph->dnn && graph->status == CM3_OK &&
        done(graph, cm3_dnn_conv(graph->dnn, shape, dtype, x, w, dtype, bias, residual, y, y_dtype)))
        return true;
    if (graph->status != CM3_OK) return false;
    if (residual && y_dtype == CM3_F32) {       /* oneDNN may lack only the sum */
        bool own = (const void *)residual == y; /* then the result needs another place first */
        float *to = own ? cm3_graph_scratch(graph, (size_t)y_count(shape) * sizeof(float)) : y;
        if (!cm3_conv_forward(graph, shape, dtype, x, w, dtype, bias, NULL, to, y_dtype)) return false;
        cm3_strip_sum sum = {graph->kernels, y, to, residual};
        cm3_graph_for(graph, y_count(shape), 1 << 14, add_strip, &sum);
        return true;
    }
    return portable_forward(graph, shape, dtype, x, w, bias, y, y_dtype);
}

bool cm3_conv_data_gradient(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *dy,
                            const void *w, void *dx, cm3_dtype dx_dtype) {
    if (graph->status != CM3_OK) return false;
    if (graph->dnn && done(graph, cm3_dnn_conv_backward_data(graph->dnn, shape, dtype, dx, dx_dtype, dy, w)))
        return true;
    if (graph->status != CM3_OK) return false;
    const float *wide_dy = widened(graph, dy, dtype, y_count(shape)),
                *wide_w = widened(graph, w, dtype, w_count(shape));
    float *wide_dx = dx_dtype == CM3_F32 ? dx : cm3_graph_scratch(graph, (size_t)x_count(shape) * sizeof(float));
    if (graph->status != CM3_OK) return false;
    cm3_conv_portable_data(graph, shape, wide_dy, wide_w, wide_dx);
    if (dx_dtype == CM3_BF16) graph->kernels->f32_to_bf16(dx, wide_dx, x_count(shape));
    return graph->status == CM3_OK;
}

static void add_gradient(cm3_graph *graph, cm3_tensor *parameter, const float *gradient) {
    float *grad = cm3_graph_grad_add(graph, parameter);
    if (grad) graph->kernels->add(grad, grad, gradient, parameter->count);
}

bool cm3_conv_weights_gradient(cm3_graph *graph, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                               const void *dy, cm3_tensor *w, cm3_tensor *bias) {
    bool wants_bias = bias && bias->wants_grad;
    if (!w->wants_grad && !wants_bias) return graph->status == CM3_OK;
    float *dw = cm3_graph_scratch(graph, (size_t)w->count * sizeof(float));
    float *dbias = wants_bias ? cm3_graph_scratch(graph, (size_t)bias->count * sizeof(float)) : NULL;
    if (graph->status != CM3_OK) return false;
    if (!graph->dnn || !done(graph, cm3_dnn_conv_backward_weights(graph->dnn, shape, dtype, x, dy, dw, dbias))) {
        if (graph->status != CM3_OK) return false;
        const float *wide_x = widened(graph, x, dtype, x_count(shape)),
                    *wide_dy = widened(graph, dy, dtype, y_count(shape));
        if (graph->status != CM3_OK) return false;
        cm3_conv_portable_weights(graph, shape, wide_x, wide_dy, dw, dbias);
    }
    if (graph->status == CM3_OK) add_gradient(graph, w, dw);
    if (graph->status == CM3_OK && wants_bias) add_gradient(graph, bias, dbias);
    return graph->status == CM3_OK;
}

/* --- the operation -------------------------------------------------------------------------------------------------
 */

typedef struct cm3_conv_saved {
    cm3_tensor *x, *w, *bias, *y;
    cm3_conv_shape shape;
    cm3_dtype dtype; /**< of the operands as multiplied */
    const void *x_data, *w_data;
    bool upsample; /**< x_data is x with each pixel as 2 x 2 */
} cm3_conv_saved;

static void upsampled_gradient(cm3_graph *graph, cm3_conv_saved *s, const void *dy) {
    void *large = cm3_graph_scratch(graph, (size_t)x_count(&s->shape) * cm3_dtype_size(s->dtype));
    if (!large || !cm3_conv_data_gradient(graph, &s->shape, s->dtype, dy, s->w_data, large, s->dtype)) return;
    bool accumulate;
    float *dx = cm3_graph_grad(graph, s->x, &accumulate);
    if (dx) cm3_map_gather(graph, s->x->shape, dx, accumulate, large, s->dtype, 1);
}

static void data_gradient(cm3_graph *graph, cm3_conv_saved *s, const void *dy) {
    bool accumulate;
    float *dx = cm3_graph_grad(graph, s->x, &accumulate);
    if (!dx) return;
    float *fresh = accumulate ? cm3_graph_scratch(graph, (size_t)s->x->count * sizeof(float)) : dx;
    if (!fresh || !cm3_conv_data_gradient(graph, &s->shape, s->dtype, dy, s->w_data, fresh, CM3_F32)) return;
    if (accumulate) graph->kernels->add(dx, dx, fresh, s->x->count);
}

static void conv_backward(cm3_graph *graph, void *saved) {
    cm3_conv_saved *s = saved;
    if (!s->y->grad) return;
    const void *dy = s->dtype == CM3_BF16 ? (const void *)cm3_nn_round(graph, s->y->grad, s->y->count) : s->y->grad;
    if (!dy) return;
    if (s->x->wants_grad && s->upsample) upsampled_gradient(graph, s, dy);
    if (s->x->wants_grad && !s->upsample) data_gradient(graph, s, dy);
    cm3_conv_weights_gradient(graph, &s->shape, s->dtype, s->x_data, dy, s->w, s->bias);
}

/** x as it is multiplied. */
static const void *operand(cm3_graph *graph, const cm3_conv_saved *s) {
    if (s->upsample) {
        void *large = cm3_graph_scratch(graph, (size_t)x_count(&s->shape) * cm3_dtype_size(s->dtype));
        if (large) cm3_map_spread(graph, s->x, large, s->dtype);
        return large;
    }
    return s->dtype == CM3_BF16 ? (const void *)cm3_nn_round(graph, s->x->data, s->x->count) : s->x->data;
}

/** Whether the map need not be made whose pixels stand twice: without a tape, where Winograd's algorithm, which saves
 * more, is not to be had. */
static bool suits_doubled(const cm3_graph *graph, const cm3_conv_saved *s) {
    const cm3_conv_shape *c = &s->shape;
    if (!s->upsample || !is_same3(c) || graph->record || s->dtype != CM3_F32) return false;
    return !suits_winograd(graph, c, CM3_F32, CM3_F32) || !cm3_dnn_has_winograd(graph->dnn, c);
}

static cm3_tensor *convolve_doubled(cm3_graph *graph, cm3_conv_saved *s) {
    cm3_arena_mark mark = cm3_graph_mark(graph);
    const float *w = widened(graph, s->w->data, s->w->dtype, s->w->count);
    if (graph->status != CM3_OK) return NULL;
    bool good = cm3_conv_doubled(graph, &s->shape, s->x->data, w, cm3_graph_bias(graph, s->bias), s->y->data);
    cm3_graph_rewind(graph, mark);
    return good ? s->y : NULL;
}

static cm3_tensor *convolve(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias,
                            const cm3_conv_options *options, bool upsample) {
    if (!x || !w || !cm3_graph_alive(graph)) return NULL;
    if (x->rank != 4) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "convolution: shapes do not fit");
    int64_t factor = upsample ? 2 : 1;
    const int64_t map[] = {x->shape[0], factor * x->shape[1], factor * x->shape[2], x->shape[3]};
    cm3_conv_saved s = {.x = x, .w = w, .bias = bias, .dtype = cm3_conv_dtype(graph), .upsample = upsample};
    if (!cm3_conv_shape_of(graph, map, w, bias, options, &s.shape)) return NULL;
    const int64_t shape[] = {map[0], cm3_conv_out_h(&s.shape), cm3_conv_out_w(&s.shape), s.shape.cout};
    s.y = cm3_graph_tensor(graph, CM3_F32, 4, shape);
    if (suits_doubled(graph, &s)) return convolve_doubled(graph, &s);
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_dtype w_dtype;
    s.w_data = cm3_conv_weights(graph, w, s.dtype, &w_dtype);
    s.x_data = operand(graph, &s);
    if (!cm3_conv_forward(graph, &s.shape, s.dtype, s.x_data, s.w_data, w_dtype, cm3_graph_bias(graph, bias), NULL,
                          s.y ? s.y->data : NULL, CM3_F32)) {
        return NULL;
    }
    const cm3_tensor *inputs[] = {x, w, bias};
    cm3_conv_saved *saved = cm3_graph_record(graph, s.y, inputs, 3, conv_backward, sizeof *saved);
    if (saved) *saved = s;
    cm3_graph_rewind(graph, mark);
    return graph->status == CM3_OK ? s.y : NULL;
}

cm3_tensor *cm3_nn_conv2d(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias,
                          const cm3_conv_options *options) {
    return convolve(graph, x, w, bias, options, false);
}

cm3_tensor *cm3_nn_upsample_conv2d(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias,
                                   const cm3_conv_options *options) {
    return convolve(graph, x, w, bias, options, true);
}
