/* Losses over pixels and scores, and the straight-through estimator. */
#include <math.h>

#include "nn/ops.h"

typedef enum cm3_loss_kind { CM3_LOSS_ABSOLUTE, CM3_LOSS_SQUARED, CM3_LOSS_PLAIN, CM3_LOSS_HINGE } cm3_loss_kind;

typedef struct cm3_loss_call {
    cm3_tensor *x, *loss;
    const float *target;
    cm3_loss_kind kind;
    float sign;   /**< of the hinge */
    double *sums; /**< one a block */
    /* backward */
    float *dx;
    float factor;
    bool accumulate;
} cm3_loss_call;

/** Elements summed at a time: blocks do not depend on the team, so the sum of their sums does not either. */
#define CM3_LOSS_BLOCK 4096

static inline __attribute__((always_inline)) float value_of(cm3_loss_kind kind, float x, float target, float sign) {
    float difference = x - target, reach = 1 + sign * x;
    switch (kind) {
    case CM3_LOSS_ABSOLUTE:
        return fabsf(difference);
    case CM3_LOSS_SQUARED:
        return difference * difference;
    case CM3_LOSS_PLAIN:
        return x;
    default:
        return reach > 0 ? reach : 0;
    }
}

static inline __attribute__((always_inline)) float slope_of(cm3_loss_kind kind, float x, float target, float sign) {
    float difference = x - target;
    switch (kind) {
    case CM3_LOSS_ABSOLUTE:
        return (float)((difference > 0) - (difference < 0));
    case CM3_LOSS_SQUARED:
        return 2 * difference;
    case CM3_LOSS_PLAIN:
        return 1;
    default:
        return 1 + sign * x > 0 ? sign : 0;
    }
}

/** Sixteen sums side by side become vectors. */
#define CM3_LANES 16

static inline __attribute__((always_inline)) double sum_range(const cm3_loss_call *l, cm3_loss_kind kind, int64_t begin,
                                                              int64_t end) {
    const float *x = cm3_f32(l->x), *target = l->target ? l->target : x;
    float lanes[CM3_LANES] = {0};
    double sum = 0;
    int64_t i = begin;
    for (; i + CM3_LANES <= end; i += CM3_LANES) {
        for (int64_t k = 0; k < CM3_LANES; k++) lanes[k] += value_of(kind, x[i + k], target[i + k], l->sign);
    }
    for (; i < end; i++) sum += (double)value_of(kind, x[i], target[i], l->sign);
    for (int64_t k = 0; k < CM3_LANES; k++) sum += (double)lanes[k];
    return sum;
}

static inline __attribute__((always_inline)) void slope_range(const cm3_loss_call *l, cm3_loss_kind kind, int64_t begin,
                                                              int64_t end) {
    const float *x = cm3_f32(l->x), *target = l->target ? l->target : x;
    float *dx = l->dx, factor = l->factor, sign = l->sign;
    if (l->accumulate) {
        for (int64_t i = begin; i < end; i++) dx[i] += factor * slope_of(kind, x[i], target[i], sign);
    } else {
        for (int64_t i = begin; i < end; i++) dx[i] = factor * slope_of(kind, x[i], target[i], sign);
    }
}

/** The kind is a constant inside each loop. */
static double sum_block(const cm3_loss_call *l, int64_t begin, int64_t end) {
    switch (l->kind) {
    case CM3_LOSS_ABSOLUTE:
        return sum_range(l, CM3_LOSS_ABSOLUTE, begin, end);
    case CM3_LOSS_SQUARED:
        return sum_range(l, CM3_LOSS_SQUARED, begin, end);
    case CM3_LOSS_PLAIN:
        return sum_range(l, CM3_LOSS_PLAIN, begin, end);
    default:
        return sum_range(l, CM3_LOSS_HINGE, begin, end);
    }
}

static void slopes(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_loss_call *l = arg;
    switch (l->kind) {
    case CM3_LOSS_ABSOLUTE:
        slope_range(l, CM3_LOSS_ABSOLUTE, begin, end);
        break;
    case CM3_LOSS_SQUARED:
        slope_range(l, CM3_LOSS_SQUARED, begin, end);
        break;
    case CM3_LOSS_PLAIN:
        slope_range(l, CM3_LOSS_PLAIN, begin, end);
        break;
    default:
        slope_range(l, CM3_LOSS_HINGE, begin, end);
    }
}

static void sum_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_loss_call *l = arg;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * CM3_LOSS_BLOCK, last = first + CM3_LOSS_BLOCK;
        l->sums[block] = sum_block(l, first, last < l->x->count ? last : l->x->count);
    }
}

static void loss_backward(cm3_graph *graph, void *saved) {
    cm3_loss_call *l = saved;
    l->dx = l->loss->grad ? cm3_graph_grad(graph, l->x, &l->accumulate) : NULL;
    if (!l->dx) return;
    l->factor = l->loss->grad[0] / (float)l->x->count;
    cm3_graph_for(graph, l->x->count, 4 * CM3_LOSS_BLOCK, slopes, l);
}

static double sum_of(const double *sums, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += sums[i];
    return sum;
}

static cm3_tensor *mean_of(cm3_graph *graph, cm3_loss_call call) {
    if (!call.x || !cm3_graph_alive(graph)) return NULL;
    int64_t blocks = (call.x->count + CM3_LOSS_BLOCK - 1) / CM3_LOSS_BLOCK;
    call.loss = cm3_graph_tensor(graph, CM3_F32, 1, (const int64_t[]){1});
    call.sums = cm3_graph_scratch(graph, (size_t)blocks * sizeof *call.sums);
    if (graph->status != CM3_OK) return NULL;
    cm3_graph_for(graph, blocks, 4, sum_blocks, &call);
    if (!graph->idle) *cm3_f32(call.loss) = (float)(sum_of(call.sums, blocks) / (double)call.x->count);
    const cm3_tensor *inputs[] = {call.x};
    cm3_loss_call *saved = cm3_graph_record(graph, call.loss, inputs, 1, loss_backward, sizeof *saved);
    if (saved) *saved = call;
    return graph->status == CM3_OK ? call.loss : NULL;
}

cm3_tensor *cm3_nn_mean_absolute_error(cm3_graph *graph, cm3_tensor *x, const float *target) {
    return mean_of(graph, (cm3_loss_call){.x = x, .target = target, .kind = CM3_LOSS_ABSOLUTE});
}

cm3_tensor *cm3_nn_mean_squared_error(cm3_graph *graph, cm3_tensor *x, const float *target) {
    return mean_of(graph, (cm3_loss_call){.x = x, .target = target, .kind = CM3_LOSS_SQUARED});
}

cm3_tensor *cm3_nn_mean(cm3_graph *graph, cm3_tensor *x) {
    return mean_of(graph, (cm3_loss_call){.x = x, .kind = CM3_LOSS_PLAIN});
}

cm3_tensor *cm3_nn_mean_hinge(cm3_graph *graph, cm3_tensor *x, float sign) {
    return mean_of(graph, (cm3_loss_call){.x = x, .kind = CM3_LOSS_HINGE, .sign = sign});
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
    if (!graph->idle) memcpy(y->data, value, (size_t)x->count * sizeof(float));
    const cm3_tensor *inputs[] = {x};
    cm3_through_saved *saved = cm3_graph_record(graph, y, inputs, 1, through_backward, sizeof *saved);
    if (saved) *saved = (cm3_through_saved){x, y};
    return graph->status == CM3_OK ? y : NULL;
}
