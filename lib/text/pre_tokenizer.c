/* Pre-tokenizers: read from the file, and applied step by step. */
#include "text/pre_tokenizer.h"

#include <string.h>

#include "text/byte_map.h"
#include "text/utf8.h"

static cm3_status parse_behaviour(const cm3_json_object *object, cm3_split_behaviour *behaviour) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    CM3_TRY(cm3_json_string(object, "behavior", &name));
    if (!name) return CM3_OK;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i])) continue;
        *behaviour = (cm3_split_behaviour)i;
        return CM3_OK;
    }
    return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: behavior \"%.60s\" is not supported", object->where,
                    name);
}

static cm3_status parse_byte_level(const cm3_json_object *object, cm3_pre_step *step) {
    step->byte_level = step->prefix_space = step->split = true;
    step->pattern.kind = CM3_PATTERN_GPT2;
    CM3_TRY(cm3_json_bool(object, "add_prefix_space", &step->prefix_space));
    return cm3_json_bool(object, "use_regex", &step->split);
}

static cm3_status parse_step(const cm3_json_object *object, const char *type, cm3_pre_step *step) {
    step->behaviour = CM3_SPLIT_ISOLATED;
    if (!strcmp(type, "ByteLevel")) return parse_byte_level(object, step);
    step->split = true;
    if (!strcmp(type, "Split")) {
        CM3_TRY(cm3_pattern_parse(object, "pattern", &step->pattern));
        CM3_TRY(parse_behaviour(object, &step->behaviour));
        return cm3_json_bool(object, "invert", &step->invert);
    }
    if (!strcmp(type, "Digits")) {
        bool individual = false;
        CM3_TRY(cm3_json_bool(object, "individual_digits", &individual));
        step->pattern.kind = CM3_PATTERN_DIGIT;
        step->behaviour = individual ? CM3_SPLIT_ISOLATED : CM3_SPLIT_CONTIGUOUS;
        return CM3_OK;
    }
    if (!strcmp(type, "Punctuation")) {
        step->pattern.kind = CM3_PATTERN_PUNCT;
        return parse_behaviour(object, &step->behaviour);
    }
    step->behaviour = CM3_SPLIT_REMOVED;
    step->invert = !strcmp(type, "Whitespace");
    step->pattern.kind = step->invert ? CM3_PATTERN_WORDS : CM3_PATTERN_SPACE;
    if (step->invert || !strcmp(type, "WhitespaceSplit")) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%.60s\" is not supported", object->where, type);
}

static cm3_status parse_sequence(const cm3_json_object *object, cm3_pre_tokenizer *pre) {
    const json_t *list = json_object_get(object->value, "pretokenizers");
    if (!json_is_array(list))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"pretokenizers\" is not an array", object->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cm3_json_object child = {object->context, object->where, json_array_get(list, i)};
        CM3_TRY(cm3_pre_tokenizer_parse(&child, pre));
    }
    return CM3_OK;
}

cm3_status cm3_pre_tokenizer_parse(const cm3_json_object *object, cm3_pre_tokenizer *pre) {
    const char *type = NULL;
    CM3_TRY(cm3_json_string(object, "type", &type));
    if (!type) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: a component without \"type\"", object->where);
    if (!strcmp(type, "Sequence")) return parse_sequence(object, pre);
    CM3_TRY(
        cm3_grow(object->context, &pre->steps, &pre->capacity, pre->count + 1, sizeof *pre->steps, "pre-tokenizers"));
    cm3_pre_step *step = &pre->steps[pre->count++];
    memset(step, 0, sizeof *step);
    return parse_step(object, type, step);
}

void cm3_pre_tokenizer_clear(cm3_context *context, cm3_pre_tokenizer *pre) {
    for (size_t i = 0; i < pre->count; i++) cm3_pattern_clear(context, &pre->steps[i].pattern);
    cm3_free(context, pre->steps);
    memset(pre, 0, sizeof *pre);
}

void cm3_pre_text_clear(cm3_context *context, cm3_pre_text *pre_text) {
    cm3_free(context, pre_text->pieces.items);
    cm3_free(context, pre_text->spare_pieces.items);
    cm3_free(context, pre_text->own.bytes);
    cm3_free(context, pre_text->spare.bytes);
    pcre2_match_data_free(pre_text->match_data);
    memset(pre_text, 0, sizeof *pre_text);
}

/* The pieces of one stretch of text in the making. */
typedef struct cutting {
    cm3_pieces *out;
    size_t first;  /* the stretch's first piece */
    bool previous; /* whether what came before was a match */
    bool invert;
    cm3_split_behaviour behaviour;
} cutting;

