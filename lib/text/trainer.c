/* The trainer: counts words, has merges learnt, and makes a tokenizer of them. */
#include "text/trainer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "text/byte_map.h"
#include "text/utf8.h"
#include "text/vocab.h"

/* A special token that is spelt like a byte of the alphabet would have two ids. */
static bool is_alphabet(const char *special) {
    size_t at = 0;
    uint32_t code = cm3_utf8_next(special, &at);
    return !special[at] && cm3_char_to_byte(code) >= 0;
}

static cm3_status copy_specials(cm3_bpe_trainer *trainer, const cm3_bpe_train_options *options) {
    cm3_context *context = trainer->context;
    cm3_word_table seen = {0};
    cm3_status status = CM3_OK;
    trainer->specials = cm3_calloc(context, options->special_count, sizeof *trainer->specials);
    if (!trainer->specials) return cm3_fail_memory(context, options->special_count, "special tokens");
    for (size_t i = 0; i < options->special_count && status == CM3_OK; i++) {
        const char *special = options->specials[i];
        size_t size = special ? strlen(special) : 0, before = seen.count;
        uint32_t number;
        if (!size) status = cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "training: special token %zu is empty", i);
        if (status == CM3_OK) status = cm3_utf8_check(context, "a special token", special, size);
        if (status == CM3_OK) status = cm3_word_table_get(context, &seen, special, size, true, &number);
        if (status == CM3_OK && (seen.count == before || is_alphabet(special)))
            status = cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "training: special token \"%.80s\" is there already",
                              special);
        if (status != CM3_OK) break;
        trainer->specials[i] = cm3_strndup(context, special, size);
        if (!trainer->specials[i]) status = cm3_fail_memory(context, size, "special tokens");
    }
    cm3_word_table_clear(context, &seen);
    return status;
}

cm3_status cm3_bpe_trainer_create(cm3_context *context, const cm3_bpe_train_options *options,
                                  cm3_bpe_trainer **trainer) {
    *trainer = NULL;
    if (options->vocab_size < 0 || options->vocab_size > CM3_MAX_TOKEN_ID ||
        options->special_count > CM3_MAX_TOKEN_ID || (size_t)options->vocab_size < options->special_count + 256)
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "training: vocab_size: expected %zu (special tokens and 256 bytes) to %d, found %d",
                        options->special_count + 256, CM3_MAX_TOKEN_ID, options->vocab_size);
    if (options->min_frequency < 1)
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "training: min_frequency: expected at least 1, found %d",
                        options->min_frequency);
    cm3_bpe_trainer *made = cm3_calloc(context, 1, sizeof *made);
    if (!made) return cm3_fail_memory(context, sizeof *made, "a trainer");
    made->context = context;
    cm3_context_retain(context);
    made->options = *options;
    made->options.specials = NULL;
    cm3_status status = copy_specials(made, options);
    if (status == CM3_OK)
        *trainer = made;
    else
        cm3_bpe_trainer_destroy(made);
    return status;
}

void cm3_bpe_trainer_destroy(cm3_bpe_trainer *trainer) {
    if (!trainer) return;
    cm3_context *context = trainer->context;
    for (size_t i = 0; trainer->specials && i < trainer->options.special_count; i++)
        cm3_free(context, trainer->specials[i]);
    cm3_free(context, trainer->specials);
    cm3_word_table_clear(context, &trainer->words);
    pcre2_match_data_free(trainer->match_data);
    cm3_free(context, trainer);
    cm3_context_release(context);
}

cm3_status cm3_bpe_trainer_add(cm3_bpe_trainer *trainer, const char *text, size_t size) {
    CM3_TRY(cm3_utf8_check(trainer->context, "a training text", text, size));
    static const cm3_pattern words = {.kind = CM3_PATTERN_GPT2};
    cm3_search search = {&words, text, size, 0, SIZE_MAX, &trainer->match_data};
    for (;;) {
        size_t begin, end;
        uint32_t number;
        bool found;
        CM3_TRY(cm3_search_next(trainer->context, &search, &found, &begin, &end));
        if (!found) return CM3_OK;
        CM3_TRY(cm3_word_table_get(trainer->context, &trainer->words, text + begin, end - begin, true, &number));
        trainer->words.words[number].count++;
    }
}

cm3_status cm3_bpe_trainer_finish(cm3_bpe_trainer *trainer, cm3_bpe **bpe) {
    *bpe = NULL;
    cm3_learnt learnt = {0};
    char *json = NULL;
    cm3_status status = cm3_learn(trainer, &learnt);
    if (status == CM3_OK) status = cm3_learnt_format(trainer, &learnt, &json);
    if (status == CM3_OK) status = cm3_bpe_parse(trainer->context, "the trained tokenizer", json, strlen(json), bpe);
    free(json);
    cm3_learnt_clear(trainer->context, &learnt);
    return status;
}
