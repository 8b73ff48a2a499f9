/* Search: all shards at once, and what they found merged. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pgvector/fan_out.h"
#include "pgvector/wire.h"

#define MOST_HITS 65536

static _Thread_local cm3_pgvector_search_stats last;

cm3_status cm3_pgvector_last_search(cm3_pgvector_search_stats *stats) {
    if (!stats || stats->struct_size < sizeof stats->struct_size) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "cm3_pgvector_last_search: stats is NULL, or struct_size 0");
    }
    const size_t size = stats->struct_size;
    cm3_pgvector_search_stats ours = last;
    ours.struct_size = size;
    memset(stats, 0, size);
    memcpy(stats, &ours, size < sizeof ours ? size : sizeof ours);
    return CM3_OK;
}

/** The queries of a call, and what each shard found. */
typedef struct searching {
    size_t count, k, vector_size;
    int32_t dimension;
    uint8_t *vectors; /**< [count, vector_size] as they are sent */
    uint8_t wanted[4];
    cm3_hit *hits; /**< [shards, count, k] */
    size_t *found; /**< [shards, count] */
} searching;

static bool send_query(cm3_pg_job *job, PGconn *connection) {
    const searching *s = job->data;
    const char *const values[] = {(const char *)s->vectors + job->step * s->vector_size, (const char *)s->wanted};
    const int lengths[] = {(int)s->vector_size, (int)sizeof s->wanted}, formats[] = {1, 1};
    return PQsendQueryPrepared(connection, "cm3_search", 2, values, lengths, formats, 1) == 1;
}

/** May be called again with the same step, where a connection broke behind the result. */
static cm3_status take_hits(cm3_pg_job *job, PGresult *result) {
    searching *s = job->data;
    const size_t row = job->shard * s->count + job->step;
    const int rows = PQntuples(result);
    if (rows < 0 || (size_t)rows > s->k || PQnfields(result) != 2) {
        return cm3_pg_fail(CM3_ERROR_FORMAT, "shard %zu: %d rows of %d columns came for %zu hits", job->shard, rows,
                           PQnfields(result), s->k);
    }
    for (int i = 0; i < rows; i++) {
        if (PQgetlength(result, i, 0) != 8 || PQgetlength(result, i, 1) != 8) {
            return cm3_pg_fail(CM3_ERROR_FORMAT, "shard %zu: a hit is not of a bigint and a double", job->shard);
        }
        const uint64_t bits = cm3_pg_number(PQgetvalue(result, i, 1), 8);
        double distance;
        memcpy(&distance, &bits, sizeof distance);
        s->hits[row * s->k + (size_t)i] =
            (cm3_hit){.id = cm3_pg_number(PQgetvalue(result, i, 0), 8), .score = (float)-distance};
    }
    s->found[row] = (size_t)rows;
    return CM3_OK;
}

/** The best first, of equal scores the older. */
static int compare(const void *a, const void *b) {
    const cm3_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/** One query's hits of all shards; those of shards that failed before it count none. `all` [shards, k] is scratch. */
static void merge(const searching *s, size_t shards, size_t query, cm3_hit *all, cm3_hit *hits, size_t *found) {
    size_t count = 0;
    for (size_t i = 0; i < shards; i++) {
        const size_t row = i * s->count + query;
        memcpy(all + count, s->hits + row * s->k, s->found[row] * sizeof *all);
        count += s->found[row];
    }
    qsort(all, count, sizeof *all, compare);
    *found = count < s->k ? count : s->k;
    memcpy(hits, all, *found * sizeof *hits);
}

/** Vectors of any length but 0; they are sent with length 1, so that scores are cosines. */
static cm3_status take_queries(searching *s, const float *queries) {
    for (size_t i = 0; i < s->count; i++) {
        const float *query = queries + i * (size_t)s->dimension;
        double length = 0;
        for (int32_t j = 0; j < s->dimension; j++) length += (double)query[j] * (double)query[j];
        if (!isfinite(length) || length <= 0) {
            return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "query %zu of %zu: its vector is zero or not finite", i,
                               s->count);
        }
        cm3_pg_write_vector(s->vectors + i * s->vector_size, query, s->dimension, (float)(1 / sqrt(length)));
    }
    return CM3_OK;
}

/** Counts who answered. Partial results are told, or an error where they are not wanted. */
static cm3_status sum_up(const cm3_pgvector *store, const cm3_pg_job *jobs) {
    const cm3_pg_job *failed = NULL;
    for (size_t i = 0; i < store->shard_count; i++) {
        last.answered += jobs[i].state == CM3_PG_DONE;
        last.by_replicas += jobs[i].state == CM3_PG_DONE && jobs[i].server;
        if (!failed && jobs[i].state != CM3_PG_DONE) failed = &jobs[i];
    }
    if (!failed) return CM3_OK;
    if (!store->options.partial || !last.answered) return cm3_pg_all_done(jobs, store->shard_count);
    cm3_pg_fail(CM3_OK, "partial results, of %u of %u shards: %s", last.answered, last.shards, failed->words);
    return CM3_OK;
}

static cm3_status run_search(cm3_pgvector *store, searching *s, cm3_pg_job *jobs) {
    for (size_t i = 0; i < store->shard_count; i++) {
        jobs[i] = (cm3_pg_job){.shard = i, .steps = s->count, .send = send_query, .take = take_hits, .data = s};
    }
    CM3_PG_TRY(cm3_pg_run(store, jobs, store->shard_count, store->options.timeout_ms));
    return sum_up(store, jobs);
}

/** Room for [shards, count, k] hits; false where that is more than memory has. */
static bool reserve(searching *s, size_t shards) {
    if (s->count > SIZE_MAX / sizeof(cm3_hit) / s->k / shards || s->count > SIZE_MAX / s->vector_size) return false;
    s->vectors = malloc(s->count * s->vector_size);
    s->hits = calloc(shards * s->count, s->k * sizeof *s->hits);
    s->found = calloc(shards * s->count, sizeof *s->found);
    return s->vectors && s->hits && s->found;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

cm3_status cm3_pg_search(void *user, const float *queries, size_t count, int32_t dimension, int32_t k, cm3_hit *hits,
                         size_t *found) {
    cm3_pgvector *store = user;
    cm3_pg_forget();
    last = (cm3_pgvector_search_stats){.shards = (uint32_t)store->shard_count};
    if (dimension != store->form.dimension || k < 1 || k > MOST_HITS) {
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                           "vectors of %d numbers and 1..65536 hits are expected; found: %d and %d",
                           store->form.dimension, dimension, k);
    }
    if (!count) return CM3_OK;
    if (!queries || !hits || !found) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "searching: an argument is NULL");
    const double started = milliseconds();
    searching s = {
        .count = count, .k = (size_t)k, .dimension = dimension, .vector_size = cm3_pg_vector_size(dimension)};
    cm3_pg_write_number(s.wanted, (uint64_t)k, 4);
    cm3_pg_job *jobs = calloc(store->shard_count, sizeof *jobs);
    cm3_hit *all = calloc(store->shard_count, s.k * sizeof *all);
    cm3_status status = reserve(&s, store->shard_count) && jobs && all ? CM3_OK : cm3_pg_fail_memory("hits");
    if (status == CM3_OK) status = take_queries(&s, queries);
    if (status == CM3_OK) status = run_search(store, &s, jobs);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        merge(&s, store->shard_count, i, all, hits + i * s.k, &found[i]);
    }
    last.milliseconds = milliseconds() - started;
    free(jobs);
    free(all);
    free(s.vectors);
    free(s.hits);
    free(s.found);
    return status;
}
