/*
 * What ranks agree on. A rank that fails must not leave the others waiting: between the calls that all make (sums,
 * gathers) lie points of agreement, and a rank that failed goes at once to the next of them and tells. So the others
 * need no time-out to learn of it, and all return the same failure.
 */
#ifndef CM3_TRAIN_AGREEMENT_H
#define CM3_TRAIN_AGREEMENT_H

#include "files/json.h"
#include "train/comm.h"

/**
 * Called by all ranks, each with how it fared. CM3_OK where all fared well; else, on every rank, the failure of the
 * first that failed, with its message; ranks->settled is set then. Alone: `own`.
 */
cm3_status cm3_ranks_agree(cm3_ranks *ranks, cm3_status own);

/**
 * Called by all ranks: `own` is a JSON object of all that must be the same. INVALID_ARGUMENT on every rank where it is
 * not, naming the first rank that differs from rank 0, each key, and both values. The failure is settled.
 */
cm3_status cm3_ranks_compare(cm3_ranks *ranks, const char *own);

/** Writes "KEY: X WORD_A, Y WORD_B; ..." of the keys of `a` whose values in `b` are others. False: none. */
bool cm3_settings_differ(const json_t *a, const json_t *b, const char *word_a, const char *word_b, char *list,
                         size_t size);

#endif
