/* Option structs across versions: fields beyond the caller's struct_size keep their defaults. */
#ifndef CM3_BASE_OPTIONS_H
#define CM3_BASE_OPTIONS_H

#include <stddef.h>

#include "base/status.h"

/**
 * Lays the caller's options over the defaults. Both structs begin with size_t struct_size; `ours` of `our_size` bytes
 * holds the defaults already. `theirs` NULL: the defaults stay. Fields that the caller's struct has and ours has not
 * must be zero. `what` names the struct in messages. Errors: INVALID_ARGUMENT.
 */
cm3_status cm3_options_read(struct cm3_context *context, void *ours, size_t our_size, const void *theirs,
                            const char *what);

/**
 * The other way, for structs that the library fills: writes as much of `ours` as the caller's struct_size holds, zeroes
 * what it has beyond, and leaves struct_size as it is. Errors: INVALID_ARGUMENT (NULL, or a struct_size below a
 * size_t).
 */
cm3_status cm3_options_write(struct cm3_context *context, void *theirs, const void *ours, size_t our_size,
                             const char *what);

#endif
