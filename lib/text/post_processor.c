/* Post-processors: what goes before and behind the ids of a text; truncation and padding. */
#include <string.h>

#include "text/inside.h"

static cm3_status push(const cm3_json_object *object, cm3_bpe *bpe, const json_t *id, bool behind) {
    cm3_post_processor *post = &bpe->post;
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (size_t)value >= bpe->vocab.count || !bpe->vocab.tokens[value].used)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: a special token whose id is no token's", object->where);
    size_t count = post->before + post->behind;
    CM3_TRY(cm3_grow(object->context, &post->ids, &post->capacity, count + 1, sizeof *post->ids, "a post-processor"));
    post->ids[count] = (int32_t)value;
    if (behind)
        post->behind++;
    else
        post->before++;
    return CM3_OK;
}

/* One of the two pairs [name, id] that BERT's and RoBERTa's have. */
static cm3_status push_pair(const cm3_json_object *object, cm3_bpe *bpe, const char *key, bool behind) {
    const json_t *pair = json_object_get(object->value, key);
    if (json_array_size(pair) != 2)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"%s\" must be [name, id]", object->where, key);
    return push(object, bpe, json_array_get(pair, 1), behind);
}

static cm3_status push_special(const cm3_json_object *object, cm3_bpe *bpe, const json_t *specials, const json_t *piece,
                               bool behind) {
    const char *name = json_string_value(json_object_get(piece, "id"));
    const json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
    if (!json_is_array(ids))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: special token \"%.60s\" of the template has no ids",
                        object->where, name ? name : "");
    for (size_t i = 0; i < json_array_size(ids); i++) CM3_TRY(push(object, bpe, json_array_get(ids, i), behind));
    return CM3_OK;
}

static cm3_status parse_template(const cm3_json_object *object, cm3_bpe *bpe) {
    const json_t *single = json_object_get(object->value, "single");
    const json_t *specials = json_object_get(object->value, "special_tokens");
    bool seen = false;
    if (!json_is_array(single))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"single\" is not an array", object->where);
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *piece = json_array_get(single, i), *special = json_object_get(piece, "SpecialToken");
        const char *sequence = json_string_value(json_object_get(json_object_get(piece, "Sequence"), "id"));
        if (special) {
            CM3_TRY(push_special(object, bpe, specials, special, seen));
        } else if (!sequence || strcmp(sequence, "A") || seen) {
            return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: a template must hold the sequence A once",
                            object->where);
        } else {
            seen = true;
        }
    }
    if (seen) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: a template must hold the sequence A once",
                    object->where);
}

static cm3_status parse_any(const cm3_json_object *object, cm3_bpe *bpe);

static cm3_status parse_sequence(const cm3_json_object *object, cm3_bpe *bpe) {
    const json_t *list = json_object_get(object->value, "processors");
    if (!json_is_array(list))
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"processors\" is not an array", object->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cm3_json_object child = {object->context, object->where, json_array_get(list, i)};
        CM3_TRY(parse_any(&child, bpe));
    }
    return CM3_OK;
}

static cm3_status parse_any(const cm3_json_object *object, cm3_bpe *bpe) {
    const char *type = NULL;
    CM3_TRY(cm3_json_string(object, "type", &type));
    if (!type) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: a component without \"type\"", object->where);
    if (!strcmp(type, "ByteLevel")) return CM3_OK; /* it only moves offsets */
    if (!strcmp(type, "Sequence")) return parse_sequence(object, bpe);
    bool pairs = !strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing");
    if (!pairs && strcmp(type, "TemplateProcessing"))
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%.60s\" is not supported", object->where, type);
    if (bpe->post.before + bpe->post.behind)
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: two components that add tokens", object->where);
    if (!pairs) return parse_template(object, bpe);
    CM3_TRY(push_pair(object, bpe, "cls", false));
    return push_pair(object, bpe, "sep", true);
}

