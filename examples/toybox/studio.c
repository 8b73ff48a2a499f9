/* What the evaluator's commands share. */
#include "studio.h"

#include "scene_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_SIDE = 64, GREATEST_SIDE = 256, REDUCED_SIDE = 192 };

bool toy_complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("toybox-evaluate: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

bool toy_parse_long(const char *text, long low, long high, long *out) {
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= low && *out <= high;
}

bool toy_studio_open(toy_studio *studio) {
    *studio = (toy_studio){0};
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    if (cm3_context_create(&options, &studio->context) != CM3_OK) return toy_complain("no context could be made");
    return true;
}

void toy_studio_close(toy_studio *studio) {
    toy_reader_destroy(studio->reader);
    cm3_context_destroy(studio->context);
    *studio = (toy_studio){0};
}

static bool read_view(toy_studio *studio, const cm3_image_view *view, toy_reading *reading) {
    if (studio->reader_side != view->width) {
        toy_reader_destroy(studio->reader);
        studio->reader = toy_reader_create(view->width);
        studio->reader_side = studio->reader ? view->width : 0;
        if (!studio->reader) return toy_complain("out of memory");
    }
    toy_read(studio->reader, view->pixels, view->stride, reading);
    return true;
}

bool toy_studio_read(toy_studio *studio, const cm3_image *image, const char *name, toy_reading *reading) {
    cm3_image_view view;
    if (cm3_image_get_view(image, &view) != CM3_OK)
        return toy_complain("%s: %s", name, cm3_context_message(studio->context));
    if (view.width != view.height || view.width < LEAST_SIDE)
        return toy_complain("%s: expected a square picture of at least %d pixels, found %d x %d", name, LEAST_SIDE,
                            view.width, view.height);
    if (view.width <= GREATEST_SIDE) return read_view(studio, &view, reading);
    cm3_image *small;
    if (cm3_image_resize(image, REDUCED_SIDE, REDUCED_SIDE, CM3_FILTER_LANCZOS, &small) != CM3_OK)
        return toy_complain("%s: %s", name, cm3_context_message(studio->context));
    bool ok = cm3_image_get_view(small, &view) == CM3_OK && read_view(studio, &view, reading);
    cm3_image_destroy(small);
    return ok;
}

/* --- prompts --- */

static bool parse_prompt(const char *line, size_t length, const char *where, toy_prompt *prompt) {
    json_error_t error;
    json_t *json = json_loadb(line, length, 0, &error);
    if (!json) return toy_complain("%s: not JSON: %s", where, error.text);
    const json_t *text = json_object_get(json, "text");
    /* The JSON beside a picture in a shard has a list of texts, the canonical one first. */
    if (json_is_array(text)) text = json_array_get(text, 0);
    const char *kind_name = json_string_value(json_object_get(json, "kind"));
    int kind = kind_name ? toy_find(toy_kind_names, TOY_KINDS, kind_name) : -1;
    bool ok = false;
    const char *reason = "";
    if (!json_is_string(text) || json_string_length(text) >= sizeof prompt->text)
        toy_complain("%s: \"text\" is no string of at most %zu bytes", where, sizeof prompt->text - 1);
    else if (kind < 0)
        toy_complain("%s: \"kind\" is none of placed, related, counted", where);
    else if (!toy_demand_from_json(json_object_get(json, "scene"), (toy_kind)kind, &prompt->scene, &reason))
        toy_complain("%s: \"scene\": %s", where, reason);
    else
        ok = true;
    if (ok) memcpy(prompt->text, json_string_value(text), json_string_length(text) + 1);
    json_decref(json);
    return ok;
}

static bool parse_prompts(FILE *file, const char *path, toy_prompt **prompts, size_t *count) {
    char *line = NULL;
    size_t size = 0, room = 0, number = 0;
    ssize_t length;
    bool ok = true;
    while (ok && (length = getline(&line, &size, file)) >= 0) {
        number++;
        if (strspn(line, " \t\r\n") == (size_t)length) continue;
        if (*count == room) {
            room = room ? 2 * room : 256;
            toy_prompt *more = realloc(*prompts, room * sizeof **prompts);
            if (!more) {
                ok = toy_complain("out of memory");
                break;
            }
            *prompts = more;
        }
        char where[512];
        snprintf(where, sizeof where, "%s, line %zu", path, number);
        ok = parse_prompt(line, (size_t)length, where, &(*prompts)[*count]);
        (*count)++;
    }
    free(line);
    if (ok && ferror(file)) ok = toy_complain("%s: %s", path, strerror(errno));
    if (ok && *count == 0) ok = toy_complain("%s: holds no prompts", path);
    return ok;
}

bool toy_load_prompts(const char *path, toy_prompt **prompts, size_t *count) {
    *prompts = NULL;
    *count = 0;
    FILE *file = fopen(path, "r");
    if (!file) return toy_complain("%s: %s", path, strerror(errno));
    bool ok = parse_prompts(file, path, prompts, count);
    fclose(file);
    if (!ok) {
        free(*prompts);
        *prompts = NULL;
        *count = 0;
    }
    return ok;
}

/* --- pictures --- */

bool toy_load_numbered(toy_studio *studio, const char *directory, size_t number, cm3_image **image) {
    *image = NULL;
    size_t size = strlen(directory) + 40;
    char *path = malloc(size);
    if (!path) return toy_complain("out of memory");
    snprintf(path, size, "%s/%04zu.jpg", directory, number);
    if (access(path, F_OK) != 0) snprintf(path, size, "%s/%04zu.png", directory, number);
    bool ok = true;
    if (access(path, F_OK) != 0)
        ok = toy_complain("%s/%04zu.jpg or .png: %s", directory, number, strerror(errno));
    else if (cm3_image_load(studio->context, path, image) != CM3_OK)
        ok = toy_complain("%s: %s", path, cm3_context_message(studio->context));
    free(path);
    return ok;
}

bool toy_to_image(toy_studio *studio, const toy_picture *picture, cm3_image **image) {
    if (cm3_image_from_pixels(studio->context, picture->pixels, picture->side, picture->side, 0, image) != CM3_OK)
        return toy_complain("making a picture: %s", cm3_context_message(studio->context));
    return true;
}

bool toy_save_picture(toy_studio *studio, const toy_picture *picture, const char *path, int quality) {
    cm3_image_save_options options;
    cm3_image_save_options_init(&options);
    if (quality) options.jpeg_quality = quality;
    cm3_image *image = NULL;
    bool ok = toy_to_image(studio, picture, &image);
    if (ok && cm3_image_save(image, path, &options) != CM3_OK)
        ok = toy_complain("%s: %s", path, cm3_context_message(studio->context));
    cm3_image_destroy(image);
    return ok;
}

bool toy_frame(toy_studio *studio, const cm3_image *image, bool right, cm3_image **framed) {
    enum { FRAME = 3 };
    cm3_image_view from, to;
    if (cm3_image_get_view(image, &from) != CM3_OK ||
        cm3_image_create(studio->context, from.width + 2 * FRAME, from.height + 2 * FRAME, framed) != CM3_OK)
        return toy_complain("%s", cm3_context_message(studio->context));
    if (cm3_image_get_view(*framed, &to) != CM3_OK) return toy_complain("%s", cm3_context_message(studio->context));
    for (int32_t y = 0; y < to.height; y++) {
        uint8_t *row = to.pixels + (size_t)y * to.stride;
        for (int32_t x = 0; x < to.width; x++) {
            row[3 * x] = right ? 255 : 230;
            row[3 * x + 1] = row[3 * x + 2] = right ? 255 : 0;
        }
        if (y < FRAME || y >= to.height - FRAME) continue;
        memcpy(row + 3 * FRAME, from.pixels + (size_t)(y - FRAME) * from.stride, 3 * (size_t)from.width);
    }
    return true;
}
