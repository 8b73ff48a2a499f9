/* KV caches: memory of one sequence's keys and values. */
#ifndef CM3_GENERATE_CACHE_H
#define CM3_GENERATE_CACHE_H

#include "model/lm.h"

/** Bytes of a cache for so many positions; false where that is more than memory can be. */
bool cm3_cache_size(const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity, size_t *size);

/** A cache for `capacity` positions in one block of memory. Errors: NO_MEMORY. */
cm3_status cm3_cache_create(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity,
                            cm3_kv_cache **cache);
/** What one holds becomes the other's, which is of the same shape and capacity. */
void cm3_cache_copy(cm3_kv_cache *to, const cm3_kv_cache *from);
void cm3_cache_destroy(cm3_context *context, cm3_kv_cache *cache);

#endif
