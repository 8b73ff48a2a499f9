/* KV caches: one block, cut into layers, each [kv_heads, capacity, head_dim] for keys and for values. */
#include "generate/cache.h"

#include "base/status.h"

/** Bytes of one layer's keys or values, and of the table of pointers to them. */
static bool plane_size(const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity, size_t *plane, size_t *table) {
    *table = (2 * (size_t)config->layers * sizeof(void *) + 63) / 64 * 64;
    if (!cm3_mul_size((size_t)capacity * (size_t)config->kv_heads, (size_t)config->head_dim * cm3_dtype_size(dtype),
                      plane) ||
        !cm3_add_size(*plane, 63, plane))
        return false;
    *plane = *plane / 64 * 64;
    return true;
}

bool cm3_cache_size(const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity, size_t *size) {
    size_t plane, table;
    return plane_size(config, dtype, capacity, &plane, &table) &&
           cm3_mul_size(plane, 2 * (size_t)config->layers, size) && cm3_add_size(*size, table, size);
}

cm3_status cm3_cache_create(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity,
                            cm3_kv_cache **cache) {
    *cache = NULL;
    size_t plane, table, total = SIZE_MAX, layers = (size_t)config->layers;
    bool fits = cm3_cache_size(config, dtype, capacity, &total) && plane_size(config, dtype, capacity, &plane, &table);
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
                        .capacity = capacity,
                        .k = (void **)block,
                        .v = (void **)block + layers};
    for (size_t i = 0; i < layers; i++) {
        c->k[i] = block + table + 2 * i * plane;
        c->v[i] = block + table + (2 * i + 1) * plane;
    }
    *cache = c;
    return CM3_OK;
}

void cm3_cache_destroy(cm3_context *context, cm3_kv_cache *cache) {
    if (!cache) return;
    cm3_free(context, cache->k);
    cm3_free(context, cache);
}