/* Takes the next stretch, a match or what lies between two. */
static cm3_status take(cm3_context *context, cutting *cut, size_t begin, size_t end, bool match) {
    match ^= cut->invert;
    bool previous = cut->previous, extend = false;
    cut->previous = match;
    switch (cut->behaviour) {
    case CM3_SPLIT_REMOVED:
        if (match) return CM3_OK;
        break;
    case CM3_SPLIT_ISOLATED:
        break;
    case CM3_SPLIT_MERGED_WITH_PREVIOUS:
        extend = match && !previous;
        break;
    case CM3_SPLIT_MERGED_WITH_NEXT:
        extend = !match && previous;
        break;
    case CM3_SPLIT_CONTIGUOUS:
        extend = match == previous;
        break;
    }
    if (!extend || cut->out->count == cut->first) return cm3_pieces_push(context, cut->out, begin, end, -1);
    cut->out->items[cut->out->count - 1].end = end;
    return CM3_OK;
}

/* Cuts text[begin..end). Offsets in `out` are of the whole text. */
static cm3_status cut_piece(cm3_context *context, const cm3_pre_step *step, pcre2_match_data **match_data,
                            const char *text, size_t begin, size_t end, cm3_pieces *out) {
    if (!step->split) return cm3_pieces_push(context, out, begin, end, -1);
    cm3_search search = {&step->pattern, text + begin, end - begin, 0, SIZE_MAX, match_data};
    cutting cut = {out, out->count, false, step->invert, step->behaviour};
    size_t done = 0, from, to, kept = cut.first;
    for (;;) {
        bool found;
        CM3_TRY(cm3_search_next(context, &search, &found, &from, &to));
        if (!found) break;
        if (done != from) CM3_TRY(take(context, &cut, begin + done, begin + from, false));
        CM3_TRY(take(context, &cut, begin + from, begin + to, true));
        done = to;
    }
    if (done != end - begin) CM3_TRY(take(context, &cut, begin + done, end, false));
    for (size_t i = cut.first; i < out->count; i++) /* expressions may match nothing */
        if (out->items[i].end > out->items[i].begin) out->items[kept++] = out->items[i];
    out->count = kept;
    return CM3_OK;
}

/* The bytes of a piece as characters to the end of *out. */
static cm3_status map_bytes(cm3_context *context, const char *text, cm3_piece *piece, cm3_text *out) {
    size_t size = piece->end - piece->begin, wanted;
    if (!cm3_mul_size(size, 2, &wanted) || !cm3_add_size(wanted, out->size, &wanted))
        return cm3_fail_memory(context, SIZE_MAX, "text");
    CM3_TRY(cm3_grow(context, &out->bytes, &out->capacity, wanted, 1, "text"));
    size_t at = out->size;
    for (size_t i = piece->begin; i < piece->end; i++)
        at += cm3_utf8_put(cm3_byte_to_char((unsigned char)text[i]), out->bytes + at);
    piece->begin = out->size;
    piece->end = out->size = at;
    return CM3_OK;
}

/* A ByteLevel works on one piece after the other, since each may get a space before it. */
static cm3_status byte_level(cm3_context *context, const cm3_pre_step *step, cm3_pre_text *pre_text,
                             const cm3_piece *piece) {
    cm3_pieces *out = &pre_text->spare_pieces;
    const char *text = pre_text->text;
    size_t begin = piece->begin, end = piece->end, first = out->count;
    cm3_text prefixed = {0};
    if (step->prefix_space && text[begin] != ' ') {
        cm3_status status = cm3_text_append(context, &prefixed, " ", 1);
        if (status == CM3_OK) status = cm3_text_append(context, &prefixed, text + begin, end - begin);
        if (status != CM3_OK) {
            cm3_free(context, prefixed.bytes);
            return status;
        }
        text = prefixed.bytes;
        begin = 0;
        end = prefixed.size;
    }
    cm3_status status = cut_piece(context, step, &pre_text->match_data, text, begin, end, out);
    for (size_t i = first; i < out->count && status == CM3_OK; i++)
        status = map_bytes(context, text, &out->items[i], &pre_text->spare);
    cm3_free(context, prefixed.bytes);
    return status;
}

static cm3_status run_step(cm3_context *context, const cm3_pre_step *step, cm3_pre_text *pre_text) {
    cm3_pieces *out = &pre_text->spare_pieces;
    out->count = 0;
    pre_text->spare.size = 0;
    for (size_t i = 0; i < pre_text->pieces.count; i++) {
        const cm3_piece *piece = &pre_text->pieces.items[i];
        if (piece->id >= 0)
            CM3_TRY(cm3_pieces_push(context, out, piece->begin, piece->end, piece->id));
        else if (step->byte_level)
            CM3_TRY(byte_level(context, step, pre_text, piece));
        else
            CM3_TRY(cut_piece(context, step, &pre_text->match_data, pre_text->text, piece->begin, piece->end, out));
    }
    cm3_pieces pieces = pre_text->pieces;
    pre_text->pieces = *out;
    *out = pieces;
    if (!step->byte_level) return CM3_OK;
    cm3_text own = pre_text->own;
    pre_text->own = pre_text->spare;
    pre_text->spare = own;
    pre_text->text = pre_text->own.bytes;
    return CM3_OK;
}

cm3_status cm3_pre_tokenize(cm3_context *context, const cm3_pre_tokenizer *pre, cm3_pre_text *pre_text) {
    for (size_t i = 0; i < pre->count; i++) CM3_TRY(run_step(context, &pre->steps[i], pre_text));
    return CM3_OK;
}
