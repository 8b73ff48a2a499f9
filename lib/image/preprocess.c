/* Pictures to the numbers that image encoders read, and back. */
#include "image/preprocess.h"

#include <math.h>

#include "image/image.h"
#include "image/resample.h"

/* --- the window that a centre crop after resizing shows ----------------------------------------------------------- */

/** A resized picture that is not made as a whole, and the crop of it. */
typedef struct cm3_view_plan {
    int64_t width, height; /**< resized */
    int32_t crop_width, crop_height;
    cm3_filter filter;
} cm3_view_plan;

/* a / 2 rounded down. */
static int64_t half(int64_t a) {
    return a >= 0 ? a / 2 : -((1 - a) / 2);
}

/* The part of 0..size-1 that a crop of `wanted` in its middle sees. */
static void middle(int64_t size, int32_t wanted, int64_t *start, int64_t *end) {
    *start = half(size - wanted);
    *end = *start + wanted < size ? *start + wanted : size;
    if (*start < 0) *start = 0;
}

static cm3_status make_view(const cm3_image *image, const cm3_view_plan *plan, cm3_image **view) {
    *view = NULL;
    if (plan->width > INT32_MAX || plan->height > INT32_MAX) {
        return cm3_fail(image->context, CM3_ERROR_INVALID_ARGUMENT,
                        "a picture of %d x %d would be resized to %lld x %lld", (int)image->width, (int)image->height,
                        (long long)plan->width, (long long)plan->height);
    }
    int64_t left, right, top, bottom;
    middle(plan->width, plan->crop_width, &left, &right);
    middle(plan->height, plan->crop_height, &top, &bottom);
    cm3_window window = {(int32_t)left, (int32_t)top, (int32_t)(right - left), (int32_t)(bottom - top)};
    cm3_image *seen;
    CM3_TRY(cm3_resample(image, (int32_t)plan->width, (int32_t)plan->height, plan->filter, &window, &seen));
    if (seen->width == plan->crop_width && seen->height == plan->crop_height) {
        *view = seen;
        return CM3_OK;
    }
    int64_t x = half(plan->width - plan->crop_width) - left, y = half(plan->height - plan->crop_height) - top;
    cm3_status status = cm3_image_crop(seen, (int32_t)x, (int32_t)y, plan->crop_width, plan->crop_height, view);
    cm3_image_destroy(seen);
    return status;
}

/* --- bytes to numbers --------------------------------------------------------------------------------------------- */

/* Each byte has one number a channel: 256 of them are computed, in the original's order and precision. */
static void look_up(const cm3_image *image, const float table[3][256], float *pixels) {
    for (size_t y = 0; y < (size_t)image->height; ++y) {
        const uint8_t *row = image->pixels + y * image->stride;
        for (size_t x = 0; x < (size_t)image->width; ++x) {
            for (int c = 0; c < 3; ++c) *pixels++ = table[c][*row++];
        }
    }
}

static void to_unit_range(const cm3_image *image, float *pixels) {
    float table[3][256];
    for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 256; ++i) table[c][i] = (float)(i / 255.0 * 2.0 - 1.0);
    }
    look_up(image, table, pixels);
}

/* --- modes -------------------------------------------------------------------------------------------------------- */

static cm3_status preprocess_meta(const cm3_image *image, int32_t side, float *pixels) {
    int32_t shorter = image->width < image->height ? image->width : image->height;
    double scale = (double)side / shorter;
    cm3_view_plan plan = {(int64_t)nearbyint(scale * image->width), (int64_t)nearbyint(scale * image->height), side,
                          side, CM3_FILTER_LANCZOS};
    cm3_image *view;
    CM3_TRY(make_view(image, &plan, &view));
    to_unit_range(view, pixels);
    cm3_image_destroy(view);
    return CM3_OK;
}

static cm3_status preprocess_exact(cm3_context *context, const cm3_image *image, int32_t side, float *pixels) {
    if (image->width != side || image->height != side) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "the picture is %d x %d; %d x %d is wanted",
                        (int)image->width, (int)image->height, (int)side, (int)side);
    }
    to_unit_range(image, pixels);
    return CM3_OK;
}

void cm3_hf_preprocessing_init(cm3_hf_preprocessing *options, int32_t side) {
    *options = (cm3_hf_preprocessing){.shortest_edge = side,
                                      .crop_width = side,
                                      .crop_height = side,
                                      .filter = CM3_FILTER_LANCZOS,
                                      .rescale_factor = 0.0078,
                                      .mean = {1.0f, 1.0f, 1.0f},
                                      .std = {1.0f, 1.0f, 1.0f}};
}

static bool is_side(int32_t side) {
    return side >= 1 && side <= CM3_IMAGE_MAX_SIDE;
}

static cm3_status check_hf(cm3_context *context, const cm3_hf_preprocessing *options) {
    bool fits = is_side(options->shortest_edge) && is_side(options->crop_width) && is_side(options->crop_height) &&
                !options->width == !options->height && isfinite(options->rescale_factor);
    if (options->width) fits = fits && is_side(options->width) && is_side(options->height);
    for (int c = 0; c < 3; ++c) {
        fits = fits && isfinite(options->mean[c]) && isfinite(options->std[c]) && options->std[c] != 0.0f;
    }
    if (fits) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                    "preprocessing: shortest_edge %d, crop %d x %d, factor %g or a mean or deviation is out of range",
                    (int)options->shortest_edge, (int)options->crop_width, (int)options->crop_height,
                    options->rescale_factor);
}

cm3_status cm3_preprocess_hf(cm3_context *context, const cm3_image *image, const cm3_hf_preprocessing *options,
                             float *pixels) {
    CM3_TRY(check_hf(context, options));
    int64_t shorter = image->width < image->height ? image->width : image->height, edge = options->shortest_edge;
    cm3_view_plan plan = {edge * image->width / shorter, edge * image->height / shorter, options->crop_width,
                          options->crop_height, options->filter};
    if (options->width) {
        plan.width = options->width;
        plan.height = options->height;
    }
    cm3_image *view;
    CM3_TRY(make_view(image, &plan, &view));
    float table[3][256];
    for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 256; ++i) {
            table[c][i] = ((float)(i * options->rescale_factor) - options->mean[c]) / options->std[c];
        }
    }
    look_up(view, table, pixels);
    cm3_image_destroy(view);
    return CM3_OK;
}

cm3_status cm3_preprocess(cm3_context *context, const cm3_image *image, cm3_preprocess_mode mode, int32_t side,
                          float *pixels) {
    if (!is_side(side)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "preprocessing: a side of %d, not in 1..%d", (int)side,
                        CM3_IMAGE_MAX_SIDE);
    }
    switch (mode) {
    case CM3_PREPROCESS_META:
        return preprocess_meta(image, side, pixels);
    case CM3_PREPROCESS_EXACT:
        return preprocess_exact(context, image, side, pixels);
    case CM3_PREPROCESS_HF: {
        cm3_hf_preprocessing options;
        cm3_hf_preprocessing_init(&options, side);
        return cm3_preprocess_hf(context, image, &options, pixels);
    }
    }
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "preprocessing: mode %d is unknown", (int)mode);
}

void cm3_postprocess(const float *values, int64_t count, uint8_t *pixels) {
    for (int64_t i = 0; i < count; ++i) {
        float value = values[i] > -1.0f ? values[i] : -1.0f; /* NaN too */
        if (value > 1.0f) value = 1.0f;
        pixels[i] = (uint8_t)((value + 1.0f) / 2.0f * 255.0f);
    }
}
