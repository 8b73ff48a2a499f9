/* Quantised rows and matrices at every level, against sums in double. */
#include "kernel_cases.h"
#include "suites.h"

/** A matrix of random integers, and what it stands for. */
typedef struct matrix {
    cm3_quantised w;
    uint8_t *values;
    uint16_t *scales, *mins;
    float *floats;
} matrix;

static matrix some_quantised(numbers_state *numbers, cm3_dtype dtype, int64_t n, int64_t k, int64_t block_size) {
    int64_t bytes = dtype == CM3_U4 ? n * k / 2 : n * k, blocks = n * k / block_size;
    matrix m = {.values = block((size_t)bytes),
                .scales = block((size_t)blocks * 2),
                .mins = dtype == CM3_U4 ? block((size_t)blocks * 2) : NULL,
                .floats = block((size_t)(n * k) * sizeof(float))};
    for (int64_t i = 0; i < bytes; i++) m.values[i] = (uint8_t)(next_bits(numbers) >> 24);
    for (int64_t i = 0; i < blocks; i++) {
        m.scales[i] = cm3_f32_to_f16(next_number(numbers, 0.01f));
        if (m.mins) m.mins[i] = cm3_f32_to_f16(next_number(numbers, 0.1f));
    }
    for (int64_t i = 0; i < n * k; i++) {
        float scale = cm3_f16_to_f32(m.scales[i / block_size]);
        if (m.mins) {
            int nibble = i % 2 ? m.values[i / 2] >> 4 : m.values[i / 2] & 15;
            m.floats[i] = scale * (float)nibble + cm3_f16_to_f32(m.mins[i / block_size]);
        } else {
            m.floats[i] = scale * (float)(int8_t)m.values[i];
        }
    }
    m.w = (cm3_quantised){dtype, k, block_size, m.values, m.scales, m.mins};
    return m;
}

static void free_matrix(matrix *m) {
    free(m->values), free(m->scales), free(m->mins), free(m->floats);
}

static cm3_quantised_rows room_for(int64_t rows, int64_t k, int64_t block_size, bool split) {
    return (cm3_quantised_rows){.k = k,
                                .block = block_size,
                                .split = split,
                                .values = block((size_t)(rows * k + CM3_QUANTISED_ROWS_SLACK)),
                                .scales = block((size_t)(rows * k / block_size) * sizeof(float)),
                                .sums = block((size_t)(rows * k / block_size) * sizeof(float))};
}

static void free_rows(cm3_quantised_rows *rows) {
    free(rows->values), free(rows->scales), free(rows->sums);
}

/** Where column i of a row lies. */
static int64_t place_of(const cm3_quantised_rows *rows, int64_t i) {
    return rows->split ? i / 2 + i % 2 * (rows->k / 2) : i;
}

START_TEST(rows_are_rounded) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {51};
    for (int t = 0; t < 200; t++) {
        int64_t size = next_below(&numbers, 2) ? 32 : 64, k = size * (1 + next_below(&numbers, 20));
        int64_t rows = 1 + next_below(&numbers, 5), blocks = k / size;
        float range = t % 7 ? 3.0f : 1e-20f;
        float *x = some(&numbers, rows * k, range);
        if (t % 5 == 0) memset(x, 0, (size_t)size * sizeof *x); /* a block of zeros */
        cm3_quantised_rows q = room_for(rows, k, size, next_below(&numbers, 2));
        int64_t cut = next_below(&numbers, rows * blocks + 1);
        kernels->quantise_rows(&q, x, 0, cut);
        kernels->quantise_rows(&q, x, cut, rows * blocks);
        for (int64_t b = 0; b < rows * blocks; b++) {
            double highest = 0, sum = 0, total = 0;
            for (int64_t i = 0; i < size; i++) {
                double magnitude = fabs((double)x[b * size + i]);
                if (magnitude > highest) highest = magnitude;
            }
            expect(kernels, "scale", b, q.scales[b] / range, highest / 127 / (double)range, 1e-6);
            for (int64_t i = 0; i < size; i++) {
                int64_t column = b % blocks * size + i;
                int value = q.values[b / blocks * k + place_of(&q, column)];
                double exact = highest > 0 ? (double)x[b * size + i] * 127 / highest : 0;
                ck_assert_msg(fabs(value - exact) < 0.5001, "%d is not %g rounded", value, exact);
                sum += (double)x[b * size + i];
                total += (double)q.scales[b] * value;
            }
            expect(kernels, "sum", b, q.sums[b] / range, (q.split ? sum : total) / (double)range, 1e-5);
        }
        free(x), free_rows(&q);
    }
}
END_TEST

