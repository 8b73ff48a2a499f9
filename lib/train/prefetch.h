/* The background loader: a thread that makes the next batches while the current one is learnt. */
#ifndef CM3_TRAIN_PREFETCH_H
#define CM3_TRAIN_PREFETCH_H

#include "train/dataset.h"

/**
 * Fills `batch` with what begins at *position of the stream and moves *position on; `batch` NULL: only moves on, as far
 * as a batch would. A pure function of (dataset, seed, position): whatever was interrupted can be made again. Runs on
 * the loader's thread.
 */
typedef cm3_status (*cm3_batch_maker)(void *arg, cm3_dataset *dataset, uint64_t *position, void *batch);

/** Which of a step's batches are made here; the others are skipped. */
typedef struct cm3_share {
    int32_t batches, first, count;
} cm3_share;

typedef struct cm3_prefetch cm3_prefetch;

/** Where batches come from. The dataset must outlive the loader. */
typedef struct cm3_prefetch_source {
    cm3_dataset *dataset;
    uint64_t position; /**< where a step begins */
    cm3_batch_maker maker;
    void *arg;
    size_t batch_bytes;
    cm3_share share;
} cm3_prefetch_source;

/** Starts the thread; `slots` batches are kept ready. */
cm3_status cm3_prefetch_start(cm3_context *context, const cm3_prefetch_source *source, int slots,
                              cm3_prefetch **prefetch);
/** The next batch and the position behind it, or, of a step's last one here, behind the step; valid until the next
 * call. Errors: those of the maker. */
cm3_status cm3_prefetch_next(cm3_prefetch *prefetch, void **batch, uint64_t *position);
/** Stops the thread. NULL is allowed. */
void cm3_prefetch_stop(cm3_prefetch *prefetch);

#endif
