/* Checksums. */
#ifndef CM3_FILES_HASH_H
#define CM3_FILES_HASH_H

#include <stddef.h>
#include <stdint.h>

/** XXH3-64, seed 0. */
uint64_t cm3_hash(const void *data, size_t size);
/** Streaming form. NULL where memory is out. */
typedef struct cm3_hasher cm3_hasher;
cm3_hasher *cm3_hasher_create(void);
void cm3_hasher_add(cm3_hasher *hasher, const void *data, size_t size);
uint64_t cm3_hasher_sum(const cm3_hasher *hasher);
void cm3_hasher_destroy(cm3_hasher *hasher);

#endif
