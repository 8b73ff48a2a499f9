/* Pictures as objects: making, views, holds, cropping, contact sheets. */
#include <pthread.h>

#include "pictures.h"
#include "suites.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static const uint8_t *pixel(const cm3_image *image, int32_t x, int32_t y) {
    cm3_image_view view = test_view(image);
    return view.pixels + (size_t)y * view.stride + 3 * (size_t)x;
}

START_TEST(black) {
    cm3_image *image;
    ck_assert_int_eq(cm3_image_create(t.context, 7, 5, &image), CM3_OK);
    cm3_image_view view = test_view(image);
    ck_assert_int_eq(view.width, 7);
    ck_assert_int_eq(view.height, 5);
    ck_assert_uint_ge(view.stride, 21);
    for (int32_t y = 0; y < 5; ++y) {
        for (int32_t x = 0; x < 7; ++x) ck_assert_mem_eq(pixel(image, x, y), "\0\0\0", 3);
    }
    view.pixels[4 * view.stride + 20] = 9; /* drawing into it */
    ck_assert_uint_eq(pixel(image, 6, 4)[2], 9);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(sizes_out_of_range) {
    static const int32_t sizes[][2] = {
        {0, 1}, {1, 0}, {-5, 1}, {1, -5}, {65501, 1}, {1, 65501}, {INT32_MAX, INT32_MAX}, {INT32_MIN, INT32_MIN}};
    uint8_t bytes[3] = {1, 2, 3};
    cm3_image *source = test_noise_image(&t, 3, 3, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        cm3_image *image = source;
        ck_assert_int_eq(cm3_image_create(t.context, sizes[i][0], sizes[i][1], &image), CM3_ERROR_INVALID_ARGUMENT);
        ck_assert_ptr_null(image);
        ck_assert(test_says(&t, "65500"));
        image = source;
        ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, sizes[i][0], sizes[i][1], 0, &image),
                         CM3_ERROR_INVALID_ARGUMENT);
        ck_assert_ptr_null(image);
        image = source;
        ck_assert_int_eq(cm3_image_crop(source, 0, 0, sizes[i][0], sizes[i][1], &image), CM3_ERROR_INVALID_ARGUMENT);
        ck_assert_ptr_null(image);
    }
    cm3_image *image;
    ck_assert_int_eq(cm3_image_create(t.context, 65500, 65500, &image), CM3_ERROR_NO_MEMORY);
    ck_assert(test_says(&t, "178956970"));
    ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, 2, 1, 5, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, 1, 65500, SIZE_MAX / 2, &image),
                     CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(source);
}
END_TEST

