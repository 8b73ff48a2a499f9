/* Tables: making them, looking at them, the index. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgvector/fan_out.h"

/* --- statements in a row -------------------------------------------------------------------------------------------
 */

#define MOST_PARAMETERS 9

typedef struct statement {
    char sql[1024];
    char values[MOST_PARAMETERS][80]; /**< as text */
    int count;
} statement;

typedef struct script {
    statement statements[12];
    size_t count;
} script;

static statement *add_statement(script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static statement *add_statement(script *s, const char *format, ...) {
    statement *next = &s->statements[s->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(next->sql, sizeof next->sql, format, arguments);
    va_end(arguments);
    return next;
}

static bool send_statement(cm3_pg_job *job, PGconn *connection) {
    const statement *s = &((const script *)job->data)->statements[job->step];
    const char *values[MOST_PARAMETERS];
    for (int i = 0; i < s->count; i++) values[i] = s->values[i];
    return PQsendQueryParams(connection, s->sql, s->count, NULL, values, NULL, NULL, 0) == 1;
}

/** Runs each shard's script at its primary, on connections of their own. */
static cm3_status run_scripts(cm3_pgvector *store, script *scripts, bool bare, int32_t limit_ms) {
    const size_t count = store->shard_count;
    cm3_pg_job *jobs = calloc(count, sizeof *jobs);
    if (!jobs) return cm3_pg_fail_memory("jobs");
    for (size_t i = 0; i < count; i++) {
        jobs[i] = (cm3_pg_job){.shard = i,
                               .steps = scripts[i].count,
                               .write = true,
                               .bare = bare,
                               .send = send_statement,
                               .data = &scripts[i]};
    }
    cm3_status status = cm3_pg_run_all(store, jobs, count, limit_ms);
    free(jobs);
    return status;
}

/* --- making --------------------------------------------------------------------------------------------------------
 */

static const char *type_of(bool halfvec) {
    return halfvec ? "halfvec" : "vector";
}

static void describe(const cm3_pgvector *store, size_t shard, statement *s) {
    const cm3_pg_form *own = &store->own;
    s->count = 8;
    snprintf(s->values[0], sizeof *s->values, "%d", CM3_PG_VERSION);
    snprintf(s->values[1], sizeof *s->values, "%" PRId32, own->dimension);
    snprintf(s->values[2], sizeof *s->values, "%s", type_of(own->halfvec));
    snprintf(s->values[3], sizeof *s->values, "%zu", shard);
    snprintf(s->values[4], sizeof *s->values, "%zu", store->shard_count);
    snprintf(s->values[5], sizeof *s->values, "%s", own->encoder_name);
    snprintf(s->values[6], sizeof *s->values, "%016" PRIx64 "%016" PRIx64, own->encoder[1], own->encoder[0]);
    snprintf(s->values[7], sizeof *s->values, "%016" PRIx64 "%016" PRIx64, own->image[1], own->image[0]);
}

static void write_script(const cm3_pgvector *store, size_t shard, script *s) {
    add_statement(s, "BEGIN");
    add_statement(s, "SELECT set_config('client_min_messages', 'error', true)");
    /* Of two that make the same store at once the second finds what the first made. */
    add_statement(s, "SELECT pg_advisory_xact_lock(hashtextextended('cm3leon', 0))");
    add_statement(s, "CREATE EXTENSION IF NOT EXISTS vector");
    add_statement(
        s,
        "CREATE TABLE IF NOT EXISTS %s (one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL, "
        "dimension integer NOT NULL, vectors text NOT NULL, shard integer NOT NULL, shards integer NOT NULL, "
        "encoder_name text NOT NULL, encoder text NOT NULL, image_tokenizer text NOT NULL)",
        store->meta);
    describe(store, shard,
             add_statement(s,
                           "INSERT INTO %s (version, dimension, vectors, shard, shards, encoder_name, encoder, "
                           "image_tokenizer) VALUES ($1::text::integer, $2::text::integer, $3, $4::text::integer, "
                           "$5::text::integer, $6, $7, $8) ON CONFLICT DO NOTHING",
                           store->meta));
    add_statement(s, "CREATE SEQUENCE IF NOT EXISTS %s MINVALUE 0 START 0", store->sequence);
    add_statement(
        s,
        "CREATE TABLE IF NOT EXISTS %s (id bigint PRIMARY KEY, digest bytea NOT NULL UNIQUE, key text, text text, "
        "image bytea, codes integer[], vector %s(%" PRId32 ") NOT NULL)",
        store->table, type_of(store->own.halfvec), store->own.dimension);
    add_statement(s, "COMMIT");
}

cm3_status cm3_pg_make(cm3_pgvector *store) {
    script *scripts = calloc(store->shard_count, sizeof *scripts);
    if (!scripts) return cm3_pg_fail_memory("statements");
    for (size_t i = 0; i < store->shard_count; i++) write_script(store, i, &scripts[i]);
    cm3_status status = run_scripts(store, scripts, true, store->options.timeout_ms);
    free(scripts);
    return status;
}

/* --- looking -------------------------------------------------------------------------------------------------------
 */

int cm3_pg_greeting(const cm3_pgvector *store, char *sql, size_t size) {
    return snprintf(sql, size,
                    "SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'), 'none'), version, "
                    "dimension, vectors, shard, shards, encoder_name, encoder, image_tokenizer FROM %s",
                    store->meta);
}

#define GRACE_MS 5000 /* until the server ends what we gave up and could not cancel */

int cm3_pg_preparation(const cm3_pgvector *store, char *sql, size_t size) {
    const char *type = type_of(store->form.halfvec), *exact = store->options.exact ? " + 0" : "";
    /* relaxed_order: more than ef_search can be found; what comes is sorted here. A sum is no index's order. */
    return snprintf(sql, size,
                    "SET client_min_messages = error; SET statement_timeout = %" PRId32 "; SET jit = off; "
                    "SET plan_cache_mode = force_custom_plan; SET hnsw.ef_search = %" PRId32 "; "
                    "SET hnsw.iterative_scan = relaxed_order; "
                    "PREPARE cm3_search (vector, integer) AS SELECT id, vector <#> $1::%s(%" PRId32 ") FROM %s "
                    "ORDER BY (vector <#> $1::%s(%" PRId32 "))%s LIMIT $2; "
                    "PREPARE cm3_fetch (bigint) AS SELECT key, text, image, codes, vector::vector FROM %s "
                    "WHERE id = $1; PREPARE cm3_count AS SELECT count(*) FROM %s",
                    store->options.timeout_ms + GRACE_MS, store->options.ef_search, type, store->form.dimension,
                    store->table, type, store->form.dimension, exact, store->table, store->table);
}

static bool is_new_enough(const char *version) {
    int major = 0, minor = 0, patch = 0;
    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) < 2) return false;
    return major > 0 || minor > 8 || (minor == 8 && patch >= 4);
}

