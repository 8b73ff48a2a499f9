/* Operations that are made of several: against the same done one by one, values and gradients. */
#include "graph_cases.h"
#include "suites.h"

#define MAX_PARAMETERS 11

typedef struct block_shape {
    int64_t n, h, w, cin, cout, groups;
} block_shape;

static const block_shape shapes[] = {
    {2, 6, 5, 32, 32, 8}, {3, 4, 4, 16, 24, 4}, {1, 20, 18, 6, 6, 3}, {1, 1, 1, 8, 16, 2}, {2, 7, 3, 5, 10, 5},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

static block_shape shape;
static bool fused, residual;

/** The parameters in the order of an image tokenizer's block: gamma, beta, weight, bias, twice; the shortcut's. */
typedef struct parameters {
    cm3_tensor x, t[MAX_PARAMETERS - 1];
} parameters;

static void make_parameters(graph_case *c, parameters *p) {
    const block_shape *s = &shape;
    p->x = some_tensor(c, 4, (int64_t[]){s->n, s->h, s->w, s->cin}, 1);
    for (int i = 0; i < 2; i++) {
        int64_t in = i ? s->cout : s->cin;
        p->t[4 * i] = some_tensor(c, 1, &in, 1.5f);
        p->t[4 * i + 1] = some_tensor(c, 1, &in, 1);
        p->t[4 * i + 2] = some_tensor(c, 4, (int64_t[]){s->cout, in, 3, 3}, 0.2f);
        p->t[4 * i + 3] = some_tensor(c, 1, &s->cout, 1);
    }
    p->t[8] = some_tensor(c, 4, (int64_t[]){s->cout, s->cin, 1, 1}, 0.3f);
    p->t[9] = some_tensor(c, 1, &s->cout, 1);
}

static void free_parameters(parameters *p) {
    free_tensor(&p->x);
    for (int i = 0; i < 10; i++) free_tensor(&p->t[i]);
}

static const cm3_conv_options same = {1, 1, 1, 1, 1}, point = {.stride = 1};

static cm3_tensor *stage(graph_case *c, cm3_tensor *x, cm3_tensor *t) {
    cm3_tensor *y = cm3_nn_group_norm(c->graph, x, &t[0], &t[1], shape.groups, 1e-6f, true);
    return cm3_nn_conv2d(c->graph, y, &t[2], &t[3], &same);
}

static cm3_norm_conv parts(cm3_tensor *t) {
    return (cm3_norm_conv){&t[0], &t[1], &t[2], &t[3], shape.groups, 1e-6f};
}

static cm3_tensor *run_block(graph_case *c, parameters *p) {
    bool shortcut = shape.cin != shape.cout;
    if (fused && residual) {
        cm3_res_block block = {parts(p->t), parts(p->t + 4), shortcut ? &p->t[8] : NULL, shortcut ? &p->t[9] : NULL};
        return cm3_nn_res_block(c->graph, &p->x, &block);
    }
    if (fused) {
        cm3_norm_conv first = parts(p->t);
        return cm3_nn_norm_conv2d(c->graph, &p->x, &first, &same);
    }
    cm3_tensor *h = stage(c, &p->x, p->t);
    if (!residual) return h;
    cm3_tensor *by = shortcut ? cm3_nn_conv2d(c->graph, &p->x, &p->t[8], &p->t[9], &point) : &p->x;
    return cm3_nn_add(c->graph, by, stage(c, h, p->t + 4));
}

/** Largest difference between two runs, relative to the largest value. */
static double apart(const float *a, const float *b, int64_t count) {
    double worst = 0, largest = 1e-3;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= worst)) worst = difference;
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
    }
    return worst / largest;
}

static void expect_alike(const graph_case *c, const char *what, int place, const float *a, const float *b,
                         int64_t count) {
    double limit = c->way.compute == CM3_COMPUTE_BF16 ? 0.03 : 2e-5, found = apart(a, b, count);
    ck_assert_msg(found <= limit, "%s %d (%s, oneDNN %s, %d threads): %g apart", what, place,
                  c->way.compute == CM3_COMPUTE_BF16 ? "bf16" : "f32", c->way.dnn ? "on" : "off", c->way.threads,
                  found);
}

