/* Servers that stop, die or hang, before a query and during it; replicas; many threads. */
#include <pthread.h>

#include "support.h"

enum { D = 16, COUNT = 200, K = 10 };

static float query[D];

static void up(void) {
    made_record made;
    make_record(&made, 5, 0, D);
    memcpy(query, made.vector, sizeof query);
}

/* All servers are as they should be, whatever the last test left. */
static void down(void) {
    static const char *const names[] = {"shard0", "shard1", "replica0"};
    static const char *const strings[] = {"SHARD0", "SHARD1", "REPLICA0"};
    for (int i = 0; i < 3; i++) {
        control("thaw", names[i]);
        if (PQping(server(strings[i])) != PQPING_OK) {
            control("kill", names[i]);
            control("start", names[i]);
        }
    }
}

static cm3_retrieval_engine filled(test_servers *s, const char *table, int32_t timeout_ms) {
    servers_init(s, table, D, 2);
    s->options.timeout_ms = timeout_ms;
    cm3_retrieval_engine engine = open_new(s);
    add_made(&engine, 5, 0, COUNT, D, NULL);
    wait_for_replica();
    return engine;
}

static cm3_status search(const cm3_retrieval_engine *engine, cm3_hit *hits) {
    size_t found = 0;
    cm3_status status = engine->search(engine->user, query, 1, D, K, hits, &found);
    if (status == CM3_OK) ck_assert_uint_eq(found, K);
    return status;
}

static void check_same(const cm3_hit *a, const cm3_hit *b) {
    for (int i = 0; i < K; i++) ck_assert_uint_eq(a[i].id, b[i].id);
}

static void check_answered(uint32_t answered, uint32_t by_replicas) {
    const cm3_pgvector_search_stats stats = last_search();
    ck_assert_uint_eq(stats.shards, 2);
    ck_assert_uint_eq(stats.answered, answered);
    ck_assert_uint_eq(stats.by_replicas, by_replicas);
}

/* --- before a query ------------------------------------------------------------------------------------------------
 */

START_TEST(a_replica_answers) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_replica", 5000);
    cm3_hit hits[K], again[K];
    must(search(&engine, hits));
    check_answered(2, 0);
    control("kill", "shard0");
    must(search(&engine, again)); /* on a connection that was broken meanwhile */
    check_answered(2, 1);
    check_same(hits, again);
    ck_assert_uint_eq(count_of(&engine), COUNT);
    must(search(&engine, again));
    check_answered(2, 1);
    cm3_bank_record *record;
    for (int i = 0; i < K; i++) {
        must(engine.fetch(engine.user, hits[i].id, &record));
        engine.release(engine.user, record);
    }
    /* Primaries alone take records. */
    made_record made;
    int failed = 0, added = 0;
    for (uint64_t i = 0; i < 20; i++) {
        const cm3_bank_record one = make_record(&made, 6, i, D);
        cm3_status status = engine.add(engine.user, &one, 1, NULL);
        ck_assert(status == CM3_OK || status == CM3_ERROR_IO);
        failed += status != CM3_OK;
        added += status == CM3_OK;
    }
    ck_assert_int_gt(failed, 0);
    ck_assert_int_gt(added, 0);
    /* And as a whole: what one shard took stays, and is not added twice. */
    enum { MORE = 20 };
    made_record many[MORE];
    cm3_bank_record records[MORE];
    uint64_t ids[MORE];
    for (uint64_t i = 0; i < MORE; i++) records[i] = make_record(&many[i], 6, i, D);
    must_fail(engine.add(engine.user, records, MORE, ids), CM3_ERROR_IO, "shard 0");
    for (int i = 0; i < MORE; i++) ck_assert_uint_eq(ids[i], CM3_NO_RECORD);
    /* Opened while the primary is away. */
    cm3_retrieval_engine second = open_again(&s);
    must(search(&second, again));
    check_answered(2, 1);
    second.destroy(second.user);
    control("start", "shard0");
    must(engine.add(engine.user, records, MORE, ids));
    ck_assert_uint_eq(count_of(&engine) >= COUNT, 1);
    int fresh = 0;
    for (int i = 0; i < MORE; i++) fresh += ids[i] != CM3_NO_RECORD;
    ck_assert_int_eq(fresh, failed);
    engine.destroy(engine.user);
    second = open_again(&s);
    ck_assert_uint_eq(count_of(&second), COUNT + MORE);
    must(search(&second, again));
    check_answered(2, 0);
    second.destroy(second.user);
    s.options.prefer_replicas = 1;
    second = open_again(&s);
    must(search(&second, again));
    check_answered(2, 1);
    second.destroy(second.user);
    drop("t_replica");
}
END_TEST

