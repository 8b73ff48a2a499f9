/*
 * The transformer's operations: each gradient against central differences of the operation's own forward pass, which
 * the kernels' suites and a few double loops here hold to their formulas; cached attention against plain attention; few
 * rows against many.
 */
#include "graph_cases.h"
#include "suites.h"

#define MAX_INPUTS 4

/** An operation and what it is fed. */
typedef struct op_case {
    const char *name;
    cm3_tensor *(*run)(cm3_graph *graph, cm3_tensor **in, const struct op_case *op);
    int inputs;
    int64_t shapes[MAX_INPUTS][4]; /**< ends at 0 */
    int kind;
    float step;
} op_case;

static const int32_t op_ids[] = {3, 0, 3, 6, 1, 3};
static const int32_t op_positions[] = {0, 1, 5, 0, 300};
static const int32_t op_first[] = {0, 0, 0, 3, 3, 5, 5, 5, 5};
static const int32_t op_targets[] = {2, -1, 0, 8, 4};
static const float op_weights[] = {1, 5, 0.25f, 0, 3};

static cm3_tensor *run_linear(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_linear(g, in[0], in[1], op->inputs > 2 ? in[2] : NULL);
}
static cm3_tensor *run_matmul(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_matmul(g, in[0], op->kind & 1, in[1], op->kind & 2);
}
static cm3_tensor *run_rms(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_rms_norm(g, in[0], in[1], 1e-5f);
}
static cm3_tensor *run_layer(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_layer_norm(g, in[0], op->inputs > 1 ? in[1] : NULL, op->inputs > 2 ? in[2] : NULL, 1e-5f);
}
static cm3_tensor *run_add(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_add(g, in[0], in[op->inputs - 1]);
}
static cm3_tensor *run_scale(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_scale(g, in[0], -1.75f);
}
static cm3_tensor *run_activation(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_activation(g, in[0], (cm3_activation)op->kind);
}
static cm3_tensor *run_swiglu(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_swiglu(g, in[0], in[1]);
}
static cm3_tensor *run_softmax(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_softmax(g, in[0]);
}
static cm3_tensor *run_reshape(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_softmax(g, cm3_nn_reshape(g, in[0], 2, (const int64_t[]){in[0]->count / 6, 6}));
}
static cm3_tensor *run_embedding(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    return cm3_nn_embedding(g, in[0], op_ids, 6);
}
static cm3_tensor *run_rope(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    (void)op;
    cm3_rope_table table;
    ck_assert(cm3_nn_rope_table(g, op_positions, 5, 8, 100, &table));
    return cm3_nn_rope(g, in[0], &table);
}
static cm3_tensor *run_attention(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    const cm3_attention_plan plan = {.first = op_first};
    return cm3_nn_attention(g, in[0], in[1], in[2], 4, op->kind, &plan, 0);
}
static cm3_tensor *run_cross_entropy(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_cross_entropy(g, in[0], op_targets, op->kind ? op_weights : NULL, NULL);
}
static cm3_tensor *run_to_depth(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_space_to_depth(g, in[0], op->kind);
}
static cm3_tensor *run_to_space(cm3_graph *g, cm3_tensor **in, const op_case *op) {
    return cm3_nn_depth_to_space(g, in[0], op->kind);
}

