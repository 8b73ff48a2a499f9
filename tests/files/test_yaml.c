/* YAML as JSON. */
#include "files/yaml.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static const struct {
    const char *yaml, *json;
} good[] = {
    {"a: 1\nb: [1, 2.5, -3e2]\n", "{\"a\": 1, \"b\": [1, 2.5, -300.0]}"},
    {"a:\n- x\n- 'y z'\n- \"1\"\n", "{\"a\": [\"x\", \"y z\", \"1\"]}"},
    {"# said\na: null # nothing\nb: ~\nc:\nd: true\ne: False\n",
     "{\"a\": null, \"b\": null, \"c\": null, \"d\": true, \"e\": false}"},
    {"a: {b: {c: []}}", "{\"a\": {\"b\": {\"c\": []}}}"},
    {"a: 1e\nb: 99999999999999999999\nc: taming.models.vqgan.VQModel\n",
     "{\"a\": \"1e\", \"b\": 1e20, \"c\": \"taming.models.vqgan.VQModel\"}"},
    {"- 1\n- [2]\n", "[1, [2]]"},
};

START_TEST(means_the_same) {
    json_t *value, *expected = json_loads(good[_i].json, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(expected);
    cm3_status status = cm3_yaml_parse(fixture.context, "test.yaml", good[_i].yaml, strlen(good[_i].yaml), &value);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(fixture.context));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
    ck_assert_msg(json_equal(value, expected), "%s", text);
    free(text);
    json_decref(value);
    json_decref(expected);
}
END_TEST

static const struct {
    const char *yaml, *says;
} bad[] = {
    {"", "no document"},         {"a: *b\n", "line 1"},
    {"a: &b 1\n", "anchors"},    {"a: !!python/object:os.system ls\n", "tags"},
    {"a: 1\na: 2\n", "twice"},   {"a: 1\n---\nb: 2\n", "second document"},
    {"a: [1, 2\n", "line 2"},    {"a:\n\t- 1\n", "line 2"},
    {"? [1]\n: 2\n", "no text"}, {"a: \"\\q\"\n", "line 1"},
};

START_TEST(is_refused) {
    json_t *value;
    ck_assert_int_eq(cm3_yaml_parse(fixture.context, "test.yaml", bad[_i].yaml, strlen(bad[_i].yaml), &value),
                     CM3_ERROR_FORMAT);
    ck_assert_ptr_null(value);
    ck_assert_msg(test_says(&fixture, bad[_i].says), "%s: %s", bad[_i].yaml, cm3_context_message(fixture.context));
}
END_TEST

START_TEST(deep_nesting) {
    char text[201];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    json_t *value;
    ck_assert_int_eq(cm3_yaml_parse(fixture.context, "test.yaml", text, 200, &value), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "too deep"));
}
END_TEST

Suite *yaml_suite(void) {
    Suite *suite = suite_create("yaml");
    TCase *tcase = tcase_create("documents");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, means_the_same, 0, (int)(sizeof good / sizeof *good));
    tcase_add_loop_test(tcase, is_refused, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, deep_nesting);
    suite_add_tcase(suite, tcase);
    return suite;
}
