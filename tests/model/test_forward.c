/* The transformer against what Hugging Face computes from the same small random Chameleon (tests/data/parity). */
#include <math.h>

#include "files/safetensors.h"
#include "model/lm.h"
#include "suites.h"
#include "support/fixture.h"

enum { MAX_ROWS = 128 };

static test_fixture f;
static cm3_safetensors *reference, *checkpoint;
static cm3_lm *lm;

static const cm3_lm_config config = {
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
};

static cm3_safetensors *open_file(const char *path) {
    cm3_file *file = NULL;
    cm3_safetensors *tensors = NULL;
    ck_assert_msg(cm3_file_open(f.context, path, &file) == CM3_OK, "%s", cm3_context_message(f.context));
    ck_assert_msg(cm3_safetensors_open(f.context, file, &tensors) == CM3_OK, "%s", cm3_context_message(f.context));
    cm3_file_release(file);
    return tensors;
}

static void setup(void) {
    test_fixture_up(&f);
    reference = open_file(CM3_TEST_DATA "/parity/ref/chameleon.safetensors");
    checkpoint = open_file(CM3_TEST_DATA "/parity/chameleon/model.safetensors");
    ck_assert_msg(cm3_lm_load(f.context, &config, checkpoint, "", false, true, &lm) == CM3_OK, "%s",
                  cm3_context_message(f.context));
}

static void teardown(void) {
    cm3_lm_destroy(lm);
    cm3_safetensors_close(checkpoint);
    cm3_safetensors_close(reference);
    test_fixture_down(&f);
}

static const cm3_entry *expected(const char *name) {
    const cm3_entry *entry = cm3_safetensors_find(reference, name);
    ck_assert_msg(entry != NULL, "%s is missing", name);
    return entry;
}

/** Within 1e-4 absolute plus 1e-4 relative. */
static void check_values(const float *found, const char *name) {
    const cm3_entry *entry = expected(name);
    const float *wanted = entry->data;
    for (int64_t i = 0; i < entry->count; i++) {
        ck_assert_msg(fabsf(found[i] - wanted[i]) <= 1e-4f + 1e-4f * fabsf(wanted[i]), "%s[%lld]: %g, wanted %g", name,
                      (long long)i, (double)found[i], (double)wanted[i]);
    }
}

typedef struct call {
    int32_t ids[MAX_ROWS], positions[MAX_ROWS], first[MAX_ROWS];
    int64_t rows;
} call;

static void read_ids(const char *name, call *c) {
    const cm3_entry *entry = expected(name);
    c->rows = entry->count;
    ck_assert_int_le(c->rows, MAX_ROWS);
    for (int64_t i = 0; i < c->rows; i++) {
        c->ids[i] = (int32_t)((const int64_t *)entry->data)[i];
        c->positions[i] = (int32_t)i;
        c->first[i] = 0;
    }
}

static cm3_status forward_all(void *arg) {
    call *c = arg;
    cm3_graph *graph = NULL;
    cm3_tensor *hidden[4];
    CM3_TRY(cm3_graph_create(f.context, &(cm3_graph_options){.compute = CM3_COMPUTE_F32}, &graph));
    cm3_lm_batch batch = {
        .rows = c->rows, .ids = c->ids, .positions = c->positions, .plan = {.first = c->first}, .hidden = hidden};
    cm3_tensor *logits = cm3_lm_forward(graph, lm, &batch);
    ck_assert_ptr_nonnull(logits);
    check_values(cm3_f32(logits), "text.logits");
    check_values(cm3_f32(hidden[0]), "text.hidden.0");
    check_values(cm3_f32(hidden[1]), "text.hidden.1");
    check_values(cm3_f32(hidden[2]), "text.hidden.2");
    check_values(cm3_f32(hidden[3]), "text.hidden.3");
    cm3_graph_destroy(graph);
    return CM3_OK;
}

START_TEST(test_hidden_states_and_logits) {
    call c;
    read_ids("text.input_ids", &c);
    ck_assert_int_eq(cm3_context_run(f.context, forward_all, &c), CM3_OK);
}
END_TEST

/** Greedy continuation over a KV cache, one token a step, image tokens masked as Hugging Face does. */
static cm3_status greedy(void *arg) {
    call *c = arg;
    const int32_t image_first = 4, image_last = 67; /* ids of the 64 codes */
    cm3_graph *graph = NULL;
    CM3_TRY(cm3_graph_create(f.context, &(cm3_graph_options){.compute = CM3_COMPUTE_F32}, &graph));
    float *memory = calloc(2 * 2 * 4 * MAX_ROWS * 16, sizeof *memory);
    void *k[2], *v[2];
    for (int layer = 0; layer < 2; layer++) {
        k[layer] = memory + (2 * layer) * 4 * MAX_ROWS * 16;
        v[layer] = memory + (2 * layer + 1) * 4 * MAX_ROWS * 16;
    }
    cm3_kv_cache cache = {
        .dtype = CM3_F32, .layers = 2, .kv_heads = 4, .head_dim = 16, .capacity = MAX_ROWS, .k = k, .v = v};
    int64_t prompt = expected("text.input_ids")->count, fed = 0;
    const int64_t *wanted = expected("greedy.text")->data;
    while (fed < c->rows - 1) {
        int64_t rows = fed ? 1 : prompt;
        cm3_graph_reset(graph);
        cm3_sequence sequence = {&cache, 0, rows};
        int32_t last = (int32_t)rows - 1;
        cm3_lm_batch batch = {.rows = rows,
                              .ids = c->ids + fed,
                              .positions = c->positions + fed,
                              .plan = {.sequences = &sequence, .sequence_count = 1},
                              .logit_rows = &last,
                              .logit_count = 1};
        cm3_tensor *logits = cm3_lm_forward(graph, lm, &batch);
        ck_assert_ptr_nonnull(logits);
        cache.length += rows;
        fed += rows;
        int32_t best = -1;
        for (int32_t i = 0; i < 600; i++) {
            if (i >= image_first && i <= image_last) continue;
            if (best < 0 || cm3_f32(logits)[i] > cm3_f32(logits)[best]) best = i;
        }
        ck_assert_int_eq(best, wanted[fed]);
    }
    free(memory);
    cm3_graph_destroy(graph);
    return CM3_OK;
}

START_TEST(test_greedy_over_a_cache) {
    call c;
    read_ids("greedy.text", &c);
    ck_assert_int_eq(cm3_context_run(f.context, greedy, &c), CM3_OK);
}
END_TEST

START_TEST(test_misshapen_configuration_is_named) {
    cm3_lm_config other = config;
    cm3_lm *none = NULL;
    other.ffn_size = 177;
    ck_assert_int_eq(cm3_lm_load(f.context, &other, checkpoint, "", false, true, &none), CM3_ERROR_FORMAT);
    ck_assert_ptr_null(none);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(f.context), "mlp."));
    ck_assert_ptr_nonnull(strstr(cm3_context_message(f.context), "[177, 64]"));
    other = config;
    other.kv_heads = 3;
    ck_assert_int_eq(cm3_lm_load(f.context, &other, checkpoint, "", false, true, &none), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

Suite *forward_suite(void) {
    Suite *suite = suite_create("forward");
    TCase *parity = tcase_create("parity");
    tcase_add_checked_fixture(parity, setup, teardown);
    tcase_add_test(parity, test_hidden_states_and_logits);
    tcase_add_test(parity, test_greedy_over_a_cache);
    tcase_add_test(parity, test_misshapen_configuration_is_named);
    suite_add_tcase(suite, parity);
    return suite;
}
