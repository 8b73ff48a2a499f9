/*
 * The transformer against what transformers computed (tests/data/parity): hidden states and logits of a pre-norm and of
 * a swin model; cached, packed and selected rows against the plain pass; the CM3Leon settings; gradients of every
 * parameter.
 */
#include <math.h>

#include "model/lm.h"
#include "suites.h"
#include "support/fixture.h"

#define PARITY CM3_TEST_DATA "/parity/"

/* config.json of chameleon/; chameleon-swin/ differs in two fields. */
static const cm3_lm_config hf_config = {
    .vocab_size = 600,
    .hidden_size = 64,
    .layers = 2,
    .heads = 4,
    .kv_heads = 4,
    .head_dim = 16,
    .ffn_size = 176,
    .max_positions = 512,
    .norm = CM3_NORM_RMS,
    .norm_place = CM3_NORM_PRE,
    .norm_epsilon = 1e-5f,
    .position = CM3_POSITION_ROPE,
    .rope_theta = 10000,
    .ffn = CM3_FFN_SWIGLU,
    .qk_norm = true,
    .init_std = 0.02f,
};

typedef struct lm_case {
    test_fixture fixture;
    cm3_weights *weights;
    cm3_safetensors *expected;
    cm3_lm_config config;
    cm3_lm *lm;
    cm3_graph *graph;
    int32_t ids[64], positions[64], first[64];
    int64_t rows;
    void (*body)(struct lm_case *);
} lm_case;

static cm3_safetensors *open_tensors(cm3_context *context, const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_msg(cm3_file_open(context, path, &file) == CM3_OK, "%s", cm3_context_message(context));
    ck_assert_int_eq(cm3_safetensors_open(context, file, &tensors), CM3_OK);
    cm3_file_release(file);
    return tensors;
}

static const cm3_entry *entry(const lm_case *c, const char *name, cm3_dtype dtype) {
    const cm3_entry *found = cm3_safetensors_find(c->expected, name);
    ck_assert_msg(found && found->dtype == dtype, "%s", name);
    return found;
}

static cm3_status run_body(void *arg) {
    lm_case *c = arg;
    ck_assert_int_eq(cm3_graph_create(c->fixture.context, &(cm3_graph_options){.record = false}, &c->graph), CM3_OK);
    c->body(c);
    cm3_graph_destroy(c->graph);
    return CM3_OK;
}

/** Loads one of the two reference models and runs `body` on the compute thread. */
static void with_reference(bool swin, bool copy, void (*body)(lm_case *)) {
    lm_case c = {.config = hf_config, .body = body};
    test_fixture_up(&c.fixture);
    cm3_context *context = c.fixture.context;
    if (swin) c.config.kv_heads = 2, c.config.norm_place = CM3_NORM_SWIN;
    const char *path = swin ? PARITY "chameleon-swin/model.safetensors" : PARITY "chameleon/model.safetensors";
    ck_assert_int_eq(cm3_weights_of(context, open_tensors(context, path), &c.weights), CM3_OK);
    c.expected =
        open_tensors(context, swin ? PARITY "ref/chameleon-swin.safetensors" : PARITY "ref/chameleon.safetensors");
    ck_assert_msg(cm3_lm_load(context, &c.config, c.weights, "", copy, true, &c.lm) == CM3_OK, "%s",
                  cm3_context_message(context));
    const cm3_entry *ids = entry(&c, "text.input_ids", CM3_I64);
    c.rows = ids->count;
    for (int32_t i = 0; i < c.rows; i++) c.ids[i] = (int32_t)((const int64_t *)ids->data)[i], c.positions[i] = i;
    ck_assert_int_eq(cm3_context_run(context, run_body, &c), CM3_OK);
    cm3_lm_destroy(c.lm);
    cm3_weights_release(c.weights);
    cm3_safetensors_close(c.expected);
    test_fixture_down(&c.fixture);
}

static void expect_equal(const char *what, const float *values, const float *expected, int64_t count,
                         double tolerance) {
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)values[i] - (double)expected[i]);
        ck_assert_msg(difference <= tolerance * (1 + fabs((double)expected[i])), "%s at %lld: %g, expected %g", what,
                      (long long)i, (double)values[i], (double)expected[i]);
    }
}

