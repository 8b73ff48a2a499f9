/*
 * Memory of the image tokenizer's passes: what is measured is what is taken, what is used again changes no result, and
 * a picture takes a few of its largest maps.
 */
#include <math.h>
#include <stdlib.h>

#include "image/vq.h"
#include "suites.h"
#include "support/fixture.h"

typedef struct measure_case {
    test_allocator memory;
    cm3_context *context;
    cm3_vq *vq;
    cm3_vq_config config;
    cm3_compute compute;
    bool dnn;
} measure_case;

/* With shortcuts in both halves, attention at the last level, and norms of four groups. */
static const cm3_vq_config published = {
    .resolution = 64,
    .in_channels = 3,
    .out_channels = 3,
    .base_channels = 16,
    .levels = 3,
    .channel_multiplier = {1, 1, 2},
    .num_res_blocks = 2,
    .attn_resolutions = {16},
    .attn_count = 1,
    .mid_attention = true,
    .latent_channels = 12,
    .embed_dim = 8,
    .num_embeddings = 40,
    .norm_groups = 4,
    .patch_size = 1,
};

/** Kind 0 decodes maps that are large enough for Winograd's algorithm. */
static cm3_vq_config config_of(int kind) {
    cm3_vq_config c = published;
    if (kind == 1) c.resolution = 32, c.mid_attention = false, c.attn_count = 0;
    if (kind == 2) c.resolution = 32, c.local_encoder = true, c.channel_multiplier[1] = 2;
    if (kind == 3) c.resolution = 48, c.patch_size = 2, c.local_encoder = true, c.base_channels = 12, c.levels = 2;
    return c;
}
#define KINDS 4
#define WAYS 8 /* f32 or bf16, oneDNN or none, one member or three */

static cm3_graph *graph_of(measure_case *c, bool measure, bool record, struct cm3_dnn **aside) {
    cm3_graph *graph;
    const cm3_graph_options options = {.compute = c->compute, .measure = measure, .record = record, .arena_block = 256};
    ck_assert_int_eq(cm3_graph_create(c->context, &options, &graph), CM3_OK);
    *aside = graph->dnn;
    if (!c->dnn) graph->dnn = NULL;
    return graph;
}

static void drop_graph(cm3_graph *graph, struct cm3_dnn *aside) {
    graph->dnn = aside;
    cm3_graph_destroy(graph);
}

static void run_case(int kind, int way, cm3_status (*body)(void *)) {
    measure_case c = {
        .config = config_of(kind), .compute = way & 1 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32, .dnn = way & 2};
    test_allocator_init(&c.memory);
    cm3_allocator allocator = test_allocator_of(&c.memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = way & 4 ? 3 : 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c.context), CM3_OK);
    ck_assert_msg(cm3_vq_create_random(c.context, &c.config, 1, &c.vq) == CM3_OK, "%s", cm3_context_message(c.context));
    ck_assert_int_eq(cm3_context_run(c.context, body, &c), CM3_OK);
    cm3_vq_destroy(c.vq);
    cm3_context_destroy(c.context);
    ck_assert_int_eq(atomic_load(&c.memory.live), 0);
}

/* --- passes --------------------------------------------------------------------------------------------------------
 */

/** Neither flat nor regular, between -1 and 1. */
static void fill(float *values, int64_t count) {
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
}

/** What encoding a picture does once its pixels are there. */
static cm3_tensor *encode(measure_case *c, cm3_graph *graph, int32_t *codes) {
    int64_t side = c->config.resolution;
    cm3_tensor *x = cm3_graph_tensor(graph, CM3_F32, 4, (const int64_t[]){1, side, side, 3});
    ck_assert_ptr_nonnull(x);
    fill(x->data, x->count);
    cm3_tensor *z = cm3_vq_encode(graph, c->vq, x);
    ck_assert_ptr_nonnull(z);
    ck_assert_int_eq(cm3_vq_quantise(graph, c->vq, cm3_f32(z), cm3_vq_tokens(c->vq), CM3_VQ_USUAL, codes, NULL),
                     CM3_OK);
    return z;
}

