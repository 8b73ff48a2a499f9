/* Convolutions and their gradients against double loops, through oneDNN and without it. */
#include "graph_cases.h"
#include "nn/conv.h"
#include "nn/onednn/onednn.h"
#include "suites.h"

/* Pictures, kernels, strides and paddings as the image tokenizer and its discriminator have them, and odd ones. */
static const cm3_conv_shape shapes[] = {
    {.n = 2, .h = 8, .w = 8, .cin = 32, .cout = 32, .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1},
    {.n = 2, .h = 9, .w = 7, .cin = 3, .cout = 32, .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1},
    {.n = 1, .h = 6, .w = 11, .cin = 32, .cout = 3, .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1},
    {.n = 3, .h = 8, .w = 6, .cin = 16, .cout = 16, .kh = 3, .kw = 3, .stride = 2, 0, 0, 1, 1},
    {.n = 2, .h = 5, .w = 5, .cin = 24, .cout = 40, .kh = 1, .kw = 1, .stride = 1, 0, 0, 0, 0},
    {.n = 1, .h = 5, .w = 7, .cin = 5, .cout = 7, .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1},
    {.n = 2, .h = 10, .w = 10, .cin = 3, .cout = 8, .kh = 4, .kw = 4, .stride = 2, 1, 1, 1, 1},
    {.n = 1, .h = 1, .w = 1, .cin = 1, .cout = 1, .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1},
    {.n = 1, .h = 4, .w = 9, .cin = 2, .cout = 3, .kh = 2, .kw = 5, .stride = 3, 1, 0, 0, 2},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

/** A convolution in double, and the gradients of sum(dy y), from one walk over all products. */
typedef struct naive_conv {
    cm3_conv_shape s;
    const float *x, *w, *bias, *dy;
    double *y, *dx, *dw, *dbias;
} naive_conv;

static void naive_pixel(naive_conv *c, int64_t i) {
    const cm3_conv_shape *s = &c->s;
    int64_t oh = cm3_conv_out_h(s), ow = cm3_conv_out_w(s);
    int64_t o = i % s->cout, column = i / s->cout % ow, row = i / s->cout / ow % oh, n = i / s->cout / ow / oh;
    double dy = (double)c->dy[i], sum = c->bias ? (double)c->bias[o] : 0;
    for (int64_t p = 0; p < s->kh * s->kw * s->cin; p++) {
        int64_t k = p % s->cin, x = p / s->cin % s->kw, y = p / s->cin / s->kw;
        int64_t from_y = row * s->stride - s->pad_top + y, from_x = column * s->stride - s->pad_left + x;
        if (from_y < 0 || from_y >= s->h || from_x < 0 || from_x >= s->w) continue;
        int64_t at_x = ((n * s->h + from_y) * s->w + from_x) * s->cin + k;
        int64_t at_w = ((o * s->cin + k) * s->kh + y) * s->kw + x;
        sum += (double)c->x[at_x] * (double)c->w[at_w];
        c->dx[at_x] += dy * (double)c->w[at_w];
        c->dw[at_w] += dy * (double)c->x[at_x];
    }
    c->dbias[o] += dy;
    c->y[i] = sum;
}

static cm3_conv_shape shape; /**< of the case at hand */
static bool with_bias, twice;

static cm3_tensor *run_conv(graph_case *c, cm3_tensor *x, cm3_tensor *w, cm3_tensor *bias) {
    const cm3_conv_options options = {shape.stride, shape.pad_top, shape.pad_left, shape.pad_bottom, shape.pad_right};
    cm3_tensor *y = cm3_nn_conv2d(c->graph, x, w, bias, &options);
    /* The second use adds to gradients that hold something already. */
    return twice ? cm3_nn_add(c->graph, y, cm3_nn_conv2d(c->graph, x, w, bias, &options)) : y;
}

static void zero_gradient(cm3_tensor *tensor) {
    memset(tensor->grad, 0, (size_t)tensor->count * sizeof(float));
}

static void expect_gradient_of(graph_case *c, const char *what, const cm3_tensor *tensor, const double *expected) {
    for (int64_t i = 0; i < tensor->count; i++) {
        expect_near(c, what, i, (double)tensor->grad[i] / (twice ? 2 : 1), expected[i], 2e-5);
    }
}

static void check_conv(graph_case *c) {
    const cm3_conv_shape *s = &shape;
    int64_t out = s->n * cm3_conv_out_h(s) * cm3_conv_out_w(s) * s->cout;
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){s->n, s->h, s->w, s->cin}, 1);
    cm3_tensor w = some_tensor(c, 4, (int64_t[]){s->cout, s->cin, s->kh, s->kw}, 0.5f);
    cm3_tensor bias = some_tensor(c, 1, &s->cout, 1), dy = some_tensor(c, 1, &out, 1);
    double *sums = calloc((size_t)(out + x.count + w.count + bias.count), sizeof *sums);
    naive_conv expected = {.s = shape,
                           .x = x.data,
                           .w = w.data,
                           .bias = with_bias ? bias.data : NULL,
                           .dy = dy.data,
                           .y = sums,
                           .dx = sums + out,
                           .dw = sums + out + x.count,
                           .dbias = sums + out + x.count + w.count};
    for (int64_t i = 0; i < out; i++) naive_pixel(&expected, i);
    for (int64_t i = 0; i < out && twice; i++) expected.y[i] *= 2;
    for (int round = 0; round < 2; round++) { /* the second time from the cache of primitives */
        cm3_tensor *y = run_conv(c, &x, &w, with_bias ? &bias : NULL);
        ck_assert_ptr_nonnull(y);
        expect_all(c, "convolution", y->data, expected.y, out, 1e-5);
        zero_gradient(&x);
        zero_gradient(&w);
        zero_gradient(&bias);
        send_back(c, y, dy.data);
        expect_gradient_of(c, "convolution's dx", &x, expected.dx);
        expect_gradient_of(c, "convolution's dw", &w, expected.dw);
        if (with_bias) expect_gradient_of(c, "convolution's dbias", &bias, expected.dbias);
        cm3_graph_reset(c->graph);
    }
    free(sums);
    free_tensor(&x);
    free_tensor(&w);
    free_tensor(&bias);
    free_tensor(&dy);
}

