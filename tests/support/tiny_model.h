/* A tiny random model of all parts, written as a .cm3 file: 16-pixel pictures in 64 codes of 16, a width of 32. */
#ifndef SUPPORT_TINY_MODEL_H
#define SUPPORT_TINY_MODEL_H

#include "model/model.h"
#include "support/fixture.h"
#include "text/special_names.h"

enum { TINY_CODES = 16, TINY_SENTINELS = 16, TINY_TOKENS = 64 };

/** Writes it to `path`. `zero`: all weights of the language model are 0. */
static inline void tiny_model_write(cm3_context *context, const char *path, bool zero) {
    static char names[4 + TINY_SENTINELS + TINY_CODES][32] = {"<pad>", "</s>", "<racm3:break>", "<eoss>"};
    const char *list[4 + TINY_SENTINELS + TINY_CODES];
    for (int i = 0; i < 4 + TINY_SENTINELS + TINY_CODES; i++) {
        if (i >= 4 && i < 4 + TINY_SENTINELS) snprintf(names[i], sizeof names[i], "<sentinel:%d>", i - 4);
        if (i >= 4 + TINY_SENTINELS) cm3_image_token_name(i - 4 - TINY_SENTINELS, names[i]);
        list[i] = names[i];
    }
    cm3_bpe_train_options train = {.vocab_size = 4 + TINY_SENTINELS + TINY_CODES + 260,
                                   .min_frequency = 1,
                                   .specials = list,
                                   .special_count = 4 + TINY_SENTINELS + TINY_CODES};
    cm3_bpe_trainer *trainer = NULL;
    cm3_bpe *bpe = NULL;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &train, &trainer), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_add(trainer, "a red circle", 12), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, &bpe), CM3_OK);
    cm3_bpe_trainer_destroy(trainer);
    cm3_special_tokens special;
    ck_assert_int_eq(cm3_special_from_names(context, bpe, &special), CM3_OK);
    ck_assert_int_eq(special.image_count, TINY_CODES);
    cm3_vq_config vq_config = {.resolution = 16,
                               .in_channels = 3,
                               .out_channels = 3,
                               .base_channels = 16,
                               .levels = 2,
                               .channel_multiplier = {1, 1},
                               .num_res_blocks = 1,
                               .mid_attention = true,
                               .latent_channels = 8,
                               .embed_dim = 4,
                               .num_embeddings = TINY_CODES,
                               .norm_groups = 4,
                               .patch_size = 1};
    cm3_vq *vq = NULL;
    ck_assert_int_eq(cm3_vq_create_random(context, &vq_config, 5, &vq), CM3_OK);
    cm3_lm_config config;
    ck_assert_int_eq(cm3_lm_config_preset(context, "toybox", &config), CM3_OK);
    config.layers = 2, config.hidden_size = 32, config.heads = 2, config.kv_heads = 1, config.head_dim = 16;
    config.ffn_size = 64, config.vocab_size = cm3_bpe_vocab_size(bpe), config.max_positions = 200,
    config.init_std = 0.3f;
    cm3_lm *lm = NULL;
    ck_assert_int_eq(cm3_lm_create_random(context, &config, 3, &lm), CM3_OK);
    for (size_t i = 0; zero && i < lm->parameter_count; i++) {
        memset(lm->parameters[i].tensor->data, 0, (size_t)lm->parameters[i].tensor->count * sizeof(float));
    }
    cm3_model_content content = {
        .lm = lm, .vq = vq, .bpe = bpe, .special = &special, .lm_dtype = CM3_F32, .vq_dtype = CM3_F32};
    ck_assert_msg(cm3_model_write(context, path, &content) == CM3_OK, "%s", cm3_context_message(context));
    cm3_lm_destroy(lm);
    cm3_vq_destroy(vq);
    cm3_special_clear(context, &special);
    cm3_bpe_destroy(bpe);
}

#endif
