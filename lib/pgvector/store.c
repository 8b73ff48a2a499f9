/* Opening a store, its sessions, its functions as an engine. */
#include "pgvector/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pgvector/fan_out.h"

#define MOST_DIMENSIONS 16000 /* of pgvector's */

void cm3_pgvector_options_init(cm3_pgvector_options *options) {
    if (!options) return;
    *options = (cm3_pgvector_options){.struct_size = sizeof *options,
                                      .ef_search = 200,
                                      .timeout_ms = 5000,
                                      .partial = 1,
                                      .connections = 4,
                                      .index_m = 16,
                                      .index_ef_construction = 64};
}

/* --- options -------------------------------------------------------------------------------------------------------
 */

/** Callers of older headers have fewer fields; those of later ones must have left theirs at zero. */
static cm3_status read_options(const cm3_pgvector_options *given, cm3_pgvector_options *options) {
    cm3_pgvector_options_init(options);
    if (given->struct_size < sizeof given->struct_size) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_options: struct_size is %zu", given->struct_size);
    }
    const size_t known = given->struct_size < sizeof *options ? given->struct_size : sizeof *options;
    for (size_t i = known; i < given->struct_size; i++) {
        if (((const char *)given)[i]) {
            return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                               "cm3_pgvector_options: a field that this library does not know is set");
        }
    }
    memcpy(options, given, known);
    options->struct_size = sizeof *options;
    return CM3_OK;
}

static cm3_status check_ranges(const cm3_pgvector_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->shards && o->shard_count >= 1 && o->shard_count <= CM3_PG_MOST_SHARDS, "1..256 shards are expected"},
        {o->dimension >= 0 && o->dimension <= MOST_DIMENSIONS, "dimension must be 0..16000"},
        {o->ef_search >= 1 && o->ef_search <= 1000, "ef_search must be 1..1000"},
        {o->timeout_ms >= 1 && o->timeout_ms <= 3600000, "timeout_ms must be 1..3600000"},
        {o->write_timeout_ms >= 0, "write_timeout_ms must not be negative"},
        {o->connections >= 1 && o->connections <= 64, "connections must be 1..64"},
        {o->index_m >= 2 && o->index_m <= 100, "index_m must be 2..100"},
        {o->index_ef_construction >= 4 && o->index_ef_construction <= 1000, "index_ef_construction must be 4..1000"},
        {o->index_ef_construction >= 2 * o->index_m, "index_ef_construction must be at least twice index_m"},
        {o->build_memory_mb >= 0 && o->build_memory_mb <= 1024 * 1024, "build_memory_mb must be 0..1048576"},
        {!o->encoder_name || strlen(o->encoder_name) < 64, "encoder_name must be at most 63 bytes"},
        {!o->identity || o->identity->struct_size >= sizeof *o->identity, "identity has no struct_size"},
        {!o->identity || !o->dimension || o->dimension == o->identity->dimension,
         "dimension is not that of the identity"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) {
            return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_options: %s", rules[i].rule);
        }
    }
    return CM3_OK;
}

/** Bytes of an identifier at the beginning; 0 where there is none that is allowed. */
static size_t identifier(const char *text) {
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_", rest[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    if (!*text || !strchr(first, *text)) return 0;
    const size_t length = strspn(text, rest);
    return length <= 48 ? length : 0;
}

/** What the tables are called. Nothing but what identifier() lets through gets into statements. */
static cm3_status take_names(cm3_pgvector *store, const char *table) {
    if (!table) table = "cm3_records";
    char schema[64] = "";
    const char *name = table;
    size_t length = identifier(name);
    if (length && name[length] == '.') {
        snprintf(schema, sizeof schema, "\"%.*s\".", (int)length, name);
        name += length + 1;
        length = identifier(name);
    }
    if (!length || name[length]) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "cm3_pgvector_options: a table's name is lower-case letters, digits and _, at most 48, with "
                           "a schema and a dot before it or not");
    }
    snprintf(store->table, sizeof store->table, "%s\"%s\"", schema, name);
    snprintf(store->meta, sizeof store->meta, "%s\"%s_meta\"", schema, name);
    snprintf(store->sequence, sizeof store->sequence, "%s\"%s_number\"", schema, name);
    snprintf(store->index, sizeof store->index, "\"%s_hnsw\"", name);
    return CM3_OK;
}

