/*
 * Stages of several operations against the operations one by one: products of the same rows, SwiGLU, activations, sums;
 * few rows and many, f32 and bf16 weights, recording or not. And the memory that a pass without a tape uses again.
 */
#include "graph_cases.h"
#include "suites.h"

/** What a stage is fed: x [rows, k], two matrices [n, k] with biases, a third of another height, a sum [rows, n]. */
typedef struct stage_case {
    graph_case *c;
    int64_t rows, k, n, other;
    cm3_tensor x, sum, w[3], bias[3];
    uint16_t *rounded[3];
    cm3_linear_weights weights[3];
} stage_case;

static void stage_up(stage_case *s, graph_case *c, int64_t rows, int64_t k, int64_t n, int64_t other) {
    *s = (stage_case){.c = c, .rows = rows, .k = k, .n = n, .other = other};
    s->x = some_tensor(c, 2, (int64_t[]){rows, k}, 1);
    s->sum = some_tensor(c, 2, (int64_t[]){rows, n}, 1);
    for (int i = 0; i < 3; i++) {
        int64_t height = i < 2 ? n : other;
        s->w[i] = some_tensor(c, 2, (int64_t[]){height, k}, 1);
        s->bias[i] = some_tensor(c, 1, (int64_t[]){height}, 1);
        s->rounded[i] = rounded(cm3_f32(&s->w[i]), height * k);
        if (next_below(&c->numbers, 2)) { /* as files hold them: bf16, without gradient */
            free(s->w[i].data);
            s->w[i].data = s->rounded[i];
            s->rounded[i] = NULL;
            s->w[i].dtype = CM3_BF16;
            s->w[i].wants_grad = false;
        }
        s->weights[i] = (cm3_linear_weights){&s->w[i], next_below(&c->numbers, 2) ? &s->bias[i] : NULL};
    }
}

static void stage_down(stage_case *s) {
    for (int i = 0; i < 3; i++) {
        free_tensor(&s->w[i]);
        free_tensor(&s->bias[i]);
        free(s->rounded[i]);
    }
    free_tensor(&s->x);
    free_tensor(&s->sum);
}

static cm3_tensor *plain(const stage_case *s, int i) {
    return cm3_nn_linear(s->c->graph, (cm3_tensor *)&s->x, s->weights[i].w, s->weights[i].bias);
}

static void expect_same(const stage_case *s, const char *what, const cm3_tensor *y, const cm3_tensor *expected) {
    ck_assert_ptr_nonnull(y);
    ck_assert_ptr_nonnull(expected);
    ck_assert_int_eq(y->count, expected->count);
    for (int64_t i = 0; i < y->count; i++) {
        expect_near(s->c, what, i, (double)cm3_f32(y)[i], (double)cm3_f32(expected)[i], 1e-5 * sqrt((double)s->k));
    }
}

static void check_stage(stage_case *s) {
    cm3_graph *g = s->c->graph;
    cm3_tensor *y[3];
    cm3_nn_linear_each(g, &s->x, s->weights, 3, y);
    for (int i = 0; i < 3; i++) expect_same(s, "each", y[i], plain(s, i));
    cm3_tensor *up = plain(s, 1);
    expect_same(s, "swiglu", cm3_nn_linear_swiglu(g, &s->x, &s->weights[0], &s->weights[1]),
                cm3_nn_swiglu(g, plain(s, 0), up));
    for (int kind = CM3_ACT_SWISH; kind <= CM3_ACT_RELU; kind++) {
        expect_same(s, "activation", cm3_nn_linear_activation(g, &s->x, &s->weights[0], (cm3_activation)kind),
                    cm3_nn_activation(g, plain(s, 0), (cm3_activation)kind));
    }
    cm3_tensor *sum = cm3_nn_add(g, &s->sum, plain(s, 0)), *before = cm3_nn_scale(g, &s->sum, 1);
    cm3_tensor *joined = cm3_nn_linear_add(g, &s->x, &s->weights[0], &s->sum);
    expect_same(s, "sum", joined, sum);
    if (g->record) {
        expect_same(s, "the sum's operand", &s->sum, before);
    } else {
        ck_assert_ptr_eq(joined, &s->sum);
    }
    ck_assert_int_eq(cm3_graph_status(g), CM3_OK);
}

