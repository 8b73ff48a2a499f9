/* Special tokens by role: from JSON and to JSON. */
#include "text/special.h"

#include <string.h>

static cm3_status parse_role(const cm3_json_object *object, const char *key, int32_t vocab_size, int32_t *id) {
    *id = -1;
    return cm3_json_int32(object, key, 0, vocab_size - 1, id);
}

/* {"first": id, "count": n} to a list. */
static cm3_status parse_image_range(const cm3_json_object *range, int32_t vocab_size, cm3_special_tokens *special) {
    int32_t first = -1, count = -1;
    CM3_TRY(cm3_json_int32(range, "first", 0, vocab_size - 1, &first));
    CM3_TRY(cm3_json_int32(range, "count", 0, vocab_size - (first < 0 ? 0 : first), &count));
    if (first < 0 || count < 0)
        return cm3_fail(range->context, CM3_ERROR_FORMAT, "%s: image: expected \"first\" and \"count\"", range->where);
    special->image = cm3_calloc(range->context, (size_t)count, sizeof *special->image);
    if (!special->image) return cm3_fail_memory(range->context, (size_t)count * sizeof *special->image, "image tokens");
    for (int32_t i = 0; i < count; i++) special->image[i] = first + i;
    special->image_count = count;
    return CM3_OK;
}

static cm3_status parse_image(const cm3_json_object *object, int32_t vocab_size, cm3_special_tokens *special) {
    json_t *value = json_object_get(object->value, "image");
    if (!value || json_is_null(value)) return CM3_OK;
    if (json_is_object(value)) {
        cm3_json_object range = {object->context, object->where, value};
        return parse_image_range(&range, vocab_size, special);
    }
    size_t count = json_array_size(value);
    if (count > (size_t)vocab_size)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: image: expected at most %d ids, found %zu",
                        object->where, vocab_size, count);
    special->image = cm3_calloc(object->context, count, sizeof *special->image);
    if (!special->image) return cm3_fail_memory(object->context, count * sizeof *special->image, "image tokens");
    CM3_TRY(cm3_json_ints(object, "image", 0, vocab_size - 1, special->image, count, &count));
    special->image_count = (int32_t)count;
    return CM3_OK;
}

/* No id twice among the codes, and none that has another role. */
static cm3_status index_codes(const cm3_json_object *object, cm3_special_tokens *special) {
    const char *taken = NULL;
    int32_t id = -1;
    for (int32_t i = 0; i < special->image_count && !taken; i++) {
        id = special->image[i];
        if (special->image_code[id] >= 0) taken = "twice";
        special->image_code[id] = i;
    }
    const int32_t roles[] = {special->eod,       special->pad,      special->break_, special->begin_image,
                             special->end_image, special->end_span, special->bos,    special->end_turn};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0] && !taken; i++)
        if ((id = roles[i]) >= 0 && special->image_code[id] >= 0) taken = "a special token too";
    for (int32_t i = 0; i < special->sentinel_count && !taken; i++) {
        id = special->sentinels[i];
        if (special->image_code[id] >= 0) taken = "a sentinel too";
    }
    if (!taken) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: image: id %d is %s", object->where, id, taken);
}

static cm3_status check_sentinels(const cm3_json_object *object, const cm3_special_tokens *special) {
    for (int32_t i = 0; i < special->sentinel_count; i++)
        for (int32_t j = 0; j < i; j++)
            if (special->sentinels[i] == special->sentinels[j])
                return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: sentinels: id %d twice", object->where,
                                special->sentinels[i]);
    return CM3_OK;
}

static cm3_status parse_all(const cm3_json_object *object, int32_t vocab_size, cm3_special_tokens *special) {
    size_t sentinels = 0, bytes = (size_t)vocab_size * sizeof *special->image_code;
    CM3_TRY(parse_role(object, "eod", vocab_size, &special->eod));
    CM3_TRY(parse_role(object, "pad", vocab_size, &special->pad));
    CM3_TRY(parse_role(object, "break", vocab_size, &special->break_));
    CM3_TRY(parse_role(object, "begin_image", vocab_size, &special->begin_image));
    CM3_TRY(parse_role(object, "end_image", vocab_size, &special->end_image));
    CM3_TRY(parse_role(object, "end_span", vocab_size, &special->end_span));
    CM3_TRY(parse_role(object, "bos", vocab_size, &special->bos));
    CM3_TRY(parse_role(object, "end_turn", vocab_size, &special->end_turn));
    CM3_TRY(cm3_json_ints(object, "sentinels", 0, vocab_size - 1, special->sentinels, CM3_MAX_SENTINELS, &sentinels));
    special->sentinel_count = (int32_t)sentinels;
    CM3_TRY(check_sentinels(object, special));
    CM3_TRY(parse_image(object, vocab_size, special));
    special->image_code = cm3_alloc(object->context, bytes);
    if (!special->image_code) return cm3_fail_memory(object->context, bytes, "image tokens");
    memset(special->image_code, 0xff, bytes);
    return index_codes(object, special);
}

cm3_status cm3_special_parse(const cm3_json_object *object, int32_t vocab_size, cm3_special_tokens *special) {
    memset(special, 0, sizeof *special);
    special->vocab_size = vocab_size;
    if (vocab_size < 1)
        return cm3_fail(object->context, CM3_ERROR_INVALID_ARGUMENT, "%s: a vocabulary of %d", object->where,
                        vocab_size);
    cm3_status status = parse_all(object, vocab_size, special);
    if (status != CM3_OK) cm3_special_clear(object->context, special);
    return status;
}

static bool consecutive(const cm3_special_tokens *special) {
    for (int32_t i = 1; i < special->image_count; i++)
        if (special->image[i] != special->image[0] + i) return false;
    return special->image_count > 0;
}

/* NULL where memory is out, as everything of jansson's. */
static json_t *format_ids(const int32_t *ids, int32_t count) {
    json_t *list = json_array();
    for (int32_t i = 0; i < count && list; i++) {
        if (json_array_append_new(list, json_integer(ids[i])) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static json_t *format_role(int32_t id) {
    return id < 0 ? json_null() : json_integer(id);
}

cm3_status cm3_special_format(cm3_context *context, const cm3_special_tokens *special, json_t **value) {
    json_t *image = consecutive(special)
                        ? json_pack("{s:i, s:i}", "first", special->image[0], "count", special->image_count)
                        : format_ids(special->image, special->image_count);
    *value = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "eod", format_role(special->eod), "pad",
                       format_role(special->pad), "break", format_role(special->break_), "begin_image",
                       format_role(special->begin_image), "end_image", format_role(special->end_image), "end_span",
                       format_role(special->end_span), "sentinels",
                       format_ids(special->sentinels, special->sentinel_count), "image", image);
    /* The CM3Leon family has them not. */
    bool whole = *value && (special->bos < 0 || !json_object_set_new(*value, "bos", json_integer(special->bos))) &&
                 (special->end_turn < 0 || !json_object_set_new(*value, "end_turn", json_integer(special->end_turn)));
    if (whole) return CM3_OK;
    json_decref(*value);
    *value = NULL;
    return cm3_fail_memory(context, 0, "special tokens");
}

void cm3_special_clear(cm3_context *context, cm3_special_tokens *special) {
    cm3_free(context, special->image);
    cm3_free(context, special->image_code);
    special->image = NULL;
    special->image_code = NULL;
    special->image_count = 0;
}
