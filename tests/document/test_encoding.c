/* Documents as tokens: the order of the CM3Leon family and of one that has brackets, prompts, training documents. */
#include "document/encoding.h"
#include "document/segments.h"
#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

enum { PAD, EOD, BREAK, EOSS, SENTINEL, IMAGE = SENTINEL + TINY_SENTINELS };

static test_fixture fixture;
static tiny_parts parts;
static cm3_encoder encoder;
static cm3_document *document;
static cm3_ids ids;
static int32_t codes[TINY_TOKENS];

static void up(void) {
    test_fixture_up(&fixture);
    tiny_create(fixture.context, 96, &parts);
    encoder = (cm3_encoder){.context = fixture.context, .bpe = parts.bpe, .special = &parts.special, .vq = parts.vq};
    ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
    for (int i = 0; i < TINY_TOKENS; i++) codes[i] = (i * 7 + 3) % TINY_CODES;
}

static void down(void) {
    cm3_ids_clear(fixture.context, &ids);
    cm3_document_destroy(document);
    tiny_clear(fixture.context, &parts);
    test_fixture_down(&fixture);
}

/** Expected ids, written one after the other. */
static int32_t expected[512];
static size_t expected_count;

static void expect(int32_t id) {
    expected[expected_count++] = id;
}

static void expect_text(const char *text, uint32_t flags) {
    int32_t *own = NULL;
    size_t count = 0, capacity = 0;
    ck_assert_int_eq(cm3_bpe_encode(parts.bpe, text, strlen(text), flags, &own, &count, &capacity), CM3_OK);
    for (size_t i = 0; i < count; i++) expect(own[i]);
    cm3_free(fixture.context, own);
}

static void expect_codes(void) {
    for (int i = 0; i < TINY_TOKENS; i++) expect(IMAGE + codes[i]);
}

static void check_ids(void) {
    ck_assert_uint_eq(ids.count, expected_count);
    for (size_t i = 0; i < expected_count; i++) ck_assert_msg(ids.ids[i] == expected[i], "%zu: %d", i, ids.ids[i]);
    expected_count = ids.count = 0;
}

#define OK(call) ck_assert_msg((call) == CM3_OK, "%s", cm3_context_message(fixture.context))

START_TEST(order) {
    OK(cm3_document_add_text(document, "a red ball", SIZE_MAX));
    OK(cm3_document_add_break(document));
    OK(cm3_document_add_codes(document, codes, TINY_TOKENS));
    OK(cm3_document_add_break(document));
    OK(cm3_document_add_mask(document, 15));
    OK(cm3_document_add_text(document, "</s><sentinel:1>", SIZE_MAX)); /* text that looks like tokens is text */
    expect(77);                                                        /* what is there already stays */
    OK(cm3_ids_push(fixture.context, &ids, 77));
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect_text("a red ball", 0);
    expect(BREAK);
    expect_codes();
    expect(BREAK);
    expect(SENTINEL + 15);
    expect_text("</s><sentinel:1>", 0);
    ck_assert_int_ge(expected[expected_count - 1], TINY_SPECIALS);
    check_ids();
    encoder.encode_flags = CM3_ENCODE_SPECIAL; /* unless asked otherwise */
    OK(cm3_document_tokens(&encoder, document, &ids));
    ck_assert_int_eq(ids.ids[ids.count - 1], SENTINEL + 1);
    ck_assert_int_eq(ids.ids[ids.count - 2], EOD);
}
END_TEST

START_TEST(prompts) {
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){true, false},
                         &ids)); /* empty: the caption is sentinel 0 */
    expect(EOD), expect(SENTINEL), expect(BREAK);
    check_ids();
    OK(cm3_unconditional_tokens(&encoder, document, &ids));
    expect(EOD), expect(SENTINEL), expect(BREAK);
    check_ids();
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){false, false}, &ids));
    expect(EOD);
    check_ids();
    OK(cm3_document_add_text(document, "a blue cone", SIZE_MAX));
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){true, false}, &ids));
    expect(EOD), expect_text("a blue cone", 0), expect(BREAK);
    check_ids();
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){false, false}, &ids));
    expect(EOD), expect_text("a blue cone", 0);
    check_ids();
}
END_TEST

