/* A small random model with all its parts, made and written by the test itself. */
#ifndef SUPPORT_TINY_MODEL_H
#define SUPPORT_TINY_MODEL_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "text/special_names.h"

#define TINY_SENTINELS 16
#define TINY_CODES 16
#define TINY_SPECIALS (4 + TINY_SENTINELS + TINY_CODES)
#define TINY_TOKENS 64 /* 8 x 8 tokens of 2 x 2 pixels */
#define TINY_SIDE 16

/** Not freed: what a test changes before it writes. */
typedef struct tiny_parts {
    cm3_bpe *bpe;
    cm3_special_tokens special;
    cm3_vq *vq;
    cm3_lm *lm;
    cm3_lm_config config;
} tiny_parts;

static inline cm3_bpe *tiny_bpe(cm3_context *context) {
    static const char *const fixed[] = {"<pad>", "</s>", "<racm3:break>", "<eoss>"};
    char names[TINY_SPECIALS][32];
    const char *list[TINY_SPECIALS];
    for (int i = 0; i < TINY_SPECIALS; i++) {
        list[i] = names[i];
        if (i < 4) {
            snprintf(names[i], sizeof names[i], "%s", fixed[i]);
        } else if (i < 4 + TINY_SENTINELS) {
            snprintf(names[i], sizeof names[i], "<sentinel:%d>", i - 4);
        } else {
            cm3_image_token_name(i - 4 - TINY_SENTINELS, names[i]);
        }
    }
    cm3_bpe_train_options options = {
        .vocab_size = TINY_SPECIALS + 256 + 8, .min_frequency = 2, .specials = list, .special_count = TINY_SPECIALS};
    static const char text[] = "a red ball and a blue ball and a green cube, a red cube and a blue cone";
    cm3_bpe_trainer *trainer;
    cm3_bpe *bpe;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_add(trainer, text, sizeof text - 1), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, &bpe), CM3_OK);
    cm3_bpe_trainer_destroy(trainer);
    return bpe;
}

static inline void tiny_create(cm3_context *context, int32_t max_positions, tiny_parts *parts) {
    const cm3_vq_config vq_config = {
        .resolution = TINY_SIDE,
        .in_channels = 3,
        .out_channels = 3,
        .base_channels = 16,
        .levels = 2,
        .channel_multiplier = {1, 1},
        .num_res_blocks = 1,
        .mid_attention = true,
        .latent_channels = 4,
        .embed_dim = 4,
        .num_embeddings = TINY_CODES,
        .norm_groups = 4,
        .patch_size = 1,
    };
    memset(parts, 0, sizeof *parts);
    parts->bpe = tiny_bpe(context);
    ck_assert_int_eq(cm3_special_from_names(context, parts->bpe, cm3_bpe_vocab_size(parts->bpe), &parts->special),
                     CM3_OK);
    ck_assert_int_eq(cm3_vq_create_random(context, &vq_config, 5, &parts->vq), CM3_OK);
    parts->config = (cm3_lm_config){
        .vocab_size = cm3_bpe_vocab_size(parts->bpe),
        .hidden_size = 32,
        .layers = 2,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 8,
        .ffn_size = 48,
        .max_positions = max_positions,
        .norm = CM3_NORM_RMS,
        .norm_place = CM3_NORM_PRE,
        .norm_epsilon = 1e-5f,
        .position = CM3_POSITION_ROPE,
        .rope_theta = 10000,
        .ffn = CM3_FFN_SWIGLU,
        .qk_norm = true,
        .init_std = 0.3f,
    };
    ck_assert_int_eq(cm3_lm_create_random(context, &parts->config, 3, &parts->lm), CM3_OK);
}

static inline void tiny_write(cm3_context *context, const tiny_parts *parts, cm3_dtype dtype, const char *path) {
    const cm3_model_content content = {.lm = parts->lm,
                                       .vq = parts->vq,
                                       .bpe = parts->bpe,
                                       .special = &parts->special,
                                       .lm_dtype = dtype,
                                       .vq_dtype = dtype};
    ck_assert_int_eq(cm3_model_write(context, path, &content), CM3_OK);
}

static inline void tiny_clear(cm3_context *context, tiny_parts *parts) {
    cm3_lm_destroy(parts->lm);
    cm3_vq_destroy(parts->vq);
    cm3_special_clear(context, &parts->special);
    cm3_bpe_destroy(parts->bpe);
}

/** The model in a file of that path, loaded. */
static inline cm3_model *tiny_model(cm3_context *context, int32_t max_positions, const char *path) {
    tiny_parts parts;
    tiny_create(context, max_positions, &parts);
    tiny_write(context, &parts, CM3_F32, path);
    tiny_clear(context, &parts);
    cm3_model *model;
    ck_assert_msg(cm3_model_load(context, path, NULL, &model) == CM3_OK, "%s", cm3_context_message(context));
    return model;
}

#endif
