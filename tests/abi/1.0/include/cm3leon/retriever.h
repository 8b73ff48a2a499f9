/**
 * @file
 * The retriever: an encoder, a store of records, and the rules by which a few of them are chosen for a prompt.
 */
#ifndef CM3LEON_RETRIEVER_H
#define CM3LEON_RETRIEVER_H

#include "cm3leon/bank.h"
#include "cm3leon/document.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Reference-free: destroyed by its maker, after the last call that uses it. Any thread may use it, several at once,
 * where its engine allows that (the memory bank does). */
typedef struct cm3_retriever cm3_retriever;

/**
 * Where records are kept, if not in a memory bank: a database, a service. Functions are called on the caller's thread
 * of the retriever's call, return a status of this library (whatever else they return counts as IO), and may be called
 * from several threads at once. Strings and arrays that they are handed are valid during the call.
 */
typedef struct cm3_retrieval_engine {
    size_t struct_size; /**< sizeof(cm3_retrieval_engine) */
    /** The k records nearest to each of `count` unit vectors [count, dimension] by inner product: hits [count, k], the
     * best first; found[i] is how many there are, the rest need not be filled. */
    cm3_status (*search)(void *user, const float *queries, size_t count, int32_t dimension, int32_t k, cm3_hit *hits,
                         size_t *found);
    /** A record by its id, its vector included; what it points to stays valid until it is released. */
    cm3_status (*fetch)(void *user, uint64_t id, cm3_bank_record **record);
    void (*release)(void *user, cm3_bank_record *record); /**< gives a fetched record back */
    /** May be NULL: records cannot be added. ids: CM3_NO_RECORD where one was refused. */
    cm3_status (*add)(void *user, const cm3_bank_record *records, size_t count, uint64_t *ids);
    cm3_status (*count)(void *user, uint64_t *count); /**< how many records there are */
    /** May be NULL. What went wrong in the last call that failed; valid until the next. No passwords. */
    const char *(*message)(void *user);
    /** May be NULL. Called once, by cm3_retriever_destroy(). */
    void (*destroy)(void *user);
    void *user; /**< handed to the functions */
} cm3_retrieval_engine;

/** What a store must know of the model that filled it. */
typedef struct cm3_encoder_identity {
    size_t struct_size;       /**< set by the caller */
    int32_t dimension;        /**< of its vectors */
    uint64_t encoder_hash[2]; /**< XXH3-128 of the encoder's weights, as cm3_bank_info has it */
    uint64_t image_hash[2];   /**< of the image tokenizer's codebook and encoder; 0: there is none */
} cm3_encoder_identity;

/** Tells encoders apart: an engine keeps this beside its records and refuses those of another. Reads all of the
 * encoder's weights. Errors: INVALID_ARGUMENT (a model without an encoder), NO_MEMORY. */
CM3_API cm3_status cm3_model_encoder_identity(const cm3_model *model, cm3_encoder_identity *identity);

/**
 * A retriever over a memory bank, whose vectors the model's encoder must have made. It takes a hold of both. Errors:
 * INVALID_ARGUMENT (NULL; a bank of another encoder or image tokenizer, with both names; a model without an encoder of
 * texts), NO_MEMORY. *retriever is NULL on failure.
 */
CM3_API cm3_status cm3_retriever_create(cm3_model *model, cm3_bank *bank, cm3_retriever **retriever);

/** The same over an engine, whose struct is copied and whose `destroy` is called on failure, too. */
CM3_API cm3_status cm3_retriever_create_with(cm3_model *model, const cm3_retrieval_engine *engine,
                                             cm3_retriever **retriever);

/** NULL is allowed. */
CM3_API void cm3_retriever_destroy(cm3_retriever *retriever);

/** Something to be kept, or a query: a text, a picture, or both. */
typedef struct cm3_retrieval_item {
    size_t struct_size;   /**< set by the caller */
    const char *key;      /**< NULL: none */
    const char *text;     /**< UTF-8; NULL: none */
    cm3_image *image;     /**< NULL: none */
    const int32_t *codes; /**< a picture as codes, where there is no image; NULL: none */
    size_t code_count;    /**< how many codes; 0 without */
} cm3_retrieval_item;

/**
 * Vectors of items [count, embedding_size]: the mean of the unit vectors of text and picture, of length 1 again (one of
 * them may be missing). Errors: INVALID_ARGUMENT (an item of nothing), UTF8, UNSUPPORTED (no such tower), NO_MEMORY.
 */
