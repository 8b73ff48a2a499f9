/*
 * Norm, swish and convolution as one operation, and the residual block of two of them. Between their parts maps are
 * kept in the type that convolutions multiply in: with bf16 that halves what memory has to carry, which is the limit
 * here.
 */
#include "nn/conv.h"
#include "nn/map_norm.h"

/** One norm, swish, convolution. */
typedef struct cm3_stage {
    cm3_tensor *w, *bias;
    cm3_map_norm norm;
    cm3_conv_shape shape;
    const void *w_data;
    void *normed; /**< what is convolved */
} cm3_stage;

static int64_t stage_inputs(const cm3_stage *s) {
    return s->shape.n * s->shape.h * s->shape.w * s->shape.cin;
}

static bool prepare_stage(cm3_graph *graph, cm3_stage *stage, const cm3_norm_conv *p, const int64_t *map,
                          const cm3_conv_options *options) {
    *stage = (cm3_stage){.w = p->weight, .bias = p->bias};
    if (p->gamma->count != map[3] || p->beta->count != map[3] || map[3] % p->groups) {
        cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "group norm: shapes do not fit");
        return false;
    }
    stage->norm = (cm3_map_norm){.gamma = p->gamma,
                                 .beta = p->beta,
                                 .images = map[0],
                                 .pixels = map[1] * map[2],
                                 .channels = map[3],
                                 .groups = p->groups,
                                 .epsilon = p->epsilon,
                                 .swish = true};
    return cm3_conv_shape_of(graph, map, p->weight, p->bias, options, &stage->shape);
}

static bool forward_stage(cm3_graph *graph, cm3_stage *s, const void *x, cm3_dtype x_dtype, const float *residual,
                          void *y, cm3_dtype y_dtype) {
    cm3_dtype dtype = cm3_conv_dtype(graph);
    s->norm.x = x;
    s->norm.x_dtype = x_dtype;
    s->normed = cm3_graph_scratch(graph, (size_t)stage_inputs(s) * cm3_dtype_size(dtype));
    cm3_dtype w_dtype;
    s->w_data = cm3_conv_weights(graph, s->w, dtype, &w_dtype);
    if (!s->normed || !cm3_map_norm_forward(graph, &s->norm, s->normed, dtype)) return false;
    return cm3_conv_forward(graph, &s->shape, dtype, s->normed, s->w_data, w_dtype, cm3_graph_bias(graph, s->bias),
                            residual, y, y_dtype);
}

/** dx as cm3_map_norm_backward() says. */
static bool backward_stage(cm3_graph *graph, const cm3_stage *s, const void *dy, void *dx, cm3_dtype dx_dtype,
                           bool accumulate, const float *add) {
    cm3_dtype dtype = cm3_conv_dtype(graph);
    void *dnormed = cm3_graph_scratch(graph, (size_t)stage_inputs(s) * cm3_dtype_size(dtype));
    if (!dnormed || !cm3_conv_data_gradient(graph, &s->shape, dtype, dy, s->w_data, dnormed, dtype)) return false;
    if (!cm3_conv_weights_gradient(graph, &s->shape, dtype, s->normed, dy, s->w, s->bias)) return false;
    return cm3_map_norm_backward(graph, &s->norm, dnormed, dtype, dx, dx_dtype, accumulate, add);
}

/** The gradient of y in the type that convolutions multiply in. */
static const void *gradient_operand(cm3_graph *graph, const cm3_tensor *y) {
    return cm3_conv_dtype(graph) == CM3_BF16 ? (const void *)cm3_nn_round(graph, y->grad, y->count) : y->grad;
}

/* --- norm, swish, convolution --------------------------------------------------------------------------------------
 */

typedef struct cm3_norm_conv_saved {
    cm3_tensor *x, *y;
    cm3_stage stage;
} cm3_norm_conv_saved;

