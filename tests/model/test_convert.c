/* Converting: what the files hold, what quantising costs, and that nothing is left where it fails. */

#include "reference.h"
#include "suites.h"

#define META PARITY "meta-swin"
#define SWIN PARITY "ref/chameleon-swin.safetensors"
#define CHAMELEON PARITY "ref/chameleon.safetensors"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static const char *convert_with(const char *from, const char *name, cm3_weight_type weights, int32_t block,
                                const char *vqgan) {
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = weights;
    options.block = block;
    options.vqgan = vqgan;
    const char *path = test_path(&fixture, name);
    cm3_status status = cm3_model_convert(fixture.context, from, path, &options);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(fixture.context));
    return path;
}

static const char *convert(const char *from, const char *name, cm3_weight_type weights, int32_t block) {
    return convert_with(from, name, weights, block, NULL);
}

/** Loaded with its checksum compared. */
static cm3_model *load_checked(const char *path) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = 1;
    cm3_model *model;
    ck_assert_msg(cm3_model_load(fixture.context, path, &options, &model) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    return model;
}

/** What a matrix of the model is stored as. */
static cm3_dtype type_of(const cm3_model *model, const char *name) {
    const cm3_weight *weight = cm3_weights_find(model->weights, name);
    ck_assert_ptr_nonnull(weight);
    return weight->entry.dtype;
}

#define QUERY "lm.model.layers.0.self_attn.q_proj.weight"

static const struct {
    cm3_weight_type weights;
    int32_t block;
    cm3_dtype query, table; /**< of the file; CM3_I32: as it was */
    double distance[2];     /**< of logits from the original's: of weights that were bf16, and of others */
} kinds[] = {
    {CM3_WEIGHTS_KEEP, 64, CM3_I32, CM3_I32, {1e-5, 1e-5}},
    {CM3_WEIGHTS_F32, 64, CM3_F32, CM3_F32, {1e-5, 1e-5}},
    {CM3_WEIGHTS_BF16, 64, CM3_BF16, CM3_BF16, {1e-5, 0.1}},
    {CM3_WEIGHTS_Q8, 64, CM3_I8, CM3_I8, {0.4, 0.4}},
    {CM3_WEIGHTS_Q8, 32, CM3_I8, CM3_I8, {0.4, 0.4}},
    {CM3_WEIGHTS_Q4, 64, CM3_U8, CM3_I8, {4, 4}},
    {CM3_WEIGHTS_Q4, 32, CM3_U8, CM3_I8, {4, 4}},
};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

static const struct {
    const char *folder, *vqgan, *reference,
        *images; /**< what the model, and what the image tokenizer is compared with */
    cm3_dtype dtype;
    unsigned parts;
} models[] = {
    {META, NULL, SWIN, SWIN, CM3_BF16, CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER},
    {PARITY "chameleon", PARITY "vqgan/vqgan.safetensors", CHAMELEON, CHAMELEON, CM3_F32,
     CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER},
    {PARITY "chameleon-swin", NULL, SWIN, NULL, CM3_BF16, CM3_PART_LM | CM3_PART_TOKENIZER},
};
#define MODELS ((int)(sizeof models / sizeof *models))

/** Codes of a picture, and the pixels of codes, as the original code has them. */
static void expect_images(const cm3_model *model, const char *path) {
    cm3_safetensors *reference = reference_open(&fixture, path);
    const cm3_entry *pixels = reference_entry(reference, "decode.rgb8");
    cm3_tokenizer *tokenizer;
    cm3_image *image;
    size_t count, made;
    int32_t codes[64], *expected = reference_ids(reference, "image.wide.codes", &count);
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
    ck_assert_int_eq(cm3_image_load(fixture.context, PARITY "ref/images/wide.png", &image), CM3_OK);
    ck_assert_int_eq(cm3_tokenizer_encode_image_as(tokenizer, image, CM3_PREPROCESSING_HF, codes, 64, &made), CM3_OK);
    ck_assert_uint_eq(made, count);
    ck_assert_mem_eq(codes, expected, sizeof codes);
    cm3_image_destroy(image);
    free(expected);
    expected = reference_ids(reference, "decode.codes", &count);
    ck_assert_int_eq(cm3_tokenizer_decode_image(tokenizer, expected, count, &image), CM3_OK);
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    ck_assert_uint_eq(pixels->size, (size_t)view.stride * (size_t)view.height);
    ck_assert_mem_eq(view.pixels, pixels->data, pixels->size);
    free(expected);
    cm3_image_destroy(image);
    cm3_tokenizer_destroy(tokenizer);
    cm3_safetensors_close(reference);
}

