/* The sampler's rules against the values of Hugging Face's warpers, and its draws against their probabilities. */
#include <math.h>

#include "cm3leon/sampler.h"
#include "files/safetensors.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture f;

static void setup(void) {
    test_fixture_up(&f);
}

static void teardown(void) {
    test_fixture_down(&f);
}

/** Hugging Face's chain on one row: repetition penalty 1.2 over the prompt's ids, temperature 0.7, top-p 0.9. */
START_TEST(test_published_warpers) {
    cm3_file *file = NULL;
    cm3_safetensors *reference = NULL;
    ck_assert_int_eq(cm3_file_open(f.context, CM3_TEST_DATA "/parity/ref/chameleon.safetensors", &file), CM3_OK);
    ck_assert_int_eq(cm3_safetensors_open(f.context, file, &reference), CM3_OK);
    const cm3_entry *ids = cm3_safetensors_find(reference, "text.input_ids");
    const char *const names[] = {"warp.after_repetition_1.2", "warp.after_temperature_0.7", "warp.after_top_p_0.9"};
    int32_t history[64], token;
    for (int64_t i = 0; i < ids->count; i++) history[i] = (int32_t)((const int64_t *)ids->data)[i];
    for (int links = 1; links <= 3; links++) {
        cm3_sampler *sampler = NULL;
        float logits[600];
        memcpy(logits, cm3_safetensors_find(reference, "warp.input")->data, sizeof logits);
        ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
        ck_assert_int_eq(cm3_sampler_add_repetition_penalty(sampler, 1.2f), CM3_OK);
        if (links > 1) ck_assert_int_eq(cm3_sampler_add_temperature(sampler, 0.7f), CM3_OK);
        if (links > 2) ck_assert_int_eq(cm3_sampler_add_top_p(sampler, 0.9f), CM3_OK);
        ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 600, history, (size_t)ids->count, 1, 0, 0, &token),
                         CM3_OK);
        const float *wanted = cm3_safetensors_find(reference, names[links - 1])->data;
        for (int i = 0; i < 600; i++) {
            if (isinf(wanted[i]) || wanted[i] < -1e30f) {
                ck_assert_msg(isinf(logits[i]) || logits[i] < -1e30f, "link %d, token %d should be out", links, i);
            } else {
                ck_assert_msg(fabsf(logits[i] - wanted[i]) <= 1e-4f, "link %d, token %d: %g, wanted %g", links, i,
                              (double)logits[i], (double)wanted[i]);
            }
        }
        cm3_sampler_destroy(sampler);
    }
    cm3_safetensors_close(reference);
    cm3_file_release(file);
}
END_TEST

START_TEST(test_greedy_and_top_k) {
    cm3_sampler *sampler = NULL;
    int32_t token;
    ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
    ck_assert_int_eq(cm3_sampler_add_top_k(sampler, 2), CM3_OK);
    float logits[] = {1, 3, 2, 3, -1};
    ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 5, NULL, 0, 9, 0, 0, &token), CM3_OK);
    ck_assert(isinf(logits[0]) && isinf(logits[2]) && isinf(logits[4]) && !isinf(logits[1]) && !isinf(logits[3]));
    ck_assert_int_eq(cm3_sampler_add_temperature(sampler, 0), CM3_OK);
    ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 5, NULL, 0, 9, 0, 0, &token), CM3_OK);
    ck_assert_int_eq(token, 1);
    cm3_sampler_destroy(sampler);
}
END_TEST

START_TEST(test_draws_follow_the_probabilities) {
    cm3_sampler *sampler = NULL;
    const double wanted[] = {0.5, 0.3, 0.15, 0.05};
    int counts[4] = {0}, draws = 20000;
    ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
    for (int i = 0; i < draws; i++) {
        float logits[4];
        int32_t token;
        for (int k = 0; k < 4; k++) logits[k] = (float)log(wanted[k]);
        ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 4, NULL, 0, 42, (uint32_t)i % 7, (uint32_t)i / 7, &token),
                         CM3_OK);
        counts[token]++;
    }
    double chi = 0;
    for (int k = 0; k < 4; k++) chi += pow(counts[k] - draws * wanted[k], 2) / (draws * wanted[k]);
    ck_assert_msg(chi < 16.27, "chi-square %g", chi); /* 3 degrees of freedom, p = 0.001 */
    cm3_sampler_destroy(sampler);
}
END_TEST

/* Temperatures down to the smallest float are all but greedy; a penalty that leaves no finite logit is refused. */
START_TEST(test_tiny_temperature) {
    static const float tiny[] = {1e-3f, 1e-7f, 1e-30f, 1e-38f, 1e-45f};
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) {
        cm3_sampler *sampler = NULL;
        ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
        ck_assert_int_eq(cm3_sampler_add_temperature(sampler, tiny[i]), CM3_OK);
        ck_assert_int_eq(cm3_sampler_add_top_p(sampler, 0.9f), CM3_OK);
        float logits[] = {5, 9, 8, -INFINITY, 8.5f};
        int32_t token;
        ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 5, NULL, 0, 3, 0, 0, &token), CM3_OK);
        ck_assert_int_eq(token, 1);
        cm3_sampler_destroy(sampler);
    }
    cm3_sampler *sampler = NULL;
    float logits[] = {5, 9};
    const int32_t history[] = {0};
    int32_t token;
    ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
    ck_assert_int_eq(cm3_sampler_add_repetition_penalty(sampler, 1e-40f), CM3_OK);
    ck_assert_int_eq(cm3_sampler_sample(sampler, logits, 2, history, 1, 3, 0, 0, &token), CM3_ERROR_INVALID_ARGUMENT);
    cm3_sampler_destroy(sampler);
}
END_TEST

START_TEST(test_out_of_range) {
    cm3_sampler *sampler = NULL;
    ck_assert_int_eq(cm3_sampler_create(NULL, &sampler), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_create(f.context, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
    ck_assert_int_eq(cm3_sampler_add_temperature(sampler, -1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_temperature(sampler, NAN), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_top_k(sampler, 0), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_top_p(sampler, 0), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_top_p(sampler, 1.5f), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_repetition_penalty(sampler, 0), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_rule(sampler, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_add_temperature(NULL, 1), CM3_ERROR_INVALID_ARGUMENT);
    float none[] = {-INFINITY, -INFINITY}, bad[] = {NAN, 1};
    int32_t token;
    ck_assert_int_eq(cm3_sampler_sample(sampler, none, 2, NULL, 0, 1, 0, 0, &token), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_sample(sampler, bad, 2, NULL, 0, 1, 0, 0, &token), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_sampler_sample(sampler, NULL, 2, NULL, 0, 1, 0, 0, &token), CM3_ERROR_INVALID_ARGUMENT);
    cm3_sampler_destroy(sampler);
    cm3_sampler_destroy(NULL);
}
END_TEST

Suite *sampler_suite(void) {
    Suite *suite = suite_create("sampler");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, test_published_warpers);
    tcase_add_test(all, test_greedy_and_top_k);
    tcase_add_test(all, test_draws_follow_the_probabilities);
    tcase_add_test(all, test_tiny_temperature);
    tcase_add_test(all, test_out_of_range);
    suite_add_tcase(suite, all);
    return suite;
}
