/* The retriever: vectors of items, what is kept, the rules, engines of the host's own. */
#include "cm3leon/retriever.h"
#include <unistd.h>

#include "model/model.h"
#include "retrieve/bank_file.h"
#include "suites.h"
#include "support.h"

#define CLIP CM3_TEST_DATA "/parity/clip"

static test_fixture fixture;
static cm3_model *model;
static int32_t d;

static void up(void) {
    test_fixture_up(&fixture);
    ck_assert_int_eq(cm3_model_load(fixture.context, CLIP, NULL, &model), CM3_OK);
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
    d = info.embedding_size;
}

static void down(void) {
    cm3_model_destroy(model);
    test_fixture_down(&fixture);
}

static const char *message(void) {
    return cm3_context_message(fixture.context);
}

static cm3_image *picture(int number) {
    uint8_t pixels[16 * 16 * 3];
    for (int i = 0; i < 16 * 16; i++) {
        pixels[3 * i] = (uint8_t)(i * (number + 1));
        pixels[3 * i + 1] = (uint8_t)(37 * number);
        pixels[3 * i + 2] = (uint8_t)(i / 16 * 13);
    }
    cm3_image *image;
    ck_assert_int_eq(cm3_image_from_pixels(fixture.context, pixels, 16, 16, 0, &image), CM3_OK);
    return image;
}

static cm3_bank *bank_of_model(const char *name) {
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.vectors = CM3_VECTORS_F32;
    options.model = model;
    options.encoder_name = "parity/clip";
    cm3_bank *bank;
    ck_assert_msg(cm3_bank_create(fixture.context, test_path(&fixture, name), &options, &bank) == CM3_OK, "%s",
                  message());
    return bank;
}

/* --- items ---------------------------------------------------------------------------------------------------------
 */

START_TEST(a_vector_is_the_mean_of_both) {
    cm3_bank *bank = bank_of_model("a.bank");
    cm3_retriever *retriever;
    ck_assert_msg(cm3_retriever_create(model, bank, &retriever) == CM3_OK, "%s", message());
    cm3_image *image = picture(3);
    const char *text = "a small blue star";
    const cm3_retrieval_item items[] = {{.struct_size = sizeof *items, .text = text},
                                        {.struct_size = sizeof *items, .image = image},
                                        {.struct_size = sizeof *items, .text = text, .image = image}};
    float *vectors = malloc(5 * (size_t)d * sizeof *vectors), *own = vectors + 3 * d;
    ck_assert_msg(cm3_retriever_embed(retriever, items, 3, vectors) == CM3_OK, "%s", message());
    ck_assert_int_eq(cm3_model_embed_texts(model, &text, 1, 1, own), CM3_OK);
    ck_assert_int_eq(cm3_model_embed_images(model, &image, 1, 1, own + d), CM3_OK);
    double length = 0;
    for (int32_t i = 0; i < d; i++) length += pow((double)own[i] + (double)own[d + i], 2);
    for (int32_t i = 0; i < d; i++) {
        ck_assert_double_eq_tol(vectors[i], own[i], 1e-6);
        ck_assert_double_eq_tol(vectors[d + i], own[d + i], 1e-6);
        ck_assert_double_eq_tol(vectors[2 * d + i], ((double)own[i] + (double)own[d + i]) / sqrt(length), 1e-6);
    }
    const cm3_retrieval_item nothing = {.struct_size = sizeof nothing, .key = "k"}, unset = {.text = "a"};
    ck_assert_int_eq(cm3_retriever_embed(retriever, &nothing, 1, vectors), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_retriever_embed(retriever, &unset, 1, vectors), CM3_ERROR_INVALID_ARGUMENT);
    free(vectors);
    cm3_image_destroy(image);
    cm3_retriever_destroy(retriever);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(what_is_kept_is_found) {
    enum { COUNT = 70 };
    cm3_bank *bank = bank_of_model("a.bank");
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create(model, bank, &retriever), CM3_OK);
    cm3_bank_destroy(bank); /* the retriever has a hold of its own */
    cm3_retrieval_item items[COUNT];
    char texts[COUNT][32], keys[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof *texts, "picture number %d", i);
        snprintf(keys[i], sizeof *keys, "k%d", i);
        items[i] = (cm3_retrieval_item){.struct_size = sizeof *items, .key = keys[i], .text = texts[i]};
        if (i % 2) items[i].image = picture(i);
    }
    uint64_t ids[COUNT], count;
    ck_assert_msg(cm3_retriever_add(retriever, items, COUNT, ids) == CM3_OK, "%s", message());
    ck_assert_int_eq(cm3_retriever_count(retriever, &count), CM3_OK);
    ck_assert_uint_eq(count, COUNT);
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = 1;
    options.whole_first = 0;
    for (int i = 0; i < COUNT; i++) {
        /* A record of a text alone has its text's vector, so that it is its own nearest. */
        cm3_hit hit;
        size_t found;
        cm3_retrieval_item query = {.struct_size = sizeof query, .text = texts[i]};
        if (i % 2) continue;
        ck_assert_msg(cm3_retriever_search(retriever, &query, 1, &options, &hit, &found) == CM3_OK, "%s", message());
        ck_assert_uint_eq(found, 1);
        ck_assert_uint_eq(hit.id, ids[i]);
        ck_assert_double_eq_tol(hit.score, 1, 1e-5);
    }
    /* This model has no image tokenizer: pictures are kept as files. */
    cm3_bank_record *record;
    ck_assert_int_eq(cm3_retriever_fetch(retriever, ids[5], &record), CM3_OK);
    ck_assert_str_eq(record->key, "k5");
    ck_assert_str_eq(record->text, texts[5]);
    cm3_image *kept;
    ck_assert_int_eq(cm3_image_load_memory(fixture.context, record->image, record->image_size, &kept), CM3_OK);
    cm3_image_view a, b;
    ck_assert_int_eq(cm3_image_get_view(kept, &a), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(items[5].image, &b), CM3_OK);
    ck_assert_mem_eq(a.pixels, b.pixels, 16 * 16 * 3);
    cm3_image_destroy(kept);
    cm3_retriever_release(retriever, record);
    ck_assert_int_eq(cm3_retriever_add(retriever, items, COUNT, ids), CM3_OK);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(ids[i] == CM3_NO_RECORD);
        cm3_image_destroy(items[i].image);
    }
    cm3_retriever_destroy(retriever);
}
END_TEST