/** Each model in each weight type. */
START_TEST(every_weight_type) {
    int kind = _i % KINDS, which = _i / KINDS;
    cm3_dtype kept = models[which].dtype;
    const char *path =
        convert_with(models[which].folder, "model.cm3", kinds[kind].weights, kinds[kind].block, models[which].vqgan);
    cm3_model *model = load_checked(path);
    ck_assert_int_eq(type_of(model, QUERY), kinds[kind].query == CM3_I32 ? kept : kinds[kind].query);
    cm3_dtype table = kinds[kind].table == CM3_I32 ? kept : kinds[kind].table;
    ck_assert_int_eq(type_of(model, "lm.model.embed_tokens.weight"), table);
    ck_assert_int_eq(type_of(model, "lm.lm_head.weight"), table);
    ck_assert_uint_eq(model->parts, models[which].parts);
    double distance = reference_distance(&fixture, model, models[which].reference);
    double most = kinds[kind].distance[kept == CM3_F32];
    ck_assert_msg(distance <= most, "%s, kind %d: %g", models[which].folder, kind, distance);
    if (most > 1e-3) ck_assert_msg(distance > 1e-5, "nothing was rounded: %g", distance);
    if (models[which].images) expect_images(model, models[which].images);
    cm3_model_destroy(model);
    /* Once more, of the file: what is kept is kept bit by bit. */
    size_t size, size_again;
    char *bytes = test_get(path, &size);
    char *again = test_get(convert(path, "again.cm3", CM3_WEIGHTS_KEEP, 64), &size_again);
    ck_assert_uint_eq(size, size_again);
    ck_assert_mem_eq(bytes, again, size);
    free(bytes);
    free(again);
}
END_TEST

/** Floats of a quantised file are those that it computes with. */
START_TEST(back_to_floats) {
    const char *q8 = convert(META, "q8.cm3", CM3_WEIGHTS_Q8, 32);
    const char *f32 = convert(q8, "f32.cm3", CM3_WEIGHTS_F32, 64);
    cm3_model *integers = load_checked(q8), *floats = load_checked(f32);
    ck_assert_int_eq(type_of(floats, QUERY), CM3_F32);
    ck_assert_ptr_null(cm3_weights_find(floats->weights, QUERY ".scales"));
    int32_t ids[5] = {0, 100, 200, 300, 400};
    float *a = malloc(sizeof(float) * 5 * 600), *b = malloc(sizeof(float) * 5 * 600);
    ck_assert_int_eq(cm3_model_logits(integers, ids, 5, CM3_COMPUTE_F32, a), CM3_OK);
    ck_assert_int_eq(cm3_model_logits(floats, ids, 5, CM3_COMPUTE_F32, b), CM3_OK);
    for (int i = 0; i < 5 * 600; i++) ck_assert_float_le(fabsf(a[i] - b[i]), 1e-4f * (1 + fabsf(b[i])));
    free(a);
    free(b);
    cm3_model_destroy(integers);
    cm3_model_destroy(floats);
    cm3_model_destroy(load_checked(convert(q8, "q4.cm3", CM3_WEIGHTS_Q4, 64)));
}
END_TEST

static void codes_of(const cm3_model *model, const cm3_image *image, cm3_preprocessing way, int32_t codes[64]) {
    cm3_tokenizer *tokenizer;
    size_t count;
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
    ck_assert_int_eq(cm3_tokenizer_encode_image_as(tokenizer, image, way, codes, 64, &count), CM3_OK);
    ck_assert_uint_eq(count, 64);
    cm3_tokenizer_destroy(tokenizer);
}

