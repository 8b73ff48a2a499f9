/* The public tokenizer: encoding and decoding, special tokens by role, pictures, files, and what is refused. */
#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

static test_fixture fixture;
static cm3_tokenizer *tokenizer;
static cm3_model *model;

static void up(void) {
    test_fixture_up(&fixture);
    model = tiny_model(fixture.context, 96, test_path(&fixture, "tiny.cm3"));
    ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
}

static void down(void) {
    cm3_tokenizer_destroy(tokenizer);
    cm3_model_destroy(model);
    test_fixture_down(&fixture);
}

START_TEST(there_and_back) {
    static const char text[] = "a red ball \xc3\xa9 \xf0\x9f\x8c\xb3";
    int32_t ids[64];
    size_t count, again, size;
    char back[64];
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, 0, NULL, 0, &count), CM3_OK);
    ck_assert(count > 4 && count < sizeof text);
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, text, sizeof text - 1, 0, ids, 64, &again), CM3_OK);
    ck_assert_uint_eq(count, again);
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, ids, count, 0, back, sizeof back, &size), CM3_OK);
    ck_assert_uint_eq(size, sizeof text - 1);
    ck_assert_str_eq(back, text);
    ids[2] = -7; /* no more than there is room for, and the whole number */
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, 0, ids, 2, &again), CM3_OK);
    ck_assert_uint_eq(again, count);
    ck_assert_int_eq(ids[2], -7);
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, 0, ids, 64, &again), CM3_OK);
    memset(back, 'x', sizeof back);
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, ids, count, 0, back, 5, &size), CM3_OK);
    ck_assert_uint_eq(size, sizeof text - 1);
    ck_assert_mem_eq(back, "a redx", 6);
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, ids, count, 0, NULL, 0, &size), CM3_OK);
    ck_assert_uint_eq(size, sizeof text - 1);
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "", 0, 0, ids, 64, &count), CM3_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, NULL, 0, 0, back, sizeof back, &size), CM3_OK);
    ck_assert_str_eq(back, "");
}
END_TEST

START_TEST(special_texts) {
    int32_t ids[64], eod;
    size_t count, size;
    char back[64];
    ck_assert_int_eq(cm3_tokenizer_special(tokenizer, CM3_TOKEN_EOD, 0, &eod), CM3_OK);
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "a</s>", SIZE_MAX, CM3_ENCODE_PLAIN, ids, 64, &count), CM3_OK);
    for (size_t i = 0; i < count; i++) ck_assert_int_ge(ids[i], TINY_SPECIALS);
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "a</s>", SIZE_MAX, CM3_ENCODE_SPECIAL, ids, 64, &count), CM3_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(ids[1], eod);
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, ids, 2, 0, back, sizeof back, &size), CM3_OK);
    ck_assert_str_eq(back, "a</s>");
    ck_assert_int_eq(cm3_tokenizer_decode(tokenizer, ids, 2, 1, back, sizeof back, &size), CM3_OK);
    ck_assert_str_eq(back, "a");
}
END_TEST

START_TEST(roles) {
    static const struct {
        cm3_token_role role;
        int32_t index, id;
    } tokens[] = {
        {CM3_TOKEN_PAD, 0, 0},        {CM3_TOKEN_EOD, 0, 1},      {CM3_TOKEN_BREAK, 0, 2},
        {CM3_TOKEN_END_SPAN, 0, 3},   {CM3_TOKEN_SENTINEL, 0, 4}, {CM3_TOKEN_SENTINEL, 15, 19},
        {CM3_TOKEN_SENTINEL, 16, -1}, {CM3_TOKEN_IMAGE, 0, 20},   {CM3_TOKEN_IMAGE, 15, 35},
        {CM3_TOKEN_IMAGE, 16, -1},    {CM3_TOKEN_EOD, 1, -1},     {CM3_TOKEN_END_IMAGE, 0, -1},
    };
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        int32_t id = 77;
        cm3_status status = cm3_tokenizer_special(tokenizer, tokens[i].role, tokens[i].index, &id);
        ck_assert_int_eq(status, tokens[i].id < 0 ? CM3_ERROR_NOT_FOUND : CM3_OK);
        ck_assert_int_eq(id, tokens[i].id);
    }
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_tokenizer_get_info(tokenizer, &info), CM3_OK);
    ck_assert_int_eq(info.sentinels, TINY_SENTINELS);
    ck_assert_int_eq(info.image_codes, TINY_CODES);
    ck_assert_int_eq(info.image_resolution, TINY_SIDE);
    ck_assert_int_eq(info.image_tokens, TINY_TOKENS);
    ck_assert_int_ge(info.vocab_size, TINY_SPECIALS + 256);
}
END_TEST

