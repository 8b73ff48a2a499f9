/*
 * The image tokenizer against what taming's code and transformers computed (tests/data/parity), its files, and its
 * gradient.
 */
#include <math.h>

#include "image/preprocess.h"
#include "image/vq.h"
#include "suites.h"
#include "support/fixture.h"

#define PARITY CM3_TEST_DATA "/parity/"

static const cm3_vq_config fixture_config = {
    .resolution = 32,
    .in_channels = 3,
    .out_channels = 3,
    .base_channels = 32,
    .levels = 3,
    .channel_multiplier = {1, 1, 2},
    .num_res_blocks = 1,
    .attn_resolutions = {8},
    .attn_count = 1,
    .mid_attention = true,
    .latent_channels = 24,
    .embed_dim = 16,
    .num_embeddings = 64,
    .norm_groups = 32,
    .patch_size = 1,
};

/* Small enough for differences, with every part: attention at a level, a shortcut, both resamplings. */
static const cm3_vq_config tiny_config = {
    .resolution = 8,
    .in_channels = 3,
    .out_channels = 3,
    .base_channels = 4,
    .levels = 2,
    .channel_multiplier = {1, 2},
    .num_res_blocks = 1,
    .attn_resolutions = {4},
    .attn_count = 1,
    .mid_attention = true,
    .latent_channels = 3,
    .embed_dim = 2,
    .num_embeddings = 5,
    .norm_groups = 2,
    .patch_size = 1,
};

typedef struct vq_case {
    test_allocator memory;
    cm3_context *context;
    cm3_weights *weights;
    cm3_safetensors *expected;
    cm3_vq *vq;
    cm3_graph *graph;
    cm3_compute compute;
    bool dnn;
    void (*body)(struct vq_case *);
} vq_case;

static cm3_safetensors *open_tensors(cm3_context *context, const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_msg(cm3_file_open(context, path, &file) == CM3_OK, "%s", cm3_context_message(context));
    ck_assert_msg(cm3_safetensors_open(context, file, &tensors) == CM3_OK, "%s", cm3_context_message(context));
    cm3_file_release(file);
    return tensors;
}

static void case_up(vq_case *c, int threads) {
    memset(c, 0, sizeof *c);
    test_allocator_init(&c->memory);
    cm3_allocator allocator = test_allocator_of(&c->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c->context), CM3_OK);
    c->dnn = true;
}

static void case_load(vq_case *c, const char *path, const char *prefix, bool copy) {
    c->expected = open_tensors(c->context, PARITY "ref/chameleon.safetensors");
    ck_assert_int_eq(cm3_weights_of(c->context, open_tensors(c->context, path), &c->weights), CM3_OK);
    cm3_status status = cm3_vq_load(c->context, &fixture_config, c->weights, prefix, copy, true, &c->vq);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(c->context));
}

static void case_down(vq_case *c) {
    cm3_vq_destroy(c->vq);
    cm3_weights_release(c->weights);
    if (c->expected) cm3_safetensors_close(c->expected);
    cm3_context_destroy(c->context);
    ck_assert_int_eq(atomic_load(&c->memory.live), 0);
}

static cm3_status on_graph(void *arg) {
    vq_case *c = arg;
    const cm3_graph_options options = {.record = true, .compute = c->compute};
    ck_assert_int_eq(cm3_graph_create(c->context, &options, &c->graph), CM3_OK);
    struct cm3_dnn *dnn = c->graph->dnn;
    if (!c->dnn) c->graph->dnn = NULL;
    c->body(c);
    c->graph->dnn = dnn;
    cm3_graph_destroy(c->graph);
    return CM3_OK;
}

static void run_on_graph(vq_case *c, void (*body)(vq_case *)) {
    c->body = body;
    ck_assert_int_eq(cm3_context_run(c->context, on_graph, c), CM3_OK);
}

static const cm3_entry *expected(const vq_case *c, const char *of, const char *what) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", of, what);
    const cm3_entry *entry = cm3_safetensors_find(c->expected, name);
    ck_assert_msg(entry != NULL, "%s", name);
    return entry;
}

static float float_at(const cm3_entry *entry, int64_t i) {
    float value;
    memcpy(&value, (const char *)entry->data + (size_t)i * sizeof value, sizeof value);
    return value;
}

static int64_t int_at(const cm3_entry *entry, int64_t i) {
    int64_t value;
    memcpy(&value, (const char *)entry->data + (size_t)i * sizeof value, sizeof value);
    return value;
}

