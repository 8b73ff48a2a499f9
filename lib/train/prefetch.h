/* The background loader: a thread that makes the next batches while the current one is learnt. */
#ifndef CM3_TRAIN_PREFETCH_H
#define CM3_TRAIN_PREFETCH_H

#include "train/dataset.h"

/**
 * Fills `batch` with what begins at *position of the stream and moves *position on. A pure function of (dataset, seed,
 * position): whatever was interrupted can be made again. Runs on the loader's thread.
 */
typedef cm3_status (*cm3_batch_maker)(void *arg, cm3_dataset *dataset, uint64_t *position, void *batch);

typedef struct cm3_prefetch cm3_prefetch;

/** Starts the thread; `slots` batches of `batch_bytes` are kept ready. The dataset must outlive it. */
cm3_status cm3_prefetch_start(cm3_context *context, cm3_dataset *dataset, uint64_t position, cm3_batch_maker maker,
                              void *arg, size_t batch_bytes, int slots, cm3_prefetch **prefetch);
/** The next batch and the position behind it; valid until the next call. Errors: those of the maker. */
cm3_status cm3_prefetch_next(cm3_prefetch *prefetch, void **batch, uint64_t *position);
/** Stops the thread. NULL is allowed. */
void cm3_prefetch_stop(cm3_prefetch *prefetch);

#endif
