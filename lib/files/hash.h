/* Checksums. */
#ifndef CM3_FILES_HASH_H
#define CM3_FILES_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** XXH3-64, seed 0. */
uint64_t cm3_hash(const void *data, size_t size);

/** XXH3-128: what tells two records, or two encoders, apart. */
typedef struct cm3_digest {
    uint64_t low, high;
} cm3_digest;

static inline bool cm3_digest_equal(cm3_digest a, cm3_digest b) {
    return a.low == b.low && a.high == b.high;
}

cm3_digest cm3_digest_of(const void *data, size_t size, uint64_t seed);

/** Streaming form. NULL where memory is out. */
typedef struct cm3_hasher cm3_hasher;
cm3_hasher *cm3_hasher_create(void);
void cm3_hasher_add(cm3_hasher *hasher, const void *data, size_t size);
uint64_t cm3_hasher_sum(const cm3_hasher *hasher);
/** The same data's XXH3-128. */
cm3_digest cm3_hasher_digest(const cm3_hasher *hasher);
void cm3_hasher_destroy(cm3_hasher *hasher);

#endif
