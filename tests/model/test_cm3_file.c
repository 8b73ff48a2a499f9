/* .cm3 files: written, read back, and refused when anything is wrong with them. */
#include <math.h>

#include "base/random.h"
#include "suites.h"
#include "support/tiny_model.h"

static test_fixture f;
static uint8_t *bytes; /**< a whole, good file */
static size_t size;

static void setup(void) {
    test_fixture_up(&f);
    const char *path = test_path(&f, "tiny.cm3");
    tiny_model_write(f.context, path, false);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    fseek(file, 0, SEEK_END);
    size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(size);
    ck_assert_uint_eq(fread(bytes, 1, size, file), size);
    fclose(file);
}

static void teardown(void) {
    free(bytes);
    test_fixture_down(&f);
}

static void logits_of(const cm3_model *model, float *logits) {
    const int32_t ids[] = {1, 40, 41, 42, 2, 20, 21};
    ck_assert_msg(cm3_model_logits(model, ids, 7, CM3_COMPUTE_F32, logits) == CM3_OK, "%s",
                  cm3_context_message(f.context));
}

static int read_at(void *user, uint64_t offset, void *buffer, size_t count) {
    (void)user;
    if (offset > size || count > size - offset) return 1;
    memcpy(buffer, bytes + offset, count);
    return 0;
}

START_TEST(test_path_memory_and_io_give_the_same) {
    cm3_model *models[4] = {NULL};
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = 1;
    cm3_io io = {.struct_size = sizeof io, .read_at = read_at, .size = size};
    ck_assert_int_eq(cm3_model_load(f.context, test_path(&f, "tiny.cm3"), &options, &models[0]), CM3_OK);
    ck_assert_int_eq(cm3_model_load_memory(f.context, bytes, size, &options, &models[1]), CM3_OK);
    ck_assert_int_eq(cm3_model_load_io(f.context, &io, &options, &models[2]), CM3_OK);
    options.mode = CM3_LOAD_HUGE;
    ck_assert_int_eq(cm3_model_load(f.context, test_path(&f, "tiny.cm3"), &options, &models[3]), CM3_OK);
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_get_info(models[0], &info), CM3_OK);
    ck_assert_uint_eq(info.parts, CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER);
    float *logits = calloc(2 * 7 * (size_t)info.vocab_size, sizeof *logits), *others = logits + 7 * info.vocab_size;
    logits_of(models[0], logits);
    for (int i = 1; i < 4; i++) {
        logits_of(models[i], others);
        ck_assert_mem_eq(logits, others, 7 * (size_t)info.vocab_size * sizeof *logits);
    }
    for (int i = 0; i < 4; i++) cm3_model_destroy(models[i]);
    free(logits);
}
END_TEST

/** Loading must fail with one of the statuses for files, with a message, and without a handle. */
static cm3_status refused(const uint8_t *data, size_t count) {
    cm3_model *model = (cm3_model *)bytes;
    cm3_status status = cm3_model_load_memory(f.context, data, count, NULL, &model);
    if (status == CM3_OK) {
        cm3_model_destroy(model);
        return status;
    }
    ck_assert_ptr_null(model);
    ck_assert_str_ne(cm3_context_message(f.context), "");
    return status;
}

START_TEST(test_cut_files_are_refused) {
    for (size_t cut = 0; cut < size; cut += cut < 4096 ? 131 : size / 40) ck_assert_int_ne(refused(bytes, cut), CM3_OK);
    ck_assert_int_ne(refused(bytes, size - 1), CM3_OK);
}
END_TEST

START_TEST(test_mutated_files_never_crash) {
    cm3_random random = cm3_random_make(7, 7);
    uint8_t *copy = malloc(size);
    for (int round = 0; round < 400; round++) {
        memcpy(copy, bytes, size);
        for (int k = 0; k < 3; k++) {
            size_t range = round % 2 ? size : 6000;
            copy[cm3_random_below(&random, range < size ? range : size)] ^=
                (uint8_t)(1u << cm3_random_below(&random, 8));
        }
        refused(copy, size);
    }
    free(copy);
}
END_TEST

