/* The inside of a tokenizer: its parts in the order in which a text passes through them. */
#ifndef CM3_TEXT_INSIDE_H
#define CM3_TEXT_INSIDE_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/byte_map.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/vocab.h"

/** The BPE model's own settings. */
typedef struct cm3_bpe_model {
    char *prefix, *suffix; /**< of characters inside a word, of a word's last character; NULL: none */
    size_t prefix_size, suffix_size;
    int32_t unknown;                  /**< -1: unknown characters are left out */
    bool fuse_unknown;                /**< one id for a run of them */
    bool byte_fallback;               /**< unknown characters by their bytes */
    bool ignore_merges;               /**< a word that is a token is that token */
    int32_t byte_ids[256];            /**< of "<0x00>".."<0xFF>", -1 where there is none */
    int32_t char_ids[CM3_BYTE_CHARS]; /**< of single characters, without prefix and suffix */
} cm3_bpe_model;

/** What goes before and behind the ids of a text, and how many they are to be. */
typedef struct cm3_post_processor {
    int32_t *ids; /**< first those before, then those behind; owned */
    size_t before, behind, capacity;
    bool truncate, truncate_left;
    size_t max_length; /**< with what is added */
    bool pad, pad_left;
    size_t pad_length, pad_multiple; /**< 0: as long as it is; 0: of any number */
    int32_t pad_id;
} cm3_post_processor;

struct cm3_bpe {
    cm3_context *context;
    char *json; /**< the file's text as it was read */
    size_t json_size;
    cm3_added_set added;      /**< all added tokens by name */
    cm3_added_set raw;        /**< looked for in the text as it is */
    cm3_added_set normalized; /**< looked for after normalization, normalized themselves */
    cm3_normalizer normalizer;
    cm3_pre_tokenizer pre_tokenizer;
    cm3_bpe_model model;
    cm3_vocab vocab;
    cm3_merges merges;
    cm3_post_processor post;
    cm3_decoder decoder;
};

/** Reads "model" into model, vocab and merges. */
cm3_status cm3_bpe_model_parse(const cm3_json_object *object, cm3_bpe *bpe);

/** Reads "post_processor", "truncation" and "padding", each of which may be absent. */
cm3_status cm3_post_processor_parse(const cm3_json_object *root, cm3_bpe *bpe);

/** Ids in the making. */
typedef struct cm3_ids {
    int32_t *items;
    size_t count, capacity;
} cm3_ids;

/** A symbol of a word while it is merged: a doubly linked list in an array. */
typedef struct cm3_symbol {
    int32_t id;              /**< -1: merged into the one before */
    uint32_t rank;           /**< of the merge with the next symbol; UINT32_MAX: none */
    uint32_t merged;         /**< the id which that makes */
    uint32_t previous, next; /**< UINT32_MAX: none */
} cm3_symbol;

/** Memory of one run. */
typedef struct cm3_word_scratch {
    cm3_symbol *symbols;
    size_t symbol_count, symbol_capacity;
    uint64_t *heap; /**< rank in the upper half, position in the lower */
    size_t heap_count, heap_capacity;
    char *name;
    size_t name_capacity;
} cm3_word_scratch;

void cm3_word_scratch_clear(cm3_context *context, cm3_word_scratch *scratch);

/** Ids of one word, valid UTF-8, to the end of *ids. Errors: NO_MEMORY. */
cm3_status cm3_word_encode(const cm3_bpe *bpe, cm3_word_scratch *scratch, const char *word, size_t size, cm3_ids *ids);

#endif
