/* Where models come from: paths in any script, memory, a host's own file system; and what a failure says. */
#include <stdlib.h>
#include <sys/stat.h>

#include "host.h"
#include "suites.h"

static uint8_t *read_model(size_t *size) {
    FILE *file = fopen(HOST_MODEL, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size);
    ck_assert_uint_eq(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* What a model says, to compare it with itself. */
static uint64_t words_of(host *h, cm3_model *model) {
    cm3_model *own = h->model;
    cm3_generate_options options = host_words(5);
    h->model = model;
    uint64_t sum = host_generate(h, &options);
    h->model = own;
    cm3_model_destroy(model);
    return sum;
}

typedef struct pack {
    const uint8_t *data;
    size_t size;
    int calls, fail_at;
} pack;

static int read_at(void *user, uint64_t offset, void *buffer, size_t size) {
    pack *p = user;
    if (p->calls++ == p->fail_at) return -7;
    ck_assert_uint_le(offset + size, p->size);
    memcpy(buffer, p->data + offset, size);
    return 0;
}

/* The same model from a path, from memory and through I/O says the same. */
START_TEST(path_memory_and_io) {
    host h;
    size_t size;
    host_up(&h, 0);
    uint8_t *data = read_model(&size);
    cm3_generate_options options = host_words(5);
    uint64_t expected = host_generate(&h, &options);
    cm3_model *model;
    HOST_OK(&h, cm3_model_load_memory(h.context, data, size, NULL, &model));
    ck_assert_uint_eq(words_of(&h, model), expected);
    pack p = {.data = data, .size = size, .fail_at = -1};
    cm3_io io = {.struct_size = sizeof io, .read_at = read_at, .size = size, .user = &p};
    HOST_OK(&h, cm3_model_load_io(h.context, &io, NULL, &model));
    ck_assert_int_gt(p.calls, 0);
    int calls = p.calls;
    ck_assert_uint_eq(words_of(&h, model), expected);
    ck_assert_int_eq(p.calls, calls); /* all was read before the call returned */
    p.calls = 0, p.fail_at = 0;
    ck_assert_int_eq(cm3_model_load_io(h.context, &io, NULL, &model), CM3_ERROR_IO);
    ck_assert_ptr_null(model);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(h.context), "-7"));
    free(data);
    host_down(&h);
}
END_TEST

/* Paths are bytes of UTF-8, whatever the locale is. */
START_TEST(paths_of_any_script) {
    static const char *const names[] = {"café", "модель", "模型 一", "🦊 e\xcc\x81"};
    char folder[] = "/tmp/cm3-embedding-XXXXXX", path[256], picture[300];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    host h;
    host_up(&h, 0);
    cm3_generate_options options = host_words(5);
    uint64_t expected = host_generate(&h, &options);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s.cm3", folder, names[i]);
        snprintf(picture, sizeof picture, "%s/%s.png", folder, names[i]);
        ck_assert_int_eq(symlink(HOST_MODEL, path), 0);
        cm3_model *model;
        HOST_OK(&h, cm3_model_load(h.context, path, NULL, &model));
        ck_assert_uint_eq(words_of(&h, model), expected);
        cm3_image *image;
        HOST_OK(&h, cm3_image_create(h.context, 3, 2, &image));
        HOST_OK(&h, cm3_image_save(image, picture, NULL));
        cm3_image_destroy(image);
        HOST_OK(&h, cm3_image_load(h.context, picture, &image));
        cm3_image_destroy(image);
        unlink(path);
        unlink(picture);
        ck_assert_int_eq(cm3_model_load(h.context, path, NULL, &model), CM3_ERROR_NOT_FOUND);
        ck_assert_ptr_nonnull(strstr(cm3_context_message(h.context), names[i]));
    }
    rmdir(folder);
    host_down(&h);
}
END_TEST

/* Each way to fail has a status of its own, and a message with the file and what is wrong with it. */
START_TEST(failures_have_reasons) {
    char path[] = "/tmp/cm3-embedding-XXXXXX";
    int file = mkstemp(path);
    host h;
    size_t size;
    host_context(&h, 0);
    uint8_t *data = read_model(&size);
    cm3_model *model;
    struct {
        const char *what;
        size_t size;
        cm3_status expected;
    } cases[] = {
        {"half of it", size / 2, CM3_ERROR_TRUNCATED},
        {"its first bytes", 5, CM3_ERROR_TRUNCATED},
        {"nothing", 0, CM3_ERROR_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(ftruncate(file, 0), 0);
        ck_assert_int_eq(pwrite(file, data, cases[i].size, 0), (ssize_t)cases[i].size);
        ck_assert_msg(cm3_model_load(h.context, path, NULL, &model) == cases[i].expected, "%s: %s", cases[i].what,
                      cm3_context_message(h.context));
        ck_assert_ptr_null(model);
        ck_assert_ptr_nonnull(strstr(cm3_context_message(h.context), path));
    }
    data[size - 1] ^= 1; /* in the midst of the weights: found where it is asked for */
    ck_assert_int_eq(ftruncate(file, 0), 0);
    ck_assert_int_eq(pwrite(file, data, size, 0), (ssize_t)size);
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = 1;
    ck_assert_int_eq(cm3_model_load(h.context, path, &options, &model), CM3_ERROR_CHECKSUM);
    ck_assert_int_eq(cm3_model_load(h.context, "/nowhere.cm3", NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(ftruncate(file, 0), 0);
    ck_assert_int_eq(pwrite(file, "0123456789abcdef0123456789abcdef", 32, 0), 32);
    ck_assert_int_ne(cm3_model_load(h.context, path, NULL, &model), CM3_OK);
    free(data);
    close(file);
    unlink(path);
    host_down(&h);
}
END_TEST

/* Memory is told before loading and bounded while loading: tests/generate/test_memory.c has the numbers. */
START_TEST(memory_is_known_and_bounded) {
    host h;
    host_context(&h, 0);
    cm3_load_options load;
    cm3_load_options_init(&load);
    load.mode = CM3_LOAD_HUGE;
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
    HOST_OK(&h, cm3_estimate_file(h.context, HOST_MODEL, &load, NULL, 20, &estimate));
    ck_assert_uint_gt(estimate.load, estimate.weights);
    load.max_bytes = estimate.weights / 2;
    cm3_memory_stats before = {.struct_size = sizeof before}, after = before;
    HOST_OK(&h, cm3_context_memory(h.context, &before));
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(h.context, HOST_MODEL, &load, &model), CM3_ERROR_NO_MEMORY);
    HOST_OK(&h, cm3_context_memory(h.context, &after));
    ck_assert_uint_eq(after.live_bytes, before.live_bytes);
    load.max_bytes = 2 * estimate.load;
    HOST_OK(&h, cm3_model_load(h.context, HOST_MODEL, &load, &model));
    cm3_model_destroy(model);
    host_down(&h);
}
END_TEST

Suite *loading_suite(void) {
    Suite *suite = suite_create("embedding/loading");
    TCase *tcase = tcase_create("loading");
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, path_memory_and_io);
    tcase_add_test(tcase, paths_of_any_script);
    tcase_add_test(tcase, failures_have_reasons);
    tcase_add_test(tcase, memory_is_known_and_bounded);
    suite_add_tcase(suite, tcase);
    return suite;
}
