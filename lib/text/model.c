/* The BPE model of a tokenizer.json: vocabulary, merges and settings. */
#include <string.h>

#include "text/inside.h"
#include "text/utf8.h"

static cm3_status parse_affix(const cm3_json_object *object, const char *key, char **text, size_t *size) {
    const char *found = NULL;
    CM3_TRY(cm3_json_string(object, key, &found));
    if (!found || !*found) return CM3_OK;
    *size = strlen(found);
    *text = cm3_strndup(object->context, found, *size);
    return *text ? CM3_OK : cm3_fail_memory(object->context, *size, "a tokenizer");
}

static cm3_status parse_vocab(const cm3_json_object *object, cm3_bpe *bpe) {
    cm3_json_object list;
    const char *name;
    json_t *value;
    CM3_TRY(cm3_json_child(object, "vocab", object->where, &list));
    if (!list.value) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: no \"vocab\"", object->where);
    json_object_foreach(list.value, name, value) {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= CM3_MAX_TOKEN_ID)
            return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: vocab: \"%.80s\": expected an id below %d",
                            object->where, name, CM3_MAX_TOKEN_ID);
        CM3_TRY(cm3_vocab_add(object->context, object->where, &bpe->vocab, name, strlen(name), (int32_t)id, true));
    }
    return CM3_OK;
}

/* The two sides of a merge: ["a", "b"] or "a b". *split points into the element. */
static bool merge_sides(const json_t *merge, const char **left, size_t *left_size, const char **right) {
    if (json_is_string(merge)) {
        *left = json_string_value(merge);
        const char *space = strchr(*left, ' ');
        if (!space || strchr(space + 1, ' ')) return false;
        *left_size = (size_t)(space - *left);
        *right = space + 1;
        return true;
    }
    *left = json_string_value(json_array_get(merge, 0));
    *right = json_string_value(json_array_get(merge, 1));
    if (json_array_size(merge) != 2 || !*left || !*right) return false;
    *left_size = strlen(*left);
    return true;
}

static cm3_status unknown_side(const cm3_json_object *object, size_t rank, const char *side, size_t size) {
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: merge %zu: \"%.*s\" is not in the vocabulary",
                    object->where, rank, size < 80 ? (int)size : 80, side);
}

static cm3_status parse_merge(const cm3_json_object *object, const json_t *merge, size_t rank, cm3_bpe *bpe,
                              cm3_text *joined) {
    const char *left, *right;
    size_t left_size, right_size, skip = bpe->model.prefix_size;
    if (!merge_sides(merge, &left, &left_size, &right))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: merge %zu: expected \"a b\" or [\"a\", \"b\"]",
                        object->where, rank);
    right_size = strlen(right);
    int32_t left_id = cm3_vocab_find(&bpe->vocab, left, left_size);
    int32_t right_id = cm3_vocab_find(&bpe->vocab, right, right_size);
    if (left_id < 0) return unknown_side(object, rank, left, left_size);
    if (right_id < 0) return unknown_side(object, rank, right, right_size);
    if (right_size < skip || (skip && memcmp(right, bpe->model.prefix, skip)))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: merge %zu: \"%.80s\" does not begin with \"%.20s\"",
                        object->where, rank, right, bpe->model.prefix);
    joined->size = 0;
    CM3_TRY(cm3_text_append(object->context, joined, left, left_size));
    CM3_TRY(cm3_text_append(object->context, joined, right + skip, right_size - skip));
    int32_t id = cm3_vocab_find(&bpe->vocab, joined->bytes, joined->size);
    if (id < 0) return unknown_side(object, rank, joined->bytes, joined->size);
    cm3_merges_set(&bpe->merges, left_id, right_id, (uint32_t)rank, id);
    return CM3_OK;
}

static cm3_status parse_merges(const cm3_json_object *object, cm3_bpe *bpe) {
    const json_t *list = json_object_get(object->value, "merges");
    if (!json_is_array(list))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"merges\" is not an array", object->where);
    size_t count = json_array_size(list);
    if (count >= UINT32_MAX) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: too many merges", object->where);
    CM3_TRY(cm3_merges_create(object->context, count, &bpe->merges));
    cm3_text joined = {0};
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        const json_t *merge = json_array_get(list, i);
        const char *line = json_string_value(merge);
        if (line && !strncmp(line, "#version", 8)) continue;
        status = parse_merge(object, merge, i, bpe, &joined);
    }
    cm3_free(object->context, joined.bytes);
    return status;
}

/* The ids of single characters and of bytes, for words to begin with. */
static void find_characters(cm3_bpe *bpe) {
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t code = 0; code < CM3_BYTE_CHARS; code++) {
        char bytes[4];
        bpe->model.char_ids[code] = cm3_vocab_find(&bpe->vocab, bytes, cm3_utf8_put(code, bytes));
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        const char name[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        bpe->model.byte_ids[byte] = cm3_vocab_find(&bpe->vocab, name, sizeof name);
    }
}

static cm3_status parse_unknown(const cm3_json_object *object, cm3_bpe *bpe) {
    const char *name = NULL;
    bpe->model.unknown = -1;
    CM3_TRY(cm3_json_string(object, "unk_token", &name));
    if (!name) return CM3_OK;
    bpe->model.unknown = cm3_vocab_find(&bpe->vocab, name, strlen(name));
    if (bpe->model.unknown >= 0) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: unk_token \"%.80s\" is not in the vocabulary",
                    object->where, name);
}

cm3_status cm3_bpe_model_parse(const cm3_json_object *object, cm3_bpe *bpe) {
    cm3_bpe_model *model = &bpe->model;
    const char *type = "BPE";
    float dropout = 0;
    CM3_TRY(cm3_json_string(object, "type", &type));
    if (strcmp(type, "BPE"))
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%.60s\" is not supported, only \"BPE\"",
                        object->where, type);
    CM3_TRY(cm3_json_float(object, "dropout", 0, 1, &dropout));
    if (dropout != 0)
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: dropout is not supported", object->where);
    CM3_TRY(parse_affix(object, "continuing_subword_prefix", &model->prefix, &model->prefix_size));
    CM3_TRY(parse_affix(object, "end_of_word_suffix", &model->suffix, &model->suffix_size));
    CM3_TRY(cm3_json_bool(object, "fuse_unk", &model->fuse_unknown));
    CM3_TRY(cm3_json_bool(object, "byte_fallback", &model->byte_fallback));
    CM3_TRY(cm3_json_bool(object, "ignore_merges", &model->ignore_merges));
    CM3_TRY(parse_vocab(object, bpe));
    CM3_TRY(parse_unknown(object, bpe));
    find_characters(bpe);
    return parse_merges(object, bpe);
}
