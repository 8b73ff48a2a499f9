/*
 * Matrix products with weights. Few rows (decode) go to the kernels that read each weight once; many rows to oneDNN,
 * or, where it has nothing, to the portable product.
 */
#include "nn/onednn/onednn.h"
#include "nn/ops.h"
#include "nn/parallel_rows.h"

/* Up to this many rows the decode kernels win: they take eight rows at a time over a stretch of weights that stays in
 * cache. */
#define CM3_FEW_ROWS 32
#define CM3_ROWS_AT_ONCE 8

/** Operands of one product, c (+)= op(a) op(b), in the types at hand. */
typedef struct cm3_product {
    int64_t m, n, k;
    bool trans_a, trans_b, accumulate;
    cm3_dtype dtype; /**< of a and b */
    const void *a, *b;
    float *c;
    const float *bias; /**< [n] or NULL; only with trans_a = false */
} cm3_product;

typedef struct cm3_product_range {
    cm3_graph *graph;
    const cm3_product *product;
    const float *a, *b;
} cm3_product_range;

static void product_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_product_range *range = arg;
    const cm3_product *p = range->product;
    int64_t a_row = p->trans_a ? 1 : p->k, a_column = p->trans_a ? p->m : 1;
    int64_t b_row = p->trans_b ? 1 : p->n, b_column = p->trans_b ? p->k : 1;
    range->graph->kernels->gemm_f32(p->c + begin * p->n, p->n, range->a + begin * a_row, a_row, a_column, range->b,
                                    b_row, b_column, end - begin, p->n, p->k, p->accumulate);
}

/** f32 values of bf16 data, in the arena. */
static const float *widen(cm3_graph *graph, const void *data, int64_t count) {
    float *values = cm3_graph_scratch(graph, (size_t)count * sizeof(float));
    if (values) graph->kernels->bf16_to_f32(values, data, count);
    return values;
}

static void add_bias(cm3_graph *graph, float *c, const float *bias, int64_t m, int64_t n) {
    for (int64_t i = 0; i < m; i++) graph->kernels->add(c + i * n, c + i * n, bias, n);
}

static void product(cm3_graph *graph, const cm3_product *p) {
    if (graph->dnn) {
        cm3_dnn_matmul_args args = {
            .batch = 1,
            .m = p->m,
            .n = p->n,
            .k = p->k,
            .ab_dtype = p->dtype,
            .c_dtype = CM3_F32,
            .trans_a = p->trans_a,
            .trans_b = p->trans_b,
            .accumulate = p->accumulate,
            .a = p->a,
            .b = p->b,
            .c = p->c,
            .bias = p->bias,
            .lda = p->trans_a ? p->m : p->k,
            .ldb = p->trans_b ? p->k : p->n,
            .ldc = p->n,
        };
        cm3_status status = cm3_dnn_matmul(graph->dnn, &args);
        if (status == CM3_OK) return;
        if (status != CM3_ERROR_UNSUPPORTED) {
            cm3_graph_fail(graph, status, "matrix product %lld x %lld x %lld failed", (long long)p->m, (long long)p->n,
                           (long long)p->k);
            return;
        }
    }
    cm3_product_range range = {graph, p, p->a, p->b};
    if (p->dtype == CM3_BF16) {
        range.a = widen(graph, p->a, p->m * p->k);
        range.b = widen(graph, p->b, p->k * p->n);
        if (!range.a || !range.b) return;
    }
    cm3_parallel_for(graph->team, p->m, 1 + (1 << 18) / (p->n * p->k + 1), product_rows, &range);
    if (p->bias) add_bias(graph, p->c, p->bias, p->m, p->n);
}

typedef struct cm3_convert_range {
    const cm3_kernels *kernels;
    uint16_t *to;
    const float *from;
} cm3_convert_range;

static void convert_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_convert_range *range = arg;
    range->kernels->f32_to_bf16(range->to + begin, range->from + begin, end - begin);
}

uint16_t *cm3_nn_round(cm3_graph *graph, const float *values, int64_t count) {
    uint16_t *rounded = cm3_graph_scratch(graph, (size_t)count * sizeof *rounded);
    if (!rounded) return NULL;
    cm3_convert_range range = {graph->kernels, rounded, values};
    cm3_parallel_for(graph->team, count, 1 << 16, convert_range, &range);
    return rounded;
}

/** The weights as bf16: as they are, their shadow, or rounded now. */
static const uint16_t *weights_bf16(cm3_graph *graph, const cm3_tensor *w) {
    if (w->dtype == CM3_BF16) return w->data;
    if (w->bf16) return w->bf16;
    return cm3_nn_round(graph, w->data, w->count);
}

/* --- few rows ------------------------------------------------------------------------------------------------------
 */

typedef struct cm3_few {
    const cm3_kernels *kernels;
    float *y;
    const void *x, *w;
    const float *bias;
    int rows;
    int64_t n, k;
    cm3_dtype x_dtype, w_dtype;
} cm3_few;

