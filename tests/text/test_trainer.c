/* The trainer: against the tokenizers library's, and what must hold of any tokenizer it makes. */
#include <stdlib.h>
#include <string.h>

#include "suites.h"
#include "support.h"

static const char *const specials[] = {"<eod>", "<break>", "<image:0>"};

static cm3_bpe_train_options options_of(int32_t vocab_size) {
    return (cm3_bpe_train_options){
        .vocab_size = vocab_size, .min_frequency = 2, .specials = specials, .special_count = 3};
}

/* Adds the lines of the corpus, from the last to the first if `backwards`. */
static void add_corpus(cm3_bpe_trainer *trainer, bool backwards) {
    size_t size;
    char *corpus = read_data("text/corpus.txt", &size), *lines[256];
    size_t count = 0;
    for (char *at = corpus; at < corpus + size; count++) {
        ck_assert_uint_lt(count, 255);
        lines[count] = at;
        at = (char *)memchr(at, '\n', (size_t)(corpus + size - at)) + 1;
    }
    lines[count] = corpus + size;
    for (size_t i = 0; i < count; i++) {
        size_t line = backwards ? count - 1 - i : i;
        size_t length = (size_t)(lines[line + 1] - lines[line]) - 1;
        ck_assert_int_eq(cm3_bpe_trainer_add(trainer, lines[line], length), CM3_OK);
    }
    free(corpus);
}

static char *train(cm3_context *context, int32_t vocab_size, bool backwards, cm3_bpe **bpe) {
    cm3_bpe_train_options options = options_of(vocab_size);
    cm3_bpe_trainer *trainer;
    char *json;
    size_t size;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
    add_corpus(trainer, backwards);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, bpe), CM3_OK);
    cm3_bpe_trainer_destroy(trainer);
    ck_assert_int_eq(cm3_bpe_format(*bpe, &json, &size), CM3_OK);
    ck_assert_uint_eq(strlen(json), size);
    return json;
}

