/* JPEG by the TurboJPEG interface. */
#include <stdio.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/memory.h"
#include "image/codec.h"

/* The exact inverse transform and smooth upsampling (what is done unless asked otherwise) give Pillow's pixels. */
#define DECODE_FLAGS (TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS)

/* Markers: the byte after 0xff. */
#define STARTS_FRAME(m) ((m) >= 0xc0 && (m) <= 0xcf && (m) != 0xc4 && (m) != 0xc8 && (m) != 0xcc)
#define IS_DATA(m) ((m) == 0x00 || (m) == 0x01 || (m) == 0xff || ((m) >= 0xd0 && (m) <= 0xd7))
#define START_OF_IMAGE 0xd8
#define END_OF_IMAGE 0xd9
#define START_OF_SCAN 0xda

/* --- segments, as they follow each other in the file -------------------------------------------------------------- */

/** A place in the file, and the segment there. */
typedef struct cm3_jpeg_walk {
    const uint8_t *data;
    size_t size;
    size_t at; /**< where to go on; at the end: where the end marker begins */
    int marker;
    const uint8_t *segment; /**< after the marker: two bytes of length and the rest */
    size_t length;
} cm3_jpeg_walk;

/* False at the end marker, or where the file is not as it should be. Compressed data between segments is skipped. */
static bool next_segment(cm3_jpeg_walk *walk) {
    while (walk->at + 2 <= walk->size) {
        const uint8_t *mark = memchr(walk->data + walk->at, 0xff, walk->size - walk->at - 1);
        if (mark == NULL) return false;
        walk->at = (size_t)(mark - walk->data);
        walk->marker = mark[1];
        if (walk->marker == END_OF_IMAGE) return false;
        walk->at += walk->marker == 0xff ? 1 : 2;
        if (IS_DATA(walk->marker) || walk->marker == START_OF_IMAGE) continue;
        if (walk->size - walk->at < 2) return false;
        walk->segment = mark + 2;
        walk->length = (size_t)walk->segment[0] << 8 | walk->segment[1];
        if (walk->length < 2 || walk->length > walk->size - walk->at) return false;
        walk->at += walk->length;
        return true;
    }
    return false;
}

/** What the segments say of components. */
typedef struct cm3_jpeg_parts {
    uint8_t components[4]; /**< their names */
    int count;
    bool scanned[256]; /**< by name: there is a scan that begins with the component's mean values */
    int64_t scans;     /**< in all */
} cm3_jpeg_parts;

static void read_segment(const cm3_jpeg_walk *walk, cm3_jpeg_parts *parts) {
    const uint8_t *segment = walk->segment;
    if (STARTS_FRAME(walk->marker) && walk->length >= 8) {
        parts->count = segment[7] <= 4 ? segment[7] : 4;
        if (walk->length < 8 + 3 * (size_t)parts->count) parts->count = 0;
        for (int i = 0; i < parts->count; ++i) parts->components[i] = segment[8 + 3 * i];
    }
    if (walk->marker == START_OF_SCAN) ++parts->scans;
    if (walk->marker == START_OF_SCAN && walk->length >= 3) {
        size_t count = segment[2];
        if (walk->length < 6 + 2 * count || segment[3 + 2 * count] != 0) return;
        for (size_t i = 0; i < count; ++i) parts->scanned[segment[3 + 2 * i]] = true;
    }
}

static cm3_jpeg_parts read_parts(const uint8_t *data, size_t size) {
    cm3_jpeg_walk walk = {.data = data, .size = size};
    cm3_jpeg_parts parts = {.count = 0};
    while (next_segment(&walk)) read_segment(&walk, &parts);
    return parts;
}

/* A component without a scan decodes to grey without a word, so it is looked for in a picture that decoded. */
static cm3_status check_scans(cm3_context *context, const char *name, const uint8_t *data, size_t size) {
    cm3_jpeg_parts parts = read_parts(data, size);
    for (int i = 0; i < parts.count; ++i) {
        if (parts.scanned[parts.components[i]]) continue;
        return cm3_fail(context, CM3_ERROR_TRUNCATED, "%s: JPEG of %zu bytes: component %d of %d has no scan", name,
                        size, i + 1, parts.count);
    }
    return CM3_OK;
}

/*
 * Each scan goes through all blocks of the picture, and a scan that changes nothing takes some ten bytes: a file of
 * kilobytes could keep a processor busy for minutes. Of a picture that is one, a byte holds far less than this.
 */
static cm3_status check_work(cm3_context *context, const char *name, const uint8_t *data, size_t size, int width,
                             int height) {
    const int64_t pixels_a_byte = 65536, for_free = (int64_t)1 << 28;
    int64_t scans = read_parts(data, size).scans, pixels = (int64_t)width * height;
    if (scans <= 1 || pixels <= (for_free + (int64_t)size * pixels_a_byte) / scans) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_UNSUPPORTED,
                    "%s: JPEG of %zu bytes: %lld scans of %d x %d pixels are out of proportion", name, size,
                    (long long)scans, width, height);
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

