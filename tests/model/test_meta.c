/* Folders in Meta's layout: what they compute, where things may lie, and what is refused. */
#include "reference.h"
#include "suites.h"

#define META PARITY "meta-swin"
#define SWIN PARITY "ref/chameleon-swin.safetensors"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/** A folder of the test's own with links to the reference's files, those named by `without` left out. */
static void link_model(const char *without) {
    static const char *const names[] = {"models/tiny/consolidated.00.pth",
                                        "models/tiny/consolidated.01.pth",
                                        "models/tiny/params.json",
                                        "models/tiny/consolidate_params.json",
                                        "tokenizer/text_tokenizer.json",
                                        "tokenizer/vqgan.ckpt",
                                        "tokenizer/vqgan.yaml"};
    ck_assert_int_eq(mkdir(test_path(&fixture, "models"), 0777), 0);
    ck_assert_int_eq(mkdir(test_path(&fixture, "models/tiny"), 0777), 0);
    ck_assert_int_eq(mkdir(test_path(&fixture, "tokenizer"), 0777), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[512];
        snprintf(from, sizeof from, META "/%s", names[i]);
        if (!without || !strstr(names[i], without)) ck_assert_int_eq(symlink(from, test_path(&fixture, names[i])), 0);
    }
}

static void refuse(cm3_status expected, const char *says) {
    cm3_model *model;
    cm3_status status = cm3_model_load(fixture.context, fixture.folder, NULL, &model);
    ck_assert_msg(status == expected, "%d: %s", (int)status, cm3_context_message(fixture.context));
    ck_assert_msg(test_says(&fixture, says), "%s", cm3_context_message(fixture.context));
    ck_assert_ptr_null(model);
}

START_TEST(computes_what_the_original_does) {
    static const char *const paths[] = {META, META "/models/tiny", META "/models/tiny/"};
    for (int i = 0; i < 3; i++) {
        cm3_model *model = reference_load(&fixture, paths[i]);
        ck_assert_double_le(reference_distance(&fixture, model, SWIN), 1e-5);
        cm3_model_destroy(model);
    }
}
END_TEST

/** Not only near: the same weights as those of the converted folder. */
START_TEST(weights_are_those_of_the_conversion) {
    cm3_model *meta = reference_load(&fixture, META), *hf = reference_load(&fixture, PARITY "chameleon-swin");
    int same = 0;
    for (size_t i = 0; i < cm3_weights_count(hf->weights); i++) {
        const cm3_weight *theirs = cm3_weights_at(hf->weights, i);
        const cm3_weight *ours = cm3_weights_find(meta->weights, theirs->name);
        ck_assert_msg(ours != NULL, "%s", theirs->name);
        ck_assert_int_eq(ours->entry.count, theirs->entry.count);
        for (int64_t k = 0; k < theirs->entry.count; k++) {
            float a, b;
            size_t wide = cm3_dtype_size(ours->entry.dtype), narrow = cm3_dtype_size(theirs->entry.dtype);
            cm3_convert(&a, CM3_F32, (const char *)ours->entry.data + (size_t)k * wide, ours->entry.dtype, 1);
            cm3_convert(&b, CM3_F32, (const char *)theirs->entry.data + (size_t)k * narrow, theirs->entry.dtype, 1);
            ck_assert_msg(a == b, "%s: element %lld", theirs->name, (long long)k);
        }
        same++;
    }
    ck_assert_int_gt(same, 20);
    cm3_model_destroy(meta);
    cm3_model_destroy(hf);
}
END_TEST

