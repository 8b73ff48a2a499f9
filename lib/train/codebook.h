/* The codebook in training: running averages of the latents that chose each entry, and revival of entries that none
 * chooses. */
#ifndef CM3_TRAIN_CODEBOOK_H
#define CM3_TRAIN_CODEBOOK_H

#include "base/random.h"
#include "train/comm.h"

typedef struct cm3_codebook {
    cm3_context *context;
    int64_t entries, d;
    float *rows;   /**< [entries, d], the codebook itself; not owned */
    float *counts; /**< [entries] running average of uses a batch */
    float *sums;   /**< [entries, d] running average of the sum of latents */
    /** [entries], then [entries, d] of the batch under way: in one piece, as ranks sum them up */
    float *batch_counts, *batch_sums;
    float *latents; /**< [count, d] of the batch under way, from which entries are revived */
    int64_t count;
    size_t capacity;
} cm3_codebook;

/** How a batch changes the codebook. */
typedef struct cm3_codebook_rule {
    bool learned;           /**< the entries learn by gradient: only the revival */
    float decay, threshold; /**< entries whose average of uses is below are set to a latent of the batch */
    /** With several ranks: which of the batch's latents are this one's, and how many there are; NULL: alone */
    cm3_ranks *ranks;
    int64_t first, all;
} cm3_codebook_rule;

cm3_status cm3_codebook_init(cm3_context *context, float *rows, int64_t entries, int64_t d, cm3_codebook *codebook);
void cm3_codebook_clear(cm3_codebook *codebook);

/** Whether entries were laid over latents, or read, before. */
bool cm3_codebook_is_laid(const cm3_codebook *codebook);
/** Lays the entries over latents z [count, d] drawn at random; with several ranks over those of the first. Errors:
 * theirs. */
cm3_status cm3_codebook_seed(cm3_codebook *codebook, cm3_ranks *ranks, const float *z, int64_t count,
                             cm3_random *random);
/** As if it had never been laid. */
void cm3_codebook_forget(cm3_codebook *codebook);

/** A batch begins. */
void cm3_codebook_begin(cm3_codebook *codebook);
/** Adds latents z [count, d] and their codes to the batch. Errors: NO_MEMORY. */
cm3_status cm3_codebook_add(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count);
/**
 * One update from the batch: N <- decay N + (1 - decay) n, S likewise, row = S / N (van den Oord et al. 2017, appendix
 * A.1). *used: how many entries the batch used. Called by all ranks, whose codebooks stay the same. Errors: theirs.
 */
cm3_status cm3_codebook_update(cm3_codebook *codebook, const cm3_codebook_rule *rule, cm3_random *random,
                               int64_t *used);

#endif
