/* Work on many shards at once: connecting, asking, replicas, time-outs. */
#ifndef CM3_PGVECTOR_FAN_OUT_H
#define CM3_PGVECTOR_FAN_OUT_H

#include <stdint.h>

#include "pgvector/store.h"

typedef enum cm3_pg_state {
    CM3_PG_CONNECTING,
    CM3_PG_GREETING,  /**< the store's description is asked for */
    CM3_PG_PREPARING, /**< settings and prepared statements */
    CM3_PG_WORKING,
    CM3_PG_DONE,
    CM3_PG_FAILED
} cm3_pg_state;

/** What is to be done on one shard: `steps` commands, one after the other. */
typedef struct cm3_pg_job cm3_pg_job;
struct cm3_pg_job {
    size_t shard;
    size_t steps, step; /**< step: the first that is not done yet; where a replica goes on */
    bool write;         /**< at the primary, once */
    bool bare;          /**< the store is not looked at first: it is being made */
    /** Sends command number job->step; false: libpq would not. */
    bool (*send)(cm3_pg_job *job, PGconn *connection);
    /** Is handed each result but errors. NULL: none is wanted. Errors end the whole call. */
    cm3_status (*take)(cm3_pg_job *job, PGresult *result);
    void *data;
    const void *copy; /**< what COPY FROM STDIN is sent */
    size_t copy_size;

    /* Where it stands. */
    cm3_pg_state state;
    PostgresPollingStatusType wants; /**< while it connects */
    size_t server;                   /**< of the shard's */
    size_t tried;                    /**< servers */
    bool reused;                     /**< the connection was there before */
    bool unsent;                     /**< libpq holds what the socket does not take yet */
    int64_t deadline;                /**< of this server, in monotonic milliseconds; 0: none */
    cm3_status status;               /**< of FAILED */
    char words[600];                 /**< why the last server failed */
};

/**
 * Runs jobs, at most one a shard, until all are done or failed; with connections of their own, for which it may have to
 * wait, in at most `limit_ms` (0: no limit). Errors: those that another server would not mend (a wrong store, a refused
 * statement, NO_MEMORY). A job whose servers all failed is CM3_PG_FAILED, with its words, and no error of this
 * function.
 */
cm3_status cm3_pg_run(cm3_pgvector *store, cm3_pg_job *jobs, size_t count, int32_t limit_ms);

/** IO with the words of the first job that failed; OK where none did. */
cm3_status cm3_pg_all_done(const cm3_pg_job *jobs, size_t count);
/** Both. */
cm3_status cm3_pg_run_all(cm3_pgvector *store, cm3_pg_job *jobs, size_t count, int32_t limit_ms);

#endif
