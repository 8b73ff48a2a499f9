/*
 * The transformer's forward pass, written once: training, plain forward, prefill and decode differ only in the graph
 * and in the batch they are given. Both families are settings of the configuration (CM3Leon section 2.3; Chameleon
 * section 2).
 */
#include "model/lm.h"

#include "base/status.h"

#define CM3_QK_NORM_EPSILON 1e-5f /* fixed in the published code, whatever the config says */

static cm3_tensor *norm(cm3_graph *graph, const cm3_lm *lm, cm3_tensor *x, cm3_tensor *gamma) {
    if (lm->config.norm == CM3_NORM_RMS) return cm3_nn_rms_norm(graph, x, gamma, lm->config.norm_epsilon);
    return cm3_nn_layer_norm(graph, x, NULL, NULL, lm->config.norm_epsilon);
}

typedef struct cm3_attention_context {
    const cm3_lm_batch *batch;
    const cm3_rope_table *rope; /**< NULL: learned positions */
    int32_t layer;
} cm3_attention_context;

/** Norm and rotation of q or k: [rows, heads * head_dim]. */
static cm3_tensor *heads_of(cm3_graph *graph, const cm3_lm *lm, cm3_tensor *x, cm3_tensor *gamma, cm3_tensor *beta,
                            const cm3_rope_table *rope) {
    if (lm->config.qk_norm) x = cm3_nn_layer_norm(graph, x, gamma, beta, CM3_QK_NORM_EPSILON);
    return rope ? cm3_nn_rope(graph, x, rope) : x;
}

/** What the heads make of x, before it goes through o. */
static cm3_tensor *attention(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                             const cm3_attention_context *a) {
    const cm3_linear_weights weights[] = {
        {layer->q, layer->q_bias}, {layer->k, layer->k_bias}, {layer->v, layer->v_bias}};
    cm3_tensor *qkv[3];
    cm3_nn_linear_each(graph, x, weights, 3, qkv);
    cm3_tensor *q = heads_of(graph, lm, qkv[0], layer->q_norm, layer->q_norm_bias, a->rope);
    cm3_tensor *k = heads_of(graph, lm, qkv[1], layer->k_norm, layer->k_norm_bias, a->rope);
    return cm3_nn_attention(graph, q, k, qkv[2], lm->config.heads, lm->config.kv_heads, &a->batch->plan, a->layer);
}

/** What lies between x and the matrix down. */
static cm3_tensor *feed_forward(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x) {
    cm3_linear_weights gate = {layer->gate, layer->gate_bias}, up = {layer->up, layer->up_bias};
    if (lm->config.ffn == CM3_FFN_SWIGLU) return cm3_nn_linear_swiglu(graph, x, &gate, &up);
    return cm3_nn_linear_activation(graph, x, &up, lm->config.ffn == CM3_FFN_GELU ? CM3_ACT_GELU : CM3_ACT_RELU);
}

/** A branch's way back into x through its last matrix: x + y w^T, or, with swin norms, x + norm(y w^T). Where nothing
 * is recorded, x is overwritten and what the branch took since `mark` is forgotten. */
static cm3_tensor *join(cm3_graph *graph, const cm3_lm *lm, cm3_tensor *x, cm3_tensor *y, cm3_tensor *w,
                        cm3_tensor *bias, cm3_tensor *gamma, cm3_arena_mark mark) {
    cm3_tensor *sum;
    if (lm->config.norm_place == CM3_NORM_SWIN) {
        sum = cm3_nn_add_to(graph, x, norm(graph, lm, cm3_nn_linear(graph, y, w, bias), gamma));
    } else {
        sum = cm3_nn_linear_add(graph, y, &(cm3_linear_weights){w, bias}, x);
    }
    cm3_graph_rewind(graph, mark);
    return sum;
}

