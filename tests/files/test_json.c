/* JSON: what is refused, and what the getters say. */
#include "files/json.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static json_t *parse(const char *text, cm3_status expected) {
    json_t *value;
    ck_assert_int_eq(cm3_json_parse(t.context, "x.json", text, strlen(text), &value), expected);
    ck_assert((value != NULL) == (expected == CM3_OK));
    return value;
}

START_TEST(refused) {
    static const char *const wrong[] = {"",
                                        "{",
                                        "{}x",
                                        "{} {}",
                                        "{\"a\":1,\"a\":2}",
                                        "[1,]",
                                        "{'a':1}",
                                        "nul",
                                        "\"\xff\"",
                                        "[1e9999]",
                                        "[0x10]",
                                        "\"\\ud800\"",
                                        "\"\\u0000\"",
                                        "[NaN]",
                                        "\"a",
                                        "\"\n\"",
                                        "01",
                                        "+1",
                                        "[1 2]",
                                        "[99999999999999999999999]",
                                        "\xef\xbb\xbf{}",
                                        "\\",
                                        "\"\\",
                                        "}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        parse(wrong[i], CM3_ERROR_FORMAT);
        ck_assert_msg(test_says(&t, "x.json: JSON, line 1, column"), "%s", cm3_context_message(t.context));
    }
    parse("{\n \"a\": tru}", CM3_ERROR_FORMAT);
    ck_assert_msg(test_says(&t, "line 2, column"), "%s", cm3_context_message(t.context));
}
END_TEST

START_TEST(nesting) {
    char text[400];
    for (int depth = 63; depth <= 66; ++depth) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        json_decref(parse(text, depth <= 64 ? CM3_OK : CM3_ERROR_FORMAT));
    }
    ck_assert(test_says(&t, "byte 64"));
    /* Brackets in strings do not count; closed ones do not either. */
    char *p = text;
    p += sprintf(p, "[\"\\\\\\\"");
    for (int i = 0; i < 100; ++i) *p++ = i % 2 ? '[' : '{';
    p += sprintf(p, "\"");
    for (int i = 0; i < 70; ++i) p += sprintf(p, ",[]");
    sprintf(p, "]");
    json_decref(parse(text, CM3_OK));
    /* A million deep, as it would be to blow a stack. */
    char *deep = malloc(1000000);
    memset(deep, '[', 1000000);
    json_t *value;
    ck_assert_int_eq(cm3_json_parse(t.context, "x", deep, 1000000, &value), CM3_ERROR_FORMAT);
    free(deep);
}
END_TEST

START_TEST(any_value_is_a_value) {
    json_t *value = parse(" \"text\" \n", CM3_OK);
    ck_assert_str_eq(json_string_value(value), "text");
    json_decref(value);
    json_decref(parse("3", CM3_OK));
    json_decref(parse("null", CM3_OK));
}
END_TEST

