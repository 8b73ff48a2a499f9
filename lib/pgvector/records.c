/* Records: adding, fetching, counting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "pgvector/fan_out.h"
#include "pgvector/wire.h"

#define BATCH_RECORDS 8192
#define BATCH_BYTES ((size_t)32 << 20)
#define LONGEST ((size_t)1 << 28) /* of a key, text or picture as sent; PostgreSQL ends at 1 GB for a row */
#define INT4_OID 23

/* --- adding --------------------------------------------------------------------------------------------------------
 */

/** A record on its way: equal digests are equal texts and pictures. */
typedef struct outgoing {
    uint8_t digest[16];
    size_t number; /**< among the call's */
} outgoing;

/** What one batch brings to a shard. */
typedef struct parcel {
    const cm3_pgvector *store;
    cm3_pg_bytes rows; /**< as COPY takes them */
    outgoing *records; /**< [count], sorted by digest and number before it is sent */
    size_t count;
    uint64_t *ids; /**< of the call */
} parcel;

static const cm3_bank_record *record_at(const cm3_bank_record *records, size_t index) {
    return (const cm3_bank_record *)(const void *)((const char *)records + index * records->struct_size);
}

/** 1 / the vector's length; 0 where that is zero or not finite. */
static float scale_of(const float *vector, int32_t dimension) {
    double length = 0;
    for (int32_t i = 0; i < dimension; i++) length += (double)vector[i] * (double)vector[i];
    return isfinite(length) && length > 0 ? (float)(1 / sqrt(length)) : 0;
}

static cm3_status check_record(const cm3_pgvector *store, const cm3_bank_record *record, size_t index, size_t count) {
    const bool picture = record->image || record->codes;
    const char *wrong = NULL;
    if (!record->text && !picture) wrong = "neither a text nor a picture";
    if ((record->image && !record->image_size) || (record->codes && !record->code_count)) wrong = "an empty picture";
    if (!record->vector || scale_of(record->vector, store->form.dimension) <= 0) {
        wrong = "its vector is missing, zero or not finite";
    }
    if (wrong) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "record %zu of %zu: %s", index, count, wrong);
    if (record->image_size > LONGEST || record->code_count > LONGEST / 8 ||
        (record->text && strlen(record->text) > LONGEST) || (record->key && strlen(record->key) > LONGEST)) {
        return cm3_pg_fail(CM3_ERROR_TOO_LONG, "record %zu of %zu: key, text or picture is above 2^28 bytes", index,
                           count);
    }
    return CM3_OK;
}

static cm3_status check_records(const cm3_pgvector *store, const cm3_bank_record *records, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const cm3_bank_record *record = record_at(records, i);
        if (record->struct_size < sizeof *record || record->struct_size != records->struct_size) {
            return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT,
                               "record %zu of %zu: struct_size is not that of a cm3_bank_record", i, count);
        }
        CM3_PG_TRY(check_record(store, record, i, count));
    }
    return CM3_OK;
}

/** XXH3-128 of what makes a record: its text and its picture, each with what it is and how long. */
static bool digest_of(const cm3_bank_record *record, uint8_t digest[16]) {
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    uint8_t head[3][9] = {{'t'}, {'i'}, {'c'}};
    const size_t sizes[3] = {record->text ? strlen(record->text) : 0, record->image ? record->image_size : 0,
                             record->codes ? record->code_count : 0};
    XXH3_128bits_reset(state);
    for (int i = 0; i < 3; i++) {
        const bool there = i == 0 ? record->text != NULL : i == 1 ? record->image != NULL : record->codes != NULL;
        if (!there) continue;
        cm3_pg_write_number(head[i] + 1, sizes[i], 8);
        XXH3_128bits_update(state, head[i], sizeof head[i]);
        if (i == 0) XXH3_128bits_update(state, record->text, sizes[i]);
        if (i == 1) XXH3_128bits_update(state, record->image, sizes[i]);
        for (size_t j = 0; i == 2 && j < sizes[i]; j++) {
            uint8_t code[4];
            cm3_pg_write_number(code, (uint32_t)record->codes[j], 4);
            XXH3_128bits_update(state, code, sizeof code);
        }
    }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(digest, canonical.digest, 16);
    XXH3_freeState(state);
    return true;
}

