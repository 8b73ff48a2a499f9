/* Models of a few kilobytes. */
#include "small_model.h"

#include "text/special_names.h"

#define SENTINELS 16
#define CODES 4
#define SPECIALS (4 + SENTINELS + CODES)

static const fuzz_model_kind kinds[] = {
    {.name = "chameleon", .chameleon = true, .pictures = true, .text = true},
    {.name = "cm3leon", .pictures = true, .text = true, .bf16 = true, .bias = true},
    {.name = "swin", .chameleon = true, .swin = true, .text = true, .bf16 = true, .fallback = true},
    {.name = "words", .text = true},
    {.name = "pictures", .pictures = true, .bf16 = true},
    {.name = "nibbles", .chameleon = true, .text = true, .weights = CM3_WEIGHTS_Q4},
    {.name = "integers", .pictures = true, .text = true, .bias = true, .weights = CM3_WEIGHTS_Q8},
};

const fuzz_model_kind *fuzz_model_kinds(size_t *count) {
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

/* --- tokenizers --------------------------------------------------------------------------------------------------- */

static void special_names(char names[SPECIALS][32]) {
    static const char *const fixed[] = {"<pad>", "</s>", "<racm3:break>", "<eoss>"};
    for (int i = 0; i < SPECIALS; ++i) {
        if (i < 4) {
            snprintf(names[i], 32, "%s", fixed[i]);
        } else if (i < 4 + SENTINELS) {
            snprintf(names[i], 32, "<sentinel:%d>", i - 4);
        } else {
            cm3_image_token_name(i - 4 - SENTINELS, names[i]);
        }
    }
}

/* Bytes, and some merges of letters, of a whole code point, and of a part of one. */
static cm3_bpe *byte_level(cm3_context *context) {
    char names[SPECIALS][32];
    const char *list[SPECIALS];
    special_names(names);
    for (int i = 0; i < SPECIALS; ++i) list[i] = names[i];
    const cm3_bpe_train_options options = {
        .vocab_size = SPECIALS + 256 + 10, .min_frequency = 2, .specials = list, .special_count = SPECIALS};
    static const char text[] = "a red ball and a blue ball, \xe2\x82\xac\xe2\x82\xac \xe2\x82\xad \xf0\x9f\x98\x80 "
                               "\xf0\x9f\x98\x81 \xf0\x9f\x98\x80 a ball and a ball";
    cm3_bpe_trainer *trainer;
    cm3_bpe *bpe;
    FUZZ_CHECK(cm3_bpe_trainer_create(context, &options, &trainer) == CM3_OK);
    FUZZ_CHECK(cm3_bpe_trainer_add(trainer, text, sizeof text - 1) == CM3_OK);
    FUZZ_CHECK(cm3_bpe_trainer_finish(trainer, &bpe) == CM3_OK);
    cm3_bpe_trainer_destroy(trainer);
    return bpe;
}

/* As tokenizers made by SentencePiece have it: U+2581 for the space, bytes where a character has no token. */
static cm3_bpe *byte_fallback(cm3_context *context) {
    static const char components[] =
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
        "\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}";
    static const char *const words[] = {"\xe2\x96\x81", "a", "b", "\xe2\x96\x81\x61", "\xe2\x82\xac", "l", "ab"};
    char names[SPECIALS][32], json[16384];
    size_t used = 0;
    special_names(names);
#define ADD(...) used += (size_t)snprintf(json + used, sizeof json - used, __VA_ARGS__)
    ADD("{\"version\":\"1.0\",\"added_tokens\":[");
    for (int i = 0; i < SPECIALS; ++i) {
        ADD("%s{\"id\":%d,\"content\":\"%s\",\"special\":true}", i > 0 ? "," : "", i, names[i]);
    }
    ADD("],%s,\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{", components);
    for (int i = 0; i < 256; ++i) ADD("\"<0x%02X>\":%d,", (unsigned)i, SPECIALS + i);
    for (int i = 0; i < 7; ++i) ADD("%s\"%s\":%d", i > 0 ? "," : "", words[i], SPECIALS + 256 + i);
    ADD("},\"merges\":[\"\xe2\x96\x81 a\",\"a b\"]}}");
#undef ADD
    FUZZ_CHECK(used < sizeof json);
    cm3_bpe *bpe;
    FUZZ_CHECK(cm3_bpe_parse(context, "fallback", json, used, &bpe) == CM3_OK);
    return bpe;
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

static cm3_lm *text_model(cm3_context *context, const fuzz_model_kind *kind, int32_t vocab_size) {
    cm3_lm_config config = {
        .vocab_size = vocab_size,
        .hidden_size = kind->weights ? 32 : 8,
        .layers = 2,
        .heads = 2,
        .kv_heads = kind->chameleon ? 1 : 2,
        .head_dim = kind->weights ? 16 : 4,
        .ffn_size = kind->weights ? 32 : 12,
        .max_positions = 128,
        .norm = kind->chameleon ? CM3_NORM_RMS : CM3_NORM_LAYER_PLAIN,
        .norm_place = kind->swin ? CM3_NORM_SWIN : CM3_NORM_PRE,
        .norm_epsilon = 1e-5f,
        .position = kind->chameleon ? CM3_POSITION_ROPE : CM3_POSITION_LEARNED,
        .position_offset = kind->chameleon ? 0 : 2,
        .rope_theta = 10000,
        .ffn = kind->chameleon ? CM3_FFN_SWIGLU : CM3_FFN_RELU,
        .attention_bias = kind->bias,
        .ffn_bias = kind->bias,
        .qk_norm = kind->chameleon,
        .tied = !kind->chameleon || kind->swin,
        .init_std = 0.3f,
    };
    cm3_lm *lm;
    FUZZ_CHECK(cm3_lm_create_random(context, &config, 3, &lm) == CM3_OK);
    return lm;
}

static cm3_vq *picture_model(cm3_context *context, const fuzz_model_kind *kind) {
    cm3_vq_config config = {
        .resolution = 8,
        .in_channels = 3,
        .out_channels = 3,
        .base_channels = 2,
        .levels = 2,
        .channel_multiplier = {1, 1},
        .num_res_blocks = 1,
        .mid_attention = true,
        .latent_channels = 2,
        .embed_dim = 2,
        .num_embeddings = CODES,
        .norm_groups = 1,
        .patch_size = kind->bf16 ? 2 : 1,
        .local_encoder = kind->bf16,
    };
    if (kind->chameleon) config.attn_resolutions[config.attn_count++] = 4;
    cm3_vq *vq;
    FUZZ_CHECK(cm3_vq_create_random(context, &config, 5, &vq) == CM3_OK);
    return vq;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

void fuzz_model_write(cm3_context *context, const fuzz_model_kind *kind, const char *path) {
    cm3_special_tokens special = {0};
    cm3_model_content content = {.lm_dtype = kind->bf16 ? CM3_BF16 : CM3_F32,
                                 .vq_dtype = kind->bf16 ? CM3_BF16 : CM3_F32};
    cm3_bpe *bpe = NULL;
    cm3_lm *lm = NULL;
    cm3_vq *vq = NULL;
    if (kind->text) {
        content.bpe = bpe = kind->fallback ? byte_fallback(context) : byte_level(context);
        FUZZ_CHECK(cm3_special_from_names(context, bpe, cm3_bpe_vocab_size(bpe), &special) == CM3_OK);
        content.special = &special;
        content.lm = lm = text_model(context, kind, cm3_bpe_vocab_size(bpe));
    }
    if (kind->pictures) content.vq = vq = picture_model(context, kind);
    FUZZ_CHECK(cm3_model_write(context, path, &content) == CM3_OK);
    cm3_lm_destroy(lm);
    cm3_vq_destroy(vq);
    cm3_special_clear(context, &special);
    cm3_bpe_destroy(bpe);
}

uint8_t *fuzz_model_bytes(const fuzz_model_kind *kind, size_t *size) {
    cm3_context *context = fuzz_begin((size_t)64 << 20);
    const char *path = fuzz_path("model.cm3");
    fuzz_model_write(context, kind, path);
    cm3_file *file;
    FUZZ_CHECK(cm3_file_open(context, path, &file) == CM3_OK);
    *size = file->size;
    uint8_t *bytes = malloc(file->size);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, file->data, file->size);
    cm3_file_release(file);
    fuzz_end(context);
    return bytes;
}
