/* Products in fixed point of every level against sums of integers and in double. */
#include "kernel_cases.h"
#include "suites.h"

/** A row of length `length`. */
static void some_row(numbers_state *numbers, float *row, int64_t k, double length) {
    double square = 0;
    for (int64_t i = 0; i < k; i++) row[i] = next_number(numbers, 1.0f);
    for (int64_t i = 0; i < k; i++) square += (double)row[i] * row[i];
    for (int64_t i = 0; i < k; i++) row[i] = (float)(row[i] * length / sqrt(square));
}

/** The integer that stands for a number: the nearest, of two the even one. */
static int64_t fixed_number(float value) {
    const double scaled = fmin(32767, fmax(-32768, (double)value * 32768));
    return (int64_t)nearbyint(scaled);
}

static int16_t *fixed_memory(int64_t rows, int64_t k) {
    int16_t *memory = NULL;
    ck_assert_int_eq(posix_memalign((void **)&memory, 32, (size_t)cm3_fixed_size(rows, k) * sizeof *memory), 0);
    return memory;
}

static void check_products(const cm3_kernels *kernels, numbers_state *numbers, int64_t rows, int64_t n, int64_t k) {
    const int64_t ldy = n + next_below(numbers, 3);
    float *x = block((size_t)(rows * k) * sizeof *x), *w = block((size_t)(n * k) * sizeof *w);
    for (int64_t r = 0; r < rows; r++) some_row(numbers, x + r * k, k, 1);
    for (int64_t j = 0; j < n; j++) some_row(numbers, w + j * k, k, j % 5 ? 1 : 0.5);
    /* One of x is a row of w, of which no product is larger. */
    if (n > 1) memcpy(x, w + k, (size_t)k * sizeof *x);
    uint16_t *wb = rounded(w, n * k);
    int16_t *fixed = fixed_memory(rows, k), *scratch = fixed_memory(CM3_FIXED_BLOCK, k);
    float *y = some(numbers, (rows - 1) * ldy + n, 1.0f), *y0 = copy_of(y, (rows - 1) * ldy + n);
    kernels->fix_rows(fixed, x, rows, k);
    kernels->fixed_products(y, ldy, fixed, rows, wb, k, n, scratch);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < n; j++) {
            int64_t sum = 0;
            double exact = 0;
            for (int64_t i = 0; i < k; i++) {
                const float value = cm3_bf16_to_f32(wb[j * k + i]);
                sum += fixed_number(x[r * k + i]) * fixed_number(value);
                exact += (double)x[r * k + i] * value;
            }
            ck_assert_float_eq(y[r * ldy + j], (float)(int32_t)sum * 0x1p-30f);
            expect(kernels, "fixed_products", r * ldy + j, y[r * ldy + j], exact, 7e-5);
        }
        for (int64_t j = n; j < ldy && r + 1 < rows; j++) ck_assert_float_eq(y[r * ldy + j], y0[r * ldy + j]);
    }
    free(x), free(w), free(wb), free(fixed), free(scratch), free(y), free(y0);
}

START_TEST(fixed_products) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels || !kernels->fixed_products) return;
    numbers_state numbers = {61};
    for (int t = 0; t < 200; t++) {
        const int64_t k = next_size(&numbers) * (1 + next_below(&numbers, 3));
        check_products(kernels, &numbers, 1 + next_below(&numbers, 40), next_size(&numbers), k);
    }
    check_products(kernels, &numbers, 32, 77, 1536);
}
END_TEST

/** Where something is wrong with a matrix, only what belongs to the wrong rows is. */
START_TEST(fixed_products_of_no_numbers) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels || !kernels->fixed_products) return;
    enum { N = 40, K = 70, ROWS = 9 };
    numbers_state numbers = {67};
    float *x = block(ROWS * K * sizeof *x), *w = block(N * K * sizeof *w), good[ROWS * N], bad[ROWS * N];
    for (int r = 0; r < ROWS; r++) some_row(&numbers, x + (size_t)r * K, K, 1);
    for (int j = 0; j < N; j++) some_row(&numbers, w + (size_t)j * K, K, 1);
    uint16_t *wb = rounded(w, N * K);
    int16_t *fixed = fixed_memory(ROWS, K), *scratch = fixed_memory(CM3_FIXED_BLOCK, K);
    kernels->fix_rows(fixed, x, ROWS, K);
    kernels->fixed_products(good, N, fixed, ROWS, wb, K, N, scratch);
    for (int i = 0; i < K; i++) wb[13 * K + i] = (uint16_t)next_bits(&numbers);
    wb[13 * K] = 0x7fc0, wb[13 * K + 1] = 0xff80, wb[13 * K + 2] = 0x7f7f;
    kernels->fixed_products(bad, N, fixed, ROWS, wb, K, N, scratch);
    for (int i = 0; i < ROWS * N; i++) {
        ck_assert(isfinite(bad[i]));
        if (i % N != 13) ck_assert_float_eq(bad[i], good[i]);
    }
    free(x), free(w), free(wb), free(fixed), free(scratch);
}
END_TEST

Suite *kernels_fixed_suite(void) {
    Suite *suite = suite_create("kernels: fixed point");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, fixed_products, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, fixed_products_of_no_numbers, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
