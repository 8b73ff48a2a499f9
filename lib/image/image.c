/* Pictures: making, loading, saving, cropping, contact sheets. */
#include "image/image.h"

#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/options.h"
#include "files/file.h"
#include "files/writer.h"
#include "image/codec.h"
#include "image/resample.h"

/* --- making ------------------------------------------------------------------------------------------------------- */

/** Pixels begin on an aligned byte in the same block. */
#define HEADER_SIZE ((sizeof(cm3_image) + 63) / 64 * 64)

cm3_status cm3_image_allocate(cm3_context *context, const char *name, int64_t width, int64_t height,
                              cm3_image **image) {
    *image = NULL;
    const char *prefix = name != NULL ? name : "picture";
    if (width < 1 || height < 1 || width > CM3_IMAGE_MAX_SIDE || height > CM3_IMAGE_MAX_SIDE) {
        return cm3_fail(context, CM3_ERROR_UNSUPPORTED, "%s: %lld x %lld pixels; sides of 1 to %d are supported",
                        prefix, (long long)width, (long long)height, CM3_IMAGE_MAX_SIDE);
    }
    if (width * height > CM3_IMAGE_MAX_PIXELS) {
        return cm3_fail(context, CM3_ERROR_NO_MEMORY, "%s: %lld x %lld pixels, the limit is %lld in all", prefix,
                        (long long)width, (long long)height, (long long)CM3_IMAGE_MAX_PIXELS);
    }
    size_t stride = 3 * (size_t)width, size = HEADER_SIZE + stride * (size_t)height;
    cm3_image *made = cm3_alloc(context, size);
    if (made == NULL) return cm3_fail_memory(context, size, prefix);
    made->context = context;
    atomic_init(&made->holds, 1);
    made->width = (int32_t)width;
    made->height = (int32_t)height;
    made->stride = stride;
    made->pixels = (uint8_t *)made + HEADER_SIZE;
    cm3_context_retain(context);
    *image = made;
    return CM3_OK;
}

/* For sizes that the caller named, and not a file. */
static cm3_status check_size(cm3_context *context, const char *function, int32_t width, int32_t height) {
    if (width >= 1 && height >= 1 && width <= CM3_IMAGE_MAX_SIDE && height <= CM3_IMAGE_MAX_SIDE) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: a size of %d x %d; sides are 1 to %d", function,
                    (int)width, (int)height, CM3_IMAGE_MAX_SIDE);
}

static cm3_status fail_null(cm3_context *context, const char *function) {
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: an argument is NULL", function);
}

cm3_status cm3_image_create(cm3_context *context, int32_t width, int32_t height, cm3_image **image) {
    if (image != NULL) *image = NULL;
    if (context == NULL || image == NULL) return fail_null(context, "cm3_image_create");
    CM3_TRY(check_size(context, "cm3_image_create", width, height));
    CM3_TRY(cm3_image_allocate(context, NULL, width, height, image));
    memset((*image)->pixels, 0, (*image)->stride * (size_t)height);
    return CM3_OK;
}

cm3_status cm3_image_from_pixels(cm3_context *context, const uint8_t *pixels, int32_t width, int32_t height,
                                 size_t stride, cm3_image **image) {
    if (image != NULL) *image = NULL;
    if (context == NULL || pixels == NULL || image == NULL) return fail_null(context, "cm3_image_from_pixels");
    CM3_TRY(check_size(context, "cm3_image_from_pixels", width, height));
    size_t row = 3 * (size_t)width, reach;
    if (stride == 0) stride = row;
    if (stride < row || !cm3_mul_size(stride, (size_t)height, &reach)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_image_from_pixels: the stride is %zu; a row of %d pixels has %zu bytes", stride,
                        (int)width, row);
    }
    CM3_TRY(cm3_image_allocate(context, NULL, width, height, image));
    for (size_t y = 0; y < (size_t)height; ++y) memcpy((*image)->pixels + y * row, pixels + y * stride, row);
    return CM3_OK;
}

cm3_status cm3_image_retain(cm3_image *image) {
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    atomic_fetch_add_explicit(&image->holds, 1, memory_order_relaxed);
    return CM3_OK;
}

void cm3_image_destroy(cm3_image *image) {
    if (image == NULL || atomic_fetch_sub_explicit(&image->holds, 1, memory_order_acq_rel) != 1) return;
    cm3_context *context = image->context;
    cm3_free(context, image);
    cm3_context_release(context);
}

