/* Any bytes as a picture, through the public interface. */
#include "picture.h"

/* Pictures above 16 million pixels meet the limit; so does what decoding them needs beside the pixels. */
#define MEMORY ((size_t)48 << 20)
/* What is done with a picture after it is loaded is done with small ones. */
#define MAX_PIXELS 65536

static void resample(const cm3_context *context, const cm3_image *image, const cm3_image_view *view, uint64_t choice) {
    cm3_image *other;
    cm3_filter filter = choice & 1 ? CM3_FILTER_LANCZOS : CM3_FILTER_BICUBIC;
    int32_t width = 1 + (int32_t)(choice >> 8 & 127), height = 1 + (int32_t)(choice >> 16 & 127);
    cm3_status status = cm3_image_resize(image, width, height, filter, &other);
    fuzz_check_result(context, status, other);
    cm3_image_destroy(other);
    int32_t x = (int32_t)(choice >> 24 & 255) - 128, y = (int32_t)(choice >> 32 & 255) - 128;
    status = cm3_image_crop(image, x, y, view->width, view->height, &other);
    fuzz_check_result(context, status, other);
    cm3_image_destroy(other);
}

static bool same_pixels(const cm3_image_view *one, const cm3_image_view *other) {
    for (int32_t y = 0; y < one->height; ++y) {
        const uint8_t *row = one->pixels + (size_t)y * one->stride,
                      *against = other->pixels + (size_t)y * other->stride;
        if (memcmp(row, against, 3 * (size_t)one->width) != 0) return false;
    }
    return true;
}

/* What was saved is a picture of the same size, and as PNG of the same pixels. */
static void save_and_load(cm3_context *context, const cm3_image *image, const cm3_image_view *view,
                          cm3_image_format format, uint64_t choice) {
    static const int32_t subsamplings[] = {444, 422, 420};
    cm3_image_save_options options;
    cm3_image_save_options_init(&options);
    options.jpeg_quality = 1 + (int32_t)(choice % 100);
    options.jpeg_subsampling = subsamplings[choice / 100 % 3];
    options.png_level = (int32_t)(choice % 10);
    uint8_t *bytes;
    size_t size;
    FUZZ_CHECK(cm3_image_encode(image, format, &options, &bytes, &size) == CM3_OK);
    cm3_image *again;
    FUZZ_CHECK(cm3_image_load_memory(context, bytes, size, &again) == CM3_OK);
    cm3_image_view seen;
    FUZZ_CHECK(cm3_image_get_view(again, &seen) == CM3_OK);
    FUZZ_CHECK(seen.width == view->width && seen.height == view->height);
    FUZZ_CHECK(format != CM3_IMAGE_PNG || same_pixels(view, &seen));
    cm3_image_destroy(again);
    cm3_buffer_free(context, bytes, size);
}

static void use(cm3_context *context, const cm3_image *image, cm3_image_format format, uint64_t choice) {
    cm3_image_view view;
    FUZZ_CHECK(cm3_image_get_view(image, &view) == CM3_OK);
    FUZZ_CHECK(view.width >= 1 && view.height >= 1 && view.stride >= 3 * (size_t)view.width);
    uint64_t sum = 0;
    for (int32_t y = 0; y < view.height; ++y) {
        sum += view.pixels[(size_t)y * view.stride] + view.pixels[(size_t)y * view.stride + 3 * (size_t)view.width - 1];
    }
    if ((int64_t)view.width * view.height > MAX_PIXELS) return;
    resample(context, image, &view, choice + (sum & 1));
    save_and_load(context, image, &view, format, choice);
}

/* Where memory is short from the start, that is what is said, or what would have been said of the file anyway. */
static void load_with_little(const uint8_t *data, size_t size, cm3_status before) {
    cm3_context *context = fuzz_begin((size_t)64 << 10);
    cm3_image *image;
    cm3_status status = cm3_image_load_memory(context, data, size, &image);
    fuzz_check_result(context, status, image);
    FUZZ_CHECK(status == before || status == CM3_ERROR_NO_MEMORY);
    cm3_image_destroy(image);
    fuzz_end(context);
}

void fuzz_picture(const uint8_t *data, size_t size, cm3_image_format format) {
    cm3_context *context = fuzz_begin(MEMORY);
    uint64_t choice = fuzz_hash(data, size);
    cm3_image *image;
    cm3_status status = cm3_image_load_memory(context, data, size, &image);
    fuzz_check_result(context, status, image);
    if (image != NULL) use(context, image, format, choice);
    cm3_image_destroy(image);
    fuzz_end(context);
    if (choice % 8 == 0) load_with_little(data, size, status);
}
