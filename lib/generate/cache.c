/* KV caches: one block, cut into layers, each [kv_heads, capacity, head_dim] for keys and for values. */
#include "generate/cache.h"

#include <string.h>

#include "base/status.h"

cm3_status cm3_cache_create(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity,
                            cm3_kv_cache **cache) {
    *cache = NULL;
    size_t plane = 0, layers = (size_t)config->layers, pointers = (2 * layers * sizeof(void *) + 63) / 64 * 64;
    size_t total = 0;
    if (!cm3_mul_size((size_t)capacity * (size_t)config->kv_heads, (size_t)config->head_dim * cm3_dtype_size(dtype),
                      &plane) ||
        !cm3_mul_size(plane, 2 * layers, &total) || !cm3_add_size(total, pointers + 64 * 2 * layers, &total)) {
        return cm3_fail_memory(context, SIZE_MAX, "KV cache");
    }
    plane = (plane + 63) / 64 * 64;
    cm3_kv_cache *c = cm3_alloc(context, sizeof *c);
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
        c->k[i] = block + pointers + 2 * i * plane;
        c->v[i] = block + pointers + (2 * i + 1) * plane;
    }
    *cache = c;
    return CM3_OK;
}

void cm3_cache_destroy(cm3_context *context, cm3_kv_cache *cache) {
    if (!cache) return;
    cm3_free(context, cache->k);
    cm3_free(context, cache);
}

void cm3_cache_copy(cm3_kv_cache *to, const cm3_kv_cache *from) {
    size_t element = cm3_dtype_size(from->dtype), d = (size_t)from->head_dim,
           filled = (size_t)from->length * d * element;
    for (int32_t layer = 0; layer < from->layers; layer++) {
        for (int32_t head = 0; head < from->kv_heads; head++) {
            size_t source = (size_t)head * (size_t)from->capacity * d * element;
            size_t target = (size_t)head * (size_t)to->capacity * d * element;
            memcpy((char *)to->k[layer] + target, (const char *)from->k[layer] + source, filled);
            memcpy((char *)to->v[layer] + target, (const char *)from->v[layer] + source, filled);
        }
    }
    to->length = from->length;
}
