/* Matrix products of every level against sums in double. */
#include "kernel_cases.h"
#include "suites.h"

/** Columns in two calls, cut anywhere: n_begin and n_end as threads use them. */
static void few_rows_all(const cm3_kernels *kernels, int kind, float *y, int64_t ldy, const float *x,
                         const uint16_t *xb, int rows, const float *w, const uint16_t *wb, int64_t k, int64_t n,
                         int64_t cut, const float *bias) {
    int64_t ends[] = {0, cut, n};
    for (int part = 0; part < 2; part++) {
        if (kind == 0) kernels->few_rows_f32(y, ldy, x, rows, w, k, ends[part], ends[part + 1], bias);
        if (kind == 1) kernels->few_rows_bf16(y, ldy, xb, rows, wb, k, ends[part], ends[part + 1], bias);
        if (kind == 2) kernels->few_rows_mixed(y, ldy, x, rows, wb, k, ends[part], ends[part + 1], bias);
    }
}

START_TEST(few_rows) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {41};
    for (int t = 0; t < 400; t++) {
        int kind = t % 3, rows = 1 + (int)next_below(&numbers, 8);
        int64_t k = next_size(&numbers) * (1 + next_below(&numbers, 3)), n = next_size(&numbers);
        int64_t ldy = n + next_below(&numbers, 3), cut = next_below(&numbers, n + 1);
        float *x = some(&numbers, rows * k, 1.0f), *w = some(&numbers, n * k, 1.0f);
        float *bias = next_below(&numbers, 2) ? some(&numbers, n, 1.0f) : NULL;
        float *y = some(&numbers, (rows - 1) * ldy + n, 1.0f), *y0 = copy_of(y, (rows - 1) * ldy + n);
        uint16_t *xb = rounded(x, rows * k), *wb = rounded(w, n * k);
        few_rows_all(kernels, kind, y, ldy, x, xb, rows, w, wb, k, n, cut, bias);
        for (int r = 0; r < rows; r++) {
            for (int64_t j = 0; j < n; j++) {
                double sum = bias ? bias[j] : 0.0;
                for (int64_t i = 0; i < k; i++) {
                    double value = kind == 1 ? cm3_bf16_to_f32(xb[r * k + i]) : x[r * k + i];
                    sum += value * (kind == 0 ? w[j * k + i] : cm3_bf16_to_f32(wb[j * k + i]));
                }
                expect(kernels, "few_rows", r * ldy + j, y[r * ldy + j], sum, 2e-6 * sqrt((double)k));
            }
            for (int64_t j = n; j < ldy && r + 1 < rows; j++) ck_assert_float_eq(y[r * ldy + j], y0[r * ldy + j]);
        }
        free(x), free(w), free(bias), free(y), free(y0), free(xb), free(wb);
    }
}
END_TEST

/** A row's results do not depend on the rows beside it, nor on where the columns are cut: batches may change. Wide
 * matrices are multiplied stretch by stretch. */
static void see_each_other(const cm3_kernels *kernels, int kind, int64_t n, int64_t k) {
    enum { ROWS = 8 };
    numbers_state numbers = {43};
    float *x = some(&numbers, ROWS * k, 1.0f), *w = some(&numbers, n * k, 1.0f);
    uint16_t *xb = rounded(x, ROWS * k), *wb = rounded(w, n * k);
    float *all = some(&numbers, ROWS * n, 1.0f), *some_rows = some(&numbers, ROWS * n, 1.0f);
    few_rows_all(kernels, kind, all, n, x, xb, ROWS, w, wb, k, n, 0, NULL);
    for (int rows = 1; rows <= ROWS; rows++) {
        few_rows_all(kernels, kind, some_rows, n, x, xb, rows, w, wb, k, n, rows, NULL);
        ck_assert_mem_eq(some_rows, all, (size_t)(rows * n) * sizeof *all);
    }
    for (int r = 0; r < ROWS; r++) {
        few_rows_all(kernels, kind, some_rows, n, x + r * k, xb + r * k, 1, w, wb, k, n, r + 1, NULL);
        ck_assert_mem_eq(some_rows, all + r * n, (size_t)n * sizeof *all);
    }
    for (int64_t column = 0; column < n; column++) { /* and they are right */
        double sum = 0;
        for (int64_t i = 0; i < k; i++) {
            double value = kind == 1 ? cm3_bf16_to_f32(xb[i]) : x[i];
            sum += value * (kind == 0 ? w[column * k + i] : cm3_bf16_to_f32(wb[column * k + i]));
        }
        expect(kernels, "few_rows", column, all[column], sum, 2e-6 * sqrt((double)k));
    }
    free(x), free(w), free(xb), free(wb), free(all), free(some_rows);
}