static void read_hash(const char *text, uint64_t hash[2]) {
    hash[0] = hash[1] = 0;
    if (strlen(text) == 32) sscanf(text, "%16" SCNx64 "%16" SCNx64, &hash[1], &hash[0]);
}

static bool goes_with(const uint64_t ours[2], const uint64_t theirs[2]) {
    const bool unnamed = !(ours[0] | ours[1]) || !(theirs[0] | theirs[1]);
    return unnamed || (ours[0] == theirs[0] && ours[1] == theirs[1]);
}

static const char *name_of(const cm3_pg_form *form) {
    return *form->encoder_name ? form->encoder_name : "an encoder without a name";
}

static cm3_status check_form(const cm3_pgvector *store, const char *where, const cm3_pg_form *form) {
    const cm3_pg_form *own = &store->own;
    if (own->dimension && own->dimension != form->dimension) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "%s: its vectors have %" PRId32 " numbers, by %s; those of %s have %" PRId32, where,
                           form->dimension, name_of(form), name_of(own), own->dimension);
    }
    if (store->named && !goes_with(form->encoder, own->encoder)) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "%s: made by the encoder %016" PRIx64 " of %s, not by the encoder %016" PRIx64 " of %s",
                           where, form->encoder[0], name_of(form), own->encoder[0], name_of(own));
    }
    if (store->named && !goes_with(form->image, own->image)) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "%s: its pictures are codes of the image tokenizer %016" PRIx64 " of %s, not of "
                           "%016" PRIx64 " of %s",
                           where, form->image[0], name_of(form), own->image[0], name_of(own));
    }
    return CM3_OK;
}

