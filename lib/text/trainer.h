/* The inside of a trainer: words and how often they came, then what merges make of them. */
#ifndef CM3_TEXT_TRAINER_H
#define CM3_TEXT_TRAINER_H

#include "text/bpe.h"
#include "text/normalizer.h"

/** A string of bytes in `bytes`, and its number. */
typedef struct cm3_word {
    size_t begin;
    uint32_t size;
    uint64_t count;
} cm3_word;

/** A set of byte strings. */
typedef struct cm3_word_table {
    cm3_text bytes;
    cm3_word *words;
    size_t count, capacity;
    uint32_t *slots; /**< number + 1 by hash, 0: free */
    size_t slot_count;
} cm3_word_table;

/** The number of a word; it is added with count 0 where it is new and `add` is set, else UINT32_MAX. */
cm3_status cm3_word_table_get(cm3_context *context, cm3_word_table *table, const char *word, size_t size, bool add,
                              uint32_t *number);
void cm3_word_table_clear(cm3_context *context, cm3_word_table *table);

struct cm3_bpe_trainer {
    cm3_context *context;
    cm3_bpe_train_options options;
    char **specials; /**< copies */
    cm3_word_table words;
    pcre2_match_data *match_data;
};

/** What was learnt. Ids are those of the tokenizer: specials, the 256 bytes, then `tokens` from `first` on. */
typedef struct cm3_learnt {
    int32_t first;         /**< id of tokens.words[0], the first byte of the alphabet */
    cm3_word_table tokens; /**< their bytes */
    int32_t (*merges)[2];
    size_t merge_count, merge_capacity;
} cm3_learnt;

/** Learns merges from the words. Errors: CANCELLED, NO_MEMORY. */
cm3_status cm3_learn(const cm3_bpe_trainer *trainer, cm3_learnt *learnt);
void cm3_learnt_clear(cm3_context *context, cm3_learnt *learnt);

/** tokenizer.json of what was learnt; free() by the caller. */
cm3_status cm3_learnt_format(const cm3_bpe_trainer *trainer, const cm3_learnt *learnt, char **json);

#endif
