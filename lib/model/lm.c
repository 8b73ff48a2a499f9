/*
 * The transformer's forward pass, written once: training, plain forward, prefill and decode differ only in the graph
 * and in the batch they are given. Both families are settings of the configuration (CM3Leon section 2.3; Chameleon
 * section 2).
 */
#include "model/lm.h"

#include <stdio.h>

#include "base/status.h"

#define CM3_QK_NORM_EPSILON 1e-5f /* fixed in the published code, whatever the config says */

static cm3_tensor *norm(cm3_graph *graph, const cm3_lm *lm, cm3_tensor *x, cm3_tensor *gamma) {
    if (lm->config.norm == CM3_NORM_RMS) return cm3_nn_rms_norm(graph, x, gamma, lm->config.norm_epsilon);
    return cm3_nn_layer_norm(graph, x, NULL, NULL, lm->config.norm_epsilon);
}

/** The residual branch f around x: pre-norm x + f(norm(x)), or swin x + norm(f(x)). */
typedef cm3_tensor *(*cm3_branch)(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                                  const void *arg);

static cm3_tensor *residual(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                            cm3_tensor *gamma, cm3_branch branch, const void *arg) {
    if (lm->config.norm_place == CM3_NORM_SWIN) {
        return cm3_nn_add(graph, x, norm(graph, lm, branch(graph, lm, layer, x, arg), gamma));
    }
    return cm3_nn_add(graph, x, branch(graph, lm, layer, norm(graph, lm, x, gamma), arg));
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

static cm3_tensor *attention(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                             const void *arg) {
    const cm3_attention_context *a = arg;
    cm3_tensor *q = cm3_nn_linear(graph, x, layer->q, layer->q_bias);
    cm3_tensor *k = cm3_nn_linear(graph, x, layer->k, layer->k_bias);
    cm3_tensor *v = cm3_nn_linear(graph, x, layer->v, layer->v_bias);
    q = heads_of(graph, lm, q, layer->q_norm, layer->q_norm_bias, a->rope);
    k = heads_of(graph, lm, k, layer->k_norm, layer->k_norm_bias, a->rope);
    cm3_tensor *mixed =
        cm3_nn_attention(graph, q, k, v, lm->config.heads, lm->config.kv_heads, &a->batch->plan, a->layer);
    return cm3_nn_linear(graph, mixed, layer->o, layer->o_bias);
}

static cm3_tensor *feed_forward(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_layer *layer, cm3_tensor *x,
                                const void *arg) {
    (void)arg;
    cm3_tensor *up = cm3_nn_linear(graph, x, layer->up, layer->up_bias), *hidden;
    if (lm->config.ffn == CM3_FFN_SWIGLU) {
        hidden = cm3_nn_swiglu(graph, cm3_nn_linear(graph, x, layer->gate, layer->gate_bias), up);
    } else {
        hidden = cm3_nn_activation(graph, up, lm->config.ffn == CM3_FFN_GELU ? CM3_ACT_GELU : CM3_ACT_RELU);
    }
    return cm3_nn_linear(graph, hidden, layer->down, layer->down_bias);
}

/** Token embeddings, plus the rows of the table of learned positions. */
static cm3_tensor *embed(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch) {
    cm3_tensor *x = cm3_nn_embedding(graph, lm->embed, batch->ids, batch->rows);
    if (lm->config.position != CM3_POSITION_LEARNED) return x;
    int32_t *rows = cm3_graph_scratch(graph, (size_t)batch->rows * sizeof *rows);
    if (!rows) return NULL;
    for (int64_t i = 0; i < batch->rows; i++) rows[i] = batch->positions[i] + lm->config.position_offset;
    return cm3_nn_add(graph, x, cm3_nn_embedding(graph, lm->positions, rows, batch->rows));
}

/** Wanted rows of the last hidden state. */
static cm3_tensor *select_rows(cm3_graph *graph, cm3_tensor *x, const int32_t *rows, int64_t count) {
    if (!rows || !x) return x;
    return cm3_nn_embedding(graph, x, rows, count); /* a row by number: the same operation, gradient included */
}

static bool positions_fit(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch) {
    for (int64_t i = 0; i < batch->rows; i++) {
        if (batch->positions[i] < 0 || batch->positions[i] >= lm->config.max_positions) {
            cm3_graph_fail(graph, CM3_ERROR_TOO_LONG, "position %d is outside the context of %d tokens",
                           batch->positions[i], lm->config.max_positions);
            return false;
        }
    }
    return true;
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
    if (batch->hidden) batch->hidden[0] = x;
    for (int32_t i = 0; i < lm->config.layers; i++) {
        const cm3_lm_layer *layer = &lm->layers[i];
        cm3_attention_context a = {batch, rope, i};
        x = residual(graph, lm, layer, x, layer->input_norm, attention, &a);
        x = residual(graph, lm, layer, x, layer->post_norm, feed_forward, NULL);
        if (batch->hidden) batch->hidden[i + 1] = x;
    }
    if (batch->hidden) { /* all rows of the last state were asked for too */
        x = norm(graph, lm, x, lm->final_norm);
        batch->hidden[lm->config.layers + 1] = x;
        x = select_rows(graph, x, batch->logit_rows, batch->logit_count);
    } else {
        x = norm(graph, lm, select_rows(graph, x, batch->logit_rows, batch->logit_count), lm->final_norm);
    }
    return cm3_nn_linear(graph, x, lm->head, NULL);
}