static cm3_lm_batch plain_batch(const lm_case *c) {
    return (cm3_lm_batch){.rows = c->rows, .ids = c->ids, .positions = c->positions, .plan = {.first = c->first}};
}

static void check_parity(lm_case *c) {
    cm3_tensor *hidden[4] = {0};
    cm3_lm_batch batch = plain_batch(c);
    batch.hidden = hidden;
    cm3_tensor *logits = cm3_lm_forward(c->graph, c->lm, &batch);
    ck_assert_msg(logits != NULL, "%s", cm3_context_message(c->fixture.context));
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "text.hidden.%d", i);
        const cm3_entry *expected = entry(c, name, CM3_F32);
        expect_equal(name, cm3_f32(hidden[i]), expected->data, expected->count, 1e-4);
    }
    const cm3_entry *expected = entry(c, "text.logits", CM3_F32);
    ck_assert_int_eq(logits->count, expected->count);
    expect_equal("logits", cm3_f32(logits), expected->data, expected->count, 1e-4);
}

START_TEST(parity) {
    with_reference(_i & 1, _i & 2, check_parity);
}
END_TEST

/* bf16 products come near. */
static void check_bf16(lm_case *c) {
    c->graph->compute = CM3_COMPUTE_BF16;
    cm3_lm_batch batch = plain_batch(c);
    cm3_tensor *logits = cm3_lm_forward(c->graph, c->lm, &batch);
    const float *expected = entry(c, "text.logits", CM3_F32)->data;
    double difference = 0, size = 0;
    for (int64_t i = 0; i < logits->count; i++) {
        difference += pow((double)cm3_f32(logits)[i] - (double)expected[i], 2);
        size += pow((double)expected[i], 2);
    }
    ck_assert_msg(difference < 4e-4 * size, "relative error %g", sqrt(difference / size));
}

START_TEST(parity_bf16) {
    with_reference(_i, false, check_bf16);
}
END_TEST

/* Two documents in one call, each as alone; only some rows wanted. */
static void check_packed(lm_case *c) {
    int64_t n = c->rows;
    for (int64_t i = 0; i < n; i++) {
        c->ids[n + i] = c->ids[i];
        c->positions[n + i] = (int32_t)i;
        c->first[n + i] = (int32_t)n;
    }
    static const int32_t wanted[] = {0, 5, 18, 19, 35};
    cm3_lm_batch batch = plain_batch(c);
    batch.rows = 2 * n;
    batch.logit_rows = wanted;
    batch.logit_count = 5;
    cm3_tensor *logits = cm3_lm_forward(c->graph, c->lm, &batch);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(logits->shape[0], 5);
    const float *expected = entry(c, "text.logits", CM3_F32)->data;
    for (int i = 0; i < 5; i++) {
        expect_equal("row", cm3_f32(logits) + i * 600, expected + wanted[i] % n * 600, 600, 1e-4);
    }
}

START_TEST(packed) {
    with_reference(_i, false, check_packed);
}
END_TEST

/* Prefill and decode with a cache. */
static void check_cached(lm_case *c) {
    static float memory[2][2][64 * 64];
    void *k[] = {memory[0][0], memory[1][0]}, *v[] = {memory[0][1], memory[1][1]};
    cm3_kv_cache cache = {
        .dtype = CM3_F32, .layers = 2, .kv_heads = c->config.kv_heads, .head_dim = 16, .capacity = 20, .k = k, .v = v};
    const float *expected = entry(c, "text.logits", CM3_F32)->data;
    static const int64_t pieces[] = {7, 1, 1, 5, 3, 1};
    int64_t done = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        cm3_sequence sequence = {&cache, 0, pieces[i]};
        cm3_lm_batch batch = {.rows = pieces[i],
                              .ids = c->ids + done,
                              .positions = c->positions + done,
                              .plan = {.sequences = &sequence, .sequence_count = 1}};
        cm3_graph_reset(c->graph);
        cm3_tensor *logits = cm3_lm_forward(c->graph, c->lm, &batch);
        ck_assert_msg(logits != NULL, "%s", cm3_context_message(c->fixture.context));
        expect_equal("cached", cm3_f32(logits), expected + done * 600, pieces[i] * 600, 1e-4);
        done += pieces[i];
        cache.length = done;
    }
    ck_assert_int_eq(done, c->rows);
}

START_TEST(cached) {
    with_reference(_i, false, check_cached);
}
END_TEST

