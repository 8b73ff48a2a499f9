/* CLIP's config.json, old and new, and its spelling in `.cm3` files. */
#include <string.h>

#include "base/status.h"
#include "model/clip.h"
#include "model/huggingface_config.h"

static const struct {
    const char *name;
    cm3_activation kind;
} activations[] = {{"quick_gelu", CM3_ACT_QUICK_GELU}, {"gelu", CM3_ACT_GELU}};

static cm3_status read_activation(const cm3_json_object *object, cm3_activation *kind) {
    const char *name = NULL;
    CM3_TRY(cm3_json_string(object, "hidden_act", &name));
    if (!name) return CM3_OK;
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(name, activations[i].name) != 0) continue;
        *kind = activations[i].kind;
        return CM3_OK;
    }
    return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED,
                    "%s: hidden_act is '%.40s'; this library has 'quick_gelu' and 'gelu'", object->where, name);
}

static cm3_status read_tower(const cm3_json_object *object, cm3_clip_tower_config *tower) {
    CM3_TRY(cm3_json_int32(object, "hidden_size", 1, 1 << 16, &tower->hidden_size));
    CM3_TRY(cm3_json_int32(object, "intermediate_size", 1, 1 << 18, &tower->ffn_size));
    CM3_TRY(cm3_json_int32(object, "num_hidden_layers", 1, 1024, &tower->layers));
    CM3_TRY(cm3_json_int32(object, "num_attention_heads", 1, 1024, &tower->heads));
    CM3_TRY(cm3_json_float(object, "layer_norm_eps", 0, 1, &tower->norm_epsilon));
    CM3_TRY(read_activation(object, &tower->activation));
    if (tower->hidden_size % tower->heads == 0) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %d heads do not divide a width of %d", object->where,
                    tower->heads, tower->hidden_size);
}

static cm3_status read_text(const cm3_json_object *object, cm3_clip_config *config) {
    config->text.present = true;
    CM3_TRY(read_tower(object, &config->text));
    CM3_TRY(cm3_json_int32(object, "vocab_size", 1, 1 << 24, &config->vocab_size));
    CM3_TRY(cm3_json_int32(object, "max_position_embeddings", 2, 1 << 16, &config->max_positions));
    return cm3_json_int32(object, "eos_token_id", 0, 1 << 24, &config->eos);
}

static cm3_status read_vision(const cm3_json_object *object, cm3_clip_config *config) {
    int32_t channels = 3;
    config->vision.present = true;
    CM3_TRY(read_tower(object, &config->vision));
    CM3_TRY(cm3_json_int32(object, "image_size", 1, 8192, &config->image_size));
    CM3_TRY(cm3_json_int32(object, "patch_size", 1, 8192, &config->patch_size));
    CM3_TRY(cm3_json_int32(object, "num_channels", 1, 64, &channels));
    if (channels != 3 || config->patch_size > config->image_size) {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: %d channels, patches of %d in pictures of %d",
                        object->where, channels, config->patch_size, config->image_size);
    }
    return CM3_OK;
}

/** A part, and what old files have under its name with _dict, which wins. */
static cm3_status read_part(const cm3_json_object *object, const char *key, const char *key_dict,
                            cm3_status (*read)(const cm3_json_object *object, cm3_clip_config *config),
                            cm3_clip_config *config) {
    cm3_json_object part, dict;
    CM3_TRY(cm3_json_child(object, key, object->where, &part));
    CM3_TRY(cm3_json_child(object, key_dict, object->where, &dict));
    json_t *both = json_object();
    bool whole = both && (!part.value || !json_object_update(both, part.value)) &&
                 (!dict.value || !json_object_update(both, dict.value));
    const cm3_json_object joined = {object->context, object->where, both};
    cm3_status status = whole ? read(&joined, config) : cm3_fail_memory(object->context, 0, "JSON");
    json_decref(both);
    return status;
}

static void set_defaults(cm3_clip_config *config) {
    const cm3_clip_tower_config text = {false, 512, 2048, 12, 8, CM3_ACT_QUICK_GELU, 1e-5f};
    const cm3_clip_tower_config vision = {false, 768, 3072, 12, 12, CM3_ACT_QUICK_GELU, 1e-5f};
    *config = (cm3_clip_config){.projection_dim = 512,
                                .text = text,
                                .vision = vision,
                                .vocab_size = 49408,
                                .max_positions = 77,
                                .eos = 49407,
                                .image_size = 224,
                                .patch_size = 32};
}

