/* Normalizers: read from the file, and applied step by step. */
#include "text/normalizer.h"

#include <string.h>

#include "text/unicode.h"
#include "text/utf8.h"

cm3_status cm3_text_append(cm3_context *context, cm3_text *text, const char *bytes, size_t size) {
    size_t wanted;
    if (!cm3_add_size(text->size, size, &wanted)) return cm3_fail_memory(context, SIZE_MAX, "text");
    if (text->limit && wanted > text->limit)
        return cm3_fail(context, CM3_ERROR_UNSUPPORTED,
                        "the tokenizer's components make a text grow beyond %zu bytes, which is as good as endless",
                        text->limit);
    CM3_TRY(cm3_grow(context, &text->bytes, &text->capacity, wanted, 1, "text"));
    if (size) memcpy(text->bytes + text->size, bytes, size);
    text->size = wanted;
    return CM3_OK;
}

/* Components of the known tokenizers make at most three bytes of one, and put a few before a text. */
size_t cm3_text_limit(size_t size) {
    const size_t times = 256, beside = 65536;
    return size > SIZE_MAX / 2 / times - beside ? SIZE_MAX / 2 : size * times + beside;
}

/* The required string `key`, copied to the step. */
static cm3_status parse_content(const cm3_json_object *object, const char *key, cm3_normalizer_step *step) {
    const char *content = NULL;
    CM3_TRY(cm3_json_string(object, key, &content));
    if (!content) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: no \"%s\"", object->where, key);
    step->size = strlen(content);
    step->content = cm3_strndup(object->context, content, step->size);
    return step->content ? CM3_OK : cm3_fail_memory(object->context, step->size, "a normalizer");
}

static cm3_status parse_sequence(const cm3_json_object *object, cm3_normalizer *normalizer) {
    const json_t *list = json_object_get(object->value, "normalizers");
    if (!json_is_array(list))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"normalizers\" is not an array", object->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cm3_json_object child = {object->context, object->where, json_array_get(list, i)};
        CM3_TRY(cm3_normalizer_parse(&child, normalizer));
    }
    return CM3_OK;
}

static cm3_status parse_step(const cm3_json_object *object, const char *type, cm3_normalizer_step *step) {
    if (!strcmp(type, "NFC")) {
        step->kind = CM3_NORMALIZER_NFC;
    } else if (!strcmp(type, "Lowercase")) {
        step->kind = CM3_NORMALIZER_LOWERCASE;
    } else if (!strcmp(type, "Replace")) {
        step->kind = CM3_NORMALIZER_REPLACE;
        CM3_TRY(cm3_pattern_parse(object, "pattern", &step->pattern));
        CM3_TRY(parse_content(object, "content", step));
    } else if (!strcmp(type, "Prepend")) {
        step->kind = CM3_NORMALIZER_PREPEND;
        CM3_TRY(parse_content(object, "prepend", step));
    } else if (!strcmp(type, "Strip")) {
        step->kind = CM3_NORMALIZER_STRIP;
        step->left = step->right = true;
        CM3_TRY(cm3_json_bool(object, "strip_left", &step->left));
        CM3_TRY(cm3_json_bool(object, "strip_right", &step->right));
    } else {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%.60s\" is not supported", object->where, type);
    }
    return CM3_OK;
}

cm3_status cm3_normalizer_parse(const cm3_json_object *object, cm3_normalizer *normalizer) {
    const char *type = NULL;
    CM3_TRY(cm3_json_string(object, "type", &type));
    if (!type) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: a component without \"type\"", object->where);
    if (!strcmp(type, "Sequence")) return parse_sequence(object, normalizer);
    CM3_TRY(cm3_grow(object->context, &normalizer->steps, &normalizer->capacity, normalizer->count + 1,
                     sizeof *normalizer->steps, "normalizers"));
    cm3_normalizer_step *step = &normalizer->steps[normalizer->count++];
    memset(step, 0, sizeof *step);
    return parse_step(object, type, step);
}

