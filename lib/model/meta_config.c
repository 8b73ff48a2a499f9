/* Meta's configurations. */
#include "model/meta_config.h"

#include <string.h>

#include "base/status.h"

/** The width between the two matrices of a feed-forward: two thirds of four times the width, times a factor, up to a
 * multiple (the llama family's rule). */
static cm3_status ffn_size(const cm3_json_object *object, const cm3_lm_config *config, int32_t *size) {
    float factor = 1;
    int32_t multiple = 256;
    CM3_TRY(cm3_json_float(object, "ffn_dim_multiplier", 0.01, 100, &factor));
    CM3_TRY(cm3_json_int32(object, "multiple_of", 1, 1 << 20, &multiple));
    int64_t hidden = (int64_t)((double)factor * (double)(2 * (4 * (int64_t)config->hidden_size) / 3));
    *size = (int32_t)((hidden + multiple - 1) / multiple * multiple);
    return CM3_OK;
}

static cm3_status read_params(const cm3_json_object *object, cm3_lm_config *config) {
    int32_t dim = 0, vocab = -1;
    bool swin = false;
    config->qk_norm = false;
    CM3_TRY(cm3_json_int32(object, "dim", 1, 1 << 20, &dim));
    if (!dim) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: 'dim' is missing", object->where);
    config->hidden_size = dim;
    CM3_TRY(cm3_json_int32(object, "n_layers", 1, 1 << 16, &config->layers));
    CM3_TRY(cm3_json_int32(object, "n_heads", 1, 1 << 16, &config->heads));
    config->kv_heads = config->heads;
    CM3_TRY(cm3_json_int32(object, "n_kv_heads", 1, 1 << 16, &config->kv_heads));
    config->head_dim = config->hidden_size / config->heads;
    CM3_TRY(cm3_json_int32(object, "vocab_size", -1, 1 << 24, &vocab));
    config->vocab_size = vocab > 0 ? vocab : 0;
    CM3_TRY(cm3_json_float(object, "norm_eps", 0, 1, &config->norm_epsilon));
    CM3_TRY(cm3_json_float(object, "rope_theta", 1, 1e12, &config->rope_theta));
    CM3_TRY(cm3_json_bool(object, "qk_normalization", &config->qk_norm));
    CM3_TRY(cm3_json_bool(object, "swin_norm", &swin));
    config->norm_place = swin ? CM3_NORM_SWIN : CM3_NORM_PRE;
    /* As the conversion to Hugging Face has it. */
    if (config->rope_theta > 10000) config->max_positions = 16384;
    return ffn_size(object, config, &config->ffn_size);
}

cm3_status cm3_meta_lm_config(const cm3_json_object *object, cm3_lm_config *config) {
    cm3_json_object model;
    CM3_TRY(cm3_lm_config_preset(object->context, "chameleon-7b", config));
    CM3_TRY(cm3_json_child(object, "model", object->where, &model));
    return read_params(model.value ? &model : object, config);
}

/** {"a": {"b": ...}} to what is under b. */
static cm3_status child_of(const cm3_json_object *object, const char *key, cm3_json_object *child) {
    CM3_TRY(cm3_json_child(object, key, object->where, child));
    if (child->value) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: '%s' is missing", object->where, key);
}

/** taming's names, and those of a vq_config. */
static const struct {
    const char *from, *to;
} vq_names[] = {
    {"ch", "base_channels"},       {"ch_mult", "channel_multiplier"},    {"z_channels", "latent_channels"},
    {"double_z", "double_latent"}, {"resolution", "resolution"},         {"in_channels", "in_channels"},
    {"out_ch", "out_channels"},    {"num_res_blocks", "num_res_blocks"}, {"attn_resolutions", "attn_resolutions"},
    {"attn_type", "attn_type"}};

cm3_status cm3_meta_vq_config(const cm3_json_object *object, cm3_vq_config *config) {
    cm3_json_object model, params, inner;
    CM3_TRY(child_of(object, "model", &model));
    CM3_TRY(child_of(&model, "params", &params));
    CM3_TRY(child_of(&params, "ddconfig", &inner));
    json_t *same = json_object();
    bool whole = same != NULL;
    for (size_t i = 0; i < sizeof vq_names / sizeof *vq_names && whole; i++) {
        json_t *value = json_object_get(inner.value, vq_names[i].from);
        if (value) whole = !json_object_set(same, vq_names[i].to, value);
    }
    static const char *const outer[][2] = {{"embed_dim", "embed_dim"}, {"n_embed", "num_embeddings"}};
    for (size_t i = 0; i < 2 && whole; i++) {
        json_t *value = json_object_get(params.value, outer[i][0]);
        if (value) whole = !json_object_set(same, outer[i][1], value);
    }
    const cm3_json_object renamed = {object->context, object->where, same};
    cm3_status status = whole ? cm3_vq_config_parse(&renamed, config) : cm3_fail_memory(object->context, 0, "JSON");
    json_decref(same);
    return status;
}
