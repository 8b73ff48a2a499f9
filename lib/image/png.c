/* PNG by libpng, whose errors leap: each leap lands in a function that holds nothing of its own. */
#include <png.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "image/codec.h"

/* What both directions share. Everything that must outlive a leap is here. */
typedef struct cm3_png {
    cm3_context *context;
    const char *name;
    png_structp png;
    png_infop info;
    bool no_memory, truncated;
    char words[160]; /**< libpng's, of the error */

    const uint8_t *input;
    size_t position, size; /**< of what is read, or in `output` */
    cm3_image *image;
    uint8_t *rows; /**< with alpha: one row, or all of an interlaced picture */

    const cm3_image *source;
    int level;
    uint8_t *output;
    size_t room;
} cm3_png;

static void *allocate(png_structp png, png_alloc_size_t size) {
    cm3_png *state = png_get_mem_ptr(png);
    void *pointer = cm3_alloc(state->context, size);
    if (pointer == NULL) state->no_memory = true;
    return pointer;
}

static void release(png_structp png, void *pointer) {
    cm3_png *state = png_get_mem_ptr(png);
    cm3_free(state->context, pointer);
}

static void on_error(png_structp png, png_const_charp words) {
    cm3_png *state = png_get_error_ptr(png);
    snprintf(state->words, sizeof state->words, "%s", words);
    png_longjmp(png, 1);
}

/* Warnings are of things beside the pixels. */
static void on_warning(png_structp png, png_const_charp words) {
    cm3_png *state = png_get_error_ptr(png);
    cm3_log(state->context, CM3_LOG_DEBUG, "%s: PNG: %s", state->name, words);
}

/* Runs a part of the work; false where libpng left it by an error. */
static bool guarded(cm3_png *state, void (*work)(cm3_png *state)) {
    if (setjmp(png_jmpbuf(state->png))) return false;
    work(state);
    return true;
}

