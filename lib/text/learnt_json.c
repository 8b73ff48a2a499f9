/* tokenizer.json of what a trainer learnt. */
#include <jansson.h>
#include <string.h>

#include "text/byte_map.h"
#include "text/trainer.h"
#include "text/utf8.h"

/* A token's name: its bytes as characters. NULL where memory is out. */
static json_t *name_of(cm3_context *context, const cm3_learnt *learnt, int32_t id, cm3_text *name) {
    const cm3_word *token = &learnt->tokens.words[id - learnt->first];
    name->size = 0;
    for (uint32_t i = 0; i < token->size; i++) {
        char bytes[4];
        size_t size =
            cm3_utf8_put(cm3_byte_to_char((unsigned char)learnt->tokens.bytes.bytes[token->begin + i]), bytes);
        if (cm3_text_append(context, name, bytes, size) != CM3_OK) return NULL;
    }
    return json_stringn(name->bytes, name->size);
}

static json_t *format_added(const cm3_bpe_trainer *trainer) {
    json_t *list = json_array();
    for (size_t i = 0; i < trainer->options.special_count && list; i++) {
        json_t *added =
            json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i, "content", trainer->specials[i],
                      "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
        if (added && json_array_append_new(list, added) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

/* Specials are in the vocabulary too, as other programs write it. */
static bool fill_vocab(const cm3_bpe_trainer *trainer, const cm3_learnt *learnt, cm3_text *name, json_t *vocab) {
    for (size_t i = 0; i < trainer->options.special_count; i++)
        if (json_object_set_new(vocab, trainer->specials[i], json_integer((json_int_t)i))) return false;
    for (size_t i = 0; i < learnt->tokens.count; i++) {
        int32_t id = learnt->first + (int32_t)i;
        json_t *token = name_of(trainer->context, learnt, id, name);
        int failed = !token || json_object_set_new(vocab, json_string_value(token), json_integer(id));
        json_decref(token);
        if (failed) return false;
    }
    return true;
}

static bool fill_merges(const cm3_bpe_trainer *trainer, const cm3_learnt *learnt, cm3_text *name, json_t *merges) {
    for (size_t i = 0; i < learnt->merge_count; i++) {
        json_t *left = name_of(trainer->context, learnt, learnt->merges[i][0], name);
        json_t *right = name_of(trainer->context, learnt, learnt->merges[i][1], name);
        json_t *pair = json_pack("[o, o]", left, right); /* takes both, also on failure */
        if (!pair || json_array_append_new(merges, pair)) return false;
    }
    return true;
}

static json_t *format_model(const cm3_bpe_trainer *trainer, const cm3_learnt *learnt) {
    json_t *vocab = json_object(), *merges = json_array();
    cm3_text name = {0};
    bool done =
        vocab && merges && fill_vocab(trainer, learnt, &name, vocab) && fill_merges(trainer, learnt, &name, merges);
    cm3_free(trainer->context, name.bytes);
    if (!done) {
        json_decref(vocab);
        json_decref(merges);
        return NULL;
    }
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                     "ignore_merges", 0, "vocab", vocab, "merges", merges);
}

static json_t *format_byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                     1);
}

cm3_status cm3_learnt_format(const cm3_bpe_trainer *trainer, const cm3_learnt *learnt, char **json) {
    *json = NULL;
    json_t *root = json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                             "added_tokens", format_added(trainer), "normalizer", "pre_tokenizer", format_byte_level(),
                             "post_processor", "decoder", format_byte_level(), "model", format_model(trainer, learnt));
    if (root) *json = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return *json ? CM3_OK : cm3_fail_memory(trainer->context, learnt->tokens.bytes.size, "tokenizer.json");
}
