/* Token names and ids, and the merges between them. */
#ifndef CM3_TEXT_VOCAB_H
#define CM3_TEXT_VOCAB_H

#include "base/context.h"

/** Ids are below this: it bounds what a hostile file can ask for. */
#define CM3_MAX_TOKEN_ID (1 << 22)

typedef struct cm3_token {
    size_t name; /**< where it begins in `names` */
    uint32_t size;
    bool used;     /**< false: no token has this id */
    bool in_model; /**< part of the model's vocabulary, so that words are made of it */
    bool special;
} cm3_token;

typedef struct cm3_vocab {
    char *names; /**< all names, each with a NUL behind it */
    size_t name_size, name_capacity;
    cm3_token *tokens; /**< by id */
    size_t count, capacity;
    int32_t *slots; /**< ids of the model's tokens by hash, -1: free */
    size_t slot_count, slots_used;
} cm3_vocab;

/** Adds a token. Errors: FORMAT where id or name (in the model) is taken, with `where` in the message; NO_MEMORY. */
cm3_status cm3_vocab_add(cm3_context *context, const char *where, cm3_vocab *vocab, const char *name, size_t size,
                         int32_t id, bool in_model);
/** The id of a token of the model, or -1. */
int32_t cm3_vocab_find(const cm3_vocab *vocab, const char *name, size_t size);
/** The name of an id that is used. */
static inline const char *cm3_vocab_name(const cm3_vocab *vocab, int32_t id) {
    return vocab->names + vocab->tokens[id].name;
}
void cm3_vocab_clear(cm3_context *context, cm3_vocab *vocab);

typedef struct cm3_merge {
    uint64_t pair; /**< left id in the upper half; UINT64_MAX: free */
    uint32_t rank;
    int32_t id;
} cm3_merge;

typedef struct cm3_merges {
    cm3_merge *slots;
    size_t slot_count;
} cm3_merges;

/** Room for `count` merges. */
cm3_status cm3_merges_create(cm3_context *context, size_t count, cm3_merges *merges);
/** Sets the merge of a pair; a later one replaces an earlier one. */
void cm3_merges_set(cm3_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id);
/** NULL where the pair does not merge. */
const cm3_merge *cm3_merges_find(const cm3_merges *merges, int32_t left, int32_t right);
void cm3_merges_clear(cm3_context *context, cm3_merges *merges);

#endif
