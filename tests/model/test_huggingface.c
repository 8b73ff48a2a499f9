/* Folders in Hugging Face's layout: what they compute, shards, the image decoder from elsewhere, and what is refused.
 */
#include <math.h>

#include "model/model.h"
#include "suites.h"
#include "support/fixture.h"

#define PARITY CM3_TEST_DATA "/parity/"
#define MOST_TENSORS 512

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_safetensors *open_tensors(const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_msg(cm3_file_open(fixture.context, path, &file) == CM3_OK, "%s", cm3_context_message(fixture.context));
    ck_assert_int_eq(cm3_safetensors_open(fixture.context, file, &tensors), CM3_OK);
    cm3_file_release(file);
    return tensors;
}

static void write_text(const char *name, const char *text) {
    FILE *file = fopen(test_path(&fixture, name), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/** The reference folder's config.json, the first `from` in it replaced. */
static void write_config(const char *from, const char *to) {
    cm3_file *file;
    ck_assert_int_eq(cm3_file_open(fixture.context, PARITY "chameleon/config.json", &file), CM3_OK);
    char *text = strndup((const char *)file->data, file->size), *place = from ? strstr(text, from) : NULL;
    cm3_file_release(file);
    ck_assert(!from || place);
    size_t size = strlen(text) + (to ? strlen(to) : 0) + 1;
    char *changed = malloc(size);
    if (place) {
        snprintf(changed, size, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    } else {
        strcpy(changed, text);
    }
    write_text("config.json", changed);
    free(changed);
    free(text);
}

/** Tensors of the reference folder as entries to be written again. */
static size_t entries_of(const cm3_safetensors *tensors, cm3_save_entry *entries) {
    size_t count = cm3_safetensors_count(tensors);
    ck_assert_uint_le(count, MOST_TENSORS);
    for (size_t i = 0; i < count; i++) {
        const cm3_entry *e = cm3_safetensors_at(tensors, i);
        entries[i] = (cm3_save_entry){e->name, e->dtype, e->dtype, e->rank, {0}, e->data, NULL, NULL};
        memcpy(entries[i].shape, e->shape, sizeof e->shape);
    }
    return count;
}

static void write_tensors(const char *name, const cm3_save_entry *entries, size_t count) {
    ck_assert_int_eq(cm3_safetensors_write(fixture.context, test_path(&fixture, name), entries, count, NULL, NULL, 0),
                     CM3_OK);
}

/** The folder's logits of the reference's ids are the reference's. */
static void expect_logits(const char *folder, double tolerance) {
    cm3_model *model;
    ck_assert_msg(cm3_model_load(fixture.context, folder, NULL, &model) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    cm3_safetensors *reference = open_tensors(PARITY "ref/chameleon.safetensors");
    const cm3_entry *ids = cm3_safetensors_find(reference, "text.input_ids");
    const cm3_entry *expected = cm3_safetensors_find(reference, "text.logits");
    int32_t given[256];
    ck_assert_int_le(ids->count, 256);
    for (int64_t i = 0; i < ids->count; i++) given[i] = (int32_t)((const int64_t *)ids->data)[i];
    float *logits = malloc(expected->size);
    ck_assert_int_eq(cm3_model_logits(model, given, (size_t)ids->count, CM3_COMPUTE_F32, logits), CM3_OK);
    for (int64_t i = 0; i < expected->count; i++) {
        double x = logits[i], y = ((const float *)expected->data)[i];
        ck_assert_msg(fabs(x - y) <= tolerance * (1 + fabs(y)), "logit %lld: %g, expected %g", (long long)i, x, y);
    }
    free(logits);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}

START_TEST(computes_what_the_original_does) {
    expect_logits(PARITY "chameleon", 1e-5);
    expect_logits(PARITY "chameleon/", 1e-5);
}
END_TEST

START_TEST(huge_pages_and_description) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.mode = CM3_LOAD_HUGE;
    cm3_model *model;
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon", &options, &model), CM3_OK);
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
    ck_assert_int_eq(info.parts, CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER);
    ck_assert_int_eq(info.vocab_size, 600);
    ck_assert_int_eq(info.context_length, 512);
    const char *json;
    ck_assert_int_eq(cm3_model_config_json(model, &json), CM3_OK);
    ck_assert_ptr_nonnull(strstr(json, "\"num_embeddings\":64"));
    cm3_tokenizer *tokenizer;
    int32_t id;
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
    cm3_model_destroy(model);
    ck_assert_int_eq(cm3_tokenizer_special(tokenizer, CM3_TOKEN_IMAGE, 63, &id), CM3_OK);
    ck_assert_int_eq(id, 67);
    cm3_tokenizer_destroy(tokenizer);
}
END_TEST

/** Spelled as in 2024, in two shards, one row of q- and k-norm for all heads where they are alike. */
START_TEST(shards) {
    cm3_safetensors *tensors = open_tensors(PARITY "chameleon/model.safetensors");
    cm3_save_entry entries[MOST_TENSORS], part[MOST_TENSORS];
    size_t count = entries_of(tensors, entries), parts = 0;
    char *index = malloc(200 * (count + 1));
    size_t used = (size_t)sprintf(index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (size_t i = 0; i < count; i++) {
        used += (size_t)sprintf(index + used, "%s\"%s\": \"part-%d.safetensors\"", i ? ", " : "", entries[i].name,
                                (int)(i & 1));
    }
    strcpy(index + used, "}}");
    for (size_t shard = 0; shard < 2; shard++) {
        parts = 0;
        for (size_t i = shard; i < count; i += 2) part[parts++] = entries[i];
        write_tensors(shard ? "part-1.safetensors" : "part-0.safetensors", part, parts);
    }
    write_text("model.safetensors.index.json", index);
    write_config("\"rope_parameters\"", "\"rope_theta\": 10000.0, \"rope_scaling\": null, \"rope_was\"");
    expect_logits(fixture.folder, 1e-5);

    cm3_model *model;
    char *place = strstr(index, "part-1.safetensors");
    place[5] = '0'; /* says that a tensor is in the other one */
    write_text("model.safetensors.index.json", index);
    ck_assert_int_eq(cm3_model_load(fixture.context, fixture.folder, NULL, &model), CM3_ERROR_FORMAT);
    ck_assert_msg(test_says(&fixture, "part-0.safetensors") && test_says(&fixture, "the index puts it here"), "%s",
                  cm3_context_message(fixture.context));
    place[5] = '7';
    write_text("model.safetensors.index.json", index);
    ck_assert_int_eq(cm3_model_load(fixture.context, fixture.folder, NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "part-7.safetensors"));
    memcpy(place, "../part-1.safetens", 18);
    write_text("model.safetensors.index.json", index);
    ck_assert_int_eq(cm3_model_load(fixture.context, fixture.folder, NULL, &model), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "in the same folder"));
    write_text("model.safetensors.index.json", "{}");
    ck_assert_int_eq(cm3_model_load(fixture.context, fixture.folder, NULL, &model), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "weight_map"));
    free(index);
    cm3_safetensors_close(tensors);
}
END_TEST

static bool is_qk_norm(const char *name) {
    return strstr(name, "q_norm") || strstr(name, "k_norm");
}

/** The first head's row for all heads, written once a head, and once. */
START_TEST(one_row_of_qk_norm) {
    cm3_safetensors *tensors = open_tensors(PARITY "chameleon/model.safetensors");
    cm3_save_entry entries[MOST_TENSORS];
    size_t count = entries_of(tensors, entries);
    const int32_t ids[] = {0, 80, 90, 100, 110, 120};
    float logits[2][6 * 600];
    char rows[MOST_TENSORS][4 * 16 * sizeof(float)];
    write_config(NULL, NULL);
    for (int once = 0; once < 2; once++) {
        for (size_t i = 0; i < count; i++) {
            if (!is_qk_norm(entries[i].name)) continue;
            size_t row = 16 * sizeof(float);
            for (size_t head = 0; head < 4 && !once; head++) memcpy(rows[i] + head * row, entries[i].data, row);
            entries[i].data = rows[i];
            if (once) entries[i].rank = 1, entries[i].shape[0] = 16;
        }
        write_tensors("model.safetensors", entries, count);
        cm3_model *model;
        ck_assert_msg(cm3_model_load(fixture.context, fixture.folder, NULL, &model) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        ck_assert_int_eq(cm3_model_logits(model, ids, 6, CM3_COMPUTE_F32, logits[once]), CM3_OK);
        cm3_model_destroy(model);
    }
    ck_assert_int_eq(memcmp(logits[0], logits[1], sizeof logits[0]), 0);
    cm3_safetensors_close(tensors);
}
END_TEST

START_TEST(decoder_from_another_file) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    cm3_safetensors *reference = open_tensors(PARITY "ref/chameleon.safetensors");
    const cm3_entry *codes = cm3_safetensors_find(reference, "decode.codes");
    const cm3_entry *expected = cm3_safetensors_find(reference, "decode.rgb8");
    ck_assert(codes && expected && expected->dtype == CM3_U8);
    int32_t given[256];
    ck_assert_int_le(codes->count, 256);
    for (int64_t i = 0; i < codes->count; i++) given[i] = (int32_t)((const int64_t *)codes->data)[i];
    for (int with = 0; with < 2; with++) {
        cm3_model *model;
        cm3_tokenizer *tokenizer;
        cm3_image *image;
        options.vqgan = with ? PARITY "vqgan/vqgan.safetensors" : NULL;
        ck_assert_msg(cm3_model_load(fixture.context, PARITY "chameleon", &options, &model) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
        cm3_model_destroy(model);
        cm3_status status = cm3_tokenizer_decode_image(tokenizer, given, (size_t)codes->count, &image);
        ck_assert_int_eq(status, with ? CM3_OK : CM3_ERROR_UNSUPPORTED);
        if (with) {
            cm3_image_view view;
            cm3_image_get_view(image, &view);
            ck_assert_int_eq((int64_t)view.width * view.height * 3, expected->count);
            for (int64_t i = 0; i < expected->count; i++) {
                int64_t line = 3 * (int64_t)view.width;
                int found = view.pixels[(size_t)(i / line) * view.stride + (size_t)(i % line)];
                ck_assert_int_le(abs(found - ((const uint8_t *)expected->data)[i]), 1);
            }
            cm3_image_destroy(image);
        }
        cm3_tokenizer_destroy(tokenizer);
    }
    options.vqgan = "no/such.safetensors";
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon", &options, &model), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "no/such.safetensors"));
    ck_assert_int_eq(cm3_model_load(fixture.context, CM3_SOURCE_DIR "/models/toybox.cm3", &options, &model),
                     CM3_ERROR_INVALID_ARGUMENT);
    cm3_safetensors_close(reference);
}
END_TEST

/** The reference's codes of its pictures; without the file of settings, these are the defaults. */
START_TEST(codes_as_hugging_face) {
    static const char *const names[] = {"wide", "tall", "small", "square", "rgba"};
    cm3_safetensors *reference = open_tensors(PARITY "ref/chameleon.safetensors");
    cm3_model *model;
    cm3_tokenizer *tokenizer;
    ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon", NULL, &model), CM3_OK);
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
    cm3_model_destroy(model);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256], key[64];
        int32_t codes[64];
        size_t count;
        cm3_image *image;
        snprintf(path, sizeof path, PARITY "ref/images/%s.png", names[i]);
        snprintf(key, sizeof key, "image.%s.codes", names[i]);
        const cm3_entry *expected = cm3_safetensors_find(reference, key);
        ck_assert(expected && expected->count == 64);
        ck_assert_int_eq(cm3_image_load(fixture.context, path, &image), CM3_OK);
        ck_assert_int_eq(cm3_tokenizer_encode_image_as(tokenizer, image, CM3_PREPROCESSING_HF, codes, 64, &count),
                         CM3_OK);
        ck_assert_uint_eq(count, 64);
        for (int64_t j = 0; j < 64; j++) {
            int64_t wanted = expected->dtype == CM3_I64 ? ((const int64_t *)expected->data)[j]
                                                        : ((const int32_t *)expected->data)[j];
            ck_assert_int_eq(codes[j], wanted);
        }
        ck_assert_int_eq(cm3_tokenizer_encode_image_as(tokenizer, image, (cm3_preprocessing)3, codes, 64, &count),
                         CM3_ERROR_INVALID_ARGUMENT);
        cm3_image_destroy(image);
    }
    cm3_tokenizer_destroy(tokenizer);
    cm3_safetensors_close(reference);
}
END_TEST

static void link_rest(void) {
    static const char *const names[] = {"model.safetensors", "tokenizer.json"};
    char path[256];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, PARITY "chameleon/%s", names[i]);
        ck_assert_int_eq(symlink(path, test_path(&fixture, names[i])), 0);
    }
}