cm3_status cm3_image_get_view(const cm3_image *image, cm3_image_view *view) {
    if (view != NULL) memset(view, 0, sizeof *view);
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (view == NULL) return fail_null(image->context, "cm3_image_get_view");
    view->width = image->width;
    view->height = image->height;
    view->stride = image->stride;
    view->pixels = image->pixels;
    return CM3_OK;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static const uint8_t jpeg_start[] = {0xff, 0xd8, 0xff};
static const uint8_t png_start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* True where the data begins as `start` does, as far as it goes. */
static bool begins(const uint8_t *data, size_t size, const uint8_t *start, size_t start_size) {
    return memcmp(data, start, size < start_size ? size : start_size) == 0;
}

static cm3_status decode(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_image **image) {
    if (size == 0) return cm3_fail(context, CM3_ERROR_TRUNCATED, "%s: empty, a JPEG or PNG is wanted", name);
    bool jpeg = begins(data, size, jpeg_start, sizeof jpeg_start);
    bool png = begins(data, size, png_start, sizeof png_start);
    if ((jpeg && size < sizeof jpeg_start) || (png && size < sizeof png_start)) {
        return cm3_fail(context, CM3_ERROR_TRUNCATED, "%s: ends after %zu bytes, a JPEG or PNG is wanted", name, size);
    }
    if (jpeg) return cm3_jpeg_decode(context, name, data, size, image);
    if (png) return cm3_png_decode(context, name, data, size, image);
    uint8_t head[4] = {0};
    memcpy(head, data, size < sizeof head ? size : sizeof head);
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: neither JPEG nor PNG, it begins with bytes %02x %02x %02x %02x",
                    name, head[0], head[1], head[2], head[3]);
}

cm3_status cm3_image_load(cm3_context *context, const char *path, cm3_image **image) {
    if (image != NULL) *image = NULL;
    if (context == NULL || path == NULL || image == NULL) return fail_null(context, "cm3_image_load");
    cm3_file *file;
    CM3_TRY(cm3_file_open(context, path, &file));
    cm3_status status = decode(context, file->name, file->data, file->size, image);
    cm3_file_release(file);
    return status;
}

cm3_status cm3_image_load_memory(cm3_context *context, const void *data, size_t size, cm3_image **image) {
    if (image != NULL) *image = NULL;
    if (context == NULL || data == NULL || image == NULL) return fail_null(context, "cm3_image_load_memory");
    return decode(context, "memory", data, size, image);
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

void cm3_image_save_options_init(cm3_image_save_options *options) {
    if (options == NULL) return;
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->jpeg_quality = 95;
    options->jpeg_subsampling = 444;
    options->png_level = 6;
}

static cm3_status read_options(cm3_context *context, const cm3_image_save_options *theirs,
                               cm3_image_save_options *options) {
    cm3_image_save_options_init(options);
    CM3_TRY(cm3_options_read(context, options, sizeof *options, theirs, "cm3_image_save_options"));
    if (options->jpeg_quality < 1 || options->jpeg_quality > 100) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "jpeg_quality is %d, not in 1..100",
                        (int)options->jpeg_quality);
    }
    int32_t subsampling = options->jpeg_subsampling;
    if (subsampling != 444 && subsampling != 422 && subsampling != 420) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "jpeg_subsampling is %d, not 444, 422 or 420",
                        (int)subsampling);
    }
    if (options->png_level < 0 || options->png_level > 9) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "png_level is %d, not in 0..9", (int)options->png_level);
    }
    return CM3_OK;
}

cm3_status cm3_image_encode(const cm3_image *image, cm3_image_format format, const cm3_image_save_options *options,
                            uint8_t **data, size_t *size) {
    if (data != NULL) *data = NULL;
    if (size != NULL) *size = 0;
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (data == NULL || size == NULL) return fail_null(image->context, "cm3_image_encode");
    cm3_image_save_options checked;
    CM3_TRY(read_options(image->context, options, &checked));
    if (format == CM3_IMAGE_JPEG) return cm3_jpeg_encode(image, &checked, data, size);
    if (format == CM3_IMAGE_PNG) return cm3_png_encode(image, &checked, data, size);
    return cm3_fail(image->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_image_encode: format %d is unknown", (int)format);
}

void cm3_buffer_free(cm3_context *context, void *data, size_t size) {
    (void)size; /* kept beside the block; part of the interface so that other allocations could do without */
    if (context != NULL) cm3_free(context, data);
}

/* What a path's ending says; 0: nothing known. */
static cm3_image_format format_of_ending(const char *path) {
    const char *dot = strrchr(path, '.');
    if (dot != NULL && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0)) return CM3_IMAGE_JPEG;
    if (dot != NULL && strcasecmp(dot, ".png") == 0) return CM3_IMAGE_PNG;
    return (cm3_image_format)0;
}

