/* The transformer: weights by name and one forward pass for training, prefill and decode. */
#ifndef CM3_MODEL_LM_H
#define CM3_MODEL_LM_H

#include "base/random.h"
#include "files/weights.h"
#include "model/lm_config.h"
#include "nn/ops.h"

typedef struct cm3_lm_layer {
    cm3_tensor *input_norm, *post_norm; /**< NULL for norms without parameters */
    cm3_tensor *q, *k, *v, *o, *q_bias, *k_bias, *v_bias, *o_bias;
    cm3_tensor *q_norm, *q_norm_bias, *k_norm, *k_norm_bias; /**< [heads, head_dim] */
    cm3_tensor *gate, *up, *down, *gate_bias, *up_bias,
        *down_bias; /**< gate is NULL but for SwiGLU; fc1 is up, fc2 is down */
} cm3_lm_layer;

/** A parameter and its name in files, without the prefix `lm.` */
typedef struct cm3_lm_parameter {
    const char *name;
    cm3_tensor *tensor;
    bool decay; /**< a matrix: weight decay applies */
} cm3_lm_parameter;

typedef struct cm3_lm {
    cm3_context *context;
    cm3_lm_config config;
    cm3_tensor *embed, *positions, *final_norm, *head;
    cm3_lm_layer *layers;
    cm3_lm_parameter *parameters; /**< all of them, in file order */
    size_t parameter_count;
    size_t extra_tensors; /**< of the file it came from: scales and mins of quantised matrices */
    void *storage;        /**< what it owns, beside what lies in a mapped file */
} cm3_lm;

/** Fresh weights in f32 (training): normal of config.init_std cut at 3 std, norms 1 and 0. */
cm3_status cm3_lm_create_random(cm3_context *context, const cm3_lm_config *config, uint64_t seed, cm3_lm **lm);
/**
 * From tensors named prefix + name; matrices stay where they lie (f32, bf16 or quantised), vectors and f16 become f32
 * copies.
 * `copy`: everything becomes f32 of its own (to train it further). Missing or misshapen tensors, and with check_weights
 * NaN or infinity: FORMAT, naming the tensor. What else is under the prefix is the caller's to judge.
 */
cm3_status cm3_lm_load(cm3_context *context, const cm3_lm_config *config, const cm3_weights *weights,
                       const char *prefix, bool copy, bool check_weights, cm3_lm **lm);
/** The same without its data: names, shapes and types, and where the integers of quantised matrices lie. */
cm3_status cm3_lm_describe(cm3_context *context, const cm3_lm_config *config, const cm3_weights *weights,
                           const char *prefix, cm3_lm **lm);
void cm3_lm_destroy(cm3_lm *lm);
/** All tensors' data lie elsewhere now: gives back the memory where they lay. */
void cm3_lm_forget_storage(cm3_lm *lm);

/** Rows of one forward pass. */
typedef struct cm3_lm_batch {
    int64_t rows;
    const int32_t *ids;       /**< [rows] */
    const int32_t *positions; /**< [rows], 0..max_positions-1, counted within each document or sequence */
    cm3_attention_plan plan;
    /** Rows whose logits are wanted, increasing; NULL: all. */
    const int32_t *logit_rows;
    int64_t logit_count;
    /** Where vocab_count is not 0, only the logits of ids vocab_first.. are computed, vocab_count of them. */
    int32_t vocab_first, vocab_count;
    /** Where not NULL, [layers + 2] pointers that receive the hidden states: embeddings, after each layer, after the
     * final norm. */
    cm3_tensor **hidden;
} cm3_lm_batch;

/** Logits [wanted rows, vocab or vocab_count]; NULL with the graph's status set on failure. */
cm3_tensor *cm3_lm_forward(cm3_graph *graph, const cm3_lm *lm, const cm3_lm_batch *batch);

#endif
