/* Presets, spelling and checks of the transformer's configuration. */
#include "model/lm_config.h"

#include <string.h>

#include "base/status.h"

/** A name for a value of an enum in JSON. */
typedef struct cm3_choice {
    const char *name;
    int value;
} cm3_choice;

static const cm3_choice norms[] = {{"rms", CM3_NORM_RMS}, {"layer_plain", CM3_NORM_LAYER_PLAIN}, {NULL, 0}};
static const cm3_choice places[] = {{"pre", CM3_NORM_PRE}, {"swin", CM3_NORM_SWIN}, {NULL, 0}};
static const cm3_choice positions[] = {{"rope", CM3_POSITION_ROPE}, {"learned", CM3_POSITION_LEARNED}, {NULL, 0}};
static const cm3_choice ffns[] = {
    {"swiglu", CM3_FFN_SWIGLU}, {"gelu", CM3_FFN_GELU}, {"relu", CM3_FFN_RELU}, {NULL, 0}};

#define CM3_LIMIT (1 << 24)

/** CM3Leon (paper section 2.3, table 3): no bias, norms without parameters, learned positions. Heads and ffn are
 * metaseq's GPT-3 sizes. */
static const cm3_lm_config cm3leon = {
    .vocab_size = 65536,
    .max_positions = 4096,
    .norm = CM3_NORM_LAYER_PLAIN,
    .norm_place = CM3_NORM_PRE,
    .norm_epsilon = 1e-5f,
    .position = CM3_POSITION_LEARNED,
    .position_offset = 2,
    .rope_theta = 10000,
    .ffn = CM3_FFN_RELU,
    .tied = true,
    .init_std = 0.006f,
};
/** Chameleon (its config.json): RMSNorm, SwiGLU, rotary positions, norms of q and k. */
static const cm3_lm_config chameleon = {
    .vocab_size = 65536,
    .max_positions = 4096,
    .norm = CM3_NORM_RMS,
    .norm_place = CM3_NORM_PRE,
    .norm_epsilon = 1e-5f,
    .position = CM3_POSITION_ROPE,
    .rope_theta = 10000,
    .ffn = CM3_FFN_SWIGLU,
    .qk_norm = true,
    .init_std = 0.02f,
};

static void size(cm3_lm_config *config, int32_t layers, int32_t hidden, int32_t heads, int32_t kv_heads, int32_t ffn) {
    config->layers = layers;
    config->hidden_size = hidden;
    config->heads = heads;
    config->kv_heads = kv_heads;
    config->head_dim = hidden / heads;
    config->ffn_size = ffn;
}

cm3_status cm3_lm_config_preset(cm3_context *context, const char *name, cm3_lm_config *config) {
    if (!strcmp(name, "toybox")) {
        *config = chameleon;
        size(config, 8, 256, 4, 4, 704);
        config->vocab_size = 2048;
        config->max_positions = 1024;
    } else if (!strcmp(name, "cm3leon-350m")) {
        *config = cm3leon;
        size(config, 24, 1024, 16, 16, 4096);
    } else if (!strcmp(name, "cm3leon-760m")) {
        *config = cm3leon;
        size(config, 24, 1536, 16, 16, 6144);
    } else if (!strcmp(name, "cm3leon-7b")) {
        *config = cm3leon;
        size(config, 32, 4096, 32, 32, 16384);
    } else if (!strcmp(name, "chameleon-7b")) {
        *config = chameleon;
        size(config, 32, 4096, 32, 32, 11008);
    } else if (!strcmp(name, "chameleon-34b")) {
        *config = chameleon;
        size(config, 48, 8192, 64, 8, 22016);
        config->norm_place = CM3_NORM_SWIN;
    } else {
        return cm3_fail(
            context, CM3_ERROR_NOT_FOUND,
            "there is no preset '%s'; there are toybox, cm3leon-350m, cm3leon-760m, cm3leon-7b, chameleon-7b, "
            "chameleon-34b",
            name);
    }
    return CM3_OK;
}

static cm3_status parse_choice(const cm3_json_object *object, const char *key, const cm3_choice *choices, int *value) {
    const char *name = NULL;
    CM3_TRY(cm3_json_string(object, key, &name));
    if (!name) return CM3_OK;
    for (const cm3_choice *choice = choices; choice->name; choice++) {
        if (!strcmp(choice->name, name)) {
            *value = choice->value;
            return CM3_OK;
        }
    }
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s is '%s', which this library does not know",
                    object->where, key, name);
}

static const char *choice_name(const cm3_choice *choices, int value) {
    while (choices->name && choices->value != value) choices++;
    return choices->name ? choices->name : "";
}

