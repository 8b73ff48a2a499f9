/* Pictures for tests: the committed files, and noise that make_fixture.py computes too. */
#ifndef TESTS_IMAGE_PICTURES_H
#define TESTS_IMAGE_PICTURES_H

#include "cm3leon/image.h"
#include "support/fixture.h"

#define PICTURES CM3_TEST_DATA "/image/pictures/"

/* The files of tests/data/image/pictures/. */
static const char *const test_pictures[] = {
    "444.jpg",
    "422.jpg",
    "420.jpg",
    "420-progressive.jpg",
    "444-progressive.jpg",
    "420-restart.jpg",
    "420-one-pixel.jpg",
    "420-narrow.jpg",
    "420-padded.jpg",
    "420-restart-padded.jpg",
    "grey.jpg",
    "grey-progressive.jpg",
    "rgb.jpg",
    "cmyk.jpg",
    "cmyk-progressive.jpg",
    "ycck.jpg",
    "rgb.png",
    "rgb-interlaced.png",
    "rgb-noise.png",
    "rgb-one-pixel.png",
    "rgb-transparent.png",
    "rgb16.png",
    "rgba.png",
    "rgba-interlaced.png",
    "rgba16.png",
    "rgba-all.png",
    "grey.png",
    "grey1.png",
    "grey2.png",
    "grey4.png",
    "grey-transparent.png",
    "grey-alpha.png",
    "palette.png",
    "palette1.png",
    "palette2.png",
    "palette4.png",
    "palette-interlaced.png",
    "palette-transparent.png",
};
#define TEST_PICTURE_COUNT ((int)(sizeof test_pictures / sizeof *test_pictures))

/* Byte i of the noise of a seed; odd seeds give 0 and 255 only. */
static inline uint8_t test_noise(uint32_t i, uint32_t seed) {
    uint32_t v = i * 2654435761u + seed * 40503u;
    v ^= v >> 15;
    v *= 2246822519u;
    v ^= v >> 13;
    v >>= 24;
    return (uint8_t)(seed % 2 == 0 ? v : v > 127 ? 255 : 0);
}

static inline cm3_image_view test_view(const cm3_image *image) {
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    return view;
}

static inline cm3_image *test_noise_image(test_fixture *t, int32_t width, int32_t height, uint32_t seed) {
    cm3_image *image;
    ck_assert_int_eq(cm3_image_create(t->context, width, height, &image), CM3_OK);
    cm3_image_view view = test_view(image);
    uint32_t i = 0;
    for (int32_t y = 0; y < height; ++y) {
        for (int32_t x = 0; x < 3 * width; ++x)
            view.pixels[(size_t)y * view.stride + (size_t)x] = test_noise(i++, seed);
    }
    return image;
}

static inline cm3_image *test_load(test_fixture *t, const char *path) {
    cm3_image *image;
    cm3_status status = cm3_image_load(t->context, path, &image);
    ck_assert_msg(status == CM3_OK, "%s: %s", path, cm3_context_message(t->context));
    return image;
}

/* Both pictures have the same size and bytes; says where they differ. */
static inline void test_same(const char *what, const cm3_image *a, const cm3_image *b) {
    cm3_image_view u = test_view(a), v = test_view(b);
    ck_assert_msg(u.width == v.width && u.height == v.height, "%s: %d x %d and %d x %d", what, u.width, u.height,
                  v.width, v.height);
    for (int32_t y = 0; y < u.height; ++y) {
        const uint8_t *p = u.pixels + (size_t)y * u.stride, *q = v.pixels + (size_t)y * v.stride;
        for (int32_t x = 0; x < 3 * u.width; ++x) {
            if (p[x] == q[x]) continue; /* an assertion for each byte would take long */
            ck_abort_msg("%s: pixel (%d, %d) channel %d is %d and %d", what, x / 3, y, x % 3, p[x], q[x]);
        }
    }
}

#endif