START_TEST(learns_what_the_library_learns) {
    cm3_context *context = new_context();
    cm3_bpe *bpe;
    size_t size, at = 0;
    char *json = train(context, 600, false, &bpe), *text = read_data("text/trained.json", &size);
    json_t *expected = next_line(text, size, &at), *made = json_loads(json, 0, NULL),
           *model = json_object_get(made, "model");
    ck_assert(json_equal(json_object_get(model, "vocab"), json_object_get(expected, "vocab")));
    ck_assert(json_equal(json_object_get(model, "merges"), json_object_get(expected, "merges")));
    ck_assert(json_equal(json_object_get(made, "added_tokens"), json_object_get(expected, "added_tokens")));
    json_decref(expected);
    json_decref(made);
    free(text);
    cm3_free(context, json);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

START_TEST(order_does_not_matter) {
    cm3_context *context = new_context();
    cm3_bpe *one, *two;
    char *forwards = train(context, 500, false, &one), *backwards = train(context, 500, true, &two);
    ck_assert_str_eq(forwards, backwards);
    cm3_free(context, forwards);
    cm3_free(context, backwards);
    cm3_bpe_destroy(one);
    cm3_bpe_destroy(two);
    release_context(context);
}
END_TEST

START_TEST(written_and_read_again) {
    cm3_context *context = new_context();
    cm3_bpe *bpe;
    char *json = train(context, 700, false, &bpe), *again;
    size_t size;
    cm3_bpe *copy = parse_bpe(context, json);
    ck_assert_int_eq(cm3_bpe_vocab_size(copy), cm3_bpe_vocab_size(bpe));
    ck_assert_int_le(cm3_bpe_vocab_size(bpe), 700);
    for (int32_t id = 0; id < cm3_bpe_vocab_size(bpe); id++)
        ck_assert_str_eq(cm3_bpe_token(copy, id), cm3_bpe_token(bpe, id));
    for (int32_t id = 0; id < 3; id++) {
        ck_assert_str_eq(cm3_bpe_token(bpe, id), specials[id]);
        ck_assert(cm3_bpe_is_special(bpe, id));
    }
    ck_assert_int_eq(cm3_bpe_format(copy, &again, &size), CM3_OK);
    ck_assert_str_eq(json, again);
    cm3_free(context, json);
    cm3_free(context, again);
    cm3_bpe_destroy(copy);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

/* Any text comes back as it was, and no text becomes a special token unasked. */
START_TEST(decoding_undoes_encoding) {
    cm3_context *context = new_context();
    cm3_bpe *bpe;
    cm3_free(context, train(context, 700, false, &bpe));
    size_t size, at = 0;
    char *lines = read_data("text/strings.jsonl", &size), *bytes = NULL;
    int32_t *ids = NULL;
    size_t capacity = 0, byte_capacity = 0;
    for (json_t *line; (line = next_line(lines, size, &at));) {
        const json_t *text = json_object_get(line, "text");
        for (uint32_t flags = 0; flags < 4; flags++) {
            size_t count = 0, made = 0;
            ck_assert_int_eq(
                cm3_bpe_encode(bpe, json_string_value(text), json_string_length(text), flags, &ids, &count, &capacity),
                CM3_OK);
            for (size_t i = 0; i < count && !(flags & CM3_ENCODE_SPECIAL); i++)
                ck_assert(!cm3_bpe_is_special(bpe, ids[i]));
            ck_assert_int_eq(cm3_bpe_decode_raw(bpe, ids, count, false, &bytes, &made, &byte_capacity), CM3_OK);
            ck_assert_uint_eq(made, json_string_length(text));
            ck_assert_mem_eq(bytes, json_string_value(text), made);
        }
        json_decref(line);
    }
    free(lines);
    cm3_free(context, ids);
    cm3_free(context, bytes);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

/* However often a special token is spelt in the corpus, its text stays text. */
START_TEST(specials_cannot_be_spelt) {
    cm3_context *context = new_context();
    cm3_bpe_train_options options = options_of(400);
    cm3_bpe_trainer *trainer;
    cm3_bpe *bpe;
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    const char *const spelt[] = {"abc", "ab"};
    options.specials = spelt;
    options.special_count = 2;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(cm3_bpe_trainer_add(trainer, "abc bcd cde", 11), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, &bpe), CM3_OK);
    ck_assert_int_eq(cm3_bpe_encode(bpe, "abc", 3, CM3_ENCODE_PLAIN, &ids, &count, &capacity), CM3_OK);
    ck_assert_uint_ge(count, 2);
    for (size_t i = 0; i < count; i++) ck_assert_int_ge(ids[i], 2);
    count = 0;
    ck_assert_int_eq(cm3_bpe_encode(bpe, "abc", 3, CM3_ENCODE_SPECIAL, &ids, &count, &capacity), CM3_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(ids[0], 0);
    cm3_free(context, ids);
    cm3_bpe_destroy(bpe);
    cm3_bpe_trainer_destroy(trainer);
    release_context(context);
}
END_TEST

static int stop_at_once(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return ++*(int *)user > 0;
}

START_TEST(bad_options_are_refused) {
    cm3_context *context = new_context();
    cm3_bpe_trainer *trainer;
    const char *const bad[][2] = {{"<s>", "<s>"}, {"<s>", ""}, {"<s>", "a"}, {"<s>", "\xc4\xa0"}, {"<s>", "\xff"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cm3_bpe_train_options options = {.vocab_size = 300, .min_frequency = 1, .specials = bad[i], .special_count = 2};
        ck_assert_int_ne(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
        ck_assert_ptr_null(trainer);
    }
    const int32_t sizes[] = {-1, 0, 258, INT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cm3_bpe_train_options options = options_of(sizes[i]);
        ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_bpe_train_options options = options_of(300);
    options.min_frequency = 0;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_ERROR_INVALID_ARGUMENT);
    release_context(context);
}
END_TEST

START_TEST(stops_and_starts_empty) {
    cm3_context *context = new_context();
    cm3_bpe_train_options options = options_of(500);
    cm3_bpe_trainer *trainer;
    cm3_bpe *bpe;
    int calls = 0;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, &bpe), CM3_OK); /* of nothing: the bytes alone */
    ck_assert_int_eq(cm3_bpe_vocab_size(bpe), 259);
    cm3_bpe_destroy(bpe);
    ck_assert_int_eq(cm3_bpe_trainer_add(trainer, "a\xff", 2), CM3_ERROR_UTF8);
    cm3_bpe_trainer_destroy(trainer);
    options.progress = stop_at_once;
    options.user = &calls;
    ck_assert_int_eq(cm3_bpe_trainer_create(context, &options, &trainer), CM3_OK);
    add_corpus(trainer, false);
    ck_assert_int_eq(cm3_bpe_trainer_finish(trainer, &bpe), CM3_ERROR_CANCELLED);
    ck_assert_ptr_null(bpe);
    ck_assert_int_eq(calls, 1);
    cm3_bpe_trainer_destroy(trainer);
    release_context(context);
}
END_TEST

Suite *trainer_suite(void) {
    Suite *suite = suite_create("trainer");
    TCase *all = tcase_create("all");
    tcase_add_test(all, learns_what_the_library_learns);
    tcase_add_test(all, order_does_not_matter);
    tcase_add_test(all, written_and_read_again);
    tcase_add_test(all, decoding_undoes_encoding);
    tcase_add_test(all, specials_cannot_be_spelt);
    tcase_add_test(all, bad_options_are_refused);
    tcase_add_test(all, stops_and_starts_empty);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    return suite;
}