static void check_out_of_range(lm_case *c) {
    cm3_lm_batch batch = plain_batch(c);
    c->positions[3] = 512;
    ck_assert_ptr_null(cm3_lm_forward(c->graph, c->lm, &batch));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_TOO_LONG);
    cm3_graph_reset(c->graph);
    c->positions[3] = 3;
    c->ids[2] = 600;
    ck_assert_ptr_null(cm3_lm_forward(c->graph, c->lm, &batch));
    ck_assert_int_eq(cm3_graph_status(c->graph), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&c->fixture, "600"));
}

START_TEST(out_of_range) {
    with_reference(false, false, check_out_of_range);
}
END_TEST

/* --- every setting: gradients of the whole model ---------------------------------------------------------------------
 */

static const cm3_lm_config settings[] = {
    {.norm = CM3_NORM_LAYER_PLAIN,
     .norm_place = CM3_NORM_PRE,
     .position = CM3_POSITION_LEARNED,
     .position_offset = 2,
     .ffn = CM3_FFN_RELU,
     .tied = true,
     .kv_heads = 2},
    {.norm = CM3_NORM_LAYER_PLAIN,
     .norm_place = CM3_NORM_PRE,
     .position = CM3_POSITION_LEARNED,
     .ffn = CM3_FFN_GELU,
     .attention_bias = true,
     .ffn_bias = true,
     .kv_heads = 2},
    {.norm = CM3_NORM_RMS,
     .norm_place = CM3_NORM_SWIN,
     .position = CM3_POSITION_ROPE,
     .ffn = CM3_FFN_SWIGLU,
     .qk_norm = true,
     .kv_heads = 1},
    {.norm = CM3_NORM_RMS,
     .norm_place = CM3_NORM_PRE,
     .position = CM3_POSITION_ROPE,
     .ffn = CM3_FFN_SWIGLU,
     .qk_norm = true,
     .attention_bias = true,
     .kv_heads = 2,
     .tied = true},
};

static double model_loss(lm_case *c, bool back) {
    static const int32_t targets[] = {3, 5, -1, 7, 0, 10};
    cm3_graph_reset(c->graph);
    c->graph->record = back;
    cm3_lm_batch batch = plain_batch(c);
    cm3_tensor *loss = cm3_nn_cross_entropy(c->graph, cm3_lm_forward(c->graph, c->lm, &batch), targets, NULL, NULL);
    ck_assert_msg(loss != NULL, "%s", cm3_context_message(c->fixture.context));
    double value = (double)*cm3_f32(loss);
    if (back) ck_assert_int_eq(cm3_graph_backward(c->graph, loss, 1), CM3_OK);
    return value;
}

static void check_model_gradients(lm_case *c) {
    uint64_t parameters = 0;
    for (size_t i = 0; i < c->lm->parameter_count; i++) {
        cm3_tensor *tensor = c->lm->parameters[i].tensor;
        parameters += (uint64_t)tensor->count;
        tensor->grad = calloc((size_t)tensor->count, sizeof(float));
        tensor->wants_grad = tensor->has_grad = true;
    }
    ck_assert_uint_eq(parameters, cm3_lm_config_parameters(&c->config));
    model_loss(c, true);
    for (size_t i = 0; i < c->lm->parameter_count; i++) {
        cm3_tensor *tensor = c->lm->parameters[i].tensor;
        int64_t stride = tensor->count > 12 ? tensor->count / 12 : 1;
        for (int64_t place = 0; place < tensor->count; place += stride) {
            float kept = cm3_f32(tensor)[place], step = c->config.ffn == CM3_FFN_RELU ? 5e-4f : 4e-3f;
            cm3_f32(tensor)[place] = kept + step;
            double up = model_loss(c, false);
            cm3_f32(tensor)[place] = kept - step;
            double down = model_loss(c, false);
            cm3_f32(tensor)[place] = kept;
            double expected = (up - down) / (2 * (double)step), found = (double)tensor->grad[place];
            ck_assert_msg(fabs(found - expected) <= 2e-3 + 2e-2 * fabs(expected), "%s at %lld: %g, expected %g",
                          c->lm->parameters[i].name, (long long)place, found, expected);
        }
    }
    for (size_t i = 0; i < c->lm->parameter_count; i++) free(c->lm->parameters[i].tensor->grad);
}

