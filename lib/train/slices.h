/* The optimiser's flat arrays in slices, one a rank: which parameters lie where, and what goes between ranks. */
#ifndef CM3_TRAIN_SLICES_H
#define CM3_TRAIN_SLICES_H

#include "train/optimizer.h"

/** Part of a parameter that lies in a range: its elements first..first+count-1, `offset` elements into the range. */
typedef struct cm3_stretch {
    cm3_optimized *parameter;
    int64_t first, count, offset;
} cm3_stretch;

/** The next stretch of a range of the flat arrays; *next begins with 0. False: there is none. */
bool cm3_slices_next(const cm3_optimizer *optimizer, int64_t begin, int64_t end, size_t *next, cm3_stretch *stretch);

/** The f32 values of a stretch of this rank's slice. */
float *cm3_slices_values(const cm3_optimizer *optimizer, const cm3_stretch *stretch);
/** The same of a moment, or of a parameter that is apart, at a place of this rank's slice. */
float *cm3_slices_held(const cm3_optimizer *optimizer, cm3_moment moment, int64_t at);

/**
 * Every rank gets the weights that lie in the others' slices: f32 values, which are rounded where there is a bf16 copy,
 * and of parameters that are apart that copy, which must be the slice's already. Called by all ranks.
 */
cm3_status cm3_slices_gather_weights(cm3_optimizer *optimizer, const cm3_kernels *kernels);

/**
 * A piece of a sliced array, or of a parameter that is apart, goes from the rank that holds it to all: *count elements
 * from place `at` on, at most up to `end`, in optimizer->pieces. Called by all ranks.
 */
cm3_status cm3_slices_send(cm3_optimizer *optimizer, cm3_moment moment, int64_t at, int64_t end, int64_t *count);

/** The other way: `count` elements in optimizer->pieces, from place `at` on, go from rank 0 to where they belong.
 * Called by all ranks; count is at most optimizer->piece. */
cm3_status cm3_slices_receive(cm3_optimizer *optimizer, cm3_moment moment, int64_t at, int64_t count);

#endif