static const struct {
    const char *text;
    cm3_status loading, encoding;
    const char *says;
} preprocessings[] = {
    {"{\"size\": 32, \"crop_size\": 32, \"resample\": 3, \"rescale_factor\": 0.01, \"image_mean\": [1, 1, 1]}", CM3_OK,
     CM3_OK, NULL},
    {"{\"image_processor\": {\"size\": {\"shortest_edge\": 40}, \"crop_size\": {\"height\": 32, \"width\": 32}}}",
     CM3_OK, CM3_OK, NULL},
    {"{\"crop_size\": {\"height\": 32, \"width\": 16}}", CM3_OK, CM3_ERROR_FORMAT, "16 x 32"},
    {"{\"image_std\": [1, 0, 1]}", CM3_OK, CM3_ERROR_INVALID_ARGUMENT, "deviation"},
    {"{\"resample\": 0}", CM3_ERROR_UNSUPPORTED, CM3_OK, "resample"},
    {"{\"image_mean\": [1, 1]}", CM3_ERROR_FORMAT, CM3_OK, "image_mean"},
    {"{\"image_std\": \"1\"}", CM3_ERROR_FORMAT, CM3_OK, "image_std"},
    {"{\"size\": {\"shortest_edge\": 0}}", CM3_ERROR_FORMAT, CM3_OK, "shortest_edge"},
    {"{\"image_processor\": 3}", CM3_ERROR_FORMAT, CM3_OK, "image_processor"},
    {"[]", CM3_ERROR_FORMAT, CM3_OK, "preprocessor_config.json"},
};

