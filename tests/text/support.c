/* What the tests of lib/text/ share. */
#include "support.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cm3_context *new_context(void) {
    cm3_context_options options;
    cm3_context *context;
    cm3_context_options_init(&options);
    options.threads = 0;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    return context;
}

void release_context(cm3_context *context) {
    cm3_memory_stats stats = {.struct_size = sizeof stats}, empty = {.struct_size = sizeof empty};
    cm3_context *other = new_context();
    ck_assert_int_eq(cm3_context_memory(context, &stats), CM3_OK);
    ck_assert_int_eq(cm3_context_memory(other, &empty), CM3_OK);
    ck_assert_uint_eq(stats.live_bytes, empty.live_bytes);
    cm3_context_destroy(other);
    cm3_context_destroy(context);
}

char *read_data(const char *name, size_t *size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", CM3_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, *size, file), *size);
    text[*size] = 0;
    fclose(file);
    return text;
}

json_t *next_line(const char *text, size_t size, size_t *at) {
    if (*at >= size) return NULL;
    const char *end = memchr(text + *at, '\n', size - *at);
    size_t length = (end ? (size_t)(end - text) : size) - *at;
    json_error_t error;
    json_t *value = json_loadb(text + *at, length, JSON_ALLOW_NUL, &error);
    ck_assert_msg(value != NULL, "%s", error.text);
    *at += length + 1;
    return value;
}

cm3_bpe *load_bpe(cm3_context *context, const char *name) {
    size_t size;
    char *json = read_data(name, &size);
    cm3_bpe *bpe;
    cm3_status status = cm3_bpe_parse(context, name, json, size, &bpe);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(context));
    free(json);
    return bpe;
}

cm3_bpe *parse_bpe(cm3_context *context, const char *json) {
    cm3_bpe *bpe;
    cm3_status status = cm3_bpe_parse(context, "test", json, strlen(json), &bpe);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(context));
    return bpe;
}

void check_ids(cm3_context *context, const cm3_bpe *bpe, const json_t *text, uint32_t flags, const json_t *expected) {
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    cm3_status status =
        cm3_bpe_encode(bpe, json_string_value(text), json_string_length(text), flags, &ids, &count, &capacity);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(context));
    char *shown = json_dumps(text, JSON_ENCODE_ANY);
    ck_assert_msg(count == json_array_size(expected), "%s: %zu ids, expected %zu", shown, count,
                  json_array_size(expected));
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(ids[i] == json_integer_value(json_array_get(expected, i)), "%s: id %zu is %d", shown, i, ids[i]);
    free(shown);
    cm3_free(context, ids);
}

void check_text(cm3_context *context, const cm3_bpe *bpe, const json_t *ids, bool skip, const json_t *expected) {
    size_t id_count = json_array_size(ids), count = 0, capacity = 0, text_count = 0, text_capacity = 0;
    int32_t *list = calloc(id_count + 1, sizeof *list);
    char *bytes = NULL, *text = NULL;
    for (size_t i = 0; i < id_count; i++) list[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    ck_assert_int_eq(cm3_bpe_decode_raw(bpe, list, id_count, skip, &bytes, &count, &capacity), CM3_OK);
    ck_assert_int_eq(cm3_utf8_lossy(context, bytes, count, &text, &text_count, &text_capacity), CM3_OK);
    char *shown = json_dumps(expected, JSON_ENCODE_ANY);
    ck_assert_msg(text_count == json_string_length(expected), "%s: %zu bytes", shown, text_count);
    ck_assert_msg(!text_count || !memcmp(text, json_string_value(expected), text_count), "%s: %.*s", shown,
                  (int)text_count, text);
    free(shown);
    free(list);
    cm3_free(context, bytes);
    cm3_free(context, text);
}
