/*
 * Matrix products with weights. Few rows (decode) go to linear_few.c; many rows, and the gradients, are products of
 * whole matrices. Products that follow each other on the same rows, or are followed by an operation on each element,
 * have operations of their own, which do in one pass what the plain ones would do in several.
 */
#include "nn/linear.h"
#include "nn/parallel_rows.h"

/** The weights as bf16: as they are, their shadow, or rounded now. */
static const uint16_t *weights_bf16(cm3_graph *graph, const cm3_tensor *w) {
    if (w->dtype == CM3_BF16) return w->data;
    if (w->bf16) return w->bf16;
    return cm3_nn_round(graph, w->data, w->count);
}

/* --- many rows, and the gradient -----------------------------------------------------------------------------------
 */

typedef struct cm3_linear_saved {
    cm3_tensor *x, *w, *bias, *y;
    const void *x_data, *w_data; /**< as multiplied: f32 or bf16 */
    cm3_dtype dtype;
    int64_t m;
} cm3_linear_saved;

static void bias_gradient(float *grad, const float *dy, int64_t m, int64_t n, const cm3_kernels *kernels) {
    for (int64_t i = 0; i < m; i++) kernels->add(grad, grad, dy + i * n, n);
}

static void linear_backward(cm3_graph *graph, void *saved) {
    cm3_linear_saved *s = saved;
    int64_t m = s->m, n = s->w->shape[0], k = s->w->shape[1];
    if (!s->y->grad) return;
    const void *dy = s->y->grad;
    if (s->dtype == CM3_BF16) dy = cm3_nn_round(graph, s->y->grad, m * n);
    if (!dy) return;
    cm3_product p = {.batch = 1, .dtype = s->dtype};
    float *dx = cm3_graph_grad(graph, s->x, &p.accumulate);
    if (dx) { /* dx [m, k] = dy [m, n] w [n, k] */
        p.m = m, p.n = k, p.k = n, p.a = dy, p.b = s->w_data, p.c = dx;
        cm3_nn_product(graph, &p);
    }
    float *dw = cm3_graph_grad(graph, s->w, &p.accumulate);
    if (dw) { /* dw [n, k] = dy^T [n, m] x [m, k] */
        p.m = n, p.n = k, p.k = m, p.a = dy, p.trans_a = true, p.b = s->x_data, p.c = dw;
        cm3_nn_product(graph, &p);
    }
    float *dbias = s->bias ? cm3_graph_grad_add(graph, s->bias) : NULL;
    if (dbias) bias_gradient(dbias, s->y->grad, m, n, graph->kernels);
}

/** Rows of x for a matrix; -1 where they do not fit. */
static int64_t rows_for(cm3_graph *graph, const cm3_tensor *x, const cm3_tensor *w) {
    int64_t k = w->shape[1], m = k > 0 ? x->count / k : 0;
    if (m * k == x->count) return m;
    cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "linear: %lld values are no rows of %lld", (long long)x->count,
                   (long long)k);
    return -1;
}

/** Few rows, of a matrix that is not in training: what validates then multiplies the bf16 copy, as what learns does; on
 * several ranks there may be nothing else. */
static bool is_few_of(int64_t m, const cm3_tensor *w) {
    return cm3_nn_are_few(m) && !w->bf16;
}

/** Whether the stages of linear_few.c may be used: few rows, and nothing to be differentiated. */
static bool is_few(const cm3_graph *graph, int64_t m, const cm3_tensor *x, const cm3_linear_weights *weights) {
    bool wanted = x->wants_grad || weights->w->wants_grad || (weights->bias && weights->bias->wants_grad);
    return is_few_of(m, weights->w) && !(graph->record && wanted);
}

/* Multiplications of one product that nothing interrupts: some milliseconds of a slow CPU. Parts of so many columns and
 * rows are as fast as the whole (docs/performance.md); smaller ones are not made. */
#define UNDIVIDED (INT64_C(1) << 27)
#define LEAST_COLUMNS ((int64_t)256)
#define LEAST_ROWS ((int64_t)128)