/** All shards hold vectors of the same encoder in the same form: the first that answers says which. */
static cm3_status agree(cm3_pgvector *store, const char *where, const cm3_pg_form *form) {
    pthread_mutex_lock(&store->lock);
    if (!store->form.dimension) store->form = *form;
    const cm3_pg_form *first = &store->form;
    const bool same = first->dimension == form->dimension && first->halfvec == form->halfvec &&
                      !memcmp(first->encoder, form->encoder, sizeof form->encoder) &&
                      !memcmp(first->image, form->image, sizeof form->image);
    pthread_mutex_unlock(&store->lock);
    if (same) return CM3_OK;
    return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                       "%s: holds %s(%" PRId32 ") of the encoder %016" PRIx64 " of %s, other shards %s(%" PRId32
                       ") of %016" PRIx64 " of %s",
                       where, type_of(form->halfvec), form->dimension, form->encoder[0], name_of(form),
                       type_of(first->halfvec), first->dimension, first->encoder[0], name_of(first));
}

cm3_status cm3_pg_check_greeting(cm3_pgvector *store, size_t shard, const cm3_pg_server *server,
                                 const PGresult *result) {
    const char *where = server->name;
    if (PQntuples(result) != 1 || PQnfields(result) != 9) {
        return cm3_pg_fail(CM3_ERROR_FORMAT, "%s: %s has %d rows, expected 1", where, store->meta, PQntuples(result));
    }
    const char *version = PQgetvalue(result, 0, 0);
    if (!is_new_enough(version)) {
        return cm3_pg_fail(CM3_ERROR_UNSUPPORTED, "%s: pgvector 0.8.4 or later is needed, found: %.40s", where,
                           version);
    }
    const long tables = strtol(PQgetvalue(result, 0, 1), NULL, 10);
    if (tables != CM3_PG_VERSION) {
        return cm3_pg_fail(CM3_ERROR_VERSION, "%s: %s is of version %ld, this library reads version %d", where,
                           store->table, tables, CM3_PG_VERSION);
    }
    const long number = strtol(PQgetvalue(result, 0, 4), NULL, 10), count = strtol(PQgetvalue(result, 0, 5), NULL, 10);
    if (number != (long)shard || count != (long)store->shard_count) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "%s: it is shard %ld of %ld (counted from 0), and was named as shard %zu of %zu", where,
                           number, count, shard, store->shard_count);
    }
    cm3_pg_form form = {.dimension = (int32_t)strtol(PQgetvalue(result, 0, 2), NULL, 10),
                        .halfvec = !strcmp(PQgetvalue(result, 0, 3), "halfvec")};
    snprintf(form.encoder_name, sizeof form.encoder_name, "%s", PQgetvalue(result, 0, 6));
    read_hash(PQgetvalue(result, 0, 7), form.encoder);
    read_hash(PQgetvalue(result, 0, 8), form.image);
    if (form.dimension < 1 || form.dimension > 16000) {
        return cm3_pg_fail(CM3_ERROR_FORMAT, "%s: %s says that vectors have %" PRId32 " numbers", where, store->meta,
                           form.dimension);
    }
    CM3_PG_TRY(check_form(store, where, &form));
    return agree(store, where, &form);
}

/* --- the index -----------------------------------------------------------------------------------------------------
 */