static void few_columns(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_few *f = arg;
    for (int first = 0; first < f->rows; first += CM3_ROWS_AT_ONCE) {
        int rows = f->rows - first < CM3_ROWS_AT_ONCE ? f->rows - first : CM3_ROWS_AT_ONCE;
        float *y = f->y + first * f->n;
        const void *x = (const char *)f->x + (size_t)(first * f->k) * cm3_dtype_size(f->x_dtype);
        if (f->w_dtype == CM3_F32) {
            f->kernels->few_rows_f32(y, f->n, x, rows, f->w, f->k, begin, end, f->bias);
        } else if (f->x_dtype == CM3_BF16) {
            f->kernels->few_rows_bf16(y, f->n, x, rows, f->w, f->k, begin, end, f->bias);
        } else {
            f->kernels->few_rows_mixed(y, f->n, x, rows, f->w, f->k, begin, end, f->bias);
        }
    }
}

static void linear_few(cm3_graph *graph, const cm3_tensor *x, const cm3_tensor *w, const float *bias, cm3_tensor *y) {
    cm3_few few = {.kernels = graph->kernels,
                   .y = y->data,
                   .x = x->data,
                   .w = w->data,
                   .bias = bias,
                   .rows = (int)y->shape[0],
                   .n = w->shape[0],
                   .k = w->shape[1],
                   .x_dtype = CM3_F32,
                   .w_dtype = w->dtype};
    if (graph->compute == CM3_COMPUTE_BF16 && w->dtype == CM3_BF16) {
        few.x_dtype = CM3_BF16;
        few.x = cm3_nn_round(graph, x->data, y->shape[0] * few.k);
        if (!few.x) return;
    }
    /* Below about 64 KiB of weights a member, waking the team costs more than it saves. */
    int64_t grain = 1 + (1 << 16) / (few.k * (int64_t)cm3_dtype_size(w->dtype));
    cm3_parallel_for(graph->team, few.n, (grain + 15) / 16 * 16, few_columns, &few);
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
    cm3_product p = {.dtype = s->dtype};
    float *dx = cm3_graph_grad(graph, s->x, &p.accumulate);
    if (dx) { /* dx [m, k] = dy [m, n] w [n, k] */
        p.m = m, p.n = k, p.k = n, p.a = dy, p.b = s->w_data, p.c = dx;
        product(graph, &p);
    }
    float *dw = cm3_graph_grad(graph, s->w, &p.accumulate);
    if (dw) { /* dw [n, k] = dy^T [n, m] x [m, k] */
        p.m = n, p.n = k, p.k = m, p.a = dy, p.trans_a = true, p.b = s->x_data, p.c = dw;
        product(graph, &p);
    }
    float *dbias = s->bias ? cm3_graph_grad_add(graph, s->bias) : NULL;
    if (dbias) bias_gradient(dbias, s->y->grad, m, n, graph->kernels);
}

cm3_tensor *cm3_nn_linear(cm3_graph *graph, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias) {
    if (!x || !w || !cm3_graph_alive(graph)) return NULL;
    int64_t n = w->shape[0], k = w->shape[1], m = k > 0 ? x->count / k : 0;
    if (m * k != x->count) {
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "linear: %lld values are no rows of %lld", (long long)x->count,
                              (long long)k);
    }
    cm3_tensor *y = cm3_graph_matrix(graph, m, n);
    if (!y) return NULL;
    const float *bias_data = bias ? cm3_f32(bias) : NULL;
    bool differentiate = graph->record && (x->wants_grad || w->wants_grad || (bias && bias->wants_grad));
    if (m <= CM3_FEW_ROWS && !differentiate) {
        linear_few(graph, x, w, bias_data, y);
        return graph->status == CM3_OK ? y : NULL;
    }
    cm3_product p = {.m = m,
                     .n = n,
                     .k = k,
                     .trans_b = true,
                     .dtype = CM3_F32,
                     .a = x->data,
                     .b = w->data,
                     .c = y->data,
                     .bias = bias_data};
    if (graph->compute == CM3_COMPUTE_BF16) {
        p.dtype = CM3_BF16;
        p.a = cm3_nn_round(graph, x->data, m * k);
        p.b = weights_bf16(graph, w);
    } else if (w->dtype == CM3_BF16) {
        p.b = widen(graph, w->data, w->count);
    }
    if (!p.a || !p.b) return NULL;
    product(graph, &p);
    const cm3_tensor *inputs[] = {x, w, bias};
    cm3_linear_saved *saved = cm3_graph_record(graph, y, inputs, 3, linear_backward, sizeof *saved);
    if (saved) *saved = (cm3_linear_saved){x, w, bias, y, p.a, p.b, p.dtype, m};
    return graph->status == CM3_OK ? y : NULL;
}