START_TEST(getters) {
    json_t *value = parse("{\"i\":5,\"n\":null,\"f\":0.25,\"b\":true,\"s\":\"text\",\"a\":[1,2,3],\"o\":{\"x\":1},"
                          "\"big\":4294967296,\"neg\":-7}",
                          CM3_OK);
    cm3_json_object object = {t.context, "x.json: config", value};
    int64_t wide = 9;
    int32_t narrow = 9, array[3] = {0};
    float real = 9;
    bool flag = false;
    const char *text = "default";
    size_t count = 77;
    ck_assert_int_eq(cm3_json_int(&object, "i", 0, 5, &wide), CM3_OK);
    ck_assert_int_eq(wide, 5);
    ck_assert_int_eq(cm3_json_int(&object, "absent", 0, 5, &wide), CM3_OK);
    ck_assert_int_eq(cm3_json_int(&object, "n", 0, 1, &wide), CM3_OK);
    ck_assert_int_eq(wide, 5);
    ck_assert_int_eq(cm3_json_int(&object, "i", 6, 10, &wide), CM3_ERROR_FORMAT);
    ck_assert(test_says(&t, "x.json: config: i: expected 6 to 10, found 5"));
    ck_assert_int_eq(cm3_json_int(&object, "f", 0, 10, &wide), CM3_ERROR_FORMAT);
    ck_assert(test_says(&t, "expected an integer, found a real"));
    ck_assert_int_eq(cm3_json_int32(&object, "neg", -10, 10, &narrow), CM3_OK);
    ck_assert_int_eq(narrow, -7);
    ck_assert_int_eq(cm3_json_int32(&object, "big", 0, INT32_MAX, &narrow), CM3_ERROR_FORMAT);
    ck_assert_int_eq(narrow, -7);
    ck_assert_int_eq(cm3_json_float(&object, "f", 0, 1, &real), CM3_OK);
    ck_assert_float_eq(real, 0.25f);
    ck_assert_int_eq(cm3_json_float(&object, "i", 0, 10, &real), CM3_OK);
    ck_assert_float_eq(real, 5);
    ck_assert_int_eq(cm3_json_float(&object, "i", 0, 1, &real), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_float(&object, "s", 0, 1, &real), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_bool(&object, "b", &flag), CM3_OK);
    ck_assert(flag);
    ck_assert_int_eq(cm3_json_bool(&object, "i", &flag), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_string(&object, "s", &text), CM3_OK);
    ck_assert_str_eq(text, "text");
    ck_assert_int_eq(cm3_json_string(&object, "absent", &text), CM3_OK);
    ck_assert_int_eq(cm3_json_string(&object, "o", &text), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_ints(&object, "absent", 0, 3, array, 3, &count), CM3_OK);
    ck_assert_uint_eq(count, 77);
    ck_assert_int_eq(cm3_json_ints(&object, "a", 0, 3, array, 3, &count), CM3_OK);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(array[2], 3);
    ck_assert_int_eq(cm3_json_ints(&object, "a", 0, 3, array, 2, &count), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_ints(&object, "a", 0, 2, array, 3, &count), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_json_ints(&object, "i", 0, 2, array, 3, &count), CM3_ERROR_FORMAT);
    cm3_json_object child;
    ck_assert_int_eq(cm3_json_child(&object, "o", "x.json: config.o", &child), CM3_OK);
    ck_assert_int_eq(cm3_json_int(&child, "x", 2, 3, &wide), CM3_ERROR_FORMAT);
    ck_assert(test_says(&t, "x.json: config.o: x:"));
    ck_assert_int_eq(cm3_json_child(&object, "absent", "w", &child), CM3_OK);
    ck_assert_ptr_null(child.value);
    ck_assert_int_eq(cm3_json_int(&child, "x", 0, 3, &wide), CM3_OK);
    ck_assert_int_eq(cm3_json_child(&object, "a", "w", &child), CM3_ERROR_FORMAT);
    json_decref(value);
    value = parse("[]", CM3_OK);
    object.value = value;
    ck_assert_int_eq(cm3_json_int(&object, "x", 0, 3, &wide), CM3_ERROR_FORMAT);
    json_decref(value);
}
END_TEST

static int calls_left;

static void *scarce_malloc(size_t size) {
    return calls_left-- > 0 ? malloc(size) : NULL;
}

START_TEST(jansson_without_memory) {
    static const char text[] = "{\"a\":[1,2,{\"b\":\"some text that is longer than any small buffer\"}],\"c\":1.5}";
    json_set_alloc_funcs(scarce_malloc, free);
    cm3_status status;
    int calls = 0;
    do {
        calls_left = calls++;
        json_t *value;
        status = cm3_json_parse(t.context, "x", text, sizeof text - 1, &value);
        ck_assert((value != NULL) == (status == CM3_OK));
        json_decref(value);
    } while (status != CM3_OK && calls < 1000);
    ck_assert_int_gt(calls, 5);
    ck_assert_int_eq(status, CM3_OK);
    json_set_alloc_funcs(malloc, free);
}
END_TEST

Suite *json_suite(void) {
    Suite *suite = suite_create("json");
    TCase *tests = tcase_create("json");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, nesting);
    tcase_add_test(tests, any_value_is_a_value);
    tcase_add_test(tests, getters);
    tcase_add_test(tests, jansson_without_memory);
    suite_add_tcase(suite, tests);
    return suite;
}
