/* What the two picture formats have in common as fuzz targets. */
#ifndef FUZZ_PICTURE_H
#define FUZZ_PICTURE_H

#include "fuzz.h"

/** Loads any bytes; what is a picture is resampled, cropped, and saved in `format` and loaded again. */
void fuzz_picture(const uint8_t *data, size_t size, cm3_image_format format);

#endif