/** Left or Right. */
static cm3_status parse_direction(const cm3_json_object *object, bool *left) {
    const char *direction = "Right";
    CM3_TRY(cm3_json_string(object, "direction", &direction));
    *left = !strcmp(direction, "Left");
    if (*left || !strcmp(direction, "Right")) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: direction \"%.60s\" is neither \"Left\" nor \"Right\"",
                    object->where, direction);
}

static cm3_status parse_truncation(const cm3_json_object *root, const char *where, cm3_post_processor *post) {
    cm3_json_object object;
    const char *strategy = "LongestFirst";
    int64_t length = -1;
    CM3_TRY(cm3_json_child(root, "truncation", where, &object));
    if (!object.value) return CM3_OK;
    CM3_TRY(parse_direction(&object, &post->truncate_left));
    CM3_TRY(cm3_json_string(&object, "strategy", &strategy));
    if (!strcmp(strategy, "OnlySecond")) /* of two texts, and here there is one */
        return cm3_fail(root->context, CM3_ERROR_UNSUPPORTED, "%s: strategy \"OnlySecond\" is not supported", where);
    CM3_TRY(cm3_json_int(&object, "max_length", 0, INT32_MAX, &length));
    if (length < 0) return cm3_fail(root->context, CM3_ERROR_FORMAT, "%s: no \"max_length\"", where);
    post->truncate = true;
    post->max_length = (size_t)length;
    return CM3_OK;
}

/* A text alone is as long as the longest of its batch. */
static cm3_status parse_padding(const cm3_json_object *root, const char *where, cm3_bpe *bpe) {
    enum { MOST = 1 << 20 }; /* it bounds what a hostile file can ask for */
    cm3_post_processor *post = &bpe->post;
    cm3_json_object object, fixed;
    int64_t length = 0, multiple = 0;
    CM3_TRY(cm3_json_child(root, "padding", where, &object));
    if (!object.value) return CM3_OK;
    const json_t *strategy = json_object_get(object.value, "strategy");
    if (json_is_object(strategy)) {
        CM3_TRY(cm3_json_child(&object, "strategy", where, &fixed));
        length = -1;
        CM3_TRY(cm3_json_int(&fixed, "Fixed", 0, MOST, &length));
    } else if (!json_is_string(strategy) || strcmp(json_string_value(strategy), "BatchLongest")) {
        length = -1;
    }
    if (length < 0)
        return cm3_fail(root->context, CM3_ERROR_FORMAT,
                        "%s: \"strategy\" must be \"BatchLongest\" or {\"Fixed\": ...}", where);
    CM3_TRY(cm3_json_int(&object, "pad_to_multiple_of", 0, MOST, &multiple));
    CM3_TRY(cm3_json_int32(&object, "pad_id", 0, INT32_MAX, &post->pad_id));
    CM3_TRY(parse_direction(&object, &post->pad_left));
    if ((size_t)post->pad_id >= bpe->vocab.count || !bpe->vocab.tokens[post->pad_id].used)
        return cm3_fail(root->context, CM3_ERROR_FORMAT, "%s: pad_id %d is no token's", where, post->pad_id);
    post->pad = true;
    post->pad_length = (size_t)length;
    post->pad_multiple = (size_t)multiple;
    return CM3_OK;
}

cm3_status cm3_post_processor_parse(const cm3_json_object *root, cm3_bpe *bpe) {
    cm3_json_object object;
    char where[256];
    snprintf(where, sizeof where, "%.200s: post_processor", root->where);
    CM3_TRY(cm3_json_child(root, "post_processor", where, &object));
    if (object.value) CM3_TRY(parse_any(&object, bpe));
    snprintf(where, sizeof where, "%.200s: truncation", root->where);
    CM3_TRY(parse_truncation(root, where, &bpe->post));
    snprintf(where, sizeof where, "%.200s: padding", root->where);
    return parse_padding(root, where, bpe);
}
