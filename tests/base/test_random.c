/* Philox against the known answers published with Random123 (kat_vectors), and what is drawn from it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "suites.h"

START_TEST(known_answers) {
    static const struct {
        uint64_t key, low, high;
        uint32_t out[4];
    } cases[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        uint32_t out[4];
        cm3_philox(cases[i].key, cases[i].low, cases[i].high, out);
        ck_assert_mem_eq(out, cases[i].out, sizeof out);
    }
}
END_TEST

START_TEST(stream_goes_on_from_its_state) {
    cm3_random random = cm3_random_make(7, 9);
    cm3_random_u64(&random);
    cm3_random_normal(&random);
    cm3_random saved = random;
    uint64_t next[5];
    for (int i = 0; i < 5; ++i) next[i] = cm3_random_u64(&random);
    for (int i = 0; i < 5; ++i) ck_assert_uint_eq(cm3_random_u64(&saved), next[i]);
    cm3_random other = cm3_random_make(7, 10);
    ck_assert_uint_ne(cm3_random_u64(&other), cm3_random_u64(&(cm3_random){7, 9, 0}));
}
END_TEST

START_TEST(uniform) {
    cm3_random random = cm3_random_make(1, 2);
    double sum = 0, squares = 0;
    const int n = 200000;
    for (int i = 0; i < n; ++i) {
        double value = cm3_random_uniform(&random);
        ck_assert(value >= 0 && value < 1);
        sum += value;
        squares += value * value;
    }
    ck_assert_double_eq_tol(sum / n, 0.5, 0.003);
    ck_assert_double_eq_tol(squares / n, 1.0 / 3, 0.003);
}
END_TEST

START_TEST(normal) {
    cm3_random random = cm3_random_make(3, 4);
    double sum = 0, squares = 0, fourths = 0;
    const int n = 200000;
    int beyond = 0;
    for (int i = 0; i < n; ++i) {
        double value = cm3_random_normal(&random);
        ck_assert(isfinite(value));
        sum += value;
        squares += value * value;
        fourths += value * value * value * value;
        beyond += fabs(value) > 1.959964;
    }
    ck_assert_double_eq_tol(sum / n, 0, 0.01);
    ck_assert_double_eq_tol(squares / n, 1, 0.015);
    ck_assert_double_eq_tol(fourths / n, 3, 0.12);
    ck_assert_double_eq_tol((double)beyond / n, 0.05, 0.002);
}
END_TEST

START_TEST(below) {
    cm3_random random = cm3_random_make(5, 6);
    int counts[7] = {0};
    for (int i = 0; i < 70000; ++i) {
        uint64_t value = cm3_random_below(&random, 7);
        ck_assert_uint_lt(value, 7);
        ++counts[value];
    }
    for (int i = 0; i < 7; ++i) ck_assert_int_lt(abs(counts[i] - 10000), 400);
    for (int i = 0; i < 100; ++i) ck_assert_uint_eq(cm3_random_below(&random, 1), 0);
    /* Three quarters of 2^64: a plain remainder would give the lower half twice as often as the rest. */
    const uint64_t n = UINT64_C(3) << 62;
    int low = 0;
    for (int i = 0; i < 30000; ++i) low += cm3_random_below(&random, n) < UINT64_C(1) << 62;
    ck_assert_int_lt(abs(low - 10000), 400);
}
END_TEST

START_TEST(seeds_differ) {
    uint64_t a = cm3_random_seed(), b = cm3_random_seed();
    ck_assert_uint_ne(a, 0);
    ck_assert_uint_ne(b, 0);
    ck_assert_uint_ne(a, b);
}
END_TEST

Suite *random_suite(void) {
    Suite *suite = suite_create("random");
    TCase *tests = tcase_create("random");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, known_answers);
    tcase_add_test(tests, stream_goes_on_from_its_state);
    tcase_add_test(tests, uniform);
    tcase_add_test(tests, normal);
    tcase_add_test(tests, below);
    tcase_add_test(tests, seeds_differ);
    suite_add_tcase(suite, tests);
    return suite;
}
