/* Hugging Face's spelling of configurations. */
#ifndef CM3_MODEL_HUGGINGFACE_CONFIG_H
#define CM3_MODEL_HUGGINGFACE_CONFIG_H

#include "image/preprocess.h"
#include "model/lm_config.h"

/**
 * A Chameleon config.json, in the spelling of transformers 5 (rope_parameters) or of 2024 (rope_theta, rope_scaling);
 * absent fields take Chameleon-7B's values. Errors: FORMAT, UNSUPPORTED (another model_type, activation, or scaled
 * rotary positions).
 */
cm3_status cm3_huggingface_lm_config(const cm3_json_object *object, cm3_lm_config *config);

/**
 * A preprocessor_config.json; absent fields leave what is there. Errors: FORMAT, UNSUPPORTED (another filter, a step
 * left out that this library cannot do without).
 */
cm3_status cm3_huggingface_preprocessing(const cm3_json_object *object, cm3_hf_preprocessing *options);
/** A new JSON object in that spelling. Errors: NO_MEMORY. */
cm3_status cm3_huggingface_preprocessing_format(cm3_context *context, const cm3_hf_preprocessing *options,
                                                json_t **value);

#endif
