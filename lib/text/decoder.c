/* Decoders: read from the file, and done beforehand for each token. */
#include "text/decoder.h"

#include <string.h>

#include "text/byte_map.h"
#include "text/utf8.h"

static cm3_status copy(cm3_context *context, const char *text, char **copied, size_t *size) {
    *size = strlen(text);
    *copied = cm3_strndup(context, text, *size);
    return *copied ? CM3_OK : cm3_fail_memory(context, *size, "a decoder");
}

static cm3_status parse_replace(const cm3_json_object *object, cm3_decoder_step *step) {
    cm3_json_object pattern;
    const char *from = NULL, *to = NULL;
    CM3_TRY(cm3_json_child(object, "pattern", object->where, &pattern));
    CM3_TRY(cm3_json_string(&pattern, "String", &from));
    CM3_TRY(cm3_json_string(object, "content", &to));
    if (!from || !*from || !to)
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: Replace is supported with a string alone",
                        object->where);
    CM3_TRY(copy(object->context, from, &step->pattern, &step->pattern_size));
    return copy(object->context, to, &step->content, &step->content_size);
}

static cm3_status parse_strip(const cm3_json_object *object, cm3_decoder_step *step) {
    const char *content = NULL;
    CM3_TRY(cm3_json_string(object, "content", &content));
    if (!content || !*content)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: Strip without \"content\"", object->where);
    CM3_TRY(cm3_json_int32(object, "start", 0, INT32_MAX, &step->start));
    CM3_TRY(cm3_json_int32(object, "stop", 0, INT32_MAX, &step->stop));
    return copy(object->context, content, &step->content, &step->content_size);
}

static cm3_status parse_any(const cm3_json_object *object, cm3_decoder *decoder);

static cm3_status parse_sequence(const cm3_json_object *object, cm3_decoder *decoder) {
    const json_t *list = json_object_get(object->value, "decoders");
    if (!json_is_array(list))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"decoders\" is not an array", object->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cm3_json_object child = {object->context, object->where, json_array_get(list, i)};
        CM3_TRY(parse_any(&child, decoder));
    }
    return CM3_OK;
}

static cm3_status parse_any(const cm3_json_object *object, cm3_decoder *decoder) {
    static const char *const names[] = {"ByteLevel", "ByteFallback", "Replace", "Strip", "Fuse"};
    const char *type = NULL;
    unsigned kind = 0;
    CM3_TRY(cm3_json_string(object, "type", &type));
    if (!type) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: a component without \"type\"", object->where);
    if (!strcmp(type, "Sequence")) return parse_sequence(object, decoder);
    while (kind < sizeof names / sizeof names[0] && strcmp(type, names[kind])) kind++;
    if (kind == sizeof names / sizeof names[0])
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%.60s\" is not supported", object->where, type);
    CM3_TRY(cm3_grow(object->context, &decoder->steps, &decoder->capacity, decoder->count + 1, sizeof *decoder->steps,
                     "decoders"));
    cm3_decoder_step *step = &decoder->steps[decoder->count++];
    memset(step, 0, sizeof *step);
    step->kind = (cm3_decoder_kind)kind;
    if (step->kind == CM3_DECODER_REPLACE) return parse_replace(object, step);
    return step->kind == CM3_DECODER_STRIP ? parse_strip(object, step) : CM3_OK;
}

cm3_status cm3_decoder_parse(const cm3_json_object *root, const char *where, cm3_decoder *decoder) {
    cm3_json_object object;
    CM3_TRY(cm3_json_child(root, "decoder", where, &object));
    decoder->spaces = !object.value;
    if (object.value) CM3_TRY(parse_any(&object, decoder));
    while (decoder->joined < decoder->count) {
        cm3_decoder_kind kind = decoder->steps[decoder->joined++].kind;
        if (kind == CM3_DECODER_BYTE_LEVEL || kind == CM3_DECODER_FUSE) break;
    }
    return CM3_OK;
}

void cm3_decoder_clear(cm3_context *context, cm3_decoder *decoder) {
    for (size_t i = 0; i < decoder->count; i++) {
        cm3_free(context, decoder->steps[i].pattern);
        cm3_free(context, decoder->steps[i].content);
    }
    cm3_free(context, decoder->steps);
    cm3_free(context, decoder->bytes);
    cm3_free(context, decoder->begins);
    memset(decoder, 0, sizeof *decoder);
}