static const op_case op_cases[] = {
    {"linear", run_linear, 2, {{5, 12}, {7, 12}}, 0, 1e-2f},
    {"linear with bias", run_linear, 3, {{40, 12}, {7, 12}, {7}}, 0, 1e-2f},
    {"linear of one row", run_linear, 3, {{1, 9}, {5, 9}, {5}}, 0, 1e-2f},
    {"matmul", run_matmul, 2, {{3, 4, 6}, {3, 6, 5}}, 0, 1e-2f},
    {"matmul, a transposed", run_matmul, 2, {{3, 6, 4}, {3, 6, 5}}, 1, 1e-2f},
    {"matmul, b transposed", run_matmul, 2, {{3, 4, 6}, {3, 5, 6}}, 2, 1e-2f},
    {"matmul, both transposed", run_matmul, 2, {{3, 6, 4}, {3, 5, 6}}, 3, 1e-2f},
    {"rms norm", run_rms, 2, {{9, 16}, {16}}, 0, 1e-2f},
    {"plain layer norm", run_layer, 1, {{9, 16}}, 0, 1e-2f},
    {"layer norm with a scale", run_layer, 2, {{9, 16}, {16}}, 0, 1e-2f},
    {"layer norm", run_layer, 3, {{9, 16}, {16}, {16}}, 0, 1e-2f},
    {"layer norm by heads", run_layer, 3, {{9, 32}, {4, 8}, {4, 8}}, 0, 1e-2f},
    {"add", run_add, 2, {{4, 7}, {4, 7}}, 0, 1e-2f},
    {"add to itself", run_add, 1, {{4, 7}}, 0, 1e-2f},
    {"scale", run_scale, 1, {{4, 7}}, 0, 1e-2f},
    {"swish", run_activation, 1, {{5, 9}}, CM3_ACT_SWISH, 1e-2f},
    {"gelu", run_activation, 1, {{5, 9}}, CM3_ACT_GELU, 1e-2f},
    {"relu", run_activation, 1, {{5, 9}}, CM3_ACT_RELU, 1e-4f},
    {"quick gelu", run_activation, 1, {{5, 9}}, CM3_ACT_QUICK_GELU, 1e-2f},
    {"leaky relu", run_activation, 1, {{5, 9}}, CM3_ACT_LEAKY_RELU, 1e-4f},
    {"swiglu", run_swiglu, 2, {{5, 9}, {5, 9}}, 0, 1e-2f},
    {"softmax", run_softmax, 1, {{5, 9}}, 0, 1e-2f},
    {"reshape", run_reshape, 1, {{3, 4}}, 0, 1e-2f},
    {"embedding", run_embedding, 1, {{7, 5}}, 0, 1e-2f},
    {"rope", run_rope, 1, {{5, 24}}, 0, 1e-2f},
    {"attention", run_attention, 3, {{9, 32}, {9, 32}, {9, 32}}, 4, 1e-2f},
    {"attention in groups", run_attention, 3, {{9, 32}, {9, 16}, {9, 16}}, 2, 1e-2f},
    {"attention, one kv head", run_attention, 3, {{9, 32}, {9, 8}, {9, 8}}, 1, 1e-2f},
    {"cross entropy", run_cross_entropy, 1, {{5, 9}}, 0, 1e-2f},
    {"weighted cross entropy", run_cross_entropy, 1, {{5, 9}}, 1, 1e-2f},
    {"space to depth", run_to_depth, 1, {{2, 4, 6, 3}}, 2, 1e-2f},
    {"depth to space", run_to_space, 1, {{2, 2, 3, 12}}, 2, 1e-2f},
    {"depth to space of 3", run_to_space, 1, {{1, 2, 1, 9}}, 3, 1e-2f},
};
#define OPS ((int)(sizeof op_cases / sizeof *op_cases))

static const op_case *current;

/** Runs the operation; `wrapped`: over activations instead of parameters, whose gradients are fresh; `twice`: added up.
 */
static cm3_tensor *run_op(cm3_graph *graph, cm3_tensor *inputs, bool wrapped, bool twice) {
    cm3_tensor *in[MAX_INPUTS];
    for (int i = 0; i < current->inputs; i++) in[i] = wrapped ? cm3_nn_scale(graph, &inputs[i], 1) : &inputs[i];
    cm3_tensor *y = current->run(graph, in, current);
    return twice ? cm3_nn_add(graph, y, current->run(graph, in, current)) : y;
}

static double weighed_op(graph_case *c, cm3_tensor *inputs, const float *dy) {
    cm3_graph_reset(c->graph);
    c->graph->record = false;
    cm3_tensor *y = run_op(c->graph, inputs, false, false);
    c->graph->record = true;
    ck_assert_ptr_nonnull(y);
    double sum = 0;
    for (int64_t i = 0; i < y->count; i++) sum += (double)dy[i] * (double)cm3_f32(y)[i];
    return sum;
}