START_TEST(a_shard_is_missing) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_missing", 5000);
    s.options.partial = 0;
    cm3_retrieval_engine strict = open_again(&s);
    cm3_hit hits[K], again[K];
    must(search(&engine, hits));
    must(search(&strict, again));
    control("stop", "shard1");
    must(search(&engine, again));
    check_answered(1, 0);
    for (int i = 0; i < K; i++) ck_assert_uint_eq(again[i].id % 2, 0); /* all of the first */
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "partial results, of 1 of 2 shards: shard 1"));
    ck_assert_str_eq(engine.message(engine.user), cm3_pgvector_message());
    must_fail(search(&strict, again), CM3_ERROR_IO, "shard 1");
    uint64_t count;
    must_fail(engine.count(engine.user, &count), CM3_ERROR_IO, "shard 1");
    cm3_bank_record *record;
    must_fail(engine.fetch(engine.user, 1, &record), CM3_ERROR_IO, "shard 1");
    cm3_pgvector *store;
    must_fail(cm3_pgvector_open(&s.options, &store), CM3_ERROR_IO, "shard 1");
    s.options.partial = 1;
    cm3_retrieval_engine late = open_again(&s);
    must(search(&late, again));
    check_answered(1, 0);
    control("stop", "shard0");
    control("stop", "replica0");
    must_fail(search(&engine, again), CM3_ERROR_IO, "shard 0");
    check_answered(0, 0);
    /* Connected to again on the next call. */
    control("start", "shard0");
    control("start", "shard1");
    control("start", "replica0");
    must(search(&engine, again));
    check_answered(2, 0);
    check_same(hits, again);
    must(search(&strict, again));
    must(search(&late, again));
    check_same(hits, again);
    engine.destroy(engine.user);
    strict.destroy(strict.user);
    late.destroy(late.user);
    drop("t_missing");
}
END_TEST

/* --- during a query ------------------------------------------------------------------------------------------------
 */

/* Nobody reads the table of a server while this connection lives. */
static PGconn *lock_table(const char *name, const char *table) {
    char sql[128];
    snprintf(sql, sizeof sql, "BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table);
    PGconn *connection = connect_to(name);
    PGresult *result = PQexec(connection, sql);
    ck_assert_int_eq(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    return connection;
}

/* What is done to a server while the query waits for the lock. */
typedef struct blow {
    const char *command, *name, *string;
    bool was_running;
} blow;

static void *strike(void *user) {
    blow *b = user;
    const double until = seconds() + 5;
    while (!b->was_running && seconds() < until) {
        b->was_running = atoi(ask(b->string, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                             "query LIKE 'PREPARE cm3_search%' OR query LIKE '%PREPARE cm3_search%' "
                                             "AND wait_event_type = 'Lock'")) > 0;
        usleep(10000);
    }
    control(b->command, b->name);
    return NULL;
}

START_TEST(a_shard_dies_during_a_query) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_dies", 20000);
    cm3_hit hits[K], again[K];
    must(search(&engine, hits)); /* connected */
    PGconn *lock = lock_table("SHARD1", "t_dies");
    blow b = {.command = "kill", .name = "shard1", .string = "SHARD1"};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, strike, &b), 0);
    const double began = seconds();
    must(search(&engine, again));
    ck_assert_double_lt(seconds() - began, 15); /* not by the time-out of 20 s */
    pthread_join(thread, NULL);
    ck_assert(b.was_running);
    check_answered(1, 0);
    for (int i = 0; i < K; i++) ck_assert_uint_eq(again[i].id % 2, 0);
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "shard 1"));
    PQfinish(lock);
    control("start", "shard1");
    must(search(&engine, again));
    check_answered(2, 0);
    check_same(hits, again);
    engine.destroy(engine.user);
    drop("t_dies");
}
END_TEST

START_TEST(a_replica_takes_over_during_a_query) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_takes_over", 4000);
    cm3_hit hits[K], again[K];
    must(search(&engine, hits));
    /* The lock would reach the replica, so the primary hangs instead. */
    control("freeze", "shard0");
    double began = seconds();
    must(search(&engine, again)); /* half of 4 s for the primary */
    ck_assert_double_gt(seconds() - began, 1.9);
    ck_assert_double_lt(seconds() - began, 4);
    check_answered(2, 1);
    check_same(hits, again);
    began = seconds();
    must(search(&engine, again)); /* which is not asked first again so soon */
    ck_assert_double_lt(seconds() - began, 1.9);
    check_answered(2, 1);
    control("thaw", "shard0");
    engine.destroy(engine.user);
    drop("t_takes_over");
}
END_TEST

