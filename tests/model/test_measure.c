/*
 * What a measuring graph says against what a pass of the same graph takes: transformers of both families and image
 * tokenizers, in either computing type, with caches and shared prefixes, many rows and few.
 */
#include <stdlib.h>

#include "image/vq.h"
#include "model/lm.h"
#include "suites.h"
#include "support/fixture.h"

#define MOST_ROWS 96
#define MOST_STREAMS 6

typedef struct measure_case {
    cm3_context *context;
    test_allocator memory;
    cm3_lm *lm;
    cm3_vq *vq;
    cm3_compute compute;
    int64_t rows[MOST_STREAMS]; /**< of each stream; ends at 0 */
    bool shares, dnn;
} measure_case;

static const cm3_lm_config family = {.vocab_size = 300,
                                     .hidden_size = 64,
                                     .layers = 2,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 16,
                                     .ffn_size = 88,
                                     .max_positions = 256,
                                     .norm = CM3_NORM_RMS,
                                     .norm_place = CM3_NORM_PRE,
                                     .norm_epsilon = 1e-5f,
                                     .position = CM3_POSITION_ROPE,
                                     .rope_theta = 10000,
                                     .ffn = CM3_FFN_SWIGLU,
                                     .qk_norm = true,
                                     .init_std = 0.1f};

static cm3_lm_config config_of(int kind) {
    cm3_lm_config c = family;
    if (kind == 1) c.norm_place = CM3_NORM_SWIN, c.attention_bias = c.ffn_bias = true;
    if (kind == 2) {
        c.norm = CM3_NORM_LAYER_PLAIN, c.position = CM3_POSITION_LEARNED, c.position_offset = 2, c.ffn = CM3_FFN_RELU;
        c.qk_norm = false, c.tied = true, c.kv_heads = 4;
    }
    if (kind == 3) c.hidden_size = 60, c.heads = c.kv_heads = 5, c.head_dim = 12, c.ffn_size = 71, c.vocab_size = 77;
    return c;
}
#define KINDS 4

static const struct {
    int64_t rows[MOST_STREAMS];
    bool shares;
} batches[] = {
    {{1}, false},       {{1, 1, 1}, true}, {{40}, false},         {{33, 3, 3}, false},
    {{7, 1, 2}, false}, {{8, 8}, true},    {{60, 1, 1, 3}, true}, {{1, 1, 1, 1, 1, 1}, false},
};
#define BATCHES ((int)(sizeof batches / sizeof *batches))

static cm3_kv_cache *cache_of(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity) {
    size_t plane = (size_t)(capacity * config->kv_heads * config->head_dim) * cm3_dtype_size(dtype);
    cm3_kv_cache *cache = calloc(1, sizeof *cache);
    (void)context;
    *cache = (cm3_kv_cache){.dtype = dtype,
                            .layers = config->layers,
                            .kv_heads = config->kv_heads,
                            .head_dim = config->head_dim,
                            .capacity = capacity,
                            .k = calloc((size_t)config->layers, sizeof(void *)),
                            .v = calloc((size_t)config->layers, sizeof(void *))};
    for (int32_t i = 0; i < config->layers; i++) cache->k[i] = calloc(1, plane), cache->v[i] = calloc(1, plane);
    return cache;
}

static void free_cache(cm3_kv_cache *cache) {
    for (int32_t i = 0; i < cache->layers; i++) free(cache->k[i]), free(cache->v[i]);
    free(cache->k), free(cache->v), free(cache);
}

static cm3_graph *graph_of(measure_case *c, bool measure, struct cm3_dnn **aside) {
    cm3_graph *graph;
    const cm3_graph_options options = {.compute = c->compute, .measure = measure, .arena_block = 256};
    ck_assert_int_eq(cm3_graph_create(c->context, &options, &graph), CM3_OK);
    *aside = graph->dnn;
    if (!c->dnn) graph->dnn = NULL;
    return graph;
}