static void check_input(graph_case *c, cm3_tensor *inputs, int i, const float *dy, float part) {
    cm3_tensor *x = &inputs[i];
    char what[80];
    snprintf(what, sizeof what, "%s, gradient of input %d", current->name, i);
    int64_t stride = x->count > 48 ? x->count / 48 : 1;
    for (int64_t place = 0; place < x->count; place += stride) {
        float kept = cm3_f32(x)[place], above = kept + current->step, below = kept - current->step;
        cm3_f32(x)[place] = above;
        double up = weighed_op(c, inputs, dy);
        cm3_f32(x)[place] = below;
        double down = weighed_op(c, inputs, dy);
        cm3_f32(x)[place] = kept;
        double expected = (up - down) / ((double)above - (double)below);
        expect_near(c, what, place, (double)(x->grad[place] * part), expected, 5e-3);
    }
}

static void check_gradients(graph_case *c) {
    cm3_tensor inputs[MAX_INPUTS];
    for (int i = 0; i < current->inputs; i++) {
        int rank = 0;
        while (rank < 4 && current->shapes[i][rank]) rank++;
        inputs[i] = some_tensor(c, rank, current->shapes[i], 1);
    }
    for (int way = 0; way < 4; way++) {
        bool wrapped = way & 1, twice = way & 2;
        cm3_graph_reset(c->graph);
        for (int i = 0; i < current->inputs; i++) memset(inputs[i].grad, 0, (size_t)inputs[i].count * sizeof(float));
        cm3_tensor *y = run_op(c->graph, inputs, wrapped, twice);
        ck_assert_msg(y != NULL, "%s: %s", current->name, cm3_context_message(c->context));
        float *dy = some(&c->numbers, y->count, 1);
        if (y->count == 1) dy[0] = 1;
        send_back(c, y, dy);
        for (int i = 0; i < current->inputs; i++) check_input(c, inputs, i, dy, twice ? 0.5f : 1);
        free(dy);
    }
    for (int i = 0; i < current->inputs; i++) free_tensor(&inputs[i]);
}

START_TEST(gradients) {
    current = &op_cases[_i];
    for (int way = 0; way < 4; way++) graph_case_run(graph_ways[way], check_gradients);
}
END_TEST

/* An input that wants no gradient gets none, and the others' stay what they are. */
static void check_unwanted(graph_case *c) {
    cm3_tensor inputs[MAX_INPUTS];
    for (int i = 0; i < current->inputs; i++) {
        int rank = 0;
        while (rank < 4 && current->shapes[i][rank]) rank++;
        inputs[i] = some_tensor(c, rank, current->shapes[i], 1);
    }
    for (int without = 0; without < current->inputs; without++) {
        cm3_graph_reset(c->graph);
        for (int i = 0; i < current->inputs; i++) {
            memset(inputs[i].grad, 0, (size_t)inputs[i].count * sizeof(float));
            inputs[i].wants_grad = i != without;
        }
        cm3_tensor *y = run_op(c->graph, inputs, false, false);
        float *dy = some(&c->numbers, y->count, 1);
        send_back(c, y, dy);
        for (int64_t i = 0; i < inputs[without].count; i++) ck_assert(inputs[without].grad[i] == 0);
        for (int i = 0; i < current->inputs; i++) {
            if (i != without) check_input(c, inputs, i, dy, 1);
        }
        free(dy);
    }
    for (int i = 0; i < current->inputs; i++) free_tensor(&inputs[i]);
}

START_TEST(unwanted_gradients) {
    current = &op_cases[_i];
    graph_case_run(graph_ways[0], check_unwanted);
}
END_TEST

/* --- forward -------------------------------------------------------------------------------------------------------
 */

