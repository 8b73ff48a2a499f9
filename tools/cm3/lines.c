/* Lines of texts: a JSON string each, or an object with "text", and a path beside it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

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

bool cm3_is_picture(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

bool cm3_make_dir(const char *path) {
    struct stat found;
    if (mkdir(path, 0777) == 0) return true;
    int why = errno;
    if (why == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode)) return true;
    cm3_say("%s: the directory could not be made: %s", path, strerror(why));
    return false;
}

char *cm3_path_beside(const char *beside, const char *name) {
    const char *slash = strrchr(beside, '/');
    size_t folder = slash && name[0] != '/' ? (size_t)(slash - beside) + 1 : 0, size = folder + strlen(name) + 1;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%.*s%s", (int)folder, beside, name);
    return path;
}

/** The text of one line, and the path under `key` where it has one. False after saying why. */
static bool take_line(const char *path, size_t number, const char *line, size_t size, const char *key, char **text,
                      char **other) {
    json_error_t error;
    json_t *json = json_loadb(line, size, JSON_DECODE_ANY, &error);
    *text = *other = NULL;
    if (!json) {
        cm3_say("%s:%zu:%d: %s", path, number, error.column, error.text);
        return false;
    }
    const json_t *words = json_is_object(json) ? json_object_get(json, "text") : json;
    const json_t *name = key ? json_object_get(json, key) : NULL;
    if (!json_is_string(words)) {
        cm3_say("%s:%zu: neither a JSON string nor an object with \"text\"", path, number);
    } else if (name && !json_is_string(name)) {
        cm3_say("%s:%zu: \"%s\" is no path", path, number, key);
    } else {
        *text = strdup(json_string_value(words));
        if (name) *other = cm3_path_beside(path, json_string_value(name));
        if (!*text || (name && !*other)) {
            cm3_say("out of memory");
            free(*text);
            *text = NULL;
        }
    }
    json_decref(json);
    return *text != NULL;
}

/** Room for one line more in both lists. */
static bool grow(char ***lines, char ***others, size_t count, size_t *capacity) {
    if (count < *capacity) return true;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    char **grown = realloc(*lines, wanted * sizeof *grown);
    if (grown) *lines = grown;
    char **more = grown ? realloc(*others, wanted * sizeof *more) : NULL;
    if (more) *others = more;
    if (more) *capacity = wanted;
    return more != NULL;
}

char **cm3_lines_read(const char *path, const char *key, char ***others, size_t *count) {
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    char **lines = NULL, **paths = NULL, *line = NULL;
    size_t capacity = 0, line_capacity = 0, number = 0;
    ssize_t size;
    bool good = file != NULL;
    *count = 0;
    if (!file) cm3_say("%s: the file cannot be read", path);
    while (good && (size = getline(&line, &line_capacity, file)) >= 0) {
        number++;
        while (size && (line[size - 1] == '\n' || line[size - 1] == '\r' || line[size - 1] == ' ')) size--;
        if (!size) continue;
        good = grow(&lines, &paths, *count, &capacity) &&
               take_line(path, number, line, (size_t)size, key, &lines[*count], &paths[*count]);
        *count += good;
    }
    free(line);
    if (file && file != stdin) fclose(file);
    if (cm3_interrupted()) good = false;
    if (good && !*count) {
        cm3_say("%s: there are no lines", path);
        good = false;
    }
    if (!good || !others) {
        cm3_lines_free(paths, *count);
        paths = NULL;
    }
    if (others) *others = paths;
    if (good) return lines;
    cm3_lines_free(lines, *count);
    *count = 0;
    return NULL;
}

int32_t *cm3_ids_of(const json_t *list, size_t *count) {
    *count = json_array_size(list);
    int32_t *ids = *count ? calloc(*count, sizeof *ids) : NULL;
    for (size_t i = 0; i < *count && ids; i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id > INT32_MAX) {
            free(ids);
            return NULL;
        }
        ids[i] = (int32_t)id;
    }
    return ids;
}

int32_t *cm3_ids_read(const char *path, size_t *count) {
    json_error_t error;
    json_t *list = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &error) : json_load_file(path, 0, &error);
    if (!list) {
        cm3_say("%s:%d:%d: %s", path, error.line, error.column, error.text);
        return NULL;
    }
    int32_t *ids = cm3_ids_of(list, count);
    json_decref(list);
    if (!ids) cm3_say("%s: a JSON list of ids is expected, such as [0, 17, 4]", path);
    return ids;
}
