/* Writing JPEG and PNG. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pictures.h"
#include "suites.h"

static test_fixture t;
static cm3_image *photo; /* smooth, as JPEG likes it */

static void set_up(void) {
    test_fixture_up(&t);
    photo = test_load(&t, PICTURES "rgb.png");
}

static void tear_down(void) {
    cm3_image_destroy(photo);
    test_fixture_down(&t);
}

static cm3_image_save_options options_of(int32_t quality, int32_t subsampling, int32_t level) {
    cm3_image_save_options options;
    cm3_image_save_options_init(&options);
    options.jpeg_quality = quality;
    options.jpeg_subsampling = subsampling;
    options.png_level = level;
    return options;
}

static double mean_square(const cm3_image *a, const cm3_image *b) {
    cm3_image_view u = test_view(a), v = test_view(b);
    ck_assert_int_eq(u.width, v.width);
    ck_assert_int_eq(u.height, v.height);
    double sum = 0;
    for (int32_t y = 0; y < u.height; ++y) {
        for (int32_t x = 0; x < 3 * u.width; ++x) {
            double difference = u.pixels[(size_t)y * u.stride + (size_t)x] - v.pixels[(size_t)y * v.stride + (size_t)x];
            sum += difference * difference;
        }
    }
    return sum / (3.0 * u.width * u.height);
}

START_TEST(defaults) {
    cm3_image_save_options options;
    memset(&options, 0xaa, sizeof options);
    cm3_image_save_options_init(&options);
    ck_assert_uint_eq(options.struct_size, sizeof options);
    ck_assert_int_eq(options.jpeg_quality, 95);
    ck_assert_int_eq(options.jpeg_subsampling, 444);
    ck_assert_int_eq(options.png_level, 6);
    cm3_image_save_options_init(NULL);

    uint8_t *a, *b;
    size_t a_size, b_size;
    for (int format = CM3_IMAGE_JPEG; format <= CM3_IMAGE_PNG; ++format) {
        ck_assert_int_eq(cm3_image_encode(photo, (cm3_image_format)format, NULL, &a, &a_size), CM3_OK);
        ck_assert_int_eq(cm3_image_encode(photo, (cm3_image_format)format, &options, &b, &b_size), CM3_OK);
        ck_assert_uint_eq(a_size, b_size);
        ck_assert_mem_eq(a, b, a_size);
        cm3_buffer_free(t.context, a, a_size);
        cm3_buffer_free(t.context, b, b_size);
    }
}
END_TEST

/* Where a marker's segment begins. */
static const uint8_t *segment(const uint8_t *data, size_t size, uint8_t marker) {
    const uint8_t wanted[] = {0xff, marker};
    const uint8_t *found = memmem(data, size, wanted, 2);
    ck_assert_ptr_nonnull(found);
    return found + 4;
}

/* The options are in the file: luminance's sampling, and the first entry of its table, 16 scaled by the quality. */
START_TEST(jpeg_options) {
    static const struct {
        int32_t quality, subsampling;
        uint8_t sampling, first;
        double error; /* mean square, at most: what Pillow's JPEG of the same options has, and a twentieth more */
    } cases[] = {{95, 444, 0x11, 2, 14.5}, {100, 444, 0x11, 1, 0.7}, {50, 444, 0x11, 16, 41},
                 {95, 422, 0x21, 2, 20.6}, {90, 420, 0x22, 3, 30.2}, {1, 444, 0x11, 255, 980}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        cm3_image_save_options options = options_of(cases[i].quality, cases[i].subsampling, 6);
        uint8_t *data;
        size_t size;
        ck_assert_int_eq(cm3_image_encode(photo, CM3_IMAGE_JPEG, &options, &data, &size), CM3_OK);
        ck_assert_uint_eq(segment(data, size, 0xc0)[7], cases[i].sampling);
        ck_assert_uint_eq(segment(data, size, 0xdb)[1], cases[i].first);
        cm3_image *back;
        ck_assert_int_eq(cm3_image_load_memory(t.context, data, size, &back), CM3_OK);
        double error = mean_square(photo, back);
        ck_assert_msg(error <= cases[i].error, "quality %d, %d: %g", cases[i].quality, cases[i].subsampling, error);
        cm3_image_destroy(back);
        cm3_buffer_free(t.context, data, size);
    }
}
END_TEST

