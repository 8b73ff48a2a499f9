/* Files changed at random: whatever comes, an answer and no crash. CM3_FUZZ_ROUNDS asks for more than the usual. */
#include "base/random.h"
#include "files/safetensors.h"
#include "suites.h"
#include "support/fixture.h"
#ifdef CM3_WITH_TRAIN
#include "files/shard.h"
#endif

static test_fixture t;
static cm3_random random_state;

static void set_up(void) {
    test_fixture_up(&t);
    random_state = cm3_random_make(2024, 1);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static size_t below(size_t n) {
    return (size_t)cm3_random_below(&random_state, n);
}

/* Pieces that headers are made of, for edits that get past the JSON parser more often than flipped bits do. */
static const char *const words[] = {"0",
                                    "-1",
                                    "1",
                                    "16",
                                    "4294967296",
                                    "9223372036854775807",
                                    "1e300",
                                    "null",
                                    "[]",
                                    "{}",
                                    "\"\"",
                                    "[[",
                                    "\"F32\"",
                                    "\"U8\"",
                                    "true",
                                    "[0,0]",
                                    "\"a\"",
                                    "\"dtype\"",
                                    "\"shape\"",
                                    "\"data_offsets\"",
                                    "\"__metadata__\""};

/* Changes a copy of `data` in `out` (which has room for 64 bytes more) and returns its size. */
static size_t mutate(const char *data, size_t size, size_t text_end, char *out) {
    memcpy(out, data, size);
    size_t edits = 1 + below(4);
    for (size_t i = 0; i < edits && size > 0; ++i) {
        size_t end = below(3) == 0 || text_end > size ? size : text_end;
        size_t at = below(end);
        switch (below(6)) {
        case 0:
            out[at] = (char)(out[at] ^ 1 << below(8));
            break;
        case 1:
            out[at] = (char)below(256);
            break;
        case 2:
            size = at;
            break;
        case 3:
            out[at] = "0123456789-[]{},:\"\\ "[below(20)];
            break;
        case 4:
            memmove(out + at, out + at + 1, size - at - 1);
            --size;
            break;
        default: {
            const char *word = words[below(sizeof words / sizeof *words)];
            size_t length = strlen(word);
            memcpy(out + at, word, length < size - at ? length : size - at);
        }
        }
    }
    return size;
}

/* Touches what a reader would touch. */
static uint64_t read_everything(const cm3_safetensors *tensors) {
    uint64_t sum = 0;
    for (size_t i = 0; i < cm3_safetensors_count(tensors); ++i) {
        const cm3_entry *entry = cm3_safetensors_at(tensors, i);
        for (size_t j = 0; j < entry->size; ++j) sum += ((const uint8_t *)entry->data)[j];
        sum += strlen(entry->name) + (cm3_safetensors_find(tensors, entry->name) == entry);
    }
    return sum;
}

START_TEST(safetensors) {
    size_t size;
    char *data = test_get(CM3_TEST_DATA "/files/small.safetensors", &size);
    size_t text_end = 8 + (unsigned char)data[0] + 256 * (size_t)(unsigned char)data[1];
    ck_assert_uint_lt(text_end, size);
    int opened = 0, refused = 0;
    uint64_t sum = 0;
    for (int i = 0; i < test_rounds(20000); ++i) {
        char *copy = malloc(size + 64);
        size_t changed = mutate(data, size, text_end, copy);
        copy = realloc(copy, changed + (changed == 0)); /* so that a step beyond the end is seen */
        cm3_file *file;
        cm3_safetensors *tensors;
        ck_assert_int_eq(cm3_file_from_memory(t.context, copy, changed, &file), CM3_OK);
        cm3_status status = cm3_safetensors_open(t.context, file, &tensors);
        ck_assert((tensors != NULL) == (status == CM3_OK));
        if (status == CM3_OK) {
            ++opened;
            sum += read_everything(tensors);
        } else {
            ++refused;
            ck_assert(status == CM3_ERROR_FORMAT || status == CM3_ERROR_TRUNCATED || status == CM3_ERROR_UNSUPPORTED);
            ck_assert_str_ne(cm3_context_message(t.context), "");
        }
        cm3_safetensors_close(tensors);
        cm3_file_release(file);
        free(copy);
    }
    ck_assert_uint_gt(sum, 0);
    ck_assert_int_gt(opened, 0);
    ck_assert_int_gt(refused, opened);
    free(data);
}
END_TEST

#ifdef CM3_WITH_TRAIN
START_TEST(tar) {
    static const char *const names[] = {CM3_TEST_DATA "/files/pax.tar", CM3_TEST_DATA "/files/gnu.tar"};
    size_t size;
    char *data = test_get(names[_i], &size);
    const char *path = test_path(&t, "fuzzed.tar");
    char *copy = malloc(size + 64);
    for (int i = 0; i < test_rounds(1500); ++i) {
        test_put(path, copy, mutate(data, size, size, copy));
        cm3_shard *shard;
        cm3_status status = cm3_shard_open(t.context, path, &shard);
        bool more = status == CM3_OK;
        for (int records = 0; more && records < 100; ++records) {
            cm3_record record;
            status = cm3_shard_next(shard, &record, &more);
            ck_assert(status == CM3_OK || !more);
            ck_assert(more == (record.key != NULL));
            cm3_record_clear(t.context, &record);
        }
        cm3_shard_close(shard);
    }
    free(copy);
    free(data);
}
END_TEST
#endif

Suite *fuzz_suite(void) {
    Suite *suite = suite_create("fuzz");
    TCase *tests = tcase_create("fuzz");
    tcase_set_timeout(tests, 500);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, safetensors);
#ifdef CM3_WITH_TRAIN
    tcase_add_loop_test(tests, tar, 0, 2);
#endif
    suite_add_tcase(suite, tests);
    return suite;
}