START_TEST(a_shard_hangs) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_hangs", 5000);
    s.options.timeout_ms = 700;
    cm3_retrieval_engine hasty = open_again(&s);
    cm3_hit hits[K], again[K];
    must(search(&hasty, hits));
    control("freeze", "shard1");
    for (int i = 0; i < 2; i++) { /* on the old connection, and on a new one that gets no answer */
        const double began = seconds();
        must(search(&hasty, again));
        ck_assert_double_ge(seconds() - began, 0.65);
        ck_assert_double_lt(seconds() - began, 3);
        check_answered(1, 0);
        ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "no answer in time"));
    }
    control("thaw", "shard1");
    must(search(&hasty, again));
    check_answered(2, 0);
    check_same(hits, again);
    hasty.destroy(hasty.user);
    engine.destroy(engine.user);
    drop("t_hangs");
}
END_TEST

START_TEST(a_query_that_is_late_is_cancelled) {
    test_servers s;
    cm3_retrieval_engine engine = filled(&s, "t_late", 5000);
    s.options.timeout_ms = 400;
    cm3_retrieval_engine hasty = open_again(&s);
    cm3_hit hits[K];
    must(search(&hasty, hits));
    PGconn *lock = lock_table("SHARD1", "t_late");
    const double began = seconds();
    must(search(&hasty, hits));
    ck_assert_double_lt(seconds() - began, 3);
    check_answered(1, 0);
    /* Nothing of it is left on the server. */
    const char *left = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> "
                       "pg_backend_pid()";
    while (atoi(ask("SHARD1", left)) && seconds() - began < 4) usleep(20000); /* statement_timeout is 5.4 s */
    ck_assert_str_eq(ask("SHARD1", left), "0");
    PQfinish(lock);
    must(search(&hasty, hits));
    check_answered(2, 0);
    /* Writing has a limit of its own. */
    s.options.write_timeout_ms = 400;
    cm3_retrieval_engine writer = open_again(&s);
    lock = lock_table("SHARD1", "t_late");
    made_record made[8];
    cm3_bank_record records[8];
    for (uint64_t i = 0; i < 8; i++) records[i] = make_record(&made[i], 9, i, D);
    must_fail(writer.add(writer.user, records, 8, NULL), CM3_ERROR_IO, "no answer in time");
    PQfinish(lock);
    must(writer.add(writer.user, records, 8, NULL));
    ck_assert_uint_eq(count_of(&writer), COUNT + 8);
    writer.destroy(writer.user);
    hasty.destroy(hasty.user);
    engine.destroy(engine.user);
    drop("t_late");
}
END_TEST

/* --- threads -------------------------------------------------------------------------------------------------------
 */

typedef struct worker {
    const cm3_retrieval_engine *engine;
    uint64_t number;
    int failed, partial;
} worker;

static void *work(void *user) {
    worker *w = user;
    cm3_hit hits[K];
    size_t found;
    for (uint64_t i = 0; i < 30; i++) {
        made_record made;
        const cm3_bank_record one = make_record(&made, 5, COUNT + i, D); /* the same in all threads */
        w->failed += w->engine->add(w->engine->user, &one, 1, NULL) != CM3_OK;
        w->failed += w->engine->search(w->engine->user, query, 1, D, K, hits, &found) != CM3_OK || found != K;
        w->partial += last_search().answered != 2;
        w->failed += w->engine->search(w->engine->user, query, 1, D + 1, K, hits, &found) != CM3_ERROR_INVALID_ARGUMENT;
    }
    return NULL;
}

START_TEST(many_threads) {
    enum { THREADS = 6 };
    test_servers s;
    servers_init(&s, "t_threads", D, 2);
    s.options.connections = 3;
    cm3_retrieval_engine engine = open_new(&s);
    add_made(&engine, 5, 0, COUNT, D, NULL);
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.engine = &engine, .number = (uint64_t)i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(workers[i].failed, 0);
        ck_assert_int_eq(workers[i].partial, 0);
    }
    ck_assert_uint_eq(count_of(&engine), COUNT + 30);
    ck_assert_int_le(atoi(ask("SHARD0", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'libcm3leon'")),
                     3);
    engine.destroy(engine.user);
    drop("t_threads");
}
END_TEST

Suite *servers_suite(void) {
    Suite *suite = suite_create("pgvector/servers");
    TCase *cases = tcase_create("servers");
    tcase_add_checked_fixture(cases, up, NULL);
    tcase_add_unchecked_fixture(cases, NULL, down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_replica_answers);
    tcase_add_test(cases, a_shard_is_missing);
    tcase_add_test(cases, a_shard_dies_during_a_query);
    tcase_add_test(cases, a_replica_takes_over_during_a_query);
    tcase_add_test(cases, a_shard_hangs);
    tcase_add_test(cases, a_query_that_is_late_is_cancelled);
    tcase_add_test(cases, many_threads);
    suite_add_tcase(suite, cases);
    return suite;
}
