/* tokenizer.json files that are wrong, or hold what is not supported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suites.h"
#include "support.h"

/* A whole file around one changed part. */
#define MODEL                                                                                                          \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"<u>\": 3}, \"merges\": [[\"a\", "     \
    "\"b\"]]}"
#define WITH(part) "{" part ", " MODEL "}"
#define IN_MODEL(part) "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, " part "}}"
#define ADDED(part) WITH("\"added_tokens\": [" part "]")

typedef struct bad_file {
    const char *json;
    cm3_status status;
    const char *message; /* what the message must hold */
} bad_file;

static const bad_file bad[] = {
    {"", CM3_ERROR_FORMAT, "line"},
    {"{", CM3_ERROR_FORMAT, "line 1"},
    {"[]", CM3_ERROR_FORMAT, "object"},
    {"null", CM3_ERROR_FORMAT, ""},
    {"{}", CM3_ERROR_FORMAT, "model"},
    {"{\"model\": 3}", CM3_ERROR_FORMAT, "model"},
    {"{\"model\": {}}", CM3_ERROR_FORMAT, "vocab"},
    {"{\"model\": {\"vocab\": []}}", CM3_ERROR_FORMAT, "vocab"},
    {"{\"model\": {\"vocab\": {}}}", CM3_ERROR_FORMAT, "merges"},
    {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", CM3_ERROR_UNSUPPORTED, "WordPiece"},
    {WITH("\"version\": \"2.0\""), CM3_ERROR_VERSION, "2.0"},
    {WITH("\"version\": 1.0"), CM3_ERROR_FORMAT, "version"},
    {"{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", CM3_ERROR_FORMAT,
     "\"a\" and \"b\" both have id 0"},
    {"{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}", CM3_ERROR_FORMAT, "duplicate"},
    {"{\"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}", CM3_ERROR_FORMAT, "id"},
    {"{\"model\": {\"vocab\": {\"a\": 4194304}, \"merges\": []}}", CM3_ERROR_FORMAT, "4194304"},
    {"{\"model\": {\"vocab\": {\"a\": 18446744073709551616}, \"merges\": []}}", CM3_ERROR_FORMAT, "line 1"},
    {"{\"model\": {\"vocab\": {\"a\": \"0\"}, \"merges\": []}}", CM3_ERROR_FORMAT, "\"a\""},
    {"{\"model\": {\"vocab\": {\"a\": 1.5}, \"merges\": []}}", CM3_ERROR_FORMAT, "\"a\""},
    {IN_MODEL("\"merges\": {}"), CM3_ERROR_FORMAT, "merges"},
    {IN_MODEL("\"merges\": [\"a b\", \"a c\"]"), CM3_ERROR_FORMAT, "merge 1: \"c\""},
    {IN_MODEL("\"merges\": [[\"a\", \"a\"]]"), CM3_ERROR_FORMAT, "merge 0: \"aa\""},
    {IN_MODEL("\"merges\": [\"ab\"]"), CM3_ERROR_FORMAT, "merge 0"},
    {IN_MODEL("\"merges\": [\"a b \"]"), CM3_ERROR_FORMAT, "merge 0"},
    {IN_MODEL("\"merges\": [[\"a\"]]"), CM3_ERROR_FORMAT, "merge 0"},
    {IN_MODEL("\"merges\": [[\"a\", 1]]"), CM3_ERROR_FORMAT, "merge 0"},
    {IN_MODEL("\"merges\": [7]"), CM3_ERROR_FORMAT, "merge 0"},
    {IN_MODEL("\"merges\": [\"a b\"], \"continuing_subword_prefix\": \"##\""), CM3_ERROR_FORMAT, "##"},
    {IN_MODEL("\"merges\": [], \"unk_token\": \"<unk>\""), CM3_ERROR_FORMAT, "<unk>"},
    {IN_MODEL("\"merges\": [], \"unk_token\": 4"), CM3_ERROR_FORMAT, "unk_token"},
    {IN_MODEL("\"merges\": [], \"dropout\": 0.1"), CM3_ERROR_UNSUPPORTED, "dropout"},
    {IN_MODEL("\"merges\": [], \"fuse_unk\": 1"), CM3_ERROR_FORMAT, "fuse_unk"},
    {WITH("\"added_tokens\": {}"), CM3_ERROR_FORMAT, "added_tokens"},
    {ADDED("3"), CM3_ERROR_FORMAT, "added_tokens"},
    {ADDED("{\"id\": 7}"), CM3_ERROR_FORMAT, "content"},
    {ADDED("{\"content\": \"x\"}"), CM3_ERROR_FORMAT, "id"},
    {ADDED("{\"content\": \"x\", \"id\": -7}"), CM3_ERROR_FORMAT, "id"},
    {ADDED("{\"content\": \"x\", \"id\": 2}"), CM3_ERROR_FORMAT, "both have id 2"},
    {ADDED("{\"content\": \"ab\", \"id\": 7}"), CM3_ERROR_FORMAT, "the vocabulary gives it 2"},
    {ADDED("{\"content\": \"x\", \"id\": 7}, {\"content\": \"x\", \"id\": 8}"), CM3_ERROR_FORMAT, "twice"},
    {ADDED("{\"content\": \"x\", \"id\": 7, \"lstrip\": \"no\"}"), CM3_ERROR_FORMAT, "lstrip"},
    {WITH("\"normalizer\": {\"type\": \"BertNormalizer\"}"), CM3_ERROR_UNSUPPORTED, "normalizer: \"BertNormalizer\""},
    {WITH("\"normalizer\": {}"), CM3_ERROR_FORMAT, "type"},
    {WITH("\"normalizer\": {\"type\": \"Sequence\"}"), CM3_ERROR_FORMAT, "normalizers"},
    {WITH("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [3]}"), CM3_ERROR_FORMAT, "normalizer"},
    {WITH("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}}"), CM3_ERROR_FORMAT, "content"},
    {WITH("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {}, \"content\": \"\"}"), CM3_ERROR_FORMAT, "pattern"},
    {WITH("\"normalizer\": {\"type\": \"Replace\", \"content\": \"\"}"), CM3_ERROR_FORMAT, "pattern"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Metaspace\"}"), CM3_ERROR_UNSUPPORTED, "pre_tokenizer: \"Metaspace\""},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Removed\"}"),
     CM3_ERROR_UNSUPPORTED, "at byte 2"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, \"behavior\": \"Removed\"}"),
     CM3_ERROR_UNSUPPORTED, "empty"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Eaten\"}"),
     CM3_ERROR_UNSUPPORTED, "Eaten"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Digits\", \"individual_digits\": 1}"), CM3_ERROR_FORMAT,
     "individual_digits"},
    {WITH("\"post_processor\": {\"type\": \"Other\"}"), CM3_ERROR_UNSUPPORTED, "post_processor: \"Other\""},
    {WITH("\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"a\", 0]}"), CM3_ERROR_FORMAT, "cls"},
    {WITH("\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"a\", 0], \"cls\": [\"z\", 9]}"),
     CM3_ERROR_FORMAT, "id"},
    {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}"), CM3_ERROR_UNSUPPORTED, "A once"},
    {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, "
          "{\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {}}"),
     CM3_ERROR_FORMAT, "<s>"},
    {WITH("\"decoder\": {\"type\": \"WordPiece\"}"), CM3_ERROR_UNSUPPORTED, "decoder: \"WordPiece\""},
    {WITH("\"decoder\": {\"type\": \"Strip\"}"), CM3_ERROR_FORMAT, "content"},
    {WITH("\"padding\": {\"strategy\": \"Fixed\"}"), CM3_ERROR_FORMAT, "padding: \"strategy\""},
    {WITH("\"padding\": {\"strategy\": {}}"), CM3_ERROR_FORMAT, "padding: \"strategy\""},
    {WITH("\"padding\": {\"strategy\": {\"Fixed\": 99999999999}}"), CM3_ERROR_FORMAT, "Fixed"},
    {WITH("\"padding\": {\"strategy\": \"BatchLongest\", \"pad_id\": 99}"), CM3_ERROR_FORMAT, "pad_id 99"},
    {WITH("\"truncation\": {}"), CM3_ERROR_FORMAT, "max_length"},
    {WITH("\"truncation\": {\"max_length\": -1}"), CM3_ERROR_FORMAT, "max_length"},
    {WITH("\"truncation\": {\"max_length\": 9, \"direction\": \"Up\"}"), CM3_ERROR_FORMAT, "\"Up\""},
    {WITH("\"truncation\": {\"max_length\": 9, \"strategy\": \"OnlySecond\"}"), CM3_ERROR_UNSUPPORTED, "OnlySecond"},
};

