/* Records on two shards: adding, fetching, search against the memory bank's, the index's recall. */
#include "bench/vector_data.h"
#include "support.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/* --- records -------------------------------------------------------------------------------------------------------
 */

static void check_fetched(const cm3_retrieval_engine *engine, uint64_t id, const cm3_bank_record *expected,
                          int32_t dimension, double tolerance) {
    cm3_bank_record *got;
    must(engine->fetch(engine->user, id, &got));
    ck_assert_uint_eq(got->id, id);
    ck_assert_str_eq(got->key, expected->key ? expected->key : "");
    if (expected->text) ck_assert_str_eq(got->text, expected->text);
    ck_assert(!got->text == !expected->text && !got->image == !expected->image && !got->codes == !expected->codes);
    ck_assert_uint_eq(got->image_size, expected->image_size);
    ck_assert_uint_eq(got->code_count, expected->code_count);
    if (got->image) ck_assert_mem_eq(got->image, expected->image, got->image_size);
    if (got->codes) ck_assert_mem_eq(got->codes, expected->codes, got->code_count * sizeof *got->codes);
    double length = 0;
    for (int32_t i = 0; i < dimension; i++) length += pow((double)expected->vector[i], 2);
    for (int32_t i = 0; i < dimension; i++) {
        ck_assert_double_eq_tol(got->vector[i], expected->vector[i] / sqrt(length), tolerance);
    }
    engine->release(engine->user, got);
}

START_TEST(what_is_added_is_fetched) {
    enum { COUNT = 300, D = 24 };
    test_servers s;
    servers_init(&s, "t_records", D, 2);
    cm3_retrieval_engine engine = open_new(&s);
    uint64_t ids[COUNT];
    add_made(&engine, 1, 0, COUNT, D, ids);
    ck_assert_uint_eq(count_of(&engine), COUNT);
    int of_second = 0;
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_ne(ids[i], CM3_NO_RECORD);
        for (int j = 0; j < i; j++) ck_assert_uint_ne(ids[i], ids[j]);
        made_record made;
        const cm3_bank_record expected = make_record(&made, 1, (uint64_t)i, D);
        check_fetched(&engine, ids[i], &expected, D, 1e-6);
        of_second += ids[i] % 2 == 1;
    }
    /* About a half on each, which the id tells. */
    ck_assert_int_gt(of_second, COUNT / 3);
    ck_assert_int_lt(of_second, 2 * COUNT / 3);
    ck_assert_int_eq(atoi(ask("SHARD1", "SELECT count(*) FROM t_records WHERE id % 2 = 1")), of_second);
    cm3_bank_record *record;
    must_fail(engine.fetch(engine.user, 4 * COUNT, &record), CM3_ERROR_NOT_FOUND, "1200");
    ck_assert_ptr_null(record);
    must_fail(engine.fetch(engine.user, CM3_NO_RECORD, &record), CM3_ERROR_NOT_FOUND, "no record");
    engine.destroy(engine.user);
    drop("t_records");
}
END_TEST

START_TEST(the_same_is_kept_once) {
    enum { D = 8 };
    test_servers s;
    servers_init(&s, "t_same", D, 2);
    cm3_retrieval_engine engine = open_new(&s);
    const float vector[D] = {3, 4}, other[D] = {0, 0, 1};
    const int32_t codes[] = {1, 2, 3}, more[] = {1, 2, 3, 4};
    const cm3_bank_record records[] = {
        {.struct_size = sizeof *records, .text = "a", .key = "one", .vector = vector},
        {.struct_size = sizeof *records, .text = "a", .key = "two", .vector = other}, /* the same under another key */
        {.struct_size = sizeof *records, .text = "a", .codes = codes, .code_count = 3, .vector = vector},
        {.struct_size = sizeof *records, .text = "a", .codes = more, .code_count = 4, .vector = vector},
        {.struct_size = sizeof *records, .codes = codes, .code_count = 3, .vector = vector},
        {.struct_size = sizeof *records, .text = "", .codes = codes, .code_count = 3, .vector = vector},
        {.struct_size = sizeof *records, .image = codes, .image_size = 12, .vector = vector},
        {.struct_size = sizeof *records, .image = codes, .image_size = 12, .vector = other}};
    enum { COUNT = sizeof records / sizeof *records };
    uint64_t ids[COUNT], again[COUNT];
    must(engine.add(engine.user, records, COUNT, ids));
    for (int i = 0; i < COUNT; i++) ck_assert_int_eq(ids[i] == CM3_NO_RECORD, i == 1 || i == 7);
    ck_assert_uint_eq(count_of(&engine), COUNT - 2);
    must(engine.add(engine.user, records, COUNT, again));
    for (int i = 0; i < COUNT; i++) ck_assert_uint_eq(again[i], CM3_NO_RECORD);
    ck_assert_uint_eq(count_of(&engine), COUNT - 2);
    for (int i = 0; i < COUNT; i++) {
        if (ids[i] != CM3_NO_RECORD) check_fetched(&engine, ids[i], &records[i], D, 1e-6);
    }
    /* ids may be NULL. */
    const cm3_bank_record new = {.struct_size = sizeof new, .text = "new", .vector = vector};
    must(engine.add(engine.user, &new, 1, NULL));
    ck_assert_uint_eq(count_of(&engine), COUNT - 1);
    engine.destroy(engine.user);
    drop("t_same");
}
END_TEST

