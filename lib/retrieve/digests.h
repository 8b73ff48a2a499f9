/* A set of digests: which records a bank has. */
#ifndef CM3_RETRIEVE_DIGESTS_H
#define CM3_RETRIEVE_DIGESTS_H

#include "base/context.h"
#include "files/hash.h"

/** Open addressing; {0, 0} is an empty place (a digest of that value is kept as {1, 0}). */
typedef struct cm3_digests {
    cm3_digest *places;
    size_t capacity, count;
} cm3_digests;

/** Room for `count` digests in all. Errors: NO_MEMORY. */
cm3_status cm3_digests_reserve(cm3_context *context, cm3_digests *set, size_t count);
/** Adds one, for which there must be room; false where it is in already. */
bool cm3_digests_add(cm3_digests *set, cm3_digest digest);
void cm3_digests_clear(cm3_context *context, cm3_digests *set);

#endif
