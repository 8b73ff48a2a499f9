/* Losses over pixels and scores, and the straight-through estimator. */
#include <math.h>

#include "nn/ops.h"

typedef struct cm3_error_call {
    cm3_tensor *x, *loss;
    const float *target;
    int power;  /**< 1: absolute, 2: squared, 0: plain mean, 3: hinge */
    float sign;
} cm3_error_call;

static float value_of(const cm3_error_call *e, int64_t i) {
    float x = cm3_f32(e->x)[i];
    if (e->power == 0) return x;
    if (e->power == 3) return 1 + e->sign * x > 0 ? 1 + e->sign * x : 0;
    float difference = x - e->target[i];
    return e->power == 1 ? fabsf(difference) : difference * difference;
}

static float slope_of(const cm3_error_call *e, int64_t i) {
    float x = cm3_f32(e->x)[i];
    if (e->power == 0) return 1;
    if (e->power == 3) return 1 + e->sign * x > 0 ? e->sign : 0;
    float difference = x - e->target[i];
    if (e->power == 2) return 2 * difference;
    return (float)((difference > 0) - (difference < 0));
}

static void error_backward(cm3_graph *graph, void *saved) {
    cm3_error_call *e = saved;
    float *dx = e->loss->grad ? cm3_graph_grad_add(graph, e->x) : NULL;
    if (!dx) return;
    float factor = e->loss->grad[0] / (float)e->x->count;
    for (int64_t i = 0; i < e->x->count; i++) dx[i] += factor * slope_of(e, i);
}

static cm3_tensor *mean_of(cm3_graph *graph, cm3_error_call call) {
    if (!call.x || !cm3_graph_alive(graph)) return NULL;
    call.loss = cm3_graph_tensor(graph, CM3_F32, 1, (const int64_t[]){1});
    if (!call.loss) return NULL;
    double sum = 0;
    for (int64_t i = 0; i < call.x->count; i++) sum += (double)value_of(&call, i);
    *cm3_f32(call.loss) = (float)(sum / (double)call.x->count);
    const cm3_tensor *inputs[] = {call.x};
    cm3_error_call *saved = cm3_graph_record(graph, call.loss, inputs, 1, error_backward, sizeof *saved);
    if (saved) *saved = call;
    return call.loss;
}

cm3_tensor *cm3_nn_mean_absolute_error(cm3_graph *graph, cm3_tensor *x, const float *target) {
    return mean_of(graph, (cm3_error_call){.x = x, .target = target, .power = 1});
}

cm3_tensor *cm3_nn_mean_squared_error(cm3_graph *graph, cm3_tensor *x, const float *target) {
    return mean_of(graph, (cm3_error_call){.x = x, .target = target, .power = 2});
}

cm3_tensor *cm3_nn_mean(cm3_graph *graph, cm3_tensor *x) {
    return mean_of(graph, (cm3_error_call){.x = x});
}

cm3_tensor *cm3_nn_mean_hinge(cm3_graph *graph, cm3_tensor *x, float sign) {
    return mean_of(graph, (cm3_error_call){.x = x, .power = 3, .sign = sign});
}

typedef struct cm3_through_saved {
    cm3_tensor *x, *y;
} cm3_through_saved;

static void through_backward(cm3_graph *graph, void *saved) {
    cm3_through_saved *s = saved;
    float *dx = s->y->grad ? cm3_graph_grad_add(graph, s->x) : NULL;
    if (dx) graph->kernels->add(dx, dx, s->y->grad, s->x->count);
}

cm3_tensor *cm3_nn_straight_through(cm3_graph *graph, cm3_tensor *x, const float *value) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    cm3_tensor *y = cm3_graph_like(graph, x);
    if (!y) return NULL;
    memcpy(y->data, value, (size_t)x->count * sizeof(float));
    const cm3_tensor *inputs[] = {x};
    cm3_through_saved *saved = cm3_graph_record(graph, y, inputs, 1, through_backward, sizeof *saved);
    if (saved) *saved = (cm3_through_saved){x, y};
    return graph->status == CM3_OK ? y : NULL;
}