START_TEST(null_arguments) {
    uint8_t bytes[3] = {1, 2, 3};
    cm3_image *image = (cm3_image *)&t;
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_create(NULL, 1, 1, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(image);
    ck_assert_int_eq(cm3_image_create(t.context, 1, 1, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_from_pixels(NULL, bytes, 1, 1, 0, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_from_pixels(t.context, NULL, 1, 1, 0, &image), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, 1, 1, 0, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_get_view(NULL, &view), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(view.pixels);
    ck_assert_int_eq(cm3_image_retain(NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_crop(NULL, 0, 0, 1, 1, &image), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(NULL);
    cm3_buffer_free(t.context, NULL, 0);
    cm3_buffer_free(NULL, NULL, 0);

    ck_assert_int_eq(cm3_image_create(t.context, 1, 1, &image), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(image, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_crop(image, 0, 0, 1, 1, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(from_pixels) {
    uint8_t bytes[2 * 20];
    for (int i = 0; i < 40; ++i) bytes[i] = (uint8_t)(i + 1);
    cm3_image *image;
    ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, 4, 2, 20, &image), CM3_OK);
    bytes[0] = 99; /* copied: it makes no difference */
    ck_assert_uint_eq(pixel(image, 0, 0)[0], 1);
    ck_assert_mem_eq(pixel(image, 0, 1), bytes + 20, 12);
    cm3_image_destroy(image);
    ck_assert_int_eq(cm3_image_from_pixels(t.context, bytes, 4, 2, 0, &image), CM3_OK);
    ck_assert_mem_eq(pixel(image, 0, 1), bytes + 12, 12);
    cm3_image_destroy(image);
}
END_TEST

/* The picture outlives the caller's hold on the context. */
START_TEST(holds) {
    test_allocator memory;
    test_allocator_init(&memory);
    cm3_allocator allocator = test_allocator_of(&memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.allocator = &allocator;
    options.threads = 0;
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    cm3_image *image;
    ck_assert_int_eq(cm3_image_create(context, 2, 2, &image), CM3_OK);
    cm3_context_destroy(context);
    ck_assert_int_eq(cm3_image_retain(image), CM3_OK);
    cm3_image_destroy(image);
    ck_assert_mem_eq(pixel(image, 1, 1), "\0\0\0", 3);
    cm3_image_destroy(image);
    ck_assert_int_eq(atomic_load(&memory.live), 0);
}
END_TEST

static void *hold_and_let_go(void *arg) {
    for (int i = 0; i < 20000; ++i) {
        cm3_image_retain(arg);
        cm3_image_destroy(arg);
    }
    cm3_image_destroy(arg);
    return NULL;
}

START_TEST(holds_from_threads) {
    cm3_image *image = test_noise_image(&t, 3, 3, 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) {
        cm3_image_retain(image);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hold_and_let_go, image), 0);
    }
    cm3_image_destroy(image);
    for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
}
END_TEST

START_TEST(crop) {
    cm3_image *image = test_noise_image(&t, 9, 7, 2), *part;
    static const int32_t rectangles[][4] = {{0, 0, 9, 7},
                                            {2, 1, 4, 5},
                                            {-3, -2, 20, 20},
                                            {5, 5, 9, 9},
                                            {-4, 3, 5, 2},
                                            {9, 0, 3, 3},
                                            {0, 7, 3, 3},
                                            {-3, 0, 3, 3},
                                            {0, -3, 3, 3},
                                            {100, -100, 2, 2},
                                            {INT32_MAX, INT32_MIN, 5, 5},
                                            {INT32_MIN, INT32_MAX, 5, 5}};
    for (size_t i = 0; i < sizeof rectangles / sizeof *rectangles; ++i) {
        const int32_t *r = rectangles[i];
        ck_assert_int_eq(cm3_image_crop(image, r[0], r[1], r[2], r[3], &part), CM3_OK);
        for (int32_t y = 0; y < r[3]; ++y) {
            for (int32_t x = 0; x < r[2]; ++x) {
                int64_t from_x = (int64_t)r[0] + x, from_y = (int64_t)r[1] + y;
                bool inside = from_x >= 0 && from_y >= 0 && from_x < 9 && from_y < 7;
                ck_assert_mem_eq(pixel(part, x, y),
                                 inside ? pixel(image, (int32_t)from_x, (int32_t)from_y) : (const uint8_t *)"\0\0\0",
                                 3);
            }
        }
        cm3_image_destroy(part);
    }
    cm3_image_destroy(image);
}
END_TEST

/* Each pixel of the sheet is a picture's or white. */
static void check_sheet(const cm3_image *sheet, cm3_image *const *images, int count, int columns, int cell_width,
                        int cell_height, int gap) {
    cm3_image_view view = test_view(sheet);
    int rows = (count + columns - 1) / columns;
    ck_assert_int_eq(view.width, columns * (cell_width + gap) - gap);
    ck_assert_int_eq(view.height, rows * (cell_height + gap) - gap);
    for (int y = 0; y < view.height; ++y) {
        for (int x = 0; x < view.width; ++x) {
            int i = y / (cell_height + gap) * columns + x / (cell_width + gap);
            int u = x % (cell_width + gap), v = y % (cell_height + gap);
            const uint8_t *wanted = (const uint8_t *)"\xff\xff\xff";
            if (i < count) {
                cm3_image_view picture = test_view(images[i]);
                if (u < picture.width && v < picture.height) wanted = pixel(images[i], u, v);
            }
            ck_assert_mem_eq(pixel(sheet, x, y), wanted, 3);
        }
    }
}

START_TEST(contact_sheet) {
    cm3_image *images[5], *sheet;
    for (int i = 0; i < 5; ++i) images[i] = test_noise_image(&t, i == 3 ? 2 : 6, i == 1 ? 3 : 4, (uint32_t)i);
    const cm3_image *const *list = (const cm3_image *const *)images;
    static const int columns[][2] = {{0, 3}, {1, 1}, {2, 2}, {5, 5}, {7, 7}};
    for (int i = 0; i < 5; ++i) {
        for (int gap = 0; gap < 3; ++gap) {
            ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, columns[i][0], gap, &sheet), CM3_OK);
            check_sheet(sheet, images, 5, columns[i][1], 6, 4, gap);
            cm3_image_destroy(sheet);
        }
    }
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 4, 0, 1, &sheet), CM3_OK);
    check_sheet(sheet, images, 4, 2, 6, 4, 1);
    cm3_image_destroy(sheet);

    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 0, 0, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, SIZE_MAX, 0, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, -1, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, 0, -1, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, INT32_MAX, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, 0, INT32_MAX, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, 5, 60000, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&t, "65500"));
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, NULL, 5, 0, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(NULL, list, 5, 0, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, 0, 0, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(images[4]);
    images[4] = NULL;
    ck_assert_int_eq(cm3_image_contact_sheet(t.context, list, 5, 0, 0, &sheet), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&t, "picture 4"));
    for (int i = 0; i < 4; ++i) cm3_image_destroy(images[i]);
}
END_TEST

Suite *picture_suite(void) {
    Suite *suite = suite_create("picture");
    TCase *tests = tcase_create("picture");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, black);
    tcase_add_test(tests, sizes_out_of_range);
    tcase_add_test(tests, null_arguments);
    tcase_add_test(tests, from_pixels);
    tcase_add_test(tests, holds);
    tcase_add_test(tests, holds_from_threads);
    tcase_add_test(tests, crop);
    tcase_add_test(tests, contact_sheet);
    suite_add_tcase(suite, tests);
    return suite;
}
