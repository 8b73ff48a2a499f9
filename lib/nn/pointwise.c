/* Operations on each element or each row by itself: sums, activations, softmax, reshaping. */
#include "nn/ops.h"
#include "nn/parallel_rows.h"

#define CM3_GRAIN 16384

typedef struct cm3_pointwise {
    cm3_graph *graph;
    cm3_tensor *a, *b, *y;
    float factor;
    cm3_activation kind;
    int64_t n; /**< softmax: row length */
    float *da, *db;
    bool accumulate_a, accumulate_b;
    bool in_place; /**< y is a where the graph does not record */
} cm3_pointwise;

/** Where the gradients of a and b go. False where neither is wanted. */
static bool prepare_gradients(cm3_graph *graph, cm3_pointwise *p) {
    if (!p->y->grad) return false;
    p->da = cm3_graph_grad(graph, p->a, &p->accumulate_a);
    p->db = p->b ? cm3_graph_grad(graph, p->b, &p->accumulate_b) : NULL;
    return graph->status == CM3_OK && (p->da || p->db);
}

/** Runs forward over the elements and records. `template`: everything but y. */
static cm3_tensor *pointwise(const cm3_pointwise *template, cm3_range_fn forward, cm3_backward_fn backward) {
    cm3_graph *graph = template->graph;
    cm3_pointwise p = *template;
    if (!p.a || !cm3_graph_alive(graph)) return NULL;
    p.y = p.in_place && !graph->record ? p.a : cm3_graph_like(graph, p.a);
    if (!p.y) return NULL;
    cm3_graph_for(graph, p.a->count, CM3_GRAIN, forward, &p);
    const cm3_tensor *inputs[] = {p.a, p.b};
    cm3_pointwise *saved = cm3_graph_record(graph, p.y, inputs, 2, backward, sizeof *saved);
    if (saved) *saved = p;
    return graph->status == CM3_OK ? p.y : NULL;
}

/* --- sum -----------------------------------------------------------------------------------------------------------
 */

static void add_forward(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->add(cm3_f32(p->y) + begin, cm3_f32(p->a) + begin, cm3_f32(p->b) + begin, end - begin);
}

static void pass(const cm3_kernels *kernels, float *to, bool accumulate, const float *from, int64_t begin,
                 int64_t end) {
    if (!to) return;
    if (accumulate) {
        kernels->add(to + begin, to + begin, from + begin, end - begin);
    } else {
        memcpy(to + begin, from + begin, (size_t)(end - begin) * sizeof(float));
    }
}

static void add_backward_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    pass(p->graph->kernels, p->da, p->accumulate_a, p->y->grad, begin, end);
    pass(p->graph->kernels, p->db, p->accumulate_b, p->y->grad, begin, end);
}

static void add_backward(cm3_graph *graph, void *saved) {
    cm3_pointwise *p = saved;
    if (prepare_gradients(graph, p)) cm3_graph_for(graph, p->y->count, CM3_GRAIN, add_backward_range, p);
}

static cm3_tensor *add(cm3_graph *graph, cm3_tensor *a, cm3_tensor *b, bool in_place) {
    if (!a || !b) return NULL;
    if (a->count != b->count) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "add: shapes do not fit");
    cm3_pointwise p = {.graph = graph, .a = a, .b = b, .in_place = in_place};
    return pointwise(&p, add_forward, add_backward);
}

cm3_tensor *cm3_nn_add(cm3_graph *graph, cm3_tensor *a, cm3_tensor *b) {
    return add(graph, a, b, false);
}

cm3_tensor *cm3_nn_add_to(cm3_graph *graph, cm3_tensor *a, cm3_tensor *b) {
    return add(graph, a, b, true);
}

/* --- scale ---------------------------------------------------------------------------------------------------------
 */

static void scale_forward(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->scale(cm3_f32(p->y) + begin, p->factor, cm3_f32(p->a) + begin, end - begin);
}

static void scale_backward(cm3_graph *graph, void *saved) {
    cm3_pointwise *p = saved;
    if (!prepare_gradients(graph, p)) return;
    if (p->accumulate_a) {
        graph->kernels->axpy(p->da, p->factor, p->y->grad, p->y->count);
    } else {
        graph->kernels->scale(p->da, p->factor, p->y->grad, p->y->count);
    }
}

cm3_tensor *cm3_nn_scale(cm3_graph *graph, cm3_tensor *x, float factor) {
    return pointwise(&(cm3_pointwise){.graph = graph, .a = x, .factor = factor}, scale_forward, scale_backward);
}

/* --- activations ---------------------------------------------------------------------------------------------------
 */

static void activation_forward(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->activation(cm3_f32(p->y) + begin, cm3_f32(p->a) + begin, end - begin, p->kind);
}

static void activation_backward_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->activation_backward(p->da + begin, p->accumulate_a, p->y->grad + begin, cm3_f32(p->a) + begin,
                                           end - begin, p->kind);
}

