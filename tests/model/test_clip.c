/* CLIP: its vectors against the original's, its configurations old and new, and what is refused. */
#include <jansson.h>

#include "reference.h"
#include "suites.h"

#define CLIP PARITY "clip"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static void expect_vectors(const float *vectors, const cm3_safetensors *reference, const char *name, double most) {
    const cm3_entry *expected = reference_entry(reference, name);
    for (int64_t i = 0; i < expected->count; i++) {
        double x = (double)vectors[i], y = (double)((const float *)expected->data)[i];
        ck_assert_msg(fabs(x - y) <= most * (1 + fabs(y)), "%s %lld: %g, expected %g", name, (long long)i, x, y);
    }
}

/** Texts and pictures of the reference through a model, to `most` (1 + an element). */
static void compare(const cm3_model *model, double most) {
    static const char *const names[] = {"wide", "tall", "small", "square", "rgba"};
    cm3_safetensors *reference = reference_open(&fixture, PARITY "ref/clip.safetensors");
    json_t *json = json_load_file(PARITY "ref/clip_texts.json", 0, NULL), *list = json_object_get(json, "texts");
    const char *texts[4];
    cm3_image *images[5];
    float vectors[5 * 24];
    for (size_t i = 0; i < 4; i++) texts[i] = json_string_value(json_array_get(list, i));
    for (int raw = 0; raw < 2; raw++) {
        ck_assert_msg(cm3_model_embed_texts(model, texts, 4, !raw, vectors) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        expect_vectors(vectors, reference, raw ? "text.embeds" : "text.embeds_unit", most);
        for (int i = 0; i < 5; i++) {
            char path[512];
            snprintf(path, sizeof path, PARITY "ref/images/%s.png", names[i]);
            ck_assert_int_eq(cm3_image_load(fixture.context, path, &images[i]), CM3_OK);
        }
        ck_assert_int_eq(cm3_model_embed_images(model, images, 5, !raw, vectors), CM3_OK);
        expect_vectors(vectors, reference, raw ? "image.embeds" : "image.embeds_unit", most);
        for (int i = 0; i < 5; i++) cm3_image_destroy(images[i]);
    }
    json_decref(json);
    cm3_safetensors_close(reference);
}

START_TEST(computes_what_the_original_does) {
    cm3_model *model = reference_load(&fixture, CLIP);
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
    ck_assert_int_eq(info.parts, CM3_PART_ENCODER | CM3_PART_TOKENIZER);
    ck_assert_int_eq(info.embedding_size, 24);
    compare(model, 1e-6);
    cm3_model_destroy(model);
}
END_TEST

static const struct {
    cm3_weight_type weights;
    double most; /**< distance of unit vectors' elements */
} formats[] = {{CM3_WEIGHTS_KEEP, 1e-6},
               {CM3_WEIGHTS_F32, 1e-6},
               {CM3_WEIGHTS_BF16, 0.02},
               {CM3_WEIGHTS_Q8, 0.03},
               {CM3_WEIGHTS_Q4, 0.3}};

/** In every weight type, and what is made of the file once more. */
START_TEST(as_a_cm3_file) {
    cm3_model_info folder = {.struct_size = sizeof folder}, file = {.struct_size = sizeof file};
    cm3_model *model = reference_load(&fixture, CLIP);
    ck_assert_int_eq(cm3_model_get_info(model, &folder), CM3_OK);
    cm3_model_destroy(model);
    for (int again = 0; again < 2; again++) {
        const char *from = again ? test_path(&fixture, "clip.cm3") : CLIP;
        const char *to = test_path(&fixture, again ? "again.cm3" : "clip.cm3");
        cm3_convert_options options;
        cm3_convert_options_init(&options);
        options.weights = again ? CM3_WEIGHTS_KEEP : formats[_i].weights;
        ck_assert_msg(cm3_model_convert(fixture.context, from, to, &options) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        model = reference_load(&fixture, to);
        compare(model, formats[_i].most);
        ck_assert_int_eq(cm3_model_get_info(model, &file), CM3_OK);
        ck_assert_uint_eq(file.encoder_parameters, folder.encoder_parameters);
        if (formats[_i].most > 1e-3) ck_assert_uint_lt(file.weight_bytes, folder.weight_bytes * 2 / 3);
        cm3_model_destroy(model);
    }
}
END_TEST

/** The reference's config.json, `from` in it replaced; the other files are linked. */
static void link_folder(const char *from, const char *to) {
    static const char *const names[] = {"model.safetensors", "tokenizer.json", "preprocessor_config.json"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, CLIP "/%s", names[i]);
        ck_assert_int_eq(symlink(path, test_path(&fixture, names[i])), 0);
    }
    char *text = test_get(CLIP "/config.json", NULL), *place = strstr(text, from), changed[4096];
    ck_assert_ptr_nonnull(place);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    test_put(test_path(&fixture, "config.json"), changed, strlen(changed));
    free(text);
}

/** Spellings that mean the same: old files' copies win, and the end of a text may be its largest id. */
static const char *const spellings[][2] = {
    {"\"eos_token_id\": 713", "\"eos_token_id\": 2"},
    {"\"text_config\": {", "\"text_config_dict\": {\"num_hidden_layers\": 2}, \"text_config\": {"},
    {"\"num_hidden_layers\": 2,\n    \"pad_token_id\": 713,", "\"num_hidden_layers\": 5,\n    \"pad_token_id\": 713,"},
};

START_TEST(other_spellings) {
    link_folder(spellings[_i][0], spellings[_i][1]);
    if (_i == 2) { /* wrong beside a copy that wins */
        char *text = test_get(test_path(&fixture, "config.json"), NULL), changed[4096];
        char *end = strrchr(text, '}');
        snprintf(changed, sizeof changed, "%.*s, \"text_config_dict\": {\"num_hidden_layers\": 2}}", (int)(end - text),
                 text);
        test_put(test_path(&fixture, "config.json"), changed, strlen(changed));
        free(text);
    }
    cm3_model *model = reference_load(&fixture, fixture.folder);
    compare(model, 1e-6);
    cm3_model_destroy(model);
}
END_TEST

static const struct {
    const char *from, *to;
    cm3_status status;
    const char *says;
} bad_configs[] = {
    {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", CM3_ERROR_FORMAT, "layers.2."},
    {"\"projection_dim\": 24", "\"projection_dim\": 25", CM3_ERROR_FORMAT, "projection.weight"},
    {"\"hidden_size\": 32", "\"hidden_size\": 36", CM3_ERROR_FORMAT, "has [714, 32]"},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 3", CM3_ERROR_FORMAT, "heads"},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 1099511627776", CM3_ERROR_FORMAT, "num_attention_heads"},
    {"\"quick_gelu\"", "\"mish\"", CM3_ERROR_UNSUPPORTED, "mish"},
    {"\"patch_size\": 8", "\"patch_size\": 64", CM3_ERROR_UNSUPPORTED, "patches of 64"},
    {"\"model_type\": \"clip\"", "\"model_type\": \"clipseg\"", CM3_ERROR_UNSUPPORTED, "clipseg"},
};

START_TEST(refused_configurations) {
    link_folder(bad_configs[_i].from, bad_configs[_i].to);
    cm3_model *model;
    cm3_status status = cm3_model_load(fixture.context, fixture.folder, NULL, &model);
    ck_assert_msg(status == bad_configs[_i].status, "%s: %d: %s", bad_configs[_i].to, (int)status,
                  cm3_context_message(fixture.context));
    ck_assert_msg(test_says(&fixture, bad_configs[_i].says), "%s", cm3_context_message(fixture.context));
}
END_TEST

/** The reference's preprocessor_config.json, `from` in it replaced. */
static void change_preprocessing(const char *from, const char *to) {
    char *text = test_get(CLIP "/preprocessor_config.json", NULL), *place = strstr(text, from), changed[4096];
    ck_assert_ptr_nonnull(place);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    const char *path = test_path(&fixture, "preprocessor_config.json");
    ck_assert_int_eq(unlink(path), 0);
    test_put(path, changed, strlen(changed));
    free(text);
}

static const struct {
    const char *from, *to, *says; /**< says: NULL where it means the same */
} preprocessings[] = {
    {"\"size\": {\n    \"shortest_edge\": 32\n  }", "\"size\": 32", NULL},
    {"\"crop_size\": {\n    \"height\": 32,\n    \"width\": 32\n  }", "\"crop_size\": 32", NULL},
    {"\"image_processor_type\"", "\"feature_extractor_type\"", NULL},
    {"\"resample\": 3", "\"resample\": null", NULL},
    {"\"height\": 32,\n    \"width\": 32", "\"height\": 32,\n    \"width\": 512", "pictures of 512 x 32"},
    {"\"crop_size\": {\n    \"height\": 32,\n    \"width\": 32\n  }", "\"crop_size\": 48", "reads 32 x 32"},
    {"\"shortest_edge\": 32", "\"longest_edge\": 32", "shortest_edge"},
    {"\"shortest_edge\": 32", "\"height\": 32", "shortest_edge"},
    {"\"do_resize\": true", "\"do_resize\": false", "do_resize"},
    {"\"do_center_crop\": true", "\"do_center_crop\": false", "do_center_crop"},
    {"\"resample\": 3", "\"resample\": 2", "resample is 2"},
    {"0.48145466,", "", "three numbers"},
};

START_TEST(preprocessings_told) {
    link_folder("{", "{");
    change_preprocessing(preprocessings[_i].from, preprocessings[_i].to);
    cm3_model *model;
    cm3_status status = cm3_model_load(fixture.context, fixture.folder, NULL, &model);
    if (preprocessings[_i].says) {
        ck_assert_int_ne(status, CM3_OK);
        ck_assert_msg(test_says(&fixture, preprocessings[_i].says), "%s", cm3_context_message(fixture.context));
        return;
    }
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(fixture.context));
    compare(model, 1e-6);
    cm3_model_destroy(model);
}
END_TEST