START_TEST(png_levels) {
    cm3_image *flat;
    ck_assert_int_eq(cm3_image_create(t.context, 200, 100, &flat), CM3_OK);
    size_t sizes[10];
    for (int level = 0; level <= 9; ++level) {
        cm3_image_save_options options = options_of(95, 444, level);
        uint8_t *data;
        ck_assert_int_eq(cm3_image_encode(flat, CM3_IMAGE_PNG, &options, &data, &sizes[level]), CM3_OK);
        cm3_image *back;
        ck_assert_int_eq(cm3_image_load_memory(t.context, data, sizes[level], &back), CM3_OK);
        test_same("png", flat, back);
        cm3_image_destroy(back);
        cm3_buffer_free(t.context, data, sizes[level]);
    }
    ck_assert_uint_gt(sizes[0], 60000);
    ck_assert_uint_lt(sizes[1], 2000);
    ck_assert_uint_lt(sizes[9], sizes[1]);
    cm3_image_destroy(flat);
}
END_TEST

START_TEST(odd_sizes) {
    static const int32_t sizes[][2] = {{1, 1}, {1, 70}, {70, 1}, {17, 15}, {65500, 1}, {1, 65500}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        cm3_image *image = test_noise_image(&t, sizes[i][0], sizes[i][1], (uint32_t)i), *back;
        static const int32_t subsamplings[] = {444, 422, 420};
        for (int j = 0; j < 3; ++j) {
            cm3_image_save_options options = options_of(100, subsamplings[j], 6);
            uint8_t *data;
            size_t size;
            ck_assert_int_eq(cm3_image_encode(image, CM3_IMAGE_JPEG, &options, &data, &size), CM3_OK);
            ck_assert_int_eq(cm3_image_load_memory(t.context, data, size, &back), CM3_OK);
            if (j == 0) ck_assert_double_le(mean_square(image, back), 2);
            cm3_image_destroy(back);
            cm3_buffer_free(t.context, data, size);
        }
        const char *path = test_path(&t, "odd.png");
        ck_assert_int_eq(cm3_image_save(image, path, NULL), CM3_OK);
        back = test_load(&t, path);
        test_same("odd", image, back);
        cm3_image_destroy(back);
        cm3_image_destroy(image);
    }
}
END_TEST

