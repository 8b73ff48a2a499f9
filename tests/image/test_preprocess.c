/* Pictures as numbers, against transformers, Chameleon's own code and NumPy. */
#include <math.h>

#include "files/safetensors.h"
#include "image/preprocess.h"
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

static const char *const names[] = {"wide", "tall", "small", "square", "rgba"};

static cm3_image *reference_picture(const char *name) {
    char path[512];
    snprintf(path, sizeof path, CM3_TEST_DATA "/parity/ref/images/%s.png", name);
    return test_load(&t, path);
}

static cm3_safetensors *reference(const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_OK);
    ck_assert_int_eq(cm3_safetensors_open(t.context, file, &tensors), CM3_OK);
    cm3_file_release(file);
    return tensors;
}

/* [side, side, 3] against [3, side, side], to the last bit. */
static void same_planes(const char *what, const float *ours, const float *planes, int side) {
    for (int i = 0; i < side * side * 3; ++i) {
        int pixel = i / 3, channel = i % 3;
        float wanted = planes[channel * side * side + pixel];
        if (ours[i] == wanted) continue;
        ck_abort_msg("%s: pixel %d channel %d is %.9g, not %.9g", what, pixel, channel, (double)ours[i],
                     (double)wanted);
    }
}

START_TEST(transformers_chameleon) {
    cm3_safetensors *tensors = reference(CM3_TEST_DATA "/parity/ref/chameleon.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        char key[64];
        snprintf(key, sizeof key, "image.%s.pixel_values", names[i]);
        const cm3_entry *entry = cm3_safetensors_find(tensors, key);
        ck_assert_ptr_nonnull(entry);
        ck_assert_int_eq(entry->dtype, CM3_F32);
        ck_assert_int_eq(entry->count, 3 * 32 * 32);
        cm3_image *image = reference_picture(names[i]);
        float pixels[3 * 32 * 32];
        ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_HF, 32, pixels), CM3_OK);
        same_planes(names[i], pixels, entry->data, 32);
        cm3_image_destroy(image);
    }
    cm3_safetensors_close(tensors);
}
END_TEST

START_TEST(transformers_clip) {
    cm3_safetensors *tensors = reference(CM3_TEST_DATA "/parity/ref/clip.safetensors");
    const cm3_entry *entry = cm3_safetensors_find(tensors, "image.pixel_values");
    ck_assert_ptr_nonnull(entry);
    ck_assert_int_eq(entry->count, 5 * 3 * 32 * 32);
    cm3_hf_preprocessing options = {.shortest_edge = 32,
                                    .crop_width = 32,
                                    .crop_height = 32,
                                    .filter = CM3_FILTER_BICUBIC,
                                    .rescale_factor = 0.00392156862745098,
                                    .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                                    .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        cm3_image *image = reference_picture(names[i]);
        float pixels[3 * 32 * 32];
        ck_assert_int_eq(cm3_preprocess_hf(t.context, image, &options, pixels), CM3_OK);
        same_planes(names[i], pixels, (const float *)entry->data + i * 3 * 32 * 32, 32);
        cm3_image_destroy(image);
    }
    cm3_safetensors_close(tensors);
}
END_TEST

/* Takes `size` bytes from the data of a fixture. */
static void take(const char *data, size_t size, size_t *at, void *to, size_t count) {
    if (*at + count > size) ck_abort_msg("the fixture ends before byte %zu", *at + count);
    memcpy(to, data + *at, count);
    *at += count;
}

static void same_numbers(const float *ours, const char *data, size_t size, size_t *at, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        float wanted;
        take(data, size, at, &wanted, sizeof wanted);
        if (ours[i] == wanted) continue;
        ck_abort_msg("number %zu before byte %zu is %.9g, not %.9g", i, *at, (double)ours[i], (double)wanted);
    }
}

START_TEST(meta) {
    size_t size, at = 0;
    char *data = test_get(CM3_TEST_DATA "/image/meta.bin", &size);
    int cases = 0;
    for (; at < size; ++cases) {
        uint32_t head[4]; /* width, height, seed, side */
        take(data, size, &at, head, sizeof head);
        cm3_image *image = test_noise_image(&t, (int32_t)head[0], (int32_t)head[1], head[2]);
        float pixels[3 * 16 * 16];
        ck_assert_uint_le(head[3], 16);
        ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_META, (int32_t)head[3], pixels), CM3_OK);
        same_numbers(pixels, data, size, &at, (size_t)3 * head[3] * head[3]);
        cm3_image_destroy(image);
    }
    ck_assert_int_gt(cases, 5);
    free(data);
}
END_TEST

START_TEST(transformers_shapes) {
    size_t size, at = 0;
    char *data = test_get(CM3_TEST_DATA "/image/hf.bin", &size);
    int cases = 0;
    for (; at < size; ++cases) {
        uint32_t head[7]; /* width, height, seed, shortest edge, crop width, crop height, filter */
        take(data, size, &at, head, sizeof head);
        cm3_hf_preprocessing options = {
            .shortest_edge = (int32_t)head[3], .crop_width = (int32_t)head[4], .crop_height = (int32_t)head[5]};
        options.filter = (cm3_filter)head[6];
        take(data, size, &at, &options.rescale_factor, sizeof options.rescale_factor);
        take(data, size, &at, options.mean, sizeof options.mean);
        take(data, size, &at, options.std, sizeof options.std);
        cm3_image *image = test_noise_image(&t, (int32_t)head[0], (int32_t)head[1], head[2]);
        float pixels[3 * 20 * 20];
        ck_assert_uint_le(head[4] * head[5], 20 * 20);
        ck_assert_int_eq(cm3_preprocess_hf(t.context, image, &options, pixels), CM3_OK);
        same_numbers(pixels, data, size, &at, (size_t)3 * head[4] * head[5]);
        cm3_image_destroy(image);
    }
    ck_assert_int_ge(cases, 5);
    free(data);
}
END_TEST

