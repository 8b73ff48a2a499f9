/**
 * @file
 * The memory bank: records of text and picture under vectors, in one file, to be searched.
 */
#ifndef CM3LEON_BANK_H
#define CM3LEON_BANK_H

#include "cm3leon/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A `.bank` file (docs/bank.md). Many processes may read one while one writes; readers see what was committed when
 * they opened or last refreshed it. Any thread may use it: calls that read run beside each other, those that write
 * one at a time.
 */
typedef struct cm3_bank cm3_bank;

/** How vectors are kept. */
typedef enum cm3_vector_type {
    CM3_VECTORS_F32 = 1,
    CM3_VECTORS_BF16 = 2,
    CM3_VECTORS_INT8 = 3 /**< and an f16 scale for every 32 numbers; their number must be a multiple of 32 */
} cm3_vector_type;

/** How a bank is made. */
typedef struct cm3_bank_options {
    size_t struct_size;      /**< sizeof of this struct */
    cm3_vector_type vectors; /**< default CM3_VECTORS_BF16 */
    int32_t dimension;       /**< of vectors, 1..65536; 0 (the default): the encoder's */
    /** Whose encoder makes the vectors and whose image tokenizer the codes; a bank names both and refuses others. NULL
     * (the default): vectors come from elsewhere, and nothing is compared. */
    const cm3_model *model;
    const char *encoder_name; /**< for messages, at most 63 bytes. NULL (the default): "" */
} cm3_bank_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_bank_options_init(cm3_bank_options *options);

/** Makes a new file and opens it for writing; one that stands there is not replaced. Errors: INVALID_ARGUMENT (also a
 * model without an encoder), BUSY (there is such a file), IO, NO_SPACE, NO_MEMORY. *bank is NULL on failure. */
CM3_API cm3_status cm3_bank_create(cm3_context *context, const char *path, const cm3_bank_options *options,
                                   cm3_bank **bank);

/** What a bank is opened for. */
typedef enum cm3_bank_mode {
    CM3_BANK_READ = 1,
    CM3_BANK_WRITE = 2 /**< and read; one at a time may have it, over all processes */
} cm3_bank_mode;

/**
 * Opens a bank. What an interrupted append left behind its last commit is not seen, and is written over by the next.
 * Errors: NOT_FOUND, IO, FORMAT, VERSION, TRUNCATED, CHECKSUM (with the place), BUSY (another writer has it),
 * NO_MEMORY. *bank is NULL on failure.
 */
CM3_API cm3_status cm3_bank_open(cm3_context *context, const char *path, cm3_bank_mode mode, cm3_bank **bank);
/** Another hold on the same bank, to be destroyed as well. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_bank_retain(cm3_bank *bank);
/** Gives up a hold; the file is closed with the last. NULL is allowed. */
CM3_API void cm3_bank_destroy(cm3_bank *bank);

/** What a bank holds. */
typedef struct cm3_bank_info {
    size_t struct_size;       /**< set by the caller */
    uint64_t records;         /**< that can be found */
    uint64_t deleted;         /**< that still take room */
    uint64_t end;             /**< one above the largest id */
    uint64_t indexed;         /**< records that graphs cover, deleted ones included */
    uint64_t bytes;           /**< of the file, to its last commit */
    uint64_t left_over;       /**< bytes behind it, of an interrupted append */
    int32_t dimension;        /**< numbers of a vector */
    cm3_vector_type vectors;  /**< how they are kept */
    const char *encoder_name; /**< valid as long as the bank */
    uint64_t encoder_hash[2]; /**< XXH3-128 of the encoder's weights; 0: none was named */
    uint64_t image_hash[2];   /**< of the image tokenizer's codebook and encoder, likewise */
} cm3_bank_info;

/** What it holds. Set info->struct_size first. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_bank_get_info(const cm3_bank *bank, cm3_bank_info *info);

/** Whether a model's encoder made this bank's vectors, and its image tokenizer the codes. Errors: INVALID_ARGUMENT with
 * both names where it did not; a bank that names none goes with each that has its dimension. */
CM3_API cm3_status cm3_bank_check_model(const cm3_bank *bank, const cm3_model *model, const char *model_name);

/** Sees what was committed since, and a bank that took this one's place by compaction. Errors: as of cm3_bank_open().
 */
CM3_API cm3_status cm3_bank_refresh(cm3_bank *bank);

/** No record: what an id is where there is none. */
#define CM3_NO_RECORD UINT64_MAX