static void activation_backward(cm3_graph *graph, void *saved) {
    cm3_pointwise *p = saved;
    if (prepare_gradients(graph, p)) cm3_graph_for(graph, p->y->count, CM3_GRAIN, activation_backward_range, p);
}

cm3_tensor *cm3_nn_activation(cm3_graph *graph, cm3_tensor *x, cm3_activation kind) {
    return pointwise(&(cm3_pointwise){.graph = graph, .a = x, .kind = kind}, activation_forward, activation_backward);
}

cm3_tensor *cm3_nn_activation_to(cm3_graph *graph, cm3_tensor *x, cm3_activation kind) {
    cm3_pointwise p = {.graph = graph, .a = x, .kind = kind, .in_place = true};
    return pointwise(&p, activation_forward, activation_backward);
}

static void swiglu_forward(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->swiglu(cm3_f32(p->y) + begin, cm3_f32(p->a) + begin, cm3_f32(p->b) + begin, end - begin);
}

static void swiglu_backward_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->swiglu_backward(p->da + begin, p->accumulate_a, p->db + begin, p->accumulate_b,
                                       p->y->grad + begin, cm3_f32(p->a) + begin, cm3_f32(p->b) + begin, end - begin);
}

static void swiglu_backward(cm3_graph *graph, void *saved) {
    cm3_pointwise *p = saved;
    if (!prepare_gradients(graph, p)) return;
    /* The kernel writes both; one that nobody wants goes to waste. */
    if (!p->da) p->da = cm3_graph_scratch(graph, (size_t)p->y->count * sizeof(float)), p->accumulate_a = false;
    if (!p->db) p->db = cm3_graph_scratch(graph, (size_t)p->y->count * sizeof(float)), p->accumulate_b = false;
    if (graph->status != CM3_OK) return;
    cm3_graph_for(graph, p->y->count, CM3_GRAIN, swiglu_backward_range, p);
}

static cm3_tensor *swiglu(cm3_graph *graph, cm3_tensor *gate, cm3_tensor *up, bool in_place) {
    if (!gate || !up) return NULL;
    if (gate->count != up->count) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "swiglu: shapes do not fit");
    cm3_pointwise p = {.graph = graph, .a = gate, .b = up, .in_place = in_place};
    return pointwise(&p, swiglu_forward, swiglu_backward);
}

cm3_tensor *cm3_nn_swiglu(cm3_graph *graph, cm3_tensor *gate, cm3_tensor *up) {
    return swiglu(graph, gate, up, false);
}

cm3_tensor *cm3_nn_swiglu_to(cm3_graph *graph, cm3_tensor *gate, cm3_tensor *up) {
    return swiglu(graph, gate, up, true);
}

/* --- softmax -------------------------------------------------------------------------------------------------------
 */

static void softmax_forward_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->softmax(cm3_f32(p->y) + begin * p->n, cm3_f32(p->a) + begin * p->n, end - begin, p->n);
}

static void softmax_backward_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_pointwise *p = arg;
    p->graph->kernels->softmax_backward(p->da + begin * p->n, p->accumulate_a, p->y->grad + begin * p->n,
                                        cm3_f32(p->y) + begin * p->n, end - begin, p->n);
}

static void softmax_backward(cm3_graph *graph, void *saved) {
    cm3_pointwise *p = saved;
    if (!prepare_gradients(graph, p)) return;
    cm3_graph_for(graph, p->y->count / p->n, cm3_row_grain(p->n), softmax_backward_rows, p);
}

cm3_tensor *cm3_nn_softmax(cm3_graph *graph, cm3_tensor *x) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    cm3_pointwise p = {.graph = graph, .a = x, .y = cm3_graph_like(graph, x), .n = x->shape[x->rank - 1]};
    if (!p.y) return NULL;
    cm3_graph_for(graph, x->count / p.n, cm3_row_grain(p.n), softmax_forward_rows, &p);
    const cm3_tensor *inputs[] = {x};
    cm3_pointwise *saved = cm3_graph_record(graph, p.y, inputs, 1, softmax_backward, sizeof *saved);
    if (saved) *saved = p;
    return graph->status == CM3_OK ? p.y : NULL;
}

/* --- reshape -------------------------------------------------------------------------------------------------------
 */

cm3_tensor *cm3_nn_reshape(cm3_graph *graph, cm3_tensor *x, int rank, const int64_t *shape) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    cm3_tensor *y = cm3_graph_notes(graph, sizeof *y);
    if (!y) return NULL;
    *y = cm3_tensor_over(x->data, x->dtype, rank, shape);
    if (y->count != x->count) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "reshape: element counts differ");
    const cm3_tensor *inputs[] = {x};
    cm3_pointwise *saved = cm3_graph_record(graph, y, inputs, 1, add_backward, sizeof *saved);
    if (saved) *saved = (cm3_pointwise){.graph = graph, .a = x, .y = y};
    return graph->status == CM3_OK ? y : NULL;
}
