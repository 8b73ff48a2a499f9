/* Reading JPEG and PNG: the pixels that Pillow shows. */
#include "pictures.h"
#include "suites.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static cm3_image *expected(const char *name) {
    char path[512];
    snprintf(path, sizeof path, CM3_TEST_DATA "/image/expected/%s.png", name);
    return test_load(&t, path);
}

START_TEST(as_pillow) {
    const char *name = test_pictures[_i];
    char path[512];
    snprintf(path, sizeof path, PICTURES "%s", name);
    cm3_image *image = test_load(&t, path), *wanted = expected(name);
    test_same(name, image, wanted);
    cm3_image_destroy(wanted);

    size_t size;
    char *data = test_get(path, &size);
    cm3_image *from_memory;
    ck_assert_int_eq(cm3_image_load_memory(t.context, data, size, &from_memory), CM3_OK);
    free(data);
    test_same(name, image, from_memory);
    cm3_image_destroy(from_memory);
    cm3_image_destroy(image);
}
END_TEST

/* The expected pixels are PNGs themselves: this one is known without a decoder. */
START_TEST(known_pixels) {
    cm3_image *image = expected("rgb-noise.png"), *noise = test_noise_image(&t, 23, 11, 4);
    test_same("rgb-noise", image, noise);
    cm3_image_destroy(image);
    cm3_image_destroy(noise);
}
END_TEST

START_TEST(not_there) {
    cm3_image *image = (cm3_image *)&t;
    ck_assert_int_eq(cm3_image_load(t.context, test_path(&t, "none.jpg"), &image), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(image);
    ck_assert(test_says(&t, "none.jpg"));
    image = (cm3_image *)&t;
    ck_assert_int_ne(cm3_image_load(t.context, t.folder, &image), CM3_OK);
    ck_assert_ptr_null(image);
}
END_TEST

START_TEST(null_arguments) {
    cm3_image *image = (cm3_image *)&t;
    ck_assert_int_eq(cm3_image_load(NULL, "a.png", &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(image);
    ck_assert_int_eq(cm3_image_load(t.context, NULL, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_load(t.context, "a.png", NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_load_memory(NULL, "a", 1, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_load_memory(t.context, NULL, 1, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_load_memory(t.context, "a", 1, NULL), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

/* Whichever allocation fails, the answer is NO_MEMORY and nothing is left behind. */
START_TEST(no_memory) {
    const char *name = test_pictures[_i];
    char path[512];
    snprintf(path, sizeof path, PICTURES "%s", name);
    size_t size;
    char *data = test_get(path, &size);
    int n = 0;
    for (;; ++n) {
        cm3_image *image;
        test_allocator_fail(&t.memory, n, 1);
        cm3_status status = cm3_image_load_memory(t.context, data, size, &image);
        test_allocator_fail(&t.memory, -1, 0);
        cm3_image_destroy(image);
        if (status == CM3_OK) break;
        ck_assert_msg(status == CM3_ERROR_NO_MEMORY, "%s, allocation %d: %s", name, n, cm3_context_message(t.context));
        ck_assert_ptr_null(image);
    }
    ck_assert_int_ge(n, 1);
    free(data);
}
END_TEST

Suite *decode_suite(void) {
    Suite *suite = suite_create("decode");
    TCase *tests = tcase_create("decode");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, known_pixels);
    tcase_add_loop_test(tests, as_pillow, 0, TEST_PICTURE_COUNT);
    tcase_add_test(tests, not_there);
    tcase_add_test(tests, null_arguments);
    tcase_add_loop_test(tests, no_memory, 0, TEST_PICTURE_COUNT);
    suite_add_tcase(suite, tests);
    return suite;
}
