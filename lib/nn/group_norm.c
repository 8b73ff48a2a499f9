/* Group norm with an optional swish behind it, as an operation by itself. */
#include "nn/map_norm.h"

typedef struct cm3_group_norm_saved {
    cm3_tensor *x, *y;
    cm3_map_norm norm;
} cm3_group_norm_saved;

static void group_norm_backward(cm3_graph *graph, void *saved) {
    cm3_group_norm_saved *s = saved;
    if (!s->y->grad) return;
    bool accumulate;
    float *dx = cm3_graph_grad(graph, s->x, &accumulate);
    cm3_map_norm_backward(graph, &s->norm, s->y->grad, CM3_F32, dx, CM3_F32, accumulate, NULL);
}

cm3_tensor *cm3_nn_group_norm(cm3_graph *graph, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta, int64_t groups,
                              float epsilon, bool swish) {
    if (!x || !gamma || !beta || !cm3_graph_alive(graph)) return NULL;
    if (x->rank != 4 || x->shape[3] % groups || gamma->count != x->shape[3] || beta->count != x->shape[3]) {
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "group norm: shapes do not fit");
    }
    cm3_group_norm_saved s = {
        .x = x,
        .y = cm3_graph_like(graph, x),
        .norm = {.gamma = gamma,
                 .beta = beta,
                 .images = x->shape[0],
                 .pixels = x->shape[1] * x->shape[2],
                 .channels = x->shape[3],
                 .groups = groups,
                 .epsilon = epsilon,
                 .swish = swish,
                 .x = x->data,
                 .x_dtype = CM3_F32},
    };
    cm3_arena_mark mark = cm3_graph_mark(graph);
    if (!s.y || !cm3_map_norm_forward(graph, &s.norm, s.y->data, CM3_F32)) return NULL;
    const cm3_tensor *inputs[] = {x, gamma, beta};
    cm3_group_norm_saved *saved = cm3_graph_record(graph, s.y, inputs, 3, group_norm_backward, sizeof *saved);
    if (saved) *saved = s;
    cm3_graph_rewind(graph, mark);
    return graph->status == CM3_OK ? s.y : NULL;
}
