/* Checksums: XXH3-64. A cm3_hasher is xxHash's own state, from its own allocator, for it wants an alignment of 64. */
#include "files/hash.h"

#include <xxhash.h>

uint64_t cm3_hash(const void *data, size_t size) {
    return XXH3_64bits(data, size);
}

cm3_digest cm3_digest_of(const void *data, size_t size, uint64_t seed) {
    XXH128_hash_t sum = XXH3_128bits_withSeed(data, size, seed);
    return (cm3_digest){sum.low64, sum.high64};
}

cm3_hasher *cm3_hasher_create(void) {
    XXH3_state_t *state = XXH3_createState();
    if (state != NULL && XXH3_64bits_reset(state) != XXH_OK) {
        XXH3_freeState(state);
        state = NULL;
    }
    return (cm3_hasher *)state;
}

void cm3_hasher_add(cm3_hasher *hasher, const void *data, size_t size) {
    if (size > 0) XXH3_64bits_update((XXH3_state_t *)hasher, data, size);
}

uint64_t cm3_hasher_sum(const cm3_hasher *hasher) {
    return XXH3_64bits_digest((const XXH3_state_t *)hasher);
}

cm3_digest cm3_hasher_digest(const cm3_hasher *hasher) {
    XXH128_hash_t sum = XXH3_128bits_digest((const XXH3_state_t *)hasher);
    return (cm3_digest){sum.low64, sum.high64};
}

void cm3_hasher_destroy(cm3_hasher *hasher) {
    XXH3_freeState((XXH3_state_t *)hasher);
}