START_TEST(pictures) {
    cm3_image *image, *drawn;
    int32_t codes[TINY_TOKENS + 1], again[TINY_TOKENS];
    size_t count;
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_create(fixture.context, 31, 20, &image), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    for (int y = 0; y < 20; y++) {
        for (int x = 0; x < 93; x++) view.pixels[(size_t)y * view.stride + (size_t)x] = (uint8_t)(x * 7 + y * 13);
    }
    ck_assert_int_eq(cm3_tokenizer_encode_image(tokenizer, image, codes, TINY_TOKENS - 1, &count),
                     CM3_ERROR_INVALID_ARGUMENT);
    codes[TINY_TOKENS] = -9;
    ck_assert_int_eq(cm3_tokenizer_encode_image(tokenizer, image, codes, TINY_TOKENS + 1, &count), CM3_OK);
    ck_assert_uint_eq(count, TINY_TOKENS);
    ck_assert_int_eq(codes[TINY_TOKENS], -9);
    for (int i = 0; i < TINY_TOKENS; i++) ck_assert(codes[i] >= 0 && codes[i] < TINY_CODES);
    ck_assert_int_eq(cm3_tokenizer_encode_image(tokenizer, image, again, TINY_TOKENS, &count), CM3_OK);
    ck_assert_mem_eq(codes, again, sizeof again);
    ck_assert_int_eq(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS, &drawn), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(drawn, &view), CM3_OK);
    ck_assert(view.width == TINY_SIDE && view.height == TINY_SIDE);
    cm3_image_destroy(drawn);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(saved_and_loaded) {
    const char *path = test_path(&fixture, "tokenizer.json");
    ck_assert_int_eq(cm3_tokenizer_save(tokenizer, path), CM3_OK);
    cm3_tokenizer *other;
    ck_assert_int_eq(cm3_tokenizer_load(fixture.context, path, &other), CM3_OK);
    int32_t a[64], b[64], id;
    size_t a_count, b_count;
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "a green cube", SIZE_MAX, 0, a, 64, &a_count), CM3_OK);
    ck_assert_int_eq(cm3_tokenizer_encode(other, "a green cube", SIZE_MAX, 0, b, 64, &b_count), CM3_OK);
    ck_assert_uint_eq(a_count, b_count);
    ck_assert_mem_eq(a, b, a_count * sizeof *a);
    ck_assert_int_eq(cm3_tokenizer_special(other, CM3_TOKEN_IMAGE, 3, &id), CM3_OK);
    ck_assert_int_eq(id, 23);
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_tokenizer_get_info(other, &info), CM3_OK);
    ck_assert_int_eq(info.image_tokens, 0);
    cm3_tokenizer_destroy(other);
}
END_TEST

#define INVALID(call) ck_assert_int_eq(call, CM3_ERROR_INVALID_ARGUMENT)

