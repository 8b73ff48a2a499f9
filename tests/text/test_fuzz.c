/* Random damage to files and texts, and memory that runs out at any moment. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "suites.h"
#include "support.h"
#include "support/fixture.h"

/* Encodes and decodes something with whatever a damaged file has become. */
static void use(cm3_context *context, const cm3_bpe *bpe) {
    static const char text[] = "The <s>caf\xc3\xa9's 3 dogs,  don't\xe2\x80\x8b e\xcc\x81 IMGIMGAZ<|endoftext|>\n";
    for (uint32_t flags = 0; flags < 8; flags++) {
        int32_t *ids = NULL;
        char *bytes = NULL;
        size_t count = 0, capacity = 0, size = 0, byte_capacity = 0;
        if (cm3_bpe_encode(bpe, text, sizeof text - 1, flags, &ids, &count, &capacity) == CM3_OK) {
            cm3_status status = cm3_bpe_decode_raw(bpe, ids, count, flags & 1, &bytes, &size, &byte_capacity);
            ck_assert_int_eq(status, CM3_OK);
        }
        cm3_free(context, ids);
        cm3_free(context, bytes);
    }
}

/* Changes some bytes, mostly to others that mean something in JSON, or cuts or doubles a stretch. */
static size_t damage(cm3_random *random, char *json, size_t size) {
    static const char bytes[] = "{}[]\",:0123456789-eE\\u <>truefalsnull\xc4\xa0\xff";
    uint64_t kind = cm3_random_below(random, 6);
    size_t at = cm3_random_below(random, size), length = cm3_random_below(random, size - at < 60 ? size - at : 60);
    if (kind == 0) {
        memmove(json + at, json + at + length, size - at - length);
        return size - length;
    }
    if (kind == 1) {
        memmove(json + at, json + cm3_random_below(random, size - length), length);
        return size;
    }
    if (kind == 2 && cm3_random_below(random, 10) == 0) return at;
    for (uint64_t i = cm3_random_below(random, 3) + 1; i > 0; i--)
        json[cm3_random_below(random, size)] = bytes[cm3_random_below(random, sizeof bytes - 1)];
    return size;
}

/* The head and the tail of a file matter most, where the components are: `whole` of its vocabulary is left out. */
static char *small_file(const char *name, size_t *size) {
    size_t whole;
    char *text = read_data(name, &whole);
    json_t *root = json_loads(text, 0, NULL), *model = json_object_get(root, "model");
    json_t *merges = json_object_get(model, "merges"), *added = json_object_get(root, "added_tokens");
    while (json_array_size(merges) > 12) json_array_remove(merges, json_array_size(merges) - 1);
    while (json_array_size(added) > 5) json_array_remove(added, json_array_size(added) - 1);
    free(text);
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    *size = strlen(text);
    return text;
}

START_TEST(damaged_files_do_no_harm) {
    cm3_context *context = new_context();
    cm3_random random = cm3_random_make(7, (uint64_t)_i);
    size_t size;
    char *json = small_file(_i ? "parity/clip/tokenizer.json" : "parity/chameleon/tokenizer.json", &size);
    char *copy = malloc(size);
    int accepted = 0;
    for (int round = 0; round < test_rounds(1500); round++) {
        memcpy(copy, json, size);
        size_t left = damage(&random, copy, size);
        cm3_bpe *bpe;
        cm3_status status = cm3_bpe_parse(context, "damaged", copy, left, &bpe);
        ck_assert_int_eq(status == CM3_OK, bpe != NULL);
        if (!bpe) continue;
        accepted++;
        use(context, bpe);
        cm3_bpe_destroy(bpe);
    }
    ck_assert_int_gt(accepted, 10);
    free(copy);
    free(json);
    release_context(context);
}
END_TEST

