/* Operations with quantised matrices, against the same with the floats that they stand for. */
#include "graph_cases.h"
#include "kernel_cases.h"
#include "suites.h"

enum { N = 150, K = 192 };

/** A matrix of integers, quantised of random floats, and what it stands for. */
typedef struct matrix {
    cm3_tensor integers, floats;
    void *values;
    uint16_t *scales;
    float *wide;
} matrix;

static matrix make_matrix(bool nibbles, int32_t block_size) {
    const cm3_kernels *kernels = cm3_kernels_get(CM3_CPU_C);
    numbers_state numbers = {71};
    float *w = some(&numbers, N * K, 0.5f);
    const int64_t shape[] = {N, K}, blocks = N * K / block_size;
    matrix m = {.values = block(N * K), .scales = block((size_t)blocks * 4), .wide = block(N * K * sizeof(float))};
    if (nibbles) {
        kernels->quantise_q4(m.values, m.scales, m.scales + blocks, w, blocks, block_size);
    } else {
        kernels->quantise_q8(m.values, m.scales, w, blocks, block_size);
    }
    m.integers = cm3_tensor_over(m.values, nibbles ? CM3_U4 : CM3_I8, 2, shape);
    m.integers.scales = m.scales;
    m.integers.mins = nibbles ? m.scales + blocks : NULL;
    m.integers.block = block_size;
    const cm3_quantised q = cm3_quantised_of(&m.integers);
    kernels->dequantise_f32(m.wide, &q, 0, N);
    m.floats = cm3_tensor_over(m.wide, CM3_F32, 2, shape);
    for (int i = 0; i < N * K; i++) { /* near what it was made of */
        ck_assert_float_le(fabsf(m.wide[i] - w[i]), nibbles ? 0.06f : 0.003f);
    }
    free(w);
    return m;
}

static void free_matrix(matrix *m) {
    free(m->values), free(m->scales), free(m->wide);
}

static cm3_context *context;

static void up(void) {
    ck_assert_int_eq(cm3_context_create(NULL, &context), CM3_OK);
}

static void down(void) {
    cm3_context_destroy(context);
}

/** Products of few and of many rows, in both types, with a bias and added to a sum. */
typedef struct product_call {
    cm3_compute compute;
    int64_t rows;
    matrix *m;
} product_call;

static cm3_status multiply(void *arg) {
    product_call *call = arg;
    numbers_state numbers = {72};
    cm3_graph *graph;
    float *x = some(&numbers, call->rows * K, 1.0f), *bias = some(&numbers, N, 1.0f),
          *sum = some(&numbers, call->rows * N, 1.0f);
    ck_assert_int_eq(cm3_graph_create(context, &(cm3_graph_options){.compute = call->compute}, &graph), CM3_OK);
    cm3_tensor input = cm3_tensor_over(x, CM3_F32, 2, (const int64_t[]){call->rows, K});
    cm3_tensor own = cm3_tensor_over(bias, CM3_F32, 1, (const int64_t[]){N});
    float *sums[2] = {copy_of(sum, call->rows * N), copy_of(sum, call->rows * N)};
    cm3_tensor *results[2];
    for (int i = 0; i < 2; i++) {
        cm3_tensor residual = cm3_tensor_over(sums[i], CM3_F32, 2, (const int64_t[]){call->rows, N});
        const cm3_linear_weights weights = {i ? &call->m->integers : &call->m->floats, &own};
        results[i] = cm3_nn_linear(graph, &input, weights.w, &own);
        ck_assert_ptr_nonnull(results[i]);
        ck_assert_ptr_nonnull(cm3_nn_linear_add(graph, &input, &weights, &residual));
    }
    /* f32: the same numbers; bf16: the activations are rounded, to integers where rows are few */
    const float tolerance = call->compute == CM3_COMPUTE_F32 ? 1e-5f : 0.06f;
    for (int64_t i = 0; i < call->rows * N; i++) {
        float expected = cm3_f32(results[0])[i];
        ck_assert_msg(fabsf(cm3_f32(results[1])[i] - expected) <= tolerance * (1 + fabsf(expected)), "%g, expected %g",
                      (double)cm3_f32(results[1])[i], (double)expected);
        ck_assert_float_le(fabsf(sums[1][i] - sums[0][i]), tolerance * (1 + fabsf(sums[0][i])));
    }
    cm3_graph_destroy(graph);
    free(x), free(bias), free(sum), free(sums[0]), free(sums[1]);
    return CM3_OK;
}

