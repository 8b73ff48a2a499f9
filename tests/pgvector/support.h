/* Stores on the servers that servers.py started. */
#ifndef PGVECTOR_SUPPORT_H
#define PGVECTOR_SUPPORT_H

#include <libpq-fe.h>
#include <math.h>
#include <time.h>

#include "cm3leon/cm3leon.h"
#include "cm3leon/pgvector.h"
#include "retrieve/support.h"

Suite *options_suite(void);
Suite *store_suite(void);
Suite *servers_suite(void);

static inline const char *server(const char *name) {
    char variable[32];
    snprintf(variable, sizeof variable, "CM3_PG_%s", name);
    const char *string = getenv(variable);
    ck_assert_msg(string != NULL, "%s is not set: this program is run by tests/pgvector/servers.py", variable);
    return string;
}

/* start, stop, kill, freeze, thaw of shard0, shard1, replica0. */
static inline void control(const char *command, const char *name) {
    char line[1024];
    snprintf(line, sizeof line, "%s %s %s", server("CONTROL"), command, name);
    ck_assert_int_eq(system(line), 0);
}

static inline PGconn *connect_to(const char *name) {
    PGconn *connection = PQconnectdb(server(name));
    ck_assert_msg(PQstatus(connection) == CONNECTION_OK, "%s", PQerrorMessage(connection));
    return connection;
}

/* Runs a statement of the test's own; its first value, or "" where there is none. */
static inline const char *ask(const char *name, const char *sql) {
    static char value[256];
    PGconn *connection = connect_to(name);
    PQclear(PQexec(connection, "SET client_min_messages = error"));
    PGresult *result = PQexec(connection, sql);
    const ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(connection));
    snprintf(value, sizeof value, "%s", status == PGRES_TUPLES_OK && PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return value;
}

/* A table of that name is taken away on both shards. */
static inline void drop(const char *table) {
    static const char *const shards[] = {"SHARD0", "SHARD1"};
    char sql[256];
    snprintf(sql, sizeof sql, "DROP TABLE IF EXISTS %s, %s_meta; DROP SEQUENCE IF EXISTS %s_number", table, table,
             table);
    for (int i = 0; i < 2; i++) ask(shards[i], sql);
}

/* Both shards, the first with its replica; to be changed by the test before it opens. */
typedef struct test_servers {
    cm3_pgvector_shard shards[2];
    const char *replicas[1];
    cm3_pgvector_options options;
} test_servers;

static inline void servers_init(test_servers *s, const char *table, int32_t dimension, int shards) {
    s->replicas[0] = server("REPLICA0");
    s->shards[0] = (cm3_pgvector_shard){sizeof *s->shards, server("SHARD0"), s->replicas, 1};
    s->shards[1] = (cm3_pgvector_shard){sizeof *s->shards, server("SHARD1"), NULL, 0};
    cm3_pgvector_options_init(&s->options);
    s->options.shards = s->shards;
    s->options.shard_count = (size_t)shards;
    s->options.table = table;
    s->options.dimension = dimension;
    s->options.create = 1;
}

#define must(call) ck_assert_msg((call) == CM3_OK, "%s", cm3_pgvector_message())
#define must_fail(call, expected, words)                                                                               \
    do {                                                                                                               \
        ck_assert_int_eq((call), (expected));                                                                          \
        ck_assert_msg(strstr(cm3_pgvector_message(), (words)) != NULL, "'%s' is not in '%s'", (words),                 \
                      cm3_pgvector_message());                                                                         \
    } while (0)

/* A new store of that name, and its engine, by whose destroy() it is closed. */
static inline cm3_retrieval_engine open_new(test_servers *s) {
    drop(s->options.table);
    cm3_pgvector *store;
    cm3_retrieval_engine engine;
    must(cm3_pgvector_open(&s->options, &store));
    must(cm3_pgvector_engine(store, &engine));
    return engine;
}

static inline cm3_retrieval_engine open_again(test_servers *s) {
    cm3_pgvector *store;
    cm3_retrieval_engine engine;
    s->options.create = 0;
    must(cm3_pgvector_open(&s->options, &store));
    must(cm3_pgvector_engine(store, &engine));
    return engine;
}

static inline void add_made(const cm3_retrieval_engine *engine, uint64_t seed, uint64_t first, size_t count,
                            int32_t dimension, uint64_t *ids) {
    made_record *made = malloc(count * sizeof *made);
    cm3_bank_record *records = malloc(count * sizeof *records);
    for (size_t i = 0; i < count; i++) records[i] = make_record(&made[i], seed, first + i, dimension);
    must(engine->add(engine->user, records, count, ids));
    free(made);
    free(records);
}

static inline uint64_t count_of(const cm3_retrieval_engine *engine) {
    uint64_t count = 0;
    must(engine->count(engine->user, &count));
    return count;
}

static inline cm3_pgvector_search_stats last_search(void) {
    cm3_pgvector_search_stats stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(cm3_pgvector_last_search(&stats), CM3_OK);
    return stats;
}

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Until the replica has all that the first shard has. */
static inline void wait_for_replica(void) {
    char sql[400];
    snprintf(sql, sizeof sql, "SELECT pg_last_wal_replay_lsn() >= '%s'::pg_lsn",
             ask("SHARD0", "SELECT pg_current_wal_insert_lsn()"));
    const double until = seconds() + 20;
    while (strcmp(ask("REPLICA0", sql), "t") != 0) {
        ck_assert_msg(seconds() < until, "the replica does not follow");
        usleep(20000);
    }
}

#endif