static void check_products(graph_case *c) {
    bool bf16 = c->way.compute == CM3_COMPUTE_BF16;
    cm3_tensor w = some_tensor(c, 2, (int64_t[]){33, 48}, 1), bias = some_tensor(c, 1, (int64_t[]){33}, 1);
    uint16_t *rounded = block((size_t)w.count * sizeof *rounded);
    for (int64_t i = 0; i < w.count; i++) rounded[i] = cm3_f32_to_bf16(cm3_f32(&w)[i]);
    cm3_tensor narrow = cm3_tensor_over(rounded, CM3_BF16, 2, w.shape);
    for (int64_t m = 1; m < 70; m += m < 12 ? 1 : 9) {
        cm3_tensor x = some_tensor(c, 2, (int64_t[]){m, 48}, 1);
        for (int type = 0; type < 2; type++) {
            cm3_graph_reset(c->graph);
            c->graph->record = false;
            cm3_tensor *y = cm3_nn_linear(c->graph, &x, type ? &narrow : &w, &bias);
            ck_assert_ptr_nonnull(y);
            c->graph->record = true;
            for (int64_t i = 0; i < y->count; i++) {
                double sum = (double)cm3_f32(&bias)[i % 33];
                for (int64_t k = 0; k < 48; k++) {
                    sum += (double)cm3_f32(&x)[i / 33 * 48 + k] * (double)cm3_f32(&w)[i % 33 * 48 + k];
                }
                expect_near(c, "linear", i, (double)cm3_f32(y)[i], sum, bf16 ? 1e-2 : 2e-5);
            }
        }
        free_tensor(&x);
    }
    free(rounded);
    free_tensor(&w);
    free_tensor(&bias);
}

START_TEST(few_and_many_rows) {
    graph_case_run(graph_ways[_i], check_products);
}
END_TEST

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* heads 4, kv_heads 2, d 8, nine rows of three documents. */
static void check_attention(graph_case *c) {
    cm3_tensor q = some_tensor(c, 2, (int64_t[]){9, 32}, 2), k = some_tensor(c, 2, (int64_t[]){9, 16}, 2);
    cm3_tensor v = some_tensor(c, 2, (int64_t[]){9, 16}, 2);
    const cm3_attention_plan plan = {.first = op_first};
    cm3_tensor *y = cm3_nn_attention(c->graph, &q, &k, &v, 4, 2, &plan, 0);
    ck_assert_ptr_nonnull(y);
    for (int64_t row = 0; row < 9; row++) {
        for (int64_t head = 0; head < 4; head++) {
            double p[9], sum = 0;
            for (int64_t j = op_first[row]; j <= row; j++) {
                p[j] = exp(dot(cm3_f32(&q) + row * 32 + head * 8, cm3_f32(&k) + j * 16 + head / 2 * 8, 8) / sqrt(8));
                sum += p[j];
            }
            for (int64_t i = 0; i < 8; i++) {
                double value = 0;
                for (int64_t j = op_first[row]; j <= row; j++) {
                    value += p[j] / sum * (double)cm3_f32(&v)[j * 16 + head / 2 * 8 + i];
                }
                expect_near(c, "attention", row, (double)cm3_f32(y)[row * 32 + head * 8 + i], value, 1e-5);
            }
        }
    }
    free_tensor(&q);
    free_tensor(&k);
    free_tensor(&v);
}

START_TEST(attention_forward) {
    graph_case_run(graph_ways[_i], check_attention);
}
END_TEST

/** A cache over malloc'ed memory, one layer. */
static cm3_kv_cache some_cache(cm3_dtype dtype, int64_t capacity, void **planes) {
    for (int i = 0; i < 2; i++) planes[i] = calloc((size_t)(2 * capacity * 8), cm3_dtype_size(dtype));
    return (cm3_kv_cache){
        .dtype = dtype, .layers = 1, .kv_heads = 2, .head_dim = 8, .capacity = capacity, .k = planes, .v = planes + 1};
}