START_TEST(rows_with_wrong_numbers_are_seen) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (int t = 0; t < 3; t++) {
        numbers_state numbers = {52};
        float *x = some(&numbers, 128, 1.0f);
        x[70] = wrong[t];
        for (int split = 0; split < 2; split++) {
            cm3_quantised_rows q = room_for(1, 128, 64, split);
            matrix m = some_quantised(&numbers, split ? CM3_U4 : CM3_I8, 3, 128, 64);
            kernels->quantise_rows(&q, x, 0, 2);
            ck_assert(isfinite(q.scales[0]) && isnan(q.scales[1]));
            float y[3];
            kernels->few_rows_quantised(y, 3, &q, 0, 1, &m.w, 0, 3, NULL);
            for (int i = 0; i < 3; i++) ck_assert(isnan(y[i]));
            free_rows(&q), free_matrix(&m);
        }
        free(x);
    }
}
END_TEST

/** What row r of x times column j of the matrix should give, and how large its summands are. */
static double exact_product(const matrix *m, const cm3_quantised_rows *q, int64_t r, int64_t j, double *reach) {
    int64_t k = q->k, size = q->block;
    const int8_t *values = q->values + r * k;
    const float *scales = q->scales + r * k / size, *sums = q->sums + r * k / size;
    double sum = 0;
    *reach = 0;
    for (int64_t i = 0; i < k; i++) {
        /* the offsets meet the exact sums of x */
        double min = m->mins ? (double)cm3_f16_to_f32(m->mins[(j * k + i) / size]) : 0.0;
        double value = (double)scales[i / size] * values[place_of(q, i)];
        sum += ((double)m->floats[j * k + i] - min) * value;
        *reach += fabs((double)m->floats[j * k + i] * value);
        if (i % size == 0) sum += min * (double)sums[i / size];
    }
    return sum;
}

static void check_products(const cm3_kernels *kernels, numbers_state *numbers, cm3_dtype dtype, int rows, int64_t n,
                           int64_t k, int64_t size) {
    enum { BEFORE = 1 };
    matrix m = some_quantised(numbers, dtype, n, k, size);
    float *x = some(numbers, (BEFORE + rows) * k, 2.0f), *bias = next_below(numbers, 2) ? some(numbers, n, 1) : NULL;
    int64_t ldy = n + next_below(numbers, 3), count = (rows - 1) * ldy + n;
    float *y = some(numbers, count, 1.0f), *y0 = copy_of(y, count);
    cm3_quantised_rows q = room_for(BEFORE + rows, k, size, dtype == CM3_U4);
    kernels->quantise_rows(&q, x, 0, (BEFORE + rows) * k / size);
    int64_t cut = next_below(numbers, n + 1);
    kernels->few_rows_quantised(y, ldy, &q, BEFORE, rows, &m.w, 0, cut, bias);
    kernels->few_rows_quantised(y, ldy, &q, BEFORE, rows, &m.w, cut, n, bias);
    for (int r = 0; r < rows; r++) {
        for (int64_t j = 0; j < n; j++) {
            double reach, sum = exact_product(&m, &q, BEFORE + r, j, &reach) + (bias ? (double)bias[j] : 0.0);
            expect(kernels, "few_rows_quantised", r * ldy + j, y[r * ldy + j], sum, 2e-6 * (1 + reach));
        }
        for (int64_t j = n; j < ldy && r + 1 < rows; j++) ck_assert_float_eq(y[r * ldy + j], y0[r * ldy + j]);
    }
    free(x), free(y), free(y0), free(bias), free_rows(&q), free_matrix(&m);
}

