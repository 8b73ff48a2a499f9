/* The tensors of a checkpoint, and how those that lie in slices go between ranks and the one that has the file. */
#ifndef CM3_TRAIN_CHECKPOINT_PARTS_H
#define CM3_TRAIN_CHECKPOINT_PARTS_H

#include "train/checkpoint.h"
#include "train/slices.h"

/** One tensor of the state. */
typedef struct cm3_part {
    char name[192];
    float *data; /**< NULL: it lies in slices */
    int64_t count;
    /* where it lies in slices */
    const struct cm3_parts *all;
    cm3_optimizer *optimizer;
    cm3_moment moment;
    int64_t at;
} cm3_part;

/** In global order: the same on all ranks. */
typedef struct cm3_parts {
    cm3_context *context;
    cm3_ranks *ranks; /**< NULL: alone */
    cm3_part *list;
    size_t count, capacity;
} cm3_parts;

/** `parts->list` is the caller's, whatever comes back. */
cm3_status cm3_parts_list(const cm3_checkpoint *checkpoint, cm3_parts *parts);

/** As of cm3_save_entry, on the first rank: a part in slices, piece by piece from those that hold it. */
cm3_status cm3_parts_produce(void *part, const cm3_sink *sink);
/** On the others: hands over pieces until the first rank ends it. Errors: those of the ranks. */
cm3_status cm3_parts_serve(const cm3_parts *parts);
/** On the first rank: no more pieces are wanted. */
cm3_status cm3_parts_end(const cm3_parts *parts);

/** All ranks: a part becomes the values that the first rank has (the others: NULL). Errors: those of the ranks. */
cm3_status cm3_parts_fill(const cm3_parts *parts, const cm3_part *part, const float *values);

#endif
