/* A tokenizer as a whole: read from tokenizer.json, asked for names and ids, written again. */
#include <stdio.h>
#include <string.h>

#include "text/inside.h"

/* One of "added_tokens". */
static cm3_status parse_added(const cm3_json_object *object, cm3_bpe *bpe) {
    cm3_added added = {.id = -1};
    bool normalized = true;
    CM3_TRY(cm3_json_string(object, "content", &added.text));
    CM3_TRY(cm3_json_int32(object, "id", 0, CM3_MAX_TOKEN_ID - 1, &added.id));
    if (!added.text || added.id < 0)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: an added token without \"id\" or \"content\"",
                        object->where);
    CM3_TRY(cm3_json_bool(object, "special", &added.special));
    normalized = !added.special;
    CM3_TRY(cm3_json_bool(object, "normalized", &normalized));
    CM3_TRY(cm3_json_bool(object, "single_word", &added.single_word));
    CM3_TRY(cm3_json_bool(object, "lstrip", &added.lstrip));
    CM3_TRY(cm3_json_bool(object, "rstrip", &added.rstrip));
    added.size = strlen(added.text);
    if (!added.size) return CM3_OK; /* never found anywhere */
    int32_t known = cm3_vocab_find(&bpe->vocab, added.text, added.size);
    if (known >= 0 && known != added.id)
        return cm3_fail(object->context, CM3_ERROR_FORMAT,
                        "%s: added token \"%.80s\" has id %d, but the vocabulary gives it %d", object->where,
                        added.text, added.id, known);
    if (known < 0)
        CM3_TRY(cm3_vocab_add(object->context, object->where, &bpe->vocab, added.text, added.size, added.id, false));
    bpe->vocab.tokens[added.id].special = added.special;
    CM3_TRY(cm3_added_push(object->context, &bpe->added, &added));
    return cm3_added_push(object->context, normalized ? &bpe->normalized : &bpe->raw, &added);
}

/* Normalized tokens are looked for in normalized text, as they are when normalized. */
static cm3_status normalize_added(cm3_bpe *bpe, const char *where) {
    cm3_normalizer_scratch scratch = {0};
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < bpe->normalized.count && bpe->normalizer.count && status == CM3_OK; i++) {
        cm3_added *added = &bpe->normalized.items[i];
        cm3_text text = {0};
        status = cm3_normalize(bpe->context, &bpe->normalizer, &scratch, added->text, added->size, &text);
        if (status == CM3_OK && !text.size)
            status = cm3_fail(bpe->context, CM3_ERROR_UNSUPPORTED, "%s: nothing is left of added token \"%.80s\"",
                              where, added->text);
        if (status != CM3_OK) {
            cm3_free(bpe->context, text.bytes);
            break;
        }
        cm3_free(bpe->context, (char *)added->text);
        added->text = text.bytes;
        added->size = text.size;
    }
    cm3_normalizer_scratch_clear(bpe->context, &scratch);
    return status;
}

static cm3_status parse_all_added(const cm3_json_object *root, cm3_bpe *bpe) {
    const json_t *list = json_object_get(root->value, "added_tokens");
    char where[256];
    snprintf(where, sizeof where, "%.200s: added_tokens", root->where);
    if (list && !json_is_null(list) && !json_is_array(list))
        return cm3_fail(root->context, CM3_ERROR_FORMAT, "%s: expected an array", where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cm3_json_object object = {root->context, where, json_array_get(list, i)};
        CM3_TRY(parse_added(&object, bpe));
    }
    cm3_added_sort(&bpe->added);
    for (size_t i = 1; i < bpe->added.count; i++) {
        const cm3_added *one = &bpe->added.items[i - 1], *two = &bpe->added.items[i];
        if (one->size == two->size && !memcmp(one->text, two->text, one->size))
            return cm3_fail(root->context, CM3_ERROR_FORMAT, "%s: \"%.80s\" twice", where, one->text);
    }
    CM3_TRY(normalize_added(bpe, where));
    cm3_added_sort(&bpe->raw);
    cm3_added_sort(&bpe->normalized);
    return CM3_OK;
}

static cm3_status parse_version(const cm3_json_object *root) {
    const char *version = "1.0";
    CM3_TRY(cm3_json_string(root, "version", &version));
    if (!strcmp(version, "1.0")) return CM3_OK;
    return cm3_fail(root->context, CM3_ERROR_VERSION, "%s: expected version \"1.0\", found \"%.20s\"", root->where,
                    version);
}