static void check_many(const cm3_kernels *kernels, numbers_state *numbers, cm3_dtype dtype, int64_t rows, int64_t n,
                       int64_t k, int64_t size) {
    matrix m = some_quantised(numbers, dtype, n, k, size);
    float *x = some(numbers, rows * k, 2.0f), *bias = next_below(numbers, 2) ? some(numbers, n, 1) : NULL;
    int64_t ldy = n + next_below(numbers, 3), count = (rows - 1) * ldy + n;
    float *y = some(numbers, count, 1.0f), *y0 = copy_of(y, count);
    cm3_quantised_rows q = room_for(rows, k, size, dtype == CM3_U4);
    kernels->quantise_rows(&q, x, 0, rows * k / size);
    cm3_many_rows args = {y, ldy, rows, &q, &m.w, bias, next_below(numbers, 2)};
    void *scratch = block((size_t)cm3_many_rows_scratch(&m.w));
    int64_t cut = next_below(numbers, n / CM3_MANY_COLUMNS + 1) * CM3_MANY_COLUMNS;
    kernels->many_rows_quantised(&args, 0, cut, scratch);
    kernels->many_rows_quantised(&args, cut, n, scratch);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < n; j++) {
            double reach, sum = exact_product(&m, &q, r, j, &reach) + (bias ? (double)bias[j] : 0.0);
            if (args.accumulate) sum += (double)y0[r * ldy + j];
            expect(kernels, "many_rows_quantised", r * ldy + j, y[r * ldy + j], sum, 2e-6 * (1 + reach));
        }
        for (int64_t j = n; j < ldy && r + 1 < rows; j++) ck_assert_float_eq(y[r * ldy + j], y0[r * ldy + j]);
    }
    free(x), free(y), free(y0), free(bias), free(scratch), free_rows(&q), free_matrix(&m);
}

START_TEST(products) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {53};
    for (int t = 0; t < 300; t++) {
        cm3_dtype dtype = t % 2 ? CM3_I8 : CM3_U4;
        int64_t size = next_below(&numbers, 2) ? 32 : 64, blocks = 1 + next_below(&numbers, 40);
        check_products(kernels, &numbers, dtype, 1 + (int)next_below(&numbers, 8), next_size(&numbers) % 40 + 1,
                       size * blocks, size);
    }
}
END_TEST

START_TEST(products_of_many_rows) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels || !kernels->many_rows_quantised) return;
    numbers_state numbers = {56};
    for (int t = 0; t < 120; t++) {
        cm3_dtype dtype = t % 2 ? CM3_I8 : CM3_U4;
        int64_t size = next_below(&numbers, 2) ? 32 : 64, blocks = 1 + next_below(&numbers, 37);
        check_many(kernels, &numbers, dtype, 1 + next_below(&numbers, 20), 1 + next_below(&numbers, 100), size * blocks,
                   size);
    }
}
END_TEST

/** A row's results are the same whatever rows and columns are computed along with it. */
START_TEST(rows_do_not_see_each_other) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    enum { ROWS = 8, N = 13, K = 64 * 37 };
    for (int kind = 0; kind < 2; kind++) {
        numbers_state numbers = {54};
        matrix m = some_quantised(&numbers, kind ? CM3_I8 : CM3_U4, N, K, 64);
        float *x = some(&numbers, ROWS * K, 1.0f), all[ROWS * N], part[ROWS * N];
        cm3_quantised_rows q = room_for(ROWS, K, 64, !kind);
        kernels->quantise_rows(&q, x, 0, ROWS * K / 64);
        kernels->few_rows_quantised(all, N, &q, 0, ROWS, &m.w, 0, N, NULL);
        for (int row = 0; row < ROWS; row++) {
            for (int rows = 1; row + rows <= ROWS; rows++) {
                kernels->few_rows_quantised(part, N, &q, row, rows, &m.w, 0, row, NULL);
                kernels->few_rows_quantised(part, N, &q, row, rows, &m.w, row, N, NULL);
                ck_assert_mem_eq(part, all + row * N, (size_t)(rows * N) * sizeof *all);
            }
        }
        free(x), free_rows(&q), free_matrix(&m);
    }
}
END_TEST

