/**
 * @file
 * PostgreSQL with pgvector as a retrieval engine: one server or many shards, each with replicas. A library of its own,
 * libcm3leon_pgvector, which needs libpq; cm3leon.h does not include this header. docs/retrieval-engines.md tells how
 * servers are set up and what is promised.
 */
#ifndef CM3LEON_PGVECTOR_H
#define CM3LEON_PGVECTOR_H

#include "cm3leon/retriever.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Records on one or many servers. Any thread may use it, several at once: each call takes connections of its own for
 * as long as it runs. Its memory comes from malloc(), as libpq's does. In a process that is forked off later, calls
 * that ask servers return UNSUPPORTED.
 */
typedef struct cm3_pgvector cm3_pgvector;

/** One part of the records: a server that takes them, and others that hold the same by streaming replication. Each is
 * named by what libpq takes: "postgresql://user@host/database" or "host=... dbname=...". */
typedef struct cm3_pgvector_shard {
    size_t struct_size;          /**< sizeof(cm3_pgvector_shard) */
    const char *primary;         /**< the server that takes records */
    const char *const *replicas; /**< [replica_count]; may be NULL */
    size_t replica_count;        /**< how many */
} cm3_pgvector_shard;

/** How a store is opened. */
typedef struct cm3_pgvector_options {
    size_t struct_size; /**< set by the caller, or the init function */
    /** [shard_count], 1..256, always in the same order: which shard a record is on is part of its id. */
    const cm3_pgvector_shard *shards;
    size_t shard_count; /**< how many */
    /** NULL (the default): "cm3_records". Lower-case letters, digits and _, at most 48 of them, a schema and a dot
     * before them if need be. Several stores may be in one database under different names. */
    const char *table;
    /** Whose vectors and picture codes these are, of cm3_model_encoder_identity(). A store keeps it, and others are
     * refused. NULL (the default): vectors come from elsewhere, and nothing is compared. */
    const cm3_encoder_identity *identity;
    const char *encoder_name; /**< for messages, at most 63 bytes. NULL (the default): "" */
    int32_t dimension;        /**< of vectors; 0 (the default): the identity's, or the store's where it is there */
    int create;               /**< not 0: what is not there yet is made. Default 0 */
    int halfvec;              /**< not 0: a store that is made keeps vectors in 16 bits. Default 0: in 32 */
    int exact;                /**< not 0: search reads all vectors, whether there is an index or not. Default 0 */
    int32_t ef_search;        /**< of the index, 1..1000: more finds better and takes longer. Default 200 */
    int32_t timeout_ms; /**< of a call that reads, or of opening, in all, waiting for a connection included: 1..3600000.
                           Default 5000 */
    int32_t write_timeout_ms; /**< of each batch that is written and of building an index; 0 (the default): none */
    /** Not 0 (the default): a search that not all shards answered gives what the others found, and
     * cm3_pgvector_last_search() says so. 0: it fails. */
    int partial;
    int prefer_replicas;           /**< not 0: reading begins at a replica, each connection's in turn. Default 0 */
    int32_t connections;           /**< to a server at most, 1..64; calls beyond wait their turn. Default 4 */
    int32_t index_m;               /**< of the index when it is built: 2..100. Default 16 */
    int32_t index_ef_construction; /**< likewise: 4..1000. Default 64 */
    int32_t build_memory_mb;       /**< maintenance_work_mem of building it; 0 (the default): the server's own */
} cm3_pgvector_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_pgvector_options_init(cm3_pgvector_options *options);

/**
 * Opens a store; `create` makes the extension, tables and all. Servers must run PostgreSQL 13 or later with pgvector
 * 0.8.4 or later. Errors: INVALID_ARGUMENT (an option that is out of range; a connection string that cannot be read; a
 * store of another encoder, with both names; shards in another order or number), NOT_FOUND (no such store),
 * UNSUPPORTED (pgvector is missing or too old), IO (a server cannot be reached, refuses the user, or does not answer
 * in time), NO_MEMORY. With `partial` and without `create` one shard that answers is enough. *store is NULL on failure.
 */
CM3_API cm3_status cm3_pgvector_open(const cm3_pgvector_options *options, cm3_pgvector **store);
/** Closes it, after the last call that uses it. NULL is allowed. */
CM3_API void cm3_pgvector_close(cm3_pgvector *store);

/**
 * The store as an engine for cm3_retriever_create_with(); the retriever closes the store. What its functions do:
 *
 * search: asks all shards at once and merges. A shard whose server fails or does not answer in its share of the time is
 * asked at its next replica. Errors: INVALID_ARGUMENT (another dimension, a query that is not finite), IO.
 * add: as cm3_bank_add(), in batches, a transaction on each shard for each batch; records that are there already (same
 * text and picture) are refused. Where it fails, batches and shards before that stay, and adding the same again adds
 * what is missing. Only primaries take records. Errors: INVALID_ARGUMENT, UTF8, TOO_LONG (a key, text or picture above
 * 2^28 bytes), NO_SPACE, IO, NO_MEMORY.
 * fetch: at one shard, replicas included. Errors: NOT_FOUND, IO.
 * count: all shards must answer.
 */
CM3_API cm3_status cm3_pgvector_engine(cm3_pgvector *store, cm3_retrieval_engine *engine);

/**
 * Builds the HNSW index on all shards at once, where there is none, and gathers statistics: to be called after much was
 * added. Without it search is exact, and slow where records are many. Errors: UNSUPPORTED (vectors above 2000 numbers,
 * or 4000 in 16 bits), IO.
 */
CM3_API cm3_status cm3_pgvector_build_index(cm3_pgvector *store);

/** What a store holds. */
typedef struct cm3_pgvector_info {
    size_t struct_size;       /**< set by the caller */
    uint64_t records;         /**< on all shards */
    uint64_t bytes;           /**< of tables and indexes */
    int32_t dimension;        /**< numbers of a vector */
    int halfvec;              /**< not 0: vectors are kept in 16 bits */
    int indexed;              /**< all shards have the index */
    uint32_t shards;          /**< how many */
    char encoder_name[64];    /**< whose vectors these are, for messages */
    uint64_t encoder_hash[2]; /**< 0: none was named */
} cm3_pgvector_info;

/** Errors: INVALID_ARGUMENT, IO (a shard does not answer). */
CM3_API cm3_status cm3_pgvector_get_info(cm3_pgvector *store, cm3_pgvector_info *info);

/** How a search went. */
typedef struct cm3_pgvector_search_stats {
    size_t struct_size;   /**< set by the caller */
    uint32_t shards;      /**< how many there are */
    uint32_t answered;    /**< how many answered; fewer: results are partial */
    uint32_t by_replicas; /**< of those that answered */
    double milliseconds;  /**< that it took */
} cm3_pgvector_search_stats;

/** How the calling thread's last search went. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_pgvector_last_search(cm3_pgvector_search_stats *stats);

/** What went wrong in the calling thread's last call of this library that failed, or why its last search was partial;
 * "" where nothing did since. Never NULL, without passwords, valid until the thread's next call. */
CM3_API const char *cm3_pgvector_message(void);

#ifdef __cplusplus
}
#endif

#endif
