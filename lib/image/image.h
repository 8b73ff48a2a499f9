/* The inside of a picture, and what the files of this folder share about pictures. */
#ifndef CM3_IMAGE_IMAGE_H
#define CM3_IMAGE_IMAGE_H

#include <stdatomic.h>

#include "base/context.h"
#include "cm3leon/image.h"

#define CM3_IMAGE_MAX_SIDE 65500

/** The most pixels a picture may have, as in Pillow: a small file shall not ask for all the memory there is. */
#define CM3_IMAGE_MAX_PIXELS INT64_C(178956970)

struct cm3_image {
    cm3_context *context;
    _Atomic int64_t holds;
    int32_t width, height;
    size_t stride; /**< 3 * width: rows lie close together */
    uint8_t *pixels;
};

/**
 * As cm3_image_create(), but the pixels are what the memory held. `name` (may be NULL) goes before messages. Errors:
 * UNSUPPORTED (a side outside 1..65500), NO_MEMORY.
 */
cm3_status cm3_image_allocate(cm3_context *context, const char *name, int64_t width, int64_t height, cm3_image **image);

#endif