/* A text with a character outside the alphabet stays as it is. */
static cm3_status byte_level(cm3_context *context, const char *text, size_t size, cm3_text *out) {
    size_t first = out->size;
    for (size_t at = 0; at < size;) {
        size_t length;
        int byte = cm3_utf8_look(text + at, size - at, &length) == CM3_UTF8_GOOD
                       ? cm3_char_to_byte(cm3_utf8_next(text, &at))
                       : -1;
        if (byte < 0) {
            out->size = first;
            return cm3_text_append(context, out, text, size);
        }
        CM3_TRY(cm3_text_append(context, out, &(char){(char)byte}, 1));
    }
    return CM3_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static cm3_status byte_fallback(cm3_context *context, const char *text, size_t size, cm3_text *out) {
    if (size == 6 && !memcmp(text, "<0x", 3) && text[5] == '>') {
        int high = hex_digit(text[3]), low = hex_digit(text[4]);
        if (high >= 0 && low >= 0) return cm3_text_append(context, out, &(char){(char)(high * 16 + low)}, 1);
    }
    return cm3_text_append(context, out, text, size);
}

static cm3_status replace(cm3_context *context, const cm3_decoder_step *step, const char *text, size_t size,
                          cm3_text *out) {
    while (size) {
        const char *hit = memmem(text, size, step->pattern, step->pattern_size);
        if (!hit) break;
        CM3_TRY(cm3_text_append(context, out, text, (size_t)(hit - text)));
        CM3_TRY(cm3_text_append(context, out, step->content, step->content_size));
        size -= (size_t)(hit - text) + step->pattern_size;
        text = hit + step->pattern_size;
    }
    return cm3_text_append(context, out, text, size);
}

static cm3_status strip(cm3_context *context, const cm3_decoder_step *step, const char *text, size_t size,
                        cm3_text *out) {
    size_t length = step->content_size;
    for (int32_t i = 0; i < step->start && size >= length && !memcmp(text, step->content, length); i++) {
        text += length;
        size -= length;
    }
    for (int32_t i = 0; i < step->stop && size >= length && !memcmp(text + size - length, step->content, length); i++)
        size -= length;
    return cm3_text_append(context, out, text, size);
}

static cm3_status apply(cm3_context *context, const cm3_decoder_step *step, const char *text, size_t size,
                        cm3_text *out) {
    switch (step->kind) {
    case CM3_DECODER_BYTE_LEVEL:
        return byte_level(context, text, size, out);
    case CM3_DECODER_BYTE_FALLBACK:
        return byte_fallback(context, text, size, out);
    case CM3_DECODER_REPLACE:
        return replace(context, step, text, size, out);
    case CM3_DECODER_STRIP:
        return strip(context, step, text, size, out);
    case CM3_DECODER_FUSE:
        break;
    }
    return cm3_text_append(context, out, text, size);
}

/* Runs steps[first..last) on *text in place. */
static cm3_status run(cm3_context *context, const cm3_decoder *decoder, size_t first, size_t last, cm3_text *text) {
    cm3_text other = {0};
    cm3_status status = CM3_OK;
    const size_t limit = cm3_text_limit(text->size);
    for (size_t i = first; i < last && status == CM3_OK; i++) {
        other.size = 0;
        other.limit = limit;
        status = apply(context, &decoder->steps[i], text->bytes, text->size, &other);
        cm3_text swap = *text;
        *text = other;
        other = swap;
    }
    text->limit = 0;
    cm3_free(context, other.bytes);
    return status;
}

cm3_status cm3_decoder_finish(cm3_context *context, const cm3_decoder *decoder, cm3_text *text) {
    return run(context, decoder, decoder->joined, decoder->count, text);
}

/* The bytes of one token to the end of *all. */
static cm3_status prepare(cm3_context *context, const cm3_decoder *decoder, const char *name, size_t size,
                          cm3_text *token, cm3_text *all) {
    token->size = 0;
    CM3_TRY(cm3_text_append(context, token, name, size));
    CM3_TRY(run(context, decoder, 0, decoder->joined, token));
    return cm3_text_append(context, all, token->bytes, token->size);
}

cm3_status cm3_decoder_prepare(cm3_context *context, const cm3_vocab *vocab, const cm3_added_set *normalized,
                               cm3_decoder *decoder) {
    cm3_text all = {.limit = cm3_text_limit(vocab->name_size)}, token = {0};
    cm3_status status = CM3_OK;
    const cm3_added **written = cm3_calloc(context, vocab->count, sizeof *written);
    decoder->begins = cm3_calloc(context, vocab->count + 1, sizeof *decoder->begins);
    if (!written || !decoder->begins)
        status = cm3_fail_memory(context, (vocab->count + 1) * sizeof *decoder->begins, "a decoder");
    for (size_t i = 0; status == CM3_OK && i < normalized->count; i++)
        written[normalized->items[i].id] = &normalized->items[i];
    for (size_t i = 0; status == CM3_OK && i < vocab->count; i++) {
        if (written[i])
            status = prepare(context, decoder, written[i]->text, written[i]->size, &token, &all);
        else if (vocab->tokens[i].used)
            status =
                prepare(context, decoder, vocab->names + vocab->tokens[i].name, vocab->tokens[i].size, &token, &all);
        decoder->begins[i + 1] = all.size;
    }
    cm3_free(context, (void *)written);
    cm3_free(context, token.bytes);
    decoder->bytes = all.bytes;
    return status;
}