static void check_block(graph_case *c) {
    parameters p;
    make_parameters(c, &p);
    int64_t count = shape.n * shape.h * shape.w * shape.cout;
    cm3_tensor dy = some_tensor(c, 1, &count, 1);
    float *values[2], *gradients[2][MAX_PARAMETERS];
    for (int round = 0; round < 2; round++) {
        fused = round;
        cm3_tensor *y = run_block(c, &p);
        ck_assert_msg(y != NULL, "%s", cm3_context_message(c->context));
        ck_assert_int_eq(y->count, count);
        values[round] = copy_of(y->data, count);
        /* Twice, so that gradients are added to, of x too. */
        y = cm3_nn_add(c->graph, y, run_block(c, &p));
        send_back(c, y, dy.data);
        for (int i = 0; i < MAX_PARAMETERS; i++) {
            cm3_tensor *t = i < 10 ? &p.t[i] : &p.x;
            gradients[round][i] = copy_of(t->grad, t->count);
            memset(t->grad, 0, (size_t)t->count * sizeof(float));
        }
        cm3_graph_reset(c->graph);
    }
    expect_alike(c, "block", 0, values[1], values[0], count);
    for (int i = 0; i < MAX_PARAMETERS; i++) {
        const cm3_tensor *t = i < 10 ? &p.t[i] : &p.x;
        /* One group of one pixel: the norm's output does not depend on x, and its gradient is rounding alone. */
        if (shape.h * shape.w > 1) expect_alike(c, "gradient", i, gradients[1][i], gradients[0][i], t->count);
        free(gradients[0][i]);
        free(gradients[1][i]);
    }
    free(values[0]);
    free(values[1]);
    free_tensor(&dy);
    free_parameters(&p);
}

START_TEST(blocks) {
    shape = shapes[_i / GRAPH_WAYS];
    for (int i = 0; i < 2; i++) {
        residual = i;
        graph_case_run(graph_ways[_i % GRAPH_WAYS], check_block);
    }
}
END_TEST

static void check_upsampled(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){shape.n, shape.h, shape.w, shape.cin}, 1);
    cm3_tensor w = some_tensor(c, 4, (int64_t[]){shape.cout, shape.cin, 3, 3}, 0.3f),
               bias = some_tensor(c, 1, &shape.cout, 1);
    int64_t count = shape.n * shape.h * shape.w * shape.cout * 4;
    cm3_tensor dy = some_tensor(c, 1, &count, 1);
    float *values[2], *gradients[2][3];
    cm3_tensor *all[] = {&x, &w, &bias};
    for (int round = 0; round < 2; round++) {
        cm3_tensor *y[2];
        for (int i = 0; i < 2; i++) {
            y[i] = round ? cm3_nn_upsample_conv2d(c->graph, &x, &w, &bias, &same)
                         : cm3_nn_conv2d(c->graph, cm3_nn_upsample(c->graph, &x), &w, &bias, &same);
        }
        ck_assert_ptr_nonnull(y[0]);
        ck_assert_int_eq(y[0]->count, count);
        values[round] = copy_of(y[0]->data, count);
        send_back(c, cm3_nn_add(c->graph, y[0], y[1]), dy.data);
        for (int i = 0; i < 3; i++) {
            gradients[round][i] = copy_of(all[i]->grad, all[i]->count);
            memset(all[i]->grad, 0, (size_t)all[i]->count * sizeof(float));
        }
        cm3_graph_reset(c->graph);
    }
    ck_assert_mem_eq(values[0], values[1], (size_t)count * sizeof(float));
    for (int i = 0; i < 3; i++) {
        expect_alike(c, "gradient", i, gradients[1][i], gradients[0][i], all[i]->count);
        free(gradients[0][i]);
        free(gradients[1][i]);
    }
    free(values[0]);
    free(values[1]);
    free_tensor(&x);
    free_tensor(&w);
    free_tensor(&bias);
    free_tensor(&dy);
}

START_TEST(upsampled) {
    shape = shapes[_i / GRAPH_WAYS];
    graph_case_run(graph_ways[_i % GRAPH_WAYS], check_upsampled);
}
END_TEST