static void check_stages(graph_case *c) {
    static const int64_t rows[] = {1, 2, 3, 7, 8, 9, 17, 32, 33, 50};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        stage_case s;
        c->graph->record = i % 2;
        stage_up(&s, c, rows[i / 2], 1 + next_size(&c->numbers) * (i % 3 ? 1 : 7), next_size(&c->numbers),
                 next_size(&c->numbers));
        check_stage(&s);
        stage_down(&s);
        cm3_graph_reset(c->graph);
    }
}

START_TEST(stages) {
    graph_case_run(graph_ways[_i], check_stages);
}
END_TEST

/* A pass that is not recorded uses a layer's memory again for the next; one that is keeps everything. */
static void check_memory(graph_case *c) {
    cm3_graph *g = c->graph;
    cm3_tensor x = some_tensor(c, 2, (int64_t[]){4, 1000}, 1);
    for (int record = 0; record < 2; record++) {
        cm3_graph_reset(g);
        g->record = record;
        size_t first = 0;
        for (int layer = 0; layer < 10; layer++) {
            cm3_arena_mark mark = cm3_graph_mark(g);
            ck_assert_ptr_nonnull(cm3_nn_scale(g, cm3_nn_scale(g, &x, 2), 3));
            cm3_graph_rewind(g, mark);
            if (!layer) first = cm3_arena_peak(g->arena);
        }
        if (record) ck_assert_uint_ge(cm3_arena_peak(g->arena), 10 * (first - 1));
        /* The tensors themselves are kept. */
        if (!record) ck_assert_uint_lt(cm3_arena_peak(g->arena), first + 10 * 2 * 512);
    }
    free_tensor(&x);
}

START_TEST(memory_of_layers) {
    graph_case_run(graph_ways[0], check_memory);
}
END_TEST

static void check_misfits(graph_case *c) {
    stage_case s;
    cm3_graph *g = c->graph;
    stage_up(&s, c, 3, 8, 5, 6);
    g->record = false;
    cm3_tensor *y[2];
    const cm3_linear_weights wrong = {&s.x, NULL};
    s.sum.count--;
    ck_assert_ptr_null(cm3_nn_linear_add(g, &s.x, &s.weights[0], &s.sum));
    ck_assert_int_eq(cm3_graph_status(g), CM3_ERROR_INTERNAL);
    s.sum.count++;
    cm3_graph_reset(g);
    ck_assert_ptr_null(cm3_nn_linear_swiglu(g, &s.x, &s.weights[0], &s.weights[2]));
    ck_assert_int_eq(cm3_graph_status(g), CM3_ERROR_INTERNAL);
    cm3_graph_reset(g);
    ck_assert_ptr_null(cm3_nn_linear_activation(g, &s.sum, &wrong, CM3_ACT_GELU));
    ck_assert_int_eq(cm3_graph_status(g), CM3_ERROR_INTERNAL);
    cm3_nn_linear_each(g, &s.x, s.weights, 2, y); /* errors stick */
    ck_assert(!y[0] && !y[1]);
    cm3_graph_reset(g);
    cm3_nn_linear_each(g, NULL, s.weights, 2, y);
    ck_assert(!y[0] && !y[1]);
    ck_assert_ptr_null(cm3_nn_linear_add(g, NULL, &s.weights[0], &s.sum));
    ck_assert_int_eq(cm3_graph_status(g), CM3_OK);
    stage_down(&s);
}

START_TEST(misfits) {
    graph_case_run(graph_ways[0], check_misfits);
}
END_TEST

Suite *stages_suite(void) {
    Suite *suite = suite_create("nn/stages");
    TCase *tcase = tcase_create("stages");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, stages, 0, GRAPH_WAYS);
    tcase_add_test(tcase, memory_of_layers);
    tcase_add_test(tcase, misfits);
    suite_add_tcase(suite, tcase);
    return suite;
}