/* Two sequences fed in pieces of several sizes, side by side: every row as in one plain call. */
static void check_cached(graph_case *c) {
    enum { ROWS = 23 };
    cm3_tensor q = some_tensor(c, 2, (int64_t[]){ROWS, 32}, 2), k = some_tensor(c, 2, (int64_t[]){ROWS, 16}, 2);
    cm3_tensor v = some_tensor(c, 2, (int64_t[]){ROWS, 16}, 2);
    int32_t first[ROWS] = {0};
    c->graph->record = false;
    cm3_attention_plan plain = {.first = first};
    cm3_tensor *whole = cm3_nn_attention(c->graph, &q, &k, &v, 4, 2, &plain, 0);
    ck_assert_ptr_nonnull(whole);
    static const int64_t pieces[] = {11, 1, 1, 4, 5, 1};
    for (int type = 0; type < 2; type++) {
        void *planes[2][2];
        cm3_dtype dtype = type ? CM3_BF16 : CM3_F32;
        cm3_kv_cache caches[2] = {some_cache(dtype, ROWS, planes[0]), some_cache(dtype, ROWS + 5, planes[1])};
        int64_t done = 0;
        for (size_t piece = 0; piece < sizeof pieces / sizeof *pieces; piece++) {
            int64_t n = pieces[piece];
            cm3_tensor part[3], *source[] = {&q, &k, &v};
            for (int i = 0; i < 3; i++) { /* the same rows for both sequences */
                int64_t width = source[i]->shape[1];
                part[i] = cm3_tensor_over(block((size_t)(2 * n * width) * sizeof(float)), CM3_F32, 2,
                                          (int64_t[]){2 * n, width});
                for (int s = 0; s < 2; s++) {
                    memcpy(cm3_f32(&part[i]) + s * n * width, cm3_f32(source[i]) + done * width,
                           (size_t)(n * width) * sizeof(float));
                }
            }
            cm3_sequence sequences[] = {{&caches[0], 0, n}, {&caches[1], n, n}};
            cm3_attention_plan plan = {.sequences = sequences, .sequence_count = 2};
            cm3_tensor *y = cm3_nn_attention(c->graph, &part[0], &part[1], &part[2], 4, 2, &plan, 0);
            ck_assert_ptr_nonnull(y);
            for (int64_t i = 0; i < y->count; i++) {
                double expected = (double)cm3_f32(whole)[done * 32 + i % (n * 32)];
                expect_near(c, "cached attention", i, (double)cm3_f32(y)[i], expected, type ? 3e-2 : 1e-5);
            }
            done += n;
            caches[0].length = caches[1].length = done;
            for (int i = 0; i < 3; i++) free(part[i].data);
        }
        ck_assert_int_eq(done, ROWS);
        for (int s = 0; s < 2; s++) free(planes[s][0]), free(planes[s][1]);
    }
    free_tensor(&q);
    free_tensor(&k);
    free_tensor(&v);
}

START_TEST(cached_attention) {
    graph_case_run(graph_ways[_i], check_cached);
}
END_TEST

/** The same rows of q, k and v for each of `copies` sequences. */
static void copy_rows(cm3_tensor part[3], cm3_tensor *const source[3], int64_t from, int64_t n, int copies) {
    for (int i = 0; i < 3; i++) {
        int64_t width = source[i]->shape[1];
        part[i] = cm3_tensor_over(block((size_t)(copies * n * width) * sizeof(float)), CM3_F32, 2,
                                  (int64_t[]){copies * n, width});
        for (int s = 0; s < copies; s++) {
            memcpy(cm3_f32(&part[i]) + s * n * width, cm3_f32(source[i]) + from * width,
                   (size_t)(n * width) * sizeof(float));
        }
    }
}