CM3_API cm3_status cm3_retriever_embed(const cm3_retriever *retriever, const cm3_retrieval_item *items, size_t count,
                                       float *vectors);

/**
 * Keeps items: their vectors, texts, keys, and their pictures as codes of the model's image tokenizer (as PNG where it
 * has none). ids [count] (may be NULL) as of cm3_bank_add(). Errors: as of cm3_retriever_embed() and of the engine;
 * UNSUPPORTED where the engine cannot add.
 */
CM3_API cm3_status cm3_retriever_add(cm3_retriever *retriever, const cm3_retrieval_item *items, size_t count,
                                     uint64_t *ids);

/** From here on records nearer than this to one that is there are not kept: cm3_bank_add_options.near_duplicate.
 * Errors: UNSUPPORTED of an engine of the host's own. */
CM3_API cm3_status cm3_retriever_refuse_near(cm3_retriever *retriever, float near_duplicate);

/**
 * Keeps all records of shards, as training reads them: tar files in WebDataset form, or JSON lines that name pictures.
 * Of several texts the first is kept; codes that are there are taken as they are. `progress` (may be NULL) is told
 * records done, of an unknown number; not 0 stops: CANCELLED, and what was added stays. *added (may be NULL) counts
 * those that were not there already. Errors: as of cm3_retriever_add(); NOT_FOUND, FORMAT; UNSUPPORTED in a library
 * that was built without training.
 */
CM3_API cm3_status cm3_retriever_import(cm3_retriever *retriever, const char *const *shards, size_t shard_count,
                                        int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                                        uint64_t *added);

/** CM3Leon's rules (Yu et al. 2023, section 2.1). */
typedef struct cm3_retrieve_options {
    size_t struct_size; /**< set by the caller, or the init function */
    int32_t k;          /**< documents wanted, 0..1000. Default 2 */
    /** Diversity: one whose inner product with one already taken is above this is skipped. Default 0.9; 2: never */
    float most_alike;
    /** And one whose score with the query is above this: in training it would give the answer away. Default 2: never */
    float most_score;
    int whole_first;     /**< not 0 (the default): documents of text and picture before those of one alone */
    float query_dropout; /**< share of a text's words that are left out of the query, 0..1; training: 0.2. Default 0 */
    uint64_t seed;       /**< of what is left out */
    int32_t candidates;  /**< hits that are looked at; 0 (the default): 50, or 10 k where that is more */
} cm3_retrieve_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_retrieve_options_init(cm3_retrieve_options *options);

/**
 * The documents for each of `count` queries, each a text or a picture and not both: hits [count, k], the best first,
 * whole ones before others; found [count] of them, the rest are CM3_NO_RECORD. Errors: INVALID_ARGUMENT, UTF8,
 * UNSUPPORTED, those of the engine with its message, NO_MEMORY.
 */
CM3_API cm3_status cm3_retriever_search(const cm3_retriever *retriever, const cm3_retrieval_item *queries, size_t count,
                                        const cm3_retrieve_options *options, cm3_hit *hits, size_t *found);

/**
 * The documents for one query, put into `document`, which must hold nothing but such so far: to be followed by the
 * prompt's own text. As many as fit into `room` tokens of the model (0: what its context leaves beside a picture and
 * 128 tokens), in the order of their rank; a picture that is kept as a file is read. hits [k] and found (both may be
 * NULL) are those that were taken. Errors: as of cm3_retriever_search() and cm3_document_add_retrieved(); UNSUPPORTED
 * where the model has no tokenizer.
 */
CM3_API cm3_status cm3_retriever_retrieve(const cm3_retriever *retriever, const cm3_retrieval_item *query,
                                          const cm3_retrieve_options *options, int32_t room, cm3_document *document,
                                          cm3_hit *hits, size_t *found);

/** A record of a hit; given back by cm3_retriever_release(). *record is NULL on failure. */
CM3_API cm3_status cm3_retriever_fetch(const cm3_retriever *retriever, uint64_t id, cm3_bank_record **record);
/** Gives a record back. NULL is allowed. */
CM3_API void cm3_retriever_release(const cm3_retriever *retriever, cm3_bank_record *record);

/** How many records there are. */
CM3_API cm3_status cm3_retriever_count(const cm3_retriever *retriever, uint64_t *count);

#ifdef __cplusplus
}
#endif

#endif