typedef struct cm3_jpeg_header {
    int width, height, subsampling, colours;
} cm3_jpeg_header;

/* TurboJPEG tells what went wrong in words only. */
static cm3_status status_of(const char *words) {
    if (strstr(words, "emory")) return CM3_ERROR_NO_MEMORY;
    if (strstr(words, "Premature end") || strstr(words, "premature end") || strstr(words, "missing SOS")) {
        return CM3_ERROR_TRUNCATED;
    }
    if (strstr(words, "nsupported") || strstr(words, "not supported") || strstr(words, "Sorry") ||
        strstr(words, "Maximum supported") || strstr(words, "Could not determine")) {
        return CM3_ERROR_UNSUPPORTED;
    }
    return CM3_ERROR_FORMAT;
}

static cm3_status fail_decode(cm3_context *context, const char *name, size_t size, tjhandle handle) {
    const char *words = tjGetErrorStr2(handle);
    return cm3_fail(context, status_of(words), "%s: JPEG of %zu bytes: %s", name, size, words);
}

static cm3_status read_header(cm3_context *context, const char *name, const uint8_t *data, size_t size, tjhandle handle,
                              cm3_jpeg_header *header) {
    *header = (cm3_jpeg_header){.colours = -1};
    int failed = tjDecompressHeader3(handle, data, (unsigned long)size, &header->width, &header->height,
                                     &header->subsampling, &header->colours);
    /* A subsampling that TurboJPEG has no name for is an error to it, though it decodes it well. */
    if (header->width > 0 && header->height > 0 && header->colours >= 0) return CM3_OK;
    if (failed != 0) return fail_decode(context, name, size, handle);
    /* Tables without a picture are well formed to TurboJPEG, and so is a header that is cut off. */
    bool ends = size >= 4 && data[size - 2] == 0xff && data[size - 1] == END_OF_IMAGE;
    return cm3_fail(context, ends ? CM3_ERROR_FORMAT : CM3_ERROR_TRUNCATED, "%s: JPEG of %zu bytes: %s", name, size,
                    ends ? "there is no picture in it" : "it ends before the picture begins");
}

/* Any warning fails: it may stand for pixels that are not in the file but grey, or shifted. */
static bool decompress(tjhandle handle, const uint8_t *data, size_t size, const cm3_image *image, uint8_t *pixels,
                       int format) {
    return tjDecompress2(handle, data, (unsigned long)size, pixels, image->width, image->width * tjPixelSize[format],
                         image->height, format, DECODE_FLAGS | TJFLAG_STOPONWARNING) == 0;
}

/*
 * Padding before the end marker is common and harmless, but a warning too. Then the picture is decoded again from a
 * copy without it, so that nothing else passes. *copy stays NULL where the warning was of something else.
 */
static cm3_status without_padding(cm3_context *context, const char *name, const uint8_t *data, size_t size,
                                  tjhandle handle, uint8_t **copy, size_t *copy_size) {
    *copy = NULL;
    size_t padding;
    char end[8] = "";
    if (sscanf(tjGetErrorStr2(handle), "Corrupt JPEG data: %zu extraneous bytes before marker %7s", &padding, end) !=
            2 ||
        strcmp(end, "0xd9") != 0) {
        return CM3_OK;
    }
    cm3_jpeg_walk walk = {.data = data, .size = size};
    while (next_segment(&walk)) continue;
    if (walk.marker != END_OF_IMAGE || padding > walk.at) return CM3_OK;
    *copy_size = walk.at - padding + 2;
    *copy = cm3_alloc(context, *copy_size);
    if (*copy == NULL) return cm3_fail_memory(context, *copy_size, name);
    memcpy(*copy, data, *copy_size - 2);
    memcpy(*copy + *copy_size - 2, data + walk.at, 2);
    return CM3_OK;
}

static cm3_status read_pixels(cm3_context *context, const char *name, const uint8_t *data, size_t size, tjhandle handle,
                              const cm3_image *image, uint8_t *pixels, int format) {
    if (decompress(handle, data, size, image, pixels, format)) return CM3_OK;
    uint8_t *copy;
    size_t copy_size = 0;
    CM3_TRY(without_padding(context, name, data, size, handle, &copy, &copy_size));
    bool done = copy != NULL && decompress(handle, copy, copy_size, image, pixels, format);
    cm3_free(context, copy);
    return done ? CM3_OK : fail_decode(context, name, size, handle);
}

