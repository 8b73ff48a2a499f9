/* The text tokenizer: byte-level BPE as tokenizer.json describes it. Immutable after load; any thread. */
#ifndef CM3_TEXT_BPE_H
#define CM3_TEXT_BPE_H

#include "base/context.h"

typedef struct cm3_bpe cm3_bpe;

cm3_status cm3_bpe_parse(cm3_context *context, const char *name, const void *json, size_t size, cm3_bpe **bpe);
/** As tokenizer.json text, NUL-terminated; cm3_free() by the caller. */
cm3_status cm3_bpe_format(const cm3_bpe *bpe, char **json, size_t *size);
void cm3_bpe_destroy(cm3_bpe *bpe);
/** One more than the largest id. */
int32_t cm3_bpe_vocab_size(const cm3_bpe *bpe);
/** The id of a token by its name (as in the file), or -1. */
int32_t cm3_bpe_id(const cm3_bpe *bpe, const char *token);
/** The name of an id, or NULL. */
const char *cm3_bpe_token(const cm3_bpe *bpe, int32_t id);
/** True for added tokens marked special. */
bool cm3_bpe_is_special(const cm3_bpe *bpe, int32_t id);

/** Ids appended to a growing array (cm3_grow()); `flags` are cm3_encode_flags. Errors: UTF8, NO_MEMORY. */
cm3_status cm3_bpe_encode(const cm3_bpe *bpe, const char *text, size_t size, uint32_t flags, int32_t **ids,
                          size_t *count, size_t *capacity);
/** Bytes appended likewise, raw: what the ids stand for, not yet checked for UTF-8. */
cm3_status cm3_bpe_decode_raw(const cm3_bpe *bpe, const int32_t *ids, size_t id_count, bool skip_special, char **bytes,
                              size_t *count, size_t *capacity);
/** Lossy UTF-8: maximal bad subsequences become U+FFFD. `out` grows likewise. */
cm3_status cm3_utf8_lossy(cm3_context *context, const char *bytes, size_t size, char **out, size_t *count,
                          size_t *capacity);
/** CM3_OK or UTF8 with the byte offset in the message. */
cm3_status cm3_utf8_check(cm3_context *context, const char *what, const char *text, size_t size);

/** How to train one. */
typedef struct cm3_bpe_train_options {
    int32_t vocab_size;          /**< in all, special tokens and image codes included */
    int32_t min_frequency;       /**< of a pair; 2 is usual */
    const char *const *specials; /**< become ids 0.., in this order, added tokens marked special */
    size_t special_count;
    int (*progress)(void *user, uint64_t done, uint64_t total); /**< may be NULL; not 0 stops: CANCELLED */
    void *user;
} cm3_bpe_train_options;

/** Counts words of texts one by one, then learns merges. The result depends on the counts alone. */
typedef struct cm3_bpe_trainer cm3_bpe_trainer;
cm3_status cm3_bpe_trainer_create(cm3_context *context, const cm3_bpe_train_options *options,
                                  cm3_bpe_trainer **trainer);
cm3_status cm3_bpe_trainer_add(cm3_bpe_trainer *trainer, const char *text, size_t size);
cm3_status cm3_bpe_trainer_finish(cm3_bpe_trainer *trainer, cm3_bpe **bpe);
void cm3_bpe_trainer_destroy(cm3_bpe_trainer *trainer);

#endif