/** Runs `pass` measuring, then for real: first to make the primitives, then without any memory. */
static void compare(measure_case *c, bool (*pass)(measure_case *c, cm3_graph *graph)) {
    struct cm3_dnn *aside[2];
    cm3_graph *measuring = graph_of(c, true, &aside[0]), *real = graph_of(c, false, &aside[1]);
    size_t arena, onednn;
    ck_assert(pass(c, measuring));
    cm3_graph_measured(measuring, &arena, &onednn);
    ck_assert(pass(c, real));
    ck_assert_uint_eq(cm3_arena_peak(real->arena), arena);
    ck_assert_int_eq(cm3_graph_reserve(real, arena, onednn), CM3_OK);
    int64_t calls = atomic_load(&c->memory.calls);
    ck_assert(pass(c, real));
    ck_assert_int_eq(atomic_load(&c->memory.calls), calls);
    measuring->dnn = aside[0], real->dnn = aside[1];
    cm3_graph_trim(real, 0);
    ck_assert_uint_eq(cm3_arena_held(real->arena), 0);
    ck_assert_int_eq(cm3_graph_reserve(real, SIZE_MAX / 2, 0), CM3_ERROR_NO_MEMORY);
    ck_assert(pass(c, real)); /* and goes on */
    cm3_graph_destroy(measuring);
    cm3_graph_destroy(real);
}

static bool pass_of_lm(measure_case *c, cm3_graph *graph) {
    const cm3_lm_config *config = &c->lm->config;
    cm3_dtype dtype = c->compute == CM3_COMPUTE_BF16 ? CM3_BF16 : CM3_F32;
    cm3_kv_cache *prefix = cache_of(c->context, config, dtype, 20), *caches[MOST_STREAMS];
    cm3_sequence sequences[MOST_STREAMS];
    int32_t ids[MOST_ROWS], positions[MOST_ROWS], logit_rows[MOST_STREAMS];
    cm3_lm_batch batch = {.plan = {.sequences = sequences}, .logit_rows = logit_rows, .vocab_count = 50};
    prefix->length = 17;
    for (int s = 0; s < MOST_STREAMS && c->rows[s]; s++) {
        caches[s] = cache_of(c->context, config, dtype, 80);
        caches[s]->length = 5;
        if (c->shares) caches[s]->prefix = prefix;
        sequences[s] = (cm3_sequence){caches[s], batch.rows, c->rows[s]};
        for (int64_t i = 0; i < c->rows[s]; i++) {
            positions[batch.rows] = (int32_t)(cm3_kv_positions(caches[s]) + i);
            ids[batch.rows] = (int32_t)(batch.rows * 7 % config->vocab_size);
            batch.rows++;
        }
        logit_rows[batch.plan.sequence_count++] = (int32_t)batch.rows - 1;
    }
    batch.logit_count = batch.plan.sequence_count;
    if (!graph->measure) batch.ids = ids, batch.positions = positions;
    cm3_graph_reset(graph);
    bool good = cm3_lm_forward(graph, c->lm, &batch) != NULL;
    for (int64_t s = 0; s < batch.plan.sequence_count; s++) free_cache(caches[s]);
    free_cache(prefix);
    return good;
}

static cm3_status measure_lm(void *arg) {
    measure_case *c = arg;
    for (int i = 0; i < BATCHES; i++) {
        memcpy(c->rows, batches[i].rows, sizeof c->rows);
        c->shares = batches[i].shares;
        compare(c, pass_of_lm);
    }
    return CM3_OK;
}

static bool pass_of_vq(measure_case *c, cm3_graph *graph) {
    int32_t codes[64] = {3, 1, 2};
    cm3_image *image = NULL;
    if (graph->measure) {
        cm3_graph_reset(graph);
        return cm3_vq_measure_decode(c->vq, graph) == CM3_OK;
    }
    bool good = cm3_vq_decode_rows_in(graph, c->vq, codes, cm3_vq_grid(c->vq), 0, NULL, &image) == CM3_OK;
    cm3_image_destroy(image);
    atomic_fetch_sub(&c->memory.calls, 1); /* the picture */
    return good;
}

static cm3_status measure_vq(void *arg) {
    compare(arg, pass_of_vq);
    return CM3_OK;
}

static void case_up(measure_case *c, int threads, cm3_compute compute, bool dnn) {
    *c = (measure_case){.compute = compute, .dnn = dnn};
    test_allocator_init(&c->memory);
    cm3_allocator allocator = test_allocator_of(&c->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c->context), CM3_OK);
}

