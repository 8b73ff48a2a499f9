/* The two-tower encoder: Hugging Face's CLIP (Radford et al. 2021), texts and pictures to vectors of one space. */
#ifndef CM3_MODEL_CLIP_H
#define CM3_MODEL_CLIP_H

#include "files/json.h"
#include "files/weights.h"
#include "image/preprocess.h"
#include "nn/ops.h"
#include "text/bpe.h"

typedef struct cm3_clip_tower_config {
    bool present;
    int32_t hidden_size, ffn_size, layers, heads;
    cm3_activation activation;
    float norm_epsilon;
} cm3_clip_tower_config;

/** As an `eos`: a text's vector is that of its largest id, by which old files tell their own rule. */
#define CM3_CLIP_EOS_IS_LARGEST 2

typedef struct cm3_clip_config {
    int32_t projection_dim;
    cm3_clip_tower_config text, vision;
    int32_t vocab_size, max_positions; /**< of texts */
    int32_t eos;                       /**< a text's vector is that of its first such token; or the rule below */
    int32_t image_size, patch_size;
    cm3_hf_preprocessing preprocessing;
} cm3_clip_config;

/**
 * A config.json of both towers (model_type clip), or of one with its projection (clip_text_model, clip_vision_model);
 * `text_config_dict` and `vision_config_dict` of old files win over the configurations beside them; absent fields take
 * the values of ViT-B/32. Under "preprocessing", which `.cm3` files have, what preprocessor_config.json says. Errors:
 * FORMAT, UNSUPPORTED.
 */
cm3_status cm3_clip_config_parse(const cm3_json_object *object, cm3_clip_config *config);
/** A new JSON object in that spelling. */
cm3_status cm3_clip_config_format(cm3_context *context, const cm3_clip_config *config, json_t **value);

typedef struct cm3_clip_layer {
    cm3_tensor norm1, norm1_bias, q, q_bias, k, k_bias, v, v_bias, o, o_bias;
    cm3_tensor norm2, norm2_bias, fc1, fc1_bias, fc2, fc2_bias;
} cm3_clip_layer;

typedef struct cm3_clip_tower {
    cm3_tensor positions, final_norm, final_norm_bias, projection;
    cm3_tensor tokens;                                            /**< texts */
    cm3_tensor class_token, patches, first_norm, first_norm_bias; /**< pictures */
    cm3_clip_layer *layers;
} cm3_clip_tower;

/** A tensor and its name in Hugging Face's spelling. */
typedef struct cm3_clip_parameter {
    char *name;
    cm3_tensor *tensor;
} cm3_clip_parameter;

typedef struct cm3_clip {
    cm3_context *context;
    cm3_clip_config config;
    cm3_clip_tower text, vision;
    cm3_clip_parameter *parameters; /**< all of them, in the order of a file */
    size_t parameter_count, parameter_capacity;
    cm3_arena *names, *values; /**< what does not lie in a file */
} cm3_clip;

/** From tensors under the prefix in Hugging Face's names. Errors: FORMAT with the tensor, NO_MEMORY. */
cm3_status cm3_clip_load(cm3_context *context, const cm3_clip_config *config, const cm3_weights *weights,
                         const char *prefix, bool check_weights, cm3_clip **clip);
/** Fresh weights, f32: matrices by their width, those behind which a layer's input is added the smaller the more layers
 * there are (Radford et al. 2021, section 2.5). */
cm3_status cm3_clip_create_random(cm3_context *context, const cm3_clip_config *config, uint64_t seed, cm3_clip **clip);
void cm3_clip_destroy(cm3_clip *clip);
/** All tensors' data lie elsewhere now: gives back the memory where they lay. */
void cm3_clip_forget_storage(cm3_clip *clip);

/**
 * Appends a text's ids as the tower reads it: special tokens that it spells, what the tokenizer puts around it, an end
 * where the tokenizer puts none, cut to the context with its end kept. Errors: UTF8, INVALID_ARGUMENT (no tokens),
 * NO_MEMORY.
 */
cm3_status cm3_clip_text_ids(const cm3_clip_config *config, const cm3_bpe *bpe, cm3_context *context, const char *text,
                             int32_t **ids, size_t *count, size_t *capacity);

/** `count` texts of ids behind each other, text i being ids[starts[i]..starts[i + 1] - 1]: vectors [count,
 * projection_dim], not normalised. NULL with the graph's status set on failure. */
cm3_tensor *cm3_clip_texts(cm3_graph *graph, cm3_clip *clip, const int32_t *ids, const int32_t *starts, int64_t count);

/** Pictures as preprocessed [count, image_size, image_size, 3]: vectors likewise. */
cm3_tensor *cm3_clip_images(cm3_graph *graph, cm3_clip *clip, cm3_tensor *pixels);

#endif