START_TEST(refused) {
    int32_t id = 5, ids[4] = {0}, codes[TINY_TOKENS] = {0};
    size_t count;
    char text[8];
    cm3_image *image, *made = NULL;
    cm3_tokenizer *other;
    cm3_tokenizer_info info = {.struct_size = 1};
    ck_assert_int_eq(cm3_image_create(fixture.context, 4, 4, &image), CM3_OK);
    INVALID(cm3_tokenizer_load(NULL, "x", &other));
    INVALID(cm3_tokenizer_load(fixture.context, NULL, &other));
    INVALID(cm3_tokenizer_load(fixture.context, "x", NULL));
    ck_assert_int_eq(cm3_tokenizer_load(fixture.context, test_path(&fixture, "no.json"), &other), CM3_ERROR_NOT_FOUND);
    INVALID(cm3_tokenizer_save(NULL, "x"));
    INVALID(cm3_tokenizer_save(tokenizer, NULL));
    ck_assert_int_ne(cm3_tokenizer_save(tokenizer, test_path(&fixture, "none/x.json")), CM3_OK);
    INVALID(cm3_tokenizer_encode(NULL, "a", 1, 0, ids, 4, &count));
    INVALID(cm3_tokenizer_encode(tokenizer, NULL, 1, 0, ids, 4, &count));
    INVALID(cm3_tokenizer_encode(tokenizer, "a", 1, 0, NULL, 4, &count));
    INVALID(cm3_tokenizer_encode(tokenizer, "a", 1, 0, ids, 4, NULL));
    INVALID(cm3_tokenizer_encode(tokenizer, "a", 1, 8, ids, 4, &count));
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "ab\xff", 3, 0, ids, 4, &count), CM3_ERROR_UTF8);
    ck_assert(test_says(&fixture, "2"));
    ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "\xed\xa0\x80", 3, 0, ids, 4, &count), CM3_ERROR_UTF8);
    INVALID(cm3_tokenizer_decode(NULL, ids, 1, 0, text, 8, &count));
    INVALID(cm3_tokenizer_decode(tokenizer, NULL, 1, 0, text, 8, &count));
    INVALID(cm3_tokenizer_decode(tokenizer, ids, 1, 0, NULL, 8, &count));
    INVALID(cm3_tokenizer_decode(tokenizer, ids, 1, 0, text, 8, NULL));
    ids[1] = 1 << 20;
    INVALID(cm3_tokenizer_decode(tokenizer, ids, 2, 0, text, 8, &count));
    ck_assert(test_says(&fixture, "1048576"));
    ids[1] = -1;
    INVALID(cm3_tokenizer_decode(tokenizer, ids, 2, 0, text, 8, &count));
    INVALID(cm3_tokenizer_get_info(NULL, &info));
    INVALID(cm3_tokenizer_get_info(tokenizer, &info));
    INVALID(cm3_tokenizer_get_info(tokenizer, NULL));
    INVALID(cm3_tokenizer_special(NULL, CM3_TOKEN_EOD, 0, &id));
    INVALID(cm3_tokenizer_special(tokenizer, CM3_TOKEN_EOD, 0, NULL));
    INVALID(cm3_tokenizer_special(tokenizer, CM3_TOKEN_IMAGE, -1, &id));
    INVALID(cm3_tokenizer_special(tokenizer, (cm3_token_role)0, 0, &id));
    INVALID(cm3_tokenizer_special(tokenizer, (cm3_token_role)11, 0, &id));
    INVALID(cm3_tokenizer_encode_image(NULL, image, codes, TINY_TOKENS, &count));
    INVALID(cm3_tokenizer_encode_image(tokenizer, NULL, codes, TINY_TOKENS, &count));
    INVALID(cm3_tokenizer_encode_image(tokenizer, image, NULL, TINY_TOKENS, &count));
    INVALID(cm3_tokenizer_encode_image(tokenizer, image, codes, TINY_TOKENS, NULL));
    INVALID(cm3_tokenizer_decode_image(NULL, codes, TINY_TOKENS, &made));
    INVALID(cm3_tokenizer_decode_image(tokenizer, NULL, TINY_TOKENS, &made));
    INVALID(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS, NULL));
    INVALID(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS - 1, &made));
    codes[9] = TINY_CODES;
    INVALID(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS, &made));
    codes[9] = -1;
    INVALID(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS, &made));
    ck_assert_ptr_null(made);
    cm3_tokenizer_destroy(NULL);
    cm3_image_destroy(image);
}
END_TEST

Suite *tokenizer_suite(void) {
    Suite *suite = suite_create("model/tokenizer");
    TCase *tcase = tcase_create("tokenizer");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, there_and_back);
    tcase_add_test(tcase, special_texts);
    tcase_add_test(tcase, roles);
    tcase_add_test(tcase, pictures);
    tcase_add_test(tcase, saved_and_loaded);
    tcase_add_test(tcase, refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
