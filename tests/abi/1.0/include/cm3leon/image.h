/**
 * @file
 * Pictures: 8-bit RGB, JPEG and PNG, resampling.
 */
#ifndef CM3LEON_IMAGE_H
#define CM3LEON_IMAGE_H

#include "cm3leon/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An 8-bit RGB picture. Reading it is safe from several threads; changing it is the caller's to order. */
typedef struct cm3_image cm3_image;

/** The pixels of a picture: row y begins at pixels + y * stride, three bytes R G B each pixel. */
typedef struct cm3_image_view {
    int32_t width;   /**< 1..65500 */
    int32_t height;  /**< 1..65500 */
    size_t stride;   /**< bytes from row to row, at least 3 * width */
    uint8_t *pixels; /**< of the first row */
} cm3_image_view;

/** Formats of picture files. */
typedef enum cm3_image_format { CM3_IMAGE_JPEG = 1, CM3_IMAGE_PNG = 2 } cm3_image_format;

/** How pictures are resampled, as Pillow names it. */
typedef enum cm3_filter { CM3_FILTER_BICUBIC = 1, CM3_FILTER_LANCZOS = 2 } cm3_filter;

/** A black picture. Errors: INVALID_ARGUMENT (sides outside 1..65500), NO_MEMORY. *image is NULL on failure. */
CM3_API cm3_status cm3_image_create(cm3_context *context, int32_t width, int32_t height, cm3_image **image);

/** A picture from RGB bytes, which are copied. `stride` 0 means 3 * width. */
CM3_API cm3_status cm3_image_from_pixels(cm3_context *context, const uint8_t *pixels, int32_t width, int32_t height,
                                         size_t stride, cm3_image **image);

/**
 * Reads a JPEG or PNG, told apart by its first bytes. Grey becomes RGB, 16 bits become 8, alpha is blended over white
 * (as Pillow's alpha_composite does), palettes are expanded, CMYK JPEGs converted. Orientation tags are not applied.
 * Errors: NOT_FOUND, IO, FORMAT, TRUNCATED, UNSUPPORTED, NO_MEMORY (also above 178,956,970 pixels).
 */
CM3_API cm3_status cm3_image_load(cm3_context *context, const char *path, cm3_image **image);

/** The same from memory, which is not kept. */
CM3_API cm3_status cm3_image_load_memory(cm3_context *context, const void *data, size_t size, cm3_image **image);

/** How a picture is written. */
typedef struct cm3_image_save_options {
    size_t struct_size;       /**< sizeof of this struct */
    int32_t jpeg_quality;     /**< 1..100; default 95 */
    int32_t jpeg_subsampling; /**< 444 (default), 422 or 420 */
    int32_t png_level;        /**< zlib level 0..9; default 6 */
} cm3_image_save_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_image_save_options_init(cm3_image_save_options *options);

/**
 * Writes a file whose format its ending tells (.jpg, .jpeg, .png). A regular file is replaced as a whole or not at all;
 * devices and pipes are written through. `options` may be NULL. Errors: INVALID_ARGUMENT (another ending), IO,
 * NO_SPACE.
 */
CM3_API cm3_status cm3_image_save(const cm3_image *image, const char *path, const cm3_image_save_options *options);

/**
 * Encodes into memory that the library owns: release it by cm3_buffer_free() with the same context. `options` may be
 * NULL.
 */
CM3_API cm3_status cm3_image_encode(const cm3_image *image, cm3_image_format format,
                                    const cm3_image_save_options *options, uint8_t **data, size_t *size);

/** Releases what cm3_image_encode() and other functions that say so returned. NULL is allowed. */
CM3_API void cm3_buffer_free(cm3_context *context, void *data, size_t size);

/** The pixels, to read or to draw into, valid as long as the image. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_image_get_view(const cm3_image *image, cm3_image_view *view);

/** Antialiased resampling to another size, equal to Pillow 13's Image.resize byte for byte. */
CM3_API cm3_status cm3_image_resize(const cm3_image *image, int32_t width, int32_t height, cm3_filter filter,
                                    cm3_image **resized);

/** The rectangle from (x, y); what lies outside the picture is black. Errors: INVALID_ARGUMENT, NO_MEMORY. */
CM3_API cm3_status cm3_image_crop(const cm3_image *image, int32_t x, int32_t y, int32_t width, int32_t height,
                                  cm3_image **cropped);

/** Pictures laid out in a grid of `columns` (0: as square as possible) with a gap of `gap` white pixels. */
CM3_API cm3_status cm3_image_contact_sheet(cm3_context *context, const cm3_image *const *images, size_t count,
                                           int32_t columns, int32_t gap, cm3_image **sheet);

/** Another hold on the same picture (reference-counted), to be destroyed as well. */
CM3_API cm3_status cm3_image_retain(cm3_image *image);

/** Gives up a hold. NULL is allowed. */
CM3_API void cm3_image_destroy(cm3_image *image);

#ifdef __cplusplus
}
#endif

#endif
