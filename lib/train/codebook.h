/* The codebook in training: running averages of the latents that chose each entry, and revival of entries that none
 * chooses. */
#ifndef CM3_TRAIN_CODEBOOK_H
#define CM3_TRAIN_CODEBOOK_H

#include "base/context.h"
#include "base/random.h"

typedef struct cm3_codebook {
    cm3_context *context;
    int64_t entries, d;
    float *rows;   /**< [entries, d], the codebook itself; not owned */
    float *counts; /**< [entries] running average of uses a batch */
    float *sums;   /**< [entries, d] running average of the sum of latents */
    float *batch_counts, *batch_sums;
} cm3_codebook;

cm3_status cm3_codebook_init(cm3_context *context, float *rows, int64_t entries, int64_t d, cm3_codebook *codebook);
void cm3_codebook_clear(cm3_codebook *codebook);

/** Lays the entries over latents z [count, d] drawn at random. */
void cm3_codebook_seed(cm3_codebook *codebook, const float *z, int64_t count, cm3_random *random);

/**
 * One update from a batch: N <- decay N + (1 - decay) n, S likewise, row = S / N (van den Oord et al. 2017, appendix
 * A.1). Entries with N below `threshold` are set to a latent of the batch. Returns how many entries the batch used.
 */
int64_t cm3_codebook_update(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count, float decay,
                            float threshold, cm3_random *random);

/** For a learned codebook: only the revival. */
int64_t cm3_codebook_revive(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count, float decay,
                            float threshold, cm3_random *random);

#endif
