/* Products of activations, in batches. */
#include "nn/linear.h"

typedef struct cm3_matmul_saved {
    cm3_tensor *a, *b, *y;
    bool trans_a, trans_b;
    int64_t batch, m, n, k;
} cm3_matmul_saved;

static void matmul_backward(cm3_graph *graph, void *saved) {
    cm3_matmul_saved *s = saved;
    const float *dy = s->y->grad;
    if (!dy) return;
    cm3_product p = {.batch = s->batch, .dtype = CM3_F32};
    float *da = cm3_graph_grad(graph, s->a, &p.accumulate);
    if (da && !s->trans_a) { /* da [m, k] = dy [m, n] op(b)^T */
        p.m = s->m, p.n = s->k, p.k = s->n, p.a = dy, p.trans_a = false, p.b = s->b->data, p.trans_b = !s->trans_b,
        p.c = da;
        cm3_nn_product(graph, &p);
    } else if (da) { /* da [k, m] = op(b) dy^T */
        p.m = s->k, p.n = s->m, p.k = s->n, p.a = s->b->data, p.trans_a = s->trans_b, p.b = dy, p.trans_b = true,
        p.c = da;
        cm3_nn_product(graph, &p);
    }
    float *db = cm3_graph_grad(graph, s->b, &p.accumulate);
    if (db && !s->trans_b) { /* db [k, n] = op(a)^T dy */
        p.m = s->k, p.n = s->n, p.k = s->m, p.a = s->a->data, p.trans_a = !s->trans_a, p.b = dy, p.trans_b = false,
        p.c = db;
        cm3_nn_product(graph, &p);
    } else if (db) { /* db [n, k] = dy^T op(a) */
        p.m = s->n, p.n = s->k, p.k = s->m, p.a = dy, p.trans_a = true, p.b = s->a->data, p.trans_b = s->trans_a,
        p.c = db;
        cm3_nn_product(graph, &p);
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
    cm3_product p = {.batch = batch,
                     .m = m,
                     .n = n,
                     .k = k,
                     .trans_a = trans_a,
                     .trans_b = trans_b,
                     .dtype = CM3_F32,
                     .a = a->data,
                     .b = b->data,
                     .c = y->data};
    cm3_nn_product(graph, &p);
    const cm3_tensor *inputs[] = {a, b};
    cm3_matmul_saved *saved = cm3_graph_record(graph, y, inputs, 2, matmul_backward, sizeof *saved);
    if (saved) *saved = (cm3_matmul_saved){a, b, y, trans_a, trans_b, batch, m, n, k};
    return graph->status == CM3_OK ? y : NULL;
}