static void norm_conv_backward(cm3_graph *graph, void *saved) {
    cm3_norm_conv_saved *s = saved;
    const void *dy = s->y->grad ? gradient_operand(graph, s->y) : NULL;
    if (!dy) return;
    bool accumulate;
    float *dx = cm3_graph_grad(graph, s->x, &accumulate);
    backward_stage(graph, &s->stage, dy, dx, CM3_F32, accumulate, NULL);
}

cm3_tensor *cm3_nn_norm_conv2d(cm3_graph *graph, cm3_tensor *x, const cm3_norm_conv *parameters,
                               const cm3_conv_options *options) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    cm3_norm_conv_saved s = {.x = x};
    if (!prepare_stage(graph, &s.stage, parameters, x->shape, options)) return NULL;
    const cm3_conv_shape *shape = &s.stage.shape;
    s.y = cm3_graph_tensor(graph, CM3_F32, 4,
                           (const int64_t[]){shape->n, cm3_conv_out_h(shape), cm3_conv_out_w(shape), shape->cout});
    cm3_arena_mark mark = cm3_graph_mark(graph);
    if (!s.y || !forward_stage(graph, &s.stage, x->data, CM3_F32, NULL, s.y->data, CM3_F32)) return NULL;
    const cm3_tensor *inputs[] = {x, parameters->gamma, parameters->beta, parameters->weight, parameters->bias};
    cm3_norm_conv_saved *saved = cm3_graph_record(graph, s.y, inputs, 5, norm_conv_backward, sizeof *saved);
    if (saved) *saved = s;
    cm3_graph_rewind(graph, mark);
    return graph->status == CM3_OK ? s.y : NULL;
}

/* --- the residual block --------------------------------------------------------------------------------------------
 */

typedef struct cm3_res_saved {
    cm3_tensor *x, *y;
    cm3_stage first, second;
    cm3_tensor *shortcut, *shortcut_bias; /**< NULL: x itself is added */
    cm3_conv_shape shortcut_shape;
    const void *shortcut_x, *shortcut_w;
} cm3_res_saved;

/** dx (+)= the gradient through the shortcut; what its parameters want is added to them. */
static bool shortcut_backward(cm3_graph *graph, const cm3_res_saved *s, const void *dy, float *dx, bool accumulate) {
    cm3_dtype dtype = cm3_conv_dtype(graph);
    if (!cm3_conv_weights_gradient(graph, &s->shortcut_shape, dtype, s->shortcut_x, dy, s->shortcut,
                                   s->shortcut_bias)) {
        return false;
    }
    if (!dx) return true;
    float *fresh = accumulate ? cm3_graph_scratch(graph, (size_t)s->x->count * sizeof(float)) : dx;
    if (!fresh || !cm3_conv_data_gradient(graph, &s->shortcut_shape, dtype, dy, s->shortcut_w, fresh, CM3_F32))
        return false;
    if (accumulate) graph->kernels->add(dx, dx, fresh, s->x->count);
    return true;
}

static void res_backward(cm3_graph *graph, void *saved) {
    cm3_res_saved *s = saved;
    cm3_dtype dtype = cm3_conv_dtype(graph);
    const void *dy = s->y->grad ? gradient_operand(graph, s->y) : NULL;
    void *dh = cm3_graph_scratch(graph, (size_t)stage_inputs(&s->second) * cm3_dtype_size(dtype));
    if (!dy || !dh || !backward_stage(graph, &s->second, dy, dh, dtype, false, NULL)) return;
    bool accumulate;
    float *dx = cm3_graph_grad(graph, s->x, &accumulate);
    if (s->shortcut) {
        if (!shortcut_backward(graph, s, dy, dx, accumulate)) return;
        accumulate = true;
    }
    backward_stage(graph, &s->first, dh, dx, CM3_F32, accumulate, s->shortcut ? NULL : s->y->grad);
}