/* What was looked up stands before the prompt, its breaks behind each part, and guidance keeps it. */
START_TEST(retrieved) {
    OK(cm3_document_add_retrieved(document, "a red ball", NULL, codes, TINY_TOKENS));
    OK(cm3_document_add_retrieved(document, "a blue cone", NULL, NULL, 0));
    OK(cm3_document_add_retrieved(document, NULL, NULL, codes, TINY_TOKENS));
    OK(cm3_document_add_text(document, "a green cube", SIZE_MAX));
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){true, false}, &ids));
    for (int round = 0; round < 2; round++) {
        expect(EOD), expect_text("a red ball", 0), expect(BREAK), expect_codes(), expect(BREAK);
        expect_text("a blue cone", 0), expect(BREAK), expect_codes(), expect(BREAK);
        if (!round) expect_text("a green cube", 0), expect(BREAK);
        check_ids();
        OK(cm3_unconditional_tokens(&encoder, document, &ids));
    }
    ids.count = 0;
    size_t count, more;
    OK(cm3_document_count(document, &count));
    ck_assert_int_eq(cm3_document_add_retrieved(document, "late", NULL, NULL, 0), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "before all else"));
    cm3_document *other;
    OK(cm3_document_create(fixture.context, &other));
    ck_assert_int_eq(cm3_document_add_retrieved(other, NULL, NULL, NULL, 0), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_document_add_retrieved(other, "\xff", NULL, codes, TINY_TOKENS), CM3_ERROR_UTF8);
    OK(cm3_document_append(other, document));
    OK(cm3_document_count(other, &more));
    ck_assert_uint_eq(more, count);
    OK(cm3_unconditional_tokens(&encoder, other, &ids)); /* a copy knows what was looked up */
    ck_assert_uint_gt(ids.count, 2 * TINY_TOKENS);
    cm3_document_destroy(other);
    /* A family with brackets and no break. */
    ids.count = 0;
    parts.special.break_ = -1;
    parts.special.begin_image = 5;
    parts.special.end_image = 6;
    parts.special.bos = EOD;
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){true, false}, &ids));
    expect(EOD), expect_text("a red ball", 0), expect(5), expect_codes(), expect(6), expect_text("a blue cone", 0);
    expect(5), expect_codes(), expect(6), expect_text("a green cube", 0), expect(5);
    check_ids();
}
END_TEST

START_TEST(training_documents) {
    OK(cm3_training_tokens(&encoder, "a green cube", 12, codes, TINY_TOKENS, false, &ids));
    expect(EOD), expect_text("a green cube", 0), expect(BREAK), expect_codes(), expect(EOD);
    check_ids();
    OK(cm3_training_tokens(&encoder, "a green cube", 12, codes, TINY_TOKENS, true, &ids));
    expect(EOD), expect(SENTINEL), expect(BREAK), expect_codes(), expect(EOD);
    check_ids();
    OK(cm3_training_tokens(&encoder, "a green cube", 12, NULL, 0, false, &ids));
    expect(EOD), expect_text("a green cube", 0), expect(EOD);
    check_ids();
}
END_TEST

/* A family with brackets of its own. */
START_TEST(brackets) {
    parts.special.begin_image = 5;
    parts.special.end_image = 6;
    OK(cm3_document_add_codes(document, codes, TINY_TOKENS));
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect(5), expect_codes(), expect(6);
    check_ids();
    parts.special.end_image = -1;
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect(5), expect_codes();
    check_ids();
    OK(cm3_unconditional_tokens(&encoder, document, &ids));
    expect(EOD), expect(SENTINEL), expect(5);
    check_ids();
    parts.special.begin_image = parts.special.break_; /* the same token: none are added */
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect_codes();
    check_ids();
}
END_TEST

START_TEST(pixels) {
    cm3_image *image;
    OK(cm3_image_create(fixture.context, 23, 40, &image));
    cm3_image_view view;
    OK(cm3_image_get_view(image, &view));
    for (int i = 0; i < 23 * 40; i++)
        view.pixels[(size_t)(i / 23) * view.stride + (size_t)(i % 23 * 3)] = (uint8_t)(i * 5);
    OK(cm3_vq_encode_image(parts.vq, image, NULL, CM3_VQ_USUAL, codes));
    OK(cm3_document_add_image(document, image));
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect_codes();
    check_ids();
    encoder.vq = NULL;
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_UNSUPPORTED);
    cm3_image_destroy(image);
}
END_TEST

