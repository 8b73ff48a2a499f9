/* Weighted cross-entropy of logits. */
#include "nn/ops.h"
#include "nn/parallel_rows.h"

typedef struct cm3_ce_call {
    cm3_graph *graph;
    cm3_tensor *logits, *loss;
    int32_t *targets;
    float *losses, *lse, *scale; /**< [rows]; scale: weight over the sum of weights */
    int64_t rows, n;
    float *dlogits;
    bool accumulate;
} cm3_ce_call;

static void forward_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_ce_call *c = arg;
    c->graph->kernels->cross_entropy(c->losses + begin, c->lse + begin, cm3_f32(c->logits) + begin * c->n,
                                     c->targets + begin, end - begin, c->n);
}

static void backward_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_ce_call *c = arg;
    c->graph->kernels->cross_entropy_backward(c->dlogits + begin * c->n, c->accumulate,
                                              cm3_f32(c->logits) + begin * c->n, c->lse + begin, c->targets + begin,
                                              c->scale + begin, end - begin, c->n);
}

static void backward(cm3_graph *graph, void *saved) {
    cm3_ce_call *c = saved;
    if (!c->loss->grad) return;
    c->dlogits = cm3_graph_grad(graph, c->logits, &c->accumulate);
    if (!c->dlogits) return;
    for (int64_t i = 0; i < c->rows; i++) c->scale[i] *= c->loss->grad[0];
    cm3_graph_for(graph, c->rows, cm3_row_grain(c->n), backward_rows, c);
}

/** Targets and, in `scale`, their weights; the sum of these. False where a target is none. */
static bool take_targets(cm3_ce_call *c, const int32_t *targets, const float *weights, double *weight_sum) {
    *weight_sum = 0;
    for (int64_t i = 0; i < c->rows; i++) {
        if (targets[i] >= c->n) {
            cm3_graph_fail(c->graph, CM3_ERROR_INVALID_ARGUMENT, "target %lld: id %d is not below %lld", (long long)i,
                           targets[i], (long long)c->n);
            return false;
        }
        c->targets[i] = targets[i];
        c->scale[i] = targets[i] < 0 ? 0 : weights ? weights[i] : 1;
        *weight_sum += c->scale[i];
    }
    return true;
}

/** The mean of the rows' losses; their weights become parts of it. */
static float weighted_mean(const cm3_ce_call *c, double weight_sum) {
    double sum = 0;
    for (int64_t i = 0; i < c->rows; i++) {
        sum += (double)c->scale[i] * c->losses[i];
        c->scale[i] = weight_sum > 0 ? (float)(c->scale[i] / weight_sum) : 0;
    }
    return weight_sum > 0 ? (float)(sum / weight_sum) : 0;
}

cm3_tensor *cm3_nn_cross_entropy(cm3_graph *graph, cm3_tensor *logits, const int32_t *targets, const float *weights,
                                 float *losses) {
    if (!logits || !cm3_graph_alive(graph)) return NULL;
    cm3_ce_call call = {.graph = graph, .logits = logits, .n = logits->shape[logits->rank - 1]};
    call.rows = logits->count / call.n;
    size_t rows = (size_t)call.rows;
    call.loss = cm3_graph_tensor(graph, CM3_F32, 1, (const int64_t[]){1});
    call.targets = cm3_graph_scratch(graph, rows * sizeof *call.targets);
    call.losses = losses ? losses : cm3_graph_scratch(graph, rows * sizeof(float));
    call.lse = cm3_graph_scratch(graph, rows * sizeof(float));
    call.scale = cm3_graph_scratch(graph, rows * sizeof(float));
    if (graph->status != CM3_OK) return NULL;
    double weight_sum = 0;
    if (!graph->idle && !take_targets(&call, targets, weights, &weight_sum)) return NULL;
    cm3_graph_for(graph, call.rows, cm3_row_grain(call.n), forward_rows, &call);
    if (!graph->idle) *cm3_f32(call.loss) = weighted_mean(&call, weight_sum);
    const cm3_tensor *inputs[] = {logits};
    cm3_ce_call *saved = cm3_graph_record(graph, call.loss, inputs, 1, backward, sizeof *saved);
    if (saved) *saved = call;
    return graph->status == CM3_OK ? call.loss : NULL;
}