/* Positions of a prefix are read from one cache by several sequences; another sequence stands beside them. */
static void check_shared(graph_case *c) {
    enum { ROWS = 29, PREFIX = 13, SEQUENCES = 4 };
    cm3_tensor q = some_tensor(c, 2, (int64_t[]){ROWS, 32}, 2), k = some_tensor(c, 2, (int64_t[]){ROWS, 16}, 2);
    cm3_tensor v = some_tensor(c, 2, (int64_t[]){ROWS, 16}, 2), *source[] = {&q, &k, &v}, part[3];
    int32_t first[ROWS] = {0};
    c->graph->record = false;
    cm3_attention_plan plain = {.first = first};
    cm3_tensor *whole = cm3_nn_attention(c->graph, &q, &k, &v, 4, 2, &plain, 0);
    ck_assert_ptr_nonnull(whole);
    static const int64_t pieces[] = {1, 1, 3, 1, 10};
    for (int type = 0; type < 2; type++) {
        void *planes[SEQUENCES + 1][2];
        cm3_dtype dtype = type ? CM3_BF16 : CM3_F32;
        cm3_kv_cache prefix = some_cache(dtype, PREFIX + 2, planes[SEQUENCES]), caches[SEQUENCES];
        cm3_sequence sequences[SEQUENCES];
        for (int s = 0; s < SEQUENCES; s++) caches[s] = some_cache(dtype, ROWS + s, planes[s]);
        for (int s = 0; s < 2; s++) { /* the prefix, and the sequence that goes without */
            copy_rows(part, source, 0, PREFIX, 1);
            sequences[0] = (cm3_sequence){s ? &caches[2] : &prefix, 0, PREFIX};
            cm3_attention_plan plan = {.sequences = sequences, .sequence_count = 1};
            ck_assert_ptr_nonnull(cm3_nn_attention(c->graph, &part[0], &part[1], &part[2], 4, 2, &plan, 0));
            sequences[0].cache->length = PREFIX;
            for (int i = 0; i < 3; i++) free(part[i].data);
        }
        caches[0].prefix = caches[1].prefix = caches[3].prefix = &prefix;
        int64_t done = PREFIX;
        for (size_t piece = 0; piece < sizeof pieces / sizeof *pieces; piece++) {
            int64_t n = pieces[piece];
            copy_rows(part, source, done, n, SEQUENCES);
            for (int s = 0; s < SEQUENCES; s++) sequences[s] = (cm3_sequence){&caches[s], s * n, n};
            cm3_attention_plan plan = {.sequences = sequences, .sequence_count = SEQUENCES};
            cm3_tensor *y = cm3_nn_attention(c->graph, &part[0], &part[1], &part[2], 4, 2, &plan, 0);
            ck_assert_ptr_nonnull(y);
            for (int64_t i = 0; i < y->count; i++) {
                double expected = (double)cm3_f32(whole)[done * 32 + i % (n * 32)];
                expect_near(c, "shared prefix", i, (double)cm3_f32(y)[i], expected, type ? 3e-2 : 1e-5);
            }
            done += n;
            for (int s = 0; s < SEQUENCES; s++) caches[s].length += n;
            for (int i = 0; i < 3; i++) free(part[i].data);
        }
        ck_assert_int_eq(done, ROWS);
        ck_assert_int_eq(cm3_kv_positions(&caches[3]), ROWS);
        ck_assert_int_eq(cm3_kv_positions(&caches[2]), ROWS);
        for (int s = 0; s <= SEQUENCES; s++) free(planes[s][0]), free(planes[s][1]);
    }
    free_tensor(&q);
    free_tensor(&k);
    free_tensor(&v);
}

START_TEST(shared_prefix) {
    graph_case_run(graph_ways[_i], check_shared);
}
END_TEST

static void check_outgrown(graph_case *c) {
    cm3_tensor q = some_tensor(c, 2, (int64_t[]){3, 32}, 2), k = some_tensor(c, 2, (int64_t[]){3, 16}, 2);
    void *planes[2];
    cm3_kv_cache cache = some_cache(CM3_F32, 4, planes);
    cache.length = 2;
    cm3_sequence sequence = {&cache, 0, 3};
    cm3_attention_plan plan = {.sequences = &sequence, .sequence_count = 1};
    ck_assert_ptr_null(cm3_nn_attention(c->graph, &q, &k, &k, 4, 2, &plan, 0));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_TOO_LONG);
    ck_assert_ptr_null(cm3_nn_add(c->graph, &q, &q)); /* errors stick */
    free(planes[0]);
    free(planes[1]);
    free_tensor(&q);
    free_tensor(&k);
}