cm3_status cm3_pgvector_build_index(cm3_pgvector *store) {
    if (!store) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_build_index: store is NULL");
    const cm3_pgvector_options *o = &store->options;
    const int32_t most = store->form.halfvec ? 4000 : 2000;
    if (store->form.dimension > most) {
        return cm3_pg_fail(CM3_ERROR_UNSUPPORTED,
                           "pgvector has no index over %s of %" PRId32 " numbers, only up to %" PRId32,
                           type_of(store->form.halfvec), store->form.dimension, most);
    }
    script *scripts = calloc(store->shard_count, sizeof *scripts);
    if (!scripts) return cm3_pg_fail_memory("statements");
    for (size_t i = 0; i < store->shard_count; i++) {
        script *s = &scripts[i];
        add_statement(s, "BEGIN");
        add_statement(s, "SET LOCAL statement_timeout = 0");
        if (o->build_memory_mb)
            add_statement(s, "SET LOCAL maintenance_work_mem = '%" PRId32 "MB'", o->build_memory_mb);
        add_statement(s,
                      "CREATE INDEX IF NOT EXISTS %s ON %s USING hnsw (vector %s_ip_ops) WITH (m = %" PRId32
                      ", ef_construction = %" PRId32 ")",
                      store->index, store->table, type_of(store->form.halfvec), o->index_m, o->index_ef_construction);
        add_statement(s, "ANALYZE %s", store->table);
        add_statement(s, "COMMIT");
    }
    cm3_status status = run_scripts(store, scripts, false, store->options.write_timeout_ms);
    free(scripts);
    return status;
}

/* --- info ----------------------------------------------------------------------------------------------------------
 */

typedef struct shard_info {
    script script;
    uint64_t records, bytes;
    bool indexed;
} shard_info;

static cm3_status take_info(cm3_pg_job *job, PGresult *result) {
    shard_info *info = (shard_info *)job->data;
    if (!PQntuples(result)) return CM3_OK;
    info->records = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    info->bytes = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    info->indexed = *PQgetvalue(result, 0, 2) == 't';
    return CM3_OK;
}

static cm3_status gather_info(cm3_pgvector *store, shard_info *shards, cm3_pg_job *jobs) {
    for (size_t i = 0; i < store->shard_count; i++) {
        add_statement(
            &shards[i].script,
            "SELECT count(*), pg_total_relation_size('%s'::regclass), EXISTS (SELECT FROM pg_index x JOIN pg_class c "
            "ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE x.indrelid = '%s'::regclass AND "
            "a.amname = 'hnsw' AND x.indisvalid) FROM %s",
            store->table, store->table, store->table);
        jobs[i] = (cm3_pg_job){.shard = i, .steps = 1, .send = send_statement, .take = take_info, .data = &shards[i]};
    }
    return cm3_pg_run_all(store, jobs, store->shard_count, store->options.timeout_ms);
}

cm3_status cm3_pgvector_get_info(cm3_pgvector *store, cm3_pgvector_info *info) {
    if (!store || !info || info->struct_size < sizeof info->struct_size) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_get_info: an argument is NULL, or struct_size 0");
    }
    cm3_pgvector_info ours = {.indexed = 1,
                              .dimension = store->form.dimension,
                              .halfvec = store->form.halfvec,
                              .shards = (uint32_t)store->shard_count,
                              .encoder_hash = {store->form.encoder[0], store->form.encoder[1]}};
    memcpy(ours.encoder_name, store->form.encoder_name, sizeof ours.encoder_name);
    shard_info *shards = calloc(store->shard_count, sizeof *shards);
    cm3_pg_job *jobs = calloc(store->shard_count, sizeof *jobs);
    cm3_status status = shards && jobs ? gather_info(store, shards, jobs) : cm3_pg_fail_memory("info");
    for (size_t i = 0; status == CM3_OK && i < store->shard_count; i++) {
        ours.records += shards[i].records;
        ours.bytes += shards[i].bytes;
        ours.indexed &= shards[i].indexed;
    }
    free(shards);
    free(jobs);
    if (status != CM3_OK) return status;
    ours.struct_size = info->struct_size;
    memset(info, 0, info->struct_size);
    memcpy(info, &ours, ours.struct_size < sizeof ours ? ours.struct_size : sizeof ours);
    return CM3_OK;
}