/* A prompt's picture is read with what codes cost, one that was looked up without. */
START_TEST(costs_of_codes) {
    cm3_image *image;
    int32_t usual[TINY_TOKENS];
    OK(cm3_image_create(fixture.context, 23, 40, &image));
    cm3_image_view view;
    OK(cm3_image_get_view(image, &view));
    for (int i = 0; i < 23 * 40 * 3; i++)
        view.pixels[(size_t)(i / 69) * view.stride + (size_t)(i % 69)] = (uint8_t)(i * i / 7);
    OK(cm3_vq_encode_image(parts.vq, image, NULL, CM3_VQ_NEAREST, codes));
    float norms[TINY_CODES]; /* as loading makes them of costs; this one was drawn, not loaded */
    const cm3_tensor *codebook = cm3_vq_find(parts.vq, "quantize.embedding.weight");
    ck_assert_int_eq(codebook->shape[0], TINY_CODES);
    for (int i = 0; i < TINY_CODES; i++) {
        const float *row = cm3_f32(codebook) + i * codebook->shape[1];
        norms[i] = i == codes[0] ? 1e9f : 0;
        for (int64_t k = 0; k < codebook->shape[1]; k++) norms[i] += row[k] * row[k];
    }
    float *none = parts.vq->cost_norms;
    parts.vq->cost_norms = norms;
    OK(cm3_vq_encode_image(parts.vq, image, NULL, CM3_VQ_USUAL, usual));
    ck_assert_int_ne(usual[0], codes[0]);
    OK(cm3_document_add_retrieved(document, NULL, image, NULL, 0));
    OK(cm3_document_add_image(document, image));
    OK(cm3_document_tokens(&encoder, document, &ids));
    expect_codes(), expect(BREAK);
    memcpy(codes, usual, sizeof codes);
    expect_codes();
    check_ids();
    parts.vq->cost_norms = none;
    cm3_image_destroy(image);
}
END_TEST

static cm3_document *renewed(void) {
    cm3_document_destroy(document);
    OK(cm3_document_create(fixture.context, &document));
    return document;
}

START_TEST(refused) {
    OK(cm3_document_add_mask(document, TINY_SENTINELS));
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "16"));
    OK(cm3_document_add_codes(renewed(), codes, TINY_TOKENS - 1));
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "63") && test_says(&fixture, "64"));
    codes[9] = TINY_CODES;
    OK(cm3_document_add_codes(renewed(), codes, TINY_TOKENS));
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "code 9 is 16"));
    codes[9] = -1;
    OK(cm3_document_add_codes(renewed(), codes, TINY_TOKENS));
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_INVALID_ARGUMENT);
    OK(cm3_document_add_break(renewed()));
    parts.special.break_ = parts.special.begin_image = -1;
    ck_assert_int_eq(cm3_document_tokens(&encoder, document, &ids), CM3_ERROR_UNSUPPORTED);
    ck_assert(test_says(&fixture, "break"));
    ck_assert_int_eq(cm3_unconditional_tokens(&encoder, document, &ids), CM3_ERROR_UNSUPPORTED);
    parts.special.eod = -1;
    ck_assert_int_eq(cm3_prompt_tokens(&encoder, renewed(), (cm3_prompt_form){false, false}, &ids),
                     CM3_ERROR_UNSUPPORTED);
    ck_assert(test_says(&fixture, "eod"));
    ck_assert_int_eq(cm3_training_tokens(&encoder, "a\xff", 2, NULL, 0, false, &ids), CM3_ERROR_UNSUPPORTED);
    parts.special.eod = EOD;
    ck_assert_int_eq(cm3_training_tokens(&encoder, "a\xff", 2, NULL, 0, false, &ids), CM3_ERROR_UTF8);
}
END_TEST

Suite *encoding_suite(void) {
    Suite *suite = suite_create("document/encoding");
    TCase *tcase = tcase_create("encoding");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, order);
    tcase_add_test(tcase, prompts);
    tcase_add_test(tcase, retrieved);
    tcase_add_test(tcase, costs_of_codes);
    tcase_add_test(tcase, training_documents);
    tcase_add_test(tcase, brackets);
    tcase_add_test(tcase, pixels);
    tcase_add_test(tcase, refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