/* Numbers in the messages, NULL in NULL out, no crash. */
static void check_refused(graph_case *c) {
    cm3_tensor a = some_tensor(c, 2, (int64_t[]){3, 4}, 1), b = some_tensor(c, 2, (int64_t[]){5, 3}, 1);
    cm3_graph *g = c->graph;
#define REFUSED(call, code)                                                                                            \
    ck_assert_ptr_null(call);                                                                                          \
    ck_assert_int_eq(cm3_graph_status(g), code);                                                                       \
    cm3_graph_reset(g)
    REFUSED(cm3_nn_add(g, &a, &b), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_swiglu(g, &a, &b), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_linear(g, &a, &(cm3_tensor){.rank = 2, .shape = {2, 5}, .count = 10}, NULL), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_matmul(g, &a, false, &b, false), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_reshape(g, &a, 1, (int64_t[]){13}), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_rms_norm(g, &a, &b, 1e-5f), CM3_ERROR_INTERNAL);
    REFUSED(cm3_nn_embedding(g, &a, (int32_t[]){0, 3}, 2), CM3_ERROR_INVALID_ARGUMENT);
    REFUSED(cm3_nn_embedding(g, &a, (int32_t[]){-1}, 1), CM3_ERROR_INVALID_ARGUMENT);
    REFUSED(cm3_nn_cross_entropy(g, &a, (int32_t[]){0, 4, 0}, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    REFUSED(cm3_graph_tensor(g, CM3_F32, 3, (int64_t[]){1 << 30, 1 << 30, 1 << 30}), CM3_ERROR_NO_MEMORY);
    atomic_int cancel = 1;
    g->cancel = &cancel;
    REFUSED(cm3_nn_scale(g, &a, 2), CM3_ERROR_CANCELLED);
    g->cancel = NULL;
    ck_assert_ptr_null(cm3_nn_linear(g, NULL, &a, NULL));
    ck_assert_ptr_null(cm3_nn_add(g, &a, NULL));
    ck_assert_ptr_null(cm3_nn_layer_norm(g, NULL, NULL, NULL, 1));
    ck_assert_int_eq(cm3_graph_status(g), CM3_OK);
    free_tensor(&a);
    free_tensor(&b);
}

START_TEST(refused) {
    graph_case_run(graph_ways[0], check_outgrown);
    graph_case_run(graph_ways[0], check_refused);
}
END_TEST

static void check_loss(graph_case *c) {
    cm3_tensor x = some_tensor(c, 2, (int64_t[]){5, 9}, 3);
    float losses[5];
    for (int weighted = 0; weighted < 2; weighted++) {
        cm3_tensor *loss = cm3_nn_cross_entropy(c->graph, &x, op_targets, weighted ? op_weights : NULL, losses);
        double sum = 0, weights = 0;
        for (int row = 0; row < 5; row++) {
            if (op_targets[row] < 0) continue;
            double exponentials = 0;
            for (int i = 0; i < 9; i++) exponentials += exp((double)cm3_f32(&x)[row * 9 + i]);
            double own = log(exponentials) - (double)cm3_f32(&x)[row * 9 + op_targets[row]];
            expect_near(c, "row's loss", row, (double)losses[row], own, 1e-5);
            double weight = weighted ? (double)op_weights[row] : 1;
            sum += weight * own;
            weights += weight;
        }
        expect_near(c, "loss", 0, (double)*cm3_f32(loss), sum / weights, 1e-5);
    }
    static const int32_t none[] = {-1, -1, -1, -1, -1};
    ck_assert(*cm3_f32(cm3_nn_cross_entropy(c->graph, &x, none, NULL, NULL)) == 0);
    free_tensor(&x);
}

START_TEST(cross_entropy_values) {
    graph_case_run(graph_ways[0], check_loss);
}
END_TEST

Suite *ops_suite(void) {
    Suite *suite = suite_create("nn/ops");
    TCase *tcase = tcase_create("ops");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, gradients, 0, OPS);
    tcase_add_loop_test(tcase, unwanted_gradients, 0, OPS);
    tcase_add_loop_test(tcase, few_and_many_rows, 0, GRAPH_WAYS);
    tcase_add_loop_test(tcase, attention_forward, 0, GRAPH_WAYS);
    tcase_add_loop_test(tcase, cached_attention, 0, GRAPH_WAYS);
    tcase_add_loop_test(tcase, shared_prefix, 0, GRAPH_WAYS);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, cross_entropy_values);
    suite_add_tcase(suite, tcase);
    return suite;
}
