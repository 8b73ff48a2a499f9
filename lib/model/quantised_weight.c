/* Quantised matrices: I8 [out, in] with scales, or U8 [out, in / 2] with scales and mins, both F16 [out, in / block].
 */
#include "model/quantised_weight.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

/** Scales or mins of a matrix: F16, finite, and their shape tells the block. */
static cm3_status find_part(cm3_context *context, const cm3_weights *weights, const cm3_weight *weight,
                            const char *suffix, const int64_t *shape, bool check_values, const uint16_t **data) {
    char name[256];
    snprintf(name, sizeof name, "%.200s%s", weight->name, suffix);
    const cm3_weight *part = cm3_weights_find(weights, name);
    if (part && part->entry.dtype != CM3_F16) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' is of type %s; F16 is expected", part->file,
                        part->entry.name, cm3_dtype_name(part->entry.dtype));
    }
    CM3_TRY(cm3_weights_check(weights, name, part, 2, shape, check_values));
    *data = part->entry.data;
    return CM3_OK;
}

cm3_status cm3_quantised_weight(cm3_context *context, const cm3_weights *weights, const cm3_weight *weight,
                                bool check_values, cm3_tensor *tensor, size_t *parts) {
    const cm3_entry *entry = &weight->entry;
    int64_t rows = tensor->shape[0], k = tensor->shape[1], pairs = entry->dtype == CM3_U8 ? 2 : 1, block = 0;
    if (entry->rank != 2 || entry->shape[0] != rows || entry->shape[1] * pairs != k) {
        return cm3_fail(context, CM3_ERROR_FORMAT,
                        "%s: tensor '%.200s' of type %s should have the shape [%lld, %lld] and has [%lld, %lld]",
                        weight->file, entry->name, cm3_dtype_name(entry->dtype), (long long)rows,
                        (long long)(k / pairs), (long long)(entry->rank > 0 ? entry->shape[0] : 0),
                        (long long)(entry->rank > 1 ? entry->shape[1] : 0));
    }
    char name[256];
    snprintf(name, sizeof name, "%.200s.scales", weight->name);
    const cm3_weight *scales = cm3_weights_find(weights, name);
    if (scales && scales->entry.rank == 2 && scales->entry.shape[1] > 0) block = k / scales->entry.shape[1];
    bool fits = block == CM3_QUANTISED_LEAST_BLOCK || block == CM3_QUANTISED_MOST_BLOCK;
    if (scales && (!fits || k % block != 0)) {
        return cm3_fail(context, CM3_ERROR_FORMAT,
                        "%s: tensor '%.200s' should have a column for each 32 or 64 of the %lld of '%.200s'",
                        scales->file, scales->entry.name, (long long)k, entry->name);
    }
    const int64_t shape[] = {rows, block ? k / block : 0};
    CM3_TRY(find_part(context, weights, weight, ".scales", shape, check_values, &tensor->scales));
    if (pairs == 2) CM3_TRY(find_part(context, weights, weight, ".mins", shape, check_values, &tensor->mins));
    tensor->dtype = pairs == 2 ? CM3_U4 : CM3_I8;
    tensor->data = (void *)(uintptr_t)entry->data;
    tensor->block = (int32_t)block;
    *parts += (size_t)pairs;
    return CM3_OK;
}

bool cm3_is_part_of_weight(const cm3_weights *weights, const cm3_weight *weight) {
    static const char *const suffixes[] = {".scales", ".mins"};
    size_t length = strlen(weight->name);
    for (int i = 0; i < 2; i++) {
        size_t own = strlen(suffixes[i]);
        if (length <= own || strcmp(weight->name + length - own, suffixes[i]) != 0) continue;
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(length - own), weight->name);
        const cm3_weight *whole = cm3_weights_find(weights, name);
        if (whole && cm3_entry_is_quantised(&whole->entry)) return true;
    }
    return false;
}