START_TEST(products) {
    static const int64_t rows[] = {1, 2, 7, 8, 9, 32, 33, 70};
    matrix m = make_matrix(_i % 2, _i / 2 ? 32 : 64);
    for (int i = 0; i < 8; i++) {
        product_call call = {CM3_COMPUTE_F32, rows[i], &m};
        ck_assert_int_eq(cm3_context_run(context, multiply, &call), CM3_OK);
        call.compute = CM3_COMPUTE_BF16;
        ck_assert_int_eq(cm3_context_run(context, multiply, &call), CM3_OK);
    }
    free_matrix(&m);
}
END_TEST

static cm3_status look_up(void *arg) {
    matrix *m = arg;
    cm3_graph *graph;
    const int32_t ids[] = {0, 149, 77, 3};
    ck_assert_int_eq(cm3_graph_create(context, &(cm3_graph_options){.compute = CM3_COMPUTE_F32}, &graph), CM3_OK);
    cm3_tensor *rows = cm3_nn_embedding(graph, &m->integers, ids, 4);
    ck_assert_ptr_nonnull(rows);
    for (int i = 0; i < 4; i++) {
        ck_assert_mem_eq(cm3_f32(rows) + i * K, m->wide + (int64_t)ids[i] * K, K * sizeof(float));
    }
    /* rows in the middle of the matrix, as a slice of a head */
    numbers_state numbers = {73};
    float *x = some(&numbers, K, 1.0f);
    cm3_tensor input = cm3_tensor_over(x, CM3_F32, 2, (const int64_t[]){1, K});
    cm3_tensor slice = cm3_tensor_rows(&m->integers, 40, 30);
    cm3_tensor *all = cm3_nn_linear(graph, &input, &m->integers, NULL),
               *some_rows = cm3_nn_linear(graph, &input, &slice, NULL);
    for (int i = 0; i < 30; i++) ck_assert_float_eq(cm3_f32(some_rows)[i], cm3_f32(all)[40 + i]);
    free(x);
    cm3_graph_destroy(graph);
    return CM3_OK;
}

START_TEST(rows_by_number) {
    matrix m = make_matrix(_i % 2, _i / 2 ? 32 : 64);
    ck_assert_int_eq(cm3_context_run(context, look_up, &m), CM3_OK);
    free_matrix(&m);
}
END_TEST

/** The line of q4 is no worse than the one between the block's extremes. */
START_TEST(lines_that_fit) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {74};
    double own = 0, plain = 0;
    for (int t = 0; t < 200; t++) {
        float w[64], wide[64], least = 1e9f, most = -1e9f;
        uint8_t q[32];
        uint16_t scale, min;
        for (int i = 0; i < 64; i++) { /* about normal */
            w[i] = 0;
            for (int k = 0; k < 6; k++) w[i] += next_number(&numbers, 0.1f);
            least = fminf(least, w[i]), most = fmaxf(most, w[i]);
        }
        kernels->quantise_q4(q, &scale, &min, w, 1, 64);
        const cm3_quantised m = {CM3_U4, 64, 64, q, &scale, &min};
        kernels->dequantise_f32(wide, &m, 0, 1);
        for (int i = 0; i < 64; i++) {
            float step = (most - least) / 15, near = least + step * roundf((w[i] - least) / step);
            own += (double)((wide[i] - w[i]) * (wide[i] - w[i]));
            plain += (double)((near - w[i]) * (near - w[i]));
        }
    }
    ck_assert_double_lt(own, 0.95 * plain);
}
END_TEST

Suite *quantised_suite(void) {
    Suite *suite = suite_create("nn/quantised");
    TCase *tcase = tcase_create("operations");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, products, 0, 4);
    tcase_add_loop_test(tcase, rows_by_number, 0, 4);
    tcase_add_loop_test(tcase, lines_that_fit, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
