/* Meta's spelling of configurations: params.json of a model, vqgan.yaml of taming-transformers. */
#ifndef CM3_MODEL_META_CONFIG_H
#define CM3_MODEL_META_CONFIG_H

#include "image/vq.h"
#include "model/lm_config.h"

/** A params.json, its fields at the top or under "model"; vocab_size is 0 where the table of tokens is to tell.
 * Errors: FORMAT, UNSUPPORTED. */
cm3_status cm3_meta_lm_config(const cm3_json_object *object, cm3_lm_config *config);

/** A vqgan.yaml: {model: {params: {embed_dim, n_embed, ddconfig: {...}}}}. Errors: FORMAT, UNSUPPORTED. */
cm3_status cm3_meta_vq_config(const cm3_json_object *object, cm3_vq_config *config);

#endif