/** A record of a bank. A picture is there as bytes of a JPEG or PNG, or as codes of the image tokenizer, or not. */
typedef struct cm3_bank_record {
    size_t struct_size;   /**< set by the caller */
    uint64_t id;          /**< got: numbered from 0 in the order of adding, until a compaction numbers anew */
    const char *key;      /**< a name of the caller's, UTF-8, NUL-terminated; NULL or "": none. Need not be unique */
    const char *text;     /**< UTF-8, NUL-terminated; NULL: none */
    const void *image;    /**< NULL: none */
    size_t image_size;    /**< bytes of the image */
    const int32_t *codes; /**< NULL: none */
    size_t code_count;    /**< how many codes; 0 without */
    const float *vector;  /**< [dimension]; brought to length 1 when it is added */
} cm3_bank_record;

/** How records are added. */
typedef struct cm3_bank_add_options {
    size_t struct_size; /**< set by the caller, or the init function */
    /** Refuse a record whose vector's inner product with one that is there, or came before it in the same call, is
     * above this. Default 2: none is. */
    float near_duplicate;
    int sync; /**< not 0 (the default): on the disk when the call returns. 0: when the next one that says so does */
} cm3_bank_add_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_bank_add_options_init(cm3_bank_add_options *options);

/**
 * Appends records: all of those that are not there yet (same text and picture, whatever their keys), or none where the
 * call fails. ids [count] (may be NULL): where each went; CM3_NO_RECORD where it was refused as a duplicate. A crash at
 * any moment leaves the bank as it was before the call, or with a first part of the records where they are many.
 * Errors: INVALID_ARGUMENT (a vector that is missing, zero or not finite; text and picture both missing; opened for
 * reading), UTF8, TOO_LONG (a key, text or picture above 2^31 bytes), IO, NO_SPACE, NO_MEMORY.
 */
CM3_API cm3_status cm3_bank_add(cm3_bank *bank, const cm3_bank_record *records, size_t count,
                                const cm3_bank_add_options *options, uint64_t *ids);

/** Takes records out: they are found no more; the room comes back by compaction. Ids that are out already are no error.
 * Errors: INVALID_ARGUMENT (an id beyond the end; opened for reading), IO, NO_SPACE, NO_MEMORY. */
CM3_API cm3_status cm3_bank_delete(cm3_bank *bank, const uint64_t *ids, size_t count);

/** A copy of a record, to be given back by cm3_bank_record_destroy(). Errors: NOT_FOUND (no such id, or taken out),
 * CHECKSUM (its place in the file makes no sense), NO_MEMORY. *record is NULL on failure. */
CM3_API cm3_status cm3_bank_get(const cm3_bank *bank, uint64_t id, cm3_bank_record **record);
/** Gives a record back. NULL is allowed. */
CM3_API void cm3_bank_record_destroy(const cm3_bank *bank, cm3_bank_record *record);

/** The first record at or behind *id that is not taken out: for (uint64_t id = 0; cm3_bank_next(bank, &id) == CM3_OK;
 * id++). Errors: NOT_FOUND (there is none). */
CM3_API cm3_status cm3_bank_next(const cm3_bank *bank, uint64_t *id);

/** The first record of that key that is not taken out. Errors: NOT_FOUND. */
CM3_API cm3_status cm3_bank_find(const cm3_bank *bank, const char *key, uint64_t *id);

/** A record that was found. */
typedef struct cm3_hit {
    uint64_t id; /**< of the record */
    float score; /**< inner product of unit vectors, -1..1 */
} cm3_hit;

/** How records are looked for. */
typedef enum cm3_search_way {
    CM3_SEARCH_AUTO = 0,  /**< through graphs where the bank has more than 200,000 records and a graph, else exact */
    CM3_SEARCH_EXACT = 1, /**< every record is looked at */
    /** Through the graphs there are, records without a graph exact. Most of the nearest are found, not surely all;
     * scores are exact. */
    CM3_SEARCH_GRAPH = 2
} cm3_search_way;

/** How a bank is searched. */
typedef struct cm3_search_options {
    size_t struct_size; /**< set by the caller, or the init function */
    int32_t k;          /**< hits wanted, 1..65536. Default 10 */
    /** NULL (the default), or asked of each record that may be a hit, on the threads that compute, several at once; 0
     * leaves it out. Must not call the library. */
    int (*filter)(void *user, uint64_t id);
    void *user;         /**< handed to the function above */
    cm3_search_way way; /**< default CM3_SEARCH_AUTO */
    /** Of graphs: records that a walk keeps in view, k..65536; more find more of the nearest and take longer. Where a
     * filter or what was taken out leaves too few of them, it is repeated with more, in the end with all. Default 0: 2
     * k, at least 64. */
    int32_t ef;
} cm3_search_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_search_options_init(cm3_search_options *options);

