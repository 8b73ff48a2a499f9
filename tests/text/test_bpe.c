/* Encoding and decoding against the tokenizers library's results. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "suites.h"
#include "support.h"

static const char *const tokenizers[] = {"parity/chameleon/tokenizer.json", "parity/clip/tokenizer.json"};
static const char *const probes[] = {"parity/ref/tokenizer_chameleon.jsonl", "parity/ref/tokenizer_clip.jsonl"};

/* Whatever of the expected results a line holds. */
static void check_line(cm3_context *context, const cm3_bpe *bpe, const json_t *line) {
    const json_t *text = json_object_get(line, "text"), *ids = json_object_get(line, "ids");
    const json_t *raw = json_object_get(line, "raw_ids"), *plain = json_object_get(line, "plain_ids");
    const json_t *decoded = json_object_get(line, "decoded"), *skipped = json_object_get(line, "decoded_skip");
    check_ids(context, bpe, text, CM3_ENCODE_SPECIAL | CM3_ENCODE_TEMPLATE | CM3_ENCODE_LENGTH, ids);
    check_ids(context, bpe, text, CM3_ENCODE_SPECIAL | CM3_ENCODE_LENGTH, raw);
    if (plain) check_ids(context, bpe, text, CM3_ENCODE_LENGTH, plain);
    if (skipped) check_text(context, bpe, ids, true, skipped);
    if (decoded)
        check_text(context, bpe, raw && !plain ? raw : ids, false, decoded); /* the probes decode what is raw */
}

START_TEST(probes_are_equal) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[_i]);
    size_t size, at = 0, count = 0;
    char *lines = read_data(probes[_i], &size);
    for (json_t *line; (line = next_line(lines, size, &at)); count++) {
        check_line(context, bpe, line);
        json_decref(line);
    }
    ck_assert_uint_eq(count, 51);
    free(lines);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

START_TEST(hard_strings_are_equal) {
    cm3_context *context = new_context();
    cm3_bpe *chameleon = load_bpe(context, tokenizers[0]), *clip = load_bpe(context, tokenizers[1]);
    size_t size, at = 0, count = 0;
    char *lines = read_data("text/strings.jsonl", &size);
    for (json_t *line; (line = next_line(lines, size, &at)); count++) {
        const char *name = json_string_value(json_object_get(line, "tokenizer"));
        check_line(context, strcmp(name, "clip") ? chameleon : clip, line);
        json_decref(line);
    }
    ck_assert_uint_eq(count, 600);
    free(lines);
    cm3_bpe_destroy(chameleon);
    cm3_bpe_destroy(clip);
    release_context(context);
}
END_TEST

START_TEST(every_component_is_equal) {
    cm3_context *context = new_context();
    size_t size, at = 0, count = 0;
    char *lines = read_data("text/components.jsonl", &size);
    for (json_t *line; (line = next_line(lines, size, &at)); count++) {
        const json_t *cases = json_object_get(line, "cases");
        char *json = json_dumps(json_object_get(line, "tokenizer"), JSON_COMPACT);
        cm3_bpe *bpe = parse_bpe(context, json);
        for (size_t i = 0; i < json_array_size(cases); i++) check_line(context, bpe, json_array_get(cases, i));
        cm3_bpe_destroy(bpe);
        free(json);
        json_decref(line);
    }
    ck_assert_uint_eq(count, 61);
    free(lines);
    release_context(context);
}
END_TEST

START_TEST(names_and_ids) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[0]);
    ck_assert_int_eq(cm3_bpe_vocab_size(bpe), 600);
    for (int32_t id = 0; id < 600; id++) ck_assert_int_eq(cm3_bpe_id(bpe, cm3_bpe_token(bpe, id)), id);
    ck_assert_int_eq(cm3_bpe_id(bpe, "<s>"), 0);
    ck_assert_int_eq(cm3_bpe_id(bpe, "no such token"), -1);
    ck_assert_int_eq(cm3_bpe_id(bpe, ""), -1);
    ck_assert_ptr_null(cm3_bpe_token(bpe, -1));
    ck_assert_ptr_null(cm3_bpe_token(bpe, 600));
    ck_assert(cm3_bpe_is_special(bpe, 0));
    ck_assert(!cm3_bpe_is_special(bpe, 599));
    ck_assert(!cm3_bpe_is_special(bpe, -1));
    ck_assert(!cm3_bpe_is_special(bpe, INT32_MAX));
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

START_TEST(results_are_appended) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[0]);
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count = 0, capacity = 0, size = 0, byte_capacity = 0;
    ck_assert_int_eq(cm3_bpe_encode(bpe, "a cat", 5, CM3_ENCODE_TEMPLATE, &ids, &count, &capacity), CM3_OK);
    size_t once = count;
    ck_assert_int_eq(cm3_bpe_encode(bpe, "a cat", 5, CM3_ENCODE_TEMPLATE, &ids, &count, &capacity), CM3_OK);
    ck_assert_uint_eq(count, 2 * once);
    ck_assert_mem_eq(ids, ids + once, once * sizeof *ids);
    ck_assert_int_eq(cm3_bpe_decode_raw(bpe, ids, count, true, &bytes, &size, &byte_capacity), CM3_OK);
    ck_assert_int_eq(cm3_bpe_decode_raw(bpe, ids, count, false, &bytes, &size, &byte_capacity), CM3_OK);
    ck_assert_uint_eq(size, 26);
    ck_assert_mem_eq(bytes, "a cata cat<s>a cat<s>a cat", 26);
    cm3_free(context, ids);
    cm3_free(context, bytes);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

