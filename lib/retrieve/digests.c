/* A set of digests. */
#include "retrieve/digests.h"

static cm3_digest key_of(cm3_digest digest) {
    if (!digest.low && !digest.high) digest.low = 1;
    return digest;
}

bool cm3_digests_add(cm3_digests *set, cm3_digest digest) {
    digest = key_of(digest);
    size_t at = (size_t)digest.low & (set->capacity - 1);
    for (;; at = (at + 1) & (set->capacity - 1)) {
        cm3_digest *place = &set->places[at];
        if (cm3_digest_equal(*place, digest)) return false;
        if (place->low || place->high) continue;
        *place = digest;
        set->count++;
        return true;
    }
}

cm3_status cm3_digests_reserve(cm3_context *context, cm3_digests *set, size_t count) {
    size_t capacity = set->capacity ? set->capacity : 64;
    while (capacity / 2 < count && capacity <= SIZE_MAX / 4) capacity *= 2;
    if (capacity == set->capacity) return CM3_OK;
    cm3_digests grown = {.places = cm3_calloc(context, capacity, sizeof *grown.places), .capacity = capacity};
    if (!grown.places) return cm3_fail_memory(context, capacity * sizeof *grown.places, "digests");
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->places[i].low || set->places[i].high) cm3_digests_add(&grown, set->places[i]);
    }
    cm3_free(context, set->places);
    *set = grown;
    return CM3_OK;
}

void cm3_digests_clear(cm3_context *context, cm3_digests *set) {
    cm3_free(context, set->places);
    *set = (cm3_digests){0};
}
