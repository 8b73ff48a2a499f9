/* RMSNorm and LayerNorm over the last dimension, forward and gradient. */
#include "nn/ops.h"
#include "nn/parallel_rows.h"

typedef struct cm3_norm_call {
    cm3_graph *graph;
    cm3_tensor *x, *gamma, *beta, *y;
    float *mean, *rstd; /**< [rows]; mean NULL for RMSNorm */
    float epsilon;
    int64_t rows, n, period;
    /* backward */
    float *dx, *dgamma, *dbeta; /**< dgamma and dbeta: one [period, n] block a member */
    bool accumulate;
} cm3_norm_call;

static void forward_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_norm_call *c = arg;
    const cm3_kernels *kernels = c->graph->kernels;
    const float *x = cm3_f32(c->x) + begin * c->n, *gamma = c->gamma ? cm3_f32(c->gamma) : NULL;
    float *y = cm3_f32(c->y) + begin * c->n;
    if (c->mean) {
        kernels->layer_norm(y, c->mean + begin, c->rstd + begin, x, gamma, c->beta ? cm3_f32(c->beta) : NULL, c->period,
                            begin, end - begin, c->n, c->epsilon);
    } else {
        kernels->rms_norm(y, c->rstd + begin, x, gamma, end - begin, c->n, c->epsilon);
    }
}

static void backward_rows(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_norm_call *c = arg;
    const cm3_kernels *kernels = c->graph->kernels;
    int64_t block = c->period * c->n;
    const float *x = cm3_f32(c->x) + begin * c->n, *dy = c->y->grad + begin * c->n;
    const float *gamma = c->gamma ? cm3_f32(c->gamma) : NULL;
    float *dx = c->dx + begin * c->n;
    float *dgamma = c->dgamma ? c->dgamma + member * block : NULL;
    float *dbeta = c->dbeta ? c->dbeta + member * block : NULL;
    if (c->mean) {
        kernels->layer_norm_backward(dx, c->accumulate, dgamma, dbeta, dy, x, c->mean + begin, c->rstd + begin, gamma,
                                     c->period, begin, end - begin, c->n);
    } else {
        kernels->rms_norm_backward(dx, c->accumulate, dgamma, dy, x, c->rstd + begin, gamma, end - begin, c->n);
    }
}

/** A zeroed [period, n] block for each member of the team, or NULL where the parameter wants no gradient. */
static float *partial_sums(const cm3_norm_call *c, const cm3_tensor *parameter) {
    if (!parameter || !parameter->wants_grad) return NULL;
    size_t count = (size_t)(c->period * c->n) * (size_t)cm3_team_size(c->graph->team);
    float *sums = cm3_graph_scratch(c->graph, count * sizeof(float));
    if (sums) memset(sums, 0, count * sizeof(float));
    return sums;
}

/** Adds the members' blocks in their order, so that the sum is the same each time. */
static void add_partial_sums(const cm3_norm_call *c, cm3_tensor *parameter, const float *sums) {
    float *grad = sums ? cm3_graph_grad_add(c->graph, parameter) : NULL;
    if (!grad) return;
    int64_t block = c->period * c->n;
    for (int i = 0; i < cm3_team_size(c->graph->team); i++) {
        c->graph->kernels->add(grad, grad, sums + i * block, block);
    }
}

static void norm_backward(cm3_graph *graph, void *saved) {
    cm3_norm_call *c = saved;
    if (!c->y->grad) return;
    c->dx = cm3_graph_grad(graph, c->x, &c->accumulate);
    if (!c->dx) { /* the kernel writes dx in any case */
        c->dx = cm3_graph_scratch(graph, (size_t)c->x->count * sizeof(float));
        c->accumulate = false;
    }
    c->dgamma = partial_sums(c, c->gamma);
    c->dbeta = partial_sums(c, c->beta);
    if (graph->status != CM3_OK) return;
    cm3_graph_for(graph, c->rows, cm3_row_grain(c->n), backward_rows, c);
    add_partial_sums(c, c->gamma, c->dgamma);
    add_partial_sums(c, c->beta, c->dbeta);
}

static cm3_tensor *norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta, float epsilon,
                        bool centred) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    int64_t n = gamma ? gamma->shape[gamma->rank - 1] : x->shape[x->rank - 1];
    cm3_norm_call call = {.graph = graph,
                          .x = x,
                          .gamma = gamma,
                          .beta = beta,
                          .epsilon = epsilon,
                          .n = n,
                          .rows = x->count / n,
                          .period = gamma ? gamma->count / n : 1};
    if (call.rows * n != x->count || (!centred && call.period != 1)) {
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "norm: shapes do not fit");
    }
    call.y = cm3_graph_like(graph, x);
    call.rstd = cm3_graph_scratch(graph, (size_t)call.rows * sizeof(float));
    if (centred) call.mean = cm3_graph_scratch(graph, (size_t)call.rows * sizeof(float));
    if (graph->status != CM3_OK) return NULL;
    cm3_graph_for(graph, call.rows, cm3_row_grain(n), forward_rows, &call);
    const cm3_tensor *inputs[] = {x, gamma, beta};
    cm3_norm_call *saved = cm3_graph_record(graph, call.y, inputs, 3, norm_backward, sizeof *saved);
    if (saved) *saved = call;
    return graph->status == CM3_OK ? call.y : NULL;
}

cm3_tensor *cm3_nn_rms_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, float epsilon) {
    return norm(graph, x, gamma, NULL, epsilon, false);
}

cm3_tensor *cm3_nn_layer_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta, float epsilon) {
    return norm(graph, x, gamma, beta, epsilon, true);
}