static cm3_status read_shard(const cm3_pgvector_shard *given, size_t number, cm3_pg_shard *shard) {
    char what[64];
    if (given->struct_size < sizeof *given || !given->primary || (given->replica_count && !given->replicas) ||
        given->replica_count > CM3_PG_MOST_SHARDS) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "shard %zu: struct_size is not set, primary or replicas are NULL, or replicas above 256",
                           number);
    }
    shard->servers = calloc(1 + given->replica_count, sizeof *shard->servers);
    if (!shard->servers) return cm3_pg_fail_memory("servers");
    for (size_t i = 0; i <= given->replica_count; i++) {
        const char *string = i ? given->replicas[i - 1] : given->primary;
        int length = snprintf(what, sizeof what, "shard %zu", number);
        if (i) snprintf(what + length, sizeof what - (size_t)length, ", replica %zu", i);
        if (!string) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "%s: NULL", what);
        CM3_PG_TRY(cm3_pg_server_read(string, what, &shard->servers[i]));
        shard->count++;
    }
    return CM3_OK;
}

static cm3_status read_shards(cm3_pgvector *store, const cm3_pgvector_options *options) {
    store->shards = calloc(options->shard_count, sizeof *store->shards);
    if (!store->shards) return cm3_pg_fail_memory("shards");
    store->shard_count = options->shard_count;
    const size_t stride = options->shards->struct_size;
    for (size_t i = 0; i < options->shard_count; i++) {
        const void *shard = (const char *)options->shards + i * stride;
        CM3_PG_TRY(read_shard(shard, i, &store->shards[i]));
    }
    return CM3_OK;
}

/* --- sessions ------------------------------------------------------------------------------------------------------
 */

void cm3_pg_link_close(cm3_pg_link *link) {
    if (link->connection && PQtransactionStatus(link->connection) == PQTRANS_ACTIVE) cm3_pg_cancel(link->connection);
    PQfinish(link->connection);
    *link = (cm3_pg_link){0};
}

static void free_session(const cm3_pgvector *store, cm3_pg_session *session) {
    for (size_t i = 0; session->routes && i < store->shard_count; i++) {
        cm3_pg_link *links = session->routes[i].links;
        for (size_t j = 0; links && j < store->shards[i].count; j++) cm3_pg_link_close(&links[j]);
        free(links);
    }
    free(session->routes);
    free(session);
}

static cm3_pg_session *make_session(const cm3_pgvector *store, size_t number) {
    cm3_pg_session *session = calloc(1, sizeof *session);
    if (session) session->routes = calloc(store->shard_count, sizeof *session->routes);
    bool well = session && session->routes;
    for (size_t i = 0; well && i < store->shard_count; i++) {
        session->routes[i].links = calloc(store->shards[i].count, sizeof(cm3_pg_link));
        well = session->routes[i].links != NULL;
    }
    if (well) {
        session->number = number;
        return session;
    }
    if (session) free_session(store, session);
    return NULL;
}

/** With the lock: until a session is there or may be made. False: not in time. */
static bool wait_for_turn(cm3_pgvector *store, int64_t deadline) {
    const struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    bool late = false;
    while (!store->idle && store->sessions >= store->options.connections && !late) {
        if (deadline)
            late = pthread_cond_timedwait(&store->returned, &store->lock, &until) == ETIMEDOUT;
        else
            pthread_cond_wait(&store->returned, &store->lock);
    }
    return store->idle || store->sessions < store->options.connections;
}

cm3_status cm3_pg_session_take(cm3_pgvector *store, int64_t deadline, cm3_pg_session **session) {
    pthread_mutex_lock(&store->lock);
    const bool in_time = wait_for_turn(store, deadline);
    size_t number = 0;
    *session = in_time ? store->idle : NULL;
    if (*session) {
        store->idle = (*session)->next;
    } else if (in_time) {
        store->sessions++;
        number = store->opened++;
    }
    pthread_mutex_unlock(&store->lock);
    if (!in_time) {
        return cm3_pg_fail(CM3_ERROR_IO, "all %d connections were busy until the time was over",
                           (int)store->options.connections);
    }
    if (!*session) *session = make_session(store, number);
    if (*session) return CM3_OK;
    pthread_mutex_lock(&store->lock);
    store->sessions--;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->lock);
    return cm3_pg_fail_memory("connections");
}

