/* Memory runs out, at every allocation in turn: contexts, models, tokenizers, pictures, documents. */
#include "files/safetensors.h"
#include "suites.h"
#include "sweep.h"

static gen_case c;
static const int team_sizes[] = {0, 2};

static const char *path_of(const char *name) {
    return test_path(&c.fixture, name);
}

static void sweep_of(const char *name, cm3_status (*run)(sweep *s, uint64_t *sum), void *user) {
    sweep s = {.c = &c, .name = name, .run = run, .user = user};
    sweep_run(&s);
}

/* --- contexts ------------------------------------------------------------------------------------------------------
 */

START_TEST(contexts) {
    test_allocator memory;
    test_allocator_init(&memory);
    cm3_allocator allocator = test_allocator_of(&memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.allocator = &allocator;
    options.threads = team_sizes[_i];
    cm3_status status = CM3_ERROR_NO_MEMORY;
    int64_t n = 0;
    for (; status != CM3_OK; n++) {
        cm3_context *context = (cm3_context *)&memory;
        test_allocator_fail(&memory, n, 1);
        status = cm3_context_create(&options, &context);
        test_allocator_fail(&memory, -1, 0);
        if (status == CM3_OK) {
            cm3_context_destroy(context);
        } else {
            ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
            ck_assert_ptr_null(context);
        }
        ck_assert_int_eq(atomic_load(&memory.live), 0);
        ck_assert_int_eq(atomic_load(&memory.blocks), 0);
    }
    ck_assert_int_ge(n, 2);
}
END_TEST

/* --- models --------------------------------------------------------------------------------------------------------
 */

typedef enum source { FROM_FILE, FROM_MEMORY, FROM_IO, SOURCES } source;

typedef struct loading {
    source source;
    cm3_load_options options;
    char *data;
    size_t size;
} loading;

static int read_at(void *user, uint64_t offset, void *buffer, size_t size) {
    const loading *l = user;
    memcpy(buffer, l->data + offset, size);
    return 0;
}

static cm3_status load(loading *l, cm3_model **model) {
    const cm3_io io = {.struct_size = sizeof io, .read_at = read_at, .size = l->size, .user = l};
    switch (l->source) {
    case FROM_MEMORY:
        return cm3_model_load_memory(c.context, l->data, l->size, &l->options, model);
    case FROM_IO:
        return cm3_model_load_io(c.context, &io, &l->options, model);
    default:
        return cm3_model_load(c.context, path_of("tiny.cm3"), &l->options, model);
    }
}

/* Loaded, described, and run once. */
static cm3_status load_and_look(sweep *s, uint64_t *sum) {
    static const int32_t ids[] = {EOD, 60, 61, BREAK, IMAGE, IMAGE + 3};
    enum { COUNT = sizeof ids / sizeof *ids };
    cm3_model *model;
    cm3_status status = load(s->user, &model);
    if (status != CM3_OK) {
        ck_assert_ptr_null(model);
        return status;
    }
    const char *config;
    cm3_model_info info = {.struct_size = sizeof info};
    status = cm3_model_get_info(model, &info);
    if (status == CM3_OK) status = cm3_model_config_json(model, &config);
    float *logits = calloc((size_t)info.vocab_size * COUNT, sizeof *logits);
    if (status == CM3_OK) status = cm3_model_logits(model, ids, COUNT, CM3_COMPUTE_F32, logits);
    if (status == CM3_OK) {
        *sum = sweep_sum(0, config, strlen(config));
        *sum = sweep_sum(*sum, &info, sizeof info);
        *sum = sweep_sum(*sum, logits, (size_t)info.vocab_size * COUNT * sizeof *logits);
    }
    free(logits);
    cm3_model_destroy(model);
    return status;
}

START_TEST(models) {
    gen_up(&c, team_sizes[_i / (2 * SOURCES)], 64);
    loading l = {.source = (source)(_i / 2 % SOURCES)};
    cm3_load_options_init(&l.options);
    l.options.mode = _i % 2 ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
    l.options.verify_checksum = 1;
    l.data = test_get(path_of("tiny.cm3"), &l.size);
    sweep_of("load", load_and_look, &l);
    free(l.data);
    gen_down(&c);
}
END_TEST

/* Written by a path that exists already: whole, or the old one still. */
static cm3_status write_model(sweep *s, uint64_t *sum) {
    const tiny_parts *parts = s->user;
    const cm3_model_content content = {.lm = parts->lm,
                                       .vq = parts->vq,
                                       .bpe = parts->bpe,
                                       .special = &parts->special,
                                       .lm_dtype = CM3_BF16,
                                       .vq_dtype = CM3_F32};
    uint64_t old = sweep_sum_file(0, path_of("written.cm3"));
    cm3_status status = cm3_model_write(c.context, path_of("written.cm3"), &content);
    *sum = sweep_sum_file(0, path_of("written.cm3"));
    if (status != CM3_OK) ck_assert(*sum == old);
    return status;
}

START_TEST(model_files) {
    gen_up(&c, team_sizes[_i], 64);
    tiny_parts parts;
    tiny_create(c.context, 64, &parts);
    test_put(path_of("written.cm3"), "old", 3);
    sweep_of("write", write_model, &parts);
    tiny_clear(c.context, &parts);
    gen_down(&c);
}
END_TEST

/* --- tokenizers ----------------------------------------------------------------------------------------------------
 */

static cm3_status through_text(const cm3_tokenizer *tokenizer, uint64_t *sum) {
    static const char text[] = "a red cube and a bl\xc3\xbc"
                               "e </s> ball";
    int32_t ids[128];
    char back[256];
    size_t count, size;
    CM3_TRY(cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, CM3_ENCODE_SPECIAL, ids, 128, &count));
    CM3_TRY(cm3_tokenizer_decode(tokenizer, ids, count, 0, back, sizeof back, &size));
    *sum = sweep_sum(sweep_sum(0, ids, count * sizeof *ids), back, size);
    CM3_TRY(cm3_tokenizer_save(tokenizer, path_of("again.json")));
    *sum = sweep_sum_file(*sum, path_of("again.json"));
    return CM3_OK;
}