START_TEST(conv_and_gradients) {
    shape = shapes[_i / GRAPH_WAYS];
    for (int b = 0; b < 2; b++) {
        with_bias = b == 0;
        twice = b == 1;
        graph_case_run(graph_ways[_i % GRAPH_WAYS], check_conv);
    }
}
END_TEST

/* Weights that are stored as bf16, and a bf16 shadow of f32 ones, give what the f32 numbers give. */
static void check_weights(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){1, 6, 5, 8}, 1), w = some_tensor(c, 4, (int64_t[]){4, 8, 3, 3}, 1);
    const cm3_conv_options same = {1, 1, 1, 1, 1};
    uint16_t *stored = rounded(w.data, w.count);
    cm3_tensor small = cm3_tensor_over(stored, CM3_BF16, 4, w.shape), shadowed = w;
    shadowed.bf16 = stored;
    cm3_tensor *y = cm3_nn_conv2d(c->graph, &x, &w, NULL, &same);
    cm3_tensor *from_small = cm3_nn_conv2d(c->graph, &x, &small, NULL, &same);
    cm3_tensor *from_shadow = cm3_nn_conv2d(c->graph, &x, &shadowed, NULL, &same);
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_OK);
    ck_assert_mem_eq(y->data, from_small->data, (size_t)y->count * sizeof(float));
    ck_assert_mem_eq(y->data, from_shadow->data, (size_t)y->count * sizeof(float));
    free(stored);
    free_tensor(&x);
    free_tensor(&w);
}

START_TEST(conv_weight_types) {
    graph_case_run(graph_ways[_i], check_weights);
}
END_TEST