/* To both sides as wanted: what resampling makes, which has its own tests. */
START_TEST(both_sides_wanted) {
    cm3_hf_preprocessing options = {.shortest_edge = 5,
                                    .width = 20,
                                    .height = 12,
                                    .crop_width = 20,
                                    .crop_height = 12,
                                    .filter = CM3_FILTER_BICUBIC,
                                    .rescale_factor = 1,
                                    .std = {1, 1, 1}};
    cm3_image *image = test_noise_image(&t, 31, 33, 3), *resized;
    const cm3_window whole = {0, 0, 20, 12};
    float pixels[3 * 20 * 12];
    ck_assert_int_eq(cm3_resample(image, 20, 12, CM3_FILTER_BICUBIC, &whole, &resized), CM3_OK);
    ck_assert_int_eq(cm3_preprocess_hf(t.context, image, &options, pixels), CM3_OK);
    cm3_image_view view = test_view(resized);
    for (int i = 0; i < 3 * 20 * 12; ++i) {
        ck_assert_float_eq(pixels[i], (float)view.pixels[(size_t)(i / 60) * view.stride + (size_t)(i % 60)]);
    }
    options.height = 0;
    ck_assert_int_eq(cm3_preprocess_hf(t.context, image, &options, pixels), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(resized);
    cm3_image_destroy(image);
}
END_TEST

/* The strip that a line of pixels would be resized to is never made as a whole. */
START_TEST(very_long) {
    cm3_image *image = test_noise_image(&t, 65500, 1, 2);
    float *pixels = malloc(3 * 512 * 512 * sizeof *pixels);
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_HF, 512, pixels), CM3_OK);
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_META, 512, pixels), CM3_OK);
    /* Column 0 of the crop is the first of 512 that show pixel 32749.5 - 0.5 and so on: in a row all are equal. */
    for (int y = 1; y < 512; ++y) ck_assert_mem_eq(pixels, pixels + (size_t)y * 3 * 512, 3 * 512 * sizeof *pixels);
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_HF, 65500, pixels), CM3_ERROR_INVALID_ARGUMENT);
    free(pixels);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(exact) {
    cm3_image *image = test_noise_image(&t, 12, 12, 6);
    float pixels[3 * 12 * 12];
    uint8_t back[3 * 12 * 12];
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_EXACT, 12, pixels), CM3_OK);
    cm3_postprocess(pixels, 3 * 12 * 12, back);
    cm3_image_view view = test_view(image);
    for (int i = 0; i < 3 * 12 * 12; ++i) {
        uint8_t byte = view.pixels[(size_t)(i / 36) * view.stride + (size_t)(i % 36)];
        ck_assert_float_eq_tol(pixels[i], 2.0f * ((float)byte / 255.0f) - 1.0f, 1e-6f);
        ck_assert_int_le(abs(back[i] - byte), 1); /* the fraction is dropped */
    }
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_EXACT, 13, pixels), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&t, "13 x 13"));
    ck_assert_int_eq(cm3_preprocess(t.context, image, (cm3_preprocess_mode)0, 12, pixels), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_preprocess(t.context, image, CM3_PREPROCESS_META, 0, pixels), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(options_out_of_range) {
    cm3_image *image = test_noise_image(&t, 12, 12, 6);
    float pixels[3 * 12 * 12];
    for (int i = 0; i < 8; ++i) {
        cm3_hf_preprocessing options;
        cm3_hf_preprocessing_init(&options, 12);
        if (i == 0) options.shortest_edge = 0;
        if (i == 1) options.crop_width = -1;
        if (i == 2) options.crop_height = 65501;
        if (i == 3) options.filter = (cm3_filter)7;
        if (i == 4) options.rescale_factor = NAN;
        if (i == 5) options.std[1] = 0.0f;
        if (i == 6) options.std[2] = INFINITY;
        if (i == 7) options.mean[0] = NAN;
        ck_assert_int_eq(cm3_preprocess_hf(t.context, image, &options, pixels), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_image_destroy(image);
}
END_TEST

START_TEST(to_bytes) {
    const float values[] = {-1.0f, 1.0f, 0.0f, -2.0f, 5.0f, NAN, INFINITY, -INFINITY, 0.999f, 0.5f, -0.5f, -0.9922f};
    const uint8_t wanted[] = {0, 255, 127, 0, 255, 0, 255, 0, 254, 191, 63, 0};
    uint8_t bytes[12];
    cm3_postprocess(values, 12, bytes);
    for (int i = 0; i < 12; ++i) ck_assert_msg(bytes[i] == wanted[i], "%d: %d, not %d", i, bytes[i], wanted[i]);
}
END_TEST

Suite *preprocess_suite(void) {
    Suite *suite = suite_create("preprocess");
    TCase *tests = tcase_create("preprocess");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, transformers_chameleon);
    tcase_add_test(tests, transformers_clip);
    tcase_add_test(tests, transformers_shapes);
    tcase_add_test(tests, meta);
    tcase_add_test(tests, both_sides_wanted);
    tcase_add_test(tests, very_long);
    tcase_add_test(tests, exact);
    tcase_add_test(tests, options_out_of_range);
    tcase_add_test(tests, to_bytes);
    suite_add_tcase(suite, tests);
    return suite;
}
