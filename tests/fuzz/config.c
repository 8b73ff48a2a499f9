/*
 * Any text as a configuration: what the first byte says, JSON of Hugging Face's or Meta's, or YAML of taming's. What is
 * accepted is formatted and must come back the same.
 */
#include "base/context.h"
#include "files/yaml.h"
#include "fuzz.h"
#include "model/clip.h"
#include "model/huggingface_config.h"
#include "model/meta_config.h"

static void check_clip(cm3_context *context, const cm3_clip_config *config) {
    json_t *json;
    cm3_clip_config again;
    if (cm3_clip_config_format(context, config, &json) != CM3_OK) return;
    const cm3_json_object object = {context, "again", json};
    FUZZ_CHECK(cm3_clip_config_parse(&object, &again) == CM3_OK);
    FUZZ_CHECK(again.projection_dim == config->projection_dim && again.text.layers == config->text.layers);
    FUZZ_CHECK(again.image_size == config->image_size || !config->vision.present);
    json_decref(json);
}

static void check_vq(cm3_context *context, const cm3_vq_config *config) {
    json_t *json;
    cm3_vq_config again;
    FUZZ_CHECK(cm3_vq_config_check(context, config) == CM3_OK);
    if (cm3_vq_config_format(context, config, &json) != CM3_OK) return;
    const cm3_json_object object = {context, "again", json};
    FUZZ_CHECK(cm3_vq_config_parse(&object, &again) == CM3_OK);
    FUZZ_CHECK(again.levels == config->levels && again.embed_dim == config->embed_dim);
    json_decref(json);
}

static void read(cm3_context *context, const cm3_json_object *object, uint8_t kind) {
    cm3_lm_config lm;
    cm3_vq_config vq;
    cm3_clip_config clip;
    cm3_hf_preprocessing preprocessing;
    cm3_hf_preprocessing_init(&preprocessing, 512);
    switch (kind) {
    case 'h':
        if (cm3_huggingface_lm_config(object, &lm) == CM3_OK) FUZZ_CHECK(cm3_lm_config_check(context, &lm) == CM3_OK);
        break;
    case 'm':
        if (cm3_meta_lm_config(object, &lm) == CM3_OK) cm3_lm_config_check(context, &lm);
        break;
    case 'c':
        if (cm3_clip_config_parse(object, &clip) == CM3_OK) check_clip(context, &clip);
        break;
    case 'p':
        cm3_huggingface_preprocessing(object, &preprocessing);
        break;
    default:
        if (cm3_meta_vq_config(object, &vq) == CM3_OK) check_vq(context, &vq);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    cm3_context *context = fuzz_begin((size_t)16 << 20);
    json_t *json = NULL;
    bool yaml = data[0] == 'y';
    cm3_status status = yaml ? cm3_yaml_parse(context, "vqgan.yaml", data + 1, size - 1, &json)
                             : cm3_json_parse(context, "config.json", data + 1, size - 1, &json);
    fuzz_check_result(context, status, json);
    if (json_is_object(json)) {
        const cm3_json_object object = {context, "config", json};
        read(context, &object, data[0]);
    }
    json_decref(json);
    fuzz_end(context);
    return 0;
}