/** Folders of one tower and its projection. */
START_TEST(one_tower) {
    static const char text[] = "{\"model_type\": \"clip_text_model\", \"projection_dim\": 24, \"hidden_size\": 32,"
                               "\"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
                               "\"vocab_size\": 714, \"eos_token_id\": 713}";
    link_folder("{", "{");
    test_put(test_path(&fixture, "config.json"), text, strlen(text));
    cm3_model *model = reference_load(&fixture, fixture.folder);
    cm3_safetensors *reference = reference_open(&fixture, PARITY "ref/clip.safetensors");
    const char *first = "a photo of a cat";
    float vector[24];
    ck_assert_int_eq(cm3_model_embed_texts(model, &first, 1, 1, vector), CM3_OK);
    for (int i = 0; i < 24; i++) {
        const float *expected = reference_entry(reference, "text.embeds_unit")->data;
        ck_assert_float_le(fabsf(vector[i] - expected[i]), 1e-6f);
    }
    cm3_image *image;
    ck_assert_int_eq(cm3_image_load(fixture.context, PARITY "ref/images/wide.png", &image), CM3_OK);
    ck_assert_int_eq(cm3_model_embed_images(model, &image, 1, 1, vector), CM3_ERROR_UNSUPPORTED);
    cm3_image_destroy(image);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(arguments) {
    cm3_model *model = reference_load(&fixture, CLIP);
    const char *good = "a", *none = NULL, *bad = "\xff";
    float vector[24];
    ck_assert_int_eq(cm3_model_embed_texts(NULL, &good, 1, 1, vector), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_embed_texts(model, NULL, 1, 1, vector), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_embed_texts(model, &none, 1, 1, vector), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_embed_texts(model, &good, 1, 1, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_embed_texts(model, &bad, 1, 1, vector), CM3_ERROR_UTF8);
    ck_assert_int_eq(cm3_model_embed_texts(model, NULL, 0, 1, NULL), CM3_OK);
    ck_assert_int_eq(cm3_model_embed_images(model, NULL, 1, 1, vector), CM3_ERROR_INVALID_ARGUMENT);
    cm3_model_destroy(model);
    model = reference_load(&fixture, PARITY "chameleon");
    ck_assert_int_eq(cm3_model_embed_texts(model, &good, 1, 1, vector), CM3_ERROR_UNSUPPORTED);
    cm3_model_destroy(model);
}
END_TEST

/** Many texts come in several passes; each has the vector that it has alone. */
START_TEST(many_texts) {
    enum { COUNT = 150 };
    cm3_model *model = reference_load(&fixture, CLIP);
    char words[COUNT][128];
    const char *texts[COUNT];
    float *all = malloc(sizeof(float) * 24 * COUNT), one[24];
    for (int i = 0; i < COUNT; i++) {
        snprintf(words[i], sizeof words[i], "%.*s %d", i % 100,
                 "a bird and a cat and a dog and a house and a tree and a "
                 "ship and a star and a fish and a boat and a lamp",
                 i);
        texts[i] = words[i];
    }
    ck_assert_int_eq(cm3_model_embed_texts(model, texts, COUNT, 1, all), CM3_OK);
    for (int i = 0; i < COUNT; i += 29) {
        ck_assert_int_eq(cm3_model_embed_texts(model, texts + i, 1, 1, one), CM3_OK);
        for (int k = 0; k < 24; k++) ck_assert_float_le(fabsf(one[k] - all[24 * i + k]), 1e-6f);
    }
    free(all);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(out_of_memory) {
    cm3_model *model = NULL;
    const char *text = "a photo of a cat";
    float vector[24];
    for (int64_t n = 0; !model; n++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        cm3_status status = cm3_model_load(fixture.context, CLIP, NULL, &model);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_int_eq(status, model ? CM3_OK : CM3_ERROR_NO_MEMORY);
    }
    cm3_status status = CM3_ERROR_NO_MEMORY;
    int failures = -1;
    for (int64_t n = 0; status != CM3_OK; n++, failures++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        status = cm3_model_embed_texts(model, &text, 1, 1, vector);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert(status == CM3_OK || status == CM3_ERROR_NO_MEMORY);
    }
    ck_assert_int_gt(failures, 3);
    cm3_model_destroy(model);
}
END_TEST

Suite *clip_suite(void) {
    Suite *suite = suite_create("model/clip");
    TCase *tcase = tcase_create("encoder");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, computes_what_the_original_does);
    tcase_add_loop_test(tcase, as_a_cm3_file, 0, (int)(sizeof formats / sizeof *formats));
    tcase_add_loop_test(tcase, other_spellings, 0, (int)(sizeof spellings / sizeof *spellings));
    tcase_add_loop_test(tcase, refused_configurations, 0, (int)(sizeof bad_configs / sizeof *bad_configs));
    tcase_add_loop_test(tcase, preprocessings_told, 0, (int)(sizeof preprocessings / sizeof *preprocessings));
    tcase_add_test(tcase, one_tower);
    tcase_add_test(tcase, arguments);
    tcase_add_test(tcase, many_texts);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