static void put_field(cm3_pg_bytes *rows, const void *data, size_t size) {
    cm3_pg_put_number(rows, data ? size : UINT32_MAX, 4);
    if (data) cm3_pg_put(rows, data, size);
}

static void put_text(cm3_pg_bytes *rows, const char *text) {
    put_field(rows, text, text ? strlen(text) : 0);
}

/** An integer[]: dimensions, no NULLs, the type, how many from 1, then each with its size. */
static void put_codes(cm3_pg_bytes *rows, const int32_t *codes, size_t count) {
    if (!codes) {
        put_field(rows, NULL, 0);
        return;
    }
    const uint32_t head[] = {(uint32_t)(20 + 8 * count), 1, 0, INT4_OID, (uint32_t)count, 1};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) cm3_pg_put_number(rows, head[i], 4);
    for (size_t i = 0; i < count; i++) {
        cm3_pg_put_number(rows, 4, 4);
        cm3_pg_put_number(rows, (uint32_t)codes[i], 4);
    }
}

static void put_record(parcel *p, const cm3_bank_record *record, const outgoing *out) {
    const int32_t dimension = p->store->form.dimension;
    if (!p->rows.size) {
        cm3_pg_put(&p->rows, "PGCOPY\n\377\r\n\0", 11);
        cm3_pg_put_number(&p->rows, 0, 8);
    }
    cm3_pg_put_number(&p->rows, 7, 2);
    cm3_pg_put_number(&p->rows, 8, 4);
    cm3_pg_put_number(&p->rows, out->number, 8);
    put_field(&p->rows, out->digest, sizeof out->digest);
    put_text(&p->rows, record->key && *record->key ? record->key : NULL);
    put_text(&p->rows, record->text);
    put_field(&p->rows, record->image, record->image_size);
    put_codes(&p->rows, record->codes, record->code_count);
    cm3_pg_put_number(&p->rows, cm3_pg_vector_size(dimension), 4);
    uint8_t *vector = cm3_pg_room(&p->rows, cm3_pg_vector_size(dimension));
    if (vector) cm3_pg_write_vector(vector, record->vector, dimension, scale_of(record->vector, dimension));
    p->records[p->count++] = *out;
}

static int compare(const void *a, const void *b) {
    const outgoing *x = a, *y = b;
    const int by_digest = memcmp(x->digest, y->digest, sizeof x->digest);
    return by_digest ? by_digest : (x->number > y->number) - (x->number < y->number);
}

enum { BEGIN, COPY, INSERT, COMMIT, ADD_STEPS };

static bool send_add(cm3_pg_job *job, PGconn *connection) {
    const parcel *p = job->data;
    const cm3_pgvector *store = p->store;
    char sql[1536];
    switch (job->step) {
    case BEGIN:
        /* Writers take turns: two that bring the same records in another order would wait for each other. */
        snprintf(sql, sizeof sql,
                 "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock('%s'::regclass::oid::bigint); "
                 "CREATE TEMPORARY TABLE IF NOT EXISTS cm3_incoming (number bigint, digest bytea, key text, text text, "
                 "image bytea, codes integer[], vector vector) ON COMMIT DELETE ROWS",
                 store->table);
        return PQsendQuery(connection, sql) == 1;
    case COPY:
        return PQsendQuery(connection, "COPY pg_temp.cm3_incoming FROM STDIN (FORMAT binary)") == 1;
    case INSERT:
        snprintf(
            sql, sizeof sql,
            "INSERT INTO %s (id, digest, key, text, image, codes, vector) SELECT nextval('%s'::regclass) * %zu + "
            "%zu, digest, key, text, image, codes, vector::%s FROM (SELECT DISTINCT ON (digest) * FROM "
            "pg_temp.cm3_incoming n WHERE NOT EXISTS (SELECT FROM %s o WHERE o.digest = n.digest) ORDER BY digest, "
            "number) fresh ORDER BY number ON CONFLICT (digest) DO NOTHING RETURNING id, digest",
            store->table, store->sequence, store->shard_count, job->shard, store->form.halfvec ? "halfvec" : "vector",
            store->table);
        return PQsendQueryParams(connection, sql, 0, NULL, NULL, NULL, NULL, 1) == 1;
    default:
        return PQsendQuery(connection, "COMMIT") == 1;
    }
}

