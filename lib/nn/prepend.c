/* A row before each stretch of rows: the class token of pictures. */
#include "nn/ops.h"

typedef struct cm3_prepend_saved {
    cm3_tensor *row, *x, *y;
    int64_t each;
} cm3_prepend_saved;

static void prepend_backward(cm3_graph *graph, void *saved) {
    cm3_prepend_saved *s = saved;
    const float *dy = s->y->grad;
    float *drow = dy ? cm3_graph_grad_add(graph, s->row) : NULL;
    float *dx = dy ? cm3_graph_grad_add(graph, s->x) : NULL;
    const int64_t d = s->row->count, stretch = s->each * d;
    for (int64_t at = 0; dy && at < s->x->count; at += stretch, dy += d + stretch) {
        if (drow) graph->kernels->add(drow, drow, dy, d);
        if (dx) graph->kernels->add(dx + at, dx + at, dy + d, stretch);
    }
}

cm3_tensor *cm3_nn_prepend(cm3_graph *graph, cm3_tensor *row, cm3_tensor *x, int64_t each) {
    if (!row || !x || !cm3_graph_alive(graph)) return NULL;
    const int64_t d = row->count, stretch = each * d, count = x->count / stretch;
    cm3_tensor *y = cm3_graph_matrix(graph, count * (each + 1), d);
    for (int64_t i = 0; y && !graph->idle && i < count; i++) {
        float *to = cm3_f32(y) + i * (d + stretch);
        memcpy(to, row->data, (size_t)d * sizeof *to);
        memcpy(to + d, cm3_f32(x) + i * stretch, (size_t)stretch * sizeof *to);
    }
    const cm3_tensor *inputs[] = {row, x};
    cm3_prepend_saved *saved = y ? cm3_graph_record(graph, y, inputs, 2, prepend_backward, sizeof *saved) : NULL;
    if (saved) *saved = (cm3_prepend_saved){row, x, y, each};
    return graph->status == CM3_OK ? y : NULL;
}