static cm3_tensor *decode(measure_case *c, cm3_graph *graph) {
    int64_t grid = cm3_vq_grid(c->vq);
    cm3_tensor *z = cm3_graph_tensor(graph, CM3_F32, 4, (const int64_t[]){1, grid, grid, c->config.embed_dim});
    ck_assert_ptr_nonnull(z);
    fill(z->data, z->count);
    cm3_tensor *y = cm3_vq_decode(graph, c->vq, z);
    ck_assert_ptr_nonnull(y);
    return y;
}

static void encode_pass(measure_case *c, cm3_graph *graph) {
    cm3_graph_reset(graph);
    if (graph->measure) {
        ck_assert_int_eq(cm3_vq_measure_encode(c->vq, graph), CM3_OK);
        return;
    }
    int32_t *codes = calloc((size_t)cm3_vq_tokens(c->vq), sizeof *codes);
    encode(c, graph, codes);
    free(codes);
}

static void decode_pass(measure_case *c, cm3_graph *graph) {
    if (graph->measure) {
        cm3_graph_reset(graph);
        ck_assert_int_eq(cm3_vq_measure_decode(c->vq, graph), CM3_OK);
        return;
    }
    int32_t *codes = calloc((size_t)cm3_vq_tokens(c->vq), sizeof *codes);
    cm3_image *image;
    ck_assert_int_eq(cm3_vq_decode_rows_in(graph, c->vq, codes, cm3_vq_grid(c->vq), 0, NULL, &image), CM3_OK);
    cm3_image_destroy(image);
    atomic_fetch_sub(&c->memory.calls, 1); /* the picture, which is the caller's */
    free(codes);
}

/* --- what is measured is what is taken -----------------------------------------------------------------------------
 */

static void compare(measure_case *c, const char *what, void (*pass)(measure_case *c, cm3_graph *graph)) {
    struct cm3_dnn *aside[2];
    cm3_graph *measuring = graph_of(c, true, false, &aside[0]), *real = graph_of(c, false, false, &aside[1]);
    size_t arena, onednn, arena_taken, onednn_taken;
    pass(c, measuring);
    cm3_graph_measured(measuring, &arena, &onednn);
    pass(c, real);
    cm3_graph_measured(real, &arena_taken, &onednn_taken);
    ck_assert_msg(arena == arena_taken && onednn == onednn_taken, "%s: %zu and %zu measured, %zu and %zu taken", what,
                  arena, onednn, arena_taken, onednn_taken);
    cm3_graph_trim(real, 0);
    ck_assert_int_eq(cm3_graph_reserve(real, arena, onednn), CM3_OK);
    int64_t calls = atomic_load(&c->memory.calls);
    pass(c, real);
    ck_assert_int_eq(atomic_load(&c->memory.calls), calls);
    drop_graph(measuring, aside[0]);
    drop_graph(real, aside[1]);
}

static cm3_status compare_passes(void *arg) {
    compare(arg, "encode", encode_pass);
    compare(arg, "decode", decode_pass);
    return CM3_OK;
}

START_TEST(passes_take_what_was_measured) {
    run_case(_i / WAYS, _i % WAYS, compare_passes);
}
END_TEST

/* --- what is used again changes no result --------------------------------------------------------------------------
 */

/** Sums are taken in another order where nothing is kept: differences are of the last bits, parts of the largest. */
static void expect_alike(const measure_case *c, const char *what, const cm3_tensor *found, const cm3_tensor *expected) {
    float largest = 0;
    ck_assert_int_eq(found->count, expected->count);
    for (int64_t i = 0; i < found->count; i++) largest = fmaxf(largest, fabsf(cm3_f32(expected)[i]));
    float most = largest * (c->compute == CM3_COMPUTE_BF16 ? 3e-2f : 2e-5f);
    for (int64_t i = 0; i < found->count; i++) {
        float x = cm3_f32(found)[i], y = cm3_f32(expected)[i];
        ck_assert_msg(fabsf(x - y) <= most, "%s at %lld: %.9g, not %.9g", what, (long long)i, (double)x, (double)y);
    }
}