/** The ids of what went in, by their digests; of equal records in one call the first has it. */
static cm3_status take_ids(cm3_pg_job *job, PGresult *result) {
    const parcel *p = job->data;
    if (job->step != INSERT) return CM3_OK;
    for (int i = 0; i < PQntuples(result); i++) {
        outgoing key = {.number = 0};
        if (PQgetlength(result, i, 0) != 8 || PQgetlength(result, i, 1) != (int)sizeof key.digest) {
            return cm3_pg_fail(CM3_ERROR_FORMAT, "shard %zu: an id is not of a bigint and a digest", job->shard);
        }
        memcpy(key.digest, PQgetvalue(result, i, 1), sizeof key.digest);
        size_t low = 0, high = p->count;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (compare(&p->records[middle], &key) < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low < p->count) p->ids[p->records[low].number] = cm3_pg_number(PQgetvalue(result, i, 0), 8);
    }
    return CM3_OK;
}

/** Sends what has gathered. Parcels are empty afterwards. */
static cm3_status send_parcels(cm3_pgvector *store, parcel *parcels) {
    cm3_pg_job *jobs = calloc(store->shard_count, sizeof *jobs);
    size_t count = 0;
    bool failed = !jobs;
    for (size_t i = 0; jobs && i < store->shard_count; i++) {
        parcel *p = &parcels[i];
        if (!p->count) continue;
        cm3_pg_put_number(&p->rows, UINT16_MAX, 2);
        failed = failed || p->rows.failed;
        qsort(p->records, p->count, sizeof *p->records, compare);
        jobs[count++] = (cm3_pg_job){.shard = i,
                                     .steps = ADD_STEPS,
                                     .write = true,
                                     .send = send_add,
                                     .take = take_ids,
                                     .data = p,
                                     .copy = p->rows.data,
                                     .copy_size = p->rows.size};
    }
    if (failed) {
        free(jobs);
        return cm3_pg_fail_memory("records");
    }
    cm3_status status = cm3_pg_run_all(store, jobs, count, store->options.write_timeout_ms);
    for (size_t i = 0; i < count; i++) {
        parcel *p = jobs[i].data;
        /* What was not committed has no id. */
        for (size_t j = 0; jobs[i].state != CM3_PG_DONE && j < p->count; j++) {
            p->ids[p->records[j].number] = CM3_NO_RECORD;
        }
        p->rows.size = 0;
        p->count = 0;
    }
    free(jobs);
    return status;
}

static cm3_status add_all(cm3_pgvector *store, const cm3_bank_record *records, size_t count, parcel *parcels) {
    size_t together = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const cm3_bank_record *record = record_at(records, i);
        outgoing out = {.number = i};
        if (!digest_of(record, out.digest)) return cm3_pg_fail_memory("a digest");
        parcel *p = &parcels[cm3_pg_number(out.digest, 8) % store->shard_count];
        const size_t before = p->rows.size;
        put_record(p, record, &out);
        bytes += p->rows.size - before;
        if (p->rows.failed) return cm3_pg_fail_memory("records");
        if (++together < BATCH_RECORDS && bytes < BATCH_BYTES && i + 1 < count) continue;
        CM3_PG_TRY(send_parcels(store, parcels));
        together = bytes = 0;
    }
    return CM3_OK;
}