static cm3_status load_tokenizer(sweep *s, uint64_t *sum) {
    (void)s;
    cm3_tokenizer *tokenizer;
    cm3_status status = cm3_tokenizer_load(c.context, path_of("tokenizer.json"), &tokenizer);
    if (status != CM3_OK) {
        ck_assert_ptr_null(tokenizer);
        return status;
    }
    status = through_text(tokenizer, sum);
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

/* Codes of a picture of another size than the tokenizer's, and the picture of those codes. */
static cm3_status through_codes(sweep *s, uint64_t *sum) {
    const cm3_tokenizer *tokenizer = s->user;
    uint8_t pixels[20 * 24 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7);
    cm3_image *image, *drawn = NULL;
    int32_t codes[TINY_TOKENS];
    size_t count;
    CM3_TRY(cm3_image_from_pixels(c.context, pixels, 20, 24, 0, &image));
    cm3_status status = cm3_tokenizer_encode_image(tokenizer, image, codes, TINY_TOKENS, &count);
    cm3_image_destroy(image);
    CM3_TRY(status);
    status = cm3_tokenizer_decode_image(tokenizer, codes, count, &drawn);
    if (status == CM3_OK) *sum = sweep_sum_image(sweep_sum(0, codes, sizeof codes), drawn);
    ck_assert((drawn != NULL) == (status == CM3_OK));
    cm3_image_destroy(drawn);
    return status;
}

START_TEST(tokenizers) {
    gen_up(&c, team_sizes[_i], 64);
    cm3_tokenizer *tokenizer;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    GEN_OK(&c, cm3_tokenizer_save(tokenizer, path_of("tokenizer.json")));
    sweep_of("tokenizer", load_tokenizer, NULL);
    sweep_of("codes", through_codes, tokenizer);
    cm3_tokenizer_destroy(tokenizer);
    gen_down(&c);
}
END_TEST

/* --- pictures, documents -------------------------------------------------------------------------------------------
 */

static cm3_status through_file(const cm3_image *image, const char *path, uint64_t *sum) {
    cm3_image *back;
    uint8_t *data;
    size_t size;
    bool png = strstr(path, ".png") != NULL;
    CM3_TRY(cm3_image_save(image, path, NULL));
    CM3_TRY(cm3_image_load(c.context, path, &back));
    *sum = sweep_sum_image(*sum, back);
    cm3_image_destroy(back);
    CM3_TRY(cm3_image_encode(image, png ? CM3_IMAGE_PNG : CM3_IMAGE_JPEG, NULL, &data, &size));
    cm3_status status = cm3_image_load_memory(c.context, data, size, &back);
    if (status == CM3_OK) *sum = sweep_sum_image(sweep_sum(*sum, data, size), back);
    cm3_image_destroy(back);
    cm3_buffer_free(c.context, data, size);
    return status;
}

static cm3_status rework(const cm3_image *image, cm3_image **resized, cm3_image **cropped, cm3_image **sheet) {
    CM3_TRY(cm3_image_resize(image, 33, 19, CM3_FILTER_LANCZOS, resized));
    CM3_TRY(cm3_image_crop(image, -2, 3, 40, 12, cropped));
    const cm3_image *both[] = {*resized, *cropped};
    return cm3_image_contact_sheet(c.context, both, 2, 0, 3, sheet);
}

static cm3_status pictures_run(sweep *s, uint64_t *sum) {
    (void)s;
    cm3_image *image, *resized = NULL, *cropped = NULL, *sheet = NULL;
    CM3_TRY(cm3_image_create(c.context, 24, 20, &image));
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    for (int32_t y = 0; y < view.height; y++)
        for (int32_t x = 0; x < view.width * 3; x++)
            view.pixels[(size_t)y * view.stride + (size_t)x] = (uint8_t)(x * y);
    cm3_status status = rework(image, &resized, &cropped, &sheet);
    if (status == CM3_OK) *sum = sweep_sum_image(0, sheet);
    if (status == CM3_OK) status = through_file(sheet, path_of("picture.png"), sum);
    if (status == CM3_OK) status = through_file(sheet, path_of("picture.jpg"), sum);
    cm3_image *all[] = {image, resized, cropped, sheet};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cm3_image_destroy(all[i]);
    return status;
}

static cm3_status fill(cm3_document *document, cm3_image *image) {
    static const int32_t codes[] = {1, 2, 3};
    for (int i = 0; i < 12; i++) {
        CM3_TRY(cm3_document_add_text(document, "some text", SIZE_MAX));
        CM3_TRY(cm3_document_add_image(document, image));
        CM3_TRY(cm3_document_add_codes(document, codes, 3));
        CM3_TRY(cm3_document_add_break(document));
        CM3_TRY(cm3_document_add_mask(document, 0));
    }
    return CM3_OK;
}

static cm3_status documents_run(sweep *s, uint64_t *sum) {
    (void)s;
    cm3_image *image;
    cm3_document *document;
    CM3_TRY(cm3_image_create(c.context, 3, 3, &image));
    cm3_status status = cm3_document_create(c.context, &document);
    if (status == CM3_OK) {
        status = fill(document, image);
        *sum = sweep_sum_document(0, document); /* what a failure left is whole, too */
    }
    cm3_document_destroy(document);
    cm3_image_destroy(image);
    return status;
}

START_TEST(pictures_and_documents) {
    gen_up(&c, team_sizes[_i], 64);
    sweep_of("pictures", pictures_run, NULL);
    sweep_of("documents", documents_run, NULL);
    gen_down(&c);
}
END_TEST

Suite *out_of_memory_suite(void) {
    Suite *suite = suite_create("survival/out of memory");
    TCase *tcase = tcase_create("out of memory");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 3600 : 900);
    tcase_add_loop_test(tcase, contexts, 0, 2);
    tcase_add_loop_test(tcase, models, 0, 2 * 2 * SOURCES);
    tcase_add_loop_test(tcase, model_files, 0, 2);
    tcase_add_loop_test(tcase, tokenizers, 0, 2);
    tcase_add_loop_test(tcase, pictures_and_documents, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