START_TEST(model_gradients) {
    lm_case c = {.config = settings[_i], .body = check_model_gradients, .rows = 6};
    c.config.vocab_size = 11, c.config.hidden_size = 16, c.config.layers = 2, c.config.heads = 2;
    c.config.head_dim = 8, c.config.ffn_size = 12, c.config.max_positions = 8, c.config.rope_theta = 10000;
    c.config.norm_epsilon = 1e-5f, c.config.init_std = 0.3f;
    static const int32_t ids[] = {1, 3, 10, 3, 0, 7}, positions[] = {0, 1, 2, 3, 0, 1}, first[] = {0, 0, 0, 0, 4, 4};
    memcpy(c.ids, ids, sizeof ids);
    memcpy(c.positions, positions, sizeof positions);
    memcpy(c.first, first, sizeof first);
    test_fixture_up(&c.fixture);
    ck_assert_msg(cm3_lm_create_random(c.fixture.context, &c.config, 11, &c.lm) == CM3_OK, "%s",
                  cm3_context_message(c.fixture.context));
    ck_assert_int_eq(cm3_context_run(c.fixture.context, run_body, &c), CM3_OK);
    cm3_lm_destroy(c.lm);
    test_fixture_down(&c.fixture);
}
END_TEST

/* --- fresh weights ---------------------------------------------------------------------------------------------------
 */

START_TEST(fresh_weights) {
    test_fixture fixture;
    test_fixture_up(&fixture);
    cm3_lm_config config = hf_config;
    config.position = CM3_POSITION_LEARNED;
    cm3_lm *a, *b, *other;
    ck_assert_int_eq(cm3_lm_create_random(fixture.context, &config, 1, &a), CM3_OK);
    ck_assert_int_eq(cm3_lm_create_random(fixture.context, &config, 1, &b), CM3_OK);
    ck_assert_int_eq(cm3_lm_create_random(fixture.context, &config, 2, &other), CM3_OK);
    for (size_t i = 0; i < a->parameter_count; i++) {
        const cm3_tensor *tensor = a->parameters[i].tensor;
        size_t bytes = (size_t)tensor->count * sizeof(float);
        const char *name = a->parameters[i].name;
        ck_assert_mem_eq(tensor->data, b->parameters[i].tensor->data, bytes);
        if (strstr(name, "norm")) {
            float value = strstr(name, "bias") ? 0.0f : 1.0f;
            for (int64_t j = 0; j < tensor->count; j++) ck_assert(cm3_f32(tensor)[j] == value);
            ck_assert(!a->parameters[i].decay);
            continue;
        }
        ck_assert(memcmp(tensor->data, other->parameters[i].tensor->data, bytes) != 0);
        double sum = 0, squares = 0, largest = 0, count = (double)tensor->count;
        for (int64_t j = 0; j < tensor->count; j++) {
            double value = (double)cm3_f32(tensor)[j];
            sum += value, squares += value * value;
            if (fabs(value) > largest) largest = fabs(value);
        }
        bool residual = strstr(name, "o_proj") || strstr(name, "down_proj");
        double std = residual ? 0.02 / sqrt(4) : strstr(name, "positions") ? 0.02 / 30 : 0.02;
        ck_assert_msg(fabs(sqrt(squares / count) / std - 1) < 0.05, "%s: std %g", name, sqrt(squares / count));
        ck_assert_msg(fabs(sum / count) < 5 * std / sqrt(count), "%s: mean %g", name, sum / count);
        ck_assert_msg(largest <= 3.0001 * std, "%s: largest %g", name, largest);
    }
    cm3_lm_destroy(a);
    cm3_lm_destroy(b);
    cm3_lm_destroy(other);
    test_fixture_down(&fixture);
}
END_TEST

Suite *forward_suite(void) {
    Suite *suite = suite_create("model/forward");
    TCase *tcase = tcase_create("forward");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, parity, 0, 4);
    tcase_add_loop_test(tcase, parity_bf16, 0, 2);
    tcase_add_loop_test(tcase, packed, 0, 2);
    tcase_add_loop_test(tcase, cached, 0, 2);
    tcase_add_test(tcase, out_of_range);
    tcase_add_loop_test(tcase, model_gradients, 0, (int)(sizeof settings / sizeof *settings));
    tcase_add_test(tcase, fresh_weights);
    suite_add_tcase(suite, tcase);
    return suite;
}