START_TEST(preprocessing_settings) {
    cm3_model *model;
    cm3_image *image;
    write_config(NULL, NULL);
    link_rest();
    write_text("preprocessor_config.json", preprocessings[_i].text);
    cm3_status status = cm3_model_load(fixture.context, fixture.folder, NULL, &model);
    ck_assert_msg(status == preprocessings[_i].loading, "%s: %s", preprocessings[_i].text,
                  cm3_context_message(fixture.context));
    if (status == CM3_OK) {
        int32_t codes[64];
        size_t count;
        cm3_tokenizer *tokenizer;
        ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
        ck_assert_int_eq(cm3_image_load(fixture.context, PARITY "ref/images/wide.png", &image), CM3_OK);
        status = cm3_tokenizer_encode_image_as(tokenizer, image, CM3_PREPROCESSING_HF, codes, 64, &count);
        ck_assert_int_eq(status, preprocessings[_i].encoding);
        cm3_image_destroy(image);
        cm3_tokenizer_destroy(tokenizer);
        cm3_model_destroy(model);
    }
    if (preprocessings[_i].says) {
        ck_assert_msg(test_says(&fixture, preprocessings[_i].says), "%s", cm3_context_message(fixture.context));
    }
}
END_TEST

/** Rows laid over the head: the named logits change as they should, the others stay. */
START_TEST(rows_of_the_head) {
    static float rows[3 * 64];
    static int64_t numbers[] = {599, 0, 4};
    for (int i = 0; i < 3 * 64; i++) rows[i] = (float)(i % 7) - 3;
    cm3_save_entry entries[] = {{"lm_head.weight", CM3_F32, CM3_F32, 2, {3, 64}, rows, NULL, NULL},
                                {"rows", CM3_I64, CM3_I64, 1, {3}, numbers, NULL, NULL}};
    const char *path = test_path(&fixture, "rows.safetensors");
    write_tensors("rows.safetensors", entries, 2);
    cm3_load_options options;
    cm3_load_options_init(&options);
    cm3_model *plain, *laid;
    ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon", &options, &plain), CM3_OK);
    options.head_rows = path;
    ck_assert_msg(cm3_model_load(fixture.context, PARITY "chameleon", &options, &laid) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    const int32_t ids[] = {0, 80, 90};
    float *a = malloc(3 * 600 * sizeof *a), *b = malloc(3 * 600 * sizeof *b),
          *hidden = malloc(4 * 3 * 64 * sizeof *hidden);
    ck_assert_int_eq(cm3_model_logits(plain, ids, 3, CM3_COMPUTE_F32, a), CM3_OK);
    ck_assert_int_eq(cm3_model_logits(laid, ids, 3, CM3_COMPUTE_F32, b), CM3_OK);
    ck_assert_int_eq(cm3_model_hidden(laid, ids, 3, CM3_COMPUTE_F32, hidden), CM3_OK);
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 600; i++) {
            int row = i == 599 ? 0 : i == 0 ? 1 : i == 4 ? 2 : -1;
            double expected = (double)a[t * 600 + i];
            if (row >= 0) expected = 0;
            for (int k = 0; k < 64 && row >= 0; k++)
                expected += (double)rows[row * 64 + k] * (double)hidden[(9 + t) * 64 + k];
            ck_assert_double_le(fabs((double)b[t * 600 + i] - expected), 1e-4 * (1 + fabs(expected)));
        }
    }
    free(a), free(b), free(hidden);
    cm3_model_destroy(plain);
    cm3_model_destroy(laid);
    /* converted, they are the file's own */
    cm3_convert_options convert;
    cm3_convert_options_init(&convert);
    convert.head_rows = path;
    ck_assert_int_eq(cm3_model_convert(fixture.context, PARITY "chameleon", test_path(&fixture, "laid.cm3"), &convert),
                     CM3_OK);
    /* wrong ones */
    static const struct {
        int64_t number, count;
        const char *says;
    } wrong[] = {{600, 3, "names 600"}, {-1, 3, "names -1"}, {5, 2, "3 ids"}, {0, 0, "no 'rows'"}};
    for (int i = 0; i < 4; i++) {
        numbers[0] = wrong[i].number;
        entries[1].shape[0] = wrong[i].count;
        write_tensors("rows.safetensors", entries, wrong[i].count ? 2 : 1);
        ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon", &options, &laid), CM3_ERROR_FORMAT);
        ck_assert_msg(test_says(&fixture, wrong[i].says), "%s", cm3_context_message(fixture.context));
    }
    numbers[0] = 599;
}
END_TEST

