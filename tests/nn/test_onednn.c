/* The seam to oneDNN: matrix products with any strides, transposes, batches and types against double loops. */
#include "graph_cases.h"
#include "nn/onednn/onednn.h"
#include "suites.h"

#ifdef CM3_WITH_ONEDNN

static cm3_dnn_matmul_args random_args(numbers_state *numbers) {
    cm3_dnn_matmul_args args = {.batch = next_below(numbers, 2) ? 1 : 1 + next_below(numbers, 4)};
    args.m = next_size(numbers);
    args.n = next_size(numbers);
    args.k = next_size(numbers);
    /* Squares of one size, which differ in nothing but their flags. */
    bool square = next_below(numbers, 3) == 0;
    if (square) args.m = args.n = args.k = 8;
    args.ab_dtype = next_below(numbers, 2) ? CM3_BF16 : CM3_F32;
    args.c_dtype = args.ab_dtype == CM3_BF16 && next_below(numbers, 4) == 0 ? CM3_BF16 : CM3_F32;
    args.trans_a = next_below(numbers, 2);
    args.trans_b = next_below(numbers, 2);
    args.accumulate = args.c_dtype == CM3_F32 && next_below(numbers, 2);
    args.lda = (args.trans_a ? args.m : args.k) + (square ? 0 : next_below(numbers, 3));
    args.ldb = (args.trans_b ? args.k : args.n) + (square ? 0 : next_below(numbers, 3));
    args.ldc = args.n + (square ? 0 : next_below(numbers, 3));
    args.a_stride = (args.trans_a ? args.k : args.m) * args.lda + (square ? 0 : next_below(numbers, 9));
    args.b_stride = (args.trans_b ? args.n : args.k) * args.ldb;
    args.c_stride = args.m * args.ldc;
    return args;
}

static double element(const cm3_tensor *t, int64_t stride, int64_t batch, int64_t ld, bool transposed, int64_t row,
                      int64_t column) {
    return (double)cm3_f32(t)[batch * stride + (transposed ? column * ld + row : row * ld + column)];
}

static void check_one(graph_case *c, cm3_dnn_matmul_args args) {
    int64_t a_count = args.batch * args.a_stride, b_count = args.batch * args.b_stride,
            c_count = args.batch * args.c_stride;
    cm3_tensor a = some_tensor(c, 1, &a_count, 1), b = some_tensor(c, 1, &b_count, 1),
               out = some_tensor(c, 1, &c_count, 1);
    cm3_tensor bias = some_tensor(c, 1, &args.n, 1);
    uint16_t *small_a = rounded(a.data, a_count), *small_b = rounded(b.data, b_count),
             *small_c = rounded(out.data, c_count);
    float *before = copy_of(out.data, c_count);
    bool bf16 = args.ab_dtype == CM3_BF16, bf16_out = args.c_dtype == CM3_BF16;
    args.a = bf16 ? (const void *)small_a : a.data;
    args.b = bf16 ? (const void *)small_b : b.data;
    args.c = bf16_out ? (void *)small_c : out.data;
    if (next_below(&c->numbers, 2)) args.bias = bias.data;
    for (int round = 0; round < 2; round++) {
        memcpy(out.data, before, (size_t)c_count * sizeof(float));
        cm3_status status = cm3_dnn_matmul(c->dnn, &args);
        if (status == CM3_ERROR_UNSUPPORTED) break; /* machines without bf16 */
        ck_assert_int_eq(status, CM3_OK);
        for (int64_t i = 0; i < c_count; i++) {
            int64_t n = i / args.c_stride, row = i % args.c_stride / args.ldc, column = i % args.ldc;
            double found = (double)(bf16_out ? cm3_bf16_to_f32(small_c[i]) : cm3_f32(&out)[i]);
            if (column >= args.n) { /* between the rows nothing is written */
                ck_assert(found == (double)before[i]);
                continue;
            }
            double sum = (args.accumulate ? (double)before[i] : 0) + (args.bias ? (double)args.bias[column] : 0);
            for (int64_t k = 0; k < args.k; k++) {
                sum += element(&a, args.a_stride, n, args.lda, args.trans_a, row, k) *
                       element(&b, args.b_stride, n, args.ldb, args.trans_b, k, column);
            }
            expect_near(c, "product", i, found, sum, bf16_out ? 0.01 : 2e-5);
        }
    }
    free(small_a);
    free(small_b);
    free(small_c);
    free(before);
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&out);
    free_tensor(&bias);
}

static void check_products(graph_case *c) {
    for (int i = 0; i < 100; i++) check_one(c, random_args(&c->numbers));
    cm3_dnn_matmul_args none = {.batch = 1, .m = 0, .n = 4, .k = 4, .ab_dtype = CM3_F32, .c_dtype = CM3_F32};
    ck_assert_int_eq(cm3_dnn_matmul(c->dnn, &none), CM3_ERROR_UNSUPPORTED);
}

START_TEST(products) {
    graph_case_run(graph_ways[_i ? 2 : 0], check_products);
}
END_TEST

