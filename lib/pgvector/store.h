/* The inside of a store. */
#ifndef CM3_PGVECTOR_STORE_H
#define CM3_PGVECTOR_STORE_H

#include <pthread.h>
#include <sys/types.h>

#include "cm3leon/pgvector.h"
#include "pgvector/message.h"
#include "pgvector/server.h"

#define CM3_PG_MOST_SHARDS 256
#define CM3_PG_VERSION 1 /* of the tables */

typedef struct cm3_pg_shard {
    cm3_pg_server *servers; /**< the primary, then replicas */
    size_t count;
} cm3_pg_shard;

typedef struct cm3_pg_link {
    PGconn *connection; /**< NULL: none */
    bool ready;         /**< the store was looked at, statements are prepared */
} cm3_pg_link;

/** A session's way to one shard. */
typedef struct cm3_pg_route {
    cm3_pg_link *links; /**< [servers of the shard] */
    size_t current;     /**< the server that is read from */
    int64_t since;      /**< when that ceased to be the preferred one, in monotonic milliseconds; 0: it is */
} cm3_pg_route;

/** Connections that one call has for itself. */
typedef struct cm3_pg_session {
    cm3_pg_route *routes; /**< [shards] */
    size_t number;        /**< counts sessions: each prefers another replica */
    struct cm3_pg_session *next;
} cm3_pg_session;

/** What the servers' description of the store says. */
typedef struct cm3_pg_form {
    int32_t dimension; /**< 0: not known yet */
    bool halfvec;
    char encoder_name[64];
    uint64_t encoder[2], image[2];
} cm3_pg_form;

struct cm3_pgvector {
    cm3_pg_shard *shards;
    size_t shard_count;
    /* Of lower-case letters, digits and _ alone, so that quotes are all they need. */
    char table[128], meta[128], sequence[128], index[128]; /**< quoted; the index without its schema */
    cm3_pg_form own;                                       /**< of the caller: the model's */
    bool named;                                            /**< own.encoder and own.image mean something */
    cm3_pgvector_options options;

    pid_t pid; /**< of the process that opened it: a fork's child must not touch its connections */
    pthread_mutex_t lock;
    pthread_cond_t returned;
    cm3_pg_session *idle;
    int32_t sessions; /**< there are, idle ones included */
    size_t opened;    /**< there were */
    cm3_pg_form form; /**< under the lock until the store is open, fixed then */
};

/** A session for one call; waits where there are enough, until `deadline` (ms of the monotonic clock; 0: without end).
 * Errors: NO_MEMORY, IO (none became free in time), with message. */
cm3_status cm3_pg_session_take(cm3_pgvector *store, int64_t deadline, cm3_pg_session **session);
void cm3_pg_session_return(cm3_pgvector *store, cm3_pg_session *session);
/** Closes a connection; what runs on it is cancelled. */
void cm3_pg_link_close(cm3_pg_link *link);

/** schema.c: makes what is not there. */
cm3_status cm3_pg_make(cm3_pgvector *store);
/** The statement that describes a store, and what a server answered. Errors: INVALID_ARGUMENT, VERSION, UNSUPPORTED. */
int cm3_pg_greeting(const cm3_pgvector *store, char *sql, size_t size);
cm3_status cm3_pg_check_greeting(cm3_pgvector *store, size_t shard, const cm3_pg_server *server,
                                 const PGresult *result);
/** Settings and prepared statements of a connection. */
int cm3_pg_preparation(const cm3_pgvector *store, char *sql, size_t size);

/** search.c, records.c: the engine's functions. */
cm3_status cm3_pg_search(void *user, const float *queries, size_t count, int32_t dimension, int32_t k, cm3_hit *hits,
                         size_t *found);
cm3_status cm3_pg_fetch(void *user, uint64_t id, cm3_bank_record **record);
void cm3_pg_release(void *user, cm3_bank_record *record);
cm3_status cm3_pg_add(void *user, const cm3_bank_record *records, size_t count, uint64_t *ids);
cm3_status cm3_pg_count(void *user, uint64_t *count);

#endif