/**
 * The records nearest to each of `count` queries [count, dimension], of any length but 0: hits [count, k], the best
 * first, of equal scores the older; found [count] (may be NULL) is how many of each k there are, the rest are
 * CM3_NO_RECORD with score -2. Scores are those of the vectors as kept, computed in f32. Runs on the engine thread,
 * which the call waits for. Errors: INVALID_ARGUMENT (a query that is zero or not finite; an option out of its range),
 * NO_MEMORY.
 */
CM3_API cm3_status cm3_bank_search(const cm3_bank *bank, const float *queries, size_t count,
                                   const cm3_search_options *options, cm3_hit *hits, size_t *found);

/** How a graph is built. */
typedef struct cm3_index_options {
    size_t struct_size; /**< set by the caller, or the init function */
    int32_t m; /**< neighbours of a record in the upper layers; twice as many in the ground layer. 2..64, default 16 */
    int32_t ef_construction; /**< records that are looked at for them: 4..4096, default 100 */
    /** Records that have no graph, where they are fewer, are left to exact search. Default 1000. */
    uint64_t least;
    /** Of what is drawn. The same seed and records give the same graph where one thread builds it. Default 1. */
    uint64_t seed;
    /** NULL, or called on the caller's thread with records done and in all; not 0 stops: CANCELLED. */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user; /**< handed to the function above */
} cm3_index_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_index_options_init(cm3_index_options *options);

/**
 * Builds a graph (HNSW: Malkov and Yashunin 2016) over all records that have none yet, for searches that need not look
 * at every record, and appends it: whole, or not there after a crash. Records and searches may be asked for meanwhile,
 * also from this object; what writes waits. Computes on the engine thread, a twentieth of a second at a time. Takes the
 * room of the graph (dimension + 8 m bytes a record and some more) in the file, that and 8 m bytes a record in memory
 * until it is through. No graph is built where fewer than `least` records have none. Errors: INVALID_ARGUMENT (opened
 * for reading; an option out of its range), TOO_LONG (more than 2^31 - 1 records), IO, NO_SPACE, CANCELLED, NO_MEMORY.
 */
CM3_API cm3_status cm3_bank_index(cm3_bank *bank, const cm3_index_options *options);

/** What cm3_bank_verify() tells of each thing that is wrong. */
typedef void (*cm3_bank_fault_fn)(void *user, const char *what);

/** Of verifying, compacting and merging. */
typedef struct cm3_bank_work_options {
    size_t struct_size; /**< set by the caller, or the init function */
    /** NULL, or called on the caller's thread with bytes (verifying) or records (compacting, merging) done and in
     * all; not 0 stops: CANCELLED. */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);
    cm3_bank_fault_fn on_fault; /**< of cm3_bank_verify(); NULL: the first alone, as the context's message */
    void *user;                 /**< handed to both */
    int no_graph;               /**< of cm3_bank_compact(): not 0: none is built. Default 0 */
} cm3_bank_work_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_bank_work_options_init(cm3_bank_work_options *options);

/** Reads all of a file and compares it with its sums; need not be one that can be opened. Errors: CHECKSUM after the
 * last fault was told, else as of cm3_bank_open(). */
CM3_API cm3_status cm3_bank_verify(cm3_context *context, const char *path, const cm3_bank_work_options *options);

/** Writes the bank anew without what was taken out, in large pieces, and puts it in its place; ids change, readers go
 * on with the old one until they refresh. A bank that has graphs gets one over all its records, as its last one was
 * made (unless `no_graph`); progress counts records twice then. Where it fails or is cancelled all stays as it was.
 * Errors: INVALID_ARGUMENT (opened for reading), IO, NO_SPACE, CANCELLED, NO_MEMORY. */
CM3_API cm3_status cm3_bank_compact(cm3_bank *bank, const cm3_bank_work_options *options);

/** Adds all records of another bank that are not there yet. *added (may be NULL): how many. Errors: INVALID_ARGUMENT
 * (another encoder or image tokenizer, with both names), and as of cm3_bank_add(). */
CM3_API cm3_status cm3_bank_merge(cm3_bank *bank, const cm3_bank *from, const cm3_bank_work_options *options,
                                  uint64_t *added);

#ifdef __cplusplus
}
#endif

#endif
