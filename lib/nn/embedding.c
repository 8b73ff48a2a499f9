/* Rows of a table by id, and where their gradients go. */
#include "nn/ops.h"

typedef struct cm3_embedding_saved {
    cm3_tensor *table, *y;
    int32_t *ids;
    int64_t count;
} cm3_embedding_saved;

static void embedding_backward(cm3_graph *graph, void *saved) {
    cm3_embedding_saved *s = saved;
    float *grad = s->y->grad ? cm3_graph_grad_add(graph, s->table) : NULL;
    if (!grad) return;
    int64_t d = s->table->shape[1];
    /* One after the other: rows of the same id would race, and the order of the sums must stay the same. */
    for (int64_t i = 0; i < s->count; i++) {
        float *row = grad + s->ids[i] * d;
        graph->kernels->add(row, row, s->y->grad + i * d, d);
    }
}

cm3_tensor *cm3_nn_embedding(cm3_graph *graph, cm3_tensor *table, const int32_t *ids, int64_t count) {
    if (!table || !cm3_graph_alive(graph)) return NULL;
    int64_t vocab = table->shape[0], d = table->shape[1];
    cm3_tensor *y = cm3_graph_matrix(graph, count, d);
    int32_t *copy = cm3_graph_scratch(graph, (size_t)count * sizeof *copy);
    if (!y || !copy) return NULL;
    for (int64_t i = 0; i < count && !graph->idle; i++) {
        if (ids[i] < 0 || ids[i] >= vocab) {
            return cm3_graph_fail(graph, CM3_ERROR_INVALID_ARGUMENT, "token %lld: id %d is not in 0..%lld",
                                  (long long)i, ids[i], (long long)vocab - 1);
        }
        copy[i] = ids[i];
        if (cm3_is_quantised(table)) {
            cm3_quantised rows = cm3_quantised_of(table);
            graph->kernels->dequantise_f32(cm3_f32(y) + i * d, &rows, ids[i], ids[i] + 1);
        } else if (table->dtype == CM3_BF16) {
            graph->kernels->bf16_to_f32(cm3_f32(y) + i * d, (const uint16_t *)table->data + ids[i] * d, d);
        } else {
            memcpy(cm3_f32(y) + i * d, cm3_f32(table) + ids[i] * d, (size_t)d * sizeof(float));
        }
    }
    const cm3_tensor *inputs[] = {table};
    cm3_embedding_saved *saved = cm3_graph_record(graph, y, inputs, 1, embedding_backward, sizeof *saved);
    if (saved) *saved = (cm3_embedding_saved){table, y, copy, count};
    return graph->status == CM3_OK ? y : NULL;
}