START_TEST(any_bytes_are_text_or_refused) {
    cm3_context *context = new_context();
    cm3_random random = cm3_random_make(8, 0);
    cm3_bpe *bpe = load_bpe(context, _i ? "parity/clip/tokenizer.json" : "parity/chameleon/tokenizer.json");
    int32_t *ids = NULL;
    size_t capacity = 0;
    for (int round = 0; round < test_rounds(3000); round++) {
        char text[40];
        size_t size = cm3_random_below(&random, sizeof text), count = 0;
        uint64_t most = round & 1 ? 256 : 128;
        for (size_t i = 0; i < size; i++) text[i] = (char)cm3_random_below(&random, most);
        cm3_status status = cm3_bpe_encode(bpe, text, size, (uint32_t)round & 3, &ids, &count, &capacity);
        ck_assert_int_eq(status, cm3_utf8_check(context, "text", text, size));
    }
    cm3_free(context, ids);
    cm3_bpe_destroy(bpe);
    release_context(context);
}
END_TEST

/* An allocator that fails once, at the given call. */
typedef struct failing {
    int left;
    size_t live;
} failing;

static void *fail_alloc(void *user, size_t size, size_t alignment) {
    failing *state = user;
    if (state->left-- == 0) return NULL;
    state->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void fail_free(void *user, void *pointer, size_t size) {
    (void)size;
    ((failing *)user)->live--;
    free(pointer);
}

/* Trains, formats, parses, encodes and decodes; the first failure ends it. */
static cm3_status everything(cm3_context *context, const char *json, size_t size) {
    static const char text[] = "The <s>caf\xc3\xa9 A\xcc\x8a's don't don't   don't";
    const char *const specials[] = {"<s>"};
    cm3_bpe_train_options options = {.vocab_size = 270, .min_frequency = 1, .specials = specials, .special_count = 1};
    cm3_bpe_trainer *trainer = NULL;
    cm3_bpe *bpe = NULL, *trained = NULL;
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count = 0, capacity = 0, made = 0, byte_capacity = 0;
    cm3_status status;
    CM3_TRY_GOTO(cm3_bpe_parse(context, "file", json, size, &bpe), end);
    CM3_TRY_GOTO(cm3_bpe_encode(bpe, text, sizeof text - 1, 3, &ids, &count, &capacity), end);
    CM3_TRY_GOTO(cm3_bpe_decode_raw(bpe, ids, count, false, &bytes, &made, &byte_capacity), end);
    CM3_TRY_GOTO(cm3_utf8_lossy(context, "\xff\xff", 2, &bytes, &made, &byte_capacity), end);
    CM3_TRY_GOTO(cm3_bpe_trainer_create(context, &options, &trainer), end);
    CM3_TRY_GOTO(cm3_bpe_trainer_add(trainer, text, sizeof text - 1), end);
    status = cm3_bpe_trainer_finish(trainer, &trained);
end:
    cm3_free(context, ids);
    cm3_free(context, bytes);
    cm3_bpe_destroy(bpe);
    cm3_bpe_destroy(trained);
    cm3_bpe_trainer_destroy(trainer);
    return status;
}

START_TEST(memory_may_run_out) {
    size_t size;
    char *json = small_file("parity/clip/tokenizer.json", &size);
    failing state = {-1, 0};
    const cm3_allocator allocator = {fail_alloc, fail_free, &state};
    cm3_context_options options;
    cm3_context *context;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    size_t live = state.live;
    ck_assert_int_eq(everything(context, json, size), CM3_OK);
    /* The vocabulary's own allocations are many and alike, so steps widen. */
    int failures = 0;
    for (int at = 0; failures < 100000; at += 1 + at / 150, failures++) {
        state.left = at;
        cm3_status status = everything(context, json, size);
        bool reached = state.left < 0;
        state.left = -1;
        ck_assert_uint_eq(state.live, live);
        if (!reached) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
    }
    ck_assert_int_gt(failures, 50);
    cm3_context_destroy(context);
    ck_assert_uint_eq(state.live, 0);
    free(json);
}
END_TEST

Suite *fuzz_suite(void) {
    Suite *suite = suite_create("fuzz");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, damaged_files_do_no_harm, 0, 2);
    tcase_add_loop_test(all, any_bytes_are_text_or_refused, 0, 2);
    tcase_add_test(all, memory_may_run_out);
    tcase_set_timeout(all, 240);
    suite_add_tcase(suite, all);
    return suite;
}