/** Compares [h, w, c] with an entry of [c, h, w]. */
static double largest_error(const cm3_entry *entry, const float *values) {
    int64_t channels = entry->shape[0], pixels = entry->shape[1] * entry->shape[2];
    double worst = 0;
    for (int64_t i = 0; i < pixels * channels; i++) {
        double is = (double)values[i], should = (double)float_at(entry, i % channels * pixels + i / channels);
        double error = fabs(is - should) / (1 + fabs(should));
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

/* --- parity --------------------------------------------------------------------------------------------------------
 */

static const char *const pictures[] = {"image.wide", "image.tall", "image.small", "image.square", "image.rgba"};
#define PICTURES 5

/** Latents to the given tolerance and, in f32, codes to the last. All pictures in one batch. */
static void check_encoding(vq_case *c) {
    enum { SIDE = 32, TOKENS = 64, DIM = 16 };
    cm3_tensor *x = cm3_graph_tensor(c->graph, CM3_F32, 4, (int64_t[]){PICTURES, SIDE, SIDE, 3});
    for (int p = 0; p < PICTURES; p++) {
        const cm3_entry *pixels = expected(c, pictures[p], "pixel_values");
        for (int64_t i = 0; i < SIDE * SIDE * 3; i++) {
            cm3_f32(x)[p * SIDE * SIDE * 3 + i] = float_at(pixels, i % 3 * SIDE * SIDE + i / 3);
        }
    }
    cm3_tensor *z = cm3_vq_encode(c->graph, c->vq, x);
    ck_assert_ptr_nonnull(z);
    int32_t codes[PICTURES * TOKENS];
    float rows[PICTURES * TOKENS * DIM];
    ck_assert_int_eq(cm3_vq_quantise(c->graph, c->vq, cm3_f32(z), PICTURES * TOKENS, CM3_VQ_USUAL, codes, rows),
                     CM3_OK);
    const float *book = cm3_f32(cm3_vq_find(c->vq, "quantize.embedding.weight"));
    int differing = 0;
    for (int p = 0; p < PICTURES; p++) {
        double error = largest_error(expected(c, pictures[p], "quant_conv_out"), cm3_f32(z) + p * TOKENS * DIM);
        ck_assert_msg(error < (c->compute == CM3_COMPUTE_BF16 ? 0.1 : 1e-4), "%s: %g", pictures[p], error);
        for (int i = 0; i < TOKENS; i++) {
            int32_t code = codes[p * TOKENS + i];
            differing += code != int_at(expected(c, pictures[p], "codes"), i);
            ck_assert_mem_eq(rows + (p * TOKENS + i) * DIM, book + code * DIM, DIM * sizeof(float));
        }
    }
    ck_assert_int_le(differing, c->compute == CM3_COMPUTE_BF16 ? PICTURES * TOKENS / 10 : 0);
}

static void check_decoding(vq_case *c) {
    const cm3_entry *entry = expected(c, "decode", "codes");
    const float *book = cm3_f32(cm3_vq_find(c->vq, "quantize.embedding.weight"));
    cm3_tensor *z = cm3_graph_tensor(c->graph, CM3_F32, 4, (int64_t[]){1, 8, 8, 16});
    for (int64_t i = 0; i < 64; i++) memcpy(cm3_f32(z) + i * 16, book + int_at(entry, i) * 16, 16 * sizeof(float));
    cm3_tensor *y = cm3_vq_decode(c->graph, c->vq, z);
    ck_assert_ptr_nonnull(y);
    double error = largest_error(expected(c, "decode", "pixels"), cm3_f32(y));
    ck_assert_msg(error < (c->compute == CM3_COMPUTE_BF16 ? 0.1 : 1e-4), "%g", error);
}

START_TEST(parity_taming) {
    vq_case c;
    case_up(&c, _i & 4 ? 2 : 0);
    c.compute = _i & 1 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    c.dnn = !(_i & 2);
    case_load(&c, PARITY "vqgan/vqgan.safetensors", "", _i & 8);
    ck_assert(c.vq->has_decoder);
    run_on_graph(&c, check_encoding);
    run_on_graph(&c, check_decoding);
    case_down(&c);
}
END_TEST

static void check_no_decoder(vq_case *c) {
    cm3_tensor *z = cm3_graph_tensor(c->graph, CM3_F32, 4, (int64_t[]){1, 8, 8, 16});
    ck_assert_ptr_null(cm3_vq_decode(c->graph, c->vq, z));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_UNSUPPORTED);
}

START_TEST(parity_hugging_face) {
    vq_case c;
    case_up(&c, 0);
    case_load(&c, PARITY "chameleon/model.safetensors", "model.vqmodel.", false);
    ck_assert(!c.vq->has_decoder);
    ck_assert_ptr_null(cm3_vq_find(c.vq, "decoder.conv_in.weight"));
    run_on_graph(&c, check_encoding);
    run_on_graph(&c, check_no_decoder);
    int32_t codes[64] = {0};
    cm3_image *image;
    ck_assert_int_eq(cm3_vq_decode_image(c.vq, codes, CM3_COMPUTE_AUTO, &image), CM3_ERROR_UNSUPPORTED);
    ck_assert_ptr_null(image);
    case_down(&c);
}
END_TEST

/* --- whole pictures ------------------------------------------------------------------------------------------------
 */

START_TEST(picture_decoding) {
    vq_case c;
    case_up(&c, _i);
    case_load(&c, PARITY "vqgan/vqgan.safetensors", "", false);
    int32_t codes[64];
    for (int i = 0; i < 64; i++) codes[i] = (int32_t)int_at(expected(&c, "decode", "codes"), i);
    const cm3_entry *rgb = expected(&c, "decode", "rgb8");
    cm3_image *image;
    cm3_image_view view;
    ck_assert_int_eq(cm3_vq_decode_image(c.vq, codes, CM3_COMPUTE_AUTO, &image), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    ck_assert_int_eq(view.width, 32);
    ck_assert_int_eq(view.height, 32);
    for (int i = 0; i < 32 * 96; i++) {
        ck_assert_int_le(
            abs(view.pixels[(size_t)(i / 96) * view.stride + (size_t)i % 96] - ((const uint8_t *)rgb->data)[i]), 1);
    }
    cm3_image_destroy(image);
    /* Rows that are not there yet are black; those that are look nearly as in the whole picture. */
    ck_assert_int_eq(cm3_vq_decode_rows(c.vq, codes, 3, CM3_COMPUTE_AUTO, &image), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    ck_assert_int_eq(view.height, 32);
    int lit = 0;
    for (int i = 0; i < 32 * 96; i++) {
        uint8_t value = view.pixels[(size_t)(i / 96) * view.stride + (size_t)i % 96];
        ck_assert(i < 12 * 96 || value == 0);
        lit += value != 0;
    }
    ck_assert_int_gt(lit, 6 * 96);
    cm3_image_destroy(image);
    codes[5] = 64;
    ck_assert_int_eq(cm3_vq_decode_image(c.vq, codes, CM3_COMPUTE_AUTO, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(image);
    case_down(&c);
}
END_TEST

static void picture_row(const cm3_image *image, int row, uint8_t *bytes) {
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    memcpy(bytes, view.pixels + (size_t)row * view.stride, 96);
}

/* A preview behind another: its rows stay, the new ones are those of a picture that begins with the margin's rows. */
static void add_rows(vq_case *c) {
    int32_t codes[64];
    for (int i = 0; i < 64; i++) codes[i] = (i * 29 + 7) % 64;
    enum { KNOWN = 3, ROWS = 6, CELL = 4 };
    cm3_image *before, *after, *apart;
    const int32_t first = KNOWN - CM3_VQ_MARGIN;
    const int32_t *shifted = codes + (ptrdiff_t)first * 8;
    ck_assert_int_eq(cm3_vq_decode_rows_in(c->graph, c->vq, codes, KNOWN, 0, NULL, &before), CM3_OK);
    ck_assert_int_eq(cm3_vq_decode_rows_in(c->graph, c->vq, codes, ROWS, KNOWN, before, &after), CM3_OK);
    ck_assert_int_eq(cm3_vq_decode_rows_in(c->graph, c->vq, shifted, ROWS - first, 0, NULL, &apart), CM3_OK);
    for (int row = 0; row < 32; row++) {
        uint8_t got[96], wanted[96] = {0};
        picture_row(after, row, got);
        if (row < KNOWN * CELL) picture_row(before, row, wanted);
        if (row >= KNOWN * CELL && row < ROWS * CELL) picture_row(apart, row - first * CELL, wanted);
        ck_assert_mem_eq(got, wanted, sizeof got);
    }
    cm3_image_destroy(before);
    cm3_image_destroy(after);
    cm3_image_destroy(apart);
}

START_TEST(rows_are_added) {
    vq_case c;
    case_up(&c, _i);
    case_load(&c, PARITY "vqgan/vqgan.safetensors", "", false);
    run_on_graph(&c, add_rows);
    case_down(&c);
}
END_TEST

static uint8_t picture_bytes[32 * 32 * 3];
static int32_t picture_codes[64];

static void check_picture_codes(vq_case *c) {
    cm3_tensor *x = cm3_graph_tensor(c->graph, CM3_F32, 4, (int64_t[]){1, 32, 32, 3});
    for (int i = 0; i < 32 * 32 * 3; i++) cm3_f32(x)[i] = 2.0f * ((float)picture_bytes[i] / 255.0f) - 1.0f;
    cm3_tensor *z = cm3_vq_encode(c->graph, c->vq, x);
    int32_t codes[64];
    ck_assert_int_eq(cm3_vq_quantise(c->graph, c->vq, cm3_f32(z), 64, CM3_VQ_USUAL, codes, NULL), CM3_OK);
    ck_assert_mem_eq(codes, picture_codes, sizeof codes);
}

START_TEST(picture_encoding) {
    vq_case c;
    case_up(&c, 2);
    case_load(&c, PARITY "vqgan/vqgan.safetensors", "", false);
    for (int i = 0; i < 32 * 32 * 3; i++) picture_bytes[i] = (uint8_t)(i * i / 7 % 251);
    cm3_image *image;
    ck_assert_int_eq(cm3_image_from_pixels(c.context, picture_bytes, 32, 32, 0, &image), CM3_OK);
    ck_assert_int_eq(cm3_vq_encode_image(c.vq, image, NULL, CM3_VQ_USUAL, picture_codes), CM3_OK);
    run_on_graph(&c, check_picture_codes);
    cm3_image_destroy(image);
    case_down(&c);
}
END_TEST

/* --- configuration -------------------------------------------------------------------------------------------------
 */

static cm3_status parse(cm3_context *context, const char *text, cm3_vq_config *config) {
    json_t *value;
    ck_assert_int_eq(cm3_json_parse(context, "test", text, strlen(text), &value), CM3_OK);
    cm3_json_object object = {context, "test: vq_config", value};
    cm3_status status = cm3_vq_config_parse(&object, config);
    json_decref(value);
    return status;
}

START_TEST(config_round_trip) {
    test_fixture f;
    test_fixture_up(&f);
    cm3_vq_config local = tiny_config;
    local.local_encoder = true;
    const cm3_vq_config *configs[] = {&fixture_config, &tiny_config, &local};
    for (int i = 0; i < 3; i++) {
        json_t *value;
        ck_assert_int_eq(cm3_vq_config_format(f.context, configs[i], &value), CM3_OK);
        char *text = json_dumps(value, 0);
        cm3_vq_config again;
        ck_assert_int_eq(parse(f.context, text, &again), CM3_OK);
        ck_assert_int_eq(again.resolution, configs[i]->resolution);
        ck_assert_int_eq(again.levels, configs[i]->levels);
        ck_assert_mem_eq(again.channel_multiplier, configs[i]->channel_multiplier,
                         (size_t)again.levels * sizeof(int32_t));
        ck_assert_int_eq(again.attn_count, 1);
        ck_assert_int_eq(again.attn_resolutions[0], configs[i]->attn_resolutions[0]);
        ck_assert_int_eq(again.latent_channels, configs[i]->latent_channels);
        ck_assert_int_eq(again.embed_dim, configs[i]->embed_dim);
        ck_assert_int_eq(again.norm_groups, configs[i]->norm_groups);
        ck_assert_int_eq(again.patch_size, configs[i]->patch_size);
        ck_assert_int_eq(again.local_encoder, configs[i]->local_encoder);
        ck_assert(again.mid_attention);
        free(text);
        json_decref(value);
    }
    test_fixture_down(&f);
}
END_TEST

START_TEST(config_published) {
    test_fixture f;
    test_fixture_up(&f);
    cm3_vq_config c;
    ck_assert_int_eq(parse(f.context, "{\"attn_resolutions\": null, \"dropout\": 0.0, \"ckpt_path\": null}", &c),
                     CM3_OK);
    ck_assert_int_eq(c.levels, 5);
    ck_assert_int_eq(c.channel_multiplier[4], 4);
    ck_assert_int_eq(c.resolution, 512);
    ck_assert_int_eq(c.attn_count, 0);
    ck_assert_int_eq(c.num_embeddings, 8192);
    static const char *const bad[] = {
        "{\"resolution\": 500}",   "{\"channel_multiplier\": []}",      "{\"channel_multiplier\": [1,1,1,1,1,1,1,1,1]}",
        "{\"norm_groups\": 5}",    "{\"base_channels\": -3}",           "{\"embed_dim\": \"x\"}",
        "{\"num_res_blocks\": 0}", "{\"channel_multiplier\": [1,100]}", "{\"in_channels\": 4}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(parse(f.context, bad[i], &c) == CM3_ERROR_FORMAT, "%s", bad[i]);
    }
    ck_assert_int_eq(parse(f.context, "{\"double_latent\": true}", &c), CM3_ERROR_UNSUPPORTED);
    test_fixture_down(&f);
}
END_TEST

/* --- files ---------------------------------------------------------------------------------------------------------
 */

enum { MOST_ENTRIES = 256 };

/** All parameters as they go into a file, f32 and named "vq."; how many. The names live until the next call. */
static size_t entries_of(const cm3_vq *vq, cm3_save_entry entries[MOST_ENTRIES]) {
    static char names[MOST_ENTRIES][96];
    ck_assert_uint_le(vq->parameter_count, MOST_ENTRIES);
    for (size_t i = 0; i < vq->parameter_count; i++) {
        const cm3_tensor *t = &vq->parameters[i].tensor;
        snprintf(names[i], sizeof names[i], "vq.%s", vq->parameters[i].name);
        entries[i] = (cm3_save_entry){names[i], CM3_F32, CM3_F32, t->rank, {0}, t->data, NULL, NULL};
        memcpy(entries[i].shape, t->shape, (size_t)t->rank * sizeof(int64_t));
    }
    return vq->parameter_count;
}

typedef void (*tamper_fn)(cm3_save_entry *entries, size_t *count);

static size_t find_entry(const cm3_save_entry *entries, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].name, name) == 0) return i;
    }
    ck_abort_msg("%s", name);
    return 0;
}

static void leave(cm3_save_entry *entries, size_t *count) {
    (void)entries;
    (void)count;
}
static void lose(cm3_save_entry *entries, size_t *count, const char *name) {
    size_t at = find_entry(entries, *count, name);
    entries[at] = entries[--*count];
}
static void lose_a_tensor(cm3_save_entry *entries, size_t *count) {
    lose(entries, count, "vq.quant_conv.bias");
}
static void lose_one_of_the_decoder(cm3_save_entry *entries, size_t *count) {
    lose(entries, count, "vq.decoder.up.0.block.0.norm1.weight");
}
static void change_a_shape(cm3_save_entry *entries, size_t *count) {
    cm3_save_entry *entry = &entries[find_entry(entries, *count, "vq.encoder.conv_in.weight")];
    entry->shape[0] = 2;
    entry->shape[1] = 6;
}
static void change_a_type(cm3_save_entry *entries, size_t *count) {
    cm3_save_entry *entry = &entries[find_entry(entries, *count, "vq.encoder.conv_in.bias")];
    entry->dtype = entry->source_dtype = CM3_I32;
}
static float not_a_number[4];
static void put_a_nan(cm3_save_entry *entries, size_t *count) {
    not_a_number[2] = NAN;
    entries[find_entry(entries, *count, "vq.encoder.conv_in.bias")].data = not_a_number;
}
static void halve(cm3_save_entry *entries, size_t *count) {
    for (size_t i = 0; i < *count; i++) entries[i].dtype = i % 2 ? CM3_F16 : CM3_BF16;
}

static const struct {
    tamper_fn tamper;
    cm3_status status;
    const char *words;
} file_cases[] = {
    {leave, CM3_OK, ""},
    {halve, CM3_OK, ""},
    {lose_a_tensor, CM3_ERROR_FORMAT, "'vq.quant_conv.bias' is missing"},
    {lose_one_of_the_decoder, CM3_ERROR_FORMAT, "up.0.block.0.norm1.weight' is missing"},
    {change_a_shape, CM3_ERROR_FORMAT, "[4, 3, 3, 3] and has [2, 6, 3, 3]"},
    {change_a_type, CM3_ERROR_FORMAT, "I32"},
    {put_a_nan, CM3_ERROR_FORMAT, "vq.encoder.conv_in.bias"},
};

START_TEST(file_round_trip) {
    test_fixture f;
    test_fixture_up(&f);
    cm3_vq *vq, *again = NULL;
    ck_assert_int_eq(cm3_vq_create_random(f.context, &tiny_config, 5, &vq), CM3_OK);
    cm3_save_entry entries[MOST_ENTRIES];
    size_t count = entries_of(vq, entries) - 1; /* the last one, what codes cost, a fresh tokenizer has not */
    file_cases[_i].tamper(entries, &count);
    const char *path = test_path(&f, "vq.safetensors");
    ck_assert_int_eq(cm3_safetensors_write(f.context, path, entries, count, NULL, NULL, 0), CM3_OK);
    cm3_weights *weights;
    ck_assert_int_eq(cm3_weights_of(f.context, open_tensors(f.context, path), &weights), CM3_OK);
    for (int copy = 0; copy < 2; copy++) {
        ck_assert_int_eq(cm3_vq_load(f.context, &tiny_config, weights, "vq.", copy, true, &again),
                         file_cases[_i].status);
        if (!again) {
            ck_assert_msg(test_says(&f, file_cases[_i].words), "%s", cm3_context_message(f.context));
            ck_assert_msg(test_says(&f, "vq.safetensors"), "%s", cm3_context_message(f.context));
            continue;
        }
        ck_assert(!again->parameters[again->parameter_count - 1].present);
        for (size_t i = 0; i + 1 < again->parameter_count; i++) {
            const cm3_tensor *was = &vq->parameters[i].tensor, *is = &again->parameters[i].tensor;
            ck_assert_str_eq(again->parameters[i].name, vq->parameters[i].name);
            ck_assert(!copy || is->dtype == CM3_F32);
            for (int64_t k = 0; k < is->count; k++) {
                float value = is->dtype == CM3_BF16 ? cm3_bf16_to_f32(((uint16_t *)is->data)[k]) : cm3_f32(is)[k];
                float bound = file_cases[_i].tamper == halve ? 0.01f * fabsf(cm3_f32(was)[k]) + 1e-7f : 0;
                ck_assert(fabsf(value - cm3_f32(was)[k]) <= bound);
            }
        }
        cm3_vq_destroy(again);
    }
    cm3_weights_release(weights);
    cm3_vq_destroy(vq);
    test_fixture_down(&f);
}
END_TEST

START_TEST(random_weights) {
    test_fixture f;
    test_fixture_up(&f);
    cm3_vq *a, *b, *other;
    ck_assert_int_eq(cm3_vq_create_random(f.context, &tiny_config, 5, &a), CM3_OK);
    ck_assert_int_eq(cm3_vq_create_random(f.context, &tiny_config, 5, &b), CM3_OK);
    ck_assert_int_eq(cm3_vq_create_random(f.context, &tiny_config, 6, &other), CM3_OK);
    int differing = 0;
    for (size_t i = 0; i + 1 < a->parameter_count; i++) {
        const cm3_tensor *t = &a->parameters[i].tensor;
        ck_assert_mem_eq(t->data, b->parameters[i].tensor.data, (size_t)t->count * sizeof(float));
        differing += memcmp(t->data, other->parameters[i].tensor.data, (size_t)t->count * sizeof(float)) != 0;
        /* kaiming uniform with a = sqrt 5 is uniform within 1 / sqrt(fan in) */
        double bound = t->rank == 4 ? 1 / sqrt((double)(t->count / t->shape[0])) : 1;
        for (int64_t k = 0; k < t->count; k++) ck_assert(fabs((double)cm3_f32(t)[k]) <= bound);
    }
    ck_assert_int_gt(differing, 40);
    ck_assert(cm3_f32(cm3_vq_find(a, "encoder.norm_out.weight"))[1] == 1);
    ck_assert(cm3_f32(cm3_vq_find(a, "encoder.norm_out.bias"))[1] == 0);
    ck_assert_int_eq(cm3_vq_cell(a), 2);
    ck_assert_int_eq(cm3_vq_grid(a), 4);
    ck_assert_int_eq(cm3_vq_tokens(a), 16);
    cm3_vq_destroy(a);
    cm3_vq_destroy(b);
    cm3_vq_destroy(other);
    test_fixture_down(&f);
}
END_TEST

/* --- nearest codes, gradients, memory ------------------------------------------------------------------------------
 */

static void check_ties(vq_case *c) {
    float *book = cm3_f32(cm3_vq_find(c->vq, "quantize.embedding.weight"));
    const float rows[5][2] = {{1, 0}, {0, 1}, {1, 0}, {0, 1}, {0, 0}};
    memcpy(book, rows, sizeof rows);
    const float z[5][2] = {{1, 0}, {0, 1}, {1, 1}, {0.5f, 0}, {-3, -3}};
    int32_t codes[5];
    ck_assert_int_eq(cm3_vq_quantise(c->graph, c->vq, &z[0][0], 5, CM3_VQ_USUAL, codes, NULL), CM3_OK);
    const int32_t nearest[5] = {0, 1, 0, 0, 4};
    ck_assert_mem_eq(codes, nearest, sizeof codes);
}

START_TEST(quantise_ties) {
    vq_case c;
    case_up(&c, 0);
    ck_assert_int_eq(cm3_vq_create_random(c.context, &tiny_config, 1, &c.vq), CM3_OK);
    run_on_graph(&c, check_ties);
    case_down(&c);
}
END_TEST

/* A file with what codes cost: the nearest by distance and cost, against a double loop. */
static void check_costs(vq_case *c) {
    const cm3_tensor *book = cm3_vq_find(c->vq, "quantize.embedding.weight"), *cost = cm3_vq_find(c->vq, CM3_VQ_COST);
    ck_assert_ptr_nonnull(cost);
    const int64_t n = book->shape[0], d = book->shape[1];
    cm3_random random = cm3_random_make(9, 9);
    int turned = 0;
    for (int i = 0; i < 200; i++) {
        float z[16];
        for (int64_t k = 0; k < d; k++) z[k] = ((float)cm3_random_uniform(&random) * 2 - 1) / (float)n;
        double best = INFINITY, second = INFINITY, nearest = INFINITY, runner_up = INFINITY;
        int32_t wanted = -1, plain = -1, code;
        for (int32_t j = 0; j < n; j++) {
            double distance = 0;
            for (int64_t k = 0; k < d; k++) distance += pow((double)z[k] - (double)cm3_f32(book)[j * d + k], 2);
            double all = distance + (double)cm3_f32(cost)[j];
            runner_up = distance < nearest ? nearest : distance < runner_up ? distance : runner_up;
            if (distance < nearest) nearest = distance, plain = j;
            second = all < best ? best : all < second ? all : second;
            if (all < best) best = all, wanted = j;
        }
        ck_assert_int_eq(cm3_vq_quantise(c->graph, c->vq, z, 1, CM3_VQ_USUAL, &code, NULL), CM3_OK);
        if (second - best > 1e-6) ck_assert_int_eq(code, wanted);
        ck_assert_int_eq(cm3_vq_quantise(c->graph, c->vq, z, 1, CM3_VQ_NEAREST, &code, NULL), CM3_OK);
        if (runner_up - nearest > 1e-6) ck_assert_int_eq(code, plain);
        turned += plain != wanted;
    }
    ck_assert_int_gt(turned, 20);
}

START_TEST(costs_of_codes) {
    vq_case c;
    case_up(&c, 0);
    cm3_vq *fresh;
    ck_assert_int_eq(cm3_vq_create_random(c.context, &tiny_config, 1, &fresh), CM3_OK);
    ck_assert_ptr_null(cm3_vq_find(fresh, CM3_VQ_COST));
    float costs[16];
    cm3_save_entry entries[MOST_ENTRIES];
    const size_t count = entries_of(fresh, entries);
    const int64_t n = entries[count - 1].shape[0];
    ck_assert_int_le(n, 16);
    for (int64_t i = 0; i < n; i++) costs[i] = (float)(i % 3) * 0.05f / (float)n;
    entries[count - 1].data = costs;
    test_fixture f;
    test_fixture_up(&f);
    const char *path = test_path(&f, "costs.safetensors");
    ck_assert_int_eq(cm3_safetensors_write(c.context, path, entries, count, NULL, NULL, 0), CM3_OK);
    cm3_vq_destroy(fresh);
    ck_assert_int_eq(cm3_weights_of(c.context, open_tensors(c.context, path), &c.weights), CM3_OK);
    ck_assert_int_eq(cm3_vq_load(c.context, &tiny_config, c.weights, "vq.", false, true, &c.vq), CM3_OK);
    run_on_graph(&c, check_costs);
    test_fixture_down(&f);
    case_down(&c);
}
END_TEST

static float input[2 * 8 * 8 * 3], target[2 * 8 * 8 * 3];

static double tiny_loss(vq_case *c, bool backward) {
    cm3_graph_reset(c->graph);
    cm3_tensor x = cm3_tensor_over(input, CM3_F32, 4, (int64_t[]){2, 8, 8, 3});
    cm3_tensor *y = cm3_vq_decode(c->graph, c->vq, cm3_vq_encode(c->graph, c->vq, &x));
    cm3_tensor *loss = cm3_nn_mean_squared_error(c->graph, y, target);
    ck_assert_ptr_nonnull(loss);
    double value = (double)*cm3_f32(loss);
    if (backward) ck_assert_int_eq(cm3_graph_backward(c->graph, loss, 1), CM3_OK);
    return value;
}

/** Every parameter tensor's gradient, along a random direction, against the difference of losses. */
static void check_gradient(vq_case *c) {
    cm3_random random = cm3_random_make(3, 3);
    for (int i = 0; i < 2 * 8 * 8 * 3; i++) {
        input[i] = (float)cm3_random_uniform(&random) * 2 - 1;
        target[i] = (float)cm3_random_normal(&random);
    }
    for (size_t i = 0; i + 1 < c->vq->parameter_count; i++) {
        cm3_tensor *t = &c->vq->parameters[i].tensor;
        for (int64_t k = 0; k < t->count; k++) cm3_f32(t)[k] += 0.2f * (float)cm3_random_normal(&random);
        t->grad = calloc((size_t)t->count, sizeof(float));
        t->has_grad = t->wants_grad = true;
    }
    tiny_loss(c, true);
    for (size_t i = 0; i + 1 < c->vq->parameter_count; i++) {
        cm3_tensor *t = &c->vq->parameters[i].tensor;
        double along = 0, norm = 0, difference = 0;
        float *kept = malloc((size_t)t->count * sizeof(float));
        memcpy(kept, t->data, (size_t)t->count * sizeof(float));
        for (int64_t k = 0; k < t->count; k++) norm += (double)t->grad[k] * (double)t->grad[k];
        if (norm > 1e-10) { /* along the gradient itself: what is seen is its length */
            double step = 0.01 / sqrt(norm);
            for (int side = -1; side <= 1; side += 2) {
                for (int64_t k = 0; k < t->count; k++) {
                    cm3_f32(t)[k] = kept[k] + (float)(side * step * (double)t->grad[k]);
                }
                difference += side * tiny_loss(c, false);
            }
            along = difference / (2 * step);
            ck_assert_msg(fabs(along - norm) < 0.02 * norm + 1e-5 * sqrt(norm), "%s: %g, expected %g",
                          c->vq->parameters[i].name, norm, along);
        } else { /* a bias before a softmax moves nothing, and the codebook was not used */
            const char *name = c->vq->parameters[i].name;
            ck_assert_msg(strstr(name, ".k.bias") || strstr(name, "quantize"), "%s has no gradient", name);
        }
        memcpy(t->data, kept, (size_t)t->count * sizeof(float));
        free(kept);
    }
    for (size_t i = 0; i < c->vq->parameter_count; i++) free(c->vq->parameters[i].tensor.grad);
}

START_TEST(gradient) {
    vq_case c;
    case_up(&c, 0);
    c.dnn = _i != 1;
    cm3_vq_config config = tiny_config;
    if (_i == 2) config.patch_size = 2;
    config.local_encoder = _i == 3;
    ck_assert_int_eq(cm3_vq_create_random(c.context, &config, 1, &c.vq), CM3_OK);
    run_on_graph(&c, check_gradient);
    case_down(&c);
}
END_TEST

/** Latents of a grey picture of 32 x 32 with one bright pixel at the top left, or none. */
static void latents_of(vq_case *c, bool pixel, float *latents) {
    cm3_tensor *x = cm3_graph_tensor(c->graph, CM3_F32, 4, (const int64_t[]){1, 32, 32, 3});
    ck_assert_ptr_nonnull(x);
    for (int64_t i = 0; i < x->count; i++) cm3_f32(x)[i] = 0.25f;
    if (pixel) cm3_f32(x)[0] = 1;
    cm3_tensor *z = cm3_vq_encode(c->graph, c->vq, x);
    ck_assert_ptr_nonnull(z);
    ck_assert_int_eq(z->count, 16 * 16 * 2);
    memcpy(latents, cm3_f32(z), (size_t)z->count * sizeof(float));
}

static void check_local(vq_case *c) {
    float without[16 * 16 * 2], with[16 * 16 * 2];
    latents_of(c, false, without);
    latents_of(c, true, with);
    ck_assert_mem_ne(without, with, 2 * sizeof(float));
    int differing = 0;
    for (int i = 0; i < 16 * 16; i++) differing += memcmp(without + 2 * i, with + 2 * i, 2 * sizeof(float)) != 0;
    if (c->vq->config.local_encoder) {
        ck_assert_int_le(differing, 4);
        /* away from the border, one area has one latent */
        ck_assert_mem_eq(without + 2 * (5 * 16 + 5), without + 2 * (9 * 16 + 7), 2 * sizeof(float));
    } else {
        ck_assert_int_eq(differing, 16 * 16);
    }
}

/* What a pixel changes: with a local encoder the cells around it; otherwise, by norms over the picture, all. */
START_TEST(local_encoder) {
    vq_case c;
    case_up(&c, 0);
    cm3_vq_config config = tiny_config;
    config.resolution = 32;
    config.local_encoder = _i == 1;
    ck_assert_int_eq(cm3_vq_create_random(c.context, &config, 1, &c.vq), CM3_OK);
    run_on_graph(&c, check_local);
    case_down(&c);
}
END_TEST

/* Whichever allocation fails, the call says so and leaves nothing behind. */
START_TEST(out_of_memory) {
    vq_case c;
    case_up(&c, 0);
    cm3_status status = CM3_ERROR_NO_MEMORY;
    for (int n = 0; status != CM3_OK; n++) {
        ck_assert_int_lt(n, 2000);
        int64_t live = atomic_load(&c.memory.live);
        cm3_image *image = NULL;
        const int32_t codes[16] = {0};
        test_allocator_fail(&c.memory, n, 1);
        status = cm3_vq_create_random(c.context, &tiny_config, 1, &c.vq);
        if (status == CM3_OK) status = cm3_vq_decode_image(c.vq, codes, CM3_COMPUTE_AUTO, &image);
        test_allocator_fail(&c.memory, -1, 0);
        ck_assert_msg(status == CM3_OK || status == CM3_ERROR_NO_MEMORY, "%d: %s", n, cm3_context_message(c.context));
        cm3_image_destroy(image);
        cm3_vq_destroy(c.vq);
        c.vq = NULL;
        ck_assert_int_eq(atomic_load(&c.memory.live), live);
    }
    case_down(&c);
}
END_TEST

Suite *vq_suite(void) {
    Suite *suite = suite_create("image/vq");
    TCase *tcase = tcase_create("vq");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, parity_taming, 0, 16);
    tcase_add_test(tcase, parity_hugging_face);
    tcase_add_loop_test(tcase, picture_decoding, 0, 3);
    tcase_add_loop_test(tcase, rows_are_added, 0, 3);
    tcase_add_test(tcase, picture_encoding);
    tcase_add_test(tcase, config_round_trip);
    tcase_add_test(tcase, config_published);
    tcase_add_loop_test(tcase, file_round_trip, 0, (int)(sizeof file_cases / sizeof *file_cases));
    tcase_add_test(tcase, random_weights);
    tcase_add_test(tcase, quantise_ties);
    tcase_add_test(tcase, costs_of_codes);
    tcase_add_loop_test(tcase, gradient, 0, 4);
    tcase_add_loop_test(tcase, local_encoder, 0, 2);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