/** A graph that records keeps all that it computes. */
static cm3_status compare_results(void *arg) {
    measure_case *c = arg;
    struct cm3_dnn *aside[2];
    cm3_graph *plain = graph_of(c, false, false, &aside[0]), *recording = graph_of(c, false, true, &aside[1]);
    int32_t codes[2][4096];
    ck_assert_int_le(cm3_vq_tokens(c->vq), 4096);
    for (int round = 0; round < 2; round++) { /* in memory that holds something else, and in one piece */
        expect_alike(c, "latents", encode(c, plain, codes[0]), encode(c, recording, codes[1]));
        if (c->compute == CM3_COMPUTE_F32) {
            ck_assert_int_eq(memcmp(codes[0], codes[1], (size_t)cm3_vq_tokens(c->vq) * sizeof **codes), 0);
        }
        size_t kept = cm3_arena_peak(recording->arena);
        ck_assert_uint_lt(2 * cm3_arena_peak(plain->arena), kept);
        expect_alike(c, "pixels", decode(c, plain), decode(c, recording));
        cm3_graph_reset(plain);
        cm3_graph_reset(recording);
    }
    drop_graph(plain, aside[0]);
    drop_graph(recording, aside[1]);
    return CM3_OK;
}

START_TEST(memory_used_again_changes_nothing) {
    run_case(_i / WAYS, _i % WAYS, compare_results);
}
END_TEST

/* --- a picture takes a few of its largest maps --------------------------------------------------------------------
 */

/** Chameleon's proportions at a quarter of its size and channels: the weights then count for as little. */
static cm3_status measure_published(void *arg) {
    measure_case *c = arg;
    struct cm3_dnn *aside;
    cm3_graph *measuring = graph_of(c, true, false, &aside);
    double map = (double)c->config.resolution * c->config.resolution * c->config.base_channels * sizeof(float);
    size_t arena, onednn;
    decode_pass(c, measuring);
    cm3_graph_measured(measuring, &arena, &onednn);
    /* Without oneDNN, and in bf16 on a CPU that lacks it, maps are f32, and rows are copied for the products. */
    bool copies = !measuring->dnn || (c->compute == CM3_COMPUTE_BF16 && cm3_cpu_detect() < CM3_CPU_AVX512_BF16);
    double most = copies ? 8 : c->compute == CM3_COMPUTE_BF16 ? 3.6 : 5.6;
    ck_assert_msg((double)arena < most * map, "decode: %.2f maps", (double)arena / map);
    encode_pass(c, measuring);
    cm3_graph_measured(measuring, &arena, &onednn);
    ck_assert_msg((double)arena < most * map, "encode: %.2f maps", (double)arena / map);
    drop_graph(measuring, aside);
    return CM3_OK;
}

START_TEST(pictures_take_few_maps) {
    measure_case c = {.compute = _i ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32, .dnn = true, .config = published};
    c.config.resolution = 256, c.config.base_channels = 32, c.config.levels = 5, c.config.norm_groups = 32;
    c.config.attn_count = 0, c.config.mid_attention = false;
    const int32_t multiplier[] = {1, 1, 2, 2, 4};
    memcpy(c.config.channel_multiplier, multiplier, sizeof multiplier);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 1;
    ck_assert_int_eq(cm3_context_create(&options, &c.context), CM3_OK);
    ck_assert_int_eq(cm3_vq_create_random(c.context, &c.config, 1, &c.vq), CM3_OK);
    ck_assert_int_eq(cm3_context_run(c.context, measure_published, &c), CM3_OK);
    cm3_vq_destroy(c.vq);
    cm3_context_destroy(c.context);
}
END_TEST

Suite *measure_suite(void) {
    Suite *suite = suite_create("image/measure");
    TCase *tcase = tcase_create("measure");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, passes_take_what_was_measured, 0, KINDS * WAYS);
    tcase_add_loop_test(tcase, memory_used_again_changes_nothing, 0, KINDS * WAYS);
    tcase_add_loop_test(tcase, pictures_take_few_maps, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