/* The image tokenizer's halving convolution is not left to the portable path. */
static void check_halving(graph_case *c) {
    const cm3_conv_shape shape = {
        .n = 1, .h = 8, .w = 10, .cin = 16, .cout = 16, .kh = 3, .kw = 3, .stride = 2, 0, 0, 1, 1};
    static float x[8 * 10 * 16], w[16 * 16 * 9], y[4 * 5 * 16], bias[16];
    if (cm3_cpu_detect() < CM3_CPU_AVX2) return;
    ck_assert_int_eq(cm3_dnn_conv(c->dnn, &shape, CM3_F32, x, w, CM3_F32, bias, NULL, y, CM3_F32), CM3_OK);
    ck_assert_int_eq(cm3_dnn_conv(c->dnn, &shape, CM3_F32, x, w, CM3_F32, bias, y, y, CM3_F32), CM3_OK);
    ck_assert_int_eq(cm3_dnn_conv_backward_data(c->dnn, &shape, CM3_F32, x, CM3_F32, y, w), CM3_OK);
    ck_assert_int_eq(cm3_dnn_conv_backward_weights(c->dnn, &shape, CM3_F32, x, y, w, bias), CM3_OK);
}

START_TEST(halving) {
    graph_case_run(graph_ways[0], check_halving);
}
END_TEST

/* Weights in bf16, widened while they are packed: what the same weights give in f32. */
static void check_widened(graph_case *c) {
    static const int64_t sizes[][4] = {{16, 16, 3, 5},  {8, 24, 3, 7}, {32, 48, 1, 4},
                                       {128, 64, 3, 3}, {24, 8, 2, 6}, {20, 16, 3, 5}};
    int taken = 0;
    for (int i = 0; i < 12; i++) {
        const int64_t *size = sizes[i / 2], window = size[2], pad = window / 2;
        const cm3_conv_shape shape = {1, size[3], size[3] + 2, size[0], size[1], window, window, 1, pad, pad, pad, pad};
        const int64_t in = size[3] * (size[3] + 2) * size[0], weights = size[0] * size[1] * window * window;
        const int64_t out = cm3_conv_out_h(&shape) * cm3_conv_out_w(&shape) * size[1];
        float *x = some(&c->numbers, in, 1), *w = some(&c->numbers, weights, 1), *bias = some(&c->numbers, size[1], 1);
        float *wide = some(&c->numbers, out, 1), *narrow = copy_of(wide, out);
        uint16_t *stored = rounded(w, weights);
        for (int64_t k = 0; k < weights; k++) w[k] = cm3_bf16_to_f32(stored[k]);
        const float *residual[] = {i % 2 ? wide : NULL, i % 2 ? narrow : NULL};
        cm3_status status =
            cm3_dnn_conv(c->dnn, &shape, CM3_F32, x, stored, CM3_BF16, bias, residual[1], narrow, CM3_F32);
        ck_assert(status == CM3_OK || status == CM3_ERROR_UNSUPPORTED);
        if (status == CM3_OK) {
            status = cm3_dnn_conv(c->dnn, &shape, CM3_F32, x, w, CM3_F32, bias, residual[0], wide, CM3_F32);
            ck_assert_int_eq(status, CM3_OK);
            ck_assert_mem_eq(narrow, wide, (size_t)out * sizeof *wide);
            taken++;
        }
        free(x), free(w), free(bias), free(wide), free(narrow), free(stored);
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) ck_assert_int_ge(taken, 6);
#endif
}

START_TEST(widened_weights) {
    graph_case_run(graph_ways[0], check_widened);
}
END_TEST

/* More shapes than the cache holds: those that went come back. */
static void check_eviction(graph_case *c) {
    float a[40] = {1}, b[40] = {2}, out[1];
    for (int round = 0; round < 2; round++) {
        for (int64_t i = 0; i < 1100; i++) {
            /* The leading dimension makes each its own primitive. */
            cm3_dnn_matmul_args args = {.batch = 1,
                                        .m = 1,
                                        .n = 1,
                                        .k = 1,
                                        .ab_dtype = CM3_F32,
                                        .c_dtype = CM3_F32,
                                        .a = a,
                                        .b = b,
                                        .c = out,
                                        .lda = 1 + i % 37,
                                        .ldb = 1 + i / 37,
                                        .ldc = 1};
            out[0] = 0;
            cm3_status status = cm3_dnn_matmul(c->dnn, &args);
            ck_assert(status == CM3_OK || status == CM3_ERROR_UNSUPPORTED);
            ck_assert(status != CM3_OK || out[0] == 2);
        }
    }
}

START_TEST(eviction) {
    graph_case_run(graph_ways[0], check_eviction);
}
END_TEST

#endif

Suite *onednn_suite(void) {
    Suite *suite = suite_create("nn/onednn");
    TCase *tcase = tcase_create("onednn");
    tcase_set_timeout(tcase, 120);
#ifdef CM3_WITH_ONEDNN
    tcase_add_loop_test(tcase, products, 0, 2);
    tcase_add_test(tcase, halving);
    tcase_add_test(tcase, widened_weights);
    tcase_add_test(tcase, eviction);
#endif
    suite_add_tcase(suite, tcase);
    return suite;
}