/** The file with `from` replaced by `to` of the same length in its header. */
static cm3_status with(const char *from, const char *to) {
    uint8_t *copy = malloc(size);
    size_t length = strlen(from);
    ck_assert_uint_eq(length, strlen(to));
    memcpy(copy, bytes, size);
    uint8_t *place = memmem(copy, size, from, length);
    ck_assert_msg(place != NULL, "%s is not in the header", from);
    memcpy(place, to, length);
    cm3_status status = refused(copy, size);
    free(copy);
    return status;
}

START_TEST(test_each_kind_of_damage_is_told) {
    ck_assert_int_eq(with("\"version\":\"1\"", "\"version\":\"9\""), CM3_ERROR_VERSION);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(f.context), "'9'"));
    ck_assert_int_eq(with("\"format\":\"cm3\"", "\"format\":\"cmx\""), CM3_ERROR_FORMAT);
    ck_assert_int_eq(with("lm.lm_head.weight", "lm.lm_heat.weight"), CM3_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(f.context), "lm_head"));
    ck_assert_int_eq(with("\\\"layers\\\":2", "\\\"layers\\\":3"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(with("\\\"heads\\\":2,", "\\\"heads\\\":1,"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(with("vq.quant_conv.bias", "vq.quant_conv.bios"), CM3_ERROR_FORMAT);
}
END_TEST

START_TEST(test_values_that_are_no_numbers_are_refused) {
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    const float nan_value = NAN;
    memcpy(copy + 8 + header, &nan_value, sizeof nan_value); /* the first value of the first tensor */
    ck_assert_int_eq(refused(copy, size), CM3_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(f.context), "embed_tokens"));
    cm3_model *model = NULL;
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.check_weights = 0;
    ck_assert_int_eq(cm3_model_load_memory(f.context, copy, size, &options, &model), CM3_OK);
    cm3_model_destroy(model);
    options.verify_checksum = 1;
    ck_assert_int_eq(cm3_model_load_memory(f.context, copy, size, &options, &model), CM3_ERROR_CHECKSUM);
    free(copy);
}
END_TEST

START_TEST(test_wrong_arguments) {
    cm3_model *model = NULL;
    float logits[4];
    const int32_t ids[] = {1, 100000};
    ck_assert_int_eq(cm3_model_load(NULL, "x", NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load(f.context, NULL, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load(f.context, "x", NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load(f.context, test_path(&f, "missing"), NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_model_load_memory(f.context, NULL, 1, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load_io(f.context, NULL, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(NULL, ids, 1, CM3_COMPUTE_F32, logits), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load_memory(f.context, bytes, size, NULL, &model), CM3_OK);
    ck_assert_int_eq(cm3_model_logits(model, ids, 0, CM3_COMPUTE_F32, logits), CM3_ERROR_INVALID_ARGUMENT);
    float *room = calloc(2048, sizeof *room);
    ck_assert_int_eq(cm3_model_logits(model, ids, 2, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    int32_t many[201] = {0};
    ck_assert_int_eq(cm3_model_logits(model, many, 201, CM3_COMPUTE_F32, room), CM3_ERROR_TOO_LONG);
    free(room);
    cm3_model_destroy(model);
    cm3_model_destroy(NULL);
}
END_TEST

Suite *cm3_file_suite(void) {
    Suite *suite = suite_create("cm3_file");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 120);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, test_path_memory_and_io_give_the_same);
    tcase_add_test(all, test_cut_files_are_refused);
    tcase_add_test(all, test_mutated_files_never_crash);
    tcase_add_test(all, test_each_kind_of_damage_is_told);
    tcase_add_test(all, test_values_that_are_no_numbers_are_refused);
    tcase_add_test(all, test_wrong_arguments);
    suite_add_tcase(suite, all);
    return suite;
}
