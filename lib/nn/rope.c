/* Rotary positions (Su et al. 2021), in the half-split convention of Hugging Face. */
#include <math.h>

#include "nn/ops.h"
#include "nn/parallel_rows.h"

bool cm3_nn_rope_table(cm3_graph *graph, const int32_t *positions, int64_t count, int64_t head_dim, float theta,
                       cm3_rope_table *table) {
    int64_t half = head_dim / 2;
    float *cosines = cm3_graph_scratch(graph, (size_t)(count * half) * sizeof(float));
    float *sines = cm3_graph_scratch(graph, (size_t)(count * half) * sizeof(float));
    float *frequencies = cm3_graph_scratch(graph, (size_t)half * sizeof(float));
    if (!cosines || !sines || !frequencies) return false;
    *table = (cm3_rope_table){cosines, sines, count, head_dim};
    if (graph->idle) return true;
    for (int64_t i = 0; i < half; i++) frequencies[i] = 1.0f / powf(theta, (float)(2 * i) / (float)head_dim);
    for (int64_t row = 0; row < count; row++) {
        for (int64_t i = 0; i < half; i++) {
            float angle = (float)positions[row] * frequencies[i];
            cosines[row * half + i] = cosf(angle);
            sines[row * half + i] = sinf(angle);
        }
    }
    return true;
}

typedef struct cm3_rope_call {
    cm3_graph *graph;
    cm3_tensor *x, *y;
    cm3_rope_table table;
    int64_t heads;
    float *to;
    const float *from;
    bool inverse;
} cm3_rope_call;

static void rope_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_rope_call *c = arg;
    int64_t d = c->table.head_dim, width = c->heads * d, half = d / 2;
    c->graph->kernels->rope(c->to + begin * width, c->from + begin * width, c->table.cos + begin * half,
                            c->table.sin + begin * half, end - begin, c->heads, d, c->inverse);
}

static void rope_backward(cm3_graph *graph, void *saved) {
    cm3_rope_call *c = saved;
    if (!c->y->grad) return;
    bool accumulate;
    float *dx = cm3_graph_grad(graph, c->x, &accumulate);
    if (!dx) return;
    c->from = c->y->grad;
    c->to = accumulate ? cm3_graph_scratch(graph, (size_t)c->x->count * sizeof(float)) : dx;
    c->inverse = true;
    if (!c->to) return;
    cm3_graph_for(graph, c->table.rows, cm3_row_grain(c->heads * c->table.head_dim), rope_rows, c);
    if (accumulate) graph->kernels->add(dx, dx, c->to, c->x->count);
}

cm3_tensor *cm3_nn_rope(cm3_graph *graph, cm3_tensor *x, const cm3_rope_table *table) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    int64_t width = x->count / table->rows;
    cm3_tensor *y = cm3_graph_like(graph, x);
    if (!y) return NULL;
    cm3_rope_call call = {.graph = graph,
                          .x = x,
                          .y = y,
                          .table = *table,
                          .heads = width / table->head_dim,
                          .to = cm3_f32(y),
                          .from = cm3_f32(x)};
    cm3_graph_for(graph, table->rows, cm3_row_grain(width), rope_rows, &call);
    const cm3_tensor *inputs[] = {x};
    cm3_rope_call *saved = cm3_graph_record(graph, y, inputs, 1, rope_backward, sizeof *saved);
    if (saved) *saved = call;
    return graph->status == CM3_OK ? y : NULL;
}