START_TEST(few_rows_do_not_see_each_other) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    for (int kind = 0; kind < 3; kind++) {
        see_each_other(kernels, kind, 23, 77);
        see_each_other(kernels, kind, 53, 2345);
        see_each_other(kernels, kind, 9, 16500);
    }
}
END_TEST

typedef struct matrix {
    float *values;
    int64_t row, column;
} matrix;

/** A matrix by rows, by columns, or with gaps in both directions. */
static matrix some_matrix(numbers_state *numbers, int64_t rows, int64_t columns) {
    matrix m;
    int64_t layout = next_below(numbers, 4), gap = next_below(numbers, 3);
    m.row = layout == 0 ? 1 : layout == 3 ? 2 * columns + gap : columns + gap;
    m.column = layout == 0 ? rows + gap : layout == 3 ? 2 : 1;
    m.values = some(numbers, (rows - 1) * m.row + (columns - 1) * m.column + 1, 1.0f);
    return m;
}

static void check_gemm(const cm3_kernels *kernels, numbers_state *numbers, int64_t m, int64_t n, int64_t k) {
    matrix a = some_matrix(numbers, m, k), b = some_matrix(numbers, k, n);
    int64_t ldc = n + next_below(numbers, 3), count = (m - 1) * ldc + n;
    bool accumulate = next_below(numbers, 2);
    float *c = some(numbers, count, 1.0f), *c0 = copy_of(c, count);
    kernels->gemm_f32(c, ldc, a.values, a.row, a.column, b.values, b.row, b.column, m, n, k, accumulate);
    double *row = block((size_t)n * sizeof *row);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) row[j] = accumulate ? c0[i * ldc + j] : 0.0;
        for (int64_t p = 0; p < k; p++) {
            double value = a.values[i * a.row + p * a.column];
            for (int64_t j = 0; j < n; j++) row[j] += value * b.values[p * b.row + j * b.column];
        }
        for (int64_t j = 0; j < n; j++)
            expect(kernels, "gemm_f32", i * ldc + j, c[i * ldc + j], row[j], 2e-6 * sqrt((double)k));
        for (int64_t j = n; j < ldc && i + 1 < m; j++) ck_assert_float_eq(c[i * ldc + j], c0[i * ldc + j]);
    }
    free(a.values), free(b.values), free(c), free(c0), free(row);
}

START_TEST(gemm) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {47};
    for (int t = 0; t < 300; t++)
        check_gemm(kernels, &numbers, next_size(&numbers), next_size(&numbers), next_size(&numbers));
    /* over the edges of the blocks */
    check_gemm(kernels, &numbers, 25, 300, 260);
    check_gemm(kernels, &numbers, 37, 513, 520);
    check_gemm(kernels, &numbers, 3, 70, 1030);
}
END_TEST

START_TEST(gemm_of_depth_0) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    float c[6] = {1, 2, 3, 4, 5, 6}, none[1] = {0};
    kernels->gemm_f32(c, 3, none, 1, 1, none, 1, 1, 2, 3, 0, true);
    for (int i = 0; i < 6; i++) ck_assert_float_eq(c[i], (float)(i + 1));
    kernels->gemm_f32(c, 3, none, 1, 1, none, 1, 1, 2, 3, 0, false);
    for (int i = 0; i < 6; i++) ck_assert_float_eq(c[i], 0.0f);
}
END_TEST

Suite *kernels_products_suite(void) {
    Suite *suite = suite_create("kernels: products");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, few_rows, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, few_rows_do_not_see_each_other, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, gemm, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, gemm_of_depth_0, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
