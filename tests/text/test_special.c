/* Special tokens by role. */
#include <string.h>

#include "suites.h"
#include "support.h"
#include "text/special.h"

static cm3_status parse(cm3_context *context, const char *json, int32_t vocab_size, cm3_special_tokens *special) {
    json_t *value = json_loads(json, 0, NULL);
    ck_assert_ptr_nonnull(value);
    cm3_json_object object = {context, "test", value};
    cm3_status status = cm3_special_parse(&object, vocab_size, special);
    json_decref(value);
    return status;
}

START_TEST(roles_are_read_and_written) {
    static const char *const both[] = {
        "{\"eod\": 0, \"pad\": 1, \"break\": 2, \"begin_image\": 2, \"end_image\": null, \"end_span\": 3, "
        "\"sentinels\": [4, 5], \"image\": {\"first\": 10, \"count\": 3}}",
        "{\"eod\": 0, \"pad\": null, \"break\": 2, \"begin_image\": 2, \"end_image\": 9, \"end_span\": 3, "
        "\"sentinels\": [], \"image\": [12, 10, 11]}"};
    static const int32_t images[][3] = {{10, 11, 12}, {12, 10, 11}};
    cm3_context *context = new_context();
    cm3_special_tokens special;
    ck_assert_int_eq(parse(context, both[_i], 13, &special), CM3_OK);
    ck_assert_int_eq(special.eod, 0);
    ck_assert_int_eq(special.pad, _i ? -1 : 1);
    ck_assert_int_eq(special.break_, 2);
    ck_assert_int_eq(special.begin_image, 2);
    ck_assert_int_eq(special.end_image, _i ? 9 : -1);
    ck_assert_int_eq(special.end_span, 3);
    ck_assert_int_eq(special.sentinel_count, _i ? 0 : 2);
    ck_assert_int_eq(special.vocab_size, 13);
    ck_assert_int_eq(special.image_count, 3);
    for (int32_t code = 0; code < 3; code++) {
        ck_assert_int_eq(special.image[code], images[_i][code]);
        ck_assert_int_eq(special.image_code[images[_i][code]], code);
    }
    for (int32_t id = 0; id < 10; id++) ck_assert_int_eq(special.image_code[id], -1);
    json_t *written, *expected = json_loads(both[_i], 0, NULL);
    ck_assert_int_eq(cm3_special_format(context, &special, &written), CM3_OK);
    ck_assert(json_equal(written, expected));
    json_decref(written);
    json_decref(expected);
    cm3_special_clear(context, &special);
    release_context(context);
}
END_TEST

START_TEST(nothing_is_no_role) {
    cm3_context *context = new_context();
    cm3_special_tokens special;
    ck_assert_int_eq(parse(context, "{}", 5, &special), CM3_OK);
    ck_assert_int_eq(special.eod, -1);
    ck_assert_int_eq(special.end_span, -1);
    ck_assert_int_eq(special.image_count, 0);
    cm3_special_clear(context, &special);
    release_context(context);
}
END_TEST

START_TEST(bad_roles_are_refused) {
    static const char *const bad[] = {
        "{\"eod\": 13}",
        "{\"eod\": -1}",
        "{\"eod\": \"0\"}",
        "{\"sentinels\": 3}",
        "{\"sentinels\": [13]}",
        "{\"sentinels\": [3, 3]}",
        "{\"image\": 3}",
        "{\"image\": \"3\"}",
        "{\"image\": [1, 1]}",
        "{\"image\": [1, 13]}",
        "{\"image\": [1, true]}",
        "{\"image\": [0,1,2,3,4,5,6,7,8,9,10,11,12,0]}",
        "{\"image\": {\"first\": 10}}",
        "{\"image\": {\"count\": 2}}",
        "{\"image\": {\"first\": 10, \"count\": 4}}",
        "{\"image\": {\"first\": 10, \"count\": -1}}",
        "{\"image\": {\"first\": 10, \"count\": 9223372036854775807}}",
        "{\"eod\": 10, \"image\": [10]}",
        "{\"sentinels\": [11], \"image\": {\"first\": 10, \"count\": 2}}",
    };
    cm3_context *context = new_context();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cm3_special_tokens special;
        ck_assert_msg(parse(context, bad[i], 13, &special) == CM3_ERROR_FORMAT, "%s", bad[i]);
        ck_assert_ptr_null(special.image);
        ck_assert_ptr_null(special.image_code);
    }
    release_context(context);
}
END_TEST

Suite *special_suite(void) {
    Suite *suite = suite_create("special");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, roles_are_read_and_written, 0, 2);
    tcase_add_test(all, nothing_is_no_role);
    tcase_add_test(all, bad_roles_are_refused);
    suite_add_tcase(suite, all);
    return suite;
}