/* What is kept of a picture are the nearest codes, whatever they cost a prompt. */
START_TEST(rare_patches_are_kept) {
    const char *path = CM3_SOURCE_DIR "/models/toybox.cm3";
    if (access(path, R_OK) != 0) return; /* a checkout without it */
    cm3_model_destroy(model);
    ck_assert_int_eq(cm3_model_load(fixture.context, path, NULL, &model), CM3_OK);
    cm3_vq *vq = model->tokenizer->vq;
    int32_t codes[1024], tokens = cm3_vq_tokens(vq);
    ck_assert_int_le(tokens, 1024);
    cm3_image *image = picture(3);
    ck_assert_int_eq(cm3_vq_encode_image(vq, image, NULL, CM3_VQ_NEAREST, codes), CM3_OK);
    float *none = vq->cost_norms, *norms = malloc((size_t)vq->config.num_embeddings * sizeof *norms);
    for (int32_t i = 0; i < vq->config.num_embeddings; i++) norms[i] = vq->codebook_norms[i] + (i ? 1e9f : 0);
    vq->cost_norms = norms;
    cm3_bank *bank = bank_of_model("a.bank");
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create(model, bank, &retriever), CM3_OK);
    const cm3_retrieval_item item = {.struct_size = sizeof item, .key = "k", .image = image};
    uint64_t id;
    ck_assert_msg(cm3_retriever_add(retriever, &item, 1, &id) == CM3_OK, "%s", message());
    cm3_bank_record *record;
    ck_assert_int_eq(cm3_retriever_fetch(retriever, id, &record), CM3_OK);
    ck_assert_uint_eq(record->code_count, (size_t)tokens);
    ck_assert_mem_eq(record->codes, codes, (size_t)tokens * sizeof *codes);
    cm3_retriever_release(retriever, record);
    vq->cost_norms = none;
    free(norms);
    cm3_image_destroy(image);
    cm3_retriever_destroy(retriever);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(a_bank_of_another_encoder_is_refused) {
    cm3_bank *bank = bank_of_model("a.bank");
    cm3_bank_info info = info_of(bank);
    ck_assert(info.encoder_hash[0] || info.encoder_hash[1]);
    ck_assert_int_eq(info.dimension, d);
    ck_assert_int_eq(cm3_bank_check_model(bank, model, "this one"), CM3_OK);
    cm3_bank_destroy(bank);
    /* The head names other weights: as another encoder's bank has it. */
    const char *path = test_path(&fixture, "a.bank");
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_bank_head *head = (cm3_bank_head *)(void *)bytes;
    head->encoder.low ^= 1;
    head->sum = cm3_hash(head, offsetof(cm3_bank_head, sum));
    test_put(path, bytes, size);
    free(bytes);
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &bank), CM3_OK);
    ck_assert_int_eq(cm3_retriever_create(model, bank, &retriever), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(retriever);
    ck_assert_ptr_nonnull(strstr(message(), "parity/clip"));
    ck_assert_ptr_nonnull(strstr(message(), CLIP));
    cm3_bank_destroy(bank);
    bank = make_bank(fixture.context, test_path(&fixture, "b.bank"), CM3_VECTORS_F32, d + 1);
    ck_assert_int_eq(cm3_retriever_create(model, bank, &retriever), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_retriever_create(NULL, NULL, &retriever), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

/* --- rules, on an engine of the test's own -------------------------------------------------------------------------
 */

/* Hit i is a record at angle[i] in the plane of the first two numbers. */
typedef struct own_engine {
    double angle[8];
    bool has_text[8], has_image[8], gone[8];
    float scores[8];
    float vectors[8][64];
    cm3_bank_record records[8];
    int fetched, destroyed;
    cm3_status fails;
} own_engine;

static cm3_status own_search(void *user, const float *queries, size_t count, int32_t dimension, int32_t k,
                             cm3_hit *hits, size_t *found) {
    own_engine *own = user;
    ck_assert_int_eq(dimension, d);
    ck_assert_int_ge(k, 8);
    for (size_t q = 0; q < count; q++) {
        double length = 0;
        for (int32_t i = 0; i < d; i++) length += pow((double)queries[(int32_t)q * d + i], 2);
        ck_assert_double_eq_tol(length, 1, 1e-5);
        for (uint64_t i = 0; i < 8; i++) hits[q * (size_t)k + i] = (cm3_hit){100 + i, own->scores[i]};
        found[q] = 8;
    }
    return own->fails;
}

static cm3_status own_fetch(void *user, uint64_t id, cm3_bank_record **record) {
    own_engine *own = user;
    const uint64_t i = id - 100;
    *record = NULL;
    if (own->gone[i]) return CM3_ERROR_NOT_FOUND;
    own->vectors[i][0] = (float)cos(own->angle[i]);
    own->vectors[i][1] = (float)sin(own->angle[i]);
    own->records[i] = (cm3_bank_record){.struct_size = sizeof **record,
                                        .id = id,
                                        .key = "",
                                        .text = own->has_text[i] ? "text" : NULL,
                                        .image = own->has_image[i] ? "image" : NULL,
                                        .image_size = 5,
                                        .vector = own->vectors[i]};
    *record = &own->records[i];
    own->fetched++;
    return CM3_OK;
}

static void own_release(void *user, cm3_bank_record *record) {
    ck_assert_ptr_nonnull(record);
    ((own_engine *)user)->fetched--;
}

static cm3_status own_count(void *user, uint64_t *count) {
    (void)user;
    *count = 8;
    return CM3_OK;
}

static const char *own_message(void *user) {
    (void)user;
    return "the cellar is flooded";
}

static void own_destroy(void *user) {
    ((own_engine *)user)->destroyed++;
}

static cm3_retrieval_engine engine_of(own_engine *own) {
    return (cm3_retrieval_engine){.struct_size = sizeof(cm3_retrieval_engine),
                                  .search = own_search,
                                  .fetch = own_fetch,
                                  .release = own_release,
                                  .count = own_count,
                                  .message = own_message,
                                  .destroy = own_destroy,
                                  .user = own};
}

/* Records far apart, all whole, scores 0.95, 0.85 ... */
static own_engine plain_engine(void) {
    own_engine own = {.fails = CM3_OK};
    for (int i = 0; i < 8; i++) {
        own.angle[i] = i * 0.7;
        own.has_text[i] = own.has_image[i] = true;
        own.scores[i] = 0.95f - 0.1f * (float)i;
    }
    return own;
}

static void check_choice(own_engine *own, const cm3_retrieve_options *options, const char *expected) {
    const cm3_retrieval_engine engine = engine_of(own);
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create_with(model, &engine, &retriever), CM3_OK);
    const cm3_retrieval_item queries[2] = {{.struct_size = sizeof *queries, .text = "one two three"},
                                           {.struct_size = sizeof *queries, .text = "four"}};
    cm3_hit hits[2 * 8];
    size_t found[2];
    ck_assert_msg(cm3_retriever_search(retriever, queries, 2, options, hits, found) == CM3_OK, "%s", message());
    for (size_t q = 0; q < 2; q++) {
        char got[16] = "";
        for (size_t i = 0; i < found[q]; i++) {
            got[i] = (char)('0' + hits[q * (size_t)options->k + i].id - 100);
        }
        ck_assert_str_eq(got, expected);
        for (size_t i = found[q]; i < (size_t)options->k; i++) {
            ck_assert(hits[q * (size_t)options->k + i].id == CM3_NO_RECORD);
        }
    }
    ck_assert_int_eq(own->fetched, 0);
    cm3_retriever_destroy(retriever);
    ck_assert_int_eq(own->destroyed, 1);
    own->destroyed = 0;
}

START_TEST(the_rules) {
    own_engine own = plain_engine();
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    check_choice(&own, &options, "01");
    options.k = 8;
    check_choice(&own, &options, "01234567");
    options.k = 3;
    own.angle[1] = 0.2; /* cos 0.2 = 0.98: too near to the first */
    check_choice(&own, &options, "023");
    options.most_alike = 0.99f;
    check_choice(&own, &options, "012");
    options.most_alike = 0.9f;
    own.has_image[0] = false; /* whole documents first; the others fill up, where they are not alike */
    own.has_text[4] = false;
    check_choice(&own, &options, "123");
    options.k = 8;
    check_choice(&own, &options, "1235674");
    options.whole_first = 0;
    check_choice(&own, &options, "0234567");
    options.most_score = 0.9f; /* in training: what would give the answer away */
    check_choice(&own, &options, "1234567");
    own.gone[3] = true; /* taken out since it was found */
    check_choice(&own, &options, "124567");
    options.query_dropout = 1; /* a text keeps at least something */
    check_choice(&own, &options, "124567");
    options.k = 0;
    check_choice(&own, &options, "");
}
END_TEST

START_TEST(an_engine_that_fails_is_quoted) {
    own_engine own = plain_engine();
    own.fails = CM3_ERROR_IO;
    cm3_retrieval_engine engine = engine_of(&own);
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create_with(model, &engine, &retriever), CM3_OK);
    const cm3_retrieval_item query = {.struct_size = sizeof query, .text = "a"};
    cm3_hit hits[2];
    ck_assert_int_eq(cm3_retriever_search(retriever, &query, 1, NULL, hits, NULL), CM3_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(message(), "the cellar is flooded"));
    own.fails = (cm3_status)12345;
    ck_assert_int_eq(cm3_retriever_search(retriever, &query, 1, NULL, hits, NULL), CM3_ERROR_IO);
    ck_assert_int_eq(cm3_retriever_add(retriever, &query, 1, NULL), CM3_ERROR_UNSUPPORTED);
    cm3_retriever_destroy(retriever);
    engine.search = NULL;
    ck_assert_int_eq(cm3_retriever_create_with(model, &engine, &retriever), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(retriever);
    ck_assert_int_eq(own.destroyed, 2);
}
END_TEST

START_TEST(bad_queries_are_refused) {
    own_engine own = plain_engine();
    const cm3_retrieval_engine engine = engine_of(&own);
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create_with(model, &engine, &retriever), CM3_OK);
    cm3_image *image = picture(1);
    const cm3_retrieval_item both = {.struct_size = sizeof both, .text = "a", .image = image},
                             none = {.struct_size = sizeof none}, text = {.struct_size = sizeof text, .text = "a"},
                             bad = {.struct_size = sizeof bad, .text = "\xc3"};
    cm3_hit hits[2];
    ck_assert_int_eq(cm3_retriever_search(retriever, &both, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_retriever_search(retriever, &none, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_retriever_search(retriever, &bad, 1, NULL, hits, NULL), CM3_ERROR_UTF8);
    ck_assert_int_eq(cm3_retriever_search(retriever, NULL, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_retriever_search(retriever, &text, 1, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < 6; i++) {
        cm3_retrieve_options options;
        cm3_retrieve_options_init(&options);
        if (i == 0) options.k = -1;
        if (i == 1) options.k = 1001;
        if (i == 2) options.most_alike = NAN;
        if (i == 3) options.query_dropout = 1.5f;
        if (i == 4) options.candidates = -1;
        if (i == 5) options.most_score = -2;
        ck_assert_int_eq(cm3_retriever_search(retriever, &text, 1, &options, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_image_destroy(image);
    cm3_retriever_destroy(retriever);
}
END_TEST

Suite *retriever_suite(void) {
    Suite *suite = suite_create("retriever");
    TCase *tests = tcase_create("retriever");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_vector_is_the_mean_of_both);
    tcase_add_test(tests, what_is_kept_is_found);
    tcase_add_test(tests, rare_patches_are_kept);
    tcase_add_test(tests, a_bank_of_another_encoder_is_refused);
    tcase_add_test(tests, the_rules);
    tcase_add_test(tests, an_engine_that_fails_is_quoted);
    tcase_add_test(tests, bad_queries_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