static void check_refusals(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){1, 2, 2, 8}, 1), w = some_tensor(c, 4, (int64_t[]){4, 8, 3, 3}, 1);
    cm3_tensor other = some_tensor(c, 4, (int64_t[]){4, 7, 3, 3}, 1);
    ck_assert_ptr_null(cm3_nn_conv2d(c->graph, NULL, &w, NULL, &(cm3_conv_options){.stride = 1}));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_OK);
    ck_assert_ptr_null(cm3_nn_conv2d(c->graph, &x, &w, NULL, &(cm3_conv_options){.stride = 1}));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(c->context), "2 x 2"));
    cm3_graph_reset(c->graph);
    ck_assert_ptr_null(cm3_nn_conv2d(c->graph, &x, &other, NULL, &(cm3_conv_options){1, 1, 1, 1, 1}));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_INTERNAL);
    free_tensor(&x);
    free_tensor(&w);
    free_tensor(&other);
}

START_TEST(conv_refusals) {
    graph_case_run(graph_ways[_i], check_refusals);
}
END_TEST

/* With AVX-512 oneDNN has the algorithm for each of these shapes, without it for some; what CM3_CPU says is not its
 * affair. */
static bool may_be(bool same, const graph_case *c) {
    if (!c->graph->dnn) return same;
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx512f")) return true;
#endif
    return !same;
}

/* Large maps by Winograd's algorithm, in strips: near the usual one, not the same; also into the residual's place. */
static void check_winograd(graph_case *c) {
    static const int64_t sizes[][4] = {{64, 64, 16, 16}, {150, 70, 32, 48}, {2000, 33, 16, 32}};
    c->graph->record = false;
    for (int i = 0; i < 6; i++) {
        const int64_t *s = sizes[i / 2];
        const cm3_conv_shape large = {
            .n = 1, .h = s[0], .w = s[1], .cin = s[2], .cout = s[3], .kh = 3, .kw = 3, .stride = 1, 1, 1, 1, 1};
        int64_t out = s[0] * s[1] * s[3];
        float *x = some(&c->numbers, s[0] * s[1] * s[2], 1), *w = some(&c->numbers, s[2] * s[3] * 9, 1);
        float *bias = some(&c->numbers, s[3], 1), *residual = i % 2 ? some(&c->numbers, out, 1) : NULL;
        float *y = malloc((size_t)out * sizeof *y), *usual = malloc((size_t)out * sizeof *usual);
        cm3_graph_reset(c->graph);
        c->graph->winograd = false;
        ck_assert(cm3_conv_forward(c->graph, &large, CM3_F32, x, w, CM3_F32, bias, residual, usual, CM3_F32));
        if (residual) memcpy(y, residual, (size_t)out * sizeof *y);
        c->graph->winograd = true;
        ck_assert(cm3_conv_forward(c->graph, &large, CM3_F32, x, w, CM3_F32, bias, residual ? y : NULL, y, CM3_F32));
        bool same = memcmp(y, usual, (size_t)out * sizeof *y) == 0;
        ck_assert_msg(may_be(same, c), "%s algorithm was used", same ? "the usual" : "another");
        for (int64_t k = 0; k < out; k++) {
            expect_near(c, "winograd", k, (double)y[k], (double)usual[k], 2e-5 * sqrt(9.0 * (double)s[2]));
        }
        free(x), free(w), free(bias), free(residual), free(y), free(usual);
    }
    c->graph->winograd = false;
}

START_TEST(winograd) {
    graph_case_run((graph_way){CM3_COMPUTE_F32, _i % 2, _i / 2 ? 2 : 0}, check_winograd);
}
END_TEST

Suite *conv_suite(void) {
    Suite *suite = suite_create("nn/conv");
    TCase *tcase = tcase_create("conv");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, conv_and_gradients, 0, SHAPES * GRAPH_WAYS);
    tcase_add_loop_test(tcase, conv_weight_types, 0, GRAPH_WAYS);
    tcase_add_loop_test(tcase, conv_refusals, 0, 2);
    tcase_add_loop_test(tcase, winograd, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