void cm3_pg_session_return(cm3_pgvector *store, cm3_pg_session *session) {
    pthread_mutex_lock(&store->lock);
    session->next = store->idle;
    store->idle = session;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->lock);
}

/* --- opening and closing -------------------------------------------------------------------------------------------
 */

void cm3_pgvector_close(cm3_pgvector *store) {
    if (!store || store->pid != getpid()) return;
    while (store->idle) {
        cm3_pg_session *next = store->idle->next;
        free_session(store, store->idle);
        store->idle = next;
    }
    for (size_t i = 0; store->shards && i < store->shard_count; i++) {
        for (size_t j = 0; j < store->shards[i].count; j++) cm3_pg_server_clear(&store->shards[i].servers[j]);
        free(store->shards[i].servers);
    }
    free(store->shards);
    pthread_cond_destroy(&store->returned);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static void take_identity(cm3_pgvector *store) {
    const cm3_pgvector_options *o = &store->options;
    store->own.dimension = o->dimension;
    store->own.halfvec = o->halfvec != 0;
    snprintf(store->own.encoder_name, sizeof store->own.encoder_name, "%s", o->encoder_name ? o->encoder_name : "");
    if (!o->identity) return;
    store->named = true;
    store->own.dimension = o->identity->dimension;
    memcpy(store->own.encoder, o->identity->encoder_hash, sizeof store->own.encoder);
    memcpy(store->own.image, o->identity->image_hash, sizeof store->own.image);
}

/** Connects to each shard, which is looked at as every new connection's is. */
static cm3_status look(cm3_pgvector *store) {
    cm3_pg_job *jobs = calloc(store->shard_count, sizeof *jobs);
    if (!jobs) return cm3_pg_fail_memory("jobs");
    for (size_t i = 0; i < store->shard_count; i++) jobs[i].shard = i;
    cm3_status status = cm3_pg_run(store, jobs, store->shard_count, store->options.timeout_ms);
    /* The dimension is known as soon as one has answered. */
    const bool enough = store->options.partial && store->form.dimension;
    if (status == CM3_OK && !enough) status = cm3_pg_all_done(jobs, store->shard_count);
    free(jobs);
    return status;
}

static cm3_status set_up(cm3_pgvector *store, const cm3_pgvector_options *options) {
    CM3_PG_TRY(take_names(store, options->table));
    CM3_PG_TRY(read_shards(store, options));
    take_identity(store);
    if (options->create && !store->own.dimension) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "cm3_pgvector_options: to make a store, dimension or identity is needed");
    }
    if (options->create) CM3_PG_TRY(cm3_pg_make(store));
    return look(store);
}

cm3_status cm3_pgvector_open(const cm3_pgvector_options *given, cm3_pgvector **out) {
    cm3_pg_forget();
    if (out) *out = NULL;
    if (!given || !out) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_open: an argument is NULL");
    cm3_pgvector_options options;
    CM3_PG_TRY(read_options(given, &options));
    CM3_PG_TRY(check_ranges(&options));
    cm3_pgvector *store = calloc(1, sizeof *store);
    if (!store) return cm3_pg_fail_memory("a store");
    store->pid = getpid();
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->returned, &monotonic);
    pthread_condattr_destroy(&monotonic);
    store->options = options;
    cm3_status status = set_up(store, &options);
    /* They are the caller's. */
    store->options.shards = NULL;
    store->options.table = store->options.encoder_name = NULL;
    store->options.identity = NULL;
    if (status == CM3_OK) {
        *out = store;
    } else {
        cm3_pgvector_close(store);
    }
    return status;
}

/* --- the engine ----------------------------------------------------------------------------------------------------
 */

static const char *message(void *user) {
    (void)user;
    return cm3_pgvector_message();
}

static void destroy(void *user) {
    cm3_pgvector_close(user);
}

cm3_status cm3_pgvector_engine(cm3_pgvector *store, cm3_retrieval_engine *engine) {
    if (!store || !engine) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_engine: an argument is NULL");
    *engine = (cm3_retrieval_engine){.struct_size = sizeof *engine,
                                     .search = cm3_pg_search,
                                     .fetch = cm3_pg_fetch,
                                     .release = cm3_pg_release,
                                     .add = cm3_pg_add,
                                     .count = cm3_pg_count,
                                     .message = message,
                                     .destroy = destroy,
                                     .user = store};
    return CM3_OK;
}