static const struct {
    const char *from, *to;
    cm3_status status;
    const char *says;
} bad_configs[] = {
    {"\"model_type\": \"chameleon\"", "\"model_type\": \"llama\"", CM3_ERROR_UNSUPPORTED, "llama"},
    {"\"model_type\": \"chameleon\"", "\"type\": 1", CM3_ERROR_FORMAT, "model_type"},
    {"\"silu\"", "\"gelu\"", CM3_ERROR_UNSUPPORTED, "hidden_act"},
    {"\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", CM3_ERROR_UNSUPPORTED, "yarn"},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 1099511627776", CM3_ERROR_FORMAT, "num_attention_heads"},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 5", CM3_ERROR_FORMAT, "heads"},
    {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", CM3_ERROR_FORMAT, "model.layers.2."},
    {"\"intermediate_size\": 176", "\"intermediate_size\": 177", CM3_ERROR_FORMAT, "[177, 64] and has [176, 64]"},
    {"\"attention_bias\": false", "\"attention_bias\": true", CM3_ERROR_FORMAT, "q_proj.bias"},
    {"\"mlp_bias\": false", "\"mlp_bias\": true", CM3_ERROR_FORMAT, "gate_proj.bias"},
    {"\"vocab_size\": 600", "\"vocab_size\": 599", CM3_ERROR_FORMAT, "599"},
    {"\"double_latent\": false", "\"double_latent\": true", CM3_ERROR_UNSUPPORTED, "double_latent"},
    {"\"num_embeddings\": 64", "\"num_embeddings\": 32", CM3_ERROR_FORMAT, "quantize.embedding.weight"},
    {"\"swin_norm\": false", "\"swin_norm\": 1", CM3_ERROR_FORMAT, "swin_norm"},
    {"{", "[", CM3_ERROR_FORMAT, "config.json"},
};