static cm3_status fail_state(const cm3_png *state) {
    cm3_status status = state->no_memory   ? CM3_ERROR_NO_MEMORY
                        : state->truncated ? CM3_ERROR_TRUNCATED
                                           : CM3_ERROR_FORMAT;
    return cm3_fail(state->context, status, "%s: PNG, byte %zu of %zu: %s", state->name, state->position, state->size,
                    state->words[0] != '\0' ? state->words : "out of memory");
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static void take(png_structp png, png_bytep to, size_t count) {
    cm3_png *state = png_get_io_ptr(png);
    if (count > state->size - state->position) {
        state->truncated = true;
        png_error(png, "the file ends here");
    }
    memcpy(to, state->input + state->position, count);
    state->position += count;
}

/* The header, and what libpng shall make of any kind of pixels: 8 bits, RGB or RGBA. */
static void read_header(cm3_png *state) {
    png_set_user_limits(state->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* sizes are refused by us, in our words */
    png_set_read_fn(state->png, state, take);
    png_read_info(state->png, state->info);
    png_set_expand(state->png);
    png_set_strip_16(state->png);
    png_set_gray_to_rgb(state->png);
}

/* Over white, in whole numbers, as Pillow's alpha_composite computes it. */
static void flatten(const uint8_t *rgba, size_t count, uint8_t *rgb) {
    for (size_t i = 0; i < count; ++i, rgba += 4, rgb += 3) {
        unsigned alpha = rgba[3], white = 255 * (255 - alpha);
        for (int c = 0; c < 3; ++c) {
            unsigned sum = (rgba[c] * alpha + white + 128) << 7;
            rgb[c] = (uint8_t)((sum + (sum >> 8)) >> 15);
        }
    }
}

static void read_rows(cm3_png *state) {
    cm3_image *image = state->image;
    bool interlaced = png_get_interlace_type(state->png, state->info) != PNG_INTERLACE_NONE;
    int passes = png_set_interlace_handling(state->png);
    png_read_update_info(state->png, state->info);
    size_t width = (size_t)image->width, height = (size_t)image->height, row_size = 4 * width;
    if (png_get_channels(state->png, state->info) == 4) {
        state->rows = allocate(state->png, interlaced ? row_size * height : row_size);
        if (state->rows == NULL) png_error(state->png, "out of memory");
    }
    for (int pass = 0; pass < passes; ++pass) {
        for (size_t y = 0; y < height; ++y) {
            uint8_t *to = image->pixels + y * image->stride;
            uint8_t *row = state->rows == NULL ? to : state->rows + (interlaced ? y * row_size : 0);
            png_read_row(state->png, row, NULL);
            if (state->rows != NULL && pass == passes - 1) flatten(row, width, to);
        }
    }
    png_read_end(state->png, NULL);
}

static cm3_status decode(cm3_png *state) {
    state->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, state, on_error, on_warning, state, allocate, release);
    if (state->png != NULL) state->info = png_create_info_struct(state->png);
    if (state->info == NULL)
        return cm3_fail(state->context, CM3_ERROR_NO_MEMORY, "%s: PNG: out of memory", state->name);
    if (!guarded(state, read_header)) return fail_state(state);
    CM3_TRY(cm3_image_allocate(state->context, state->name, png_get_image_width(state->png, state->info),
                               png_get_image_height(state->png, state->info), &state->image));
    return guarded(state, read_rows) ? CM3_OK : fail_state(state);
}

cm3_status cm3_png_decode(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_image **image) {
    *image = NULL;
    cm3_png state = {.context = context, .name = name, .input = data, .size = size};
    cm3_status status = decode(&state);
    cm3_free(context, state.rows);
    png_destroy_read_struct(&state.png, &state.info, NULL);
    if (status == CM3_OK) {
        *image = state.image;
    } else {
        cm3_image_destroy(state.image);
    }
    return status;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static void put(png_structp png, png_bytep from, size_t count) {
    cm3_png *state = png_get_io_ptr(png);
    size_t wanted;
    if (!cm3_add_size(state->position, count, &wanted) ||
        cm3_grow(state->context, &state->output, &state->room, wanted, 1, "PNG") != CM3_OK) {
        state->no_memory = true;
        png_error(png, "out of memory");
    }
    memcpy(state->output + state->position, from, count);
    state->position = wanted;
}

static void flush(png_structp png) {
    (void)png;
}

static void write_all(cm3_png *state) {
    const cm3_image *image = state->source;
    png_set_write_fn(state->png, state, put, flush);
    png_set_user_limits(state->png, CM3_IMAGE_MAX_SIDE, CM3_IMAGE_MAX_SIDE);
    png_set_compression_level(state->png, state->level);
    png_set_IHDR(state->png, state->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(state->png, state->info);
    for (size_t y = 0; y < (size_t)image->height; ++y) {
        png_write_row(state->png, image->pixels + y * image->stride);
    }
    png_write_end(state->png, NULL);
}

static cm3_status encode(cm3_png *state) {
    state->png =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, state, on_error, on_warning, state, allocate, release);
    if (state->png != NULL) state->info = png_create_info_struct(state->png);
    if (state->info == NULL)
        return cm3_fail(state->context, CM3_ERROR_NO_MEMORY, "%s: PNG: out of memory", state->name);
    return guarded(state, write_all) ? CM3_OK : fail_state(state);
}

cm3_status cm3_png_encode(const cm3_image *image, const cm3_image_save_options *options, uint8_t **data, size_t *size) {
    cm3_png state = {.context = image->context, .name = "writing", .source = image, .level = options->png_level};
    cm3_status status = encode(&state);
    png_destroy_write_struct(&state.png, &state.info);
    if (status != CM3_OK) {
        cm3_free(image->context, state.output);
        return status;
    }
    uint8_t *tight = cm3_realloc(image->context, state.output, state.position);
    *data = tight != NULL ? tight : state.output;
    *size = state.position;
    return CM3_OK;
}
