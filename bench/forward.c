/* The forward pass as the benchmarks run it. */
#include "forward.h"

#include "base/status.h"
#include "generate/cache.h"
#include "models.h"

struct bench_forward {
    cm3_context *context;
    const cm3_lm *lm;
    cm3_graph *graph;
    cm3_sequence *sequences;
    int64_t count, rows; /**< sequences; rows that there is room for */
    int32_t *ids, *positions;
};

static void fill_plane(const cm3_kv_cache *cache, void *plane, float *scales, size_t count, uint32_t *seed) {
    if (cache->dtype != CM3_I8) {
        bench_fill(plane, cache->dtype, count, 0.5f, seed);
        return;
    }
    for (size_t i = 0; i < count; i++) ((int8_t *)plane)[i] = (int8_t)((*seed = *seed * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < count / (size_t)cache->head_dim; i++) scales[i] = 0.004f;
}

static void fill_cache(cm3_kv_cache *cache, uint32_t *seed) {
    size_t count = (size_t)cache->capacity * (size_t)cache->kv_heads * (size_t)cache->head_dim;
    for (int32_t layer = 0; layer < cache->layers; layer++) {
        fill_plane(cache, cache->k[layer], cache->k_scales ? cache->k_scales[layer] : NULL, count, seed);
        fill_plane(cache, cache->v[layer], cache->v_scales ? cache->v_scales[layer] : NULL, count, seed);
    }
}

static cm3_status create_caches(bench_forward *f, cm3_dtype dtype, int64_t capacity) {
    uint32_t seed = 1;
    for (int64_t i = 0; i < f->count; i++) {
        cm3_sequence *sequence = &f->sequences[i];
        CM3_TRY(cm3_cache_create(f->context, &f->lm->config, dtype, capacity, &sequence->cache));
        fill_cache(sequence->cache, &seed);
    }
    return CM3_OK;
}

cm3_status bench_forward_create(cm3_context *context, const cm3_lm *lm, cm3_compute compute, cm3_dtype kv,
                                int64_t sequences, int64_t capacity, bench_forward **forward) {
    *forward = NULL;
    bench_forward *f = cm3_calloc(context, 1, sizeof *f);
    if (!f) return cm3_fail_memory(context, sizeof *f, "benchmark");
    f->context = context;
    f->lm = lm;
    f->count = sequences;
    f->rows = capacity > sequences ? capacity : sequences;
    f->sequences = cm3_calloc(context, (size_t)sequences, sizeof *f->sequences);
    f->ids = cm3_calloc(context, (size_t)f->rows, sizeof *f->ids);
    f->positions = cm3_calloc(context, (size_t)f->rows, sizeof *f->positions);
    cm3_status status = f->sequences && f->ids && f->positions ? CM3_OK : cm3_fail_memory(context, 0, "benchmark");
    if (status == CM3_OK) status = create_caches(f, kv, capacity);
    if (status == CM3_OK) status = cm3_graph_create(context, &(cm3_graph_options){.compute = compute}, &f->graph);
    if (status != CM3_OK) {
        bench_forward_destroy(f);
        return status;
    }
    for (int64_t i = 0; i < f->rows; i++) f->ids[i] = (int32_t)(i * 7919 % lm->config.vocab_size);
    *forward = f;
    return CM3_OK;
}

void bench_forward_destroy(bench_forward *f) {
    if (!f) return;
    for (int64_t i = 0; f->sequences && i < f->count; i++) cm3_cache_destroy(f->context, f->sequences[i].cache);
    cm3_graph_destroy(f->graph);
    cm3_free(f->context, f->sequences);
    cm3_free(f->context, f->ids);
    cm3_free(f->context, f->positions);
    cm3_free(f->context, f);
}

void bench_forward_set_depth(bench_forward *f, int64_t depth) {
    for (int64_t i = 0; i < f->count; i++) f->sequences[i].cache->length = depth;
}

cm3_status bench_forward_decode(bench_forward *f) {
    cm3_graph_reset(f->graph);
    for (int64_t i = 0; i < f->count; i++) {
        f->sequences[i].first_row = i;
        f->sequences[i].rows = 1;
        f->positions[i] = (int32_t)f->sequences[i].cache->length;
    }
    const cm3_lm_batch batch = {.rows = f->count,
                                .ids = f->ids,
                                .positions = f->positions,
                                .plan = {.sequences = f->sequences, .sequence_count = f->count}};
    if (!cm3_lm_forward(f->graph, f->lm, &batch)) return cm3_graph_status(f->graph);
    for (int64_t i = 0; i < f->count; i++) f->sequences[i].cache->length++;
    return CM3_OK;
}

cm3_status bench_forward_prefill(bench_forward *f, int64_t rows) {
    cm3_graph_reset(f->graph);
    f->sequences[0].first_row = 0;
    f->sequences[0].rows = rows;
    for (int64_t i = 0; i < rows; i++) f->positions[i] = (int32_t)(f->sequences[0].cache->length + i);
    const cm3_lm_batch batch = {.rows = rows,
                                .ids = f->ids,
                                .positions = f->positions,
                                .plan = {.sequences = f->sequences, .sequence_count = 1},
                                .logit_rows = (const int32_t[]){(int32_t)(rows - 1)},
                                .logit_count = 1};
    return cm3_lm_forward(f->graph, f->lm, &batch) ? CM3_OK : cm3_graph_status(f->graph);
}

int64_t bench_forward_position_bytes(const bench_forward *f) {
    const cm3_kv_cache *cache = f->sequences[0].cache;
    int64_t row = cache->head_dim * (int64_t)cm3_dtype_size(cache->dtype) + (cache->dtype == CM3_I8 ? 4 : 0);
    return 2 * (int64_t)cache->layers * cache->kv_heads * row;
}