START_TEST(bad_files_are_refused) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = (cm3_bpe *)context;
    const bad_file *file = &bad[_i];
    cm3_status status = cm3_bpe_parse(context, "file.json", file->json, strlen(file->json), &bpe);
    const char *message = cm3_context_message(context);
    ck_assert_msg(status == file->status, "%s: status %d, %s", file->json, status, message);
    ck_assert_ptr_null(bpe);
    ck_assert_msg(strstr(message, file->message) != NULL, "%s: \"%s\" is not in \"%s\"", file->json, file->message,
                  message);
    ck_assert_ptr_nonnull(strstr(message, "file.json"));
    release_context(context);
}
END_TEST

START_TEST(deep_files_are_refused) {
    cm3_context *context = new_context();
    cm3_bpe *bpe;
    char *json = malloc(400000);
    size_t at = 0;
    for (int i = 0; i < 10000; i++) at += (size_t)sprintf(json + at, "{\"normalizer\":");
    ck_assert_int_eq(cm3_bpe_parse(context, "deep", json, at, &bpe), CM3_ERROR_FORMAT);
    free(json);
    release_context(context);
}
END_TEST

/* A pattern may be made to cost without end; that is an error, not a stop. */
START_TEST(costly_patterns_end) {
    cm3_context *context = new_context();
    cm3_bpe *bpe = parse_bpe(context, WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Removed\", "
                                           "\"pattern\": {\"Regex\": \"(a|aa)+(?=c)(a+)+b\\\\1\"}}"));
    char text[4096];
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'c';
    cm3_status status = cm3_bpe_encode(bpe, text, sizeof text, 0, &ids, &count, &capacity);
    ck_assert(status == CM3_OK || status == CM3_ERROR_UNSUPPORTED);
    cm3_free(context, ids);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

START_TEST(old_spellings_are_read) {
    cm3_context *context = new_context();
    cm3_bpe *old = parse_bpe(context, IN_MODEL("\"merges\": [\"#version: 0.2\", \"a b\"]"));
    cm3_bpe *new = parse_bpe(context, IN_MODEL("\"merges\": [[\"a\", \"b\"]]"));
    cm3_bpe *both[] = {old, new};
    for (int i = 0; i < 2; i++) {
        int32_t *ids = NULL;
        size_t count = 0, capacity = 0;
        ck_assert_int_eq(cm3_bpe_encode(both[i], "abba", 4, 0, &ids, &count, &capacity), CM3_OK);
        ck_assert_uint_eq(count, 3);
        ck_assert_int_eq(ids[0], 2);
        cm3_free(context, ids);
        cm3_bpe_destroy(both[i]);
    }
    release_context(context);
}
END_TEST

Suite *format_suite(void) {
    Suite *suite = suite_create("format");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, bad_files_are_refused, 0, sizeof bad / sizeof bad[0]);
    tcase_add_test(all, deep_files_are_refused);
    tcase_add_test(all, costly_patterns_end);
    tcase_add_test(all, old_spellings_are_read);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    return suite;
}