cm3_status cm3_image_save(const cm3_image *image, const char *path, const cm3_image_save_options *options) {
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (path == NULL) return fail_null(image->context, "cm3_image_save");
    cm3_image_format format = format_of_ending(path);
    if (format == 0) {
        return cm3_fail(image->context, CM3_ERROR_INVALID_ARGUMENT, "%s: pictures are written as .jpg, .jpeg or .png",
                        path);
    }
    uint8_t *data;
    size_t size;
    CM3_TRY(cm3_image_encode(image, format, options, &data, &size));
    cm3_status status = cm3_write_file(image->context, path, data, size);
    cm3_free(image->context, data);
    return status;
}

/* --- other pictures of pictures ----------------------------------------------------------------------------------- */

cm3_status cm3_image_resize(const cm3_image *image, int32_t width, int32_t height, cm3_filter filter,
                            cm3_image **resized) {
    if (resized != NULL) *resized = NULL;
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (resized == NULL) return fail_null(image->context, "cm3_image_resize");
    CM3_TRY(check_size(image->context, "cm3_image_resize", width, height));
    cm3_window all = {0, 0, width, height};
    return cm3_resample(image, width, height, filter, &all, resized);
}

/* Copies what of `from`, laid with its corner at (x, y) of `to`, lies inside. */
static void paste(cm3_image *to, const cm3_image *from, int64_t x, int64_t y) {
    int64_t left = x > 0 ? x : 0, right = x + from->width < to->width ? x + from->width : to->width;
    int64_t top = y > 0 ? y : 0, bottom = y + from->height < to->height ? y + from->height : to->height;
    if (left >= right) return;
    for (int64_t row = top; row < bottom; ++row) {
        memcpy(to->pixels + (size_t)row * to->stride + 3 * (size_t)left,
               from->pixels + (size_t)(row - y) * from->stride + 3 * (size_t)(left - x), 3 * (size_t)(right - left));
    }
}

cm3_status cm3_image_crop(const cm3_image *image, int32_t x, int32_t y, int32_t width, int32_t height,
                          cm3_image **cropped) {
    if (cropped != NULL) *cropped = NULL;
    if (image == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (cropped == NULL) return fail_null(image->context, "cm3_image_crop");
    CM3_TRY(check_size(image->context, "cm3_image_crop", width, height));
    CM3_TRY(cm3_image_create(image->context, width, height, cropped));
    paste(*cropped, image, -(int64_t)x, -(int64_t)y);
    return CM3_OK;
}

/* Columns of the squarest grid that holds `count`. */
static int64_t square_columns(size_t count) {
    int64_t columns = 1;
    while ((uint64_t)columns * (uint64_t)columns < count) ++columns;
    return columns;
}

static cm3_status check_sheet(cm3_context *context, const cm3_image *const *images, size_t count, int32_t columns,
                              int32_t gap) {
    if (images == NULL) return fail_null(context, "cm3_image_contact_sheet");
    if (count == 0 || count > (size_t)CM3_IMAGE_MAX_PIXELS || columns < 0 || columns > CM3_IMAGE_MAX_SIDE || gap < 0 ||
        gap > CM3_IMAGE_MAX_SIDE) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_image_contact_sheet: %zu pictures, %d columns, a gap of %d is out of range", count,
                        (int)columns, (int)gap);
    }
    for (size_t i = 0; i < count; ++i) {
        if (images[i] != NULL) continue;
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_image_contact_sheet: picture %zu is NULL", i);
    }
    return CM3_OK;
}

cm3_status cm3_image_contact_sheet(cm3_context *context, const cm3_image *const *images, size_t count, int32_t columns,
                                   int32_t gap, cm3_image **sheet) {
    if (sheet != NULL) *sheet = NULL;
    if (context == NULL || sheet == NULL) return fail_null(context, "cm3_image_contact_sheet");
    CM3_TRY(check_sheet(context, images, count, columns, gap));
    int64_t cell_width = 0, cell_height = 0, across = columns > 0 ? columns : square_columns(count);
    for (size_t i = 0; i < count; ++i) {
        if (images[i]->width > cell_width) cell_width = images[i]->width;
        if (images[i]->height > cell_height) cell_height = images[i]->height;
    }
    int64_t down = ((int64_t)count + across - 1) / across;
    cell_width += gap;
    cell_height += gap;
    int64_t width = across * cell_width - gap, height = down * cell_height - gap;
    if (width > CM3_IMAGE_MAX_SIDE || height > CM3_IMAGE_MAX_SIDE) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_image_contact_sheet: the sheet would be %lld x %lld; sides are 1 to %d", (long long)width,
                        (long long)height, CM3_IMAGE_MAX_SIDE);
    }
    CM3_TRY(cm3_image_allocate(context, "contact sheet", width, height, sheet));
    memset((*sheet)->pixels, 255, (*sheet)->stride * (size_t)(*sheet)->height);
    for (int64_t i = 0; i < (int64_t)count; ++i) {
        paste(*sheet, images[i], i % across * cell_width, i / across * cell_height);
    }
    return CM3_OK;
}
