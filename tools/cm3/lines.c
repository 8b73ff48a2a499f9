/* Lines of texts: a JSON string each, or an object with "text". */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

void cm3_lines_free(char **lines, size_t count) {
    for (size_t i = 0; lines && i < count; i++) free(lines[i]);
    free(lines);
}

void cm3_print_json(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') putchar('\\');
        if (byte < 0x20) {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
    putchar('"');
}

/** The text of one line, or NULL after saying why. */
static char *text_of(const char *path, size_t number, const char *line, size_t size) {
    json_error_t error;
    json_t *json = json_loadb(line, size, JSON_DECODE_ANY, &error);
    if (!json) {
        cm3_say("%s:%zu:%d: %s", path, number, error.column, error.text);
        return NULL;
    }
    const json_t *text = json_is_object(json) ? json_object_get(json, "text") : json;
    char *copy = json_is_string(text) ? strdup(json_string_value(text)) : NULL;
    if (!json_is_string(text)) cm3_say("%s:%zu: neither a JSON string nor an object with \"text\"", path, number);
    json_decref(json);
    return copy;
}

char **cm3_lines_read(const char *path, size_t *count) {
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    char **lines = NULL, *line = NULL;
    size_t capacity = 0, line_capacity = 0, number = 0;
    ssize_t size;
    bool good = file != NULL;
    *count = 0;
    if (!file) cm3_say("%s: the file cannot be read", path);
    while (good && (size = getline(&line, &line_capacity, file)) >= 0) {
        number++;
        while (size && (line[size - 1] == '\n' || line[size - 1] == '\r' || line[size - 1] == ' ')) size--;
        if (!size) continue;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **grown = realloc(lines, capacity * sizeof *lines);
            good = grown != NULL;
            lines = grown ? grown : lines;
        }
        char *text = good ? text_of(path, number, line, (size_t)size) : NULL;
        good = text != NULL;
        if (text) lines[(*count)++] = text;
    }
    free(line);
    if (file && file != stdin) fclose(file);
    if (cm3_interrupted()) good = false;
    if (good && !*count) {
        cm3_say("%s: there are no lines", path);
        good = false;
    }
    if (good) return lines;
    cm3_lines_free(lines, *count);
    *count = 0;
    return NULL;
}

int32_t *cm3_ids_read(const char *path, size_t *count) {
    json_error_t error;
    json_t *list = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &error) : json_load_file(path, 0, &error);
    if (!list) {
        cm3_say("%s:%d:%d: %s", path, error.line, error.column, error.text);
        return NULL;
    }
    *count = json_array_size(list);
    int32_t *ids = calloc(*count + 1, sizeof *ids);
    bool good = ids && *count;
    for (size_t i = 0; i < *count && good; i++) {
        json_t *item = json_array_get(list, i);
        json_int_t id = json_integer_value(item);
        good = json_is_integer(item) && id >= 0 && id <= INT32_MAX;
        ids[i] = good ? (int32_t)id : 0;
    }
    json_decref(list);
    if (good) return ids;
    cm3_say("%s: a JSON list of ids is expected, such as [0, 17, 4]", path);
    free(ids);
    return NULL;
}
