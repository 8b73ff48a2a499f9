/* The codebook's running averages against NumPy's, and the revival of entries that none chooses. */
#include <math.h>

#include "support.h"
#include "train/codebook.h"

enum { ENTRIES = 6, WIDTH = 4, COUNT = 40 };

static test_fixture fixture;
static float rows[ENTRIES * WIDTH];
static cm3_codebook codebook;
static cm3_safetensors *numbers;

static void up(void) {
    test_fixture_up(&fixture);
    numbers = test_numbers(&fixture);
    const float *z = test_floats(numbers, "ema.z");
    memcpy(rows, z, sizeof rows);
    test_ok(&fixture, cm3_codebook_init(fixture.context, rows, ENTRIES, WIDTH, &codebook));
    memcpy(codebook.sums, rows, sizeof rows);
    for (int i = 0; i < ENTRIES; i++) codebook.counts[i] = 1;
}

static void down(void) {
    cm3_codebook_clear(&codebook);
    cm3_safetensors_close(numbers);
    test_fixture_down(&fixture);
}

/** A batch in two parts; how many entries it used. */
static int64_t update(const float *z, const int32_t *codes, bool learned, float decay, float threshold,
                      cm3_random *random) {
    const cm3_codebook_rule rule = {.learned = learned, .decay = decay, .threshold = threshold};
    int64_t used;
    cm3_codebook_begin(&codebook);
    test_ok(&fixture, cm3_codebook_add(&codebook, z, codes, COUNT / 4));
    test_ok(&fixture, cm3_codebook_add(&codebook, z + COUNT / 4 * WIDTH, codes + COUNT / 4, COUNT - COUNT / 4));
    test_ok(&fixture, cm3_codebook_update(&codebook, &rule, random, &used));
    return used;
}

START_TEST(averages) {
    cm3_random random = cm3_random_make(1, 1);
    for (int i = 0; i < 3; i++) {
        const float *z = test_floats(numbers, "ema.z") + i * COUNT * WIDTH;
        const int32_t *codes = test_ints(numbers, "ema.codes") + i * COUNT;
        ck_assert_int_eq(update(z, codes, false, 0.9f, 0, &random), ENTRIES);
        const float *expected = test_floats(numbers, "ema.rows.%d", i),
                    *counts = test_floats(numbers, "ema.counts.%d", i);
        for (int k = 0; k < ENTRIES * WIDTH; k++) ck_assert_float_eq_tol(rows[k], expected[k], 2e-6f);
        for (int k = 0; k < ENTRIES; k++) ck_assert_float_eq_tol(codebook.counts[k], counts[k], 2e-6f);
    }
}
END_TEST

/** Whether the row is one of the latents, bit for bit. */
static bool is_latent(const float *row, const float *z) {
    for (int i = 0; i < COUNT; i++) {
        if (memcmp(row, z + i * WIDTH, WIDTH * sizeof(float)) == 0) return true;
    }
    return false;
}

START_TEST(revival) {
    const float *z = test_floats(numbers, "ema.z") + COUNT * WIDTH;
    int32_t codes[COUNT] = {0};
    for (int learned = 0; learned < 2; learned++) {
        for (int i = 0; i < ENTRIES; i++) codebook.counts[i] = 1;
        memset(rows + WIDTH, 0, sizeof rows - sizeof(float) * WIDTH);
        float first[WIDTH];
        memcpy(first, rows, sizeof first);
        cm3_random random = cm3_random_make(2, 2);
        ck_assert_int_eq(update(z, codes, learned, 0.5f, 0.6f, &random), 1);
        for (int i = 1; i < ENTRIES; i++) {
            ck_assert(is_latent(rows + i * WIDTH, z));
            ck_assert(codebook.counts[i] == 1);
        }
        ck_assert(!is_latent(rows, z)); /* the one in use stays */
        if (learned) ck_assert_mem_eq(rows, first, sizeof first);
    }
    /* Above the threshold none is touched. */
    float before[ENTRIES * WIDTH];
    memcpy(before, rows, sizeof before);
    cm3_random random = cm3_random_make(2, 3);
    update(z, codes, true, 0.5f, 0.4f, &random);
    ck_assert_mem_eq(before, rows, sizeof before);
}
END_TEST

START_TEST(seeding) {
    const float *z = test_floats(numbers, "ema.z");
    float again[ENTRIES * WIDTH];
    cm3_random random = cm3_random_make(4, 4);
    test_ok(&fixture, cm3_codebook_seed(&codebook, NULL, z, COUNT, &random));
    for (int i = 0; i < ENTRIES; i++) ck_assert(is_latent(rows + i * WIDTH, z));
    memcpy(again, rows, sizeof again);
    random = cm3_random_make(4, 4);
    test_ok(&fixture, cm3_codebook_seed(&codebook, NULL, z, COUNT, &random));
    ck_assert_mem_eq(again, rows, sizeof again);
}
END_TEST

Suite *codebook_suite(void) {
    Suite *suite = suite_create("codebook");
    TCase *tcase = tcase_create("codebook");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, averages);
    tcase_add_test(tcase, revival);
    tcase_add_test(tcase, seeding);
    suite_add_tcase(suite, tcase);
    return suite;
}