cm3_status cm3_pg_add(void *user, const cm3_bank_record *records, size_t count, uint64_t *ids) {
    cm3_pgvector *store = user;
    if (!count) return CM3_OK;
    if (!records) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "adding: records is NULL");
    CM3_PG_TRY(check_records(store, records, count));
    const size_t together = count < BATCH_RECORDS ? count : BATCH_RECORDS;
    uint64_t *own_ids = calloc(count, sizeof *own_ids);
    parcel *parcels = calloc(store->shard_count, sizeof *parcels);
    bool well = own_ids && parcels;
    for (size_t i = 0; well && i < store->shard_count; i++) {
        parcels[i] = (parcel){.store = store, .ids = own_ids, .records = calloc(together, sizeof(outgoing))};
        well = parcels[i].records != NULL;
    }
    for (size_t i = 0; own_ids && i < count; i++) own_ids[i] = CM3_NO_RECORD;
    cm3_status status = well ? add_all(store, records, count, parcels) : cm3_pg_fail_memory("records");
    if (ids && own_ids) memcpy(ids, own_ids, count * sizeof *ids);
    for (size_t i = 0; parcels && i < store->shard_count; i++) {
        free(parcels[i].rows.data);
        free(parcels[i].records);
    }
    free(parcels);
    free(own_ids);
    return status;
}

/* --- fetching ------------------------------------------------------------------------------------------------------
 */

/** A record that is asked for. */
typedef struct fetching {
    uint8_t number[8];
    int32_t dimension;
    cm3_bank_record *record; /**< NULL: there is none */
} fetching;

static bool send_fetch(cm3_pg_job *job, PGconn *connection) {
    const fetching *f = job->data;
    const char *const values[] = {(const char *)f->number};
    const int lengths[] = {8}, formats[] = {1};
    return PQsendQueryPrepared(connection, "cm3_fetch", 1, values, lengths, formats, 1) == 1;
}

/** Elements of an integer[] as it is sent; SIZE_MAX where it is not one. */
static size_t code_count(const char *value, size_t size) {
    if (size < 12) return SIZE_MAX;
    if (!cm3_pg_number(value, 4)) return 0;
    if (size < 20 || cm3_pg_number(value, 4) != 1 || cm3_pg_number(value + 8, 4) != INT4_OID) return SIZE_MAX;
    const size_t count = cm3_pg_number(value + 12, 4);
    return (size - 20) / 8 == count && (size - 20) % 8 == 0 ? count : SIZE_MAX;
}

/** The record in one piece of memory: the struct, vector, codes, picture, text, key. NULL: no memory. */
static cm3_bank_record *make_record(const PGresult *result, size_t codes, int32_t dimension) {
    size_t sizes[4];
    for (int i = 0; i < 4; i++) sizes[i] = (size_t)PQgetlength(result, 0, i);
    const size_t numbers = (size_t)dimension * sizeof(float) + codes * sizeof(int32_t);
    cm3_bank_record *record = calloc(1, sizeof *record + numbers + sizes[2] + sizes[1] + 1 + sizes[0] + 1);
    if (!record) return NULL;
    record->struct_size = sizeof *record;
    float *vector = (float *)(record + 1);
    int32_t *code = (int32_t *)(vector + dimension);
    char *image = (char *)(code + codes), *text = image + sizes[2], *key = text + sizes[1] + 1;
    const char *from = PQgetvalue(result, 0, 4) + 4;
    for (int32_t i = 0; i < dimension; i++) vector[i] = cm3_pg_float(from + 4 * (size_t)i);
    from = PQgetvalue(result, 0, 3) + 20;
    for (size_t i = 0; i < codes; i++) code[i] = (int32_t)(uint32_t)cm3_pg_number(from + 8 * i + 4, 4);
    memcpy(image, PQgetvalue(result, 0, 2), sizes[2]);
    memcpy(text, PQgetvalue(result, 0, 1), sizes[1]);
    memcpy(key, PQgetvalue(result, 0, 0), sizes[0]);
    record->key = key;
    record->vector = vector;
    if (!PQgetisnull(result, 0, 1)) record->text = text;
    if (!PQgetisnull(result, 0, 2)) {
        record->image = image;
        record->image_size = sizes[2];
    }
    if (codes) {
        record->codes = code;
        record->code_count = codes;
    }
    return record;
}

