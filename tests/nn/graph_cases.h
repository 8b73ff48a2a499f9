/*
 * What the tests of operations share: a graph of a given team and compute type, with and without oneDNN; tensors of
 * random numbers; gradients compared with differences of a forward pass in double.
 */
#ifndef CM3_TESTS_NN_GRAPH_CASES_H
#define CM3_TESTS_NN_GRAPH_CASES_H

#include "kernel_cases.h"
#include "nn/ops.h"
#include "support/fixture.h"

/** One way of running an operation. */
typedef struct graph_way {
    cm3_compute compute;
    bool dnn;
    int threads;
} graph_way;

static const graph_way graph_ways[] = {
    {CM3_COMPUTE_F32, true, 0},  {CM3_COMPUTE_F32, false, 0},  {CM3_COMPUTE_F32, true, 3},
    {CM3_COMPUTE_F32, false, 3}, {CM3_COMPUTE_BF16, true, 0},  {CM3_COMPUTE_BF16, false, 0},
    {CM3_COMPUTE_BF16, true, 2}, {CM3_COMPUTE_BF16, false, 2},
};
#define GRAPH_WAYS ((int)(sizeof graph_ways / sizeof *graph_ways))

typedef struct graph_case {
    test_allocator memory;
    cm3_context *context;
    cm3_graph *graph;
    struct cm3_dnn *dnn; /**< kept aside while the graph is to do without */
    graph_way way;
    numbers_state numbers;
    void (*body)(struct graph_case *);
} graph_case;

static inline void graph_case_up(graph_case *c, graph_way way) {
    memset(c, 0, sizeof *c);
    test_allocator_init(&c->memory);
    cm3_allocator allocator = test_allocator_of(&c->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = way.threads;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c->context), CM3_OK);
    c->way = way;
    c->numbers.state = 7;
}

static inline cm3_status graph_case_body(void *arg) {
    graph_case *c = arg;
    const cm3_graph_options options = {.record = true, .compute = c->way.compute};
    ck_assert_int_eq(cm3_graph_create(c->context, &options, &c->graph), CM3_OK);
    c->dnn = c->graph->dnn;
    if (!c->way.dnn) c->graph->dnn = NULL;
    c->body(c);
    c->graph->dnn = c->dnn;
    cm3_graph_destroy(c->graph);
    return CM3_OK;
}

/** Runs `body` on the compute thread of a context made for it; nothing is left of its memory afterwards. */
static inline void graph_case_run(graph_way way, void (*body)(graph_case *)) {
    graph_case c;
    graph_case_up(&c, way);
    c.body = body;
    ck_assert_int_eq(cm3_context_run(c.context, graph_case_body, &c), CM3_OK);
    cm3_context_destroy(c.context);
    ck_assert_int_eq(atomic_load(&c.memory.live), 0);
}

/** A tensor of numbers that bf16 holds exactly, with a zeroed gradient of its own as parameters have. */
static inline cm3_tensor some_tensor(graph_case *c, int rank, const int64_t *shape, float range) {
    cm3_tensor tensor = cm3_tensor_over(NULL, CM3_F32, rank, shape);
    float *values = some(&c->numbers, tensor.count, range);
    for (int64_t i = 0; i < tensor.count; i++) values[i] = cm3_bf16_to_f32(cm3_f32_to_bf16(values[i]));
    tensor.data = values;
    tensor.grad = calloc((size_t)tensor.count + 1, sizeof(float));
    tensor.has_grad = true;
    tensor.wants_grad = true;
    return tensor;
}

static inline void free_tensor(cm3_tensor *tensor) {
    free(tensor->data);
    free(tensor->grad);
}

/** Sends `dy` backwards from y. */
static inline void send_back(graph_case *c, cm3_tensor *y, const float *dy) {
    ck_assert_ptr_nonnull(y);
    y->grad = cm3_graph_scratch(c->graph, (size_t)y->count * sizeof(float));
    ck_assert_ptr_nonnull(y->grad);
    memcpy(y->grad, dy, (size_t)y->count * sizeof(float));
    y->has_grad = true;
    ck_assert_int_eq(cm3_graph_backward(c->graph, y, 0), CM3_OK);
}

/** Fails unless |value - expected| <= tolerance max(1, |expected|). */
static inline void expect_near(const graph_case *c, const char *what, int64_t place, double value, double expected,
                               double tolerance) {
    double scale = fabs(expected) > 1.0 ? fabs(expected) : 1.0;
    if (fabs(value - expected) <= tolerance * scale) return;
    ck_abort_msg("%s (%s, oneDNN %s, %d threads) at %lld: %.9g, expected %.9g", what,
                 c->way.compute == CM3_COMPUTE_BF16 ? "bf16" : "f32", c->way.dnn ? "on" : "off", c->way.threads,
                 (long long)place, value, expected);
}

static inline void expect_all(const graph_case *c, const char *what, const float *values, const double *expected,
                              int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++) expect_near(c, what, i, (double)values[i], expected[i], tolerance);
}

/** sum(dy y) of a forward pass in double; `arg` says what y depends on, among it `x`. */
typedef double (*weighed_output)(void *arg);

/** Compares a gradient with central differences at up to `places` places of `tensor`. */
static inline void expect_gradient(graph_case *c, const char *what, cm3_tensor *tensor, double *x, weighed_output fn,
                                   void *arg, int64_t places, double step, double tolerance) {
    int64_t stride = tensor->count > places ? tensor->count / places : 1;
    for (int64_t i = 0; i < tensor->count; i += stride) {
        double kept = x[i];
        x[i] = kept + step;
        double up = fn(arg);
        x[i] = kept - step;
        double down = fn(arg);
        x[i] = kept;
        expect_near(c, what, i, (double)tensor->grad[i], (up - down) / (2 * step), tolerance);
    }
}

static inline double *doubles_of(const float *values, int64_t count) {
    double *copy = malloc((size_t)(count + 1) * sizeof *copy);
    for (int64_t i = 0; i < count; i++) copy[i] = (double)values[i];
    return copy;
}

#endif
