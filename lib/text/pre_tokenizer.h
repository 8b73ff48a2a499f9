/* Pre-tokenizers: how a text is cut into the words that merges work on. */
#ifndef CM3_TEXT_PRE_TOKENIZER_H
#define CM3_TEXT_PRE_TOKENIZER_H

#include "text/added.h"
#include "text/normalizer.h"

/** What becomes of a match. */
typedef enum cm3_split_behaviour {
    CM3_SPLIT_REMOVED,
    CM3_SPLIT_ISOLATED,
    CM3_SPLIT_MERGED_WITH_PREVIOUS,
    CM3_SPLIT_MERGED_WITH_NEXT,
    CM3_SPLIT_CONTIGUOUS
} cm3_split_behaviour;

/** One cut; a ByteLevel also maps bytes to characters. */
typedef struct cm3_pre_step {
    bool byte_level;
    bool prefix_space; /**< BYTE_LEVEL: a space before each piece that begins with none */
    bool split;        /**< whether `pattern` is used */
    bool invert;       /**< what lies between matches counts as the match */
    cm3_split_behaviour behaviour;
    cm3_pattern pattern;
} cm3_pre_step;

/** Steps in their order; sequences are flattened. */
typedef struct cm3_pre_tokenizer {
    cm3_pre_step *steps;
    size_t count, capacity;
} cm3_pre_tokenizer;

/** Appends the steps of `object`. Errors: FORMAT, UNSUPPORTED naming the component, NO_MEMORY. */
cm3_status cm3_pre_tokenizer_parse(const cm3_json_object *object, cm3_pre_tokenizer *pre);
void cm3_pre_tokenizer_clear(cm3_context *context, cm3_pre_tokenizer *pre);

/** A text and its pieces. The text is borrowed at first; `own` is where a step puts a new one. */
typedef struct cm3_pre_text {
    const char *text;
    cm3_pieces pieces, spare_pieces;
    cm3_text own, spare;
    pcre2_match_data *match_data;
} cm3_pre_text;

void cm3_pre_text_clear(cm3_context *context, cm3_pre_text *pre_text);

/** Cuts the pieces that are not added tokens. Errors: UNSUPPORTED (a pattern costs too much), NO_MEMORY. */
cm3_status cm3_pre_tokenize(cm3_context *context, const cm3_pre_tokenizer *pre, cm3_pre_text *pre_text);

#endif
