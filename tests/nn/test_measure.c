/*
 * What a measuring graph says of each operation against what the operation takes: the arena's peak, oneDNN's working
 * memory, and nothing from the allocator once both are reserved. Parameters have no data where nothing is computed, so
 * that an operation which touches any does not live to be compared.
 */
#include <errno.h>
#include <unistd.h>

#include "graph_cases.h"
#include "suites.h"

#define MOST_PIECES 64

/** One run of an operation: its graph, its sizes, and the memory that lies outside of the graph. */
typedef struct measured_run {
    cm3_graph *graph;
    int64_t rows;
    cm3_dtype dtype; /**< of matrices and caches */
    void *pieces[MOST_PIECES];
    int piece_count;
} measured_run;

/** `size` bytes of zeros; NULL where nothing must be read. */
static void *outside(measured_run *r, size_t size, bool always) {
    if (r->graph->measure && !always) return NULL;
    ck_assert_int_lt(r->piece_count, MOST_PIECES);
    return r->pieces[r->piece_count++] = calloc(1, size + 64);
}

static cm3_tensor *typed(measured_run *r, cm3_dtype dtype, int rank, const int64_t *shape) {
    cm3_tensor *tensor = outside(r, sizeof *tensor, true);
    *tensor = cm3_tensor_over(NULL, dtype, rank, shape);
    tensor->data = outside(r, (size_t)tensor->count * cm3_dtype_size(dtype), false);
    return tensor;
}

static cm3_tensor *vector(measured_run *r, int64_t n) {
    return typed(r, CM3_F32, 1, &n);
}

static cm3_tensor *matrix(measured_run *r, int64_t n, int64_t k) {
    return typed(r, r->dtype, 2, (const int64_t[]){n, k});
}

/** What an operation before would have left in the graph. */
static cm3_tensor *activation(measured_run *r, int rank, const int64_t *shape) {
    cm3_tensor *tensor = cm3_graph_tensor(r->graph, CM3_F32, rank, shape);
    ck_assert_ptr_nonnull(tensor);
    if (!r->graph->measure) memset(tensor->data, 0, (size_t)tensor->count * sizeof(float));
    return tensor;
}

static cm3_tensor *rows_of(measured_run *r, int64_t n) {
    return activation(r, 2, (const int64_t[]){r->rows, n});
}

static cm3_tensor *map(measured_run *r, int64_t n, int64_t side, int64_t channels) {
    return activation(r, 4, (const int64_t[]){n, side, side, channels});
}

/* --- products ------------------------------------------------------------------------------------------------------
 */

static cm3_linear_weights weights(measured_run *r, int64_t n, int64_t k, bool bias) {
    return (cm3_linear_weights){matrix(r, n, k), bias ? vector(r, n) : NULL};
}

static cm3_tensor *linear(measured_run *r) {
    cm3_linear_weights w = weights(r, 70, 48, false);
    return cm3_nn_linear(r->graph, rows_of(r, 48), w.w, w.bias);
}

static cm3_tensor *linear_bias(measured_run *r) {
    cm3_linear_weights w = weights(r, 33, 17, true);
    return cm3_nn_linear(r->graph, rows_of(r, 17), w.w, w.bias);
}

static cm3_tensor *linear_each(measured_run *r) {
    const cm3_linear_weights w[] = {weights(r, 64, 40, true), weights(r, 32, 40, false), weights(r, 31, 40, false)};
    cm3_tensor *y[3];
    cm3_nn_linear_each(r->graph, rows_of(r, 40), w, 3, y);
    return y[0] && y[1] ? y[2] : NULL;
}

static cm3_tensor *linear_swiglu(measured_run *r) {
    cm3_linear_weights gate = weights(r, 50, 24, true), up = weights(r, 50, 24, false);
    return cm3_nn_linear_swiglu(r->graph, rows_of(r, 24), &gate, &up);
}

static cm3_tensor *linear_activation(measured_run *r) {
    cm3_linear_weights w = weights(r, 26, 40, true);
    return cm3_nn_linear_activation(r->graph, rows_of(r, 40), &w, CM3_ACT_GELU);
}

static cm3_tensor *linear_add(measured_run *r) {
    cm3_linear_weights w = weights(r, 36, 40, true);
    return cm3_nn_linear_add(r->graph, rows_of(r, 40), &w, rows_of(r, 36));
}

