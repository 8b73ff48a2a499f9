/* KV caches: memory of one sequence's keys and values. */
#ifndef CM3_GENERATE_CACHE_H
#define CM3_GENERATE_CACHE_H

#include "model/lm.h"

/** A cache for `capacity` positions in one block of memory. Errors: NO_MEMORY. */
cm3_status cm3_cache_create(cm3_context *context, const cm3_lm_config *config, cm3_dtype dtype, int64_t capacity,
                            cm3_kv_cache **cache);
void cm3_cache_destroy(cm3_context *context, cm3_kv_cache *cache);

/** Copies the filled positions of a cache of the same model; the capacity must suffice. */
void cm3_cache_copy(cm3_kv_cache *to, const cm3_kv_cache *from);

#endif