/** A file reads pictures as the folder did that it was made of. */
START_TEST(preprocessing_is_kept) {
    cm3_model *folder = reference_load(&fixture, PARITY "chameleon");
    cm3_model *file = load_checked(convert(PARITY "chameleon", "model.cm3", CM3_WEIGHTS_KEEP, 64));
    cm3_image *image;
    int32_t expected[64], codes[64], other[64];
    ck_assert_int_eq(cm3_image_load(fixture.context, PARITY "ref/images/tall.png", &image), CM3_OK);
    codes_of(folder, image, CM3_PREPROCESSING_AUTO, expected);
    codes_of(file, image, CM3_PREPROCESSING_AUTO, codes);
    codes_of(file, image, CM3_PREPROCESSING_META, other);
    ck_assert_mem_eq(codes, expected, sizeof codes);
    ck_assert_mem_ne(other, expected, sizeof codes);
    cm3_image_destroy(image);
    cm3_model_destroy(folder);
    cm3_model_destroy(file);
}
END_TEST

/** Columns that no block divides stay as they are; a block of 64 gives way to 32. */
START_TEST(widths_without_a_block) {
    cm3_model *model = load_checked(convert(META, "model.cm3", CM3_WEIGHTS_Q8, 64));
    /* 176 columns: no multiple of 32 */
    ck_assert_int_eq(type_of(model, "lm.model.layers.0.mlp.down_proj.weight"), CM3_BF16);
    ck_assert_int_eq(type_of(model, "lm.model.layers.0.mlp.up_proj.weight"), CM3_I8);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(arguments) {
    cm3_convert_options options;
    const char *to = test_path(&fixture, "out.cm3");
    static const struct {
        int weights, embeddings, head, block;
    } wrong[] = {{0, 0, 0, 64}, {6, 0, 0, 64}, {1, 9, 0, 64}, {1, 0, -1, 64}, {1, 0, 0, 48}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm3_convert_options_init(&options);
        options.weights = (cm3_weight_type)wrong[i].weights;
        options.embeddings = (cm3_weight_type)wrong[i].embeddings;
        options.head = (cm3_weight_type)wrong[i].head;
        options.block = wrong[i].block;
        ck_assert_int_eq(cm3_model_convert(fixture.context, META, to, &options), CM3_ERROR_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(cm3_model_convert(fixture.context, META, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_convert(fixture.context, "/none", to, NULL), CM3_ERROR_NOT_FOUND);
    ck_assert_int_ne(access(to, F_OK), 0);
}
END_TEST

static int stop_half(void *user, uint64_t done, uint64_t total) {
    (*(int *)user)++;
    return done > total / 2;
}

START_TEST(stopped_half_way) {
    const char *to = test_path(&fixture, "out.cm3");
    int calls = 0;
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = CM3_WEIGHTS_Q4;
    options.on_progress = stop_half;
    options.user = &calls;
    test_put(to, "what stood there", 16);
    ck_assert_int_eq(cm3_model_convert(fixture.context, META, to, &options), CM3_ERROR_CANCELLED);
    ck_assert_int_gt(calls, 3);
    size_t size;
    char *kept = test_get(to, &size);
    ck_assert_uint_eq(size, 16);
    free(kept);
}
END_TEST

START_TEST(out_of_memory) {
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = CM3_WEIGHTS_Q4;
    const char *to = test_path(&fixture, "out.cm3");
    cm3_status status = CM3_ERROR_NO_MEMORY;
    int failures = 0;
    for (int64_t n = 0; status != CM3_OK; n++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        status = cm3_model_convert(fixture.context, META, to, &options);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_msg(status == CM3_OK || status == CM3_ERROR_NO_MEMORY, "%s", cm3_context_message(fixture.context));
        ck_assert(status == CM3_OK || access(to, F_OK) != 0);
        failures += status != CM3_OK;
    }
    ck_assert_int_gt(failures, 50);
}
END_TEST

START_TEST(wrong_values) {
    const char *path = convert(META, "model.cm3", CM3_WEIGHTS_F32, 64);
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_model *model = load_checked(path);
    const cm3_entry *entry = &cm3_weights_find(model->weights, QUERY)->entry;
    const uint8_t *data;
    size_t data_size;
    cm3_safetensors *tensors = reference_open(&fixture, path);
    cm3_safetensors_data(tensors, &data, &data_size);
    size_t place = size - data_size + (size_t)((const uint8_t *)cm3_safetensors_find(tensors, QUERY)->data - data);
    ck_assert_int_eq(entry->dtype, CM3_F32);
    float wrong = NAN;
    memcpy(bytes + place + 400, &wrong, sizeof wrong);
    cm3_safetensors_close(tensors);
    cm3_model_destroy(model);
    test_put(test_path(&fixture, "nan.cm3"), bytes, size);
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = CM3_WEIGHTS_Q8;
    const char *nan = test_path(&fixture, "nan.cm3"), *to = test_path(&fixture, "out.cm3");
    ck_assert_int_eq(cm3_model_convert(fixture.context, nan, to, &options), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "q_proj"));
    free(bytes);
}
END_TEST

static const struct {
    const char *suffix; /**< of the query's tensor */
    cm3_dtype dtype;
    int64_t columns;
    const char *says;
} bad_parts[] = {
    {".scales", CM3_F32, 1, "F16 is expected"},
    {".scales", CM3_F16, 3, "a column for each 32 or 64"},
    {".scales", CM3_F16, 0, "scales"},
    {"", CM3_I8, 63, "[64, 64]"},
};

/** Files whose quantised parts do not fit each other. */
START_TEST(parts_that_do_not_fit) {
    cm3_safetensors *tensors = reference_open(&fixture, convert(META, "q8.cm3", CM3_WEIGHTS_Q8, 64));
    cm3_save_entry entries[256];
    size_t count = cm3_safetensors_count(tensors);
    static uint8_t zeros[1 << 16];
    char name[128];
    snprintf(name, sizeof name, QUERY "%s", bad_parts[_i].suffix);
    for (size_t i = 0; i < count; i++) {
        const cm3_entry *e = cm3_safetensors_at(tensors, i);
        entries[i] = (cm3_save_entry){e->name, e->dtype, e->dtype, e->rank, {0}, e->data, NULL, NULL};
        memcpy(entries[i].shape, e->shape, sizeof e->shape);
        if (strcmp(e->name, name) != 0) continue;
        entries[i].dtype = entries[i].source_dtype = bad_parts[_i].dtype;
        entries[i].shape[1] = bad_parts[_i].columns;
        entries[i].data = zeros;
    }
    static const char *const keys[] = {"format", "version", "config", "tokenizer"};
    const char *values[4];
    for (int i = 0; i < 4; i++) values[i] = cm3_safetensors_metadata(tensors, keys[i]);
    const char *bad = test_path(&fixture, "bad.cm3");
    ck_assert_int_eq(cm3_safetensors_write(fixture.context, bad, entries, count, keys, values, 4), CM3_OK);
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(fixture.context, bad, NULL, &model), CM3_ERROR_FORMAT);
    ck_assert_msg(test_says(&fixture, bad_parts[_i].says), "%s", cm3_context_message(fixture.context));
    cm3_safetensors_close(tensors);
}
END_TEST

Suite *convert_suite(void) {
    Suite *suite = suite_create("model/convert");
    TCase *tcase = tcase_create("files");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, every_weight_type, 0, MODELS * KINDS);
    tcase_add_test(tcase, back_to_floats);
    tcase_add_test(tcase, preprocessing_is_kept);
    tcase_add_test(tcase, widths_without_a_block);
    tcase_add_test(tcase, arguments);
    tcase_add_test(tcase, stopped_half_way);
    tcase_add_test(tcase, out_of_memory);
    tcase_add_test(tcase, wrong_values);
    tcase_add_loop_test(tcase, parts_that_do_not_fit, 0, (int)(sizeof bad_parts / sizeof *bad_parts));
    suite_add_tcase(suite, tcase);
    return suite;
}