/** The part of a product from that row and column on. */
static cm3_product part_of(const cm3_product *whole, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const size_t size = whole->dtype == CM3_BF16 ? 2 : 4;
    cm3_product p = *whole;
    p.m = whole->m - row < rows ? whole->m - row : rows;
    p.n = whole->n - column < columns ? whole->n - column : columns;
    p.ldc = whole->n;
    p.a = (const char *)whole->a + (size_t)(row * whole->k) * size;
    p.b = (const char *)whole->b + (size_t)(column * whole->k) * size;
    p.c = whole->c + row * whole->n + column;
    if (whole->bias) p.bias = whole->bias + column;
    return p;
}

/** c (+)= a b^T + bias, outside of training by parts so small that a cancel is soon answered. */
static void multiply_by_parts(cm3_graph *graph, const cm3_product *whole) {
    int64_t columns = whole->n, rows = whole->m;
    if (!graph->record && whole->m * whole->k > 0) {
        const int64_t most = UNDIVIDED / (whole->m * whole->k) / 64 * 64;
        if (most < columns) columns = most > LEAST_COLUMNS ? most : LEAST_COLUMNS;
        const int64_t high = UNDIVIDED / (columns * whole->k) / 64 * 64;
        if (high < rows) rows = high > LEAST_ROWS ? high : LEAST_ROWS;
    }
    for (int64_t column = 0; column < whole->n; column += columns) {
        for (int64_t row = 0; row < whole->m && graph->status == CM3_OK; row += rows) {
            const cm3_product p = part_of(whole, row, rows, column, columns);
            cm3_nn_product(graph, &p);
            cm3_graph_cancelled(graph);
        }
    }
}

/** Many rows: c (+)= x w^T + bias. False where it failed. */
static bool multiply(cm3_graph *graph, cm3_product *p, const cm3_tensor *x, const cm3_tensor *w,
                     const cm3_tensor *bias) {
    p->batch = 1, p->n = w->shape[0], p->k = w->shape[1], p->trans_b = true;
    p->dtype = CM3_F32, p->a = x->data, p->b = w->data, p->bias = cm3_graph_bias(graph, bias);
    if (graph->compute == CM3_COMPUTE_BF16) {
        p->dtype = CM3_BF16;
        if (cm3_is_quantised(w)) return cm3_nn_quantised_product(graph, p, w);
        p->a = cm3_nn_round(graph, x->data, p->m * p->k);
        p->b = weights_bf16(graph, w);
    } else if (cm3_is_quantised(w)) {
        return cm3_nn_quantised_product(graph, p, w);
    } else if (w->dtype == CM3_BF16) {
        p->b = cm3_nn_widen(graph, w->data, w->count);
    }
    if (graph->status == CM3_OK) multiply_by_parts(graph, p); /* not where there was no memory for them */
    return graph->status == CM3_OK;
}

cm3_tensor *cm3_nn_linear(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias) {
    if (!x || !w || !cm3_graph_alive(graph)) return NULL;
    int64_t m = rows_for(graph, x, w);
    cm3_tensor *y = m < 0 ? NULL : cm3_graph_matrix(graph, m, w->shape[0]);
    if (!y) return NULL;
    cm3_linear_weights weights = {w, bias};
    if (is_few(graph, m, x, &weights)) {
        cm3_nn_few(graph, &(cm3_few_stage){.x = x, .rows = m, .parts = {weights}, .y = {y->data}, .count = 1});
        return graph->status == CM3_OK ? y : NULL;
    }
    cm3_product p = {.m = m, .c = y->data};
    if (!multiply(graph, &p, x, w, bias)) return NULL;
    const cm3_tensor *inputs[] = {x, w, bias};
    cm3_linear_saved *saved = cm3_graph_record(graph, y, inputs, 3, linear_backward, sizeof *saved);
    if (saved) *saved = (cm3_linear_saved){x, w, bias, y, p.a, p.b, p.dtype, m};
    return graph->status == CM3_OK ? y : NULL;
}

/* --- stages --------------------------------------------------------------------------------------------------------
 */