START_TEST(transformers) {
    measure_case c;
    cm3_lm_config config = config_of(_i % KINDS);
    case_up(&c, _i / KINDS % 2 ? 3 : 0, _i / (2 * KINDS) % 2 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32, _i / (4 * KINDS));
    ck_assert_int_eq(cm3_lm_create_random(c.context, &config, 1, &c.lm), CM3_OK);
    ck_assert_int_eq(cm3_context_run(c.context, measure_lm, &c), CM3_OK);
    cm3_lm_destroy(c.lm);
    cm3_context_destroy(c.context);
    ck_assert_int_eq(atomic_load(&c.memory.live), 0);
}
END_TEST

START_TEST(image_tokenizers) {
    measure_case c;
    cm3_vq_config config = {.resolution = _i % 2 ? 32 : 64,
                            .in_channels = 3,
                            .out_channels = 3,
                            .base_channels = 16,
                            .levels = 3,
                            .channel_multiplier = {1, 2, 2},
                            .num_res_blocks = 1,
                            .mid_attention = _i % 2,
                            .latent_channels = 8,
                            .embed_dim = 8,
                            .num_embeddings = 16,
                            .norm_groups = 4,
                            .patch_size = _i % 2 ? 1 : 2,
                            .local_encoder = !(_i % 2)};
    case_up(&c, _i / 2 % 2 ? 2 : 0, _i / 4 % 2 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32, _i / 8);
    ck_assert_int_eq(cm3_vq_create_random(c.context, &config, 1, &c.vq), CM3_OK);
    ck_assert_int_eq(cm3_context_run(c.context, measure_vq, &c), CM3_OK);
    cm3_vq_destroy(c.vq);
    cm3_context_destroy(c.context);
    ck_assert_int_eq(atomic_load(&c.memory.live), 0);
}
END_TEST

/** Seven thousand million parameters, none of which is there: a matter of milliseconds. */
static cm3_status measure_large(void *arg) {
    measure_case *c = arg;
    struct cm3_dnn *aside;
    cm3_graph *measuring = graph_of(c, true, &aside);
    size_t arena, onednn;
    ck_assert(pass_of_lm(c, measuring));
    cm3_graph_measured(measuring, &arena, &onednn);
    ck_assert_uint_gt(arena, 60 * 4096 * sizeof(float));
    measuring->dnn = aside;
    cm3_graph_destroy(measuring);
    return CM3_OK;
}

START_TEST(without_weights) {
    measure_case c;
    case_up(&c, 2, CM3_COMPUTE_F32, true);
    cm3_lm_layer layers[2];
    cm3_tensor w[5];
    const int64_t shapes[][2] = {{4096, 4096}, {16384, 4096}, {4096, 16384}, {300, 4096}, {300, 4096}};
    for (int i = 0; i < 5; i++) w[i] = cm3_tensor_over(NULL, CM3_F32, 2, shapes[i]);
    for (int i = 0; i < 2; i++) {
        layers[i] = (cm3_lm_layer){.q = &w[0], .k = &w[0], .v = &w[0], .o = &w[0], .up = &w[1], .down = &w[2]};
    }
    cm3_lm lm = {.context = c.context, .config = config_of(2), .embed = &w[3], .head = &w[4], .layers = layers};
    lm.config.position = CM3_POSITION_ROPE;
    lm.config.hidden_size = 4096, lm.config.heads = lm.config.kv_heads = 32, lm.config.head_dim = 128;
    lm.config.ffn_size = 16384;
    c.lm = &lm;
    c.rows[0] = 60;
    ck_assert_int_eq(cm3_context_run(c.context, measure_large, &c), CM3_OK);
    cm3_context_destroy(c.context);
}
END_TEST

Suite *measure_suite(void) {
    Suite *suite = suite_create("model/measure");
    TCase *tcase = tcase_create("measure");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, transformers, 0, 8 * KINDS);
    tcase_add_loop_test(tcase, image_tokenizers, 0, 16);
    tcase_add_test(tcase, without_weights);
    suite_add_tcase(suite, tcase);
    return suite;
}