START_TEST(floats_of_a_matrix) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {55};
    for (int t = 0; t < 60; t++) {
        int64_t size = next_below(&numbers, 2) ? 32 : 64, k = size * (1 + next_below(&numbers, 9)), n = 7;
        matrix m = some_quantised(&numbers, t % 2 ? CM3_I8 : CM3_U4, n, k, size);
        int64_t from = next_below(&numbers, n), to = from + next_below(&numbers, n - from + 1), count = (to - from) * k;
        float *wide = block((size_t)count * sizeof *wide);
        uint16_t *narrow = block((size_t)count * sizeof *narrow);
        kernels->dequantise_f32(wide, &m.w, from, to);
        kernels->dequantise_bf16(narrow, &m.w, from, to);
        for (int64_t i = 0; i < count; i++) {
            expect(kernels, "dequantise_f32", i, wide[i], m.floats[from * k + i], 1e-7);
            double error = fabs((double)cm3_bf16_to_f32(narrow[i]) - (double)m.floats[from * k + i]);
            ck_assert_double_le(error, fabs((double)m.floats[from * k + i]) / 255);
        }
        free(wide), free(narrow), free_matrix(&m);
    }
}
END_TEST

/** One vector with rows from here and there: integers, so that every level gives the same. */
START_TEST(products_with_gathered_rows) {
    const cm3_kernels *kernels = level_kernels(_i), *twin = cm3_kernels_get(CM3_CPU_C);
    if (!kernels) return;
    numbers_state numbers = {56};
    for (int t = 0; t < 300; t++) {
        const int64_t k = t % 3 ? next_size(&numbers) : 64 * (1 + next_below(&numbers, 20)), n = next_size(&numbers);
        const int64_t count = next_below(&numbers, 40);
        int8_t *x = block((size_t)k), *w = block((size_t)(n * k));
        uint32_t *rows = block((size_t)count * sizeof *rows);
        int32_t *y = block((size_t)count * sizeof *y), *other = block((size_t)count * sizeof *other);
        /* All at their ends now and then: sums of two products are as large as they can be. */
        const bool ends = t % 10 == 0;
        for (int64_t i = 0; i < k; i++) x[i] = ends ? -127 : (int8_t)(next_below(&numbers, 255) - 127);
        for (int64_t i = 0; i < n * k; i++) w[i] = ends ? -127 : (int8_t)(next_below(&numbers, 255) - 127);
        for (int64_t i = 0; i < count; i++) rows[i] = (uint32_t)next_below(&numbers, n);
        kernels->gathered_i8(y, x, w, k, rows, count);
        twin->gathered_i8(other, x, w, k, rows, count);
        for (int64_t i = 0; i < count; i++) {
            int64_t exact = 0;
            for (int64_t j = 0; j < k; j++) exact += (int64_t)x[j] * w[rows[i] * k + j];
            ck_assert_int_eq(y[i], exact);
            ck_assert_int_eq(other[i], exact);
        }
        free(x), free(w), free(rows), free(y), free(other);
    }
}
END_TEST

Suite *kernels_quantised_suite(void) {
    Suite *suite = suite_create("kernels: quantised");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, rows_are_rounded, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, rows_with_wrong_numbers_are_seen, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, products, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, products_of_many_rows, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, rows_do_not_see_each_other, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, floats_of_a_matrix, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, products_with_gathered_rows, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
