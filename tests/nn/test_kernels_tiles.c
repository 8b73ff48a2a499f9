/* Products by tiles of every level against sums in double. */
#include "kernel_cases.h"
#include "suites.h"

static uint16_t *tiles(int64_t rows, int64_t k) {
    uint16_t *memory = NULL;
    ck_assert_int_eq(posix_memalign((void **)&memory, 64, (size_t)cm3_tiled_size(rows, k) * sizeof *memory), 0);
    return memory;
}

static void check_products(const cm3_kernels *kernels, numbers_state *numbers, int64_t rows, int64_t n, int64_t k) {
    const int64_t ldy = n + next_below(numbers, 3);
    float *x = some(numbers, rows * k, 1.0f), *w = some(numbers, n * k, 1.0f);
    uint16_t *xb = rounded(x, rows * k), *wb = rounded(w, n * k);
    uint16_t *packed = tiles(rows, k), *scratch = tiles(CM3_TILE_ROWS, k);
    float *y = some(numbers, (rows - 1) * ldy + n, 1.0f), *y0 = copy_of(y, (rows - 1) * ldy + n);
    kernels->pack_tiles(packed, x, rows, k);
    kernels->tile_products(y, ldy, packed, rows, wb, k, n, scratch);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < n; j++) {
            double exact = 0, size = 0;
            for (int64_t i = 0; i < k; i++) {
                const double one = (double)cm3_bf16_to_f32(xb[r * k + i]) * (double)cm3_bf16_to_f32(wb[j * k + i]);
                exact += one;
                size += fabs(one);
            }
            expect(kernels, "tile_products", r * ldy + j, y[r * ldy + j] / (1 + size), exact / (1 + size), 2e-6);
        }
        for (int64_t j = n; j < ldy && r + 1 < rows; j++) ck_assert_float_eq(y[r * ldy + j], y0[r * ldy + j]);
    }
    free(x), free(w), free(xb), free(wb), free(packed), free(scratch), free(y), free(y0);
}

START_TEST(tile_products) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels || !kernels->tile_products) return;
    numbers_state numbers = {71};
    for (int t = 0; t < 200; t++) {
        const int64_t k = next_size(&numbers) * (1 + next_below(&numbers, 3));
        check_products(kernels, &numbers, 1 + next_below(&numbers, 70), next_size(&numbers), k);
    }
    /* Nothing to be padded, and all ends of sixteens. */
    for (int64_t n = 15; n <= 81; n += 11) check_products(kernels, &numbers, 32, n, 512);
    for (int64_t rows = 15; rows <= 50; rows += 5) check_products(kernels, &numbers, rows, 64, 96);
}
END_TEST

/** What is no number stays where it belongs. */
START_TEST(tile_products_of_no_numbers) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels || !kernels->tile_products) return;
    enum { N = 40, K = 64, ROWS = 33 };
    numbers_state numbers = {73};
    float *x = some(&numbers, ROWS * K, 1.0f), *w = some(&numbers, N * K, 1.0f), good[ROWS * N], bad[ROWS * N];
    uint16_t *wb = rounded(w, N * K), *packed = tiles(ROWS, K), *scratch = tiles(CM3_TILE_ROWS, K);
    kernels->pack_tiles(packed, x, ROWS, K);
    kernels->tile_products(good, N, packed, ROWS, wb, K, N, scratch);
    wb[13 * K] = 0x7fc0;
    kernels->tile_products(bad, N, packed, ROWS, wb, K, N, scratch);
    for (int i = 0; i < ROWS * N; i++) {
        if (i % N == 13)
            ck_assert(isnan(bad[i]));
        else
            ck_assert_float_eq(bad[i], good[i]);
    }
    free(x), free(w), free(wb), free(packed), free(scratch);
}
END_TEST

Suite *kernels_tiles_suite(void) {
    Suite *suite = suite_create("kernels: tiles");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, tile_products, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, tile_products_of_no_numbers, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