/* a * b / 255, rounded. */
static uint8_t share(unsigned a, unsigned b) {
    unsigned product = a * b + 128;
    return (uint8_t)((product + (product >> 8)) >> 8);
}

/* Inks are stored inverted, as Adobe's programs do and Pillow takes for granted. */
static void inks_to_rgb(const uint8_t *inks, size_t count, uint8_t *rgb) {
    for (size_t i = 0; i < count; ++i, inks += 4, rgb += 3) {
        for (int c = 0; c < 3; ++c) rgb[c] = (uint8_t)(inks[3] - share(255u - inks[c], inks[3]));
    }
}

static cm3_status read_inks(cm3_context *context, const char *name, const uint8_t *data, size_t size, tjhandle handle,
                            cm3_image *image) {
    size_t count = (size_t)image->width * (size_t)image->height;
    uint8_t *inks = cm3_alloc(context, 4 * count);
    if (inks == NULL) return cm3_fail_memory(context, 4 * count, name);
    cm3_status status = read_pixels(context, name, data, size, handle, image, inks, TJPF_CMYK);
    if (status == CM3_OK) inks_to_rgb(inks, count, image->pixels);
    cm3_free(context, inks);
    return status;
}

static cm3_status decode(cm3_context *context, const char *name, const uint8_t *data, size_t size, tjhandle handle,
                         cm3_image **image) {
    cm3_jpeg_header header;
    CM3_TRY(read_header(context, name, data, size, handle, &header));
    CM3_TRY(check_work(context, name, data, size, header.width, header.height));
    CM3_TRY(cm3_image_allocate(context, name, header.width, header.height, image));
    if (header.colours == TJCS_CMYK || header.colours == TJCS_YCCK) {
        CM3_TRY(read_inks(context, name, data, size, handle, *image));
    } else {
        CM3_TRY(read_pixels(context, name, data, size, handle, *image, (*image)->pixels, TJPF_RGB));
    }
    return check_scans(context, name, data, size);
}

cm3_status cm3_jpeg_decode(cm3_context *context, const char *name, const uint8_t *data, size_t size,
                           cm3_image **image) {
    *image = NULL;
    tjhandle handle = tjInitDecompress();
    if (handle == NULL) return cm3_fail(context, CM3_ERROR_NO_MEMORY, "%s: %s", name, tjGetErrorStr2(NULL));
    cm3_status status = decode(context, name, data, size, handle, image);
    tjDestroy(handle);
    if (status != CM3_OK) {
        cm3_image_destroy(*image);
        *image = NULL;
    }
    return status;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static int subsampling_of(int32_t option) {
    return option == 420 ? TJSAMP_420 : option == 422 ? TJSAMP_422 : TJSAMP_444;
}

/* `room` holds the worst case, so that TurboJPEG need not allocate. */
static cm3_status compress(const cm3_image *image, const cm3_image_save_options *options, uint8_t *buffer,
                           unsigned long room, unsigned long *used) {
    tjhandle handle = tjInitCompress();
    if (handle == NULL) return cm3_fail(image->context, CM3_ERROR_NO_MEMORY, "JPEG: %s", tjGetErrorStr2(NULL));
    cm3_status status = CM3_OK;
    *used = room;
    if (tjCompress2(handle, image->pixels, image->width, (int)image->stride, image->height, TJPF_RGB, &buffer, used,
                    subsampling_of(options->jpeg_subsampling), options->jpeg_quality,
                    TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC) != 0) {
        const char *words = tjGetErrorStr2(handle);
        status = cm3_fail(image->context, strstr(words, "emory") ? CM3_ERROR_NO_MEMORY : CM3_ERROR_INTERNAL,
                          "writing a JPEG of %d x %d pixels: %s", (int)image->width, (int)image->height, words);
    }
    tjDestroy(handle);
    return status;
}

cm3_status cm3_jpeg_encode(const cm3_image *image, const cm3_image_save_options *options, uint8_t **data,
                           size_t *size) {
    cm3_context *context = image->context;
    unsigned long room = tjBufSize(image->width, image->height, subsampling_of(options->jpeg_subsampling));
    if (room == (unsigned long)-1) {
        return cm3_fail(context, CM3_ERROR_INTERNAL, "writing a JPEG of %d x %d pixels: %s", (int)image->width,
                        (int)image->height, tjGetErrorStr2(NULL));
    }
    uint8_t *buffer = cm3_alloc(context, room);
    if (buffer == NULL) return cm3_fail_memory(context, room, "JPEG");
    unsigned long used;
    cm3_status status = compress(image, options, buffer, room, &used);
    if (status != CM3_OK) {
        cm3_free(context, buffer);
        return status;
    }
    uint8_t *tight = cm3_realloc(context, buffer, used);
    *data = tight != NULL ? tight : buffer;
    *size = used;
    return CM3_OK;
}