static cm3_status parse_parts(const cm3_json_object *root, cm3_bpe *bpe) {
    cm3_json_object object;
    char where[256];
    CM3_TRY(parse_version(root));
    snprintf(where, sizeof where, "%.200s: model", root->where);
    CM3_TRY(cm3_json_child(root, "model", where, &object));
    if (!object.value) return cm3_fail(root->context, CM3_ERROR_FORMAT, "%s: no \"model\"", root->where);
    CM3_TRY(cm3_bpe_model_parse(&object, bpe));
    snprintf(where, sizeof where, "%.200s: normalizer", root->where);
    CM3_TRY(cm3_json_child(root, "normalizer", where, &object));
    if (object.value) CM3_TRY(cm3_normalizer_parse(&object, &bpe->normalizer));
    CM3_TRY(parse_all_added(root, bpe));
    snprintf(where, sizeof where, "%.200s: pre_tokenizer", root->where);
    CM3_TRY(cm3_json_child(root, "pre_tokenizer", where, &object));
    if (object.value) CM3_TRY(cm3_pre_tokenizer_parse(&object, &bpe->pre_tokenizer));
    CM3_TRY(cm3_post_processor_parse(root, bpe));
    snprintf(where, sizeof where, "%.200s: decoder", root->where);
    CM3_TRY(cm3_decoder_parse(root, where, &bpe->decoder));
    return cm3_decoder_prepare(root->context, &bpe->vocab, &bpe->normalized, &bpe->decoder);
}

cm3_status cm3_bpe_parse(cm3_context *context, const char *name, const void *json, size_t size, cm3_bpe **bpe) {
    *bpe = NULL;
    json_t *value;
    CM3_TRY(cm3_json_parse(context, name, json, size, &value));
    cm3_bpe *made = cm3_calloc(context, 1, sizeof *made);
    cm3_status status = made ? CM3_OK : cm3_fail_memory(context, sizeof *made, "a tokenizer");
    if (made) {
        made->context = context;
        cm3_context_retain(context);
        cm3_json_object root = {context, name, value};
        status = parse_parts(&root, made);
    }
    json_decref(value);
    if (status == CM3_OK) {
        made->json = cm3_strndup(context, json, size);
        made->json_size = size;
        if (!made->json) status = cm3_fail_memory(context, size, "a tokenizer");
    }
    if (status == CM3_OK)
        *bpe = made;
    else
        cm3_bpe_destroy(made);
    return status;
}

cm3_status cm3_bpe_format(const cm3_bpe *bpe, char **json, size_t *size) {
    *json = cm3_strndup(bpe->context, bpe->json, bpe->json_size);
    if (!*json) return cm3_fail_memory(bpe->context, bpe->json_size, "tokenizer.json");
    *size = bpe->json_size;
    return CM3_OK;
}

void cm3_bpe_destroy(cm3_bpe *bpe) {
    if (!bpe) return;
    cm3_context *context = bpe->context;
    cm3_added_clear(context, &bpe->added);
    cm3_added_clear(context, &bpe->raw);
    cm3_added_clear(context, &bpe->normalized);
    cm3_normalizer_clear(context, &bpe->normalizer);
    cm3_pre_tokenizer_clear(context, &bpe->pre_tokenizer);
    cm3_free(context, bpe->model.prefix);
    cm3_free(context, bpe->model.suffix);
    cm3_vocab_clear(context, &bpe->vocab);
    cm3_merges_clear(context, &bpe->merges);
    cm3_free(context, bpe->post.ids);
    cm3_decoder_clear(context, &bpe->decoder);
    cm3_free(context, bpe->json);
    cm3_free(context, bpe);
    cm3_context_release(context);
}

int32_t cm3_bpe_vocab_size(const cm3_bpe *bpe) {
    return (int32_t)bpe->vocab.count;
}

int32_t cm3_bpe_id(const cm3_bpe *bpe, const char *token) {
    size_t size = strlen(token);
    int32_t id = cm3_vocab_find(&bpe->vocab, token, size);
    return id >= 0 ? id : cm3_added_find(&bpe->added, token, size);
}

const char *cm3_bpe_token(const cm3_bpe *bpe, int32_t id) {
    if (id < 0 || (size_t)id >= bpe->vocab.count || !bpe->vocab.tokens[id].used) return NULL;
    return cm3_vocab_name(&bpe->vocab, id);
}

bool cm3_bpe_is_special(const cm3_bpe *bpe, int32_t id) {
    return id >= 0 && (size_t)id < bpe->vocab.count && bpe->vocab.tokens[id].special;
}
