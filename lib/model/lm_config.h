/* The transformer's configuration: both families and the demo are settings of it, presets are names for settings. */
#ifndef CM3_MODEL_LM_CONFIG_H
#define CM3_MODEL_LM_CONFIG_H

#include "files/json.h"

typedef enum cm3_norm_kind {
    CM3_NORM_RMS = 1,
    CM3_NORM_LAYER_PLAIN = 2 /**< layer norm without parameters (CM3Leon section 2.3) */
} cm3_norm_kind;
typedef enum cm3_norm_place {
    CM3_NORM_PRE = 1, /**< h = x + f(norm(x)) */
    CM3_NORM_SWIN = 2 /**< h = x + norm(f(x)) (Chameleon 34B) */
} cm3_norm_place;
typedef enum cm3_position_kind {
    CM3_POSITION_ROPE = 1,
    CM3_POSITION_LEARNED = 2 /**< rows of a table, from `position_offset` on */
} cm3_position_kind;
typedef enum cm3_ffn_kind { CM3_FFN_SWIGLU = 1, CM3_FFN_GELU = 2, CM3_FFN_RELU = 3 } cm3_ffn_kind;

typedef struct cm3_lm_config {
    int32_t vocab_size, hidden_size, layers, heads, kv_heads, head_dim, ffn_size;
    int32_t max_positions; /**< the context, tokens */
    cm3_norm_kind norm;
    cm3_norm_place norm_place;
    float norm_epsilon;
    cm3_position_kind position;
    int32_t position_offset;
    float rope_theta;
    cm3_ffn_kind ffn;
    bool attention_bias, ffn_bias; /**< of their linear layers */
    bool qk_norm;                  /**< layer norm of each head of q and k, eps 1e-5, before the rotation */
    bool tied;                     /**< the head is the embedding table */
    float init_std; /**< of fresh weights; the residual's output projections start scaled by 1/sqrt(2 layers) */
} cm3_lm_config;

/** Fills a named preset: "toybox", "cm3leon-350m", "cm3leon-760m", "cm3leon-7b", "chameleon-7b", "chameleon-34b".
 * NOT_FOUND otherwise. */
cm3_status cm3_lm_config_preset(cm3_context *context, const char *name, cm3_lm_config *config);
/** Our own spelling, the `lm` object of a `.cm3` file's config. Every size is checked against the others. */
cm3_status cm3_lm_config_parse(const cm3_json_object *object, cm3_lm_config *config);
/** A new JSON object in that spelling. */
cm3_status cm3_lm_config_format(cm3_context *context, const cm3_lm_config *config, json_t **value);
/** INVALID_ARGUMENT with the field where one does not fit the others (heads * head_dim = hidden_size, kv_heads divides
 * heads, ...). */
cm3_status cm3_lm_config_check(cm3_context *context, const cm3_lm_config *config);
/** Parameters of such a model. */
uint64_t cm3_lm_config_parameters(const cm3_lm_config *config);

#endif