START_TEST(refused_configurations) {
    cm3_model *model;
    write_config(bad_configs[_i].from, bad_configs[_i].to);
    link_rest();
    cm3_status status = cm3_model_load(fixture.context, fixture.folder, NULL, &model);
    ck_assert_msg(status == bad_configs[_i].status, "%s: %d: %s", bad_configs[_i].to, (int)status,
                  cm3_context_message(fixture.context));
    ck_assert_msg(test_says(&fixture, bad_configs[_i].says), "%s: %s", bad_configs[_i].to,
                  cm3_context_message(fixture.context));
    ck_assert_ptr_null(model);
}
END_TEST

/** Every allocation of it may fail: an error, and nothing left (the fixture looks). */
START_TEST(out_of_memory) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.vqgan = PARITY "vqgan/vqgan.safetensors";
    cm3_model *model = NULL;
    int failures = 0;
    for (int64_t n = 0; !model; n++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        cm3_status status = cm3_model_load(fixture.context, PARITY "chameleon", &options, &model);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_int_eq(status, model ? CM3_OK : CM3_ERROR_NO_MEMORY);
        failures += !model;
    }
    ck_assert_int_gt(failures, 50);
    cm3_model_destroy(model);
}
END_TEST

Suite *huggingface_suite(void) {
    Suite *suite = suite_create("model/huggingface");
    TCase *tcase = tcase_create("folders");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, computes_what_the_original_does);
    tcase_add_test(tcase, huge_pages_and_description);
    tcase_add_test(tcase, shards);
    tcase_add_test(tcase, one_row_of_qk_norm);
    tcase_add_test(tcase, decoder_from_another_file);
    tcase_add_test(tcase, codes_as_hugging_face);
    tcase_add_test(tcase, rows_of_the_head);
    tcase_add_loop_test(tcase, preprocessing_settings, 0, (int)(sizeof preprocessings / sizeof *preprocessings));
    tcase_add_loop_test(tcase, refused_configurations, 0, (int)(sizeof bad_configs / sizeof *bad_configs));
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