START_TEST(bad_arguments_are_refused) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[0]);
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count = 0, capacity = 0, size = 0, byte_capacity = 0;
    ck_assert_int_eq(cm3_bpe_encode(bpe, "a cat\xc3(", 7, 0, &ids, &count, &capacity), CM3_ERROR_UTF8);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(context), "byte 5"));
    ck_assert_int_eq(cm3_bpe_encode(bpe, "\xed\xa0\x80", 3, 0, &ids, &count, &capacity), CM3_ERROR_UTF8);
    ck_assert_int_eq(cm3_bpe_encode(bpe, "x", 1, 8, &ids, &count, &capacity), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bpe_encode(bpe, "x", SIZE_MAX, 0, &ids, &count, &capacity), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_uint_eq(count, 0);
    const int32_t bad[][2] = {{0, 600}, {-1, 0}, {INT32_MAX, 0}, {0, INT32_MIN}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cm3_status status = cm3_bpe_decode_raw(bpe, bad[i], 2, false, &bytes, &size, &byte_capacity);
        ck_assert_int_eq(status, CM3_ERROR_INVALID_ARGUMENT);
        ck_assert_uint_eq(size, 0);
    }
    cm3_free(context, ids);
    cm3_free(context, bytes);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

/* A word of some hundred thousand characters must not take quadratic time. */
START_TEST(long_words_are_quick) {
    enum { SIZE = 400000 };
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[_i]);
    char *text = malloc(SIZE), *bytes = NULL;
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0, size = 0, byte_capacity = 0;
    for (size_t i = 0; i < SIZE; i++) text[i] = "thetinheron"[i * i % 11];
    ck_assert_int_eq(cm3_bpe_encode(bpe, text, SIZE, 0, &ids, &count, &capacity), CM3_OK);
    ck_assert_int_eq(cm3_bpe_decode_raw(bpe, ids, count, false, &bytes, &size, &byte_capacity), CM3_OK);
    ck_assert_uint_ge(size, SIZE);
    ck_assert_mem_eq(bytes, text, SIZE);
    for (size_t i = 0; i + 4 <= SIZE; i += 4) memcpy(text + i, i & 4 ? "\xcc\xa7\xcc\x81" : "\xcc\x81\xcc\xa7", 4);
    ck_assert_int_eq(cm3_bpe_encode(bpe, text, SIZE, 0, &ids, &count, &capacity), CM3_OK);
    free(text);
    cm3_free(context, ids);
    cm3_free(context, bytes);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

typedef struct worker {
    cm3_context *context;
    const cm3_bpe *bpe;
    const json_t *lines;
    int failures;
} worker;

static void *encode_all(void *arg) {
    worker *work = arg;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < json_array_size(work->lines); i++) {
            const json_t *line = json_array_get(work->lines, i), *text = json_object_get(line, "text");
            const json_t *expected = json_object_get(line, "raw_ids");
            int32_t *ids = NULL;
            size_t count = 0, capacity = 0;
            cm3_bpe_encode(work->bpe, json_string_value(text), json_string_length(text), CM3_ENCODE_SPECIAL, &ids,
                           &count, &capacity);
            bool same = count == json_array_size(expected);
            for (size_t j = 0; j < count && same; j++) same = ids[j] == json_integer_value(json_array_get(expected, j));
            work->failures += !same;
            cm3_free(work->context, ids);
        }
    return NULL;
}

START_TEST(threads_share_a_tokenizer) {
    enum { THREADS = 4 };
    cm3_context *context = new_context();
    cm3_bpe *bpe = load_bpe(context, tokenizers[0]);
    size_t size, at = 0;
    char *text = read_data(probes[0], &size);
    json_t *lines = json_array();
    for (json_t *line; (line = next_line(text, size, &at));) json_array_append_new(lines, line);
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){context, bpe, lines, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_all, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(workers[i].failures, 0);
    }
    json_decref(lines);
    free(text);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

Suite *bpe_suite(void) {
    Suite *suite = suite_create("bpe");
    TCase *oracle = tcase_create("oracle"), *use = tcase_create("use");
    tcase_add_loop_test(oracle, probes_are_equal, 0, 2);
    tcase_add_test(oracle, hard_strings_are_equal);
    tcase_add_test(oracle, every_component_is_equal);
    tcase_add_test(use, names_and_ids);
    tcase_add_test(use, results_are_appended);
    tcase_add_test(use, bad_arguments_are_refused);
    tcase_add_loop_test(use, long_words_are_quick, 0, 2);
    tcase_add_test(use, threads_share_a_tokenizer);
    tcase_set_timeout(oracle, 60);
    tcase_set_timeout(use, 60);
    suite_add_tcase(suite, oracle);
    suite_add_tcase(suite, use);
    return suite;
}