/* Without a tape the large map is not made: by sums of weights, which are f32 or bf16. */
static void check_doubled(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){shape.n, shape.h, shape.w, shape.cin}, 1);
    cm3_tensor w = some_tensor(c, 4, (int64_t[]){shape.cout, shape.cin, 3, 3}, 0.3f),
               bias = some_tensor(c, 1, &shape.cout, 1);
    uint16_t *stored = rounded(w.data, w.count);
    for (int64_t i = 0; i < w.count; i++) cm3_f32(&w)[i] = cm3_bf16_to_f32(stored[i]);
    cm3_tensor small = cm3_tensor_over(stored, CM3_BF16, 4, w.shape);
    c->graph->record = false;
    for (int i = 0; i < 2; i++) {
        cm3_tensor *b = i ? &bias : NULL, *large = cm3_nn_upsample(c->graph, &x);
        cm3_tensor *wanted = cm3_nn_conv2d(c->graph, large, &w, b, &same);
        cm3_tensor *y = cm3_nn_upsample_conv2d(c->graph, &x, i ? &small : &w, b, &same);
        ck_assert_ptr_nonnull(y);
        ck_assert_int_eq(cm3_graph_status(c->graph), CM3_OK);
        ck_assert_int_eq(y->count, wanted->count);
        for (int64_t k = 0; k < y->count; k++) {
            double found = (double)cm3_f32(y)[k];
            expect_near(c, "of doubled pixels", k, found, (double)cm3_f32(wanted)[k],
                        3e-6 * sqrt(9.0 * (double)shape.cin));
        }
    }
    free(stored);
    free_tensor(&x);
    free_tensor(&w);
    free_tensor(&bias);
}

START_TEST(doubled) {
    shape = shapes[_i / 4];
    graph_case_run((graph_way){CM3_COMPUTE_F32, _i % 2, _i / 2 % 2 ? 2 : 0}, check_doubled);
}
END_TEST

/* Very many channels: pixels of the large map are gathered one by one. */
START_TEST(upsampled_wide) {
    shape = (block_shape){1, 2, 2, 700, 2, 1};
    graph_case_run(graph_ways[_i], check_upsampled);
}
END_TEST

/* Squares of pixels as channels, there and back. */
static void check_squares(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){2, 6, 4, 3}, 1), dy = some_tensor(c, 1, &x.count, 1);
    cm3_tensor *squares = cm3_nn_space_to_depth(c->graph, &x, 2);
    ck_assert_ptr_nonnull(squares);
    ck_assert_int_eq(squares->shape[1], 3);
    ck_assert_int_eq(squares->shape[3], 12);
    for (int64_t i = 0; i < x.count; i++) {
        int64_t k = i % 3, column = i / 3 % 4, row = i / 12 % 6, n = i / 72;
        int64_t at = ((n * 3 + row / 2) * 2 + column / 2) * 12 + (row % 2 * 2 + column % 2) * 3 + k;
        ck_assert(cm3_f32(squares)[at] == cm3_f32(&x)[i]);
    }
    cm3_tensor *back = cm3_nn_depth_to_space(c->graph, squares, 2);
    ck_assert_mem_eq(back->data, x.data, (size_t)x.count * sizeof(float));
    send_back(c, back, dy.data);
    ck_assert_mem_eq(x.grad, dy.data, (size_t)x.count * sizeof(float));
    ck_assert_ptr_null(cm3_nn_space_to_depth(c->graph, &x, 4));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_INVALID_ARGUMENT);
    free_tensor(&x);
    free_tensor(&dy);
}

START_TEST(squares) {
    graph_case_run(graph_ways[_i], check_squares);
}
END_TEST

Suite *res_block_suite(void) {
    Suite *suite = suite_create("nn/res_block");
    TCase *tcase = tcase_create("res_block");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, blocks, 0, SHAPES * GRAPH_WAYS);
    tcase_add_loop_test(tcase, doubled, 0, SHAPES * 4);
    tcase_add_loop_test(tcase, upsampled, 0, SHAPES * GRAPH_WAYS);
    tcase_add_loop_test(tcase, upsampled_wide, 0, GRAPH_WAYS);
    tcase_add_loop_test(tcase, squares, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