cm3_status cm3_lm_config_parse(const cm3_json_object *object, cm3_lm_config *config) {
    bool bias = false;
    *config = chameleon;
    const struct {
        const char *key;
        int32_t *value;
        int32_t minimum;
    } sizes[] = {
        {"vocab_size", &config->vocab_size, 1}, {"hidden_size", &config->hidden_size, 1},
        {"layers", &config->layers, 1},         {"heads", &config->heads, 1},
        {"kv_heads", &config->kv_heads, 1},     {"head_dim", &config->head_dim, 1},
        {"ffn_size", &config->ffn_size, 1},     {"max_positions", &config->max_positions, 1},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *sizes[i].value = -1;
        CM3_TRY(cm3_json_int32(object, sizes[i].key, sizes[i].minimum, CM3_LIMIT, sizes[i].value));
        if (*sizes[i].value < 0) {
            return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: '%s' is missing", object->where, sizes[i].key);
        }
    }
    int norm = config->norm, place = config->norm_place, position = config->position, ffn = config->ffn;
    CM3_TRY(parse_choice(object, "norm", norms, &norm));
    CM3_TRY(parse_choice(object, "norm_place", places, &place));
    CM3_TRY(parse_choice(object, "position", positions, &position));
    CM3_TRY(parse_choice(object, "ffn", ffns, &ffn));
    config->norm = (cm3_norm_kind)norm;
    config->norm_place = (cm3_norm_place)place;
    config->position = (cm3_position_kind)position;
    config->ffn = (cm3_ffn_kind)ffn;
    CM3_TRY(cm3_json_float(object, "norm_epsilon", 0, 1, &config->norm_epsilon));
    CM3_TRY(cm3_json_int32(object, "position_offset", 0, 1 << 16, &config->position_offset));
    CM3_TRY(cm3_json_float(object, "rope_theta", 1, 1e12, &config->rope_theta));
    CM3_TRY(cm3_json_bool(object, "bias", &bias)); /* of both, where it is all that is said */
    config->attention_bias = config->ffn_bias = bias;
    CM3_TRY(cm3_json_bool(object, "attention_bias", &config->attention_bias));
    CM3_TRY(cm3_json_bool(object, "ffn_bias", &config->ffn_bias));
    CM3_TRY(cm3_json_bool(object, "qk_norm", &config->qk_norm));
    CM3_TRY(cm3_json_bool(object, "tied", &config->tied));
    CM3_TRY(cm3_json_float(object, "init_std", 0, 10, &config->init_std));
    cm3_status status = cm3_lm_config_check(object->context, config);
    return status == CM3_ERROR_INVALID_ARGUMENT ? CM3_ERROR_FORMAT : status;
}

cm3_status cm3_lm_config_format(cm3_context *context, const cm3_lm_config *c, json_t **value) {
    *value = json_pack(
        "{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:f,s:s,s:i,s:f,s:s,s:b,s:b,s:b,s:b,s:f}", "vocab_size",
        c->vocab_size, "hidden_size", c->hidden_size, "layers", c->layers, "heads", c->heads, "kv_heads", c->kv_heads,
        "head_dim", c->head_dim, "ffn_size", c->ffn_size, "max_positions", c->max_positions, "norm",
        choice_name(norms, c->norm), "norm_place", choice_name(places, c->norm_place), "norm_epsilon",
        (double)c->norm_epsilon, "position", choice_name(positions, c->position), "position_offset", c->position_offset,
        "rope_theta", (double)c->rope_theta, "ffn", choice_name(ffns, c->ffn), "attention_bias", c->attention_bias,
        "ffn_bias", c->ffn_bias, "qk_norm", c->qk_norm, "tied", c->tied, "init_std", (double)c->init_std);
    return *value ? CM3_OK : cm3_fail_memory(context, 0, "JSON");
}

cm3_status cm3_lm_config_check(cm3_context *context, const cm3_lm_config *c) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {c->vocab_size > 0 && c->vocab_size <= CM3_LIMIT, "vocab_size must be 1..16777216"},
        {c->layers > 0 && c->layers <= 1024, "layers must be 1..1024"},
        {c->heads > 0 && c->heads <= 4096, "heads must be 1..4096"},
        {c->head_dim > 0 && c->head_dim <= 1024, "head_dim must be 1..1024"},
        {(int64_t)c->heads * c->head_dim == c->hidden_size, "heads * head_dim must be hidden_size"},
        {c->kv_heads > 0 && c->kv_heads <= c->heads && c->heads % c->kv_heads == 0, "kv_heads must divide heads"},
        {c->ffn_size > 0 && c->ffn_size <= CM3_LIMIT, "ffn_size must be 1..16777216"},
        {c->max_positions > 0 && c->max_positions <= CM3_LIMIT, "max_positions must be 1..16777216"},
        {c->position != CM3_POSITION_ROPE || c->head_dim % 2 == 0, "head_dim must be even for rotary positions"},
        {c->norm_epsilon > 0, "norm_epsilon must be above 0"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits)
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "model configuration: %s", rules[i].rule);
    }
    return CM3_OK;
}
