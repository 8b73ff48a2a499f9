/* A run's whole state as one safetensors file, written atomically. */
#ifndef CM3_TRAIN_CHECKPOINT_H
#define CM3_TRAIN_CHECKPOINT_H

#include "files/safetensors.h"
#include "train/optimizer.h"

/** Something beside the parameters that belongs to the state: a codebook's averages. */
typedef struct cm3_extra_state {
    const char *name;
    float *data;
    int64_t count;
} cm3_extra_state;

typedef struct cm3_checkpoint {
    const char *path;
    const char *kind;             /**< "vq", "lm" or "encoder" */
    const char *settings;         /**< all that the curve depends on, as JSON */
    cm3_ranks *ranks;             /**< NULL: this process alone */
    cm3_optimizer *optimizers[2]; /**< NULL: not there */
    cm3_extra_state extra[4];
    size_t extra_count;
    uint64_t *numbers[4]; /**< positions and counters */
    size_t number_count;
} cm3_checkpoint;

/**
 * Called by all ranks; the first writes, in one order of parameters whatever the number of ranks is, and all return how
 * it went.
 */
cm3_status cm3_checkpoint_write(cm3_context *context, const cm3_checkpoint *checkpoint);
/**
 * Called by all ranks; the first reads, and the others get from it what they need. Where there is no file nothing
 * changes. Everything is checked before anything is changed. Errors: INVALID_ARGUMENT naming the settings that differ;
 * FORMAT, TRUNCATED, CHECKSUM for a damaged file.
 */
cm3_status cm3_checkpoint_read(cm3_context *context, const cm3_checkpoint *checkpoint);

#endif
