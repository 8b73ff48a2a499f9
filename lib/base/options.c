/* Option structs across versions. */
#include "base/options.h"

#include <stdint.h>
#include <string.h>

/* Structs hold pointers and 64-bit fields, so an honest sizeof is a multiple of this; anything else would cut a field.
 */
#define FIELD_ALIGNMENT sizeof(uint32_t)

static cm3_status read_size(struct cm3_context *context, const void *theirs, const char *what, size_t *size) {
    memcpy(size, theirs, sizeof *size);
    if (*size < sizeof *size || *size % FIELD_ALIGNMENT != 0) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: struct_size is %zu, not the size of a struct", what,
                        *size);
    }
    return CM3_OK;
}

cm3_status cm3_options_read(struct cm3_context *context, void *ours, size_t our_size, const void *theirs,
                            const char *what) {
    if (theirs == NULL) return CM3_OK;
    size_t size;
    CM3_TRY(read_size(context, theirs, what, &size));
    const uint8_t *bytes = theirs;
    for (size_t i = our_size; i < size; ++i) {
        if (bytes[i] != 0) {
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                            "%s: struct_size is %zu, this library knows %zu bytes, and byte %zu is not zero", what,
                            size, our_size, i);
        }
    }
    memcpy(ours, theirs, size < our_size ? size : our_size);
    memcpy(ours, &our_size, sizeof our_size);
    return CM3_OK;
}

cm3_status cm3_options_write(struct cm3_context *context, void *theirs, const void *ours, size_t our_size,
                             const char *what) {
    if (theirs == NULL) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: NULL", what);
    size_t size;
    CM3_TRY(read_size(context, theirs, what, &size));
    size_t head = sizeof(size_t), common = size < our_size ? size : our_size;
    memcpy((uint8_t *)theirs + head, (const uint8_t *)ours + head, common - head);
    memset((uint8_t *)theirs + common, 0, size - common);
    return CM3_OK;
}