void cm3_nn_linear_each(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights, int count, cm3_tensor **y) {
    bool few = x && count <= CM3_FEW_PARTS && cm3_graph_alive(graph);
    for (int i = 0; i < count; i++) {
        y[i] = NULL;
        few = few && weights[i].w && weights[i].w->shape[1] == weights[0].w->shape[1] &&
              is_few(graph, x->count / weights[0].w->shape[1], x, &weights[i]);
    }
    if (!few) {
        for (int i = 0; i < count; i++) y[i] = cm3_nn_linear(graph, x, weights[i].w, weights[i].bias);
        return;
    }
    cm3_few_stage stage = {.x = x, .rows = rows_for(graph, x, weights[0].w), .count = count};
    for (int i = 0; i < count; i++) {
        stage.parts[i] = weights[i];
        y[i] = stage.rows < 0 ? NULL : cm3_graph_matrix(graph, stage.rows, weights[i].w->shape[0]);
        if (!y[i]) return;
        stage.y[i] = y[i]->data;
    }
    cm3_nn_few(graph, &stage);
}

cm3_tensor *cm3_nn_linear_swiglu(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *gate,
                                 const cm3_linear_weights *up) {
    if (!x || !gate->w || !up->w || !cm3_graph_alive(graph)) return NULL;
    int64_t m = rows_for(graph, x, gate->w), n = gate->w->shape[0];
    if (m < 0) return NULL;
    bool same = up->w->shape[0] == n && up->w->shape[1] == gate->w->shape[1];
    if (!same || !is_few(graph, m, x, gate) || !is_few(graph, m, x, up)) {
        cm3_tensor *g = cm3_nn_linear(graph, x, gate->w, gate->bias), *u = cm3_nn_linear(graph, x, up->w, up->bias);
        return cm3_nn_swiglu_to(graph, g, u);
    }
    cm3_tensor *y = cm3_graph_matrix(graph, m, n), *second = cm3_graph_matrix(graph, m, n);
    if (!y || !second) return NULL;
    cm3_nn_few(
        graph,
        &(cm3_few_stage){
            .x = x, .rows = m, .parts = {*gate, *up}, .y = {y->data, second->data}, .count = 2, .end = CM3_FEW_SWIGLU});
    return graph->status == CM3_OK ? y : NULL;
}

cm3_tensor *cm3_nn_linear_activation(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights,
                                     cm3_activation kind) {
    if (!x || !weights->w || !cm3_graph_alive(graph)) return NULL;
    int64_t m = rows_for(graph, x, weights->w);
    if (m < 0) return NULL;
    if (!is_few(graph, m, x, weights)) {
        return cm3_nn_activation_to(graph, cm3_nn_linear(graph, x, weights->w, weights->bias), kind);
    }
    cm3_tensor *y = cm3_graph_matrix(graph, m, weights->w->shape[0]);
    if (!y) return NULL;
    cm3_nn_few(graph, &(cm3_few_stage){.x = x,
                                       .rows = m,
                                       .parts = {*weights},
                                       .y = {y->data},
                                       .count = 1,
                                       .end = CM3_FEW_ACTIVATE,
                                       .activation = kind});
    return graph->status == CM3_OK ? y : NULL;
}

cm3_tensor *cm3_nn_linear_add(cm3_graph *graph, cm3_tensor *x, const cm3_linear_weights *weights,
                              cm3_tensor *residual) {
    if (!x || !residual || !weights->w || !cm3_graph_alive(graph)) return NULL;
    if (graph->record) return cm3_nn_add(graph, residual, cm3_nn_linear(graph, x, weights->w, weights->bias));
    int64_t m = rows_for(graph, x, weights->w), n = weights->w->shape[0];
    if (m < 0) return NULL;
    if (residual->count != m * n) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "linear: the sum does not fit");
    if (!is_few_of(m, weights->w)) {
        cm3_product p = {.m = m, .c = residual->data, .accumulate = true};
        return multiply(graph, &p, x, weights->w, weights->bias) ? residual : NULL;
    }
    float *y = cm3_graph_scratch(graph, (size_t)(m * n) * sizeof *y);
    if (!y) return NULL;
    cm3_nn_few(graph, &(cm3_few_stage){.x = x,
                                       .rows = m,
                                       .parts = {*weights},
                                       .y = {y},
                                       .count = 1,
                                       .end = CM3_FEW_ADD,
                                       .residual = residual->data});
    return graph->status == CM3_OK ? residual : NULL;
}