void cm3_normalizer_clear(cm3_context *context, cm3_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) {
        cm3_pattern_clear(context, &normalizer->steps[i].pattern);
        cm3_free(context, normalizer->steps[i].content);
    }
    cm3_free(context, normalizer->steps);
    memset(normalizer, 0, sizeof *normalizer);
}

void cm3_normalizer_scratch_clear(cm3_context *context, cm3_normalizer_scratch *scratch) {
    for (int i = 0; i < 2; i++) cm3_free(context, scratch->text[i].bytes);
    cm3_free(context, scratch->codes);
    cm3_free(context, scratch->sorted);
    pcre2_match_data_free(scratch->match_data);
    memset(scratch, 0, sizeof *scratch);
}

static cm3_status lowercase(cm3_context *context, const char *text, size_t size, cm3_text *out) {
    for (size_t at = 0; at < size;) {
        uint32_t lower[2];
        char bytes[8];
        int count = cm3_unicode_lower(cm3_utf8_next(text, &at), lower);
        size_t length = cm3_utf8_put(lower[0], bytes);
        if (count == 2) length += cm3_utf8_put(lower[1], bytes + length);
        CM3_TRY(cm3_text_append(context, out, bytes, length));
    }
    return CM3_OK;
}

static cm3_status replace(cm3_context *context, const cm3_normalizer_step *step, cm3_normalizer_scratch *scratch,
                          const char *text, size_t size, cm3_text *out) {
    cm3_search search = {&step->pattern, text, size, 0, SIZE_MAX, &scratch->match_data};
    size_t done = 0;
    while (size) { /* the library finds nothing in an empty text */
        size_t begin, end;
        bool found;
        CM3_TRY(cm3_search_next(context, &search, &found, &begin, &end));
        if (!found) break;
        CM3_TRY(cm3_text_append(context, out, text + done, begin - done));
        CM3_TRY(cm3_text_append(context, out, step->content, step->size));
        done = end;
    }
    return cm3_text_append(context, out, text + done, size - done);
}

static cm3_status strip(cm3_context *context, const cm3_normalizer_step *step, const char *text, size_t size,
                        cm3_text *out) {
    size_t begin = 0, next = 0, start;
    while (step->left && begin < size && (cm3_unicode_class(cm3_utf8_next(text, &next)) & CM3_UNICODE_SPACE))
        begin = next;
    while (step->right && size > begin &&
           (cm3_unicode_class(cm3_utf8_previous(text, size, &start)) & CM3_UNICODE_SPACE))
        size = start;
    return cm3_text_append(context, out, text + begin, size - begin);
}

static cm3_status apply(cm3_context *context, const cm3_normalizer_step *step, cm3_normalizer_scratch *scratch,
                        const char *text, size_t size, cm3_text *out) {
    switch (step->kind) {
    case CM3_NORMALIZER_NFC:
        return cm3_nfc(context, scratch, text, size, out);
    case CM3_NORMALIZER_LOWERCASE:
        return lowercase(context, text, size, out);
    case CM3_NORMALIZER_REPLACE:
        return replace(context, step, scratch, text, size, out);
    case CM3_NORMALIZER_STRIP:
        return strip(context, step, text, size, out);
    case CM3_NORMALIZER_PREPEND:
        if (size) CM3_TRY(cm3_text_append(context, out, step->content, step->size));
        return cm3_text_append(context, out, text, size);
    }
    return CM3_OK;
}

cm3_status cm3_normalize(cm3_context *context, const cm3_normalizer *normalizer, cm3_normalizer_scratch *scratch,
                         const char *text, size_t size, cm3_text *out) {
    const size_t limit = cm3_text_limit(size);
    for (size_t i = 0; i < normalizer->count; i++) {
        bool last = i + 1 == normalizer->count;
        cm3_text *to = last ? out : &scratch->text[i & 1];
        if (!last) to->size = 0;
        to->limit = to->size + limit;
        CM3_TRY(apply(context, &normalizer->steps[i], scratch, text, size, to));
        to->limit = 0;
        if (last) return CM3_OK;
        text = to->size ? to->bytes : ""; /* nothing may stand nowhere */
        size = to->size;
    }
    return cm3_text_append(context, out, text, size);
}