START_TEST(options_out_of_range) {
    static const int32_t wrong[][3] = {{0, 444, 6},  {101, 444, 6}, {-1, 444, 6},  {95, 0, 6},         {95, 411, 6},
                                       {95, 421, 6}, {95, 444, -1}, {95, 444, 10}, {INT32_MAX, 444, 6}};
    static const char *const words[] = {"jpeg_quality",     "jpeg_quality",     "jpeg_quality",
                                        "jpeg_subsampling", "jpeg_subsampling", "jpeg_subsampling",
                                        "png_level",        "png_level",        "jpeg_quality"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        cm3_image_save_options options = options_of(wrong[i][0], wrong[i][1], wrong[i][2]);
        for (int format = CM3_IMAGE_JPEG; format <= CM3_IMAGE_PNG; ++format) {
            uint8_t *data = (uint8_t *)&options;
            size_t size = 5;
            ck_assert_int_eq(cm3_image_encode(photo, (cm3_image_format)format, &options, &data, &size),
                             CM3_ERROR_INVALID_ARGUMENT);
            ck_assert(test_says(&t, words[i]));
            ck_assert_ptr_null(data);
            ck_assert_uint_eq(size, 0);
        }
    }
    cm3_image_save_options options = options_of(95, 444, 6);
    options.struct_size = 3;
    ck_assert_int_eq(cm3_image_save(photo, test_path(&t, "a.png"), &options), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

/* A caller of an older version that knows the first field only. */
START_TEST(shorter_struct) {
    cm3_image_save_options options = options_of(50, 1, 77);
    options.struct_size = offsetof(cm3_image_save_options, jpeg_subsampling);
    uint8_t *data;
    size_t size;
    ck_assert_int_eq(cm3_image_encode(photo, CM3_IMAGE_JPEG, &options, &data, &size), CM3_OK);
    ck_assert_uint_eq(segment(data, size, 0xdb)[1], 16);
    cm3_buffer_free(t.context, data, size);
}
END_TEST

START_TEST(null_arguments) {
    uint8_t *data = (uint8_t *)&t;
    size_t size = 1;
    ck_assert_int_eq(cm3_image_encode(NULL, CM3_IMAGE_PNG, NULL, &data, &size), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(data);
    ck_assert_int_eq(cm3_image_encode(photo, CM3_IMAGE_PNG, NULL, NULL, &size), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_encode(photo, CM3_IMAGE_PNG, NULL, &data, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_encode(photo, (cm3_image_format)0, NULL, &data, &size), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_encode(photo, (cm3_image_format)3, NULL, &data, &size), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_save(NULL, "a.png", NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_image_save(photo, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(endings) {
    static const struct {
        const char *name, *start;
    } good[] = {{"a.jpg", "\xff\xd8\xff"},
                {"a.jpeg", "\xff\xd8\xff"},
                {"a.JPG", "\xff\xd8\xff"},
                {"a.b.png", "\x89PNG"},
                {"a.Png", "\x89PNG"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i) {
        const char *path = test_path(&t, good[i].name);
        ck_assert_int_eq(cm3_image_save(photo, path, NULL), CM3_OK);
        size_t size;
        char *data = test_get(path, &size);
        ck_assert_mem_eq(data, good[i].start, strlen(good[i].start));
        free(data);
    }
    static const char *const bad[] = {"b", "b.gif", "bjpg", "b.jpg.txt", "b.png/", "b.", "b.pngx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        const char *path = test_path(&t, bad[i]);
        ck_assert_int_eq(cm3_image_save(photo, path, NULL), CM3_ERROR_INVALID_ARGUMENT);
        ck_assert(test_says(&t, ".png"));
        ck_assert_int_ne(access(path, F_OK), 0);
    }
}
END_TEST

START_TEST(full_disk) {
    static const char *const names[] = {"full.jpg", "full.png"};
    for (int i = 0; i < 2; ++i) {
        const char *path = test_path(&t, names[i]);
        ck_assert_int_eq(symlink("/dev/full", path), 0);
        ck_assert_int_eq(cm3_image_save(photo, path, NULL), CM3_ERROR_NO_SPACE);
        ck_assert(test_says(&t, "/dev/full"));
    }
    struct stat status;
    ck_assert_int_eq(stat("/dev/full", &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
}
END_TEST

START_TEST(no_folder) {
    ck_assert_int_ne(cm3_image_save(photo, test_path(&t, "none/a.jpg"), NULL), CM3_OK);
    ck_assert(test_says(&t, "none/a.jpg"));
}
END_TEST

START_TEST(no_memory) {
    cm3_image *image = test_noise_image(&t, 150, 150, 0); /* more than the first buffer */
    for (int format = CM3_IMAGE_JPEG; format <= CM3_IMAGE_PNG; ++format) {
        int n = 0;
        for (;; ++n) {
            uint8_t *data;
            size_t size;
            test_allocator_fail(&t.memory, n, 1);
            cm3_status status = cm3_image_encode(image, (cm3_image_format)format, NULL, &data, &size);
            test_allocator_fail(&t.memory, -1, 0);
            if (status == CM3_OK) {
                cm3_image *back; /* one that could do without the memory is still right */
                ck_assert_int_eq(cm3_image_load_memory(t.context, data, size, &back), CM3_OK);
                cm3_image_destroy(back);
                cm3_buffer_free(t.context, data, size);
                if (n > 50) break;
            } else {
                ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
                ck_assert_ptr_null(data);
            }
        }
    }
    cm3_image_destroy(image);
}
END_TEST

Suite *save_suite(void) {
    Suite *suite = suite_create("save");
    TCase *tests = tcase_create("save");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, jpeg_options);
    tcase_add_test(tests, png_levels);
    tcase_add_test(tests, odd_sizes);
    tcase_add_test(tests, options_out_of_range);
    tcase_add_test(tests, shorter_struct);
    tcase_add_test(tests, null_arguments);
    tcase_add_test(tests, endings);
    tcase_add_test(tests, full_disk);
    tcase_add_test(tests, no_folder);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return suite;
}