START_TEST(texts_are_only_texts) {
    enum { D = 4 };
    static const char *const texts[] = {"'; DROP TABLE t_texts; --",         "$1 \\x00 \\N \\.",
                                        "\"; DELETE FROM t_texts; \"",       "tab\there\nand a line\r\n",
                                        "\xe2\x82\xac\xf0\x9f\x8e\xa8 \x01", ""};
    enum { COUNT = sizeof texts / sizeof *texts };
    test_servers s;
    servers_init(&s, "t_texts", D, 2);
    cm3_retrieval_engine engine = open_new(&s);
    const float vector[D] = {1};
    cm3_bank_record records[COUNT];
    uint64_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        records[i] = (cm3_bank_record){
            .struct_size = sizeof *records, .text = texts[i], .key = texts[(i + 1) % COUNT], .vector = vector};
    }
    must(engine.add(engine.user, records, COUNT, ids));
    for (int i = 0; i < COUNT; i++) check_fetched(&engine, ids[i], &records[i], D, 1e-6);
    ck_assert_uint_eq(count_of(&engine), COUNT);
    engine.destroy(engine.user);
    drop("t_texts");
}
END_TEST

START_TEST(records_that_are_refused) {
    enum { D = 4 };
    test_servers s;
    servers_init(&s, "t_refused", D, 1);
    cm3_retrieval_engine engine = open_new(&s);
    const float good[D] = {1}, zero[D] = {0}, nan[D] = {1, NAN}, infinite[D] = {INFINITY};
    const cm3_bank_record first = {.struct_size = sizeof first, .text = "good", .vector = good};
    const struct {
        cm3_bank_record record;
        cm3_status status;
    } bad[] = {{{.struct_size = sizeof first, .text = "x"}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .text = "x", .vector = zero}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .text = "x", .vector = nan}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .text = "x", .vector = infinite}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .vector = good}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .codes = (int32_t[]){1}, .vector = good}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = 8, .text = "x", .vector = good}, CM3_ERROR_INVALID_ARGUMENT},
               {{.struct_size = sizeof first, .text = "\xff\xfe", .vector = good}, CM3_ERROR_UTF8},
               {{.struct_size = sizeof first, .text = "x", .key = "\xc3", .vector = good}, CM3_ERROR_UTF8}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const cm3_bank_record both[] = {first, bad[i].record};
        uint64_t ids[2];
        ck_assert_msg(engine.add(engine.user, both, 2, ids) == bad[i].status, "%zu: %s", i, cm3_pgvector_message());
        ck_assert_uint_eq(count_of(&engine), 0); /* the good one is not in either */
    }
    must_fail(engine.add(engine.user, NULL, 1, NULL), CM3_ERROR_INVALID_ARGUMENT, "NULL");
    must(engine.add(engine.user, NULL, 0, NULL));
    must(engine.add(engine.user, &first, 1, NULL));
    cm3_hit hit;
    size_t found;
    must_fail(engine.search(engine.user, zero, 1, D, 1, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "zero");
    must_fail(engine.search(engine.user, nan, 1, D, 1, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "not finite");
    must_fail(engine.search(engine.user, good, 1, D + 1, 1, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "4 numbers");
    must_fail(engine.search(engine.user, good, 1, D, 0, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "65536");
    must_fail(engine.search(engine.user, good, 1, D, 70000, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "65536");
    must_fail(engine.search(engine.user, NULL, 1, D, 1, &hit, &found), CM3_ERROR_INVALID_ARGUMENT, "NULL");
    must(engine.search(engine.user, good, 0, D, 1, &hit, &found));
    must(engine.search(engine.user, good, 1, D, 1, &hit, &found));
    ck_assert_uint_eq(found, 1);
    ck_assert_double_eq_tol(hit.score, 1, 1e-6);
    engine.destroy(engine.user);
    drop("t_refused");
}
END_TEST

/* --- search --------------------------------------------------------------------------------------------------------
 */

/* Record `number` of the world, by the text that is fetched. */
static uint64_t number_of(const cm3_retrieval_engine *engine, uint64_t id) {
    cm3_bank_record *record;
    unsigned long long number;
    must(engine->fetch(engine->user, id, &record));
    ck_assert_int_eq(sscanf(record->text, "the text of record %llu", &number), 1);
    engine->release(engine->user, record);
    return number;
}

static void compare_with_bank(test_servers *s, double tolerance) {
    enum { COUNT = 2000, QUERIES = 20, K = 10, D = 64 };
    cm3_retrieval_engine engine = open_new(s);
    uint64_t *ids = malloc(COUNT * sizeof *ids);
    add_made(&engine, 7, 0, COUNT, D, ids);
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_F32, D);
    ck_assert_int_eq(add_records(bank, 7, 0, COUNT, D, NULL), CM3_OK);
    float queries[QUERIES * D];
    for (int i = 0; i < QUERIES; i++) {
        made_record made;
        make_record(&made, 8, (uint64_t)i, D);
        memcpy(queries + i * D, made.vector, D * sizeof(float));
    }
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = K;
    cm3_hit expected[QUERIES * K], got[QUERIES * K];
    size_t found[QUERIES];
    ck_assert_int_eq(cm3_bank_search(bank, queries, QUERIES, &options, expected, NULL), CM3_OK);
    must(engine.search(engine.user, queries, QUERIES, D, K, got, found));
    ck_assert_uint_eq(last_search().answered, 2);
    ck_assert_uint_eq(last_search().by_replicas, 0);
    ck_assert_str_eq(cm3_pgvector_message(), "");
    int same = 0;
    for (int i = 0; i < QUERIES * K; i++) {
        ck_assert_uint_eq(found[i / K], K);
        ck_assert_double_eq_tol(got[i].score, expected[i].score, tolerance);
        same += number_of(&engine, got[i].id) == expected[i].id;
    }
    /* Where scores differ by less than their precision, two may have changed places. */
    ck_assert_int_ge(same, tolerance < 1e-5 ? QUERIES * K : QUERIES * K * 9 / 10);
    /* More than there are: all of them, each once. */
    cm3_hit *all = malloc((COUNT + 500) * sizeof *all);
    char *seen = calloc(2 * COUNT + 200, 1);
    must(engine.search(engine.user, queries, 1, D, COUNT + 500, all, found));
    ck_assert_uint_eq(*found, COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(i == 0 || all[i].score <= all[i - 1].score);
        ck_assert(all[i].id < 2 * COUNT + 200 && !seen[all[i].id]++);
    }
    free(all);
    free(seen);
    free(ids);
    cm3_bank_destroy(bank);
    engine.destroy(engine.user);
    drop(s->options.table);
}

START_TEST(search_equals_the_banks) {
    test_servers s;
    servers_init(&s, "t_search", 64, 2);
    compare_with_bank(&s, 2e-6);
}
END_TEST

START_TEST(search_in_16_bits) {
    test_servers s;
    servers_init(&s, "t_half", 64, 2);
    s.options.halfvec = 1;
    compare_with_bank(&s, 2e-3);
}
END_TEST

enum { QUERIES = 100, NEAREST = 10, TOGETHER = 2000 };

/* The same vectors in a store and in a bank of f32. numbers [2 * count] tells where in the bank what has that id is. */
static void fill(const cm3_retrieval_engine *engine, cm3_bank *bank, const bench_vector_data *data, int count,
                 int *numbers) {
    const size_t d = (size_t)data->dimension;
    float *vectors = malloc(TOGETHER * d * sizeof *vectors);
    cm3_bank_record records[TOGETHER];
    char texts[TOGETHER][24];
    uint64_t ids[TOGETHER];
    for (int first = 0; first < count; first += TOGETHER) {
        bench_vectors(data, (uint64_t)first, TOGETHER, vectors);
        for (int i = 0; i < TOGETHER; i++) {
            snprintf(texts[i], sizeof *texts, "%d", first + i);
            records[i] =
                (cm3_bank_record){.struct_size = sizeof *records, .text = texts[i], .vector = vectors + (size_t)i * d};
        }
        must(engine->add(engine->user, records, TOGETHER, ids));
        ck_assert_int_eq(cm3_bank_add(bank, records, TOGETHER, NULL, NULL), CM3_OK);
        for (int i = 0; i < TOGETHER; i++) {
            ck_assert_uint_lt(ids[i], 2 * (uint64_t)count);
            numbers[ids[i]] = first + i;
        }
    }
    free(vectors);
}

/* The share of the bank's hits, which are exact, that are among the store's. */
static double recall(const cm3_hit *got, const cm3_hit *expected, int queries, const int *numbers) {
    int same = 0;
    for (int i = 0; i < queries * NEAREST; i++) {
        for (int j = 0; j < NEAREST; j++) {
            same += (uint64_t)numbers[got[i].id] == expected[i / NEAREST * NEAREST + j].id;
        }
    }
    return same / (double)(queries * NEAREST);
}

START_TEST(the_index_finds_what_is_near) {
    const bool is_long = getenv("CM3_TEST_LONG") != NULL;
    const int count = is_long ? 100000 : 4000, d = is_long ? 512 : 128;
    test_servers s;
    servers_init(&s, "t_index", d, 2);
    s.options.halfvec = _i;
    s.options.timeout_ms = 600000;
    s.options.build_memory_mb = 400;
    s.options.ef_search = is_long ? 200 : 100;
    /* So few are scanned faster than looked up, as the planner knows. */
    char strings[2][512];
    for (int i = 0; i < 2 && !is_long; i++) {
        snprintf(strings[i], sizeof *strings, "%s options='-c enable_seqscan=off'", s.shards[i].primary);
        s.shards[i].primary = strings[i];
    }
    cm3_retrieval_engine engine = open_new(&s);
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_F32, d);
    bench_vector_data data;
    ck_assert_int_eq(bench_vector_data_make(fixture.context, d, 3, &data), CM3_OK);
    int *numbers = calloc(2 * (size_t)count, sizeof *numbers);
    double began = seconds();
    fill(&engine, bank, &data, count, numbers);
    const double added = seconds() - began;
    began = seconds();
    must(cm3_pgvector_build_index(engine.user));
    must(cm3_pgvector_build_index(engine.user)); /* there is one already */
    const double built = seconds() - began;
    cm3_pgvector_info info = {.struct_size = sizeof info};
    must(cm3_pgvector_get_info(engine.user, &info));
    ck_assert_uint_eq(info.records, (uint64_t)count);
    ck_assert_int_eq(info.indexed, 1);
    ck_assert_int_eq(info.halfvec, _i);
    ck_assert_uint_eq(info.shards, 2);
    float *queries = malloc(QUERIES * (size_t)d * sizeof *queries);
    bench_vectors(&data, BENCH_QUERIES_FROM, QUERIES, queries);
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = NEAREST;
    static cm3_hit expected[QUERIES * NEAREST], got[QUERIES * NEAREST], few[QUERIES * NEAREST];
    size_t found[QUERIES];
    ck_assert_int_eq(cm3_bank_search(bank, queries, QUERIES, &options, expected, NULL), CM3_OK);
    must(engine.search(engine.user, queries, QUERIES, d, NEAREST, got, found));
    const double cold = last_search().milliseconds / QUERIES;
    must(engine.search(engine.user, queries, QUERIES, d, NEAREST, got, found));
    const double warm = last_search().milliseconds / QUERIES, share = recall(got, expected, QUERIES, numbers);
    s.options.exact = 1;
    cm3_retrieval_engine exact = open_again(&s);
    must(exact.search(exact.user, queries, 5, d, NEAREST, few, found));
    printf("# %s(%d), %d records on 2 shards: added in %.1f s, index in %.1f s, %.0f MB; ef_search %d: recall@10 %.4f, "
           "%.2f ms a query (%.2f at first); exact %.0f ms\n",
           _i ? "halfvec" : "vector", d, count, added, built, (double)info.bytes / 1e6, s.options.ef_search, share,
           warm, cold, last_search().milliseconds / 5);
    ck_assert_double_ge(share, 0.95);
    ck_assert_double_ge(recall(few, expected, 5, numbers), _i ? 0.95 : 1);
    /* More than ef_search. */
    cm3_hit many[600];
    must(engine.search(engine.user, queries, 1, d, 600, many, found));
    ck_assert_uint_eq(*found, 600);
    for (int i = 1; i < 600; i++) ck_assert(many[i].score <= many[i - 1].score);
    bench_vector_data_clear(fixture.context, &data);
    cm3_bank_destroy(bank);
    free(queries);
    free(numbers);
    /* What a connection used is counted when it ends: the exact one used no index. The 600 may be cheaper without. */
    exact.destroy(exact.user);
    engine.destroy(engine.user);
    const char *scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 't_index_hnsw'";
    for (began = seconds(); atoi(ask("SHARD0", scans)) < 2 * QUERIES && seconds() - began < 10;) usleep(50000);
    ck_assert_int_ge(atoi(ask("SHARD0", scans)), 2 * QUERIES);
    ck_assert_int_le(atoi(ask("SHARD0", scans)), 2 * QUERIES + 1);
    drop("t_index");
}
END_TEST

/* --- under a retriever ---------------------------------------------------------------------------------------------
 */

START_TEST(under_a_retriever) {
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(fixture.context, CM3_TEST_DATA "/parity/clip", NULL, &model), CM3_OK);
    cm3_encoder_identity identity = {.struct_size = sizeof identity};
    ck_assert_int_eq(cm3_model_encoder_identity(model, &identity), CM3_OK);
    ck_assert_int_eq(cm3_model_encoder_identity(NULL, &identity), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_options bank_options;
    cm3_bank_options_init(&bank_options);
    bank_options.model = model;
    cm3_bank *bank;
    ck_assert_int_eq(cm3_bank_create(fixture.context, test_path(&fixture, "a.bank"), &bank_options, &bank), CM3_OK);
    const cm3_bank_info info = info_of(bank);
    ck_assert_mem_eq(info.encoder_hash, identity.encoder_hash, sizeof info.encoder_hash);
    ck_assert_int_eq(info.dimension, identity.dimension);
    cm3_bank_destroy(bank);
    test_servers s;
    servers_init(&s, "t_retriever", 0, 2);
    s.options.identity = &identity;
    s.options.encoder_name = "parity/clip";
    const cm3_retrieval_engine engine = open_new(&s);
    cm3_retriever *retriever;
    ck_assert_int_eq(cm3_retriever_create_with(model, &engine, &retriever), CM3_OK);
    enum { COUNT = 40 };
    char texts[COUNT][32];
    cm3_retrieval_item items[COUNT];
    uint64_t ids[COUNT], count;
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof *texts, "number %d of %d", i, COUNT);
        items[i] = (cm3_retrieval_item){.struct_size = sizeof *items, .text = texts[i]};
    }
    ck_assert_msg(cm3_retriever_add(retriever, items, COUNT, ids) == CM3_OK, "%s",
                  cm3_context_message(fixture.context));
    ck_assert_int_eq(cm3_retriever_count(retriever, &count), CM3_OK);
    ck_assert_uint_eq(count, COUNT);
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = 1;
    for (int i = 0; i < COUNT; i += 7) {
        cm3_hit hit;
        ck_assert_int_eq(cm3_retriever_search(retriever, &items[i], 1, &options, &hit, NULL), CM3_OK);
        ck_assert_uint_eq(hit.id, ids[i]);
        ck_assert_double_eq_tol(hit.score, 1, 1e-5);
    }
    cm3_bank_record *record;
    ck_assert_int_eq(cm3_retriever_fetch(retriever, 1000000, &record), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(fixture.context), "there is no record 1000000"));
    cm3_retriever_destroy(retriever); /* closes the store */
    cm3_model_destroy(model);
    drop("t_retriever");
}
END_TEST

Suite *store_suite(void) {
    Suite *suite = suite_create("pgvector/store");
    TCase *cases = tcase_create("store");
    tcase_add_checked_fixture(cases, up, down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, what_is_added_is_fetched);
    tcase_add_test(cases, the_same_is_kept_once);
    tcase_add_test(cases, texts_are_only_texts);
    tcase_add_test(cases, records_that_are_refused);
    tcase_add_test(cases, search_equals_the_banks);
    tcase_add_test(cases, search_in_16_bits);
    tcase_add_test(cases, under_a_retriever);
    suite_add_tcase(suite, cases);
    TCase *slow = tcase_create("index");
    tcase_add_checked_fixture(slow, up, down);
    tcase_set_timeout(slow, 1800);
    tcase_add_loop_test(slow, the_index_finds_what_is_near, 0, 2);
    suite_add_tcase(suite, slow);
    return suite;
}