static cm3_status take_record(cm3_pg_job *job, PGresult *result) {
    fetching *f = job->data;
    if (!PQntuples(result)) return CM3_OK;
    size_t codes = 0;
    if (PQnfields(result) == 5 && !PQgetisnull(result, 0, 3)) {
        codes = code_count(PQgetvalue(result, 0, 3), (size_t)PQgetlength(result, 0, 3));
    }
    if (PQnfields(result) != 5 || codes == SIZE_MAX ||
        (size_t)PQgetlength(result, 0, 4) != cm3_pg_vector_size(f->dimension)) {
        return cm3_pg_fail(CM3_ERROR_FORMAT, "shard %zu: what it has under that id is no record", job->shard);
    }
    free(f->record);
    f->record = make_record(result, codes, f->dimension);
    return f->record ? CM3_OK : cm3_pg_fail_memory("a record");
}

cm3_status cm3_pg_fetch(void *user, uint64_t id, cm3_bank_record **record) {
    cm3_pgvector *store = user;
    if (!record) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "fetching: record is NULL");
    *record = NULL;
    fetching f = {.dimension = store->form.dimension};
    cm3_pg_job job = {
        .shard = (size_t)(id % store->shard_count), .steps = 1, .send = send_fetch, .take = take_record, .data = &f};
    cm3_pg_write_number(f.number, id, 8);
    cm3_status status = id <= INT64_MAX ? cm3_pg_run_all(store, &job, 1, store->options.timeout_ms) : CM3_OK;
    if (status == CM3_OK && !f.record) {
        return cm3_pg_fail(CM3_ERROR_NOT_FOUND, "there is no record %llu", (unsigned long long)id);
    }
    if (status != CM3_OK) {
        free(f.record);
        return status;
    }
    f.record->id = id;
    *record = f.record;
    return CM3_OK;
}

void cm3_pg_release(void *user, cm3_bank_record *record) {
    (void)user;
    free(record);
}

/* --- counting ------------------------------------------------------------------------------------------------------
 */

static bool send_count(cm3_pg_job *job, PGconn *connection) {
    (void)job;
    return PQsendQueryPrepared(connection, "cm3_count", 0, NULL, NULL, NULL, 1) == 1;
}

static cm3_status take_count(cm3_pg_job *job, PGresult *result) {
    uint64_t *counts = job->data;
    if (PQntuples(result) == 1 && PQgetlength(result, 0, 0) == 8) {
        counts[job->shard] = cm3_pg_number(PQgetvalue(result, 0, 0), 8);
    }
    return CM3_OK;
}

cm3_status cm3_pg_count(void *user, uint64_t *count) {
    cm3_pgvector *store = user;
    if (!count) return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "counting: count is NULL");
    cm3_pg_job *jobs = calloc(store->shard_count, sizeof *jobs);
    uint64_t counts[CM3_PG_MOST_SHARDS] = {0};
    if (!jobs) return cm3_pg_fail_memory("jobs");
    for (size_t i = 0; i < store->shard_count; i++) {
        jobs[i] = (cm3_pg_job){.shard = i, .steps = 1, .send = send_count, .take = take_count, .data = counts};
    }
    cm3_status status = cm3_pg_run_all(store, jobs, store->shard_count, store->options.timeout_ms);
    free(jobs);
    if (status != CM3_OK) return status;
    *count = 0;
    for (size_t i = 0; i < store->shard_count; i++) *count += counts[i];
    return CM3_OK;
}