/* --- products of activations ---------------------------------------------------------------------------------------
 */

typedef struct cm3_matmul_saved {
    cm3_tensor *a, *b, *y;
    bool trans_a, trans_b;
    int64_t batch, m, n, k;
} cm3_matmul_saved;

/** For each of the batch: c (+)= op(a) op(b), f32. */
static void batched(cm3_graph *graph, int64_t batch, const cm3_product *p) {
    if (graph->dnn) {
        cm3_dnn_matmul_args args = {
            .batch = batch,
            .m = p->m,
            .n = p->n,
            .k = p->k,
            .ab_dtype = CM3_F32,
            .c_dtype = CM3_F32,
            .trans_a = p->trans_a,
            .trans_b = p->trans_b,
            .accumulate = p->accumulate,
            .a = p->a,
            .b = p->b,
            .c = p->c,
            .lda = p->trans_a ? p->m : p->k,
            .ldb = p->trans_b ? p->k : p->n,
            .ldc = p->n,
            .a_stride = p->m * p->k,
            .b_stride = p->k * p->n,
            .c_stride = p->m * p->n,
        };
        cm3_status status = cm3_dnn_matmul(graph->dnn, &args);
        if (status == CM3_OK) return;
        if (status != CM3_ERROR_UNSUPPORTED) {
            cm3_graph_fail(graph, status, "batched matrix product failed");
            return;
        }
    }
    for (int64_t i = 0; i < batch; i++) {
        cm3_product one = *p;
        one.c = p->c + i * p->m * p->n;
        cm3_product_range range = {graph, &one, (const float *)p->a + i * p->m * p->k,
                                   (const float *)p->b + i * p->k * p->n};
        cm3_parallel_for(graph->team, p->m, 1 + (1 << 18) / (p->n * p->k + 1), product_rows, &range);
    }
}

static void matmul_backward(cm3_graph *graph, void *saved) {
    cm3_matmul_saved *s = saved;
    const float *dy = s->y->grad;
    if (!dy) return;
    cm3_product p = {.dtype = CM3_F32};
    float *da = cm3_graph_grad(graph, s->a, &p.accumulate);
    if (da && !s->trans_a) { /* da [m, k] = dy [m, n] op(b)^T */
        p.m = s->m, p.n = s->k, p.k = s->n, p.a = dy, p.trans_a = false, p.b = s->b->data, p.trans_b = !s->trans_b,
        p.c = da;
        batched(graph, s->batch, &p);
    } else if (da) { /* da [k, m] = op(b) dy^T */
        p.m = s->k, p.n = s->m, p.k = s->n, p.a = s->b->data, p.trans_a = s->trans_b, p.b = dy, p.trans_b = true,
        p.c = da;
        batched(graph, s->batch, &p);
    }
    float *db = cm3_graph_grad(graph, s->b, &p.accumulate);
    if (db && !s->trans_b) { /* db [k, n] = op(a)^T dy */
        p.m = s->k, p.n = s->n, p.k = s->m, p.a = s->a->data, p.trans_a = !s->trans_a, p.b = dy, p.trans_b = false,
        p.c = db;
        batched(graph, s->batch, &p);
    } else if (db) { /* db [n, k] = dy^T op(a) */
        p.m = s->n, p.n = s->k, p.k = s->m, p.a = dy, p.trans_a = true, p.b = s->a->data, p.trans_b = s->trans_a,
        p.c = db;
        batched(graph, s->batch, &p);
    }
}

cm3_tensor *cm3_nn_matmul(cm3_graph *graph, cm3_tensor *a, bool trans_a, cm3_tensor *b, bool trans_b) {
    if (!a || !b || !cm3_graph_alive(graph)) return NULL;
    int64_t batch = a->shape[0], m = a->shape[trans_a ? 2 : 1], k = a->shape[trans_a ? 1 : 2];
    int64_t n = b->shape[trans_b ? 1 : 2];
    if (a->rank != 3 || b->rank != 3 || b->shape[0] != batch || b->shape[trans_b ? 2 : 1] != k) {
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "matmul: shapes do not fit");
    }
    cm3_tensor *y = cm3_graph_tensor(graph, CM3_F32, 3, (const int64_t[]){batch, m, n});
    if (!y) return NULL;
    cm3_product p = {.m = m,
                     .n = n,
                     .k = k,
                     .trans_a = trans_a,
                     .trans_b = trans_b,
                     .dtype = CM3_F32,
                     .a = a->data,
                     .b = b->data,
                     .c = y->data};
    batched(graph, batch, &p);
    const cm3_tensor *inputs[] = {a, b};
    cm3_matmul_saved *saved = cm3_graph_record(graph, y, inputs, 2, matmul_backward, sizeof *saved);
    if (saved) *saved = (cm3_matmul_saved){a, b, y, trans_a, trans_b, batch, m, n, k};
    return graph->status == CM3_OK ? y : NULL;
}