static cm3_tensor *run_layer(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                             const cm3_attention_context *a) {
    bool before = lm->config.norm_place != CM3_NORM_SWIN;
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_tensor *y = before ? norm(graph, lm, x, layer->input_norm) : x;
    y = attention(graph, lm, layer, y, a);
    x = join(graph, lm, x, y, layer->o, layer->o_bias, layer->input_norm, mark);
    y = before ? norm(graph, lm, x, layer->post_norm) : x;
    y = feed_forward(graph, lm, layer, y);
    return join(graph, lm, x, y, layer->down, layer->down_bias, layer->post_norm, mark);
}

/** Token embeddings, plus the rows of the table of learned positions. */
static cm3_tensor *embed(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch) {
    cm3_tensor *x = cm3_nn_embedding(graph, lm->embed, batch->ids, batch->rows);
    if (lm->config.position != CM3_POSITION_LEARNED) return x;
    int32_t *rows = cm3_graph_scratch(graph, (size_t)batch->rows * sizeof *rows);
    if (!rows) return NULL;
    for (int64_t i = 0; i < batch->rows && !graph->idle; i++) {
        rows[i] = batch->positions[i] + lm->config.position_offset;
    }
    return cm3_nn_add_to(graph, x, cm3_nn_embedding(graph, lm->positions, rows, batch->rows));
}

/** Wanted rows of the last hidden state. */
static cm3_tensor *select_rows(cm3_graph *graph, cm3_tensor *x, const int32_t *rows, int64_t count) {
    if (!rows || !x) return x;                      /* all */
    return cm3_nn_embedding(graph, x, rows, count); /* a row by number: the same operation, gradient included */
}

static bool positions_fit(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch) {
    for (int64_t i = 0; i < batch->rows && !graph->idle; i++) {
        if (batch->positions[i] < 0 || batch->positions[i] >= lm->config.max_positions) {
            cm3_graph_fail(graph, CM3_ERROR_TOO_LONG, "position %d is outside the context of %d tokens",
                           batch->positions[i], lm->config.max_positions);
            return false;
        }
    }
    return true;
}

/** A state that the caller asked for: where x will be overwritten, a copy. */
static cm3_tensor *keep(cm3_graph *graph, cm3_tensor *x) {
    if (!x || graph->record) return x;
    cm3_tensor *copy = cm3_graph_like(graph, x);
    if (copy) memcpy(copy->data, x->data, (size_t)x->count * sizeof(float));
    return copy;
}

/** The rows of the head that belong to the ids that are asked for; `slice` holds them where they are not all. */
static cm3_tensor *head_rows(const cm3_lm *lm, const cm3_lm_batch *batch, cm3_tensor *slice) {
    if (!batch->vocab_count) return lm->head;
    *slice = cm3_tensor_rows(lm->head, batch->vocab_first, batch->vocab_count);
    return slice;
}

cm3_tensor *cm3_lm_forward(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch) {
    if (!positions_fit(graph, lm, batch)) return NULL;
    cm3_rope_table table, *rope = NULL;
    if (lm->config.position == CM3_POSITION_ROPE) {
        rope = &table;
        if (!cm3_nn_rope_table(graph, batch->positions, batch->rows, lm->config.head_dim, lm->config.rope_theta, rope))
            return NULL;
    }
    cm3_tensor *x = embed(graph, lm, batch);
    if (batch->hidden) batch->hidden[0] = keep(graph, x);
    for (int32_t i = 0; i < lm->config.layers; i++) {
        cm3_attention_context a = {batch, rope, i};
        x = run_layer(graph, lm, &lm->layers[i], x, &a);
        if (batch->hidden) batch->hidden[i + 1] = keep(graph, x);
    }
    if (batch->hidden) { /* all rows of the last state were asked for too */
        x = norm(graph, lm, x, lm->final_norm);
        batch->hidden[lm->config.layers + 1] = x;
        x = select_rows(graph, x, batch->logit_rows, batch->logit_count);
    } else {
        x = norm(graph, lm, select_rows(graph, x, batch->logit_rows, batch->logit_count), lm->final_norm);
    }
    cm3_tensor slice;
    return cm3_nn_linear(graph, x, head_rows(lm, batch, &slice), NULL);
}
