/* KV caches: one block, cut into layers, each [kv_heads, capacity, head_dim] for keys and for values. */
#include "generate/cache.h"

#include <string.h>

#include "base/status.h"

/** How a cache lies in its block: a table of pointers, then of each layer its keys, values and their scales. */
typedef struct cache_layout {
    size_t table, plane, scales; /**< bytes: of all pointers; of one layer's keys; of their scales, 0: none */
} cache_layout;

static bool round_up(size_t *size) {
    if (!cm3_add_size(*size, 63, size)) return false;
    *size = *size / 64 * 64;
    return true;
}

static bool lay_out(const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity, cache_layout *layout) {
    bool scaled = dtype == CM3_I8;
    size_t rows;
    layout->table = (scaled ? 4 : 2) * (size_t)config->layers * sizeof(void *);
    layout->scales = 0;
    return round_up(&layout->table) && cm3_mul_size((size_t)capacity, (size_t)config->kv_heads, &rows) &&
           cm3_mul_size(rows, (size_t)config->head_dim * cm3_dtype_size(dtype), &layout->plane) &&
           round_up(&layout->plane) &&
           (!scaled || (cm3_mul_size(rows, sizeof(float), &layout->scales) && round_up(&layout->scales)));
}

static bool total_of(const cm3_lm_config *config, const cache_layout *layout, size_t *total) {
    return cm3_add_size(layout->plane, layout->scales, total) &&
           cm3_mul_size(*total, 2 * (size_t)config->layers, total) && cm3_add_size(*total, layout->table, total);
}

bool cm3_cache_size(const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity, size_t *size) {
    cache_layout layout;
    return lay_out(config, dtype, capacity, &layout) && total_of(config, &layout, size);
}

/** Points the tables into the block. */
static void point(cm3_kv_cache *c, char *block, const cache_layout *layout) {
    size_t layers = (size_t)c->layers, each = layout->plane + layout->scales;
    c->k = (void **)(void *)block;
    c->v = c->k + layers;
    if (layout->scales) {
        c->k_scales = (float **)(void *)(c->v + layers);
        c->v_scales = c->k_scales + layers;
    }
    for (size_t i = 0; i < layers; i++) {
        char *keys = block + layout->table + 2 * i * each, *values = keys + each;
        c->k[i] = keys;
        c->v[i] = values;
        if (!layout->scales) continue;
        c->k_scales[i] = (float *)(void *)(keys + layout->plane);
        c->v_scales[i] = (float *)(void *)(values + layout->plane);
    }
}

cm3_status cm3_cache_create(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity,
                            cm3_kv_cache **cache) {
    *cache = NULL;
    cache_layout layout;
    size_t total = SIZE_MAX;
    bool fits = lay_out(config, dtype, capacity, &layout) && total_of(config, &layout, &total);
    cm3_kv_cache *c = fits ? cm3_alloc(context, sizeof *c) : NULL;
    char *block = c ? cm3_alloc(context, total) : NULL;
    if (!block) {
        cm3_free(context, c);
        return cm3_fail_memory(context, total, "KV cache");
    }
    *c = (cm3_kv_cache){.dtype = dtype,
                        .layers = config->layers,
                        .kv_heads = config->kv_heads,
                        .head_dim = config->head_dim,
                        .capacity = capacity};
    point(c, block, &layout);
    *cache = c;
    return CM3_OK;
}

void cm3_cache_copy(cm3_kv_cache *to, const cm3_kv_cache *from) {
    size_t row = (size_t)from->head_dim * cm3_dtype_size(from->dtype), held = (size_t)from->length;
    for (int32_t layer = 0; layer < from->layers; layer++) {
        for (size_t head = 0; head < (size_t)from->kv_heads; head++) {
            size_t at = head * (size_t)from->capacity;
            memcpy((char *)to->k[layer] + at * row, (const char *)from->k[layer] + at * row, held * row);
            memcpy((char *)to->v[layer] + at * row, (const char *)from->v[layer] + at * row, held * row);
            if (!from->k_scales) continue;
            memcpy(to->k_scales[layer] + at, from->k_scales[layer] + at, held * sizeof(float));
            memcpy(to->v_scales[layer] + at, from->v_scales[layer] + at, held * sizeof(float));
        }
    }
    to->length = from->length;
}

void cm3_cache_destroy(cm3_context *context, cm3_kv_cache *cache) {
    if (!cache) return;
    cm3_free(context, cache->k);
    cm3_free(context, cache);
}