START_TEST(draws_what_the_original_does) {
    cm3_model *model = reference_load(&fixture, META);
    cm3_safetensors *reference = reference_open(&fixture, SWIN);
    const cm3_entry *expected = reference_entry(reference, "decode.rgb8");
    size_t count;
    int32_t *codes = reference_ids(reference, "decode.codes", &count);
    cm3_tokenizer *tokenizer;
    cm3_image *image;
    cm3_image_view view;
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
    ck_assert_int_eq(cm3_tokenizer_decode_image(tokenizer, codes, count, &image), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    ck_assert_int_eq((int64_t)view.width * view.height * 3, expected->count);
    int most = 0;
    for (int32_t y = 0; y < view.height; y++) {
        const uint8_t *row = view.pixels + (size_t)y * view.stride, *other = expected->data;
        for (int32_t x = 0; x < 3 * view.width; x++) {
            int difference = abs(row[x] - other[y * 3 * view.width + x]);
            if (difference > most) most = difference;
        }
    }
    ck_assert_int_le(most, 1);
    cm3_image_destroy(image);
    cm3_tokenizer_destroy(tokenizer);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
    free(codes);
}
END_TEST

/** A folder of Hugging Face's takes Meta's image tokenizer. */
START_TEST(image_tokenizer_for_another_folder) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.vqgan = META "/tokenizer/vqgan.ckpt";
    cm3_model *model;
    ck_assert_msg(cm3_model_load(fixture.context, PARITY "chameleon-swin", &options, &model) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
    ck_assert_int_eq(info.parts, CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(yaml_that_disagrees) {
    static const char text[] = "model:\n  params:\n    embed_dim: 16\n    n_embed: 64\n    ddconfig:\n      ch: 64\n";
    link_model("vqgan.yaml");
    test_put(test_path(&fixture, "tokenizer/vqgan.yaml"), text, strlen(text));
    refuse(CM3_ERROR_FORMAT, "should have the shape");
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.vqgan = test_path(&fixture, "tokenizer/vqgan.ckpt");
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(fixture.context, PARITY "chameleon-swin", &options, &model), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "the model's own configuration says"));
}
END_TEST

static const struct {
    const char *without;
    cm3_status status;
    const char *says; /**< NULL: it loads */
} missing[] = {
    {"consolidated.01", CM3_ERROR_NOT_FOUND, "consolidated.01.pth"},
    {"consolidated", CM3_ERROR_NOT_FOUND, "consolidated.00.pth"},
    {"models/tiny/params", CM3_ERROR_NOT_FOUND, "there is no model"},
    {"tokenizer", CM3_OK, NULL},
};

START_TEST(files_that_are_missing) {
    link_model(missing[_i].without);
    cm3_model *model;
    if (missing[_i].says) {
        refuse(missing[_i].status, missing[_i].says);
        return;
    }
    ck_assert_msg(cm3_model_load(fixture.context, fixture.folder, NULL, &model) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    cm3_model_destroy(model);
}
END_TEST

START_TEST(shards_that_do_not_fit) {
    static const char one[] = "{\"model_parallel_size\": 1}", three[] = "{\"model_parallel_size\": 3}";
    link_model("consolidate_params");
    test_put(test_path(&fixture, "models/tiny/consolidate_params.json"), one, strlen(one));
    refuse(CM3_ERROR_FORMAT, "1 shards, and there are 2");
    test_put(test_path(&fixture, "models/tiny/consolidate_params.json"), three, strlen(three));
    refuse(CM3_ERROR_NOT_FOUND, "consolidated.02.pth");
}
END_TEST

static const struct {
    const char *params;
    cm3_status status;
    const char *says;
} bad_params[] = {
    {"{\"dim\": 64, \"n_layers\": 3, \"n_heads\": 4, \"n_kv_heads\": 2, \"multiple_of\": 16, \"qk_normalization\": "
     "true}",
     CM3_ERROR_FORMAT, "layers.2.attention_norm.weight"},
    {"{\"dim\": 64, \"n_layers\": 2, \"n_heads\": 4, \"n_kv_heads\": null, \"multiple_of\": 16}", CM3_ERROR_FORMAT,
     "[32, 64] and has [16, 64]"},
    {"{\"n_layers\": 2}", CM3_ERROR_FORMAT, "'dim' is missing"},
    {"{\"dim\": 1099511627776}", CM3_ERROR_FORMAT, "dim"},
    {"{\"dim\": 64, \"n_heads\": 1099511627776}", CM3_ERROR_FORMAT, "n_heads"},
    {"{\"dim\": 64, \"n_heads\": 5}", CM3_ERROR_FORMAT, "heads"},
    {"{\"dim\": 64, \"n_heads\": 4, \"vocab_size\": 601, \"multiple_of\": 16, \"n_kv_heads\": 2}", CM3_ERROR_FORMAT,
     "cannot be parted over 2 shards"},
    {"[]", CM3_ERROR_FORMAT, "an object is expected"},
};

START_TEST(refused_params) {
    link_model("models/tiny/params");
    test_put(test_path(&fixture, "models/tiny/params.json"), bad_params[_i].params, strlen(bad_params[_i].params));
    refuse(bad_params[_i].status, bad_params[_i].says);
}
END_TEST

/** vocab_size -1 is what the published files say. */
START_TEST(vocabulary_by_the_table) {
    static const char params[] = "{\"dim\": 64, \"n_layers\": 2, \"n_heads\": 4, \"n_kv_heads\": 2, \"vocab_size\": -1,"
                                 "\"multiple_of\": 16, \"qk_normalization\": true, \"swin_norm\": true}";
    link_model("models/tiny/params");
    test_put(test_path(&fixture, "models/tiny/params.json"), params, strlen(params));
    cm3_model *model = reference_load(&fixture, fixture.folder);
    ck_assert_int_eq(model->lm->config.vocab_size, 600);
    ck_assert_double_le(reference_distance(&fixture, model, SWIN), 1e-5);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(several_models) {
    link_model(NULL);
    ck_assert_int_eq(mkdir(test_path(&fixture, "models/other"), 0777), 0);
    test_put(test_path(&fixture, "models/other/params.json"), "{}", 2);
    refuse(CM3_ERROR_INVALID_ARGUMENT, "name one of them");
    cm3_model_destroy(reference_load(&fixture, test_path(&fixture, "models/tiny")));
}
END_TEST

START_TEST(out_of_memory) {
    cm3_model *model = NULL;
    int failures = 0;
    for (int64_t n = 0; !model; n++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        cm3_status status = cm3_model_load(fixture.context, META, NULL, &model);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_msg(status == (model ? CM3_OK : CM3_ERROR_NO_MEMORY), "%lld: %s", (long long)n,
                      cm3_context_message(fixture.context));
        failures += !model;
    }
    ck_assert_int_gt(failures, 50);
    cm3_model_destroy(model);
}
END_TEST

Suite *meta_suite(void) {
    Suite *suite = suite_create("model/meta");
    TCase *tcase = tcase_create("folders");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, computes_what_the_original_does);
    tcase_add_test(tcase, weights_are_those_of_the_conversion);
    tcase_add_test(tcase, draws_what_the_original_does);
    tcase_add_test(tcase, image_tokenizer_for_another_folder);
    tcase_add_test(tcase, yaml_that_disagrees);
    tcase_add_loop_test(tcase, files_that_are_missing, 0, (int)(sizeof missing / sizeof *missing));
    tcase_add_test(tcase, shards_that_do_not_fit);
    tcase_add_loop_test(tcase, refused_params, 0, (int)(sizeof bad_params / sizeof *bad_params));
    tcase_add_test(tcase, vocabulary_by_the_table);
    tcase_add_test(tcase, several_models);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
