/* Antialiased resampling whose bytes are those of Pillow 13. */
#ifndef CM3_IMAGE_RESAMPLE_H
#define CM3_IMAGE_RESAMPLE_H

#include "cm3leon/image.h"

/** A rectangle of a picture that may itself never exist as a whole. */
typedef struct cm3_window {
    int32_t x, y, width, height;
} cm3_window;

/**
 * The part `window` of the picture resampled to width x height, without computing the rest: its pixels are those that a
 * crop after cm3_image_resize() gives. The window lies inside width x height, which may be larger than a picture can
 * be. Errors: INVALID_ARGUMENT, NO_MEMORY.
 */
cm3_status cm3_resample(const cm3_image *image, int32_t width, int32_t height, cm3_filter filter,
                        const cm3_window *window, cm3_image **result);

#endif
