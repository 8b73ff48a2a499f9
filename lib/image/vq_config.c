/* The image tokenizer's configuration, in the spelling of Hugging Face's vq_config. */
#include <string.h>

#include "base/status.h"
#include "image/vq.h"

#define CM3_MAX_CHANNELS 16384

static cm3_status read_lists(const cm3_json_object *object, cm3_vq_config *config) {
    size_t count = (size_t)config->levels;
    CM3_TRY(cm3_json_ints(object, "channel_multiplier", 1, 64, config->channel_multiplier, CM3_VQ_MAX_LEVELS, &count));
    config->levels = (int32_t)count;
    count = 0;
    CM3_TRY(cm3_json_ints(object, "attn_resolutions", 1, 8192, config->attn_resolutions, CM3_VQ_MAX_LEVELS, &count));
    config->attn_count = (int32_t)count;
    return CM3_OK;
}

cm3_status cm3_vq_config_parse(const cm3_json_object *object, cm3_vq_config *config) {
    *config = (cm3_vq_config){
        .resolution = 512,
        .in_channels = 3,
        .out_channels = 3,
        .base_channels = 128,
        .levels = 5,
        .channel_multiplier = {1, 1, 2, 2, 4},
        .num_res_blocks = 2,
        .mid_attention = true,
        .latent_channels = 256,
        .embed_dim = 256,
        .num_embeddings = 8192,
        .norm_groups = 32,
        .patch_size = 1,
    };
    bool double_latent = false;
    const char *attention = "vanilla";
    CM3_TRY(cm3_json_int32(object, "resolution", 1, 8192, &config->resolution));
    CM3_TRY(cm3_json_int32(object, "in_channels", 1, 64, &config->in_channels));
    config->out_channels = config->in_channels;
    CM3_TRY(cm3_json_int32(object, "out_channels", 1, 64, &config->out_channels));
    CM3_TRY(cm3_json_int32(object, "base_channels", 1, CM3_MAX_CHANNELS, &config->base_channels));
    CM3_TRY(read_lists(object, config));
    CM3_TRY(cm3_json_int32(object, "num_res_blocks", 1, 64, &config->num_res_blocks));
    CM3_TRY(cm3_json_int32(object, "latent_channels", 1, CM3_MAX_CHANNELS, &config->latent_channels));
    CM3_TRY(cm3_json_int32(object, "embed_dim", 1, CM3_MAX_CHANNELS, &config->embed_dim));
    CM3_TRY(cm3_json_int32(object, "num_embeddings", 1, 1 << 20, &config->num_embeddings));
    CM3_TRY(cm3_json_int32(object, "norm_groups", 1, 1024, &config->norm_groups));
    CM3_TRY(cm3_json_int32(object, "patch_size", 1, 16, &config->patch_size));
    CM3_TRY(cm3_json_bool(object, "local_encoder", &config->local_encoder));
    CM3_TRY(cm3_json_bool(object, "double_latent", &double_latent));
    CM3_TRY(cm3_json_string(object, "attn_type", &attention));
    config->mid_attention = strcmp(attention, "vanilla") == 0;
    if (double_latent) {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: double_latent is not supported", object->where);
    }
    cm3_status status = cm3_vq_config_check(object->context, config);
    return status == CM3_ERROR_INVALID_ARGUMENT ? CM3_ERROR_FORMAT : status;
}

static json_t *int_list(const int32_t *values, int32_t count) {
    json_t *list = json_array();
    for (int32_t i = 0; i < count && list; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

cm3_status cm3_vq_config_format(cm3_context *context, const cm3_vq_config *c, json_t **value) {
    *value =
        json_pack("{s:i,s:i,s:i,s:i,s:o,s:i,s:o,s:s,s:i,s:i,s:i,s:i,s:i,s:b,s:b}", "resolution", c->resolution,
                  "in_channels", c->in_channels, "out_channels", c->out_channels, "base_channels", c->base_channels,
                  "channel_multiplier", int_list(c->channel_multiplier, c->levels), "num_res_blocks", c->num_res_blocks,
                  "attn_resolutions", int_list(c->attn_resolutions, c->attn_count), "attn_type",
                  c->mid_attention ? "vanilla" : "none", "latent_channels", c->latent_channels, "embed_dim",
                  c->embed_dim, "num_embeddings", c->num_embeddings, "norm_groups", c->norm_groups, "patch_size",
                  c->patch_size, "local_encoder", c->local_encoder, "double_latent", 0);
    return *value ? CM3_OK : cm3_fail_memory(context, 0, "JSON");
}

cm3_status cm3_vq_config_check(cm3_context *context, const cm3_vq_config *c) {
    bool levels = c->levels >= 1 && c->levels <= CM3_VQ_MAX_LEVELS;
    bool groups = c->norm_groups >= 1;
    for (int32_t i = 0; levels && groups && i < c->levels; i++) {
        groups = c->channel_multiplier[i] >= 1 &&
                 (int64_t)c->base_channels * c->channel_multiplier[i] <= CM3_MAX_CHANNELS &&
                 c->base_channels * c->channel_multiplier[i] % c->norm_groups == 0;
    }
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {levels, "channel_multiplier must have 1..8 entries"},
        {c->base_channels >= 1 && c->base_channels <= CM3_MAX_CHANNELS, "base_channels must be 1..16384"},
        {c->base_channels >= 1 && c->norm_groups >= 1 && c->base_channels % c->norm_groups == 0,
         "base_channels must be a multiple of norm_groups"},
        {groups, "each level's channels must be a multiple of norm_groups, and at most 16384"},
        {levels && c->resolution >= 1 && c->resolution <= 8192 && c->patch_size >= 1 && c->patch_size <= 16 &&
             c->resolution % (c->patch_size << (c->levels - 1)) == 0,
         "resolution must be 1..8192 and a multiple of patch_size * 2^(levels - 1), patch_size 1..16"},
        {c->num_res_blocks >= 1 && c->num_res_blocks <= 64, "num_res_blocks must be 1..64"},
        {c->in_channels == 3 && c->out_channels == 3, "in_channels and out_channels must be 3"},
        {c->latent_channels >= 1 && c->latent_channels <= CM3_MAX_CHANNELS, "latent_channels must be 1..16384"},
        {c->embed_dim >= 1 && c->embed_dim <= CM3_MAX_CHANNELS, "embed_dim must be 1..16384"},
        {c->num_embeddings >= 1 && c->num_embeddings <= 1 << 20, "num_embeddings must be 1..1048576"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "image tokenizer: %s", rules[i].rule);
    }
    return CM3_OK;
}
