/* Chameleon's config.json. */
#include "model/huggingface_config.h"

#include <string.h>

#include "base/status.h"

static cm3_status fail_value(const cm3_json_object *object, const char *key, const char *value, const char *expected) {
    return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: %s is '%.80s'; this library reads %s", object->where,
                    key, value, expected);
}

static cm3_status check_kind(const cm3_json_object *object) {
    const char *type = NULL, *activation = "silu";
    CM3_TRY(cm3_json_string(object, "model_type", &type));
    CM3_TRY(cm3_json_string(object, "hidden_act", &activation));
    if (!type) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: 'model_type' is missing", object->where);
    if (strcmp(type, "chameleon") != 0) return fail_value(object, "model_type", type, "'chameleon'");
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0) {
        return fail_value(object, "hidden_act", activation, "'silu'");
    }
    return CM3_OK;
}

/** {"rope_theta":, "rope_type":} of transformers 5; of 2024 {"type":, "factor":} or null, the base beside it. */
static cm3_status read_rope(const cm3_json_object *object, cm3_lm_config *config) {
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    CM3_TRY(cm3_json_float(object, "rope_theta", 1, 1e12, &config->rope_theta));
    for (size_t i = 0; i < 2; i++) {
        cm3_json_object rope;
        const char *type = "default";
        CM3_TRY(cm3_json_child(object, keys[i], object->where, &rope));
        if (!rope.value) continue;
        CM3_TRY(cm3_json_float(&rope, "rope_theta", 1, 1e12, &config->rope_theta));
        CM3_TRY(cm3_json_string(&rope, "type", &type));
        CM3_TRY(cm3_json_string(&rope, "rope_type", &type));
        if (strcmp(type, "default") != 0) return fail_value(&rope, keys[i], type, "the type 'default'");
    }
    return CM3_OK;
}

static cm3_status read_sizes(const cm3_json_object *object, cm3_lm_config *config) {
    const struct {
        const char *key;
        int32_t *value;
    } sizes[] = {
        {"vocab_size", &config->vocab_size},      {"hidden_size", &config->hidden_size},
        {"intermediate_size", &config->ffn_size}, {"num_hidden_layers", &config->layers},
        {"num_attention_heads", &config->heads},  {"max_position_embeddings", &config->max_positions},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CM3_TRY(cm3_json_int32(object, sizes[i].key, 1, 1 << 24, sizes[i].value));
    }
    config->kv_heads = config->heads;
    config->head_dim = config->hidden_size / config->heads;
    CM3_TRY(cm3_json_int32(object, "num_key_value_heads", 1, 1 << 24, &config->kv_heads));
    return cm3_json_int32(object, "head_dim", 1, 1 << 24, &config->head_dim);
}

cm3_status cm3_huggingface_lm_config(const cm3_json_object *object, cm3_lm_config *config) {
    bool swin = false;
    CM3_TRY(check_kind(object));
    CM3_TRY(cm3_lm_config_preset(object->context, "chameleon-7b", config));
    CM3_TRY(read_sizes(object, config));
    CM3_TRY(read_rope(object, config));
    CM3_TRY(cm3_json_float(object, "rms_norm_eps", 0, 1, &config->norm_epsilon));
    CM3_TRY(cm3_json_bool(object, "swin_norm", &swin));
    CM3_TRY(cm3_json_bool(object, "attention_bias", &config->attention_bias));
    CM3_TRY(cm3_json_bool(object, "mlp_bias", &config->ffn_bias));
    CM3_TRY(cm3_json_bool(object, "tie_word_embeddings", &config->tied));
    config->norm_place = swin ? CM3_NORM_SWIN : CM3_NORM_PRE;
    cm3_status status = cm3_lm_config_check(object->context, config);
    return status == CM3_ERROR_INVALID_ARGUMENT ? CM3_ERROR_FORMAT : status;
}
