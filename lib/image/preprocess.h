/* Pictures to the numbers that image encoders read, and back. */
#ifndef CM3_IMAGE_PREPROCESS_H
#define CM3_IMAGE_PREPROCESS_H

#include "cm3leon/image.h"

typedef enum cm3_preprocess_mode {
    CM3_PREPROCESS_META = 1, /**< Chameleon's own code: both sides rounded half to even, 2 * (u8 / 255) - 1 */
    CM3_PREPROCESS_HF = 2,   /**< transformers' Chameleon: see cm3_hf_preprocessing_init() */
    CM3_PREPROCESS_EXACT = 3 /**< the picture has the right size: 2 * (u8 / 255) - 1, nothing resampled */
} cm3_preprocess_mode;

/** The fields of a preprocessor_config.json of transformers. */
typedef struct cm3_hf_preprocessing {
    int32_t shortest_edge;
    int32_t width, height; /**< not 0: resized to just that instead, whatever the proportions */
    int32_t crop_width, crop_height;
    cm3_filter filter;
    double rescale_factor;
    float mean[3], std[3];
} cm3_hf_preprocessing;

/** What Chameleon's checkpoints say, with `side` for edge and crop: Lanczos, 0.0078, means and deviations 1. */
void cm3_hf_preprocessing_init(cm3_hf_preprocessing *options, int32_t side);

/**
 * Short side to `side` by Lanczos, centre crop: `pixels` [side, side, 3] in about -1..1. Errors: INVALID_ARGUMENT
 * (EXACT with another size), NO_MEMORY.
 */
cm3_status cm3_preprocess(cm3_context *context, const cm3_image *image, cm3_preprocess_mode mode, int32_t side,
                          float *pixels);

/**
 * As transformers' image processors with Pillow: the short side to shortest_edge, the long one cut to a whole number
 * (or both sides as wanted), centre crop with black around what is too small, (float(u8 * rescale_factor) - mean) /
 * std. `pixels` [crop_height, crop_width, 3].
 */
cm3_status cm3_preprocess_hf(cm3_context *context, const cm3_image *image, const cm3_hf_preprocessing *options,
                             float *pixels);

/** `count` numbers to bytes: clamped to -1..1, (x + 1) / 2 * 255, the fraction dropped. NaN becomes 0. */
void cm3_postprocess(const float *values, int64_t count, uint8_t *pixels);

#endif
