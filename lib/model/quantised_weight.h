/* Quantised matrices in files. */
#ifndef CM3_MODEL_QUANTISED_WEIGHT_H
#define CM3_MODEL_QUANTISED_WEIGHT_H

#include "files/weights.h"
#include "nn/quantised.h"

/** Whether a tensor of a file holds the integers of a matrix. */
static inline bool cm3_entry_is_quantised(const cm3_entry *entry) {
    return entry->dtype == CM3_I8 || entry->dtype == CM3_U8;
}

/**
 * Lets `tensor`, whose shape is known, stand for the integers of `weight` and its scales (name + ".scales", and
 * ".mins"), where they lie. *parts: how many tensors of the file these are. FORMAT, with the tensor, what was expected
 * and what was found.
 */
cm3_status cm3_quantised_weight(cm3_context *context, const cm3_weights *weights, const cm3_weight *weight,
                                bool check_values, cm3_tensor *tensor, size_t *parts);

/** Whether a tensor is the scales or the mins of another one. */
bool cm3_is_part_of_weight(const cm3_weights *weights, const cm3_weight *weight);

#endif
