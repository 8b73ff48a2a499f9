/*
 * Gradients on their way between ranks while the way back still runs: the flat arrays are cut into buckets at borders
 * of parameters, and a thread sums each up over all ranks as soon as the gradients in it are final. Buckets go in the
 * order of their places, the same on all ranks, and one at a time.
 */
#ifndef CM3_TRAIN_BUCKETS_H
#define CM3_TRAIN_BUCKETS_H

#include "train/optimizer.h"

typedef struct cm3_buckets cm3_buckets;

/**
 * Starts the thread. `second`: NULL, or another optimiser, whose buckets go before the first's in the steps it takes
 * part in. Alone: *buckets is NULL, which all functions below take and do nothing. Both must outlive it.
 */
cm3_status cm3_buckets_create(cm3_ranks *ranks, cm3_optimizer *first, cm3_optimizer *second, cm3_buckets **buckets);
/** Stops the thread, behind a call that it may be in. */
void cm3_buckets_destroy(cm3_buckets *buckets);

/** A step begins: nothing is final. */
void cm3_buckets_begin(cm3_buckets *buckets, bool with_second);
/** The pass that is recorded from now on is the step's last on the first optimiser's parameters. */
void cm3_buckets_watch(cm3_buckets *buckets, cm3_graph *graph);
/** A parameter's gradient is final. */
void cm3_buckets_final(cm3_buckets *buckets, const cm3_tensor *parameter);
/** All of the second's are. */
void cm3_buckets_second_final(cm3_buckets *buckets);
/**
 * The way back is through, or has failed: what is left goes as it is, and the call returns when all sums are there.
 * *waited: seconds it took; *reduced: those that the thread spent summing up. Errors: those of the all-reduce.
 */
cm3_status cm3_buckets_finish(cm3_buckets *buckets, cm3_graph *graph, double *waited, double *reduced);

/** For tests: how many there are. */
size_t cm3_buckets_count(const cm3_buckets *buckets);

#endif
