/* Resampling, against Pillow's bytes. */
#include "image/resample.h"
#include "pictures.h"
#include "suites.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

START_TEST(as_pillow) {
    size_t size, at = 0;
    char *data = test_get(CM3_TEST_DATA "/image/resample.bin", &size);
    int cases = 0;
    while (at < size) {
        uint32_t head[6]; /* width, height, seed, new width, new height, filter */
        ck_assert_uint_le(at + sizeof head, size);
        memcpy(head, data + at, sizeof head);
        at += sizeof head;
        int32_t width = (int32_t)head[3], height = (int32_t)head[4];
        size_t bytes = 3 * (size_t)width * (size_t)height;
        ck_assert_uint_le(at + bytes, size);
        cm3_image *image = test_noise_image(&t, (int32_t)head[0], (int32_t)head[1], head[2]), *resized, *wanted;
        ck_assert_int_eq(cm3_image_resize(image, width, height, (cm3_filter)head[5], &resized), CM3_OK);
        ck_assert_int_eq(cm3_image_from_pixels(t.context, (const uint8_t *)data + at, width, height, 0, &wanted),
                         CM3_OK);
        char what[128];
        snprintf(what, sizeof what, "%u x %u to %d x %d by filter %u", head[0], head[1], width, height, head[5]);
        test_same(what, resized, wanted);
        cm3_image_destroy(image);
        cm3_image_destroy(resized);
        cm3_image_destroy(wanted);
        at += bytes;
        ++cases;
    }
    ck_assert_int_gt(cases, 100);
    free(data);
}
END_TEST

/* A window shows what a crop of the whole shows. */
START_TEST(window) {
    static const int32_t sizes[][4] = {{50, 40, 31, 22}, {50, 40, 80, 90}, {90, 200, 70, 30}, {40, 40, 40, 17},
                                       {40, 40, 23, 40}, {33, 44, 33, 44}, {3, 200, 5, 20}};
    const int32_t *s = sizes[_i];
    cm3_image *image = test_noise_image(&t, s[0], s[1], (uint32_t)_i), *whole;
    ck_assert_int_eq(cm3_image_resize(image, s[2], s[3], CM3_FILTER_LANCZOS, &whole), CM3_OK);
    for (int32_t i = 0; i < 4; ++i) {
        cm3_window w = {s[2] * i / 5, s[3] * i / 7, 0, 0};
        w.width = (s[2] - w.x + 1) / 2;
        w.height = (s[3] - w.y + 2) / 3;
        cm3_image *part, *cropped;
        ck_assert_int_eq(cm3_resample(image, s[2], s[3], CM3_FILTER_LANCZOS, &w, &part), CM3_OK);
        ck_assert_int_eq(cm3_image_crop(whole, w.x, w.y, w.width, w.height, &cropped), CM3_OK);
        test_same("window", part, cropped);
        cm3_image_destroy(part);
        cm3_image_destroy(cropped);
    }
    cm3_image_destroy(whole);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(out_of_range) {
    static const int32_t sizes[][2] = {
        {0, 1}, {1, 0}, {-1, 5}, {5, -1}, {65501, 1}, {1, 65501}, {INT32_MIN, INT32_MAX}};
    cm3_image *image = test_noise_image(&t, 5, 4, 0), *resized;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        resized = image;
        ck_assert_int_eq(cm3_image_resize(image, sizes[i][0], sizes[i][1], CM3_FILTER_BICUBIC, &resized),
                         CM3_ERROR_INVALID_ARGUMENT);
        ck_assert_ptr_null(resized);
        ck_assert(test_says(&t, "65500"));
    }
    ck_assert_int_eq(cm3_image_resize(image, 65500, 65500, CM3_FILTER_BICUBIC, &resized), CM3_ERROR_NO_MEMORY);
    ck_assert_int_eq(cm3_image_resize(image, 4, 4, (cm3_filter)0, &resized), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_resize(image, 4, 4, (cm3_filter)3, &resized), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&t, "filter 3"));
    ck_assert_int_eq(cm3_image_resize(image, 4, 4, CM3_FILTER_LANCZOS, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_resize(NULL, 4, 4, CM3_FILTER_LANCZOS, &resized), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(resized);
    static const cm3_window outside[] = {{-1, 0, 2, 2}, {0, -1, 2, 2}, {9, 0, 2, 2},  {0, 9, 2, 2},
                                         {0, 0, 0, 2},  {0, 0, 2, 0},  {0, 0, 11, 2}, {INT32_MAX, 0, 2, 2}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; ++i) {
        ck_assert_int_eq(cm3_resample(image, 10, 10, CM3_FILTER_LANCZOS, &outside[i], &resized),
                         CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_image_destroy(image);
}
END_TEST

START_TEST(no_memory) {
    cm3_image *image = test_noise_image(&t, 20, 90, 0), *resized;
    for (int order = 0; order < 2; ++order) {
        int32_t height = order == 0 ? 10 : 80;
        int n = 0;
        for (;; ++n) {
            test_allocator_fail(&t.memory, n, 1);
            cm3_status status = cm3_image_resize(image, 15, height, CM3_FILTER_LANCZOS, &resized);
            test_allocator_fail(&t.memory, -1, 0);
            if (status == CM3_OK) break;
            ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
            ck_assert_ptr_null(resized);
        }
        cm3_image_destroy(resized);
        ck_assert_int_gt(n, 5);
    }
    cm3_image_destroy(image);
}
END_TEST

Suite *resample_suite(void) {
    Suite *suite = suite_create("resample");
    TCase *tests = tcase_create("resample");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, as_pillow);
    tcase_add_loop_test(tests, window, 0, 7);
    tcase_add_test(tests, out_of_range);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return suite;
}
