/* UTF-8: checking, replacing as Python does, and cutting a stream. */
#include <stdlib.h>
#include <string.h>

#include "suites.h"
#include "support.h"
#include "text/byte_map.h"
#include "text/unicode.h"
#include "text/utf8.h"

static size_t from_hex(const char *hex, char *bytes) {
    size_t count = strlen(hex) / 2;
    for (size_t i = 0; i < count; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (char)strtoul(digits, NULL, 16);
    }
    return count;
}

START_TEST(lossy_is_pythons) {
    cm3_context *context = new_context();
    size_t size, at = 0, checked = 0;
    char *lines = read_data("text/lossy.jsonl", &size);
    for (json_t *line; (line = next_line(lines, size, &at)); checked++) {
        char bytes[64], *text = NULL;
        size_t count = from_hex(json_string_value(json_object_get(line, "hex")), bytes), made = 0, capacity = 0;
        const json_t *expected = json_object_get(line, "text");
        ck_assert_int_eq(cm3_utf8_lossy(context, bytes, count, &text, &made, &capacity), CM3_OK);
        ck_assert_uint_eq(made, json_string_length(expected));
        if (made) ck_assert_mem_eq(text, json_string_value(expected), made);
        bool valid = made == count && (!made || !memcmp(text, bytes, count));
        ck_assert_int_eq(cm3_utf8_check(context, "test", bytes, count), valid ? CM3_OK : CM3_ERROR_UTF8);
        cm3_free(context, text);
        json_decref(line);
    }
    ck_assert_uint_eq(checked, 300);
    free(lines);
    release_context(context);
}
END_TEST

/* Handing over whole code points as bytes come in gives the same text as all at once. */
START_TEST(streams_are_cut_at_code_points) {
    cm3_context *context = new_context();
    size_t size, at = 0;
    char *lines = read_data("text/lossy.jsonl", &size);
    for (json_t *line; (line = next_line(lines, size, &at));) {
        char bytes[64], *text = NULL;
        size_t count = from_hex(json_string_value(json_object_get(line, "hex")), bytes), made = 0, capacity = 0,
               done = 0;
        const json_t *expected = json_object_get(line, "text");
        for (size_t seen = 1; seen <= count; seen++) {
            size_t whole = done + cm3_utf8_whole(bytes + done, seen - done);
            ck_assert_uint_le(seen - whole, 3);
            ck_assert_int_eq(cm3_utf8_lossy(context, bytes + done, whole - done, &text, &made, &capacity), CM3_OK);
            done = whole;
        }
        ck_assert_int_eq(cm3_utf8_lossy(context, bytes + done, count - done, &text, &made, &capacity), CM3_OK);
        ck_assert_uint_eq(made, json_string_length(expected));
        if (made) ck_assert_mem_eq(text, json_string_value(expected), made);
        cm3_free(context, text);
        json_decref(line);
    }
    free(lines);
    release_context(context);
}
END_TEST

START_TEST(all_code_points_round_trip) {
    uint32_t wrong = 0; /* an assertion for each would take minutes */
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xd800 && code < 0xe000) continue;
        char bytes[4];
        size_t size = cm3_utf8_put(code, bytes), at = 0, length, start;
        bool good = cm3_utf8_look(bytes, size, &length) == CM3_UTF8_GOOD && length == size;
        good = good && cm3_utf8_next(bytes, &at) == code && at == size;
        good = good && cm3_utf8_previous(bytes, size, &start) == code && start == 0;
        wrong += !good;
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(the_alphabet_is_a_bijection) {
    int seen = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        ck_assert_int_eq(cm3_char_to_byte(cm3_byte_to_char((unsigned char)byte)), (int)byte);
    for (uint32_t code = 0; code < 2 * CM3_BYTE_CHARS; code++) seen += cm3_char_to_byte(code) >= 0;
    ck_assert_int_eq(seen, 256);
    ck_assert_uint_eq(cm3_byte_to_char(' '), 0x120);
    ck_assert_uint_eq(cm3_byte_to_char('\n'), 0x10a);
}
END_TEST

/* Sizes of the classes as published with the tables, and that the short cut for ASCII is what the table says. */
START_TEST(classes_have_their_sizes) {
    const struct {
        unsigned class;
        int count;
    } expected[] = {{CM3_UNICODE_LETTER, 141028},
                    {CM3_UNICODE_NUMBER, 1911},
                    {CM3_UNICODE_SPACE, 25},
                    {CM3_UNICODE_DIGIT, 1924},
                    {CM3_UNICODE_PUNCT, 726}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        int count = 0;
        for (uint32_t code = 0; code < 0x110000; code++) count += (cm3_unicode_class(code) & expected[i].class) != 0;
        ck_assert_int_eq(count, expected[i].count);
    }
    for (uint32_t code = 0; code < 128; code++) {
        uint32_t run = 0;
        while (run + 1 < cm3_unicode_run_count && cm3_unicode_runs[run + 1] >> 8 <= code) run++;
        ck_assert_uint_eq(cm3_unicode_class(code), cm3_unicode_runs[run] & 255u);
    }
}
END_TEST

Suite *utf8_suite(void) {
    Suite *suite = suite_create("utf8");
    TCase *all = tcase_create("all");
    tcase_add_test(all, lossy_is_pythons);
    tcase_add_test(all, streams_are_cut_at_code_points);
    tcase_add_test(all, all_code_points_round_trip);
    tcase_add_test(all, the_alphabet_is_a_bijection);
    tcase_add_test(all, classes_have_their_sizes);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    return suite;
}