/** What the block adds to: x, or x through the shortcut. */
static const float *residual_of(cm3_graph *graph, cm3_res_saved *s) {
    if (!s->shortcut) return cm3_f32(s->x);
    cm3_dtype dtype = cm3_conv_dtype(graph);
    s->shortcut_x = dtype == CM3_BF16 ? (const void *)cm3_nn_round(graph, s->x->data, s->x->count) : s->x->data;
    cm3_dtype w_dtype;
    s->shortcut_w = cm3_conv_weights(graph, s->shortcut, dtype, &w_dtype);
    float *residual = cm3_graph_scratch(graph, (size_t)s->y->count * sizeof(float));
    const float *bias = cm3_graph_bias(graph, s->shortcut_bias);
    if (!residual || !cm3_conv_forward(graph, &s->shortcut_shape, dtype, s->shortcut_x, s->shortcut_w, w_dtype, bias,
                                       NULL, residual, CM3_F32)) {
        return NULL;
    }
    return residual;
}

static bool prepare_block(cm3_graph *graph, cm3_res_saved *s, const cm3_res_block *block, bool in_place) {
    const cm3_conv_options same = {1, 1, 1, 1, 1}, point = {.stride = 1};
    const int64_t *x = s->x->shape;
    const int64_t middle[] = {x[0], x[1], x[2], block->first.weight->shape[0]};
    if (!prepare_stage(graph, &s->first, &block->first, x, &same)) return false;
    if (!prepare_stage(graph, &s->second, &block->second, middle, &same)) return false;
    const int64_t *out = (const int64_t[]){x[0], x[1], x[2], block->second.weight->shape[0]};
    if (s->shortcut && !cm3_conv_shape_of(graph, x, s->shortcut, s->shortcut_bias, &point, &s->shortcut_shape))
        return false;
    if (cm3_conv_out_h(&s->second.shape) != x[1] || cm3_conv_out_w(&s->second.shape) != x[2] ||
        out[3] != (s->shortcut ? s->shortcut_shape.cout : x[3])) {
        cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "residual block: shapes do not fit");
        return false;
    }
    s->y = in_place ? s->x : cm3_graph_tensor(graph, CM3_F32, 4, out);
    return s->y;
}

static cm3_tensor *res_block(cm3_graph *graph, cm3_tensor *x, const cm3_res_block *block, bool in_place) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    cm3_res_saved s = {.x = x, .shortcut = block->shortcut, .shortcut_bias = block->shortcut_bias};
    if (!prepare_block(graph, &s, block, in_place)) return NULL;
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_dtype dtype = cm3_conv_dtype(graph);
    void *h = cm3_graph_scratch(graph, (size_t)stage_inputs(&s.second) * cm3_dtype_size(dtype));
    const float *residual = h ? residual_of(graph, &s) : NULL;
    if (!residual || !forward_stage(graph, &s.first, x->data, CM3_F32, NULL, h, dtype)) return NULL;
    if (!forward_stage(graph, &s.second, h, dtype, residual, s.y->data, CM3_F32)) return NULL;
    const cm3_tensor *inputs[] = {x,
                                  block->first.gamma,
                                  block->first.beta,
                                  block->first.weight,
                                  block->first.bias,
                                  block->second.gamma,
                                  block->second.beta,
                                  block->second.weight,
                                  block->second.bias,
                                  block->shortcut,
                                  block->shortcut_bias};
    cm3_res_saved *saved =
        cm3_graph_record(graph, s.y, inputs, sizeof inputs / sizeof *inputs, res_backward, sizeof *saved);
    if (saved) *saved = s;
    cm3_graph_rewind(graph, mark);
    return graph->status == CM3_OK ? s.y : NULL;
}

cm3_tensor *cm3_nn_res_block(cm3_graph *graph, cm3_tensor *x, const cm3_res_block *block) {
    return res_block(graph, x, block, false);
}

cm3_tensor *cm3_nn_res_block_to(cm3_graph *graph, cm3_tensor *x, const cm3_res_block *block) {
    return res_block(graph, x, block, !graph->record && !block->shortcut);
}
