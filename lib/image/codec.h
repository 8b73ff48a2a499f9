/* JPEG and PNG, from and to memory. */
#ifndef CM3_IMAGE_CODEC_H
#define CM3_IMAGE_CODEC_H

#include "image/image.h"

/** Decode the whole of `data`; `name` goes before messages. Errors: FORMAT, TRUNCATED, UNSUPPORTED, NO_MEMORY. */
cm3_status cm3_jpeg_decode(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_image **image);
cm3_status cm3_png_decode(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_image **image);

/** Encode with options that were checked. *data is from cm3_alloc(). Errors: NO_MEMORY, INTERNAL. */
cm3_status cm3_jpeg_encode(const cm3_image *image, const cm3_image_save_options *options, uint8_t **data, size_t *size);
cm3_status cm3_png_encode(const cm3_image *image, const cm3_image_save_options *options, uint8_t **data, size_t *size);

#endif
