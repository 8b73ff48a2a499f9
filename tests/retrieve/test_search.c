/* Search against a plain computation in double precision. */
#include "suites.h"
#include "support.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/* Inner products of a query with records as the bank gives them back. */
static double *plain_scores(const cm3_bank *bank, uint64_t count, const float *query, int64_t d) {
    double *scores = malloc(count * sizeof *scores), length = 0;
    for (int64_t i = 0; i < d; i++) length += (double)query[i] * query[i];
    for (uint64_t id = 0; id < count; id++) {
        cm3_bank_record *record;
        scores[id] = -3;
        if (cm3_bank_get(bank, id, &record) != CM3_OK) continue;
        scores[id] = 0;
        for (int64_t i = 0; i < d; i++) scores[id] += (double)query[i] * record->vector[i];
        scores[id] /= sqrt(length);
        cm3_bank_record_destroy(bank, record);
    }
    return scores;
}

/* The hits are the best k: no record that is left out is better than the last of them. */
static void check_hits(const cm3_hit *hits, size_t found, size_t k, const double *scores, uint64_t count,
                       size_t expected) {
    ck_assert_uint_eq(found, expected);
    double worst = 2;
    for (size_t i = 0; i < found; i++) {
        ck_assert_uint_lt(hits[i].id, count);
        ck_assert_double_eq_tol(hits[i].score, scores[hits[i].id], 2e-6);
        ck_assert_double_le(hits[i].score, worst);
        worst = hits[i].score;
        size_t again = 0; /* an assertion each would take minutes */
        for (size_t j = 0; j < i; j++) again += hits[i].id == hits[j].id;
        ck_assert_uint_eq(again, 0);
    }
    for (size_t i = found; i < k; i++) ck_assert(hits[i].id == CM3_NO_RECORD && hits[i].score == -2);
    size_t better = 0;
    for (uint64_t id = 0; id < count; id++) better += scores[id] > worst + 2e-6;
    if (expected == k) ck_assert_uint_lt(better, k);
}

static const cm3_vector_type types[] = {CM3_VECTORS_F32, CM3_VECTORS_BF16, CM3_VECTORS_INT8};

START_TEST(the_best_are_found) {
    cm3_random random = cm3_random_make(77, (uint64_t)_i);
    for (int round = 0; round < test_rounds(6); round++) {
        const cm3_vector_type type = types[_i];
        int64_t d = 1 + (int64_t)cm3_random_below(&random, 200);
        if (type == CM3_VECTORS_INT8) d = 32 * (1 + d % 8);
        char name[32];
        snprintf(name, sizeof name, "%d.bank", round);
        cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, name), type, (int32_t)d);
        uint64_t count = 0;
        for (int batch = 0; batch < 4; batch++) {
            const size_t more = 1 + (size_t)cm3_random_below(&random, batch ? 700 : 5);
            ck_assert_int_eq(add_records(bank, (uint64_t)round, count, more, d, NULL), CM3_OK);
            count += more;
        }
        uint64_t gone[20];
        for (int i = 0; i < 20; i++) gone[i] = cm3_random_below(&random, count);
        ck_assert_int_eq(cm3_bank_delete(bank, gone, 20), CM3_OK);
        const uint64_t live = info_of(bank).records;

        const size_t queries = 1 + (size_t)cm3_random_below(&random, 70);
        cm3_search_options options;
        cm3_search_options_init(&options);
        options.k = 1 + (int32_t)cm3_random_below(&random, round % 2 ? 20 : 3000);
        const size_t k = (size_t)options.k;
        float *query = malloc(queries * (size_t)d * sizeof *query);
        for (size_t i = 0; i < queries * (size_t)d; i++) query[i] = 3 * (float)cm3_random_normal(&random);
        cm3_hit *hits = malloc(queries * k * sizeof *hits), *alone = malloc(k * sizeof *alone);
        size_t found[80], once;
        ck_assert_msg(cm3_bank_search(bank, query, queries, &options, hits, found) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        for (size_t q = 0; q < queries; q += 7) {
            double *scores = plain_scores(bank, count, query + (int64_t)q * d, d);
            check_hits(hits + q * k, found[q], k, scores, count, live < k ? live : k);
            /* Alone it finds the same, to the bit. */
            ck_assert_int_eq(cm3_bank_search(bank, query + (int64_t)q * d, 1, &options, alone, &once), CM3_OK);
            ck_assert_uint_eq(once, found[q]);
            for (size_t i = 0; i < once; i++) {
                ck_assert_uint_eq(alone[i].id, hits[q * k + i].id);
                ck_assert_float_eq(alone[i].score, hits[q * k + i].score);
            }
            free(scores);
        }
        free(query);
        free(hits);
        free(alone);
        cm3_bank_destroy(bank);
    }
}
END_TEST

static int only_thirds(void *user, uint64_t id) {
    (void)user;
    return id % 3 == 0;
}

START_TEST(a_filter_leaves_out) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_BF16, 8);
    ck_assert_int_eq(add_records(bank, 5, 0, 100, 8, NULL), CM3_OK);
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = 50;
    options.filter = only_thirds;
    cm3_hit hits[50];
    const float query[8] = {1, 2, 3};
    size_t found;
    ck_assert_int_eq(cm3_bank_search(bank, query, 1, &options, hits, &found), CM3_OK);
    ck_assert_uint_eq(found, 34);
    for (size_t i = 0; i < found; i++) ck_assert_uint_eq(hits[i].id % 3, 0);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(equal_scores_come_in_order) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_F32, 2);
    const float vector[2] = {1, 0};
    for (int i = 0; i < 40; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        const cm3_bank_record record = {.struct_size = sizeof record, .text = text, .vector = vector};
        ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_OK);
    }
    cm3_hit hits[10];
    ck_assert_int_eq(cm3_bank_search(bank, vector, 1, NULL, hits, NULL), CM3_OK);
    for (uint64_t i = 0; i < 10; i++) ck_assert_uint_eq(hits[i].id, i);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(bad_queries_are_refused) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_F32, 2);
    cm3_hit hits[10];
    const float query[2] = {1, 0}, zero[2] = {0}, bad[2] = {NAN, 0};
    size_t found = 5;
    ck_assert_int_eq(cm3_bank_search(bank, query, 1, NULL, hits, &found), CM3_OK); /* of an empty bank */
    ck_assert_uint_eq(found, 0);
    ck_assert_int_eq(cm3_bank_search(bank, zero, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_search(bank, bad, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_search(bank, NULL, 1, NULL, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_search(bank, query, 1, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_search_options options;
    cm3_search_options_init(&options);
    for (options.k = 0; options.k <= 65537; options.k += 65537) {
        ck_assert_int_eq(cm3_bank_search(bank, query, 1, &options, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_bank_destroy(bank);
}
END_TEST

Suite *search_suite(void) {
    Suite *suite = suite_create("search");
    TCase *tests = tcase_create("search");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, the_best_are_found, 0, 3);
    tcase_add_test(tests, a_filter_leaves_out);
    tcase_add_test(tests, equal_scores_come_in_order);
    tcase_add_test(tests, bad_queries_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