static cm3_tensor *matmul(measured_run *r) {
    cm3_tensor *y = NULL;
    for (int turned = 0; turned < 4; turned++) {
        bool trans_a = turned & 1, trans_b = turned & 2;
        const int64_t a[] = {2, trans_a ? 19 : r->rows, trans_a ? r->rows : 19};
        const int64_t b[] = {2, trans_b ? 23 : 19, trans_b ? 19 : 23};
        y = cm3_nn_matmul(r->graph, activation(r, 3, a), trans_a, activation(r, 3, b), trans_b);
        if (!y) break;
    }
    return y;
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

static cm3_tensor *norms(measured_run *r) {
    cm3_tensor *x = rows_of(r, 48);
    x = cm3_nn_rms_norm(r->graph, x, vector(r, 48), 1e-5f);
    x = cm3_nn_layer_norm(r->graph, x, NULL, NULL, 1e-5f);
    x = cm3_nn_layer_norm(r->graph, x, vector(r, 48), vector(r, 48), 1e-5f);
    cm3_tensor *gamma = typed(r, CM3_F32, 2, (const int64_t[]){4, 12});
    return cm3_nn_layer_norm(r->graph, x, gamma, typed(r, CM3_F32, 2, gamma->shape), 1e-5f);
}

static cm3_tensor *pointwise(measured_run *r) {
    cm3_tensor *a = rows_of(r, 300), *b = rows_of(r, 300);
    a = cm3_nn_scale(r->graph, cm3_nn_add(r->graph, a, b), 2);
    a = cm3_nn_swiglu(r->graph, cm3_nn_activation(r->graph, a, CM3_ACT_RELU), b);
    a = cm3_nn_swiglu_to(r->graph, cm3_nn_activation_to(r->graph, a, CM3_ACT_GELU), b);
    a = cm3_nn_softmax(r->graph, cm3_nn_add_to(r->graph, a, b));
    return cm3_nn_reshape(r->graph, a, 3, (const int64_t[]){r->rows, 3, 100});
}

static cm3_tensor *embedding(measured_run *r) {
    cm3_tensor *x = cm3_nn_embedding(r->graph, matrix(r, 9, 30), outside(r, (size_t)r->rows * 4, false), r->rows);
    return cm3_nn_embedding(r->graph, x, outside(r, 8, false), 2);
}

static cm3_tensor *rope(measured_run *r) {
    cm3_rope_table table;
    const int32_t *positions = outside(r, (size_t)r->rows * sizeof *positions, false);
    if (!cm3_nn_rope_table(r->graph, positions, r->rows, 12, 10000, &table)) return NULL;
    return cm3_nn_rope(r->graph, rows_of(r, 36), &table);
}

/* --- attention -----------------------------------------------------------------------------------------------------
 */

static cm3_tensor *attend(measured_run *r, const cm3_attention_plan *plan) {
    cm3_tensor *q = rows_of(r, 4 * 12), *k = rows_of(r, 2 * 12), *v = rows_of(r, 2 * 12);
    return cm3_nn_attention(r->graph, q, k, v, 4, 2, plan, 1);
}

static cm3_tensor *attention_of_rows(measured_run *r) {
    const cm3_attention_plan plan = {.first = outside(r, (size_t)r->rows * sizeof(int32_t), true)};
    return attend(r, &plan);
}

/** Headers are read, keys and values are not. */
static cm3_kv_cache *cache_of(measured_run *r, int64_t length, int64_t capacity, const cm3_kv_cache *prefix) {
    cm3_kv_cache *cache = outside(r, sizeof *cache, true);
    *cache = (cm3_kv_cache){.dtype = r->dtype,
                            .layers = 2,
                            .kv_heads = 2,
                            .head_dim = 12,
                            .capacity = capacity,
                            .length = length,
                            .k = outside(r, 2 * sizeof(void *), true),
                            .v = outside(r, 2 * sizeof(void *), true),
                            .prefix = prefix};
    cache->k[1] = outside(r, (size_t)(capacity * 2 * 12) * sizeof(float), false);
    cache->v[1] = outside(r, (size_t)(capacity * 2 * 12) * sizeof(float), false);
    return cache;
}

static cm3_tensor *attention_of_one(measured_run *r) {
    cm3_sequence sequence = {cache_of(r, 30, 200, NULL), 0, r->rows};
    return attend(r, &(cm3_attention_plan){.sequences = &sequence, .sequence_count = 1});
}

static cm3_tensor *attention_of_many(measured_run *r) {
    cm3_sequence sequences[64];
    ck_assert_int_le(r->rows, 64);
    const cm3_kv_cache *prefix = cache_of(r, 40, 40, NULL);
    for (int64_t i = 0; i < r->rows; i++) { /* the first three share what the others do not have */
        cm3_kv_cache *cache = i < 6 ? cache_of(r, 5 + i, 20, i < 3 ? prefix : NULL) : sequences[5].cache;
        sequences[i] = (cm3_sequence){cache, i, 1};
    }
    return attend(r, &(cm3_attention_plan){.sequences = sequences, .sequence_count = r->rows});
}

/* --- maps ----------------------------------------------------------------------------------------------------------
 */

static cm3_tensor *window(measured_run *r, int64_t out, int64_t in, int64_t side) {
    return typed(r, r->dtype, 4, (const int64_t[]){out, in, side, side});
}

static cm3_norm_conv norm_conv(measured_run *r, int64_t out, int64_t in) {
    return (cm3_norm_conv){vector(r, in), vector(r, in), window(r, out, in, 3), vector(r, out), in / 4, 1e-6f};
}

static const cm3_conv_options same = {1, 1, 1, 1, 1};

static cm3_tensor *convolutions(measured_run *r) {
    const cm3_conv_options halve = {.stride = 2, .pad_bottom = 1, .pad_right = 1}, point = {.stride = 1};
    cm3_tensor *x = map(r, 2, 14, 3);
    x = cm3_nn_conv2d(r->graph, x, window(r, 16, 3, 3), vector(r, 16), &same);
    x = cm3_nn_conv2d(r->graph, x, window(r, 20, 16, 3), NULL, &halve);
    x = cm3_nn_conv2d(r->graph, x, window(r, 16, 20, 1), vector(r, 16), &point);
    return cm3_nn_upsample_conv2d(r->graph, x, window(r, 5, 16, 3), vector(r, 5), &same);
}

static cm3_tensor *res_blocks(measured_run *r) {
    cm3_tensor *x = map(r, 2, 12, 16);
    cm3_res_block plain = {norm_conv(r, 16, 16), norm_conv(r, 16, 16), NULL, NULL};
    cm3_res_block wider = {norm_conv(r, 32, 16), norm_conv(r, 32, 32), window(r, 32, 16, 1), vector(r, 32)};
    x = cm3_nn_res_block_to(r->graph, cm3_nn_res_block(r->graph, x, &plain), &plain);
    x = cm3_nn_res_block_to(r->graph, x, &wider);
    cm3_norm_conv out = norm_conv(r, 3, 32);
    return cm3_nn_norm_conv2d(r->graph, x, &out, &same);
}

/** Large enough for Winograd's algorithm, in strips, with and without a sum. */
static cm3_tensor *large_maps(measured_run *r) {
    r->graph->winograd = true;
    cm3_tensor *x = map(r, 1, 72, 16);
    cm3_res_block plain = {norm_conv(r, 32, 16), norm_conv(r, 16, 32), NULL, NULL};
    x = cm3_nn_res_block_to(r->graph, x, &plain);
    return cm3_nn_conv2d(r->graph, x, window(r, 48, 16, 3), vector(r, 48), &same);
}

static cm3_tensor *other_maps(measured_run *r) {
    cm3_tensor *x = map(r, 3, 8, 12);
    x = cm3_nn_group_norm(r->graph, x, vector(r, 12), vector(r, 12), 3, 1e-6f, true);
    x = cm3_nn_downsample(r->graph, cm3_nn_upsample(r->graph, x));
    return cm3_nn_depth_to_space(r->graph, cm3_nn_space_to_depth(r->graph, x, 4), 2);
}

/* --- losses --------------------------------------------------------------------------------------------------------
 */

static cm3_tensor *losses(measured_run *r) {
    cm3_tensor *x = rows_of(r, 150);
    const float *target = outside(r, (size_t)x->count * sizeof *target, false);
    const int32_t *ids = outside(r, (size_t)r->rows * sizeof *ids, false);
    float *each = outside(r, (size_t)r->rows * sizeof *each, true); /* whether it is wanted makes a difference */
    cm3_tensor *loss[] = {cm3_nn_cross_entropy(r->graph, x, ids, NULL, NULL),
                          cm3_nn_cross_entropy(r->graph, x, ids, target, each),
                          cm3_nn_mean_absolute_error(r->graph, x, target),
                          cm3_nn_mean_squared_error(r->graph, x, target),
                          cm3_nn_mean(r->graph, cm3_nn_straight_through(r->graph, x, target)),
                          cm3_nn_mean_hinge(r->graph, x, -1)};
    for (size_t i = 0; i < sizeof loss / sizeof *loss; i++) ck_assert_ptr_nonnull(loss[i]);
    return loss[0];
}

/* --- the comparison ------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    cm3_tensor *(*run)(measured_run *r);
} operations[] = {
    {"linear", linear},
    {"linear with bias", linear_bias},
    {"linear of several matrices", linear_each},
    {"linear and swiglu", linear_swiglu},
    {"linear and activation", linear_activation},
    {"linear and sum", linear_add},
    {"matmul", matmul},
    {"norms", norms},
    {"pointwise", pointwise},
    {"embedding", embedding},
    {"rope", rope},
    {"attention of rows", attention_of_rows},
    {"attention of one cache", attention_of_one},
    {"attention of many caches", attention_of_many},
    {"convolutions", convolutions},
    {"residual blocks", res_blocks},
    {"large maps", large_maps},
    {"other maps", other_maps},
    {"losses", losses},
};
#define OPERATIONS (sizeof operations / sizeof *operations)

typedef struct demand {
    size_t arena, onednn;
} demand;

static demand run_once(size_t operation, cm3_graph *graph, int64_t rows, cm3_dtype dtype) {
    measured_run r = {.graph = graph, .rows = rows, .dtype = dtype};
    demand found;
    graph->winograd = false;
    cm3_graph_reset(graph);
    ck_assert_msg(operations[operation].run(&r) != NULL, "%s: %s", operations[operation].name,
                  cm3_context_message(graph->context));
    ck_assert_int_eq(cm3_graph_status(graph), CM3_OK);
    cm3_graph_measured(graph, &found.arena, &found.onednn);
    while (r.piece_count > 0) free(r.pieces[--r.piece_count]);
    return found;
}

static void compare(graph_case *c, size_t operation, cm3_graph *measuring, cm3_graph *real, int64_t rows,
                    cm3_dtype dtype) {
    demand expected = run_once(operation, measuring, rows, dtype), taken = run_once(operation, real, rows, dtype);
    ck_assert_msg(expected.arena == taken.arena && expected.onednn == taken.onednn,
                  "%s, %d rows (%s, oneDNN %s, %d threads): %zu and %zu measured, %zu and %zu taken",
                  operations[operation].name, (int)rows, c->way.compute == CM3_COMPUTE_BF16 ? "bf16" : "f32",
                  c->way.dnn ? "on" : "off", c->way.threads, expected.arena, expected.onednn, taken.arena,
                  taken.onednn);
    cm3_graph_trim(real, 0);
    ck_assert_uint_eq(cm3_arena_held(real->arena), 0);
    ck_assert_int_eq(cm3_graph_reserve(real, expected.arena, expected.onednn), CM3_OK);
    int64_t calls = atomic_load(&c->memory.calls);
    run_once(operation, real, rows, dtype);
    ck_assert_msg(atomic_load(&c->memory.calls) == calls, "%s, %d rows: memory was taken", operations[operation].name,
                  (int)rows);
}

static void compare_all(graph_case *c) {
    static const int64_t rows[] = {1, 9, 32, 33, 60};
    cm3_graph *graphs[2];
    struct cm3_dnn *aside[2];
    for (int i = 0; i < 2; i++) {
        const cm3_graph_options options = {.measure = i == 0, .compute = c->way.compute, .arena_block = 256};
        ck_assert_int_eq(cm3_graph_create(c->context, &options, &graphs[i]), CM3_OK);
        aside[i] = graphs[i]->dnn;
        if (!c->way.dnn) graphs[i]->dnn = NULL;
    }
    for (size_t operation = 0; operation < OPERATIONS; operation++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            compare(c, operation, graphs[0], graphs[1], rows[i], CM3_F32);
            compare(c, operation, graphs[0], graphs[1], rows[i], CM3_BF16);
        }
    }
    for (int i = 0; i < 2; i++) {
        graphs[i]->dnn = aside[i];
        cm3_graph_destroy(graphs[i]);
    }
}

START_TEST(operations_take_what_was_measured) {
    graph_case_run(graph_ways[_i], compare_all);
}
END_TEST

/* --- the measuring graph itself ------------------------------------------------------------------------------------
 */

static cm3_graph *measuring_graph(graph_case *c) {
    cm3_graph *graph;
    const cm3_graph_options options = {.measure = true, .record = true, .compute = c->way.compute, .arena_block = 256};
    ck_assert_int_eq(cm3_graph_create(c->context, &options, &graph), CM3_OK);
    return graph;
}

static void check_addresses(graph_case *c) {
    cm3_graph *graph = measuring_graph(c);
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    int64_t live = atomic_load(&c->memory.live);
    const char *last = NULL;
    for (int i = 0; i < 400; i++) { /* 25 GiB */
        const char *place = cm3_graph_scratch(graph, (size_t)1 << 26);
        ck_assert_ptr_nonnull(place);
        ck_assert_uint_eq((uintptr_t)place % 64, 0);
        ck_assert_ptr_ne(place, last);
        ck_assert_int_eq(write(pipes[1], place, 1), -1);
        ck_assert_int_eq(errno, EFAULT);
        last = place;
    }
    size_t arena, onednn;
    cm3_graph_measured(graph, &arena, &onednn);
    ck_assert_uint_eq(arena, (size_t)400 << 26);
    ck_assert_uint_eq(onednn, 0);
    ck_assert_int_eq(atomic_load(&c->memory.live), live);
    ck_assert_ptr_null(cm3_graph_scratch(graph, SIZE_MAX - 100));
    ck_assert_int_eq(cm3_graph_status(graph), CM3_ERROR_NO_MEMORY);
    cm3_graph_reset(graph);
    cm3_graph_measured(graph, &arena, &onednn);
    ck_assert_uint_eq(arena, 0);
    close(pipes[0]);
    close(pipes[1]);
    cm3_graph_destroy(graph);
}

START_TEST(addresses_are_nobodys) {
    graph_case_run(graph_ways[0], check_addresses);
}
END_TEST

/* Shapes and arguments are checked as ever, and nothing is recorded. */
static void check_refusals(graph_case *c) {
    measured_run r = {.graph = measuring_graph(c), .rows = 5, .dtype = CM3_F32};
    ck_assert(!r.graph->record);
    ck_assert_ptr_null(cm3_nn_linear(r.graph, rows_of(&r, 7), matrix(&r, 3, 9), NULL));
    ck_assert_int_eq(cm3_graph_status(r.graph), CM3_ERROR_INTERNAL);
    cm3_graph_reset(r.graph);
    ck_assert_ptr_null(
        cm3_nn_conv2d(r.graph, map(&r, 1, 1, 4), window(&r, 4, 4, 3), NULL, &(cm3_conv_options){.stride = 1}));
    ck_assert_int_eq(cm3_graph_status(r.graph), CM3_ERROR_INVALID_ARGUMENT);
    cm3_graph_reset(r.graph);
    cm3_sequence sequence = {cache_of(&r, 17, 20, NULL), 0, r.rows};
    ck_assert_ptr_null(attend(&r, &(cm3_attention_plan){.sequences = &sequence, .sequence_count = 1}));
    ck_assert_int_eq(cm3_graph_status(r.graph), CM3_ERROR_TOO_LONG);
    cm3_graph_reset(r.graph);
    cm3_tensor *w = matrix(&r, 3, 7);
    w->wants_grad = true;
    cm3_tensor *y = cm3_nn_linear(r.graph, rows_of(&r, 7), w, NULL);
    ck_assert_ptr_nonnull(y);
    ck_assert(!y->wants_grad);
    while (r.piece_count > 0) free(r.pieces[--r.piece_count]);
    cm3_graph_destroy(r.graph);
}

START_TEST(refuses_as_ever) {
    graph_case_run(graph_ways[0], check_refusals);
}
END_TEST

Suite *measure_suite(void) {
    Suite *suite = suite_create("nn/measure");
    TCase *tcase = tcase_create("measure");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, operations_take_what_was_measured, 0, GRAPH_WAYS);
    tcase_add_test(tcase, addresses_are_nobodys);
    tcase_add_test(tcase, refuses_as_ever);
    suite_add_tcase(suite, tcase);
    return suite;
}