/** What CLIP's image processor does where nothing is said. */
static cm3_status read_preprocessing(const cm3_json_object *object, cm3_clip_config *config) {
    cm3_json_object own;
    config->preprocessing = (cm3_hf_preprocessing){.shortest_edge = config->image_size,
                                                   .crop_width = config->image_size,
                                                   .crop_height = config->image_size,
                                                   .filter = CM3_FILTER_BICUBIC,
                                                   .rescale_factor = 1.0 / 255.0,
                                                   .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                                                   .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    CM3_TRY(cm3_json_child(object, "preprocessing", object->where, &own));
    return own.value ? cm3_huggingface_preprocessing(&own, &config->preprocessing) : CM3_OK;
}

cm3_status cm3_clip_config_parse(const cm3_json_object *object, cm3_clip_config *config) {
    const char *type = "clip";
    set_defaults(config);
    CM3_TRY(cm3_json_string(object, "model_type", &type));
    CM3_TRY(cm3_json_int32(object, "projection_dim", 1, 1 << 16, &config->projection_dim));
    bool text = !strcmp(type, "clip_text_model"), vision = !strcmp(type, "clip_vision_model");
    if (!text && !vision && strcmp(type, "clip") != 0) {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: model_type is '%.40s'; CLIP's is 'clip'",
                        object->where, type);
    }
    if (text) {
        CM3_TRY(read_text(object, config));
    } else if (vision) {
        CM3_TRY(read_vision(object, config));
    } else {
        CM3_TRY(read_part(object, "text_config", "text_config_dict", read_text, config));
        CM3_TRY(read_part(object, "vision_config", "vision_config_dict", read_vision, config));
    }
    return read_preprocessing(object, config);
}

/* --- as JSON -------------------------------------------------------------------------------------------------------
 */

static json_t *format_tower(const cm3_clip_tower_config *t) {
    const char *name = activations[0].name;
    if (t->activation == activations[1].kind) name = activations[1].name;
    return json_pack("{s:i,s:i,s:i,s:i,s:f,s:s}", "hidden_size", t->hidden_size, "intermediate_size", t->ffn_size,
                     "num_hidden_layers", t->layers, "num_attention_heads", t->heads, "layer_norm_eps",
                     (double)t->norm_epsilon, "hidden_act", name);
}

cm3_status cm3_clip_config_format(cm3_context *context, const cm3_clip_config *c, json_t **value) {
    json_t *text = format_tower(&c->text), *vision = format_tower(&c->vision), *preprocessing = NULL;
    cm3_status status = cm3_huggingface_preprocessing_format(context, &c->preprocessing, &preprocessing);
    bool whole = status == CM3_OK && text && vision &&
                 !json_object_set_new(text, "vocab_size", json_integer(c->vocab_size)) &&
                 !json_object_set_new(text, "max_position_embeddings", json_integer(c->max_positions)) &&
                 !json_object_set_new(text, "eos_token_id", json_integer(c->eos)) &&
                 !json_object_set_new(vision, "image_size", json_integer(c->image_size)) &&
                 !json_object_set_new(vision, "patch_size", json_integer(c->patch_size));
    const char *type = !c->vision.present ? "clip_text_model" : !c->text.present ? "clip_vision_model" : "clip";
    json_t *both = whole ? json_object() : NULL;
    if (whole && c->text.present && c->vision.present) {
        whole = both && !json_object_set(both, "text_config", text) && !json_object_set(both, "vision_config", vision);
    } else if (whole) {
        whole = both && !json_object_update(both, c->text.present ? text : vision);
    }
    whole = whole && !json_object_set_new(both, "model_type", json_string(type)) &&
            !json_object_set_new(both, "projection_dim", json_integer(c->projection_dim)) &&
            !json_object_set(both, "preprocessing", preprocessing);
    json_decref(preprocessing);
    json_decref(text);
    json_decref(vision);
    *value = both;
    if (whole) return CM3_OK;
    json_decref(both);
    *value = NULL;
    return cm3_fail_memory(context, 0, "JSON");
}
