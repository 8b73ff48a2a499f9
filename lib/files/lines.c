/* Records from a JSON-lines file that names its pictures. */
#ifdef CM3_WITH_TRAIN

#include "files/lines.h"

#include <stdio.h>
#include <string.h>

#include "files/json.h"

struct cm3_lines {
    cm3_context *context;
    cm3_file *file;
    size_t offset, line;
};

cm3_status cm3_lines_open(cm3_context *context, cm3_file *file, cm3_lines **lines) {
    *lines = cm3_calloc(context, 1, sizeof **lines);
    if (*lines == NULL) return cm3_fail_memory(context, sizeof **lines, file->name);
    (*lines)->context = context;
    (*lines)->file = file;
    cm3_file_retain(file);
    return CM3_OK;
}

void cm3_lines_close(cm3_lines *lines) {
    if (lines == NULL) return;
    cm3_file_release(lines->file);
    cm3_free(lines->context, lines);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line that is not blank, without its end; false at the file's end. */
static bool next_line(cm3_lines *lines, const char **text, size_t *size) {
    const cm3_file *file = lines->file;
    while (lines->offset < file->size) {
        const char *begin = (const char *)file->data + lines->offset;
        size_t left = file->size - lines->offset;
        const char *end = memchr(begin, '\n', left);
        size_t length = end != NULL ? (size_t)(end - begin) : left;
        lines->offset += length + (end != NULL ? 1 : 0);
        ++lines->line;
        while (length > 0 && is_blank(begin[length - 1])) --length;
        while (length > 0 && is_blank(*begin)) {
            ++begin;
            --length;
        }
        *text = begin;
        *size = length;
        if (length > 0) return true;
    }
    return false;
}

static cm3_status fail_line(const cm3_lines *lines, const char *words) {
    return cm3_fail(lines->context, CM3_ERROR_FORMAT, "%s: line %zu: %s", lines->file->name, lines->line, words);
}

/* A copy with a NUL after it. */
static cm3_status copy(const cm3_lines *lines, const void *from, size_t size, char **to) {
    *to = cm3_strndup(lines->context, from, size);
    return *to != NULL ? CM3_OK : cm3_fail_memory(lines->context, size, lines->file->name);
}

static bool is_text(const json_t *value) {
    if (value == NULL || json_is_null(value) || json_is_string(value)) return true;
    if (!json_is_array(value)) return false;
    for (size_t i = 0; i < json_array_size(value); ++i) {
        if (!json_is_string(json_array_get(value, i))) return false;
    }
    return true;
}

/* A path of the line, beside the file that names it. */
static char *resolve(const cm3_lines *lines, const char *path) {
    const char *name = lines->file->name, *slash = strrchr(name, '/');
    size_t directory = path[0] != '/' && slash != NULL ? (size_t)(slash - name) + 1 : 0;
    size_t length = strlen(path);
    char *joined = cm3_alloc(lines->context, directory + length + 1);
    if (joined == NULL) return NULL;
    memcpy(joined, name, directory);
    memcpy(joined + directory, path, length + 1);
    return joined;
}

static cm3_status read_picture(const cm3_lines *lines, const char *path, cm3_record *record) {
    char *joined = resolve(lines, path);
    if (joined == NULL) return cm3_fail_memory(lines->context, strlen(path), lines->file->name);
    cm3_file *picture;
    cm3_status status = cm3_file_open(lines->context, joined, &picture);
    if (status != CM3_OK) {
        char words[512];
        snprintf(words, sizeof words, "%s", cm3_context_message(lines->context));
        cm3_fail(lines->context, status, "%s: line %zu: %s", lines->file->name, lines->line, words);
    } else if (picture->size > (size_t)CM3_MAX_MEMBER) {
        status = cm3_fail(lines->context, CM3_ERROR_FORMAT, "%s: line %zu: %.300s: %zu bytes, at most %lld are read",
                          lines->file->name, lines->line, joined, picture->size, (long long)CM3_MAX_MEMBER);
    } else {
        char *bytes;
        status = copy(lines, picture->data, picture->size, &bytes);
        record->image = (uint8_t *)bytes;
        record->image_size = picture->size;
    }
    cm3_file_release(picture);
    cm3_free(lines->context, joined);
    return status;
}

static cm3_status read_object(const cm3_lines *lines, const json_t *value, cm3_record *record) {
    const json_t *key = json_object_get(value, "key"), *image = json_object_get(value, "image");
    if (!is_text(json_object_get(value, "text"))) return fail_line(lines, "text: expected a string or a list of them");
    if (key != NULL && !json_is_null(key)) {
        if (!json_is_string(key)) return fail_line(lines, "key: expected a string");
        cm3_free(lines->context, record->key);
        CM3_TRY(copy(lines, json_string_value(key), json_string_length(key), &record->key));
    }
    if (image == NULL || json_is_null(image)) return CM3_OK;
    if (!json_is_string(image)) return fail_line(lines, "image: expected a string");
    return read_picture(lines, json_string_value(image), record);
}

static cm3_status read_value(const cm3_lines *lines, const json_t *value, const char *line, size_t size,
                             cm3_record *record) {
    char number[24];
    int length = snprintf(number, sizeof number, "%zu", lines->line);
    CM3_TRY(copy(lines, number, (size_t)length, &record->key));
    if (json_is_string(value)) {
        record->text_size = json_string_length(value);
        return copy(lines, json_string_value(value), record->text_size, &record->text);
    }
    if (!json_is_object(value)) return fail_line(lines, "expected an object or a string");
    record->json_size = size;
    CM3_TRY(copy(lines, line, size, &record->json));
    return read_object(lines, value, record);
}

cm3_status cm3_lines_next(cm3_lines *lines, cm3_record *record, bool *more) {
    const char *text;
    size_t size;
    *more = next_line(lines, &text, &size);
    if (!*more) return CM3_OK;
    char where[512];
    snprintf(where, sizeof where, "%.400s: line %zu", lines->file->name, lines->line);
    json_t *value;
    cm3_status status = cm3_json_parse(lines->context, where, text, size, &value);
    if (status == CM3_OK) status = read_value(lines, value, text, size, record);
    json_decref(value);
    if (status != CM3_OK) {
        cm3_record_clear(lines->context, record);
        *more = false;
    }
    return status;
}

#endif
